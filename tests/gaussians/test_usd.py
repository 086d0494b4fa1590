"""USD: read back through Pixar's own library, by its schema's names."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.types import GaussianSequence
from l4gm.gaussians.usd import read_usd, write_usd
from l4gm.gaussians.visible import visible, without_invisible

pxr = pytest.importorskip("pxr", reason='usd-core is not installed (pip install "l4gm[usd]")')
from pxr import Gf, Usd, UsdGeom, UsdVol  # noqa: E402

FIELDS = ("means", "quats", "scales", "opacities", "colors")
C0 = 1 / (2 * math.sqrt(math.pi))


def test_pixars_library_reads_every_frame(tmp_path: Path, clip: GaussianSequence) -> None:
    write_usd(tmp_path / "a.usdc", clip)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert stage.GetTimeCodesPerSecond() == 24.0
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 9)
    splats = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    assert splats
    prim = splats.GetPrim()
    assert prim.GetAttribute("radiance:sphericalHarmonicsDegree").Get() == 0
    assert prim.GetAttribute("positions").GetTimeSamples() == list(range(10))
    for frame in (0, 7):
        g = without_invisible(clip.gaussians[frame])
        # Held until the next frame, never blended with other Gaussians.
        positions = prim.GetAttribute("positions")
        assert positions.Get(frame + 0.6) == positions.Get(frame)
        assert len(positions.Get(frame)) != len(positions.Get(frame + 1))
        values = {name: prim.GetAttribute(name).Get(frame) for name in prim.GetPropertyNames()}
        count = g.num_gaussians
        values = {name: value for name, value in values.items() if value is not None}
        columns = {
            "positions": g.means,
            "scales": g.scales,
            "opacities": g.opacities,
            "radiance:sphericalHarmonicsCoefficients": (g.colors - 0.5) / C0,
        }
        for name, expected in columns.items():
            rows = np.array(values[name])
            assert len(rows) - count in (0, 1)
            np.testing.assert_allclose(rows[:count], expected, rtol=1e-5, atol=1e-6)
        assert (np.array(values["opacities"])[count:] == 0).all()
        quat = values["orientations"][5]
        w, x, y, z = g.quats[5].tolist()
        assert Gf.IsClose(quat.GetImaginary(), Gf.Vec3f(x, y, z), 1e-6)
        assert quat.GetReal() == pytest.approx(w, abs=1e-6)
        low, high = (np.array(corner) for corner in values["extent"])
        assert (low < g.means.numpy().min(0)).all()
        assert (high > g.means.numpy().max(0)).all()


@pytest.mark.parametrize("name", ["a.usd", "a.usdc", "a.usda"])
@pytest.mark.parametrize("up", ["y", "z"])
def test_round_trip(tmp_path: Path, clip: GaussianSequence, name: str, up: str) -> None:
    write_usd(tmp_path / name, clip, up=up)  # type: ignore[arg-type]
    back = read_usd(tmp_path / name)
    assert back.fps == 24.0
    assert back.gaussians.num_gaussians == int(visible(clip.gaussians).sum(-1).max())
    for index in range(len(clip)):
        expected = without_invisible(clip.gaussians[index])
        for field in FIELDS:
            torch.testing.assert_close(
                getattr(back.gaussians[index], field)[: expected.num_gaussians],
                getattr(expected, field),
                atol=1e-6,
                rtol=1e-5,
            )
        assert (back.gaussians.opacities[index, expected.num_gaussians :] == 0).all()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_up_and_scale_are_in_the_stage(tmp_path: Path, clip: GaussianSequence) -> None:
    write_usd(tmp_path / "a.usda", clip, up="z", scale=100.0)
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    positions = np.array(stage.GetDefaultPrim().GetAttribute("positions").Get(0))
    x, y, z = without_invisible(clip.gaussians[0]).means.numpy().T
    positions = positions[: len(x)]
    np.testing.assert_allclose(positions, 100 * np.stack([x, -z, y], -1), atol=1e-4)
    with pytest.raises(InputError, match="up axes y and z, not -y"):
        write_usd(tmp_path / "b.usda", clip, up="-y")


HEAD = '#usda 1.0\n(\n upAxis = "Y"\n)\n'
SPLATS = """def ParticleField3DGaussianSplat "a" {
    point3f[] positions = [(0, 0, 0), (1, 0, 0)]
    half3[] scalesh = [(1, 1, 1), (2, 2, 2)]
    quatf[] orientations = [(1, 0, 0, 0), (0, 1, 0, 0)]
    float[] opacities = [0.5, 0.25]
    int radiance:sphericalHarmonicsDegree = 1
    float3[] radiance:sphericalHarmonicsCoefficients = [
        (1, 0, 0), (9, 9, 9), (9, 9, 9), (9, 9, 9), (0, 1, 0), (9, 9, 9), (9, 9, 9), (9, 9, 9)]
}
"""


def test_stages_of_others(tmp_path: Path) -> None:
    """Still, in half precision, with harmonics."""
    (tmp_path / "a.usda").write_text(HEAD + SPLATS)
    back = read_usd(tmp_path / "a.usda").gaussians
    assert back.means.tolist() == [[[0, 0, 0], [1, 0, 0]]]
    assert back.scales[0, 1].tolist() == [2, 2, 2]
    assert back.quats[0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    torch.testing.assert_close(
        back.colors[0], 0.5 + C0 * torch.tensor([[1.0, 0, 0], [0, 1, 0]]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PXR-USDC", "not a USD file"),
        ("#usda 1.0\n{", "not a USD file"),
        (HEAD + 'def Mesh "a" {}', "meshes, not Gaussians"),
        (HEAD + SPLATS.replace("positions", "other"), "no positions"),
        (HEAD + SPLATS.replace("[0.5, 0.25]", "[0.5]"), "do not fit"),
        (HEAD + SPLATS.replace("(1, 0, 0)]", "(nan, 0, 0)]"), "means are not finite"),
        (HEAD + SPLATS.replace("(1, 0, 0)]", "]"), "do not fit"),
        (
            HEAD
            + SPLATS.replace(
                "half3",
                "double3 xformOp:translate = (1, 0, 0)\nuniform token[] xformOpOrder = "
                '["xformOp:translate"]\nhalf3',
            ),
            "apply their transform",
        ),
    ],
)
def test_hostile_stages(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.usda").write_text(text)
    with pytest.raises(InputError, match=rf"a\.usda.*{message}") as caught:
        read_usd(tmp_path / "a.usda")
    assert "\n" not in str(caught.value)


def test_without_the_library(
    tmp_path: Path, clip: GaussianSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("l4gm.gaussians.usd.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "l4gm\[usd\]"'):
        write_usd(tmp_path / "a.usdc", clip)


@pytest.mark.parametrize(
    "head",
    [
        "#usda 1.0\n(\n subLayers = [@other.usda@]\n)\n",
        '#usda 1.0\ndef "b" (references = @other.usda@) {}\n',
        '#usda 1.0\ndef "b" (payload = @other.usda@</a>) {}\n',
        '#usda 1.0\ndef "b" (clips = {dictionary default = {asset[] assetPaths = [@other.usda@]}})'
        " {}\n",
    ],
    ids=["sublayer", "reference", "payload", "clips"],
)
def test_other_files_are_not_opened(tmp_path: Path, head: str) -> None:
    (tmp_path / "other.usda").write_text(HEAD + SPLATS)
    (tmp_path / "a.usda").write_text(head + SPLATS)
    with pytest.raises(InputError, match="other files; make it one with usdcat --flatten"):
        read_usd(tmp_path / "a.usda")


@pytest.mark.parametrize("rate", ["-3", "0", "inf", "nan"])
def test_impossible_frame_rates(tmp_path: Path, clip: GaussianSequence, rate: str) -> None:
    write_usd(tmp_path / "a.usda", clip)
    text = (tmp_path / "a.usda").read_text()
    assert "timeCodesPerSecond = 24" in text
    text = text.replace("timeCodesPerSecond = 24", f"timeCodesPerSecond = {rate}")
    (tmp_path / "a.usda").write_text(text)
    with pytest.raises(InputError, match=r"a\.usda"):
        read_usd(tmp_path / "a.usda")


def test_a_claimed_degree_of_harmonics_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.usda").write_text(HEAD + SPLATS.replace("Degree = 1", "Degree = 2000000000"))
    with pytest.raises(InputError, match="do not fit each other"):
        read_usd(tmp_path / "a.usda")
