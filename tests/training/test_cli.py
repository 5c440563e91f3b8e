"""The command line as a user meets it: what it writes, and what it says about mistakes."""

import json

import h5py
import numpy as np
import pytest
import torch
import yaml
from shipped import configurations

from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.training.command_line.arguments import configs_first
from reconstruction.training.command_line.cli import CommandLine, main
from reconstruction.training.runs.loading import load_module, load_reconstructor


def refused(*arguments: str) -> str:
    with pytest.raises(UserError) as error:
        main(arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("fit", "validate", "test", "predict", "export"))


def test_mistakes_name_the_nearest_thing_that_exists(tiny, records):
    config = ["-c", str(tiny)]
    encoder = "--model.encoders.spectrum"
    assert "'predict'" in refused("predikt")
    assert "configs/" in refused("fit", "-c", "configs/nothing.yaml")
    assert "-c configs/s4d.yaml" in refused("fit")
    assert "'model'" in refused("fit", *config, "--modle.seed=1")
    assert "'max_epochs'" in refused("fit", *config, "--trainer.max_epoch=1")
    assert "'width'" in refused("fit", *config, f"{encoder}.widht=3")
    assert "'S4DEncoder'" in refused("fit", *config, f"{encoder}.class_path=reconstruction.models.S4DEncodr")
    assert "width" in refused("fit", *config, f"{encoder}.width=wide")
    assert "PYTHONPATH" in refused("fit", *config, f"{encoder}.class_path=nowhere_parts.Mine")


def test_mistakes_in_a_file_name_the_nearest_key(tiny, tmp_path):
    text = tiny.read_text()
    for wrong, right in (("ema_decay", "ema_deca"), ("max_epochs", "max_epoch"), ("curriculum", "curiculum")):
        path = tmp_path / f"{right}.yaml"
        path.write_text(text.replace(wrong, right))
        assert f"'{wrong}'" in refused("fit", "-c", str(path))


def test_options_override_files_wherever_they_stand():
    given = ["--a=1", "-c", "one.yaml", "--b", "2", "--config=two.yaml"]
    assert configs_first(given) == ["-c", "one.yaml", "--config=two.yaml", "--a=1", "--b", "2"]


def test_missing_data_names_the_command_that_makes_them(tiny, tmp_path):
    message = refused("fit", "-c", str(tiny), f"--data.data={tmp_path / 'none.hdf5'}", f"--run={tmp_path}")
    assert "scripts/data_prep.py" in message


def test_the_model_of_a_checkpoint_cannot_be_overridden(trained):
    assert "checkpoint" in refused("test", f"--run={trained}", "--model.ema_decay=0.5")


def test_a_missing_checkpoint_names_the_command_that_makes_it(tiny, records, tmp_path):
    assert "cli.py fit" in refused("test", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}")
    assert "--resume" in refused("fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--resume")


