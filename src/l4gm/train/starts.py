"""The weights that a run begins with."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import initialize_from_lgm, load_model, read_header
from l4gm.train.presets import TrainConfig


def starting_weights(config: TrainConfig, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Weights of an earlier network for a run's own.

    A file without temporal layers (LGM's, or of a network of single frames) initialises all the
    others; the temporal ones start as in a new network (paper section 4.2).

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    header = read_header(path)
    wants_time = config.model.temporal_attention
    if wants_time and not any(".t_attns." in name for name in header.shapes):
        torch.manual_seed(config.seed)
        model = L4GM(config.model)
        initialize_from_lgm(model, path)
        return model.state_dict()
    model = load_model(path, config=config.model)
    if model.config != config.model:
        raise InputError(
            f"weights {os.fspath(path)}: of another network than the preset's; choose the preset "
            "that they were trained with"
        )
    return model.state_dict()
