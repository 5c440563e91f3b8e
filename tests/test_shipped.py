"""A user's own configurations, sweeps and notebooks lie beside those of the program and fail no test."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import shipped
from programs import run_program

ROOT = Path(__file__).parents[1]
OF_THE_USER = ("configs/mine.yaml", "configs/sweeps/mine.yaml", "configs/simulation/mine.yaml", "notebooks/mine.ipynb")
LISTS = (
    shipped.configurations,
    shipped.simulations,
    shipped.showers,
    shipped.shower_trainings,
    shipped.higgs_trainings,
    shipped.higgs_stages,
    shipped.generations,
    shipped.jet_trainings,
    shipped.detector_trainings,
    shipped.detector_samples,
    shipped.sweep_files,
    shipped.wandb_files,
    shipped.notebooks,
)


@pytest.mark.parametrize("files", LISTS, ids=lambda files: files.__name__)
def test_what_is_said_to_come_with_the_program_is_there(files):
    assert [path for path in files() if not path.is_file()] == []


def test_no_test_is_made_of_a_users_own_file(tmp_path):
    for folder in ("tests", "configs", "notebooks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "cluster"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in OF_THE_USER:
        (tmp_path / name).write_text("no: configuration of any kind [")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
    ]
    made_of_files = ("test_sweep.py", "simulation/test_configs.py", "test_notebooks.py")
    done = run_program([*command, *(tmp_path / "tests" / name for name in made_of_files)], tmp_path)
    assert done.code == 0, done.said
    assert "[s4d_size]" in done.said
    assert "mine" not in done.said.replace(str(tmp_path), "")


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_no_test_looks_what_lies_beside_the_programs_files(path):
    """They are listed by name in `shipped`."""
    text = path.read_text()
    assert not re.search(r"configs?\b[^\n]*\.(r?glob|iterdir)\(|FOLDER\.glob\(\"\*\.ipynb", text, re.IGNORECASE)
