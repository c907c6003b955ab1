"""What every test shares, and the rule that CI leaves no test out unseen."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from ebbflow.standins import process
from ebbflow.standins.process import free_port
from tests.endurance import Endurance, hours
from tests.prefect_database import give_database
from tests.reaper import watching
from tests.sharing import ByFile, rank
from tests.slurm.cluster import HOW_TO_INSTALL, is_installed


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as Prefect does."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _ended_with_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test started outlives the session, also when that is interrupted or killed."""
    with watching(tmp_path_factory.getbasetemp()):
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Spread the files over the workers of the session, as `tests.sharing` says."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))
    # Prefect's threads in this process draw random numbers while Hypothesis draws examples, and it blames the strategy.
    others_draw = pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(others_draw)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Here, and not in the fixture: skips of one place are reported in one line.
    if "slurm_is_installed" in getattr(item, "fixturenames", ()) and not is_installed():
        pytest.skip(HOW_TO_INSTALL)


@pytest.fixture(scope="session")
def slurm_is_installed() -> None:
    """Skips the tests that take it where there is no Slurm."""


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process needs to talk to this session's Prefect server."""
    api_url = f"http://127.0.0.1:{free_port()}/api"
    home = tmp_path_factory.mktemp("prefect")
    environment = process.prefect_environment(home, api_url)
    return {
        **environment,
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_API_SSL_CERT_FILE": str(_one_certificate(home / "authority.pem")),
    }


def _one_certificate(path: Path) -> Path:
    """Prefect's clients read all authorities each time one is made, a hundred in some tests; loopback needs none."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    path.write_text(first + end, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def prefect_server(prefect_environment: dict[str, str]) -> Iterator[str]:
    """A real Prefect server on loopback with a database of its own, once per session; its API URL.

    This process talks to it as well, so that flows can be called and blocks saved in a test.
    """
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_SSL_CERT_FILE,
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_LOGGING_LEVEL,
        temporary_settings,
    )

    home = Path(prefect_environment["PREFECT_HOME"])
    port = urlsplit(prefect_environment["PREFECT_API_URL"]).port or 0
    give_database(home, prefect_environment)
    with process.prefect_server(home, port=port, environment=prefect_environment) as url:
        settings = {
            PREFECT_API_URL: url,
            PREFECT_HOME: home,
            PREFECT_LOGGING_LEVEL: "WARNING",
            PREFECT_API_SSL_CERT_FILE: prefect_environment["PREFECT_API_SSL_CERT_FILE"],
        }
        with temporary_settings(settings):
            yield url
            # What is still to be logged when the server has ended is tried again for a minute, at the session's end.
            APILogWorker.drain_all(timeout=10)


TOLD = "told"


@pytest.fixture
def tells(record_property: Callable[[str, object], None]) -> Callable[[str, Mapping[str, int]], None]:
    """Counts something under a title; the counts of all tests are added up and printed at the end of the session."""

    def tell(title: str, counts: Mapping[str, int]) -> None:
        record_property(TOLD, [title, dict(counts)])

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                for title, counts in (value for name, value in report.user_properties if name == TOLD):
                    told.setdefault(title, Counter()).update(counts)
    for title, counts in sorted(told.items()):
        terminalreporter.write_line(f"{title}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


@pytest.fixture
def endurance(request: pytest.FixtureRequest) -> Endurance:
    """The time that this test has. What it says is seen at once where pytest does not capture it (`-s`)."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return Endurance(say, request.node.name, 3600 * hours())


class NothingSkipped:
    """Fails the session when a test was skipped that is not marked `may_skip`."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # An expected failure is reported as skipped too, but it ran.
        if report.skipped and not hasattr(report, "wasxfail") and "may_skip" not in report.keywords:
            self.skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        # A whole module that skips itself is skipped before its marks are known.
        if report.skipped:
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid in self.skipped:
            terminalreporter.write_line(f"FAILED {nodeid}: skipped in CI and not marked may_skip", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(NothingSkipped(), "nothing-skipped")
