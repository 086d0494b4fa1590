"""Views from a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.errors import InputError
from l4gm.multiview.given import read_given_views

SHADES = (10, 60, 110, 160)


def save_shade(path: Path, shade: int, size: int = 256) -> None:
    Image.new("RGB", (size, size), (shade, 0, 255)).save(path)


def shades(folder: Path) -> list[int | None]:
    """What each view shows; None where it was not given."""
    views, present = read_given_views(folder)
    assert views.shape == (4, 3, 256, 256)
    assert views.dtype == torch.float32
    assert (views[~present] == 1).all()
    return [round(float(view[0].mean()) * 255) if here else None
            for view, here in zip(views, present, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ("0.png", "90.png", "180.png", "270.png"),
        ("view_000.png", "view_090.png", "view_180.png", "view_270.jpg.png"),
        ("cat2_0.webp", "cat2_90.webp", "cat2_180.webp", "cat2_-90.webp"),
        ("cat-0.png", "cat-90.png", "cat-180.png", "cat-270.png"),
        ("1.png", "2.png", "9.png", "10.png"),
        ("back.png", "front.png", "left.png", "right.png"),
    ],
)
def test_names_say_the_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, shade in zip(names, SHADES, strict=True):
        path = tmp_path / name
        image = Image.new("RGB", (256, 256), (shade, 0, 255))
        image.save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("not one either")
    assert shades(tmp_path) == list(SHADES)


@pytest.mark.parametrize("given", [(0,), (180,), (0, 270), (90, 180, 270)])
def test_some_may_be_missing(tmp_path: Path, given: tuple[int, ...]) -> None:
    for azimuth in given:
        save_shade(tmp_path / f"{azimuth}.png", azimuth // 2)
    expected = [azimuth // 2 if azimuth in given else None for azimuth in (0, 90, 180, 270)]
    assert shades(tmp_path) == expected


def test_transparent_stays_transparent_and_large_is_averaged(tmp_path: Path) -> None:
    pixels = np.zeros((512, 512, 4), np.uint8)
    pixels[::2, :, :] = (255, 0, 0, 255)  # red rows; between them transparent black
    Image.fromarray(pixels).save(tmp_path / "0.png")
    views, present = read_given_views(tmp_path)
    assert present.tolist() == [True, False, False, False]
    expected = torch.tensor([1.0, 0.0, 0.0, 0.5])[:, None, None].expand(4, 256, 256)
    torch.testing.assert_close(views[0], expected, rtol=0, atol=1e-6)
    assert (views[1:, 3] == 0).all()


def test_alpha_that_not_all_views_have_is_put_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[::2] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    pixels[..., 3] = 255  # saved with an alpha channel that says nothing
    pixels[:, 0] = pixels[:, -1] = 255
    Image.fromarray(pixels).save(tmp_path / "90.png")
    views, _ = read_given_views(tmp_path)
    assert views.shape == (4, 3, 256, 256)
    rows = views[:2, :, 100:102, 128]
    red, white, black = [1.0, 0, 0], [1.0] * 3, [0.0] * 3
    torch.testing.assert_close(rows.mT, torch.tensor([[red, white], [red, black]]))


@pytest.mark.parametrize("level", [0, 130])
def test_another_background_than_white_is_removed(tmp_path: Path, level: int) -> None:
    pixels = np.full((256, 256, 3), level, np.uint8)
    pixels[64:192, 80:176] = (200, 60, 40)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    views, _ = read_given_views(tmp_path)
    assert views.shape == (4, 4, 256, 256)
    inside = torch.zeros(256, 256, dtype=torch.bool)
    inside[64:192, 80:176] = True
    assert torch.equal(views[0, 3] > 0.5, inside)
    expected = torch.tensor([200, 60, 40]) / 255
    torch.testing.assert_close(views[0, :3, 128, 128], expected, rtol=0, atol=0.01)


def test_a_view_before_clutter_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0.png")
    with pytest.raises(InputError, match=r"0\.png: the view is neither transparent nor on white"):
        read_given_views(tmp_path)


def test_a_picture_of_the_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    pixels[:, 0] = pixels[:, -1] = 255
    Image.fromarray(pixels).save(tmp_path / "90.png")
    views, _ = read_given_views(tmp_path)
    expected = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    torch.testing.assert_close(views[1], expected, rtol=0, atol=1e-6)


def four(folder: Path, change: Callable[[Path], None] | None = None) -> None:
    for azimuth in (0, 90, 180, 270):
        save_shade(folder / f"{azimuth}.png", 9, 64)
    if change is not None:
        change(folder / "180.png")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:80])


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda folder: None, ["no pictures", "named by azimuth"]),
        (lambda folder: save_shade(folder / "cat.png", 9), ["1 pictures (cat.png)", "azimuth"]),
        (lambda folder: [save_shade(folder / f"{i}.png", 9) for i in range(7)], ["7 pictures"]),
        (lambda folder: [save_shade(folder / f"{n}.png", 9) for n in ("90", "a_90")], ["both"]),
        (
            lambda folder: [save_shade(folder / f"{n}.png", 9) for n in ("90", "cat")],
            ["2 pictures"],
        ),
        (lambda folder: four(folder, lambda path: save_shade(path, 9, 65)), ["180.png", "65 px"]),
        (lambda folder: four(folder, lambda path: path.write_text("no")), ["180.png", "read"]),
        (lambda folder: four(folder, lambda path: path.write_bytes(b"")), ["180.png", "read"]),
        (lambda folder: four(folder, cut_off), ["180.png", "damaged"]),
        (lambda folder: save_shade(folder / "0.png", 9, 8), ["0.png", "8 x 8 px", "square"]),
        (lambda folder: Image.new("L", (64, 32)).save(folder / "0.png"), ["64 x 32 px", "square"]),
    ],
)
def test_bad_folders(tmp_path: Path, make: Callable[[Path], None], needed: list[str]) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as error:
        read_given_views(tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for text in (str(tmp_path), *needed):
        assert text in message


@pytest.mark.parametrize("name", ["absent", "file.png"])
def test_not_a_folder(tmp_path: Path, name: str) -> None:
    save_shade(tmp_path / "file.png", 9)
    with pytest.raises(InputError, match="expected a folder"):
        read_given_views(tmp_path / name)
