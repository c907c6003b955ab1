"""What every provider and master block is: saved configuration that builds a live adapter which is not a block."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, get_origin

from prefect.blocks.core import Block, schema_extra
from pydantic import ConfigDict, Secret, SerializationInfo, SerializerFunctionWrapHandler, model_serializer
from pydantic.fields import FieldInfo

from ebbflow.core.ports import Master, Provider

PROVIDER_CAPABILITY = "ebbflow-provider"
MASTER_CAPABILITY = "ebbflow-master"


def _hide_within(schema: dict[str, Any], model: type[Block]) -> None:
    """Tell Prefect's server to hide each value of a mapping that holds secrets.

    Prefect 3 writes down such a field's own name, which its server compares with the names of single values.
    """
    schema_extra(schema, model)
    within = [f"{name}.*" for name in schema["secret_fields"] if _is_mapping(model.model_fields.get(name))]
    schema["secret_fields"] = [*schema["secret_fields"], *within]


def _is_mapping(field: FieldInfo | None) -> bool:
    """Whether its value is a mapping, plain or as a whole in a secret."""
    annotation = field.annotation if field is not None else None
    if get_origin(annotation) is Secret:
        (annotation,) = annotation.__args__  # type: ignore[union-attr]
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, Mapping)


class _SecretBlock(Block, ABC):
    """Hides single values of mappings that hold secrets, and shows that there are none."""

    # Prefect's own default takes a misspelt key without a word.
    model_config = ConfigDict(extra="forbid", json_schema_extra=_hide_within)

    @model_serializer(mode="wrap")
    def ser_model(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """As Prefect does it, without empty mappings of secrets: a server would show each as a hidden text."""
        shown: dict[str, Any] = super().ser_model(handler, info)
        return {
            name: value
            for name, value in shown.items()
            if value or not (_is_mapping(type(self).model_fields.get(name)) and self._field_has_secrets(name))
        }


class ProviderBlock(_SecretBlock, ABC):
    """Where workers are launched. Subclass it together with the adapter's own settings model."""

    _block_schema_capabilities = [PROVIDER_CAPABILITY]  # noqa: RUF012 - Prefect reads a plain class attribute

    @abstractmethod
    def get_provider(self) -> Provider:
        """Build the adapter. No I/O."""


class MasterBlock(_SecretBlock, ABC):
    """The system that holds the queue. Subclass it together with the adapter's own settings model."""

    _block_schema_capabilities = [MASTER_CAPABILITY]  # noqa: RUF012 - as above

    @abstractmethod
    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter for one fleet of one installation. No I/O.

        Args:
            fleet: whose workers it manages.
            home: of which installation.
            dry_run: it keeps nothing beyond this run. That it also changes nothing is seen to by whoever asks for it.
        """
