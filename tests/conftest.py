"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

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
def needs_bundled() -> None:
    """For tests of the bundled model: they skip where its weights are not in the checkout."""
    from l4gm.model.sources import SOLID_NAME, bundled_folder

    path = bundled_folder("mini") / SOLID_NAME
    if not path.is_file():
        pytest.skip(f"no bundled weights in {path}")


@pytest.fixture(scope="module")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model folder for this process, of a tiny random network that works from a video alone.

    For tests to which it does not matter what comes out: an `L4GM`, shown grey where a view is
    missing, in the place of the network whose weights the folder seems to hold.
    """
    from l4gm.model.l4gm import L4GM
    from l4gm.model.weights import load_model, save_weights
    from l4gm.train.presets import debug_preset

    class GreyWhereMissing(torch.nn.Module):
        works_from_video_alone = keeps_views = True

        def __init__(self, network: L4GM) -> None:
            super().__init__()
            self.network = network

        @classmethod
        def load(cls, path: Path, device: str | torch.device) -> GreyWhereMissing:
            return cls(load_model(path, device=device))

        def forward(self, images, cameras, present=None, *, alpha=None, first=None):
            if present is not None:
                images = torch.where(present[:, None, :, None, None, None], images, 0.5)
            return self.network(images, cameras)

    folder = tmp_path_factory.mktemp("video_model")
    torch.manual_seed(0)
    path = folder / "solid.safetensors"
    metadata = {"network": "solid", "chunk_frames": "4"}
    save_weights(L4GM(debug_preset().model), path, metadata=metadata)
    stand_in = SimpleNamespace(SolidModel=GreyWhereMissing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "l4gm.solid.model", stand_in)
        yield folder
