"""`l4gm data`: training data on disk. Each sub-verb is a module `data_NAME` beside this one."""

from __future__ import annotations

SUBVERBS = {
    "objaverse": "list and download the animated objects of Objaverse",
    "render": "render models into clips, on this machine or many",
    "procedural": "write animated objects made from a seed as videos with cameras",
}

EXAMPLES = """
l4gm data objaverse list -o objects.parquet
l4gm data render models/ -o out/farm
l4gm data procedural -o out/objects --clips 4
"""
