"""Response, limits, systematic shifts, coverage, sensitivity and krypton calibration."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from cres.endpoint.coverage import run_toy, run_toys, summarise
from cres.endpoint.examples import example_tables
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.information import fisher_errors
from cres.endpoint.krypton import calibrate, line_density, line_groups, read_lines
from cres.endpoint.likelihood import EndpointLikelihood, FitWindow, Physics, make_constraints
from cres.endpoint.limits import feldman_cousins_upper
from cres.endpoint.pseudo import Experiment
from cres.endpoint.response import PARAMETERS, measure_response
from cres.endpoint.sensitivity import study
from cres.endpoint.systematics import systematic_error_ev, systematic_shifts
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV
from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.final_states import FinalStates
from cres.physics.krypton import K_32, LINES, ConversionLine, line_quantile_ev
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[2]
E0 = T2_ENDPOINT_EV
SMALL = Experiment(electrons=200.0, window=FitWindow(E0 - 15.0, E0 + 20.0))


def calibration_table(rows=4000, scale=1.0, bias=0.0, shrink=1.0, tail=0.0, seed=0):
    """Electrons of a flat window whose estimates follow the response exactly."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(18_500.0, 18_700.0, rows)
    std = np.exp(generator.uniform(np.log(0.5), np.log(9.0), rows))
    noise = scale * std * generator.standard_normal(rows)
    noise *= np.where(generator.random(rows) < tail, 4.0, 1.0)
    gain = 1 - shrink * (std / truth.std()) ** 2
    energy = 18_600.0 + gain * (truth - 18_600.0) + bias + noise
    return PredictionTable(
        {"event_id": np.arange(rows), "energy_ev": energy, "energy_std_ev": std, "true_energy_ev": truth}
    )


@pytest.mark.parametrize(
    ("change", "name", "expected"),
    [
        ({}, "log_scale", 0.0),
        ({"scale": 1.3}, "log_scale", np.log(1.3)),
        ({"bias": 0.8}, "bias_ev", 0.8),
        ({"shrink": 3.0}, "shrinkage", 3.0),
        ({"shrink": 0.0}, "shrinkage", 0.0),
        ({"tail": 0.15}, "tail_fraction", 0.15),
    ],
)
def test_response_is_recovered_within_its_errors(change, name, expected):
    response = measure_response(calibration_table(**change))
    assert abs(response.parameter(name) - expected) < 4 * response.error(name)
    assert 0 < response.error(name) < 0.4


def test_regression_to_the_prior_is_removed():
    table = calibration_table(shrink=4.0)
    response = measure_response(table)
    energy, std, truth = (table.columns[name] for name in ("energy_ev", "energy_std_ev", "true_energy_ev"))
    poor = (std > 5) & (std <= response.max_std_ev)
    corrected, _ = response.calibrate(energy[poor], std[poor])

    def slope(values):
        return np.polyfit(truth[poor], values - truth[poor], 1)[0]

    assert slope(energy[poor]) < -0.03
    assert abs(slope(corrected)) < 0.01


def test_response_of_a_posterior_mean_estimator_is_near_one():
    response = measure_response(example_tables(4000, 10, seed=1)[1])
    assert abs(response.parameter("log_scale")) < 0.05
    assert response.parameter("tail_fraction") < 0.05
    assert 0.9 < response.efficiency.total(np.array([18_600.0]))[0] <= 1


def test_moved_responses_keep_their_meaning():
    response = measure_response(calibration_table(1000, tail=0.1))
    shift = np.zeros(len(response.full_covariance()))
    shift[PARAMETERS.index("bias_ev")] = 0.5
    assert response.moved(shift).parameter("bias_ev") == pytest.approx(response.parameter("bias_ev") + 0.5)
    assert 0 <= response.moved(shift - 10).parameter("tail_fraction") <= 0.5


# Feldman and Cousins 1998, table X, 90 %
@pytest.mark.parametrize(("measured", "upper"), [(-3.0, 0.26), (-2.0, 0.40), (-1.0, 0.81), (0.0, 1.64), (1.0, 2.64)])
def test_feldman_cousins_table(measured, upper):
    assert feldman_cousins_upper(measured, 0.9) == pytest.approx(upper, abs=0.006)


@pytest.mark.parametrize("mean", [0.5, 3.0])
def test_feldman_cousins_upper_limits_cover(mean):
    # the limit rises with the measurement: it holds the mean for all measurements above one
    lowest = brentq(lambda x: feldman_cousins_upper(x, 0.9) - mean, -6.0, mean + 1.0, xtol=1e-4)
    assert norm.sf(lowest - mean) >= 0.9 - 1e-3


