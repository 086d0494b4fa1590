"""`l4gm reconstruct` end to end with a tiny random model, and killed in the middle."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from l4gm.files import load
from l4gm.gaussians.ply import read_ply
from l4gm.gaussians.sequence_file import read_sequence
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import without_invisible
from l4gm.media.video import probe_video, read_frames
from l4gm.model.weights import file_sha256

SMALL = ("--orbit-size", "48", "--device", "cpu", "--no-interpolate")


MakeVideo = Callable[[Path, int], Path]


def files_in(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, video: Path, video_model: Path) -> Path:
    """The folder of one run."""
    from l4gm.cli.main import main

    out = tmp_path_factory.mktemp("results") / "disc"
    assert (
        main(["reconstruct", str(video), "-o", str(out), "--model", str(video_model), *SMALL]) == 0
    )
    return out


def test_folder_holds_what_is_promised(result: Path) -> None:
    assert files_in(result) == [
        "index.html",
        "input.mp4",
        "orbit.mp4",
        "report.json",
        "sequence.safetensors",
    ]
    assert files_in(result.parent) == ["disc"]


def test_all_forms_hold_the_same_object(result: Path) -> None:
    sequence = read_sequence(result / "sequence.safetensors")
    assert len(sequence) == 9
    assert sequence.fps == 12.0
    loaded = load(result)
    assert isinstance(loaded, GaussianSequence)
    assert loaded.fps == 12.0


def test_frames_as_ply_are_asked_for(
    run: Callable, tmp_path: Path, video: Path, video_model: Path
) -> None:
    """In a folder that holds nothing else, and of what is visible."""
    out = tmp_path / "out"
    outcome = run("reconstruct", video, "-o", out, "--model", video_model, *SMALL, "--ply")
    assert outcome.code == 0
    assert re.search(r"sequence\.safetensors [\d.]+ MB.* ply [\d.]+ [kM]B\)", outcome.out)
    assert files_in(out / "ply") == [f"frame_{index:04d}.ply" for index in range(9)]
    frames, sequence = load(out / "ply"), read_sequence(out / "sequence.safetensors")
    assert isinstance(frames, GaussianSequence)
    assert frames.fps == 12.0
    for index in (0, 8):
        expected = without_invisible(sequence.gaussians[index])
        frame = read_ply(out / "ply" / f"frame_{index:04d}.ply")
        torch.testing.assert_close(frame.means, expected.means)
        torch.testing.assert_close(frame.opacities, expected.opacities, atol=1e-5, rtol=1e-4)


def test_videos_play_in_time(result: Path) -> None:
    orbit = probe_video(result / "orbit.mp4")
    assert (orbit.width, orbit.height, orbit.fps) == (48, 48, 12.0)
    # At least four seconds, in whole rounds of the nine frames.
    assert orbit.num_frames == 54
    assert len(list(read_frames(result / "input.mp4"))) == 9


def test_page_stands_alone(result: Path) -> None:
    page = (result / "index.html").read_text()
    assert "<title>" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_report_tells_everything(result: Path, video_model: Path, video: Path) -> None:
    report = json.loads((result / "report.json").read_text())
    assert report["settings"]["video"] == str(video)
    assert report["settings"]["seed"] == 0
    assert report["device"] == "cpu"
    weights = report["weights"]["solid.safetensors"]
    assert weights["sha256"] == file_sha256(video_model / "solid.safetensors")
    assert report["result"] == {"num_frames": 9, "num_gaussians": 1024, "fps": 12.0}
    assert report["pipeline"]["first_guess"] == "video alone"
    assert set(report["pipeline"]["seconds"]) >= {"load model", "prepare", "reconstruct", "orbit"}
    assert report["versions"]["torch"] == torch.__version__
    assert report["warnings"] == []


def test_precision_is_an_option(
    run: Callable, tmp_path: Path, video: Path, video_model: Path
) -> None:
    """In bfloat16 the Gaussians are near float32's, not the same; a run in between is another."""
    gaussians = []
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        arguments = ("reconstruct", video, "-o", out, "--model", video_model, *SMALL)
        assert run(*arguments, "--max-frames", 2, "--precision", precision).code == 0
        gaussians.append(load(out / "sequence.safetensors").gaussians)
    difference = (gaussians[0].colors - gaussians[1].colors).abs()
    assert 0 < difference.max() < 0.05


