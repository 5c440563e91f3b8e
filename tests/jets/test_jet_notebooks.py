"""The notebooks of jets run from their first cell to their last, on tiny trainings on made-up jets."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest
from run_cells import run_cells

from collider.jets.judging.labels import PRETRAINED, SCRATCH, LabelResult, add_result
from collider.jets.judging.report import judge
from collider.jets.judging.sources import read_sources
from reconstruction.training.watching.quiet import QUIET

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture(autouse=True)
def no_window():
    """Draw without a window, and leave the style as it was."""
    with mpl.rc_context({"backend": "agg"}):
        yield


def test_the_data_and_the_masking_are_explored(jets):
    said, figures = run_cells(NOTEBOOKS / "jets_data.ipynb", DATA=str(jets), PARTICLES=12)
    assert "900 jets: 720 to train, 90 to validate, 90 to test" in said
    shares = [float(line.rpartition(", ")[2].partition("%")[0]) for line in said.splitlines() if "towards pT" in line]
    assert len(shares) == 3
    assert shares[0] < shares[1] < shares[2]  # the more towards pT, the more pT is hidden
    assert len(figures) == 4
    assert all(figure.axes for figure in figures)


def test_results_are_looked_at(classified, pretrained):
    where = {"CLASSES": str(classified), "PRETRAINED": str(pretrained)}
    said, figures = run_cells(NOTEBOOKS / "jets_results.ipynb", **where, JETS=2)
    assert "accuracy" in said
    assert "jet_mass_response" in said
    displays, confusion, roc, maps = figures
    assert len(displays.axes) == 2
    assert [label.get_text() for label in confusion.axes[0].get_xticklabels()][:2] == ["QCD", "Hbb"]
    assert roc.axes[0].get_xlabel() == "others taken for Tbqq"
    labels = [axes.get_xlabel() for axes in maps.axes]
    assert labels == ["true pT (GeV)", "true η − η of the jet", "true φ − φ of the jet", "true E (GeV)"]


def test_the_benchmark_is_summarised(classified, pretrained, tmp_path):
    sources = [one for run in (classified, pretrained) for one in read_sources(run)]
    judge(sources, tmp_path)
    for start in (SCRATCH, PRETRAINED):
        for labels in (100, 1000):
            figures = dict.fromkeys(("accuracy", "auc", "macro_f1"), labels / 2000)
            add_result(tmp_path / "labels.jsonl", LabelResult(start, labels, 0, figures))
    files = {"JUDGED": str(tmp_path / "jets.json"), "LABELS": str(tmp_path / "labels.jsonl")}
    said, figures = run_cells(NOTEBOOKS / "jets_benchmark.ipynb", **files)
    assert "macro F1" in said
    assert "hidden particles" in said
    assert "worth a factor of 1 " in said
    assert [len(figure.axes) for figure in figures] == [4, 1]
    said, figures = run_cells(NOTEBOOKS / "jets_benchmark.ipynb", JUDGED=files["JUDGED"])
    assert "no trainings on labels" in said