def test_heavy_neutrino_is_seen():
    experiment = Experiment(electrons=5000.0, window=FitWindow(E0 - 40.0, E0 + 20.0), mass_squared_ev2=144.0)
    energy, std, _ = experiment.generate(np.random.default_rng(3))
    likelihood = EndpointLikelihood(energy, std, experiment.response(), experiment.window)
    fit = fit_endpoint(likelihood, free_mass=True)
    assert fit.values["mass_squared_ev2"] > 3 * fit.errors["mass_squared_ev2"]
    assert abs(fit.values["mass_squared_ev2"] - 144.0) < 4 * fit.errors["mass_squared_ev2"]


def test_systematic_shifts():
    calibration = calibration_table(1500)
    response = measure_response(calibration)
    energy, std, _ = replace(SMALL, electrons=500.0).generate(np.random.default_rng(1))
    likelihood = EndpointLikelihood(energy, std, response, SMALL.window)
    best = fit_endpoint(likelihood)
    constraints = make_constraints({"energy_shift_ev": 0.2, "resolution_scale": 0.05})
    shifts = systematic_shifts(likelihood, best, constraints, from_calibration=("resolution_scale",))
    by_name = {shift.name: shift for shift in shifts}
    assert by_name["energy_shift_ev"].endpoint_ev == pytest.approx(-0.2, abs=0.01)
    assert 0 < by_name["calibration_statistics"].endpoint_ev < 1.0
    assert not by_name["without_small_corrections"].counted
    assert by_name["energy_shift_ev"].counted
    assert not by_name["resolution_scale"].counted  # the calibration's statistics hold it
    counted = [shift for shift in shifts if shift.counted]
    assert systematic_error_ev(shifts) == pytest.approx(np.sqrt(sum(s.endpoint_ev**2 for s in counted)))


def test_toys_with_final_states():
    experiment = replace(SMALL, physics=Physics(FinalStates.t2()))
    toy = run_toy(experiment, 3, 0, common=True, interval_toys=20)
    assert toy["valid"]
    assert abs(toy["endpoint_ev"] - E0) < 5 * toy["error_ev"]


def quick_toys(count, path, seed=5, **options):
    """Pseudo-experiments whose intervals rest on few others: which are made, and where, is what matters."""
    return run_toys(SMALL, count, path, seed=seed, interval_toys=20, **options)


def test_toys_are_resumed_and_do_not_depend_on_workers(tmp_path):
    path = tmp_path / "toys.jsonl"
    quick_toys(3, path)
    before = path.read_text()
    path.write_text(before + '{"index": 3, "endpo')  # killed while writing
    toys = quick_toys(5, path)
    assert path.read_text().startswith(before)
    assert [toy["index"] for toy in toys] == list(range(5))
    fresh = quick_toys(5, tmp_path / "again.jsonl", workers=2)
    for one, other in zip(toys, fresh, strict=True):
        assert one["endpoint_ev"] == pytest.approx(other["endpoint_ev"], abs=1e-9)
    with pytest.raises(UserError, match="another study"):
        quick_toys(3, path, seed=6)
    path.write_text(before.replace("{", "[", 1))
    with pytest.raises(UserError, match="damaged"):
        quick_toys(3, path)


def test_tasks_of_an_array_make_the_toys_of_one_process(tmp_path):
    path = tmp_path / "toys.jsonl"
    parts = [quick_toys(5, path, task=(task, 2)) for task in range(2)]
    assert [[toy["index"] for toy in part] for part in parts] == [[0, 2, 4], [1, 3]]
    torn = tmp_path / "toys-1-of-2.jsonl"
    torn.write_text(torn.read_text() + '{"index": 5, "endpo')  # a task that still runs
    toys = quick_toys(5, path)
    assert not path.exists()
    assert torn.read_text().endswith("endpo")
    assert [toy["endpoint_ev"] for toy in toys] == [
        toy["endpoint_ev"] for toy in quick_toys(5, tmp_path / "alone.jsonl")
    ]
    with pytest.raises(UserError, match="another study"):
        quick_toys(5, path, seed=6)


def toys_with(bias, width):
    draws = bias + width * norm.ppf((np.arange(400) + 0.5) / 400)
    return [
        {"index": i, "endpoint_ev": E0 + x, "error_ev": 1.0, "low_ev": E0 + x - 1, "high_ev": E0 + x + 1,
         "valid": True, "holds": abs(x) <= 1, "electrons": 10, "seconds": 0.1}
        for i, x in enumerate(draws)
    ]  # fmt: skip


