"""The demo of model servers ends well, and leaves nothing."""

from pathlib import Path

import pytest

from tests.e2e.demo_process import demo

pytestmark = pytest.mark.endurance

DEMO_SECONDS = 500


def test_clients_of_a_gateway_bring_model_servers_which_go_again(tmp_path: Path) -> None:
    with demo(tmp_path, "gateway") as process:
        said, _ = process.communicate(timeout=DEMO_SECONDS)
    assert process.returncode == 0, said
    assert "requests      10, 0 lost" in said
    assert list(tmp_path.glob("ebbflow-demo-*")) == []