def test_a_run_folder_has_everything(trained):
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*")}
    assert {"config.yaml", "environment.json", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= names
    assert "figures/validation_0003.png" in names
    assert json.loads((trained / "environment.json").read_text())[0]["git_commit"]
    header = (trained / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"step", "val/loss", "val/energy_sigma68_eV", "val/coverage", "train/noise_scale"} <= set(header)


def test_a_null_is_kept_where_it_is_not_the_default(fit, tmp_path):
    """A view of the whole spectrum came back from its checkpoint as one of the default band."""
    fit(tmp_path, "--model.views.spectrum.init_args.band_hz=null", "--trainer.max_epochs=1")
    view = load_module(tmp_path / "checkpoints" / "best.ckpt").reconstructor.views["spectrum"]
    assert view.band_hz == (-201.5e6, 201.5e6)
    stored = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert stored["model"]["views"]["spectrum"]["init_args"]["band_hz"] is None


def test_test_writes_the_table_of_the_test_split(trained, records):
    assert main(["test", f"--run={trained}"]) == 0
    table = PredictionTable.read(trained / "predictions.hdf5")
    assert table.targets == ("energy_ev", "pitch_angle_deg")
    assert len(table) == 19
    assert {"energy_std_ev", "true_energy_ev", "true_radius_m", "avg_axial_frequency_hz", "outside_range"} <= set(
        table.columns
    )
    assert table.attributes["seconds_per_electron"] > 0


@pytest.mark.parametrize("more", [[], ["--windows=512"], ["--chunk=64"]])
def test_an_empty_test_split_is_one_sentence(trained, more):
    assert "test split is empty" in refused("test", f"--run={trained}", "--data.fractions=[0.8,0.2,0]", *more)


def test_validate_agrees_with_the_last_line_of_the_metrics(trained, capsys):
    main(["validate", f"--run={trained}", "--ckpt_path=best"])
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("loss", "energy")))
    losses = [line.split(",") for line in (trained / "metrics.csv").read_text().splitlines()]
    column = losses[0].index("val/loss")
    best = min(float(row[column]) for row in losses[1:] if row[column])
    assert float(printed["loss"]) == pytest.approx(best, rel=1e-5)


def test_scores_do_not_depend_on_batches_or_workers(trained, tmp_path):
    tables = []
    for name, options in (("a", []), ("b", ["--data.batch_size=7"]), ("c", ["--data.workers=1"])):
        main(["test", f"--run={trained}", f"--predictions={tmp_path / name}", *options])
        tables.append(PredictionTable.read(tmp_path / name))
    for table in tables[1:]:
        np.testing.assert_array_equal(table.event_id, tables[0].event_id)
        np.testing.assert_allclose(table.columns["energy_ev"], tables[0].columns["energy_ev"], rtol=1e-6)


def test_predict_needs_no_truth_and_flags_what_lies_outside(trained, make_records, tmp_path):
    unlabelled = make_records(tmp_path / "unlabelled.hdf5", 20, labelled=False, seed=1)
    out = tmp_path / "p.hdf5"
    with pytest.warns(UserWarning, match="noise of 0.00.* V .*noise_scale"):  # none is in these records
        main(["predict", f"--run={trained}", f"--data.data={unlabelled}", f"--predictions={out}", "--noise_scale=0.0"])
    table = PredictionTable.read(out)
    assert len(table) == 20
    assert not any(name.startswith("true_") for name in table.columns)
    assert table.columns["outside_range"].dtype == bool


def test_predict_refuses_another_read_out(trained, make_records, tmp_path):
    other = make_records(tmp_path / "other.hdf5", 20, lo_frequency_hz=25.9e9)
    assert "local oscillator" in refused("predict", f"--run={trained}", f"--data.data={other}")
    other = make_records(tmp_path / "another.hdf5", 20, sampling_rate_hz=200e6)
    assert "sampling rate" in refused("predict", f"--run={trained}", f"--data.data={other}")
    assert "sampling rate" in refused("predict", f"--run={trained}", "--data.band_hz=[-80e6,-45e6]")


def test_predict_says_that_another_length_biases(trained, tmp_path):
    out = f"--predictions={tmp_path / 'p.hdf5'}"
    with pytest.warns(
        UserWarning, match=r"trained on: 256 samples \(512 in training\).* expect a bias .*data.window_samples"
    ):
        main(["predict", f"--run={trained}", "--data.window_samples=256", out])


