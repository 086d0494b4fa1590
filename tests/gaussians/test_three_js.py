"""Files of one set, read by three.js's own loaders of splats (tools/node.sh installs it)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from l4gm.gaussians.still_formats import STILL_FORMATS
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.rotations import matrix_from_quat

READ = """
globalThis.self = globalThis;
const fs = require('fs');
const [file, kind] = process.argv.slice(1);
const addons = name => import('three/examples/jsm/loaders/' + name + '.js');
const loaders = {
    ply: 'GaussianSplatPLYLoader', splat: 'SPLATLoader', spz: 'SPZLoader', glb: 'GLTFLoader',
};
(async () => {
    const module = await addons(loaders[kind]);
    const loader = new module[loaders[kind]]();
    const bytes = fs.readFileSync(file);
    const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    let geometry = null;
    if (kind === 'spz') {
        geometry = await new Promise((done, fail) => loader.parse(data, done, fail));
    } else if (kind === 'glb') {
        const { GLTFGaussianSplatLoaderExtension: Extension } =
            await addons('GLTFGaussianSplatLoaderExtension');
        loader.register(parser => new Extension(parser));
        const gltf = await loader.parseAsync(data, '');
        gltf.scene.traverse(node => {
            if (node.isGaussianSplat) geometry = node.splatGeometry;
        });
    } else {
        geometry = loader.parse(data);
    }
    const array = name => Array.from(geometry.getAttribute(name).array);
    console.log(JSON.stringify({
        means: array('position'), covariances: array('covariance'), colors: array('color'),
    }));
    process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
"""


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("ply", None), ("ply", "full"), ("splat", None), ("spz", None), ("spz", "v4"), ("glb", None)],
)
def test_three_js_reads_ours(
    tmp_path: Path,
    clip: GaussianSequence,
    node_modules: Path,
    kind: str,
    layout: str | None,
) -> None:
    """Places, shapes as covariances, and colours."""
    if not (node_modules / "three").is_dir():
        pytest.skip("no three.js (tools/node.sh installs it)")
    one = clip.gaussians[3].map(lambda tensor: tensor[:200].clone())
    path = tmp_path / f"a{STILL_FORMATS[kind].suffix}"
    STILL_FORMATS[kind].writer(layout)(path, one)
    done = subprocess.run(
        ["node", "-e", READ, "--", str(path), kind],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=node_modules.parent,
    )
    assert done.returncode == 0, done.stderr
    found = {name: torch.tensor(values) for name, values in json.loads(done.stdout).items()}
    ours = STILL_FORMATS[kind].read(path)
    torch.testing.assert_close(found["means"].reshape(-1, 3), ours.means, atol=1e-5, rtol=0)
    size = ours.scales.amax(-1).square()[:, None]
    apart = found["covariances"].reshape(-1, 6) - covariances(ours)
    assert (apart.abs() / size).max() < 0.03
    rgba = torch.cat([ours.colors, ours.opacities[:, None]], -1)
    torch.testing.assert_close(found["colors"].reshape(-1, 4) / 255, rgba, atol=1.01 / 255, rtol=0)


def covariances(gaussians: Gaussians) -> torch.Tensor:
    """[N, 6]: xx, xy, xz, yy, yz, zz."""
    axes = matrix_from_quat(gaussians.quats) * gaussians.scales[:, None]
    whole = axes @ axes.mT
    return torch.stack([whole[:, i, j] for i in range(3) for j in range(i, 3)], -1)
