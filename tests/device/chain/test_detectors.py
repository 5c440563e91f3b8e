"""What four detectors saw of candidates gives on a device what it gives on the processor."""

from __future__ import annotations

import copy

import pytest
import torch

from collider.detectors.jet_energies.columns import OBJECTS
from collider.detectors.jet_energies.files import WIDTH
from collider.detectors.jet_energies.views import JetObjectsView, RulesYardstick
from collider.detectors.learning.batches import EVENTS
from collider.detectors.learning.columns import DETECTORS, LEAD_WIDTH, TOKEN_WIDTH
from collider.detectors.learning.conservation import EnergyConservation, LawOptions, MomentumBalance
from collider.detectors.learning.files import NEIGHBOURS_WIDTH, TOGETHER_WIDTH
from collider.detectors.learning.views import DetectorYardstick, NeighboursView, TogetherView, TrackerView
from collider.detectors.networks import FlowGraphEncoder, ObjectSetEncoder
from collider.showers.networks import LayerTransformerEncoder
from reconstruction.models import Gaussian

pytestmark = pytest.mark.gpu
WIDTHS = {"together": TOGETHER_WIDTH, "neighbours": NEIGHBOURS_WIDTH}


@pytest.mark.parametrize("view", [TrackerView(), TogetherView(), NeighboursView()])
def test_views_of_candidates(device: torch.device, view: torch.nn.Module) -> None:
    torch.manual_seed(0)
    width = WIDTHS.get(view.reads, max(LEAD_WIDTH["tracker"], TOKEN_WIDTH["tracker"]))
    series, lengths = torch.rand(3, 12, width), torch.tensor([12, 5, 7])
    series[..., -1].mul_(4).floor_()  # of neighbours, whom they belong to
    graph = view.reads == "neighbours"
    encoder = (
        FlowGraphEncoder(view.channels, 8, (8, 8), neighbours=3)
        if graph
        else LayerTransformerEncoder(view.channels, 8, 1, heads=2)
    )
    seen = [view(one) for one in (series, series.to(device))]
    assert seen[1].scalars.device == device
    torch.testing.assert_close(seen[1].scalars.cpu(), seen[0].scalars)
    real = view.lengths(lengths, 12, 0)
    here = encoder(seen[0].series, real)
    there = copy.deepcopy(encoder).to(device)(seen[1].series, real.to(device))
    assert there.device == device
    torch.testing.assert_close(there.detach().cpu(), here.detach(), rtol=1e-4, atol=1e-5)
    inputs = {view.reads: series, **{name: torch.rand(3, 2, 9) for name in DETECTORS}}
    measured = DetectorYardstick(("momentum_gev", "charge"), "best")
    away = measured({name: values.to(device) for name, values in inputs.items()})
    assert away.device == device
    torch.testing.assert_close(away.cpu(), measured(inputs))


def test_energies_of_jets(device: torch.device) -> None:
    torch.manual_seed(0)
    view, measured = JetObjectsView(), RulesYardstick()
    series, lengths = torch.rand(3, 9, WIDTH), torch.tensor([9, 3, 6])
    series[:, 0, 0] += 20.0
    encoder = ObjectSetEncoder(view.channels, 8).eval()
    encoder.fit([(view(series).series, view.lengths(lengths, 9, 0))])
    found = []
    for place in (torch.device("cpu"), device):
        seen, real = view(series.to(place)), view.lengths(lengths, 9, 0).to(place)
        features = copy.deepcopy(encoder).to(place)(seen.series, real)
        there = copy.deepcopy(measured).to(place)
        found.append((features, there({OBJECTS: series.to(place)}), there.errors({OBJECTS: series.to(place)})))
        assert all(one.device == place for one in found[-1])
    for here, away in zip(*found, strict=True):
        torch.testing.assert_close(away.detach().cpu(), here.detach(), rtol=1e-4, atol=1e-5)


ROWS = 120


def moved(part: object, device: torch.device) -> object:
    """Return a batch on a device."""
    if isinstance(part, dict):
        return {name: moved(value, device) for name, value in part.items()}
    assert isinstance(part, torch.Tensor)
    return part.to(device)


@pytest.mark.parametrize("made", [MomentumBalance, EnergyConservation])
def test_laws_of_momenta(device: torch.device, made: type) -> None:
    random = torch.Generator().manual_seed(0)
    momentum = 1 + 20 * torch.rand(ROWS, 1, generator=random, dtype=torch.float64)
    drawn = torch.randn(ROWS, 3, generator=random, dtype=torch.float64)
    seen = {
        "kalman_momentum_gev": momentum[:, 0],
        "calorimeter_sum_gev": momentum[:, 0] * (0.8 + 0.1 * drawn[:, 2]),
        "muon_tokens": (torch.arange(ROWS) % 9 == 0).double(),
    }
    events = {"of": torch.arange(ROWS) // 6, "eta": drawn[:, 0], "phi_rad": drawn[:, 1]}
    events["unseen_gev"] = torch.randn(ROWS // 6, 2, generator=random, dtype=torch.float64)
    batch = {"targets": momentum, "observables": seen, EVENTS: events}
    found = []
    for place in (torch.device("cpu"), device):
        law, there = made(LawOptions(), ("momentum_gev",)).to(place), moved(batch, place)
        law.fit(lambda there=there: [there])
        mean = there["targets"].clone().requires_grad_()
        penalty = law(Gaussian(mean, torch.diag_embed(0.1 * there["targets"])), there)
        penalty.backward()
        assert penalty.device == mean.grad.device == place
        found.append((penalty.detach().cpu(), mean.grad.cpu()))
    torch.testing.assert_close(found[1], found[0])
    assert float(found[0][0]) > 0
