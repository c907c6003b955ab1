"""Advice on a fleet in plain words: five questions and their answers. Pure."""

from collections.abc import Iterator, Sequence

from ebbflow.simulation.advice_table import Unit, difference
from ebbflow.simulation.advice_told import AdviceTold, SettingTold

PAY, WAIT, OTHERS, SURE, CHANGE = (
    "What do I pay now?",
    "How long do users wait now?",
    "What would each other setting cost, and how long would users wait then?",
    "How sure is that?",
    "What exactly do I change?",
)
MOST_NAMED = 6
"""Settings in one sentence."""


def verdict(told: AdviceTold) -> str:
    """What is advised, in a sentence or two."""
    own, advised, nearest = told.own, told.named(told.advised), told.named(told.nearest)
    if advised is None:
        reached = f": {_bound(nearest)} with {_called(nearest)}" if nearest is not None else ""
        return (
            f"No setting that was played lets 95 of 100 requests wait less than {told.wait_p95_seconds:g} s. The "
            f"shortest wait{reached}."
        )
    if advised.is_own and told.wait_p95_seconds is not None:
        return (
            f"Leave it as it is: {_bound(own)}, and no setting that keeps that below {told.wait_p95_seconds:g} s is "
            "cheaper by more than chance."
        )
    if advised.is_own:
        return (
            f"Leave it as it is: no other setting costs less by more than chance, {weighed(told)}."
            f"{_nearly(told.settings[1:])}"
        )
    why = (
        f"the least cost of those that let 95 of 100 requests wait less than {told.wait_p95_seconds:g} s"
        if told.wait_p95_seconds is not None
        else f"{_less(advised)} than now, {weighed(told)}"
    )
    return f"Set {', '.join(advised.changes)}: {why}. {_then(told, own, advised)}"


def weighed(told: AdviceTold) -> str:
    """By what cost and waiting are compared."""
    if told.wait_p95_seconds is not None:
        return "waiting not counted"
    worth = told.waiting_worth
    return f"where an hour of a user's waiting counts as {worth:g} worker-hour{'' if worth == 1 else 's'}"


def answers(told: AdviceTold) -> Iterator[tuple[str, Sequence[str]]]:
    """The questions with their answers, sentence by sentence; to the third the table belongs, to the last the diff."""
    yield PAY, tuple(_pay(told))
    yield WAIT, tuple(_wait(told))
    told_by = "`against now` is what a setting costs more or less: worker-hours at their prices"
    yield OTHERS, (f"{told_by}, {weighed(told)}; less is better.",)
    yield SURE, tuple(_sure(told))
    yield CHANGE, tuple(_change(told))


def _pay(told: AdviceTold) -> Iterator[str]:
    recorded, own, unit = told.recorded, told.own, Unit(told)
    usd = "" if recorded.usd is None else f" for {recorded.usd:,.2f} USD"
    daily = "" if recorded.usd is None else f" and {unit.usd(recorded.usd / told.days)}"
    yield (
        f"In {_long(told.days)}, of which {told.records:,} turns are recorded, it had {recorded.worker_hours:,.2f} "
        f"worker-hours{usd}: {unit.hours(recorded.worker_hours / told.days)}{daily}."
    )
    if recorded.unpriced_hours:
        yield f"Of {recorded.unpriced_hours:,.2f} of these worker-hours no price is known."
    played = unit.hours(own.worker_hours_per_day)
    money = "" if own.usd_per_day is None else f" and {unit.usd(own.usd_per_day)}"
    yield f"Played anew on what came it has {played}{money}; the others are compared with that."


def _wait(told: AdviceTold) -> Iterator[str]:
    mean, p95 = told.own.waited_mean_seconds, told.own.waited_p95_seconds
    if mean is None or p95 is None:
        yield "Nothing came in this time, so nobody waited."
        return
    yield (
        f"Played, the {told.requests:,} requests that came wait {mean.mean:,.1f} s in the mean, and "
        f"{_bound(told.own)}: from {p95.least:,.1f} s to {p95.most:,.1f} s in the parts of this time. Records hold no "
        "waits, so that this is reckoned and not measured."
    )
    if told.own.unserved:
        yield f"Of them {told.own.unserved:,.0f} had not begun when the time was over."


