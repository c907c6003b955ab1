"""Blocks written in a file: checked before anything is saved, secrets from the environment, no value ever shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from ebbflow.blocks import LocalProvider, SwarmUIMaster
from ebbflow.blocks.from_file import blocks_of
from ebbflow.core.errors import ConfigError

FILE = """\
blocks:
  - block: swarmui-master/main
    address: "http://{{ $SWARM_HOST }}:7801"
    token: "{{ $SWARM_TOKEN }}"
  - block: local-provider/this-host
    command: [/opt/swarmui/worker.sh, "--models", "{{ $MODELS }}"]
    state_folder: ~/.ebbflow/workers
"""
HERE = {"SWARM_HOST": "swarm.example", "SWARM_TOKEN": "s3cret", "MODELS": "/data"}


def test_a_file_is_read_into_blocks_with_what_the_environment_holds() -> None:
    master, provider = blocks_of(FILE, Path("/srv"), environment=HERE)
    assert (master.reference, provider.reference) == ("swarmui-master/main", "local-provider/this-host")
    assert isinstance(master.block, SwarmUIMaster)
    assert isinstance(provider.block, LocalProvider)
    assert master.block.token == SecretStr("s3cret")
    assert master.block.address == "http://swarm.example:7801"
    assert list(provider.block.command)[-1] == "/data"
    assert "s3cret" not in repr(master)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("{{ $SWARM_TOKEN }}", "{{ $NO_SUCH }}"),
            "swarmui-master/main: token is {{ $NO_SUCH }}, and NO_SUCH is not set",
        ),
        (
            ("swarmui-master/main", "swarmui/main"),
            "blocks[0].block: there is no type 'swarmui'; there are: gateway-master, kubernetes-provider",
        ),
        (("swarmui-master/main", "main"), "blocks[0].block: expected <type>/<name>"),
        (("  - block: swarmui-master/main\n    address", "  - address"), "blocks[0].block: expected <type>/<name>"),
        (("    address:", "    adress:"), "swarmui-master/main: address: Field required"),
        (
            ("    token:", "    call_timeout_seconds: -1\n    token:"),
            "swarmui-master/main: call_timeout_seconds: Input should",
        ),
        (("    token: ", "    token: [1, "), "it is no YAML"),
        (("blocks:", "block:"), "blocks: expected a list of them"),
    ],
)
def test_what_is_wrong_is_named_with_its_field_and_without_its_value(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        blocks_of(FILE.replace(*change), tmp_path, environment=HERE)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
