"""SGLang. Facts: SGLang 0.5.23, SRC (read in its wheel, not run).

`/health` is not asked: it makes the model generate, and takes a second at least. Its port is refused until the model is
loaded, and `/ready` answers 503 until it has warmed up.
"""

from collections.abc import Mapping
from functools import partial

from ebbflow.gateway.kinds.answers import count, inner, mapping, mappings
from ebbflow.gateway.kinds.judging import own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.openai_like import completion, is_completion, listed
from ebbflow.gateway.kinds.prometheus import total


class Sglang:
    """Tells what runs and what waits; the tokens that it made only with `--enable-metrics`."""

    name = "sglang"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 30000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """The loads need the key."""
        return {"ready": Ask("/ready"), "loads": Ask("/v1/loads?include=core"), "metrics": Ask("/metrics")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """Each rank of a server with several has a load of its own."""
        if (loading := unready(said.get("ready"))) is not None:
            return loading
        ranks = mappings(inner(mapping(said.get("loads")), "loads"))
        return Reading(
            Standing.READY,
            running=_sum(ranks, "num_running_reqs"),
            queued=_sum(ranks, "num_waiting_reqs"),
            served=total(said.get("metrics"), "sglang:generation_tokens_total"),
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """Its list of models: the wanted one must be in it, or the first one is taken; then one token."""
        return own_prompt(wanted) if wanted.prompt_path else Ask("/v1/models")

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """The list is what counts: its answer to a prompt may repeat whatever model was asked for."""
        return listed(wanted, said, is_good=is_completion, prompt=partial(completion, wanted))


def _sum(ranks: tuple[Mapping[str, object], ...] | None, key: str) -> int | None:
    counts = [count(rank.get(key)) for rank in ranks or ()]
    known = [each for each in counts if each is not None]
    return sum(known) if known and len(known) == len(counts) else None


KIND: Kind = Sglang()
