"""Wheels of what is in the repository, built without a network and without leaving anything in it."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_JUNK = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".pytest_cache")


def copy_of_ours(folder: Path) -> Path:
    """What our own wheel is built from, and nothing else of the checkout."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    packages: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    for room in (package.removeprefix("ebbflow.") for package in packages if package.count(".") == 1):
        shutil.copytree(ROOT / room, folder / room, ignore=_JUNK)
    return folder


def copy_of(path: Path, folder: Path) -> Path:
    """A folder as a fresh clone has it."""
    return Path(shutil.copytree(path, folder, ignore=_JUNK))


def build(sources: Sequence[Path], into: Path) -> None:
    """Build the wheel of each of these projects."""
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into), *map(str, sources))


def pip(python: Path | str, command: str, *arguments: str) -> None:
    """Run our own pip, for the environment of that Python, without a network."""
    words = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*words, command, "--no-index", *arguments], check=True, timeout=120)
