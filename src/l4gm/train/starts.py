"""The weights that a run begins with."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from l4gm.model.l4gm import L4GM
from l4gm.model.weights import config_of, initialize_from_lgm, load_model, read_header
from l4gm.solid.config import SolidConfig
from l4gm.solid.model import SolidModel
from l4gm.train.checkpoints import load_newest
from l4gm.train.config import TrainConfig

logger = logging.getLogger(__name__)


def with_network_of(config: TrainConfig, path: str | os.PathLike[str]) -> TrainConfig:
    """A run of the network that a weight file says it is of; of the preset's where it says nothing.

    A file of single frames (LGM's) leaves the temporal attention to the preset.
    """
    if isinstance(config.model, SolidConfig):
        return replace(config, model=SolidModel.load(path).config)
    found = config_of(read_header(path))
    if found is None or found == config.model:
        return config
    if not found.temporal_attention:
        found = replace(found, temporal_attention=config.paper_model.temporal_attention)
    logger.info("the network is that of %s, not the preset's", os.fspath(path))
    return replace(config, model=found)


def as_resumed(config: TrainConfig, folder: Path) -> TrainConfig:
    """A run of the network that the folder's newest checkpoint is of."""
    before = TrainConfig.from_dict(load_newest(folder, mmap=True).config)
    return replace(config, model=before.model) if before.network == config.network else config


def starting_weights(config: TrainConfig, path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Weights of an earlier network for a run's own.

    A file without temporal layers (LGM's, or of a network of single frames) initialises all the
    others; the temporal ones start as in a new network (paper section 4.2).

    Args:
        config: of the run, from `with_network_of`.

    Raises:
        InputError: the file is missing, damaged, or of another network.
    """
    if isinstance(config.model, SolidConfig):
        return SolidModel.load(path).network.state_dict()
    header = read_header(path)
    wants_time = config.paper_model.temporal_attention
    if wants_time and not any(".t_attns." in name for name in header.shapes):
        torch.manual_seed(config.seed)
        model = L4GM(config.paper_model)
        initialize_from_lgm(model, path)
        return model.state_dict()
    return load_model(path, config=config.paper_model).state_dict()
