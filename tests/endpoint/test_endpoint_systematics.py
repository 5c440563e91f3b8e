"""Missed tracks, nuisance parameters with a covariance, common fits, blinding, tables as CSV."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cres.endpoint.analysis import Options, analyse
from cres.endpoint.blinding import blinded, lifted, secret_offset_ev
from cres.endpoint.endpoint_interval import endpoint_interval, massless
from cres.endpoint.examples import example_tables
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.joint import fit_together
from cres.endpoint.krypton import calibrate, choose_lines
from cres.endpoint.likelihood import (
    NUISANCES,
    PARAMETERS,
    EndpointLikelihood,
    FitWindow,
    Penalty,
    Physics,
    make_constraints,
    read_nuisances,
)
from cres.endpoint.missed import draw_losses, loss_kernel, with_missed_tracks
from cres.endpoint.model import SpectrumModel
from cres.endpoint.pseudo import Experiment
from cres.endpoint.report import systematics_lines
from cres.endpoint.systematics import added_errors
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV
from cres.physics.final_states import FinalStates
from cres.physics.gas import energy_loss_quantile_ev
from cres.physics.krypton import line_quantile_ev
from reconstruction.judging.tables.splits import refuse_training
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.judging.tables.table_csv import read_table

E0 = T2_ENDPOINT_EV
WINDOW = FitWindow(E0 - 60.0, E0 + 40.0)
SCRIPT = Path(__file__).parents[2] / "scripts" / "endpoint.py"


def script():
    spec = importlib.util.spec_from_file_location("endpoint_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Missed tracks -------------------------------------------------------------------------------------------------------


def test_the_tail_of_missed_tracks_against_drawn_losses():
    step, points = 0.2, 1000
    line = np.zeros(points)
    line[900] = 1.0
    tail = with_missed_tracks(line, step, 0.2)
    drawn = draw_losses(200_000, 0.2, np.random.default_rng(0))
    assert (drawn > 0).mean() == pytest.approx(0.2, abs=0.004)
    for low, high in ((10.0, 14.0), (14.0, 20.0), (20.0, 40.0), (40.0, 100.0)):
        expected = tail[900 - int(high / step) : 900 - int(low / step)].sum()
        assert expected == pytest.approx(((drawn >= low) & (drawn < high)).mean(), abs=0.003)
    assert with_missed_tracks(line, step, 0.0) is line
    moved = with_missed_tracks(line, step, 0.2, loss_shift_ev=1.0)
    # once scattered: 1 eV further down
    np.testing.assert_allclose(moved[820:860], tail[825:865], atol=0.02 * tail[:890].max())


def test_the_kernel_of_the_loss_keeps_area_and_mean():
    kernel = loss_kernel(0.2, 20_000)
    assert kernel.sum() == pytest.approx(1.0, abs=2e-3)
    share = (np.arange(20_000) + 0.5) / 20_000
    exact = float(np.asarray(energy_loss_quantile_ev(share))[share < 0.98].mean())
    below = np.cumsum(kernel) < 0.98
    assert kernel[below] @ np.arange(20_000)[below] * 0.2 / kernel[below].sum() == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("missed", "assumed", "unbiased"), [(0.05, 0.05, True), (0.3, 0.0, False)])
def test_missed_tracks_leave_the_endpoint_where_it_is(missed, assumed, unbiased):
    truth = Physics(missed_fraction=missed)
    experiment = Experiment(8_000.0, 1e-3, std_low_ev=0.5, std_high_ev=1.0, window=WINDOW, physics=truth)
    spectra = massless(experiment.response(), WINDOW, replace(truth, missed_fraction=assumed))
    pulls = []
    for seed in range(10):
        sample = spectra.sample(*experiment.generate(np.random.default_rng(seed))[:2])
        found = endpoint_interval(spectra, sample)
        pulls.append((found.best_ev - E0) / (0.5 * (found.high_ev - found.low_ev)))
    mean = np.mean(pulls) * np.sqrt(len(pulls))
    assert (abs(mean) < 3) == unbiased


def test_krypton_tells_the_fraction_of_missed_tracks():
    generator = np.random.default_rng(6)
    count = 1500
    truth = line_quantile_ev(generator.random(count), generator.random(count), 17_724.0, 17_924.0)
    truth = truth - draw_losses(count, 0.08, generator)
    std = generator.uniform(0.8, 1.5, count)
    table = PredictionTable(
        {
            "event_id": np.arange(count),
            "energy_ev": truth + std * generator.standard_normal(count),
            "energy_std_ev": std,
        }
    )
    found = calibrate(table, choose_lines(["K-32"]), missed_tracks=True)
    assert abs(found.missed_fraction - 0.08) < 4 * found.missed_fraction_error
    assert 0.002 < found.missed_fraction_error < 0.05
    assert abs(found.field_scale) < 4 * found.field_scale_error
    assert any("missed tracks" in line for line in found.summary())


# Nuisance parameters -------------------------------------------------------------------------------------------------


def point(**changes):
    values = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
    return values | {"endpoint_ev": E0, "signal": 780.0, "background": 16.0} | changes


def test_penalty_is_that_of_a_covariance():
    constraints = make_constraints({"background_slope": 0.2, "missed_change": 0.01, "energy_shift_ev": 0.5})
    penalty = Penalty.of(constraints, {("missed_change", "background_slope"): 0.6})
    std = np.array([0.2, 0.01, 0.5])
    covariance = np.outer(std, std) * np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]])
    away = np.array([0.1, -0.004, 0.3])
    slow = 0.5 * away @ np.linalg.solve(covariance, away)
    assert penalty(point(background_slope=0.1, missed_change=-0.004, energy_shift_ev=0.3)) == pytest.approx(slow)
    with pytest.raises(UserError, match="not constrained"):
        Penalty.of(constraints, {("missed_change", "excited_states"): 0.1})
    with pytest.raises(UserError, match="positive definite"):
        Penalty.of(constraints, {("missed_change", "background_slope"): 1.0})


@pytest.fixture(scope="module")
def likelihood():
    near = FinalStates.from_arrays(np.array([0.0, 1.0, 25.0, 30.0]), np.array([0.3, 0.3, 0.2, 0.2]), "test")
    physics = Physics(near, missed_fraction=0.03)
    experiment = Experiment(1500.0, background_fraction=0.05, window=WINDOW, physics=physics)
    energy, std, _ = experiment.generate(np.random.default_rng(11))
    stds = {
        "energy_shift_ev": 0.3,
        "background_slope": 0.3,
        "excited_states": 0.02,
        "missed_change": 0.01,
        "energy_loss_ev": 0.05,
        "cross_section": 0.02,
        "efficiency_slope": 0.02,
        "efficiency_bend": 0.01,
        "efficiency_wiggle": 0.01,
    }
    return EndpointLikelihood(energy, std, experiment.response(), WINDOW, physics, make_constraints(stds))


@pytest.mark.parametrize("name", sorted(set(NUISANCES) - {"resolution_scale"}))
def test_each_nuisance_parameter_keeps_the_density_normalised_and_changes_it(likelihood, name):
    """Σ over classes ∫ density dy = total, at the moved parameter: the twin integrates over the window by itself."""
    values = point(**{name: 0.05})
    grid = np.arange(WINDOW.low_ev, WINDOW.high_ev, 0.05) + 0.025
    response = likelihood.response
    total = 0.0
    for label, quantiles in enumerate(response.std_quantiles):
        part = EndpointLikelihood(
            grid, np.full(len(grid), quantiles[8]), response, WINDOW, likelihood.physics, likelihood.constraints
        )
        density, whole = part.signal_density(values)
        assert (part.label == label).all()
        total += density.sum() * 0.05
    assert total == pytest.approx(whole, rel=0.01)
    assert abs(likelihood.nll(values) - likelihood.nll(point())) > 1e-6


def test_excited_states_keep_the_sum_of_probabilities():
    states = FinalStates.from_arrays(np.array([0.0, 25.0]), np.array([0.6, 0.4]), "test")
    more = FinalStates.from_arrays(np.array([0.0, 25.0]), np.array([0.56, 0.44]), "test")
    model, other = (SpectrumModel.spanning(E0 - 90, E0 + 20, s) for s in (states, more))
    varied = model.varied(point(excited_states=0.1))
    np.testing.assert_allclose(varied, other.shape(E0, 0.0), rtol=1e-9, atol=1e-9 * varied.max())


def test_the_spline_over_final_states_is_their_sum():
    model = SpectrumModel.spanning(E0 - 100, E0 + 60, FinalStates.t2())
    for square in (0.0, 100.0, -50.0):
        for endpoint in (E0, E0 + 3.3127):
            slow, fast = model._summed(endpoint, square), model._splined(endpoint, square)
            np.testing.assert_allclose(fast, slow, atol=3e-6 * slow.max())


def test_what_each_nuisance_adds(likelihood):
    full = fit_endpoint(likelihood)
    assert full.valid, full.problems
    table = {row.name: row for row in added_errors(full, likelihood.constraints)}
    assert set(table) == set(likelihood.constraints)
    scale = table["energy_shift_ev"]
    # nothing in the data tells the scale: it adds what it is known to
    assert scale.adds_ev == pytest.approx(0.3, rel=0.05)
    assert scale.after == pytest.approx(0.3, rel=0.05)
    held = dict(likelihood.constraints)
    del held["energy_shift_ev"]
    without = fit_endpoint(likelihood.with_constraints(held), start=full.values)
    expected = np.sqrt(full.endpoint_error_ev**2 - without.endpoint_error_ev**2)
    assert scale.adds_ev == pytest.approx(expected, rel=0.1)


def test_systematics_are_read_from_a_file(tmp_path):
    path = tmp_path / "s.json"
    path.write_text('{"std": {"background_slope": 0.1, "excited_states": 0.02}, "correlations": []}')
    assert read_nuisances(path) == ({"background_slope": 0.1, "excited_states": 0.02}, {})
    for text, word in (
        ('{"std": {"background_slop": 0.1}}', "did you mean 'background_slope'"),
        ('{"std": {"background_slope": -0.1}}', "must be positive"),
        ("{}", "cannot read systematics"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=word):
            read_nuisances(path)


def test_the_table_of_systematics_names_all(tmp_path):
    data, calibration = example_tables(800, 900, 18_574.0, seed=2)
    result = analyse(data, calibration, Options(limit=False, nuisance_stds={"background_slope": 0.2}))
    text = "\n".join(systematics_lines(result))
    assert "background slope" in text
    assert "quadratic sum" in text
    assert {row["name"] for row in result.to_dict()["added"]} >= {"background_slope"}


# Several settings ----------------------------------------------------------------------------------------------------


def settings(shifts):
    experiment = Experiment(1500.0, background_fraction=0.01, window=WINDOW)
    found = {}
    for index, (name, shift) in enumerate(shifts.items()):
        energy, std, _ = experiment.generate(np.random.default_rng([3, index]))
        found[name] = EndpointLikelihood(energy + shift, std, experiment.response(), WINDOW)
    return found, {name: fit_endpoint(part) for name, part in found.items()}


def test_settings_with_fields_of_their_own_are_fitted_together():
    parts, alone = settings({"may": 0.0, "june": 0.0})
    joint = fit_together(parts, alone, dict.fromkeys(parts, 0.2))
    assert joint.valid
    assert abs(joint.endpoint_ev - E0) < 3 * joint.error_ev
    expected = 1 / np.sqrt(sum(1 / (fit.endpoint_error_ev**2 + 0.2**2) for fit in alone.values()))
    assert joint.error_ev == pytest.approx(expected, rel=0.1)
    assert joint.statistical_ev < joint.error_ev
    assert joint.agreement > 0.01
    apart, own = settings({"may": 0.0, "june": 12.0})
    assert fit_together(apart, own, dict.fromkeys(apart, 0.2)).agreement < 1e-4
    # one that shows no endpoint, as `analyse` says, spoils the common fit, and is named
    blind = {**alone, "june": replace(alone["june"], problems=("no endpoint is seen",))}
    spoilt = fit_together(parts, blind, dict.fromkeys(parts, 0.2))
    assert not spoilt.valid
    assert "june alone is not valid, no endpoint is seen" in spoilt.lines()[-1]
    assert spoilt.to_dict()["valid"] is False
    with pytest.raises(UserError, match="two data sets"):
        fit_together({"may": parts["may"]}, alone, {"may": 0.2})
    with pytest.raises(UserError, match="'june'"):
        fit_together(parts, alone, {"may": 0.2})


# Blinding ------------------------------------------------------------------------------------------------------------


def test_blinding_moves_everything_and_is_lifted_by_one_command(tmp_path, monkeypatch, capsys):
    data, calibration = example_tables(600, 900, 18_574.0, seed=5)
    paths = [data.write(tmp_path / "d.hdf5"), calibration.write(tmp_path / "c.hdf5")]
    key, output = tmp_path / "secret.json", tmp_path / "out"
    key.write_text('{"energy_offset_ev": 3.0}')
    module = script()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["endpoint.py", *map(str, arguments)])
        module.main()
        return capsys.readouterr().out

    common = ["--data", paths[0], "--calibration", paths[1], "--output", output, "--mass-toys", 0]
    with monkeypatch.context() as patch:
        patch.setattr("cres.endpoint.report.write_figures", lambda *_: None)  # nobody looks at them
        run(*common)
    bare = json.loads((output / "endpoint.json").read_text())
    said = run(*common, "--blind", key)
    hidden = json.loads((output / "endpoint.json").read_text())
    assert hidden["endpoint_ev"] == pytest.approx(bare["endpoint_ev"] + 3.0, abs=0.02)
    assert "18574.000" not in said
    assert hidden["true_endpoint_ev"] is None
    assert hidden["true_energies"] is None
    run("--lift", output / "endpoint.json", "--blind", key)
    shown = json.loads((output / "endpoint.json").read_text())
    assert shown["endpoint_ev"] == pytest.approx(bare["endpoint_ev"], abs=0.02)
    assert hidden["statistical_ev"] == pytest.approx(bare["statistical_ev"], abs=0.01)
    assert shown["interval"]["low_ev"] == pytest.approx(hidden["interval"]["low_ev"] - 3.0)
    assert shown["mass_limit"] == hidden["mass_limit"]
    with pytest.raises(UserError, match="lifted before"):
        run("--lift", output / "endpoint.json", "--blind", key)


def test_an_offset_is_drawn_once_and_kept(tmp_path):
    path = tmp_path / "a" / "secret.json"
    offset = secret_offset_ev(path)
    assert secret_offset_ev(path) == offset
    assert offset != secret_offset_ev(tmp_path / "other.json")
    assert blinded(Physics(), path).endpoint_offset_ev == offset
    assert str(offset) not in repr(blinded(Physics(), path))
    path.write_text("{}")
    with pytest.raises(UserError, match="no blinding offset"):
        secret_offset_ev(path)
    with pytest.raises(UserError, match="was not blinded"):
        lifted({"endpoint_ev": 1.0}, path)


# Files ---------------------------------------------------------------------------------------------------------------


def test_tables_as_csv_are_those_that_were_written(tmp_path):
    table = example_tables(20, 30, seed=1)[0]
    again = read_table(table.to_csv(tmp_path / "my estimator.csv"))
    assert again.estimator == "my estimator"
    for name, values in table.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)
    assert read_table(table.write(tmp_path / "t.hdf5")).estimator == "example"


@pytest.mark.parametrize("train", ["train", "Train ", "0"])
def test_training_electrons_are_known_in_a_csv_too(tmp_path, train):
    path = tmp_path / "t.csv"
    path.write_text(f"event_id,energy_ev,energy_std_ev,split\n1,18500,1,{train}\n2,18501,1,test\n")
    table = read_table(path)
    assert table.columns["split"].tolist() == [0, 2]
    with pytest.raises(UserError, match="1 of its 2 electrons are training electrons"):
        refuse_training(table, "used as calibration", False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("event_id,energy_ev,energy_std_ev\n1,abc,1\n2,3,1\n", "column 'energy_ev': 1 entries are no numbers"),
        ("energy_ev,energy_std_ev\n1,2\n", "no column 'event_id'"),
        ("event_id,energy_ev,energy_std_ev\n1.5,2,1\n", "row 2: event_id 1.5"),
        ("event_id,energy_ev,energy_std_ev\n1,2,1\n1,3,1\n", "occurs twice"),
        ("event_id,energy_ev,energy_std_ev,split\n1,2,1,test\n2,3,1,trian\n", "row 3: .*'trian' .did you mean 'train'"),
        ("event_id,energy_ev,energy_std_ev,split\n1,2,1,\n2,3,1,test\n", "row 2: there is no split"),
        ("event_id,energy_ev,energy_std_ev,split\n1,2,1,7\n2,3,1,0\n", "row 2: there is no split '7'"),
        ("", "cannot be read as CSV"),
    ],
)
def test_csv_that_is_no_table_is_named_with_its_row(tmp_path, text, word):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=word):
        read_table(path)
