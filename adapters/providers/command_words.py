"""The command that an operator writes for workers, as the words that one of them is started with."""

from collections.abc import Sequence

from ebbflow.core.instance import LaunchRequest


def filled(command: Sequence[str], request: LaunchRequest) -> list[str]:
    """A command with `{worker_id}` and `{fleet}` replaced; nothing else in braces is."""
    return [word.replace("{worker_id}", request.worker_id).replace("{fleet}", request.fleet) for word in command]
