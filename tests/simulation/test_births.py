"""Births along the field line against electrons thrown there one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp, kstest

from cres.errors import UserError
from cres.simulation import SimulationConfig, sample_electrons
from cres.simulation.births import line_pitch_deg, line_share
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.trapping import make_trap

Array = NDArray[np.float64]
BATHTUB: dict[str, Any] = {}
HARMONIC = {"trap": {"kind": "harmonic", "gradient_length_m": 0.5}}
COILS = {
    "trap": {"kind": "coils", "field_t": 0.9587, "coils": [[0.02, -0.08, 42.0], [0.02, 0.08, 42.0]]},
    "cavity": {"length_m": 0.16},
}
DRAWN = 4000


def config_of(tree: dict[str, Any], **ensemble: Any) -> SimulationConfig:
    return SimulationConfig.from_dict({**tree, "ensemble": {"births": "field_line", **ensemble}})


def thrown(config: SimulationConfig, length_m: float, count: int) -> tuple[Array, Array]:
    """Throw electrons into the gas of a cylinder, isotropic; return pitch angles and radii at the minimum.

    The field line at a place is followed by its flux, ρ √B, to the middle.
    """
    random = np.random.default_rng(1)
    trap = make_trap(config.trap)
    z = random.uniform(-length_m / 2, length_m / 2, count)
    radius = 8e-3 * np.sqrt(random.random(count))
    cosine = random.uniform(0, 0.06, count)  # beyond it nothing is kept
    local = np.asarray(trap.field_t(radius, z))
    inside = radius.copy()
    for _ in range(3):
        inside = radius * np.sqrt(local / np.asarray(trap.field_t(inside, 0.0)))
    if config.trap.kind == "bathtub":
        inside = radius * np.sqrt(local / config.trap.field_t)
    lowest = np.asarray(trap.field_t(inside, 0.0))
    pitch = np.rad2deg(np.arcsin(np.sqrt((1 - cosine**2) * lowest / local)))
    low, high = config.ensemble.pitch_angle_deg
    kept = (pitch >= low) & (pitch <= high) & (inside <= config.ensemble.radius_m[1])
    return pitch[kept], inside[kept]


@pytest.mark.parametrize(
    ("tree", "length_m"), [(BATHTUB, 0.146), (HARMONIC, 0.08), (COILS, 0.158)], ids=["bathtub", "harmonic", "coils"]
)
def test_pitch_angles_and_radii_are_those_of_electrons_thrown_into_the_gas(tree: Any, length_m: float) -> None:
    config = config_of(tree, pitch_angle_deg=[88.3, 90])
    electrons = sample_electrons(config, DRAWN, 3)
    pitch, radius = thrown(config, length_m, 400_000)
    assert len(pitch) > DRAWN
    assert ks_2samp(electrons.pitch_angle_deg, pitch).pvalue > 1e-3
    assert ks_2samp(electrons.radius_m, radius).pvalue > 1e-3
    # and the same comparison sees electrons that start at the minimum
    minimum = dataclasses.replace(config, ensemble=dataclasses.replace(config.ensemble, births="minimum"))
    assert ks_2samp(sample_electrons(minimum, DRAWN, 3).pitch_angle_deg, pitch).pvalue < 1e-3


def test_the_closed_form_of_the_bathtub() -> None:
    """dN/dcosθ₀ ∝ L₁ + πL₀ cotθ₀: 53.7 % lie below 89°, and 88° holds 1.35 times as many as 90°."""
    share = line_share(np.array([88.0, 89.0, 90.0]), 0.12, 0.38)
    assert share[2] == pytest.approx(0.0, abs=1e-15)
    assert (share[0] - share[1]) / share[0] == pytest.approx(0.537, abs=1e-3)
    theta = np.deg2rad(np.array([88.0, 89.3]))
    step = 1e-5
    density = (line_share(np.rad2deg(theta - step), 0.12, 0.38) - line_share(np.rad2deg(theta + step), 0.12, 0.38)) / (
        np.cos(theta - step) - np.cos(theta + step)
    )
    formula = 0.12 + np.pi * 0.38 / np.tan(theta)
    assert density[0] / density[1] == pytest.approx(formula[0] / formula[1], rel=1e-6)


@pytest.mark.parametrize("flat", [0.0, 0.12])
@pytest.mark.parametrize("limits", [(88.0, 90.0), (85.0, 89.5)])
def test_the_inverse_is_that_of_the_share(flat: float, limits: tuple[float, float]) -> None:
    draw = np.array([0.0, 1e-9, 0.1, 0.5, 0.999, 1.0])
    found = line_pitch_deg(limits, flat, 0.38, draw)
    low, high = (float(line_share(limit, flat, 0.38)) for limit in limits)
    assert found[0] == pytest.approx(limits[0], abs=1e-9)
    np.testing.assert_allclose(line_share(found, flat, 0.38), low + (high - low) * draw, rtol=1e-9, atol=1e-15)


def test_an_electron_depends_on_its_number_alone_and_comes_out_of_devices_too() -> None:
    config = config_of(COILS)
    together, alone = sample_electrons(config, 6, 9), sample_electrons(config, 1, 9, start=4)
    assert together.pitch_angle_deg[4] == alone.pitch_angle_deg[0]
    assert together.radius_m[4] == alone.radius_m[0]
    source = DeviceElectrons(config_of(BATHTUB))
    assert ((source.start_values(1, 0, 4).pitch_angle_deg >= 88) & (source.start_values(1, 0, 4).radius_m < 7e-3)).all()


def test_files_without_the_key_keep_their_electrons() -> None:
    electrons = sample_electrons(SimulationConfig.default(), 5000, 2)
    low = np.cos(np.deg2rad(88.0))
    assert kstest(np.cos(np.deg2rad(electrons.pitch_angle_deg)) / low, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("kind", "mass_u"), [("tritium", 6.032), ("krypton", 83.913)])
def test_a_warm_source_spreads_the_energies(kind: str, mass_u: float) -> None:
    """p √(kT/M): 0.094 eV for T₂ at 30 K (Robertson & Knapp 1988 have 0.094)."""
    energy = {"energy_ev": [17_724, 17_924]} if kind == "krypton" else {}
    cold = SimulationConfig.from_dict({"ensemble": {"kind": kind, **energy}})
    warm = SimulationConfig.from_dict({"ensemble": {"kind": kind, "source_temperature_k": 30.0, **energy}})
    moved = sample_electrons(warm, 4000, 1).energy_ev - sample_electrons(cold, 4000, 1).energy_ev
    assert moved.std() == pytest.approx(0.094 * np.sqrt(6.032 / mass_u) * (0.976 if kind == "krypton" else 1), rel=0.04)
    assert abs(moved.mean()) < 4 * moved.std() / np.sqrt(4000)


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"births": "feild_line"}, "did you mean 'field_line'"),
        ({"source_temperature_k": 30.0}, "kind uniform has none"),
        ({"kind": "tritium", "source_temperature_k": -1.0}, "positive"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(ensemble: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_dict({"ensemble": ensemble})
