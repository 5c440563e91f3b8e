"""Quantities that an analysis looks at, from the columns of events: what boosted trees are trained on.

All are of what was measured; masses that a network is told are none of them. A quantity that an event does not have
(the second muon pair of an event with two muons) is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.kinematics import azimuth, delta_r, invariant_mass, momentum, phi_difference, transverse
from collider.generation.objects import JET
from collider.generation.smearing import ELECTRON, MUON
from reconstruction.errors import UserError

Values = NDArray[np.float64]

NEEDED: Final = (
    *("object_kind", "object_pt_gev", "object_eta", "object_phi_rad", "object_mass_gev", "object_charge"),
    *("object_b_tag", "object_isolation", "missing_pt_gev", "missing_phi_rad"),
)
"""Columns that the quantities are made of."""
LEPTONS_LISTED, JETS_LISTED = 3, 4
QUANTITIES: Final = (
    *("muon_pair_mass_gev", "other_muon_pair_mass_gev", "muon_pair_pt_gev", "muon_pair_delta_r"),
    *("leptons_mass_gev", "leptons_pt_sum_gev", "electrons", "muons"),
    *(f"lepton_{i + 1}_pt_gev" for i in range(LEPTONS_LISTED)),
    *(f"lepton_{i + 1}_eta" for i in range(LEPTONS_LISTED)),
    *(f"lepton_{i + 1}_isolation" for i in range(LEPTONS_LISTED)),
    *("third_lepton_pt_gev", "third_lepton_transverse_mass_gev", "third_lepton_pair_delta_r"),
    *("jets", "b_tags", "jets_pt_sum_gev", "b_jet_pt_gev", "closest_b_jet_delta_r", "pair_and_jets_mass_gev"),
    *(f"jet_{i + 1}_pt_gev" for i in range(JETS_LISTED)),
    *("missing_pt_gev", "missing_pair_delta_phi_rad", "all_transverse_mass_gev"),
)
"""Names, in the order of the result. The muon pair has the larger transverse momentum of the pairs of opposite charge;
the third lepton is the one outside of it."""


def high_level_quantities(columns: Mapping[str, NDArray[Any]]) -> dict[str, Values]:
    """Return the quantities (event,) of QUANTITIES from columns of events, (event, object) and (event,).

    pair_and_jets_mass_gev is of the muon pair and the two hardest jets without b tag: that of H± where its W decays to
    jets. all_transverse_mass_gev is of muon pair, third lepton and missing momentum: below m(H±) where it decays to a
    lepton. Raises UserError for columns that are missing or of different lengths.
    """
    _require_columns(columns)
    seen = {name: np.asarray(columns[name], dtype=np.float64) for name in NEEDED}
    kind, pt = seen["object_kind"], seen["object_pt_gev"]
    lepton, jet = (kind == MUON) | (kind == ELECTRON), kind == JET
    tagged = jet & (seen["object_b_tag"] > 0)
    four = _four_momenta(seen)
    pair, other, third = _pairs(seen, four, kind == MUON, lepton)
    pair_four = _sum_of(four, pair)
    pair_eta, pair_phi = _eta(pair_four), azimuth(pair_four[..., 0], pair_four[..., 1])
    missing = _missing(seen)
    chosen = np.argmax(third, axis=1)[:, None]
    there = third.any(axis=1)
    of_third = lambda name: np.where(there, np.take_along_axis(seen[name], chosen, axis=1)[:, 0], np.nan)  # noqa: E731
    third_four = _sum_of(four, third)
    light_jets = _hardest(pt, jet & ~tagged, 2)
    with_jets = np.where(light_jets.sum(axis=1) == 2, _mass(_sum_of(four, pair | light_jets)), np.nan)
    values = {
        "muon_pair_mass_gev": _mass(pair_four),
        "other_muon_pair_mass_gev": np.where(other.any(axis=1), _mass(_sum_of(four, other)), np.nan),
        "muon_pair_pt_gev": transverse(pair_four[:, 0], pair_four[:, 1]),
        "muon_pair_delta_r": _delta_r_of_two(seen, pair),
        "leptons_mass_gev": _mass(_sum_of(four, lepton)),
        "leptons_pt_sum_gev": (pt * lepton).sum(axis=1),
        "electrons": (kind == ELECTRON).sum(axis=1),
        "muons": (kind == MUON).sum(axis=1),
        **_listed(seen, lepton, "lepton", ("pt_gev", "eta", "isolation"), LEPTONS_LISTED),
        "third_lepton_pt_gev": of_third("object_pt_gev"),
        "third_lepton_transverse_mass_gev": np.where(there, _transverse_mass(third_four, missing), np.nan),
        "third_lepton_pair_delta_r": delta_r(of_third("object_eta"), of_third("object_phi_rad"), pair_eta, pair_phi),
        "jets": jet.sum(axis=1),
        "b_tags": tagged.sum(axis=1),
        "jets_pt_sum_gev": (pt * jet).sum(axis=1),
        "b_jet_pt_gev": np.where(tagged.any(axis=1), np.where(tagged, pt, 0).max(axis=1), np.nan),
        "closest_b_jet_delta_r": _closest(seen, tagged, of_third("object_eta"), of_third("object_phi_rad")),
        "pair_and_jets_mass_gev": with_jets,
        **_listed(seen, jet, "jet", ("pt_gev",), JETS_LISTED),
        "missing_pt_gev": seen["missing_pt_gev"],
        "missing_pair_delta_phi_rad": np.abs(phi_difference(seen["missing_phi_rad"], pair_phi)),
        "all_transverse_mass_gev": np.where(there, _transverse_mass(_sum_of(four, pair | third), missing), np.nan),
    }
    no_pair = ~pair.any(axis=1)
    for name in QUANTITIES:
        values[name] = np.asarray(values[name], dtype=np.float64)
        if "pair" in name:
            values[name][no_pair] = np.nan
    return {name: values[name] for name in QUANTITIES}


def _require_columns(columns: Mapping[str, NDArray[Any]]) -> None:
    absent = [name for name in NEEDED if name not in columns]
    if absent:
        raise UserError(f"quantities of events need the columns {', '.join(absent)}, as scripts/higgs.py writes them")
    rows = {name: len(columns[name]) for name in NEEDED}
    other = next((name for name in NEEDED if rows[name] != rows[NEEDED[0]]), None)
    if other is not None:
        raise UserError(
            f"columns of events are of different lengths: {NEEDED[0]} has {rows[NEEDED[0]]}, {other} has {rows[other]}"
        )


def _four_momenta(seen: Mapping[str, Values]) -> Values:
    """Return px, py, pz, E (event, object, 4)."""
    px, py, pz = momentum(seen["object_pt_gev"], seen["object_eta"], seen["object_phi_rad"])
    return np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + seen["object_mass_gev"] ** 2)], axis=-1)


def _sum_of(four: Values, chosen: NDArray[np.bool_]) -> Values:
    return np.asarray((four * chosen[..., None]).sum(axis=1))


def _mass(four: Values) -> Values:
    return np.asarray(invariant_mass(four[:, 0], four[:, 1], four[:, 2], four[:, 3]))


def _eta(four: Values) -> Values:
    return np.asarray(np.arcsinh(four[:, 2] / np.maximum(transverse(four[:, 0], four[:, 1]), 1e-9)))


def _pairs(
    seen: Mapping[str, Values], four: Values, muon: NDArray[np.bool_], lepton: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which objects (event, object) are of the muon pair, of the next one, and the hardest lepton outside.

    Pairs are of opposite charge, the one with the largest transverse momentum first.
    """
    charge = seen["object_charge"]
    size = muon.shape[1]
    one, other = np.triu_indices(size, 1)
    allowed = muon[:, one] & muon[:, other] & (charge[:, one] * charge[:, other] < 0)
    summed = four[:, one] + four[:, other]
    pt = np.where(allowed, transverse(summed[..., 0], summed[..., 1]), -1.0)
    order = np.argsort(-pt, axis=1, kind="stable")
    masks = []
    for rank in (0, 1):
        place = order[:, rank]
        there = np.take_along_axis(allowed, place[:, None], axis=1)[:, 0]
        mask = np.zeros_like(muon)
        rows = np.flatnonzero(there)
        mask[rows, one[place[rows]]] = mask[rows, other[place[rows]]] = True
        masks.append(mask)
    first, second = masks
    return first, second, _hardest(seen["object_pt_gev"], lepton & ~first, 1)


