"""Electrons that state a small error bar but may be somewhere else altogether: their spread tells them."""

from __future__ import annotations

import numpy as np
import pytest

from cres.endpoint.analysis import Options, analyse
from cres.endpoint.examples import example_tables
from cres.endpoint.response import measure_response
from cres.evaluation.table import PredictionTable

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
    assert response.max_spread_ev == pytest.approx(200 / np.sqrt(12) / 30, rel=0.05)
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
