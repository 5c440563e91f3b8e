"""Quantities of events against a loop over their objects."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from collider.higgs.quantities import NEEDED, QUANTITIES, high_level_quantities
from reconstruction.errors import UserError

OBJECTS = 8


def drawn(events, seed=1):
    """Return columns of events with none to three leptons and none to five jets, in any order of charges."""
    random = np.random.default_rng(seed)
    kind = np.zeros((events, OBJECTS), np.int8)
    for row in kind:
        leptons, jets = random.integers(4), random.integers(6)
        row[: leptons + jets] = [*random.choice([11, 13, 13], leptons), *[1] * jets][:OBJECTS]
    there = kind > 0
    some = lambda low, high: np.where(there, random.uniform(low, high, kind.shape), 0).astype(np.float32)  # noqa: E731
    lepton = there & (kind != 1)
    return {
        "object_kind": kind,
        "object_pt_gev": some(10, 150),
        "object_eta": some(-2.4, 2.4),
        "object_phi_rad": some(-3.1, 3.1),
        "object_mass_gev": np.where(lepton, 0, some(1, 15)),
        "object_charge": np.where(lepton, random.choice([-1, 1], kind.shape), 0).astype(np.int8),
        "object_b_tag": ((kind == 1) & (random.random(kind.shape) < 0.5)).astype(np.int8),
        "object_isolation": np.where(lepton, some(0, 0.5), 0),
        "missing_pt_gev": random.uniform(1, 90, events),
        "missing_phi_rad": random.uniform(-3.1, 3.1, events),
    }


def four(one):
    x, y, z = one["pt"] * math.cos(one["phi"]), one["pt"] * math.sin(one["phi"]), one["pt"] * math.sinh(one["eta"])
    return np.array([x, y, z, math.sqrt(x * x + y * y + z * z + one["mass"] ** 2)])


def mass(vector):
    return math.sqrt(max(vector[3] ** 2 - (vector[:3] ** 2).sum(), 0))


def distance(eta, phi, one):
    turn = abs(phi - one["phi"])
    return math.hypot(eta - one["eta"], min(turn, 2 * math.pi - turn))


def transverse_mass(vector, missing):
    energy = math.sqrt(mass(vector) ** 2 + vector[0] ** 2 + vector[1] ** 2) + math.hypot(*missing)
    return math.sqrt(max(energy**2 - ((vector[:2] + missing) ** 2).sum(), 0))


def slow(columns, row):
    """All quantities of one event, object by object."""
    names = ("kind", "pt_gev", "eta", "phi_rad", "mass_gev", "charge", "b_tag", "isolation")
    short = ("kind", "pt", "eta", "phi", "mass", "charge", "b_tag", "isolation")
    objects = [
        {key: float(columns[f"object_{name}"][row, i]) for key, name in zip(short, names, strict=True)}
        for i in range(OBJECTS)
        if columns["object_kind"][row, i]
    ]
    by_pt = lambda chosen: sorted(chosen, key=lambda one: -one["pt"])  # noqa: E731
    leptons, jets = by_pt(o for o in objects if o["kind"] != 1), by_pt(o for o in objects if o["kind"] == 1)
    muons = [o for o in leptons if o["kind"] == 13]
    size, angle = columns["missing_pt_gev"][row], columns["missing_phi_rad"][row]
    missing = size * np.array([math.cos(angle), math.sin(angle)])
    pairs = [(a, b) for a, b in itertools.combinations(muons, 2) if a["charge"] * b["charge"] < 0]
    pairs.sort(key=lambda pair: -math.hypot(*(four(pair[0]) + four(pair[1]))[:2]))
    nan = float("nan")
    found = dict.fromkeys(QUANTITIES, nan)
    third = next((o for o in leptons if not (pairs and o in pairs[0])), None)
    tagged = [o for o in jets if o["b_tag"]]
    total = sum((four(o) for o in leptons), np.zeros(4))
    found |= {
        "leptons_mass_gev": mass(total),
        "leptons_pt_sum_gev": sum(o["pt"] for o in leptons),
        "electrons": len(leptons) - len(muons),
        "muons": len(muons),
        "jets": len(jets),
        "b_tags": len(tagged),
        "jets_pt_sum_gev": sum(o["pt"] for o in jets),
        "missing_pt_gev": size,
    }
    for i, one in enumerate(leptons[:3], 1):
        found |= {f"lepton_{i}_{name}": one[key] for name, key in (("pt_gev", "pt"), ("eta", "eta"))}
        found[f"lepton_{i}_isolation"] = one["isolation"]
    found |= {f"jet_{i}_pt_gev": one["pt"] for i, one in enumerate(jets[:4], 1)}
    if tagged:
        found["b_jet_pt_gev"] = tagged[0]["pt"]
    if third:
        found["third_lepton_pt_gev"] = third["pt"]
        found["third_lepton_transverse_mass_gev"] = transverse_mass(four(third), missing)
        if tagged:
            found["closest_b_jet_delta_r"] = min(distance(third["eta"], third["phi"], o) for o in tagged)
        both = (four(pairs[0][0]) + four(pairs[0][1]) if pairs else 0) + four(third)
        found["all_transverse_mass_gev"] = transverse_mass(both, missing)
    if pairs:
        pair = four(pairs[0][0]) + four(pairs[0][1])
        phi, eta = math.atan2(pair[1], pair[0]), math.asinh(pair[2] / math.hypot(pair[0], pair[1]))
        found |= {"muon_pair_mass_gev": mass(pair), "muon_pair_pt_gev": math.hypot(pair[0], pair[1])}
        found["muon_pair_delta_r"] = distance(pairs[0][0]["eta"], pairs[0][0]["phi"], pairs[0][1])
        turn = abs(phi - angle)
        found["missing_pair_delta_phi_rad"] = min(turn, 2 * math.pi - turn)
        if len(pairs) > 1:
            found["other_muon_pair_mass_gev"] = mass(four(pairs[1][0]) + four(pairs[1][1]))
        if third:
            found["third_lepton_pair_delta_r"] = distance(eta, phi, third)
        light = [o for o in jets if not o["b_tag"]][:2]
        if len(light) == 2:
            found["pair_and_jets_mass_gev"] = mass(pair + four(light[0]) + four(light[1]))
    return found


def test_quantities_are_those_of_a_loop():
    columns = drawn(120)
    found = high_level_quantities(columns)
    assert tuple(found) == QUANTITIES
    for row in range(120):
        for name, value in slow(columns, row).items():
            np.testing.assert_allclose(found[name][row], value, rtol=1e-5, atol=1e-4, err_msg=f"{name} of {row}")
    for name in QUANTITIES:
        assert np.isfinite(found[name]).any(), name


def test_no_event_is_no_mistake():
    assert all(values.shape == (0,) for values in high_level_quantities(drawn(0)).values())


def test_columns_that_are_not_there_or_unequal_are_one_sentence():
    columns = drawn(5)
    some = {name: columns[name] for name in NEEDED if name not in ("object_b_tag", "missing_pt_gev")}
    with pytest.raises(UserError, match=r"need the columns object_b_tag, missing_pt_gev, as scripts/higgs.py"):
        high_level_quantities(some)
    columns["missing_pt_gev"] = columns["missing_pt_gev"][:4]
    with pytest.raises(UserError, match="object_kind has 5, missing_pt_gev has 4"):
        high_level_quantities(columns)
