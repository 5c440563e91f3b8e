"""Single showers: against a slow twin, against closed forms, and what must not change them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammainc
from scipy.stats import kstest

from collider.showers import (
    Beam,
    CartesianGrid,
    CylindricalGrid,
    Material,
    Readout,
    SamplingMaterial,
    Tuning,
    keyed,
    material,
    mean_shower,
    radial_parameters,
    shower_parameters,
    simulate_showers,
)
from collider.showers.arrays import NUMPY, TorchArrays
from collider.showers.simulation import slice_edges
from collider.showers.sources import pair_share
from reconstruction.errors import UserError

LEAD = material("Pb")
X0, RM = LEAD.radiation_length_cm, LEAD.moliere_radius_cm
LEAD_ARGON = SamplingMaterial(LEAD, material("LAr"), 0.24, 0.40, sampling_term=0.11)
GRID = CylindricalGrid(tuple(np.arange(26) * X0), tuple(np.array([0, 0.25, 0.5, 1, 2, 5]) * RM), 4)
BOXES = CartesianGrid(tuple(np.arange(26) * X0), tuple(np.linspace(-6, 6, 9)), tuple(np.linspace(-6, 6, 9)))
STEP, MASK = 0x9E3779B97F4A7C15, 2**64 - 1


def slow_mixed(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
    return bits ^ (bits >> 31)


def slow_key(seed: int, split: int, event: int) -> int:
    return slow_mixed((slow_mixed(((seed * 4 + split + 1) * STEP) & MASK) + event * STEP) & MASK)


def slow_bits(key: int, stream: int, place: int) -> int:
    return slow_mixed((key + (place + (stream << 44)) * STEP) & MASK)


def slow_uniform(key: int, stream: int, place: int) -> float:
    return ((slow_bits(key, stream, place) >> 12) + 0.5) * 2.0**-52


def slow_normals(key: int, stream: int, place: int) -> tuple[float, float]:
    radius = math.sqrt(-2 * math.log(slow_uniform(key, stream, 2 * place)))
    angle = 2 * math.pi * slow_uniform(key, stream, 2 * place + 1)
    return radius * math.cos(angle), radius * math.sin(angle)


def slow_electron(energy: float, where: Material, grid: CartesianGrid, seed: int, event: int) -> np.ndarray:
    """One electron in a homogeneous material, spot by spot, from the paper's sentences."""
    key, found = slow_key(seed, 0, event), shower_parameters(energy, where)
    g1, g2 = slow_normals(key, keyed.FLUCTUATION, 0)
    plus, minus = math.sqrt((1 + found.rho) / 2) * g1, math.sqrt((1 - found.rho) / 2) * g2
    t = math.exp(found.mean_ln_t + found.sigma_ln_t * (plus + minus))
    alpha = max(1.1, math.exp(found.mean_ln_alpha + found.sigma_ln_alpha * (plus - minus)))
    spot_t, spot_alpha = t * (0.698 + 0.00212 * 82), max(1.1, alpha * (0.639 + 0.00334 * 82))
    beta, spot_beta = (alpha - 1) / t, (spot_alpha - 1) / spot_t
    cells, edges = np.zeros(grid.shape), slice_edges(grid, where)
    for i, (near, far) in enumerate(itertools.pairwise(edges)):
        share = gammainc(alpha, beta * far) - gammainc(alpha, beta * near)
        expected = found.spots * (gammainc(spot_alpha, spot_beta * far) - gammainc(spot_alpha, spot_beta * near))
        number = max(1, int(expected + slow_uniform(key, keyed.COUNTS, i)))
        typical = math.exp(found.mean_ln_alpha)
        tau = (near + far) / 2 / t * (alpha - 1) / alpha * typical / (typical - 1)
        radial = radial_parameters(tau, energy, where)
        for spot in range(number):
            bits = slow_bits(key, keyed.SPOTS, (i << 24) + spot)
            choice = ((bits >> 41) + 0.5) * 2.0**-23
            turn = (((bits >> 18) & 0x7FFFFF) + 0.5) * 2.0**-23
            p = min(max(float(radial.weight), 1e-6), 1 - 1e-6)
            if choice < p:
                u, radius = choice / p, float(radial.core)
            else:
                u, radius = (choice - p) / (1 - p), float(radial.tail)
            r = radius * math.sqrt(u / (1 - u)) * where.moliere_radius_cm
            x, y = r * math.cos(2 * math.pi * turn), r * math.sin(2 * math.pi * turn)
            layer = np.searchsorted(grid.depth_edges_cm, (near + far) / 2 * where.radiation_length_cm, "right") - 1
            a, b = np.searchsorted(grid.x_edges_cm, x, "right") - 1, np.searchsorted(grid.y_edges_cm, y, "right") - 1
            if 0 <= a < grid.shape[1] and 0 <= b < grid.shape[2]:
                cells[layer, a, b] += energy * share / number
    return cells


