"""Folders and files that are ours alone: what a neighbour could have put in their place is refused."""

import errno
import grp
import os
import pwd
import re
import stat
from pathlib import Path
from typing import BinaryIO

from ebbflow.core.errors import ConfigError

WRITABLE_BY_OTHERS = 0o022
OURS_ALONE = 0o700
OUR_NAME = re.compile(r"_addresses|[a-z0-9][a-z0-9-]{0,39}")


def make_private(root: Path, folder: Path) -> None:
    """Make a folder below a root, and the root, each for nobody but us.

    Folders of an earlier release that others can read are closed; one that holds other things than ours is left open.

    Raises:
        ConfigError: one that is there is not ours alone; says what to do.
        OSError: one cannot be made.
    """
    missing = [parent for parent in reversed(root.parents) if not parent.exists()]
    below = [root, *(root / part for part in reversed([*folder.relative_to(root).parents][:-1]))]
    for each in dict.fromkeys([*missing, *below, folder]):
        try:
            os.mkdir(each, OURS_ALONE)
        except FileExistsError:
            check_private(each)
            if os.lstat(each).st_mode & 0o077 and (each == folder or _holds_only_ours(each)):
                os.chmod(each, OURS_ALONE)
    _check_way_to(root)


def check_private(folder: Path) -> None:
    """Refuse a folder in which somebody else could have put something. Changes nothing.

    Raises:
        ConfigError: says what to do.
        OSError: it is not there, or cannot be looked at.
    """
    found = os.lstat(folder)
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"folder {folder} is a link, which is not followed: name the folder that it leads to")
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"folder {folder} belongs to user {found.st_uid}, and this runs as user {os.geteuid()}: name one of its own"
        )
    if found.st_mode & WRITABLE_BY_OTHERS and not _is_shared_with_nobody(found):
        raise ConfigError(
            f"folder {folder} can be written by others (mode {found.st_mode & 0o7777:o}), who could have workers ended "
            f"or started: look what is in it, then `chmod 700 {folder}`"
        )


def check_root(root: Path) -> None:
    """The same of a root, and of the way to it; one that is not there yet is fine.

    Raises:
        ConfigError: says what to do.
        OSError: it cannot be looked at.
    """
    try:
        check_private(root)
    except FileNotFoundError:
        return
    _check_way_to(root)


def open_to_read(path: Path, *, is_ours: bool = True) -> BinaryIO:
    """Open a file to read it: a pipe in its place would keep the reader waiting for ever, a link lead elsewhere.

    Args:
        path: where it is.
        is_ours: False for a descriptor of another process, whose entry is a link.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    return os.fdopen(_regular(path, os.O_RDONLY | (os.O_NOFOLLOW if is_ours else 0)), "rb")


def open_to_append(path: Path) -> BinaryIO:
    """Open a log to add to its end, and make it where there is none.

    Raises:
        OSError: it is no regular file, or cannot be opened.
    """
    return os.fdopen(_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW), "r+b", buffering=0)


def _regular(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    # A worker inherits it.
    os.set_blocking(descriptor, True)
    return descriptor


def _is_shared_with_nobody(found: os.stat_result) -> bool:
    """Whether its group is the user's own, as where each user has a group of the same name."""
    if found.st_mode & stat.S_IWOTH:
        return False
    try:
        group, user = grp.getgrgid(found.st_gid), pwd.getpwuid(found.st_uid)
    except KeyError:
        return False
    return (group.gr_name, group.gr_gid) == (user.pw_name, user.pw_gid) and not group.gr_mem


def _holds_only_ours(folder: Path) -> bool:
    """Whether nothing is in it but folders with names as we give them: another folder's mode is its owner's to set."""
    with os.scandir(folder) as entries:
        return all(OUR_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False) for entry in entries)


def _check_way_to(root: Path) -> None:
    """Whoever may rename a folder on the way may put another one in its place."""
    for folder in dict.fromkeys([*root.parents, *root.resolve().parents]):
        mode = os.lstat(folder).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ConfigError(f"folder {folder}, on the way to {root}, can be written by everybody: name another place")
