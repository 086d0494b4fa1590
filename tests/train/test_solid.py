"""Training the solid network: clips, their store, batches, the loss, and whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.data.solid_store import CLIPS_PER_CHUNK, SolidStore, chunk_path, write_chunk
from l4gm.datagen.solid_clips import CELLS, FRONT_PX, POINTS, RAYS, SIDE_PX, SolidClips, twin_names
from l4gm.errors import InputError
from l4gm.solid.config import SolidConfig
from l4gm.solid.lifting import SolidInput
from l4gm.solid.network import SolidNet, VolumeMaps
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.solid_batches import SolidBatch, solid_batch
from l4gm.train.solid_loss import network_input, solid_loss
from l4gm.train.solid_task import SolidTask
from l4gm.train.trainer import RunOptions, Trainer

SMALL = SolidConfig(
    image_size=256,
    side_size=128,
    depth_cells=16,
    token_channels=16,
    heads=2,
    blocks=1,
    channels=(8, 8, 8),
    lifted_channels=4,
    lifted_cells=8,
)


@pytest.fixture(scope="module")
def clips():
    return [SolidClips(num_frames=2, seed=3).clip(index) for index in range(2)]


@pytest.fixture(scope="module")
def read(clips):
    """As `SolidStore.read` gives them."""
    names = ("front", "sides", "inside", "points", "colors", "origins")
    return [
        {n: getattr(c, n).view(np.uint8) if n == "inside" else getattr(c, n) for n in names}
        for c in clips
    ]


def test_a_clip_is_consistent(clips) -> None:
    clip = clips[0]
    assert clip.front.shape == (2, FRONT_PX, FRONT_PX, 4)
    assert clip.sides.shape == (3, SIDE_PX, SIDE_PX, 4)
    assert clip.inside.shape == (2, CELLS, RAYS, RAYS)
    assert clip.points.shape == clip.origins.shape == (2, POINTS, 3)
    # What is solid lies within the silhouette, and nearly all of the silhouette has something.
    shown = (clip.front[0, ..., 3] > 127).reshape(RAYS, 2, RAYS, 2)
    solid = clip.inside[0].any(0)
    assert not (solid & ~shown.any((1, 3))).any()
    assert solid[shown.all((1, 3))].mean() > 0.97
    # At the reference moment nothing has moved; later something has.
    assert np.array_equal(clip.points[0], clip.origins[0])
    assert np.abs(clip.points[1].astype(float) - clip.origins[1]).max() > 0.005


def test_the_same_index_gives_the_same_clip(clips) -> None:
    again = SolidClips(num_frames=2, seed=3).clip(1)
    assert np.array_equal(again.inside, clips[1].inside)
    assert np.array_equal(again.front, clips[1].front)
    assert not np.array_equal(again.front, clips[0].front)


def test_twins_of_held_out_models_are_named() -> None:
    assert "quat_cutefish_ZebraClownFish" in twin_names()


def test_chunks_are_whole_or_not_there(tmp_path: Path, clips) -> None:
    calls = []

    def clip(index: int):
        calls.append(index)
        if index == 5 and len(calls) < 10:
            raise RuntimeError("killed")
        return clips[index % 2]

    with pytest.raises(RuntimeError):
        write_chunk(tmp_path, 0, clip)
    assert list(tmp_path.iterdir()) == []
    write_chunk(tmp_path, 0, clip)
    assert chunk_path(tmp_path, 0).is_dir()
    made = len(calls)
    write_chunk(tmp_path, 0, clip)
    assert len(calls) == made
    store = SolidStore(tmp_path)
    stored = store.read(CLIPS_PER_CHUNK - 1)
    assert np.array_equal(stored["inside"], clips[1].inside)
    assert np.array_equal(stored["front"], clips[1].front)
    with pytest.raises(FileNotFoundError):
        store.read(CLIPS_PER_CHUNK)


def test_mirrored_batches_stay_consistent(read) -> None:
    """Whatever augmentation does, solid cells, points and images agree."""
    for seed in range(6):
        batch = solid_batch(read, np.random.default_rng(seed), 16, with_sides=True)
        frustum = network_input(batch, SMALL).frustum
        grid = frustum.coordinates(batch.points).flatten(0, 1)[:, None, None]
        near = torch.nn.functional.max_pool3d(batch.inside.flatten(0, 1)[:, None], 3, 1, 1)
        at_points = torch.nn.functional.grid_sample(near, grid, align_corners=False)
        assert (at_points > 0).float().mean() > 0.9
        assert batch.inside.movedim(2, -1)[~batch.rays].mean() < 0.02


def test_half_size_batches(read) -> None:
    batch = solid_batch(read, np.random.default_rng(0), 16, with_sides=False, halve=True)
    assert batch.front.shape == (2, 2, 4, 128, 128)
    assert batch.inside.shape == (2, 2, 16, 64, 64)
    assert batch.sides is None
    assert batch.inside.max() <= 1


def test_the_truth_has_the_least_loss(read) -> None:
    batch = solid_batch(read, np.random.default_rng(1), 16, with_sides=False)

    def answer(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        frames = (*batch.front.shape[:2], 3, 4, 8, 8)
        maps = VolumeMaps(logits, torch.full(frames, 0.5), torch.zeros(frames))
        return solid_loss(lambda _: maps, SMALL, batch)

    truth = (batch.inside.clamp(1e-4, 1 - 1e-4)).logit()
    assert answer(truth)["iou"] > 0.999
    assert answer(truth)["occupancy"] < 0.2 * answer(torch.zeros_like(truth))["occupancy"]


def test_it_learns(read) -> None:
    """A few steps on one batch lower every term."""
    torch.manual_seed(0)
    network = SolidNet(SMALL)
    batch = solid_batch(read[:1], np.random.default_rng(2), 16, with_sides=False, halve=True)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 3e-3)
    losses = []
    for _ in range(25):
        terms = solid_loss(network, SMALL, batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append({name: float(value.detach()) for name, value in terms.items()})
    assert losses[-1]["occupancy"] < 0.7 * losses[0]["occupancy"]
    assert losses[-1]["color"] < losses[0]["color"]
    assert losses[-1]["motion"] < losses[0]["motion"]


def config() -> TrainConfig:
    stage = Stage(
        steps=2,
        size_px=128,
        num_frames=2,
        batch_size=1,
        num_clips=4,
        warmup_steps=1,
        still_share=0.5,
    )
    return TrainConfig(
        model=SMALL, stages=(stage, replace(stage, size_px=256, still_share=0.0)), frames_per_clip=2
    )


def fill(folder: Path, clips) -> None:
    """Finished chunks, so that a run renders none of its own."""
    for frames in (1, 2):
        (folder / f"frames-{frames}").mkdir(parents=True)

        def clip(index: int, frames: int = frames):
            whole = clips[index % 2]
            parts = ("front", "inside", "points", "colors", "origins")
            return replace(whole, **{n: getattr(whole, n)[:frames] for n in parts})

        write_chunk(folder / f"frames-{frames}", 0, clip)


def run(folder: Path, clips_folder: Path, **options: object) -> Trainer:
    task = SolidTask(config(), clips_folder, validation_clips=0)
    resume = bool(options.pop("resume", False))
    trainer = Trainer.start(config(), RunOptions(folder=folder, **options), task, resume=resume)
    trainer.run()
    return trainer


def test_a_run_resumes_to_the_same_weights(tmp_path: Path, clips) -> None:
    fill(tmp_path / "clips", clips)
    whole = run(tmp_path / "whole", tmp_path / "clips")
    assert (tmp_path / "whole" / "solid.safetensors").exists()
    run(tmp_path / "parts", tmp_path / "clips", max_minutes=1e-9)
    parts = run(tmp_path / "parts", tmp_path / "clips", resume=True)
    assert whole.step == parts.step == 4
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, parts.model.state_dict()[name]), name


def test_a_missing_folder_of_models_leaves_nothing(tmp_path: Path) -> None:
    task = SolidTask(config(), tmp_path / "clips", stills=tmp_path / "none", validation_clips=0)
    with pytest.raises(InputError, match="none is not a folder"):
        task.sampler(0)
    assert list(tmp_path.iterdir()) == []


def test_network_inputs_carry_the_sides(read) -> None:
    batch = solid_batch(read, np.random.default_rng(0), 16, with_sides=True)
    given = network_input(batch, SMALL)
    assert isinstance(given, SolidInput)
    assert isinstance(batch, SolidBatch)
    assert given.side_cameras is not None
    assert given.side_cameras.shape == (3,)
