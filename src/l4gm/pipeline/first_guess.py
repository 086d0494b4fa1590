"""The canonical views of the first frame, which start the chunk loop (paper section 4.1).

Three roads lead there:
- four views, given or generated, are lifted by the network with T = 1, turned to match the first
  frame, and drawn again ("aligned"), as in the released code;
- four given views that are exactly the rig's are used as they are;
- views are missing, and the network works without them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l4gm.model.protocol import Reconstructor, keeps_views
from l4gm.pipeline.align import best_azimuth
from l4gm.pipeline.chunks import ChunkState, run_network
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.rig import NUM_VIEWS, InputRig

# Views that are turned by less are better as they are than rendered again, for all frames.
_NEGLIGIBLE_DEGREES = 2.0


@torch.inference_mode()
def state_from_aligned_views(
    reconstruct: Reconstructor, rig: InputRig, frame: Tensor, views: Tensor, report: PipelineReport
) -> ChunkState:
    """Lift four views, turn the result to match the first frame, draw the canonical views.

    Args:
        frame: [3 or 4, S, S], the first frame.
        views: [4, 3 or 4, S, S], right among themselves, turned by any azimuth against the frame.
        report: gets the azimuth and the times.
    """
    with report.stage("first guess", rig.device):
        guess = run_network(reconstruct, views[None, None], rig.cameras(), None)[0, 0]
    with report.stage("align", rig.device):
        report.azimuth_degrees = best_azimuth(guess, frame[:3], rig)
        if keeps_views(reconstruct) and abs(report.azimuth_degrees) <= _NEGLIGIBLE_DEGREES:
            return ChunkState(views=views)
        return ChunkState(views=rig.draw_all(guess, report.azimuth_degrees))


def state_with_missing_views(
    frame: Tensor, views: Tensor | None, present: Tensor | None
) -> ChunkState:
    """Start from the first frame and 0 to 2 further views.

    Args:
        frame: [3 or 4, S, S], the first frame; it is view 0.
        views: [4, 3 or 4, S, S] or None; only the present ones of 1..3 are looked at.
        present: [4] bool, which of `views` are given.
    """
    known = torch.zeros(NUM_VIEWS, dtype=torch.bool, device=frame.device)
    known[0] = True
    given = frame.expand(NUM_VIEWS, *frame.shape)
    if views is not None and present is not None:
        known[1:] = present[1:]
        sides = torch.where(known[1:, None, None, None], views[1:], given[1:])
        given = torch.cat([frame[None], sides])
    return ChunkState(views=given, present=known)
