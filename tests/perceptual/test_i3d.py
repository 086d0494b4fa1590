"""I3D against values recorded from the original code on the same random network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.perceptual.i3d import CONSISTENT4D, VIDEOGPT, load_i3d
from l4gm.perceptual.published import I3D_K400

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reading"), [("videogpt", VIDEOGPT), ("consistent4d", CONSISTENT4D)]
)
def test_equals_the_original_code(name, reading, place, random_weights) -> None:
    place(I3D_K400, random_weights.i3d())
    video = 2 * random_weights.pictures(3, 1, 3, 17, 224, 224) - 1
    with torch.no_grad():
        features = load_i3d(reading)(video)
    assert features.shape == (1, 400)
    expected = torch.tensor(RECORDED[f"i3d_{name}"])
    torch.testing.assert_close(features[0, : len(expected)], expected, rtol=1e-4, atol=1e-4)


def test_files_with_training_counters_load_too_and_others_do_not(place, random_weights) -> None:
    tensors = random_weights.i3d()
    place(I3D_K400, tensors | {"Conv3d_1a_7x7.bn.num_batches_tracked": torch.tensor(5)})
    load_i3d()
    tensors["logits.conv3d.bias"] = torch.zeros(600)  # Kinetics-600
    place(I3D_K400, tensors)
    with pytest.raises(InputError, match=r"logits\.conv3d\.bias"):
        load_i3d()


def test_too_few_frames_are_named(place, random_weights) -> None:
    place(I3D_K400, random_weights.i3d())
    with pytest.raises(ValueError, match="T >= 9"):
        load_i3d(VIDEOGPT)(torch.zeros(1, 3, 8, 224, 224))
