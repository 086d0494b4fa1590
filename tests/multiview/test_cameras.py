"""The camera embedding against the released code's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from l4gm.multiview.cameras import FRAME_AZIMUTHS_DEGREES, camera_embedding


@pytest.mark.parametrize("elevation", [0, 20])
def test_matches_the_released_code(parity_dir: Path, elevation: int) -> None:
    recorded = load_file(parity_dir / "imagedream_cameras.safetensors")[f"camera_el{elevation}"]
    torch.testing.assert_close(camera_embedding(elevation), recorded, rtol=0, atol=1e-6)


def test_input_picture_stands_in_front() -> None:
    poses = camera_embedding(elevation=20.0)[:4].reshape(4, 4, 4)
    front = poses[FRAME_AZIMUTHS_DEGREES.index(0)]
    # Their front is +x and their up is +z; 20 degrees above is sin(20 degrees) up.
    expected = torch.tensor([0.9396926, 0.0, 0.3420201])
    torch.testing.assert_close(front[:3, 3], expected, rtol=0, atol=1e-6)


def test_input_picture_has_no_camera() -> None:
    assert not camera_embedding(7.0)[4].any()
