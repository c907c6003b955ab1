"""Which tests run in one worker of a session, and what begins first."""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

TESTS = Path(__file__).parent

SERVERS = 2
"""A Prefect server costs as much as a hundred tests, so the files that need one share so many workers."""

LONGEST_FIRST = (
    "tests/e2e/test_trust.py",
    "tests/e2e/test_ten_seconds.py",
    "tests/e2e/test_deployed.py",
    "tests/e2e/test_whole_demo.py",
    "tests/e2e/test_interrupted_demo.py",
    "tests/e2e/test_vast_fleet.py",
    "tests/e2e/test_slurm_fleet.py",
    "tests/adapters/providers/slurm/test_adapter.py",
)
"""Those with a server before the others: nobody waits for them alone at the end."""

LONG_SECONDS = {
    "tests/e2e/test_ten_seconds.py": 640,
    "tests/e2e/test_deployed.py": 320,
    "tests/e2e/test_slurm_schedule.py": 280,
    "tests/e2e/test_trust.py": 210,
    "tests/e2e/test_several_ray.py": 130,
    "tests/services/hypha/test_end_to_end.py": 110,
}
"""Of files with a server, about, in the soak on two cores: they are shared out before the others, evenly."""

SPREAD_LAST = (
    "tests/decision/test_properties.py",
    "tests/policies/test_contract.py",
    "tests/turn/test_fault_search.py",
    "tests/turn/test_lying_world.py",
)
"""They only compute, and share nothing: one by one, they fill the time of whoever has nothing else left."""

NEEDS_SERVER = re.compile(r"\bprefect_(?:server|worlds?|of_module)\b")


@cache
def servers(count: int) -> dict[str, str]:
    """By file, which of the few workers that have a Prefect server runs it."""
    files = sorted(path for path in TESTS.rglob("test_*.py") if NEEDS_SERVER.search(path.read_text(encoding="utf-8")))
    names = [str(path.relative_to(TESTS.parent)) for path in files]
    seconds = [0] * count
    shares: dict[str, int] = {}
    for name in sorted(LONG_SECONDS, key=LONG_SECONDS.__getitem__, reverse=True):
        shares[name] = seconds.index(min(seconds))
        seconds[shares[name]] += LONG_SECONDS[name]
    others = (name for name in names if name not in shares)
    shares |= {name: number % count for number, name in enumerate(others)}
    return {name: f"prefect {shares[name]}" for name in names}


def rank(nodeid: str) -> tuple[bool, bool, int]:
    """What has the smallest begins first; tests of one rank stay in their order."""
    file = nodeid.partition("::")[0]
    first = {name: number for number, name in enumerate(LONGEST_FIRST)}
    return file in SPREAD_LAST, file not in servers(SERVERS), first.get(file, len(first))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """The tests of a file run in one worker, and those of all files that need a server in few.

    Not by xdist's own groups: with pytest 9.2 its version 3.8 does not see them (findings/xdist-groups.sh).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in SPREAD_LAST:
            return nodeid
        # So few workers need not be told apart, and whoever is done first takes the next file.
        return file if self.numnodes <= SERVERS else servers(SERVERS).get(file, file)
