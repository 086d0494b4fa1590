"""The compact file: against a second decoder written from docs/format.md, renderings, and harm."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from l4gm.errors import InputError
from l4gm.evaluation.metrics import psnr
from l4gm.gaussians.compact_codec import Precision, picture_width
from l4gm.gaussians.compact_file import (
    read_compact,
    read_compact_frames,
    read_compact_info,
    write_compact,
)
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import MIN_ALPHA
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rotations import matrix_from_quat, quat_multiply
from l4gm.splat.render import render

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def random_sequence(frames: int, count: int, seed: int = 0) -> GaussianSequence:
    """Without any likeness between neighbours or frames; about half are invisible."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(frames, count, *shape, generator=generator)

    return GaussianSequence(
        Gaussians(
            uniform(3) * 3 - 1,
            torch.randn(frames, count, 4, generator=generator),
            uniform(3) * 0.2 + 1e-3,
            torch.where(uniform() < 0.5, uniform(), uniform() * MIN_ALPHA),
            uniform(3),
        ),
        12.5,
    )


def decode_as_specified(path: Path, frame: int) -> list[dict[str, list[float]]]:
    """docs/format.md in the plainest code: one Gaussian, one number at a time."""
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[0] == "index.json"
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        index = json.loads(archive.read("index.json"))
        count, width, bits = index["num_gaussians"], index["width"], index["bits"]
        rows = math.ceil(count / width)
        key = frame - frame % index["key_every"]
        state: list[list[list[int]]] = []
        for number in range(key, frame + 1):
            picture = Image.open(io.BytesIO(archive.read(f"frame_{number:04d}.webp")))
            assert (picture.format, picture.mode) == ("WEBP", "RGB")
            assert picture.size == (width, 6 * rows)
            pixel = picture.load()
            assert pixel is not None
            before, state = state, []
            for i in range(count):
                x, y = i % width, i // width
                tiles: list[Any] = [pixel[x, tile * rows + y] for tile in range(6)]
                means = []
                for axis in range(3):
                    code = tiles[0][axis] + 256 * tiles[1][axis]
                    d = -(code + 1) // 2 if code % 2 else code // 2
                    if number == key:
                        last = state[-1][0][axis] if state else 0
                    else:
                        last = before[i][0][axis]
                    means.append((last + d) % 2 ** bits["means"])
                rest = [list(tile) for tile in tiles[2:]]
                if number != key:
                    rest = [
                        [(a + b) % 256 for a, b in zip(now, then, strict=True)]
                        for now, then in zip(rest, before[i][1:], strict=True)
                    ]
                state.append([means, *rest])
    return [_values(gaussian, index) for gaussian in state]


def _values(integers: list[list[int]], index: dict[str, Any]) -> dict[str, list[float]]:
    means, scales, rotations, colors, opacities = integers
    bits = index["bits"]

    def share(value: int, name: str) -> float:
        return value / (2 ** bits[name] - 1)

    lower, upper = index["means"]["lower"], index["means"]["upper"]
    low, high = index["log_scales"]["lower"], index["log_scales"]["upper"]
    v = [2 * value / (2 ** bits["rotations"] - 2) - 1 for value in rotations]
    square = sum(value * value for value in v)
    turn = torch.tensor([1 - square, *(2 * value for value in v)]) / (1 + square)
    reference = torch.tensor(index["rotations"]["reference"])
    return {
        "means": [lower[k] + share(means[k], "means") * (upper[k] - lower[k]) for k in range(3)],
        "quats": quat_multiply(reference, turn).tolist(),
        "scales": [math.exp(low + share(value, "scales") * (high - low)) for value in scales],
        "opacities": [share(opacities[0], "opacities")],
        "colors": [share(value, "colors") for value in colors],
    }


