"""The analysis of predictions tables, end to end on an estimator that was trained on a flat window."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from forked import run_forked
from undrawn import leave_undrawn

from cres.endpoint import plots, report
from cres.endpoint.analysis import Options, analyse, true_endpoint_ev
from cres.endpoint.examples import example_tables
from cres.endpoint.response import measure_response
from cres.errors import UserError
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "endpoint.py"
ENDPOINT = 18_576.9


@pytest.fixture(scope="module")
def tables():
    return example_tables(2500, 4000, ENDPOINT, seed=4)


@pytest.fixture(scope="module")
def few():
    """For commands, of which it matters that they run through."""
    return example_tables(800, 1000, ENDPOINT, seed=4)


@pytest.fixture(scope="module")
def analysis(tables):
    return analyse(*tables, Options(mass_toys=3))


def test_endpoint_is_found_within_its_uncertainty(analysis):
    assert analysis.fit.valid
    assert analysis.full_fit.valid
    assert abs(analysis.deviation) < 3
    assert 0.5 < analysis.statistical_ev < 4
    assert analysis.total_ev >= analysis.statistical_ev
    assert analysis.interval.low_ev < analysis.fit.endpoint_ev < analysis.interval.high_ev
    assert analysis.goodness[2] > 1e-3


def test_true_energies_are_fitted_beside(analysis):
    assert abs(analysis.true_fit.endpoint_ev - ENDPOINT) < 3 * analysis.true_fit.endpoint_error_ev
    assert analysis.true_fit.endpoint_error_ev < 1.1 * analysis.fit.endpoint_error_ev


def test_mass_limits(analysis):
    for found in (analysis.limit.neyman, analysis.limit.profile, analysis.limit.bayesian):
        assert 0 < found.limit_ev < 60
    text = "\n".join(report.summary_lines(analysis))
    # both of the unequal errors of m², and the three constructions
    assert f"+{analysis.limit.upper_ev2:.0f} −{abs(analysis.limit.lower_ev2):.0f}" in text
    assert all(name in text for name in ("(Feldman–Cousins)", "(profile)", "(Bayesian)"))


def test_summary_and_json_say_it(analysis, tmp_path):
    text = "\n".join(report.summary_lines(analysis))
    assert f"{ENDPOINT:.3f}" in text
    assert "Feldman" in text
    content = json.loads(report.write_json(analysis.to_dict(), tmp_path / "a.json").read_text())
    assert content["endpoint_ev"] == pytest.approx(analysis.fit.endpoint_ev)


def test_figures_are_drawn_for_the_report(analysis, tables):
    part = report.section(analysis, tables[1])
    assert len(part.illustrations) == 7
    assert json.loads(part.texts["endpoint-example.json"])["endpoint_ev"] == pytest.approx(analysis.fit.endpoint_ev)
    rows = report.summary_rows(analysis)
    assert set(report.MEANINGS) == set(rows) - {"estimator"}
    assert all(text in part.html for text in report.MEANINGS.values())
    for illustration in part.illustrations:
        for panel in illustration.panels:
            panel.figure.draw_without_rendering()
    assert part.first in {panel.name for picture in part.illustrations for panel in picture.panels}
    assert f"{analysis.fit.endpoint_ev:.2f} ± {analysis.statistical_ev:.2f} (stat)" in part.headline
    assert part.headline.endswith(f"from the true {ENDPOINT:.2f} eV.")
    # the axes end where nothing happens any more
    left, right = plots.mass_figure(analysis.limit).axes
    assert left.get_xlim()[1] < np.sqrt(analysis.limit.scanned_to_ev2)
    assert right.get_xlim()[1] < analysis.limit.scanned_to_ev2


def test_true_endpoint_is_found_in_a_configuration():
    nested = {"config": json.dumps({"ensemble": {"tritium": {"endpoint_ev": 18_570.0}}})}
    base = {"event_id": np.arange(2), "energy_ev": np.ones(2), "energy_std_ev": np.ones(2)}
    assert true_endpoint_ev(PredictionTable(base, nested)) == 18_570.0
    assert true_endpoint_ev(PredictionTable(base, {})) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: PredictionTable({k: v for k, v in t.columns.items() if k != "energy_std_ev"}), "no uncertainty"),
        (lambda t: PredictionTable({k: v for k, v in t.columns.items() if k != "true_energy_ev"}), "true_energy_ev"),
        (lambda t: t.select(np.arange(10)), "too few"),
        (lambda t: t.with_columns({"energy_std_ev": np.full(len(t), 99.0)}), "--max-std"),
    ],
)
def test_unusable_calibration_is_one_sentence(tables, change, message):
    with pytest.raises(UserError, match=message):
        measure_response(change(tables[1]))


def test_window_without_electrons(tables):
    with pytest.raises(UserError, match="too few"):
        analyse(*tables, Options(window_ev=(18_650.0, 18_690.0)))


def test_command_line(few, tmp_path):
    data, calibration = (table.write(tmp_path / f"{name}.hdf5") for name, table in zip("dc", few, strict=True))
    words = ("--data", data, "--calibration", calibration, "--output", tmp_path / "out", "--mass-toys", "0")
    run = run_forked(SCRIPT, *words)
    assert run.returncode == 0, run.stderr
    assert "true endpoint" in run.stdout
    assert (tmp_path / "out" / "spectrum.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "out" / "endpoint.json").read_text())["electrons"] > 100


@pytest.mark.parametrize("arguments", [[], ["--data", "none.hdf5", "--calibration", "none.hdf5"]])
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("endpoint_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["endpoint.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        script.errors.run(script.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_report_has_the_endpoints_of_several_estimators_under_their_display_names(few, tmp_path, monkeypatch):
    leave_undrawn(monkeypatch)
    paths, (tritium, calibration) = [], few
    for name in ("one", "two"):
        pair = (tmp_path / f"tritium_{name}.hdf5", tmp_path / f"{name}.hdf5")
        tritium.renamed(name).write(pair[0])
        calibration.renamed(name).write(pair[1])
        paths.append(pair)
    words = [*(pair[1] for pair in paths), "--tritium", *(pair[0] for pair in paths)]
    words += ["--names", "the first", "the second", "--output", tmp_path / "out", "--bootstrap", "20"]
    done = run_forked(ROOT / "scripts" / "evaluate.py", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fitted endpoint") == 2
    assert "estimator            the second" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The tritium endpoint: the first" in page
    assert "The tritium endpoint: the second" in page
    assert len(list((tmp_path / "out" / "figures").glob("endpoint-*-spectrum.png"))) == 2
