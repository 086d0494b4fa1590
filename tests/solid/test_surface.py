"""Splats on surfaces that are known exactly: where they are, what they look like from all sides."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from shapes import (
    FRUSTUM,
    SHAPES,
    Shape,
    ball,
    frame_of,
    image_of,
    sphere,
    surface_points,
    texture,
    trace,
    union,
    volume_of,
)
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.solid.surface import Views, surface_gaussians
from l4gm.solid.volume import Frustum, Volume
from l4gm.splat.render import render

NUM = 16384
AROUND = orbit_cameras(
    [45, 90, 180, 270, 0, 0], torch.tensor([15.0, 0.0, 0.0, 0.0, 80.0, -80.0]), size=128
)


@cache
def splats(name: str, size: int = 128) -> Gaussians:
    """[N] of a known shape, seen at a size in pixels."""
    shape = SHAPES[name]
    return surface_gaussians(volume_of(shape), FRUSTUM, frame_of(shape, size), None, NUM)[0]


def psnr(image: Tensor, truth: Tensor) -> float:
    return -10 * torch.log10((image - truth).square().mean()).item()


def on_white(rgba: Tensor) -> Tensor:
    return rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]


def gradient_energy(image: Tensor) -> float:
    across, down = image.diff(dim=-1).square().mean(), image.diff(dim=-2).square().mean()
    return float(across + down)


@pytest.mark.parametrize("name", ["sphere", "box", "torus", "plate"])
def test_splats_lie_on_the_surface_and_cover_it(name: str) -> None:
    means = splats(name).means
    off = SHAPES[name](means).abs()
    truth = surface_points(SHAPES[name], 1500)
    uncovered = torch.cdist(truth, means).amin(1)
    assert off.max() < 0.03
    precision, recall = (off < 0.02).float().mean(), (uncovered < 0.02).float().mean()
    assert 2 * precision * recall / (precision + recall) > 0.98


@pytest.mark.parametrize("name", ["sphere", "box", "torus"])
def test_closed_from_all_sides_and_no_wider_than_it_is(name: str) -> None:
    """No hole within the outline, nothing outside it: views from the sides, behind, above, below.

    At 128 px, where the renderer alone blurs outlines by half a pixel."""
    alpha = render(splats(name), AROUND).alpha[:, 0]
    truth = image_of(SHAPES[name], AROUND)[:, 3]
    inside = -torch.nn.functional.max_pool2d(-truth[None], 7, 1, 3)[0] > 0.99
    beyond = torch.nn.functional.max_pool2d(truth[None], 7, 1, 3)[0] == 0
    assert inside.sum() > 5000
    assert alpha[inside].min() > 0.9
    assert alpha[beyond].max() < 0.1
    drawn, shown = alpha > 0.5, truth > 0.5
    iou = (drawn & shown).sum((1, 2)) / (drawn | shown).sum((1, 2))
    assert iou.min() > 0.88


@pytest.mark.parametrize("name", ["sphere", "box", "torus", "plate"])
def test_the_own_view_is_as_the_frame(name: str) -> None:
    frame = frame_of(SHAPES[name], 256)
    found = render(splats(name, 256), FRUSTUM.camera.reshape(1))
    truth = on_white(frame)
    assert psnr(found.image, truth) > 32
    assert gradient_energy(found.image) / gradient_energy(truth) == pytest.approx(1, abs=0.2)
    assert found.alpha.sum() == pytest.approx(float(frame[:, 3].sum()), rel=0.025)


def test_fine_texture_stays_sharp() -> None:
    """Stripes three pixels wide, on a plate that fills most of the frame."""
    generator = torch.Generator().manual_seed(0)
    frame = frame_of(SHAPES["plate"], 256)
    coarse = torch.rand(1, 3, 86, 86, generator=generator)
    frame[:, :3] = coarse.repeat_interleave(3, 2).repeat_interleave(3, 3)[..., :256, :256]
    found = surface_gaussians(volume_of(SHAPES["plate"]), FRUSTUM, frame, None, NUM * 2)
    image = render(found[0], FRUSTUM.camera.reshape(1)).image
    truth = on_white(frame)
    sharpness = (gradient_energy(image) / gradient_energy(truth)) ** 0.5
    assert 0.85 < sharpness < 1.1
    assert psnr(image, truth) > 24


def test_a_rod_thinner_than_a_cell_survives() -> None:
    """It is 0.012 wide; the network's cells are 0.021."""
    shape = SHAPES["rod"]
    alpha = render(splats("rod", 256), orbit_cameras([0, 180], size=256)).alpha[:, 0]
    truth = image_of(shape, orbit_cameras([0, 180], size=256))[:, 3] > 0.5
    assert (alpha[truth] > 0.5).float().mean() > 0.97
    side = render(splats("rod", 256), orbit_cameras([90, 45], size=128)).alpha[:, 0]
    rows = (image_of(shape, orbit_cameras([90, 45], size=128))[:, 3] > 0.5).any(2)
    assert (side.amax(2) > 0.8)[rows].float().mean() > 0.97  # without a gap along its length


