"""Weight files of our own helpers: as those of the other networks, each by another key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from l4gm.errors import InputError
from l4gm.model.motion import MotionConfig, MotionNet
from l4gm.model.weights import (
    check_names,
    model_shapes,
    parsed_config,
    read_header,
    read_tensors,
    save_weights,
)
from l4gm.multiview.side_views import SideViewConfig, SideViewNet

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class OwnNetwork(Generic[C, N]):
    """A kind of network beside `L4GM`.

    Args:
        name: of the network, as `l4gm train` takes it.
        title: for messages.
        read_config: its config of plain values; raises InputError.
        build: the network of a config.
    """

    name: str
    title: str
    read_config: Callable[[Mapping[str, Any]], C]
    build: Callable[[C], N]

    @property
    def file_name(self) -> str:
        """Of the weights in a model folder."""
        return f"{self.name}.safetensors"

    @property
    def config_key(self) -> str:
        """Metadata of the weight file that hold the config."""
        return f"{self.name}_config"

    def save(
        self, network: N, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write weights, float16, and config; see `weights.save_weights`."""
        save_weights(network, path, metadata=metadata, config_key=self.config_key)

    def load(self, path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> N:
        """The network of a weight file, in float32, ready for inference.

        Args:
            path: a `.safetensors` file, or a folder that holds one of this kind's name.
            device: where to put it.

        Raises:
            InputError: the file is missing, damaged, a pickle, of another network, or holds values
                that are not finite.
        """
        path = Path(path)
        if path.is_dir():
            path = path / self.file_name
        header = read_header(path)
        text = header.metadata.get(self.config_key)
        if text is None:
            raise InputError(
                f"weights {path} are not those of a {self.title} (no {self.config_key} in the "
                f"metadata); expected a {self.file_name} of l4gm train {self.name}"
            )
        config = parsed_config(text, f"the metadata of {path}", self.read_config)
        network = self.build(config)
        check_names(model_shapes(network), header.shapes, path)
        network.load_state_dict(read_tensors(path))
        return network.to(device).eval().requires_grad_(False)


VIEWS = OwnNetwork("multiview", "generator of views", SideViewConfig.from_dict, SideViewNet)
MOTION = OwnNetwork("motion", "motion network", MotionConfig.from_dict, MotionNet)
