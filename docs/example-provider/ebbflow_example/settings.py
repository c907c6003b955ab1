"""What an operator says about the machines: the fields of the block's form."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _absolute(text: str) -> str:
    if not Path(text).expanduser().is_absolute():
        raise ValueError(f"{text!r} depends on where it is read from: give an absolute path, or one that begins with ~")
    return text


def _each_once(machines: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({machine for machine in machines if machines.count(machine) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed twice: one machine is one worker")
    return machines


Machine = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$", max_length=200)]


class FixedMachinesSettings(BaseModel):
    """Which machines there are, and where it is kept who has which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machines: Annotated[
        tuple[Machine, ...],
        AfterValidator(_each_once),
        Field(
            title="Machines",
            description="Addresses of workers that run already, such as http://gpu1:7801, in order of preference.",
            min_length=1,
        ),
    ]
    lease_folder: Annotated[
        str,
        AfterValidator(_absolute),
        Field(
            title="Lease folder",
            description="Where it is kept who has which machine, on a disk of the host where the flows run. It must "
            "exist: a folder that is missing is an unknown list, not an empty one. ~ is your home.",
        ),
    ]
