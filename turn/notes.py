"""What came of an action, as the note on a claim tells it."""

from ebbflow.core.errors import (
    BudgetOver,
    CapacityUnavailable,
    ConfigError,
    FleetError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    RegistrationRejected,
)
from ebbflow.core.plan import Action, Outcome, Result
from ebbflow.core.text import one_line


def note(action: Action, result: Result, detail: str = "") -> Outcome:
    """What came of an action."""
    return Outcome(action.verb, action.worker_id, action.provider, result, one_line(detail))


def outcome_of(action: Action, error: FleetError) -> Outcome:
    """The note on an action that failed."""
    results: tuple[tuple[type[FleetError], Result], ...] = (
        (CapacityUnavailable, Result.CAPACITY),
        (LaunchRejected, Result.REJECTED),
        (RegistrationRejected, Result.REJECTED),
        (ConfigError, Result.REJECTED),
        (LaunchOutcomeUnknown, Result.UNKNOWN),
        (BudgetOver, Result.NOT_BEGUN),
    )
    result = next((result for kind, result in results if isinstance(error, kind)), Result.FAILED)
    return note(action, result, str(error))
