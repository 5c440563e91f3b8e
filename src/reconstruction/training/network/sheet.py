"""Sheets: targets that others and what was measured determine, taken out of what a flow has to learn.

Where a carrier is known, an electron's energy follows from its pitch angle and radius to a thousandth of the range
that all three have: the posterior is a thin, curved sheet, which no mixture of Gaussians and no spline of a few knots
draws. Polynomials fitted on the training split, as those of a landmark, are the sheet; a flow learns what is left.
Which target follows which is configuration: nothing here knows what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError, nearest
from reconstruction.levels import CENTRAL_68
from reconstruction.models import PolynomialMap
from reconstruction.models.predictive.flow import Known, Points
from reconstruction.shapes import Targets

HIGHEST = 20
"""Order of a polynomial: beyond it float64 loses its digits."""
_SMALLEST_SPREAD = 1e-6
_ROWS_AT_ONCE = 2**14
_ROUNDS, _CLIP = 5, 4.0


@dataclass(frozen=True)
class SheetOptions:
    """One target that follows from others.

    Args:
        target: The one.
        given: Others, and the highest order in each: targets that no sheet names, or those of sheets before this one.
        scalars: Highest orders in the views' scalars, one for each; 0 leaves one out. Empty: none of them.
        columns: Columns of the training data that the scalars measure, one for each, null where there is none. A sheet
            is fitted on them: scalars err, and some by far, where noise passed for a line.
        place: Highest order in the landmark's place; 0 leaves it out.

    """

    target: str
    given: Mapping[str, int] = field(default_factory=dict)
    scalars: tuple[int, ...] = ()
    columns: tuple[str | None, ...] = ()
    place: int = 0


class Sheet(nn.Module):
    """Coordinates of a flow: for each target of a sheet u = x − polynomial of the others and of what is known.

    Where scalars alone are used, y = arsinh(u/spread), with what the polynomial left of the training split: near the
    sheet in its own units, and not far where noise passed for a line. Where the landmark's place is used, which
    training knows better than a record tells, y = u. What is known of a row: the landmark's place in MHz, where there
    is one, then the standardised scalars.
    Raises UserError for names, orders and numbers of scalars that do not fit the model.
    """

    spread: Tensor

    def __init__(self, options: Sequence[SheetOptions], targets: tuple[str, ...], scalars: int, landmark: bool) -> None:
        super().__init__()
        _check(options, targets, scalars, landmark)
        self.options, self.targets, self.landmark = tuple(options), targets, landmark
        self.maps = nn.ModuleList(PolynomialMap(_degrees(one), 1) for one in self.options)
        self.register_buffer("spread", torch.ones(len(self.options), dtype=torch.float64))

    def to_free(self, values: Points, known: Known) -> tuple[Points, Tensor]:
        """Return the coordinates of standardised targets, and ln |∂y/∂x|."""
        columns = list(values.unbind(-1))
        change = torch.zeros_like(values[..., 0])
        for row, one in enumerate(self.options):
            at = self._place_of(row)
            columns[at] = values[..., at] - self._guess(row, values.unbind(-1), known)
            if not one.place:
                scaled = columns[at] / self.spread[row]
                columns[at] = torch.asinh(scaled)
                change = change - self.spread[row].log() - 0.5 * torch.log1p(scaled.square())
        return torch.stack(columns, dim=-1), change

    def from_free(self, free: Points, known: Known) -> Points:
        """Return the standardised targets again: one after the other, for each needs those before it."""
        columns = list(free.double().unbind(-1))
        for row, one in enumerate(self.options):
            at = self._place_of(row)
            apart = columns[at] if one.place else torch.sinh(columns[at]) * self.spread[row]
            columns[at] = apart + self._guess(row, columns, known)
        return torch.stack(columns, dim=-1)

    def anchored(self, anchor: Targets) -> Targets:
        """Return a first guess of the targets as one of the coordinates: those of sheets are near 0."""
        kept = [0.0 if any(one.target == name for one in self.options) else 1.0 for name in self.targets]
        return anchor * anchor.new_tensor(kept)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the training data on which sheets are fitted."""
        return tuple(dict.fromkeys(name for one in self.options for name in one.columns if name is not None))

    @torch.no_grad()
    def fit(self, known: Known, targets: Targets, exact: Mapping[str, Tensor]) -> None:
        """Fit the polynomials on training rows.

        known: what is known of each, the landmark's place as the data tell it; targets: standardised, (rows, target);
        exact: the columns that scalars measure, by name, (rows,).
        """
        values = targets.double().unsqueeze(1)
        columns = values.unbind(-1)
        for row, one in enumerate(self.options):
            fitted = self.maps[row]
            assert isinstance(fitted, PolynomialMap)
            wanted = targets[:, self._place_of(row)].unsqueeze(1)
            spread = fitted.fit(self._coordinates(one, columns, self._without_error(one, known, exact)), wanted)
            if not one.place:
                left = (columns[self._place_of(row)] - self._guess(row, columns, known)).abs()
                spread = torch.maximum(spread, left.quantile(CENTRAL_68))
            self.spread[row] = 1.0 if one.place else float(spread.clamp(min=_SMALLEST_SPREAD))

    def _without_error(self, one: SheetOptions, known: Known, exact: Mapping[str, Tensor]) -> Known:
        """Return what is known with the scalars that their columns stand for in place of what was measured."""
        known = known.clone()
        for i, name in enumerate(one.columns):
            if name is not None:
                place = int(self.landmark) + i
                known[:, place] = _as_measured(exact[name].double(), known[:, place])
        return known

    def _place_of(self, row: int) -> int:
        return self.targets.index(self.options[row].target)

    def _guess(self, row: int, columns: Sequence[Tensor], known: Known) -> Tensor:
        """Return what a sheet says of its target, (batch, point)."""
        coordinates = self._coordinates(self.options[row], columns, known)
        parts = [self.maps[row](part) for part in coordinates.split(_ROWS_AT_ONCE)]
        return torch.cat(parts).reshape(columns[0].shape)

    def _coordinates(self, one: SheetOptions, columns: Sequence[Tensor], known: Known) -> Tensor:
        """Return the coordinates of a sheet's polynomial, (batch · point, coordinate)."""
        first = int(self.landmark)
        used = [known[:, 0]] if one.place else []
        used += [known[:, first + i] for i, degree in enumerate(one.scalars) if degree]
        points = columns[0].shape
        of_rows = [values.detach().double().unsqueeze(1).expand(points).flatten() for values in used]
        of_points = [columns[self.targets.index(name)].double().flatten() for name in one.given]
        return torch.stack([*of_rows, *of_points], dim=-1)


