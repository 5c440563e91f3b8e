"""Combined momenta against what is known: independent and correlated errors, wrong error bars, wrong scales."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from collider.detectors.combining.command import main
from collider.detectors.combining.tables import combination, figures, kalman_table, said_by, sum_table
from collider.detectors.combining.weights import LearnedWeights, best_linear
from collider.detectors.system import SYSTEM
from reconstruction.errors import UserError
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable

ROWS = 4500
TRUE = np.exp(np.random.default_rng(0).uniform(0, 5, ROWS))
PART = np.random.default_rng(1).choice(3, ROWS, p=[0.3, 0.3, 0.4])
SHARES = 0.02 + 0.0005 * TRUE, 0.5 / np.sqrt(TRUE) + 0.01
"""Relative errors as of a tracker and of a calorimeter: one is better at low momenta, the other at high ones."""


def noise(correlation=0.0):
    first, second = np.random.default_rng(2).standard_normal((2, ROWS))
    return first, correlation * first + np.sqrt(1 - correlation**2) * second


def estimates():
    return np.stack([TRUE * (1 + share * z) for share, z in zip(SHARES, noise(), strict=True)], axis=1)


ERRORS = np.stack([TRUE * share for share in SHARES], axis=1)


def table(values, errors, rows=slice(None), name="network", **more):
    return PredictionTable.from_estimates(
        np.arange(ROWS)[rows] * 7 + 3,
        {"momentum_gev": values[rows]},
        estimator=name,
        std={"momentum_gev": errors[rows]},
        truth={"momentum_gev": TRUE[rows]},
        observables={"split": PART[rows], "eta": np.zeros(ROWS)[rows]} | {n: v[rows] for n, v in more.items()},
        system=SYSTEM,
    )


def tables(scales=(1.0, 1.0), widths=(1.0, 1.0)):
    made = estimates()
    return {
        name: table(made[:, i] * scales[i], ERRORS[:, i] * scales[i] * widths[i])
        for i, name in enumerate(("tracker", "ecal"))
    }


def test_independent_errors_give_the_inverse_variance_bound():
    said = said_by(tables())
    combined, bound, weights = combination(said)
    np.testing.assert_allclose(bound.std("momentum_gev"), 1 / np.sqrt((1 / ERRORS**2).sum(1)), rtol=0.06)
    one = figures(said, weights)[0]
    assert one["detectors"] == ["tracker", "ecal"]
    assert one["candidates"] == np.isin(PART, 2).sum()
    assert 0.95 < one["over_bound"] < 1.05
    assert abs(one["coverage"] - 0.6827) < 3 * one["coverage_error"]
    assert one["resolution"] < min(alone["resolution"] for alone in one["alone"].values())
    assert abs(weights.correlation[0, 1]) < 0.06
    assert combined.has_truth("momentum_gev")
    assert (combined.column("detectors_combined") == 2).all()


@pytest.mark.parametrize(
    ("scales", "widths"), [((1.0, 1.3), (1.0, 1.0)), ((1.0, 1.0), (0.5, 1.0)), ((0.9, 1.0), (1.0, 3.0))]
)
def test_wrong_scales_and_wrong_error_bars_are_learned(scales, widths):
    """Taken as stated the same tables are worse, or do not cover: the check can fail."""
    said = said_by(tables(scales=scales, widths=widths))
    _, _, weights = combination(said)
    np.testing.assert_allclose(weights.response * scales, 1, atol=0.02)
    np.testing.assert_allclose(weights.inflation * widths * scales, 1, atol=0.08)
    one = figures(said, weights)[0]
    assert one["over_bound"] < 1.06
    assert abs(one["coverage"] - 0.6827) < 3 * one["coverage_error"]
    mean, std = best_linear(said.estimates, said.errors, np.eye(2))
    test = said.rows("test")
    away = (mean - TRUE)[test]
    covered = np.mean(np.abs(away) < std[test])
    assert abs(covered - 0.6827) > 0.04 or sigma68(away / TRUE[test]) > 1.1 * one["resolution"]


def test_correlated_errors_are_worth_less_and_say_so():
    """Of two equal errors σ with the correlation ρ the best is σ√((1 + ρ)/2), and σ/√2 the bound without any."""
    equal = TRUE * 0.05
    made = {name: table(TRUE + equal * z, equal) for name, z in zip(("tracker", "ecal"), noise(0.7), strict=True)}
    said = said_by(made)
    _, _, weights = combination(said)
    assert 0.62 < weights.correlation[0, 1] < 0.75
    one = figures(said, weights)[0]
    assert one["over_bound"] == pytest.approx(np.sqrt(1.7), rel=0.06)
    assert abs(one["coverage"] - 0.6827) < 3 * one["coverage_error"]


def test_the_best_combination_is_that_of_the_normal_equations():
    """Slow twin: generalised least squares, row by row."""
    random = np.random.default_rng(3)
    values, sigma = random.normal(10, 1, (5, 3)), random.uniform(0.5, 2, (5, 3))
    mix = random.standard_normal((3, 6))
    correlation = np.corrcoef(mix)
    mean, std = best_linear(values, sigma, correlation)
    for row in range(5):
        covariance = correlation * np.outer(sigma[row], sigma[row])
        ones = np.ones(3)
        information = ones @ np.linalg.solve(covariance, ones)
        assert std[row] == pytest.approx(information**-0.5)
        assert mean[row] == pytest.approx(ones @ np.linalg.solve(covariance, values[row]) / information)


def test_rows_of_one_table_alone_keep_what_it_says():
    made = estimates()
    half = np.arange(ROWS) % 2 == 0
    said = said_by({"tracker": table(made[:, 0], ERRORS[:, 0]), "ecal": table(made[:, 1], ERRORS[:, 1], half)})
    combined, _, weights = combination(said)
    assert len(combined) == ROWS
    alone = combined.column("detectors_combined") == 1
    assert (alone == ~half).all()
    np.testing.assert_allclose(combined.mean("momentum_gev")[alone], made[alone, 0] * weights.response[0])
    assert len(figures(said, weights)) == 2


def test_few_rows_of_several_detectors_have_error_bars_of_their_own():
    """One row in seven has a second estimate, and there the first is three times as wrong as its error bar says."""
    both = np.arange(ROWS) % 7 == 0
    first, second = (TRUE * (1 + 0.05 * z) for z in noise())
    first = np.where(both, TRUE + 3 * (first - TRUE), first)
    errors = TRUE * 0.05
    said = said_by({"tracker": table(first, errors), "ecal": table(second, errors, both)})
    _, _, weights = combination(said)
    found = {tuple(one["detectors"]): one for one in figures(said, weights)}
    assert set(found) == {("tracker",), ("tracker", "ecal")}
    for one in found.values():
        assert abs(one["coverage"] - 0.6827) < 3.5 * one["coverage_error"]
    alike = replace(weights, own={})
    assert min(one["coverage"] for one in figures(said, alike)) < 0.6


@pytest.mark.parametrize("trained_on", ["tracker", "ecal"])
def test_a_row_that_one_network_was_trained_on_is_no_test(trained_on):
    made = estimates()
    given = {name: table(made[:, place], ERRORS[:, place]) for place, name in enumerate(("tracker", "ecal"))}
    given[trained_on] = given[trained_on].with_columns({"split": np.zeros(ROWS, np.int64)})
    said = said_by(given)
    assert len(said.rows("test")) == 0
    with pytest.raises(UserError, match="the weight of tracker cannot be learned of 0 rows of the validation split"):
        combination(said)


def identities(kinds, part):
    return PredictionTable.from_estimates(
        np.arange(ROWS) * 7 + 3,
        {"identity": kinds},
        estimator="identity",
        observables={} if part is None else {"split": part},
        system=SYSTEM,
    )


def test_identities_decide_who_speaks():
    kinds = np.where(np.arange(ROWS) % 3 == 0, 11, 211)
    identity = identities(kinds, PART)
    said = said_by(tables(), identity)
    assert (np.isfinite(said.estimates[:, 1]) == (kinds == 11)).all()
    assert np.isfinite(said.estimates[:, 0]).all()
    # what the network of identities was trained on is no test of who speaks, either
    trained = said_by(tables(), identities(kinds, np.zeros_like(PART)))
    assert len(trained.rows("test")) == 0 < len(said.rows("test"))
    with pytest.raises(UserError, match="the table of identities estimates momentum_gev"):
        said_by(tables(), tables()["ecal"])
    with pytest.raises(UserError, match="the table of identities does not say which rows"):
        said_by(tables(), identities(kinds, None))


def test_classical_tables_have_the_errors_that_they_state():
    made = estimates()
    whole = table(
        made[:, 0], ERRORS[:, 0], kalman_momentum_gev=np.where(PART == 0, np.nan, made[:, 0]),
        kalman_momentum_error_gev=ERRORS[:, 0], ecal_sum_gev=0.8 * made[:, 1],
    )  # fmt: skip
    kalman = kalman_table(whole)
    assert len(kalman) == (PART != 0).sum()
    np.testing.assert_allclose(kalman.std("momentum_gev"), ERRORS[PART != 0, 0])
    sums = sum_table(whole, "ecal_sum_gev")
    test = (sums.column("split") == 2) & (sums.truth("momentum_gev") > 3)
    away = sums.residual("momentum_gev")[test]
    assert abs(np.median(away / sums.truth("momentum_gev")[test])) < 0.03
    assert abs(np.mean(np.abs(away) < sums.std("momentum_gev")[test]) - 0.6827) < 0.04
    few = whole.select(np.arange(50))
    with pytest.raises(UserError, match="the response of ecal_sum_gev is measured on rows of the training"):
        sum_table(few, "ecal_sum_gev")


def test_the_command_writes_tables_and_figures(tmp_path, capsys, monkeypatch):
    words = ["detectors_combine.py", "combine"]
    for name, made in tables().items():
        words.append(f"{name}={made.write(tmp_path / f'{name}.hdf5')}")
    monkeypatch.setattr("sys.argv", [*words, "--output", str(tmp_path / "out")])
    assert main() == 0
    assert "of the inverse-variance bound, coverage" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "combined.json").read_text())
    assert set(found) == {"weights", "test"}
    combined, bound = (PredictionTable.read(tmp_path / "out" / f"{n}.hdf5") for n in ("predictions", "bound"))
    assert len(combined) == len(bound) == (PART == 2).sum()
    assert bound.is_bound
    assert len(PredictionTable.read(tmp_path / "out" / "all.hdf5")) == ROWS


@pytest.mark.parametrize("command", ["combine", "classical"])
def test_a_table_that_is_read_is_not_written_over(command, tmp_path, monkeypatch):
    made, name = estimates(), {"combine": "all", "classical": "kalman"}[command]
    one = table(made[:, 0], ERRORS[:, 0], kalman_momentum_gev=made[:, 0], kalman_momentum_error_gev=ERRORS[:, 0])
    path = one.write(tmp_path / f"{name}.hdf5")
    before = path.read_bytes()
    named = [f"tracker={path}", f"ecal={tables()['ecal'].write(tmp_path / 'ecal.hdf5')}"]
    words = [*(named if command == "combine" else [str(path)]), "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["detectors_combine.py", command, *words])
    with pytest.raises(UserError, match=rf"{name}\.hdf5 is read and would be written over: choose another --output"):
        main()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("told", "message"), [({"system": "collider.jets"}, "of jets, not of candidates"), ({"kind": "bound"}, "a bound")]
)
def test_classical_tables_are_of_candidates(told, message, tmp_path, monkeypatch):
    path = tables()["ecal"].with_attributes(told).write(tmp_path / "table.hdf5")
    monkeypatch.setattr("sys.argv", ["detectors_combine.py", "classical", str(path)])
    with pytest.raises(UserError, match=f"table.hdf5 is {message}"):
        main()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"tracker": t["tracker"]}, "a combination is of two tables or more"),
        (lambda t: t | {"ecal": _without(t["ecal"], "split")}, "the table of ecal does not say which rows"),
        (
            lambda t: t | {"ecal": _without(t["ecal"], "momentum_std_gev")},
            "the table of ecal has no momentum_gev with its",
        ),
        (lambda t: t | {"ecal": _changed(t["ecal"], "true_momentum_gev")}, "the table of ecal has other true momenta"),
        (
            lambda t: t | {"ecal": t["ecal"].with_attributes({"system": "collider.jets"})},
            "the table of ecal is of jets",
        ),
        (lambda t: t | {"ecal": t["ecal"].with_attributes({"kind": "bound"})}, "the table of ecal is a bound"),
        (
            lambda t: t | {"ecal": t["ecal"].with_columns({"event_id": t["ecal"].event_id + 1})},
            "the table of tracker has no candidate of another table: make all of the same events",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        said_by(change(tables()))


def _without(one, column):
    kept = {name: values for name, values in one.columns.items() if name != column}
    return PredictionTable(kept, one.attributes)


def _changed(one, column):
    return one.with_columns({column: one.column(column) * 1.01})


def test_weights_need_rows_and_truth():
    made = estimates()
    with pytest.raises(UserError, match="the weight of ecal cannot be learned of 40 rows"):
        LearnedWeights.learned(
            ("tracker", "ecal"),
            np.where(np.arange(200)[:, None] < [200, 40], made[:200], np.nan),
            ERRORS[:200],
            TRUE[:200],
        )
    bare = {name: _without(one, "true_momentum_gev") for name, one in tables().items()}
    with pytest.raises(UserError, match="weights are learned from true momenta"):
        combination(said_by(bare))
