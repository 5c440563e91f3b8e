"""What runs that draw jets are judged by, in numbers, words and pictures: entries of HEADS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from collider.jets.judging.generation import Figures, judged_generation
from collider.jets.judging.panels import Found
from collider.jets.judging.sources import JetRun, Source
from collider.jets.judging.super_resolution import judged_super_resolution
from collider.jets.learning.generation import JetGeneration
from collider.jets.learning.super_resolution import JetSuperResolution
from reconstruction.judging.pictures.axes import INK, legend, plain_log
from reconstruction.judging.pictures.plots import Curve

MADE: Final = "made"
DISTANCES: Final = {"w1_mass_gev": "mass", "w1_pt_gev": "pT", "w1_multiplicity": "multiplicity"}
COMPLETED: Final = {"chamfer_delta_r": "chamfer, ΔR", "chamfer_gev": "chamfer, GeV", "pt_emd_gev": "pT EMD",
                    "multiplicity_rms": "multiplicity, rms", "mass_rms_gev": "mass, rms"}  # fmt: skip
_WIDTH: Final = 14


def draws_jets(source: Source) -> bool:
    """Return whether a source is a run that draws jets of a class and pT."""
    return isinstance(source, JetRun) and isinstance(source.module.generation, JetGeneration)


def completes_jets(source: Source) -> bool:
    """Return whether a source is a run that completes jets."""
    return isinstance(source, JetRun) and isinstance(source.module.super_resolution, JetSuperResolution)


# Numbers ------------------------------------------------------------------------------------------------------------


def generation_entry(run: JetRun) -> dict[str, Any]:
    """Return the figures of a run as the JSON holds them, each with its floor where it has one."""
    found = judged_generation(run.module, run.data)
    floors = floors_of(found)
    return {
        name: _plain(value) | ({"floor": floors[name]} if name in floors else {})
        for name, value in found.items()
        if name not in _floor_names(found)
    }


def super_resolution_entry(run: JetRun) -> dict[str, Any]:
    """Return the figures of a run and of its rivals as the JSON holds them."""
    found = judged_super_resolution(run.module, run.data)
    return {of: {name: _plain(value) for name, value in figures.items()} for of, figures in found.items()}


def floors_of(figures: Figures) -> dict[str, float]:
    """Return the floor of each figure that has one, by the name of the figure."""
    return {name.replace("_floor", ""): figures[name] for name in _floor_names(figures)}


def _floor_names(figures: Figures) -> list[str]:
    return [name for name in figures if "_floor" in name]


def _plain(value: float) -> dict[str, float | None]:
    return {"value": value if math.isfinite(value) else None, "error": None}


# Words --------------------------------------------------------------------------------------------------------------


def generation_words(found: Found) -> list[str]:
    """Return the figures of all runs, one a line, and the floor of the first beside them."""
    first = next(iter(found.values()))
    rows = {
        name: [*(_written(figures[name]["value"]) for figures in found.values()), _written(first[name].get("floor"))]
        for name in first
    }
    return table("jets drawn", [*found, "simulated"], rows)


def super_resolution_words(found: Found) -> list[str]:
    """Return the figures of all runs and of the rivals of the first."""
    first = next(iter(found.values()))
    columns = {name: figures[MADE] for name, figures in found.items()}
    columns |= {of.replace("_", " "): figures for of, figures in first.items() if of != MADE}
    rows = {name: [_written(figures[name]["value"]) for figures in columns.values()] for name in first[MADE]}
    return table("jets completed", columns, rows)


def table(title: str, columns: Iterable[str], rows: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a table as lines."""
    lines = [f"{title:30s}" + "".join(f"{name[: _WIDTH - 1]:>{_WIDTH}s}" for name in columns)]
    return lines + [f"{name:30s}" + "".join(f"{cell:>{_WIDTH}s}" for cell in cells) for name, cells in rows.items()]


def figures_as_words(figures: Figures) -> list[str]:
    """Return the figures of drawn jets as a table, each beside its floor."""
    floors = floors_of(figures)
    rows = {
        name: [_written(value), _written(floors.get(name))]
        for name, value in figures.items()
        if name not in _floor_names(figures)
    }
    return table("jets drawn", ["drawn", "simulated"], rows)


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


# Pictures -----------------------------------------------------------------------------------------------------------


def generation_distances(axes: Axes, found: Found) -> None:
    """Wasserstein distances over those of simulated jets from each other."""
    for place, (name, figures) in enumerate(found.items()):
        ratios = [figures[one]["value"] / max(figures[one]["floor"], 1e-12) for one in DISTANCES]
        _draw(axes, ratios, name, place, len(found))
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(DISTANCES)), list(DISTANCES.values()))
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    axes.set(title="Drawn jets: distance", ylabel="W₁ / that of simulated jets")
    legend(axes)


def generation_separability(axes: Axes, found: Found) -> None:
    """Area under the curve of trees that tell drawn and simulated jets apart, and that of simulated ones, hollow."""
    for place, (name, figures) in enumerate(found.items()):
        curve = Curve(name, np.zeros(0), None, place)
        area, chance = figures["classifier_auc"], figures["classifier_auc_chance"]["value"]
        style: dict[str, Any] = {"color": curve.colour, "marker": curve.marker, "linestyle": "none"}
        axes.errorbar([place], [area["value"]], label=name, **style)
        axes.errorbar([place], [area["floor"]], yerr=[chance], markerfacecolor="none", **style)
    axes.axhline(0.5, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(found)), ["" for _ in found])
    axes.set(title="Drawn or simulated", ylabel="area under the curve", ylim=(0.4, 1.02), xlim=(-0.6, len(found) - 0.4))
    legend(axes)


def completed_distances(axes: Axes, found: Found) -> None:
    """Figures of completed jets, and of the mean of their class, over those of who adds nothing."""
    shown = {name: figures[MADE] for name, figures in found.items()}
    first = next(iter(found.values()))
    shown |= {"class mean": first["class_mean"]} if "class_mean" in first else {}
    for place, (name, figures) in enumerate(shown.items()):
        ratios = [abs(figures[one]["value"]) / max(abs(first["copied"][one]["value"]), 1e-12) for one in COMPLETED]
        _draw(axes, ratios, name, place, len(shown))
    axes.axhline(1, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(COMPLETED)), list(COMPLETED.values()), rotation=30, ha="right")
    axes.set(title="Completed jets", ylabel="over that of what is seen alone", ylim=(0, None))
    legend(axes)


def _draw(axes: Axes, values: list[float], name: str, place: int, of: int) -> None:
    curve = Curve(name, np.zeros(0), None, place)
    aside = 0.6 / max(of, 3) * (place - (of - 1) / 2)
    axes.plot(np.arange(len(values)) + aside, values, color=curve.colour, marker=curve.marker, linestyle="none",
              label=name)  # fmt: skip
