"""The canonical views of the first frame, which start the chunk loop (paper section 4.1).

Four roads lead there:
- four views, given or generated, are lifted by the network with T = 1, turned to match the first
  frame, and drawn again ("aligned"), as in the released code;
- four given views that are exactly the rig's are used as they are;
- views are missing and the network was trained for that: it lifts the first frame and what is
  given with T = 1, and the missing views are drawn ("first frame");
- or it gets the first chunk with the views missing ("first chunk"), or all of them ("every
  chunk").
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.align import best_azimuth
from l4gm.pipeline.chunks import ChunkState, Reconstruct, run_network
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.rig import NUM_VIEWS, InputRig

MissingViews = Literal["first frame", "first chunk", "every chunk"]


def lift(
    reconstruct: Reconstruct, rig: InputRig, views: Tensor, present: Tensor | None
) -> Gaussians:
    """One set of Gaussians [N] of four views [4, 3 or 4, S, S] of one moment; present [4] bool."""
    known = None if present is None else present[None]
    return run_network(reconstruct, views[None, None], rig.cameras(), known)[0, 0]


@torch.inference_mode()
def state_from_aligned_views(
    reconstruct: Reconstruct, rig: InputRig, frame: Tensor, views: Tensor, report: PipelineReport
) -> ChunkState:
    """Lift four views, turn the result to match the first frame, draw the canonical views.

    Args:
        frame: [3 or 4, S, S], the first frame.
        views: [4, 3 or 4, S, S], right among themselves, turned by any azimuth against the frame.
        report: gets the azimuth and the times.
    """
    with report.stage("first guess", rig.device):
        guess = lift(reconstruct, rig, views, None)
    with report.stage("align", rig.device):
        report.azimuth_degrees = best_azimuth(guess, frame[:3], rig)
        return ChunkState(views=rig.draw_all(guess, report.azimuth_degrees))


@torch.inference_mode()
def state_with_missing_views(
    reconstruct: Reconstruct,
    rig: InputRig,
    frame: Tensor,
    views: Tensor | None,
    present: Tensor | None,
    mode: MissingViews,
    report: PipelineReport,
) -> ChunkState:
    """Start from the first frame and 0 to 2 further views, with a network trained for that.

    Args:
        frame: [3 or 4, S, S], the first frame; it is view 0.
        views: [4, 3 or 4, S, S] or None; only the present ones of 1..3 are looked at.
        present: [4] bool, which of `views` are given.
        mode: "first frame" draws the missing ones from a first guess, "first chunk" leaves them
            out until they can be drawn from the first chunk's result, "every chunk" always.
        report: gets the time.
    """
    known = torch.zeros(NUM_VIEWS, dtype=torch.bool, device=rig.device)
    known[0] = True
    given = frame.expand(NUM_VIEWS, *frame.shape)
    if views is not None and present is not None:
        known[1:] = present[1:]
        given = torch.where(known[:, None, None, None], views, given)
    given = torch.cat([frame[None], given[1:]])
    if mode != "first frame":
        return ChunkState(views=given, present=known, keep=mode == "every chunk")
    with report.stage("first guess", rig.device):
        drawn = rig.draw_all(lift(reconstruct, rig, given, known))
        return ChunkState(views=torch.where(known[:, None, None, None], given, drawn))
