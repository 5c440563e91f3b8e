"""Ensembles: electrons below tritium's window, krypton's lines, tables of the user; refused draws are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cres.errors import UserError
from cres.physics.final_states import FinalStates
from cres.physics.krypton import SPECTRUM
from cres.simulation import Electrons, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.electrons import band_floor_ev, band_top_hz, carrier_hz, draw_electrons
from cres.simulation.writer import simulate_to_files

CONFIGS = Path(__file__).parents[2] / "configs/simulation"
BAND = SimulationConfig.from_yaml(CONFIGS / "tritium_band.yaml")


def ensemble(**values: Any) -> SimulationConfig:
    return SimulationConfig.from_dict({"ensemble": values})


def test_tritium_has_the_electrons_below_the_window_that_enter_the_band() -> None:
    electrons = sample_electrons(BAND, 5000, seed=1)
    carrier = carrier_hz(BAND, electrons.energy_ev, electrons.pitch_angle_deg, electrons.radius_m)
    top = float(carrier_hz(BAND, 18_500.0, 88.0, 0.0))
    assert carrier.max() <= top == band_top_hz(BAND)
    # 4.1 MHz between 88° and 90° are 84 eV
    assert band_floor_ev(BAND) == pytest.approx(18_500 - 84, abs=3)
    below = electrons.energy_ev < 18_500
    assert electrons.energy_ev.min() < 18_440
    assert below.mean() > 0.5
    # the lower the energy, the nearer to 90°
    assert electrons.pitch_angle_deg[electrons.energy_ev < 18_430].min() > 88.9
    assert electrons.pitch_angle_deg[~below].min() < 88.3


def test_they_follow_spectrum_and_solid_angle_where_the_band_is_open() -> None:
    """At 89.5° and above, the band takes all energies from 18 425 eV on: the plain spectrum is seen there."""
    electrons = sample_electrons(BAND, 30_000, seed=2)
    from cres.physics.beta import beta_spectrum_rate

    chosen = (electrons.pitch_angle_deg > 89.5) & (electrons.energy_ev > 18_440)
    grid = np.linspace(18_440, 18_574.1, 4001)
    rate = np.cumsum(beta_spectrum_rate(grid, 18_574.1, 0.0, final_states=FinalStates.t2()))
    test = stats.kstest(electrons.energy_ev[chosen], lambda e: np.interp(e, grid, rate / rate[-1]))
    assert chosen.sum() > 2000
    assert test.pvalue > 1e-3


def test_the_window_alone_is_a_choice() -> None:
    only = ensemble(kind="tritium", below_window=False)
    assert sample_electrons(only, 500, seed=1).energy_ev.min() >= 18_500
    assert SimulationConfig.from_yaml(CONFIGS / "tritium.yaml").ensemble.below_window is False
    assert ensemble(kind="tritium").ensemble.below_window is False  # files of older versions say nothing


def test_a_shard_of_the_band_is_a_part_of_the_whole() -> None:
    whole, part = sample_electrons(BAND, 200, seed=5), sample_electrons(BAND, 20, seed=5, start=150)
    np.testing.assert_array_equal(whole.energy_ev[150:170], part.energy_ev)


def test_refused_draws_are_counted() -> None:
    assert draw_electrons(SimulationConfig.default(), 500, seed=0)[1] == 0
    assert draw_electrons(BAND, 500, seed=0)[1] > 150
    wall = ensemble(radius_m=[0, 7.0e-3])
    electrons, refused = draw_electrons(wall, 2000, seed=0)
    # the gyration of 0.48 mm ends at the wall from 6.58 mm on
    assert electrons.radius_m.max() < 7.063e-3 - 0.47e-3
    assert refused / (2000 + refused) == pytest.approx(1 - (6.581 / 7.0) ** 2, abs=0.02)


def test_refused_draws_are_reported_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wall = SimulationConfig.from_dict({"ensemble": {"radius_m": [0, 7.0e-3]}, "readout": {"samples": 64}})
    paths = simulate_to_files(wall, 60, tmp_path, seed=0, events_per_file=30)
    refused = draw_electrons(wall, 60, seed=0)[1]
    assert f"{refused} draws were refused" in capsys.readouterr().out
    assert sum(pd.read_pickle(path).attrs["refused_draws"] for path in paths) == refused > 0


def krypton_distribution(energy_ev: Any, window_ev: tuple[float, float]) -> Any:
    """Of the lines and their satellites, cut to the window."""
    low, value, high = (
        sum(line.intensity * line.distribution(e) for line in SPECTRUM) for e in (window_ev[0], energy_ev, window_ev[1])
    )
    return (value - low) / (high - low)


def test_krypton_electrons_are_those_of_the_line() -> None:
    config = SimulationConfig.from_yaml(CONFIGS / "krypton.yaml")
    energy, window = sample_electrons(config, 5000, seed=1).energy_ev, config.ensemble.energy_ev
    assert stats.kstest(energy, lambda e: krypton_distribution(e, window)).pvalue > 1e-3
    assert stats.kstest(energy, lambda e: krypton_distribution(e - 0.2, window)).pvalue < 1e-3
    # the field is such that the line lies in the band of the default apparatus
    carrier = simulate_columns(config, sample_electrons(config, 20, seed=1))["avg_carrier_frequency_Hz"]
    assert np.all((carrier > 25.898e9) & (carrier < 25.912e9))


def test_krypton_with_background_and_without_a_line() -> None:
    energy = sample_electrons(
        ensemble(kind="krypton", energy_ev=[17_724, 17_924], background_fraction=0.3), 20_000, seed=1
    ).energy_ev
    window = (17_724.0, 17_924.0)
    near = np.diff([krypton_distribution(e, window) for e in (17_774.2, 17_874.2)]).item()
    assert near > 0.9
    assert (np.abs(energy - 17_824.2) > 50).mean() == pytest.approx(0.3 * 0.5 + 0.7 * (1 - near), abs=0.008)
    with pytest.raises(UserError, match=r"holds no line of 83mKr: K-32 17824\.2"):
        ensemble(kind="krypton")


def test_a_table_gives_what_it_has_and_the_rest_is_drawn(tmp_path: Path) -> None:
    pd.DataFrame({"Energy_eV": [18_550.0, 18_600.5, 18_650.0], "pitch_angle_deg": [88.5, 89.0, 89.5]}).to_csv(
        tmp_path / "start.csv", index=False
    )
    (tmp_path / "table.yaml").write_text("ensemble:\n  kind: table\n  table: start.csv\n")
    config = SimulationConfig.from_yaml(tmp_path / "table.yaml")
    electrons = sample_electrons(config, 7, seed=4)
    np.testing.assert_array_equal(electrons.energy_ev, [18_550.0, 18_600.5, 18_650.0] * 2 + [18_550.0])
    np.testing.assert_array_equal(electrons.pitch_angle_deg[:3], [88.5, 89.0, 89.5])
    assert len(set(electrons.radius_m)) == 7
    np.testing.assert_array_equal(sample_electrons(config, 2, seed=4, start=4).energy_ev, electrons.energy_ev[4:6])


def test_a_table_in_hdf5_with_everything(tmp_path: Path) -> None:
    wanted = sample_electrons(SimulationConfig.default(), 4, seed=9)
    names = [name for name in Electrons.__dataclass_fields__ if name != "event_id"]
    with h5py.File(tmp_path / "start.h5", "w") as file:
        for name in names:
            file[name] = getattr(wanted, name)
    found = sample_electrons(ensemble(kind="table", table=str(tmp_path / "start.h5")), 4, seed=1)
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("energy_ev,pitch_angel_deg\n18600,89\n", "did you mean 'pitch_angle_deg'"),
        ("energy_ev\n", "needs rows"),
        ("energy_ev\n18600\n\n18700\nnan\n", "missing or outside 100 to 1e"),
        ("energy_ev\nlow\n", "does not hold numbers"),
        ("pitch_angle_deg\n200\n", "outside 0 to 180, the first in row 0"),
    ],
)
def test_a_wrong_table_is_told_in_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "start.csv").write_text(content)
    (tmp_path / "table.yaml").write_text("ensemble:\n  kind: table\n  table: start.csv\n")
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_yaml(tmp_path / "table.yaml")


def test_a_table_with_an_electron_that_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "start.csv").write_text("radius_m\n0.003\n0.0069\n")
    with pytest.raises(UserError, match=r"take them out of .*start\.csv"):
        sample_electrons(ensemble(kind="table", table=str(tmp_path / "start.csv")), 2, seed=0)
    with pytest.raises(UserError, match="give both or none"):
        ensemble(kind="table")
    with pytest.raises(UserError, match="cannot be read"):
        sample_electrons(ensemble(kind="table", table=str(tmp_path / "none.csv")), 2, seed=0)
    (tmp_path / "table.yaml").write_text("ensemble:\n  kind: table\n  table: none.csv\n")
    with pytest.raises(UserError, match="cannot be read"):
        SimulationConfig.from_yaml(tmp_path / "table.yaml")


def test_the_configuration_of_records_needs_no_table_any_more(tmp_path: Path) -> None:
    """The bound and the fits take the apparatus from prepared files, wherever their start values have gone."""
    (tmp_path / "start.csv").write_text("energy_ev\n18600\n")
    (tmp_path / "table.yaml").write_text("ensemble:\n  kind: table\n  table: start.csv\n")
    config = SimulationConfig.from_yaml(tmp_path / "table.yaml")
    assert config.ensemble.table == str(tmp_path / "start.csv")
    (tmp_path / "start.csv").unlink()
    assert SimulationConfig.from_dict(config.to_dict()) == config
