"""Made-up clips, fast to make: what is learned from them does not matter."""

import numpy as np
import pytest
import torch

from l4gm.data.clip import Clip, ClipRequest
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.l4gm import L4GM
from l4gm.train.presets import debug_interpolation_preset, debug_preset
from l4gm.train.tasks import InterpolationTask, ReconstructionTask
from l4gm.train.trainer import RunOptions, Trainer


class CountingSource:
    """Clips whose pixels say which clip, frame and view they are (red, green, blue)."""

    def __init__(self) -> None:
        self.rendered: list[int] = []

    def clip(self, index: int, request: ClipRequest) -> Clip:
        self.rendered.append(index)
        size, total = request.size_px, 4 + request.num_supervision_views
        images = np.full((request.num_frames, total, size, size, 4), 255, np.uint8)
        images[..., 0] = index
        images[..., 1] = np.arange(request.num_frames)[:, None, None, None]
        images[..., 2] = np.arange(total)[:, None, None]
        cameras = orbit_cameras(np.arange(total) * 90.0, size=size)
        return Clip(images, cameras, request.fps, name=str(index))


class DiscSource:
    """A still disc of the clip's own colour in every view."""

    def clip(self, index: int, request: ClipRequest) -> Clip:
        size, total = request.size_px, 4 + request.num_supervision_views
        y, x = np.mgrid[:size, :size] / size - 0.5
        disc = (x**2 + y**2 < 0.08)[None, None]
        shape = (request.num_frames, total, size, size)
        images = np.zeros((*shape, 4), np.uint8)
        images[..., :3] = np.random.default_rng(index).integers(0, 255, 3)
        images[..., 3] = 255 * disc
        cameras = orbit_cameras(np.arange(total) * 90.0, size=size)
        return Clip(images, cameras, request.fps, name=f"disc {index}")


@pytest.fixture
def counting() -> CountingSource:
    return CountingSource()


@pytest.fixture
def discs() -> DiscSource:
    return DiscSource()


def start_run(
    folder, *, resume=False, validation=None, config=None, weights=None, processes=None, **options
):
    """A run of the debug preset on discs, ready to go."""
    config = config or debug_preset()
    run = RunOptions(folder=folder, log_every=1, **options)
    task = ReconstructionTask(config, DiscSource(), validation, validation_clips=1)
    return Trainer.start(config, run, task, processes, weights=weights, resume=resume)


@pytest.fixture
def start():
    return start_run


@pytest.fixture
def start_interpolation():
    """A run of the debug interpolation preset on discs, with a random reconstruction network."""

    def begin(folder, *, resume=False, validation=None, config=None, **options):
        config = config or debug_interpolation_preset()
        torch.manual_seed(1)
        reconstruction = L4GM(config.model).eval()
        run = RunOptions(folder=folder, log_every=1, **options)
        task = InterpolationTask(config, DiscSource(), validation, 1, reconstruction=reconstruction)
        weights = reconstruction.state_dict()
        return Trainer.start(config, run, task, weights=None if resume else weights, resume=resume)

    return begin
