from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg

from l4gm.evaluation.video_distance import frechet_distance, fvd_consistent4d, video_rasters


def textbook_distance(a: np.ndarray, b: np.ndarray) -> float:
    """With a matrix square root, as the usual codes have it."""
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s1 @ s2)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(shift + np.trace(s1) + np.trace(s2) - 2 * np.trace(root.real))


def test_equals_the_textbook_where_covariances_have_full_rank() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    b = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 1
    found = frechet_distance(torch.from_numpy(a), torch.from_numpy(b))
    assert found == pytest.approx(textbook_distance(a, b), rel=1e-6)


def test_closed_form_of_normal_distributions_along_an_axis() -> None:
    """Means 0 and 3, standard deviations 1 and 2: 3^2 + (1 - 2)^2 a dimension."""
    unit = torch.tensor([-1.0, 1.0]) / 2**0.5  # variance 1 with n - 1
    features = unit[:, None].repeat(1, 400).double()
    assert frechet_distance(features, 2 * features + 3) == pytest.approx(400 * 9 + 400)


def test_fewer_videos_than_features_still_give_zero_for_equal_sets() -> None:
    features = torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-8)
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(features[:1], features)


def test_the_benchmarks_fvd_is_what_its_script_computes() -> None:
    """Its formulas step by step: the mean of one vector is itself; NumPy before 2.2 took the one
    row as observations of one variable, so the covariance was one number."""
    rng = np.random.default_rng(1)
    pred, gt = rng.normal(size=(3, 400)), 2 * rng.normal(size=(3, 400)) + 1
    found = fvd_consistent4d(torch.from_numpy(pred), torch.from_numpy(gt))
    for index in range(3):
        sigma1, sigma2 = np.cov(pred[index]), np.cov(gt[index])
        root = linalg.sqrtm(np.atleast_2d(sigma1).dot(np.atleast_2d(sigma2)))
        expected = ((pred[index] - gt[index]) ** 2).sum() + sigma1 + sigma2 - 2 * root.item()
        assert found[index].item() == pytest.approx(expected, rel=1e-9)


def test_ways_through_views_and_frames() -> None:
    videos = np.zeros((3, 4, 1, 1, 3), np.uint8)
    videos[..., 0] = 10 * np.arange(3)[:, None, None, None] + np.arange(4)[:, None, None]
    ways = {
        name: [raster[:, 0, 0, 0].tolist() for raster in rasters]
        for name, rasters in video_rasters(videos).items()
    }
    assert ways["frames"] == [[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]]
    assert ways["views"] == [[0, 10, 20], [1, 11, 21], [2, 12, 22], [3, 13, 23]]
    assert ways["diagonal"] == [[0, 11, 22, 3], [10, 21, 2, 13], [20, 1, 12, 23]]
    assert ways["4d"] == [[0, 1, 2, 3, 13, 12, 11, 10, 20, 21, 22, 23]]
