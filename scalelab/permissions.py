"""Files and folders that a group shares: what is made in a set-group-id folder gets that folder's group bits.

As `git init --shared=group` does, so that every member of the group can go on, whatever the umask of who
began. Elsewhere nothing changes, and nothing becomes readable in a folder that the group cannot read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def share(path: Path) -> None:
    """Gives a file or folder the group's permissions of the folder that it is in, where that is set-group-id.

    Nothing happens where it is missing or somebody else's.
    """
    with contextlib.suppress(OSError):
        folder, own = path.parent.stat().st_mode, path.stat().st_mode
        if not folder & stat.S_ISGID:
            return
        bits = stat.S_IRWXG | stat.S_ISGID if stat.S_ISDIR(own) else stat.S_IRGRP | stat.S_IWGRP
        wanted = own | (folder & bits)
        if wanted != own:
            os.chmod(path, stat.S_IMODE(wanted))


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, each with the group's permissions of the one that it is in.

    Raises:
        OSError: It cannot be made, or is a file.
    """
    if path.is_dir():
        return
    missing = []
    while not path.exists() and path != path.parent:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        share(folder)
    if not missing:
        path.mkdir(exist_ok=True)
