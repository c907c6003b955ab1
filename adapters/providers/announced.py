"""What a worker's log announces, where the launch-script protocol is read from a log that a provider keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.adapters.launch_output import Failed, Refused, Url, bad_url, read_launch_output
from ebbflow.core.addresses import url_problem
from ebbflow.core.instance import Failure


@dataclass(frozen=True, slots=True)
class Announced:
    """What a worker said in its log."""

    url: str | None = None
    retries: int | None = None
    failure: Failure | None = None
    detail: str = ""
    """Of its failure; or while nothing is decided, of a line that was meant as a message and is none."""

    @property
    def is_decided(self) -> bool:
        """Whether it has announced an address, or that there will be none."""
        return self.url is not None or self.failure is not None


def read_announced(text: bytes, places: Mapping[str, str] | None = None) -> Announced:
    """Read a log as far as it goes.

    Args:
        text: the log, or its end.
        places: what `{name}` in an announced address stands for.
    """
    said = read_launch_output(text)
    match said.result:
        case Url(url, retries):
            for name, value in (places or {}).items():
                url = url.replace(f"{{{name}}}", value or f"{{{name}}}")
            if problem := url_problem(url):
                return Announced(failure=Failure.OUTPUT, detail=f"bad_url: {bad_url(url, problem)}")
            return Announced(url, retries)
        case Refused(reason):
            return Announced(failure=Failure.CAPACITY, detail=f"declared failed: {reason or 'no reason given'}")
        case Failed(kind, detail):
            return Announced(failure=Failure.OUTPUT, detail=f"{kind.value}: {detail}")
    return Announced(detail=said.ignored)
