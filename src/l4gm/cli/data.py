"""`l4gm data`: training data on disk. Each sub-verb is a module `data_NAME` beside this one."""

from __future__ import annotations

SUBVERBS = {
    "objaverse": "list and download the animated objects of Objaverse",
    "render": "render models into clips, on this machine or many",
    "procedural": "make a training set of animated objects from a seed alone",
    "pack": "pack rendered clips, or other sets, into shards",
    "filter": "keep the clips of a set in which enough moves",
    "stats": "say what a set holds, and whether it is whole",
}

EXAMPLES = """
l4gm data objaverse list -o objects.parquet
l4gm data render models/ -o out/farm
l4gm data procedural -o sets/objects --clips 1000 --size 128
l4gm data pack out/farm -o sets/mine
l4gm data filter sets/mine --keep 0.5
l4gm data stats sets/mine
"""
