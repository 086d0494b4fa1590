"""The farm with a stand-in worker: every model accounted for, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from l4gm.data.layout import clip_key, read_clip
from l4gm.datagen.farm import new_scratch, part_of, run_farm
from l4gm.datagen.farm_jobs import Model, RenderSettings, clip_jobs, clip_starts, find_models
from l4gm.datagen.farm_ledger import Ledger, Problem, Record
from l4gm.datagen.farm_models import FarmTask, Slot
from l4gm.datagen.farm_report import Report
from l4gm.datagen.farm_worker import Limits
from l4gm.errors import InputError

STANDIN = Path(__file__).with_name("standin_worker.py")
SETTINGS = RenderSettings(size_px=4, fixed_views=2, free_views=1, num_frames=2, fps=2.0)


def make_task(folder: Path, settings: RenderSettings = SETTINGS, **more: Any) -> FarmTask:
    more.setdefault("limits", Limits(timeout_seconds=60.0))
    return FarmTask(
        settings=settings,
        folder=folder,
        scratch=new_scratch(folder),
        worker_command=(sys.executable, str(STANDIN)),
        **more,
    )


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Model]:
    """(uid, **what the stand-in reads) -> a model."""

    def make(uid: str, **text: Any) -> Model:
        path = tmp_path / "models" / f"{clip_key(uid)}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"animations": [2.0]} | text))
        return Model(uid=uid, path=str(path), licence="by")

    return make


def clip_files(folder: Path) -> dict[str, bytes]:
    """All clips by file name."""
    return {
        path.name: path.read_bytes() for path in (folder / "clips").rglob("*") if path.is_file()
    }


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_all_clips_of_all_animations(make_model: Callable, tmp_path: Path) -> None:
    models = [make_model("a", animations=[0.4, 2.6]), make_model("b", animations=[1.0])]
    reports: list[Report] = []
    report = run_farm(models, make_task(tmp_path / "out"), num_workers=2, progress=reports.append)
    # One clip of 0.4 s (it repeats), two of 2.6 s, one of 1.0 s.
    assert (report.models, report.done, report.clips) == (2, 2, 4)
    assert report.frames == 4 * 3 * 2
    assert [r.recorded for r in reports] == [0, 1, 2]
    files = clip_files(tmp_path / "out")
    assert len(files) == 4
    assert report.bytes == sum(map(len, files.values()))
    clips = [read_clip(p) for p in (tmp_path / "out" / "clips").rglob("*.tar")]
    assert sorted(
        (c.facts.uid, c.facts.details["animation_number"], c.facts.clip) for c in clips
    ) == [
        ("a", 0, 0),
        ("a", 1, 0),
        ("a", 1, 1),
        ("b", 0, 0),
    ]
    assert {clip.facts.licence for clip in clips} == {"by"}
    assert {clip.cameras.num_fixed for clip in clips} == {2}
    assert not list((tmp_path / "out").rglob(".scratch/*/*"))


def test_again_does_nothing_and_gives_the_same_report(make_model: Callable, tmp_path: Path) -> None:
    models = [make_model("a", animations=[3.0]), make_model("b", open="refuse")]
    task = make_task(tmp_path / "out")
    first = run_farm(models, task)
    before = clip_files(task.folder)
    for path in Path(models[0].path).parent.iterdir():
        path.unlink()  # so that touching a model would fail
    again = run_farm(models, task)
    assert (again.done, again.refused, again.clips) == (first.done, first.refused, first.clips)
    assert again.frames == 0
    assert clip_files(task.folder) == before
    whole = json.loads((task.folder / "report.json").read_text())
    assert (whole["done"], whole["reasons"], whole["frames"]) == (
        1,
        {"no animation": 1},
        first.frames,
    )


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("refuse", "no animation", "refused"),
        ("error", "error", "failed"),
        ("crash", "crashed", "failed"),
        ("hang", "timed out", "failed"),
        ("memory", "out of memory", "failed"),
        ("disk full", "disk full", "failed"),
    ],
)
@pytest.mark.parametrize("when", ["open", "render"])
def test_faults_are_recorded_and_the_run_goes_on(
    make_model: Callable, tmp_path: Path, fault: str, kind: str, status: str, when: str
) -> None:
    models = [make_model("good1"), make_model("bad", **{when: fault}), make_model("good2")]
    seconds = 1.5 if fault == "hang" else 60.0
    limits = Limits(timeout_seconds=seconds, memory_bytes=250 << 20)
    task = make_task(tmp_path / "out", limits=limits, attempts=2)
    report = run_farm(models, task)
    assert (report.done, report.clips, report.reasons) == (2, 4, {kind: 1})
    record = Ledger(task.folder).read()["bad"]
    assert (record.status, record.reason, record.clips) == (status, kind, ())
    assert all(problem.detail for problem in record.problems)
    # A fault while rendering concerns each of the two clips, and the worker is asked for both.
    assert [bool(problem.clip) for problem in record.problems] == (
        [False] if when == "open" else [True, True]
    )
    if fault == "crash":
        assert "SIGSEGV" in record.problems[0].detail
        assert "these are my last words" in record.problems[0].detail
    assert everything(tmp_path) >= {"out", "models"}
    assert {path.name for path in tmp_path.iterdir()} == {"out", "models"}


def test_failed_models_are_tried_again_only_when_asked(
    make_model: Callable, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    models = [make_model("bad", open="error", once=str(mark))]
    task = make_task(tmp_path / "out")
    assert run_farm(models, task).failed == 1
    assert run_farm(models, task).failed == 1
    assert run_farm(models, task, retry_failed=True).done == 1
    assert json.loads((task.folder / "report.json").read_text())["done"] == 1


def test_a_full_disk_is_tried_again_by_itself(make_model: Callable, tmp_path: Path) -> None:
    models = [make_model("a"), make_model("b")]
    full = make_task(tmp_path / "out", min_free_bytes=1 << 60)
    report = run_farm(models, full)
    assert (report.failed, report.reasons) == (2, {"disk full": 2})
    assert not clip_files(tmp_path / "out")
    assert run_farm(models, make_task(tmp_path / "out")).done == 2


def test_a_ledger_that_cannot_be_written_does_not_stop_the_run(
    make_model: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(self: Ledger, record: Record) -> None:
        raise OSError(28, "No space left on device")

    models = [make_model("a"), make_model("b")]
    task = make_task(tmp_path / "out")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Ledger, "append", full)
        assert run_farm(models, task).done == 2
    assert "No space left" in caplog.text
    before = clip_files(task.folder)
    report = run_farm(models, task)  # finds the clips there
    assert (report.done, report.clips, report.frames) == (2, 4, 0)
    assert clip_files(task.folder) == before


def test_killed_workers_change_nothing(make_model: Callable, tmp_path: Path) -> None:
    """Workers killed from outside in the middle: the same bytes as undisturbed."""
    models = [make_model(f"m{k}", animations=[5.0], takes=0.02) for k in range(4)]
    undisturbed = make_task(tmp_path / "calm")
    run_farm(models, undisturbed, num_workers=2)
    disturbed = make_task(tmp_path / "wild")
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not over.is_set():
            if len(clip_files(disturbed.folder)) > 4 * (1 + len(killed)):
                killed.extend(kill_a_child())
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    report = run_farm(models, disturbed, num_workers=2)
    over.set()
    thread.join()
    assert len(killed) == 2
    assert (report.done, report.failed, report.clips) == (4, 0, 20)
    assert clip_files(disturbed.folder) == clip_files(undisturbed.folder)


def kill_a_child() -> list[int]:
    """Kill one stand-in worker of this process; returns its id."""
    for pid in renderers():
        with suppress(OSError, IndexError):  # it has just ended
            if parent_of(pid) == os.getpid():
                os.kill(pid, signal.SIGKILL)
                return [pid]
    return []


def test_stopping_the_run_ends_the_workers_and_the_next_one_goes_on(
    make_model: Callable, tmp_path: Path
) -> None:
    models = [make_model(f"m{k}", takes=0.05) for k in range(5)]
    task = make_task(tmp_path / "out")

    def stop(report: Report) -> None:
        if report.recorded == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_farm(models, task, progress=stop)
    assert not kill_a_child()
    assert not task.scratch.exists()
    report = run_farm(models, task)
    assert (report.done, report.clips) == (5, 10)
    assert report.rendered_models <= 3


def test_parts_cover_every_model_once(make_model: Callable, tmp_path: Path) -> None:
    models = [make_model(f"m{k}", animations=[1.0]) for k in range(5)]
    task = make_task(tmp_path / "out")
    counts = [run_farm(part_of(models, k, 3), task).rendered_clips for k in range(3)]
    assert counts == [2, 2, 1]
    assert run_farm(models, task).rendered_clips == 0
    assert json.loads((task.folder / "report.json").read_text())["done"] == 5


def test_other_settings_are_refused(make_model: Callable, tmp_path: Path) -> None:
    run_farm([make_model("a")], make_task(tmp_path / "out"))
    other = make_task(tmp_path / "out", RenderSettings(size_px=8))
    with pytest.raises(InputError, match="rendered with size_px 4, not 8"):
        run_farm([make_model("a")], other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine: holds files but no farm\.json"):
        run_farm([make_model("a")], make_task(tmp_path / "mine"))
    with pytest.raises(InputError, match="'a' is there 2 times"):
        run_farm([make_model("a")] * 2, make_task(tmp_path / "new"))


@pytest.mark.parametrize("uid", ["../../evil", "a/b", "/etc/passwd", "..", "x" * 300, "ü\n*"])
def test_names_cannot_leave_the_folder(make_model: Callable, tmp_path: Path, uid: str) -> None:
    before = everything(tmp_path)
    report = run_farm([make_model(uid)], make_task(tmp_path / "out"))
    assert report.clips == 2
    new = everything(tmp_path) - before
    assert {name.split("/")[0] for name in new} == {"out", "models"}
    for path in (tmp_path / "out" / "clips").rglob("*.tar"):
        assert read_clip(path).facts.uid == uid


def test_models_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.GLB", "sub/a.glb", "sub/a.fbx", "notes.txt", "c.usdz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    models = find_models(tmp_path)
    assert [model.uid for model in models] == ["b", "c", "sub/a.fbx", "sub/a.glb"]
    assert models[0].path == str(tmp_path / "b.GLB")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model in it"):
        find_models(tmp_path / "empty")
    with pytest.raises(InputError, match="is not a folder"):
        find_models(tmp_path / "no")


@pytest.mark.parametrize(
    ("seconds", "most", "starts"),
    [
        (0.0, 0, [0.0]),
        (0.9, 0, [0.0]),
        (1.0, 0, [0.0]),
        (1.99, 0, [0.0]),
        (2.99999, 0, [0.0, 1.0, 2.0]),  # three seconds, as floats have it
        (10.0, 3, [0.0, 4.0, 9.0]),
        (10.0, 1, [0.0]),
    ],
)
def test_clip_starts(seconds: float, most: int, starts: list[float]) -> None:
    settings = RenderSettings(num_frames=24, fps=24.0, max_clips=most)
    assert clip_starts(seconds, settings) == starts


def test_cameras_depend_on_the_clip_and_the_seed_alone(tmp_path: Path) -> None:
    def jobs(uid: str = "a", **changes: Any) -> list[Any]:
        settings = RenderSettings(**{"fixed_views": 4, "free_views": 3} | changes)
        animation = {"name": "x", "seconds": 2.0}
        return clip_jobs(Model(uid=uid, path="p"), [animation], settings, tmp_path)

    first, second = (job.cameras.world_from_camera for job in jobs())
    assert first[:4].equal(second[:4])
    assert not first[4:].isclose(second[4:]).all()
    assert jobs()[0].cameras.world_from_camera.equal(first)
    assert jobs(free_views=9)[0].cameras.world_from_camera[:7].equal(first)
    assert not jobs(seed=1)[0].cameras.world_from_camera.equal(first)
    assert not jobs("b")[0].cameras.world_from_camera.equal(first)
    heights = jobs(free_views=200)[0].cameras.world_from_camera[4:, 1, 3]
    degrees = (heights / 1.5).asin().rad2deg()
    assert -5 <= degrees.min() < -3
    assert 28 < degrees.max() <= 30


def test_a_ledger_cut_off_anywhere_loses_only_its_last_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    problem = Problem(kind="k", detail="d", final=True)
    ledger.append(Record(uid="a", path="p", clips=("c1", "c2"), problems=(problem,)))
    whole = next((tmp_path / "ledger").iterdir())
    length = whole.stat().st_size
    ledger.append(Record(uid="b", path="p"))
    data = whole.read_bytes()
    for end in range(length, len(data) - 1):
        whole.write_bytes(data[:end])
        assert set(Ledger(tmp_path).read()) == {"a"}
    later = Ledger(tmp_path)
    later.append(Record(uid="b", path="p", clips=("c3",)))
    assert Ledger(tmp_path).read()["a"].problems == (problem,)
    assert Ledger(tmp_path).read()["b"].clips == ("c3",)


def test_a_worker_that_does_not_start(make_model: Callable, tmp_path: Path) -> None:
    task = make_task(tmp_path / "out", attempts=2)
    command = (sys.executable, "-c", "raise ValueError(7)")
    report = run_farm([make_model("a")], replace(task, worker_command=command))
    assert report.reasons == {"crashed": 1}
    assert "ValueError: 7" in Ledger(task.folder).read()["a"].problems[0].detail


def test_the_worker_dies_with_the_farm(make_model: Callable, tmp_path: Path) -> None:
    """A farm killed outright leaves no worker behind."""
    model = make_model("a", render="hang")
    code = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); import test_farm as t; "
        "from pathlib import Path; slot = t.Slot(t.make_task(Path(sys.argv[2]))); "
        "slot.animations(t.Model(uid='a', path=sys.argv[3])); "
        "print(slot.worker.pid, flush=True); import time; time.sleep(600)"
    )
    path = ":".join([str(STANDIN.parent), *sys.path])
    farm = subprocess.Popen(
        [sys.executable, "-c", code, path, str(tmp_path), model.path],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert farm.stdout is not None
    worker = int(farm.stdout.readline())
    farm.kill()
    farm.wait()
    farm.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or "Z" in state_of(worker):
            return
        time.sleep(0.05)
    raise AssertionError("the worker lives on")


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_slot_keeps_its_worker_from_model_to_model(make_model: Callable, tmp_path: Path) -> None:
    with Slot(make_task(tmp_path)) as slot:
        slot.animations(make_model("a"))
        assert slot.worker is not None
        first = slot.worker.pid
        slot.animations(make_model("b"))
        assert slot.worker.pid == first
    assert slot.worker is None


@pytest.mark.slow
def test_forty_clips_on_ray_with_a_worker_and_a_renderer_killed(
    make_model: Callable, tmp_path: Path
) -> None:
    """A cluster of this machine's cores; every clip once, the same bytes as undisturbed."""
    pytest.importorskip("ray", reason='Ray is not installed: pip install "l4gm[datagen]"')
    from l4gm.datagen.farm_ray import ray_records

    models = [make_model(f"m{k}", animations=[2.0, 2.0], takes=0.05) for k in range(10)]
    models.append(make_model("bad", open="refuse"))
    calm, wild = make_task(tmp_path / "calm"), make_task(tmp_path / "wild")
    run_farm(models, calm)
    undisturbed = clip_files(calm.folder)
    assert len(undisturbed) == 40
    killed: list[str] = []
    thread = threading.Thread(target=kill_one_of_each, args=(wild, killed), daemon=True)
    thread.start()
    for _ in range(3):  # Ray gives itself 30 s to start, which a busy machine may not have
        try:
            report = run_farm(models, wild, records=partial(ray_records, address="local"))
            break
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    thread.join()
    assert killed == ["renderer", "Ray worker"]
    assert (report.done, report.refused, report.failed, report.clips) == (10, 1, 0, 40)
    assert clip_files(wild.folder) == undisturbed
    keys = [key for record in Ledger(wild.folder).read().values() for key in record.clips]
    assert len(keys) == len(set(keys)) == 40
    for _ in range(100):
        if not renderers():
            return
        time.sleep(0.05)
    raise AssertionError("a renderer lives on")


def kill_one_of_each(task: FarmTask, killed: list[str]) -> None:
    """Kill a renderer when some clips are there, and later the Ray worker of a renderer."""
    deadline = time.monotonic() + 200
    while len(killed) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        if len(clip_files(task.folder)) < 6 * (1 + len(killed)):
            continue
        for pid in renderers():
            try:
                os.kill(parent_of(pid) if killed else pid, signal.SIGKILL)
            except (OSError, IndexError):  # it has just ended
                continue
            killed.append("Ray worker" if killed else "renderer")
            break


def renderers() -> list[int]:
    """Ids of the stand-in workers that run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and STANDIN.name.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
