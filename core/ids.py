"""Names that must never collide: fleets, homes, chains and worker ids.

A worker id is `<fleet>-<chain>-<number>-<index>`: four random characters of the chain's first record, the claim's
number in base 36, and a count within the claim. It is made before the launch, never used again, and compared whole.
"""

import re
from dataclasses import dataclass

from ebbflow.core.errors import ConfigError

FLEET_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
HOME = re.compile(r"[a-z0-9]{5}")
CHAIN = re.compile(r"[a-z0-9]{4}")
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
MAX_WORKER_ID = 40

_WORKER_ID = re.compile(
    rf"(?P<fleet>{FLEET_NAME.pattern})-(?P<chain>{CHAIN.pattern})-(?P<number>0|[1-9a-z][0-9a-z]*)-(?P<index>0|[1-9][0-9]*)"
)


@dataclass(frozen=True, slots=True)
class WorkerName:
    """The parts of a worker id."""

    fleet: str
    chain: str
    number: int
    index: int

    def __str__(self) -> str:
        """The id as it stands in job names, pod names, labels and titles."""
        return f"{self.fleet}-{self.chain}-{base36(self.number)}-{self.index}"


def base36(number: int) -> str:
    """Write a non-negative number with the digits 0-9a-z."""
    if number < 0:
        raise ValueError(f"base36 needs a number of at least 0, got {number}")
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = ALPHABET[rest] + digits
        if not number:
            return digits


def worker_id(*, fleet: str, chain: str, number: int, index: int) -> str:
    """Make the id of one launch.

    Raises:
        ConfigError: the id would not fit into 40 characters, or a part is malformed.
    """
    check_fleet_name(fleet)
    if not CHAIN.fullmatch(chain):
        raise ConfigError(f"chain {chain!r}: expected four characters of [a-z0-9]")
    name = str(WorkerName(fleet, chain, number, index))
    if len(name) > MAX_WORKER_ID:
        raise ConfigError(
            f"worker id {name!r} has {len(name)} characters, at most {MAX_WORKER_ID} fit into every label"
        )
    return name


def parse_worker_id(text: str) -> WorkerName | None:
    """Take a worker id apart, or answer None where the text is not one."""
    found = _WORKER_ID.fullmatch(text)
    if found is None or len(text) > MAX_WORKER_ID:
        return None
    return WorkerName(found["fleet"], found["chain"], int(found["number"], 36), int(found["index"]))


def check_fleet_name(name: str) -> str:
    """Return the name if it can be part of every label, else say what would be right.

    Raises:
        ConfigError: names the value and the rule.
    """
    if not FLEET_NAME.fullmatch(name):
        raise ConfigError(
            f"fleet name {name!r}: expected 2 to 20 characters of [a-z0-9-], beginning with a letter "
            "and not ending with a hyphen, for instance 'sdxl' or 'llm-prod'"
        )
    return name


def check_home(home: str) -> str:
    """Return the home if it is one.

    Raises:
        ConfigError: names the value and the rule.
    """
    if not HOME.fullmatch(home):
        raise ConfigError(f"home {home!r} (Prefect Variable ebbflow_home): expected five characters of [a-z0-9]")
    return home
