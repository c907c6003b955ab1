"""Names never collide, fit into every label, and are compared whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import (
    MAX_WORKER_ID,
    WorkerName,
    base36,
    check_fleet_name,
    check_home,
    parse_worker_id,
    worker_id,
)


@pytest.mark.parametrize("name", ["a1", "ab", "sdxl", "llm-prod", "a-b-c-d", "a--b", "x" * 20, "a234567890123456789z"])
def test_a_good_fleet_name_is_returned_as_it_is(name: str) -> None:
    assert check_fleet_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "x" * 21,
        "1ab",
        "-ab",
        "ab-",
        "SDXL",
        "sdXl",
        "sd_xl",
        "sd xl",
        "sd.xl",
        "sd/xl",
        " sdxl",
        "sdxl ",
        "sdxl\n",
        "größe",
        "флот",
        "sdxl\N{ARABIC-INDIC DIGIT ONE}",
        "sdxl²",
        "\N{LATIN SMALL LETTER LONG S}dxl",
    ],
)
def test_a_bad_fleet_name_is_refused_with_the_value_and_the_rule(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_fleet_name(name)
    assert repr(name) in str(caught.value)
    assert "2 to 20 characters of [a-z0-9-]" in str(caught.value)


@pytest.mark.parametrize("home", ["abcde", "01234", "a1b2c", "zzzzz"])
def test_a_home_is_five_lower_case_letters_or_digits(home: str) -> None:
    assert check_home(home) == home


@pytest.mark.parametrize(
    "home",
    ["", "abcd", "abcdef", "ABCDE", "ab-de", "ab de", "abcd\n", "abcde\n", "äbcde", "abcd\N{ARABIC-INDIC DIGIT ONE}"],
)
def test_another_home_is_refused_with_the_value_and_where_it_is_kept(home: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_home(home)
    assert repr(home) in str(caught.value)
    assert "ebbflow_home" in str(caught.value)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9, "9"), (10, "a"), (35, "z"), (36, "10"), (46, "1a"), (1295, "zz"), (1296, "100"), (36**6, "1000000")],
)
def test_base36_writes_digits_and_letters(number: int, text: str) -> None:
    assert base36(number) == text
    assert int(text, 36) == number


@given(st.integers(min_value=0))
def test_base36_is_the_inverse_of_int(number: int) -> None:
    assert int(base36(number), 36) == number


def test_base36_refuses_negative_numbers() -> None:
    with pytest.raises(ValueError, match="got -1"):
        base36(-1)


def test_a_worker_id_says_fleet_chain_number_and_index() -> None:
    assert worker_id(fleet="sdxl", chain="3f9c", number=46, index=0) == "sdxl-3f9c-1a-0"


fleets = st.from_regex(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", fullmatch=True)
chains = st.from_regex(r"[a-z0-9]{4}", fullmatch=True)
names = st.builds(
    WorkerName, fleet=fleets, chain=chains, number=st.integers(0, 36**6 - 1), index=st.integers(0, 9999)
).filter(lambda name: len(str(name)) <= MAX_WORKER_ID)


@given(names)
def test_a_worker_id_is_read_back_as_it_was_made(name: WorkerName) -> None:
    made = worker_id(fleet=name.fleet, chain=name.chain, number=name.number, index=name.index)
    assert len(made) <= MAX_WORKER_ID
    assert parse_worker_id(made) == name


@given(names, names)
def test_two_launches_never_share_an_id(one: WorkerName, other: WorkerName) -> None:
    assert (str(one) == str(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "fleet", "chain"),
    [
        ("llm-prod-3f9c-1a-0", "llm-prod", "3f9c"),
        ("a-b-c-d-3f9c-1a-12", "a-b-c-d", "3f9c"),
        ("sdxl-2222-3333-4-5", "sdxl-2222", "3333"),  # a fleet whose own name looks like an id's middle
    ],
)
def test_hyphens_in_a_fleet_name_stay_with_the_fleet(text: str, fleet: str, chain: str) -> None:
    found = parse_worker_id(text)
    assert found is not None
    assert (found.fleet, found.chain) == (fleet, chain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sdxl",
        "sdxl-3f9c-1a",
        "sdxl-3f9-1a-0",
        "sdxl-3f9cc-1a-0",
        "sdxl-3f9c-1A-0",
        "SDXL-3f9c-1a-0",
        "sdxl-3f9c-1a-x",
        "sdxl-3f9c--0",
        "sdxl-3f9c-1a-",
        "sdxl-3f9c-1a-0 ",
        "sdxl-3f9c-1a-0\n",
        " sdxl-3f9c-1a-0",
        "pod/sdxl-3f9c-1a-0",
        "sdxl-3f9c-1a-0.batch",
        f"{'x' * 20}-3f9c-{'1' * 12}-00",
    ],
)
def test_a_text_that_only_resembles_a_worker_id_is_none(text: str) -> None:
    assert parse_worker_id(text) is None


def test_ids_are_compared_whole_so_that_a_prefix_is_another_worker() -> None:
    assert parse_worker_id("sdxl-3f9c-1-1") != parse_worker_id("sdxl-3f9c-1-10")
    assert parse_worker_id("sdxl-3f9c-1-1") != parse_worker_id("sdxl-3f9c-11-1")


def test_forty_characters_fit() -> None:
    name = worker_id(fleet="x" * 20, chain="3f9c", number=36**10 - 1, index=12)
    assert len(name) == 39
    assert len(worker_id(fleet="x" * 20, chain="3f9c", number=36**10 - 1, index=123)) == 40


def test_a_longer_id_is_refused_before_it_is_launched() -> None:
    with pytest.raises(ConfigError, match="has 41 characters, at most 40 fit"):
        worker_id(fleet="x" * 20, chain="3f9c", number=36**10 - 1, index=1234)


@pytest.mark.parametrize("chain", ["", "3f9", "3f9cc", "3F9C", "3-9c", "3f9c\n", "3f9\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_malformed_chain_is_refused(chain: str) -> None:
    with pytest.raises(ConfigError, match="four characters"):
        worker_id(fleet="sdxl", chain=chain, number=1, index=0)


def test_a_bad_fleet_name_makes_no_worker_id() -> None:
    with pytest.raises(ConfigError, match="fleet name 'SDXL'"):
        worker_id(fleet="SDXL", chain="3f9c", number=1, index=0)
