"""A fleet's folder: what is done for it is done in it, so that Prefect reads the settings that lie there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

PREFECT_FILE = "prefect.yaml"
SERVICES_FILE = "services.yaml"
SETTINGS_FILE = "prefect.toml"
KEPT = ".ebbflow"
"""The folder, beside these files, that holds everything that is not written by hand."""


@contextlib.contextmanager
def inside(file: Path) -> Iterator[Path]:
    """Enter the folder of a fleet's file, and give the file's path from there.

    Prefect reads `prefect.toml` of the folder that it is in, and only once: enter before anything of it is imported.

    Args:
        file: the fleet's file, or its folder.
    """
    path = file / PREFECT_FILE if file.is_dir() else file
    folder = path.parent.resolve()
    if folder == Path.cwd() or not folder.is_dir():
        yield path
        return
    with contextlib.chdir(folder):
        yield folder / path.name
