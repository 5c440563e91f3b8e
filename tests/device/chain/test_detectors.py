"""What four detectors saw of candidates gives on a device what it gives on the processor."""

from __future__ import annotations

import copy

import pytest
import torch

from collider.detectors.learning.columns import DETECTORS, LEAD_WIDTH, TOKEN_WIDTH
from collider.detectors.learning.files import NEIGHBOURS_WIDTH, TOGETHER_WIDTH
from collider.detectors.learning.views import DetectorYardstick, NeighboursView, TogetherView, TrackerView
from collider.detectors.networks import FlowGraphEncoder
from collider.showers.networks import LayerTransformerEncoder

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
