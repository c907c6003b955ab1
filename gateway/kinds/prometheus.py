"""Figures of a text in Prometheus' format, read without trust. Pure.

What is missing, has another name or makes no sense is None: a server that tells nothing is not idle.
"""

from collections.abc import Iterator
from itertools import islice

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ebbflow.gateway.kinds.answers import MOST, count
from ebbflow.gateway.kinds.kind import Said

MOST_LINES = 500
"""Of one series, with all its labels."""
LINE_LETTERS = 1000


def samples(said: Said | None, name: str) -> tuple[Sample, ...]:
    """All samples of a series; empty where it is missing, and where one of them makes no sense: no sum would be true.

    A text that does not end with its last line was cut off, so samples of any series may be missing from it.
    """
    if said is None or said.status != 200 or not said.text.endswith("\n"):
        return ()
    lines = tuple(islice(_lines(said.text, name), MOST_LINES + 1))
    if len(lines) > MOST_LINES:
        return ()
    read = [_sample(line, name) for line in lines]
    good = tuple(each for each in read if each is not None)
    return good if len(good) == len(read) else ()


def total(said: Said | None, name: str, **labels: str) -> float | None:
    """The sum over the samples that have these labels; None: the server does not tell."""
    chosen = [each for each in samples(said, name) if labels.items() <= each.labels.items()]
    return sum(each.value for each in chosen) if chosen else None


def whole(said: Said | None, name: str, **labels: str) -> int | None:
    """The same for what is counted in whole numbers."""
    return count(total(said, name, **labels))


def _lines(text: str, name: str) -> Iterator[str]:
    """Lines that begin with the name; the library is slow, and gets no other ones."""
    text = f"\n{text}"
    end = 0
    while (start := text.find(f"\n{name}", end)) >= 0:
        end = text.index("\n", start + 1)
        line = text[start + 1 : end]
        if line[len(name) :].startswith((" ", "\t", "{")):
            yield line


def _sample(line: str, name: str) -> Sample | None:
    if len(line) > LINE_LETTERS:
        return None
    try:
        (family,) = text_string_to_metric_families(line)
        (sample,) = family.samples
    except (ValueError, LookupError, ArithmeticError):
        return None
    # NaN is within no bounds.
    return sample if sample.name == name and 0 <= sample.value <= MOST else None
