"""What is seen of launch scripts and their workers: processes here, and what their output was found to say.

A worker is more than its script: `sbatch` ends at once while its job lives. So "the script has exited" and "the worker
has ended" are two things, and `lives_while` says what the one means for the other.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from ebbflow.adapters.launch_output import Failed, LaunchProblem, Refused, Result, Url
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.launch_script_state import ExitCode
from ebbflow.adapters.providers.host.launch_script_verdicts import LaunchScriptVerdicts
from ebbflow.adapters.providers.host.listing import DetachedListing, HostLook, Place
from ebbflow.adapters.providers.host.logs import STDERR, STDOUT, cut, last_words
from ebbflow.adapters.providers.host.processes import ProcessId
from ebbflow.adapters.providers.host.records import Moment, WorkerFolder, WorkerRecord
from ebbflow.core.instance import Failure, Instance, InstanceState


class LaunchScriptListing(DetachedListing):
    """Looks at the workers of one launch script.

    Args:
        settings: the script's.
        place: which workers are its.
        verdicts: reads what it printed.
        clock: epoch seconds, for the note that an end was seen.
    """

    def __init__(
        self,
        settings: LaunchScriptSettings,
        place: Place,
        verdicts: LaunchScriptVerdicts,
        *,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(place, clock=clock)
        self._settings = settings
        self._verdicts = verdicts

    def note_exit(self, folder: WorkerFolder, record: WorkerRecord) -> None:
        """Keep the exit code of a script that this process started; best effort, it is for people only."""
        process = record.process
        if process is None or record.has_exited or record.ended:
            return
        code = processes.exit_code(process)
        if code is not None:
            with suppress(OSError):
                folder.write("exit-code.json", ExitCode(code), replace=False)

    def second_look(self, looks: list[HostLook]) -> list[HostLook]:
        """Before an end is believed: is its group empty, and does nobody print to its files any more?

        That is how children are found that lost their environment on the way (`sudo`, `env -i`), and daemons that left
        the group.
        """
        ends = [look for look in looks if look.has_unexplained_end]
        writing = processes.writers(self._place.state_folder) if ends else {}
        return [_with_others(look, writing) if look in ends else look for look in looks]

    def describe_started(self, look: HostLook) -> Instance:
        """A worker whose script was started, as others shall see it; the first look at an end or a verdict notes it."""
        record, live = look.record, look.live
        has_exited = not live
        if has_exited and not record.has_exited:
            look.folder.write("exited.json", Moment(self._clock()), replace=False, sync=False)
        result = self._verdicts.verdict(look, has_exited=has_exited)
        if live:
            cut(look.folder.path)
        state, failure, detail = self._judge(look, result, has_exited=has_exited)
        if state is InstanceState.FAILED:
            detail = self._with_circumstances(look, result, detail, has_exited=has_exited)
        url = result if isinstance(result, Url) else None
        return self.instance(look, state, url=url, failure=failure, detail=detail, first=processes.leader(live))

    def _judge(
        self, look: HostLook, result: Result | None, *, has_exited: bool
    ) -> tuple[InstanceState, Failure | None, str]:
        record = look.record
        if record.ended is not None:
            if not has_exited:
                return InstanceState.TERMINATING, None, "asked to end"
            return InstanceState.GONE, None, "terminated" if record.ended.by_us else "the script ended"
        if record.is_terminating:
            return InstanceState.TERMINATING, None, "asked to end"
        match result:
            case Refused(reason):
                return InstanceState.FAILED, Failure.CAPACITY, f"declared failed: {reason or 'no reason given'}"
            case Failed(LaunchProblem.TIMEOUT, detail):
                return InstanceState.FAILED, Failure.TIMEOUT, f"timeout: {detail}"
            case Failed(kind, detail):
                return InstanceState.FAILED, Failure.OUTPUT, f"{kind.value}: {detail}"
            case Url(_, retries):
                if has_exited and self._settings.lives_while == "script":
                    return self._ended_by_itself(look)
                asks = "" if retries is None else f"asks for {retries} retries"
                return InstanceState.RUNNING, None, asks
            case None:
                return InstanceState.STARTING, None, ""

    def _ended_by_itself(self, look: HostLook) -> tuple[InstanceState, Failure | None, str]:
        if self._settings.stop_script is not None:
            # Not gone yet: what the script left elsewhere is ended by the terminations that this state brings about.
            return InstanceState.TERMINATING, None, "the script ended; its stop script is still to run"
        look.folder.write("ended.json", Moment(self._clock()), replace=False)
        self._verdicts.give_up_address(look)
        return InstanceState.GONE, None, "the script ended"

    def _with_circumstances(self, look: HostLook, result: Result | None, detail: str, *, has_exited: bool) -> str:
        code = look.folder.load(ExitCode, "exit-code.json")
        if has_exited and code is not None and not isinstance(result, Refused):
            detail = f"{detail}; exit code {code.code}"
        words = last_words(look.folder.path / STDERR)
        return f"{detail}; last line of stderr: {words}" if words else detail


def _with_others(look: HostLook, writing: Mapping[str, Sequence[ProcessId]]) -> HostLook:
    others = {}
    for name in (STDOUT, STDERR):
        others.update({each.pid: each for each in writing.get(str(look.folder.path / name), ())})
    if look.record.process is not None:
        others.update({each.pid: each for each in processes.left_in_group(look.record.process)})
    return replace(look, others=tuple(others.values()))
