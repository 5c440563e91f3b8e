"""A training that is a point of an adaptive sweep: it reports, and is ended where the others are better."""

from pathlib import Path

import pytest
import yaml

from cres.errors import UserError
from reconstruction import studies, sweeps
from reconstruction.judging.sweeps.runs import read_run
from reconstruction.training.command_line.cli import main


@pytest.fixture
def sweep(tiny, records, tmp_path, monkeypatch) -> Path:
    """A sweep of which four points are finished, with losses that no training of an epoch reaches."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    axes = {"model.optimiser.lr": {"low": 1e-4, "high": 1e-3}}
    content = {"base": str(tiny), "method": "adaptive", "points": 9, "axes": axes, "fixed": {"data.data": str(records)}}
    path.write_text(yaml.safe_dump(content))
    for index in range(4):
        sweeps.plan(path, index)
        trial = studies.trial_of(studies.load(Path("runs/sweep/study.log")), index)
        for epoch in (1, 2, 3):
            trial.report(-100.0 - index, epoch)
        studies.tell(trial, "complete")
    return path


def trial_of(index: int):
    trials = studies.load(Path("runs/sweep/study.log")).trials
    return next(trial for trial in trials if trial.user_attrs[studies.POINT] == index)


def state(index: int) -> str:
    return trial_of(index).state.name


def test_a_point_behind_the_others_is_ended_early_and_says_so(sweep, capsys):
    folder, options = sweeps.plan(sweep, 4, ["--study.warmup_epochs=1"])
    assert main(["fit", *options]) == 0
    assert "pruned after epoch 2 of 3: val/loss stayed above" in capsys.readouterr().err
    assert (folder / "pruned").read_text().startswith("pruned after epoch 2")
    assert (folder / "checkpoints" / "best.ckpt").exists()
    assert state(4) == "PRUNED"
    run = read_run(folder)
    assert run.is_pruned
    assert run.is_over
    assert run.status.startswith("pruned")


def test_one_that_may_not_be_pruned_reports_every_epoch_and_its_best(sweep):
    folder, options = sweeps.plan(sweep, 5, ["--study.prune=false"])
    assert main(["fit", *options]) == 0
    assert state(5) == "COMPLETE"
    trial = trial_of(5)
    losses = read_run(folder).history["val/loss"][1]
    assert [trial.intermediate_values[epoch] for epoch in (1, 2, 3)] == pytest.approx(list(losses))
    assert trial.value == pytest.approx(min(losses))
    # a point that is told already goes on without the study, which keeps what it was told
    assert main(["fit", f"--run={folder}", "--resume", "--trainer.max_epochs=4"]) == 0
    assert trial_of(5).value == trial.value


def test_a_point_that_diverges_is_told_as_failed(sweep):
    _, options = sweeps.plan(sweep, 6, ["--model.optimiser.lr=1e30", "--trainer.gradient_clip_val=0"])
    with pytest.raises(UserError, match="diverged"):
        main(["fit", *options])
    assert state(6) == "FAIL"


def test_a_point_that_the_study_does_not_know_is_one_sentence(sweep, tiny, records, tmp_path):
    options = ["-c", str(tiny), f"--data.data={records}", f"--run={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="knows no point 7"):
        main(["fit", *options, "--study.journal=runs/sweep/study.log", "--study.point=7"])
    with pytest.raises(UserError, match="there is no study"):
        main(["fit", *options, "--study.journal=nowhere.log"])