@pytest.mark.parametrize("count", [1, 10, 3000, 16384, 60001])
def test_exactly_as_many_as_asked_for_and_all_opaque(count: int) -> None:
    frame = frame_of(sphere, 64)
    found = surface_gaussians(volume_of(sphere), FRUSTUM, frame, None, count)
    assert found.means.shape == (1, count, 3)
    assert (found.opacities > 0.9).all()
    assert all(torch.isfinite(getattr(found, n)).all() for n in ("means", "quats", "scales"))
    assert (found.scales > 0).all()
    assert found.colors.min() >= 0
    assert found.colors.max() <= 1
    if count >= 3000:
        alpha = render(found[0], AROUND).alpha[:, 0]
        middle = alpha[:, 56:72, 56:72]
        assert middle.min() > 0.8


def test_frames_do_not_depend_on_each_other_nor_on_threads() -> None:
    shapes = [SHAPES["box"], SHAPES["torus"], sphere]
    volumes = [volume_of(shape) for shape in shapes]
    frames = torch.cat([frame_of(shape, 96) for shape in shapes])
    joined = Volume(*(torch.cat(parts) for parts in zip(*map(_parts, volumes), strict=True)))
    together = surface_gaussians(joined, FRUSTUM, frames, None, 5000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = [
            surface_gaussians(volume, FRUSTUM, frames[k : k + 1], None, 5000)
            for k, volume in enumerate(volumes)
        ]
    finally:
        torch.set_num_threads(threads)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        single = torch.cat([getattr(g, name) for g in alone])
        assert torch.equal(getattr(together, name), single)


def _parts(volume: Volume) -> tuple[Tensor, Tensor, Tensor]:
    return volume.logits, volume.colors, volume.motion


def test_a_frame_without_object_is_invisible() -> None:
    volume = volume_of(sphere)
    frames = torch.cat([frame_of(sphere, 64), torch.zeros(1, 4, 64, 64)])
    joined = Volume(*(torch.cat([part, part]) for part in _parts(volume)))
    found = surface_gaussians(joined, FRUSTUM, frames, None, 2000)
    assert torch.isfinite(found.means).all()
    alpha = render(found, AROUND[:1]).alpha
    assert alpha[0].max() > 0.9
    assert alpha[1].max() == 0


@pytest.mark.parametrize("size", [8, 16, 33])
def test_tiny_images_and_objects(size: int) -> None:
    """A few pixels of object, and a network that sees nothing there at all."""
    frame = torch.zeros(1, 4, size, size)
    frame[:, :, size // 2, size // 3 : size // 3 + 2] = 1
    volume = Volume(torch.full((1, 16, 8, 8), -9.0), torch.rand(1, 3, 4, 8, 8), _still())
    found = surface_gaussians(volume, FRUSTUM, frame, None, 500)
    shown = render(found[0], FRUSTUM.camera.resized(size).reshape(1)).alpha[0, 0]
    assert (shown[frame[0, 3] > 0] > 0.5).all()
    assert torch.isfinite(found.means).all()


def _still() -> Tensor:
    return torch.zeros(1, 3, 4, 4, 4)


def test_an_object_cut_by_the_border_and_the_near_plane_is_closed() -> None:
    """Half a ball beyond the image's right border, and one nearer than the first cells."""
    frustum = Frustum(FRUSTUM.camera, 1.2, 2.04)
    for shape, azimuth in ((ball((0.62, 0.0, 0.0), 0.3), 90), (ball((0, 0, 0.3), 0.25), 0)):
        found = surface_gaussians(
            volume_of(shape, frustum), frustum, frame_of(shape, 128), None, NUM
        )
        # From the side where it is cut, into the opening: opaque over the whole cross-section.
        alpha = render(found[0], orbit_cameras([azimuth], size=128)).alpha[0, 0]
        cut = image_of(shape, orbit_cameras([azimuth], size=128))[0, 3] > 0
        middle = torch.nn.functional.max_pool2d(1.0 - cut[None, None].float(), 41, 1, 20) == 0
        assert middle.any()
        assert alpha[middle[0, 0]].min() > 0.9


def test_what_the_camera_cannot_see_at_all_and_specks_are_dropped() -> None:
    """A ball hidden behind another, and a floating speck in front of it."""
    hidden, speck = ball((0.0, 0.0, -0.38), 0.1), ball((0.05, 0.1, 0.45), 0.02)
    seen = ball((0.0, 0.0, 0.05), 0.25)
    volume = volume_of(union(seen, hidden, speck))
    found = surface_gaussians(volume, FRUSTUM, frame_of(seen, 128), None, NUM)
    assert seen(found.means[0]).abs().max() < 0.03


def test_sides_show_no_streaks_of_the_front() -> None:
    """A red front on a grey box, whose sides are nearly parallel to the rays: they stay grey."""

    def shape(points: Tensor) -> Tensor:
        q = points.abs() - points.new_tensor([0.2, 0.2, 0.25])
        return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)

    frame = frame_of(shape, 128)
    frame[:, :3] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    found = surface_gaussians(volume_of(shape, gray=True), FRUSTUM, frame, None, NUM)
    views = orbit_cameras([90, 270, 0, 0], torch.tensor([0.0, 0.0, 80.0, -80.0]), size=128)
    image = render(found[0], views).image
    middle = image[:2, :, 50:78, 50:78]
    assert (middle - 0.5).abs().max() < 0.12
    assert (image[2:, :, 54:74, 60:68] - 0.5).abs().mean() < 0.05


def test_white_in_the_outline_does_not_get_onto_the_object() -> None:
    """A matte that takes half-covered pixels of an image on white for object."""
    frame = frame_of(sphere, 128)
    frame[:, :3] = torch.tensor([0.5, 0.1, 0.1])[:, None, None]
    careless = torch.cat([on_white(frame), (frame[:, 3:] > 0.2).float()], 1)
    volume = volume_of(sphere)
    dark = Volume(volume.logits, volume.colors * 0.2, volume.motion)
    found = surface_gaussians(dark, FRUSTUM, careless, None, NUM)[0]
    assert found.colors.max() < 0.6
    image = render(found, FRUSTUM.camera.resized(128).reshape(1)).image
    assert psnr(image, on_white(frame)) > 28


def given_views(shape: Shape, azimuths: list[float]) -> Views:
    cameras = orbit_cameras(azimuths, size=128)
    return Views(image_of(shape, cameras), cameras, volume_of(shape).logits[0])


def test_given_views_color_what_they_show() -> None:
    """The network predicts grey; the back's colours come from a view of it."""
    frame, volume = frame_of(sphere, 128), volume_of(sphere, gray=True)
    views = given_views(sphere, [90, 180, 270])
    cameras = orbit_cameras([135, 180], size=128)
    truth = on_white(image_of(sphere, cameras))
    without = surface_gaussians(volume, FRUSTUM, frame, None, NUM)[0]
    found = surface_gaussians(volume, FRUSTUM, frame, views, NUM)[0]
    hit = trace(sphere, cameras)[1][:, None].expand(-1, 3, -1, -1)
    error = (render(found, cameras).image - truth).abs()[hit].mean()
    blank = (render(without, cameras).image - truth).abs()[hit].mean()
    assert error < 0.25 * blank


def test_motion_leads_to_where_given_views_show_a_point() -> None:
    """The object has moved by a tenth since its views were taken, and took its texture along."""
    shift = torch.tensor([0.1, 0.05, 0.0])

    def now(points: Tensor) -> Tensor:
        return sphere(points - shift)

    volume = volume_of(now, gray=True)
    motion = -shift[None, :, None, None, None].expand(1, 3, 4, 4, 4)
    moved = Volume(volume.logits, volume.colors, motion)
    found = surface_gaussians(moved, FRUSTUM, frame_of(now, 128), given_views(sphere, [180]), NUM)[
        0
    ]
    camera = orbit_cameras([180], size=128)
    points, hit = trace(now, camera)
    truth = texture(points - shift).permute(0, 3, 1, 2)
    hit = -torch.nn.functional.max_pool2d(-hit[:, None].float(), 15, 1, 7) > 0
    error = (render(found, camera).image - truth).abs()[hit.expand(-1, 3, -1, -1)]
    assert error.mean() < 0.06


def test_views_do_not_color_what_is_hidden_from_them() -> None:
    """Another view sees only the nearer of two balls; the farther one keeps its own colours."""
    near, far = ball((0.3, 0.0, 0.0), 0.12), ball((-0.2, 0.0, 0.0), 0.12)
    shape = union(near, far)
    cameras = orbit_cameras([90], size=128)
    image = image_of(shape, cameras)
    image[:, :3] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    views = Views(image, cameras, volume_of(shape).logits[0])
    volume, frame = volume_of(shape, gray=True), frame_of(shape, 128)
    without = surface_gaussians(volume, FRUSTUM, frame, None, NUM)[0]
    found = surface_gaussians(volume, FRUSTUM, frame, views, NUM)[0]
    assert torch.equal(found.means, without.means)
    changed = (found.colors != without.colors).any(1)
    assert not changed[far(found.means) < 0.05].any()
    facing = (near(found.means) < 0.05) & (found.means[:, 0] > 0.38)
    assert (found.colors[facing] - torch.tensor([0.0, 1.0, 0.0])).abs().mean() < 0.15


def test_a_turned_camera_of_another_lens_gives_the_same_object() -> None:
    """The world's axes, not the camera's, are what splats are in."""
    camera = orbit_cameras([70.0], 25.0, radius=1.5, fov_y=40.0, size=100)
    frustum = Frustum(camera[0], 0.96, 2.04)
    frame = image_of(SHAPES["box"], camera)
    found = surface_gaussians(volume_of(SHAPES["box"], frustum), frustum, frame, None, NUM)[0]
    assert SHAPES["box"](found.means).abs().max() < 0.05
    assert psnr(render(found, camera).image, on_white(frame)) > 30


def test_bad_shapes_are_rejected() -> None:
    volume, frame = volume_of(sphere), torch.zeros(1, 4, 16, 16)
    bad: list[tuple[Tensor, int, str]] = [
        (frame[:, :3], 10, "frames must be"),
        (frame[..., :8], 10, "frames must be"),
        (frame.repeat(2, 1, 1, 1), 10, "2 frames"),
        (frame, 0, "num_gaussians"),
    ]
    for frames, count, message in bad:
        with pytest.raises(ValueError, match=message):
            surface_gaussians(volume, FRUSTUM, frames, None, count)
    cameras: Cameras = orbit_cameras([0, 90], size=16)
    with pytest.raises(ValueError, match="view images"):
        surface_gaussians(volume, FRUSTUM, frame, Views(frame, cameras, volume.logits[0]), 10)
