"""`l4gm inspect --html`: the right pictures, counts and histograms, and nothing that runs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from l4gm.cli.assets import open_asset
from l4gm.cli.inspect_page import gather
from l4gm.files import save
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render


class Page(HTMLParser):
    """Tags, attributes and texts of a page, as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: dict[str, str] = {}
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag == "img":
            given = dict(attrs)
            self.pictures[given["alt"] or ""] = given["src"] or ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_statistics(tmp_path: Path) -> None:
    opacities = torch.tensor([[0.0, 0.003, 0.3, 0.7, 1.0], [0.0, 0.0, 0.0, 0.6, 1.0]])
    scales = torch.tensor([1e-9, 1e-9, 0.00011, 0.011, 5.0])[None, :, None].expand(2, 5, 3)
    gaussians = Gaussians(
        means=torch.zeros(2, 5, 3),
        quats=torch.ones(2, 5, 4),
        scales=scales,
        opacities=opacities,
        colors=torch.zeros(2, 5, 3),
    )
    save(GaussianSequence(gaussians, 2.0), tmp_path / "a.safetensors")
    statistics = gather(open_asset(tmp_path / "a.safetensors"))
    assert statistics.drawn == [3, 2]
    assert statistics.solid == [2, 2]
    assert statistics.opacities.sum() == 10
    assert statistics.opacities[0] == 5
    assert statistics.opacities[-1] == 2
    # Of drawn ones alone: 0.00011 once, 0.011 and 5 (beyond the end) twice, three axes each.
    expected = torch.zeros(40)
    expected[0], expected[20], expected[39] = 3, 6, 6
    assert statistics.scales.equal(expected)


def test_page(run: Callable, tmp_path: Path, sequence: GaussianSequence) -> None:
    save(sequence, tmp_path / "cat.safetensors")
    outcome = run("inspect", tmp_path / "cat.safetensors", "--html", tmp_path / "new" / "cat.html")
    assert outcome.code == 0
    assert "50 a frame" in outcome.out
    page = Page((tmp_path / "new" / "cat.html").read_text())
    assert len(page.pictures) == 3 * 4
    assert "50 a frame" in page.texts
    data = page.pictures["frame 1 from the right"].removeprefix("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        got = np.array(picture.convert("RGB")) / 255
    truth = render(sequence.gaussians[1], orbit_cameras([90], size=got.shape[0])).image[0]
    expected = truth.clamp(0, 1).permute(1, 2, 0).numpy()
    # Lossy WebP, so not the same; but far nearer to it than to white.
    assert ((got - expected) ** 2).mean() < 0.1 * ((expected - 1) ** 2).mean()


def test_names_stay_text(run: Callable, tmp_path: Path, sequence: GaussianSequence) -> None:
    name = "<img src=x onerror=alert(1)>&<script>alert(2)<"
    folder = tmp_path / name
    save(sequence, folder)
    assert run("inspect", folder, "--html", tmp_path / "a.html").code == 0
    text = (tmp_path / "a.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert set(page.pictures) == {
        f"frame {index} from the {view}"
        for index in range(3)
        for view in ("front", "right", "back", "left")
    }
    assert name in page.texts
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text)


def test_refuses_other_names(run: Callable, tmp_path: Path, sequence: GaussianSequence) -> None:
    save(sequence, tmp_path / "a.safetensors")
    outcome = run("inspect", tmp_path / "a.safetensors", "--html", tmp_path / "a.png")
    outcome.assert_bad_input("a.png", ".html")


def test_a_still_object(run: Callable, tmp_path: Path, sequence: GaussianSequence) -> None:
    save(sequence.gaussians[0], tmp_path / "one.ply")
    out = tmp_path / "one.html"
    assert run("inspect", tmp_path / "one.ply", "--html", out).code == 0
    assert len(Page(out.read_text()).pictures) == 4
