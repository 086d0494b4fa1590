"""Runs of a few steps on made-up clips: what is learned does not matter, what is kept does."""

import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import load_model
from l4gm.train.checkpoints import load_checkpoint
from l4gm.train.presets import Stage, debug_preset
from l4gm.train.trainer import MAX_SKIPPED_IN_A_ROW, learning_rate_factor


def test_a_run_ends_with_weights_that_the_pipeline_reads(start, discs, tmp_path):
    path = start(tmp_path, validation=discs).run()
    assert path == tmp_path / "recon.safetensors"
    model = load_model(path)
    assert isinstance(model, L4GM)
    assert model.config == debug_preset().model
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 8))
    assert {"psnr_views_given", "gain_video_only"} <= set(lines[-1])
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("cut", [2, 4, 5])
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(start, tmp_path, cut):
    whole = start(tmp_path / "whole")
    whole.run()
    first = start(tmp_path / "cut")

    def stop_at_cut(step, values):
        if step == cut:
            os.kill(os.getpid(), signal.SIGTERM)

    first.on_step = stop_at_cut
    assert first.run() is None
    second = start(tmp_path / "cut", resume=True)
    assert second.step == cut
    second.run()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name]), name


def test_training_lowers_the_loss(start, tmp_path):
    config = debug_preset()
    stage = Stage(steps=60, size_px=16, num_clips=1, warmup_steps=5, learning_rate=3e-3)
    config = dataclasses.replace(config, stages=(stage,))
    seen = []
    trainer = start(tmp_path, config=config)
    trainer.on_step = lambda step, values: seen.append(values["loss"])
    trainer.run()
    assert np.mean(seen[-10:]) < 0.7 * np.mean(seen[:10])


def test_a_step_with_a_broken_gradient_is_skipped_and_many_stop_the_run(start, tmp_path):
    trainer = start(tmp_path)
    before = {n: v.clone() for n, v in trainer.model.state_dict().items()}
    trainer.model.conv.bias.register_hook(lambda gradient: gradient * math.nan)
    trainer.run()
    after = trainer.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trainer.step = 0
    trainer.skipped_in_a_row = MAX_SKIPPED_IN_A_ROW - 1
    with pytest.raises(FloatingPointError, match="in a row"):
        trainer.run()


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path):
    program = f"""
        import dataclasses, importlib.util, pathlib
        path = {str(Path(__file__).with_name("conftest.py"))!r}
        spec = importlib.util.spec_from_file_location("t", path)
        t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
        from l4gm.train.presets import Stage
        stage = Stage(steps=100000, size_px=16, num_clips=2)
        config = dataclasses.replace(t.debug_preset(), stages=(stage,))
        folder = pathlib.Path({str(tmp_path / "run")!r})
        t.start_run(folder, config=config, checkpoint_minutes=0).run()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert load_checkpoint(checkpoint).step >= 1


def test_a_time_limit_stops_with_a_checkpoint(start, tmp_path):
    trainer = start(tmp_path, max_minutes=0)
    assert trainer.run() is None
    assert load_checkpoint(tmp_path / "checkpoint.pt").step == 1


def test_bad_checkpoints_are_named(start, tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        start(tmp_path, resume=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        start(tmp_path, resume=True)
    torch.save({"weights": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="not a checkpoint of this program"):
        start(tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(start, start_interpolation, tmp_path):
    start(tmp_path, max_minutes=0).run()
    with pytest.raises(InputError, match="another network \\(reconstruction\\)"):
        start_interpolation(tmp_path, resume=True)


def test_learning_rate_warms_up_and_falls_to_two_percent():
    stage = Stage(steps=1000, size_px=16, warmup_steps=100)
    factors = [learning_rate_factor(stage, step) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01, rel=0.01)
    assert max(factors) > 0.97
    assert factors[-1] == pytest.approx(0.02, abs=0.001)
    assert all(a >= b for a, b in itertools.pairwise(factors[100:]))
