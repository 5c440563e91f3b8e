"""The notebooks run from their first cell to their last on small cases (the endpoint's has its own test)."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest
from shipped import notebooks

FOLDER = Path(__file__).parents[1] / "notebooks"
SMALL = {"evaluate": {"ELECTRONS": 300, "BOOTSTRAP": 10}, "explore_data": {"ELECTRONS": 20}}
SHOWN = {
    "evaluate": ("likelihood", "over-confident", "SBC: distance", "Electrons one by one"),
    "explore_data": ("8192 samples", "resolved"),
}
PICTURES = {"evaluate": 6, "explore_data": 2}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_notebook_runs(name: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source += "".join(f"\n{key} = {value!r}" for key, value in SMALL[name].items())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zmq and jupyter speak of event loops and paths
        from nbclient import NotebookClient

        NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")
    text += "".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    assert all(word in text for word in SHOWN[name])
    assert sum("image/png" in output.get("data", {}) for output in outputs) == PICTURES[name]
    assert not any(output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells if cell.cell_type == "code")
