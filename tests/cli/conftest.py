"""A tiny random model, a tiny video, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from l4gm.cli.main import main
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.media.video import write_video
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.presets import debug_preset


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit code and the text of both streams."""

    code: int
    out: str
    err: str

    def assert_bad_input(self, *words: str) -> None:
        """Exit code 2, nothing on stdout, and one line on stderr that holds the words."""
        assert self.code == 2, self
        errors = [line for line in self.err.splitlines() if line.startswith("l4gm: error: ")]
        assert len(errors) == 1, self.err
        assert self.err.splitlines()[-1] == errors[0]
        assert "Traceback" not in self.err
        assert not self.out
        for word in words:
            assert word in errors[0]


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line with these arguments."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def views_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four views of a first frame."""
    folder = tmp_path_factory.mktemp("views")
    (pixels,) = moving_disc(1, size=64)
    for azimuth in (0, 90, 180, 270):
        Image.fromarray(pixels.numpy()).save(folder / f"{azimuth}.png")
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a few thousand numbers, trained for nothing."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), folder / "recon.safetensors")
    return folder


def moving_disc(num_frames: int, size: int = 96) -> list[Tensor]:
    """uint8 [size, size, 3]: a coloured disc that moves right on white."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    frames = []
    for index in range(num_frames):
        center = size * (0.4 + 0.2 * index / max(num_frames - 1, 1))
        inside = (rows - size / 2) ** 2 + (columns - center) ** 2 < (0.2 * size) ** 2
        frame = torch.full((size, size, 3), 255, dtype=torch.uint8)
        frame[inside] = torch.tensor([200, 60, 30], dtype=torch.uint8)
        frames.append(frame)
    return frames


@pytest.fixture(scope="session")
def make_video() -> Callable[[Path, int], Path]:
    """(path, frames) -> the path, where a moving disc was written at 12 frames per second."""

    def make(path: Path, num_frames: int) -> Path:
        write_video(path, moving_disc(num_frames), 12.0)
        return path

    return make


@pytest.fixture(scope="session")
def video(
    tmp_path_factory: pytest.TempPathFactory, make_video: Callable[[Path, int], Path]
) -> Path:
    """Nine frames of a moving disc."""
    return make_video(tmp_path_factory.mktemp("video") / "disc.mp4", 9)


@pytest.fixture(scope="session")
def sequence() -> GaussianSequence:
    """Three frames of 50 Gaussians with known opacities and scales."""
    generator = torch.Generator().manual_seed(1)
    shape = (3, 50)
    gaussians = Gaussians(
        means=torch.rand(*shape, 3, generator=generator) - 0.5,
        quats=torch.nn.functional.normalize(torch.randn(*shape, 4, generator=generator), dim=-1),
        scales=torch.full((*shape, 3), 0.02),
        opacities=torch.linspace(0.02, 0.98, 50).expand(shape).clone(),
        colors=torch.rand(*shape, 3, generator=generator),
    )
    return GaussianSequence(gaussians, fps=12.0)
