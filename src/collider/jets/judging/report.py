"""All heads of a network of jets side by side: in words for the terminal, as one JSON file, and as one picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from collider.jets.judging.chart import summary_chart
from collider.jets.judging.heads import HEADS
from collider.jets.judging.sources import Source
from reconstruction.errors import UserError
from reconstruction.files import atomic_path, write_whole
from reconstruction.judging.measures.comparison import numbered
from reconstruction.judging.pictures.plots import in_style

FILE: Final = "jets.json"
CHART: Final = "jets.png"
CHART_DPI: Final = 130


def judge(sources: Sequence[Source], output: Path) -> str:
    """Write OUTPUT/jets.json with the figures of all sources by head and name, OUTPUT/jets.png, and return the words.

    Equal names within a head are numbered. Raises UserError for what no head is judged by.
    """
    _refuse_strangers(sources)
    found: dict[str, dict[str, Any]] = {}
    lines: list[str] = []
    for head in HEADS:
        mine = [source for source in sources if head.owns(source)]
        names = numbered([source.estimator for source in mine])
        found[head.name] = {name: head.figures(source) for name, source in zip(names, mine, strict=True)}
        if mine:
            lines += head.words(found[head.name])
    held = {name: figures for name, figures in found.items() if figures}
    write_whole(output / FILE, (json.dumps(held, indent=2, allow_nan=False) + "\n").encode())
    with in_style(), atomic_path(output / CHART) as temporary:
        summary_chart(held).savefig(temporary, format="png", dpi=CHART_DPI)
    return "\n".join([*lines, f"all of it: {output / FILE}, drawn: {output / CHART}"])


def _refuse_strangers(sources: Sequence[Source]) -> None:
    for source in sources:
        if not any(head.owns(source) for head in HEADS):
            known = ", ".join(head.name for head in HEADS)
            raise UserError(f"{source.estimator!r} holds nothing that is judged of jets: there are {known}")
