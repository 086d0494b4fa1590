"""`l4gm inspect`: what an asset holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from l4gm.cli.usage import CommonOptions
from l4gm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from l4gm.cli.assets import Asset

EXAMPLES = """
l4gm inspect out/cat                       # a result of reconstruct
l4gm inspect out/cat/frame_0000.ply
l4gm inspect out/cat/sequence.safetensors --json
l4gm inspect out/cat --html cat.html       # pictures and charts on one page
"""

VISIBLE_OPACITY = 0.05  # bounds of what can be seen leave out fainter Gaussians
_STATISTICS_FRAMES = 16  # quantiles are taken over this many frames, evenly spread
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to look at."""

    asset: tyro.conf.Positional[Path]
    """Result folder, folder of frames, or a file: .ply, .splat, .spz, .sog, .glb, .safetensors,
    .l4gm, .usdc."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of a folder of frames that does not say."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of a table."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Also write a page: frames from four sides, histograms, counts by frame."""


def run(options: Options) -> None:
    """Print the figures."""
    from l4gm.cli.assets import open_asset

    if options.html is not None and options.html.suffix.lower() != ".html":
        raise InputError(f"{options.html}: --html writes a page; give a name that ends in .html")
    asset = open_asset(options.asset, fps=options.fps)
    figures = measure(asset)
    if options.html is not None:
        _write_page(options.html, asset, figures)
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    rows = _rows(figures)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def _write_page(path: Path, asset: Asset, figures: dict[str, Any]) -> None:
    from l4gm.cli.inspect_page import write_inspection
    from l4gm.cli.progress import Progress

    with Progress() as progress:
        write_inspection(
            path,
            asset,
            _rows(figures),
            on_picture=lambda done, total: progress("draw", done, total),
        )


def measure(asset: Asset) -> dict[str, Any]:
    """Figures of an asset as plain values; lengths in world units."""
    import torch

    low = torch.full((2, 3), float("inf"))
    high = -low
    for _, gaussians in asset.pieces():
        means = gaussians.means.reshape(-1, 3).float()
        visible = gaussians.opacities.reshape(-1) >= VISIBLE_OPACITY
        for row, points in enumerate((means, means[visible])):
            if len(points):
                low[row] = torch.minimum(low[row], points.amin(0))
                high[row] = torch.maximum(high[row], points.amax(0))
    count = min(_STATISTICS_FRAMES, asset.num_frames)
    indices = torch.linspace(0, asset.num_frames - 1, count).round().long().tolist()
    sample = [asset.frames(index, index + 1) for index in indices]
    opacities = torch.cat([gaussians.opacities.flatten() for gaussians in sample])
    scales = torch.cat([gaussians.scales.flatten() for gaussians in sample])
    return {
        "path": str(asset.path),
        "kind": asset.kind,
        "frames": asset.num_frames,
        "gaussians_per_frame": asset.num_gaussians,
        "fps": asset.fps,
        "seconds": asset.num_frames / asset.fps,
        "bounds": _bounds(low[0], high[0]),
        "visible_bounds": _bounds(low[1], high[1]),
        "visible_share": float(
            (opacities >= VISIBLE_OPACITY).float().sum() / max(len(opacities), 1)
        ),
        "opacity": _quantiles(opacities),
        "scale": _quantiles(scales),
        "bytes": asset.size_bytes,
    }


def _bounds(low: Tensor, high: Tensor) -> list[list[float]] | None:
    """[[x, y, z] low, [x, y, z] high], or None of nothing."""
    if not bool((low <= high).all()):
        return None
    return [[round(value, 4) for value in side.tolist()] for side in (low, high)]


def _quantiles(values: Tensor) -> dict[str, float] | None:
    """Mean and quantiles, or None of nothing."""
    if not len(values):
        return None
    ordered = values.float().sort().values
    places = {
        f"{100 * share:.0f} %": ordered[round(share * (len(ordered) - 1))].item()
        for share in _QUANTILES
    }
    return {"mean": ordered.mean().item(), **places}


def _rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    def span(bounds: list[list[float]] | None) -> str:
        if bounds is None:
            return "none"
        axes = zip("xyz", *bounds, strict=True)
        return ", ".join(f"{axis} {low:.2f} to {high:.2f}" for axis, low, high in axes)

    def spread(values: dict[str, float] | None) -> str:
        if values is None:
            return "none"
        return ", ".join(f"{name} {value:.4f}" for name, value in values.items())

    return [
        ("asset", f"{figures['path']} ({figures['kind']})"),
        ("frames", f"{figures['frames']}"),
        ("Gaussians", f"{figures['gaussians_per_frame']} a frame"),
        ("frame rate", f"{figures['fps']:g} fps ({figures['seconds']:.2f} s)"),
        ("bounds", span(figures["bounds"])),
        (f"opacity >= {VISIBLE_OPACITY}", f"{100 * figures['visible_share']:.1f} % of them"),
        ("their bounds", span(figures["visible_bounds"])),
        ("opacity", spread(figures["opacity"])),
        ("scale", spread(figures["scale"])),
        ("size on disk", f"{figures['bytes'] / 1e6:.1f} MB"),
    ]
