"""A smooth map from measured coordinates to targets, fitted once by least squares and kept in the checkpoint.

Where a few coordinates of a record (positions of lines) determine the targets through a smooth unknown function, a
polynomial finds that function in a second to the precision of the coordinates; a network would need hours for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.errors import UserError
from reconstruction.levels import CENTRAL_68
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float

Coordinates = Float[Tensor, "batch coordinate"]
Values = Float[Tensor, "batch target"]

_MOST_ROUNDS = 100
_CLIP = 6.0
_ROWS_A_TERM = 4
_TAILS = 0.05
_REACH = 1.5
"""Rows count whose coordinates lie within so many half widths between the tails, from their middle.

That is all of a uniform coordinate, and 2.5 standard deviations of a normal one.
"""


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
    orders: Tensor
    monomials: Tensor
    places: Tensor

    def __init__(self, degrees: Sequence[int], targets: int) -> None:
        super().__init__()
        if not degrees or min(degrees) < 0:
            raise UserError(f"a polynomial map needs an order of at least 0 for each coordinate, not {list(degrees)}.")
        self.degrees = tuple(degrees)
        terms = int(torch.tensor([degree + 1 for degree in degrees]).prod())
        self.register_buffer("low", torch.zeros(len(degrees), dtype=torch.float64))
        self.register_buffer("high", torch.ones(len(degrees), dtype=torch.float64))
        self.register_buffer("coefficients", torch.zeros(terms, targets, dtype=torch.float64))
        orders = torch.arange(max(degrees) + 1, dtype=torch.float64)
        self.register_buffer("orders", orders, persistent=False)
        self.register_buffer("monomials", _monomials(max(degrees)), persistent=False)
        self.register_buffer("places", _places(self.degrees), persistent=False)
        self.fitted = False

    @property
    def terms(self) -> int:
        """Number of polynomials in the basis."""
        return self.coefficients.shape[0]

    @torch.no_grad()
    def fit(self, coordinates: Coordinates, values: Values) -> Float[Tensor, "target"]:
        """Fit by least squares on the training split; return the robust spread of what remains, a target each.

        A record in which noise passed for a line gives coordinates that lie anywhere, and far out they have a long
        lever: rows far beyond the others are left out, of coordinates that take many values. Rows beyond 6 robust
        standard deviations of the fit are left out as well, and the fit repeated until they are always the same: with
        many rows that is twenty times, and a fit that stops earlier follows the wrong ones. A small set gets the terms
        of lowest total order, one for four rows at most; a coordinate of few different values (settings of as many
        apparatus) orders below their number, since nothing says what higher ones
        do between. Raises UserError for no rows or values that are not finite.
        """
        if not len(coordinates):
            raise UserError("the polynomial map was given no training rows to be fitted on.")
        if not bool(torch.isfinite(coordinates).all() & torch.isfinite(values).all()):
            raise UserError("the polynomial map was given numbers that are not finite to be fitted on.")
        exact, wanted = coordinates.double(), values.double()
        different = torch.tensor([len(column.unique()) for column in exact.unbind(dim=1)])
        near = _near_the_others(exact, different)
        exact, wanted = exact[near], wanted[near]
        self.low.copy_(exact.amin(dim=0))
        self.high.copy_(torch.maximum(exact.amax(dim=0), self.low + torch.finfo(torch.float32).eps))
        self.fitted = True
        affordable = self._terms_by_order(different)[: max(1, len(coordinates) // _ROWS_A_TERM)]
        return self._fit_without_outliers(self._basis(exact), wanted, affordable.to(exact.device))

    def _terms_by_order(self, different: Tensor) -> Tensor:
        """Indices of the basis that rows with so many different values can fix, lowest total order first."""
        grid = torch.meshgrid(*(torch.arange(degree + 1) for degree in self.degrees), indexing="ij")
        orders = torch.stack(grid).flatten(1)
        by_order = torch.argsort(orders.sum(dim=0), stable=True)
        return by_order[(orders < different.unsqueeze(1)).all(dim=0)[by_order]]

    def _fit_without_outliers(self, basis: Tensor, wanted: Tensor, terms: Tensor) -> Tensor:
        kept = torch.ones(len(basis), dtype=torch.bool, device=basis.device)
        spread = wanted.new_zeros(wanted.shape[1])
        self.coefficients.zero_()
        for _ in range(_MOST_ROUNDS):
            chosen = basis[kept][:, terms].cpu()
            solution = torch.linalg.lstsq(chosen, wanted[kept].cpu(), driver="gelsd").solution
            self.coefficients[terms] = solution.to(basis.device)
            residuals = (wanted - basis @ self.coefficients).abs()
            spread = residuals[kept].quantile(CENTRAL_68, dim=0)
            before, kept = kept, (residuals <= _CLIP * spread.clamp(min=1e-12)).all(dim=1)
            if torch.equal(kept, before):
                break
        return spread

    def forward(self, coordinates: Coordinates) -> Values:
        """Return the targets in the dtype of the coordinates; computed in float64, where 0.01 eV of 200 eV matters."""
        if not self.fitted:
            raise UserError("this polynomial map was not fitted: call fit() on the training split, or load it.")
        exact = in_precision(coordinates, torch.float64)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            values: Tensor = _WithSlopes.apply(exact, *self._range, self.coefficients, *self._polynomials)[0]
        else:
            values = self._basis(exact) @ self.coefficients
        return in_precision(values, coordinates.dtype)

    def _basis(self, coordinates: Tensor) -> Tensor:
        low, half = self._range
        return _products(_scaled(coordinates, low, half).clamp(-1, 1), *self._polynomials, slopes=False).squeeze(1)

    @property
    def _range(self) -> tuple[Tensor, Tensor]:
        """Lower ends and half widths of the fitted range."""
        return self.low, (self.high - self.low) / 2

    @property
    def _polynomials(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `_products` needs."""
        return self.orders, self.monomials, self.places

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffers."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffers."""
        self.fitted = state["fitted"]


