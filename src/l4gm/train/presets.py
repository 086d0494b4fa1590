"""The networks and schedules that `l4gm train` knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from l4gm.model.config import L4GMConfig
from l4gm.solid.config import SolidConfig
from l4gm.train.config import Network, Stage, TrainConfig


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
        num_clips=1_000_000,
        keep_clips=False,
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


def mini_preset() -> TrainConfig:
    """The bundled network: single moments first, then clips as well, as LGM and then L4GM."""
    stills = Stage(
        steps=6000,
        size_px=128,
        num_frames=4,
        batch_size=4,
        learning_rate=2e-3,
        num_clips=12_000,
        still_share=1.0,
    )
    mixed = replace(stills, steps=12_000, num_clips=4096, still_share=0.5, warmup_steps=30)
    return TrainConfig(
        model=SolidConfig(),
        stages=(stills, mixed),
        precision="bfloat16",
        weight_decay=0.02,
        ema_decay=0.998,
    )


def tiny_preset() -> TrainConfig:
    """A third of the width of `mini`, some 30 minutes of two cores."""
    mini = mini_preset()
    model = SolidConfig(
        token_channels=96, heads=3, blocks=2, channels=(64, 48, 32), lifted_channels=12
    )
    stages = tuple(replace(stage, steps=stage.steps // 12, num_clips=1024) for stage in mini.stages)
    return replace(mini, model=model, stages=stages)


def debug_preset() -> TrainConfig:
    """A network of a few thousand numbers and a handful of steps, for tests and try-outs."""
    model = L4GMConfig(
        input_size=32,
        down_channels=(8, 16),
        down_attention=(False, True),
        mid_attention=True,
        up_channels=(16,),
        up_attention=(True,),
        temporal_attention=True,
        layers_per_block=1,
        norm_groups=4,
        attention_head_count=2,
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
        "mini": mini_preset,
        "tiny": tiny_preset,
        "big": big_preset,
        "debug": debug_preset,
    },
    "interpolation": {"big": big_interpolation_preset, "debug": debug_interpolation_preset},
}
