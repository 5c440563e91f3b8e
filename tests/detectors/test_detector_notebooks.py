"""The notebooks of the detectors run from their first cell to their last, on dozens of events of single particles."""

from __future__ import annotations

import json
from pathlib import Path

import made_detectors
import matplotlib as mpl
import numpy as np
import pytest
from run_cells import run_cells

from collider.detectors.learning.columns import CLASSES, IDENTITY, MOMENTUM
from collider.detectors.learning.files import CandidateFiles, Choice
from collider.detectors.system import SYSTEM
from reconstruction import schema
from reconstruction.judging.tables.table import PredictionTable

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WIDTHS = {"tracker": 0.02, "ecal": 0.05, "hcal": 0.2, "muon": 0.3}


@pytest.fixture(autouse=True)
def no_window():
    """Draw without a window, and leave the style as it was."""
    with mpl.rc_context({"backend": "agg"}):
        yield


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """One file of 60 events of an electron, a photon, a muon, a pion and a proton."""
    path = tmp_path_factory.mktemp("events") / "shots.hdf5"
    return made_detectors.write(path, 60, seed=3, pt_gev=(12.0, 80.0))


@pytest.fixture(scope="module")
def tables(events):
    """What networks of known errors would say of all candidates: momenta by detector, twice, and identities."""
    files = CandidateFiles([events], Choice())
    numbers = {name: files.scalar(name) for name in files.columns}
    true, ids = numbers[MOMENTUM], files.event_ids
    seen = {name: values for name, values in numbers.items() if name in SYSTEM.columns and name not in SYSTEM.truths}
    seen["split"] = np.random.default_rng(1).choice(3, len(true), p=[0.1, 0.45, 0.45])
    for seed in (0, 1):
        random = np.random.default_rng(seed)
        order = random.permutation(len(true))  # tables of two trainings need not have one order
        for name, width in WIDTHS.items():
            PredictionTable.from_estimates(
                ids,
                {MOMENTUM: true * (1 + width * random.standard_normal(len(true)))},
                estimator=name,
                std={MOMENTUM: width * true},
                truth={MOMENTUM: true},
                observables=seen,
                system=SYSTEM,
            ).select(order).write(events.parent / f"{name}_{seed}.hdf5")
    stated = {schema.probability_name(n): np.where(numbers[IDENTITY] == c, 0.96, 0.01) for n, c in CLASSES.items()}
    PredictionTable.from_estimates(
        ids,
        {IDENTITY: numbers[IDENTITY]},
        estimator="identity",
        truth={IDENTITY: numbers[IDENTITY]},
        observables=seen | stated,
        system=SYSTEM,
    ).with_attributes({"classes": json.dumps(CLASSES)}).write(events.parent / "identity.hdf5")
    return events.parent


def shown(figures):
    return [[axes.get_xlabel() for axes in figure.axes] for figure in figures]


def test_the_data_are_looked_at(events):
    said, figures = run_cells(NOTEBOOKS / "detectors_data.ipynb", DATA=str(events), EVENTS=20)
    assert "60 events: 60 gun" in said
    assert "ecal_cells" in said
    shares = {
        line.split()[0]: float(line.split()[1].rstrip("%")) for line in said.splitlines() if "segments or" in line
    }
    assert shares["muon"] > 95
    assert shares["photon"] == 0
    display, ratios = figures
    assert shown([display]) == [["x (m)", "η"]]
    assert len(display.axes[0].collections[0].get_segments()) >= 3  # tracks of the charged ones
    assert len(ratios.axes) == 3
    assert all(axes.patches for axes in ratios.axes)


def test_networks_stand_beside_what_is_classical(tables):
    paths = {name: str(tables / f"{name}_0.hdf5") for name in WIDTHS}
    given = {"TABLES": paths, "IDENTITIES": str(tables / "identity.hdf5"), "BINS": 3}
    said, figures = run_cells(NOTEBOOKS / "detectors_models.ipynb", **given)
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line.split()[0] in WIDTHS}
    for name, width in WIDTHS.items():
        assert float(lines[name][2].rstrip("%")) == pytest.approx(100 * width, rel=0.25)
        assert 50 < float(lines[name][3].rstrip("%")) < 85
    assert "mean of the classes 100.0%" in said
    resolution, coverage, confusion = figures
    assert len(resolution.axes) == 4
    assert len(resolution.axes[0].lines) == 3  # the network, the filter and the bound
    assert coverage.axes[0].get_xlabel() == "nominal coverage"
    assert [label.get_text() for label in confusion.axes[0].get_xticklabels()] == ["e", "γ", "μ", "h±", "h⁰"]
    said, figures = run_cells(NOTEBOOKS / "detectors_models.ipynb", **given | {"IDENTITIES": None})
    assert "no network of identities" in said
    assert len(figures) == 2


def test_several_detectors_and_seeds_are_one_number(tables):
    paths = {name: str(tables / f"{name}_0.hdf5") for name in ("tracker", "ecal", "hcal")}
    seeds = [str(tables / f"ecal_{seed}.hdf5") for seed in (0, 1)]
    said, figures = run_cells(NOTEBOOKS / "detectors_ensemble.ipynb", TABLES=paths, IDENTITIES=None, SEEDS=seeds)
    assert "of the inverse-variance bound" in said
    each = [float(line.rpartition("σ68 ")[2].rstrip("%")) for line in said.splitlines() if "σ68" in line]
    assert each[-1] < 0.9 * min(each[:-1])  # independent errors: the mean of two is better by √2
    resolution, pulls = figures
    assert resolution.axes[0].get_yticklabels()[0].get_text() == "tracker + ecal + hcal"
    assert "pull" in pulls.axes[0].get_xlabel()
    said, _ = run_cells(NOTEBOOKS / "detectors_ensemble.ipynb", TABLES=paths, IDENTITIES=None, SEEDS=[])
    assert "no other seeds" in said


def test_physics_is_looked_at(events, tables):
    given = {"IDENTITIES": str(tables / "identity.hdf5"), "MOMENTA": [str(tables / "tracker_0.hdf5")], "RESAMPLES": 10}
    for more, flows in (({}, ["rules"]), (given, ["rules", "network"])):
        said, figures = run_cells(NOTEBOOKS / "detectors_physics.ipynb", DATA=str(events), **more)
        assert "no fit" in said
        assert "too few of two classes" in said
        assert len(figures) == 6
        assert [flow for flow in flows if f"\n{flow:10}" in said] == flows
