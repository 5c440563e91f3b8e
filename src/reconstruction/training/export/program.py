"""A trained model as a program: one named input in, everything that is stated of its rows out, by name.

A file ending in `.pt2` is a `torch.export` program, one in `.onnx` the same for ONNX runtimes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.files import atomic_path
from reconstruction.models import FlowHead, combine, interval95
from reconstruction.records.batch import SETTINGS, Inputs
from reconstruction.shapes import Float, Series
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import posterior_columns

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


@dataclass(frozen=True, eq=False)
class Example:
    """What goes in: the name of the input, and values (EXAMPLE_BATCH, position, channel) as rows have them."""

    name: str
    values: Series


def usage(file: str, code: Sequence[str]) -> list[str]:
    """Return how a program for torch is used, as lines of Markdown, of what is done with `model`; else nothing."""
    if not file.endswith(".pt2"):
        return []
    load = f'model = torch.export.load("{file}").module()'
    return ["", "## Use", "```python", "import torch", load, *code, "```"]


class InputToPosterior(nn.Module):
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

    def forward(self, series: Series, settings: Float[Tensor, "batch setting"] | None = None) -> dict[str, Tensor]:
        """Return the outputs by name; NaN where the head does not state them.

        A model that is told settings also takes them, NaN where they are not known.
        """
        inputs: Inputs | Tensor = series
        if settings is not None:
            inputs = {self.reconstructor.input_names[0]: series, SETTINGS: settings.unsqueeze(1)}
        members = [self.reconstructor(inputs), *(member(inputs) for member in self.others)]
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


def taken(module: Learner, series: Series) -> tuple[Tensor, ...]:
    """Return what a program takes beside its rows: settings, unknown here, where the model is told any."""
    if not module.settings:
        return (series,)
    return series, torch.full((len(series), len(module.settings)), torch.nan, dtype=torch.float64)


def exported(whole: nn.Module, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Return the program of a module for inputs like the example, any number of rows at once."""
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(whole, example, dynamic_shapes=tuple({0: batch} for _ in example), strict=False)


def write_program(module: Learner, example: Example, output: Path, about: Mapping[str, Any]) -> list[str]:
    """Write the program with what is known `about` it; returns the names of its outputs.

    Raises UserError for another suffix than those of SUFFIXES, and for a model that ONNX cannot express.
    """
    if output.suffix not in SUFFIXES:
        raise UserError(
            f"{output} names no kind of program: --output={output.stem}.pt2 is one for torch, {output.stem}.onnx one "
            "for ONNX runtimes"
        )
    if isinstance(module.reconstructor.head, FlowHead):
        raise UserError(
            "a flow is not exported, since a program holds no density: predict with its checkpoint (python cli.py "
            "predict), or weigh its samples"
        )
    if module.settings:
        about = dict(about) | {"settings": list(module.settings)}
        if output.suffix == ".onnx":
            raise UserError(f"a model that is told settings is written for torch alone: --output={output.stem}.pt2")
    if output.suffix == ".onnx":
        from reconstruction.training.export.onnx_export import write_onnx

        return write_onnx(module, example, output, about)
    return _write_pt2(module, example, output, about)


def _write_pt2(module: Learner, example: Example, output: Path, about: Mapping[str, Any]) -> list[str]:
    whole = InputToPosterior(module).eval()
    given = taken(module, example.values)
    with torch.no_grad():
        names = list(whole(*given))
    program = exported(whole, given)
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
