"""What is installed is what is in the repository, from versions that fit together."""

import ast
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ebbflow.flows.serving import OLDEST
from tests import wheels
from tests.e2e.test_ten_minutes import oldest_prefect
from tests.extra_environment import LISTS
from tests.oldest_prefect import LIST

ROOT = Path(__file__).parents[1]
# Any: TOML is what it is; every value is compared below.
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]
TOP_PACKAGES = [package for package in PACKAGES if package.count(".") == 1]
NOT_OURS = {"tests", "docs", "build", "dist"}


def package_folders() -> set[Path]:
    """Our folders that hold an `__init__.py`, relative to the root."""
    tops = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in NOT_OURS and path.name[0] != "."]
    return {init.parent.relative_to(ROOT) for top in tops for init in top.rglob("__init__.py")}


def test_every_folder_with_an_init_is_a_package_and_no_other() -> None:
    assert sorted(PACKAGES) == sorted(".".join(("ebbflow", *folder.parts)) for folder in package_folders())


def test_every_folder_of_ours_that_holds_modules_is_a_package() -> None:
    # What is none is seen by no import law, and is missing from the wheel. Ready-made fleets are no packages.
    tops = [ROOT / package.removeprefix("ebbflow.") for package in TOP_PACKAGES]
    holding = {path.parent.relative_to(ROOT) for top in tops for path in top.rglob("*.py") if "-" not in str(path)}
    forgotten = sorted(str(folder) for folder in holding - package_folders())
    assert forgotten == [], "give each an __init__.py, and add it to `packages` in pyproject.toml"


def test_no_provider_is_left_out_of_the_law_that_keeps_them_apart() -> None:
    (law,) = [
        contract["modules"]
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["name"] == "No provider's adapter knows another's"
    ]
    folders = [folder for folder in (ROOT / "adapters" / "providers").iterdir() if (folder / "__init__.py").exists()]
    assert sorted(law) == sorted(f"ebbflow.adapters.providers.{folder.name}" for folder in folders)


def test_the_namespace_itself_has_no_init() -> None:
    assert not (ROOT / "__init__.py").exists()


@pytest.mark.parametrize("package", TOP_PACKAGES)
def test_every_top_folder_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package.removeprefix("ebbflow.") / "py.typed").is_file()


def test_the_import_laws_cover_every_top_folder() -> None:
    assert sorted(PYPROJECT["tool"]["importlinter"]["root_packages"]) == sorted(TOP_PACKAGES)


def test_every_import_law_is_a_sentence() -> None:
    names = [contract["name"] for contract in PYPROJECT["tool"]["importlinter"]["contracts"]]
    assert len(set(names)) == len(names)
    assert all(len(name.split()) > 3 and name[0].isupper() for name in names)


def test_type_checkers_find_every_top_folder() -> None:
    (line,) = re.findall(r"^FOLDERS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {package.removeprefix("ebbflow.") for package in TOP_PACKAGES} == set(line.split())


def test_the_wheel_holds_every_package_and_nothing_else(tmp_path: Path) -> None:
    wheels.build([wheels.copy_of_ours(tmp_path / "source")], tmp_path)
    (wheel,) = tmp_path.glob("ebbflow-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(module.relative_to(ROOT)) for folder in package_folders() for module in (ROOT / folder).glob("*.py")}
    typed = {f"{package.removeprefix('ebbflow.')}/py.typed" for package in TOP_PACKAGES}
    held = {name.removeprefix("ebbflow/") for name in names if name.startswith("ebbflow/")}
    fleets = {str(path.relative_to(ROOT)) for path in (ROOT / "deployments").glob("*-*/*") if path.is_file()}
    fleets |= {f"deployments/demo/{path.name}" for path in (ROOT / "deployments" / "demo").iterdir()}
    assert fleets <= held, "ready-made fleets are copied out of the wheel"
    assert {name for name in held - fleets if name.endswith((".py", ".typed"))} == modules | typed
    assert {name.split("/")[0] for name in names} == {"ebbflow", wheel.name.split("-py3")[0] + ".dist-info"}


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def test_every_constraint_is_one_exact_version_without_an_address() -> None:
    for pin in constraints():
        assert pin.url is None, str(pin)
        assert [specifier.operator for specifier in pin.specifier] == ["=="], str(pin)
    assert "ebbflow" not in {pin.name for pin in constraints()}


def test_the_constraints_satisfy_every_range() -> None:
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in constraints()}
    project = PYPROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    ranges = [Requirement(line) for line in (*project["dependencies"], *extras)]
    stale = [
        f"{wanted}: pinned {pins.get(canonicalize_name(wanted.name))}, renew with `make lock`"
        for wanted in ranges
        if not wanted.specifier.contains(pins.get(canonicalize_name(wanted.name), "0"))
    ]
    assert stale == []


def test_what_the_page_says_of_prefect_is_what_the_pipeline_runs() -> None:
    listed = (LISTS / f"{LIST}.txt").read_text(encoding="utf-8").splitlines()
    (oldest,) = [line.partition("==")[2] for line in listed if line.startswith("prefect==")]
    (newest,) = [next(iter(pin.specifier)).version for pin in constraints() if pin.name == "prefect"]
    assert oldest == oldest_prefect(), "the end of our range"
    assert oldest.split(".")[:2] == [str(number) for number in OLDEST], "what `ebbflow check` says of servers"
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    assert f"tried with {oldest} and with the newest that resolves, {newest}" in page


def test_the_oldest_prefect_is_tested_beside_packages_of_our_ranges() -> None:
    listed = [Requirement(line) for line in (LISTS / f"{LIST}.txt").read_text().splitlines() if line[0] != "#"]
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in listed}
    ranges = [Requirement(line) for line in PYPROJECT["project"]["dependencies"]]
    assert [
        str(each) for each in ranges if not each.specifier.contains(pins.get(canonicalize_name(each.name), "0"))
    ] == []


FLOW_FILES = [path for path in sorted((ROOT / "flows").glob("*.py")) if "@flow(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", FLOW_FILES, ids=lambda path: path.name)
def test_a_file_that_holds_a_flow_defines_no_class_and_the_flow_reads_on_one_page(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)] == []
    flows = [
        node
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef) and any("flow" in ast.unparse(mark) for mark in node.decorator_list)
    ]
    assert flows, "flows are async"
    for flow in flows:
        first, last = flow.body[0].lineno, flow.end_lineno
        assert last is not None
        assert last - first < 40, f"{flow.name} has {last - first + 1} lines"
