"""One command from a folder of models to a training set."""

from __future__ import annotations

import numpy as np
import pytest

from l4gm.cli.main import main
from l4gm.data.clip import ClipRequest
from l4gm.data.manifest import manifest_rows, read_manifest
from l4gm.data.packed import PackedClips
from l4gm.datagen.motion import EXACT


@pytest.mark.slow
def test_render_and_pack(new_builder, tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    for name, end in (("still", 0.0), ("lively", 1.0)):
        builder = new_builder()
        builder.append("nodes", {"mesh": builder.triangle([[0, 0, 0], [1, 0, 0], [0, 1, 0.5]])})
        builder.animate(0, "translation", [0, 1], [[0, 0, 0], [end, 0, 0]])
        builder.write(models, f"{name}.glb")
    (models / "torn.glb").write_bytes(b"glTF")
    arguments = ["data", "render", str(models), "--size", "32", "--keep-still"]
    arguments += ["--frames", "4", "--fps", "8", "--fixed-views", "4", "--free-views", "1"]
    common = [*arguments, "-o", str(tmp_path / "farm")]
    assert main([*common, "--pack", str(tmp_path / "set")]) == 0
    rows = {row.uid: row for row in manifest_rows(read_manifest(tmp_path / "set"))}
    assert set(rows) == {"still", "lively"}  # two clips of half a second each
    assert rows["still"].motion == pytest.approx(0, abs=1e-6)
    assert rows["lively"].motion > 0.05
    assert rows["lively"].motion_method == EXACT
    request = ClipRequest(size_px=32, num_frames=2, fps=8.0, num_supervision_views=1)
    clip = PackedClips(tmp_path / "set", split=rows["still"].split).clip(0, request)
    assert np.ptp(clip.images[..., 3]) == 255


@pytest.mark.slow
def test_clips_in_which_nothing_moves_are_left_out(new_builder, tmp_path, capsys):
    builder = new_builder()
    builder.append("nodes", {"mesh": builder.triangle()})
    # Half a second of motion, then rest.
    builder.animate(0, "translation", [0, 0.5, 1], [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    builder.write(tmp_path, "resting.glb")
    arguments = ["data", "render", str(tmp_path), "-o", str(tmp_path / "farm"), "--size", "32"]
    arguments += ["--frames", "4", "--fps", "8", "--fixed-views", "4", "--free-views", "1"]
    assert main(arguments) == 0
    assert len(list((tmp_path / "farm" / "clips").rglob("*.tar"))) == 1
    assert "1 clips left out: still" in capsys.readouterr().out
