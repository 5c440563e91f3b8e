"""Figures at each setting of the apparatus: what is trained, what is not, and what another network does there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cres.commands.evaluate import main as evaluate
from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.judging.measures.by_setting import (
    BETWEEN,
    OUTSIDE,
    TRAINED,
    UNKNOWN,
    Met,
    by_setting,
    settings_named,
)
from reconstruction.judging.measures.comparison import compare
from reconstruction.judging.pictures.settings_map import cells_of, edges_of, settings_map
from reconstruction.judging.report.settings_section import setting_lines, settings_section

EACH = 400
PLACES = ((0.3, 4.0), (0.3, 8.0), (0.5, 4.0), (0.5, 8.0), (0.4, 6.0), (0.6, 8.0))
"""Four trained, one between, one outside."""
MET = {"names": ["wall_m", "noise_k"], "low": [0.3, 4.0], "high": [0.5, 8.0], "trained": [list(p) for p in PLACES[:4]]}


def tables(worse: float = 1.0, stated: float = 1.0) -> tuple[PredictionTable, PredictionTable, PredictionTable]:
    """A conditioned network, a dedicated one whose errors are `1 / worse` as large, and the bound."""
    random = np.random.default_rng(0)
    place = np.repeat(np.arange(len(PLACES)), EACH)
    wall, noise = np.array(PLACES)[place].T
    bound, truth = 0.01 * noise, random.uniform(18500, 18700, len(place))
    error = bound * random.normal(size=len(place))
    common = {"wall_m": wall, "noise_k": noise, "sideband_snr": np.full(len(place), 100.0)}
    made = [
        PredictionTable.from_estimates(
            np.arange(len(place)),
            {"energy_eV": truth + factor * error},
            estimator=name,
            std={"energy_eV": factor * stated * bound},
            truth={"energy_eV": truth},
            observables=common | ({"outside_settings": place == 5} if name == "told" else {}),
        )
        for name, factor in (("told", worse), ("dedicated", 1.0))
    ]
    of_bound = PredictionTable.from_estimates(
        np.arange(len(place)),
        {"energy_eV": truth},
        estimator="bound",
        std={"energy_eV": bound},
        truth={"energy_eV": truth},
        kind="bound",
    )
    return made[0].with_attributes({"settings": json.dumps(MET)}), made[1], of_bound


@pytest.mark.parametrize(("worse", "stated", "covers"), [(1.0, 1.0, 0.683), (1.2, 1.0, 0.683), (1.0, 0.5, 0.383)])
def test_every_setting_has_its_own_ratio_and_coverage(worse, stated, covers):
    comparison = compare(list(tables(worse, stated)))
    names = settings_named(comparison)
    assert names == ("wall_m", "noise_k")
    rows = [row for row in by_setting(comparison, "energy_ev", names) if row.group == "all"]
    assert {row.setting: row.where for row in rows} == dict(
        zip(PLACES, (*[TRAINED] * 4, BETWEEN, OUTSIDE), strict=True)
    )
    for row in rows:
        assert abs(row.ratio[0].value / worse - 1) < 0.12
        assert row.ratio[0].low < row.ratio[0].value < row.ratio[0].high
        assert abs(row.over[1].value - worse) < 1e-9  # the same errors: what both share cancels
        assert abs(row.coverage[0][0] - covers) < 3.5 * row.coverage[0][1]
        assert row.flagged == (row.where == OUTSIDE)


def test_where_a_setting_lies_is_read_from_the_table():
    met = Met.of(tables()[0])
    assert met is not None
    places = ([0.3, 4.0], [0.3, 4.1], [0.29, 4.0])
    asked = [*map(np.array, places), np.array([0.3, 4.0], np.float32)]
    assert [met.where(place) for place in asked] == [
        TRAINED,
        BETWEEN,
        OUTSIDE,
        TRAINED,
    ]
    assert Met.of(tables()[1]) is None


def test_a_setting_that_is_not_known_is_not_outside_and_names_may_be_in_upper_case():
    told, _, bound = tables()
    noise = told.columns["noise_k"].copy()
    noise[:EACH] = np.nan
    said = MET | {"names": ["Wall_m", "noise_K"]}
    told = PredictionTable(told.columns | {"noise_k": noise}, told.attributes | {"settings": json.dumps(said)})
    comparison = compare([told, bound])
    names = settings_named(comparison)
    assert names == ("wall_m", "noise_k")
    rows = [row for row in by_setting(comparison, "energy_ev", names) if row.group == "all"]
    assert sorted(row.where for row in rows) == sorted([UNKNOWN, *[TRAINED] * 3, BETWEEN, OUTSIDE])
    (unknown,) = (row for row in rows if row.where == UNKNOWN)
    assert (unknown.setting[0], np.isnan(unknown.setting[1]), unknown.count) == (0.3, True, EACH)
    section = settings_section(comparison, rows, names)
    assert "<td>not known</td>" in section.html
    for panel in section.illustrations[0].panels:
        panel.drawn().draw_without_rendering()


def test_classes_have_no_section_on_settings():
    told, _, bound = tables()
    comparison = compare([told, bound])
    comparison.tables[0] = told.with_attributes({"classes": json.dumps({"low": 0, "high": 1})})
    assert settings_named(comparison) == ()
    with pytest.raises(UserError, match="--settings gives widths at each setting, and classes have none: leave it out"):
        settings_named(comparison, ["wall_m"])


def test_the_report_has_the_section_and_the_terminal_its_sentences(tmp_path, monkeypatch, capsys):
    paths = [str(table.write(tmp_path / f"{table.estimator}.hdf5")) for table in tables(1.1)]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *paths, "--output", str(tmp_path / "report"), "--bootstrap", "50"])
    evaluate()
    said = capsys.readouterr().out
    assert "told, all, 4 trained settings: error over the bound" in said
    assert "1.1 to 1.1 times dedicated" in said
    assert "100 % flagged" in said
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Many apparatus" in page
    assert "white there are no electrons" in page
    lines = (tmp_path / "report" / "settings.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(PLACES)
    assert lines[0].startswith("wall_m,noise_k,where,group,count,told ratio")
    assert list((tmp_path / "report" / "figures").glob("settings-*.png"))


def test_tables_without_settings_get_no_section_and_columns_can_be_named(tmp_path):
    _, dedicated, bound = tables()
    comparison = compare([dedicated, bound])
    assert settings_named(comparison) == ()
    rows = by_setting(comparison, "energy_ev", settings_named(comparison, ["wall_m"]))
    assert {row.where for row in rows} == {"not said"}
    assert setting_lines(comparison, rows) == []
    assert not settings_section(comparison, rows, ["wall_m"]).illustrations  # a map wants two
    with pytest.raises(UserError, match="no table has the column 'wal_m'"):
        settings_named(comparison, ["wal_m"])


def test_the_map_is_white_where_there_is_nothing(tmp_path: Path):
    x, y, cells = cells_of(np.array([[0.3, 4.0], [0.5, 8.0], [0.5, 8.0]]), np.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(cells, [[1.0, np.nan], [np.nan, 3.0]])
    np.testing.assert_allclose(edges_of(x), [0.2, 0.4, 0.6])
    assert len(edges_of(y[:1])) == 2
    comparison = compare(list(tables()))
    rows = [row for row in by_setting(comparison, "energy_ev", ("wall_m", "noise_k")) if row.group == "all"]
    figure = settings_map(rows, ("wall_m", "noise_k"), "ratio")
    axes = figure.axes[0]
    assert axes.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    marked = [line.get_xydata().tolist() for line in axes.lines]
    assert marked[0] == [list(place) for place in PLACES[:4]]
    assert marked[1] == [[0.6, 8.0]]
