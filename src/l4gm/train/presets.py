"""What a training run is made of: the network, the stages, the schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from l4gm.model.config import L4GMConfig
from l4gm.multiview.side_views import SideViewConfig

Network = Literal["reconstruction", "interpolation", "multiview"]
Schedule = Literal["cosine", "one cycle"]
Precision = Literal["float32", "bfloat16"]
Optimizer = Literal["adamw", "muon"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training at one resolution and clip length, with its own learning-rate arc.

    Args:
        steps: optimizer steps.
        size_px: input and supervision size; the network is convolutional, so that a stage at half
            size (a quarter of the price) teaches most of what the full size needs.
        num_frames: T.
        batch_size: clips an optimizer step, over all processes.
        learning_rate: peak.
        warmup_steps: until the peak.
        schedule: "cosine" or "one cycle" (the paper's), see `learning_rate_factor`.
        surface_weight: weight of the distance of splats from the surface that their pixel shows;
            without effect on data that has no depth.
        num_clips: how many different clips the stage draws from.
        keep_clips: hold them in memory; for data that is rendered or decoded slowly.
        missing_view_probability: share of the clips from which views 1..3 are withheld.
        fps: frames per second of the clips, if not the run's; fewer let the given side views of
            the first frame grow older within T frames.
    """

    steps: int
    size_px: int
    num_frames: int = 1
    batch_size: int = 2
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    surface_weight: float = 1.0
    num_clips: int = 2000
    keep_clips: bool = True
    missing_view_probability: float = 0.5
    fps: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that defines a run but its data.

    Args:
        model: the network.
        network: which one it is.
        stages: run one after the other, each from the weights of the one before.
        video_only_share: of the clips from which views are withheld, the share that keeps the
            first view alone; the others lose each of the three views with probability 1/2.
        num_supervision_views: rendered free views per frame.
        frames_per_clip, fps: what is rendered of an object; a sample takes T consecutive frames.
        true_views_probability: share of the interpolation samples that get the true views 1..3
            of both ends, as in the paper, and not the ones drawn of the reconstruction, as in use.
        chunk_frames: T at which the finished network is used, written into its file.
        alpha_weight, structure_weight: weights of the alpha MSE and of (1 - SSIM).
        perceptual_weight: of LPIPS-VGG; where its weights are absent, of (1 - SSIM) in its place.
        unknown_alpha_probability: share of the steps in which the network is not told the pictures'
            alpha, so that it also works where nobody knows it.
        distortion_probability, jitter_probability: shares of the samples whose views 1..3 are
            distorted, and whose cameras are told turned (`augmentation`). A "ray" head would put
            splats on wrong rays, so jitter is for the "xyz" head.
        precision: of the network's arithmetic; weights, splatting and losses are always float32.
        optimizer: "adamw" (the paper's), or "muon", from which small networks learn more per step;
            it wants whole weights, so it is not for sharded training.
        ema_decay: of the averaged weights, which are what is validated and saved.
    """

    model: L4GMConfig | SideViewConfig
    stages: tuple[Stage, ...]
    network: Network = "reconstruction"
    seed: int = 0
    video_only_share: float = 0.6
    num_supervision_views: int = 4
    frames_per_clip: int = 4
    fps: float = 8.0
    true_views_probability: float = 0.25
    chunk_frames: int = 16
    alpha_weight: float = 1.0
    structure_weight: float = 0.0
    perceptual_weight: float = 0.0
    unknown_alpha_probability: float = 0.25
    distortion_probability: float = 0.0
    jitter_probability: float = 0.0
    precision: Precision = "float32"
    optimizer: Optimizer = "adamw"
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
        wanted = SideViewConfig if self.network == "multiview" else L4GMConfig
        if not isinstance(self.model, wanted):
            raise ValueError(f"a {self.network} network has a {wanted.__name__}")
        if self.jitter_probability and self.gaussian_model.head == "ray":
            raise ValueError("jitter_probability must be 0 for a network with a ray head")

    @property
    def gaussian_model(self) -> L4GMConfig:
        """The config of a network that gives Gaussians."""
        assert isinstance(self.model, L4GMConfig)
        return self.model

    @property
    def view_model(self) -> SideViewConfig:
        """The config of a network that gives views."""
        assert isinstance(self.model, SideViewConfig)
        return self.model

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or a report."""
        return asdict(self) | {"model": self.model.to_dict()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`; unknown names raise TypeError."""
        values = dict(values)
        kind = SideViewConfig if values.get("network") == "multiview" else L4GMConfig
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


def small_network() -> L4GMConfig:
    """The bundled network: 128 px in, 64 x 64 splats a view, 16,384 Gaussians a frame."""
    return L4GMConfig(
        input_size=128,
        down_channels=(24, 48, 64, 96),
        down_attention=(False, False, True, True),
        mid_attention=True,
        up_channels=(96, 64, 48, 24),
        up_attention=(True, True, False, False),
        temporal_attention=True,
        layers_per_block=1,
        norm_groups=8,
        attention_head_width=16,
        head="ray",
        ray_start="hull",
        hull_channels=True,
        motion_channels=True,
        ray_offset=True,
        attention_codes=True,
        temporal_residual="plain",
        patch_size=2,
        missing_views=True,
    )


def tiny_preset() -> TrainConfig:
    """Half of `mini`: 64 px, 32 x 32 splats a view, some 15 minutes of a core."""
    return TrainConfig(
        model=replace(
            small_network(),
            input_size=64,
            down_channels=(24, 48, 64),
            down_attention=(False, True, True),
            up_channels=(64, 48, 24),
            up_attention=(True, True, False),
        ),
        stages=(
            Stage(steps=2000, size_px=32, learning_rate=2e-3, missing_view_probability=0.4),
            Stage(steps=800, size_px=64, surface_weight=0.5),
            Stage(
                steps=300,
                warmup_steps=30,
                size_px=64,
                num_frames=4,
                batch_size=1,
                learning_rate=7e-4,
                surface_weight=0.5,
                num_clips=1000,
            ),
        ),
    )


def mini_preset() -> TrainConfig:
    """Trains the bundled reconstruction network in about five hours of one CPU core.

    The stages are those that the bundled weights went through, in that order; T = 4 at 4 frames a
    second lets the given side views of the first frame grow as old as in eight frames at 8.
    """
    half = Stage(steps=3000, size_px=64, learning_rate=2e-3, missing_view_probability=0.4)
    full = Stage(steps=1200, size_px=128, surface_weight=0.5)
    clips = Stage(
        steps=300,
        warmup_steps=30,
        size_px=128,
        num_frames=4,
        batch_size=1,
        learning_rate=7e-4,
        surface_weight=0.5,
    )
    fresh = replace(clips, steps=130, warmup_steps=10, learning_rate=3e-4, surface_weight=0.25)
    slow = replace(clips, warmup_steps=50, missing_view_probability=0.4, fps=4.0)
    small = replace(half, warmup_steps=50, learning_rate=1.5e-3, fps=4.0)
    moving = replace(slow, learning_rate=2e-3, missing_view_probability=0.3)
    return TrainConfig(
        model=small_network(),
        stages=(
            replace(half, num_clips=4000),
            full,
            clips,
            replace(fresh, missing_view_probability=0.25, fps=4.0),
            replace(
                slow,
                steps=1600,
                warmup_steps=100,
                size_px=64,
                batch_size=2,
                learning_rate=1.2e-3,
                num_clips=2400,
            ),
            replace(slow, steps=1500, num_clips=1300),
            replace(small, steps=900, batch_size=4, num_clips=3600),
            replace(slow, steps=1300, learning_rate=8e-4, num_clips=1200),
            replace(moving, size_px=64, steps=2600, batch_size=4, num_clips=2600),
            replace(
                moving,
                steps=1300,
                warmup_steps=30,
                batch_size=2,
                learning_rate=8e-4,
                surface_weight=0.2,
                num_clips=1300,
            ),
        ),
        optimizer="muon",
        alpha_weight=0.5,
    )


def mini_interpolation_preset() -> TrainConfig:
    """Trains the bundled interpolation network from the reconstruction network, on one CPU core."""
    return TrainConfig(
        model=small_network(),
        network="interpolation",
        stages=(
            Stage(
                steps=900,
                warmup_steps=50,
                size_px=128,
                num_frames=4,
                batch_size=1,
                learning_rate=7e-4,
                surface_weight=0.25,
                num_clips=450,
            ),
        ),
        num_supervision_views=3,
        frames_per_clip=7,
        fps=24.0,
    )


def tiny_interpolation_preset() -> TrainConfig:
    """From `tiny_preset`'s network, in some minutes of a core."""
    mini = mini_interpolation_preset()
    stage = replace(mini.stages[0], steps=400, size_px=64)
    return replace(mini, model=tiny_preset().model, stages=(stage,))


def big_preset() -> TrainConfig:
    """The paper's network and recipe: static pretraining as LGM's, then T = 8 at 8 frames a second.

    The paper names epochs, not steps, and its data is not public: lengths and batch size are ours,
    for some tens of GPUs. Start from LGM's weights with the first stage left out
    (`without_stages`), or from the released ones.
    """
    static = Stage(
        steps=60_000,
        size_px=256,
        batch_size=256,
        learning_rate=4e-4,
        warmup_steps=3000,
        schedule="one cycle",
        surface_weight=0.0,
        num_clips=1_000_000,
        keep_clips=False,
        missing_view_probability=0.0,
    )
    return TrainConfig(
        model=L4GMConfig.big(),
        stages=(static, replace(static, num_frames=8, batch_size=128)),
        frames_per_clip=8,
        perceptual_weight=1.0,
        distortion_probability=0.5,
        jitter_probability=0.5,
        precision="bfloat16",
    )


def big_interpolation_preset() -> TrainConfig:
    """The paper's interpolation recipe: T = 4 at 24 frames a second, true views 1..3."""
    big = big_preset()
    stage = replace(big.stages[1], steps=30_000, num_frames=4)
    return replace(
        big,
        network="interpolation",
        stages=(stage,),
        frames_per_clip=4,
        fps=24.0,
        true_views_probability=1.0,
        distortion_probability=0.0,
        jitter_probability=0.0,
    )


def mini_multiview_preset() -> TrainConfig:
    """The bundled generator of views, in less than an hour of a CPU core."""
    stage = Stage(steps=3000, size_px=64, batch_size=4, num_clips=2000)
    return TrainConfig(
        model=SideViewConfig(),
        network="multiview",
        stages=(stage, replace(stage, steps=2000, learning_rate=7e-4, num_clips=4000)),
        frames_per_clip=4,
        fps=2.0,
    )


def tiny_multiview_preset() -> TrainConfig:
    """A third of `mini`'s width, in some minutes of a core."""
    mini = mini_multiview_preset()
    model = replace(mini.view_model, model_channels=16, num_head_channels=16)
    return replace(mini, model=model, stages=(replace(mini.stages[0], steps=2000, num_clips=1000),))


def debug_multiview_preset() -> TrainConfig:
    """As `debug_preset`, for the generator of views."""
    model = SideViewConfig(
        size_px=32,
        model_channels=8,
        channel_mult=(1, 2),
        attention_resolutions=(2,),
        num_head_channels=8,
        norm_groups=4,
    )
    stage = Stage(steps=4, size_px=16, num_clips=4, warmup_steps=2)
    return replace(
        mini_multiview_preset(),
        model=model,
        stages=(stage, replace(stage, steps=3, size_px=32, batch_size=1)),
        frames_per_clip=2,
    )


def without_stages(config: TrainConfig, count: int) -> TrainConfig:
    """Leave the first stages out, for weights that have learned them already.

    Raises:
        ValueError: none would be left.
    """
    if not 0 <= count < len(config.stages):
        raise ValueError(f"can leave out 0 to {len(config.stages) - 1} stages, not {count}")
    return replace(config, stages=config.stages[count:])


def debug_preset() -> TrainConfig:
    """A network of a few thousand numbers and a handful of steps, for tests and try-outs."""
    model = L4GMConfig(
        input_size=32,
        down_channels=(8, 16),
        down_attention=(False, True),
        mid_attention=True,
        up_channels=(16, 8),
        up_attention=(True, False),
        temporal_attention=True,
        layers_per_block=1,
        norm_groups=4,
        attention_head_width=8,
        head="ray",
        ray_start="hull",
        attention_codes=True,
        temporal_residual="plain",
        patch_size=2,
        missing_views=True,
    )
    return TrainConfig(
        model=model,
        stages=(
            Stage(steps=4, size_px=16, num_clips=4, warmup_steps=2),
            Stage(steps=3, size_px=32, num_frames=2, batch_size=1, num_clips=4, warmup_steps=2),
        ),
        frames_per_clip=2,
    )


def debug_interpolation_preset() -> TrainConfig:
    """As `debug_preset`, for the interpolation network."""
    return replace(
        debug_preset(),
        network="interpolation",
        stages=(Stage(steps=3, size_px=32, num_frames=4, num_clips=2, warmup_steps=2),),
        frames_per_clip=7,
        fps=24.0,
    )


PRESETS: dict[Network, dict[str, Callable[[], TrainConfig]]] = {
    "reconstruction": {
        "tiny": tiny_preset,
        "mini": mini_preset,
        "big": big_preset,
        "debug": debug_preset,
    },
    "interpolation": {
        "tiny": tiny_interpolation_preset,
        "mini": mini_interpolation_preset,
        "big": big_interpolation_preset,
        "debug": debug_interpolation_preset,
    },
    "multiview": {
        "tiny": tiny_multiview_preset,
        "mini": mini_multiview_preset,
        "debug": debug_multiview_preset,
    },
}
