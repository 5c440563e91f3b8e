"""Standardisation with fitted buffers: what was fitted on the training split travels in the checkpoint."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.exact_buffers import ExactBuffers

Values = Float[Tensor, "rows column"]
MAD_TO_STD = 1.482602218505602
"""1/Φ⁻¹(3/4): standard deviation of a Gaussian over its median absolute deviation."""


class Standardise(ExactBuffers):
    """x → (x − shift)/scale per column, shift and scale the mean and standard deviation of the fitted rows.

    Buffers `shift` and `scale` in float64, also in a model that is cast: a carrier of 25.9 GHz keeps its digits.
    Whether it was fitted is part of the state, too (a plain bool: no wait for the device, nothing for `torch.export` to
    branch on). A column that does not vary gets scale 1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(columns, dtype=torch.float64))
        self.fitted = False

    @torch.no_grad()
    def fit(self, values: Values) -> None:
        """Fit on the rows of the training split. Raises UserError for no rows or for values that are not finite."""
        exact = _finite(values)
        mean, std = exact.mean(dim=0), exact.std(dim=0, correction=0)
        # rounding of the mean alone gives a constant column a tiny spread
        self._take(mean, torch.where(std <= 1e-12 * mean.abs(), 0, std))

    @torch.no_grad()
    def fit_to_noise(self, values: Values) -> None:
        """Fit to what most of the rows are, noise: the median, and 1.4826 times the median distance from it.

        That is a Gaussian's standard deviation, which lines in some of the rows hardly move. Raises UserError as `fit`
        does.
        """
        exact = _finite(values)
        centre = exact.median(dim=0).values
        self._take(centre, MAD_TO_STD * (exact - centre).abs().median(dim=0).values)

    def _take(self, shift: Tensor, scale: Tensor) -> None:
        self.shift.copy_(shift)
        self.scale.copy_(torch.where(scale == 0, 1, scale))
        self.fitted = True

    def leave(self) -> None:
        """Take values as they are: codes of classes have no spread."""
        self.fitted = True

    def forward(self, values: Values) -> Values:
        """Return standardised values in the dtype of the input; the difference is taken in float64."""
        self._require_fit()
        return ((values.to(torch.float64) - self.shift) / self.scale).to(values.dtype)

    def inverse(self, values: Values) -> Values:
        """Return values in their own unit, float64."""
        self._require_fit()
        return values.to(torch.float64) * self.scale + self.shift

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffers."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffers."""
        self.fitted = state["fitted"]

    def _require_fit(self) -> None:
        if not self.fitted:
            raise UserError("this standardisation was not fitted: call fit(values) on the training split, or load it.")


def _finite(values: Tensor) -> Tensor:
    """Return the rows in float64; refuse none, and those that hold NaN or infinity."""
    if not len(values) or not bool(torch.isfinite(values).all()):
        raise UserError("standardisation needs at least one row, and finite numbers only, to be fitted on.")
    return values.to(torch.float64)
