"""Where our rules differ from the library's that they come from: one switch per difference, all on by default.

Each rule in `opengris_1_15` and `opengris_2_9` answers exactly as its library with `LIBRARY`, and as we do with
`CORRECTED`. A policy names those that can be switched off in a fleet, and its reasons name those that mattered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ebbflow.core.plan import Reason, Want

Answer = TypeVar("Answer", int, tuple[Want, ...])


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is done otherwise than in opengris-scaler; False is the library's own behaviour."""

    count_starting: bool = True
    """Launches in flight count as workers and groups; the library starts another at each heartbeat until one joins."""
    cap_batch: bool = True
    """The cap holds over all commands of one round, in order of first appearance, not for each command alone."""
    stop_secondary: bool = True
    """`fixed_elastic` stops its least busy secondary, as its text says; in the library the set to choose from is empty.
    """
    retry_primary: bool = True
    """The primary counts as started once a start has succeeded; in the library once it was asked for."""
    guard_connected: bool = True
    """"The last group" is told by the members that are connected, not by the ids of an answer, which may be missing."""
    compare_amounts: bool = True
    """Amounts are compared, each need counts by itself; in the library {gpu: 4} fits {gpu: 1}, and the first speaks."""
    count_once: bool = True
    """A task counts once, one total per manager; in the library a GPU task also starts a worker without GPU."""
    step_down: bool = True
    """One step down at a time, and a target is shared by its managers; in the library 9 tasks on 10 workers leave 1."""
    read_minus_one: bool = True
    """-1 is "unlimited" and other negative numbers are refused; the library takes them, and in its waterfall -1 holds
    nothing and adds one elsewhere."""
    lend_wanted: bool = True
    """`capability` counts on workers wanted for one kind of task for others too; in the library each kind is by itself.
    """
    stop_idle_only: bool = True
    """Only idle groups are stopped, each once; in the library a group goes while its tasks run."""
    unknown_holds: bool = True
    """Unknown demand changes nothing; to the library no answer is no work."""

    def without(self, *names: str) -> "Corrections":
        """The same with some switched off."""
        return replace(self, **dict.fromkeys(names, False))


CORRECTED = Corrections()

LIBRARY = CORRECTED.without(*Corrections.__slots__)


def told(
    kind: str,
    off: Sequence[str],
    possible: Sequence[str],
    answer: Callable[[Corrections], Answer],
    *,
    is_starting: bool,
) -> tuple[Answer, tuple[Reason, ...]]:
    """Answer with a policy's corrections, and say which of them changed the answer.

    Args:
        kind: the policy.
        off: corrections that its fleet has switched off.
        possible: all that have a meaning for it.
        answer: its rule.
        is_starting: whether there is a launch in flight; without one `count_starting` corrects nothing.
    """
    corrections = CORRECTED.without(*off) if off else CORRECTED
    given = answer(corrections)
    reasons = []
    for name in possible:
        if name in off or (name == "count_starting" and not is_starting):
            continue
        other = answer(corrections.without(name))
        if other != given:
            count = other if isinstance(other, int) else sum(want.count for want in other)
            text = f"the library's rule, without this correction, would want {count}"
            reasons.append(Reason(f"policy.{kind}.{name}", text))
    return given, tuple(reasons)
