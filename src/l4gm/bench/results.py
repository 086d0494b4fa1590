"""What benchmarks print and keep: rows, a table, a JSON file, a comparison with an earlier one."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from l4gm import __version__
from l4gm.errors import InputError
from l4gm.io.json_file import read_json
from l4gm.plain import kind_fault

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured thing.

    Args:
        case: what was done, for example "big T=4 float32".
        competitor: who did it.
        figures: numbers by name with their unit, for example {"seconds": 1.5}; see
            `less_is_better`.
    """

    case: str
    competitor: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Results:
    """The rows of one benchmark, and the machine they were measured on."""

    subject: str
    rows: list[Row]
    machine: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on."""
    name = _processor()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {
        "device": f"{device.type}: {name}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "l4gm": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def markdown(results: Results) -> str:
    """A table for people: one line a row, one column a figure."""
    names = list(dict.fromkeys(name for row in results.rows for name in row.figures))
    lines = [
        " | ".join(["| case", "competitor", *names]) + " |",
        "|---|---|" + "--:|" * len(names),
    ]
    for row in results.rows:
        cells = [_number(row.figures.get(name)) for name in names]
        lines.append(" | ".join([f"| {row.case}", row.competitor, *cells]) + " |")
    lines += ["", *(f"- {name}: {value}" for name, value in results.machine.items())]
    return "\n".join(lines + [f"- note: {note}" for note in results.notes])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write(results: Results, path: Path) -> None:
    """As JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps({"format": FORMAT, **asdict(results)}, indent=1) + "\n")
    os.replace(partial, path)


def read(path: Path) -> Results:
    """What `write` wrote.

    Raises:
        InputError: if it is not there, or something else.
    """
    try:
        values = read_json(path)
        if values.pop("format") != FORMAT:
            raise ValueError(f"format {FORMAT} expected")
        rows = values.pop("rows")
        faults = [kind_fault(Row, row) for row in rows] + [kind_fault(Results, values)]
        if any(faults):
            raise ValueError(next(filter(None, faults)))
        return Results(rows=[Row(**row) for row in rows], **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a result of l4gm bench ({error})") from error


def compare(now: Sequence[Row], earlier: Iterable[Row]) -> list[str]:
    """One line for each figure that both have: earlier, now, and by what factor it got better."""
    before = {(row.case, row.competitor): row.figures for row in earlier}
    lines = []
    for row in now:
        old = before.get((row.case, row.competitor), {})
        for name, value in row.figures.items():
            if not value or not old.get(name):
                continue
            factor = old[name] / value if less_is_better(name) else value / old[name]
            lines.append(
                f"{row.case}, {row.competitor}, {name}: {_number(old[name])} -> {_number(value)} "
                f"({factor:.2f}x)"
            )
    return lines


def less_is_better(name: str) -> bool:
    """Whether a smaller figure of this name is the better one: times, memory, errors."""
    return not {"seconds", "ms", "MiB", "error"}.isdisjoint(name.split())