def _sure(told: AdviceTold) -> Iterator[str]:
    part = _long(told.days / told.parts)
    yield (
        f"Each setting was played {told.plays} times over {told.parts} parts of {part} each, with the same "
        "requests and the same luck; figures in brackets are the lowest and the highest of these "
        f"{told.plays * told.parts}."
    )
    yield from _chance(told)
    if told.equals:
        yield f"As good as {_called(told.named(told.advised))}, as far as this past can tell: {_some(told)}."
    yield from (f"Missing: {each}." for each in told.missing)
    yield from (_sentence(each) for each in told.notes)
    if told.stopped:
        yield _sentence(told.stopped)
    yield from (f"Not played: {each}." for each in told.not_played)


def _chance(told: AdviceTold) -> Iterator[str]:
    """What ± and brackets mean, where so many settings are compared with the fleet as it is."""
    others = told.settings[1:]
    if not others:
        return
    tried = f"these {len(others)}" if len(others) > 1 else "this one"
    yield (
        "What stands after ± is how far a difference may be off by chance of parts and launches: of "
        f"{tried} none is further off, 95 times in 100. A difference in brackets may be chance alone: this past cannot "
        "tell the two apart. Of those that do the same as now, any stands without brackets 5 times in 100 at most."
    )
    near = [each.label for each in others if _is_near(each)]
    if near:
        yield (
            f"Without brackets, and no larger than its ±: {'; '.join(near[:MOST_NAMED])}. Brackets are set one "
            "after the other, the surest differences first, and each that is told leaves fewer to doubt (Holm)."
        )


def _is_near(each: SettingTold) -> bool:
    return each.is_told and not each.failure and abs(each.difference_percent) <= each.spread_percent


def _change(told: AdviceTold) -> Iterator[str]:
    advised = told.named(told.advised)
    if advised is None or advised.is_own:
        yield "Nothing."
        return
    yield f"In the fleet's file: {', '.join(advised.changes)}."
    if advised.came_along:
        yield f"With that policy, unless the file says otherwise: {'; '.join(advised.came_along)}."
    yield (
        "Nothing was changed yet: change the file as below, look at it with `ebbflow check`, and deploy it with "
        "`ebbflow up`."
    )


def _then(told: AdviceTold, own: SettingTold, advised: SettingTold) -> str:
    unit = Unit(told)
    if own.usd_per_day is not None and advised.usd_per_day is not None:
        cost = f"{unit.usd(advised.usd_per_day)} in the place of {own.usd_per_day.mean * unit.of_a_day:,.2f}"
    else:
        cost = (
            f"{unit.hours(advised.worker_hours_per_day)} in the place of "
            f"{own.worker_hours_per_day.mean * unit.of_a_day:,.2f}"
        )
    if own.waited_p95_seconds is None or advised.waited_p95_seconds is None:
        return f"{cost}."
    wait = advised.waited_p95_seconds
    parts = f" ({wait.least:,.1f} s to {wait.most:,.1f} s in the parts of this time)" if told.wait_p95_seconds else ""
    return f"{cost}; {_bound(advised)}{parts}, in the place of {own.waited_p95_seconds.mean:,.1f} s."


def _nearly(others: Sequence[SettingTold]) -> str:
    """The other setting with the least cost, where it would be less."""
    sound = [each for each in others if not each.failure]
    best = min(sound, key=lambda each: each.difference_percent, default=None)
    if best is None or best.difference_percent >= 0:
        return ""
    return f" The lowest in the mean has `{best.label}`: {difference(best)}."


def _some(told: AdviceTold) -> str:
    """Who is as good as the advised one."""
    if len(told.equals) == len(told.settings) - 1:
        return "all others"
    rest = len(told.equals) - MOST_NAMED
    return "; ".join((*told.equals[:MOST_NAMED], *([f"{rest} more"] if rest > 0 else [])))


def _less(each: SettingTold) -> str:
    return f"{-each.difference_percent:.1f} % \u00b1 {each.spread_percent:.1f} % less"


def _bound(each: SettingTold | None) -> str:
    wait = each.waited_p95_seconds.mean if each is not None and each.waited_p95_seconds is not None else 0.0
    return f"95 of 100 wait no longer than {wait:,.1f} s"


def _called(each: SettingTold | None) -> str:
    return "" if each is None else "the fleet as it is" if each.is_own else f"`{each.label}`"


def _sentence(words: str) -> str:
    """A note as a sentence. What begins with the name of a block keeps it."""
    is_name = "/" in words.split(" ", 1)[0]
    return f"{words if is_name else words[:1].upper() + words[1:]}."


def _long(days: float) -> str:
    """`36 s`, `12 min`, `24 h`, `7 days`."""
    seconds = days * 86_400
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if days < 3 else f"{days:.1f} days"
