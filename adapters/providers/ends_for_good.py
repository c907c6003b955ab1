"""What a provider without a warm pool says when it is asked to keep an instance."""

from ebbflow.core.errors import TerminationRefused
from ebbflow.core.instance import Instance


class EndsForGood:
    """An instance here is either running or ended (`caps.keeps_stopped` is false)."""

    async def stop(self, instance: Instance) -> None:
        """Refused.

        Raises:
            TerminationRefused: always.
        """
        raise TerminationRefused(f"{instance.worker_id}: this provider cannot keep a stopped instance; terminate it")
