"""The picture for CLIP, against transformers' own processor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.multiview.clip_image import ClipPreprocessing


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (224, 224)),
        ({"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}, (40, 32)),
        ({"size": 40, "crop_size": 32}, (40, 32)),
    ],
)
def test_reads_old_and_new_settings(
    tmp_path: Path, settings: dict, expected: tuple[int, int]
) -> None:
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(settings))
    preprocessing = ClipPreprocessing.read(path)
    assert (preprocessing.resize_px, preprocessing.crop_px) == expected
    assert preprocessing(torch.ones(3, 50, 50)).shape == (1, 3, expected[1], expected[1])


@pytest.mark.parametrize("size", [100, 224, 300])
def test_matches_transformers(size: int) -> None:
    transformers = pytest.importorskip("transformers")
    names = ("CLIPImageProcessorPil", "CLIPImageProcessor")  # of newer and of older versions
    kind = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(size))
    pixels = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    expected = torch.as_tensor(kind()(pixels, return_tensors="pt").pixel_values)
    torch.testing.assert_close(ClipPreprocessing()(image), expected, rtol=0, atol=1e-5)
