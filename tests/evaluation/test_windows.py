"""Combining windows of long tracks: against dense float64 least squares, and what must hold whatever the numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cres.errors import UserError
from cres.evaluation.window_calibration import fit_combination
from cres.evaluation.window_combination import following
from cres.evaluation.window_features import quantile_fit
from cres.evaluation.windows import ELECTRON, WINDOW, WINDOW_START, Combination, combine_windows
from reconstruction.judging.measures.metrics import coverage
from reconstruction.judging.tables.columns import COVARIANCE
from reconstruction.judging.tables.table import PredictionTable

STEP_S = 2e-5
Array = NDArray[np.float64]
COVARIANCE_OF_ONE = np.array([[0.09, 0.0012], [0.0012, 1e-4]])


def window_table(
    energy_ev: Array, pitch_deg: Array, covariance: Array, truth: Array | None = None, **more: Array
) -> PredictionTable:
    """Return a table from estimates (electrons, windows) and covariances (…, 2, 2)."""
    electrons, windows = energy_ev.shape
    electron = np.repeat(np.arange(electrons) + 1000, windows)
    window = np.tile(np.arange(windows), electrons)
    known = None if truth is None else {"energy_eV": np.repeat(truth, windows), "pitch_angle_deg": 0 * window + 89.0}
    table = PredictionTable.from_estimates(
        np.arange(electrons * windows),
        {"energy_eV": energy_ev.ravel(), "pitch_angle_deg": pitch_deg.ravel()},
        estimator="windows",
        covariance=np.broadcast_to(covariance, (*energy_ev.shape, 2, 2)).reshape(-1, 2, 2),
        truth=known,
        observables={name: values.ravel() for name, values in more.items()},
    )
    return table.with_columns({ELECTRON: electron, WINDOW: window, WINDOW_START: window * STEP_S})


def simulated(
    electrons: int, windows: int, seed: int, common: float = 0.0, wrong: float = 0.0
) -> tuple[PredictionTable, Array]:
    """Return windows of electrons that radiate, a share of the variance common, some windows in a wrong mode."""
    random = np.random.default_rng(seed)
    truth = random.uniform(18_500, 18_650, electrons)
    drift = random.uniform(-13e3, -1e3, electrons)
    root = np.linalg.cholesky(COVARIANCE_OF_ONE)
    shared = np.sqrt(common) * random.normal(size=(electrons, 1, 2))
    error = (shared + np.sqrt(1 - common) * random.normal(size=(electrons, windows, 2))) @ root.T
    energy = truth[:, None] + drift[:, None] * np.arange(windows) * STEP_S + error[..., 0]
    pitch = 89.0 + error[..., 1]
    lost = random.uniform(size=energy.shape) < wrong
    energy = energy + lost * random.choice([-1, 1], energy.shape) * random.uniform(5, 60, energy.shape)
    return window_table(energy, pitch, COVARIANCE_OF_ONE, truth), truth


def dense(table: PredictionTable, combination: Combination) -> tuple[Array, Array]:
    """Return start values and covariance of one electron's windows with a large matrix for each target: no weights."""
    time, covariance = table.column(WINDOW_START), table.column(COVARIANCE)
    weights, starts, slopes = [], [], []
    for i, name in enumerate(table.targets):
        average, width = combination.drift_per_s[name]
        bend = combination.bend_per_s2.get(name, 0.0)
        slope = width**2 * np.outer(time, time) + bend**2 * np.outer(time**2, time**2) / 4
        precision = np.linalg.inv(np.diag(covariance[:, i, i]) + slope)
        weights.append(precision.sum(axis=0) / precision.sum())
        starts.append(weights[-1] @ (table.mean(name) - average * time))
        slopes.append(weights[-1] @ slope @ weights[-1])
    errors = np.einsum("ik,kij,jk->ij", weights, covariance, weights)
    return np.array(starts), errors + np.diag(slopes)


