"""Stages of the toy system: each chamber alone, their average, all together; finished parts are not done again."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cres.commands.stages import main as stages
from cres.errors import UserError
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.stages import run as running
from reconstruction.training.stages.line import Averaging, between, mean_of
from reconstruction.training.stages.plan import read_plan
from reconstruction.training.watching.quiet import QUIET

HERE = Path(__file__).parent
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]

STAGES = {
    "base": "told.yaml",
    "stages": {
        "apart": {"kind": "each", "options": {"trainer.max_epochs": 1}},
        "average": {"kind": "average", "from": "apart", "lines": 2, "points": 3},
        "together": {
            "kind": "train",
            "from": "average",
            "options": {
                "trainer.max_epochs": 2,
                "curriculum.difficulty.shape": "linear",
                "curriculum.difficulty_column": "stretch",
                "curriculum.easiest": "low",
            },
        },
        "scratch": {"kind": "train", "options": {"trainer.max_epochs": 2}},
    },
}
CONFIG = """
system: straight_lines
seed_everything: 1
trainer: {accelerator: cpu, enable_progress_bar: false}
data: {balanced: true}
model:
  encoders:
    points:
      class_path: reconstruction.models.ConvNetEncoder
      init_args: {width: 16, kernel_size: 1, stride: 1, downsample: [1]}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 16}}
  optimiser: {lr: 1.0e-2}
  condition: {settings: [stretch], log: [stretch]}
