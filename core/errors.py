"""Every error that crosses a border in Ebbflow. The class answers: who must act, and is a retry useful?

::

    FleetError
    ├── ConfigError                 the operator must change something; never retried
    ├── RecordError                 a stored record is missing, edited or unreadable; the next turn starts a new chain
    ├── NotRecorded                 somebody asks about what is on no record; the error says what is
    ├── DryRunViolation             our bug: something that changes the world was reached in a dry run
    ├── BudgetOver                  the call does not fit into this turn any more; the next turn makes it
    ├── OverrideRefused             a scale-up or scale-down asks for more than the fleet's limits allow
    ├── ProviderError
    │   ├── CapacityUnavailable     normal weather; placement cools the provider down
    │   ├── ProviderUnavailable     temporary: timeout, 429, 5xx                       (is_temporary)
    │   ├── LaunchOutcomeUnknown    sent, no clear answer: not retried in this turn, counts as supply
    │   ├── TerminationRefused      the provider would not end it now; retried by every later turn
    │   └── LaunchRejected          permanent: bad command, partition, image, rights
    └── MasterError
        ├── MasterUnavailable       temporary: down, slow, 5xx                         (is_temporary)
        ├── MasterRejected          permanent
        └── RegistrationRejected    permanent: this worker must not be registered like this
"""


class FleetError(Exception):
    """Base of all errors that Ebbflow raises on purpose. The message says what was tried, with what, what came back."""

    is_temporary: bool = False
    """Whether the same call may succeed shortly; the only thing that retries look at."""


class ConfigError(FleetError):
    """The operator must change a block, a fleet or a server's settings. Never retried."""


class RecordError(FleetError):
    """A stored record is missing, was edited, or cannot be read."""


class NotRecorded(FleetError):
    """A person asks about something of which there is no record. The message says what there is."""


class OverrideRefused(FleetError):
    """A scale-up or scale-down asks for something that the fleet's limits forbid. Nothing was done."""


class BudgetOver(FleetError):
    """A call does not fit into what is left of the turn. It was not begun; the next turn makes it."""


class DryRunViolation(FleetError):
    """A dry run reached something that changes the world: a mistake of ours, stopped before it did."""


class ProviderError(FleetError):
    """Something went wrong where workers are launched."""


class CapacityUnavailable(ProviderError):
    """The provider has nothing to give at the moment: full queue, full quota, no offers, DeclareFailed."""


class ProviderUnavailable(ProviderError):
    """The provider did not answer usefully this time."""

    is_temporary = True


class LaunchOutcomeUnknown(ProviderError):
    """A launch was sent and got no clear answer. The listing decides; until then the wish counts as supply."""


class LaunchRejected(ProviderError):
    """The provider will never launch this request as it stands."""


class TerminationRefused(ProviderError):
    """The provider would not end the instance now. Every later turn asks again, and the record shows it."""


class MasterError(FleetError):
    """Something went wrong at the system that holds the queue."""


class MasterUnavailable(MasterError):
    """The master did not answer usefully this time."""

    is_temporary = True


class MasterRejected(MasterError):
    """The master refused for good."""


class RegistrationRejected(MasterError):
    """This worker must not be registered under this address and id."""
