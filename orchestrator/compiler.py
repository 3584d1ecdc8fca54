"""The sampler's ticks, compiled: monitor/ticker.c by this machine's compiler, once a version.

It is kept in the user's cache folder. vLLM's kernels ask for a C compiler on a GPU machine too.
"""

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from pathlib import Path

from orchestrator.home import cache
from traces.errors import Problem

SOURCE = Path(__file__).resolve().parents[1] / "monitor" / "ticker.c"
OPTIONS = ("-O2", "-shared", "-fPIC", "-pthread")


def ticker() -> dict[str, str]:
    """Return the sampler's settings about it: where it lies, or why there is none."""
    try:
        return {"ticker": str(_made(cache() / "compiled"))}
    except Problem as problem:
        return {"no_ticker": str(problem)}
    except OSError as error:
        return {
            "no_ticker": f"cannot write to {error.filename}: {error.strerror}; set XDG_CACHE_HOME"
        }


def _made(home: Path) -> Path:
    compiler = os.environ.get("CC", "").strip() or "cc"
    made_for = (SOURCE.read_text(), compiler, OPTIONS, os.uname().machine, platform.libc_ver())
    version = hashlib.sha256(repr(made_for).encode()).hexdigest()[:16]
    library = home / f"ticker-{version}.so"
    if not library.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            draft = Path(folder) / library.name
            _compile(compiler, draft)
            draft.rename(library)
    return library


def _compile(compiler: str, library: Path) -> None:
    try:
        command = [*shlex.split(compiler), *OPTIONS, "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, ValueError):
        raise Problem(f"there is no C compiler ({compiler}); install gcc, or set CC") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[0]
        raise Problem(f"{compiler} cannot compile {SOURCE}: {said}") from None
    if not library.exists():
        raise Problem(f"{compiler} compiles nothing: is it a C compiler? Install gcc, or set CC")