class _WithSlopes(Function):
    """The map with its derivatives, which are polynomials too: one more product forwards, and nearly nothing back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        coordinates: Tensor,
        low: Tensor,
        half: Tensor,
        coefficients: Tensor,
        orders: Tensor,
        monomials: Tensor,
        places: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values (batch, target), their slopes (batch, coordinate, target), and 1 where none is held."""
        scaled = _scaled(coordinates, low, half)
        held = scaled.clamp(-1, 1)
        made = _products(held, orders, monomials, places, slopes=True) @ coefficients
        values, slopes = made.split([1, made.shape[1] - 1], dim=1)
        return values.squeeze(1), slopes, held == scaled

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Keep the slopes."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[1:], inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *others: None) -> tuple[Tensor | None, ...]:
        """A coordinate that is held at the edge moves nothing."""
        if gradient is None:
            return (None,) * 7
        slopes, free, half = ctx.saved_tensors
        return (gradient.unsqueeze(1) * slopes).sum(dim=2) * (free / half), *(None,) * 6


def _near_the_others(coordinates: Tensor, different: Tensor) -> Tensor:
    """Return which rows (rows,) are not far from the others in a coordinate of many `different` values."""
    tails = coordinates.new_tensor([_TAILS, 1 - _TAILS])
    low, high = coordinates.quantile(tails, dim=0)
    far = (coordinates - (low + high) / 2).abs() > _REACH * (high - low) / 2
    of_many = (different > len(coordinates) // 2).to(far.device)
    return ~(far & of_many).any(dim=1)


def _scaled(coordinates: Tensor, low: Tensor, half: Tensor) -> Tensor:
    """Return coordinates from −1 to 1 over the fitted range."""
    return (coordinates - low) / half - 1


def _products(x: Tensor, orders: Tensor, monomials: Tensor, places: Tensor, *, slopes: bool) -> Tensor:
    """Return the basis Π_j T_{k_j}(x_j) of x (rows, coordinate) in −1 … 1, (rows, 1, term).

    With `slopes` (rows, 1 + coordinate, term): behind it its derivatives by each coordinate. T and T′ come from the
    powers of x: at the orders that a map of a few coordinates has, the monomials' coefficients (up to 2^(degree − 1))
    cost float64 a few of its sixteen digits; the recurrence would be a step for each order.
    """
    table = torch.pow(x.unsqueeze(-1), orders) @ monomials
    picked = places if slopes else places[:1]
    return table.flatten(1)[:, picked].prod(dim=-1)


def _places(degrees: tuple[int, ...]) -> Tensor:
    """Return where the factors of each term lie in the flat table of T and T′ of all coordinates.

    (1 + coordinate, term, coordinate): of the basis itself, then of its derivative by each coordinate.
    """
    count = max(degrees) + 1
    grid = torch.meshgrid(*(torch.arange(degree + 1) for degree in degrees), indexing="ij")
    coordinates = torch.arange(len(degrees))
    plain = torch.stack([axis.flatten() for axis in grid], dim=-1) + coordinates * 2 * count
    return torch.stack([plain, *(plain + count * (coordinates == one) for one in coordinates)])


def _monomials(degree: int) -> Tensor:
    """Return the coefficients of x^i in T_k at [i, k], from T_k = 2x T_(k−1) − T_(k−2), and beside them in T′_k."""
    columns = [[1.0], [0.0, 1.0]]
    for _ in range(degree - 1):
        doubled = [0.0, *(2 * value for value in columns[-1])]
        before = columns[-2] + [0.0] * (len(doubled) - len(columns[-2]))
        columns.append([a - b for a, b in zip(doubled, before, strict=True)])
    padded = [column + [0.0] * (degree + 1 - len(column)) for column in columns[: degree + 1]]
    plain = torch.tensor(padded, dtype=torch.float64).T
    powers = torch.arange(1, degree + 1, dtype=torch.float64).unsqueeze(1)
    return torch.cat((plain, nn.functional.pad(powers * plain[1:], (0, 0, 0, 1))), dim=1)
