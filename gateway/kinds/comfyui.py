"""ComfyUI. Facts: 0.8.0, RUN; 0.38.1, SRC.

Its port is refused for the ten seconds of its start. Nothing tells which models it holds, so it is ready once it
answers; and the same graph again comes out of its cache at once. It has no key: keep its port closed to strangers.
"""

import re
from collections.abc import Mapping

from ebbflow.core.text import one_line
from ebbflow.gateway.kinds.answers import count, inner, mapping
from ebbflow.gateway.kinds.judging import (
    HOT,
    answered,
    json_of,
    nonsense,
    not_ready,
    own_prompt,
    refused,
    unready,
    wrong,
)
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Reading, Said, Standing, Verdict, Wanted

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CLIENT = "ebbflow-test"
"""Without one, the progress of a job is told to everybody who looks at that ComfyUI."""


class ComfyUi:
    """Tells the sum of what runs and what waits."""

    name = "comfyui"
    key_header = KeyHeader.BEARER
    lag_seconds = 0.0
    usual_port = 8188

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its count. Not its queue, which holds whole graphs."""
        return {"count": Ask("/prompt")}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """It counts both together."""
        if (loading := unready(said.get("count"))) is not None:
            return loading
        told = inner(mapping(said.get("count")), "exec_info")
        if not isinstance(told, Mapping):
            return not_ready("it does not answer as a ComfyUI does")
        return Reading(Standing.READY, running=count(told.get("queue_remaining")))

    def test(self, wanted: Wanted) -> Ask | None:
        """The person's own graph, in the form that "Save (API Format)" writes."""
        if wanted.prompt_path:
            return own_prompt(wanted)
        if not wanted.prompt:
            return None
        return Ask("/prompt", "POST", {"prompt": json_of(wanted), "client_id": CLIENT})

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A job is asked for by its number until it is done.

        By `/api/jobs`: `/history` says the same nothing of one that waits, that runs and that is unknown, not even its
        number.
        """
        if wanted.prompt_path:
            return answered(wanted, said)
        if said.status == 404:
            return wrong(
                "it does not know the job of the test: somebody has deleted it, or this ComfyUI has no /api/jobs"
            )
        if (refusal := refused(said)) is not None:
            return refusal
        data = mapping(said) or {}
        job, status = data.get("prompt_id", data.get("id")), data.get("status")
        if status == "completed":
            return HOT
        if status in ("failed", "cancelled"):
            # In 0.8.0 a job that somebody interrupted has failed, too.
            error = inner(data, "execution_error", "exception_message")
            reason = f": {one_line(error)}" if isinstance(error, str) else ""
            return wrong(f"the job of the test is told as {status}{reason}")
        if not isinstance(job, str) or not JOB_ID.fullmatch(job):
            return nonsense(said)
        return Judgement(Verdict.NOT_YET, "the job of the test is not done", Ask(f"/api/jobs/{job}"))


KIND: Kind = ComfyUi()
