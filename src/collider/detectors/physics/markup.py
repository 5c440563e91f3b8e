"""Figures in words, and tables as markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from reconstruction.judging.measures.bootstrap import Figure


def said(figure: Figure, digits: int) -> str:
    """Return a figure with half of its interval, nothing where it is not known."""
    if not math.isfinite(figure.value):
        return ""
    half = (figure.high - figure.low) / 2
    return f"{figure.value:.{digits}f}" + (f" ± {half:.{digits}f}" if math.isfinite(half) else "")


def percent(figure: Figure) -> str:
    """Return a share in per cent, with half of its interval."""
    scaled = Figure(100 * figure.value, 100 * figure.replicates)
    return f"{said(scaled, 2)} %" if math.isfinite(figure.value) else "too few"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as markup."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
