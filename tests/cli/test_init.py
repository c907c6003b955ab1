"""`ebbflow init`: a ready-made fleet in a folder of one's own, whole or not at all."""

import os
import pty
import select
import socket
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbflow.cli.init import NAMES_ELSEWHERE, READY_MADE
from ebbflow.cli.main import app
from ebbflow.cli.services import declared
from ebbflow.standins.process import free_port

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words), terminal_width=200)
    return result.exit_code, result.output


def names_in(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in str(path)}
    return {NAMES_ELSEWHERE.get(name, name) for name in found}


@pytest.mark.parametrize("kind", READY_MADE)
@pytest.mark.parametrize("exists", [True, False], ids=["into an empty folder", "into a new folder"])
def test_a_ready_made_fleet_is_copied_whole(tmp_path: Path, kind: str, *, exists: bool) -> None:
    folder = tmp_path / "mine"
    if exists:
        folder.mkdir()
    code, said = run("init", kind, str(folder))
    assert (code, str(folder / "README.md") in said) == (0, True), said
    source = DEPLOYMENTS / READY_MADE[kind].folder
    assert names_in(folder) - {".ebbflow"} == names_in(source)
    for name in names_in(source) & {path.name for path in source.iterdir()}:
        assert (folder / name).stat().st_mode == (source / name).stat().st_mode, "scripts stay executable"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "nothing is left beside it"
    for path in folder.glob("*.yaml"):
        if "\ndeployments:\n" in path.read_text():
            code, said = run("check", str(path), "--offline")
            assert code == 0, said


@pytest.mark.parametrize(
    ("words", "file", "holds"),
    [
        (("slurm", "--name", "renders"), "prefect.yaml", "name: renders\n"),
        (("slurm", "--master", "https://swarm.lab:8443/"), "blocks.yaml", "address: https://swarm.lab:8443\n"),
        (("slurm", "--partition", "a100"), "blocks.yaml", "partition: a100\n"),
        (("kubernetes", "--image", "reg.lab:5000/swarmui:2.1"), "blocks.yaml", "image: reg.lab:5000/swarmui:2.1\n"),
        (("several", "--master", "http://10.0.0.7:7801"), "blocks.yaml", "address: http://10.0.0.7:7801\n"),
        (("slurm-ray", "--join", "head.lab:6380"), "blocks.yaml", "join_address: head.lab:6380\n"),
        (("scaler-slurm", "--join", "10.9.0.1:2350"), "blocks.yaml", "scheduler: tcp://10.9.0.1:2350\n"),
        (("scaler-slurm", "--join", "10.9.0.1:2350"), "README.md", "SCALER_ADDRESS=tcp://10.9.0.1:2350 ./head.sh\n"),
        (("several-ray", "--image", "reg.lab/ray:2.60"), "blocks.yaml", "    image: reg.lab/ray:2.60\n"),
        (("local", "--name", "mine-too"), "services.yaml", "prefect_worker: mine-too\n"),
    ],
)
def test_what_options_say_stands_in_its_files(tmp_path: Path, words: tuple[str, ...], file: str, holds: str) -> None:
    code, said = run("init", words[0], str(tmp_path / "mine"), *words[1:])
    assert code == 0, said
    assert holds in (tmp_path / "mine" / file).read_text()


def test_what_no_option_says_is_named_as_open(tmp_path: Path) -> None:
    code, said = run("init", "slurm", str(tmp_path / "mine"), "--name", "renders")
    assert (code, "yours to put in: address of the SwarmUI that users talk to, Slurm partition" in said) == (0, True)


