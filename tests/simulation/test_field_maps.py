"""A field map of the coils apparatus moves electrons as the coils do; files that are no maps are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from cres.errors import UserError
from cres.physics import CoilTrap, HarmonicTrap, Trap
from cres.physics.field_map import MapField
from cres.physics.fields import CoilField
from cres.physics.jets import places
from cres.simulation import ForwardModel, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.field_maps import FieldMapWarning, read_field_map
from cres.simulation.trapping import make_trap

COILS = SimulationConfig.from_yaml(Path(__file__).parents[2] / "configs/simulation/coils.yaml")
FIELD = CoilField(COILS.trap.field_t, COILS.trap.coils)
RADII_M, PLACES_M = np.linspace(0, 7.2e-3, 10), np.linspace(-0.08, 0.08, 161)


def table(**changes: object) -> pd.DataFrame:
    rho, z = (values.ravel() for values in np.meshgrid(RADII_M, PLACES_M, indexing="ij"))
    field_z, field_rho, _ = FIELD.beyond_background(rho, z)
    columns = {"rho_mm": rho * 1e3, "z_m": z, "b_z_t": field_z + FIELD.background_t, "b_rho_gauss": field_rho * 1e4}
    return pd.DataFrame(columns | changes)


def written(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def configured(path: Path, **trap: object) -> SimulationConfig:
    plain = COILS.to_dict()
    plain["trap"] = {"kind": "map", "map": str(path)} | trap
    plain["readout"]["samples"] = 1024
    return SimulationConfig.from_dict(plain)


def assert_same_motion(found: Trap, expected: Trap) -> None:
    start = 18_600.0, np.array([88.2, 88.5, 89.0, 89.5]), np.array([[1e-3], [3.5e-3], [6.4e-3]])
    axial = found.axial_frequency_hz(*start)
    np.testing.assert_allclose(axial, expected.axial_frequency_hz(*start), rtol=3e-8)
    # 1e-10 of the field is 3 Hz of the carrier
    np.testing.assert_allclose(found.average_field_t(*start), expected.average_field_t(*start), rtol=1e-10)
    np.testing.assert_allclose(found.drift_frequency_hz(*start), expected.drift_frequency_hz(*start), rtol=1e-6)
    np.testing.assert_allclose(found.turning_point_m(*start), expected.turning_point_m(*start), rtol=1e-7)


@pytest.mark.parametrize("gradient", [0.0, 1e-4])
def test_a_map_of_the_coils_moves_electrons_as_the_coils_do(tmp_path: Path, gradient: float) -> None:
    config = configured(written(tmp_path / "map.csv", table()), background_gradient_t_per_m=gradient)
    expected = CoilTrap(COILS.trap.field_t, COILS.trap.coils, gradient)
    assert_same_motion(make_trap(config.trap), expected)


def test_the_series_is_that_of_the_coils(tmp_path: Path) -> None:
    config = configured(written(tmp_path / "map.csv", table()))
    short = dataclasses.replace(COILS, readout=dataclasses.replace(COILS.readout, samples=1024))
    electrons = sample_electrons(short, 6, seed=2)
    found, expected = simulate_columns(config, electrons), simulate_columns(short, electrons)
    largest = np.abs(expected["output_ts_I"]).max()
    # 5e-10 T of the interpolation turn the phase by 2e-4 in the record
    np.testing.assert_allclose(found["output_ts_I"], expected["output_ts_I"], atol=2e-3 * largest)
    np.testing.assert_allclose(found["avg_axial_frequency_Hz"], expected["avg_axial_frequency_Hz"], rtol=1e-7)


def test_the_jacobian_is_that_of_the_coils(tmp_path: Path) -> None:
    config = configured(written(tmp_path / "map.csv", table()))
    short = dataclasses.replace(COILS, readout=dataclasses.replace(COILS.readout, samples=1024))
    point = torch.tensor([[18_600.0, 88.6, 3e-3, 0.4, 1.0, 1.0]], dtype=torch.float64)
    found, expected = ForwardModel(config).jacobian(point)[1], ForwardModel(short).jacobian(point)[1]
    for parameter in range(6):
        difference = (found[0, parameter] - expected[0, parameter]).norm() / expected[0, parameter].norm()
        assert float(difference) < 1e-3, parameter


def test_the_field_of_a_map_has_no_sources_and_its_jets_are_its_derivatives() -> None:
    field_z = FIELD.beyond_background(*np.meshgrid(RADII_M, PLACES_M, indexing="ij"))[0] + FIELD.background_t
    field = MapField(RADII_M, PLACES_M, field_z)
    radius, axial, step = np.array([1.1e-3, 4.3e-3, 6.9e-3]), np.array([0.021, -0.0612, 0.0755]), 1e-6
    z, rho, flux = field.beyond_background(*places(radius, axial))
    np.testing.assert_allclose(flux.first[0], radius * z.value, rtol=1e-9)
    np.testing.assert_allclose(flux.first[1], -radius * rho.value, rtol=1e-6)
    np.testing.assert_allclose(rho.first[0] + rho.value / radius + z.first[1], 0, atol=1e-6 * np.abs(z.first[1]).max())
    difference = (field.excess_t(radius, axial + step) - field.excess_t(radius, axial - step)) / (2 * step)
    np.testing.assert_allclose(field.excess_t(*places(radius, axial)).first[1], difference, rtol=1e-6)


def test_hdf5_matrices_and_rows_in_any_order_give_the_same_field(tmp_path: Path) -> None:
    frame = table()
    shuffled = written(tmp_path / "shuffled.csv", frame.sample(frac=1, random_state=1))
    with h5py.File(tmp_path / "map.h5", "w") as file:
        file["rho_m"], file["z_m"] = RADII_M, PLACES_M
        for name in ("b_z_t", "b_rho_gauss"):
            file[name] = frame[name].to_numpy().reshape(10, 161)
    place = np.array([2e-3, 5e-3]), np.array([0.013, -0.055])
    one, other = read_field_map(shuffled), read_field_map(tmp_path / "map.h5")
    for a, b in zip(one.beyond_background(*place), other.beyond_background(*place), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_the_configuration_carries_the_map_and_sees_that_it_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "map.csv", table())
    (tmp_path / "apparatus.yaml").write_text("trap:\n  kind: map\n  map: map.csv\n")
    config = SimulationConfig.from_yaml(tmp_path / "apparatus.yaml")
    assert config.trap.field_t == pytest.approx(0.958738, abs=1e-6)
    assert SimulationConfig.from_dict(config.to_dict()) == config
    written(path, table(b_z_t=table()["b_z_t"] + 1e-4))
    with pytest.raises(UserError, match="has changed"):
        SimulationConfig.from_dict(config.to_dict())


def test_a_doubtful_map_is_used_with_a_warning(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    noisy = table()
    noisy["b_rho_gauss"] += 0.06 * noisy["b_rho_gauss"].std() * generator.standard_normal(len(noisy))
    with pytest.warns(FieldMapWarning, match="div B"):
        read_field_map(written(tmp_path / "map.csv", noisy))


WRONG = {
    "has no column for b_rho": lambda t: t.drop(columns="b_rho_gauss"),
    "more than one column for z": lambda t: t.assign(z_mm=t["z_m"] * 1e3),
    "missing or not finite": lambda t: t.assign(b_z_t=t["b_z_t"].where(t.index != 7)),
    "does not hold numbers": lambda t: t.assign(b_z_t=t["b_z_t"].astype(str) + "?"),
    "do not fill a grid": lambda t: t.drop(index=3),
    "each radius needs each axial place once": lambda t: t.assign(z_m=t["z_m"].where(t.index != 3, t["z_m"][4])),
    "4 × 4 is the least": lambda t: t[t["rho_mm"] < 2],
    "must begin on the axis": lambda t: t[t["rho_mm"] > 0],
    "are the units in the names right": lambda t: t.assign(b_z_t=t["b_z_t"] * 1e4),
    "must point along": lambda t: t.assign(b_z_t=-t["b_z_t"]),
    "div B = 0": lambda t: t.assign(b_rho_gauss=-t["b_rho_gauss"]),
    "holds no electrons": lambda t: t.assign(b_z_t=2 * FIELD.background_t - t["b_z_t"], b_rho_gauss=-t["b_rho_gauss"]),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_file_that_is_no_map_is_told_in_one_sentence(tmp_path: Path, message: str) -> None:
    path = written(tmp_path / "map.csv", WRONG[message](table()))
    with pytest.raises(UserError, match=message) as caught:
        read_field_map(path)
    assert "map.csv" in str(caught.value)


def test_files_that_cannot_be_read_or_do_not_reach_the_electrons(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_field_map(tmp_path / "none.csv")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(UserError, match="not an HDF5 file"):
        read_field_map(tmp_path / "text.h5")
    small = table()
    with pytest.raises(UserError, match="electrons of the ensemble gyrate to"):
        configured(written(tmp_path / "small.csv", small[small["rho_mm"] < 6]))
    with pytest.raises(UserError, match="give both or none"):
        SimulationConfig.from_dict({"trap": {"kind": "map"}})


def test_a_gradient_in_a_harmonic_trap_is_the_shifted_trap() -> None:
    """B₀(1 + z²/L²) + gz has its minimum at −gL²/2B₀; it is a harmonic trap of another field and length."""
    gradient, length, field = 1e-3, 0.38, 0.959
    config = SimulationConfig.from_dict(
        {"trap": {"kind": "harmonic", "field_t": field, "background_gradient_t_per_m": gradient}}
    )
    shift = gradient * length / (2 * field)
    expected = HarmonicTrap(field * (1 - shift**2), length * np.sqrt(1 - shift**2))
    found = make_trap(config.trap)
    start = 18_600.0, np.array([88.0, 88.7, 89.6]), np.array([0.0, 3e-3, 5e-3])
    np.testing.assert_allclose(found.axial_frequency_hz(*start), expected.axial_frequency_hz(*start), rtol=1e-6)
    np.testing.assert_allclose(found.average_field_t(*start), expected.average_field_t(*start), rtol=1e-9)
    columns = simulate_columns(config, sample_electrons(config, 3, 0))
    assert np.isfinite(columns["output_ts_I"]).all()
    with pytest.raises(UserError, match="no closed form in a bathtub"):
        SimulationConfig.from_dict({"trap": {"background_gradient_t_per_m": 1e-3}})