def test_a_shower_is_that_of_the_slow_twin():
    fast = simulate_showers([2.0, 2.0], LEAD, BOXES, seed=5, event_id=[7, 12345])
    for event, number in enumerate((7, 12345)):
        slow = slow_electron(2.0, LEAD, BOXES, 5, number)
        # float32 radii may put a spot of the edge into the next cell: about one in 10^5
        assert np.abs(fast.cells_gev[event] - slow).sum() < 0.01
        assert fast.absorbed_gev[event] == pytest.approx(slow.sum(), abs=5e-3)


@pytest.mark.parametrize("grid", [GRID, BOXES], ids=["rings", "boxes"])
def test_torch_is_numpy(grid):
    energies, what = [1.0, 5.0, 20.0], ["electron", "photon", "pi-"]
    readout = Readout(noise_gev=0.001, adc_gev=0.0005, threshold_gev=0.002, dead_cells=0.1, stochastic_term=0.03)
    plain = simulate_showers(energies, LEAD, grid, particle=what, readout=readout)
    other = simulate_showers(energies, LEAD, grid, particle=what, readout=readout, device="cpu")
    np.testing.assert_allclose(other.cells_gev, plain.cells_gev, atol=0.0011)
    np.testing.assert_allclose(other.absorbed_gev, plain.absorbed_gev, rtol=1e-4)


@pytest.mark.parametrize("beam", [Beam(), Beam((0.5, -1.0), (0.1, 0.2, 1.0))], ids=["central", "inclined"])
def test_batches_and_companions_change_nothing(beam):
    energies, ids = np.geomspace(1, 30, 7), np.arange(100, 107)
    together = simulate_showers(energies, LEAD, GRID, particle="photon", event_id=ids, beam=beam)
    small = simulate_showers(energies, LEAD, GRID, particle="photon", event_id=ids, beam=beam, batch_spots=500)
    assert np.array_equal(together.cells_gev, small.cells_gev)
    alone = simulate_showers(energies[3:4], LEAD, GRID, particle="photon", event_id=ids[3:4], beam=beam)
    assert np.array_equal(together.cells_gev[3], alone.cells_gev[0])
    other = simulate_showers(energies, LEAD, GRID, particle="photon", event_id=ids, beam=beam, seed=1)
    assert not np.array_equal(together.cells_gev, other.cells_gev)


@pytest.mark.parametrize("where", [LEAD, LEAD_ARGON], ids=["Pb", "Pb/LAr"])
def test_fluctuations_are_those_of_the_formulae(where):
    grid = CylindricalGrid((0, 40 * where.radiation_length_cm), (0, 30 * where.moliere_radius_cm))
    found, wanted = simulate_showers(np.full(4000, 10.0), where, grid), shower_parameters(10.0, where)
    log_t, log_alpha = np.log(found.t), np.log(found.alpha)
    assert kstest((log_t - wanted.mean_ln_t) / wanted.sigma_ln_t, "norm").pvalue > 1e-3
    assert kstest((log_alpha - wanted.mean_ln_alpha) / wanted.sigma_ln_alpha, "norm").pvalue > 1e-3
    assert np.corrcoef(log_t, log_alpha)[0, 1] == pytest.approx(wanted.rho, abs=0.04)
    # all of it is in the cell, with the sampling fluctuation alone
    assert found.absorbed_gev.mean() == pytest.approx(10, rel=0.01)
    spread = found.absorbed_gev.std() / 10
    if where is LEAD_ARGON:
        assert spread == pytest.approx(0.11 / math.sqrt(10), rel=0.06)
    else:
        assert spread < 0.01


