"""What a training run is made of: the network, the stages, the schedule."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from l4gm.model.config import L4GMConfig
from l4gm.solid.config import SolidConfig

Network = Literal["reconstruction", "interpolation"]
Schedule = Literal["cosine", "one cycle"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training at one resolution and clip length, with its own learning-rate arc.

    Args:
        steps: optimizer steps.
        size_px: input and supervision size; any that the network's levels divide.
        num_frames: T.
        batch_size: clips an optimizer step, over all processes.
        learning_rate: peak.
        warmup_steps: until the peak.
        schedule: "cosine" or "one cycle" (the paper's), see `learning_rate_factor`.
        num_clips: how many different clips the stage draws from.
        keep_clips: hold them in memory; for data that is rendered or decoded slowly.
        still_share: solid networks: share of the steps that show single moments, as many of them
            as clips of T frames have.
        video_only_share: solid networks: share of the steps without any side view.
    """

    steps: int
    size_px: int
    num_frames: int = 1
    batch_size: int = 2
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    num_clips: int = 2000
    keep_clips: bool = True
    still_share: float = 0.0
    video_only_share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that defines a run but its data.

    Args:
        model: the network.
        network: which one it is.
        stages: run one after the other, each from the weights of the one before.
        num_supervision_views: rendered free views per frame.
        frames_per_clip, fps: what is rendered of an object; a sample takes T consecutive frames.
        true_views_probability: share of the interpolation samples that get the true views 1..3
            of both ends, as in the paper, and not the ones drawn of the reconstruction, as in use.
        chunk_frames: T at which the finished network is used, written into its file.
        perceptual_weight: of LPIPS-VGG; where its weights are absent, of (1 - SSIM) in its place.
        distortion_probability, jitter_probability: shares of the samples whose views 1..3 are
            distorted, and whose cameras are told turned (`augmentation`).
        precision: of the network's arithmetic; weights, splatting and losses are always float32.
        ema_decay: of the averaged weights, which are what is validated and saved.
    """

    model: L4GMConfig | SolidConfig
    stages: tuple[Stage, ...]
    network: Network = "reconstruction"
    seed: int = 0
    num_supervision_views: int = 4
    frames_per_clip: int = 4
    fps: float = 8.0
    true_views_probability: float = 0.25
    chunk_frames: int = 16
    perceptual_weight: float = 0.0
    distortion_probability: float = 0.0
    jitter_probability: float = 0.0
    precision: Precision = "float32"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        longest = max((s.num_frames for s in self.stages), default=1)
        if longest > self.frames_per_clip:
            raise ValueError(
                f"a stage wants {longest} frames but clips have frames_per_clip="
                f"{self.frames_per_clip}"
            )

    @property
    def paper_model(self) -> L4GMConfig:
        """The config of the paper's network."""
        assert isinstance(self.model, L4GMConfig)
        return self.model

    @property
    def solid_model(self) -> SolidConfig:
        """The config of a solid network."""
        assert isinstance(self.model, SolidConfig)
        return self.model

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or a report."""
        architecture = "solid" if isinstance(self.model, SolidConfig) else "l4gm"
        return asdict(self) | {"model": self.model.to_dict(), "architecture": architecture}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`; unknown names raise TypeError."""
        values = dict(values)
        kind = SolidConfig if values.pop("architecture", "l4gm") == "solid" else L4GMConfig
        values["model"] = kind.from_dict(values["model"])
        values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
        values["betas"] = tuple(values["betas"])
        return TrainConfig(**values)


@dataclass(frozen=True)
class Position:
    """Where a run stands: the stage, and the steps done within it."""

    stage: int = 0
    step: int = 0


def position_after(stages: tuple[Stage, ...], done: int) -> Position:
    """The position after `done` optimizer steps in all."""
    for index, stage in enumerate(stages):
        if done < stage.steps:
            return Position(index, done)
        done -= stage.steps
    return Position(len(stages), 0)


def without_stages(config: TrainConfig, count: int) -> TrainConfig:
    """Leave the first stages out, for weights that have learned them already.

    Raises:
        ValueError: none would be left.
    """
    if not 0 <= count < len(config.stages):
        raise ValueError(f"can leave out 0 to {len(config.stages) - 1} stages, not {count}")
    return replace(config, stages=config.stages[count:])
