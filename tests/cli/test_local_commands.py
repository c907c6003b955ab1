"""A folder of `ebbflow init local` that is not as it should be: that is said before anything is started."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "ebbflow.cli"]


def ebbflow(folder: Path, *words: str, **environment: str) -> "tuple[int, str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env={**kept, "HOME": str(folder.parent), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    return done.returncode, said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "fleet1"
    code, said = ebbflow(tmp_path, "init", "local", str(path))
    assert code == 0, said
    return path


@pytest.fixture
def taken(folder: Path) -> Iterator[str]:
    """The port of its master is somebody else's, who takes connections and says nothing of use."""
    line = next(line for line in (folder / "services.yaml").read_text().splitlines() if "swarmui_master" in line)
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", int(line.rpartition(":")[2])))
        other.listen(50)
        yield line.partition(" ")[2]


def nothing_was_started(folder: Path) -> bool:
    return not (folder / ".ebbflow" / "background").exists()


def test_regression_a_port_that_somebody_else_has_was_found_out_by_a_traceback(folder: Path, taken: str) -> None:
    code, said = ebbflow(folder, "check")
    assert code == 1
    assert f"wrong   stand-in SwarmUI master at {taken}: something else listens there" in said


@pytest.mark.parametrize("words", [["up"], ["status"], ["check"], ["down"]], ids=" ".join)
def test_regression_a_server_that_the_environment_names_was_answered_by_advice_to_call_up(
    folder: Path, words: list[str]
) -> None:
    (folder / "services.yaml").write_text("prefect_server: http://127.0.0.1:45999\n")
    code, said = ebbflow(folder, *words, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert code == 3
    assert "this folder's own is http://127.0.0.1:45999, and PREFECT_API_URL or a profile names another one" in said
    assert "ebbflow up` starts" not in said


@pytest.mark.parametrize("words", [["up"], ["check"], ["down"]], ids=" ".join)
def test_regression_a_moved_folder_went_on_in_its_old_place(folder: Path, words: list[str]) -> None:
    moved = Path(shutil.move(folder, folder.with_name("moved")))
    code, said = ebbflow(moved, *words)
    assert (code, nothing_was_started(moved)) == (4, True), said
    assert f'write home = "{moved}/.ebbflow/prefect"' in said


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("blocks.yaml", "blocks:\n  - block: local-provider/x\n    nonsense: 3\n", "blocks.yaml"),
        (
            "blocks.yaml",
            'blocks:\n  - {block: local-provider/x, command: "{{ text nope.txt }}"}\n',
            "nope.txt cannot be",
        ),
        ("services.yaml", "prefect_servr: http://127.0.0.1:4200\n", "prefect_servr: Extra inputs are not permitted"),
    ],
    ids=["an unknown field", "no such file", "a misspelt service"],
)
def test_regression_a_broken_file_was_seen_only_once_servers_ran(folder: Path, file: str, text: str, says: str) -> None:
    (folder / file).write_text(text)
    code, said = ebbflow(folder, "check")
    assert (code, says in said) == (1, True), said
    code, said = ebbflow(folder, "up")
    assert (code, says in said, nothing_was_started(folder)) == (4, True, True), said


def test_regression_two_downs_at_once_ended_each_others_server(folder: Path) -> None:
    with (folder / ".ebbflow" / "down.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = ebbflow(folder, "down")
    assert (code, "another `ebbflow down` is at work in this folder" in said) == (4, True)


def test_a_folder_in_which_nothing_was_started_is_ended_already(folder: Path) -> None:
    code, said = ebbflow(folder, "down")
    assert (code, "nothing of this folder runs" in said) == (0, True)


def test_regression_a_load_without_a_master_was_a_traceback(folder: Path) -> None:
    done = subprocess.run([sys.executable, "load.py", "2"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "does not answer" in done.stderr


def test_regression_a_place_that_cannot_be_written_was_a_traceback(tmp_path: Path) -> None:
    code, said = ebbflow(tmp_path, "init", "local", "/proc/fleet")
    assert (code, "/proc/fleet cannot be written, and nothing was" in said) == (4, True)


@pytest.mark.parametrize(
    "words", [["scale", "+0"], ["scale", "-0"], ["scale", "many"], ["scale", "--more"]], ids=" ".join
)
def test_what_is_no_number_of_workers_asks_no_server(tmp_path: Path, words: list[str]) -> None:
    code, said = ebbflow(tmp_path, *words)
    assert (code, "+2, -1 or 5 would be right" in said) == (2, True)


def test_regression_one_fewer_was_taken_for_an_option(tmp_path: Path) -> None:
    code, said = ebbflow(tmp_path, "scale", "-1")
    assert (code, "no Prefect server is named" in said) == (3, True)


def test_regression_a_waiting_room_on_a_taken_port_ended_as_if_a_prefect_server_were_missing(tmp_path: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, said = ebbflow(tmp_path, "waiting-room", "--port", str(other.getsockname()[1]))
    assert (code, "choose another --host or --port" in said) == (4, True)
