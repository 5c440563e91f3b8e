"""The wheel alone: built offline from a clean copy, unpacked into an empty folder, used from another one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import shipped
from programs import plain_environment

from cres import commands
from cres.errors import UserError
from cres.resources import configs_folder, simulation_config, training_config

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "configs", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are; what earlier builds left is not among them."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, copy / name)
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", str(copy / "dist"), str(copy)]
    built = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    (path,) = (copy / "dist").glob("cres-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


ALL = """
import contextlib, runpy, sys
import cres
from cres.physics.final_states import FinalStates
from cres.resources import configs_folder
print(cres.__file__, configs_folder(), cres.simulate(2, "tritium"))
def run(module, *words):
    sys.argv = [module, *words]
    with contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
run("cres.commands", "simulate", "--events", "4", "--workers", "1", "-c", "tritium")
run("cres.commands", "prep", "--workers", "1")
run("cres.commands", "fit", "-c", "s4d", "--trainer.max_epochs=x")
run("collider.showers", "-c", "lead_argon", "--events", "3", "--task", "0/1", "--output", "showers")
"""
"""What somebody does who has the wheel alone: in one interpreter, since each imports for seconds."""


def test_all_files_are_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert "cres = cres.commands:run" in entry
    for path in (path for name in ("cres", "reconstruction", "collider") for path in (ROOT / "src" / name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT / "src").as_posix() in names
    for path in (*shipped.configurations(), *shipped.simulations(), *shipped.sweep_files()):
        assert f"cres/{path.relative_to(ROOT).as_posix()}" in names
    collider = (*shipped.showers(), *shipped.shower_trainings(), *shipped.generations())
    for path in (
        *collider,
        *shipped.higgs_trainings(),
        *shipped.higgs_stages(),
        *shipped.jet_trainings(),
        *shipped.detector_samples(),
        *shipped.detector_trainings(),
    ):
        assert f"collider/{path.relative_to(ROOT).as_posix()}" in names


def test_it_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = plain_environment(PYTHONPATH=str(installed))
    command = [sys.executable, "-c", ALL]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    package, *said = found.stdout.splitlines()
    assert package.startswith(f"{installed / 'cres' / '__init__.py'} {installed / 'cres' / 'configs'} 2 simulated")
    assert "4 electrons in data/cres.hdf5" in said, found.stderr
    assert "max_epochs" in found.stderr.splitlines()[-1]
    assert "Traceback" not in found.stderr
    assert (tmp_path / "showers" / "train_dataset.hdf5").is_file()


# The same command in a checkout ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*commands.OTHERS, *commands.TRAINING])
def test_every_command_has_help(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["cres", command, "--help"])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out.lower()
    assert command in commands.overview()


def test_a_command_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cres", "simulat"])
    with pytest.raises(UserError, match=r"there is no command 'simulat' .did you mean 'simulate'"):
        commands.main()


def test_our_configurations_go_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert training_config("s4d") == training_config("s4d.yaml") == configs_folder() / "s4d.yaml"
    assert training_config("mine.yaml") == Path("mine.yaml")
    Path("s4d.yaml").write_text("")
    assert training_config("s4d.yaml") == Path("s4d.yaml")
    assert simulation_config() == configs_folder() / "simulation" / "cavity_26ghz_modes.yaml"
    with pytest.raises(UserError, match="ours are"):
        simulation_config("nothing")


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_thin(script: Path) -> None:
    """The work is in the package: a script names it."""
    assert len(script.read_text().splitlines()) < 50