@pytest.mark.parametrize(("bias", "width", "good"), [(0, 1, True), (0, 0.8, False), (0, 1.25, False), (0.5, 1, False)])
def test_coverage_summary_tells_good_from_bad(bias, width, good):
    result = summarise(toys_with(bias, width), E0)
    verdict = abs(result.pull_mean) < 0.1 and 0.93 < result.pull_width < 1.07 and abs(result.inside - 0.6827) < 0.05
    assert verdict == good


def test_summary_says_on_which_side_the_truth_lies():
    result = summarise([{**toy, "unbiased_ev": toy["endpoint_ev"] + 0.5} for toy in toys_with(-0.5, 1.0)], E0)
    assert result.below == pytest.approx(norm.cdf(-0.5), abs=0.01)
    assert result.above == pytest.approx(norm.cdf(-1.5), abs=0.01)
    assert result.below + result.above + result.inside == pytest.approx(1)
    assert result.low_share == pytest.approx(norm.cdf(0.5), abs=0.01)
    assert result.unbiased_low_share == pytest.approx(0.5, abs=0.01)
    assert summarise(toys_with(0.0, 1.0), E0).unbiased_low_share is None


def test_summary_needs_toys():
    with pytest.raises(UserError, match="too few"):
        summarise([], E0)


def test_exposure_like_phase_two():
    # Phys. Rev. Lett. 131 102502: 18 548 ± 19 eV
    experiment = Experiment.like_phase_two()
    energy, std, _ = experiment.generate(np.random.default_rng(4))
    likelihood = EndpointLikelihood(energy, std, experiment.response(), experiment.window, experiment.physics)
    fit = fit_endpoint(likelihood)
    assert 19 / 1.5 < fit.endpoint_error_ev < 19 * 1.5
    assert abs(fit.endpoint_ev - E0) < 3 * fit.endpoint_error_ev


def test_fisher_information_has_the_known_limit():
    endpoint, mass = fisher_errors(10_000.0, 0.01, 0.0, 40.0, 20.0)
    assert endpoint == pytest.approx(40 / np.sqrt(3e4), rel=0.01)
    assert fisher_errors(40_000.0, 0.01, 0.0, 40.0, 20.0)[1] == pytest.approx(mass / 2, rel=0.01)


def test_sensitivity_study_agrees_with_fisher_information():
    points = study(Experiment(), (500.0, 2000.0), (1.0,), (1e-3,), toys=2)
    assert [point.electrons for point in points] == [500.0, 2000.0]
    for point in points:
        assert point.endpoint_ev == pytest.approx(point.endpoint_expected_ev, rel=0.25)
        assert point.mass_squared_ev2 == pytest.approx(point.mass_squared_expected_ev2, rel=1.0)


