"""vLLM. Facts: vLLM 0.33.0, SRC (read in its wheel, not run).

While it loads its port is refused. `/load` is not asked: it stays 0 unless a flag is set.
"""

from collections.abc import Mapping
from functools import partial

from ebbflow.gateway.kinds.judging import own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.openai_like import completion, is_completion, listed
from ebbflow.gateway.kinds.prometheus import samples, total, whole


class Vllm:
    """Tells all: whether it sleeps, what runs, what waits, and the tokens that it made."""

    name = "vllm"
    key_header = KeyHeader.BEARER
    lag_seconds = 1.0
    usual_port = 8000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its health, and its figures, which need no key."""
        return {"health": Ask("/health"), "metrics": Ask("/metrics")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """With `--disable-log-stats` it has no figures, and does not tell whether it sleeps."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        metrics = said.get("metrics")
        states = samples(metrics, "vllm:engine_sleep_state")
        is_asleep = any(each.value > 0 and each.labels.get("sleep_state") != "awake" for each in states)
        return Reading(
            Standing.ASLEEP if is_asleep else Standing.READY,
            running=whole(metrics, "vllm:num_requests_running"),
            queued=whole(metrics, "vllm:num_requests_waiting"),
            served=total(metrics, "vllm:generation_tokens_total"),
            detail="its model is asleep" if is_asleep else "",
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """One token of the wanted model; where none is, of the first one of its list, which is asked for first."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        return completion(wanted, wanted.model) if wanted.model else Ask("/v1/models")

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A good answer names its model; an unknown one is 404."""
        return listed(wanted, said, is_good=is_completion, prompt=partial(completion, wanted))


KIND: Kind = Vllm()