@pytest.mark.parametrize("windows", [1, 2, 5, 40])
def test_it_is_generalised_least_squares(windows: int) -> None:
    # small residuals: all windows keep their whole weight
    random = np.random.default_rng(3)
    energy = 18_600 - 0.2 * np.arange(windows) + 0.1 * random.normal(size=(1, windows))
    pitch = 89 + 0.003 * random.normal(size=(1, windows))
    roots = np.linalg.cholesky(COVARIANCE_OF_ONE) * random.uniform(1, 1.5, (1, windows, 1, 1))
    table = window_table(energy, pitch, roots @ np.swapaxes(roots, -1, -2))
    combination = Combination({"energy_ev": (-9e3, 4e3), "pitch_angle_deg": (0.0, 1.0)}, {"energy_ev": 1e5})
    start, covariance = dense(table, combination)
    combined = combine_windows(table, combination)
    assert combined.mean("energy_ev")[0] == pytest.approx(start[0], abs=1e-7)
    assert combined.mean("pitch_angle_deg")[0] == pytest.approx(start[1], abs=1e-9)
    np.testing.assert_allclose(combined.column(COVARIANCE)[0], covariance, rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    energy=st.floats(18_000, 19_000),
    std_ev=st.floats(1e-3, 30),
    correlation=st.floats(-0.95, 0.95),
    count=st.integers(1, 50),
)
def test_equal_windows_without_drift_average(energy: float, std_ev: float, correlation: float, count: int) -> None:
    covariance = np.array([[std_ev**2, 0.01 * std_ev * correlation], [0.01 * std_ev * correlation, 1e-4]])
    table = window_table(np.full((1, count), energy), np.full((1, count), 89.0), covariance)
    combined = combine_windows(table, Combination({}, {}))
    assert combined.mean("energy_ev")[0] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(combined.column(COVARIANCE)[0], covariance / count, rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.floats(0.5, 3))
