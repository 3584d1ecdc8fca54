"""The sampler's ticks, compiled: monitor/ticker.c by this machine's compiler, once a version.

It is kept in the user's cache folder. vLLM's kernels ask for a C compiler on a GPU machine too.
"""

import hashlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

SOURCE = Path(__file__).resolve().parents[1] / "monitor" / "ticker.c"
OPTIONS = ("-O2", "-shared", "-fPIC", "-pthread")


def ticker() -> dict[str, str]:
    """Return the sampler's settings about it: where it lies, or why there is none."""
    command = [*shlex.split(os.environ.get("CC") or "cc"), *OPTIONS]
    version = hashlib.sha256(SOURCE.read_bytes() + repr(command).encode()).hexdigest()[:16]
    home = user_cache_path("pagedbench") / "compiled"
    library = home / f"ticker-{os.uname().machine}-{version}.so"
    try:
        if not library.exists():
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home) as folder:
                draft = Path(folder) / library.name
                _compile([*command, "-o", str(draft), str(SOURCE)])
                draft.rename(library)
    except FileNotFoundError:
        return {"no_ticker": f"there is no C compiler ({command[0]}); install gcc, or set CC"}
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[0]
        return {"no_ticker": f"{command[0]} cannot compile {SOURCE}: {said}"}
    except OSError as error:
        return {"no_ticker": f"cannot write to {home}: {error.strerror}; set XDG_CACHE_HOME"}
    return {"ticker": str(library)}


def _compile(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
