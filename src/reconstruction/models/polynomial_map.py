"""A smooth map from measured coordinates to targets, fitted once by least squares and kept in the checkpoint.

Where a few coordinates of a record (positions of lines) determine the targets through a smooth unknown function, a
polynomial finds that function in a second to the precision of the coordinates; a network would need hours for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.levels import CENTRAL_68
from reconstruction.shapes import Float

Coordinates = Float[Tensor, "batch coordinate"]
Values = Float[Tensor, "batch target"]

_ROUNDS = 4
_CLIP = 6.0
_ROWS_A_TERM = 4


class PolynomialMap(nn.Module):
    """y = Σ_k C_k Π_j T_{k_j}(x_j), x the coordinates scaled to −1 … 1 over the fitted rows, T Chebyshev polynomials.

    Tensor-product basis with `degrees[j]` the highest order in coordinate j. Coordinates beyond the fitted range are
    held at its edge: a polynomial says nothing there.

    Args:
        degrees: highest order for each coordinate.
        targets: number of columns of y.

    """

    low: Tensor
    high: Tensor
    coefficients: Tensor

    def __init__(self, degrees: Sequence[int], targets: int) -> None:
        super().__init__()
        if not degrees or min(degrees) < 0:
            raise UserError(f"a polynomial map needs an order of at least 0 for each coordinate, not {list(degrees)}.")
        self.degrees = tuple(degrees)
        terms = int(torch.tensor([degree + 1 for degree in degrees]).prod())
        self.register_buffer("low", torch.zeros(len(degrees), dtype=torch.float64))
        self.register_buffer("high", torch.ones(len(degrees), dtype=torch.float64))
        self.register_buffer("coefficients", torch.zeros(terms, targets, dtype=torch.float64))
        self.fitted = False

    @property
    def terms(self) -> int:
        """Number of polynomials in the basis."""
        return self.coefficients.shape[0]

    @torch.no_grad()
    def fit(self, coordinates: Coordinates, values: Values) -> Float[Tensor, "target"]:
        """Fit by least squares on the training split; return the robust spread of what remains, a target each.

        Rows beyond 6 robust standard deviations (a record in which noise passed for the line) are left out and the fit
        repeated. A small set gets the terms of lowest total order, one for four rows at most. Raises UserError for
        no rows or values that are not finite.
        """
        if not len(coordinates):
            raise UserError("the polynomial map was given no training rows to be fitted on.")
        if not bool(torch.isfinite(coordinates).all() & torch.isfinite(values).all()):
            raise UserError("the polynomial map was given numbers that are not finite to be fitted on.")
        exact, wanted = coordinates.double(), values.double()
        self.low.copy_(exact.amin(dim=0))
        self.high.copy_(torch.maximum(exact.amax(dim=0), self.low + torch.finfo(torch.float32).eps))
        self.fitted = True
        affordable = self._terms_by_order()[: max(1, len(exact) // _ROWS_A_TERM)]
        return self._fit_without_outliers(self._basis(exact), wanted, affordable.to(exact.device))

    def _terms_by_order(self) -> Tensor:
        """Indices of the basis, lowest total order first."""
        grid = torch.meshgrid(*(torch.arange(degree + 1) for degree in self.degrees), indexing="ij")
        return torch.argsort(torch.stack(grid).sum(dim=0).flatten(), stable=True)

    def _fit_without_outliers(self, basis: Tensor, wanted: Tensor, terms: Tensor) -> Tensor:
        kept = torch.ones(len(basis), dtype=torch.bool, device=basis.device)
        spread = wanted.new_zeros(wanted.shape[1])
        self.coefficients.zero_()
        for _ in range(_ROUNDS):
            chosen = basis[kept][:, terms].cpu()
            solution = torch.linalg.lstsq(chosen, wanted[kept].cpu(), driver="gelsd").solution
            self.coefficients[terms] = solution.to(basis.device)
            residuals = (wanted - basis @ self.coefficients).abs()
            spread = residuals[kept].quantile(CENTRAL_68, dim=0)
            kept = (residuals <= _CLIP * spread.clamp(min=1e-12)).all(dim=1)
        return spread

    def forward(self, coordinates: Coordinates) -> Values:
        """Return the targets in the dtype of the coordinates; computed in float64, where 0.01 eV of 200 eV matters."""
        if not self.fitted:
            raise UserError("this polynomial map was not fitted: call fit() on the training split, or load it.")
        return (self._basis(coordinates.double()) @ self.coefficients).to(coordinates.dtype)

    def _basis(self, coordinates: Tensor) -> Tensor:
        scaled = (2 * (coordinates - self.low) / (self.high - self.low) - 1).clamp(-1, 1)
        first, *others = _chebyshev(scaled, max(self.degrees)).unbind(dim=1)
        product = first[:, : self.degrees[0] + 1]
        for terms, degree in zip(others, self.degrees[1:], strict=True):
            product = (product.unsqueeze(2) * terms[:, None, : degree + 1]).flatten(1)
        return product

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffers."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffers."""
        self.fitted = state["fitted"]


def _chebyshev(x: Tensor, degree: int) -> Tensor:
    """T_0 … T_degree of x in −1 … 1 (rows, coordinate), (rows, coordinate, degree + 1), from the powers of x.

    At the orders that a map of a few coordinates has, the monomials' coefficients (up to 2^(degree − 1)) cost float64 a
    few of its sixteen digits; the recurrence would be a step for each order.
    """
    orders = torch.arange(degree + 1, dtype=x.dtype, device=x.device)
    return torch.pow(x.unsqueeze(-1), orders) @ x.new_tensor(_monomials(degree))


@cache
def _monomials(degree: int) -> list[list[float]]:
    """Coefficient of x^i in T_k at [i][k], from T_k = 2x T_(k−1) − T_(k−2)."""
    columns = [[1.0], [0.0, 1.0]]
    for _ in range(degree - 1):
        doubled = [0.0, *(2 * value for value in columns[-1])]
        before = columns[-2] + [0.0] * (len(doubled) - len(columns[-2]))
        columns.append([a - b for a, b in zip(doubled, before, strict=True)])
    padded = [column + [0.0] * (degree + 1 - len(column)) for column in columns[: degree + 1]]
    return [list(row) for row in zip(*padded, strict=True)]
