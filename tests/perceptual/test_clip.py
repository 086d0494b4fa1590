"""CLIP's image encoder against transformers' own, on the same random network."""

from __future__ import annotations

import pytest
import torch

from l4gm.errors import InputError
from l4gm.perceptual.clip import ClipImageEncoder, ClipVisionConfig, load_clip
from l4gm.perceptual.published import CLIP_B32


@pytest.fixture(scope="module")
def reference():
    """Transformers' CLIP with small sizes and random weights."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "patch_size": 8,
            "image_size": 32,
        },
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        projection_dim=24,
    )
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():  # the initialisation leaves biases at zero
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def test_equals_transformers(reference) -> None:
    sizes = ClipVisionConfig(
        width=32, layers=3, heads=4, hidden=48, patch_px=8, image_px=32, embedding=24
    )
    encoder = ClipImageEncoder(sizes).eval()
    tensors = {
        name: value
        for name, value in reference.state_dict().items()
        if name.startswith(("vision_model.", "visual_projection."))
    }
    encoder.load_state_dict(tensors)
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = encoder(images)
        prepared = torch.cat([encoder.preprocess(image) for image in images])
        expected = reference.visual_projection(reference.vision_model(prepared).pooler_output)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_reads_the_published_form(place) -> None:
    """All names and shapes of ViT-B/32 as transformers has them, and the text half left out."""
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        published = transformers.CLIPModel(
            transformers.CLIPConfig(
                vision_config={"patch_size": 32}, text_config={}, projection_dim=512
            )
        ).state_dict()
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.full((1,), 0.01).expand(value.shape)
        if name.startswith("text_")
        else 0.02 * torch.randn(value.shape, generator=generator)
        for name, value in published.items()
    }
    places = torch.arange(50)[None]
    place(CLIP_B32, tensors | {"vision_model.embeddings.position_ids": places})
    encoder = load_clip()
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, tensors[name])
    del tensors["visual_projection.weight"]
    place(CLIP_B32, tensors)
    with pytest.raises(InputError, match=r"visual_projection\.weight"):
        load_clip()
