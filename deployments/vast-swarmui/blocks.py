"""The two blocks of this deployment: put your values in here, then `python blocks.py` saves both.

They are saved on the server that Prefect is set to, in the place of what was saved under their names. The key is read
from the environment variable VAST_API_KEY, so that no file holds it.
"""

import os
from pathlib import Path

from ebbflow.blocks import SwarmUIMaster, VastProvider

HERE = Path(__file__).resolve().parent


def master() -> SwarmUIMaster:
    """The SwarmUI that users talk to, as `swarmui-master/vast`. It must be reachable from where the flows run."""
    return SwarmUIMaster(address="http://swarm.example:7801", require_control_within_minutes=10)


def provider(api_key: str) -> VastProvider:
    """The machines that its workers rent, as `vast-provider/rtx4090`."""
    return VastProvider.model_validate(
        {
            "api_key": api_key,
            # Any name: the key can then be renewed while workers live.
            "account": "ours",
            # With git, curl, Python and CUDA; your own, with SwarmUI and models in it, starts much sooner.
            "image": "vastai/pytorch:latest",
            "onstart": (HERE / "onstart.sh").read_text(encoding="utf-8"),
            "disk_gb": 80,
            "gpu_names": ["RTX 4090"],
            "min_gpu_memory_gb": 23,
            "min_reliability": 0.98,
            "min_download_mbps": 300,
            "max_usd_per_hour": 0.45,
            # "rental": "interruptible",      half the price, and ended whenever somebody bids more
            # "regions": ["NO", "SE"],
            "capabilities": ["rtx4090"],
        }
    )


if __name__ == "__main__":
    master().save("vast", overwrite=True)
    provider(os.environ["VAST_API_KEY"]).save("rtx4090", overwrite=True)
    print("saved swarmui-master/vast and vast-provider/rtx4090")
