"""`l4gm data`: training data on disk. Each sub-verb is a module `data_NAME` beside this one."""

from __future__ import annotations

SUBVERBS = {
    "procedural": "write animated objects made from a seed as videos with cameras",
}

EXAMPLES = """
l4gm data procedural -o out/objects --clips 4
"""
