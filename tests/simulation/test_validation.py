"""The validation passes, and each of its checks fails when its physics is broken."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from cres.errors import UserError
from cres.simulation import SimulationConfig, checks, checks_modes, checks_tracks
from cres.simulation.validation import ALL, PAGE, REPORT, validate

CONFIG = SimulationConfig.default()


def changed(section: str, **values: Any) -> SimulationConfig:
    return dataclasses.replace(CONFIG, **{section: dataclasses.replace(getattr(CONFIG, section), **values)})


def test_all_pass_and_are_written(tmp_path: Path) -> None:
    assert validate(CONFIG, tmp_path)
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["passed"]
    assert [row["name"] for row in report["checks"]].count("chirp") == 1
    assert len(report["checks"]) == len(ALL)
    assert all(row["deviation"] <= row["tolerance"] for row in report["checks"])
    assert (tmp_path / PAGE).read_text().count("data:image/png") == len(ALL)


BROKEN = {
    checks.energy_balance: changed("loss", factor=1.1),
    checks.frequency: changed("trap", field_t=0.95903 * (1 + 1e-7)),
    checks.chirp: changed("loss", kind="off"),
    checks.sidebands: changed("trap", flat_length_m=0.118),
    checks.power_and_radius: changed("cavity", radius_m=7.3e-3),
    checks.power_and_detuning: changed("cavity", loaded_q=450.0),
    checks.noise_level: changed("readout", noise_density_w_per_hz=2.5e-13),
    checks.ensemble: changed("ensemble", pitch_angle_deg=(88.1, 90.0)),
    checks.detection_and_radius: changed("readout", noise_density_w_per_hz=4e-13),
    checks.detection_and_pitch_angle: changed("readout", noise_density_w_per_hz=4e-13),
    checks_modes.mode_power: changed("cavity", length_m=0.154),
    checks_modes.mode_balance: changed("loss", factor=1.002),
    checks_tracks.long_energy: changed("loss", factor=1.1),
    checks_tracks.long_phase: changed("loss", factor=1.0001),
    checks_tracks.track_lengths: changed("scattering", density_per_m3=1.1e18),
    checks_tracks.energy_losses: changed("scattering", elastic=False),
}


def test_every_check_is_broken_once() -> None:
    assert set(BROKEN) == set(ALL)


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.__name__)
def test_broken_physics_fails(check: Any) -> None:
    assert not check(CONFIG, BROKEN[check]).passed


def test_another_trap_is_refused(tmp_path: Path) -> None:
    coils = changed("trap", kind="coils", coils=((0.02, -0.08, 42.0), (0.02, 0.08, 42.0)))
    with pytest.raises(UserError, match="bathtub"):
        validate(coils, tmp_path)


MODES = SimulationConfig.from_yaml("configs/simulation/cavity_26ghz_modes.yaml")


def in_modes(**values: Any) -> SimulationConfig:
    return dataclasses.replace(MODES, cavity=dataclasses.replace(MODES.cavity, **values))


@pytest.mark.parametrize("check", checks_modes.MODE_CHECKS, ids=lambda check: check.__name__)
def test_modes_pass_and_fail_when_a_mode_or_the_port_is_wrong(check: Any) -> None:
    assert check(MODES, MODES).passed
    without_the_second = in_modes(modes=(MODES.cavity.modes[0], MODES.cavity.modes[2]))
    assert not check(MODES, without_the_second).passed
    if check is checks_modes.mode_balance:  # at rest an electron hardly feels where the port is
        port_elsewhere = in_modes(ports=(dataclasses.replace(MODES.cavity.ports[0], axial_m=0.034),))
        assert not check(MODES, port_elsewhere).passed


def test_births_along_the_line_pass_and_those_at_the_minimum_fail() -> None:
    born = dataclasses.replace(MODES.ensemble, births="minimum")
    assert checks.ensemble(MODES, MODES).passed
    assert not checks.ensemble(MODES, dataclasses.replace(MODES, ensemble=born)).passed