def test_existing_results_are_replaced_only_when_told(
    run: Callable, result: Path, video: Path, video_model: Path
) -> None:
    common = ("reconstruct", video, "-o", result, "--model", video_model, *SMALL)
    before = (result / "report.json").read_text()
    run(*common).assert_bad_input(str(result), "--overwrite")
    assert (result / "report.json").read_text() == before
    outcome = run(*common, "--overwrite", "--max-frames", "2")
    assert outcome.code == 0
    assert str(result / "index.html") in outcome.out
    assert "only the first 2 of about 9 frames are used; --max-frames 9" in outcome.err
    report = json.loads((result / "report.json").read_text())
    assert report["result"]["num_frames"] == 2
    assert len(report["warnings"]) == 1
    assert files_in(result.parent) == ["disc"]


def test_same_seed_same_bytes(
    run: Callable, tmp_path: Path, video_model: Path, make_video: MakeVideo
) -> None:
    video = make_video(tmp_path / "disc.mp4", 2)
    for name in ("one", "two"):
        common = ("--model", video_model, "--device", "cpu", "--orbit-size", "16")
        assert run("reconstruct", video, "-o", tmp_path / name, *common).code == 0
    first, second = (
        (tmp_path / name / "sequence.safetensors").read_bytes() for name in ("one", "two")
    )
    assert first == second


def test_given_views_are_used(
    run: Callable, tmp_path: Path, video_model: Path, make_video: MakeVideo
) -> None:
    video = make_video(tmp_path / "disc.mp4", 1)
    views = tmp_path / "views"
    views.mkdir()
    Image.new("RGB", (64, 64), (0, 0, 255)).save(views / "90.png")
    common = ("reconstruct", video, "--model", video_model, *SMALL)
    assert run(*common, "-o", tmp_path / "alone").code == 0
    assert run(*common, "-o", tmp_path / "given", "--views", views).code == 0
    alone, given = (
        read_sequence(tmp_path / name / "sequence.safetensors") for name in ("alone", "given")
    )
    assert not torch.equal(alone.gaussians.colors, given.gaussians.colors)
    run(*common, "-o", tmp_path / "x", "--views", tmp_path / "no").assert_bad_input("no")
    assert not (tmp_path / "x").exists()


def test_a_network_that_needs_views(
    run: Callable, tmp_path: Path, video: Path, model_folder: Path, views_folder: Path
) -> None:
    common = ("reconstruct", video, "-o", tmp_path / "out", "--model", model_folder, *SMALL)
    run(*common, "--multiview", "none").assert_bad_input("--views", "l4gm[multiview]")
    assert run(*common, "--views", views_folder, "--no-align").code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["pipeline"]["first_guess"] == "given"
    assert report["multiview"] == "none"


def test_sources_of_views_that_are_none(
    run: Callable, tmp_path: Path, video: Path, video_model: Path
) -> None:
    common = ("reconstruct", video, "-o", tmp_path / "out", "--model", video_model, "--multiview")
    run(*common, tmp_path).assert_bad_input(str(tmp_path), "parts of ImageDream")
    run(*common, tmp_path / "no").assert_bad_input("there is no such folder")
    assert not list(tmp_path.iterdir())


