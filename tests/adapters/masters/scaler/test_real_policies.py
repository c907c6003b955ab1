"""What the schedulers' own policies want on their documentation's example, as our adapter reads it from the real ones.

Source of the numbers: the rules as they stand in our formulas, with every correction of ours switched off.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, Wire
from ebbflow.core.plan import Want
from ebbflow.policies.formulas import opengris_1_15, opengris_2_9
from ebbflow.policies.formulas.corrections import CORRECTED, Corrections
from ebbflow.policies.formulas.needs import Need
from ebbflow.policies.formulas.opengris_waterfall import Tier, waterfall
from tests.scaler.scheduler import real_scheduler

PLAIN, WITH_GPU = 100, 50
GPU = ("gpu",)
TASKS = (Need((), PLAIN), Need(GPU, WITH_GPU))
MOST = 40
FLEET, HOME = "demo", "h0me1"
LIBRARY = CORRECTED.without(*Corrections.__slots__)
PATIENCE_SECONDS = 60.0

pytestmark = [pytest.mark.anyio, pytest.mark.soak]
Wants = tuple[Want, ...]


def of_vanilla_2_9() -> Wants | None:
    return (Want((), opengris_2_9.vanilla(PLAIN + WITH_GPU, 0, 0, MOST, corrections=LIBRARY) or 0),)


def of_capability_2_9() -> Wants | None:
    return opengris_2_9.capability(TASKS, MOST, offers=GPU, corrections=LIBRARY)


def of_waterfall() -> Wants | None:
    tiers = (Tier(f"ebbflow.{FLEET}.{HOME}", MOST, capabilities=GPU),)
    return next(iter((waterfall(TASKS, tiers, corrections=LIBRARY) or {}).values()))


def after(commands: tuple[opengris_1_15.Command, ...]) -> Wants:
    return tuple(Want(each.capabilities, 1) for each in commands if isinstance(each, opengris_1_15.Start))


def of_vanilla_1_15() -> Wants | None:
    return after(opengris_1_15.vanilla(PLAIN + WITH_GPU, 0, (), MOST, corrections=LIBRARY))


def of_capability_1_15() -> Wants | None:
    return after(opengris_1_15.capability(TASKS, (), (), MOST, corrections=LIBRARY))


def of_none() -> Wants | None:
    return None


@pytest.mark.parametrize(
    ("wire", "engine", "content", "wanted"),
    [
        ("2.9", "simple", "allocate=even_load; scaling=no", of_none),
        ("2.9", "simple", "allocate=even_load; scaling=vanilla", of_vanilla_2_9),
        ("2.9", "simple", "allocate=capability; scaling=capability", of_capability_2_9),
        ("2.9", "waterfall_v1", f"1,ebbflow.{FLEET}.{HOME}", of_waterfall),
        ("1.15", "simple", "allocate=even_load; scaling=no", of_none),
        ("1.15", "simple", "allocate=even_load; scaling=vanilla", of_vanilla_1_15),
        ("1.15", "simple", "allocate=capability; scaling=capability", of_capability_1_15),
        # An adapter that may have more than one group is a secondary one, which starts as `vanilla` does.
        ("1.15", "simple", "allocate=even_load; scaling=fixed_elastic", of_vanilla_1_15),
    ],
    ids=lambda value: value.replace("allocate=", "").replace("; scaling=", "-") if isinstance(value, str) else "",
)
async def test_a_hundred_plain_tasks_and_fifty_with_a_gpu(
    wire: Wire, engine: str, content: str, wanted: Callable[[], Wants | None], tmp_path: Path
) -> None:
    with real_scheduler(tmp_path, content, wire=wire, engine=engine) as real:
        settings = {**real.settings, "capabilities": GPU, "most_workers": MOST, "call_timeout_seconds": 8}
        adapter = ScalerAdapter(ScalerSettings.model_validate(settings), fleet=FLEET, home=HOME)
        real.work(PLAIN, 0, with_gpu=WITH_GPU)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (demand := await adapter.demand()).queued < PLAIN + WITH_GPU:
            assert time.monotonic() < deadline, f"not all tasks wait: {demand}"
            await asyncio.sleep(0.3)
        # What is wanted is asked before what waits.
        assert (await adapter.demand()).desired == wanted()
