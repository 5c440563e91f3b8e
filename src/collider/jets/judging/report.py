"""Tables of jets side by side: in words for the terminal, and as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from collider.jets.judging.classes import class_figures, rejections
from collider.jets.judging.mass import MassFigures, mass_figures
from collider.jets.schema import CLASS
from reconstruction.files import write_whole
from reconstruction.judging.measures.bootstrap import Figure
from reconstruction.judging.measures.comparison import distinct
from reconstruction.judging.tables.table import PredictionTable

FILE: Final = "jets.json"
TITLES: Final = {"accuracy": "accuracy", "top3": "top 3", "macro_f1": "macro F1", "auc": "AUC"}


def judge(tables: Sequence[PredictionTable], output: Path) -> str:
    """Write OUTPUT/jets.json with the figures of all tables, and return them in words; equal names are numbered.

    Raises UserError for a table of neither classes nor masses.
    """
    found: dict[str, Any] = {}
    lines: list[str] = []
    classes = distinct([table for table in tables if table.targets == (CLASS,)])
    masses = distinct([table for table in tables if table.targets != (CLASS,)])
    if classes:
        lines += _classes(classes, found)
    for table in masses:
        lines += _masses(table, found)
    write_whole(output / FILE, (json.dumps(found, indent=2, sort_keys=True) + "\n").encode())
    return "\n".join([*lines, f"all of it: {output / FILE}"])


def _classes(tables: Sequence[PredictionTable], found: dict[str, Any]) -> list[str]:
    lines = [f"{'classes':30s}" + "".join(f"{title:>14s}" for title in TITLES.values()) + f"{'jets':>9s}"]
    passed: dict[str, list[str]] = {}
    for table in tables:
        figures = class_figures(table)
        lines.append(
            f"{table.estimator[:29]:30s}" + "".join(f"{written(figures[name], 3):>14s}" for name in TITLES)
            + f"{len(table):9d}"
        )  # fmt: skip
        rejected = rejections(table)
        for one in rejected:
            passed.setdefault(f"{one.name} at {100 * one.efficiency:.0f} %", []).append(str(one))
        found[table.estimator] = {name: _plain(figures[name]) for name in TITLES} | {
            "jets": len(table),
            "rejection": {
                f"{one.name}_{100 * one.efficiency:.0f}": {"value": one.value, "error": one.error, "passed": one.passed}
                for one in rejected
            },
        }
    lines += [f"{'rejection of QCD':30s}" + "".join(f"{table.estimator[:19]:>20s}" for table in tables)] * bool(passed)
    lines += [f"  {name:28s}" + "".join(f"{value:>20s}" for value in values) for name, values in passed.items()]
    return lines


def _masses(table: PredictionTable, found: dict[str, Any]) -> list[str]:
    lines = [f"{'mass':30s}{'pT, GeV':>14s}{'response':>14s}{'width':>14s}{'within 1 σ':>14s}{'jets':>9s}"]
    kept = []
    for one in mass_figures(table):
        low, high = one.pt_gev
        covered = "" if one.coverage is None else written(one.coverage, 3)
        lines.append(
            f"{one.name[:29]:30s}{f'{low:.0f} to {high:.0f}':>14s}{written(one.response, 4):>14s}"
            f"{written(one.width, 4):>14s}{covered:>14s}{one.jets:9d}"
        )
        kept.append(_mass(one))
    found[f"{table.estimator}, mass"] = kept
    return lines


def _mass(one: MassFigures) -> dict[str, Any]:
    figures = {"response": one.response, "width": one.width, "coverage": one.coverage}
    return {"of": one.name, "pt_gev": list(one.pt_gev), "jets": one.jets} | {
        name: _plain(figure) for name, figure in figures.items() if figure is not None
    }


def _plain(figure: Figure) -> dict[str, float]:
    return {"value": figure.value, "error": error_of(figure)}


def written(figure: Figure, digits: int) -> str:
    """Return a figure with its error in brackets, in units of the last digit: 0.712(9)."""
    return f"{figure.value:.{digits}f}({round(error_of(figure) * 10**digits):d})"


def error_of(figure: Figure) -> float:
    """Return half the width of a figure's interval."""
    return (figure.high - figure.low) / 2
