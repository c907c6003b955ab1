"""What holds for every kind of model server."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.gateway import kinds
from ebbflow.gateway.kinds import KINDS, check_wanted, kind_named
from ebbflow.gateway.kinds.kind import Kind, Port, Said, Standing, Verdict, Wanted
from ebbflow.standins.model_servers.answers import MANNERS, Played
from tests.gateway.kinds.saying import SILENT, figures_of

FOLDER = Path(kinds.__file__).parent
NAMES = sorted(KINDS)
MODEL = "m"
WANTS = (Wanted(), Wanted(model=MODEL), Wanted(model="other", prompt="{}", prompt_path="/predict"))
NEVER_LOOKED_AT = {
    "vllm": r"/load|/is_sleeping|/sleep|/wake_up|/v1/completions",
    "sglang": r"/health|/get_load|/generate",
    "llamacpp": r"/slots|.*[?&]model=(?!.*&autoload=false)|/completion",
    "ollama": r"/api/generate|/api/chat|/api/status",
    "comfyui": r"/queue|/history$|/interrupt|/free",
    "triton": r"/v2/health|.*/infer",
    "rayserve": r"/(?!-/healthz$|-/routes$)",
}
"""On the main port: what wakes or loads a model, runs somebody's code, costs too much, or tells what is not so."""
DEEP_REASON = '{"status": "failed", "execution_error": {"exception_message": ' + "[" * 900 + "]" * 900 + "}}"


def good(name: str, wanted: Wanted, played: Played | None = None) -> dict[str, Said]:
    """A look at a ready server of a kind, with 3 requests that run and 2 that wait."""
    answers = MANNERS[name].looks(played or Played(MODEL, running=3, queued=2, served=7))
    paths = {each: ask.path.partition("?")[0] for each, ask in KINDS[name].asks(wanted).items()}
    # Of Triton, the list of models is posted.
    return {
        each: said(*(answers.get(path) or answers.get(f"POST {path}") or (404, ""))) for each, path in paths.items()
    }


def said(status: int, data: object) -> Said:
    return Said(status, data if isinstance(data, str) else json.dumps(data))


def numbers_as(text: str, number: str) -> str:
    """With another number in the place of each value."""
    return re.sub(r"(?<=[ :])\d+(\.\d+)?(?=[,}\]\n])", number, text)


