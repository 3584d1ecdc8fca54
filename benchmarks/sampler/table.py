"""The sampler benchmark's figures as Markdown."""

from typing import Any


def render(found: dict[str, Any]) -> str:
    """Return all tables that there are figures for."""
    about = found["machine"]
    where = ", ".join(about["gpus"]) or "no GPU"
    program = found.get("program", {}).get("name")
    beside = f"Beside {program}. " if program else ""
    parts = [
        f"{beside}{where}, driver {about['driver'] or '-'}, {about['cores']} cores, "
        f"Linux {about['kernel']}, Python {about['python']}; "
        f"{'quick, ' if found['quick'] else ''}measured in {found['seconds']:.0f} s."
    ]
    parts += [f"{name}: {why}." for name, why in found["missing"].items()]
    if "floors_idle" in found:
        parts.append(_floors(found))
    parts += [make(found[key]) for key, make in MAKERS.items() if found.get(key)]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _floors(found: dict[str, Any]) -> str:
    idle, busy = found["floors_idle"], found.get("floors_busy", {})
    rows = [[name, _percent(idle[name]), _percent(busy.get(name))] for name in idle]
    return _table(["1 kHz, the floor, share of one core", "GPU idle", "program running"], rows)


def _cost(rows: list[dict[str, Any]]) -> str:
    head = ["sampler, program running", "of one core", "readings/s", "us of CPU a reading",
            "on time", "missed in the driver", "late p50 / p99, us", "longest gap, ms"]  # fmt: skip
    return _table(head, [
        [
            row["tool"], _percent(row["cpu_share"]), _number(row.get("readings_per_s")),
            _number(row.get("cpu_us_per_reading")), _percent(row.get("on_time"), 2),
            _percent(row.get("missed_in_driver"), 2),
            f"{_number(row.get('jitter_p50_us'))} / {_number(row.get('jitter_p99_us'))}",
            _number(row.get("longest_gap_ms"), 1),
        ]
        for row in rows
    ])  # fmt: skip


def _spikes(rows: list[dict[str, Any]]) -> str:
    found = [[row["tool"], f"{row['caught']} of {row['of']}"] for row in rows]
    return _table(["sampler", "spikes of 1 GiB and 5 ms seen"], found)


def _effect(rows: list[dict[str, Any]]) -> str:
    found = []
    for row in rows:
        change = "-"
        if row["change"] is not None:
            low, high = 100 * row["low"], 100 * row["high"]
            change = f"{100 * row['change']:+.2f} % ({low:+.2f} to {high:+.2f})"
        turns = "alternate seconds" if "block_s" in row else "every other run"
        found.append([row["tool"], change, f"{row['n']} x {row['window_s']:g} s", turns])
    head = ["sampler", "program's speed (95 % interval)", "runs", "with and without"]
    return _table(head, found)


def _simulated(rows: list[dict[str, Any]]) -> str:
    head = ["simulated driver", "of one core", "ticks on time", "trace, GB a day"]
    return _table(head, [
        [
            f"{row['gpus']} GPU at {row['interval_ms']:g} ms"
            f"{', everything' * row.get('everything', False)}"
            f"{', every core busy' * row.get('busy', False)}",
            _percent(row["cpu_share"]),
            _percent(row["on_time"], 2), f"{row['trace_bytes_per_s'] * 86400 / 1e9:.2f}",
        ]
        for row in rows
    ])  # fmt: skip


MAKERS = {"cost": _cost, "spikes": _spikes, "effect": _effect, "simulated": _simulated}
