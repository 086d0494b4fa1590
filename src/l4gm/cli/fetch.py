"""`l4gm fetch`: what is too large to come with the package, each kind a sub-verb."""

from __future__ import annotations

EXAMPLES = """
l4gm fetch matting
l4gm fetch matting --from ~/Downloads/u2net.onnx
"""

SUBVERBS = {"matting": "weights of the network that finds objects before any background"}
