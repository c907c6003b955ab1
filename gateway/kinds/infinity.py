"""Infinity. Facts: infinity-emb 0.0.78, RUN.

Its port is refused while it loads. Its queue is told as empty while requests wait for the batches they were cut into.
"""

from collections.abc import Mapping
from functools import partial

from ebbflow.gateway.kinds.answers import count, inner, is_vector, mapping, mappings
from ebbflow.gateway.kinds.judging import own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.openai_like import listed


class Infinity:
    """Tells that at least so many texts wait, if any; an empty queue tells nothing."""

    name = "infinity"
    key_header = KeyHeader.BEARER
    lag_seconds = 0.0
    usual_port = 7997

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its models need the key; by default there is no `/v1` before them."""
        return {"health": Ask("/health"), "models": Ask("/models")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """Its figures count texts, not requests."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        models = mappings(inner(mapping(said.get("models")), "data")) or ()
        waiting = sum(count(inner(each, "stats", "queue_absolute")) or 0 for each in models)
        return Reading(Standing.READY, queued=waiting or None)

    def test(self, wanted: Wanted) -> Ask | None:
        """One short text to embed; where no model is wanted, the list is asked for first, and the first one taken."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        return _prompt(wanted, wanted.model) if wanted.model else Ask("/models")

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A good answer names its model; no room is 429."""
        return listed(wanted, said, is_good=_is_embedding, prompt=partial(_prompt, wanted))


def _prompt(wanted: Wanted, model: str) -> Ask:
    return Ask("/embeddings", "POST", {"model": model, "input": [wanted.prompt or "Hi"]})


def _is_embedding(data: Mapping[str, object]) -> bool:
    vectors = mappings(data.get("data"))
    return bool(vectors) and all(is_vector(each.get("embedding")) for each in vectors or ())


KIND: Kind = Infinity()