def test_one_window_is_itself(seed: int, factor: float) -> None:
    table, _ = simulated(3, 1, seed)
    laws = {"energy_ev": [(1.0, [0.0, 0.0, 0.0]), (2.0, [np.log(factor), 0.1, 0.2])]}
    combined = combine_windows(table, Combination(spread={"energy_ev": (-1.0, 0.5)}, factor68=laws, factor95=laws))
    for name in table.targets:
        np.testing.assert_allclose(combined.mean(name), table.mean(name), rtol=1e-11)
    np.testing.assert_allclose(combined.column(COVARIANCE), table.column(COVARIANCE), rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_order_and_company_do_not_matter(seed: int) -> None:
    table, _ = simulated(5, 9, seed, wrong=0.1)
    shuffled = table.select(np.random.default_rng(seed).permutation(len(table)))
    one = combine_windows(table)
    np.testing.assert_allclose(combine_windows(shuffled).mean("energy_ev"), one.mean("energy_ev"), rtol=1e-11)
    alone = combine_windows(table.select(table.column(ELECTRON) == 1002))
    np.testing.assert_allclose(alone.mean("energy_ev"), one.mean("energy_ev")[2], rtol=1e-11)


def test_slopes_are_found_with_honest_errors() -> None:
    table, _ = simulated(400, 16, 1)
    combined = combine_windows(table)
    assert coverage(combined.residual("energy_ev"), combined.std("energy_ev")) == pytest.approx(0.683, abs=0.07)
    assert np.std(combined.residual("energy_ev")) < 0.2  # a line's start is known to σ·2/√N; here 0.15
    assert combined.column("energy_ev_drift").mean() == pytest.approx(-7e3, rel=0.1)
    assert (combined.column("n_windows") == 16).all()


def test_windows_in_a_wrong_mode_lose_their_weight() -> None:
    clean, _ = simulated(200, 32, 5)
    spoiled, _ = simulated(200, 32, 5, wrong=0.15)
    best, robust = (combine_windows(table).residual("energy_ev") for table in (clean, spoiled))
    assert np.std(robust) < 1.3 * np.std(best)
    used = combine_windows(spoiled).column("windows_used")
    assert 25 < used.mean() < 29


def test_common_errors_are_measured_and_make_coverage_honest() -> None:
    calibrating, _ = simulated(400, 32, 7, common=0.25)
    combination = fit_combination(calibrating)
    # a start fitted with a slope has four times the variance of a mean: √(0.75 + 0.25 · 32/4) here, known to 0.08
    assert combination.factor68["energy_ev"][-1][1][0] == pytest.approx(np.log(np.sqrt(0.75 + 2)), abs=0.25)
    assert combination.drift_per_s["energy_ev"][0] == pytest.approx(-7e3, rel=0.1)
    others, _ = simulated(600, 32, 8, common=0.25)
    naive, honest = combine_windows(others), combine_windows(others, combination)
    assert coverage(naive.residual("energy_ev"), naive.std("energy_ev")) < 0.5
    for name in others.targets:
        assert coverage(honest.residual(name), honest.std(name)) == pytest.approx(0.683, abs=0.06)
        low, high = honest.interval95(name)
        assert np.mean((honest.truth(name) >= low) & (honest.truth(name) <= high)) == pytest.approx(0.954, abs=0.03)
    # at another length, for which nothing was fitted
    short = combine_windows(others, combination, first=4)
    assert coverage(short.residual("energy_ev"), short.std("energy_ev")) == pytest.approx(0.683, abs=0.06)


def test_neighbours_that_err_alike_are_calibrated_at_every_length() -> None:
    """Such errors average out over a whole track, but not over a few windows."""

    def alike(seed: int) -> PredictionTable:
        random = np.random.default_rng(seed)
        truth = random.uniform(18_500, 18_650, 600)
        independent = random.normal(size=(600, 39, 2))
        error = sum(independent[:, lag : lag + 32] for lag in range(8)) / np.sqrt(8)
        error = error @ np.linalg.cholesky(COVARIANCE_OF_ONE).T
        drift = random.uniform(-13e3, -1e3, 600)
        energy = truth[:, None] + drift[:, None] * np.arange(32) * STEP_S + error[..., 0]
        return window_table(energy, 89.0 + error[..., 1], COVARIANCE_OF_ONE, truth)

    combination, others = fit_combination(alike(17)), alike(18)
    for count in (4, 8, 12, 32):
        combined = combine_windows(others, combination, first=count)
        for name in others.targets:
            assert coverage(combined.residual(name), combined.std(name)) == pytest.approx(0.683, abs=0.06), count
    unscaled = combine_windows(others, replace(combination, factor68={}, factor95={}), first=4)
    assert coverage(unscaled.residual("pitch_angle_deg"), unscaled.std("pitch_angle_deg")) < 0.55


def test_independent_windows_need_no_factor() -> None:
    table, _ = simulated(600, 16, 11)
    for laws in fit_combination(table).factor68.values():
        assert max(abs(law[0]) for _, law in laws) < 0.14  # 600 electrons know a factor to 0.04


def radiating(seed: int, electrons: int = 600, windows: int = 4) -> PredictionTable:
    """Return windows of electrons that radiate the more the narrower the spreads they state, up to 20 keV/s."""
    random = np.random.default_rng(seed)
    truth = random.uniform(18_500, 18_650, electrons)
    std = np.exp(random.uniform(np.log(0.02), np.log(0.2), electrons))
    drift = -2e4 * (np.log(0.2 / std) / np.log(10)) ** 2 + 300 * random.normal(size=electrons)
    energy = truth[:, None] + drift[:, None] * np.arange(windows) * STEP_S
    energy += std[:, None] * random.normal(size=energy.shape)
    covariance = np.zeros((*energy.shape, 2, 2))
    covariance[..., 0, 0], covariance[..., 1, 1] = std[:, None] ** 2, 1e-4
    return window_table(energy, 89.0 + 0.01 * random.normal(size=energy.shape), covariance, truth)


def test_spreads_foretell_slopes() -> None:
    combination, others = fit_combination(radiating(41, windows=16)), radiating(42)
    assert combination.drift_per_s["energy_ev"][1] < 1500  # 7000 among all electrons; the prior's floor is 600
    ignorant = replace(combination, drift_law={}, drift_per_s={"energy_ev": (-7e3, 7e3)}, bias={}, factor68={})
    pair = [combine_windows(others, c, first=2) for c in (combination, ignorant)]
    narrow = pair[0].column("window_spread")[:, 0] < 0.06
    foretold, guessed = (np.std(table.residual("energy_ev")[narrow]) for table in pair)
    assert foretold < 0.85 * guessed  # two windows average to 0.71
    assert coverage(pair[0].residual("energy_ev"), pair[0].std("energy_ev")) == pytest.approx(0.683, abs=0.06)


def test_a_wrong_correlation_between_targets_moves_no_estimate() -> None:
    """Windows whose pitch angles drift, which nobody expects, and who state that pitch angle and energy err as one."""
    table, truth = simulated(200, 32, 51)
    drifting = table.mean("pitch_angle_deg") + 3.0 * table.column(WINDOW_START)
    covariance = np.array([[0.09, 0.95 * 0.3 * 0.01], [0.95 * 0.3 * 0.01, 1e-4]])
    right = table.with_columns({"pitch_angle_deg": drifting})
    wrong = right.with_columns({COVARIANCE: np.broadcast_to(covariance, (len(table), 2, 2))})
    combination = Combination({"energy_ev": (-7e3, 4e3), "pitch_angle_deg": (0.0, 0.01)})
    one, other = combine_windows(right, combination), combine_windows(wrong, combination)
    np.testing.assert_allclose(one.mean("energy_ev"), other.mean("energy_ev"), rtol=1e-12)
    assert abs(np.mean(other.mean("energy_ev") - truth)) < 0.04  # each is known to 0.1


def test_windows_outside_the_trained_range_are_left_out_unless_there_are_no_others() -> None:
    energy = np.array([[18_600.0, 18_700.0], [18_700.0, 18_700.0]])
    table = window_table(energy, np.full((2, 2), 89.0), COVARIANCE_OF_ONE, outside_range=energy > 18_650)
    combined = combine_windows(table, Combination({}, {}))
    np.testing.assert_allclose(combined.mean("energy_ev"), [18_600, 18_700])
    assert list(combined.column("n_windows")) == [1, 2]


def test_failed_windows_are_left_out_and_an_electron_without_any_fails() -> None:
    energy = np.array([[18_600.0, np.nan], [np.nan, np.nan]])
    table = window_table(energy, np.full((2, 2), 89.0), COVARIANCE_OF_ONE)
    combined = combine_windows(table, Combination({}, {}))
    np.testing.assert_allclose(combined.mean("energy_ev"), [18_600, np.nan])
    assert np.isnan(combined.std("energy_ev")[1])


def biased(seed: int, electrons: int = 800, windows: int = 16) -> PredictionTable:
    """Return windows of half the electrons that are easy and half that are hard, with errors that they share.

    All windows are off by half an error bar of an easy one, and by as much more at either end of the energies; the hard
    ones, five times worse, err alike in all windows of an electron, the easy ones do not.
    """
    random = np.random.default_rng(seed)
    truth = random.uniform(18_500, 18_650, electrons)
    hard = np.arange(electrons) % 2
    std = np.where(hard, 0.5, 0.1)[:, None]
    error = std * (random.normal(size=(electrons, windows)) + 0.8 * hard[:, None] * random.normal(size=(electrons, 1)))
    bias = 0.05 + 0.05 * (truth - 18_575) / 75
    pitch = 89.0 + 0.01 * random.normal(size=error.shape)
    drift = random.uniform(-13e3, -1e3, electrons)
    energy = truth[:, None] + drift[:, None] * np.arange(windows) * STEP_S + error + bias[:, None]
    covariance = np.zeros((*energy.shape, 2, 2))
    covariance[..., 0, 0], covariance[..., 1, 1] = std**2, 1e-4
    return window_table(energy, pitch, covariance, truth)


@pytest.fixture(scope="module")
def measured() -> tuple[Combination, PredictionTable]:
    """Return a combination and the windows of other electrons."""
    return fit_combination(biased(23)), biased(24)


def test_the_bias_of_all_electrons_is_taken_off_and_depends_on_the_energy(
    measured: tuple[Combination, PredictionTable],
) -> None:
    combination, others = measured
    easy = np.arange(800) % 2 == 0
    before, after = combine_windows(others), combine_windows(others, combination)
    low = before.truth("energy_ev") < 18_550
    for part, wrong in ((easy & low, 0.02), (easy & ~low, 0.07)):
        error = 0.05 * 1.25 / np.sqrt(part.sum())
        assert np.median(before.residual("energy_ev")[part]) > wrong - 4 * error
        assert abs(np.median(after.residual("energy_ev")[part])) < 4 * error
    # one window gives back its own estimate
    alone = others.select(others.column(WINDOW) == 0)
    np.testing.assert_allclose(combine_windows(alone, combination).mean("energy_ev"), alone.mean("energy_ev"))


def test_the_plane_does_not_pull_estimates_to_the_middle_of_the_calibration() -> None:
    # all calibrating electrons have one pitch angle: over the estimates a plane would take off every error
    calibrating, _ = simulated(400, 8, 31)
    combination = fit_combination(calibrating)
    others, _ = simulated(300, 8, 32)
    before, after = (combine_windows(others, c).residual("pitch_angle_deg") for c in (None, combination))
    assert np.std(after) == pytest.approx(np.std(before), rel=0.2)


@pytest.mark.parametrize("count", [2, 6, 16])
def test_error_bars_hold_for_easy_and_for_hard_electrons(
    measured: tuple[Combination, PredictionTable], count: int
) -> None:
    combination, others = measured
    combined = combine_windows(others, combination, first=count)
    for part in (np.arange(800) % 2 == 0, np.arange(800) % 2 == 1):
        residual, std = combined.residual("energy_ev")[part], combined.std("energy_ev")[part]
        assert coverage(residual, std) == pytest.approx(0.683, abs=0.07)
        low, high = (end[part] for end in combined.interval95("energy_ev"))
        truth = combined.truth("energy_ev")[part]
        assert np.mean((truth >= low) & (truth <= high)) == pytest.approx(0.954, abs=0.035)


@given(windows=st.lists(st.floats(1, 100), min_size=1, max_size=6))
def test_laws_go_through_their_numbers_and_are_constant_beyond(windows: list[float]) -> None:
    laws = [(1.0, [0.0, 1.0]), (2.0, [1.0, 1.0]), (8.0, [3.0, -1.0])]
    number, feature = np.array(windows), np.linspace(-1, 1, len(windows))
    found = following(laws, number, np.stack([np.ones(len(number)), feature, 100 * feature], axis=1))
    for at, x, value in zip(number, feature, found, strict=True):
        heights = np.interp(np.log(at), np.log([1, 2, 8]), [0, 1, 3])
        slopes = np.interp(np.log(at), np.log([1, 2, 8]), [1, 1, -1])
        assert value == pytest.approx(heights + slopes * x, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), probability=st.floats(0.1, 0.95), terms=st.integers(1, 3))