def _as_measured(column: Tensor, measured: Tensor) -> Tensor:
    """Return a column on the scale on which it was measured: a straight line, found without those that err by far."""
    half = len(column) // 2
    first, second = column.argsort().split([len(column) - half, half])
    # slopes of pairs half of the range apart: their median does not mind one in five that are wrong (Theil & Sen)
    slopes = (measured[second] - measured[first[:half]]) / (column[second] - column[first[:half]])
    slope = slopes.median() if half else column.new_zeros(())
    offset = (measured - slope * column).median()
    for _ in range(_ROUNDS):
        apart = measured - offset - slope * column
        kept = apart.abs() <= _CLIP * apart.abs().quantile(CENTRAL_68).clamp(min=_SMALLEST_SPREAD)
        x, y = column[kept], measured[kept]
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp(min=1e-300)
        offset = y.mean() - slope * x.mean()
    return slope * column + offset


def _degrees(one: SheetOptions) -> tuple[int, ...]:
    place = (one.place,) if one.place else ()
    return (*place, *(degree for degree in one.scalars if degree), *one.given.values())


def _check(options: Sequence[SheetOptions], targets: tuple[str, ...], scalars: int, landmark: bool) -> None:
    followed: set[str] = {one.target for one in options}
    if not options or len(followed) < len(options):
        raise UserError("model.sheet names each target that follows from others once, and at least one")
    ready = [name for name in targets if name not in followed]
    for one in options:
        if one.target not in targets:
            raise UserError(f"model.sheet has {one.target!r}, which is no target{nearest(one.target, targets)}")
        for name in one.given:
            if name not in ready:
                raise UserError(
                    f"model.sheet of {one.target} is given {name!r}{nearest(name, ready)}: that must be a target "
                    f"without a sheet, or with one before it ({', '.join(ready) or 'there is none'})"
                )
        if one.scalars and len(one.scalars) != scalars:
            raise UserError(
                f"model.sheet of {one.target} has {len(one.scalars)} orders of scalars, but the views make {scalars}: "
                "give one for each"
            )
        if one.columns and len(one.columns) != scalars:
            raise UserError(
                f"model.sheet of {one.target} has {len(one.columns)} columns, but the views make {scalars} scalars: "
                "give one for each, null for one that no column tells"
            )
        if one.place and not landmark:
            raise UserError(f"model.sheet of {one.target} uses the landmark's place: name one in model.landmark")
        if not _degrees(one) or not 1 <= min(_degrees(one)) <= max(_degrees(one)) <= HIGHEST:
            raise UserError(
                f"model.sheet of {one.target} needs something that it follows from, with an order of at least 1 and at "
                f"most {HIGHEST}"
            )
        ready.append(one.target)
