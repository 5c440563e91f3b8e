"""Sweep files, and submit.sh without Slurm on a stand-in for the training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from shipped import sweep_files, wandb_files

from cres.errors import UserError
from reconstruction import sweeps

ROOT = Path(__file__).parents[1]
BASE = {"data": {"data": "records.hdf5"}, "model": {"optimiser": {"lr": 0.1}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and its data, in which the test works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "records.hdf5").touch()
    return tmp_path


def sweep_file(folder: Path, **content: object) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"base": "base.yaml", "axes": {"model.optimiser.lr": [1, 2]}, **content}))
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        sweeps.read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


# Points --------------------------------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_once_and_the_last_axis_is_fastest(folder: Path) -> None:
    sweep = sweeps.read(sweep_file(folder, axes={"a.x": [1, 2, 3], "b.y": ["u", "v"], "c.z": [True, None]}))
    points = [tuple(sweep.settings(index).values()) for index in range(len(sweep))]
    assert len(sweep) == 12
    assert len(set(points)) == 12
    assert points[:3] == [(1, "u", True), (1, "u", None), (1, "v", True)]


def test_keys_that_vary_together_make_one_axis(folder: Path) -> None:
    sweep = sweeps.read(sweep_file(folder, axes={"o.lr, o.ssm_lr": [[4e-3, 2e-3], [2e-3, 1e-3]], "o.wd": [0, 1]}))
    assert len(sweep) == 4
    assert sweep.settings(3) == {"o.lr": 2e-3, "o.ssm_lr": 1e-3, "o.wd": 1}


RANDOM_AXES = {
    "lr": {"low": 1e-4, "high": 1e-1, "scale": "log"},
    "depth": {"low": 2, "high": 5, "integer": True},
    "width": [32, 48],
}


@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
def test_random_points_lie_in_their_ranges_and_depend_on_seed_and_index_alone(seed: int, index: int) -> None:
    axes = {
        "lr": sweeps.Range(1e-4, 1e-1, logarithmic=True),
        "depth": sweeps.Range(2.0, 5.0, integer=True),
        "width": [32, 48],
    }
    sweep = sweeps.Sweep("s", Path("b"), "random", index + 1, seed, axes)
    point = sweep.settings(index)
    assert 1e-4 <= point["lr"] <= 1e-1
    assert point["depth"] in (2, 3, 4, 5)
    longer = sweeps.Sweep("s", Path("b"), "random", index + 9, seed, {"new": [1, 2], **axes})
    assert {key: value for key, value in longer.settings(index).items() if key != "new"} == point


def test_random_points_fill_their_ranges_evenly(folder: Path) -> None:
    sweep = sweeps.read(sweep_file(folder, method="random", points=2000, axes=RANDOM_AXES))
    points = [sweep.settings(index) for index in range(2000)]
    depths = Counter(point["depth"] for point in points)
    assert set(depths) == {2, 3, 4, 5}
    assert all(400 < count < 600 for count in depths.values())
    assert 0.45 < sum(point["lr"] < 10**-2.5 for point in points) / 2000 < 0.55


def test_a_plain_configuration_is_one_point_in_its_own_folder(folder: Path) -> None:
    place, options = sweeps.plan(Path("base.yaml"), 0, ["--trainer.max_epochs=2"])
    assert place == Path("runs/base")
    assert options == ["-c", "base.yaml", "--trainer.max_epochs=2", "--run=runs/base"]
    with pytest.raises(UserError, match="wants a sweep file"):
        sweeps.plan(Path("base.yaml"), 1)


def test_options_of_the_command_line_win_and_may_move_the_runs(folder: Path) -> None:
    path = sweep_file(folder, fixed={"model.loss": {"class_path": "x"}})
    place, options = sweeps.plan(path, 1, ["--run=elsewhere", "--model.optimiser.lr=9"])
    assert place == Path("elsewhere/001")
    assert options[2:] == [
        '--model.loss={"class_path": "x"}',
        "--model.optimiser.lr=2",
        "--model.optimiser.lr=9",
        "--run=elsewhere/001",
    ]


def test_mistakes_are_one_sentence_that_says_what_to_do(folder: Path) -> None:
    assert "'method'" in refused(sweep_file(folder, metod="grid"))
    assert "low < high" in refused(sweep_file(folder, method="random", points=3, axes={"a": {"low": 2, "high": 1}}))
    assert "'scale'" in refused(sweep_file(folder, method="random", points=3, axes={"a": {"scal": "log"}}))
    assert "method: random" in refused(sweep_file(folder, axes={"a": {"low": 1, "high": 2}}))
    assert "points" in refused(sweep_file(folder, method="random"))
    assert "counted from its axes" in refused(sweep_file(folder, points=3))
    assert "list of 2" in refused(sweep_file(folder, axes={"a, b": [[1, 2], [3]]}))
    assert "list of values" in refused(sweep_file(folder, axes={"a": 3}))
    assert "nothing.yaml" in refused(sweep_file(folder, base="nothing.yaml"))
    assert "configs/" in refused(folder / "none.yaml")
    (folder / "bad.yaml").write_text("a: [")
    assert "no YAML" in refused(folder / "bad.yaml")
    with pytest.raises(UserError, match="--array=0-1"):
        sweeps.plan(sweep_file(folder), 2)


def test_missing_data_are_named_before_anything_starts(folder: Path) -> None:
    path = sweep_file(folder)
    for words in (["--data.data=none.hdf5"], ["--data.data", "none.hdf5"], ["--data.data=[records.hdf5, none.hdf5]"]):
        with pytest.raises(UserError, match=r"no data none\.hdf5.*scripts/data_prep\.py"):
            sweeps.plan(path, 0, words)
    sweeps.plan(path, 0, ["--data.data=rec*.hdf5"])


# The files that come with the program --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_files_for_wandb_search_the_same_space(path: Path) -> None:
    sweep = sweeps.read(path)
    beside = path.parent / "wandb" / path.name
    if any("," in key for key in sweep.axes):
        with pytest.raises(UserError, match="together"):
            sweeps.wandb_file(path)
        assert not beside.exists()
        return
    relative = Path(os.path.relpath(path, ROOT))
    load = "from reconstruction.sweeps import *"
    text = subprocess.run(
        [sys.executable, "-c", f"{load}; print(wandb_file(Path({str(relative)!r})), end='')"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert beside.read_text() == text, f"python scripts/sweep.py wandb {relative}"
    content = yaml.safe_load(text)
    assert set(content["parameters"]) == {*sweep.axes, *sweep.fixed}
    assert content["command"][-1] == "${args}"


def test_the_agent_of_wandb_starts_a_run_in_a_folder_of_its_own(folder: Path) -> None:
    command = yaml.safe_load(sweeps.wandb_file(sweep_file(folder).relative_to(folder)))["command"]
    words = [word.replace("${env}", "/usr/bin/env") for word in command if word != "${args}"]
    (folder / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / "python").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "WANDB_RUN_ID": "abc"}
    said = subprocess.run([*words, "--model.optimiser.lr=1"], env=environment, capture_output=True, text=True)
    assert said.stdout.split() == ["cli.py", "fit", "-c", "base.yaml", "--run=runs/sweep/abc", "--model.optimiser.lr=1"]


@pytest.mark.parametrize("path", wandb_files(), ids=lambda path: path.stem)
def test_the_training_understands_what_the_agent_of_wandb_writes(path: Path) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    from reconstruction.training.command_line.sweep_check import check_points

    content = yaml.safe_load(path.read_text())
    start = content["command"][3].split()
    base = start[start.index("-c") + 1]
    points = []
    for place in (0, -1):
        drawn = {
            key: {"value": values["values"][place] if "values" in values else values.get("value", values.get("max"))}
            for key, values in content["parameters"].items()
        }
        points.append(["-c", str(ROOT / base), *create_sweep_command_args({"args": drawn})["args"]])
    assert points[0] != points[1]
    check_points(points)


@pytest.mark.parametrize("path", sweep_files(), ids=lambda path: path.stem)
def test_the_training_understands_every_point(path: Path) -> None:
    from reconstruction.training.command_line.sweep_check import check_points

    sweep = sweeps.read(path)
    count = 2 if sweep.method == "adaptive" else len(sweep)  # examples
    points = [sweep.arguments(index) for index in range(count)]
    check_points(points)
    with pytest.raises(UserError, match=r"point 1: .*'max_epochs'"):
        check_points([points[0], [*points[1], "--trainer.max_epoch=1"]])


# submit.sh without Slurm ---------------------------------------------------------------------------------------------

STAND_IN = """\
#!/usr/bin/env bash
# answers for cli.py: notes its words, makes what a training would leave behind; the rest is the real Python
case $1 in
  */sweep.py) exec {python} "$@" ;;
  */cli.py) ;;
  *) echo "$*" >>ran; exit 0 ;;