HOSTILE: Mapping[str, Callable[[str], str]] = {
    "empty": lambda honest: "",
    "binary": lambda honest: bytes(range(256)).decode("latin-1") * 9,
    "half a letter": lambda honest: "\ud800",
    "a web page": lambda honest: "<!DOCTYPE html><html><body>Sign in</body></html>",
    "deep lists": lambda honest: "[" * 100_000,
    "deep objects": lambda honest: '{"data":' * 100_000,
    "deep and closed": lambda honest: '{"data":' + "[" * 900 + "]" * 900 + "}",
    "a deep reason": lambda honest: DEEP_REASON,
    "null": lambda honest: "null",
    "true": lambda honest: "true",
    "a number": lambda honest: "-1",
    "a list": lambda honest: "[null, 1, [], {}]",
    "empty lists": lambda honest: '{"data": [], "models": [], "loads": [], "outputs": [], "choices": []}',
    "odd lists": lambda honest: '{"data": [1], "models": [null], "loads": ["a"], "outputs": [[]], "choices": [{}]}',
    "no lists": lambda honest: '{"data": 1, "models": true, "loads": {}, "exec_info": [], "role": "router"}',
    "odd names": lambda honest: '{"data": [{"id": {}}], "models": [{"name": 1}], "prompt_id": [], "status": 1}',
    "endless names": lambda honest: json.dumps({"data": [{"id": "x" * 10**6}], "models": [{"name": "y" * 10**6}]}),
    "NaN": lambda honest: numbers_as(honest, "NaN"),
    "negative": lambda honest: numbers_as(honest, "-1"),
    "infinite": lambda honest: numbers_as(honest, "1e999"),
    "beyond all": lambda honest: numbers_as(honest, "9" * 400),
    "texts": lambda honest: numbers_as(honest, '"3"'),
    "other names": lambda honest: re.sub(r"[a-z]+_[a-z_]+", "renamed", honest),
    "cut off": lambda honest: honest[: len(honest) * 2 // 3],
    "5 MB of it": lambda honest: honest * (5_000_000 // (len(honest) or 5_000_000)),
}
"""Answers in the place of an honest one."""


def test_every_kind_in_the_folder_is_found_and_tested() -> None:
    written = {path.stem for path in FOLDER.glob("*.py") if re.search(r"^KIND\b", path.read_text(), re.MULTILINE)}
    assert written == set(KINDS)
    assert {f"test_{name}" for name in KINDS} <= {path.stem for path in Path(__file__).parent.glob("test_*.py")}


def test_every_kind_has_a_stand_in() -> None:
    assert sorted(MANNERS) == NAMES


def test_an_unknown_kind_is_told_what_there_is() -> None:
    assert kind_named("vllm") is KINDS["vllm"]
    with pytest.raises(ValueError, match=r"^kind: 'vlm' is none of bentoml, comfyui, .*, vllm$"):
        kind_named("vlm")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wanted", WANTS, ids=["any model", "one model", "own prompt"])
def test_a_server_that_is_refused_silent_or_503_is_loading(name: str, wanted: Wanted) -> None:
    kind = KINDS[name]
    for answer in (SILENT, Said(503), Said(503, "{}"), None):
        reading = kind.read(wanted, {each: answer for each in kind.asks(wanted) if answer is not None})
        assert reading.standing is Standing.LOADING
        assert reading.detail
        assert figures_of(reading) == (None, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_refused_key_is_said(name: str) -> None:
    reading = KINDS[name].read(Wanted(), {each: Said(401) for each in KINDS[name].asks(Wanted())})
    assert (reading.standing, reading.detail) == (Standing.LOADING, "the server refuses its key")
    assert KINDS[name].judge(Wanted(), Said(403)).verdict is Verdict.WRONG


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [None, 429, 503, 504])
def test_no_room_and_no_answer_mean_not_yet(name: str, status: int | None) -> None:
    for wanted in WANTS:
        assert KINDS[name].judge(wanted, Said(status, "Request dropped")).verdict is Verdict.NOT_YET


@pytest.mark.parametrize("name", NAMES)
def test_no_look_asks_what_it_must_not(name: str) -> None:
    never = re.compile(NEVER_LOOKED_AT.get(name, r"$^"))
    for wanted in (*WANTS, Wanted(model="a&autoload=true b/c?d")):
        for ask in KINDS[name].asks(wanted).values():
            assert ask.port is Port.METRICS or not never.match(ask.path), ask.path
            assert ask.path.startswith("/")
            assert ask.path.isprintable()
            assert " " not in ask.path


@pytest.mark.parametrize("name", NAMES)
def test_what_an_idle_server_counts_is_0_or_not_told(name: str) -> None:
    reading = KINDS[name].read(Wanted(), good(name, Wanted(), Played(MODEL)))
    assert reading.standing is Standing.READY
    assert set(figures_of(reading)) <= {0, None}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_look_is_never_read_as_idle(name: str, what: str) -> None:
    kind = KINDS[name]
    for wanted in WANTS[:2]:
        honest = good(name, wanted)
        told = figures_of(kind.read(wanted, honest))
        for ask in honest:
            lie = replace(honest[ask], text=HOSTILE[what](honest[ask].text))
            reading = kind.read(wanted, {**honest, ask: lie})
            assert_sane(reading.detail)
            for figure, true in zip(figures_of(reading), told, strict=True):
                assert figure in (None, true), f"{ask} of {wanted}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_answer_to_a_prompt_is_judged(name: str, what: str) -> None:
    kind = KINDS[name]
    for wanted in WANTS:
        for honest in judged(name):
            lie = HOSTILE[what](honest)
            for status in (200, 204, 302, 400, 404, 500, 0, 10**9):
                judgement = kind.judge(wanted, Said(status, lie))
                assert_sane(judgement.detail)
                assert judgement.verdict is not Verdict.WRONG or judgement.detail
                assert judgement.next_ask is None or len(judgement.next_ask.path) < 1000


def judged(name: str) -> tuple[str, ...]:
    """Honest answers of a kind to a prompt, and to what may come before it."""
    body: Mapping[str, object] = {"model": MODEL, "prompt": {}, "inputs": []}
    status, data = MANNERS[name].prompt(Played(MODEL), dict(body))
    assert status == 200
    return said(status, data).text, *(answer.text for answer in good(name, Wanted()).values())


def assert_sane(detail: str) -> None:
    assert len(detail) < 700
    assert detail.isprintable()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("prompt", ["hello", "[1]", "", "[" * 100_000, "\ud800"])
def test_a_prompt_of_ones_own_that_is_no_json_object_is_refused_when_it_is_said(kind: Kind, prompt: str) -> None:
    with pytest.raises(ValueError, match=r"^prompt: a JSON object is expected"):
        check_wanted(kind, Wanted(model=MODEL, prompt=prompt, prompt_path="/own"))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_path_of_ones_own_begins_as_paths_do(kind: Kind) -> None:
    with pytest.raises(ValueError, match=r"^prompt: its prompt_path is predict: a path begins with /"):
        check_wanted(kind, Wanted(prompt="{}", prompt_path="predict"))
    check_wanted(kind, Wanted(prompt="{}", prompt_path="/predict"))
