"""`l4gm evaluate`: how good results are. Each sub-verb is a module `evaluate_NAME` beside it."""

from __future__ import annotations

SUBVERBS = {
    "renders": "score a model on rendered objects that training never shows",
    "consistent4d": "the Consistent4D benchmark, for a model and for other methods' pictures",
    "ablation": "the paper's ablations, repeated at a size that trains on a CPU",
    "report": "one page with tables, plots and pictures, and the same as JSON",
    "preference": "a page for a blind comparison of two methods by people, and its statistics",
    "weights": "which weights of metrics are here, and how to get the others",
}

EXAMPLES = """
l4gm evaluate renders --model mini
l4gm evaluate consistent4d --gt eval_gt/ --pred ours=out/ours --pred other=out/other -o out/bench
l4gm evaluate ablation --suite temporal -o runs/ablation
l4gm evaluate report --model mini --ablation runs/ablation -o out/report
"""