def test_a_local_fleet_is_named_as_its_folder_and_has_ports_of_its_own(tmp_path: Path) -> None:
    found = []
    for name in ("demo1", "demo2"):
        code, said = run("init", "local", str(tmp_path / name))
        assert code == 0, said
        services = declared(tmp_path / name)
        assert services is not None
        settings = tomllib.loads((tmp_path / name / "prefect.toml").read_text())
        assert settings["api"]["url"] == f"{services.prefect_server}/api"
        assert settings["home"].startswith(str(tmp_path / name))
        assert f"address: {services.swarmui_master}\n" in (tmp_path / name / "blocks.yaml").read_text()
        assert f"name: {name}\n" in (tmp_path / name / "prefect.yaml").read_text()
        found += [services.prefect_server, services.swarmui_master]
    assert len(set(found)) == 4


def test_a_machine_without_two_free_ports_side_by_side_is_told_of_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr("ebbflow.cli.init.PORTS", range(port, port + 1))
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", port))
        code, said = run("init", "local", str(tmp_path / "demo1"))
    assert (code, f"has no two free ports side by side from {port} to {port}: end servers" in said) == (4, True), said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_no_fleet_can_have_gets_the_usual_one(tmp_path: Path) -> None:
    code, said = run("init", "local", str(tmp_path / "My Fleet!"))
    assert code == 0, said
    assert "name: local-fleet\n" in (tmp_path / "My Fleet!" / "prefect.yaml").read_text()
    assert run("check", str(tmp_path / "My Fleet!"), "--offline")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("slurm", "--name", "Renders"), "fleet name 'Renders': expected 2 to 20 characters"),
        (("slurm", "--master", "swarm.lab"), "'swarm.lab' is no address: http://HOST:PORT would be right"),
        (("slurm", "--partition", "a b"), "'a b' is no word"),
        (
            ("slurm-ray", "--join", "http://login1:6379"),
            "'http://login1:6379' is no HOST:PORT, for instance login1:6379",
        ),
        (("scaler-slurm", "--join", "login1:2345"), "'login1:2345' is no IP:PORT, for instance 10.1.0.5:2345"),
        (("scaler-slurm", "--join", "10.1.0.5:65534"), "'10.1.0.5:65534' is no IP:PORT"),
        (("slurm", "--image", "x"), "--image is none of slurm's options; it has: --name, --master, --partition"),
        (
            ("cloud",),
            "there is no ready-made fleet 'cloud'; there are: local, slurm, slurm-ray, scaler-slurm, several-ray",
        ),
    ],
)
def test_what_cannot_be_put_in_is_refused_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    code, said = run("init", words[0], str(tmp_path / "mine"), *words[1:])
    assert (code, says in said) == (2, True), said
    assert list(tmp_path.iterdir()) == []


def test_without_a_kind_and_without_a_terminal_nobody_is_asked() -> None:
    code, said = run("init")
    assert (code, "say which fleet: local, slurm" in said) == (2, True), said


def test_at_a_terminal_it_asks_for_what_no_option_says(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-c",
        "from ebbflow.cli.start import run; run()",
        "init",
        "slurm",
        "mine",
        "--name",
        "renders",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    said = ""
    for question, answer in (("SwarmUI that users talk to", "http://swarm.lab:7801"), ("Slurm partition", "")):
        while question not in said:
            assert select.select([ours], [], [], 30)[0], said
            said += os.read(ours, 4096).decode()
        os.write(ours, f"{answer}\n".encode())
    assert process.wait(30) == 0
    os.close(ours)
    assert "address: http://swarm.lab:7801\n" in (tmp_path / "mine" / "blocks.yaml").read_text()
    assert "partition: gpu\n" in (tmp_path / "mine" / "blocks.yaml").read_text(), "an empty answer leaves what stands"


@pytest.mark.parametrize("what", ["a file in it", "a file", "no parent"])
def test_what_is_no_empty_folder_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "mine"
    if what == "a file in it":
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    elif what == "a file":
        folder.write_text("mine")
    else:
        folder = tmp_path / "nowhere" / "mine"
    before = names_in(tmp_path)
    code, said = run("init", "slurm", str(folder))
    assert (code, names_in(tmp_path)) == (4, before), said
