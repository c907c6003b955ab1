"""The demo from its first process to its last: whatever happens in between, all is ended, and the end is told."""

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence

import httpx

from ebbflow.core.errors import FleetError
from ebbflow.demo import stage
from ebbflow.demo.blocks import ProviderKind, provider_block
from ebbflow.demo.children import Children
from ebbflow.demo.display import make_display
from ebbflow.demo.errors import StepFailed
from ebbflow.demo.interruption import EXIT_CODE, Interruption
from ebbflow.demo.place import Place
from ebbflow.demo.project import fleet_of_demo
from ebbflow.demo.show import Options, Show
from ebbflow.demo.summary import Summary
from ebbflow.demo.sweep import end_gpu_workers, sweep


def run(place: Place, environment: Mapping[str, str], options: Options, interruption: Interruption) -> int:
    """Play the demo, clear up, and return the exit code."""
    children = Children(place, environment)
    summary: Summary | None = None
    problems: list[str] = []
    lives_on = False
    try:
        with make_display() as display:
            summary = interruption.run(Show(place, options, children, display, fleet_of_demo(options.provider)).play())
    except asyncio.CancelledError:
        problems.append("it was interrupted")
    except (StepFailed, FleetError, httpx.HTTPError) as error:
        problems.append(str(error) or repr(error))
    except Exception as error:
        error.add_note(f"The demo's logs are in {place.folder}")
        raise
    finally:
        lives_on = options.keep and summary is not None and not interruption.received
        strays = [] if lives_on else clear_up(place, children, options.provider)
    if interruption.received:
        print("\nInterrupted; everything that the demo had started has been ended.", flush=True)
        shutil.rmtree(place.folder, ignore_errors=True)
        return EXIT_CODE
    if summary is not None:
        problems += summary.problems()
        if strays:
            problems.append(f"processes {', '.join(map(str, strays))} were left and had to be killed")
    if lives_on:
        place.keep(options.provider)
    _tell(place, summary, problems, lives_on=lives_on)
    if not problems and not lives_on:
        shutil.rmtree(place.folder, ignore_errors=True)
    return 1 if problems else 0


def end_kept(place: Place, environment: Mapping[str, str], kind: ProviderKind) -> int:
    """End a demo that was left alive, and remove its folder."""
    # Nobody of it is a child of this process: what carries its mark is found and ended.
    clear_up(place, Children(place, environment), kind)
    shutil.rmtree(place.folder, ignore_errors=True)
    print(f"The demo in {place.folder} is ended, and its folder removed.")
    return 0


def clear_up(place: Place, children: Children, kind: ProviderKind) -> list[int]:
    """End everything; first what could start something new, and the next also if one step fails.

    Returns:
        The ids of processes that nobody knew of and that had to be killed.
    """
    servers = (stage.SERVER, stage.MASTER)
    try:
        children.end(keep=servers)
        # Runs of the Prefect worker have sessions of their own, and could still launch a GPU worker.
        sweep(place.word, sessions=children.pids(servers), gpu_workers=False)
        provider = provider_block(kind, place.workers_folder).get_provider()
        asyncio.run(end_gpu_workers(provider, fleet_of_demo(kind).name))
    except FleetError as error:
        print(f"{error}; the last sweep ends what is left", flush=True)
    finally:
        children.end()
        strays = sweep(place.word)
    return strays


def _tell(place: Place, summary: Summary | None, problems: Sequence[str], *, lives_on: bool) -> None:
    if summary is not None:
        print("\nEbbflow demo")
        for name, figures in summary.rows():
            print(f"  {name:<13} {figures}")
    for problem in problems:
        print(f"The demo failed: {problem}")
    if problems:
        print(f"All logs are in {place.folder}")
    if lives_on:
        here = f"PREFECT_API_URL={place.api_url} {sys.executable}"
        print(f"The fleet lives on, with a little load: the Prefect UI is at {place.ui_url}, and its figures by")
        print(f"  {here} -m ebbflow.cli status --watch")
        print(f"To end it: {sys.executable} -m ebbflow.demo --end {place.folder}")
    else:
        print(f"The Prefect UI was at {place.ui_url}; `KEEP=1 make demo` leaves the fleet alive.")
