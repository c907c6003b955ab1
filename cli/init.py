"""`ebbflow init`: a ready-made fleet of the package, copied into a folder of one's own, with one's own values in it."""

import random
import re
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from ebbflow.cli.folders import KEPT, PREFECT_FILE, SERVICES_FILE
from ebbflow.cli.speaking import REFUSED, USAGE, end, say
from ebbflow.core.addresses import HOST_AND_PORT
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import check_fleet_name


@dataclass(frozen=True, slots=True)
class Blank:
    """One value of a ready-made fleet that is a person's to say."""

    asks: str
    stands: str
    """What stands in the files in its place."""
    check: Callable[[str], str]
    """The value as it is put in.

    Raises:
        ValueError, ConfigError: says what would be right.
    """


def _address(text: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/-]*)?", text):
        raise ValueError(f"{text!r} is no address: http://HOST:PORT would be right")
    return text.rstrip("/")


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text):
        raise ValueError(f"{text!r} is no word of [A-Za-z0-9._/:@-]")
    return text


def _host_and_port(text: str) -> str:
    if not HOST_AND_PORT.fullmatch(text):
        raise ValueError(f"{text!r} is no HOST:PORT, for instance login1:6379")
    return text


def _scheduler(text: str) -> str:
    try:
        host, _, port = text.rpartition(":")
        is_right = bool(ip_address(host.strip("[]"))) and 0 < int(port) <= 65533
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError(f"{text!r} is no IP:PORT, for instance 10.1.0.5:2345; opengris-scaler takes no names of hosts")
    return f"tcp://{text}"


def _name(stands: str) -> Blank:
    return Blank("name of the fleet", stands, check_fleet_name)


PARTITION = Blank("Slurm partition", "partition: gpu", lambda text: f"partition: {_word(text)}")
MASTER = Blank("address of the SwarmUI that users talk to", "http://swarm.example:7801", _address)


@dataclass(frozen=True, slots=True)
class Kind:
    """One ready-made fleet."""

    folder: str
    """Of the package `ebbflow.deployments`."""
    blanks: Mapping[str, Blank]
    """By the option that says it."""


READY_MADE = {
    "local": Kind("local-swarmui", {"name": _name("local-fleet")}),
    "slurm": Kind(
        "slurm-swarmui",
        {
            "name": _name("swarm-slurm"),
            "master": MASTER,
            "partition": PARTITION,
        },
    ),
    "slurm-ray": Kind(
        "slurm-ray",
        {
            "name": _name("ray-slurm"),
            "join": Blank("where Ray workers join the head", "login1:6379", _host_and_port),
            "partition": PARTITION,
        },
    ),
    "scaler-slurm": Kind(
        "scaler-slurm",
        {
            "name": _name("scaler-slurm"),
            "join": Blank("where workers join the scheduler", "tcp://10.1.0.5:2345", _scheduler),
            "partition": Blank("Slurm partition", "partition: cpu", lambda text: f"partition: {_word(text)}"),
        },
    ),
    "several-ray": Kind(
        "several-ray",
        {
            "name": _name("ray-waterfall"),
            "join": Blank("where Ray workers join the head", "head.example:6379", _host_and_port),
            "partition": PARTITION,
            "image": Blank("image of the workers", "registry.example/ray:2.60.0", _word),
        },
    ),
    "kubernetes": Kind(
        "kubernetes-swarmui",
        {
            "name": _name("swarm-pods"),
            "master": MASTER,
            "image": Blank("image of the workers", "registry.example/swarmui:latest", _word),
        },
    ),
    "vast": Kind("vast-swarmui", {"name": _name("swarm-vast"), "master": MASTER}),
    "vast-model-server": Kind("vast-model-server", {"name": _name("model-vast")}),
    "several": Kind("several-providers", {"master": MASTER}),
    "swarmui-start-script": Kind(
        "swarmui-start-script",
        {
            "name": _name("swarm-scaled"),
            "prefect": Blank("API of the Prefect server", "http://prefect.example:4200/api", _address),
        },
    ),
    "launch-script": Kind("launch-scripts", {"name": _name("swarm-scripts"), "master": MASTER}),
}
"""What may be asked for."""
KINDS = ", ".join(READY_MADE)
PORTS = range(20_000, 30_000)
"""Below what Linux (from 32,768 on) and macOS (from 49,152 on) give to connections, and a node of Kubernetes to
services (from 30,000 on); above what a Ray head gives to its workers (up to 19,999), and will have nobody take."""
NAMES_ELSEWHERE = {"gitignore": ".gitignore"}
"""Files that are called otherwise in the package, where they would be taken for its own."""


