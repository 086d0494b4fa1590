"""What the compiler makes of the triton backend's kernels, for GPUs that need not be there.

    python benchmarks/splatting_triton.py                     # a table for three kinds of GPU
    python benchmarks/splatting_triton.py --capability 90     # for one kind

Writes splatting_triton.md to benchmarks/results (--output).

A line gives the registers of a thread, the bytes it spills, the bytes of shared memory of a
program, and how many warps fit on a processor with 65,536 registers. `loop` is the number of
machine instructions in the kernel's longest innermost loop: for `composite` and `differentiate`
what one entry costs a warp in a whole tile, or, with four warps, in a quarter of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from l4gm.splat import triton_backend as backend

CAPABILITIES = (80, 90, 120)  # A100, H100 and H200, RTX 50

_FLOAT, _DOUBLE, _INT, _LONG = "*fp32", "*fp64", "*i32", "*i64"
_TILE_WARPS = (backend.MANY_TILES_WARPS, backend.FEW_TILES_WARPS)

# The types of each kernel's arguments, as `triton_backend` gives them, and the warps of a program.
SIGNATURES: dict[str, list[str]] = {
    "project": [*[_FLOAT] * 5, _DOUBLE, _FLOAT, _LONG, _INT, *["i32"] * 4, "i64", "i32"],
    "list_entries": [_FLOAT, *[_LONG] * 4, *["i32"] * 5],
    "composite": [_FLOAT, _INT, _LONG, *[_FLOAT] * 4, _INT, "i32", "i32"],
    "differentiate": [
        _FLOAT, _INT, _LONG, _FLOAT, _LONG, _FLOAT, _INT, *[_FLOAT] * 3, "i32", "i32",
    ],
    "add_slots": [_LONG, _FLOAT, _FLOAT, "i32"],
    "project_backward": [*[_FLOAT] * 5, _LONG, *[_FLOAT] * 6, "i32", "i32"],
}  # fmt: skip
WARPS = dict.fromkeys(SIGNATURES, (4,)) | dict.fromkeys(("composite", "differentiate"), _TILE_WARPS)

_REGISTERS_OF_A_PROCESSOR = 65536
_REGISTERS_AT_ONCE = 8  # a thread's are given out in such steps


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one kernel takes on one kind of GPU."""

    kernel: str
    capability: int
    num_warps: int
    registers: int
    spilled_bytes: int
    shared_bytes: int
    loop: int
    seconds: float

    @property
    def warps_on_a_processor(self) -> int:
        rounded = -(-self.registers // _REGISTERS_AT_ONCE) * _REGISTERS_AT_ONCE
        return (
            min(64, _REGISTERS_OF_A_PROCESSOR // (rounded * 32)) // self.num_warps * self.num_warps
        )


def compile_kernel(name: str, capability: int, num_warps: int) -> Any:
    """Compile one kernel as a launch on such a GPU would."""
    kernel = getattr(backend, name)
    types = SIGNATURES[name]
    signature = dict(zip(kernel.arg_names, types, strict=False))
    constants = {}
    if "block" in kernel.arg_names:
        signature["block"], constants["block"] = "constexpr", backend.BLOCK
    aligned = [["tt.divisibility", 16]]
    attributes = {(i,): aligned for i, kind in enumerate(types) if kind.startswith("*")}
    return triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": num_warps, "enable_fp_fusion": True},
    )


def measure(name: str, capability: int, num_warps: int) -> Row:
    """Compile one kernel and read what it takes from its machine code, with Triton's own tools."""
    start = sum(os.times()[:4])  # with the assembler's, a process of its own
    compiled = compile_kernel(name, capability, num_warps)
    seconds = sum(os.times()[:4]) - start
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _run(knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name)
        code = _run(knobs.nvidia.nvdisasm.path, "-c", file.name)
    used = {key: int(value) for key, value in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", usage)}
    return Row(
        kernel=name,
        capability=capability,
        num_warps=num_warps,
        registers=used["REG"],
        spilled_bytes=used["STACK"] + used["LOCAL"],
        shared_bytes=used["SHARED"],
        loop=max(loop_lengths(code.splitlines()), default=0),
        seconds=seconds,
    )


def loop_lengths(lines: list[str]) -> Iterator[int]:
    """Instructions in each innermost loop of disassembled code, from a label to a jump back to it.

    Code behind the end of the kernel, for warps that have come apart, also jumps back.
    """
    labels: dict[str, int] = {}
    count = 0
    innermost = 0  # where the last loop that was found ends
    for line in lines:
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = count
        elif re.match(r"\s+/\*[0-9a-f]{4,}\*/", line):
            count += 1
            if re.search(r"/\s+EXIT", line):
                return
            jump = re.search(r"\bBRA\b.*`\((\.L_\w+)\)", line)
            if jump and labels.get(jump[1], -1) >= innermost:
                yield count - labels[jump[1]]
                innermost = count


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


HEADER = (
    "| kernel | GPU | warps | registers | spilled B | shared B | warps a processor | loop "
    "| compile s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
)


def format_row(row: Row) -> str:
    return (
        f"| {row.kernel} | sm_{row.capability} | {row.num_warps} | {row.registers} "
        f"| {row.spilled_bytes} | {row.shared_bytes} | {row.warps_on_a_processor} | {row.loop} "
        f"| {row.seconds:.1f} |"
    )


def write_results(folder: Path, rows: list[Row]) -> None:
    """splatting_triton.md, written whole."""
    text = "\n".join(
        [f"# The kernels of the triton backend, compiled by Triton {triton.__version__}\n", HEADER]
        + [format_row(row) for row in rows]
    )
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / ".splatting_triton.md.part"
    beside.write_text(text + "\n")
    beside.replace(folder / "splatting_triton.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, nargs="+", default=CAPABILITIES)
    parser.add_argument("--json", action="store_true", help="instead of the table")
    parser.add_argument("--signatures", action="store_true", help="only print those, as JSON")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.signatures:
        print(json.dumps(SIGNATURES))
        return
    rows = []
    if not arguments.json:
        print(HEADER)
    with tempfile.TemporaryDirectory() as fresh:
        knobs.cache.dir = fresh
        for capability in arguments.capability:
            for name, choices in WARPS.items():
                for num_warps in choices:
                    rows.append(measure(name, capability, num_warps))
                    if not arguments.json:
                        print(format_row(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        write_results(arguments.output, rows)


if __name__ == "__main__":
    main()
