"""Jets unlike the training: the distance is that of a loop, and a class that was left out lies farther away."""

from __future__ import annotations

import json
import sys

import h5py
import made_jets
import numpy as np
import pytest
from jet_trainings import SMALL, configuration

from collider.jets.command import main as jets_command
from collider.jets.judging.sources import open_run
from collider.jets.judging.unlike import EmbeddingDistance, UnlikeJets, unlike_jets
from collider.jets.learning.data import JetDataModule
from collider.jets.making.classes import LABELS, NAMES
from reconstruction.errors import UserError
from reconstruction.training.command_line.cli import main
from reconstruction.training.watching.quiet import QUIET

pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture(scope="module")
def without_one(jets, tmp_path_factory):
    """A short training of jets with one prong or two; those with three or four are left out."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("unlike")
    config = configuration("classify", folder)
    words = ["fit", "-c", config, f"--data.data={jets}", f"--run={folder / 'run'}"]
    kept = {name: code for code, name in enumerate(NAMES) if code % 4 < 2}
    left = ",".join(name for name in NAMES if name not in kept)
    classes = ",".join(f"{name}: {code}" for name, code in kept.items())
    main([*words, "--trainer.max_epochs=8", "--model.optimiser.lr=4e-3", f"--data.leave_out=[{left}]",
          f"--model.head.init_args.classes={{{classes}}}", "--model.ema_decay=0", *SMALL])  # fmt: skip
    return folder / "run"


def features(count, shift=0.0, seed=0, width=4):
    """Features of two classes, correlated, the second far from the first; those of other jets are shifted."""
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    mixing = np.random.default_rng(9).normal(size=(width, width))
    return random.normal(size=(count, width)) @ mixing + 30.0 * classes[:, None] + shift, classes


def test_the_distance_is_that_of_a_loop():
    """Solved jet by jet and class by class; whatever basis the features are in, it is the same."""
    pytest.importorskip("sklearn")
    known, classes = features(4000)
    measure = EmbeddingDistance.fit(known, classes)
    found = measure.of(known[:9])
    for row, distance in zip(known[:9], found, strict=True):
        squares = [(row - mean) @ np.linalg.solve(measure.covariance, row - mean) for mean in measure.means]
        assert distance == pytest.approx(np.sqrt(min(squares)))
    # in as many dimensions the mean square is their number
    assert np.mean(measure.of(known) ** 2) == pytest.approx(4, rel=0.1)
    np.testing.assert_allclose(measure.means[1], known[classes == 1].mean(axis=0))


def test_what_lies_elsewhere_is_farther_away():
    """And what does not is not: the area is one half."""
    pytest.importorskip("sklearn")
    measure = EmbeddingDistance.fit(*features(400))
    away, same = measure.of(features(300, 12.0, 1)[0]), measure.of(features(300, 0.0, 2)[0])
    known = measure.of(features(300, 0.0, 3)[0])
    for other, expected in ((away, 0.98), (same, 0.5)):
        new = np.repeat([False, True], 300)
        jets = UnlikeJets(np.arange(600), np.where(new, 8, 0), new, np.concatenate([known, other]), 5.0)
        area = jets.areas()["all"]
        assert area.value == pytest.approx(expected, abs=0.05)
        assert jets.areas()["Tbqq"].value == area.value
    assert not UnlikeJets(np.arange(30), np.zeros(30), np.arange(30) < 5, np.arange(30.0), 1.0).areas()


def test_a_class_left_out_is_in_the_test_split_alone(jets):
    whole = JetDataModule(str(jets))
    without = JetDataModule(str(jets), leave_out=("Tbqq",))
    code = whole.records.scalar("jet_class")
    assert 8 not in code[without.split.train]
    assert 8 not in code[without.split.validation]
    np.testing.assert_array_equal(without.split.test, whole.split.test)
    assert len(without.split.train) < len(whole.split.train)
    with pytest.raises(UserError, match=r"data\.leave_out names 'Tbq', which is no class of jets .did you mean 'Tbqq'"):
        JetDataModule(str(jets), leave_out=("Tbq",))


def test_classes_that_were_left_out_are_unlike(without_one, jets, tmp_path, monkeypatch, capsys):
    """The area is above one half by more than chance; other files join the new jets; all of it is in two files."""
    other = made_jets.write(tmp_path / "other.hdf5", 40, seed=5, label_QCD=np.ones(40), **{
        one: np.zeros(40) for one in LABELS if one != "label_QCD"
    })  # fmt: skip
    words = ["--unlike", str(without_one), str(other), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["jets.py", *words])
    assert jets_command() == 0
    assert "area under the curve, all" in capsys.readouterr().out
    kept = json.loads((tmp_path / "unlike.json").read_text())
    with h5py.File(tmp_path / "unlike.hdf5") as file:
        new, distance = file["new"][:], file["distance"][:]
        assert len(new) == 130
        assert new[-40:].all()
        np.testing.assert_array_equal(new[:90], file["jet_class"][:90] % 4 >= 2)
        assert kept["beyond"]["new"] == pytest.approx(np.mean(distance[new] > file.attrs["threshold"]))
    found = unlike_jets(open_run(without_one))
    area = found.areas()["all"]
    assert area.value > 0.6
    np.testing.assert_allclose(found.distance, distance[:90], rtol=1e-5)


def test_jets_that_were_learned_are_not_new(without_one, jets):
    with pytest.raises(UserError, match="are jets that the run was trained on: name other files"):
        unlike_jets(open_run(without_one), [str(jets)])


def test_a_folder_that_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match="none"):
        open_run(tmp_path / "none")
