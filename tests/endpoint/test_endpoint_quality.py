"""Data that do not hold what is fitted: a sentence and exit code 2, or a warning that goes wherever the result goes."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cres.endpoint import report
from cres.endpoint.analysis import Options, analyse, physics_of
from cres.endpoint.examples import example_tables
from cres.endpoint.fit import REACH_EV, fit_endpoint
from cres.endpoint.likelihood import EndpointLikelihood, FitWindow
from cres.endpoint.pseudo import Experiment
from cres.endpoint.quality import fitting_window, usable
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV
from reconstruction.judging.tables.table import PredictionTable

SCRIPT = Path(__file__).parents[2] / "scripts" / "endpoint.py"
QUICK = Options(systematics=False, limit=False)


@pytest.fixture(scope="module")
def tables():
    return example_tables(1200, 1500, 18_574.0, seed=1)


def changed(table, **columns):
    return PredictionTable({**table.columns, **columns}, table.attributes)


def warned(result):
    """The warnings, found alike in the summary, the report and the JSON."""
    lines = [line for line in report.summary_lines(result) if line.startswith("WARNING")]
    assert [f"WARNING: {sentence}" for sentence in result.to_dict()["warnings"]] == [
        line for line in lines if report.NOT_VALID not in line
    ]
    return "\n".join(lines)


def test_good_data_have_no_warnings(tables):
    result = analyse(*tables, QUICK)
    assert result.valid
    assert warned(result) == ""
    assert result.to_dict()["valid"]


@pytest.mark.parametrize(("electrons", "seed"), [(60, 0), (300, 2)])
def test_background_alone_has_no_endpoint(tables, electrons, seed):
    data, calibration = tables
    generator = np.random.default_rng(seed)
    stds = data.columns["energy_std_ev"][generator.integers(0, len(data), electrons)]
    flat = PredictionTable(
        {
            "event_id": np.arange(electrons),
            "energy_ev": generator.uniform(18_490, 18_710, electrons),
            "energy_std_ev": stds,
        },
        {"final_states": "none"},
    )
    result = analyse(flat, calibration, replace(QUICK, limit=True))
    assert not result.valid
    assert "no endpoint is seen" in warned(result)
    assert report.NOT_VALID in warned(result)
    assert result.limit is None


@pytest.mark.parametrize("electrons", [40, 400])
def test_no_endpoint_is_tried_far_from_the_electrons(tables, electrons, monkeypatch):
    # of T₂, whose spectra are tabulated as deep as they are asked for: a minimiser that ran off took all the memory
    data, calibration = tables
    generator = np.random.default_rng(100 * electrons)
    stds = data.columns["energy_std_ev"][generator.integers(0, len(data), electrons)]
    columns = {"energy_ev": generator.uniform(18_490, 18_710, electrons), "energy_std_ev": stds}
    flat = PredictionTable({"event_id": np.arange(electrons), **columns}, {"final_states": "T2"})
    asked, nll = [], EndpointLikelihood.nll

    def remembered(self, values):
        asked.append(values["endpoint_ev"])
        return nll(self, values)

    monkeypatch.setattr(EndpointLikelihood, "nll", remembered)
    result = analyse(flat, calibration, QUICK)
    assert not result.valid
    assert "no endpoint is seen" in warned(result)
    assert 18_490 - REACH_EV <= min(asked) <= max(asked) <= 18_710 + REACH_EV


@pytest.mark.parametrize("window", [(18_000.0, 19_000.0), (18_540.0, 18_800.0)])
def test_a_window_beyond_the_calibration_is_cut_and_that_is_said(tables, window):
    result = analyse(*tables, replace(QUICK, window_ev=window))
    assert "is cut to" in warned(result)
    used = result.likelihood.window
    assert used.low_ev > 18_500 - 1e-6 or used.low_ev == window[0]
    assert used.high_ev < 18_700
    assert abs(result.fit.endpoint_ev - 18_574.0) < 5 * result.statistical_ev
    assert result.statistical_ev < 5


def test_a_window_of_nothing_that_is_calibrated_is_refused(tables):
    with pytest.raises(UserError, match="lies outside what is calibrated"):
        analyse(*tables, replace(QUICK, window_ev=(19_000.0, 19_100.0)))
    with pytest.raises(UserError, match="is empty"):
        analyse(*tables, replace(QUICK, window_ev=(18_600.0, 18_500.0)))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("energy_ev", np.nan, "no energy"),
        ("energy_ev", np.inf, "no energy"),
        ("energy_std_ev", 0.0, "uncertainty of zero"),
        ("energy_std_ev", -1.0, "negative uncertainty"),
        ("energy_std_ev", np.inf, "infinite uncertainty"),
        ("energy_std_ev", np.nan, "no uncertainty"),
    ],
)
def test_electrons_that_cannot_be_weighed_are_counted_and_named(tables, which, column, value, word):
    spoilt = list(tables)
    values = tables[which].columns[column].copy()
    values[::3] = value
    spoilt[which] = changed(tables[which], **{column: values})
    part, said = usable(spoilt[which], "data table")
    count = len(values[::3])
    assert len(part) == len(values) - count
    assert f"{count} {''}" in said[0]
    assert word in said[0]
    if which == 0 and column == "energy_std_ev" and value == 0:
        result = analyse(*spoilt, QUICK)
        assert f"{count} state an uncertainty of zero" in warned(result)
        assert result.valid
    with pytest.raises(UserError, match="can be used"):
        usable(changed(tables[which], **{column: np.full(len(values), value)}), "data table")


@pytest.mark.parametrize(("value", "count"), [(np.nan, 400), (np.inf, 400), (np.nan, 1200)])
def test_calibration_electrons_without_a_true_energy_are_counted_and_named(tables, value, count):
    data, calibration = tables
    truth = calibration.columns["true_energy_ev"].copy()
    truth[:: 1200 // count] = value
    table = changed(calibration, true_energy_ev=truth)
    if count == 1200:
        with pytest.raises(UserError, match="1200 have no true energy"):
            analyse(data, table, QUICK)
    else:
        result = analyse(data, table, QUICK)
        assert result.valid
        assert "400 have no true energy" in warned(result)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"true_energy_ev": np.full(1200, 18_600.0)}, "are all 18600 eV"),
        ({"energy_ev": "true_energy_ev"}, "a copy of the truth"),
    ],
)
def test_a_calibration_that_tells_nothing_of_the_response(tables, columns, sentence):
    data, calibration = tables
    known = {name: calibration.columns.get(str(value), value) for name, value in columns.items()}
    with pytest.raises(UserError, match=sentence):
        analyse(data, changed(calibration, **known), QUICK)


def test_error_bars_that_are_all_alike_are_no_hindrance(tables):
    data, calibration = tables
    generator = np.random.default_rng(5)
    same = [
        changed(table, energy_ev=truth + generator.normal(0, 2.0, len(truth)), energy_std_ev=np.full(len(truth), 2.0))
        for table, truth in ((table, table.columns["true_energy_ev"]) for table in (data, calibration))
    ]
    result = analyse(*same, QUICK)
    assert result.valid
    assert abs(result.response.parameter("log_scale")) < 0.15
    assert abs(result.fit.endpoint_ev - 18_574.0) < 4 * result.statistical_ev


@pytest.mark.parametrize(
    "option",
    [
        {"confidence": 1.5}, {"confidence": 0.0}, {"mass_toys": -5}, {"max_std_ev": 0.0}, {"max_std_ev": np.nan},
        {"max_spread_ev": -1.0}, {"energy_scale_std_ev": -1.0}, {"energy_scale_std_ev": np.nan},
        {"resolution_scale_std": -0.1}, {"efficiency_slope_std": np.inf}, {"nuisance_stds": {"excited_states": -0.1}},
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(option):
    with pytest.raises(UserError, match="must be"):
        Options(**option)


@pytest.mark.parametrize("share", [3, 20])
def test_a_background_larger_than_the_signal_is_fitted_or_said(tables, share):
    data, calibration = tables
    generator = np.random.default_rng(7)
    few = data.select(np.arange(len(data) // (share + 1)))
    count = share * len(few)
    columns = {
        "event_id": np.arange(count + len(few)),
        "energy_ev": np.concatenate([few.columns["energy_ev"], generator.uniform(18_490, 18_710, count)]),
        "energy_std_ev": np.concatenate(
            [few.columns["energy_std_ev"], data.columns["energy_std_ev"][generator.integers(0, len(data), count)]]
        ),
    }
    result = analyse(PredictionTable(columns, {"final_states": "none"}), calibration, QUICK)
    if result.valid:
        assert abs(result.fit.endpoint_ev - 18_574.0) < 4 * result.statistical_ev
    else:
        assert "no endpoint is seen" in warned(result)
    assert result.valid == (share == 3)


def test_energies_in_another_unit_are_shown(tables):
    data, calibration = tables
    with pytest.raises(UserError, match=r"0 electrons in the fit window .* which lie at 18\.\d+ to 18\.\d+ eV"):
        analyse(changed(data, energy_ev=data.columns["energy_ev"] / 1e3), calibration, QUICK)


def test_an_estimator_that_is_stuck(tables):
    data, calibration = tables
    with pytest.raises(UserError, match="stuck"):
        analyse(changed(data, energy_ev=np.full(len(data), 18_570.0)), calibration, QUICK)
    energy = data.columns["energy_ev"].copy()
    energy[::4] = 18_600.0
    assert "have exactly 18600 eV" in warned(analyse(changed(data, energy_ev=energy), calibration, QUICK))


def test_an_estimator_that_tells_nothing(tables):
    data, calibration = tables
    generator = np.random.default_rng(0)
    blind = 18_600 + generator.normal(0, 3, len(calibration))
    table = changed(calibration, energy_ev=blind, energy_std_ev=np.full(len(blind), 3.0))
    with pytest.raises(UserError, match=r"hardly follow their true energies|could not be fitted"):
        analyse(data, table, replace(QUICK, max_std_ev=20.0))


def test_error_bars_unlike_the_calibrations(tables):
    data, calibration = tables
    result = analyse(changed(data, energy_std_ev=data.columns["energy_std_ev"] * 1e-3), calibration, QUICK)
    assert "not like the calibration's" in warned(result)


def test_a_model_that_the_spectrum_excludes(tables):
    data, calibration = tables
    generator = np.random.default_rng(3)
    energy = data.columns["energy_ev"].copy()
    energy[:600] = 18_650 + generator.normal(0, 1.0, 600)
    assert "goodness of fit" in warned(analyse(changed(data, energy_ev=energy), calibration, QUICK))


def test_too_few_electrons(tables):
    data, calibration = tables
    with pytest.raises(UserError, match="electrons"):
        analyse(data.select(np.arange(4)), calibration, QUICK)
    energies = np.sort(data.columns["energy_ev"])
    inside = np.flatnonzero((data.columns["energy_ev"] > 18_530) & (data.columns["energy_std_ev"] < 5))[:14]
    assert len(energies)
    assert "are few" in warned(analyse(data.select(inside), calibration, QUICK))


def test_a_fit_whose_mass_is_beyond_the_last_electron_is_not_valid():
    endpoint = T2_ENDPOINT_EV
    experiment = Experiment(electrons=60.0, window=FitWindow(endpoint - 30.0, endpoint + 20.0))
    energy, std, _ = experiment.generate(np.random.default_rng(1))
    likelihood = EndpointLikelihood(energy, std, experiment.response(), experiment.window)
    beyond = {"mass_squared_ev2": 3600.0}
    start = {**fit_endpoint(likelihood).values, **beyond, "endpoint_ev": endpoint}
    fit = fit_endpoint(likelihood, fixed={**beyond, "endpoint_ev": endpoint}, start=start)
    assert not fit.valid
    assert "below the lowest electron" in " ".join(fit.problems)


def test_free_mass_fits_of_few_electrons_do_not_call_themselves_valid_without_an_interval():
    endpoint = T2_ENDPOINT_EV
    experiment = Experiment(electrons=36.0, window=FitWindow(endpoint - 60.0, endpoint + 20.0))
    response, judged = experiment.response(), []
    for seed in range(4):
        energy, std, _ = experiment.generate(np.random.default_rng(seed))
        likelihood = EndpointLikelihood(energy, std, response, experiment.window)
        fit = fit_endpoint(likelihood, free_mass=True, minos=("mass_squared_ev2",))
        if fit.valid:
            lower, upper = fit.minos["mass_squared_ev2"]
            assert 0.6 < (upper - lower) / (2 * fit.errors["mass_squared_ev2"]) < 1.6
        judged.append(fit.valid)
    assert not all(judged)


def test_final_states_are_those_of_the_simulation(tables):
    base = {"event_id": np.arange(2), "energy_ev": np.ones(2), "energy_std_ev": np.ones(2)}

    def states(attributes):
        return physics_of(PredictionTable(base, attributes)).final_states

    ensemble = {"kind": "tritium", "endpoint_ev": 18_574.0}
    assert states({}).source.startswith("T2")
    assert states({"config": json.dumps({"ensemble": ensemble})}) is None  # from before there were any
    assert states({"config": json.dumps({"ensemble": {**ensemble, "final_states": "T"}})}).source.startswith("T,")
    assert states({"final_states": "none"}) is None


def test_default_window_keeps_its_margins(tables):
    result = analyse(*tables, QUICK)
    window, said = fitting_window(result.response, None)
    assert window == result.likelihood.window
    assert not said


def test_a_table_without_use_is_exit_code_2(tables, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("endpoint_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    data, calibration = tables
    none = changed(data, energy_std_ev=np.zeros(len(data))).write(tmp_path / "d.hdf5")
    known = calibration.write(tmp_path / "c.hdf5")
    monkeypatch.setattr(sys, "argv", ["endpoint.py", "--data", str(none), "--calibration", str(known)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        script.errors.run(script.main)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "1500 state an uncertainty of zero" in said
