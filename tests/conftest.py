"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a tiny random network of the bundled kind, for tests to which it does not
    matter what comes out."""
    from l4gm.solid.config import SolidConfig
    from l4gm.solid.model import SolidModel

    torch.manual_seed(0)
    config = SolidConfig(
        image_size=64,
        side_size=32,
        depth_cells=16,
        token_channels=16,
        heads=2,
        blocks=1,
        channels=(16, 16, 8),
        lifted_channels=4,
        lifted_cells=8,
        num_gaussians=1024,
    )
    folder = tmp_path_factory.mktemp("video_model")
    SolidModel(config).save(folder / "solid.safetensors", {"chunk_frames": "4"})
    return folder


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of tools/node.sh: programs of others; tests skip where it or Node is missing."""
    root = Path(__file__).resolve().parents[1]
    folder = root / ".node" / "node_modules"
    if shutil.which("node") is None:
        pytest.skip("no Node.js here")
    if not (folder / "@playcanvas").is_dir():
        pytest.skip(f"no {folder.relative_to(root)} (tools/node.sh makes it, with npm)")
    return folder


@pytest.fixture(scope="session")
def gltf_report(node_modules: Path) -> Callable[[Path], dict[str, Any]]:
    """What the Khronos validator says of a .glb file."""

    def report(path: Path) -> dict[str, Any]:
        script = (
            "const bytes = require('fs').readFileSync(process.argv[1]);"
            "require('gltf-validator').validateBytes(new Uint8Array(bytes))"
            ".then(report => console.log(JSON.stringify(report)))"
        )
        done = subprocess.run(
            ["node", "-e", script, str(path)],
            capture_output=True,
            text=True,
            timeout=200,
            env={**os.environ, "NODE_PATH": str(node_modules)},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return report
