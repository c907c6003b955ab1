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
    kept: tuple[str, ...] = ()
    server: int | None = None
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
        if options.keep_server and not interruption.received:
            kept, server = (stage.SERVER,), children.pid(stage.SERVER)
        strays = clear_up(place, children, options.provider, keep=kept)
    if interruption.received:
        print("\nInterrupted; everything that the demo had started has been ended.", flush=True)
        shutil.rmtree(place.folder, ignore_errors=True)
        return EXIT_CODE
    if summary is not None:
        problems += summary.problems()
        if strays:
            problems.append(f"processes {', '.join(map(str, strays))} were left and had to be killed")
    _tell(place, summary, problems, server)
    if not problems and server is None:
        shutil.rmtree(place.folder, ignore_errors=True)
    return 1 if problems else 0


def clear_up(place: Place, children: Children, kind: ProviderKind, *, keep: Sequence[str] = ()) -> list[int]:
    """End everything but `keep`; first what could start something new, and the next also if one step fails.

    Returns:
        The ids of processes that nobody knew of and that had to be killed.
    """
    servers = (stage.SERVER, stage.MASTER)
    try:
        children.end(keep=servers)
        # Runs of the Prefect worker have sessions of their own, and could still launch a GPU worker.
        sweep(place.word, sessions=children.pids(servers), gpu_workers=False)
        asyncio.run(
            end_gpu_workers(provider_block(kind, place.workers_folder).get_provider(), fleet_of_demo(kind).name)
        )
    except FleetError as error:
        print(f"{error}; the last sweep ends what is left", flush=True)
    finally:
        children.end(keep=keep)
        strays = sweep(place.word, sessions=children.pids(keep))
    return strays


def _tell(place: Place, summary: Summary | None, problems: Sequence[str], server: int | None) -> None:
    if summary is not None:
        print("\nEbbflow demo")
        for name, figures in summary.rows():
            print(f"  {name:<12} {figures}")
    for problem in problems:
        print(f"The demo failed: {problem}")
    if problems:
        print(f"All logs are in {place.folder}")
    if server is not None:
        print(f"The Prefect UI is at {place.ui_url}. To end it: kill {server}; rm -r {place.folder}")
        print("To run a deployment there, as backtest/demo, which needs nothing else that this demo has ended:")
        print(f"  EBBFLOW_ROOT={place.folder} PREFECT_API_URL={place.api_url} \\")
        print(f"  {sys.executable} -m prefect worker start --pool ebbflow-demo --type process")
    else:
        print(f"The Prefect UI was at {place.ui_url}; `KEEP=1 make demo` leaves it up.")