figures: {every_epochs: 0}
"""


@pytest.fixture(scope="module", autouse=True)
def lines():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("straight_lines")


@pytest.fixture(scope="module")
def folder(lines, tmp_path_factory) -> Path:
    """Three chambers, a file each, and the stages of them, interrupted once and gone on with."""
    folder = tmp_path_factory.mktemp("stages")
    for seed, stretch in enumerate((0.5, 1.0, 2.0)):
        lines.write(folder / f"{seed}.hdf5", 200 + 100 * seed, seed, stretch=stretch)
    (folder / "told.yaml").write_text(CONFIG)
    (folder / "stages.yaml").write_text(yaml.safe_dump(STAGES, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        begun: list[list[str]] = []

        def stopped(arguments: list[str]) -> int:
            begun.append(arguments)
            return 143 if len(begun) == 3 else main(arguments)

        patch.setattr(running, "main", stopped)
        assert command(folder, patch) == 143
        assert len(begun) == 3
        assert command(folder, patch) == 0
        assert len(begun) == 6  # the third again, then together and scratch
        assert command(folder, patch) == 0
        assert len(begun) == 6
    return folder


def command(folder: Path, patch: pytest.MonkeyPatch, *more: str) -> int:
    files = json.dumps([str(folder / f"{seed}.hdf5") for seed in range(3)])
    words = [str(folder / "stages.yaml"), f"--run={folder / 'run'}", f"--data.data={files}", *more]
    patch.setattr(sys, "argv", ["stages.py", *words])
    return stages()


def state(folder: Path, name: str) -> dict:
    return read_checkpoint(folder / "run" / name / "checkpoints" / "best.ckpt")["state_dict"]


def test_each_begins_with_one_initialisation_and_sees_its_own_chamber(folder):
    start = state(folder, "start")
    scaler = "reconstructor.target_scaler.shift"
    for place, rows in enumerate((120, 180, 240)):
        checkpoint = read_checkpoint(folder / "run" / "apart" / f"00{place}" / "checkpoints" / "best.ckpt")
        assert torch.equal(checkpoint["state_dict"][scaler], start[scaler])
        assert abs(checkpoint[CARD]["data"]["split"]["train"] - rows) < 30
        assert checkpoint[CARD]["settings"]["low"] == [0.5]  # it was standardised on all


def test_the_average_is_the_mean_of_the_weights_and_its_loss_is_told(folder):
    weight = "reconstructor.head.linear.weight"
    apart = torch.stack([state(folder, f"apart/00{place}")[weight] for place in range(3)])
    torch.testing.assert_close(state(folder, "average")[weight], apart.double().mean(dim=0).float())
    told = json.loads((folder / "run" / "average" / "finished.json").read_text())["averaging"]
    assert len(told["networks"]) == 3
    assert [len(line["losses"]) for line in told["lines"]] == [3, 3]
    assert told["averaging_loses"] == (told["average"] > np.median(told["networks"]))
    assert ("loses" if told["averaging_loses"] else "gains") in told["in_words"]


def test_no_row_of_the_joint_test_was_trained_on_alone(folder):
    cards = [
        read_checkpoint(folder / "run" / name / "checkpoints" / "best.ckpt")[CARD] for name in ("together", "average")
    ]
    assert not torch.isin(cards[0]["electrons"]["test"], cards[1]["electrons"]["train"]).any()
    assert len(cards[1]["electrons"]["train"]) > 500


def test_what_came_of_it_is_summed_up(folder):
    summary = json.loads((folder / "run" / "stages.json").read_text())
    assert list(summary) == ["apart", "average", "together", "scratch"]
    assert summary["apart"]["trainings"] == 3
    assert all(one["processor_s"] > 0 and np.isfinite(one["loss"]) for one in summary.values())


def test_the_loss_of_several_networks_is_their_median(folder, tmp_path, capsys):
    for place, loss in enumerate((16.0, 20.0, 1.1e7)):
        (tmp_path / "apart" / f"00{place}").mkdir(parents=True)
        finished = tmp_path / "apart" / f"00{place}" / running.FINISHED
        finished.write_text(json.dumps({"processor_s": 2.0, "loss": loss}))
    running.Stages(read_plan(folder / "stages.yaml"), tmp_path).write_summary()
    told = json.loads((tmp_path / running.SUMMARY).read_text())["apart"]
    assert (told["loss"], told["processor_s"]) == (20.0, 6.0)
    assert "median" in capsys.readouterr().out


def test_processes_that_read_data_count_as_processor_time():
    began = running._processor_s()
    work = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", work], check=True)
    assert running._processor_s() - began > 0.4


@pytest.mark.parametrize("stage", [(), ("--stage=together",), ("--stage=average",)])
def test_a_task_of_what_is_not_shared_out_is_refused_before_anything_starts(folder, tmp_path, monkeypatch, stage):
    with pytest.raises(UserError, match="--task shares out the trainings of one stage of kind each: name it"):
        command(folder, monkeypatch, *stage, "--task=0/2", f"--run={tmp_path / 'none'}")
    assert not (tmp_path / "none").exists()


def test_a_barrier_is_what_the_line_rises_above_its_ends():
    found = Averaging([1.0, 3.0], 5.0, [0.0, 0.5, 1.0], {(0, 1): [1.0, 5.0, 3.0]})
    assert found.barrier((0, 1)) == 3.0
    assert "averaging loses" in found.sentence
    assert Averaging([1.0, 3.0], 1.5, [0.0, 0.5, 1.0], {(0, 1): [1.0, 1.5, 3.0]}).barrier((0, 1)) == 0


def test_weights_of_other_shapes_have_no_average():
    one = {"weight": torch.zeros(2), "buffer": torch.ones(1)}
    with pytest.raises(UserError, match="differ in the shape of weight"):
        mean_of([one, {"weight": torch.zeros(3)}], ["weight"])
    assert between(one, {"weight": torch.ones(2)}, 0.25, ["weight"])["weight"].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": "nowhere.yaml"}, "nowhere.yaml does not exist"),
        ({"stages": {}}, "has no stages"),
        ({"stages": {"a": {"kind": "echo"}}}, "did you mean 'each'"),
        ({"stages": {"a": {"kind": "average", "from": "b"}}}, "averages networks of a stage before it"),
        ({"stages": {"a": {"kind": "train", "from": "b"}}}, "begins with 'b', which is neither start nor a stage"),
        ({"stages": {"a": {"kind": "train", "form": "b"}}}, "unknown key 'form'"),
        ({"stage": {}}, "unknown key 'stage'"),
    ],
)
def test_wrong_files_of_stages_are_refused(folder, tmp_path, change, said):
    (tmp_path / "told.yaml").write_text(CONFIG)
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump(STAGES | change))
    with pytest.raises(UserError, match=said):
        read_plan(tmp_path / "stages.yaml")


def test_a_stage_wants_what_it_begins_with(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="there is no stage 'later'"):
        command(folder, monkeypatch, "--stage=later")
    with pytest.raises(UserError, match=r"averages 3 networks, and .*apart/000 is not finished"):
        command(folder, monkeypatch, "--stage=average", f"--run={tmp_path}")
