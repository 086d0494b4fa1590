"""Imports go downwards only, heavy packages live in one module each, and `import l4gm` is light.

Every import statement under src/l4gm is read from the source, those inside functions and under
TYPE_CHECKING included.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l4gm

ROOT = Path(l4gm.__file__).parent

# From the bottom up. A part imports from itself and from parts further down, never from its
# neighbours on the same row. `errors` and the version may be imported from anywhere.
LAYERS = (
    {"io"},
    {"geometry", "media", "plain"},
    {"gaussians", "multiview"},
    {"splat", "model", "data", "perceptual"},
    {"solid"},
    {"pipeline", "evaluation", "train", "datagen", "viewer", "meshes"},
    {"files", "bench", "ablation"},
    {"cli"},
)
RANK = {part: rank for rank, row in enumerate(LAYERS) for part in row}

# Exceptions on one row, each one way only: the trainer renders and scores its own clips, and shows
# the interpolation network what the pipeline will show it.
SIDEWAYS = {("train", "evaluation"), ("train", "pipeline"), ("train", "datagen")}

# The one exception upwards: what loads weights by name knows every network.
UPWARDS = {("l4gm.model.sources", "l4gm.solid.model")}

# Where each heavy package may be imported.
HEAVY = {
    "accelerate": {"l4gm.train.processes"},
    "tensorboard": {"l4gm.train.records"},
    "av": {"l4gm.media.decoding", "l4gm.media.video"},
    "plyfile": {"l4gm.gaussians.ply"},
    "pyarrow": {"l4gm.data.manifest", "l4gm.datagen.objaverse"},
    "fsspec": {"l4gm.data.storage"},
    "cv2": {"l4gm.media.distance", "l4gm.media.flow", "l4gm.media.vision"},
    "huggingface_hub": {"l4gm.model.sources", "l4gm.multiview.hub"},
    "pxr": {"l4gm.gaussians.usd", "l4gm.gaussians.usd_worker", "l4gm.meshes.usd"},
    "fourdgs": {"l4gm.gaussians.fourdgs_file"},
    "zstandard": {"l4gm.gaussians.spz"},
    "onnxruntime": {"l4gm.media.segmenter"},
    "gsplat": {"l4gm.splat.gsplat_backend"},
    "diffusers": {"l4gm.multiview.imagedream_parts"},
    "transformers": {"l4gm.multiview.imagedream_parts"},
    "ray": {"l4gm.datagen.farm_ray"},
    "objaverse": {"l4gm.datagen.objaverse"},
    "bpy": {"l4gm.datagen.blender_scene", "l4gm.datagen.blender_worker"},
}
# Those nothing here needs so far; a module that starts to use one is entered above.
UNUSED = {"viser", "torchvision", "gradio"}

PUBLIC_NAMES = {
    "Gaussians",
    "GaussianSequence",
    "Cameras",
    "orbit_cameras",
    "render",
    "L4GM",
    "L4GMConfig",
    "VideoTo4D",
    "load",
    "save",
}


def module_name(path: Path) -> str:
    parts = ("l4gm", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import; the name is empty for `import module`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, module, alias.name) for alias in node.names)


def all_imports() -> list[tuple[str, int, str, str]]:
    """(importing module, line, module, name) over the whole package."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for line, module, name in imports_of(path.read_text()):
            found.append((module_name(path), line, module, name))
    return found


def part_of(module: str) -> str:
    """The part of the package: l4gm.splat.render -> splat, l4gm.files -> files, l4gm -> ""."""
    return [*module.split("."), ""][1]


def layer_fault(importer: str, module: str, name: str) -> str | None:
    """What is wrong with an import, or None."""
    if module.startswith("."):
        return "relative import; write the whole name"
    if module.split(".")[0] != "l4gm" or importer in ("l4gm", "l4gm.__main__"):
        return None
    if module == "l4gm":
        return None if name in ("", "__version__") else f"import {name} from where it is defined"
    source, target = part_of(importer), part_of(module)
    if target == "errors" or source == target or (source, target) in SIDEWAYS:
        return None
    if (importer, module) in UPWARDS:
        return None
    if source not in RANK or target not in RANK:
        return f"{source or importer} or {target} is in no layer"
    if RANK[target] >= RANK[source]:
        return f"{source} must not import {target}"
    return None


