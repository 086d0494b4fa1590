"""The networks and schedules that `l4gm train` knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from l4gm.model.config import L4GMConfig
from l4gm.model.motion import MotionConfig
from l4gm.multiview.side_views import SideViewConfig
from l4gm.train.config import Network, Stage, TrainConfig


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
    """Trains the bundled reconstruction network in about seven hours of one CPU core.

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
    generated = replace(slow, missing_view_probability=0.15, generated_view_probability=0.45)
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
            replace(
                generated,
                size_px=64,
                steps=2000,
                batch_size=4,
                learning_rate=1.5e-3,
                num_clips=2800,
            ),
            replace(
                generated,
                steps=1650,
                warmup_steps=30,
                batch_size=2,
                learning_rate=8e-4,
                surface_weight=0.2,
                num_clips=1800,
            ),
        ),
        optimizer="muon",
        alpha_weight=0.5,
    )


def mini_interpolation_preset() -> TrainConfig:
    """The paper's kind of interpolation network for the bundled reconstruction network.

    None is bundled: see the card of `mini`, which has the network of `mini_motion_preset`.
    """
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


def mini_motion_preset() -> TrainConfig:
    """The bundled network for frames between, in an hour and a half of a CPU core."""
    stage = Stage(steps=2300, size_px=64, batch_size=16, learning_rate=2e-3, num_clips=2500)
    return TrainConfig(
        model=MotionConfig(),
        network="motion",
        stages=(
            stage,
            replace(stage, steps=2600, size_px=128, batch_size=8, learning_rate=1.2e-3, fps=48.0),
        ),
        frames_per_clip=7,
        fps=24.0,
        optimizer="muon",
    )


def debug_motion_preset() -> TrainConfig:
    """As `debug_preset`, for the motion network."""
    model = MotionConfig(
        input_size=32,
        channels=(8, 16),
        attention=(False, True),
        norm_groups=4,
        attention_head_width=8,
    )
    stage = Stage(steps=4, size_px=16, num_clips=4, warmup_steps=2)
    return replace(
        mini_motion_preset(),
        model=model,
        stages=(stage, replace(stage, steps=3, size_px=32, batch_size=1)),
        frames_per_clip=4,
        optimizer="adamw",
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
    "motion": {
        "mini": mini_motion_preset,
        "debug": debug_motion_preset,
    },
}
