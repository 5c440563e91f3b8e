"""Every command of docs/howto/pretraining.md runs, on few records and small networks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import h5py
import pytest

from cres.errors import UserError
from reconstruction.training.command_line.cli import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "pretraining.md"
SHELL, FILE = (re.compile(rf"^```{kind}\n(.*?)^```$", re.M | re.S) for kind in ("bash", r'yaml title="([^"]+)"'))
SMALL = (
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.accelerator=cpu",
    "--figures.every_epochs=0",
)
NARROW = ("width=8", "depth=1", "state=4")
STREAM = "cres.simulation.SimulatedElectrons"


class FewElectrons:
    """In place of the simulation: the records of a file, again and again."""

    sampling_rate_hz, lo_frequency_hz, samples = 403e6, 25.9702e9, 512

    def __call__(self, seed: int, start: int, count: int) -> dict[str, object]:
        # a file of its own: the trainings keep theirs open, with another kind of lock
        with h5py.File("stream.hdf5") as file:
            return {name: file[name][start % 64 : start % 64 + count] for name in file}


def small(command: str) -> list[str]:
    """Return the arguments of a command at the size of a test."""
    arguments = shlex.split(command)[2:]
    if arguments[0] != "fit":
        return arguments
    views = ("time", "spectrum") if "fusion" in command else ("spectrum",)
    narrow = [f"--model.encoders.{view}.init_args.{option}" for view in views for option in NARROW]
    arguments = [re.sub(r"stream_electrons=\d+", "stream_electrons=32", one) for one in arguments]
    return [*(one.replace(STREAM, f"{__name__}.FewElectrons") for one in arguments), *SMALL, *narrow]


def test_the_pages_commands_run(make_records, tmp_path, monkeypatch):
    text = PAGE.read_text()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    make_records(tmp_path / "data" / "measured.hdf5", 64, labelled=False)
    make_records(tmp_path / "data" / "labelled.hdf5", 96, seed=1)
    make_records(tmp_path / "stream.hdf5", 96, seed=2)
    for title, content in FILE.findall(text):
        (tmp_path / title).write_text(content)
    ran = [line for block in SHELL.findall(text) for line in block.splitlines() if line.startswith("python cli.py")]
    assert len(ran) >= 8
    for command in ran:
        assert main(small(command)) == 0, command
    assert (tmp_path / "runs" / "whole" / "predictions.hdf5").exists()


def test_a_command_that_is_none_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="masked"):
        main(small(f"python cli.py fit -c {ROOT}/configs/pretrain.yaml --model.masked.alone=true"))
