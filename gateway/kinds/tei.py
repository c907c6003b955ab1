"""Text Embeddings Inference. Facts: TEI 1.9.3, SRC (read, not run), of its HTTP build: figures on the same port."""

from collections.abc import Mapping

from ebbflow.gateway.kinds.answers import inner, is_vector, mapping, parsed
from ebbflow.gateway.kinds.judging import HOT, answered, chosen, nonsense, own_prompt, refused, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.prometheus import total, whole


class Tei:
    """Tells what waits and how many requests came, but not what runs."""

    name = "tei"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 80

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its health, and its figures, which need no key."""
        return {"health": Ask("/health"), "metrics": Ask("/metrics")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """It has no figure of what runs."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        metrics = said.get("metrics")
        return Reading(
            Standing.READY, queued=whole(metrics, "te_queue_size"), served=total(metrics, "te_request_count")
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """One short text to embed. Its answer names no model, so where one is wanted, `/info` is asked before.

        A model that ranks or classifies embeds nothing: it needs a prompt and a path of the person's own.
        """
        if wanted.prompt_path:
            return own_prompt(wanted)
        return Ask("/info") if wanted.model else _prompt(wanted)

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A prompt that it has no room for is 429; one that its model cannot take is 424."""
        if wanted.prompt_path:
            return answered(wanted, said)
        if (refusal := refused(said)) is not None:
            return refusal
        data = parsed(said)
        if isinstance(data, list) and data and all(is_vector(each) for each in data):
            return HOT
        if isinstance(model := inner(mapping(said), "model_id"), str):
            return chosen(wanted, (model,), lambda _: _prompt(wanted))
        return nonsense(said)


def _prompt(wanted: Wanted) -> Ask:
    return Ask("/embed", "POST", {"inputs": wanted.prompt or "Hi"})


KIND: Kind = Tei()
