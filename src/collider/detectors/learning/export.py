"""A trained model of candidates as one file that turns an input into predictive distributions, and a card of it.

What detectors saw of candidates (batch, position, channel) float32, as `CandidateFiles.inputs` makes it, zeros behind
the last token → the outputs of `reconstruction.training.export.program.OUTPUTS`, in the units of the targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from collider.detectors.learning.files import positions_of, width_of
from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.training.export.program import EXAMPLE_BATCH, LEVELS, Example, usage, write_program
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.predictions import checkpoint_hash


def export(module: Learner, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its card (`OUTPUT.md`); returns the path of the program.

    The suffix says which kind: `.pt2` for torch, `.onnx` for the others. Raises UserError for another suffix, for a
    model of several inputs, and for one that ONNX cannot express.
    """
    names = module.reconstructor.input_names
    if len(names) > 1:
        raise UserError(
            f"a program has one input, and this model reads {', '.join(names)}: train one of them, or together"
        )
    data = module.card["data"]
    shape = (positions_of(names[0], data["layers"], data["cells"], data.get("neighbours", 0)), width_of(names[0]))
    made_by = checkpoint_hash(checkpoints)
    about = {"input": names[0], "shape": list(shape), "targets": list(module.targets), "levels": list(LEVELS)}
    made = write_program(module, _candidates(names[0], shape), output, about | {"checkpoint_hash": made_by})
    card = output.with_suffix(".md")
    write_whole(card, _card(module.card, names[0], shape, made_by, output.name).encode())
    print(f"{output}: {names[0]} (batch, {shape[0]}, {shape[1]}) → {', '.join(made)}; card {card}")
    return output


def _candidates(name: str, shape: tuple[int, int]) -> Example:
    """Return candidates of which every detector saw something."""
    generator = torch.Generator().manual_seed(0)
    return Example(name, 0.1 + torch.rand(EXAMPLE_BATCH, *shape, generator=generator))


def _card(card: Mapping[str, Any], name: str, shape: tuple[int, int], made_by: str, file: str) -> str:
    """Return what the program is for, as Markdown."""
    data, split, made = card["data"], card["data"]["split"], card["ancestry"]
    classes = [f"- `{one}`: {code}" for one, code in card.get(CLASSES, ())]
    ranges = [f"- `{one}`: {low:.6g} to {high:.6g}" for one, (low, high) in card.get("ranges", {}).items()]
    lines = [
        f"# {card.get('name', 'model')}",
        "",
        f"Estimates {', '.join(f'`{one}`' for one in card['model']['targets'])} of one particle in four detectors.",
        "",
        "## Input",
        f"- {name}, float32, (batch, {shape[0]}, {shape[1]}), as `collider.detectors.learning.files.CandidateFiles` "
        "makes it: what classical reconstruction says, then tokens, zeros behind the last",
        f"- {data['layers']} layers in a field of {data['field_t']:g} T, {data['cells']} cells of each calorimeter"
        + (f", {data['neighbours']} tracks and clusters about a candidate" if "neighbours" in data else ""),
        "",
        "## Training",
        f"- {split['train']} simulated candidates; {split['validation']} for validation, {split['test']} never seen",
        f"- checkpoint {made_by[:16]}, {made['created_by']}, commit {made['git_commit']}",
        "",
        *(["## Classes", *classes] if classes else ["## Range", *ranges]),
        "",
        "## Limits",
        "- candidates of another tracker, calorimeter or linking look otherwise: train anew on them",
        *(["- probabilities are for classes as frequent as in the training"] if classes else []),
        *usage(file, _code(shape, bool(classes))),
    ]
    return "\n".join(lines) + "\n"


def _code(shape: tuple[int, int], classes: bool) -> list[str]:
    return [
        f"candidates = torch.zeros(2, {shape[0]}, {shape[1]})                # fill with what detectors saw",
        f'print(model(candidates)["{"class_probability" if classes else "estimate"}"])',
    ]
