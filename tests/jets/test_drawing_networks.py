"""The numbers of particles that networks draw, and the networks that draw them."""

from __future__ import annotations

import made_jets
import numpy as np
import pytest
import torch

from collider.jets.networks.drawing import AskedParticles, ParticleDecoder, ParticleFlow
from collider.jets.networks.numbers import (
    CONTINUOUS,
    KINEMATIC,
    NUMBERS,
    PARTICLE_KINDS,
    Frame,
    ParticleNumbers,
    axis_of,
    kinds_of,
)
from collider.jets.schema import PARTICLE_COLUMNS

# Numbers ------------------------------------------------------------------------------------------------------------


def test_particles_come_back_from_their_numbers():
    """Momenta, direction, charge, kind and impact parameters; of the energy what the mass of the kind makes of it."""
    particles, real, _ = made_jets.particles(50)
    numbers = ParticleNumbers()
    reference = torch.linspace(50, 500, 50)
    numbers.fit(particles, real, reference)
    values = numbers(particles.double(), real, reference)
    assert values.shape == (50, 12, NUMBERS)
    made = numbers.particles(values, real, Frame(reference, *axis_of(particles, real)))
    for place, name in enumerate(PARTICLE_COLUMNS):
        found, wanted = made[..., place], particles[..., place].double()
        if name == "part_energy":
            mass = torch.tensor([mass for _, _, mass, _ in PARTICLE_KINDS], dtype=torch.float64)[kinds_of(particles)]
            wanted = (particles[..., :3].double().square().sum(-1) + (mass * real).square()).sqrt()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, msg=name)
    scaled = values[real][:, :KINEMATIC]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert (values[~real] == 0).all()


def test_the_axis_is_found_on_its_side_of_the_detector():
    particles, real, columns = made_jets.particles(200)
    eta, phi = axis_of(particles, real)
    np.testing.assert_allclose(eta, columns["jet_eta"], atol=1e-4)
    np.testing.assert_allclose(np.cos(phi.numpy() - columns["jet_phi"]), 1, atol=1e-6)


def test_a_particle_without_a_flag_is_what_its_charge_says():
    particles = torch.zeros(1, 3, len(PARTICLE_COLUMNS))
    particles[0, :, PARTICLE_COLUMNS.index("part_charge")] = torch.tensor([1.0, -1.0, 0.0])
    assert kinds_of(particles).tolist() == [[0, 1, 2]]


# Networks -----------------------------------------------------------------------------------------------------------


def test_places_without_a_particle_change_nothing_and_stay_empty():
    torch.manual_seed(0)
    flow = ParticleFlow(3, 8, 2, 2).double()
    real = torch.tensor([[True] * 4 + [False] * 3, [True] * 7])
    place, condition = torch.randn(2, 7, NUMBERS).double(), torch.randn(2, 3).double()
    time = torch.tensor([[0.2], [0.7]]).double()
    found = flow.velocity(place, time, AskedParticles(condition, real))
    assert (found[0, 4:] == 0).all()
    place[0, 4:] = 1e3
    torch.testing.assert_close(flow.velocity(place, time, AskedParticles(condition, real))[0], found[0])
    alone = flow.velocity(place[:1, :4], time[:1], AskedParticles(condition[:1], real[:1, :4]))
    torch.testing.assert_close(alone[0], found[0, :4])


def test_the_density_of_particles_is_that_of_a_loop():
    torch.manual_seed(1)
    particles, real, _ = made_jets.particles(3)
    coding = ParticleNumbers()
    coding.fit(particles, real, torch.ones(3))
    numbers = coding(particles.double(), real, torch.ones(3))
    decoder = ParticleDecoder(2, 8, 1, 2).double()
    asked = AskedParticles(torch.randn(3, 2).double(), real)
    mean, log_spread, logits = (part.detach() for part in decoder._stated(asked))
    kinds, charge = kinds_of(particles), particles[..., PARTICLE_COLUMNS.index("part_charge")]
    for row, cost in enumerate(decoder.costs(numbers, coding.kinds(numbers), asked).tolist()):
        expected = 0.0
        for place in range(int(real[row].sum())):
            density = torch.distributions.Normal(mean[row, place], log_spread[row, place].exp())
            each = -density.log_prob(numbers[row, place, :CONTINUOUS])
            expected += float(each.sum() if charge[row, place] else each[:KINEMATIC].sum())
            expected -= float(logits[row, place].log_softmax(0)[kinds[row, place]])
        assert cost == pytest.approx(expected)


def test_drawn_numbers_have_the_density_that_is_stated():
    torch.manual_seed(2)
    decoder = ParticleDecoder(1, 8, 1, 2).double()
    asked = AskedParticles(torch.zeros(4000, 1).double(), torch.ones(4000, 1, dtype=torch.bool))
    mean, log_spread, logits = decoder._stated(asked)
    drawn = decoder.draw(asked, torch.randn(4000, 1, NUMBERS).double(), torch.rand(4000, 1, len(PARTICLE_KINDS)))
    spread = log_spread[0, 0].exp().detach()
    np.testing.assert_allclose(drawn[:, 0, :CONTINUOUS].detach().mean(0), mean[0, 0].detach(), atol=0.08)
    np.testing.assert_allclose(drawn[:, 0, :CONTINUOUS].detach().std(0), spread, rtol=0.06)
    kinds = ParticleNumbers().kinds(drawn.detach())[:, 0]
    shares = torch.bincount(kinds, minlength=len(PARTICLE_KINDS)).double() / 4000
    np.testing.assert_allclose(shares, logits[0, 0].softmax(0).detach(), atol=0.03)
