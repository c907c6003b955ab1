"""In CI a test that did not run is a failure, unless it says why it may be left out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")


def run_in(folder: Path, body: str, *, ci: str | None) -> subprocess.CompletedProcess[str]:
    """Run a test module beside our conftest, in a project of its own."""
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    may_skip: needs something\n", encoding="utf-8")
    (folder / "test_it.py").write_text(f"import pytest\n{body}\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(CONFTEST.parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        env=environment if ci is None else environment | {"CI": ci},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


SKIPPED = "def test_a(): pass\ndef test_b(): pytest.skip('no GPU here')"
LEFT_OUT = {
    "in the test": (SKIPPED, "test_it.py::test_b"),
    "by a mark": ("@pytest.mark.skipif(True, reason='no GPU here')\ndef test_b(): pass", "test_it.py::test_b"),
    "by a fixture": (
        "@pytest.fixture\ndef gpu(): pytest.skip('no GPU here')\ndef test_b(gpu): pass",
        "test_it.py::test_b",
    ),
    "as a whole module": ("pytest.importorskip('no_such_module')\ndef test_b(): pass", "test_it.py"),
}


@pytest.mark.parametrize(("body", "name"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_skipped_test_fails_the_run_in_ci_and_is_named(tmp_path: Path, body: str, name: str) -> None:
    run = run_in(tmp_path, body, ci="true")
    assert run.returncode != 0
    assert f"FAILED {name}: skipped in CI and not marked may_skip" in run.stdout


@pytest.mark.parametrize("ci", [None, "", "false"])
def test_elsewhere_a_skipped_test_is_only_shown(tmp_path: Path, ci: str | None) -> None:
    run = run_in(tmp_path, SKIPPED, ci=ci)
    assert run.returncode == 0, run.stdout
    assert "1 passed, 1 skipped" in run.stdout


@pytest.mark.parametrize(
    "body",
    [
        "@pytest.mark.may_skip\ndef test_b(): pytest.skip('no GPU here')",
        "pytestmark = pytest.mark.may_skip\ndef test_b(): pytest.skip('no GPU here')",
        "@pytest.mark.xfail(reason='not yet')\ndef test_b(): assert False",
        "def test_b(): pass",
    ],
    ids=["marked", "in a marked module", "an expected failure", "nothing skipped"],
)
def test_what_may_be_left_out_does_not_fail_the_run_in_ci(tmp_path: Path, body: str) -> None:
    run = run_in(tmp_path, body, ci="true")
    assert run.returncode == 0, run.stdout
