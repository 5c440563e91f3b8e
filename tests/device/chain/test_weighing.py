"""A flow along a fitted sheet, its samples, and their exact weights: on a device as on the processor."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from libraries import need_flows
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.noise import Coloured
from cres.estimation.weighing.exact import ExactPosterior
from cres.estimation.weighing.importance import weighed
from cres.estimation.weighing.line_table import LineTable
from cres.simulation import SimulationConfig
from cres.simulation.parameters import parameter_rows
from reconstruction.models import FlowHead
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom
from reconstruction.training.network.sheet import Sheet, SheetOptions

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
SHEETS = (SheetOptions("angle", {}, (), (), 2), SheetOptions("energy", {"angle": 2}, (1, 0), ("carrier", None)))


def test_a_flow_along_a_sheet(device: torch.device) -> None:
    need_flows()
    numbers = torch.rand(200, 5, generator=torch.Generator().manual_seed(1)).double()
    targets, known = numbers[:, :2], numbers[:, 2:]
    torch.manual_seed(0)
    head, found = FlowHead(3, 2, components=2, draws=32).requires_grad_(False), []
    for place in (CPU, device):
        sheet, own = Sheet(SHEETS, ("energy", "angle"), 2, True).to(place), copy.deepcopy(head).to(place)
        sheet.fit(known.to(place), targets.to(place), {"carrier": known[:, 1].to(place)})
        flow = own(known[:4].float().to(place)).sheared(sheet, known[:4].to(place)).defended(0.1, 3.0)
        random = KeyedRandom(0, FROZEN_EPOCH, torch.arange(4).to(place))
        points = flow.at(random.uniform(6, 3, stream="posterior"))
        assert points.device.type == place.type
        found.append((points.cpu(), flow.log_density(points).cpu(), flow.drawn.values.cpu()))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("coloured", [False, True])
def test_weights(device: torch.device, coloured: bool) -> None:
    config = SimulationConfig.from_dict({"readout": {"samples": 1024}})
    ensemble = dataclasses.replace(config.ensemble, energy_ev=(18_599.0, 18_601.0), pitch_angle_deg=(89.0, 89.4))
    config, found = dataclasses.replace(config, ensemble=ensemble), []
    points = torch.tensor([[18_600.0, 89.2, 3e-3], [18_600.05, 89.21, 3.1e-3], [18_700.0, 89.2, 3e-3]]).double()
    data = Apparatus.from_config(config).model(parameter_rows(*points[:2].unbind(1)))
    for place in (CPU, device):
        apparatus = Apparatus.from_config(config, 1.0, place)
        std = Coloured(torch.linspace(0.9, 1.1, 1024, dtype=torch.float64) * apparatus.noise_std_volt)
        exact = ExactPosterior(apparatus, std if coloured else None, LineTable(apparatus, (2, 5, 5)))

        def proposal(series: Tensor, event_id: Tensor) -> tuple[Tensor, Tensor]:
            there = points.to(series.device).expand(len(series), -1, -1)
            return there, torch.zeros_like(there[..., 0])

        found.append(weighed(exact, proposal, data.to(place), torch.arange(2)).log_weight)
    assert np.isneginf(found[0][:, 2]).all()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-2)
