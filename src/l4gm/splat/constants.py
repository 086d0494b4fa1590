"""Every number of the splatting rule, once.

The rule is EWA splatting as gsplat (1.5 and later) means it. All backends take their
numbers from here, so that they agree.
"""

from __future__ import annotations

BLUR_VARIANCE_PX2 = 0.3
"""Added to the diagonal of the projected covariance: no Gaussian is thinner than a pixel."""

ALPHA_MAX = 0.999
"""A Gaussian's alpha is clamped here; no gradient passes through the clamp."""

ALPHA_MIN = 1.0 / 255.0
"""At a pixel where a Gaussian's alpha is below this, it is skipped."""

TRANSMITTANCE_MIN = 1e-4
"""Compositing stops before the Gaussian that would bring the transmittance to this or below."""

JACOBIAN_MARGIN = 0.3
"""Half image sizes outside the image at which x/z and y/z are clamped in the Jacobian."""