def test_a_quantile_fit_is_the_best_of_all_lines_through_points(seed: int, probability: float, terms: int) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=14)
    basis, values = x[:, None] ** np.arange(terms), random.normal(size=14) * (1 + x**2)

    def loss(coefficients: Array) -> float:
        above = values - basis @ coefficients
        return float(np.sum(np.where(above > 0, probability * above, (probability - 1) * above)))

    # the least loss is at a curve through as many points as there are terms
    every = (list(rows) for rows in combinations(range(14), terms))
    least = min(loss(np.linalg.solve(basis[rows], values[rows])) for rows in every)
    assert loss(quantile_fit(basis, values, probability)) == pytest.approx(least, rel=1e-6)


def test_a_quantile_fit_leaves_out_what_the_columns_before_determine() -> None:
    x = np.repeat([-1.0, 1.0], 50)  # easy and hard, nothing between: no parabola
    values = np.linspace(0, 1, 100) + x
    found = quantile_fit(x[:, None] ** np.arange(3), values, 0.6)
    assert found[2] == 0
    assert np.mean(values < found[0] + found[1] * x) == pytest.approx(0.6, abs=0.03)


def test_a_calibration_is_written_and_read_again(tmp_path: Path) -> None:
    laws = {"energy_ev": [(1.0, [0.0, 0.0, 0.0]), (8.0, [0.3, 0.1, -0.05])]}
    combination = Combination(
        drift_per_s={"energy_ev": (-8e3, 3e3)},
        bend_per_s2={},
        early_features=[(18_600.0, 58.0), (88.9, 0.5), (-2.0, 1.5), (-7.0, 1.1)],
        drift_law={"energy_ev": [0.0, 1.0, -116.0, 3600.0, 430.0]},
        population={"energy_ev": (18_600.0, 58.0), "pitch_angle_deg": (88.9, 0.5)},
        bias={"energy_ev": [(1.0, [0.0, 0.0, 0.0]), (8.0, [0.01, 0.002, -0.003])]},
        spread={"energy_ev": (-2.0, 1.5)},
        factor68=laws,
        factor95=laws,
        electrons=70,
    )
    assert Combination.read(combination.write(tmp_path / "windows.json")) == combination
    # files of older versions have other factors
    old = json.loads((tmp_path / "windows.json").read_text())
    del old["factor68"]
    for content in ("[]", json.dumps(old)):
        (tmp_path / "windows.json").write_text(content)
        with pytest.raises(UserError, match="no calibration of windows"):
            Combination.read(tmp_path / "windows.json")


def test_what_cannot_be_combined_is_said() -> None:
    table, _ = simulated(3, 2, 1)
    with pytest.raises(UserError, match="without the column 'window'"):
        combine_windows(PredictionTable({k: v for k, v in table.columns.items() if k != WINDOW}, table.attributes))
    with pytest.raises(UserError, match="3 electrons are too few"):
        fit_combination(table)
    with pytest.raises(UserError, match="calibration of windows is of energy_ev, the table holds energy_ev, pitch"):
        combine_windows(table, Combination(population={"energy_ev": (18_600.0, 58.0)}))