def test_default_name_is_the_videos(
    run: Callable,
    tmp_path: Path,
    video_model: Path,
    make_video: MakeVideo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_video(tmp_path / "my disc.mp4", 1)
    monkeypatch.chdir(tmp_path)
    assert run("reconstruct", "my disc.mp4", "--model", video_model, *SMALL).code == 0
    assert files_in(tmp_path) == ["my disc.mp4", "my disc_4d"]


CHUNKED = (*SMALL, "--chunk-frames", "4", "--orbit-size", "16")


def assert_same_result(one: Path, other: Path) -> None:
    """Every file byte for byte, but for the report, which tells times."""
    assert files_in(one) == files_in(other)
    for name in files_in(one):
        if name != "report.json":
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(scope="module")
def interpolating_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reconstruction network and one for frames between, as small as `model_folder`'s."""
    from l4gm.model.l4gm import L4GM
    from l4gm.model.weights import save_weights
    from l4gm.train.presets import debug_preset

    folder = tmp_path_factory.mktemp("both")
    torch.manual_seed(3)
    for name in ("recon", "interp"):
        save_weights(L4GM(debug_preset().model), folder / f"{name}.safetensors")
    return folder


def cut_off_after(monkeypatch: pytest.MonkeyPatch, frames: int, error: BaseException) -> None:
    """Writing the frame of this number fails, as a disk or a person may have it."""
    from l4gm.gaussians.sequence_file import SequenceWriter

    append = SequenceWriter.append

    def failing(self: SequenceWriter, gaussians: Gaussians) -> list[tuple[int, int]]:
        if self.frames_written <= frames < self.frames_written + gaussians.shape[0]:
            raise error
        return append(self, gaussians)

    monkeypatch.setattr(SequenceWriter, "append", failing)


@pytest.mark.parametrize("stop", [3, 9, 21])
def test_interpolated_run_resumes_with_the_same_bytes(
    run: Callable,
    tmp_path: Path,
    interpolating_model: Path,
    views_folder: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: int,
) -> None:
    """Nine frames become 25; cut off before the first note, at the second chunk, in the third."""
    given = ("--views", views_folder, "--no-align")
    common = (
        "reconstruct",
        video,
        "--model",
        interpolating_model,
        *given,
        *CHUNKED,
        "--interpolate",
    )
    assert run(*common, "-o", tmp_path / "whole").code == 0
    with monkeypatch.context() as patch:
        cut_off_after(patch, stop, KeyboardInterrupt())
        outcome = run(*common, "-o", tmp_path / "out")
    assert outcome.code == 130
    kept = {3: 0, 9: 0, 21: 7}[stop]
    hint = f"cut off after {kept} frames, which are kept; the same command with --resume goes on"
    assert (hint in outcome.err) == (kept > 0)
    assert files_in(tmp_path) == [*([".out.unfinished"] if kept else []), "whole"]
    resumed = run(*common, "-o", tmp_path / "out", "--resume")
    assert resumed.code == 0
    assert files_in(tmp_path) == ["out", "whole"]
    assert_same_result(tmp_path / "out", tmp_path / "whole")
    reports = [
        json.loads((tmp_path / name / "report.json").read_text()) for name in ("out", "whole")
    ]
    for report in reports:
        assert report["result"]["num_frames"] == 25
        assert report["pipeline"]["num_chunks"] == 3
        assert report["pipeline"]["num_output_frames"] == 25
        assert set(report["weights"]) == {path.name for path in interpolating_model.iterdir()}
    assert reports[0]["identity"] == reports[1]["identity"]


def test_full_disk_is_told_and_resumed(
    run: Callable,
    tmp_path: Path,
    video_model: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common = ("reconstruct", video, "--model", video_model, *CHUNKED)
    with monkeypatch.context() as patch:
        cut_off_after(patch, 5, OSError(28, "No space left on device"))
        outcome = run(*common, "-o", tmp_path / "out")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == (
        f"l4gm: error: {tmp_path / 'out'}: no space left on the disk; the first 4 frames are kept: "
        "make room and go on with --resume"
    )
    # Neither a second start nor another command takes what is kept by accident.
    run(*common, "-o", tmp_path / "out").assert_bad_input("--resume", "--overwrite")
    other = run(*common, "-o", tmp_path / "out", "--resume", "--seed", "7")
    other.assert_bad_input("seed was 0, now 7", "--overwrite")
    assert run(*common, "-o", tmp_path / "out", "--resume").code == 0
    assert run(*common, "-o", tmp_path / "whole").code == 0
    assert_same_result(tmp_path / "out", tmp_path / "whole")


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory, video: Path, video_model: Path) -> Path:
    """A folder with a run of nine frames that was cut off after the first chunk of four."""
    from l4gm.cli.main import main

    folder = tmp_path_factory.mktemp("cut_off")
    with pytest.MonkeyPatch.context() as patch:
        cut_off_after(patch, 5, KeyboardInterrupt())
        arguments = ["reconstruct", str(video), "--model", str(video_model), *CHUNKED]
        assert main([*arguments, "-o", str(folder / "out")]) == 130
    return folder


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip_a_bit(path: Path) -> None:
    """Near the start: what lies further back may be yet to be written."""
    content = bytearray(path.read_bytes())
    content[len(content) // 20] ^= 4
    path.write_bytes(content)


def replace_by_link(path: Path) -> None:
    path.rename(path.parents[1] / path.name)
    path.symlink_to(path.parents[1] / path.name)


@pytest.mark.parametrize("damage", [Path.unlink, cut, flip_a_bit, replace_by_link])
def test_a_damaged_run_is_not_resumed(
    tmp_path: Path, cut_off: Path, damage: Callable[[Path], None]
) -> None:
    """Whichever of its files it is: all are looked at before anything is written."""
    from l4gm.cli.unfinished_run import RECORD_NAME, unfinished_run
    from l4gm.errors import InputError

    journal = (cut_off / ".out.unfinished" / "written.jsonl").read_text().splitlines()
    names = {json.loads(line)[0] for line in journal} | {RECORD_NAME, "written.jsonl"}
    assert names >= {"frames.raw", "sequence.safetensors"}
    for name in sorted(names):
        if name == RECORD_NAME and damage is Path.unlink:
            continue  # without it there is nothing to resume
        if name in (RECORD_NAME, "written.jsonl") and damage is replace_by_link:
            continue  # read, and replaced as a whole, never written into
        folder = tmp_path / name
        shutil.copytree(cut_off, folder, symlinks=True)
        damage(folder / ".out.unfinished" / name)
        before = files_in(folder / ".out.unfinished")
        with (
            pytest.raises(InputError, match=f"{name}.*begin anew with --overwrite"),
            unfinished_run(folder / "out", resume=True),
        ):
            pass
        assert files_in(folder / ".out.unfinished") == before


@pytest.mark.parametrize("place", [0.05, 0.3, 0.99])
def test_damage_within_what_is_written_of_the_sequence_is_found(
    tmp_path: Path, cut_off: Path, run: Callable, video: Path, video_model: Path, place: float
) -> None:
    """At the start of the header, and in the first frames of a tensor."""
    shutil.copytree(cut_off / ".out.unfinished", tmp_path / ".out.unfinished")
    path = tmp_path / ".out.unfinished" / "sequence.safetensors"
    content = bytearray(path.read_bytes())
    header_bytes = int.from_bytes(content[:8], "little")
    content[8 + int(place * (header_bytes + 1000))] ^= 1
    path.write_bytes(content)
    common = ("reconstruct", video, "-o", tmp_path / "out", "--model", video_model, *CHUNKED)
    run(*common, "--resume").assert_bad_input("sequence.safetensors is damaged", "--overwrite")
    path.write_bytes(content[: header_bytes + 100])
    run(*common, "--resume").assert_bad_input("sequence.safetensors is damaged", "--overwrite")
    assert run(*common, "--overwrite").code == 0


def test_a_finished_result_that_was_damaged_is_not_called_finished(
    tmp_path: Path, run: Callable, video: Path, video_model: Path
) -> None:
    out = tmp_path / "out"
    common = ("reconstruct", video, "-o", out, "--model", video_model, *CHUNKED, "--ply")
    common += ("--max-frames", "2")
    assert run(*common).code == 0
    assert "finished already" in run(*common, "--resume").out
    files = json.loads((out / "report.json").read_text())["files"]
    found = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert sorted([*files, "report.json"]) == sorted(found)
    assert {"ply/frame_0000.ply", "ply/frame_0001.ply", "ply.json"} <= set(files)
    for name, facts in files.items():
        assert facts["bytes"] == (out / name).stat().st_size
        assert facts["sha256"] == file_sha256(out / name)
    for name in ("sequence.safetensors", "ply/frame_0001.ply"):
        content = (out / name).read_bytes()
        flip_a_bit(out / name)
        run(*common, "--resume").assert_bad_input(f"{name} is missing or damaged", "--overwrite")
        (out / name).unlink()
        run(*common, "--resume").assert_bad_input(f"{name} is missing or damaged", "--overwrite")
        (out / name).write_bytes(content)


def test_overwrite_begins_an_unfinished_run_anew(
    run: Callable,
    tmp_path: Path,
    video_model: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common = ("reconstruct", video, "-o", tmp_path / "out", "--model", video_model, *CHUNKED)
    with monkeypatch.context() as patch:
        cut_off_after(patch, 5, RuntimeError("something else"))
        assert run(*common).code == 1
    assert files_in(tmp_path) == [".out.unfinished"]
    assert run(*common, "--overwrite", "--max-frames", "2").code == 0
    assert files_in(tmp_path) == ["out"]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["result"]["num_frames"] == 2


def test_too_little_room_is_told_after_the_first_chunk(
    run: Callable,
    tmp_path: Path,
    video_model: Path,
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five of nine frames are missing, 1024 Gaussians of 14 numbers each in both forms."""
    from l4gm.cli import reconstruction

    usage = reconstruction.shutil.disk_usage(tmp_path)._replace(free=5 * 2 * 1024 * 14 * 4 - 1)
    monkeypatch.setattr(reconstruction.shutil, "disk_usage", lambda path: usage)
    common = ("reconstruct", video, "-o", tmp_path / "out", "--model", video_model, *CHUNKED)
    outcome = run(*common, "--ply")
    assert outcome.code == 1
    assert "GB are free; make room" in outcome.err.splitlines()[-1]
    assert files_in(tmp_path) == []


def test_several_videos_in_one_command(
    run: Callable, tmp_path: Path, video_model: Path, make_video: MakeVideo
) -> None:
    """A bad one is told and does not stop the others; with --resume what is there stays."""
    first = make_video(tmp_path / "first.mp4", 2)
    third = make_video(tmp_path / "third.mp4", 3)
    (tmp_path / "bad.mp4").write_text("no video")
    out = tmp_path / "out"
    common = ("-o", out, "--model", video_model, *SMALL)
    outcome = run("reconstruct", first, tmp_path / "bad.mp4", third, *common)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith("l4gm: error: ")
    assert "bad.mp4" in outcome.err.splitlines()[-1]
    assert files_in(out) == ["first", "third"]
    assert [len(read_sequence(out / name / "sequence.safetensors")) for name in files_in(out)] == [
        2,
        3,
    ]
    before = (out / "first" / "report.json").read_bytes()
    again = run("reconstruct", first, third, *common, "--resume")
    assert again.code == 0
    assert again.out.count("was finished already") == 2
    assert (out / "first" / "report.json").read_bytes() == before
    run("reconstruct", first, third, *common).assert_bad_input(str(out / "first"), "--overwrite")
    run("reconstruct", first, first, *common).assert_bad_input("two videos", "'first'")
    run("reconstruct", first, third, "--views", out, *common).assert_bad_input("--views")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_run_leaves_nothing_under_the_name_and_resumes_with_the_same_bytes(
    tmp_path: Path,
    run: Callable,
    model_folder: Path,
    views_folder: Path,
    make_video: MakeVideo,
    number: signal.Signals,
) -> None:
    """Killed as soon as a first chunk is noted."""
    video = make_video(tmp_path / "long.mp4", 60)
    options = [str(video), "--model", str(model_folder), *CHUNKED]
    options += ["--views", str(views_folder), "--no-align"]
    process = subprocess.Popen(
        [sys.executable, "-m", "l4gm", "reconstruct", *options, "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Where the tests themselves run in the background, Ctrl-C comes ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240  # the first run on a machine compiles the kernels
    while not (tmp_path / ".out.unfinished" / "unfinished.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert files_in(tmp_path) == [".out.unfinished", "long.mp4"]
    if number != signal.SIGKILL:
        assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert "Traceback" not in err
        assert "--resume goes on" in err
    assert run("reconstruct", *options, "-o", tmp_path / "out", "--resume").code == 0
    assert run("reconstruct", *options, "-o", tmp_path / "whole").code == 0
    assert_same_result(tmp_path / "out", tmp_path / "whole")
