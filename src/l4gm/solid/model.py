"""The bundled kind of model: images of an object over time in, opaque Gaussians out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.media.components import border, connected_to
from l4gm.model.weights import (
    check_names,
    model_shapes,
    parsed_config,
    read_header,
    read_tensors,
    save_weights,
)
from l4gm.solid.config import SolidConfig
from l4gm.solid.lifting import SolidInput
from l4gm.solid.network import SolidNet, VolumeMaps
from l4gm.solid.outlines import carve_by_outlines
from l4gm.solid.surface import Views, surface_gaussians
from l4gm.solid.volume import Frustum, Volume

CONFIG_KEY = "solid_config"
# Where alpha is not given: what is this near to white and connected to the border is background.
_WHITE = 0.97
_MIN_ALPHA = 0.05


class SolidModel(nn.Module):
    """Predicts occupancy in the frustum of the video's camera, and covers its surface with splats.

    Called like `L4GM`. Views of the first frame may be given or missing.

    Args:
        config: of the network.
        network: an existing one of that config.

    Attributes:
        arithmetic: precision of convolutions and matrix products; None: bfloat16 where the device
            computes in it, else float32. Weights and geometry are float32 always.
    """

    works_from_video_alone = True
    keeps_views = True
    interpolates_images = True

    def __init__(self, config: SolidConfig | None = None, network: SolidNet | None = None) -> None:
        super().__init__()
        self.arithmetic: torch.dtype | None = None
        self.config = config or SolidConfig()
        self.network = SolidNet(self.config) if network is None else network

    @staticmethod
    def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> SolidModel:
        """The model of a weight file, in float32, ready for inference.

        Raises:
            InputError: the file is missing, damaged, of another network, or holds values that are
                not finite.
        """
        path = Path(path)
        header = read_header(path)
        text = header.metadata.get(CONFIG_KEY)
        if text is None:
            raise InputError(
                f"weights {path} are not those of a solid model (no {CONFIG_KEY} in the metadata)"
            )
        config = parsed_config(text, f"the metadata of {path}", SolidConfig.from_dict)
        model = SolidModel(config)
        check_names(model_shapes(model.network), header.shapes, path)
        model.network.load_state_dict(read_tensors(path))
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.to(device).eval().requires_grad_(False)

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        """Write weights, float16, and config; see `weights.save_weights`."""
        described = {"network": "solid", **(metadata or {})}
        save_weights(self.network, path, metadata=described, config_key=CONFIG_KEY)

    @torch.inference_mode()
    def forward(
        self,
        images: Tensor,
        cameras: Cameras,
        present: Tensor | None = None,
        *,
        alpha: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Gaussians:
        """Reconstruct.

        Args:
            images: [B, T, V, 3, H, W] in [0, 1], on white. View 0 is the video; views 1.. are of
                one moment and so the same for all T.
            cameras: [V] or [B, T, V]; the same for all frames of a clip.
            present: [V] or [B, V] bool, which views are given, view 0 always; None: all.
            alpha: [B, T, V, H, W] in [0, 1], how much of each pixel the object covers; None: what
                is white and connected to the image's border is taken for background.
            first: [B, 3 or 4, H, W], the video's image of the moment at which views 1.. were taken,
                on white (and alpha); None: the first of the T.

        Returns:
            Gaussians [B, T, N], float32, N = `config.num_gaussians`; their order means nothing.

        Raises:
            ValueError: if shapes do not fit together.
        """
        batch, views = images.shape[0], images.shape[2]
        if present is None:
            present = torch.ones(views, dtype=torch.bool, device=images.device)
        present = present.expand(batch, views)
        pictures = straight_rgba(images[:, :, 0], None if alpha is None else alpha[:, :, 0])
        sides = straight_rgba(images[:, 0, 1:], None if alpha is None else alpha[:, 0, 1:])
        if first is not None:
            known = straight_rgba(first[:, :3], first[:, 3] if first.shape[1] == 4 else None)
            pictures = torch.cat([known[:, None], pictures], 1)
        skipped = int(first is not None)
        clips = [
            self._clip(pictures[b], sides[b], _rig(cameras, b), present[b, 1:], skipped)
            for b in range(batch)
        ]
        return Gaussians.stack(clips)

    def _clip(
        self, front: Tensor, sides: Tensor, rig: Cameras, present: Tensor, skipped: int
    ) -> Gaussians:
        """Gaussians [T - skipped, N] of one clip: front [T, 4, S, S], sides [K, 4, S, S] with
        present [K]; rig [1 + K]."""
        sides, cameras = sides[present], rig[1:][present]
        frustum = self._frustum(rig[0])
        maps = self.volumes(front[None], sides[None], cameras, frustum)
        logits, colors, motion = maps.logits[0], maps.colors[0], maps.motion[0].clone()
        views = None
        if len(sides):
            motion[0] = 0  # of the reference moment itself
            logits = carve_by_outlines(logits, motion, frustum, sides, cameras)
            views = Views(sides, cameras, logits[0])
        volume = Volume(logits[skipped:], colors[skipped:], motion[skipped:])
        return surface_gaussians(volume, frustum, front[skipped:], views, self.config.num_gaussians)

    def volumes(
        self, front: Tensor, sides: Tensor, cameras: Cameras, frustum: Frustum
    ) -> VolumeMaps:
        """The network alone: front [B, T, 4, S, S], sides [B, K, 4, S, S], their cameras [K]."""
        size, side_size = self.config.image_size, self.config.side_size
        given = None
        if sides.shape[1]:
            given = resized_rgba(sides, side_size)
        inputs = SolidInput(
            front=resized_rgba(front, size),
            sides=given,
            present=None if given is None else given.new_ones(given.shape[:2], dtype=torch.bool),
            side_cameras=None if given is None else cameras.resized(side_size),
            frustum=frustum,
        )
        dtype = self.arithmetic or fast_precision(front.device)
        with torch.autocast(front.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.network(inputs)
        return VolumeMaps(maps.logits.float(), maps.colors, maps.motion)

    def _frustum(self, camera: Cameras) -> Frustum:
        """Around the middle of the scene, at any orbit radius."""
        distance = float(camera.world_from_camera[:3, 3].norm())
        reach = self.config.reach
        near = max(distance - reach, 0.1 * distance)
        return Frustum(camera, near, distance + reach)


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where a device has instructions for it, else float32."""
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    else:
        check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        supported = device.type == "cpu" and check is not None and check()
    return torch.bfloat16 if supported else torch.float32


