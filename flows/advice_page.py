"""What `advise` leaves on the Prefect server: a page that answers five questions, and its picture."""

from base64 import b64encode
from collections.abc import Iterator, Sequence

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact

from ebbflow.core.text import markdown, one_line
from ebbflow.simulation.advice_table import picture, table
from ebbflow.simulation.advice_told import AdviceTold
from ebbflow.simulation.advice_words import CHANGE, OTHERS, answers, verdict
from ebbflow.turn.moments import moment

MOST_CHARACTERS = 1000
"""Of a sentence: what policies, masters and persons wrote may be in it."""
WEEKLY = (
    "To have this page once a week, give the deployment `advise` in the fleet's file a schedule, as "
    '`schedules: [{cron: "0 6 * * 1", timezone: UTC}]`, and deploy it with `ebbflow up --start`. Nothing is ever '
    "applied by itself."
)


def advice_key(fleet: str) -> str:
    """Where a fleet's advice is: `/artifacts/key/ebbflow-sdxl-advice`."""
    return f"ebbflow-{fleet}-advice"


async def leave_advice(told: AdviceTold) -> str:
    """Leave the page and its picture; return the sentence that the run ends with."""
    key, said = advice_key(told.fleet), verdict(told)
    url = f"data:image/svg+xml;base64,{b64encode(picture(told).encode()).decode()}"
    await acreate_image_artifact(url, key=f"{key}-cost", description=f"{told.fleet}: cost against wait")
    await acreate_markdown_artifact(advice_page(told, url), key=key, description=_text(said))
    return said


def advice_page(told: AdviceTold, picture_url: str) -> str:
    """The page, as Markdown.

    Args:
        told: what it says.
        picture_url: of its picture.
    """
    return "\n\n".join(_parts(told, picture_url)) + "\n"


def _parts(told: AdviceTold, picture_url: str) -> Iterator[str]:
    yield f"# {told.fleet}: advice from its past"
    yield f"{moment(told.since_at)} to {moment(told.until_at)}, {told.records:,} turns."
    yield f"**{_text(verdict(told))}**"
    for question, sentences in answers(told):
        yield f"## {question}"
        yield "\n".join(f"- {_text(each)}" for each in sentences)
        if question == OTHERS:
            yield _table(*table(told))
            yield f"![Cost against wait]({picture_url})"
        if question == CHANGE:
            if told.diff:
                yield f"```diff\n{told.diff}```"
            yield WEEKLY


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:", "---", *["---:"] * (len(head) - 2)]]
    lines += [[_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(words: str) -> str:
    """As it stands, but for what we write as code ourselves."""
    code = one_line(words, MOST_CHARACTERS).split("`")
    if len(code) % 2 == 0:
        return markdown("`".join(code))
    return "".join(f"`{part}`" if place % 2 else markdown(part) for place, part in enumerate(code))
