"""The commit in an artefact is this package's, or none: never that of a repository around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cres
from cres import provenance


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("place", [".venv/site-packages", "vendor"])  # the second by pip install --target vendor
def test_a_repository_around_an_installed_package_is_not_its_own(tmp_path: Path, kept: bool, place: str) -> None:
    git(tmp_path, "init")
    (tmp_path / "analysis.txt").write_text("somebody's own work")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "mine")
    installed = tmp_path / place / "cres"
    for name in ("cres", "reconstruction"):
        source = Path(cres.__file__).parents[1] / name
        files = shutil.ignore_patterns("__pycache__", *(path.name for path in source.iterdir() if path.is_dir()))
        shutil.copytree(source, installed.with_name(name), ignore=files)
    record = installed.with_name("cres-0.1.0.dist-info") / "RECORD"
    record.parent.mkdir()
    record.touch()
    if kept:  # somebody who commits the virtual environment, too
        git(tmp_path, "add", "-A", "-f")
        git(tmp_path, "commit", "-m", "all of it")
    program = "import cres.provenance as p, reconstruction as r; print(p.__file__, r.__path__[0], p.git_commit())"
    environment = {**os.environ, "PYTHONPATH": str(installed.parent)}
    run = [sys.executable, "-c", program]
    said = subprocess.run(run, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    assert said == [str(installed / "provenance.py"), str(installed.with_name("reconstruction")), "unknown"]


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_a_repository_that_the_environment_names_is_not_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.git_commit()
    git(tmp_path, "init")
    (tmp_path / "file").write_text("theirs")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "theirs")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert provenance.git_commit() == before


def test_a_source_tree_names_its_commit() -> None:
    commit = provenance.git_commit()
    assert commit == "unknown" or len(commit.removesuffix("+changes")) == 40
