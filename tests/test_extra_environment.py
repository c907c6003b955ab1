"""An environment besides ours is made once, whoever asks, and one that cannot be made is a skip that says why."""

import fcntl
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.extra_environment import LISTS, ROOT, environment

NOWHERE = "http://127.0.0.1:9/simple"
WAIT_SECONDS = 60

ASK = """
import sys
from pathlib import Path
from tests.extra_environment import environment

print("asking", flush=True)
print(environment("tiny", lists=Path(sys.argv[1]), made=Path(sys.argv[2])))
"""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"CONFIG_FILE": os.devnull, "NO_CACHE_DIR": "1", "INDEX_URL": NOWHERE, "RETRIES": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Place:
    """A folder of lists, and one where the environments are made."""

    def __init__(self, folder: Path) -> None:
        self.lists = folder / "lists"
        self.made = folder / "made"
        self.lock = self.made / "tiny" / "lock"
        self.lists.mkdir()

    def want(self, *lines: str) -> None:
        (self.lists / "tiny.txt").write_text("\n".join(("# What these tests want.", *lines, "")), encoding="utf-8")

    def environment(self) -> Path:
        try:
            return environment("tiny", lists=self.lists, made=self.made)
        except pytest.skip.Exception as skipped:
            pytest.fail(f"it could be made: {skipped}")

    def reason(self) -> str:
        """Why a test that asks for it is skipped."""
        with pytest.raises(pytest.skip.Exception) as skipped:
            environment("tiny", lists=self.lists, made=self.made)
        return str(skipped.value)

    def ask(self) -> subprocess.Popen[str]:
        """Another process that asks for it."""
        words = [sys.executable, "-c", ASK, str(self.lists), str(self.made)]
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    @property
    def finished(self) -> list[Path]:
        return list(self.made.rglob("finished"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wheel(folder: Path, version: str, *, needs: tuple[str, ...] = ()) -> Path:
    """A package with one program, `tiny`, that prints its version."""
    path = folder / f"tiny-{version}-py3-none-any.whl"
    about = f"tiny-{version}.dist-info"
    required = "".join(f"Requires-Dist: {name}\n" for name in needs)
    files = {
        "tiny.py": f"def main():\n    print({version!r})\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n{required}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
        archive.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD")))
    return path


class Shop:
    """Serves one wheel, and counts who came for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.visits = 0
        self.visited = threading.Event()
        self.may_answer = threading.Event()

    @contextmanager
    def open(self) -> Iterator[str]:
        shop = self

        class Counter(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.visits += 1
                shop.visited.set()
                shop.may_answer.wait(WAIT_SECONDS)
                body = shop.path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Counter) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"tiny @ http://127.0.0.1:{server.server_port}/{self.path.name}"
            finally:
                shop.may_answer.set()
                server.shutdown()
                thread.join()


def said_by(program: Path) -> str:
    return subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=WAIT_SECONDS).stdout


def test_a_program_of_the_list_runs_in_it(place: Place, tmp_path: Path) -> None:
    place.want(f"tiny @ {wheel(tmp_path, '1.0').as_uri()}")
    assert said_by(place.environment() / "tiny") == "1.0\n"


def test_it_is_found_again_without_pip(place: Place, tmp_path: Path) -> None:
    package = wheel(tmp_path, "1.0")
    place.want(f"tiny @ {package.as_uri()}")
    first = place.environment()
    (mark,) = place.finished
    before = mark.stat()
    package.unlink()
    assert place.environment() == first
    assert (mark.stat().st_ino, mark.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_changed_list_makes_a_new_one(place: Place, tmp_path: Path) -> None:
    place.want(f"tiny @ {wheel(tmp_path, '1.0').as_uri()}")
    old = place.environment()
    place.want(f"tiny @ {wheel(tmp_path, '2.0').as_uri()}")
    new = place.environment()
    assert (said_by(old / "tiny"), said_by(new / "tiny")) == ("1.0\n", "2.0\n")


def test_two_processes_that_ask_at_once_make_one(place: Place, tmp_path: Path) -> None:
    shop = Shop(wheel(tmp_path, "1.0"))
    shop.may_answer.set()
    place.lock.parent.mkdir(parents=True)
    with shop.open() as tiny:
        place.want(tiny)
        with place.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with place.ask() as one, place.ask() as other:
                assert [process.stdout.readline() for process in (one, other) if process.stdout] == ["asking\n"] * 2
                fcntl.flock(lock, fcntl.LOCK_UN)
                found = {process.communicate(timeout=WAIT_SECONDS)[0].strip() for process in (one, other)}
    (folder,) = found
    assert said_by(Path(folder) / "tiny") == "1.0\n"
    assert shop.visits == 1


def test_one_whose_maker_was_killed_is_made_again_once_its_pip_has_ended(place: Place, tmp_path: Path) -> None:
    shop = Shop(wheel(tmp_path, "1.0"))
    with shop.open() as tiny:
        place.want(tiny)
        with place.ask() as maker:
            assert shop.visited.wait(WAIT_SECONDS)
            maker.kill()
        with place.lock.open("w") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert place.finished == []
        shop.may_answer.set()
        assert said_by(place.environment() / "tiny") == "1.0\n"
    assert shop.visits == 2
    assert len(place.finished) == 1


def test_without_a_network_the_test_is_skipped_and_names_the_list_and_what_pip_said(place: Place) -> None:
    place.want("ebbflow-nowhere==1.0")
    reason = place.reason()
    assert reason.startswith(f"{place.lists / 'tiny.txt'} could not be installed: ")
    assert "No matching distribution found for ebbflow-nowhere==1.0" in reason
    assert place.finished == []


def test_a_list_that_forgets_what_its_packages_need_is_not_filled_up_but_refused(place: Place, tmp_path: Path) -> None:
    place.want(f"tiny @ {wheel(tmp_path, '1.0', needs=('forgotten',)).as_uri()}")
    assert "tiny 1.0 requires forgotten, which is not installed" in place.reason()
    assert place.finished == []


@pytest.mark.parametrize("path", sorted(LISTS.iterdir()), ids=lambda path: path.name)
def test_every_list_of_ours_says_what_it_is_for_and_pins_all_that_it_holds(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first, *lines = text.splitlines()
    assert path.suffix == ".txt"
    assert re.match(r"# .+`make lock-environments`", first)
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert [pin for pin in pins if pin.url or [one.operator for one in pin.specifier] != ["=="]] == []
    (wanted,) = re.findall(r"^# wanted: (.+)$", text, re.MULTILINE)
    # What an extra brings is pinned by itself.
    assert set(re.sub(r"\[[^]]*\]", "", wanted).split()) <= {str(pin) for pin in pins}
