"""Jets that are drawn and completed on a device are those of the processor."""

from __future__ import annotations

import copy

import made_jets
import numpy as np
import pytest
import torch
from torch import nn

from collider.jets.learning.generation import JetGenerationOptions
from collider.jets.learning.super_resolution import JetSuperResolutionOptions
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import DeepSetEncoder
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.models import GaussianHead
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch, masks_from
from reconstruction.training.network.reconstructor import build_reconstructor

pytestmark = pytest.mark.gpu
JETS = 6


def batch_on(device: torch.device | str) -> Batch:
    columns = made_jets.columns(JETS, most=10)
    particles = torch.from_numpy(np.stack([columns[name] for name in PARTICLE_COLUMNS], axis=-1))
    lengths = torch.from_numpy(columns["jet_nparticles"])
    targets = torch.stack([torch.arange(JETS).double(), torch.from_numpy(columns["jet_pt"]).double()], dim=1)
    masks = masks_from("particles", lengths, 10)
    return {
        "inputs": {"particles": particles.to(device)}, "masks": {name: mask.to(device) for name, mask in masks.items()},
        "targets": targets.to(device), "event_id": torch.arange(JETS).to(device),
    }  # fmt: skip


@pytest.mark.parametrize("head", ["flow", "variational", "completed"])
def test_jets_are_drawn_where_the_network_lies(head: str, device: torch.device) -> None:
    torch.manual_seed(0)
    reconstructor = build_reconstructor(
        {}, ("jet_class", "jet_pt"), {"p": ParticlesView}, {"p": lambda in_channels: DeepSetEncoder(in_channels, 8, 1)},
        GaussianHead,
    )  # fmt: skip
    options = (
        JetSuperResolutionOptions("p", 4, 8, 1, 2, 8)
        if head == "completed"
        else JetGenerationOptions("p", method=head, latent=2, width=8, depth=1, heads=2, outline_width=8)  # type: ignore[arg-type]
    )
    here = nn.ModuleList([reconstructor, options.task(reconstructor)])
    batch = batch_on("cpu")
    reconstructor.fusion.encoders["p"].fit([(reconstructor.views["p"](batch["inputs"]["particles"]).series, None)])
    here[1].fit(reconstructor, lambda: [batch], lambda: batch["targets"])
    there = copy.deepcopy(here).to(device)
    found = []
    for (model, task), at in ((here, "cpu"), (there, device)):
        batch = batch_on(at)
        loss = task.objective(model, batch, batch, KeyedRandom(1, 2, batch["event_id"]))
        loss.backward()
        if head == "completed":
            drawn = task.complete(batch["inputs"]["particles"], torch.full((JETS,), 10, device=at), 3, steps=2)
        else:
            drawn = task.draw(batch["targets"], 3, steps=2)
            assert bool(task.learned(batch["targets"]).all())
        assert drawn.particles.device.type == torch.device(at).type
        floor = task.of_nothing(model, batch, batch, KeyedRandom(1, 2, batch["event_id"]))
        # particles of one pT may come in either order: their sum
        momenta = drawn.particles[..., :3].sum(dim=1)
        found.append((loss.detach().cpu(), floor.cpu(), drawn.lengths.cpu(), momenta.cpu()))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-2)
