"""What both programs of the host have in their settings, as fields and as the adapter sees them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator

from ebbflow.adapters.providers.given_environment import check_environment


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


StateFolder = Annotated[Path, AfterValidator(_absolute)]
"""Where records and logs are; `~` is replaced."""

GivenEnvironment = Annotated[dict[str, str], AfterValidator(check_environment)]
"""What an operator gives to workers; refused where no process can take it."""


class HostSettings(Protocol):
    """What the adapter itself reads."""

    @property
    def state_folder(self) -> Path:
        """Where records and logs of the workers are kept."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What workers get beside what we and the master give them."""
        ...

    @property
    def capabilities(self) -> Sequence[str]:
        """What workers can do."""
        ...

    @property
    def usd_per_hour(self) -> float | None:
        """What one worker costs, if it shall be counted."""
        ...
