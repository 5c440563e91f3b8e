"""Devices and precisions that electrons cannot be computed on or in, and the clock that waits for a device."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from cres.data.prepare.hdf5_writer import ColumnWriter, layout_of
from cres.errors import UserError
from reconstruction.clock import wall_seconds
from reconstruction.training.command_line.hardware import require_exact, require_nodes, usable_accelerator
from reconstruction.training.learning.checkpoints import read_checkpoint


def test_auto_falls_back_to_the_processor_where_there_is_no_float64(monkeypatch, capsys) -> None:
    assert usable_accelerator("auto") == "auto"
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    assert usable_accelerator("auto") == "cpu"
    assert capsys.readouterr().err.count("\n") == 1
    for wanted in ("mps", "gpu"):
        with pytest.raises(UserError, match="no float64"):
            usable_accelerator(wanted)


@pytest.mark.parametrize("wanted", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch, wanted: str) -> None:
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: False))
    with pytest.raises(UserError, match="torch sees no GPU"):
        usable_accelerator(wanted)
    assert usable_accelerator("cpu") == "cpu"


@pytest.mark.parametrize(("precision", "instead"), [("bf16-true", "bf16-mixed"), ("16-true", "16-mixed")])
def test_what_would_round_the_targets_is_refused(fit: Callable[..., None], tmp_path: Path, precision, instead) -> None:
    with pytest.raises(UserError, match=f"use {instead}"):
        fit(tmp_path, f"--trainer.precision={precision}")
    assert not (tmp_path / "config.yaml").exists()
    for exact in (None, 32, "32-true", "64-true", "bf16-mixed", "16-mixed"):
        require_exact(exact)


def test_nodes_that_nobody_starts_are_not_waited_for(fit: Callable[..., None], tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"trainer.num_nodes=2, but nothing starts the program on the other nodes"):
        fit(tmp_path / "run", "--trainer.num_nodes=2")
    assert not (tmp_path / "run").exists()
    for name, value in (("MASTER_ADDR", "node1"), ("NODE_RANK", "1")):
        monkeypatch.setenv(name, value)
    require_nodes(2)


def test_double_precision_trains_to_the_calibration(fit: Callable[..., None], tmp_path: Path, make_records) -> None:
    records = make_records(tmp_path / "records.hdf5", 256)
    options = ["--trainer.precision=64-true", "--trainer.max_epochs=1", "--data.batch_size=256", "--model.noise=[]"]
    fit(tmp_path / "run", *options, f"--data.data={records}")
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    assert {value.dtype for name, value in state.items() if name.endswith(("weight", "bias"))} == {torch.float64}
    assert bool((state["reconstructor.calibration.temperature.factor"] != 1).all())


def test_the_clock_waits_for_the_device(monkeypatch) -> None:
    waited = []
    module = SimpleNamespace(synchronize=lambda: waited.append(1))
    monkeypatch.setattr(torch, "get_device_module", lambda kind: module)
    assert wall_seconds(torch.device("cuda")) <= wall_seconds(torch.device("cpu"))
    assert waited == [1]


def test_a_file_is_written_where_blocks_cannot_be_reserved(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    columns = {"energy_eV": np.arange(3.0)}
    with ColumnWriter(tmp_path / "file.hdf5", layout_of(columns), 3) as writer:
        writer.write(0, columns)
    assert (tmp_path / "file.hdf5").exists()
