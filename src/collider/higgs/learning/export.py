"""A trained model of the search as one file that turns objects of events into probabilities, and a card that says how.

Objects (batch, 1 + object, channel) float32, the missing momentum first and zeros behind the last object, and the
masses that are told (batch, 2) float64 → the outputs of `reconstruction.training.export.program.OUTPUTS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from collider.higgs.learning.views import CHANNELS, KINDS, OBJECTS
from reconstruction.files import write_whole
from reconstruction.judging.tables.columns import CLASSES
from reconstruction.training.export.program import EXAMPLE_BATCH, Example, usage, write_program
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.predictions import checkpoint_hash


def export(module: Learner, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its card (`OUTPUT.md`); returns the path of the program.

    The suffix says which kind: `.pt2` for torch, `.onnx` for the others. Raises UserError for another suffix, and for a
    model that ONNX cannot express.
    """
    data = module.card["data"]
    made_by = checkpoint_hash(checkpoints)
    about = {"channels": list(CHANNELS), "points": data["points"], "checkpoint_hash": made_by}
    positions = int(data["positions"])
    names = write_program(module, _events(positions), output, about)
    card = output.with_suffix(".md")
    write_whole(card, _card(module, made_by, output.name).encode())
    print(f"{output}: objects (batch, {positions}, {len(CHANNELS)}) → {', '.join(names)}; card {card}")
    return output


def _events(positions: int) -> Example:
    """Return events of so many positions, with all of their objects, some of each kind."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(EXAMPLE_BATCH, positions, len(CHANNELS), generator=generator)
    kinds = torch.tensor(KINDS, dtype=torch.float32)
    values[..., CHANNELS.index("object_kind")] = kinds[1 + torch.arange(positions) % (len(KINDS) - 1)]
    values[:, 0, CHANNELS.index("object_kind")] = kinds[0]
    values[..., CHANNELS.index("object_pt_gev")] *= 100
    return Example(OBJECTS, values)


def _card(module: Learner, made_by: str, file: str) -> str:
    """Return what the program is for, as Markdown."""
    card: Mapping[str, Any] = module.card
    data, split, made = card["data"], card["data"]["split"], card["ancestry"]
    points = ", ".join(f"({one:g}, {other:g})" for one, other in data["points"])
    lines = [
        f"# {card.get('name', 'model')}",
        "",
        "Tells a charged Higgs boson, H± → W A with A → μμ, from its backgrounds in one event of a hadron collider.",
        "",
        "## Input",
        f"- objects, float32, (batch, {data['positions']}, {len(CHANNELS)}): {', '.join(CHANNELS)}; kinds are 0 "
        "missing momentum, 1 jet, 11 electron, 13 muon; the missing momentum first, zeros behind the last object",
        *([f"- settings, float64, (batch, 2): {', '.join(module.settings)}"] if module.settings else []),
        "",
        "## Training",
        f"- signals (mH⁺, mA) in GeV: {points}; channels: {', '.join(data['channels']) or 'all'}",
        f"- {split['train']} simulated events; {split['validation']} for validation, {split['test']} never seen",
        f"- checkpoint {made_by[:16]}, {made['created_by']}, commit {made['git_commit']}",
        "",
        "## Classes",
        *(f"- `{name}`: {code}" for name, code in card.get(CLASSES, ())),
        "",
        "## Limits",
        "- probabilities are for classes that are equally frequent: expected ones want the weights of their samples",
        "- masses outside of the trained ones are answered as at their edge, with flatter probabilities",
        "- trained on Pythia with smeared objects: data of a detector, or another selection, look otherwise",
        *usage(file, _code(data["positions"], bool(module.settings))),
    ]
    return "\n".join(lines) + "\n"


def _code(positions: int, told: bool) -> list[str]:
    return [
        f"objects = torch.zeros(2, {positions}, {len(CHANNELS)})                # fill with events",
        *(["masses = torch.tensor([[130.0, 90.0]] * 2, dtype=torch.float64)"] if told else []),
        f'print(model(objects{", masses" if told else ""})["class_probability"])',
    ]
