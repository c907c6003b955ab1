"""Text Generation Inference. Facts: TGI 3.3.7, the newest tag, SRC (read, not run).

Its key guards only the routes that generate: keep its port closed to strangers.
"""

from collections.abc import Mapping

from ebbflow.gateway.kinds.answers import mapping
from ebbflow.gateway.kinds.judging import HOT, answered, chosen, nonsense, own_prompt, refused, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.prometheus import total, whole


class Tgi:
    """Tells what runs, what waits and how many requests came."""

    name = "tgi"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 80

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its health, and its figures."""
        return {"health": Ask("/health"), "metrics": Ask("/metrics")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """What runs is the batch that it works on."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        metrics = said.get("metrics")
        return Reading(
            Standing.READY,
            running=whole(metrics, "tgi_batch_current_size"),
            queued=whole(metrics, "tgi_queue_size"),
            served=total(metrics, "tgi_request_count"),
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """One token. Its answer names no model, so where one is wanted, `/info` is asked before."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        return Ask("/info") if wanted.model else _prompt(wanted)

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A prompt that it has no room for is 429; one that failed is 424."""
        if wanted.prompt_path:
            return answered(wanted, said)
        if (refusal := refused(said)) is not None:
            return refusal
        data = mapping(said) or {}
        if isinstance(data.get("generated_text"), str):
            return HOT
        if isinstance(model := data.get("model_id"), str):
            return chosen(wanted, (model,), lambda _: _prompt(wanted))
        return nonsense(said)


def _prompt(wanted: Wanted) -> Ask:
    return Ask("/generate", "POST", {"inputs": wanted.prompt or "Hi", "parameters": {"max_new_tokens": 1}})


KIND: Kind = Tgi()
