"""The fleet: the one parameter of every flow. Plain JSON: each run in the history says which numbers decided."""

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ebbflow.core.capabilities import fits
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import check_fleet_name
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import DrainWay, MasterCaps
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import BlockReference, PlacementRules, ProviderEntry
from ebbflow.decision.rules import Drain, Readiness
from ebbflow.decision.schedule import Schedule
from ebbflow.decision.upkeep import LOOKS_APART_SECONDS
from ebbflow.fleet.nameable import POLICIES, FleetPolicy
from ebbflow.policies.vanilla import VanillaPolicy

BUDGET_SHARE = 0.8
"""Of the interval. What a turn has not begun by then is the next turn's."""

APART_SHARE = 0.75
"""Of `waiting_interval_seconds`. Two turns are not nearer, whether one was due or came because something waits."""

OVERHEAD_SECONDS = 2.0
"""Of a turn, for its claim and for everything that is quick."""


class Fleet(BaseModel):
    """A set of workers under one policy, serving one master."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(description="2 to 20 characters of [a-z0-9-], beginning with a letter.")]
    interval_seconds: Annotated[
        float, Field(ge=10, le=3600, description="Between two turns; the schedule uses the same number.")
    ] = 60.0
    waiting_interval_seconds: Annotated[
        float | None,
        Field(
            ge=10,
            le=3600,
            description="A turn more comes so soon after one that saw something wait, while more workers may serve it. "
            "Unset: the next one comes when it is due.",
        ),
    ] = None
    poll_interval_seconds: Annotated[
        float | None,
        Field(
            ge=2,
            le=3600,
            description="So often `ebbflow runner` looks at the master's queue alone, between turns. Where work begins "
            "to wait, a turn comes at once, or `waiting_interval_seconds` after the last one. Unset: nobody does.",
        ),
    ] = None
    master: BlockReference
    providers: Annotated[tuple[ProviderEntry, ...], Field(min_length=1, description="In order of preference.")]
    policy: FleetPolicy = VanillaPolicy()
    limits: Limits = Limits()
    schedules: Annotated[
        tuple[Schedule, ...], Field(description="Floors by the clock, under whatever the policy wants.")
    ] = ()
    placement: PlacementRules = PlacementRules()
    readiness: Readiness = Readiness()
    drain: Drain = Drain()
    accept_busy_stop: Annotated[
        bool, Field(description="Allow scale-down with a master that cannot keep new work from a worker.")
    ] = False
    records_folder: Annotated[
        str | None, Field(description="Every record is also appended to a file of JSON lines in this folder.")
    ] = None

    @field_validator("records_folder")
    @classmethod
    def _is_a_path(cls, given: str | None) -> str | None:
        if given is not None and (not given or "\0" in given):
            raise ValueError(f"{given!r} is no folder: a path without NUL would be right, such as '/var/lib/ebbflow'")
        return given

    @model_validator(mode="before")
    @classmethod
    def _policy_brings_its_limits(cls, given: object) -> object:
        """A policy's own limits (`kind: swarmui` brings those of SwarmUI's backend) under those that the fleet sets."""
        policy, limits = (given.get("policy"), given.get("limits", {})) if isinstance(given, dict) else (None, None)
        kind = policy.get("kind") if isinstance(policy, dict) else getattr(policy, "kind", None)
        brought = getattr(POLICIES.get(str(kind)), "default_limits", None)
        if not isinstance(given, dict) or not brought or not isinstance(limits, dict):
            return given
        return {**given, "limits": {**brought, **limits}}

    @field_validator("name")
    @classmethod
    def _name_fits_every_label(cls, name: str) -> str:
        try:
            return check_fleet_name(name)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _waiting_is_sooner(self) -> Self:
        soon_seconds = self.waiting_interval_seconds
        if soon_seconds is not None and soon_seconds >= self.interval_seconds:
            raise ValueError(
                f"waiting_interval_seconds is {soon_seconds:g}, and a turn is due every {self.interval_seconds:g} s "
                "(interval_seconds) anyway: set it lower, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _polls_lead_to_turns(self) -> Self:
        poll_seconds, soon_seconds = self.poll_interval_seconds, self.waiting_interval_seconds
        if poll_seconds is None:
            return self
        if soon_seconds is None:
            raise ValueError(
                f"poll_interval_seconds is {poll_seconds:g} without waiting_interval_seconds, by which a turn comes "
                "where a poll sees work wait: set that too, such as 15, or leave both out"
            )
        if poll_seconds >= self.interval_seconds:
            raise ValueError(
                f"poll_interval_seconds is {poll_seconds:g}, and a turn looks every {self.interval_seconds:g} s "
                "(interval_seconds) anyway: set it lower, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _providers_fit(self) -> Self:
        blocks = [entry.block for entry in self.providers]
        twice = sorted({block for block in blocks if blocks.count(block) > 1})
        if twice:
            raise ValueError(f"providers: {', '.join(twice)} is listed twice; one line per provider")
        for entry in self.providers:
            if entry.warm_workers > entry.max_workers:
                raise ValueError(
                    f"providers: {entry.block} would keep {entry.warm_workers} warm_workers and may hold "
                    f"{entry.max_workers} (max_workers counts both): lower warm_workers"
                )
            if entry.base_workers > entry.max_workers:
                raise ValueError(
                    f"providers: {entry.block} would keep {entry.base_workers} base_workers and may hold "
                    f"{entry.max_workers}: lower base_workers"
                )
        room = sum(entry.max_workers for entry in self.providers)
        if room < self.limits.min_workers:
            raise ValueError(
                f"limits.min_workers {self.limits.min_workers} is more than all providers together allow ({room}); "
                "raise a provider's max_workers"
            )
        return self

    @property
    def budget_seconds(self) -> float:
        """How long after its observation a turn may begin outside calls."""
        return self.interval_seconds * BUDGET_SHARE

    @property
    def least_apart_seconds(self) -> float:
        """A run that finds a younger claim is skipped."""
        half_seconds = self.interval_seconds / 2
        soon_seconds = self.waiting_interval_seconds
        return half_seconds if soon_seconds is None else min(half_seconds, APART_SHARE * soon_seconds)

    def check(self, master: MasterCaps, providers: Mapping[str, ProviderCaps]) -> None:
        """Refuse what this fleet's master or providers cannot do, before anything is done.

        Raises:
            ConfigError: names the field, its value and what would be right.
        """
        self._check_master(master)
        # Before the last look of a teardown come the turn's own and the first one, and before the provider's call all.
        calls = [(self.master, master.call_seconds, 2 * master.usual_seconds)]
        calls += [(name, caps.call_seconds, 3 * master.usual_seconds) for name, caps in providers.items()]
        self._check_time(*max(calls, key=lambda call: call[1] + call[2]))
        for entry in self.providers:
            known = providers.get(entry.block)
            if entry.warm_workers and known is not None and not known.keeps_stopped:
                raise ConfigError(
                    f"providers: warm_workers is {entry.warm_workers} for {entry.block}, which cannot keep stopped "
                    "instances: set it to 0"
                )
            if entry.warm_workers and master.workers_join:
                raise ConfigError(
                    f"providers: warm_workers is {entry.warm_workers} for {entry.block}, but workers join "
                    f"{self.master} with the id that they were first started with, so that none comes back as another: "
                    "set it to 0"
                )
            told = master.told_capabilities
            if told is not None and known is not None and known.capabilities and not fits(told, known.capabilities):
                raise ConfigError(
                    f"capabilities of {entry.block} are {', '.join(known.capabilities)}, and those of {self.master} "
                    f"are {', '.join(told) or 'none'}: name there at least what each provider gives"
                )
            if not master.workers_join and known is not None and not known.tells_urls:
                raise ConfigError(
                    f"providers: {entry.block} learns no addresses (its url or url_channel is none), and {self.master} "
                    "calls its workers at theirs: set it to another value"
                )

    def _check_master(self, caps: MasterCaps) -> None:
        if self.poll_interval_seconds is not None and not caps.takes_polls:
            raise ConfigError(
                f"poll_interval_seconds is {self.poll_interval_seconds:g}, but {self.master} cannot be asked between "
                "turns: leave it out; waiting_interval_seconds may stay"
            )
        if self.limits.min_workers == 0 and not caps.can_start_from_zero:
            raise ConfigError(
                f"limits.min_workers is 0, but {self.master} loses requests while it has no worker: "
                "set min_workers to 1 or more, or set waiting_room in the master's block to the address of one "
                "(`ebbflow waiting-room`); allow_start_from_zero loses them"
            )
        if caps.owns_workers and (self.policy.kind != "no" or self.limits.min_workers or self.schedules):
            raise ConfigError(
                f"{self.master} starts and ends its workers itself (workers_by: auto_scaling_backend), so this fleet "
                'decides on none: set policy to {kind: "no"} and limits.min_workers to 0, and leave out schedules; the '
                "numbers are set in that backend"
            )
        if getattr(self.policy, "needs_shapes", False) and not caps.per_shape_demand:
            raise ConfigError(
                f"policy.kind is {self.policy.kind!r}, which needs to know what waiting work requires, and "
                f"{self.master} does not tell (per_shape_demand): use a policy that counts tasks, as 'vanilla'"
            )
        if getattr(self.policy, "needs_desired", False) and not caps.decides_counts:
            raise ConfigError(
                f"policy.kind is {self.policy.kind!r}, and {self.master} says of itself no number of workers "
                "(decides_counts): use a policy that counts tasks, as 'vanilla'"
            )
        keepalive = caps.needs_keepalive_seconds
        if keepalive is not None and self.interval_seconds > keepalive / 2:
            raise ConfigError(
                f"interval_seconds is {self.interval_seconds:g}, but workers of {self.master} end themselves after "
                f"{keepalive:g} s without a sign of life: use an interval of at most {keepalive / 2:g} s"
            )
        if caps.drain is DrainWay.NONE and not self.accept_busy_stop:
            raise ConfigError(
                f"{self.master} cannot keep new work from a worker, so scaling down may stop a busy one: "
                "set accept_busy_stop: true in the fleet to allow it"
            )

    def _check_time(self, outside: str, call_seconds: float, before_seconds: float) -> None:
        needed = before_seconds + LOOKS_APART_SECONDS + call_seconds + OVERHEAD_SECONDS
        if needed > self.budget_seconds:
            raise ConfigError(
                f"interval_seconds {self.interval_seconds:g} leaves a turn {self.budget_seconds:g} s: "
                f"two looks {LOOKS_APART_SECONDS:g} s apart and a call of {call_seconds:g} s to {outside} "
                f"do not fit; use an interval of at least {math.ceil(needed / BUDGET_SHARE)} s"
            )
