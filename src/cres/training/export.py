"""A trained model of electrons as one file that turns raw volts into predictive distributions, and its model card.

Volts (batch, samples, 2) float32 → the outputs that `OUTPUTS` describes, in the units of the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from cres.training.model_card import card_text as card_text
from reconstruction.training.export.program import (
    EXAMPLE_BATCH,
    Example,
    InputToPosterior,
    exported,
    taken,
    write_program,
)
from reconstruction.training.export.program import LEVELS as LEVELS
from reconstruction.training.export.program import OUTPUTS as OUTPUTS
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.predictions import checkpoint_hash


def export_program(module: Learner, samples: int) -> torch.export.ExportedProgram:
    """Return the program of a module for records of `samples` samples, any number of records at once."""
    return exported(InputToPosterior(module).eval(), taken(module, torch.zeros(EXAMPLE_BATCH, samples, 2)))


def export(module: Learner, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its model card (`OUTPUT.md`); returns the path of the program.

    The suffix says which kind: `.pt2` for torch, `.onnx` for the others. Raises UserError for another suffix, and for a
    model that ONNX cannot express.
    """
    samples = int(module.card["data"]["samples"])
    facts = {name: module.card["data"][name] for name in ("sampling_rate_hz", "lo_frequency_hz", "samples")}
    made_by = checkpoint_hash(checkpoints)
    about = facts | {"targets": list(module.targets), "levels": list(LEVELS), "checkpoint_hash": made_by}
    names = write_program(module, _noise(module, samples), output, about)
    card = output.with_suffix(".md")
    table = checkpoints[0].parent.parent / "predictions.hdf5"
    card.write_text(card_text(module.card, made_by, table if table.exists() else None, output.name))
    told = f" and settings (batch, {len(module.settings)}: {', '.join(module.settings)})" if module.settings else ""
    print(
        f"{output}: volts (batch, {samples}, 2){told} → {', '.join(names)} of {', '.join(module.targets)}; card {card}"
    )
    return output


def _noise(module: Learner, samples: int) -> Example:
    """Return records of noise alone, as strong as in training."""
    generator = torch.Generator().manual_seed(0)
    noise = float((module.card.get("signature") or {}).get("noise_volt") or 0.05)
    return Example("volts", noise * torch.randn(EXAMPLE_BATCH, samples, 2, generator=generator))
