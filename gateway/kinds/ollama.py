"""Ollama. Facts: v0.33.0-rc2, SRC (read, not run).

Its version is there whether it has a model or not. It refuses a Host header that is not of its own machine, and has no
key.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ebbflow.gateway.kinds.answers import inner, mapping, mappings, name
from ebbflow.gateway.kinds.judging import (
    HOT,
    another,
    answered,
    chosen,
    nonsense,
    not_ready,
    own_prompt,
    refused,
    unready,
)
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Verdict, Wanted


class Ollama:
    """Tells which models are in memory, those that still load among them, and nothing of its load."""

    name = "ollama"
    key_header = KeyHeader.BEARER
    lag_seconds = 0.0
    usual_port = 11434

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Whether it is there, and what it holds in memory."""
        return {"version": Ask("/api/version"), "loaded": Ask("/api/ps")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """A model that still loads is held already; only the test tells it from one that is hot."""
        if (loading := unready(said.get("version"))) is not None:
            return loading
        loaded = _names(said.get("loaded"))
        if loaded is None:
            return not_ready("it does not tell which models it holds")
        if loaded and (not wanted.model or _tagged(wanted.model) in loaded):
            return Reading(Standing.READY)
        return Reading(Standing.ASLEEP, detail=f"it does not hold {wanted.model or 'any model'} in memory")

    def test(self, wanted: Wanted) -> Ask | None:
        """One token of the wanted model; where none is, of the first one in memory, or else on its disk."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        return _prompt(wanted, wanted.model) if wanted.model else Ask("/api/ps")

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """It has no room (503) only for requests that load a model; an unknown model is 404."""
        if wanted.prompt_path:
            return answered(wanted, said)
        if (refusal := refused(said)) is not None:
            return refusal
        data = mapping(said) or {}
        if data.get("done") is True and isinstance(data.get("response"), str):
            return another(replace(wanted, model=_tagged(wanted.model)), _tagged(name(data.get("model")) or "")) or HOT
        names = _names(said)
        if names is None or wanted.model:
            return nonsense(said)
        if not names:
            # Its disk looks like its memory, and is empty only while it fetches its first model.
            return Judgement(Verdict.NOT_YET, "it has no model yet", next_ask=Ask("/api/tags"))
        return chosen(wanted, names, partial(_prompt, wanted))


def _names(said: Said | None) -> tuple[str, ...] | None:
    models = mappings(inner(mapping(said), "models"))
    if models is None:
        return None
    return tuple(_tagged(found) for each in models if (found := name(each.get("name"))))


def _tagged(model: str) -> str:
    """As it writes names itself: with a tag. No name stays none."""
    return model if not model or ":" in model.rpartition("/")[2] else f"{model}:latest"


def _prompt(wanted: Wanted, model: str) -> Ask:
    options = {"num_predict": 1}
    return Ask(
        "/api/generate",
        "POST",
        {"model": model, "prompt": wanted.prompt or "Hi", "stream": False, "options": options},
    )


KIND: Kind = Ollama()
