"""What the compiler makes of the triton backend's kernels, for GPUs that need not be there.

    python benchmarks/splatting_triton.py               # registers and spills, for three GPUs
    python benchmarks/splatting_triton.py --json
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from l4gm.splat import triton_backend as backend

CAPABILITIES = (80, 90, 120)

_F32, _F64, _I32, _I64 = "*fp32", "*fp64", "*i32", "*i64"
_PARAMETERS = [_F32] * 5
_INTS = ["i32"]

# The types of the arguments of each kernel, as `triton_backend` gives them, and the block.
SIGNATURES: dict[str, tuple[list[str], int | None]] = {
    "project": ([*_PARAMETERS, _F64, _F32, _I64, _I32, *_INTS * 4, "i64", "i32"], backend.BLOCK),
    "list_entries": ([_F32, _I64, _I64, _I64, _I64, *_INTS * 5], backend.BLOCK),
    "composite": ([_F32, _I32, _I64, _F32, _F32, _F32, _F32, _I32, *_INTS * 2], None),
    "differentiate": (
        [_F32, _I32, _I64, _F32, _I64, _F32, _I32, _F32, _F32, _F32, *_INTS * 2],
        None,
    ),
    "add_slots": ([_I64, _F32, _F32, *_INTS], backend.BLOCK),
    "project_backward": (
        [*_PARAMETERS[:4], _F64, _I64, _F32, *_PARAMETERS, *_INTS * 4],
        backend.BLOCK,
    ),
}


def compile_kernel(name: str, capability: int, num_warps: int) -> Any:
    """Compile one kernel as a launch on such a GPU would."""
    kernel = getattr(backend, name)
    types, block = SIGNATURES[name]
    names = kernel.arg_names
    signature = dict(zip(names, types, strict=False))
    constants = {}
    if block is not None:
        signature["BLOCK"], constants["BLOCK"] = "constexpr", block
    attributes = {
        (i,): [["tt.divisibility", 16]] for i, kind in enumerate(types) if kind.startswith("*")
    }
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": num_warps, "enable_fp_fusion": True}
    )


if __name__ == "__main__":
    bin = Path(triton.__file__).parent / "backends/nvidia/bin"
    for cap in map(int, sys.argv[2].split(",")):
        for name in sys.argv[1].split(","):
            for warps in ((1,4) if name in ("composite","differentiate") else (4,)):
                t=time.time()
                k = compile_kernel(name, cap, warps)
                Path(f"/tmp/tk_{name}_{cap}_{warps}.cubin").write_bytes(k.asm["cubin"])
                Path(f"/tmp/tk_{name}_{cap}_{warps}.ptx").write_text(k.asm["ptx"])
                out = subprocess.run([bin/"cuobjdump","--dump-resource-usage",f"/tmp/tk_{name}_{cap}_{warps}.cubin"],capture_output=True,text=True).stdout
                print(name, cap, warps, f"{time.time()-t:.1f}s", re.findall(r"REG:\d+|STACK:\d+|SHARED:\d+|LOCAL:\d+", out))
