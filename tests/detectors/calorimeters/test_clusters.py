"""What is read of cells, and clusters, beside slow twins."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from guns import gun
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from collider.detectors.calorimeters.clusters import Topology, cluster_cells
from collider.detectors.calorimeters.config import Calorimeters, CellReadout, Ecal
from collider.detectors.calorimeters.grid import AngularGrid
from collider.detectors.calorimeters.points import NO_PARTICLE, Deposits
from collider.detectors.calorimeters.shapes import BEHIND, LOGARITHMIC, energy_around, shapes_of
from collider.detectors.calorimeters.showering import shower
from collider.detectors.calorimeters.signals import ReadCells, calibration, read_cells
from reconstruction.errors import UserError

GRID = AngularGrid(6, 8, 2)
NO_DEPOSITS = Deposits(*(np.zeros(0, dtype=np.int64),) * 3, np.zeros(0))


# The grid -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, GRID.cells - 1))
def test_a_cell_holds_its_middle_and_touches_what_touches_it(number):
    cell = np.array([number])
    eta, phi = GRID.centre(cell)
    found, there = GRID.cell_of(eta, phi, GRID.layer(cell))
    assert there[0]
    assert found[0] == number
    beside = GRID.neighbours(cell)[0]
    around = {int(one) for one in beside if one >= 0}
    for other in range(GRID.cells):
        away = np.abs(np.array(_places(number)) - _places(other))
        away[2] = min(away[2], GRID.sectors - away[2])
        touches = (away[0] == 0 and away[1:].max() == 1) or (away[0] == 1 and away[1:].max() == 0)
        assert touches == (other in around)


def _places(cell):
    return cell // (GRID.rings * GRID.sectors), cell // GRID.sectors % GRID.rings, cell % GRID.sectors


def test_what_is_beside_the_cells_has_none():
    _, there = GRID.cell_of(
        np.array([GRID.largest_eta + 0.01, -GRID.largest_eta - 0.01, 0.0]), np.zeros(3), np.zeros(3)
    )
    assert there.tolist() == [False, False, True]


# Electronics --------------------------------------------------------------------------------------------------------


def quiet(**changed):
    silent = {"stochastic_term": 0.0, "rings": 40, "sectors": 60, "readout": CellReadout(0.0, 0.0, 0.0)}
    return Ecal(**silent | changed)


def test_without_noise_the_cells_hold_what_was_left_in_them():
    parts = Calorimeters(quiet(rings=340, sectors=360))
    made = shower(gun(22, 10.0, 3), np.arange(3), parts, 3.8, 1)
    cells = read_cells(made.ecal, parts.ecal, 3, np.random.default_rng(1), 1)
    np.testing.assert_allclose(
        np.bincount(cells.event, cells.energy_gev), np.bincount(made.ecal.event, made.ecal.energy_gev), rtol=1e-12
    )
    np.testing.assert_array_equal(cells.energy_gev, cells.deposited_gev)
    assert (cells.particle == cells.event).all()


def test_cells_in_which_photostatistics_leave_nothing_are_not_read():
    """Without noise and threshold; most cells of a shower's rim hold less than one photon."""
    part = quiet(stochastic_term=0.3)
    left = Deposits(np.zeros(500, dtype=int), np.zeros(500, dtype=int), np.arange(500), np.full(500, 1e-4))
    cells = read_cells(left, part, 1, np.random.default_rng(1), 1)
    assert 0 < len(cells) < 500
    assert (cells.energy_gev > 0).all()
    found = shapes_of(cells, cluster_cells(cells, part.grid, 0.0, Topology()), left, part.grid)
    assert np.isfinite(found.eta).all()


def test_noise_of_empty_cells_is_that_of_a_threshold():
    part = quiet(readout=CellReadout(0.0, 0.05, 0.1))
    cells = read_cells(NO_DEPOSITS, part, 200, np.random.default_rng(1), 1)
    expected = 200 * part.grid.cells * norm.sf(2)
    assert len(cells) == pytest.approx(expected, abs=5 * math.sqrt(expected) + 0.012 * expected)  # a cell drawn twice
    assert cells.energy_gev.min() >= 0.1
    tail = norm.sf(3) / norm.sf(2)
    assert (cells.energy_gev > 0.15).mean() == pytest.approx(tail, rel=0.1)
    assert (cells.particle == NO_PARTICLE).all()
    assert (np.diff(cells.event * part.grid.cells + cells.cell) > 0).all()


