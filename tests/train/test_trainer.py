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
from l4gm.train.checkpoints import checkpoint_paths, load_checkpoint, load_newest
from l4gm.train.config import Stage
from l4gm.train.optimization import (
    MAX_SKIPPED_IN_A_ROW,
    SPIKE_FACTOR,
    SPIKE_MEMORY,
    StepJudge,
    learning_rate_factor,
)
from l4gm.train.presets import debug_preset


def test_a_run_ends_with_weights_that_the_pipeline_reads(start, discs, tmp_path):
    path = start(tmp_path, validation=discs).run()
    assert path == tmp_path / "recon.safetensors"
    model = load_model(path)
    assert isinstance(model, L4GM)
    assert model.config == debug_preset().model
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 8))
    assert {"psnr", "gain"} <= set(lines[-1])
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
    trainer.judge.skipped_in_a_row = MAX_SKIPPED_IN_A_ROW - 1
    with pytest.raises(FloatingPointError, match="in a row"):
        trainer.run()


def test_a_step_whose_output_is_not_finite_is_skipped(start, tmp_path, caplog):
    trainer = start(tmp_path)
    calls = []

    def spoil(module, given, features):
        calls.append(None)
        return features * math.nan if len(calls) == 2 else features

    trainer.model.conv.register_forward_hook(spoil)
    trainer.run()
    assert "step 2 skipped: its loss is not finite" in caplog.text
    assert caplog.text.count("skipped") == 1
    assert trainer.step == trainer.config.total_steps
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path):
    program = f"""
        import dataclasses, importlib.util, pathlib
        path = {str(Path(__file__).with_name("conftest.py"))!r}
        spec = importlib.util.spec_from_file_location("t", path)
        t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
        from l4gm.train.config import Stage
        stage = Stage(steps=100000, size_px=16, num_clips=2)
        config = dataclasses.replace(t.debug_preset(), stages=(stage,))
        folder = pathlib.Path({str(tmp_path / "run")!r})
        t.start_run(folder, config=config, checkpoint_minutes=0).run()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    deadline = time.monotonic() + 120
    while len(checkpoint_paths(tmp_path / "run")) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert load_newest(tmp_path / "run").step >= 2


def test_a_time_limit_stops_with_a_checkpoint(start, tmp_path):
    trainer = start(tmp_path, max_minutes=0)
    assert trainer.run() is None
    assert load_newest(tmp_path).step == 1


def test_bad_checkpoints_are_named(start, tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        start(tmp_path, resume=True)
    path = tmp_path / "checkpoint_00000007.pt"
    path.write_bytes(b"rubbish")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        start(tmp_path, resume=True)
    torch.save({"weights": {}}, path)
    with pytest.raises(InputError, match="not a checkpoint of this program"):
        start(tmp_path, resume=True)
    (tmp_path / "checkpoint_00000003.pt").touch()
    with pytest.raises(InputError, match="delete it to go on from checkpoint_00000003"):
        start(tmp_path, resume=True)


def test_the_newest_checkpoints_stay(start, tmp_path):
    start(tmp_path, checkpoint_minutes=0, keep_checkpoints=3).run()
    steps = [load_checkpoint(path).step for path in checkpoint_paths(tmp_path)]
    assert steps == [7, 6, 5]


def test_a_checkpoint_of_another_network_is_refused(start, start_interpolation, tmp_path):
    start(tmp_path, max_minutes=0).run()
    with pytest.raises(InputError, match="another network \\(reconstruction\\)"):
        start_interpolation(tmp_path, resume=True)


def test_a_checkpoint_holds_everything(start, tmp_path):
    trainer = start(tmp_path)
    trainer.run()
    kept = load_newest(tmp_path)
    assert kept.step == 7
    assert kept.losses == list(trainer.judge.losses)
    assert torch.equal(kept.random["cpu"], torch.get_rng_state())
    assert kept.weights.keys() == kept.ema.keys() == trainer.model.state_dict().keys()
    assert len(kept.optimizer["state"]) == len(list(trainer.model.parameters()))


def test_micro_batches_give_the_gradients_of_the_whole_batch(start, tmp_path):
    stage = Stage(steps=3, size_px=16, batch_size=4, num_clips=4)
    config = dataclasses.replace(debug_preset(), stages=(stage,), perceptual_weight=0.1)
    whole = start(tmp_path / "whole", config=config)
    parts = start(tmp_path / "parts", config=config, micro_batches=4)
    terms = {}
    whole.on_step = lambda step, values: terms.setdefault(step, [values])
    whole.run()
    parts.on_step = lambda step, values: terms[step].append(values)
    parts.run()
    for one, other in terms.values():
        assert one == pytest.approx(other, rel=1e-5)
    with pytest.raises(InputError, match="dealt out evenly"):
        start(tmp_path, config=config, micro_batches=3)


def test_checkpointed_activations_change_nothing(start, tmp_path):
    runs = [start(tmp_path / str(way), checkpoint_activations=way) for way in (False, True)]
    for trainer in runs:
        trainer.run()
    weights = [trainer.model.state_dict() for trainer in runs]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_bfloat16_trains_and_keeps_float32_weights(start, tmp_path):
    config = dataclasses.replace(debug_preset(), precision="bfloat16")
    trainer = start(tmp_path, config=config)
    trainer.run()
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    assert all(math.isfinite(loss) for loss in trainer.judge.losses)


def test_a_loss_spike_is_named_and_skipped():
    judge = StepJudge([1.0, 2.0] * (SPIKE_MEMORY // 2))
    assert judge.fault(10.0, 1.0) is None
    reason = judge.fault(2.01 * SPIKE_FACTOR, 1.0)
    assert reason is not None
    assert "above 8 times the median" in reason
    assert judge.fault(math.nan, 1.0) == "its loss is not finite"
    assert judge.fault(1.0, math.inf) == "its gradient is not finite"
    assert (judge.skipped, judge.skipped_in_a_row) == (3, 3)
    assert judge.fault(1.0, 1.0) is None
    assert judge.skipped_in_a_row == 0
    assert max(judge.losses) == 10.0  # what was skipped is not remembered


def test_the_one_cycle_schedule_is_torchs():
    stage = Stage(steps=50, size_px=16, warmup_steps=15, schedule="one cycle", learning_rate=0.3)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.3)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=50, pct_start=15 / 50, cycle_momentum=False
    )
    for step in range(50):
        rate = stage.learning_rate * learning_rate_factor(stage, step)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < 49:
            torchs.step()


def test_learning_rate_warms_up_and_falls_to_two_percent():
    stage = Stage(steps=1000, size_px=16, warmup_steps=100)
    factors = [learning_rate_factor(stage, step) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01, rel=0.01)
    assert max(factors) > 0.97
    assert factors[-1] == pytest.approx(0.02, abs=0.001)
    assert all(a >= b for a, b in itertools.pairwise(factors[100:]))
