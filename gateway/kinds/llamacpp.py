"""The server of llama.cpp, alone or as a router of several models. Facts: build b11434, SRC (read, not run).

Any other path than the four asked here would wake a model that sleeps, and so would a `model=` without
`autoload=false` load one.
"""

from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from ebbflow.gateway.kinds.answers import count, inner, mapping, mappings, name
from ebbflow.gateway.kinds.judging import own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.openai_like import listed
from ebbflow.gateway.kinds.prometheus import total, whole

ON_THEIR_WAY = ("loading", "downloading")
ASLEEP = ("sleeping", "unloaded")


class LlamaCpp:
    """Tells whether it sleeps; with `--metrics` what runs, what waits, and the tokens that it made."""

    name = "llamacpp"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 8080

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """All but its health need the key. A router has figures only of a model that is named."""
        of_model = f"?model={quote(wanted.model, safe='')}&autoload=false" if wanted.model else ""
        return {
            "health": Ask("/health"),
            "props": Ask("/props"),
            "models": Ask("/models"),
            "metrics": Ask(f"/metrics{of_model}"),
        }

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """Its health is good also while its model sleeps."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        standing, detail = _standing(wanted, said)
        metrics = said.get("metrics")
        return Reading(
            standing,
            running=whole(metrics, "llamacpp:requests_processing"),
            queued=whole(metrics, "llamacpp:requests_deferred"),
            served=total(metrics, "llamacpp:tokens_predicted_total"),
            detail=detail,
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """Its list of models: the wanted one must be in it, or the first one is taken; then one token."""
        return own_prompt(wanted) if wanted.prompt_path else Ask("/models")

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """While it loads, every path is 503."""
        return listed(wanted, said, is_good=_is_completion, prompt=partial(_prompt, wanted))


def _standing(wanted: Wanted, said: Mapping[str, Said]) -> tuple[Standing, str]:
    props = mapping(said.get("props"))
    if inner(props, "role") != "router":
        is_asleep = inner(props, "is_sleeping") is True
        return (Standing.ASLEEP, "its model is asleep") if is_asleep else (Standing.READY, "")
    models = mappings(inner(mapping(said.get("models")), "data")) or ()
    of_wanted = [each for each in models if wanted.model in ("", each.get("id"))]
    states = {name(inner(each, "status", "value")) for each in of_wanted}
    if "loaded" in states:
        return Standing.READY, ""
    if not states.isdisjoint(ON_THEIR_WAY):
        return Standing.LOADING, "its model is on its way"
    if states.isdisjoint(ASLEEP):
        return Standing.LOADING, f"it does not tell of {wanted.model or 'any model'}"
    codes = [code for each in of_wanted if (code := count(inner(each, "status", "exit_code")))]
    return Standing.ASLEEP, f"its model failed to load with {codes[0]}" if codes else "its model is not loaded"


def _prompt(wanted: Wanted, model: str) -> Ask:
    return Ask("/completion", "POST", {"model": model, "prompt": wanted.prompt or "Hi", "n_predict": 1})


def _is_completion(data: Mapping[str, object]) -> bool:
    return isinstance(data.get("content"), str)


KIND: Kind = LlamaCpp()
