"""Sheets: what of the targets follows from others and from what is measured is taken out of the flow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cres.errors import UserError
from reconstruction.models import FlowHead
from reconstruction.training.network.sheet import Sheet, SheetOptions

TARGETS = ("energy", "angle", "radius")
OPTIONS = (
    SheetOptions("angle", {"radius": 2}, (), (), 2),
    SheetOptions("energy", {"radius": 2, "angle": 2}, (1, 0), ("carrier", None)),
)
NOISE = 0.003


def electrons(count: int, lost: float = 0.0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Targets (rows, 3), what is known of each (place, two scalars), and the carrier that the first scalar measures."""
    generator = torch.Generator().manual_seed(count)
    radius, angle, carrier = torch.rand(3, count, 1, generator=generator).double().unbind(0)
    energy = 0.7 * carrier - 0.4 * radius**2 + 0.5 * angle * radius - 0.2 * angle**2
    place = angle + 0.3 * radius**2
    measured = 3.0 * carrier - 1.0 + NOISE * torch.randn(count, 1, generator=generator).double()
    noise = torch.rand(count, 1, generator=generator) < lost
    measured = torch.where(noise, 4 * torch.rand(count, 1, generator=generator).double() - 2, measured)
    known = torch.cat([place, measured, torch.rand(count, 1, generator=generator).double()], dim=1)
    return torch.cat([energy, angle, radius], dim=1), known, {"carrier": carrier[:, 0]}


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    sheet = Sheet(OPTIONS, TARGETS, scalars=2, landmark=True)
    targets, known, exact = electrons(2000, lost=0.08)
    sheet.fit(known, targets, exact)
    return sheet


def test_what_is_left_is_what_was_not_known(sheet: Sheet) -> None:
    targets, known, _ = electrons(500)
    free, _ = sheet.to_free(targets.unsqueeze(1), known)
    angle, energy, radius = free[:, 0, 1], free[:, 0, 0], free[:, 0, 2]
    assert float(angle.abs().quantile(0.9)) < 1e-6  # beyond the fitted range a polynomial is held
    assert float((torch.sinh(energy) * sheet.spread[1]).abs().median()) == pytest.approx(
        0.6745 * NOISE * 0.7 / 3, rel=0.2
    )
    # the unit is what a record tells, whatever eight in a hundred of them say
    assert float(energy.abs().median()) == pytest.approx(0.6, abs=0.25)
    torch.testing.assert_close(radius, targets[:, 2])


def test_there_and_back_and_by_how_much(sheet: Sheet) -> None:
    targets, known, _ = electrons(6)
    values = targets.unsqueeze(1) + 0.01 * torch.randn(6, 4, 3).double()
    free, change = sheet.to_free(values, known)
    torch.testing.assert_close(sheet.from_free(free, known), values)
    for row in range(6):
        one = values[row : row + 1, :1]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, row=row: sheet.to_free(v, known[row : row + 1])[0].flatten(), one
        )
        expected = torch.linalg.slogdet(jacobian.reshape(3, 3)).logabsdet
        torch.testing.assert_close(change[row, 0], expected, rtol=1e-6, atol=1e-6)


def test_a_flow_along_a_sheet_draws_on_it(sheet: Sheet) -> None:
    torch.manual_seed(0)
    head = FlowHead(4, 3, components=1, draws=64).double().requires_grad_(False)
    _, known, _ = electrons(5)
    flow = head(torch.randn(5, 4).double()).sheared(sheet, known)
    drawn = flow.drawn.values
    free, _ = sheet.to_free(drawn, known)
    assert float(free[..., 0].std()) < 3
    assert float(drawn[..., 0].std()) > 50 * float(sheet.spread[1])
    torch.testing.assert_close(flow.log_prob(drawn[:, 0]), flow.log_density(drawn[:, :1])[:, 0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "at least one"),
        ([SheetOptions("enrgy", {"radius": 1})], "did you mean"),
        ([SheetOptions("energy", {"radius": 1}), SheetOptions("energy", {"angle": 1})], "once"),
        ([SheetOptions("x", {"radius": 1})], "no target"),
        ([SheetOptions("energy", {"energy": 1})], "without a sheet"),
        ([SheetOptions("energy", {"angle": 1}), SheetOptions("angle", {"angle": 2})], "without a sheet"),
        ([SheetOptions("energy", {"angle": 1}, (1,))], "the views make 2"),
        ([SheetOptions("energy", {"angle": 1}, (1, 0), ("carrier",))], "1 columns"),
        ([SheetOptions("energy")], "at least 1"),
        ([SheetOptions("energy", {"angle": 0})], "at least 1"),
    ],
)
def test_what_does_not_fit_is_told(options: list[SheetOptions], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Sheet(options, TARGETS, scalars=2, landmark=True)


def test_the_place_wants_a_landmark() -> None:
    with pytest.raises(UserError, match=r"model\.landmark"):
        Sheet([SheetOptions("energy", {}, (), (), 3)], TARGETS, scalars=2, landmark=False)
