"""The benchmarks measure what they say; the plain network computes the same as ours."""

from __future__ import annotations

import mmap
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from l4gm.bench.data import bench_data
from l4gm.bench.model import bench_model, forward_flops, load_plain
from l4gm.bench.pipeline import bench_pipeline
from l4gm.bench.results import Results, Row, compare, describe_machine, markdown, read, write
from l4gm.bench.splatting import bench_splatting
from l4gm.bench.timing import matmul_rate, take_turns, watched_memory
from l4gm.bench.training import bench_training
from l4gm.datagen.clips import ProceduralClips
from l4gm.errors import InputError
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.train.presets import debug_preset

PLAIN = Path(__file__).parents[2] / "benchmarks" / "plain"
CPU = torch.device("cpu")
SMALL = L4GMConfig(
    input_size=32,
    down_channels=(8, 16, 16),
    down_attention=(False, True, True),
    mid_attention=True,
    up_channels=(16, 8),
    up_attention=(True, False),
    temporal_attention=True,
    norm_groups=4,
    attention_head_count=2,
)


def small_network() -> L4GM:
    torch.manual_seed(0)
    return L4GM(SMALL).eval()


def test_competitors_take_turns():
    calls = []

    def slow():
        calls.append("slow")
        time.sleep(0.02)

    timings = take_turns({"slow": slow, "fast": lambda: calls.append("fast")}, CPU, repeats=2)
    assert calls == ["slow", "fast"] * 3
    assert timings["slow"].least_seconds >= 0.02 > timings["fast"].least_seconds
    assert timings["slow"].processor_seconds < 0.02
    with pytest.raises(ValueError, match="repeats"):
        take_turns({}, CPU, repeats=0)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_the_peak_not_the_end():
    with watched_memory(CPU) as memory, mmap.mmap(-1, 256 << 20) as block:  # fresh pages, surely
        for _ in range(256):
            block.write(bytes(1 << 20))
        time.sleep(0.05)
    assert 200 << 20 < memory.above[0] < 400 << 20


def test_plain_network_computes_the_same():
    network = small_network()
    for frames in (1, 3):
        ours, plain = bench_model(
            "small", network, frames, repeats=1, plain=load_plain(PLAIN, network)
        )
        assert ours.figures["relative error"] < 1e-5
        assert ours.figures["GFLOP"] == plain.figures["GFLOP"] > 0
        assert ours.figures["x plain"] > 0


def test_flops_of_one_layer_by_hand():
    """Without attention or second levels, the count is that of the convolutions."""
    config = L4GMConfig(
        input_size=8,
        down_channels=(8,),
        down_attention=(False,),
        mid_attention=False,
        up_channels=(8,),
        up_attention=(False,),
        temporal_attention=False,
        layers_per_block=1,
        norm_groups=4,
    )
    pixels = 4 * 8 * 8
    # Each of the two blocks up takes 16 channels: 3x3 to 8, 3x3 from 8 to 8, shortcut 1x1 to 8.
    up = 2 * (9 * 128 + 9 * 64 + 128)
    inside = 9 * 72 + 3 * 2 * 9 * 64 + up + 9 * 8 * 14 + 14 * 14
    assert forward_flops(config, 1) == 2 * pixels * inside


def test_a_folder_without_the_plain_network(tmp_path: Path):
    with pytest.raises(InputError, match=r"network\.py"):
        load_plain(tmp_path, small_network())


def test_parts_are_measured():
    assert matmul_rate(CPU, torch.float32) > 1e8
    (row,) = bench_pipeline(
        "small", VideoTo4D(small_network(), chunk_frames=2, render_size=32), 3, warm_up=0
    )
    assert row.figures["frames out"] == 3
    assert row.figures["total seconds"] >= row.figures["reconstruct seconds"] > 0
    (row,) = bench_splatting(CPU, sizes=((64, 16),), repeats=1)
    assert row.figures["forward and backward ms"] > 0
    rows = bench_training("debug", debug_preset(), CPU, 1)
    assert [row.case for row in rows] == [
        "debug, 16 px, T = 1, 2 clips",
        "debug, 32 px, T = 2, 1 clips",
    ]
    for row in rows:
        parts = ("network", "splatting", "loss", "optimizer")
        assert sum(row.figures[f"{part} %"] for part in parts) == pytest.approx(100)
        assert row.figures["clips per second"] > 0.1
    (row,) = bench_data("procedural", ProceduralClips(), sizes_px=(16,), num_clips=1)
    assert row.figures["frames per second"] > 1


def test_results_are_kept_and_compared(tmp_path: Path):
    now = [Row(case="a", competitor="l4gm", figures={"seconds": 2.0, "frames per second": 4.0})]
    old = [Row(case="a", competitor="l4gm", figures={"seconds": 3.0, "frames per second": 2.0})]
    results = Results(subject="model", rows=old, machine=describe_machine(CPU), notes=["n"])
    path = tmp_path / "new" / "old.json"
    write(results, path)
    assert read(path) == results
    assert compare(now, read(path).rows) == [
        "a, l4gm, seconds: 3 -> 2 (1.50x)",
        "a, l4gm, frames per second: 2 -> 4 (2.00x)",
    ]
    table = markdown(results)
    assert "| a | l4gm | 3 | 2 |" in table
    assert "- note: n" in table
    for text in ("", "[]", "{}", '{"format": 99}', '{"format": 1, "rows": 3}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"old\.json"):
            read(path)


def test_keeping_buffers_in_the_heap_is_for_programs():
    """In a process of its own: afterwards a freed buffer's pages are there again."""
    code = (
        "import resource, torch\n"
        "from l4gm.model.allocator import keep_large_buffers\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(4): torch.empty(16 << 20).fill_(1)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "fresh = faults()\n"
        "if keep_large_buffers():\n"
        "    faults(), faults(), faults()  # the heap grows to what it needs\n"
        "    kept = faults()\n"
        "    assert kept < fresh / 10, (kept, fresh)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
