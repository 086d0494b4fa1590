"""The splatting rule in plain torch: dense, slow, exact. The other backends are tested against it.

Symbols (one camera):
    t = (x, y, z)   mean in camera axes             J   Jacobian of the projection at t
    S               scales on a diagonal            W   rotation camera_from_world
    R               rotation of the Gaussian        V   J W R S, [2, 3]: its image-space half-axes
    C = V V^T + 0.3 I   projected covariance        T   transmittance
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rotations import matrix_from_quat
from l4gm.splat.constants import (
    ALPHA_MAX,
    ALPHA_MIN,
    BLUR_VARIANCE_PX2,
    JACOBIAN_MARGIN,
    TRANSMITTANCE_MIN,
)

# Gaussian-pixel pairs held at once; bounds the memory to about 100 MB in float64.
_BLOCK_PAIRS = 1 << 20


def render_reference(
    gaussians: Gaussians, cameras: Cameras, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Render by brute force. Differentiable by autograd, in the dtype of the means.

    Args:
        gaussians: [..., N].
        cameras: [..., C].
        background: [3].

    Returns:
        Image [..., C, 3, H, W] and alpha [..., C, 1, H, W].
    """
    shape = cameras.shape
    num_frames, size = gaussians.shape.numel(), (cameras.height, cameras.width)
    flat, cameras = gaussians.reshape(num_frames), cameras.reshape(num_frames, shape[-1])
    images = [gaussians.means.new_zeros(0, 3, *size)]
    alphas = [gaussians.means.new_zeros(0, 1, *size)]
    for frame in range(num_frames):
        for view in range(shape[-1]):
            image, alpha = _render_view(flat[frame], cameras[frame, view], background)
            images.append(image[None])
            alphas.append(alpha[None])
    return (
        torch.cat(images).reshape(*shape, 3, *size),
        torch.cat(alphas).reshape(*shape, 1, *size),
    )


def _render_view(
    gaussians: Gaussians, camera: Cameras, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Gaussians [N] seen by one camera: image [3, H, W] and alpha [1, H, W]."""
    means_px, conics, order = _project(gaussians, camera)
    opacities, colors = gaussians.opacities[order], gaussians.colors[order]
    width, height = camera.width, camera.height
    index = torch.arange(width * height, device=means_px.device)
    pixels = torch.stack([index % width, index // width], -1).to(means_px.dtype) + 0.5
    blocks = []
    for block in pixels.split(max(1, _BLOCK_PAIRS // max(1, len(order)))):
        blocks.append(
            checkpoint(_composite, block, means_px, conics, opacities, colors, use_reentrant=False)
        )
    color, transmittance = (torch.cat(part) for part in zip(*blocks, strict=True))
    image = color + transmittance[:, None] * background
    return image.T.reshape(3, height, width), (1 - transmittance).reshape(1, height, width)


def _project(gaussians: Gaussians, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Those between near and far, nearest first: means [M, 2], inverse covariances, order [M]."""
    dtype = gaussians.means.dtype
    pose = camera.camera_from_world.to(dtype)
    intrinsics = camera.intrinsics.to(dtype)
    t = gaussians.means @ pose[:3, :3].T + pose[:3, 3]
    depth = t[:, 2].detach()
    order = torch.argsort(depth, stable=True)
    order = order[(depth[order] >= camera.near) & (depth[order] <= camera.far)]
    x, y, z = t[order].unbind(-1)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    margin_x = JACOBIAN_MARGIN * camera.width / (2 * fx)
    margin_y = JACOBIAN_MARGIN * camera.height / (2 * fy)
    slope_x = (x / z).clamp(-(cx / fx + margin_x), (camera.width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-(cy / fy + margin_y), (camera.height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * slope_x / z], -1),
            torch.stack([zero, fy / z, -fy * slope_y / z], -1),
        ],
        -2,
    )
    rotation = matrix_from_quat(gaussians.quats[order])
    half_axes = jacobian @ pose[:3, :3] @ (rotation * gaussians.scales[order][:, None, :])
    blur = BLUR_VARIANCE_PX2 * torch.eye(2, dtype=dtype, device=t.device)
    covariance = half_axes @ half_axes.transpose(-1, -2) + blur
    means_px = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
    return means_px, torch.linalg.inv(covariance), order


def _composite(
    pixels: Tensor, means_px: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor
) -> tuple[Tensor, Tensor]:
    """Front to back over all M Gaussians at some pixels [K, 2]: color [K, 3], transmittance [K]."""
    offset = pixels[None] - means_px[:, None]  # [M, K, 2]
    sigma = 0.5 * torch.einsum("mki,mij,mkj->mk", offset, conics, offset)
    alpha = (opacities[:, None] * torch.exp(-sigma)).clamp(max=ALPHA_MAX)
    alpha = torch.where(alpha.detach() >= ALPHA_MIN, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    # `after` never rises again: this fails for the Gaussian that stops a pixel and all behind it.
    alive = after.detach() > TRANSMITTANCE_MIN
    weights = torch.where(alive, alpha * before, 0.0)
    transmittance = torch.where(alive, 1 - alpha, 1.0).prod(0)
    return weights.T @ colors, transmittance