def test_export_gives_the_same_numbers_from_raw_volts(trained, tmp_path):
    main(["export", f"--run={trained}", f"--output={tmp_path / 'model.pt2'}"])
    program = torch.export.load(tmp_path / "model.pt2").module()
    volts = 0.1 * torch.randn(5, 512, 2)
    with torch.no_grad():
        distribution = load_reconstructor(trained / "checkpoints" / "best.ckpt")(volts)
        found = program(volts)
    torch.testing.assert_close(found["estimate"], distribution.estimate, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found["covariance"], distribution.error_covariance, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["quantiles"][..., 1], distribution.quantile(0.05), rtol=1e-6, atol=1e-4)
    card = (tmp_path / "model.md").read_text()
    assert "403 MHz" in card
    assert "electrons of records.hdf5\n" in card
    assert "energy (eV): 185" in card


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("[enforce fail] can't allocate memory")]
)
def test_out_of_memory_says_what_to_lower(monkeypatch, tiny, records, tmp_path, error):
    def exhausted(self):
        raise error

    monkeypatch.setattr(CommandLine, "execute", exhausted)
    assert "data.batch_size" in refused("fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}")


def test_a_new_training_keeps_the_checkpoints_of_an_earlier_one(fit, tmp_path, capsys):
    fit(tmp_path, "--trainer.max_epochs=1")
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    fit(tmp_path, "--trainer.max_epochs=1")
    assert "earlier training" in capsys.readouterr().err
    assert (tmp_path / "earlier.1/checkpoints/last.ckpt").read_bytes() == before
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    # without validation there is no best checkpoint, and the last one serves
    assert main(["test", f"--run={tmp_path}"]) == 0


def test_loss_that_is_not_finite_names_batch_and_electrons(tiny, make_records, tmp_path):
    broken = make_records(tmp_path / "broken.hdf5")

    with h5py.File(broken, "r+") as file:
        file["output_ts_I"][:, 3] = np.nan
    message = refused("fit", "-c", str(tiny), f"--data.data={broken}", f"--run={tmp_path / 'run'}")
    assert "epoch 1, batch 1 (event_id" in message
    assert "and 24 more): the records of event_id [" in message
    assert "prepare the data again" in message


def test_a_training_that_diverges_is_told_what_to_lower_and_what_is_kept(tiny, records, tmp_path):
    options = ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--trainer.gradient_clip_val=0"]
    message = refused("fit", *options, "--model.optimiser.lr=1e30")
    assert "the records are finite, so the training diverged: lower model.optimiser.lr" in message
    # a state of the first step is no good one to name unless it is there
    assert ("the last good state is" in message) == (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_every_configuration_of_the_repository_is_understood(records, tmp_path):
    for path in configurations():
        if path.stem == "classify":  # its target is another; test_classify.py trains with it
            continue
        cli = CommandLine("fit", ["-c", str(path), f"--data.data={records}", f"--run={tmp_path / path.stem}"])
        assert cli.model.reconstructor.targets[:2] == ("energy_eV", "pitch_angle_deg"), path  # radii behind, in some


def test_records_in_another_unit_are_noticed(trained, make_records, tmp_path):
    millivolts = make_records(tmp_path / "millivolts.hdf5", 20, seed=2)
    with h5py.File(millivolts, "r+") as file:
        for name in ("output_ts_I", "output_ts_Q"):
            file[name][...] = 1000 * file[name][...]
    out = f"--predictions={tmp_path / 'p.hdf5'}"
    with pytest.warns(UserWarning, match="unit"):
        main(["predict", f"--run={trained}", f"--data.data={millivolts}", out])


def test_a_run_folder_that_cannot_be_written_is_one_sentence(tiny, records):
    with pytest.raises(UserError, match=r"the run's folder /proc/run cannot be written .*--run"):
        main(["fit", "-c", str(tiny), f"--data.data={records}", "--run=/proc/run"])


def test_what_went_wrong_between_two_looks_is_never_saved(tiny, records, tmp_path):
    """Losses are looked at on logged steps; a checkpoint that falls between two of them looks first."""
    options = ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--trainer.gradient_clip_val=0"]
    rarely = ["--trainer.log_every_n_steps=1000", "--checkpoint.every_steps=4", "--model.optimiser.lr=1e30"]
    message = refused("fit", *options, *rarely)
    assert "the training diverged" in message
    assert "epoch 1, batch " in message
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))
