"""CLIP's image encoder (Radford et al., 2021), ViT-B/32, under the names of its published file.

Written out here because transformers is an optional and heavy package; a test holds it against
transformers' own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.multiview.clip_image import ClipPreprocessing
from l4gm.perceptual.published import CLIP_B32, load_frozen, read_tensors


@dataclass(frozen=True, kw_only=True)
class ClipVisionConfig:
    """Sizes of the image encoder; the defaults are those of ViT-B/32."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    patch_px: int = 32
    image_px: int = 224
    embedding: int = 512


class _Embeddings(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        patches = (config.image_px // config.patch_px) ** 2
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.patch_embedding = nn.Conv2d(
            3, config.width, config.patch_px, stride=config.patch_px, bias=False
        )
        self.position_embedding = nn.Embedding(patches + 1, config.width)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embedding(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = (self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.fc1(tokens)
        return self.fc2(hidden * torch.sigmoid(1.702 * hidden))  # CLIP's "quick" GELU


class _Layer(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.width)
        self.self_attn = _Attention(config.width, config.heads)
        self.layer_norm2 = nn.LayerNorm(config.width)
        self.mlp = _Mlp(config.width, config.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        return tokens + self.mlp(self.layer_norm2(tokens))


class _Encoder(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))


class _VisionModel(nn.Module):
    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.width)  # spelled so in the published file
        self.encoder = _Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.pre_layrnorm(self.embeddings(images))
        for layer in self.encoder.layers:
            tokens = layer(tokens)
        return self.post_layernorm(tokens[:, 0])


class ClipImageEncoder(nn.Module):
    """CLIP's image features; build it with `load_clip`."""

    def __init__(self, config: ClipVisionConfig | None = None) -> None:
        super().__init__()
        config = config or ClipVisionConfig()
        self.vision_model = _VisionModel(config)
        self.visual_projection = nn.Linear(config.width, config.embedding, bias=False)
        self.preprocess = ClipPreprocessing(resize_px=config.image_px, crop_px=config.image_px)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, E], not normalised, of square pictures [B, 3, S, S] in [0, 1].

        They are brought to the encoder's size by Pillow on 8 bits, as CLIP always saw them.
        """
        prepared = torch.cat([self.preprocess(image) for image in images])
        device = self.visual_projection.weight.device
        return self.visual_projection(self.vision_model(prepared.to(device)))


def load_clip(device: str | torch.device = "cpu") -> ClipImageEncoder:
    """CLIP ViT-B/32 with the published weights, frozen.

    Raises:
        MissingWeightsError: the file is not on this machine.
        InputError: the file is damaged or another one.
    """
    model = ClipImageEncoder()
    tensors = read_tensors(
        CLIP_B32,
        wanted=("vision_model.", "visual_projection."),
        ignored=("text_model.", "text_projection.", "logit_scale"),
    )
    tensors.pop("vision_model.embeddings.position_ids", None)  # 0, 1, 2, ...: no weight
    load_frozen(model, tensors, CLIP_B32)
    return model.to(device)
