"""ParticleNet on a device gives what it gives on the processor, told masses and turned events included."""

from __future__ import annotations

import copy

import pytest
import torch

from collider.higgs.learning.views import CHANNELS, ObjectsView, Turned
from collider.higgs.networks import ParticleNetEncoder
from reconstruction.random.keyed import KeyedRandom

pytestmark = pytest.mark.gpu


def test_particle_net_told_masses(device: torch.device) -> None:
    torch.manual_seed(0)
    events = torch.rand(4, 9, len(CHANNELS))
    events[1, 5:] = 0
    view = ObjectsView(("mass_a_gev",))
    encoder = ParticleNetEncoder(view.channels, 8, (8, 12), neighbours=3, depth=2)
    encoder.weigh_against(1)
    encoder.condition("attention", 5)
    turned = [Turned()(one, KeyedRandom(1, 2, torch.arange(4), one.device)) for one in (events, events.to(device))]
    lengths, told = torch.tensor([9, 5, 9, 9]), torch.randn(4, 5)
    assert view.lengths_told(turned[1]).device == device
    masses = torch.tensor([[85.0], [90.0], [torch.nan], [95.0]], dtype=torch.float64)
    seen = [view.with_settings(view(one), masses.to(one.device)).series for one in turned]
    here = encoder(seen[0], lengths, told)
    there = copy.deepcopy(encoder).to(device)(seen[1], lengths.to(device), told.to(device))
    assert there.device == device
    torch.testing.assert_close(there.detach().cpu(), here.detach(), rtol=1e-4, atol=1e-5)
    here.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
