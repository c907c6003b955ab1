"""What people have deployed and saved depends on: `python -m tests.interfaces` prints it.

Entrypoints with the parameters of their flows, block types with their fields, and the fields of a fleet.
"""

import importlib
import inspect
import json
from typing import Any

from prefect.utilities.importtools import import_object

FLOWS = ("autoscale", "scale_up", "scale_down", "override", "backtest", "advise")
ENTRYPOINTS = tuple(f"ebbflow.flows.{name}.{name}" for name in FLOWS)


def interfaces() -> dict[str, Any]:
    """As plain JSON."""
    blocks = importlib.import_module("ebbflow.blocks")
    types = {name: getattr(blocks, name) for name in blocks.__all__}
    flows = {entrypoint: import_object(entrypoint) for entrypoint in ENTRYPOINTS}
    return {
        "blocks": {
            kind.get_block_type_slug(): {
                "name": kind.get_block_type_name(),
                "class": name,
                "capabilities": sorted(kind.get_block_capabilities()),
                "fields": sorted(kind.model_fields),
                "required": sorted(key for key, field in kind.model_fields.items() if field.is_required()),
            }
            for name, kind in sorted(types.items())
        },
        "flows": {
            entrypoint: {"name": flow.name, "parameters": list(inspect.signature(flow.fn).parameters)}
            for entrypoint, flow in flows.items()
        },
        "fleet": _properties(flows[ENTRYPOINTS[0]].parameters.model_dump()),
    }


def _properties(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Each model of a flow's parameter schema with the names of its fields."""
    found = {name: sorted(model.get("properties", {})) for name, model in schema["definitions"].items()}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    print(json.dumps(interfaces(), indent=1, sort_keys=True))
