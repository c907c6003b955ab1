"""Figures of a stranger's text: what is not told is None, and never 0."""

import pytest

from ebbflow.gateway.kinds.kind import Said
from ebbflow.gateway.kinds.prometheus import MOST_LINES, samples, total, whole
from tests.gateway.kinds.saying import SILENT, figures


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (figures("a:n 3"), 3),
        (figures("# HELP a:n Of it.", "# TYPE a:n counter", "a:n 3.0"), 3),
        (figures('a:n{x="1"} 3', 'a:n{x="2"} 4'), 7),
        (figures("a:n 3 1764496000000"), 3),
        (figures('a:n{x="}\\"{,"} 3'), 3),
        (figures("a:n 0"), 0),
        (figures("a:n -0.0"), 0),
        (figures("b:n 5", "a:n\t3"), 3),
        (figures("a:n 3", "\x00\x01 what is this {{{"), 3),
        # The rest tells nothing.
        (figures(), None),
        (SILENT, None),
        (Said(404, "a:n 3\n"), None),
        (figures("a:n_total 3", "xa:n 3", " a:n 3", "A:N 3"), None),
        (figures("a:n NaN"), None),
        (figures("a:n +Inf"), None),
        (figures("a:n 1e999"), None),
        (figures("a:n -1"), None),
        (figures("a:n 1e16"), None),
        (figures("a:n 3.5"), None),
        (figures("a:n"), None),
        (figures("a:n "), None),
        (figures("a:n three"), None),
        (figures('a:n{x="1"} 3', 'a:n{x="2"} NaN'), None),
        (figures('a:n{x="1"} 3', 'a:n{x="2} 4'), None),
        (figures("a:n " + "9" * 900), None),
        (figures('a:n{x="' + 2000 * "y" + '"} 3'), None),
        (figures(*["a:n 1"] * (MOST_LINES + 1)), None),
        # Cut off: 3 may have been 30, and more of it may have followed.
        (Said(200, "a:n 3"), None),
        (Said(200, 'a:n{x="1"} 3\na:n{x="2'), None),
    ],
)
def test_a_series_is_the_sum_of_its_lines_or_is_not_told(said: Said, told: int | None) -> None:
    assert whole(said, "a:n") == told


def test_a_sum_is_over_the_labels_that_were_asked_for() -> None:
    said = figures('n{model="a",version="1"} 1.5', 'n{model="a",version="2"} 2', 'n{model="b",version="1"} 4')
    assert total(said, "n", model="a") == 3.5
    assert total(said, "n", model="c") is None
    assert [each.labels["version"] for each in samples(said, "n")] == ["1", "2", "1"]
