"""The two blocks of this deployment: put your site's values in here, then `python blocks.py` saves both.

They are saved on the server that Prefect is set to, in the place of what was saved under their names.
"""

from pathlib import Path

import yaml

from ebbflow.blocks import KubernetesProvider, SwarmUIMaster

HERE = Path(__file__).resolve().parent


def master() -> SwarmUIMaster:
    """The SwarmUI that users talk to, as `swarmui-master/kubernetes`."""
    return SwarmUIMaster(address="http://swarm.example:7801", require_control_within_minutes=10)


def provider() -> KubernetesProvider:
    """The namespace that its workers run in, as `kubernetes-provider/gpu`."""
    return KubernetesProvider(
        pod_template=yaml.safe_load((HERE / "pod-template.yaml").read_text(encoding="utf-8")),
        namespace="gpu",
        image="registry.example/swarmui:latest",
        gpus=1,
        # Empty: the flows run inside the cluster, by prefect-worker.yaml. Else a kubeconfig's contents:
        # kubeconfig=SecretStr(Path("~/.kube/ebbflow").expanduser().read_text()),
        url="pod-ip",
        schedule_timeout_seconds=120,
        scale_up_timeout_seconds=1200,
    )


if __name__ == "__main__":
    master().save("kubernetes", overwrite=True)
    provider().save("gpu", overwrite=True)
    print("saved swarmui-master/kubernetes and kubernetes-provider/gpu")
