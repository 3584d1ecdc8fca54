"""Make the virtual environment in .venv, or bring it up to date.

    python3 tools/setup.py [--accel cpu|cuda]     what `make setup` runs
    python3 tools/setup.py lock [--upgrade]       what `make lock` runs

Needs Python and nothing else: uv, which does the work, is installed by pip into .uv. The last
step writes .venv/.ready, the file that make looks at. It is taken away before anything is
changed, and an environment without it is made anew, so an interrupted set-up is never trusted.

It does not touch anything outside this folder but pip's and uv's own caches.
"""

import sys

# Before all other imports, and in words that an old Python can read.
if not (3, 11) <= sys.version_info < (3, 15):
    sys.exit(
        f"setup: Python 3.11 to 3.14 is needed and this is {sys.version.split()[0]}. "
        "Name another one: make setup PYTHON=python3.12"
    )

import argparse
import ast
import ctypes
import importlib.util
import os
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

UV_VERSION = "0.13.9"

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"
UV_ENV = ROOT / ".uv"
UV = UV_ENV / "bin" / "uv"

# uv does not read pip's settings. These let somebody behind a mirror say so once, to pip.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}
# Further places to look in, for `cpu` only. To a resolver 2.13.0+cpu is newer than 2.13.0, so
# a CPU build of torch found in one of them would take the place of the CUDA build.
# pip's extra indexes are not passed on: to uv they come before the default one, and one that has
# the right version of a package in the wrong wheel (multiprocess has one per Python) would win.
PIP_TO_UV_CPU = {"find-links": "UV_FIND_LINKS"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("verb", nargs="?", choices=("install", "lock"), default="install")
    parser.add_argument("--accel", choices=("cpu", "cuda"), help="default: the last one, or detect")
    parser.add_argument("--upgrade", action="store_true", help="lock: move to newer versions")
    args = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit("setup: vLLM runs on Linux only. Use a Linux machine, a container or WSL 2.")
    try:
        if args.verb == "lock":
            lock(args.upgrade)
        else:
            install(args.accel or last_accel() or detect_accel())
    except subprocess.CalledProcessError as error:
        command = " ".join(Path(part).name for part in error.cmd[:3])
        sys.exit(f"setup: `{command}` failed, see above. Running make again starts afresh.")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted. Running make again starts afresh.")


def install(accel: str) -> None:
    begun = time.monotonic()
    size = {"cpu": "1 GB (4 GB on disk)", "cuda": "4 GB (9 GB on disk)"}[accel]
    print(f"setup: making .venv for {accel}; the first time this downloads {size}", flush=True)
    complete = environment_is_complete(accel)
    READY.unlink(missing_ok=True)
    get_uv()
    env = uv_settings(accel)
    if not complete:
        uv(env, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, VENV)
    if accel == "cpu":
        # Alone and first: sent to PyTorch's index, uv looks there only for triton, too, which is
        # pinned as PyPI has it. The sync then finds the torch that it wants in place.
        backend = torch_backend(env)
        uv(env, *("pip", "install", "--python", PYTHON, "--no-deps"), *backend, cpu_torch())
    uv(env, "pip", "sync", "--python", PYTHON, f"requirements/{accel}.txt")
    # Editable, with the locked setuptools; its dependencies are the ones just installed.
    uv(
        env,
        *("pip", "install", "--python", PYTHON, "--quiet"),
        *("--no-deps", "--no-build-isolation", "--editable", "."),
    )
    READY.write_text(stamp(accel))
    print(f"setup: done in {time.monotonic() - begun:.0f} s", flush=True)


def lock(upgrade: bool) -> None:
    """Write requirements/*.txt: the pins stay as they are unless `upgrade` is asked for.

    No hashes: the CPU build of torch comes from another index than the rest, or from a folder,
    and neither need hold the wheels of every Python version to be hashed.
    """
    get_uv()
    for accel in ("cpu", "cuda"):
        env = uv_settings(accel) | {"UV_CUSTOM_COMPILE_COMMAND": "make lock"}
        backend = torch_backend(env) if accel == "cpu" else []
        uv(
            env,
            *("pip", "compile", "--quiet", "pyproject.toml"),
            *("--universal", "--python-version", "3.11"),
            # One version of each package for all Python versions, so that results compare.
            *("--fork-strategy", "fewest"),
            *("--no-annotate", "--no-emit-find-links", "--no-emit-index-url"),
            *("--extra", accel, "--extra", "dev", "--extra", "parquet"),
            *("--output-file", f"requirements/{accel}.txt"),
            *backend,
            *(["--upgrade"] if upgrade else []),
        )
        print(f"lock: requirements/{accel}.txt")


def detect_accel() -> str:
    """Whether an NVIDIA driver is here; whether its GPUs work is for `pagedbench doctor`."""
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        return "cuda"
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "cpu"
    return "cuda"


def last_accel() -> str | None:
    return READY.read_text().split()[0] if READY.exists() else None


def environment_is_complete(accel: str) -> bool:
    """Whether .venv was finished, for these engines and in this folder, and still runs.

    It holds absolute paths; and torch 2.13.0+cpu would pass for the 2.13.0 that `cuda` wants.
    """
    return READY.exists() and READY.read_text() == stamp(accel) and works(PYTHON, "-c", "")


def stamp(accel: str) -> str:
    return f"{accel} {ROOT}\n"


def get_uv() -> None:
    """Have the pinned uv in an environment of its own: syncing .venv would remove it there."""
    if works(UV, "--version", says=f"uv {UV_VERSION}"):
        return
    if not importlib.util.find_spec("ensurepip") or not importlib.util.find_spec("venv"):
        sys.exit(
            "setup: this Python cannot make virtual environments. "
            "On Debian or Ubuntu: apt-get install python3-venv"
        )
    shutil.rmtree(UV_ENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", UV_ENV)
    pip_install = ("install", "--quiet", "--disable-pip-version-check")
    run(UV_ENV / "bin" / "python", "-m", "pip", *pip_install, f"uv=={UV_VERSION}")


def uv_settings(accel: str) -> dict[str, str]:
    """The environment for uv: what is set for uv stands, then what is set for pip."""
    pip = pip_settings()
    env = dict(os.environ)
    for name, variable in (PIP_TO_UV | (PIP_TO_UV_CPU if accel == "cpu" else {})).items():
        if name in pip:
            separator = "," if variable == "UV_FIND_LINKS" else " "
            env.setdefault(variable, separator.join(pip[name].split()))
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    # Or the first process to import an engine compiles it, and seems 15 s slower than the next.
    env.setdefault("UV_COMPILE_BYTECODE", "1")
    return env


def pip_settings() -> dict[str, str]:
    """pip's configuration for `pip install`, its files and variables already merged by pip."""
    command = [str(UV_ENV / "bin" / "python"), "-m", "pip", "config", "list"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    settings = {}
    for section in ("global", "install", ":env:"):  # the later one wins, as in pip
        for line in lines.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                settings[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    return settings


def cpu_torch() -> str:
    """The CPU build of the torch that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names: list[str] = project["optional-dependencies"]["cpu"]
    return next(name for name in names if name.startswith("torch==")) + "+cpu"


def torch_backend(env: dict[str, str]) -> list[str]:
    """The option that sends uv to PyTorch's index, unless a place set by the user has the build."""
    if not env.keys() & {"UV_FIND_LINKS", "UV_INDEX", "UV_DEFAULT_INDEX"}:
        return ["--torch-backend", "cpu"]
    command = [str(UV), "pip", "compile", "--no-deps", "--python", sys.executable, "-"]
    done = subprocess.run(
        command, env=env, cwd=ROOT, input=cpu_torch(), text=True, capture_output=True
    )
    return [] if done.returncode == 0 else ["--torch-backend", "cpu"]


def uv(env: dict[str, str], *arguments: str | Path) -> None:
    run(UV, *arguments, env=env)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    subprocess.run([*map(str, command)], env=env, cwd=ROOT, check=True)


def works(*command: str | Path, says: str = "") -> bool:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.startswith(says)


if __name__ == "__main__":
    main()
