"""The table of findings and the scripts agree, and each script has the form that the page asks for. None is run."""

import os
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "findings"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")
HEAD = ["file", "software", "surprise", "ours"]
PARTS = ("Common guess:", "Seen:", "Ours:")
MACHINE = re.compile(r"(?<![\w.])/(?:root|work|home)/\S*")

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows() -> dict[str, dict[str, str]]:
    """The rows of the table, by the file that they link to."""
    head, _, *body = [cells(line) for line in PAGE.splitlines() if line.startswith("|")]
    assert head == HEAD
    files = [re.fullmatch(r"\[(.+)\]\((.+)\)", row[0]) for row in body]
    assert all(file and file[1] == file[2] for file in files), "a row starts with a link to its script"
    return {file[1]: dict(zip(HEAD, row, strict=True)) for file, row in zip(files, body, strict=True) if file}


def head_of(path: Path) -> list[str]:
    """The comment that a script opens with, without its first line."""
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    assert first == "#!/usr/bin/env bash"
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#").strip() for line in lines[:end]]


def installed_by(script: str) -> list[str]:
    """What its pip commands install, as it is written there."""
    commands = re.findall(r"\bpip\"? install (.+)", script.replace("\\\n", " "))
    words = [word for command in commands for word in shlex.split(command, comments=True)]
    return [word for word in words if not word.startswith("-")]


def missing(text: str) -> list[str]:
    """What a text names of ours, files and tests, and does not exist."""
    files = [ROOT / name for name in re.findall(r"`([\w./-]+/[\w.-]+)`", text)]
    gone = [str(file.relative_to(ROOT)) for file in files if not file.exists()]
    bodies = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    return gone + [name for name in re.findall(r"`(test_\w+)`", text) if f"def {name}(" not in bodies]


def test_each_script_has_a_row_and_each_row_a_script() -> None:
    assert sorted(rows()) == [path.name for path in SCRIPTS]


@each_script
def test_a_row_and_its_script_name_the_same_version_which_is_one_that_it_installs(path: Path) -> None:
    software = rows()[path.name]["software"]
    assert re.match(rf"{re.escape(software)}(?![\w.]*\w)", head_of(path)[0])
    versions = {requirement.partition("==")[2] for requirement in installed_by(path.read_text(encoding="utf-8"))}
    assert software.split()[-1] in versions


@each_script
def test_a_surprise_is_one_sentence(path: Path) -> None:
    assert re.fullmatch(r"[A-Z].*\w`?\.", rows()[path.name]["surprise"])
    assert ". " not in rows()[path.name]["surprise"]


@each_script
def test_a_head_tells_the_guess_then_what_was_seen_then_what_of_ours_was_mended(path: Path) -> None:
    found = [part for line in head_of(path) for part in PARTS if line.startswith(part)]
    assert found == list(PARTS)


@each_script
def test_what_was_mended_is_there(path: Path) -> None:
    ours = " ".join(head_of(path)).partition(PARTS[-1])[2]
    for text in (ours, rows()[path.name]["ours"]):
        assert re.search(r"`[\w.-]+/", text), f"no file of ours is named: {text}"
        assert missing(text) == []


@each_script
def test_a_script_can_be_called_stops_at_an_error_and_leaves_nothing_behind(path: Path) -> None:
    assert os.access(path, os.X_OK)
    lines = path.read_text(encoding="utf-8").splitlines()
    code = lines[len(head_of(path)) + 1 :]
    assert code[0] == "set -euo pipefail"
    assert any("mktemp -d" in line for line in code)
    assert any(re.match(r"trap .+ EXIT$", line) for line in code)


@each_script
def test_every_package_is_pinned_to_one_version(path: Path) -> None:
    installed = installed_by(path.read_text(encoding="utf-8"))
    assert installed != []
    assert [word for word in installed if not re.fullmatch(r"[\w.-]+(?:\[[\w,-]+\])?==[\w.+!]+", word)] == []


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_file_names_a_folder_of_the_machine_it_was_written_on(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []


def test_what_the_page_names_of_ours_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (FOLDER / link).exists()] == []
    assert missing(PAGE) == []
