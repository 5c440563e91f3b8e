"""`import cres` and the layers of a network need torch and numpy, and what those two need."""

from __future__ import annotations

import json
import subprocess
import sys

LISTED = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
HEAVY = {
    *("wandb", "mlflow", "iminuit", "matplotlib", "lightning", "h5py", "pandas", "scipy", "optuna", "onnxruntime"),
    *("jsonargparse", "rich", "yaml"),
}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules of an interpreter that has run some code."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{LISTED}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_cres_loads_nothing_at_all() -> None:
    assert not loaded_by("import cres") & (HEAVY | {"torch", "numpy"})


def test_the_s4d_layer_needs_torch_and_numpy_only() -> None:
    layer = "import cres; from cres.models.s4d_layer import StateSpace"
    loaded = loaded_by(f"{layer}; from cres.models import S4DEncoder; S4DEncoder(2, width=4, state=4, depth=1)")
    assert "torch" in loaded
    assert not loaded & HEAVY


def test_a_training_starts_without_what_it_does_not_use() -> None:
    loaded = loaded_by("import reconstruction.training.command_line.cli")
    assert "lightning" in loaded
    assert not loaded & {"pandas", "optuna", "wandb", "mlflow", "iminuit", "onnxruntime"}


def test_the_list_sees_what_is_loaded() -> None:
    assert {"yaml", "numpy"} <= loaded_by("import numpy, yaml")
