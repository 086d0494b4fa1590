"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Several test processes share the cores: threads of small tensor operations that wait for each
# other cost more than they bring. Before torch is imported, and inherited by subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

# Without a GPU the kernels of the triton backend run in Triton's interpreter, a thousand times
# slower. Triton looks at this once, when anything of torch first imports it.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The folder of recordings of the released code; tests that need it skip where it is not."""
    default = Path(__file__).resolve().parents[2] / "shared" / "parity"
    folder = Path(os.environ.get("L4GM_PARITY", default))
    if not folder.is_dir():
        pytest.skip(f"no recordings of the released code in {folder} (set L4GM_PARITY)")
    return folder
