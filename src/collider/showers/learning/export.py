"""A trained model of showers as one file that turns cells into predictive distributions, and a card that says how.

Cells (batch, cell, 1) float32 in GeV, in the order of the data set's files → the outputs of
`reconstruction.training.export.program.OUTPUTS`, in the units of the targets.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from collider.showers.learning.data import CELLS
from reconstruction.files import write_whole
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.training.export.program import EXAMPLE_BATCH, LEVELS, Example, usage, write_program
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.predictions import checkpoint_hash

FACTS = ("grid", "grid_shape", "depth_edges_x0", "across_edges_rm")


def export(module: Learner, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its card (`OUTPUT.md`); returns the path of the program.

    The suffix says which kind: `.pt2` for torch, `.onnx` for the others. Raises UserError for another suffix, and for a
    model that ONNX cannot express.
    """
    facts = {name: module.card["data"][name] for name in FACTS}
    made_by = checkpoint_hash(checkpoints)
    about = facts | {"targets": list(module.targets), "levels": list(LEVELS), "checkpoint_hash": made_by}
    cells = math.prod(facts["grid_shape"])
    names = write_program(module, _showers(cells), output, about)
    card = output.with_suffix(".md")
    write_whole(card, _card(module.card, made_by, output.name).encode())
    print(f"{output}: cells (batch, {cells}, 1) → {', '.join(names)} of {', '.join(module.targets)}; card {card}")
    return output


def _showers(cells: int) -> Example:
    """Return energies of cells that differ as those of showers do, by powers of ten."""
    generator = torch.Generator().manual_seed(0)
    return Example(CELLS, 10 ** (3 * torch.rand(EXAMPLE_BATCH, cells, 1, generator=generator) - 3))


def _card(card: Mapping[str, Any], made_by: str, file: str) -> str:
    """Return what the program is for, as Markdown."""
    data, split, made = card["data"], card["data"]["split"], card["ancestry"]
    layers, around, across = data["grid_shape"]
    classes = [f"- `{name}`: {code}" for name, code in card.get(CLASSES, ())]
    ranges = [f"- `{name}`: {low:.6g} to {high:.6g}" for name, (low, high) in card.get("ranges", {}).items()]
    lines = [
        f"# {card.get('name', 'model')}",
        "",
        f"Estimates {', '.join(f'`{name}`' for name in card['model']['targets'])} of one shower from the cells of a "
        "calorimeter.",
        "",
        "## Input",
        f"- {layers * around * across} cells in GeV, float32, as (batch, cell, 1): {layers} layers of {around} by "
        f"{across} cells ({data['grid']}), the last index fastest",
        f"- edges of the layers in X0: {json.dumps([round(edge, 4) for edge in data['depth_edges_x0']])}",
        f"- edges across in R_M: {json.dumps([round(edge, 4) for edge in data['across_edges_rm']])}",
        "",
        "## Training",
        f"- {split['train']} simulated showers; {split['validation']} for validation, {split['test']} never seen",
        f"- checkpoint {made_by[:16]}, {made['created_by']}, commit {made['git_commit']}",
        "",
        *(["## Classes", *classes, ""] if classes else []),
        *(["## Valid range", *ranges, ""] if ranges else []),
        "## Limits",
        "- trained on the parametrisation: what real showers do beside it is not in the stated uncertainty",
        "- another material, read-out or calibration of the cells makes other showers, without a warning",
        *usage(file, _code(layers * around * across)),
    ]
    return "\n".join(lines) + "\n"


def _code(cells: int) -> list[str]:
    return [
        "import numpy as np",
        f'cells = torch.from_numpy(np.load("cells.npy")).float()      # (events, {cells}, 1), GeV',
        "for name, values in model(cells).items():",
        "    print(name, tuple(values.shape), values[0])",
    ]
