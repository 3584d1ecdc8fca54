"""The user, and where we keep things for him: known on machines that know him only by number too.

In a container a process may run as a user without an entry in passwd, without HOME, or with one
that nobody may write to.
"""

import getpass
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from traces.errors import Problem


def user() -> str:
    """Return the user's name, or his number where he has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # which of them, depends on the version of Python
        return str(os.getuid())


def cache() -> Path:
    """Return our cache folder: the user's where he has one, else one in the temporary folder.

    Raises Problem where the latter is somebody else's: what is compiled there is loaded.
    """
    with suppress(RuntimeError):  # of newer platformdirs, where there is no home
        path = user_cache_path("pagedbench")
        if path.is_absolute() and (path.is_dir() or _writable(path)):
            return path
    path = Path(tempfile.gettempdir(), f"pagedbench-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise Problem(f"{path}: belongs to somebody else: name a cache folder in XDG_CACHE_HOME")
    return path


def variables() -> dict[str, str]:
    """Return what engines ask the environment for, where it does not say so: a name and a home."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  which raises where there is none
    known = home.is_dir() and home.is_absolute() and os.access(home, os.W_OK)
    return {"LOGNAME": user(), **({} if known else {"HOME": str(cache())})}


def _writable(path: Path) -> bool:
    """Whether this folder could be made."""
    while not path.exists():
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK)
