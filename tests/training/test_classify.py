"""The way of docs/howto/classify.md: records of all kinds are simulated, prepared, told apart, and reported."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from cres.commands.data_prep import main as prepare
from cres.commands.evaluate import main as evaluate
from cres.commands.simulate import main as simulate
from cres.data.records import open_records
from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.records.splits import split_by_event
from reconstruction.training.command_line.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"
NARROW = [f"--model.encoders.spectrum.init_args.{option}" for option in ("width=16", "depth=1", "state=8")]
QUICK = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--figures.every_epochs=0"]


def run(command, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["script", *map(str, arguments)])
        assert not command()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "kinds.yaml").write_text(
        (CONFIGS / "simulation" / "kinds.yaml").read_text() + "readout: {samples: 1024, noise_temperature_k: 0.5}\n"
    )
    run(simulate, "-c", folder / "kinds.yaml", "--events", 480, "--output", folder / "raw", "--workers", 1)
    run(prepare, "--input", folder / "raw", "--output", folder / "kinds.hdf5", "--workers", 1)
    return folder / "kinds.hdf5"


def test_empty_records_are_shared_out_among_training_and_test(data):
    """They are alike to the last bit, and yet not one record."""
    records = open_records([str(data)])
    kind, split = (
        records.scalar("record_kind"),
        split_by_event(records.event_ids, records.content_hashes(), (0.6, 0.2, 0.2), 0),
    )
    for part, share in ((split.train, 0.6), (split.validation, 0.2), (split.test, 0.2)):
        assert len(part) == pytest.approx(share * len(kind), abs=2)
        assert (kind[part] == 0).mean() == pytest.approx(0.25, abs=0.1)


def test_kinds_are_learned_and_reported(data, tmp_path):
    options = [f"--data.data={data}", f"--run={tmp_path / 'run'}", "--data.fractions=[0.6,0.2,0.2]"]
    fit = ["fit", "-c", str(CONFIGS / "classify.yaml"), *options, *NARROW, *QUICK, "--trainer.max_epochs=8"]
    assert main(fit) == 0
    assert main(["test", f"--run={tmp_path / 'run'}", *QUICK[:2]]) == 0
    table = PredictionTable.read(tmp_path / "run" / "predictions.hdf5")
    assert list(table.classes) == ["none", "one", "two", "scattered"]
    np.testing.assert_allclose(table.probabilities().sum(axis=1), 1, atol=1e-6)
    empty = table.truth("record_kind") == 0
    told = table.probabilities()[:, 0]
    assert told[empty].mean() > 0.8  # a line is there or not: the first that is learned
    assert told[~empty].mean() < 0.3
    whole = [f"--fine_tune.checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}", "--fine_tune.whole=true"]
    more = [*fit[:-1], f"--run={tmp_path / 'more'}", "--trainer.max_epochs=1", *whole]
    assert main(more) == 0
    assert main(["test", f"--run={tmp_path / 'more'}", *QUICK[:2]]) == 0
    assert PredictionTable.read(tmp_path / "more" / "predictions.hdf5").classes == table.classes
    turned = "--model.head.init_args.classes={one: 1, none: 0, two: 2, scattered: 3}"
    with pytest.raises(UserError, match="other classes apart"):
        main([*more, turned, f"--run={tmp_path / 'turned'}"])
    run(evaluate, tmp_path / "run" / "predictions.hdf5", "--output", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "probability_scattered" not in page
    assert "scattered" in page


def test_a_pre_trained_encoder_is_fine_tuned_for_it(data, tmp_path):
    pre = ["fit", "-c", str(CONFIGS / "pretrain.yaml"), f"--data.data={data}", f"--run={tmp_path / 'pre'}"]
    assert main([*pre, *NARROW, *QUICK, "--trainer.max_epochs=1"]) == 0
    options = [f"--data.data={data}", f"--run={tmp_path / 'run'}", "--trainer.max_epochs=1", *NARROW, *QUICK]
    tuned = [f"--fine_tune.checkpoint={tmp_path / 'pre' / 'checkpoints' / 'last.ckpt'}"]
    assert main(["fit", "-c", str(CONFIGS / "classify.yaml"), *options, *tuned, "--fine_tune.trainable_layers=0"]) == 0


def test_records_of_one_electron_have_no_kinds_to_learn(records, tmp_path):
    with pytest.raises(UserError, match=r"the data have no target record_kind|no columns record_kind"):
        main(["fit", "-c", str(CONFIGS / "classify.yaml"), f"--data.data={records}", f"--run={tmp_path}", *QUICK])