def init(
    kind: Annotated[str | None, typer.Argument(help=f"One of {KINDS}.", show_default=False)] = None,
    folder: Annotated[Path, typer.Argument(help="Empty, or not there yet; its parent is.")] = Path(),
    name: Annotated[str | None, typer.Option(help="The fleet's.", show_default=False)] = None,
    master: Annotated[str | None, typer.Option(help="Address of the SwarmUI master.", show_default=False)] = None,
    partition: Annotated[str | None, typer.Option(help="Slurm's, of the workers.", show_default=False)] = None,
    join: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray head or a scheduler.", show_default=False)
    ] = None,
    image: Annotated[str | None, typer.Option(help="Of the pods.", show_default=False)] = None,
    prefect: Annotated[str | None, typer.Option(help="API of the Prefect server.", show_default=False)] = None,
) -> None:
    """Write a ready-made fleet into a folder: prefect.yaml, blocks.yaml, worker scripts, and the operator's page.

    `local` is one that needs no other system. At a terminal it asks for what it must know and no option says; what
    is left open is named. Nothing is left half-written.
    """
    kind = kind or _asked(f"which fleet ({KINDS})", "local")
    if kind is None:
        end(USAGE, f"say which fleet: {KINDS}")
    if kind not in READY_MADE:
        end(USAGE, f"there is no ready-made fleet {kind!r}; there are: {KINDS}")
    target = folder.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        end(REFUSED, f"{target} is not an empty folder, and nothing was written: name another one")
    if not target.parent.is_dir():
        end(REFUSED, f"{target.parent} is no folder: make it first")
    given = {"name": name, "master": master, "partition": partition, "join": join, "image": image, "prefect": prefect}
    blanks = READY_MADE[kind].blanks
    if kind == "local" and name is None:
        given["name"] = _nameable(target.name)
    if misplaced := [option for option, value in given.items() if value is not None and option not in blanks]:
        end(USAGE, f"--{misplaced[0]} is none of {kind}'s options; it has: --{', --'.join(blanks)}")
    try:
        filled = {blank.stands: value for blank, value in _values(blanks, given)}
    except (ValueError, ConfigError) as error:
        end(USAGE, str(error))
    left_open = [blank.asks for blank in blanks.values() if blank.stands not in filled]
    try:
        filled |= _places(target) if kind == "local" else {}
    except ConfigError as error:
        end(REFUSED, f"{error}; nothing was written")
    try:
        with as_file(files("ebbflow.deployments") / READY_MADE[kind].folder) as source:
            _copied_whole(source, target, filled)
    except OSError as error:
        end(REFUSED, f"{target} cannot be written, and nothing was: {error.strerror or error}")
    for path in sorted(target.rglob("*")):
        if path.is_file():
            say(f"{path.relative_to(target)}")
    if left_open:
        say(f"yours to put in: {', '.join(left_open)}")
    if not any(target.glob("*.yaml")):
        say(f"read {target / 'README.md'} next")
        return
    where = "" if target == Path.cwd() else f"`cd {shlex.quote(str(folder))}`, then "
    which = "" if (target / PREFECT_FILE).exists() else " FILE"
    say(f"read {target / 'README.md'} next: {where}`ebbflow check{which}`, `ebbflow up{which}`")


def _values(blanks: Mapping[str, Blank], given: Mapping[str, str | None]) -> Iterator[tuple[Blank, str]]:
    for option, blank in blanks.items():
        value = given[option] or _asked(blank.asks, "")
        if value:
            yield blank, blank.check(value)


def _asked(what: str, default: str) -> str | None:
    """What a person at a terminal says; None where there is no terminal, and nobody is asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    answer: str = typer.prompt(what, default=default, show_default=bool(default))
    return answer.strip()


def _nameable(name: str) -> str | None:
    try:
        return check_fleet_name(name)
    except ConfigError:
        return None


def _places(target: Path) -> Mapping[str, str]:
    """The folder, and two ports that nobody listens on now, nor is likely to take later."""
    server, master = (f"http://127.0.0.1:{port}" for port in _two_free_ports())
    quoted = str(target).replace("\\", "\\\\").replace('"', '\\"')
    return {"/path/of/this/folder": quoted, "http://127.0.0.1:4200": server, "http://127.0.0.1:7801": master}


def _two_free_ports() -> tuple[int, int]:
    """Below those from which a system connects: there a connection of somebody else might have one when it is needed.

    Raises:
        ConfigError: none are left.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with ExitStack() as held, suppress(OSError):
            for each in (port, port + 1):
                held.enter_context(closing(socket.socket())).bind(("127.0.0.1", each))
            return port, port + 1
    raise ConfigError(f"127.0.0.1 has no two free ports side by side from {PORTS[0]} to {PORTS[-1]}: end servers")


def _copied_whole(source: Path, target: Path, filled: Mapping[str, str]) -> None:
    """Copy beside the target first, so that it has everything or nothing.

    Args:
        source: the ready-made folder.
        target: where it goes.
        filled: what stands in its files, and what is put in its place.
    """
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        written = Path(beside) / "fleet"
        shutil.copytree(source, written, ignore=shutil.ignore_patterns("__pycache__"))
        if (written / SERVICES_FILE).exists():
            # Prefect makes its own folder below it, and no parents.
            (written / KEPT).mkdir(mode=0o700)
        for path in [path for path in written.rglob("*") if path.is_file()]:
            _fill(path, filled)
            path.rename(path.with_name(NAMES_ELSEWHERE.get(path.name, path.name)))
        if target.exists():
            # Somebody may be in it: what is moved in comes all at once, file by file, into what was empty.
            for path in written.iterdir():
                path.rename(target / path.name)
        else:
            written.rename(target)


def _fill(path: Path, filled: Mapping[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    pattern = "|".join(re.escape(stands) for stands in filled)
    # All at once: a value may hold what stands in another's place.
    new = re.sub(pattern, lambda found: filled[found[0]], text) if filled else text
    if new != text:
        path.write_text(new, encoding="utf-8")
