"""A view that reads its scalars again where a line stands: the first guess is made of what is then known."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from cres.schema import DEFAULT_TARGETS
from reconstruction.models.encoders.views import Correction, View
from reconstruction.training.runs.loading import build_module

ROOT = Path(__file__).parents[2]


def model():  # type: ignore[no-untyped-def]
    content = yaml.safe_load((ROOT / "configs" / "s4d.yaml").read_text())["model"]
    module = build_module(content | {"sampling_rate_hz": 403e6, "targets": list(DEFAULT_TARGETS)}).eval()
    generator = torch.Generator().manual_seed(2)
    rows = torch.rand(2000, 3, generator=generator, dtype=torch.float64) * 20
    reconstructor = module.reconstructor
    reconstructor.scalar_scaler.fit(torch.randn(100, 2, generator=generator, dtype=torch.float64) * 3)
    reconstructor.target_scaler.fit(torch.tensor([[18500.0, 88.0], [18700.0, 90.0]], dtype=torch.float64))
    reconstructor.landmark.map.fit(rows, rows @ torch.rand(3, 2, generator=generator, dtype=torch.float64))
    return reconstructor


@torch.no_grad()
def test_the_first_guess_is_made_of_corrected_coordinates(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    reconstructor = model()
    volts = 1e-6 * torch.randn(3, 8192, 2, generator=torch.Generator().manual_seed(3))
    shown = reconstructor.views["spectrum"]
    assert shown.corrects
    asked: list[torch.Tensor] = []

    def correction(made: View, position: torch.Tensor) -> Correction:
        assert made.spectrum is not None
        asked.append(position)
        return Correction(torch.full((3,), 0.25, dtype=torch.float64), torch.tensor([[0.1, 0.0]] * 3).double())

    monkeypatch.setattr(shown, "correction", correction)
    measured = reconstructor.standardised(volts).measured
    torch.testing.assert_close(asked[0], measured.position)
    scalars = reconstructor.standardised_scalars(reconstructor.scalars({"series": volts})).double()
    place = measured.place_mhz + 0.25 * measured.step_hz / 1e6
    scalars[:, 0] += 0.1 / reconstructor.scalar_scaler.scale[0]
    wanted = reconstructor.landmark.map(torch.cat((place, scalars), dim=1))
    torch.testing.assert_close(measured.anchor.double(), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_view_without_a_comb_is_asked_for_nothing() -> None:
    reconstructor = model()
    volts = 1e-6 * torch.randn(2, 8192, 2, generator=torch.Generator().manual_seed(3))
    shown = reconstructor.views["spectrum"]
    shown.corrects = False
    measured = reconstructor.standardised(volts).measured
    scalars = reconstructor.standardised_scalars(reconstructor.scalars({"series": volts})).double()
    wanted = reconstructor.landmark.map(torch.cat((measured.place_mhz, scalars), dim=1))
    torch.testing.assert_close(measured.anchor.double(), wanted, rtol=1e-5, atol=1e-5)