@pytest.mark.parametrize("frame", [0, 5, 8, 9])
def test_a_decoder_made_from_the_specification_reads_it(tmp_path: Path, frame: int) -> None:
    write_compact(tmp_path / "a.l4gm", random_sequence(10, 23), keep_rows=True)
    ours = read_compact_frames(tmp_path / "a.l4gm", frame, frame + 1)
    for i, values in enumerate(decode_as_specified(tmp_path / "a.l4gm", frame)):
        for name in FIELDS:
            expected = torch.tensor(values[name])
            torch.testing.assert_close(
                getattr(ours, name)[0, i].reshape(-1), expected, atol=1e-5, rtol=1e-5
            )


@settings(max_examples=15, deadline=None)
@given(
    frames=st.integers(1, 10),
    count=st.sampled_from([0, 1, 2, 16, 17, 64]),
    seed=st.integers(0, 9),
    means=st.sampled_from([8, 10, 16]),
    rotations=st.sampled_from([4, 7, 8]),
)
def test_every_value_is_within_half_a_step(
    tmp_path_factory: pytest.TempPathFactory,
    frames: int,
    count: int,
    seed: int,
    means: int,
    rotations: int,
) -> None:
    original = random_sequence(frames, count, seed)
    path = tmp_path_factory.mktemp("compact") / "a.l4gm"
    precision = Precision(means=means, rotations=rotations)
    write_compact(path, original, precision=precision, keep_rows=True)
    back = read_compact(path)
    assert (len(back), back.gaussians.num_gaussians, back.fps) == (frames, count, 12.5)
    g, h = original.gaussians, back.gaussians
    seen = g.opacities >= MIN_ALPHA
    assert torch.equal(h.opacities > 0, seen)
    assert ((h.opacities - g.opacities)[seen].abs() <= 0.5001 / 255).all()
    assert ((h.means - g.means)[seen].abs() <= 1.51 / (2**means - 1)).all()
    assert ((h.colors - g.colors)[seen].abs() <= 0.501 / 63).all()
    ranges = read_compact_info(path).ranges
    step = (ranges.log_scale_upper - ranges.log_scale_lower) / 63
    assert ((h.scales.log() - g.scales.log())[seen].abs() <= 0.501 * step + 1e-5).all()
    # A step of a Rodrigues parameter turns by at most 4 steps in radians, on each of three axes.
    cosine = (torch.nn.functional.normalize(g.quats, dim=-1) * h.quats).sum(-1).abs().clamp(max=1)
    largest = 4 * math.sqrt(3) / (2**rotations - 2) + 1e-3
    assert (2 * torch.acos(cosine)[seen] <= largest).all()


def test_renderings_agree_and_it_is_small(clip: GaussianSequence, tmp_path: Path) -> None:
    write_compact(tmp_path / "a.l4gm", clip)
    back = read_compact(tmp_path / "a.l4gm")
    cameras = orbit_cameras([0, 70, 200], 20, size=128)
    exact = render(clip.gaussians[[0, 9]], cameras).image
    ours = render(back.gaussians[[0, 9]], cameras).image
    assert psnr(ours, exact).min() > 42
    # The container's own bytes weigh more here than in a clip of 65,536 Gaussians.
    assert (tmp_path / "a.l4gm").stat().st_size < 10 * 1024 * 56 / 10


def test_frames_alone_are_those_of_the_whole(clip: GaussianSequence, tmp_path: Path) -> None:
    write_compact(tmp_path / "a.l4gm", clip)
    whole = read_compact(tmp_path / "a.l4gm").gaussians
    for start, stop in ((0, 1), (7, 9), (8, 10), (9, 10)):
        part = read_compact_frames(tmp_path / "a.l4gm", start, stop)
        for name in FIELDS:
            assert torch.equal(getattr(part, name), getattr(whole, name)[start:stop])
    for start, stop in ((0, 0), (-1, 2), (3, 11)):
        with pytest.raises(ValueError, match="start < stop"):
            read_compact_frames(tmp_path / "a.l4gm", start, stop)


