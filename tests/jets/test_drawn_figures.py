"""How far drawn jets are from simulated ones: figures beside loops, their floors, and samples that say nothing."""

from __future__ import annotations

import itertools
import math

import made_jets
import numpy as np
import pytest
import torch
from collisions import needed

from collider.jets.judging import generation as judging
from collider.jets.judging.generation import Described, generation_figures
from collider.jets.networks.numbers import (
    Frame,
    ParticleNumbers,
    axis_of,
)
from collider.jets.quantities import JetArrays, axis_quantities
from reconstruction.errors import UserError


def arrays(count, seed=0, scale=1.0, fewer=0):
    """Made-up jets whose angles are scaled, of which each lacks so many particles."""
    particles, real, columns = made_jets.particles(count, seed, 16)
    axis = axis_of(particles, real)
    numbers = ParticleNumbers()
    numbers.fit(particles, real, torch.ones(count))
    values = numbers(particles.double(), real, torch.ones(count))
    shift, spread = numbers.kinematic.shift[1:], numbers.kinematic.scale[1:]
    values[..., 1:3] = ((values[..., 1:3] * spread + shift) * scale - shift) / spread
    numbers.low, numbers.high = numbers.low - 1, numbers.high + 1
    made = numbers.particles(values, real, Frame(torch.ones(count), *axis))
    return JetArrays(made.float().numpy(), np.maximum(columns["jet_nparticles"] - fewer, 1))


@pytest.fixture(scope="module")
def figures():
    """Figures of jets of the same distribution, and of wider ones."""
    needed()
    pytest.importorskip("sklearn")
    simulated = arrays(160, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "ROUNDS", 8)
        patch.setattr(judging, "FOLDS", 3)
        made = {"same": arrays(80, 2), "wide": arrays(80, 2, scale=1.5)}
        return {name: generation_figures(one, simulated) for name, one in made.items()}


def test_jets_that_are_those_they_stand_for_are_as_far_as_the_floor(monkeypatch):
    """A drawn jet is not compared with the very jet whose class and pT it was drawn for."""
    needed()
    pytest.importorskip("sklearn")
    monkeypatch.setattr(judging, "ROUNDS", 2)
    monkeypatch.setattr(judging, "FOLDS", 2)
    simulated = arrays(40, 1)
    found = generation_figures(simulated, simulated)
    floors = {name.replace("_floor", ""): value for name, value in found.items() if "_floor" in name}
    assert len(floors) == 7
    assert {name: found[name] for name in floors} == floors


def test_each_figure_notices_what_is_wrong_and_stands_beside_its_floor(figures):
    same, wide = figures["same"], figures["wide"]
    assert same["jets_compared"] == 80
    for name in ("w1_mass_gev", "classifier_auc", "mmd2", "particle_histogram_mse"):
        assert wide[name] > same[name]
    assert wide["w1_mass_gev"] > 2 * max(same["w1_mass_gev"], wide["w1_mass_floor_gev"])
    for name in ("classifier_auc", "classifier_auc_floor"):
        assert same[name] == pytest.approx(0.5, abs=5 * same["classifier_auc_chance"])
    assert wide["classifier_auc"] > 0.5 + 5 * wide["classifier_auc_chance"]
    assert abs(same["mmd2_floor"]) < 0.02 < wide["mmd2"]
    # floors are of simulated jets alone
    floors = [name for name in same if "floor" in name]
    assert len(floors) == 7
    assert all(same[name] == wide[name] for name in floors)


def test_a_distance_is_that_of_sorted_samples():
    true, few = (Described(jets, axis_quantities(jets)) for jets in (arrays(60, 1), arrays(60, 1, fewer=4)))
    found = judging.distances(few, true)
    assert found["w1_multiplicity"] == 4
    for name, column in (("mass", "jet_mass"), ("pt", "jet_pt")):
        apart = np.sort(few.quantities[column]) - np.sort(true.quantities[column])
        assert found[f"w1_{name}_gev"] == pytest.approx(np.abs(apart).mean())
        assert found[f"w1_{name}_gev"] > 1


def test_the_discrepancy_is_that_of_a_loop():
    needed()
    first, true = Described.of(arrays(14, 3, scale=1.4)), Described.of(arrays(14, 4))
    names = judging.KERNEL_QUANTITIES
    spread = [np.std(true.quantities[name]) for name in names]
    x, y = (
        [[one.quantities[name][row] / s for name, s in zip(names, spread, strict=True)] for row in range(14)]
        for one in (first, true)
    )
    apart = [math.dist(a, b) for a, b in itertools.combinations(y, 2)]
    width = float(np.median(apart))
    assert judging.bandwidth(true) == pytest.approx(width)

    def kernel(a, b):
        return math.exp(-(math.dist(a, b) ** 2) / (2 * width**2))

    inner = [np.mean([kernel(a, b) for a, b in itertools.permutations(points, 2)]) for points in (x, y)]
    cross = np.mean([kernel(a, b) for a, b in itertools.product(x, y)])
    assert judging.discrepancy(first, true)["mmd2"] == pytest.approx(sum(inner) - 2 * cross)


def test_a_divergence_is_that_of_a_loop():
    needed()
    first, true = Described.of(arrays(30, 5, scale=1.2, fewer=3)), Described.of(arrays(30, 6))
    made, real = (np.log(one.jets.pt_gev[one.jets.real]) for one in (first, true))
    edges = np.linspace(real.min(), real.max(), judging.BINS + 1)
    p, q = np.full(judging.BINS, 0.5), np.full(judging.BINS, 0.5)
    for counts, values in ((p, real), (q, made)):
        for value in values:
            counts[min(max(int(np.searchsorted(edges, value, "right")) - 1, 0), judging.BINS - 1)] += 1
    expected = sum(a / p.sum() * math.log((a / p.sum()) / (b / q.sum())) for a, b in zip(p, q, strict=True))
    found = judging.particle_histograms(first, true)
    assert found["particle_pt_kl_nats"] == pytest.approx(expected, rel=1e-6)
    assert found["particle_pt_kl_nats"] > 0
    assert judging.particle_histograms(true, true)["particle_histogram_mse"] == 0


def test_samples_that_say_nothing_are_refused():
    with pytest.raises(UserError, match="100 generated and 30 simulated jets are too few: 20 generated"):
        generation_figures(arrays(100), arrays(30))
    with pytest.raises(UserError, match="16 particles are read of a generated jet and 8 of a simulated one"):
        generation_figures(arrays(40), arrays(90).hardest(8))