def _rig(cameras: Cameras, clip: int) -> Cameras:
    """[V] of [V] or [B, T, V]."""
    return cameras if len(cameras.shape) == 1 else cameras[min(clip, cameras.shape[0] - 1), 0]


def straight_rgba(images: Tensor, alpha: Tensor | None) -> Tensor:
    """[..., 4, H, W] with colours not multiplied by alpha, of images [..., 3, H, W] on white.

    Args:
        alpha: [..., H, W]; None: guessed.
    """
    if alpha is None:
        alpha = guessed_alpha(images)
    alpha = alpha.unsqueeze(-3)
    colors = ((images - (1 - alpha)) / alpha.clamp(min=_MIN_ALPHA)).clamp(0, 1)
    return torch.cat([torch.where(alpha > 0, colors, images), alpha], -3)


def guessed_alpha(images: Tensor) -> Tensor:
    """[..., H, W], 0 for background: white that is connected to the border."""
    white = (images.amin(-3) > _WHITE).cpu().numpy()
    flat = white.reshape(-1, *white.shape[-2:])
    edge = border(*white.shape[-2:])
    masks = [torch.from_numpy(~connected_to(mask, edge)) for mask in flat]
    alpha = torch.stack(masks) if masks else torch.zeros(flat.shape)
    return alpha.reshape(white.shape).to(images)


def resized_rgba(rgba: Tensor, size: int) -> Tensor:
    """[..., 4, size, size] of straight RGBA [..., 4, H, W]: colours weigh as much as they cover."""
    lead, flat = rgba.shape[:-3], rgba.reshape(-1, *rgba.shape[-3:])
    if flat.shape[-1] == size and flat.shape[-2] == size:
        return rgba
    covered = torch.cat([flat[:, :3] * flat[:, 3:], flat[:, 3:]], 1)
    if flat.shape[-1] > size:
        small = F.interpolate(covered, (size, size), mode="area")
    else:
        small = F.interpolate(covered, (size, size), mode="bilinear", align_corners=False)
    colors = small[:, :3] / small[:, 3:].clamp(min=_MIN_ALPHA)
    return torch.cat([colors.clamp(0, 1), small[:, 3:]], 1).reshape(*lead, 4, size, size)
