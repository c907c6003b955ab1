"""What prefect.yaml, the one place where the demo's fleet is written, says."""

from typing import Any

import yaml

from ebbflow.demo.blocks import NAME, ProviderKind
from ebbflow.demo.errors import StepFailed
from ebbflow.demo.place import PROJECT
from ebbflow.fleet.model import Fleet


def text_of_demo(provider: ProviderKind) -> str:
    """prefect.yaml for one kind of provider. The kinds differ in one word of it: the name of the block.

    Raises:
        StepFailed: there is no prefect.yaml.
    """
    path = PROJECT / "prefect.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StepFailed(f"{path} cannot be read ({error.strerror}): the demo runs from a checkout") from error
    return text.replace(f"local-provider/{NAME}", f"{provider}-provider/{NAME}")


def fleet_of_demo(provider: ProviderKind) -> Fleet:
    """The fleet that all its deployments take.

    Raises:
        StepFailed: there is no prefect.yaml.
        pydantic.ValidationError: it describes no fleet.
    """
    return Fleet.model_validate(_definitions(provider)["fleet"])


def pool_of_demo() -> str:
    """The work pool that they are deployed to.

    Raises:
        StepFailed: there is no prefect.yaml.
    """
    return str(_definitions("local")["work_pool"]["name"])


def _definitions(provider: ProviderKind) -> dict[str, Any]:
    """Any: YAML is what it is, and the fleet's own model checks it."""
    return dict(yaml.safe_load(text_of_demo(provider))["definitions"])
