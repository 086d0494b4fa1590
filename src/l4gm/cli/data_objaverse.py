"""`l4gm data objaverse`: the animated objects of Objaverse 1.0."""

from __future__ import annotations

SUBVERBS = {
    "list": "list the objects that move, with their licences",
    "download": "download the objects of a list",
}

EXAMPLES = """
l4gm data objaverse list -o objects.parquet
l4gm data objaverse download objects.parquet --to objaverse/
"""
