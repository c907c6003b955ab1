"""BentoML. Facts: 1.4.40, RUN.

While it loads its port is open and nothing answers. It has no key: keep its port closed to strangers.
"""

from collections.abc import Mapping

from ebbflow.gateway.kinds.judging import answered, own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.prometheus import total, whole


class BentoMl:
    """Tells the sum of what runs and what waits, and how many requests came."""

    name = "bentoml"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 3000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its readiness, and its figures."""
        return {"ready": Ask("/readyz"), "metrics": Ask("/metrics")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """It counts both together."""
        if (loading := unready(said.get("ready"))) is not None:
            return loading
        metrics = said.get("metrics")
        return Reading(
            Standing.READY,
            running=whole(metrics, "bentoml_service_request_in_progress"),
            served=total(metrics, "bentoml_service_request_total"),
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """The person's own prompt, to a path that only they know."""
        return own_prompt(wanted) if wanted.prompt or wanted.prompt_path else None

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """No room is 429, and 504 once it waited for a minute."""
        return answered(wanted, said)


KIND: Kind = BentoMl()
