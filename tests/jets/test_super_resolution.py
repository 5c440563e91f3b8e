"""Jets that are given back from their hardest particles: what is learned, what is refused, and how it is judged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import made_jets
import numpy as np
import pytest
import torch
from jet_trainings import DRAWING
from scipy.stats import wasserstein_distance

from collider.jets.judging.report import judge
from collider.jets.judging.sources import JetRun, open_run
from collider.jets.judging.super_resolution import (
    ClassMean,
    copied,
    judged_super_resolution,
    super_resolution_figures,
)
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawn import drawn_like, generation_of
from collider.jets.learning.super_resolution import JetSuperResolutionOptions
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import DeepSetEncoder
from collider.jets.quantities import JetArrays
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.errors import UserError
from reconstruction.models import GaussianHead
from reconstruction.random.keyed import KeyedRandom
from reconstruction.training.command_line.cli import main
from reconstruction.training.network.reconstructor import build_reconstructor
from reconstruction.training.watching.quiet import QUIET

CONFIG = str(Path(__file__).parents[2] / "configs/jets/superresolve.yaml")
SEEN = 8
SMALL = [
    *DRAWING,
    "--trainer.max_epochs=6",
    "--data.particles=20",
    f"--model.super_resolution.seen={SEEN}",
    "--model.super_resolution.width=16",
    "--model.super_resolution.depth=1",
    "--model.super_resolution.number_width=32",
]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


def arrays(count, seed=0):
    particles, _, columns = made_jets.particles(count, seed, 16)
    return JetArrays(particles.numpy(), columns["jet_nparticles"]), np.arange(count) % 10


# Trainings ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def completing(jets, tmp_path_factory):
    """A short training."""
    run = tmp_path_factory.mktemp("superresolve") / "run"
    main(["fit", "-c", CONFIG, f"--data.data={jets}", f"--run={run}", *SMALL])
    return open_run(run).module


def test_a_run_is_judged_beside_its_rivals(completing, tmp_path):
    run = JetRun(tmp_path / "run", completing)
    said = judge([run], tmp_path)
    head = said.splitlines()[0]
    assert head.split() == ["jets", "completed", "run", "copied", "class", "mean"]
    found = json.loads((tmp_path / "jets.json").read_text())["super_resolution"]["run"]
    wanted = judged_super_resolution(completing, run.data)
    assert {name: {key: one["value"] for key, one in figures.items()} for name, figures in found.items()} == wanted
    assert (tmp_path / "jets.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def held_back(jets):
    """The data that it was tried on."""
    return JetDataModule(str(jets), targets=("jet_genmass",), particles=20)


def test_what_is_seen_stays_and_the_rest_is_like_what_was_hidden(completing, held_back):
    rows = held_back.split.test
    made, true = drawn_like(completing, held_back, rows, 1), JetArrays.of(held_back.records, rows)
    np.testing.assert_array_equal(made.hardest(SEEN).particles, true.hardest(SEEN).particles)
    small = true.lengths < SEEN
    assert small.any()
    np.testing.assert_array_equal(made.lengths[small], true.lengths[small])
    assert (made.lengths[~small] >= SEEN).all()
    assert (np.diff(made.pt_gev, axis=1) <= 1e-4).all()
    found = judged_super_resolution(completing, held_back)
    assert list(found) == ["made", "copied", "class_mean"]
    assert found["made"]["pt_emd_gev"] < found["copied"]["pt_emd_gev"]
    assert abs(found["made"]["multiplicity_bias"]) < 0.5 * abs(found["copied"]["multiplicity_bias"])


def test_what_is_hidden_is_not_looked_at(completing, held_back):
    """Nor how much of it there is: of jets with all that is seen the same are made."""
    records = held_back.records
    rows = np.flatnonzero(records.lengths > SEEN + 2)[:6]
    particles, lengths = torch.from_numpy(records.particles[rows]), torch.from_numpy(records.lengths[rows])
    task = completing.super_resolution
    whole = task.complete(particles, lengths, seed=2)
    other = particles.clone()
    other[:, SEEN:] *= 0.1
    assert torch.equal(task.complete(other, lengths - 1, seed=2).particles, whole.particles)
    assert torch.equal(task.complete(particles[:, :SEEN], lengths.clamp(max=SEEN), seed=2).particles, whole.particles)
    assert not torch.equal(task.complete(particles, lengths, seed=3).particles, whole.particles)


def test_training_tells_the_flows_of_no_particle_that_is_hidden(completing, held_back, monkeypatch):
    """Hidden particles are what is to be drawn: nothing that the flows are given may change with them."""
    task, batch = completing.super_resolution, next(iter(held_back.val_dataloader()))
    given = []
    for flow, loss in ((task.count, "misfit"), (task.flow, "misfits")):
        learned = getattr(flow, loss)
        monkeypatch.setattr(flow, loss, lambda *told, loss=learned: given.append(told[1]) or loss(*told))
    other = batch["inputs"]["particles"].clone()
    other[:, SEEN:] *= 0.5
    random = KeyedRandom(0, 0, batch["event_id"])
    losses = [
        float(task.objective(completing.reconstructor, one, one, random).detach())
        for one in (batch, batch | {"inputs": {"particles": other}})
    ]
    assert losses[0] != losses[1]  # the hidden ones were changed
    (jet, asked), (jet_again, asked_again) = given[:2], given[2:]
    torch.testing.assert_close(jet_again, jet, rtol=0, atol=0)
    torch.testing.assert_close(asked_again.condition, asked.condition, rtol=0, atol=0)
    torch.testing.assert_close(asked_again.beside, asked.beside, rtol=0, atol=0)


def test_what_cannot_be_completed_is_told(jets, completing, tmp_path):
    for words, message in (
        (["--model.super_resolution.seen=20"], "seen is 20, and no jet of the training has more particles than that"),
        (["--model.super_resolution.seen=0"], "model.super_resolution.seen is 0, but must be 1 or more"),
        (["--model.super_resolution.view=particle"], "model.super_resolution.view is 'particle', but no view"),
    ):
        with pytest.raises(UserError, match=message):
            main(["fit", "-c", CONFIG, f"--data.data={jets}", f"--run={tmp_path / 'run'}", *SMALL, *words])
    with pytest.raises(UserError, match=r"'run' draws no jets|draws no jets: train one with configs/jets/generate"):
        generation_of(completing)
    reconstructor = build_reconstructor(
        {}, ("jet_genmass",), {"p": ParticlesView}, {"p": lambda in_channels: DeepSetEncoder(in_channels, 8)},
        GaussianHead,
    )  # fmt: skip
    with pytest.raises(UserError, match="was not trained"):
        JetSuperResolutionOptions("p").task(reconstructor).complete(torch.zeros(1, 3, 16), torch.ones(1).long())


# Judging ------------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_a_loop():
    true, _ = arrays(12)
    made = copied(true, 9)
    found = super_resolution_figures(made, true)

    def points(jets, row, names):
        return [
            [float(jets.particles[row, place, PARTICLE_COLUMNS.index(name)]) for name in names]
            for place in range(jets.lengths[row])
        ]

    for key, names in (("delta_r", ("part_deta", "part_dphi")), ("gev", ("part_px", "part_py", "part_pz"))):
        chamfer = []
        for row in range(12):
            a, b = points(made, row, names), points(true, row, names)
            there = np.mean([min(math.dist(one, two) for two in b) for one in a])
            back = np.mean([min(math.dist(one, two) for two in a) for one in b])
            chamfer.append((there + back) / 2)
        assert found[f"chamfer_{key}"] == pytest.approx(np.mean(chamfer))
    pt = [[np.hypot(*point) for point in points(one, row, ("part_px", "part_py"))]
          for row in range(12) for one in (made, true)]  # fmt: skip
    emd = [wasserstein_distance(a, b) for a, b in zip(pt[::2], pt[1::2], strict=True)]
    assert found["pt_emd_gev"] == pytest.approx(np.mean(emd))
    away = np.minimum(true.lengths, 9) - true.lengths
    assert found["multiplicity_bias"] == pytest.approx(away.mean())
    assert found["multiplicity_relative_error"] == pytest.approx(np.mean(np.abs(away) / true.lengths))
    assert found["pt_bias_gev"] < 0
    nothing = super_resolution_figures(true, true)
    assert all(nothing[name] == 0 for name in nothing if name != "jets")


def test_the_mean_of_a_class_is_that_of_a_loop():
    learned, code = arrays(60, 1)
    true, asked = arrays(20, 2)
    mean = ClassMean.fit(learned, code, SEEN)
    made = mean.of(true, asked)
    row = next(row for row in range(20) if true.lengths[row] > SEEN)
    mine = np.flatnonzero(code == asked[row])
    assert made.lengths[row] == max(SEEN, round(float(learned.lengths[mine].mean())))
    shares = [
        learned.pt_gev[one, SEEN] / learned.pt_gev[one, :SEEN].sum() for one in mine if learned.lengths[one] > SEEN
    ]
    np.testing.assert_allclose(made.pt_gev[row, SEEN], np.mean(shares) * true.pt_gev[row, :SEEN].sum(), rtol=1e-5)
    deta = [learned.column("part_deta")[one, SEEN] for one in mine if learned.lengths[one] > SEEN]
    np.testing.assert_allclose(made.column("part_deta")[row, SEEN], np.mean(deta), rtol=1e-5)
    few = true.lengths < SEEN
    np.testing.assert_array_equal(made.lengths[few], true.lengths[few])
    with pytest.raises(UserError, match="no jet of the class 3 is known"):
        ClassMean.fit(learned, np.where(code == 3, 4, code), SEEN).of(true, asked)


def test_jets_are_compared_one_by_one():
    true, _ = arrays(5)
    with pytest.raises(UserError, match="4 made jets are compared with 5 true ones"):
        super_resolution_figures(JetArrays.of(true, np.arange(4)), true)
    with pytest.raises(UserError, match="0 made jets"):
        super_resolution_figures(JetArrays.of(true, np.arange(0)), JetArrays.of(true, np.arange(0)))
