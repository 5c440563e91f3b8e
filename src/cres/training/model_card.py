"""The model card: what a model is for, of which apparatus, how well it does, where it ends, and how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from cres.evaluation import PredictionTable
from reconstruction.judging.measures.metrics import coverage, sigma68
from reconstruction.judging.tables.splits import trained_on
from reconstruction.system import DEFAULT, find_system
from reconstruction.training.runs.predictions import OUTSIDE

FAR: Final = 5.0
"""So many error bars from the truth, an electron is called an outlier; of a Gaussian's, 6e-7 would be."""


def card_text(card: Mapping[str, Any], made_by: str, table: Path | None, file: str | None = None) -> str:
    """Return the model card as Markdown: what it is for, apparatus, data, valid ranges, resolution, limits, usage.

    `table` holds predictions of test electrons, `file` is the name of an exported program to show the use of.
    """
    data, split, made = card["data"], card["data"]["split"], card["ancestry"]
    described = find_system(card.get("system", DEFAULT)).described
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
        "## Apparatus",
        *_apparatus(card.get("signature")),
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
        "- estimates outside the valid range are extrapolation (`outside_range`)",
        *(_usage(file, data) if file is not None else []),
    ]
    return "\n".join(lines) + "\n"


def _apparatus(signature: Mapping[str, Any] | None) -> list[str]:
    """Return what its records looked like; `cli.py predict` measures the same of others, and warns."""
    if not signature:
        return ["- not measured: this checkpoint is older than that"]
    lines = [f"- noise of {signature['noise_volt']:.3g} V in I and in Q"]
    for key, what in (("carrier_hz", "strongest lines after mixing"), ("axial_frequency_hz", "axial frequencies")):
        if signature.get(key):
            low, high = signature[key][:2]
            lines.append(f"- {what} from {low / 1e6:.4g} to {high / 1e6:.4g} MHz (98 % of them)")
    if signature.get("line_volt"):
        lines.append(f"- strongest lines of {signature['line_volt'][0]:.3g} V (median)")
    return [*lines, "- another apparatus (field, trap, cavity, receiver) wants a model of its own"]


def _usage(file: str, data: Mapping[str, Any]) -> list[str]:
    """Return how an exported program is used without this package."""
    shape = f"(records, {data['samples']}, 2), I and Q in volts, float32"
    if file.endswith(".onnx"):
        code = [
            "import numpy as np, onnxruntime",
            f'session = onnxruntime.InferenceSession("{file}")',
            f'volts = np.load("volts.npy").astype(np.float32)    # {shape}',
            "names = [output.name for output in session.get_outputs()]",
            'found = dict(zip(names, session.run(None, {"volts": volts})))',
        ]
    else:
        code = [
            "import numpy as np, torch",
            f'program = torch.export.load("{file}").module()',
            f'volts = torch.from_numpy(np.load("volts.npy")).float()    # {shape}',
            "with torch.no_grad():",
            "    found = program(volts)",
        ]
    return [
        "",
        "## Usage",
        "```python",
        *code,
        'print(found["estimate"], found["error_bar"], found["outside_range"])',
        "```",
    ]


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
    described = find_system(card.get("system", DEFAULT)).described
    if predictions.attributes.get("checkpoint_hash") != made_by or trained_on(predictions).any():
        return missing
    lines = []
    for name, target in zip(card["model"]["targets"], predictions.targets, strict=True):
        if not predictions.has_truth(target):
            continue
        residual = predictions.residual(target)
        line = f"- {described(name)}: σ68 {sigma68(residual):.4g}, median {np.median(residual):+.2g}"
        if predictions.has_std(target):
            std = predictions.std(target)
            far = np.abs(residual) > FAR * std
            line += f", 1σ interval holds the truth for {100 * coverage(residual, std):.0f} %"
            line += f", {100 * far.mean():.2g} % are more than {FAR:g} error bars away"
        lines.append(f"{line} ({len(predictions)} test electrons)")
    if lines and OUTSIDE in predictions:
        flagged = predictions.columns[OUTSIDE].astype(bool)
        lines.append(f"- {100 * flagged.mean():.2g} % of them are flagged as outside of the valid range")
    return lines or missing
