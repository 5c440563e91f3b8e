"""The report's first page: words that agree with the table, five pictures, what one electron decides, no orphans."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from cres.evaluation import Panel, PredictionTable, Section, compare, summarise, write_report
from reconstruction.judging.measures.numbers import with_error
from reconstruction.judging.pictures.axes import keep_labels_inside, near
from reconstruction.judging.pictures.illustrations import FEW, Illustration, target_illustrations
from reconstruction.judging.pictures.plots import Curve, against
from reconstruction.judging.report.diagnostics_section import diagnostics_section
from reconstruction.judging.report.first_page import PICTURES, first_panels, verdict_sentences
from reconstruction.judging.report.page import columns_for
from reconstruction.judging.report.summary import html_tables


def judged(*tables):
    comparison = compare(list(tables))
    return comparison, summarise(comparison, resamples=20)


def sections_of(comparison) -> list[Section]:
    return [Section(t, illustrations=target_illustrations(comparison, t)) for t in comparison.targets]


@pytest.mark.parametrize("std_scale", [1.0, 0.6, 1.6])
def test_the_verdict_says_what_the_table_says(std_scale: float, draw_table):
    comparison, rows = judged(
        draw_table(800, std_scale=std_scale, estimator="sharp <1>"),
        draw_table(800, worse=4.0, noise_seed=5, estimator="blunt"),
        draw_table(800, kind="bound", estimator="bound"),
    )
    said = verdict_sentences(comparison, rows)
    best = next(row for row in rows if row.estimator == "sharp <1>" and row.group == "resolved")
    assert "The sharpest is sharp &lt;1&gt;" in said[0]
    assert with_error(best.figures["sigma68"]) in said[0]
    assert f"{with_error(best.figures['bound_ratio'])} times the Cramér–Rao bound, which is reached" in said[0]
    bars = said[1]
    for row in (row for row in rows if row.target == "energy_ev"):
        assert row.verdict.calibrated or f"{row.group}: {row.verdict.label}" in bars
    assert ("Honest: sharp &lt;1&gt; and blunt" in bars) is (std_scale == 1.0)


def test_a_bound_that_is_far_away_is_not_called_reached(draw_table):
    _, rows = said = judged(draw_table(500, worse=2.0), draw_table(500, kind="bound"))
    assert "reached" not in verdict_sentences(said[0], rows)[0]
    assert "times the Cramér–Rao bound." in verdict_sentences(said[0], rows)[0]


def test_five_pictures_and_a_headline_of_each_section(draw_table):
    comparison, rows = judged(draw_table(300), draw_table(300, kind="bound"))
    panel = Panel("endpoint-spectrum", Figure(), "Spectrum")
    endpoint = Section(
        "Endpoint",
        illustrations=(Illustration("Fit", "Good: flat.", (panel,)),),
        headline="Endpoint: 18 573 eV < the truth.",
        first="endpoint-spectrum",
    )
    sections = [*sections_of(comparison), endpoint]
    shown = first_panels(comparison, sections)
    assert len(shown) == PICTURES
    assert shown[-1][1] is panel
    assert "18 573 eV &lt; the truth." in verdict_sentences(comparison, rows, sections)[-1]
    assert len(first_panels(comparison, sections_of(comparison))) == PICTURES


def test_few_electrons_get_a_small_report_that_says_so(draw_table, tmp_path: Path):
    report = write_report([draw_table(40)], tmp_path, resamples=5)
    page = report.read_text()
    assert f"40 electrons are few: figures have wide intervals, and pictures in bins are left out ({FEW}" in page
    files = [path.name for path in (tmp_path / "figures").iterdir()]
    assert len(files) <= 12
    assert not any("resolution" in name or "map" in name or "ranks" in name for name in files)
    assert diagnostics_section(compare([draw_table(FEW)])) is not None


@pytest.mark.parametrize("panels", range(1, 13))
def test_no_panel_stands_alone_in_its_row(panels: int):
    assert panels % columns_for(panels) != 1 or panels == 1


def test_labels_of_long_numbers_stay_on_the_canvas():
    figure = Figure(figsize=(4.4, 3.3))
    axes = figure.add_axes((0.175, 0.165, 0.77, 0.695))
    axes.plot([0, 1], [-0.00025, 0.00025])
    axes.set_ylabel("pitch angle bias (deg)")
    figure.draw_without_rendering()
    assert axes.yaxis.get_tightbbox().x0 < 0  # as it was
    keep_labels_inside(figure)
    figure.draw_without_rendering()
    assert axes.yaxis.get_tightbbox().x0 >= 0
    assert axes.get_position().x1 == pytest.approx(0.945)


def test_one_far_point_does_not_flatten_a_picture_of_biases():
    values = np.array([0.1, -0.2, 0.15, -0.1, 0.05, 120.0, np.nan])
    low, high = near(values, 0.0)
    assert -0.5 < low < -0.2
    assert 0.2 < high < 0.5
    assert near(values[:5], 0.0) is None  # too few to say what is usual
    assert near(np.linspace(-1, 1, 20), 0.0) is None
    residual = np.random.default_rng(0).normal(size=720)
    x = np.arange(720.0)
    residual[:60] += 200
    figure = against([Curve("a", residual, None, 0)], x, "true_energy_ev", "bias", _median, level=0.0)
    axes = figure.axes[0]
    assert axes.get_ylim()[1] < 20
    assert "1 point lies beyond, at 200" in axes.texts[0].get_text()


def _median(sample):
    return sample.quantile(0.5)


def with_outlier(residual: float, std: float, count: int = 400) -> PredictionTable:
    """Return Gaussian residuals of 0.1 eV, honestly stated, and one electron that is not."""
    random = np.random.default_rng(2)
    truth = random.uniform(18_500, 18_700, count)
    error, stated = 0.1 * random.normal(size=count), np.full(count, 0.1)
    stated[7], error[7] = std, residual
    return PredictionTable.from_estimates(
        np.arange(count) + 50,
        {"energy_eV": truth + error},
        estimator="one",
        std={"energy_eV": stated},
        truth={"energy_eV": truth},
    )


def test_figures_that_one_electron_decides_are_marked_and_said():
    _, (row,) = judged(with_outlier(40.0, 0.05))
    assert set(row.ruled) == {"rms", "nll", "goal_fraction"}
    assert "100 % at 0.3 eV rms without electron 57, off by 40 eV (800 of its error bars)" in row.ruled["goal_fraction"]
    assert re.search(r"NLL is −0\.\d+ without electron 57", row.ruled["nll"])
    table = html_tables([row], "energy_ev", {})
    assert table.count("†") == 4
    assert "One electron decides" in table
    _, (row,) = judged(with_outlier(0.1, 0.1))
    assert row.ruled == {}
    assert "†" not in html_tables([row], "energy_ev", {})


def test_an_outlier_that_says_so_decides_only_the_mean_square():
    _, (row,) = judged(with_outlier(40.0, 40.0))
    assert set(row.ruled) == {"rms"}
