"""What both programs of the host have in their settings, as fields and as the adapter sees them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, SecretStr


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


StateFolder = Annotated[Path, AfterValidator(_absolute)]
"""Where records and logs are; `~` is replaced."""


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
    def secret_environment(self) -> Mapping[str, SecretStr]:
        """The same for keys and tokens."""
        ...

    @property
    def capabilities(self) -> Sequence[str]:
        """What workers can do."""
        ...

    @property
    def usd_per_hour(self) -> float | None:
        """What one worker costs, if it shall be counted."""
        ...
