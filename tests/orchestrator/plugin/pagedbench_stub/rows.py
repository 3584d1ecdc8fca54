"""The rows this package adds to the table of backends."""

from orchestrator.backends import INTERFACE, Backend, Option

_MODULE = "pagedbench_stub.worker"

STUB = Backend(
    "stub", _MODULE, "counts instead of thinking, and misbehaves as told", {},
    {
        "step_s": Option(float, least=0),
        "hold": Option(str),
        "act": Option(str, choices=("kill", "memory", "cuda", "error", "usage", "exit")),
        "leave": Option(str, choices=("stubborn", "session", "group", "nameless")),
        "say": Option(str),
    },
    INTERFACE,
)  # fmt: skip
ELSEWHERE = Backend(
    "stub-elsewhere", _MODULE, "needs what nobody has", {"no-such-package": ">=1"},
    interface=INTERFACE,
)  # fmt: skip
UNTESTED = Backend(
    "stub-untested", _MODULE, "needs another click", {"click": ">=99"}, interface=INTERFACE
)
OLD = Backend("stub-old", _MODULE, "written when a worker had generate()", {})