def test_still_things_cost_nothing(clip: GaussianSequence, tmp_path: Path) -> None:
    still = GaussianSequence(clip.gaussians[[0] * 8], 24.0)
    write_compact(tmp_path / "one.l4gm", GaussianSequence(clip.gaussians[[0]], 24.0))
    write_compact(tmp_path / "eight.l4gm", still)
    one, eight = ((tmp_path / f"{n}.l4gm").stat().st_size for n in ("one", "eight"))
    assert eight - one < 7 * 400  # zip entries and empty pictures


def test_the_same_sequence_gives_the_same_bytes(clip: GaussianSequence, tmp_path: Path) -> None:
    for name in ("a.l4gm", "b.l4gm"):
        write_compact(tmp_path / name, clip)
    assert (tmp_path / "a.l4gm").read_bytes() == (tmp_path / "b.l4gm").read_bytes()


def test_signs_of_quaternions_do_not_matter(clip: GaussianSequence, tmp_path: Path) -> None:
    g = clip.gaussians
    flips = torch.randint(0, 2, g.opacities.shape)[..., None] * 2 - 1
    flipped = Gaussians(g.means, g.quats * flips, g.scales, g.opacities, g.colors)
    write_compact(tmp_path / "a.l4gm", clip)
    write_compact(tmp_path / "b.l4gm", GaussianSequence(flipped, 24.0))
    a, b = (read_compact(tmp_path / name).gaussians for name in ("a.l4gm", "b.l4gm"))
    torch.testing.assert_close(matrix_from_quat(a.quats), matrix_from_quat(b.quats))


def test_flat_gaussians_and_nothing_visible(tmp_path: Path) -> None:
    flat = random_sequence(2, 9)
    flat.gaussians.scales[..., 2] = 0.0
    flat.gaussians.quats[0, 0] = 0.0  # taken as the identity
    write_compact(tmp_path / "a.l4gm", flat)
    back = read_compact(tmp_path / "a.l4gm").gaussians
    assert back.quats.isfinite().all()
    assert (back.scales[..., 2][back.opacities > 0] <= 4e-4).all()
    flat.gaussians.opacities[:] = 0.0
    write_compact(tmp_path / "b.l4gm", flat)
    assert (read_compact(tmp_path / "b.l4gm").gaussians.opacities == 0).all()


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for name in FIELDS:
        bad = random_sequence(2, 5)
        getattr(bad.gaussians, name)[1, 2] = math.nan
        with pytest.raises(ValueError, match=name):
            write_compact(tmp_path / "a.l4gm", bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "width"), [(65536, 128), (16384, 64), (1, 1), (0, 1), (10, 4)])
def test_width_is_a_views(count: int, width: int) -> None:
    assert picture_width(count) == width


@pytest.mark.parametrize("count", [4 * 683**2, 10**7, 14_000_000])
def test_pictures_of_many_gaussians_fit_webp(count: int) -> None:
    width = picture_width(count)
    assert width <= 16383
    assert 6 * math.ceil(count / width) <= 16383


Edit = Callable[[dict[str, Any], dict[str, bytes]], None]