def may_import_numba(module: str) -> bool:
    """Numba is for kernels: a package `kernels`, or a module whose name says so."""
    parts = module.split(".")
    return "kernels" in parts or parts[-1].endswith("_kernels")


def may_import_triton(module: str) -> bool:
    """Triton is for its backend: the module and the package of kernels that are named after it."""
    return any(part.startswith("triton_") for part in module.split("."))


def test_imports_go_downwards_only() -> None:
    faults = [
        f"{importer}:{line}: {fault}"
        for importer, line, module, name in all_imports()
        if (fault := layer_fault(importer, module, name))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("importer", "module", "name", "is_fault"),
    [
        ("l4gm.splat.render", "l4gm.gaussians.types", "Gaussians", False),
        ("l4gm.gaussians.types", "l4gm.splat.render", "render", True),
        ("l4gm.splat.render", "l4gm.model.l4gm", "L4GM", True),
        ("l4gm.geometry.cameras", "l4gm.errors", "InputError", False),
        ("l4gm.pipeline.prepare", "l4gm", "VideoTo4D", True),
        ("l4gm.cli.main", "l4gm", "__version__", False),
        ("l4gm.pipeline.prepare", ".frames", "x", True),
        ("l4gm.viewer.player", "l4gm.files", "load", True),
        ("l4gm.newpart.x", "l4gm.geometry.rays", "x", True),
        ("l4gm.solid.model", "l4gm.model.attention", "Grid", False),
        ("l4gm.model.sources", "l4gm.solid.model", "SolidModel", False),
        ("l4gm.model.weights", "l4gm.solid.model", "SolidModel", True),
    ],
)
def test_the_layer_rule_itself(importer: str, module: str, name: str, is_fault: bool) -> None:
    assert bool(layer_fault(importer, module, name)) == is_fault


def test_imports_inside_functions_are_seen() -> None:
    source = "def f():\n    if True:\n        from l4gm.cli.main import main\n    import av\n"
    assert sorted(imports_of(source)) == [(3, "l4gm.cli.main", "main"), (4, "av", "")]


def test_heavy_packages_are_imported_in_one_module_each() -> None:
    faults = []
    for importer, line, module, _ in all_imports():
        package = module.split(".")[0]
        if package == "numba" and not may_import_numba(importer):
            faults.append(f"{importer}:{line}: numba outside a kernels module")
        if package == "triton" and not may_import_triton(importer):
            faults.append(f"{importer}:{line}: triton outside its backend")
        if package in HEAVY and importer not in HEAVY[package]:
            faults.append(f"{importer}:{line}: {package} belongs in {sorted(HEAVY[package])}")
        if package in UNUSED:
            faults.append(f"{importer}:{line}: {package} has no home yet (HEAVY in this test)")
    assert not faults, "\n".join(faults)


def test_what_runs_inside_blender_needs_nothing_else() -> None:
    """Blender's Python has the standard library, NumPy and bpy; of ours only the clip's layout."""
    inside = {
        f"l4gm.datagen.{name}"
        for name in ("blender_worker", "blender_scene", "blender_gltf", "farm_serve")
    }
    allowed = inside | {"l4gm.data.layout", "numpy", "bpy", "mathutils"}
    faults = [
        f"{importer}:{line}: {module}"
        for importer, line, module, _ in all_imports()
        if importer in inside
        and module not in allowed
        and module.split(".")[0] not in {*sys.stdlib_module_names, "numpy"}
    ]
    assert not faults, "\n".join(faults)


def test_importing_the_package_is_fast_and_light() -> None:
    """Best of three fresh interpreters, seconds of CPU beyond Python's own start."""
    code = (
        "import sys, time; start = time.process_time(); import l4gm; "
        "took = time.process_time() - start; "
        "heavy = {'torch', 'numpy', 'numba', 'av', 'PIL'} & set(sys.modules); "
        "print(took, ','.join(sorted(heavy)) or 'none')"
    )
    seconds = []
    for _ in range(3):
        output = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        took, heavy = output.split()
        assert heavy == "none"
        seconds.append(float(took))
    assert min(seconds) < 0.2


def test_public_names() -> None:
    """The ten names of the public surface, each of which resolves to what its home defines."""
    assert set(l4gm.__all__) - {"__version__"} == PUBLIC_NAMES
    for name in sorted(PUBLIC_NAMES):
        assert getattr(l4gm, name).__name__ == name
    assert set(dir(l4gm)) >= PUBLIC_NAMES
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        l4gm.nothing  # noqa: B018
