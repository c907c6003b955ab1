"""The two blocks of this deployment: put your site's values in here, then `python blocks.py` saves both.

They are saved on the server that Prefect is set to, in the place of what was saved under their names.
"""

from pathlib import Path

from ebbflow.blocks import SlurmProvider, SwarmUIMaster

HERE = Path(__file__).resolve().parent


def master() -> SwarmUIMaster:
    """The SwarmUI that users talk to, as `swarmui-master/slurm`."""
    return SwarmUIMaster(address="http://swarm.example:7801", require_control_within_minutes=10)


def provider() -> SlurmProvider:
    """The partition that its workers run in, as `slurm-provider/gpu`."""
    return SlurmProvider(
        # A folder that the nodes see under the same path.
        command=[str(HERE / "worker.sh")],
        # prefix=["ssh", "login1"],              where no Slurm client is installed beside the flows
        partition="gpu",
        # account="lab", qos="short", constraint="a100", reservation="course",
        gpus=1,
        cpus=8,
        memory="32G",
        time_minutes=480,
        start_within_seconds=600,
        output_folder=str(Path.home()),
        environment={
            "SWARMUI_FOLDER": str(Path.home() / "SwarmUI"),
            # "DATA_TEMPLATE": "/shared/swarmui-data",
        },
    )


if __name__ == "__main__":
    master().save("slurm", overwrite=True)
    provider().save("gpu", overwrite=True)
    print("saved swarmui-master/slurm and slurm-provider/gpu")