def test_photostatistics_and_calibration():
    part = quiet(stochastic_term=0.03, readout=CellReadout(0.02, 0.0, 0.0))
    event = np.arange(4000)
    same = Deposits(event, event, np.full(4000, 7), np.full(4000, 25.0))
    cells = read_cells(same, part, 4000, np.random.default_rng(1), 5)
    factor = calibration(part, 5)[7]
    assert cells.energy_gev.mean() == pytest.approx(25 * factor, rel=0.001)
    assert cells.energy_gev.std() / cells.energy_gev.mean() == pytest.approx(0.03 / 5, rel=0.05)
    assert calibration(part, 5).std() == pytest.approx(0.02, rel=0.1)
    assert calibration(part, 6)[7] != factor


def test_the_particle_of_a_cell_left_most_in_it():
    deposits = Deposits(np.array([0, 1, 2]), np.zeros(3, dtype=int), np.array([4, 4, 9]), np.array([1.0, 2.0, 3.0]))
    cells = read_cells(deposits, quiet(), 1, np.random.default_rng(1), 1)
    assert cells.particle.tolist() == [1, 2]
    assert cells.deposited_gev.tolist() == [3.0, 3.0]


# Clusters -----------------------------------------------------------------------------------------------------------


def slow_clusters(cells, grid, noise_gev, topology):
    """Twin: event by event and cell by cell, with dictionaries; a label is the seed's place."""
    label = {}
    places = {(int(e), int(c)): i for i, (e, c) in enumerate(zip(cells.event, cells.cell, strict=True))}
    energy = cells.energy_gev

    beside = [
        [places[(int(event), int(c))] for c in row if (int(event), int(c)) in places]
        for event, row in zip(cells.event, grid.neighbours(cells.cell), strict=True)
    ]

    def around(i):
        return beside[i]

    for i in range(len(cells)):
        larger = [j for j in around(i) if (energy[j], -j) > (energy[i], -i)]
        if energy[i] >= topology.seed_sigma * noise_gev and not larger:
            label[i] = i
    while True:
        joining = {}
        for i in range(len(cells)):
            near = [j for j in around(i) if j in label and energy[j] >= topology.grow_sigma * noise_gev]
            if i not in label and near:
                joining[i] = label[max(near, key=lambda j: energy[j])]
        if not joining:
            return [label.get(i, -1) for i in range(len(cells))]
        label |= joining


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 0.7))
def test_clusters_are_those_of_a_slow_flood(seed, filled):
    random = np.random.default_rng(seed)
    keys = np.flatnonzero(random.random(2 * GRID.cells) < filled)
    energy = random.exponential(0.5, len(keys)) + 0.1
    cells = ReadCells(keys // GRID.cells, keys % GRID.cells, energy, np.zeros(len(keys), dtype=int), energy)
    topology = Topology(4.0, 2.0)
    found = cluster_cells(cells, GRID, 0.2, topology)
    slow = slow_clusters(cells, GRID, 0.2, topology)
    seeds = sorted(set(slow) - {-1})
    assert found.tolist() == [-1 if one == -1 else seeds.index(one) for one in slow]


def test_two_showers_that_touch_are_two_clusters():
    grid = AngularGrid(4, 20)
    energy = np.array([1.0, 5.0, 2.0, 4.0, 1.0])
    cells = ReadCells(np.zeros(5, dtype=int), np.arange(5), energy, np.zeros(5, dtype=int), energy)
    assert cluster_cells(cells, grid, 0.1, Topology()).tolist() == [0, 0, 0, 1, 1]
    equal = dataclasses.replace(cells, energy_gev=np.full(5, 2.0))
    assert len(set(cluster_cells(equal, grid, 0.1, Topology()))) == 1


def slow_shapes(cells, label, deposits, grid, number):
    """Twin: one cluster, its numbers as they are written."""
    inside = [i for i in range(len(cells)) if label[i] == number]
    energy = cells.energy_gev[inside].sum()
    weight = [max(0.0, LOGARITHMIC + math.log(cells.energy_gev[i] / energy)) for i in inside]
    eta, phi = grid.centre(cells.cell[inside])
    x, y = np.cos(phi), np.sin(phi)
    mean_phi = math.atan2(np.average(y, weights=weight), np.average(x, weights=weight))
    mean_eta = np.average(eta, weights=weight)
    away = np.angle(np.exp(1j * (phi - mean_phi)))
    left = {}
    for i in inside:
        here = (deposits.event == cells.event[i]) & (deposits.cell == cells.cell[i])
        for particle, one in zip(deposits.particle[here], deposits.energy_gev[here], strict=True):
            left[int(particle)] = left.get(int(particle), 0.0) + one
    best = max(left, key=left.get, default=NO_PARTICLE)
    return {
        "energy_gev": energy,
        "cells": len(inside),
        "eta": mean_eta,
        "phi": mean_phi,
        "sigma_eta": math.sqrt(np.average((eta - mean_eta) ** 2, weights=weight)),
        "sigma_phi": math.sqrt(np.average(away**2, weights=weight)),
        "front_share": sum(cells.energy_gev[i] for i in inside if grid.layer(cells.cell[i : i + 1])[0] == 0) / energy,
        "particle": best,
        "particle_share": left[best] / sum(left.values()) if left else 0.0,
    }


def test_shapes_are_those_of_a_slow_twin():
    parts = Calorimeters()
    together = gun(22, np.array([10.0, 4.0, 9.0, 20.0]), 4)
    particles = dataclasses.replace(
        together, event=np.array([0, 0, 1, 1]), pdg_id=np.array([22, 22, 22, 211]),
        momentum_gev=np.array([[-10.0, 1e-9, 1], [-4, 0.15, 0.5], [3, 8, 2], [2, -19, 5]]),
    )  # fmt: skip
    made = shower(particles, np.arange(2), parts, 3.8, 1)
    for part, deposits in ((parts.ecal, made.ecal), (parts.hcal, made.hcal)):
        cells = read_cells(deposits, part, 2, np.random.default_rng(1), 1)
        label = cluster_cells(cells, part.grid, part.readout.noise_gev, Topology())
        shapes = shapes_of(cells, label, deposits, part.grid)
        assert len(shapes) > 0
        for number in range(len(shapes)):
            slow = slow_shapes(cells, label, deposits, part.grid, number)
            for name, value in slow.items():
                got = getattr(shapes, name)[number]
                if name == "phi":
                    assert math.remainder(got - value, 2 * math.pi) == pytest.approx(0, abs=1e-3)
                else:
                    assert got == pytest.approx(value, rel=2e-3, abs=1e-6), name


def test_energy_around_a_cluster_is_that_of_a_sum_over_all_cells():
    random, grid = np.random.default_rng(2), AngularGrid(68, 72)
    keys = np.unique(random.integers(0, 2 * grid.cells, 3000))
    cells = ReadCells(keys // grid.cells, keys % grid.cells, random.random(len(keys)), keys * 0, keys * 0.0)
    label = np.full(len(keys), -1)
    chosen = random.choice(len(keys), 40, replace=False)
    label[np.sort(chosen)] = np.arange(40)
    shapes = shapes_of(cells, label, NO_DEPOSITS, grid)
    eta, phi = grid.centre(cells.cell)
    for i, got in enumerate(energy_around(shapes, cells, grid)):
        away = np.hypot(eta - shapes.eta[i], np.angle(np.exp(1j * (phi - shapes.phi[i]))))
        assert got == pytest.approx(cells.energy_gev[(away < BEHIND) & (cells.event == shapes.event[i])].sum())


def test_no_cells_no_clusters():
    none = ReadCells(*(np.zeros(0, dtype=int),) * 2, np.zeros(0), np.zeros(0, dtype=int), np.zeros(0))
    label = cluster_cells(none, GRID, 0.1, Topology())
    shapes = shapes_of(none, label, NO_DEPOSITS, GRID)
    assert len(shapes) == 0 == len(energy_around(shapes, none, GRID))


def test_impossible_topologies():
    with pytest.raises(UserError, match="grow_sigma must be at most seed_sigma"):
        Topology(2.0, 3.0)