def tampered(tmp_path: Path, edit: Edit) -> Path:
    """A good file whose index and members went through `edit`."""
    write_compact(tmp_path / "good.l4gm", random_sequence(3, 9))
    with zipfile.ZipFile(tmp_path / "good.l4gm") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    index = json.loads(members.pop("index.json"))
    edit(index, members)
    with zipfile.ZipFile(tmp_path / "bad.l4gm", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.json", json.dumps(index))
        for name, content in members.items():
            archive.writestr(name, content)
    return tmp_path / "bad.l4gm"


def picture(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(stream, "WEBP", lossless=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda i, m: i.update(format="other"), "format"),
        (lambda i, m: i.update(version=2), "version 2.*update"),
        (lambda i, m: i.update(num_frames=4), "frame_0003.*missing"),
        (lambda i, m: i.update(num_frames=0), "num_frames"),
        (lambda i, m: i.update(num_frames=10**6, num_gaussians=10**6), "frame_0003.*missing"),
        (lambda i, m: i.update(num_gaussians=10**12), "num_gaussians"),
        (lambda i, m: i.update(num_gaussians=True), "num_gaussians"),
        (lambda i, m: i.update(width=0), "width"),
        (lambda i, m: i.update(key_every=0), "key_every"),
        (lambda i, m: i.update(key_every=20_000), "key_every"),
        (lambda i, m: i.update(num_gaussians=14_000_000), "claim to need"),
        (lambda i, m: i.update(fps=-1), "fps"),
        (lambda i, m: i.update(fps="<b>"), "index.json"),
        (lambda i, m: i["bits"].update(means=99), "means must have"),
        (lambda i, m: i["bits"].update(other=1), "other"),
        (lambda i, m: i["means"].update(lower=[0, 0]), "index.json"),
        (lambda i, m: i["means"].update(lower=[0, 0, math.nan]), "numbers up to"),
        (lambda i, m: i["means"].update(upper=[0, 0, 1e308]), "numbers up to"),
        (lambda i, m: i["log_scales"].update(upper=1e6), "log_scales"),
        (lambda i, m: i.pop("rotations"), "rotations"),
        (lambda i, m: m.pop("frame_0001.webp"), "frame_0001.*missing"),
        (lambda i, m: m.update({"frame_0001.webp": b"RIFF"}), "damaged"),
        (lambda i, m: m.update({"frame_0002.webp": picture(3, 19)}), "3, 19.*expected"),
        (lambda i, m: m.update({"frame_0000.webp": bytes(10**7)}), "larger than"),
        (lambda i, m: m.update({"frame_0000.webp": m["frame_0000.webp"][:-30]}), "damaged"),
    ],
)
def test_hostile_files_give_one_line(tmp_path: Path, edit: Edit, message: str) -> None:
    path = tampered(tmp_path, edit)
    with pytest.raises(InputError, match=rf"(?s)bad\.l4gm.*{message}") as caught:
        read_compact(path)
    assert "\n" not in str(caught.value)


def test_numbers_beyond_their_bits_stay_finite(tmp_path: Path) -> None:
    full = np.full((18, 3, 3), 255, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(full).save(stream, "WEBP", lossless=True)
    path = tampered(
        tmp_path,
        lambda i, m: (
            i["log_scales"].update(upper=80),
            m.update({"frame_0000.webp": stream.getvalue()}),
        ),
    )
    frames = read_compact_frames(path, 0, 1)
    assert all(getattr(frames, name).isfinite().all() for name in FIELDS)
    assert frames.opacities.max() <= 1
    assert frames.colors.max() <= 1


def test_not_a_zip_and_every_cut(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_compact(tmp_path / "none.l4gm")
    write_compact(tmp_path / "a.l4gm", random_sequence(2, 9))
    whole = (tmp_path / "a.l4gm").read_bytes()
    for length in range(0, len(whole), 41):
        (tmp_path / "cut.l4gm").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.l4gm"):
            read_compact(tmp_path / "cut.l4gm")


def test_encrypted_and_nested(tmp_path: Path) -> None:
    write_compact(tmp_path / "a.l4gm", random_sequence(1, 9))
    content = bytearray((tmp_path / "a.l4gm").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag bits of entries
        start = content.find(signature)
        content[start + offset] |= 1
    (tmp_path / "locked.l4gm").write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        read_compact(tmp_path / "locked.l4gm")
    with zipfile.ZipFile(tmp_path / "nested.l4gm", "w") as archive:
        archive.write(tmp_path / "a.l4gm", "inner/a.l4gm")
    with pytest.raises(InputError, match=r"'index\.json' is missing"):
        read_compact(tmp_path / "nested.l4gm")
