"""Adaptive sweeps: points from a study that several processes share, found again after an interruption."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cres.errors import UserError
from reconstruction import studies, sweeps

ROOT = Path(__file__).parents[1]
AXES = {
    "model.optimiser.lr": {"low": 1e-4, "high": 1e-1, "scale": "log"},
    "model.encoders.s.init_args.depth": {"low": 2, "high": 5, "integer": True},
    "a.x, a.y": [[1, 2], [3, 4]],
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file in a folder with a configuration and its data, in which the test works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"data": {"data": "records.hdf5"}}))
    (tmp_path / "records.hdf5").touch()
    return write(tmp_path)


def write(folder: Path, **content: object) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": "base.yaml", "method": "adaptive", "points": 8, "axes": AXES, **content}))
    return path


def values(options: list[str]) -> dict[str, str]:
    return dict(option.lstrip("-").split("=", 1) for option in options if "=" in option)


def test_a_point_has_its_values_for_good_and_tells_the_training_where_to_report(path: Path) -> None:
    folder, options = sweeps.plan(path, 3, ["--trainer.max_epochs=2"])
    said = values(options)
    assert folder == Path("runs/sweep/003")
    assert 1e-4 <= float(said["model.optimiser.lr"]) <= 1e-1
    assert said["model.encoders.s.init_args.depth"] in "2345"
    assert (said["a.x"], said["a.y"]) in (("1", "2"), ("3", "4"))
    assert said["study.journal"] == "runs/sweep/study.log"
    assert said["study.point"] == "3"
    assert options[-2:] == ["--trainer.max_epochs=2", "--run=runs/sweep/003"]
    assert sweeps.plan(path, 3, ["--trainer.max_epochs=2"]) == (folder, options)
    assert values(sweeps.plan(path, 4)[1])["model.optimiser.lr"] != said["model.optimiser.lr"]
    assert len(studies.load(Path("runs/sweep/study.log")).trials) == 2


def test_looking_at_a_sweep_asks_for_nothing(path: Path) -> None:
    sweeps.plan(path, 0, ask=False)
    sweeps.read(path).settings(5)
    assert not Path("runs").exists()


def test_processes_that_ask_at_once_share_one_study(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cres import sweeps\n"
        "for i in sys.argv[1:]: sweeps.plan(Path('sweep.yaml'), int(i))"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", code, *points], stderr=subprocess.PIPE, text=True)
        for points in (("0", "2", "4", "6"), ("1", "3", "5", "7"))
    ]
    for process in several:
        assert process.communicate(timeout=240)[1] == ""
        assert process.returncode == 0
    trials = studies.load(Path("runs/sweep/study.log")).trials
    assert sorted(trial.user_attrs[studies.POINT] for trial in trials) == list(range(8))
    assert len({trial.params["model.optimiser.lr"] for trial in trials}) == 8


def test_later_points_follow_what_earlier_ones_found(path: Path) -> None:
    write(path.parent, points=60, axes={"lr": {"low": 0.0, "high": 1.0}})
    for index in range(40):
        lr = float(values(sweeps.plan(path, index)[1])["lr"])
        trial = studies.trial_of(studies.load(Path("runs/sweep/study.log")), index)
        trial.report((lr - 0.2) ** 2, 1)
        studies.tell(trial, "complete")
    drawn = [float(values(sweeps.plan(path, index)[1])["lr"]) for index in range(40)]
    early = sum(abs(lr - 0.2) for lr in drawn[:8]) / 8
    assert sum(abs(lr - 0.2) for lr in drawn[25:]) / 15 < 0.5 * early


def test_a_study_of_other_axes_is_one_sentence(path: Path) -> None:
    sweeps.plan(path, 0)
    write(path.parent, axes=AXES | {"model.optimiser.lr": {"low": 1e-5, "high": 1e-1, "scale": "log"}})
    with pytest.raises(
        UserError, match=r"study\.log is a study of other axes \(model\.optimiser\.lr was .*another name"
    ):
        sweeps.plan(path, 1)
    write(path.parent, axes=AXES | {"model.new": [1, 2]})
    with pytest.raises(UserError, match=r"does not vary model\.new"):
        sweeps.plan(path, 1)
    # more points are no other study
    write(path.parent, points=20)
    sweeps.plan(path, 12)


def test_a_file_that_is_no_study_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study"):
        studies.load(tmp_path / "study.log")


def test_without_optuna_it_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"needs Optuna: pip install .*\[sweeps\]"):
        sweeps.plan(path, 0)
    sweeps.plan(path, 0, ask=False)


def test_mistakes_in_the_file_are_one_sentence(path: Path) -> None:
    def refused(**content: object) -> str:
        with pytest.raises(UserError) as error:
            sweeps.read(write(path.parent, **content))
        return str(error.value)

    assert "wants `points`" in refused(points=None)
    assert "wants `points`" in refused(points=True)
    assert "a list of values, not a range" in refused(axes={"a.x, a.y": {"low": 1, "high": 2}})
    assert "val/energy_sigma68_eV" in refused(axes={"model.head.init_args.components": [1, 2]})
    fixed = {"checkpoint.monitor": "val/energy_sigma68_eV"}
    sweeps.read(write(path.parent, axes={"model.head.init_args.components": [1, 2]}, fixed=fixed))
    with pytest.raises(UserError, match="--array=0-7"):
        sweeps.plan(write(path.parent), 8)


STAND_IN = """\
#!/usr/bin/env bash
# answers for cli.py: makes what a training would leave behind; sweep.py is the real one
case $1 in */sweep.py) exec {python} "$@" ;; esac
echo "${{@:2}}" >>ran
for word; do case $word in --run=*) run=${{word#--run=}} ;; esac; done
mkdir -p "$run/checkpoints"; touch "$run/checkpoints/last.ckpt"
echo "study: {{journal: x}}" >"$run/config.yaml"
if [[ $2 == fit && $run == *001 ]]; then echo "pruned after epoch 3" >"$run/pruned"; fi
if [[ $2 == test ]]; then sleep 0.01; touch "$run/predictions.hdf5"; fi
"""


def test_submit_runs_it_tests_what_was_not_pruned_and_makes_the_summary(path: Path) -> None:
    write(path.parent, points=2)
    stand_in = path.parent / "stand_in"
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "CRES_"))}

    def submit(**more: str) -> str:
        environment = {**plain, "CRES_PYTHON": str(stand_in), **more}
        command = ["bash", str(ROOT / "submit.sh"), "sweep.yaml"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    submit(CRES_DRY_RUN="1")
    assert not Path("runs/sweep/study.log").exists()
    said = submit()
    words = Path("ran").read_text()
    assert [line.split()[0] for line in words.splitlines()] == ["fit", "test", "fit"]
    assert "--study.journal=runs/sweep/study.log --study.point=1" in words
    assert Path("runs/sweep/summary.html").exists()
    assert "summary: runs/sweep/summary.html" in said.replace("\n", " ")
    said = submit()
    assert "runs/sweep/000 is finished" in said
    assert "runs/sweep/001: pruned after epoch 3" in said
    assert Path("ran").read_text() == words
