"""The command that an operator writes for workers, as the words that one of them is started with."""

import re
import shlex
from collections.abc import Sequence

from ebbflow.core.instance import LaunchRequest
from ebbflow.core.worker_environment import ARGUMENTS

PLACEHOLDER = "{arguments}"
"""Where what the master needs stands, if it is not to be appended."""

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_TAKES_A_WORD = re.compile(r"[-+][a-zA-Z]*[oO]|--rcfile|--init-file")
_PARAMETERS = re.compile(r"\$[@*1-9]|\$\{[@*1-9]")


def filled(command: Sequence[str], request: LaunchRequest) -> list[str]:
    """A command with `{worker_id}` and `{fleet}` replaced, and `{arguments}` by what the master needs.

    A word that is `{arguments}` alone becomes as many words as there are; within a word they are quoted for a shell.
    Nothing else in braces is replaced.
    """
    words: list[str] = []
    for word in command:
        if word == PLACEHOLDER:
            words += request.join.arguments
            continue
        plain = word.replace("{worker_id}", request.worker_id).replace("{fleet}", request.fleet)
        words.append(plain.replace(PLACEHOLDER, shlex.join(request.join.arguments)))
    return words


def with_arguments(command: Sequence[str], request: LaunchRequest) -> list[str]:
    """The same, with what the master needs appended where no `{arguments}` says where it goes."""
    has_place = any(PLACEHOLDER in word for word in command)
    return [*filled(command, request), *(() if has_place else request.join.arguments)]


def loss_of_arguments(words: Sequence[str], arguments: Sequence[str], *, place: str = PLACEHOLDER) -> str:
    """Why what the master needs does not reach a worker, if a shell takes it for itself; empty: it seems to.

    Args:
        words: the command, without what is appended to it.
        arguments: what the master needs.
        place: the word that stands for them, if the command has one.
    """
    script = _script_of(words)
    if not arguments or script is None:
        return ""
    text, *behind = script
    before = behind[: behind.index(place)] if place in behind else behind
    if _PARAMETERS.search(text) and not before and not _names(text, arguments):
        return (
            f"{shlex.join(arguments)} does not reach the worker whole: behind the script of `-c` there is no word that "
            'becomes $0, so that the first argument does; write one there, such as "worker"'
        )
    return "" if _PARAMETERS.search(text) else loss_in_script(text, arguments, "the script of `-c`")


def loss_in_script(text: str, arguments: Sequence[str], what: str) -> str:
    """The same of a script that nothing is appended to.

    Args:
        text: the script.
        arguments: what the master needs.
        what: what the script is called.
    """
    if not arguments or _names(text, arguments):
        return ""
    return (
        f"{shlex.join(arguments)} does not reach the worker, which may outlive the fleet without it: {what} neither "
        f"passes on its arguments nor names ${ARGUMENTS}; let it start the worker with that"
    )


def _names(text: str, arguments: Sequence[str]) -> bool:
    """Whether a script has them from elsewhere than its own parameters: by our variable, or by giving them itself."""
    options = [word for word in arguments if word.startswith("--")]
    return ARGUMENTS in text or PLACEHOLDER in text or (bool(options) and all(word in text for word in options))


def _script_of(words: Sequence[str]) -> Sequence[str] | None:
    """What a shell among the words is given to run by `-c`, and the words behind it; None where there is none."""
    for index, word in enumerate(words):
        is_shell = word.rpartition("/")[2] in _SHELLS
        # An image's own entry point may be a shell.
        if is_shell or (index == 0 and _is_command_option(word)):
            return _run_by_option(list(words[index + is_shell :]))
    return None


def _run_by_option(rest: list[str]) -> Sequence[str] | None:
    """What stands behind a shell's options, if `-c` is among them."""
    is_command = False
    while rest and rest[0].startswith(("-", "+")):
        option = rest.pop(0)
        if option == "--":
            break
        is_command = is_command or _is_command_option(option)
        del rest[: _TAKES_A_WORD.fullmatch(option) is not None]
    return rest if is_command and rest else None


def _is_command_option(word: str) -> bool:
    return re.fullmatch(r"-[a-z]*c[a-z]*", word) is not None