esac
echo "${{@:2}}" >>ran
for word; do case $word in --run=*) run=${{word#--run=}} ;; esac; done
[[ " $* " != *" --model.optimiser.lr=$FAIL_AT "* ]] || exit 1
if [[ $2 == fit ]]; then
  mkdir -p "$run/checkpoints"; touch "$run/checkpoints/last.ckpt"
  if [[ -n $SLOW ]]; then trap 'echo saved >>ran; exit 143' TERM; sleep 60 & wait; fi
else
  sleep 0.01; touch "$run/predictions.hdf5"
fi
exit "${{CODE:-0}}"
"""


@pytest.fixture
def python(folder: Path) -> Path:
    path = folder / "stand_in"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return path


def environment(python: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "CRES_"))}
    return {**plain, "CRES_PYTHON": str(python), "FAIL_AT": "", "SLOW": "", **more}


def submit(python: Path, *words: str, code: int = 0, **more: str) -> str:
    command = ["bash", str(ROOT / "submit.sh"), *words]
    done = subprocess.run(command, env=environment(python, **more), capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().splitlines() if (folder / "ran").exists() else []


def test_one_training_is_trained_then_tested_and_says_what_it_runs(folder: Path, python: Path) -> None:
    said = submit(python, "base.yaml", "--trainer.max_epochs=2")
    assert ran(folder) == ["fit -c base.yaml --trainer.max_epochs=2 --run=runs/base", "test --run=runs/base"]
    assert "cli.py fit -c base.yaml --trainer.max_epochs=2 --run=runs/base" in said
    assert (folder / "logs").is_dir()
    submit(python, "base.yaml")
    assert ran(folder)[2:] == ["fit -c base.yaml --run=runs/base", "test --run=runs/base"]


def test_a_sweep_runs_point_after_point_and_a_failed_one_alone_again(folder: Path, python: Path) -> None:
    path = sweep_file(folder, name="s", axes={"model.optimiser.lr": [1, 2, 3]})
    said = submit(python, path.name, code=2, FAIL_AT="2")
    assert "1 of 3 tasks failed: 1 " in said
    assert [line.split()[0] for line in ran(folder)] == ["fit", "test", "fit", "fit", "test"]
    submit(python, path.name)
    assert ran(folder)[5:] == ["fit -c base.yaml --model.optimiser.lr=2 --run=runs/s/001", "test --run=runs/s/001"]
    submit(python, path.name, CRES_TASKS="0-1")
    assert len(ran(folder)) == 7
    assert (folder / "runs/s/points").read_text() == "3\n"


def test_an_interrupted_point_goes_on_and_one_of_other_options_is_refused(folder: Path, python: Path) -> None:
    path = sweep_file(folder, name="s")
    submit(python, path.name, code=130, CODE="130")
    assert len(ran(folder)) == 1
    submit(python, path.name, CRES_TASKS="0")
    assert ran(folder)[1].endswith("--run=runs/s/000 --resume")
    assert "runs/s/000 was trained with other options" in submit(python, path.name, "--x=1", code=2, CRES_TASKS="0")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_missing_data_refuse_a_sweep_once_and_not_point_by_point(folder: Path, python: Path, jobs: str) -> None:
    path = sweep_file(folder, name="s", axes={"model.optimiser.lr": [1, 2, 3]})
    said = submit(python, path.name, "--data.data=none.hdf5", code=2, CRES_JOBS=jobs)
    assert said.splitlines() == [
        "error: there are no data none.hdf5: make them with scripts/data_prep.py, or name others by --data.data"
    ]
    assert not (folder / "runs").exists()


def test_points_run_several_at_a_time_with_a_log_each(folder: Path, python: Path) -> None:
    path = sweep_file(folder, name="s", axes={"model.optimiser.lr": [1, 2, 3, 4, 5]})
    said = submit(python, path.name, code=2, CRES_JOBS="2", FAIL_AT="3")
    assert "task 2 failed" in said
    assert {log.name for log in (folder / "logs").iterdir()} == {f"sweep-{i}.log" for i in range(5)}
    assert sum(line.startswith("test") for line in ran(folder)) == 4
    submit(python, path.name, CRES_JOBS="3")
    assert sum(line.startswith("test") for line in ran(folder)) == 5


def test_trainings_at_a_time_are_told_when_the_sweep_is_stopped(folder: Path, python: Path) -> None:
    path = sweep_file(folder, name="s", axes={"model.optimiser.lr": [1, 2, 3, 4]})
    command = ["bash", str(ROOT / "submit.sh"), path.name]
    process = subprocess.Popen(command, env=environment(python, CRES_JOBS="2", SLOW="1"))
    for _ in range(600):
        if len(list(folder.glob("runs/s/*/checkpoints/last.ckpt"))) == 2:
            break
        time.sleep(0.1)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert [line for line in ran(folder) if line == "saved"] == ["saved", "saved"]
    assert len([line for line in ran(folder) if line.startswith("fit")]) == 2


def test_scripts_run_as_numbered_tasks(folder: Path, python: Path) -> None:
    (folder / "prepare.py").touch()
    submit(python, "prepare.py", "--task", "{task}/{tasks}", "--output", "out{task}", CRES_TASKS="0-2")
    assert ran(folder) == [f"prepare.py --task {i}/3 --output out{i}" for i in range(3)]
    submit(python, "prepare.py", "--task", "{task}/{tasks}", CRES_TASKS="1", CRES_TASK_COUNT="3")
    assert ran(folder)[3:] == ["prepare.py --task 1/3"]
    assert "CRES_TASK_COUNT" in submit(python, "prepare.py", "{task}/{tasks}", code=2, CRES_TASKS="1")
    assert "CRES_TASKS" in submit(python, "prepare.py", "{task}", code=2)


def test_a_dry_run_prints_and_runs_nothing(folder: Path, python: Path) -> None:
    said = submit(python, sweep_file(folder).name, CRES_DRY_RUN="1")
    assert said.count("cli.py fit") == said.count("cli.py test") == 2
    assert not ran(folder)


def test_refusals_are_one_sentence(folder: Path, python: Path) -> None:
    for words, more, sentence in (
        ([], {}, "name a configuration"),
        (["configs/none.yaml"], {}, "there is no configs/none.yaml"),
        (["base.yaml", "--data.data=none.hdf5"], {}, "there are no data none.hdf5"),
        (["base.yaml"], {"CRES_SETUP": "none.sh"}, "CRES_SETUP names none.sh"),
        (["base.yaml"], {"CRES_PYTHON": "no_python"}, "there is no Python no_python"),
        (["base.yaml"], {"CRES_TASKS": "one"}, "CRES_TASKS is one"),
        (["base.yaml"], {"CRES_TASKS": "1"}, "wants a sweep file"),
        ([sweep_file(folder).name], {"CRES_TASKS": "2"}, "--array=0-1"),
    ):
        said = submit(python, *words, code=2, **more)
        assert said.count("error: ") == 1
        assert sentence in said
    assert not ran(folder)


def test_a_setup_file_is_read_first(folder: Path, python: Path) -> None:
    (folder / "setup.sh").write_text(
        textwrap.dedent(f"""\
        unset_name=$nothing
        export CRES_PYTHON={python}
    """)
    )
    submit(Path("python-that-is-not-there"), "base.yaml", CRES_SETUP="setup.sh")
    assert len(ran(folder)) == 2
