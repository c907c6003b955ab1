"""`ebbflow hypha`: what it says where it cannot begin."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebbflow.cli.main import app

WITHOUT = "import sys; sys.modules['hypha_rpc'] = None; from ebbflow.cli.start import run; run()"
LEAST = "hypha: http://127.0.0.1:9\nray: http://127.0.0.1:9\nallow: [user:ada]\n"


def ended(folder: Path, *words: str, script: str = "from ebbflow.cli.start import run; run()", **more: str) -> str:
    """What it said on standard error, once it has ended with 4."""
    done = subprocess.run(
        [sys.executable, "-c", script, "hypha", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4, done
    return done.stderr


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        (None, {}, "hypha.yaml: docs/hypha.md has one to begin with"),
        ("allow: 3", {}, "hypha.yaml: hypha: Field required"),
        (LEAST, {}, "hypha.yaml names no token_file: get a token at"),
        (LEAST, {"EBBFLOW_HYPHA_TOKEN": "two words"}, "EBBFLOW_HYPHA_TOKEN: a token is one word"),
        (LEAST + "token_file: none\n", {}, "token_file"),
    ],
    ids=["no file", "no sense", "no token", "no word", "no token's file"],
)
def test_what_it_lacks_is_named(text: str | None, environment: dict[str, str], said: str, tmp_path: Path) -> None:
    file = tmp_path / "hypha.yaml"
    if text is not None:
        file.write_text(text)
    ended_with = CliRunner().invoke(app, ["hypha", str(file)], env={"EBBFLOW_HYPHA_TOKEN": None, **environment})
    assert ended_with.exit_code == 4
    assert said in ended_with.stderr


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "hypha.yaml").write_text(LEAST)
    said = ended(tmp_path, script=WITHOUT, EBBFLOW_HYPHA_TOKEN="x")
    assert said == "hypha_rpc is not installed here: pip install 'ebbflow[hypha]'\n"


def test_a_folder_that_another_one_uses_is_not_used_twice(tmp_path: Path) -> None:
    (tmp_path / "hypha.yaml").write_text(LEAST)
    first = subprocess.Popen(
        [sys.executable, "-m", "ebbflow.cli", "hypha"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "EBBFLOW_HYPHA_TOKEN": "x"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert first.stdout is not None
        lines = iter(first.stdout.readline, "")
        assert any("jobs go on, and it is tried again" in line for line in lines), "its server is away"
        assert "another `ebbflow hypha` uses" in ended(tmp_path, EBBFLOW_HYPHA_TOKEN="x")
    finally:
        first.kill()
        first.communicate()
