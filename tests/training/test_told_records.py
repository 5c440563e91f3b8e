"""A model of volts that is told its apparatus: one training, its export, in Python, and what it cannot do."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import torch

import cres
from cres import schema
from cres.data.records import open_records
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.browsing import Source, record_pictures
from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.loading import load_module


@pytest.fixture(scope="module")
def told(make_records, tmp_path_factory):
    """A run on two apparatus of different noise, a file each."""
    folder = tmp_path_factory.mktemp("told")
    for seed, kelvin in enumerate((4.0, 9.0)):
        path = make_records(folder / f"{seed}.hdf5", 96, True, seed)
        with h5py.File(path, "a") as file:
            file["noise_temperature_k"] = np.full(96, kelvin)
    return folder


@pytest.fixture(scope="module")
def run(told, tiny):
    data = json.dumps([str(told / f"{seed}.hdf5") for seed in range(2)])
    options = ["--model.condition.settings=[noise_temperature_k]", "--model.condition.log=[noise_temperature_k]"]
    options += ["--data.balanced=true", "--data.shuffle_block=8", "--trainer.max_epochs=1"]
    main(["fit", "-c", str(tiny), f"--data.data={data}", f"--run={told / 'run'}", *options])
    return told / "run"


def test_the_exported_program_takes_the_settings(run, told):
    assert main(["export", f"--run={run}"]) == 0
    program = torch.export.load(run / "model.pt2").module()
    volts = torch.randn(5, 512, 2) * 0.1
    settings = torch.tensor([[4.0], [9.0], [6.0], [torch.nan], [40.0]], dtype=torch.float64)
    said = program(volts, settings)
    model = load_module(run / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        wanted = model({"series": volts, "settings": settings.unsqueeze(1)})
    torch.testing.assert_close(said["estimate"], wanted.estimate)
    torch.testing.assert_close(said["error_bar"], wanted.error_bar)
    with pytest.raises(UserError, match=r"written for torch alone: --output=model\.pt2"):
        main(["export", f"--run={run}", f"--output={run / 'model.onnx'}"])


def test_in_python_settings_are_said_by_name(run):
    model = cres.load(run)
    volts = np.random.default_rng(0).normal(size=(3, 512, 2)) * 0.1
    cold, hot = (model(volts, settings={"noise_temperature_k": kelvin}) for kelvin in (4.0, 9.0))
    assert not np.allclose(cold["energy_ev"], hot["energy_ev"])
    assert model(volts, settings={"noise_temperature_k": [4.0, 4.0, 30.0]})["outside_settings"].tolist() == [
        False,
        False,
        True,
    ]
    assert not model(volts)["outside_settings"].any()  # not known
    with pytest.raises(UserError, match=r"no setting 'noise_temperature'.*noise_temperature_k"):
        model(volts, settings={"noise_temperature": 4.0})


def test_settings_in_python_are_one_or_one_a_record_and_finite(run):
    model = cres.load(run)
    volts = np.random.default_rng(0).normal(size=(3, 512, 2)) * 0.1
    for wrong, said in (
        ([4.0, 9.0], r"has the shape \(2,\); one number, or one for each of 3"),
        (np.inf, "is infinite; NaN says that it is not known"),
        ("cold", "holds what is no number"),
    ):
        with pytest.raises(UserError, match=f"the setting noise_temperature_k {said}"):
            model(volts, settings={"noise_temperature_k": wrong})
    kelvin = np.array([4.0, 9.0, 30.0])
    by_truth = model(volts, truth={"noise_temperature_k": kelvin})
    assert by_truth["noise_temperature_k"].tolist() == kelvin.tolist()
    assert (
        by_truth["energy_ev"].tolist() == model(volts, settings={"noise_temperature_k": kelvin})["energy_ev"].tolist()
    )
    both = model(volts, truth={"noise_temperature_k": kelvin}, settings={"noise_temperature_k": 4.0})
    assert both["noise_temperature_k"].tolist() == [4.0] * 3


def test_noise_is_that_of_each_row_in_whatever_data(run, told, monkeypatch):
    model = load_module(run / "checkpoints" / "best.ckpt")
    assert model.nominal_strength > 0
    seen = []
    corruption = type(model.corruption).forward

    def watched(self, inputs, masks, random, scale=1.0, judging=False, strength=None):
        changed = corruption(self, inputs, masks, random, scale, judging, strength)
        seen.append((changed["series"] - inputs["series"]).std(dim=(1, 2)))
        return changed

    monkeypatch.setattr(type(model.corruption), "forward", watched)
    stds = []
    for name in ("0", "1"):
        seen.clear()
        table = told / f"{name}.table"
        main(["predict", f"--run={run}", f"--data.data={told / name}.hdf5", f"--predictions={table}"])
        stds.append(float(torch.cat(seen).mean()))
    assert abs(stds[1] / stds[0] - 1.5) < 0.02  # the root of 9 K over 4 K, though each file is alone


def test_what_needs_the_whole_record_and_one_noise_says_so(run, told):
    with pytest.raises(UserError, match="told settings"):
        main(["predict", f"--run={run}", f"--data.data={told / '0.hdf5'}", "--chunk=64", "--predictions=none"])


def test_settings_and_denoising_do_not_go_together(told, tiny):
    options = ["--model.condition.settings=[noise_temperature_k]", "--model.denoising.view=spectrum"]
    with pytest.raises(UserError, match=r"leave it or model\.condition out"):
        main(["fit", "-c", str(tiny), f"--data.data={told / '0.hdf5'}", f"--run={told / 'no'}", *options])


def test_the_page_of_electrons_tells_it_what_the_table_was_told(run, told):
    data, table = told / "1.hdf5", told / "looked.hdf5"
    main(["predict", f"--run={run}", f"--data.data={data}", f"--predictions={table}"])
    whole = PredictionTable.read(table)
    kept = {name: values for name, values in whole.columns.items() if name not in schema.POSTERIOR_COLUMNS}
    model = load_module(run / "checkpoints" / "best.ckpt")
    bare = PredictionTable(kept, whole.attributes)
    pictures, posterior = record_pictures(bare, Source(open_records(data), 1.0, model))
    assert not [note for note in pictures.notes if "otherwise than the table" in note]
    np.testing.assert_allclose(posterior[schema.POSTERIOR_MEAN], whole.column(schema.POSTERIOR_MEAN), rtol=2e-3)


def test_what_it_is_not_told_of_another_apparatus_is_said(run, told, tiny, tmp_path):
    """The field of the files' own simulation: the model knows of none, then of one, and then meets another."""

    def stating(field_t: float) -> str:
        """Return the option that names copies of the files whose simulation says this field."""
        folder = tmp_path / f"{field_t}"
        folder.mkdir()
        for seed in range(2):
            with h5py.File(shutil.copy(told / f"{seed}.hdf5", folder), "a") as file:
                file.attrs["config"] = json.dumps({"trap": {"kind": "bathtub", "field_t": field_t}})
        return f"--data.data={folder}"

    same, other = stating(0.959), stating(0.9591)
    main(["predict", f"--run={run}", same, f"--predictions={tmp_path / 'unsaid'}"])  # its files stated nothing
    its = f"--run={tmp_path / 'run'}"
    told_kelvin = ["--model.condition.settings=[noise_temperature_k]", "--trainer.max_epochs=1"]
    main(["fit", "-c", str(tiny), same, its, *told_kelvin])
    main(["predict", same, its, f"--predictions={tmp_path / 'same'}"])
    assert PredictionTable.read(tmp_path / "same").attributes["apparatus_warning"] == ""
    with pytest.warns(UserWarning, match=r"not told \(field_t is 0\.9591, 0\.959 in the training\): expect a bias"):
        main(["predict", other, its, f"--predictions={tmp_path / 'other'}"])
    assert "field_t" in PredictionTable.read(tmp_path / "other").attributes["apparatus_warning"]
