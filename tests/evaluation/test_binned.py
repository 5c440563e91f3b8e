from __future__ import annotations

import numpy as np
import pytest

from reconstruction.judging.measures.binned import cell_map, median_of, profile, selection_curve, sigma68_of
from reconstruction.judging.measures.metrics import sigma68


def test_a_profile_equals_a_loop_over_its_bins():
    random = np.random.default_rng(0)
    x, y = random.uniform(size=900), random.normal(size=900)
    binned = profile(x, y * (1 + 9 * (x > 0.5)), sigma68_of, bins=6)
    assert binned.counts.tolist() == [150] * 6
    for i in range(6):
        last = binned.edges[i + 1] if i < 5 else np.inf
        inside = (x >= binned.edges[i]) & (x < last)
        assert binned.value[i] == pytest.approx(sigma68((y * (1 + 9 * (x > 0.5)))[inside]))
    assert (binned.low <= binned.value).all()
    assert (binned.value <= binned.high).all()
    assert binned.value[-1] > 7 * binned.value[0]


def test_profiles_of_nothing_of_constants_and_of_repeated_values():
    assert len(profile(np.zeros(0), np.zeros(0), median_of).value) == 0
    assert len(profile(np.full(10, np.nan), np.ones(10), median_of).value) == 0
    assert profile(np.ones(100), np.arange(100.0), median_of).value.tolist() == [49.5]
    assert profile(np.repeat([0.0, 1.0], 300), np.repeat([0.0, 2.0], 300), median_of).counts.sum() == 600


def test_the_map_shows_where_it_is_bad_and_leaves_thin_cells_empty():
    random = np.random.default_rng(1)
    x, y = random.uniform(size=6000), random.uniform(size=6000)
    residual = random.normal(size=6000) * np.where(y > 0.5, 4.0, 1.0)
    cells = cell_map(x, np.where(x > 0.9, np.nan, y), residual, sigma68_of)
    assert cells.x_edges[-1] <= 0.9
    assert np.nanmean(cells.values[-3:]) > 3 * np.nanmean(cells.values[:3])
    assert np.isnan(cell_map(x[:10], y[:10], residual[:10], sigma68_of).values).all()


def test_selecting_on_an_informative_sigma_improves_the_resolution():
    random = np.random.default_rng(2)
    std = np.exp(random.normal(size=4000))
    residual = std * random.normal(size=4000)
    efficiency, figures, rms = selection_curve(residual, std)
    assert efficiency[-1] == 1
    assert figures[0].value < 0.3 * figures[-1].value
    assert rms[-1] == pytest.approx(np.sqrt(np.mean(residual**2)))
    lost = np.where(np.arange(4000) % 2, np.nan, std)
    assert selection_curve(residual, lost)[0][-1] == 0.5
    assert len(selection_curve(np.zeros(0), np.zeros(0))[0]) == 0
