"""The log file of a process: what it said last."""

from pathlib import Path

TAIL_LINES, TAIL_BYTES = 12, 8192


def tail(log: Path) -> list[str]:
    """Return the last lines of a log file, none when it cannot be read."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line[:500] for line in lines if line.strip()][-TAIL_LINES:]
