"""The smallest async flow: what a run costs before it does anything."""

from prefect import flow


@flow(name="noop")
async def noop() -> None:
    """Do nothing."""
