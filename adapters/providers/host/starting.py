"""What workers of this host are started with: their environment, and why one could not be started."""

import errno
import os
import shutil
from collections.abc import Mapping

from ebbflow.adapters.providers.host import processes
from ebbflow.core import worker_environment
from ebbflow.core.errors import CapacityUnavailable, LaunchRejected, ProviderError, ProviderUnavailable
from ebbflow.core.instance import LaunchRequest


def environment_of(given: Mapping[str, str], request: LaunchRequest, fingerprint: str) -> dict[str, str]:
    """All that one worker gets; names of ours cannot be overruled.

    Args:
        given: what the settings say.
        request: whose worker it is, and what its master needs.
        fingerprint: of its provider.
    """
    inherited = {name: os.environ[name] for name in processes.INHERITED if name in os.environ}
    return {**inherited, **given, **worker_environment.given(request), worker_environment.PROVIDER: fingerprint}


def refusal(
    tried: str, what: str, word: str, environment: Mapping[str, str], error: OSError | ValueError
) -> ProviderError:
    """Why a worker could not be started, in words that a person can act on.

    Args:
        tried: what was tried, for whom.
        what: what the settings call the program.
        word: the program.
        environment: what it was to get; only its PATH is looked at.
        error: what the system said.
    """
    if not isinstance(error, OSError):
        # The text of a ValueError may quote a value of the environment.
        return LaunchRejected(f"{tried}: a word or variable holds a NUL character or cannot be encoded")
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return CapacityUnavailable(f"{tried}: this host has no room for one more process: {error.strerror}")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ETXTBSY, errno.ENOSPC, errno.EDQUOT):
        return ProviderUnavailable(f"{tried}: {error.strerror}")
    return LaunchRejected(f"{tried}: {what} {word!r} {_problem_of_program(word, environment, error)}")


def _problem_of_program(word: str, environment: Mapping[str, str], error: OSError) -> str:
    path = word if "/" in word else shutil.which(word, path=environment.get("PATH", os.defpath))
    if path is None:
        return "is not on the worker's PATH"
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "is a folder"
    if isinstance(error, FileNotFoundError):
        return "exists, but the interpreter that its first line names does not"
    if not os.access(path, os.X_OK):
        return "is not executable"
    return f"cannot be run: {error.strerror}"
