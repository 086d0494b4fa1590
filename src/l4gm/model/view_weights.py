"""Weight files of the small generator of views: as those of the other networks, by another key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from l4gm.errors import InputError
from l4gm.model.weights import (
    check_names,
    model_shapes,
    parsed_config,
    read_header,
    read_tensors,
    save_weights,
)
from l4gm.multiview.side_views import SideViewConfig, SideViewNet

VIEWS_NAME = "multiview.safetensors"
"""The file's name in a model folder."""

_CONFIG_KEY = "multiview_config"


def save_view_network(
    network: SideViewNet,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write its weights, float16, and its config; see `weights.save_weights`."""
    save_weights(network, path, metadata=metadata, config_key=_CONFIG_KEY)


def load_view_network(
    path: str | os.PathLike[str], *, device: str | torch.device = "cpu"
) -> SideViewNet:
    """The network of a weight file, in float32, ready for inference.

    Args:
        path: a `.safetensors` file, or a folder that holds `multiview.safetensors`.
        device: where to put it.

    Raises:
        InputError: the file is missing, damaged, a pickle, of another network, or holds values
            that are not finite.
    """
    path = Path(path)
    if path.is_dir():
        path = path / VIEWS_NAME
    header = read_header(path)
    text = header.metadata.get(_CONFIG_KEY)
    if text is None:
        raise InputError(
            f"weights {path} are not those of a generator of views (no {_CONFIG_KEY} in the "
            f"metadata); expected a {VIEWS_NAME} of l4gm train multiview"
        )
    config = parsed_config(text, f"the metadata of {path}", SideViewConfig.from_dict)
    network = SideViewNet(config)
    check_names(model_shapes(network), header.shapes, path)
    network.load_state_dict(read_tensors(path))
    return network.to(device).eval().requires_grad_(False)
