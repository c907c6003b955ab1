"""LitServe. Facts: 0.2.19, RUN.

Its port is refused until its first worker has set up, and its health is 503 until all of them have. The key is needed
for its health too.
"""

from collections.abc import Mapping

from ebbflow.gateway.kinds.judging import answered, own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted


class LitServe:
    """Tells whether it is ready, and nothing else."""

    name = "litserve"
    key_header = KeyHeader.X_API_KEY
    lag_seconds = 0.0
    usual_port = 8000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its health."""
        return {"health": Ask("/health")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """It has no figures."""
        return unready(said.get("health")) or Reading(Standing.READY)

    def test(self, wanted: Wanted) -> Ask | None:
        """The person's own prompt."""
        return own_prompt(wanted, "/predict") if wanted.prompt or wanted.prompt_path else None

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """504 means that it waited too long for a worker."""
        return answered(wanted, said)


KIND: Kind = LitServe()
