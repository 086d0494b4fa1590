"""Connected regions, against a flood fill pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from l4gm.media.components import border, connected_to, label_components


def flood_fill(mask: np.ndarray) -> np.ndarray:
    labels = np.zeros(mask.shape, int)
    number = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        number += 1
        labels[start] = number
        stack = [start]
        while stack:
            row, column = stack.pop()
            for y, x in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
                if inside and mask[y, x] and not labels[y, x]:
                    labels[y, x] = number
                    stack.append((y, x))
    return labels


@pytest.mark.parametrize("seed", range(60))
def test_labels_and_areas_are_those_of_a_flood_fill(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 24, size=2)) < random.uniform(0.2, 0.9)
    expected = flood_fill(mask)
    labels, areas = label_components(mask)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(areas, np.bincount(expected.ravel()))


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks(value: bool) -> None:
    labels, areas = label_components(np.full((5, 7), value))
    assert (labels == int(value)).all()
    assert areas.tolist() == ([0, 35] if value else [35])


def test_a_spiral_is_one_region() -> None:
    mask = np.ones((41, 41), bool)
    for ring in range(0, 18, 2):  # walls with one gap each, on alternating sides
        low, high = ring + 1, 39 - ring
        mask[low, low : high + 1] = mask[high, low : high + 1] = False
        mask[low : high + 1, low] = mask[low : high + 1, high] = False
        mask[20, low if ring % 4 else high] = True
    assert label_components(mask)[0].max() == 1


def test_connected_to_the_border_leaves_enclosed_regions_out() -> None:
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    reached = connected_to(mask, border(9, 9))
    assert not reached[4, 4]
    assert reached.sum() == mask.sum() - 1
