"""Every bad input: one line that names it, exit code 2, and nothing under the final name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from l4gm.gaussians.sequence_file import read_sequence
from l4gm.media.video import write_video
from l4gm.model.weights import CONFIG_KEY, read_header

MakeFile = Callable[[Path, Path], Path]


def still(path: Path, size: int, level: int, num_frames: int = 3) -> Path:
    """A video of one grey level."""
    frame = torch.full((size, size, 3), level, dtype=torch.uint8)
    write_video(path, [frame] * num_frames, 12.0)
    return path


def missing(folder: Path, video: Path) -> Path:
    return folder / "nothing.mp4"


def empty(folder: Path, video: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def cut_off(folder: Path, video: Path) -> Path:
    """The first half of a file; the index of our videos lies at the front, the frames do not."""
    path = folder / "cut.mp4"
    path.write_bytes(video.read_bytes()[:600])
    return path


def text(folder: Path, video: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def noise(folder: Path, video: Path) -> Path:
    path = folder / "noise.mp4"
    generator = torch.Generator().manual_seed(0)
    path.write_bytes(bytes(torch.randint(256, (5000,), generator=generator).tolist()))
    return path


def one_pixel(folder: Path, video: Path) -> Path:
    from PIL import Image

    path = folder / "pixel.png"
    Image.new("RGB", (1, 1)).save(path)
    return path


def all_white(folder: Path, video: Path) -> Path:
    return still(folder / "white.mp4", 64, 255)


def no_object(folder: Path, video: Path) -> Path:
    return still(folder / "grey.mp4", 64, 120)


def empty_folder(folder: Path, video: Path) -> Path:
    path = folder / "frames"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, ["no such file"]),
        (empty, ["empty"]),
        (cut_off, ["cut off"]),
        (text, ["not a video"]),
        (noise, ["not a video"]),
        (one_pixel, ["1 x 1"]),
        (all_white, ["no object"]),
        (no_object, ["no object"]),
        (empty_folder, ["no images"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_video(
    run: Callable,
    tmp_path: Path,
    video: Path,
    video_model: Path,
    make: MakeFile,
    words: list[str],
) -> None:
    path = make(tmp_path, video)
    before = {file.name for file in tmp_path.iterdir()}
    outcome = run("reconstruct", path, "-o", tmp_path / "out", "--model", video_model)
    outcome.assert_bad_input(path.name, *words)
    assert {file.name for file in tmp_path.iterdir()} == before


def test_one_frame_gives_a_still_object(
    run: Callable, tmp_path: Path, video_model: Path, make_video: Callable
) -> None:
    """One frame is enough: the result is a sequence of one."""
    video = make_video(tmp_path / "one.mp4", 1)
    out = tmp_path / "out"
    common = ("--model", video_model, "--orbit-size", "16", "--device", "cpu", "--no-interpolate")
    assert run("reconstruct", video, "-o", out, *common).code == 0
    assert len(read_sequence(out / "sequence.safetensors")) == 1


@pytest.mark.slow
def test_ten_thousand_frames_are_cut_with_a_warning(
    run: Callable, tmp_path: Path, video_model: Path, make_video: Callable
) -> None:
    """By default 300 frames are used, said aloud; here fewer, for speed."""
    frames = [torch.full((16, 16, 3), 255, dtype=torch.uint8) for _ in range(2)]
    for index, frame in enumerate(frames):
        frame[4 + index : 12, 4:12] = 0
    video = tmp_path / "long.mp4"
    write_video(video, (frames[index % 2] for index in range(10_000)), 12.0)
    out = tmp_path / "out"
    common = ("--model", video_model, "--orbit-size", "16", "--device", "cpu", "--no-interpolate")
    outcome = run("reconstruct", video, "-o", out, "--max-frames", "4", *common)
    assert outcome.code == 0
    assert "only the first 4 of about 10000 frames" in outcome.err
    assert len(read_sequence(out / "sequence.safetensors")) == 4


def damaged(folder: Path, good: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """The good weights with a change, its config kept."""
    tensors = load_file(good)
    change(tensors)
    path = folder / "recon.safetensors"
    save_file(tensors, path, metadata={CONFIG_KEY: read_header(good).metadata[CONFIG_KEY]})
    return path


def with_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["conv.bias"][3] = float("nan")


def without_a_name(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["conv.bias"]


def with_another_name(tensors: dict[str, torch.Tensor]) -> None:
    tensors["surplus.weight"] = torch.zeros(2)


def with_another_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["conv.bias"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_nan, ["conv.bias", "NaN"]),
        (without_a_name, ["missing", "conv.bias"]),
        (with_another_name, ["left over", "surplus.weight"]),
        (with_another_shape, ["conv.bias", "shape"]),
    ],
)
def test_bad_weights(
    run: Callable,
    tmp_path: Path,
    video: Path,
    model_folder: Path,
    change: Callable[[dict[str, torch.Tensor]], None],
    words: list[str],
) -> None:
    path = damaged(tmp_path, model_folder / "recon.safetensors", change)
    outcome = run("reconstruct", video, "-o", tmp_path / "out", "--model", path)
    outcome.assert_bad_input(str(path), *words)
    assert [file.name for file in tmp_path.iterdir()] == ["recon.safetensors"]


@pytest.mark.parametrize("name", ["weights.pt", "recon.safetensors"])
def test_a_pickle_is_refused_unread(run: Callable, tmp_path: Path, video: Path, name: str) -> None:
    """Also under the name of a harmless file; opening it would have made a file."""
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap()))
    outcome = run("reconstruct", video, "-o", tmp_path / "out", "--model", path)
    outcome.assert_bad_input(name, "pickle")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_cut_off_weights(run: Callable, tmp_path: Path, video: Path, model_folder: Path) -> None:
    path = tmp_path / "recon.safetensors"
    path.write_bytes((model_folder / "recon.safetensors").read_bytes()[:5000])
    outcome = run("reconstruct", video, "-o", tmp_path / "out", "--model", path)
    outcome.assert_bad_input("recon.safetensors", "cut off")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "no_such_model"), ["no_such_model", "mini"]),
        (("--device", "quantum"), ["quantum", "cpu"]),
        (("--elevation", "95"), ["elevation", "95"]),
    ],
)
def test_bad_options(
    run: Callable,
    tmp_path: Path,
    video: Path,
    video_model: Path,
    arguments: tuple[str, ...],
    words: list[str],
) -> None:
    chosen = arguments if "--model" in arguments else (*arguments, "--model", video_model)
    run("reconstruct", video, "-o", tmp_path / "out", *chosen).assert_bad_input(*words)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(
    run: Callable, tmp_path: Path, video: Path, video_model: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    out = file / "out"
    run("reconstruct", video, "-o", out, "--model", video_model).assert_bad_input(str(out), "-o")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect",),
        ("view", "--no-browser"),
        ("render", "-o", "x.mp4"),
        ("export", "--format", "html", "-o", "x.html"),
    ],
)
def test_bad_assets(
    run: Callable, tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verbs that take an asset: none there, of another kind, damaged."""
    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    run(verb, "nothing", *rest).assert_bad_input("nothing", "no such file")
    Path("cat.txt").write_text("meow")
    run(verb, "cat.txt", *rest).assert_bad_input("cat.txt", ".ply")
    Path("broken.ply").write_text("ply\nformat ascii 1.0\nelement vertex 1\n")
    run(verb, "broken.ply", *rest).assert_bad_input("broken.ply")
    Path("broken.safetensors").write_bytes(b"\x00" * 64)
    run(verb, "broken.safetensors", *rest).assert_bad_input("broken.safetensors")
    assert not Path("x.mp4").exists()
    assert not Path("x.html").exists()
