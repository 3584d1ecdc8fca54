"""The arrows of the design: who may import whom, who may start processes, and what stays light."""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("traces", "monitor", "workers", "measure", "compare", "report", "orchestrator")
ENGINES = {"torch", "transformers", "vllm"}

# What a room may import beside the standard library and itself.
ALLOWED = {
    "traces": {"msgspec"},
    "monitor": {"traces", "msgspec", "pynvml"},
    "workers": {"traces", "msgspec", "tokenizers", "huggingface_hub", *ENGINES},
    "measure": {"traces", "msgspec", "orjson", "numpy"},
    "compare": {"traces", "measure", "msgspec", "numpy", "scipy", "ruptures"},
    "report": {
        "traces", "measure", "compare", "msgspec", "orjson", "numpy", "jinja2", "markupsafe",
        "plotly", "rich", "pyarrow", "matplotlib",
    },
    "orchestrator": {
        "traces", "measure", "compare", "report", "msgspec", "click", "rich", "psutil",
        "multiprocess", "packaging", "platformdirs",
    },
}  # fmt: skip
# What only these files may import; further down, start; further down, import by a computed name.
ONLY_IN = {
    "pynvml": {"monitor/nvml.py"},
    "multiprocess": {"orchestrator/supervise.py"},
    "multiprocessing": set[str](),
}
STARTS = {
    "orchestrator/supervise.py",
    "orchestrator/git.py",
    "orchestrator/compiler.py",  # the C compiler
}
LOADS_BY_NAME = {
    "traces/control.py",  # a child's target
    "workers/loop.py",  # the backend's module
    "orchestrator/verbs.py",  # the verb's module
}
STARTERS = {
    "subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_call",
    "subprocess.check_output", "subprocess.getoutput", "subprocess.getstatusoutput",
    "os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp",
    "os.startfile", "pty.spawn", "pty.fork", "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    *(f"os.{kind}{how}" for kind in ("exec", "spawn")
      for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}  # fmt: skip


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.AST:
    return ast.parse(path.read_bytes())


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of all modules imported anywhere in a file, in functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}: relative imports hide where they go"
            assert node.module
            yield node.module


def calls(path: Path) -> Iterator[str]:
    """Yield what is called or passed on by a dotted name, and names imported from a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name):
            yield node.id


@pytest.mark.parametrize("path", sources(), ids=name)
def test_imports_are_allowed(path):
    room = path.relative_to(ROOT).parts[0]
    found = {module.partition(".")[0] for module in imports(path)}
    assert found - sys.stdlib_module_names <= ALLOWED[room] | {room}


def test_arrows_go_down_only():
    """Said by the lists above; said again, for it is what the design stands on."""
    below = {
        "traces": set(),
        "monitor": {"traces"},
        "workers": {"traces"},
        "measure": {"traces"},
        "compare": {"traces", "measure"},
        "report": {"traces", "measure", "compare"},
        "orchestrator": {"traces", "measure", "compare", "report"},
    }
    assert {room: ALLOWED[room] & set(ROOMS) for room in ROOMS} == below
    assert ALLOWED["traces"] == {"msgspec"}
    for room in ("measure", "compare", "report", "orchestrator"):
        assert not ALLOWED[room] & {"pynvml", *ENGINES}


def test_no_file_imports_itself_by_way_of_others():
    """In functions and for types only, too: a late import hides a cycle, it does not mend it."""
    found = {module(path): path for path in sources()}
    graph = {name: needed(path, found.keys()) - {name} for name, path in found.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def module(path: Path) -> str:
    """Return a file's name as one imports it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def needed(path: Path, ours: Set[str]) -> set[str]:
    """Return which of our files one imports; `from package import file` is the file."""
    names = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    return (names | set(imports(path))) & ours


@pytest.mark.parametrize("module", ONLY_IN)
def test_imported_in_one_place_only(module):
    users = {name(p) for p in sources() if module in {m.partition(".")[0] for m in imports(p)}}
    assert users == ONLY_IN[module]


def test_processes_are_started_in_one_place_only():
    started = {}
    for path in sources():
        # In an annotation, as a string, nothing is started; `monitoring` waits for one.
        if found := STARTERS & set(calls(path)):
            started[name(path)] = found
    assert started.keys() == STARTS, started


def test_modules_are_loaded_by_name_in_few_places():
    ways = {"importlib.import_module", "__import__", "importlib.reload", "runpy.run_module", "exec"}
    assert {name(path) for path in sources() if ways & set(calls(path))} == LOADS_BY_NAME


def modules(room: str) -> list[str]:
    """Return the names of a room's modules; a __main__ would run."""
    paths = [path.relative_to(ROOT) for path in sources() if path.stem != "__main__"]
    return [".".join(path.with_suffix("").parts) for path in paths if path.parts[0] == room]


def modules_after(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the names of the modules it then holds."""
    code += "\nimport sys, json; print('\\n' + json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    held: list[str] = json.loads(done.stdout.splitlines()[-1])
    return {module.partition(".")[0] for module in held}


def test_the_whole_orchestrator_loads_no_engine_and_no_other_process_code():
    held = modules_after("".join(f"import {module}\n" for module in modules("orchestrator")))
    assert not held & {"workers", "monitor", "pynvml", *ENGINES}


def test_the_contract_costs_a_measured_process_nothing():
    held = modules_after("".join(f"import {module}\n" for module in modules("traces")))
    outside = held - set(sys.stdlib_module_names) - {"traces", "msgspec", "typing_extensions"}
    assert {module for module in outside if not module.startswith("_")} <= {"sitecustomize"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["-h"]])
def test_help_loads_nothing_heavy(arguments):
    held = modules_after(
        f"import sys; sys.argv = ['pagedbench', *{arguments}]\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code"
    )
    assert not held & {
        "numpy", "scipy", "plotly", "msgspec", "rich", "jinja2", "psutil", "multiprocess", "pynvml",
        "measure", "compare", "report", "workers", "monitor", *ENGINES,
    }  # fmt: skip
