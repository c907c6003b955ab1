"""Advice on a fleet at a glance: a row for each setting, and cost against wait as a picture. Pure."""

from ebbflow.simulation.advice import Spread
from ebbflow.simulation.advice_told import AdviceTold, SettingTold
from ebbflow.simulation.plots import Point, scatter

HEAD = ("", "setting", "against now", "USD per {unit}", "p95 wait, s", "mean wait, s", "worker-hours per {unit}")
LEAST_DRAWN_SECONDS = 0.5


class Unit:
    """A day, or an hour where the past is shorter than one: nobody asks what a day of four minutes costs."""

    def __init__(self, told: AdviceTold) -> None:
        self.name, self.of_a_day = ("day", 1.0) if told.days >= 1 else ("hour", 1 / 24)

    def usd(self, figure: Spread | float) -> str:
        """`8.55 USD per day`."""
        return f"{_mean(figure) * self.of_a_day:,.2f} USD per {self.name}"

    def hours(self, figure: Spread | float) -> str:
        """`17.10 worker-hours per day`."""
        return f"{_mean(figure) * self.of_a_day:,.2f} worker-hours per {self.name}"

    def mean(self, figure: Spread) -> str:
        """`8.55`."""
        return f"{figure.mean * self.of_a_day:,.2f}"

    def spread(self, figure: Spread) -> str:
        """`8.55 (6.10 to 9.20)`."""
        least, most = figure.least * self.of_a_day, figure.most * self.of_a_day
        return f"{figure.mean * self.of_a_day:,.2f} ({least:,.2f} to {most:,.2f})"


def table(told: AdviceTold) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows; the fleet as it is first."""
    unit = Unit(told)
    rows: list[tuple[str, ...]] = [
        (
            str(place),
            f"{each.label}{' (advised)' if each.is_advised else ''}",
            "" if each.is_own else each.failure or _against(each),
            unit.spread(each.usd_per_day) if each.usd_per_day is not None else "-",
            "-" if each.waited_p95_seconds is None else _seconds(each.waited_p95_seconds),
            "-" if each.waited_mean_seconds is None else f"{each.waited_mean_seconds.mean:,.1f}",
            # A spread for each of the two would be the same twice.
            unit.mean(each.worker_hours_per_day)
            if each.usd_per_day is not None
            else unit.spread(each.worker_hours_per_day),
        )
        for place, each in enumerate(told.settings, 1)
    ]
    return tuple(name.format(unit=unit.name) for name in HEAD), rows


def picture(told: AdviceTold) -> str:
    """Cost against wait as SVG, each setting by its number in the table; who is left and below is better."""
    unit = Unit(told)
    is_priced = all(each.usd_per_day is not None for each in told.settings)
    points = []
    for place, each in enumerate(told.settings, 1):
        cost = each.usd_per_day if is_priced else each.worker_hours_per_day
        wait = each.waited_p95_seconds
        if cost is not None and wait is not None and not each.failure:
            label = f"{place}{' now' if each.is_own else ' advised' if each.is_advised else ''}"
            at = cost.mean * unit.of_a_day, max(wait.mean, LEAST_DRAWN_SECONDS)
            points.append(Point(label, *at, is_marked=each.is_own or each.is_advised))
    what = f"{'USD' if is_priced else 'worker-hours'} per {unit.name}"
    return scatter("Cost against wait", points, x_label=what, y_label=f"wait p95, s (at least {LEAST_DRAWN_SECONDS:g})")


def _against(each: SettingTold) -> str:
    return difference(each) if each.is_told else f"({difference(each)})"


def difference(each: SettingTold) -> str:
    """`-12.1 % ± 4.0 %`: what it costs more than the fleet as it is, and how far that may be off."""
    return f"{each.difference_percent:+.1f} % \u00b1 {each.spread_percent:.1f} %"


def _seconds(figure: Spread) -> str:
    return f"{figure.mean:,.1f} ({figure.least:,.1f} to {figure.most:,.1f})"


def _mean(figure: Spread | float) -> float:
    return figure.mean if isinstance(figure, Spread) else figure
