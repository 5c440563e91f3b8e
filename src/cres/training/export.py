"""One file that turns raw volts into predictive distributions without this program's classes, and the model card.

`model.pt2` is a `torch.export` program, `model.onnx` the same for ONNX runtimes: volts (batch, samples, 2) float32 →
the outputs that `OUTPUTS` describes, in the units of the targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from cres import schema
from cres.errors import UserError
from cres.training.model_card import card_text
from reconstruction.files import atomic_path
from reconstruction.models import combine, interval95
from reconstruction.shapes import Series
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import posterior_columns
from reconstruction.training.runs.predictions import checkpoint_hash

EXAMPLE_BATCH: Final = 3
LEVELS: Final = (0.0228, 0.05, 0.1587, 0.25, 0.5, 0.75, 0.8413, 0.95, 0.9772)
"""Levels of the quantiles that an exported program returns."""

OUTPUTS: Final = {
    "estimate": "median of each target (batch, target)",
    "error_bar": "half the central 68.27 % (batch, target)",
    "covariance": "correlations with the error bars as standard deviations (batch, target, target)",
    "interval95": "ends of the central 95.45 %, calibrated by themselves (batch, target, 2)",
    "spread": "standard deviation with all tails and modes (batch, target): well above error_bar, it may be an outlier",
    "quantiles": f"of each target at {', '.join(map(str, LEVELS))} (batch, target, level)",
    "outside_range": "whether an estimate lies beyond the targets of the training, or is not finite (batch,)",
    schema.POSTERIOR_WEIGHT: "of the Gaussians of the posterior (batch, component)",
    schema.POSTERIOR_MEAN: "of these Gaussians (batch, component, target)",
    schema.POSTERIOR_CHOLESKY: "lower Cholesky factors of their covariances (batch, component, target, target)",
    schema.POSTERIOR_LEVEL: "levels of a quantile head's own quantiles (batch, level)",
    schema.POSTERIOR_QUANTILE: "a quantile head's own quantiles (batch, target, level)",
    schema.CLASS_CODE: "codes of the classes that are told apart (batch, class)",
    schema.CLASS_PROBABILITY: "calibrated probability of each class (batch, class)",
}
"""Outputs by name; of the last seven those of the model's head, named as in tables of predictions."""
SUFFIXES: Final = (".pt2", ".onnx")


class VoltsToPosterior(nn.Module):
    """The whole reconstructor with tensors in and tensors out."""

    low: Tensor
    high: Tensor

    def __init__(self, module: Learner) -> None:
        super().__init__()
        self.reconstructor, self.others, self.joint = module.reconstructor, module.others, module.joint
        self.calibrations = nn.ModuleList(module.calibrations)
        unbounded = [-torch.inf, torch.inf]
        ranges = [module.card.get("ranges", {}).get(name, unbounded) for name in module.targets]
        self.register_buffer("low", torch.tensor([low for low, _ in ranges], dtype=torch.float64))
        self.register_buffer("high", torch.tensor([high for _, high in ranges], dtype=torch.float64))

    def forward(self, volts: Series) -> dict[str, Tensor]:
        """Return the outputs by name; NaN where the head does not state them."""
        members = [self.reconstructor(volts), *(member(volts) for member in self.others)]
        distribution = combine(members) if len(members) > 1 else members[0]
        distribution = distribution if self.joint is None else self.joint(distribution)
        estimate = distribution.estimate
        inside = (estimate >= self.low) & (estimate <= self.high)  # false for NaN
        return {
            "estimate": estimate,
            "error_bar": distribution.error_bar,
            "covariance": distribution.error_covariance,
            "interval95": torch.stack(interval95(distribution, list(self.calibrations)), dim=-1),  # type: ignore[arg-type]
            "spread": distribution.std,
            "quantiles": torch.stack([distribution.quantile(level) for level in LEVELS], dim=-1),
            "outside_range": ~inside.all(dim=-1),
            **posterior_columns(distribution),
        }


def export_program(module: Learner, samples: int) -> torch.export.ExportedProgram:
    """Return the program of a module for records of `samples` samples, any number of records at once."""
    return _exported(VoltsToPosterior(module).eval(), torch.zeros(EXAMPLE_BATCH, samples, 2))


def _exported(whole: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(whole, (example,), dynamic_shapes=({0: batch},), strict=False)


def export(module: Learner, checkpoints: Sequence[Path], output: Path) -> Path:
    """Write the program and its model card (`OUTPUT.md`); returns the path of the program.

    The suffix says which kind: `.pt2` for torch, `.onnx` for the others. Raises UserError for another suffix, and for a
    model that ONNX cannot express.
    """
    if output.suffix not in SUFFIXES:
        raise UserError(
            f"{output} names no kind of program: --output={output.stem}.pt2 is one for torch, {output.stem}.onnx one "
            "for ONNX runtimes"
        )
    samples = int(module.card["data"]["samples"])
    facts = {name: module.card["data"][name] for name in ("sampling_rate_hz", "lo_frequency_hz", "samples")}
    made_by = checkpoint_hash(checkpoints)
    about = facts | {"targets": list(module.targets), "levels": list(LEVELS), "checkpoint_hash": made_by}
    if output.suffix == ".onnx":
        from cres.training.onnx_export import write_onnx

        names = write_onnx(module, samples, output, about)
    else:
        names = _write_pt2(module, samples, output, about)
    card = output.with_suffix(".md")
    table = checkpoints[0].parent.parent / "predictions.hdf5"
    card.write_text(card_text(module.card, made_by, table if table.exists() else None, output.name))
    print(f"{output}: volts (batch, {samples}, 2) → {', '.join(names)} of {', '.join(module.targets)}; card {card}")
    return output


def _write_pt2(module: Learner, samples: int, output: Path, about: Mapping[str, Any]) -> list[str]:
    whole = VoltsToPosterior(module).eval()
    example = torch.zeros(EXAMPLE_BATCH, samples, 2)
    with torch.no_grad():
        names = list(whole(example))
    program = _exported(whole, example)
    told = dict(about) | {"outputs": {name: OUTPUTS[name] for name in names}}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(output) as temporary:
            named = temporary.with_suffix(".pt2")
            torch.export.save(program, named, extra_files={"about.json": json.dumps(told)})
            named.replace(temporary)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    return names
