"""One file that turns raw volts into estimates without this program's classes, and the model card beside it.

The file is a `torch.export` program: `torch.export.load(FILE).module()(volts)` with volts (batch, samples, 2) float32
returns the estimates (batch, target) and the covariance of their errors (batch, target, target), float64, in the
units of the targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.evaluation.metrics import coverage, sigma68
from cres.evaluation.splits import trained_on
from cres.evaluation.table import atomic_path
from cres.models import combine
from cres.shapes import Series
from cres.training.module import CresModule
from cres.training.predictions import checkpoint_hash, described

EXAMPLE_BATCH = 3


class VoltsToEstimates(nn.Module):
    """The whole reconstructor with tensors in and tensors out."""

    def __init__(self, module: CresModule) -> None:
        super().__init__()
        self.reconstructor, self.others, self.joint = module.reconstructor, module.others, module.joint

    def forward(self, volts: Series) -> tuple[Tensor, Tensor]:
        """Return estimate (batch, target) and covariance of its error (batch, target, target), NaN where not stated."""
        members = [self.reconstructor(volts), *(member(volts) for member in self.others)]
        distribution = combine(members) if len(members) > 1 else members[0]
        distribution = distribution if self.joint is None else self.joint(distribution)
        return distribution.estimate, distribution.error_covariance


def export_program(module: CresModule, samples: int) -> torch.export.ExportedProgram:
    """Return the program of a module for records of `samples` samples, any number of records at once."""
    whole = VoltsToEstimates(module).eval()
    example = torch.zeros(EXAMPLE_BATCH, samples, 2)
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(whole, (example,), dynamic_shapes=({0: batch},), strict=False)


def export(module: CresModule, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its model card (`OUTPUT.md`); returns the path of the program."""
    if output.suffix != ".pt2":
        raise UserError(
            f"{output} would hold a torch.export program, which is called .pt2: write --output={output.stem}.pt2"
        )
    samples = int(module.card["data"]["samples"])
    program = export_program(module, samples)
    facts = {name: module.card["data"][name] for name in ("sampling_rate_hz", "lo_frequency_hz", "samples")}
    about = facts | {"targets": list(module.targets), "checkpoint_hash": checkpoint_hash(checkpoints)}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(output) as temporary:
            named = temporary.with_suffix(".pt2")
            torch.export.save(program, named, extra_files={"about.json": json.dumps(about)})
            named.replace(temporary)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    card = output.with_suffix(".md")
    table = checkpoints[0].parent.parent / "predictions.hdf5"
    card.write_text(card_text(module.card, about["checkpoint_hash"], table if table.exists() else None))
    print(f"{output}: volts (batch, {samples}, 2) → mean, covariance of {', '.join(module.targets)}; card {card}")
    return output


def card_text(card: Mapping[str, Any], made_by: str, table: Path | None) -> str:
    """Return the model card as Markdown: what it is for, data, noise, valid ranges, resolution, limits."""
    data, split, made = card["data"], card["data"]["split"], card["ancestry"]
    lines = [
        f"# {card.get('name', 'model')}",
        "",
        f"Estimates {', '.join(described(name) for name in card['model']['targets'])} of one electron from one record.",
        "",
        "## Input",
        f"- {data['samples']} complex samples at {data['sampling_rate_hz'] / 1e6:g} MHz, I and Q in volts, with noise",
        f"- local oscillator {data['lo_frequency_hz'] / 1e9:.6g} GHz: with another one the estimates are wrong",
        f"- noise in training: {_noise(card['model'])}",
        "",
        "## Training",
        *_trained_on(data),
        f"- {split['validation']} for validation (early stopping, calibration), {split['test']} never seen",
        f"- checkpoint {made_by[:16]}, {made['created_by']}, commit {made['git_commit']}",
        "",
        "## Valid range",
        *(f"- {described(name)}: {low:.6g} to {high:.6g}" for name, (low, high) in card.get("ranges", {}).items()),
        "",
        "## Resolution and calibration",
        *_resolution(card, made_by, table),
        "",
        "## Limits",
        "- trained on simulation: anything that the simulation leaves out is not in the stated uncertainty",
        "- one electron a record, from its start; scattering and pile-up within a record are not modelled",
        "- estimates outside the valid range are extrapolation",
    ]
    return "\n".join(lines) + "\n"


def _trained_on(data: Mapping[str, Any]) -> list[str]:
    files = f"{data['split']['train']} electrons of {', '.join(Path(name).name for name in data['files'])}"
    if data.get("stream") is None:
        return [f"- {files}"]
    return [f"- electrons of {data['stream']}, new ones in every epoch", f"- {files}, for the scales of targets alone"]


def _noise(model: Mapping[str, Any]) -> str:
    sources = model.get("noise")
    if sources is None:
        return "white, 2.2e-13 W/Hz"
    return "; ".join(f"{source['class_path'].rpartition('.')[2]} {source.get('init_args') or ''}" for source in sources)


def _resolution(card: Mapping[str, Any], made_by: str, table: Path | None) -> list[str]:
    """Return the figures of a table of this very checkpoint on electrons with a known truth."""
    missing = ["- not measured yet: `python cli.py test` writes the table that this section is made from"]
    if table is None:
        return missing
    predictions = PredictionTable.read(table)
    if predictions.attributes.get("checkpoint_hash") != made_by or trained_on(predictions).any():
        return missing
    lines = []
    for name, target in zip(card["model"]["targets"], predictions.targets, strict=True):
        if not predictions.has_truth(target):
            continue
        residual = predictions.residual(target)
        line = f"- {described(name)}: σ68 {sigma68(residual):.4g}, median {np.median(residual):+.2g}"
        if predictions.has_std(target):
            line += f", 1σ interval holds the truth for {100 * coverage(residual, predictions.std(target)):.0f} %"
        lines.append(f"{line} ({len(predictions)} test electrons)")
    return lines or missing
