"""Triton Inference Server. Facts: 2.51.0, RUN (python backend); 2.73, SRC for names.

`/v2/health/ready` is not asked: with `--model-control-mode=explicit` it is 200 where no model was ever loaded.
"""

from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from ebbflow.gateway.kinds.answers import inner, mapping, mappings, name, parsed
from ebbflow.gateway.kinds.judging import (
    HOT,
    another,
    answered,
    chosen,
    json_of,
    nonsense,
    not_ready,
    own_prompt,
    refused,
    unready,
)
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Port, Reading, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.prometheus import total, whole

INDEX = Ask("/v2/repository/index", "POST", {})


class Triton:
    """Tells of each model whether it is there; what waits, but not what runs, on a port of its own (8002)."""

    name = "triton"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 8000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Whether the wanted model is ready, or which ones are."""
        models = Ask(f"/v2/models/{quote(wanted.model, safe='')}/ready") if wanted.model else INDEX
        return {"models": models, "metrics": Ask("/metrics", port=Port.METRICS)}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """A model that loads, that was unloaded and that is unknown are all 400. What waits excludes what runs."""
        models = said.get("models")
        if wanted.model and models is not None and models.status == 400:
            return not_ready(f"its model {wanted.model} is not ready: it loads, was unloaded, or is unknown")
        if (loading := unready(models)) is not None:
            return loading
        if not wanted.model and not _ready_ones(models):
            return not_ready("none of its models is ready")
        metrics, labels = said.get("metrics"), {"model": wanted.model} if wanted.model else {}
        return Reading(
            Standing.READY,
            queued=whole(metrics, "nv_inference_pending_request_count", **labels),
            served=total(metrics, "nv_inference_request_success", **labels),
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """The person's own body for `infer`; where no model is wanted, the first ready one of its list is taken."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        if not wanted.prompt:
            return None
        # Made also where the list comes first, so that a prompt that is no JSON is refused when it is said.
        infer = _prompt(wanted, wanted.model)
        return infer if wanted.model else INDEX

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """An unknown model is 404, a full queue 503."""
        if said.status == 400 and "not ready" in said.text:
            return Judgement(Verdict.NOT_YET, "its model is not ready")
        if wanted.prompt_path:
            return answered(wanted, said)
        if (refusal := refused(said)) is not None:
            return refusal
        if mappings(inner(mapping(said), "outputs")):
            return another(wanted, inner(mapping(said), "model_name")) or HOT
        if wanted.model or not wanted.prompt or mappings(parsed(said)) is None:
            return nonsense(said)
        return chosen(wanted, _ready_ones(said), partial(_prompt, wanted))


def _ready_ones(said: Said | None) -> tuple[str, ...]:
    rows = mappings(parsed(said)) or ()
    return tuple(found for row in rows if row.get("state") == "READY" and (found := name(row.get("name"))))


def _prompt(wanted: Wanted, model: str) -> Ask:
    return Ask(f"/v2/models/{quote(model, safe='')}/infer", "POST", json_of(wanted))


KIND: Kind = Triton()
