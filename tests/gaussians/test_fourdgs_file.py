""".4dgs: by the format's own validator, read back by its own library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.errors import InputError
from l4gm.evaluation.metrics import psnr
from l4gm.gaussians.fourdgs_file import write_4dgs
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import visible
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render

pytest.importorskip("fourdgs", reason='fourdgs is not installed (pip install "l4gm[fourdgs]")')
from fourdgs import keyframe_delta_file, validate


def read_frame(path: Path, seconds: float) -> tuple[np.ndarray, Gaussians]:
    decoded = keyframe_delta_file.decode_streamed(path.read_bytes())
    state = keyframe_delta_file.render_at(decoded, seconds)
    columns = (
        state["centers"],
        state["rotations"][:, [3, 0, 1, 2]],
        state["scales"],
        state["opacity"],
        state["rgb"],
    )
    return state["ids"], Gaussians(*(torch.tensor(c, dtype=torch.float32) for c in columns))


@pytest.mark.parametrize("rows", ["in step", "independent"])
def test_the_formats_own_library_reads_every_frame(
    tmp_path: Path, clip: GaussianSequence, surface_clip: GaussianSequence, rows: str
) -> None:
    sequence = clip if rows == "in step" else surface_clip
    path = tmp_path / "a.4dgs"
    write_4dgs(path, sequence)
    report = validate.validate(path.read_bytes())
    assert report.ok, report.findings
    cameras = orbit_cameras([0, 120], 20, size=96)
    for index in (0, 4, 9):
        ids, back = read_frame(path, (index + 0.5) / sequence.fps)
        original = sequence.gaussians[index]
        assert back.num_gaussians == int(visible(original).sum())
        if rows == "in step":
            assert ids.tolist() == visible(original).nonzero()[:, 0].tolist()
            torch.testing.assert_close(back.means, original.means[ids], atol=2e-3, rtol=0)
        images = [render(g.reshape(1), cameras).image[0] for g in (original, back)]
        assert psnr(*images).min() > 40
    per_gaussian = path.stat().st_size / int(visible(sequence.gaussians).sum())
    assert per_gaussian < 20


def test_axes(tmp_path: Path, clip: GaussianSequence) -> None:
    write_4dgs(tmp_path / "a.4dgs", clip, up="z", scale=10.0)
    _, back = read_frame(tmp_path / "a.4dgs", 0.0)
    x, y, z = clip.gaussians.means[0][visible(clip.gaussians[0])].unbind(-1)
    torch.testing.assert_close(back.means, 10 * torch.stack([x, -z, y], -1), atol=0.02, rtol=0)


def test_a_frame_without_anything_is_named(tmp_path: Path, clip: GaussianSequence) -> None:
    sets = clip.gaussians.map(torch.clone)
    sets.opacities[3] = 0.0
    with pytest.raises(InputError, match=r"a\.4dgs: nothing is visible in frame 3"):
        write_4dgs(tmp_path / "a.4dgs", GaussianSequence(sets, 24.0))
    assert not list(tmp_path.iterdir())
