"""A model as an ONNX program, in real arithmetic, and the check that its runtime finds what torch finds."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from reconstruction.errors import UserError, one_line
from reconstruction.files import atomic_path
from reconstruction.training.export.program import OUTPUTS, Example, InputToPosterior
from reconstruction.training.export.real_arithmetic import RealProgram
from reconstruction.training.learning.learner import Learner

OPSET: Final = 20
CLOSE: Final = 0.01
"""So many error bars may an estimate of the runtime lie from torch's: noise of single precision is far below."""


def write_onnx(module: Learner, example: Example, output: Path, about: Mapping[str, Any]) -> list[str]:
    """Write the program, check it with onnxruntime, and return the names of its outputs.

    Raises UserError where a package is missing, a model has no form in ONNX, or the two do not agree.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    whole = InputToPosterior(module).eval()
    with torch.no_grad():
        said = whole(example.values)
        try:
            program = _program(whole, example, list(said))
        except UserError:
            raise
        except Exception as error:  # the exporter raises a dozen kinds
            raise UserError(
                f"this model has no form in ONNX ({_reason(error)}): --output=model.pt2 is one for torch"
            ) from error
    told = dict(about) | {"outputs": {name: OUTPUTS[name] for name in said}}
    for name, value in told.items():
        program.model.metadata_props[name] = json.dumps(value)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(output) as temporary:
            program.save(str(temporary), external_data=False)
            _check(temporary, whole, example)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    return list(said)


def _program(whole: InputToPosterior, example: Example, names: list[str]) -> Any:
    batch = {0: torch.export.Dim("batch", min=1)}
    exported = torch.export.export(whole, (example.values,), dynamic_shapes=(batch,), strict=False)
    real = RealProgram(exported, example.values).eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
        program = torch.onnx.export(
            real,
            (example.values,),
            input_names=[example.name],
            output_names=names,
            dynamic_shapes=(batch,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


def _check(path: Path, whole: InputToPosterior, example: Example) -> None:
    """Compare with torch on other records, another number of them. Raises UserError where they differ."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    records = torch.cat([example.values.flip(1), example.values])
    with torch.no_grad():
        wanted = whole(records)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {example.name: records.numpy()}), strict=True))
    scale = wanted["error_bar"] if bool(wanted["error_bar"].isfinite().all()) else wanted["estimate"].abs()
    away = ((torch.from_numpy(found["estimate"]) - wanted["estimate"]).abs() / scale).max()
    if not float(away) < CLOSE:
        raise UserError(f"onnxruntime's estimates lie {float(away):.2g} error bars from torch's: it is not written")
    print(f"onnxruntime and torch agree to {float(away):.1g} error bars on {len(records)} other rows")


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install -c constraints.txt -e '.[onnx]'")


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line, its first sentence."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)[:200]
