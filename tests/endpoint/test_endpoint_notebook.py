"""The notebook runs from its first cell to its last on a small case."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "endpoint.ipynb"
SMALL = {"ELECTRONS": 1500, "CALIBRATION_ELECTRONS": 800, "TOYS": 2, "MASS_TOYS": 3}


def test_notebook_runs(monkeypatch):
    pytest.importorskip("ipykernel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zmq and jupyter speak of event loops and paths
        from nbclient import NotebookClient

        notebook = nbformat.read(NOTEBOOK, as_version=4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        cell.source += "\n" + "\n".join(f"{name} = {value}" for name, value in SMALL.items())
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "endpoint = " in text
    assert "neutrino mass: " in text
    # the three constructions, the table of systematics, the warnings
    assert all(name in text for name in ("(Feldman–Cousins)", "(profile)", "(Bayesian)"))
    assert "quadratic sum" in text
    assert "excited states" in text
    assert "no endpoint is seen" in text
    images = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(images) >= 7
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))


def test_notebook_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code")
