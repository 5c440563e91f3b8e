"""Notebooks run in this process: quickly, since nothing is imported again."""

from __future__ import annotations

import ast
import contextlib
import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
from matplotlib.figure import Figure


def run_cells(path: Path, **parameters: Any) -> tuple[str, list[Figure]]:
    """Run the cells of a notebook with other parameters; return what they print and the figures that they show."""
    notebook = nbformat.read(path, as_version=4)
    names: dict[str, Any] = {}
    printed, figures = io.StringIO(), []
    with contextlib.redirect_stdout(printed):
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            shown = _run("\n".join(lines), f"{path.name}, cell {number}", names)
            if "parameters" in cell.metadata.get("tags", []):
                assert parameters.keys() <= names.keys()
                names |= parameters
            figures += [shown] if isinstance(shown, Figure) else []
            figures += [plt.figure(place) for place in plt.get_fignums()]
            plt.close("all")
    return printed.getvalue(), figures


def _run(source: str, where: str, names: dict[str, Any]) -> Any:
    """Run the statements of a cell, and return what its last line is, if that is an expression."""
    body = ast.parse(source, where).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), where, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), where, "eval"), names)
