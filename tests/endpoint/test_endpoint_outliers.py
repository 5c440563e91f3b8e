"""Electrons that state a small error bar but may be somewhere else altogether: their spread tells them."""

from __future__ import annotations

import numpy as np
import pytest

from cres.endpoint.analysis import Options, analyse
from cres.endpoint.examples import example_tables
from cres.endpoint.information import best_cut_ev
from cres.endpoint.response import measure_response
from reconstruction.judging.tables.table import PredictionTable

ENDPOINT_EV = 18_576.9
SPREAD = "energy_spread_ev"


def with_outliers(table: PredictionTable, flagged: bool, seed: int) -> PredictionTable:
    """Replace one estimate in twelve by any energy of the window, with the error bar of a good one."""
    generator = np.random.default_rng(seed)
    columns = {name: np.array(values) for name, values in table.columns.items()}
    lost = generator.random(len(table)) < 1 / 12
    columns["energy_ev"][lost] = generator.uniform(18_500, 18_700, lost.sum())
    columns[SPREAD] = np.where(lost & flagged, 40.0, columns["energy_std_ev"])
    return PredictionTable(columns, dict(table.attributes))


@pytest.fixture(scope="module")
def tables() -> tuple[PredictionTable, PredictionTable]:
    return example_tables(2500, 4000, ENDPOINT_EV, seed=4)


def test_electrons_with_a_large_spread_do_not_pass(tables: tuple[PredictionTable, PredictionTable]) -> None:
    calibration = with_outliers(tables[1], flagged=True, seed=1)
    response = measure_response(calibration)
    # the cut is chosen on these electrons: below the outliers' spread, above that of nearly all others
    assert np.quantile(calibration.columns["energy_std_ev"], 0.8) < response.max_spread_ev < 40
    assert response.parameter("tail_fraction") < 0.05
    everything = measure_response(calibration, max_spread_ev=np.inf)
    assert everything.electrons > response.electrons
    assert everything.parameter("tail_fraction") > 0.05


def test_the_endpoint_stays_where_it_is_when_outliers_are_told(tables: tuple[PredictionTable, PredictionTable]) -> None:
    data, calibration = (with_outliers(table, flagged=True, seed=seed) for seed, table in enumerate(tables))
    quick = Options(systematics=False, limit=False)
    fit = analyse(data, calibration, quick).fit
    alone = analyse(*tables, quick).fit
    assert abs(fit.endpoint_ev - ENDPOINT_EV) < 3 * fit.endpoint_error_ev
    assert fit.endpoint_error_ev == pytest.approx(alone.endpoint_error_ev, rel=0.3)


def test_a_table_without_spread_is_used_as_it_is(tables: tuple[PredictionTable, PredictionTable]) -> None:
    assert SPREAD not in tables[1].columns
    same = measure_response(tables[1], max_spread_ev=1e-9)
    assert same.electrons == measure_response(tables[1]).electrons


def test_an_error_bar_that_is_a_bad_sign_is_cut_where_no_spread_is_stated(
    tables: tuple[PredictionTable, PredictionTable],
) -> None:
    generator = np.random.default_rng(8)
    columns = {name: np.array(values) for name, values in tables[1].columns.items()}
    poor = columns["energy_std_ev"] > 3
    columns["energy_ev"][poor] = generator.uniform(18_500, 18_700, poor.sum())
    assert measure_response(PredictionTable(columns)).max_std_ev < 3.5
    assert measure_response(tables[1]).max_std_ev > 4


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.93, 1.0), (0.05, 0.7, 0.92), (0.5, 0.45, 0.7)])
def test_the_best_cut_weighs_lost_electrons_against_all(share: float, least: float, most: float) -> None:
    generator = np.random.default_rng(2)
    number = 20_000
    quality = generator.random(number)
    std = np.full(number, 0.1)
    residual = std * generator.standard_normal(number)
    # beyond the middle of the quality a share is lost, more and more
    lost = generator.random(number) < 4 * share * np.maximum(quality - 0.5, 0)
    residual[lost] = generator.uniform(-100, 100, lost.sum())
    cut = best_cut_ev(quality, std, residual, 200.0, 30, 0.03)
    assert least <= cut <= most
