"""What a worker's output was found to say, noted once and for good: the output itself may be cut afterwards."""

from dataclasses import dataclass

from ebbflow.adapters.launch_output import Failed, LaunchProblem, Refused, Result, Url
from ebbflow.adapters.providers.host.records import WorkerFolder
from ebbflow.core.errors import ProviderUnavailable

NAME = "verdict.json"


@dataclass(frozen=True, slots=True)
class OutputVerdict:
    """A `Result` as a file."""

    outcome: str
    """`url`, `refused`, or how it failed."""
    text: str
    retries: int | None = None

    @classmethod
    def of(cls, result: Result) -> "OutputVerdict":
        """Write a result down."""
        match result:
            case Url(url, retries):
                return cls("url", url, retries)
            case Refused(reason):
                return cls("refused", reason)
            case Failed(kind, detail):
                return cls(kind.value, detail)

    @property
    def result(self) -> Result:
        """The result as the parser gave it.

        Raises:
            ValueError: it is none.
        """
        if self.outcome == "url":
            return Url(self.text, self.retries)
        if self.outcome == "refused":
            return Refused(self.text)
        return Failed(LaunchProblem(self.outcome), self.text)


def noted_result(folder: WorkerFolder) -> Result | None:
    """What was noted of a worker; None where nothing is decided yet.

    Raises:
        ProviderUnavailable: the note cannot be read.
    """
    noted = folder.load(OutputVerdict, NAME)
    try:
        return None if noted is None else noted.result
    except ValueError as error:
        raise ProviderUnavailable(f"{folder.label} cannot read {folder.path}: {NAME}: {error}") from error


def note_result(folder: WorkerFolder, result: Result) -> Result:
    """Note it, unless another run was first; what stands there now.

    Raises:
        OSError: it cannot be noted.
        ProviderUnavailable: the note cannot be read.
    """
    folder.write(NAME, OutputVerdict.of(result), replace=False)
    return noted_result(folder) or result
