"""The baselines by name: models of other systems' rules, with their defaults and with a tuning by hand.

Source: the parameters of the simulation contract, section 4; each class names the project that its rule is read from.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from ebbflow.simulation.baselines_ratio import Capability, Opengris, Vanilla
from ebbflow.simulation.baselines_steps import AICell, Ray, SwarmUI
from ebbflow.simulation.baselines_target import ErlangC, Keda, Knative, SkyServe, VastLike
from ebbflow.simulation.world import Driver

BASELINES: Mapping[str, Callable[[], Driver]] = MappingProxyType(
    {
        "seasonal": partial(ErlangC, average_seconds=180.0, backlog_seconds=120.0, looks_back=True),
        "erlangC": ErlangC,
        "erlangC-b2": partial(ErlangC, safety=2.0, average_seconds=180.0, backlog_seconds=120.0, hold_seconds=600.0),
        "keda-q1": partial(Keda, per_worker=1.0),
        "vast-like": VastLike,
        "skyserve-fast": partial(SkyServe, load=0.7, up_seconds=20.0, down_seconds=300.0),
        "ray-idle60": partial(Ray, idle_seconds=60.0),
        "ray-idle300": Ray,
        "knative": Knative,
        "knative-delay600": partial(Knative, delay_seconds=600.0),
        "swarmui-tuned": partial(SwarmUI, queued=1, start_seconds=15.0, stop_seconds=15.0, idle_seconds=300.0),
        "keda-q5": Keda,
        "skyserve": SkyServe,
        "swarmui": SwarmUI,
        "opengris-capability": partial(Opengris, Capability()),
        "opengris-vanilla": partial(Opengris, Vanilla()),
        "aicell": AICell,
    }
)
"""A driver is made anew for each run: it remembers."""
