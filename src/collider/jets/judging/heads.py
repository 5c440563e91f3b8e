"""The heads of a network of jets as they are judged: what each makes of its sources, in numbers, words and pictures.

A further head is one entry of HEADS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes

from collider.jets.judging import drawn_heads, panels
from collider.jets.judging.classes import EFFICIENCIES, class_figures, rejections
from collider.jets.judging.mass import SUM, MassFigures, mass_figures, regression_figures
from collider.jets.judging.panels import Found
from collider.jets.judging.rebuilding import MEAN, REBUILT, rebuilding_entry
from collider.jets.judging.sources import JetRun, Source
from collider.jets.schema import CLASS
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.tables.table import PredictionTable

TITLES: Final = {"accuracy": "accuracy", "top3": "top 3", "macro_f1": "macro F1", "auc": "AUC"}
ERRORS: Final = {"r2": ("R²", 4), "mae_gev": ("MAE, GeV", 2), "mse_gev2": ("MSE, GeV²", 1),
                 "relative_resolution": ("σ(m/t)", 3)}  # fmt: skip
WIDTH: Final = 14
MOST_DIGITS: Final = 5


@dataclass(frozen=True)
class JudgedHead:
    """A head: which sources are its own, and what becomes of them.

    name: its key in the JSON and its heading. figures: of one source, in plain types. words: lines of all its sources,
    by their names. panels: what is drawn of them, each into axes of its own.
    """

    name: str
    owns: Callable[[Source], bool]
    figures: Callable[[Any], dict[str, Any]]
    words: Callable[[Found], list[str]]
    panels: tuple[Callable[[Axes, Found], None], ...]


# Numbers ------------------------------------------------------------------------------------------------------------


def plain(figure: Figure) -> dict[str, float | None]:
    """Return a figure as the JSON holds it: value and half the width of its interval, null where there is none."""
    error = (figure.high - figure.low) / 2
    return {"value": _finite(figure.value), "error": _finite(error)}


def written(figure: Mapping[str, float | None], digits: int) -> str:
    """Return a figure with its error in brackets, in units of the last digit, of which there are enough: 0.712(9)."""
    value, error = figure["value"], figure["error"]
    if value is None:
        return "–"
    if error:
        digits = max(digits, min(MOST_DIGITS, -math.floor(math.log10(error))))
    return f"{value:.{digits}f}" + ("" if error is None else f"({round(error * 10**digits):d})")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# Classes ------------------------------------------------------------------------------------------------------------


def _class_entry(table: PredictionTable) -> dict[str, Any]:
    figures, rejected = class_figures(table), rejections(table)
    return {name: plain(figures[name]) for name in TITLES} | {
        "jets": len(table),
        "rejection": {
            f"{100 * efficiency:.0f}": {
                one.name: {"value": one.value, "error": one.error, "passed": one.passed, "words": str(one)}
                for one in rejected
                if one.efficiency == efficiency
            }
            for efficiency in EFFICIENCIES
        },
    }


def _class_words(found: Found) -> list[str]:
    lines = [_line("classes", [*TITLES.values(), "jets"])]
    for name, figures in found.items():
        lines.append(_line(name, [*(written(figures[one], 3) for one in TITLES), str(figures["jets"])]))
    for percent in (f"{100 * efficiency:.0f}" for efficiency in EFFICIENCIES):
        kinds = dict.fromkeys(kind for figures in found.values() for kind in figures["rejection"][percent])
        lines += [_line(f"rejection of QCD at {percent} %", [name[:19] for name in found], 20)] * bool(kinds)
        for kind in kinds:
            passed = [figures["rejection"][percent].get(kind, {"words": "–"})["words"] for figures in found.values()]
            lines.append(_line(f"  {kind}", passed, 20))
    return lines


# Masses -------------------------------------------------------------------------------------------------------------


def _mass_entry(table: PredictionTable) -> dict[str, Any]:
    found, errors = mass_figures(table), regression_figures(table)
    return {
        "jets": found[0].jets,
        **{
            key: {name: plain(figure) for name, figure in errors[of].items()}
            | {"bins": [_mass_bin(one) for one in found if one.name == of]}
            for key, of in (("told", table.estimator), ("plain_sum", SUM))
        },
    }


def _mass_bin(one: MassFigures) -> dict[str, Any]:
    figures = {"response": one.response, "width": one.width, "coverage": one.coverage}
    return {"pt_gev": list(one.pt_gev), "jets": one.jets} | {
        name: plain(figure) for name, figure in figures.items() if figure is not None
    }


def _mass_words(found: Found) -> list[str]:
    lines = [_line("mass", ["pT, GeV", "response", "width", "within 1 σ", "jets"])]
    for name, figures in found.items():
        for told, plain_sum in zip(figures["told"]["bins"], figures["plain_sum"]["bins"], strict=True):
            for of, one in ((name, told), (SUM, plain_sum)):
                low, high = one["pt_gev"]
                covered = written(one["coverage"], 3) if "coverage" in one else ""
                shown = (written(one["response"], 4), written(one["width"], 4), covered, str(one["jets"]))
                lines.append(_line(of, [f"{low:.0f} to {high:.0f}", *shown]))
    lines.append(_line("mass, as others state it", [title for title, _ in ERRORS.values()]))
    for name, figures in found.items():
        for of, key in ((name, "told"), (SUM, "plain_sum")):
            lines.append(_line(of, [written(figures[key][one], digits) for one, (_, digits) in ERRORS.items()]))
    return lines


# Hidden particles ---------------------------------------------------------------------------------------------------


def _rebuilding_entry(run: JetRun) -> dict[str, Any]:
    return {
        name: {figure: plain(value) for figure, value in one.items()} if isinstance(one, dict) else one
        for name, one in rebuilding_entry(run).items()
    }


def _rebuilding_words(found: Found) -> list[str]:
    titles = {"pt": "ln pT", "eta": "η", "phi": "φ", "energy": "ln E", "shell": "ln E/p", "jet_pt": "jet pT",
              "jet_mass": "jet mass"}  # fmt: skip
    lines = [_line("hidden particles, σ68", [*titles.values()], 11)]
    for name, figures in found.items():
        for of, key in ((name, REBUILT), (MEAN.replace("_", " "), MEAN)):
            lines.append(_line(of, [written(figures[key][f"{one}_width"], 3) for one in titles], 11))
    return lines


def _hides_particles(source: Source) -> bool:
    return isinstance(source, JetRun) and source.module.masking is not None


# ---------------------------------------------------------------------------------------------------------------------


def _line(head: str, cells: Sequence[str], width: int = WIDTH) -> str:
    return f"{head[:29]:30s}" + "".join(f"{cell:>{width}s}" for cell in cells)


def _is_table_of_classes(source: Source) -> bool:
    return isinstance(source, PredictionTable) and source.targets == (CLASS,)


def _is_other_table(source: Source) -> bool:
    return isinstance(source, PredictionTable) and source.targets != (CLASS,)


HEADS: Final = (
    JudgedHead(
        "classification", _is_table_of_classes, _class_entry, _class_words, (panels.class_shares, panels.rejection)
    ),
    JudgedHead(
        "mass", _is_other_table, _mass_entry, _mass_words,
        (panels.mass_response, panels.mass_width, panels.mass_coverage),
    ),
    JudgedHead(
        "hidden_particles", _hides_particles, _rebuilding_entry, _rebuilding_words,
        (panels.rebuilt_particles, panels.rebuilt_jets),
    ),
    JudgedHead(
        "generation", drawn_heads.draws_jets, drawn_heads.generation_entry, drawn_heads.generation_words,
        (drawn_heads.generation_distances, drawn_heads.generation_separability),
    ),
    JudgedHead(
        "super_resolution", drawn_heads.completes_jets, drawn_heads.super_resolution_entry,
        drawn_heads.super_resolution_words, (drawn_heads.completed_distances,),
    ),
)  # fmt: skip