def _hardest(pt: Values, chosen: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return which objects are the hardest of those chosen, at most so many."""
    order = np.argsort(-np.where(chosen, pt, -1.0), axis=1, kind="stable")[:, :count]
    found = np.zeros_like(chosen)
    np.put_along_axis(found, order, True, axis=1)
    return found & chosen


def _listed(
    seen: Mapping[str, Values], chosen: NDArray[np.bool_], what: str, names: tuple[str, ...], count: int
) -> dict[str, Values]:
    """Return values of the chosen objects, hardest first: one quantity each, NaN where there are fewer."""
    order = np.argsort(-np.where(chosen, seen["object_pt_gev"], -1.0), axis=1, kind="stable")
    found = {}
    for name in names:
        values = np.where(chosen, seen[f"object_{name}"], np.nan)
        ordered = np.take_along_axis(values, order, axis=1)
        for i in range(count):
            found[f"{what}_{i + 1}_{name}"] = ordered[:, i] if i < ordered.shape[1] else np.full(len(values), np.nan)
    return found


def _delta_r_of_two(seen: Mapping[str, Values], pair: NDArray[np.bool_]) -> Values:
    first = np.argmax(pair, axis=1)[:, None]
    last = pair.shape[1] - 1 - np.argmax(pair[:, ::-1], axis=1)[:, None]
    of = lambda name, place: np.take_along_axis(seen[name], place, axis=1)[:, 0]  # noqa: E731
    places = (of(name, place) for place in (first, last) for name in ("object_eta", "object_phi_rad"))
    return np.asarray(delta_r(*places))


def _missing(seen: Mapping[str, Values]) -> Values:
    pt, phi = seen["missing_pt_gev"], seen["missing_phi_rad"]
    return np.stack([pt * np.cos(phi), pt * np.sin(phi)], axis=-1)


def _transverse_mass(four: Values, missing: Values) -> Values:
    """Return m_T of something seen and the missing momentum: m_T² = (E_T + p_T,miss)² − (p⃗_T + p⃗_T,miss)²."""
    mass = _mass(four)
    energy = np.sqrt(mass**2 + four[:, 0] ** 2 + four[:, 1] ** 2) + np.hypot(missing[:, 0], missing[:, 1])
    squared = energy**2 - ((four[:, :2] + missing) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _closest(seen: Mapping[str, Values], chosen: NDArray[np.bool_], eta: Values, phi: Values) -> Values:
    """Return ΔR from a direction to the nearest of the chosen objects, NaN where there is none."""
    distance = delta_r(seen["object_eta"], seen["object_phi_rad"], eta[:, None], phi[:, None])
    nearest = np.where(chosen, distance, np.inf).min(axis=1)
    return np.where(np.isfinite(nearest), nearest, np.nan)
