"""What all kinds make of an answer, and of a person's own prompt. Pure."""

from collections.abc import Callable, Mapping

import orjson

from ebbflow.core.text import one_line
from ebbflow.gateway.kinds.answers import inner, mapping, name
from ebbflow.gateway.kinds.kind import Ask, Judgement, Reading, Said, Standing, Verdict, Wanted

HOT = Judgement(Verdict.HOT)
REFUSES_KEY = "the server refuses its key"
WORDS_LETTERS = 200
SHOWN_NAMES = 5
LATER = (None, 429, 502, 503, 504)
"""Statuses of a server that loads, has no room now, or is not there yet behind a proxy."""


def not_ready(detail: str) -> Reading:
    """The reading of a server that cannot be used yet, with the reason."""
    return Reading(Standing.LOADING, detail=detail)


def unready(said: Said | None) -> Reading | None:
    """What an answer to "are you ready?" means, unless it is a yes."""
    if said is None or said.status is None:
        return not_ready("it does not answer")
    if said.status in (401, 403):
        return not_ready(REFUSES_KEY)
    if said.status != 200:
        return not_ready(f"it answers {said.status} when asked whether it is ready")
    if _is_page(said.text):
        return not_ready("a web page answers in its place")
    return None


def wrong(detail: str) -> Judgement:
    """The verdict that a server will not do, with the reason."""
    return Judgement(Verdict.WRONG, detail)


def nonsense(said: Said) -> Judgement:
    """The verdict on a good answer that is none to what was asked."""
    return wrong(f"it answers something else than was asked for: {_words(said)}")


def refused(said: Said) -> Judgement | None:
    """What a refusal means; None where it is none."""
    if said.status in LATER:
        return Judgement(Verdict.NOT_YET, f"it answers {said.status}" if said.status else "it does not answer")
    if said.status in (401, 403):
        return wrong(REFUSES_KEY)
    if not 200 <= (said.status or 0) < 300:
        return wrong(f"it answers {said.status}: {_words(said)}")
    return None


def another(wanted: Wanted, model: object) -> Judgement | None:
    """The verdict where an answer names another model than the wanted one; None where it does not."""
    named = name(model)
    if named is None or wanted.model in ("", named):
        return None
    return wrong(f"its model is {one_line(named)}, not {wanted.model}")


def own_prompt(wanted: Wanted, usual_path: str = "") -> Ask:
    """The person's own prompt, which is JSON, to their own path.

    Raises:
        ValueError: it is no JSON object, or it is not said where it goes.
    """
    path = wanted.prompt_path or usual_path
    if not path:
        raise ValueError("only you know where it goes: prompt_path is needed with it, for instance /predict")
    if not path.startswith("/"):
        raise ValueError(f"its prompt_path is {path}: a path begins with /")
    return Ask(path, "POST", json_of(wanted))


def json_of(wanted: Wanted) -> Mapping[str, object]:
    """The person's own prompt.

    Raises:
        ValueError: it is no JSON object.
    """
    try:
        body = orjson.loads(wanted.prompt)
    except ValueError as error:
        raise ValueError(f"a JSON object is expected, and this is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ValueError(f'a JSON object is expected, for instance {{"input": 1}}, and this is {wanted.prompt:.40}')
    return body


def answered(wanted: Wanted, said: Said) -> Judgement:
    """What the answer to a person's own prompt means: only they know what a good one looks like."""
    if (refusal := refused(said)) is not None:
        return refusal
    data = mapping(said)
    if not said.text.strip() or _is_page(said.text) or inner(data, "error"):
        return nonsense(said)
    return another(wanted, inner(data, "model")) or HOT


def chosen(wanted: Wanted, names: tuple[str, ...], prompt: Callable[[str], Ask]) -> Judgement:
    """What to ask a server that has these models."""
    if not names:
        return Judgement(Verdict.NOT_YET, "it has no model yet")
    if wanted.model and wanted.model not in names:
        shown = ", ".join(one_line(each) for each in names[:SHOWN_NAMES])
        return wrong(f"its model is {shown}, not {wanted.model}")
    return Judgement(Verdict.NOT_YET, next_ask=prompt(wanted.model or names[0]))


def _words(said: Said) -> str:
    return one_line(said.text, WORDS_LETTERS) or "nothing"


def _is_page(text: str) -> bool:
    return text[:200].lstrip().lower().startswith(("<!doctype", "<html"))
