"""Two processes on the CPU, by gloo, against one with the same batches."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from l4gm.train.checkpoints import load_newest
from l4gm.train.config import Stage
from l4gm.train.presets import debug_preset

PROGRAM = """
    import dataclasses, importlib.util, json, pathlib, sys
    spec = importlib.util.spec_from_file_location("t", {conftest!r})
    t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)
    from torch.distributed.fsdp import fully_shard
    from l4gm.model.attention import GridAttention
    from l4gm.model.unet import ResidualBlock
    from l4gm.train.optimization import make_optimizer
    from l4gm.train.config import TrainConfig
    from l4gm.train.processes import Together, find_processes

    class Sharded(Together):
        # accelerate shards on GPUs only; this is what its FSDP 2 does there.
        def __init__(self):
            super().__init__(on_cpu=True)
            self.shards = True

        def prepare(self, model, optimizer):
            for block in model.modules():
                if isinstance(block, ResidualBlock | GridAttention):
                    fully_shard(block)
            fully_shard(model)
            return model, make_optimizer(model, config)

    config = TrainConfig.from_dict(json.loads({config!r}))
    processes = Sharded() if {sharded} else find_processes("cpu")
    assert processes.count == 2
    trainer = t.start_run(pathlib.Path({folder!r}), config=config, processes=processes, **{options})
    sharded = any(hasattr(weight, "full_tensor") for weight in trainer.model.parameters())
    assert sharded == {sharded}
    trainer.run()
"""


def shared_config():
    """A few steps of four clips each; every loss term included."""
    stages = (
        Stage(steps=3, size_px=16, batch_size=4, num_clips=6, warmup_steps=1),
        Stage(steps=3, size_px=16, num_frames=2, batch_size=4, num_clips=6, warmup_steps=1),
    )
    return dataclasses.replace(debug_preset(), stages=stages, perceptual_weight=0.1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_two(folder, config, *, sharded=False, **options):
    """Train in two processes, as a launcher would start them."""
    program = textwrap.dedent(PROGRAM).format(
        conftest=str(Path(__file__).with_name("conftest.py")),
        config=json.dumps(config.to_dict()),
        folder=str(folder),
        options=options,
        sharded=sharded,
    )
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs


def assert_equal_runs(one, other):
    for kind in ("weights", "ema"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(theirs[name], value, atol=1e-5, rtol=0, msg=name)
    assert other.losses == pytest.approx(one.losses, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("sharded", "micro_batches"), [(False, 2), (True, 1)])
def test_two_processes_are_one_with_twice_the_batch(start, tmp_path, sharded, micro_batches):
    pytest.importorskip("accelerate")
    config = shared_config()
    start(tmp_path / "one", config=config).run()
    run_two(tmp_path / "two", config, sharded=sharded, micro_batches=micro_batches)
    assert_equal_runs(load_newest(tmp_path / "one"), load_newest(tmp_path / "two"))
    assert (tmp_path / "two" / "recon.safetensors").exists()
    lines = [(tmp_path / name / "log.jsonl").read_text().count("\n") for name in ("one", "two")]
    assert lines[0] == lines[1]  # the second process writes nothing