def krypton_table(field=0.0, scale=1.0, rows=3000, low=17_700.0, high=17_900.0, moved=None):
    """Electrons of the decay's lines between two energies, a twentieth of them flat background."""
    generator = np.random.default_rng(9)
    truth = line_quantile_ev(generator.random(rows), generator.random(rows), low, high)
    if moved is not None:
        truth = np.where(np.abs(truth - moved[0]) < 30, truth + moved[1], truth)
    truth = np.concatenate([truth, generator.uniform(low, high, rows // 20)])
    std = np.exp(generator.uniform(np.log(0.3), np.log(3.0), len(truth)))
    energy = (truth + ELECTRON_MASS_EV) / (1 + field) - ELECTRON_MASS_EV
    energy = energy + scale * std * generator.standard_normal(len(truth))
    return PredictionTable({"event_id": np.arange(len(truth)), "energy_ev": energy, "energy_std_ev": std})


ALL_LINES = {"rows": 4000, "low": 17_500.0, "high": 32_300.0}


@pytest.mark.parametrize("which", [{}, ALL_LINES])
def test_krypton_gives_field_and_resolution(which):
    found = calibrate(krypton_table(field=4e-6, scale=1.3, **which))
    assert abs(found.field_scale - 4e-6) < 4 * found.field_scale_error
    assert abs(found.resolution_scale - 1.3) < 4 * found.resolution_scale_error
    assert found.field_scale_error * ELECTRON_MASS_EV < 0.1
    # the published energy of K-32 is known to 0.5 eV
    assert 0.5 < found.energy_error_ev(E0) < 0.52


def test_several_krypton_lines_are_used_and_agree():
    found = calibrate(krypton_table(field=4e-6, **ALL_LINES))
    assert {"K-32", "L2-32+L3-32", "M1-32+M2-32+M3-32"} <= set(found.line_shifts_ev)
    assert found.agreement > 0.01
    alone = calibrate(krypton_table(field=4e-6, **ALL_LINES), [K_32])
    assert found.field_scale_error < 0.8 * alone.field_scale_error
    # and where one line is elsewhere, because the scale is not linear, that is said
    bent = calibrate(krypton_table(moved=(30_472.2, 1.0), **ALL_LINES))
    assert bent.agreement < 1e-4
    assert any("agree" in line for line in bent.summary())


def test_line_density_is_normalised_and_right():
    # against the convolution by sums, two lines, 1.3 eV
    group = line_groups(np.full(60, 30_450.0), np.ones(60), LINES)[0]
    fine = np.linspace(group.low_ev, group.high_ev, 40_001)
    density = line_density(fine, np.full(fine.size, 1.3), group.lines, group.low_ev, group.high_ev)
    assert np.trapezoid(density, fine) == pytest.approx(1.0, abs=1e-4)
    noise = np.linspace(-8, 8, 321) * 1.3
    weight = np.exp(-0.5 * (noise / 1.3) ** 2)
    at = np.array([30_410.0, 30_419.0, 30_440.0, 30_473.0])
    bare = sum(line.intensity * line.density(at[:, None] - noise) for line in group.lines)
    slow = (bare * weight).sum(axis=1) / weight.sum()
    fast = line_density(at, np.full(4, 1.3), group.lines, group.low_ev, group.high_ev)
    np.testing.assert_allclose(fast / fast[1], slow / slow[1], rtol=1e-4)


def test_krypton_calibration_of_a_table_is_undone_by_itself():
    table = krypton_table(field=4e-6)
    once = calibrate(table).apply(table)
    again = calibrate(once)
    # the electrons move by 2 eV, and some into the windows around the lines: not the same ones are fitted
    assert abs(again.field_scale) < 0.1 * again.field_scale_error
    assert again.resolution_scale == pytest.approx(1.0, abs=0.01)
    settled = calibrate(again.apply(once))
    assert settled.electrons == again.electrons
    assert abs(settled.field_scale) < 1e-2 * settled.field_scale_error


def test_krypton_lines_are_lorentzian_and_read_from_a_file(tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text("# name, energy, width\nA, 17824.2, 2.774\nB, 17900, 1.0, 0.5\n")
    first, second = read_lines(path)
    assert first.energy_ev == K_32.energy_ev
    assert second.intensity == 0.5
    assert first.density(np.array([17_824.2]))[0] == pytest.approx(2 / (np.pi * 2.774))
    spread = np.quantile(ConversionLine("x", 0.0, 2.0).sample(40_000, np.random.default_rng(0)), [0.25, 0.75])
    np.testing.assert_allclose(spread, [-1.0, 1.0], atol=0.05)  # half of a Lorentzian lies within its half width
    path.write_text("A, here\n")
    with pytest.raises(UserError, match="cannot read lines"):
        read_lines(path)


def test_no_krypton_is_one_sentence():
    with pytest.raises(UserError, match="trained on"):
        calibrate(example_tables(50, 50)[1])


def test_calibrated_table_carries_its_calibration(tmp_path):
    table = krypton_table()
    path = calibrate(table).apply(table).write(tmp_path / "t.hdf5")
    assert "calibration_field_scale" in PredictionTable.read(path).attributes
    json.dumps(calibrate(table).to_dict())


def test_calibration_is_applied_by_the_command_line(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("endpoint_script", ROOT / "scripts" / "endpoint.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    data = example_tables(50, 50)[0]
    wrong = data.with_columns({"energy_ev": data.mean("energy_ev") + 2.0})
    files = {"k": krypton_table(field=-2.0 / (E0 + ELECTRON_MASS_EV), **ALL_LINES), "d": wrong}
    paths = {name: str(table.write(tmp_path / f"{name}.hdf5")) for name, table in files.items()}
    monkeypatch.setattr(
        sys, "argv", ["endpoint.py", "--calibrate", paths["k"], "--data", paths["d"], "--output", str(tmp_path)]
    )
    script.main()
    assert "L2-32+L3-32" in capsys.readouterr().out
    calibrated = PredictionTable.read(tmp_path / "calibrated.hdf5").mean("energy_ev")
    np.testing.assert_allclose(calibrated, data.mean("energy_ev"), atol=0.15)
    assert json.loads((tmp_path / "calibration.json").read_text())["agreement"] > 0.001