@pytest.mark.parametrize("grid", [GRID, BOXES], ids=["rings", "boxes"])
def test_the_mean_shower_is_what_single_ones_tend_to(grid):
    """Without fluctuation of T and α showers differ from the mean profile only by ⟨ln T⟩ against T, a few per cent."""
    still = Tuning(sigma_ln_t=1e-6, sigma_ln_alpha=1e-6)
    single = simulate_showers(np.full(400, 10.0), LEAD, grid, tuning=still).cells_gev.mean(0)
    mean = mean_shower(10.0, LEAD, grid)
    assert np.abs(single - mean).sum() < 0.6
    across, wanted = single.sum(0), mean.sum(0)
    assert np.abs(across - wanted).max() < 0.05


@pytest.mark.parametrize("grid", [GRID, BOXES], ids=["rings", "boxes"])
def test_mean_showers_hold_all_energy_in_a_large_grid(grid):
    large = replace(grid, depth_edges_cm=tuple(np.arange(61) * X0))
    names = [name for name in vars(large) if name in ("radius_edges_cm", "x_edges_cm", "y_edges_cm")]
    large = replace(large, **{name: tuple(40 * edge for edge in getattr(large, name)) for name in names})
    assert mean_shower(10.0, LEAD, large).sum() == pytest.approx(10, rel=2e-3)


def test_a_photon_converts_after_nine_sevenths():
    found = simulate_showers(np.full(3000, 10.0), LEAD, GRID, particle="photon")
    assert kstest(found.start_x0, "expon", args=(0, 9 / 7)).pvalue > 1e-3
    x = np.sort(pair_share(*np.random.default_rng(0).random((2, 20000))))
    assert kstest(x, lambda x: (x - 2 / 3 * x**2 + 4 / 9 * x**3) * 9 / 7).pvalue > 1e-3


def test_an_inclined_shower_turns_with_its_axis():
    """Its energy's centre lies on the axis, wherever it enters."""
    fine = CartesianGrid(tuple(np.arange(31) * X0), *(tuple(np.linspace(-12, 12, 49)),) * 2)
    found = simulate_showers(np.full(60, 10.0), LEAD, fine, beam=Beam((1.0, -2.0), (0.3, 0.0, 1.0)))
    straight = simulate_showers(np.full(60, 10.0), LEAD, fine)
    weights = found.cells_gev.mean(0).ravel()
    x, y, z = (fine.centres_cm * weights[:, None]).sum(0) / weights.sum()
    assert y == pytest.approx(-2.0, abs=0.1)
    assert x == pytest.approx(1.0 + 0.3 * z, abs=0.15)
    upright = straight.cells_gev.mean(0).ravel()
    depth = (fine.centres_cm[:, 2] * upright).sum() / upright.sum()
    assert z == pytest.approx(depth / math.sqrt(1.09), rel=0.03)


def test_dead_material_takes_energy_before_the_front():
    kept = simulate_showers(np.full(300, 10.0), LEAD, GRID, dead_material_x0=4.0)
    before = simulate_showers(np.full(300, 10.0), LEAD, GRID).cells_gev.sum((2, 3))[:, :4].sum(1)
    missing = 10 - kept.absorbed_gev.mean()
    assert missing == pytest.approx(before.mean(), rel=0.2)
    assert np.allclose(kept.start_x0, -4)


def test_hadrons_show_less_and_fluctuate_more():
    """h/e below 1 and a fluctuating electromagnetic share."""
    iron = material("Fe")
    grid = CylindricalGrid(tuple(np.arange(121) * iron.radiation_length_cm), (0, 60 * iron.moliere_radius_cm))
    found = simulate_showers(np.full(400, 50.0), iron, grid, particle="pi+").absorbed_gev / 50
    electrons = simulate_showers(np.full(50, 50.0), iron, grid).absorbed_gev / 50
    assert 0.75 < found.mean() < 0.92
    assert found.std() > 5 * electrons.std()


def test_the_readout_does_what_it_says():
    quiet = simulate_showers(np.full(200, 5.0), LEAD, GRID)
    noisy = simulate_showers(np.full(200, 5.0), LEAD, GRID, readout=Readout(noise_gev=0.01))
    difference = (noisy.cells_gev - quiet.cells_gev).ravel()
    assert kstest(difference / 0.01, "norm").pvalue > 1e-3
    counted = simulate_showers(np.full(20, 5.0), LEAD, GRID, readout=Readout(adc_gev=0.01, bits=4)).cells_gev
    assert set(np.unique(np.round(counted / 0.01))) <= set(range(16))
    assert np.allclose(counted, np.round(counted / 0.01) * 0.01)
    cut = simulate_showers(np.full(20, 5.0), LEAD, GRID, readout=Readout(threshold_gev=0.02)).cells_gev
    assert cut[cut > 0].min() >= 0.02
    dead = simulate_showers(np.full(20, 5.0), LEAD, GRID, readout=Readout(dead_cells=0.2)).cells_gev
    silent = (dead == 0).all(0) & (quiet.cells_gev[:20] > 0).any(0)
    assert 0.1 < silent.mean() < 0.3
    spread = simulate_showers(np.full(2000, 5.0), LEAD, GRID, readout=Readout(constant_term=0.05))
    ratio = spread.cells_gev.sum((1, 2, 3)) / spread.absorbed_gev
    assert kstest((ratio - 1) / 0.05, "norm").pvalue > 1e-3


