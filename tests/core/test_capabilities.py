"""Capability sets: one spelling, amounts compared."""

import pytest

from ebbflow.core.capabilities import amounts, capability_set, fits, largest
from ebbflow.core.errors import ConfigError


@pytest.mark.parametrize(
    ("offered", "required", "answer"),
    [
        ((), (), True),
        (("gpu",), (), True),
        ((), ("gpu",), False),
        (("gpu",), ("gpu",), True),
        (("gpu=4", "a100"), ("gpu=2",), True),
        (("gpu",), ("gpu=4",), False),
        (("gpu=4",), ("gpu=4", "a100"), False),
        (("gpu=0.5",), ("gpu=0.25",), True),
    ],
)
def test_a_worker_fits_work_when_it_has_each_name_in_its_amount(
    offered: tuple[str, ...], required: tuple[str, ...], answer: bool
) -> None:
    assert fits(offered, required) is answer


def test_a_set_has_one_spelling() -> None:
    assert capability_set({"gpu": 4.0, "a100": 1.0, "disk": 0.5, "tpu": 0.0}) == ("a100", "disk=0.5", "gpu=4")
    assert capability_set(amounts(("gpu=4", "a100=1"))) == ("a100", "gpu=4")


def test_the_largest_need_fits_every_one_of_them() -> None:
    assert largest([("gpu=2",), ("gpu=4", "a100"), ()]) == ("a100", "gpu=4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gpu=",), "capability 'gpu=': expected a name, or name=amount"),
        (("a b",), "capability 'a b'"),
        (("gpu=-1",), "capability 'gpu=-1'"),
        (("gpu", "gpu=2"), "capability 'gpu' stands twice"),
    ],
)
def test_a_word_that_is_no_capability_is_named(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        amounts(words)
