"""Jets of a trained network as a file, and files of jets beside each other: what `scripts/jets.py` does of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import torch

from collider.jets.judging.drawn_heads import figures_as_words
from collider.jets.judging.generation import generation_figures
from collider.jets.judging.sources import JetRun, open_run
from collider.jets.learning.drawn import (
    DRAWN_FOR,
    drawn_like,
    drawn_of,
    learned_rows,
    write_drawn,
)
from collider.jets.learning.files import JetTable, jet_paths
from collider.jets.making.classes import KINDS
from collider.jets.quantities import JetArrays
from collider.jets.schema import CLASS
from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.records.rows import Rows

FILE: Final = "drawn.hdf5"
COMPARED: Final = "compared.json"
_READ_TO_LOOK: Final = 1


def draw(folder: Path, output: Path, seed: int = 0) -> str:
    """Write OUTPUT/drawn.hdf5, a jet for each of the run's test split, and return in words what it holds.

    Raises UserError for a run that draws none, and for data that are not there any more.
    """
    run = _on_device(open_run(folder))
    test = run.data.split.test
    rows = learned_rows(run.module, run.data, test)
    if not len(rows):
        raise UserError(f"the test split of {folder} has no jet of which this network could draw one")
    jets = drawn_like(run.module, run.data, rows, seed)
    records = run.data.records
    code = np.asarray(records.scalar(CLASS))[rows] if CLASS in records.columns else None
    path = write_drawn(
        output / FILE, jets, code, _made_by(run, seed), {DRAWN_FOR: records.content_hashes()[rows]}, seed
    )
    left_out = len(test) - len(rows)
    more = f"; {left_out} of a class or pT that it did not learn left out" if left_out else ""
    return f"{len(rows)} jets drawn, one for each of the test split{more}: {path}"


def draw_of(folder: Path, name: str, pt_gev: float, count: int, output: Path, seed: int = 0) -> str:
    """Write OUTPUT/drawn.hdf5, so many jets of a class and pT, and return in words what it holds."""
    run = _on_device(open_run(folder))
    jets = drawn_of(run.module, name, pt_gev, count, seed)
    code = np.full(count, next(kind.code for kind in KINDS if kind.name == name))
    path = write_drawn(output / FILE, jets, code, _made_by(run, seed), None, seed)
    return f"{count} jets of the class {name} and {pt_gev:g} GeV drawn: {path}"


def compare(drawn: Path, simulated: Path, output: Path, seed: int = 0) -> str:
    """Write OUTPUT/compared.json with the figures of two files or folders of jets, and return them in words.

    Of drawn jets those simulated ones are compared that they stand for, where both are there; all otherwise. As many
    particles of a simulated jet are read as the drawn ones may have.
    """
    paths = jet_paths(str(drawn))
    told = {int(file.attributes.get("particles", 0)) for file in JetTable(paths, _READ_TO_LOOK).files}
    most = max(told)
    if len(told) > 1 or not most:
        raise UserError(
            f"{drawn} does not say how many particles of a jet were drawn (attribute particles), as `--draw` writes: "
            "jets that were drawn elsewhere need it, too"
        )
    made, true = JetTable(paths, most), JetTable(jet_paths(str(simulated)), most)
    drawn_rows, rows = _pairs(made, true)
    figures = generation_figures(JetArrays.of(made, drawn_rows), JetArrays.of(true, rows), seed)
    write_whole(output / COMPARED, (json.dumps(figures, indent=2) + "\n").encode())
    return "\n".join([*figures_as_words(figures), f"all of it: {output / COMPARED}"])


def _pairs(made: JetTable, true: JetTable) -> tuple[Rows, Rows]:
    """Return the rows of drawn jets and of the simulated ones that they stand for; all where none of them is known."""
    if DRAWN_FOR in made.columns:
        _, mine, theirs = np.intersect1d(made.scalar(DRAWN_FOR), true.content_hashes(), return_indices=True)
        if len(mine):
            return mine, theirs
    return np.arange(len(made)), np.arange(len(true))


def _made_by(run: JetRun, seed: int) -> dict[str, object]:
    return {"run": run.estimator, "model": run.module.card["model"], "seed": seed}


def _on_device(run: JetRun) -> JetRun:
    run.module.to("cuda" if torch.cuda.is_available() else "cpu")
    return run