@pytest.mark.parametrize("shape", [0.02, 0.7, 3.0, 200.0])
def test_gamma_variates_are_of_their_distribution(shape):
    keys = keyed.event_keys(NUMPY, 1, 0, np.arange(20000))
    found = keyed.gammas(NUMPY, keys, keyed.SAMPLING, np.zeros(20000, int), np.full(20000, shape))
    assert kstest(found, "gamma", args=(shape,)).pvalue > 1e-3
    assert keyed.gammas(NUMPY, keys[:3], keyed.SAMPLING, np.zeros(3, int), np.zeros(3)).tolist() == [0, 0, 0]


def test_numbers_are_the_slow_twins_and_uniform():
    keys = keyed.event_keys(NUMPY, 9, 1, [0, 5, 10**12])
    assert [int(key) & MASK for key in keys] == [slow_key(9, 1, event) for event in (0, 5, 10**12)]
    assert np.array_equal(TorchArrays("cpu").host(keyed.event_keys(TorchArrays("cpu"), 9, 1, [0, 5, 10**12])), keys)
    first, second = keyed.pairs_at(NUMPY, keyed.bits_start(keys[:1], keyed.SPOTS, np.arange(100_000)))
    assert kstest(first, "uniform").pvalue > 1e-3
    assert kstest(second, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.015
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.015


WRONG = {
    "particle": (lambda: simulate_showers([1.0], LEAD, GRID, particle="electorn"), "did you mean 'electron'"),
    "muon": (lambda: simulate_showers([1.0], LEAD, GRID, particle=13), "there is no shower of particle 13"),
    "too few": (lambda: simulate_showers([1.0, 2.0], LEAD, GRID, particle=["photon"]), "1 particles are given for 2"),
    "energy": (lambda: simulate_showers([0.001], LEAD, GRID), "too little for a shower"),
    "ids": (lambda: simulate_showers([1.0], LEAD, GRID, event_id=[1, 2]), "lists of one length"),
    "device": (lambda: simulate_showers([1.0], LEAD, GRID, device="cuda:99"), "there is no device 'cuda:99'"),
    "dead": (lambda: simulate_showers([1.0], LEAD, GRID, dead_material_x0=-1), "dead_material_x0 must be 0 or more"),
    "edges": (lambda: CylindricalGrid((0, 2, 1), (0, 1)), "depth_edges_cm must be two or more numbers"),
    "front": (lambda: CylindricalGrid((-1, 2), (0, 1)), "before the front"),
    "radius": (lambda: CylindricalGrid((0, 2), (-1, 1)), "a radius is 0 or more"),
    "noise": (lambda: Readout(noise_gev=-1), "readout.noise_gev must be 0 or more"),
    "share": (lambda: Readout(dead_cells=1.5), "readout.dead_cells is a share"),
    "bits": (lambda: Readout(bits=0), "from 1 to 32"),
    "backwards": (lambda: Beam(direction=(0, 0, -1)), "with z above 0"),
    "rays": (
        lambda: simulate_showers([1.0, 2.0], LEAD, GRID, beam=Beam(np.zeros((3, 2)), (0.1, 0, 1))),
        "one ray for all of 2 events",
    ),
    "tuning": (lambda: Tuning(rho=-2), "tuning.rho"),
    "lambda": (
        lambda: simulate_showers([10.0], Material(82, 207.2, 0.56, 11.35), GRID, particle="pi+"),
        "give interaction_length_cm",
    ),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_cannot_shower_is_one_sentence(case):
    call, sentence = WRONG[case]
    with pytest.raises(UserError, match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_no_event_is_no_shower():
    assert simulate_showers([], LEAD, GRID).cells_gev.shape == (0, *GRID.shape)
