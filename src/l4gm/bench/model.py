"""The network alone: one forward pass, against a plain implementation of the same network."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from l4gm.bench.results import Row
from l4gm.bench.timing import matmul_rate, take_turns
from l4gm.errors import InputError
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.allocator import keep_large_buffers
from l4gm.model.attention import Grid
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM

NUM_VIEWS = 4


def random_big() -> L4GM:
    """The released network with random weights: its speed is that of the trained one."""
    torch.manual_seed(0)
    return L4GM(L4GMConfig.big()).eval()


def forward_flops(config: L4GMConfig, num_frames: int) -> int:
    """Floating-point operations of one forward pass with four views, by the layers' definition.

    Multiplications and additions count one each; faster algorithms do not lower the count.
    """
    with torch.device("meta"):
        model = L4GM(config)
        maps = torch.empty(num_frames * NUM_VIEWS, 9, config.input_size, config.input_size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.conv(model.unet(maps, Grid(num_frames, NUM_VIEWS)))
    return counter.get_total_flops()


def load_plain(folder: Path, network: L4GM) -> nn.Module:
    """The plain implementation in a folder `benchmarks/plain`, with the network's weights.

    Raises:
        InputError: if it is not there.
    """
    path = folder / "network.py"
    if not path.is_file():
        raise InputError(f"--plain {folder}: no network.py there; give benchmarks/plain")
    spec = importlib.util.spec_from_file_location("l4gm_plain_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with torch.device("meta"):
        plain: nn.Module = module.PlainNetwork(network.config)
    # Its memory layout is NCHW, as published.
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    plain.load_state_dict(tensors, assign=True)
    return plain.eval()


@torch.inference_mode()
def bench_model(
    name: str, network: L4GM, num_frames: int, *, repeats: int = 3, plain: nn.Module | None = None
) -> list[Row]:
    """Time one forward pass up to the features, in the network's device and precision.

    Args:
        name: of the network, for the table.
        network: in evaluation mode.
        num_frames: T.
        repeats: runs that count.
        plain: competes where it is given, and is compared with.
    """
    weight = network.conv.weight
    size = network.config.input_size
    images = torch.rand(
        1, num_frames, NUM_VIEWS, 3, size, size, generator=torch.Generator().manual_seed(0)
    )
    cameras = orbit_cameras([0, 90, 180, 270], size=size)
    channels = network.prepare(images.to(weight.device), cameras).to(weight.dtype)

    def ours() -> Tensor:
        keep_large_buffers()  # as the command line does
        return network.features(channels, num_frames, NUM_VIEWS)

    def theirs() -> Tensor:
        keep_large_buffers(False)
        assert plain is not None
        return plain(channels, num_frames, NUM_VIEWS)

    competitors: dict[str, Callable[[], Tensor]] = {"l4gm": ours}
    error = None
    if plain is not None:
        competitors["plain"] = theirs
        # Serves as warm-up too.
        given, expected = (function().float() for function in competitors.values())
        error = ((given - expected).norm() / expected.norm()).item()
    timings = take_turns(competitors, weight.device, repeats=repeats, warm_up=int(plain is None))
    flops = forward_flops(network.config, num_frames)
    peak = matmul_rate(weight.device, weight.dtype)
    rows = []
    for competitor, timing in timings.items():
        figures = {
            "seconds": timing.seconds,
            "processor seconds": timing.processor_seconds,
            "GFLOP": flops / 1e9,
            "% of peak": 100 * flops / timing.least_seconds / peak,
        }
        if timing.peak_bytes is not None:
            figures["MiB above weights"] = timing.peak_bytes / 2**20
        if error is not None and competitor != "plain":
            plain_timing = timings["plain"]
            figures["x plain"] = plain_timing.least_seconds / timing.least_seconds
            figures["x plain, processor"] = (
                plain_timing.processor_seconds / timing.processor_seconds
            )
            figures["relative error"] = error
        case = f"{name} T={num_frames} {str(weight.dtype).removeprefix('torch.')}"
        rows.append(Row(case=case, competitor=competitor, figures=figures))
    return rows
