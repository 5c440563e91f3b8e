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
def test_a_repository_around_an_installed_package_is_not_its_own(tmp_path: Path, kept: bool) -> None:
    git(tmp_path, "init")
    (tmp_path / "analysis.txt").write_text("somebody's own work")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "mine")
    installed = tmp_path / ".venv" / "site-packages" / "cres"
    installed.mkdir(parents=True)
    for name in ("__init__.py", "moved.py", "provenance.py"):
        shutil.copy(Path(cres.__file__).with_name(name), installed / name)
    if kept:  # somebody who commits the virtual environment, too
        git(tmp_path, "add", "-A", "-f")
        git(tmp_path, "commit", "-m", "all of it")
    program = "import cres.provenance as p; print(p.__file__, p.git_commit())"
    environment = {**os.environ, "PYTHONPATH": str(installed.parent)}
    run = [sys.executable, "-c", program]
    said = subprocess.run(run, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    assert said == [str(installed / "provenance.py"), "unknown"]


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
