"""Jets that a network draws: what is learned, what is refused, and how the command draws and judges."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from collisions import needed
from jet_trainings import DRAWING

from collider.jets.command import main as command
from collider.jets.drawing import _pairs
from collider.jets.judging import generation as judging
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawing import momentum_and_mass, read_jets
from collider.jets.learning.drawn import DRAWN_FOR, drawn_like, drawn_of, write_drawn
from collider.jets.learning.files import JetTable
from collider.jets.learning.generation import JetGeneration, JetGenerationOptions
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import DeepSetEncoder
from collider.jets.networks.numbers import (
    KINEMATIC,
    axis_of,
    centre_of,
    kinds_of,
)
from collider.jets.quantities import JetArrays
from reconstruction.errors import UserError
from reconstruction.models import ConvNetEncoder, GaussianHead
from reconstruction.random.keyed import KeyedRandom
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.network.reconstructor import build_reconstructor
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

CONFIG = str(Path(__file__).parents[2] / "configs/jets/generate.yaml")
SMALL = [
    *DRAWING,
    "--model.generation.width=16",
    "--model.generation.depth=1",
    "--model.generation.outline_width=32",
]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture(scope="module")
def flowing(jets, tmp_path_factory):
    """A short training of the flow."""
    run = tmp_path_factory.mktemp("generate") / "flow"
    main(["fit", "-c", CONFIG, f"--data.data={jets}", f"--run={run}", *SMALL, "--trainer.max_epochs=7"])
    return run


@pytest.fixture(scope="module")
def drawing(flowing):
    """What it learned."""
    return load_module(flowing / "checkpoints" / "best.ckpt")


@pytest.fixture(scope="module")
def held_back(jets):
    """The data that it was tried on."""
    return JetDataModule(str(jets), targets=("jet_class", "jet_pt"), particles=12)


def test_drawn_jets_are_nearer_than_noise(flowing, drawing, held_back):
    """Number, pT and directions come close to those of the jets that were asked for."""
    losses = (flowing / "metrics.csv").read_text().splitlines()
    head = losses[0].split(",")
    rows = [dict(zip(head, line.split(","), strict=True)) for line in losses[1:]]
    found = [row for row in rows if row["val/loss"]][-1]
    assert float(found["val/loss"]) < 0.75 * float(found["val/loss_of_nothing"])
    rows = held_back.split.test
    asked = torch.from_numpy(np.stack([held_back.records.scalar(name)[rows] for name in held_back.targets], 1))
    rows = rows[drawing.generation.learned(asked)]
    made, true = drawn_like(drawing, held_back, rows, 1), JetArrays.of(held_back.records, rows)
    assert made.particles.shape == true.particles.shape
    assert abs(made.lengths.mean() - true.lengths.mean()) < 1.0
    pt = [np.hypot(*jets.particles[..., :2].sum(1).T) for jets in (made, true)]
    assert np.corrcoef(pt[0], pt[1])[0, 1] > 0.9  # the pT that was asked for


def test_the_class_matters(drawing, held_back):
    """Jets of one prong are narrow: whoever is told another class is further off."""
    batch = next(iter(held_back.val_dataloader()))
    other = batch["targets"].clone()
    other[:, 0] = (other[:, 0] + 1) % 10
    random = KeyedRandom(0, 0, batch["event_id"])
    right, wrong = (
        drawing.generation.objective(drawing.reconstructor, batch | {"targets": targets}, batch, random)
        for targets in (batch["targets"], other)
    )
    assert float(right.detach()) < float(wrong.detach()) - 0.1


def test_a_seed_draws_the_same_jets(drawing):
    draw = drawing.generation.draw
    asked = torch.tensor([[0.0, 300.0], [8.0, 350.0], [3.0, 400.0]], dtype=torch.float64)
    first, again, other = draw(asked, seed=3), draw(asked, seed=3), draw(asked, seed=4)
    assert torch.equal(first.particles, again.particles)
    assert not torch.equal(first.particles, other.particles)
    pt = first.particles[..., :2].norm(dim=-1)
    assert (pt.diff(dim=1) <= 0).all()
    assert ((pt > 0).sum(1) == first.lengths).all()
    share = first.particles[..., :2].sum(1).norm(dim=-1).double() / asked[:, 1]
    low, high = drawing.generation.low[3].exp(), drawing.generation.high[3].exp()
    assert ((share > low * 0.999) & (share < high * 1.001)).all()  # the pT of the outline, whatever was drawn


def test_jets_have_axis_pt_and_mass_of_their_outline(drawing, held_back):
    """Whatever the particles were drawn as: their angles and momenta are scaled together."""
    task, batch = drawing.generation, next(iter(held_back.test_dataloader()))
    read, truths = read_jets(batch), batch["targets"]
    outline, given = task._outline(read, truths[:, 1].double()), task._given(truths, torch.float32)
    sketch = task._sketch(outline, given, truths, read.real, axis_of(read.particles, read.real))
    numbers = task.numbers(read.particles.double(), read.real, truths[:, 1].double())
    numbers[..., :KINEMATIC] = numbers[..., :KINEMATIC] * torch.tensor([1.0, 0.7, 0.7]) + torch.tensor([0.5, 0.2, -0.1])
    made = task._as_outlined(numbers, sketch, outline)
    pt, mass = momentum_and_mass(made.particles)
    wanted = outline[:, 2:].exp() * truths[:, 1:].double()
    torch.testing.assert_close(pt, wanted[:, 1])
    away = (mass / wanted[:, 0]).log().abs()
    assert away.quantile(0.9) < 1e-3
    assert centre_of(made.particles).abs().quantile(0.9) < 0.01


def test_what_was_not_learned_is_not_drawn(drawing):
    for name, pt, message in (
        ("Hbb", 5000.0, r"jet_pt 5000 is beyond what the generation was trained on"),
        ("Hbb", math.nan, r"jet_pt nan is beyond"),
        ("Hbc", 300.0, r"there is no class of jets 'Hbc'; did you mean|there is no class of jets 'Hbc'"),
    ):
        with pytest.raises(UserError, match=message):
            drawn_of(drawing, name, pt, 2)
    with pytest.raises(UserError, match="trained on no jets of the class 12"):
        drawing.generation.draw(torch.tensor([[12.0, 300.0]], dtype=torch.float64))
    drawing.generation.known[4] = False
    with pytest.raises(UserError, match="trained on no jets of the class H4q: QCD, Hbb, Hcc, Hgg, Hqql"):
        drawn_of(drawing, "H4q", 300.0, 2)
    drawing.generation.known[4] = True


def test_drawn_jets_are_a_file_like_all_others(drawing, tmp_path):
    needed()
    made = drawn_of(drawing, "Tbqq", 300.0, 24, seed=5)
    path = write_drawn(tmp_path / "drawn.hdf5", made, np.full(24, 8), {"checkpoint": "x"}, {DRAWN_FOR: np.arange(24)})
    table = JetTable([path], 12)
    np.testing.assert_allclose(table.particles, made.particles, rtol=1e-6)
    assert (table.scalar("jet_class") == 8).all()
    np.testing.assert_allclose(table.scalar("jet_pt"), 300, rtol=0.4)
    assert {"jet_tau3", "jet_sdmass", "jet_mass", "jet_nparticles", DRAWN_FOR} <= set(table.columns)
    assert table.files[0].attributes["particles"] == 12


def test_the_command_draws_compares_and_refuses(flowing, jets, tmp_path, monkeypatch, capsys):
    needed()
    pytest.importorskip("sklearn")
    monkeypatch.setattr(judging, "ROUNDS", 2)
    monkeypatch.setattr(judging, "FOLDS", 2)

    def said(*words):
        monkeypatch.setattr(sys, "argv", ["jets.py", *map(str, words), "--output", str(tmp_path)])
        assert command() == 0
        return capsys.readouterr().out

    assert "jets drawn, one for each of the test split" in said("--draw", flowing)
    drawn = JetTable([tmp_path / "drawn.hdf5"], 12)
    whole = JetDataModule(str(jets), targets=("jet_class", "jet_pt"), particles=12)
    rows = np.flatnonzero(np.isin(whole.records.content_hashes(), drawn.scalar(DRAWN_FOR)))
    mine, theirs = _pairs(drawn, whole.records)
    np.testing.assert_array_equal(drawn.scalar(DRAWN_FOR)[mine], whole.records.content_hashes()[theirs])
    assert set(rows) <= set(whole.split.test)
    assert len(rows) == len(drawn) > 80
    found = said("--compare", tmp_path / "drawn.hdf5", jets)
    assert "w1_mass_gev" in found
    assert json.loads((tmp_path / "compared.json").read_text())["jets_compared"] == len(rows) // 2
    assert "5 jets of the class Hbb and 400 GeV" in said(
        "--draw", flowing, "--class", "Hbb", "--pt-gev", 400, "--events", 5
    )
    assert "w1_pt_gev" in said("--judge", flowing)
    judged = json.loads((tmp_path / "jets.json").read_text())["generation"]["flow"]
    assert set(judged["classifier_auc"]) == {"value", "error", "floor"}
    assert judged["jets_compared"]["value"] == len(rows) // 2
    assert judged["jets_left_out"]["value"] + len(rows) == len(whole.split.test)
    assert judged["w1_multiplicity"]["value"] < 3
    assert (tmp_path / "jets.png").stat().st_size > 10_000
    for words, message in (
        (("--draw", flowing, "--class", "Hbb"), "give both --class and --pt-gev, or neither"),
        (("--class", "Hbb"), "give --draw RUN"),
        (("--draw", tmp_path / "nothing"), "nothing"),
        (("--compare", jets, jets), "does not say how many particles of a jet were drawn"),
    ):
        with pytest.raises(UserError, match=message):
            said(*words)


def test_a_variational_model_begins_with_an_encoder_that_stays(jets, flowing, tmp_path):
    run = tmp_path / "run"
    start = [f"--fine_tune.checkpoint={flowing}/checkpoints/last.ckpt", "--fine_tune.trainable_layers=0"]
    words = ["--model.generation.method=variational", "--model.generation.latent=3", "--trainer.max_epochs=2"]
    main(["fit", "-c", CONFIG, f"--data.data={jets}", f"--run={run}", *SMALL, *words, *start])
    mine, before = (read_checkpoint(one / "checkpoints/last.ckpt")["state_dict"] for one in (run, flowing))
    encoder = [key for key in mine if "fusion.encoders" in key and isinstance(mine[key], torch.Tensor)]
    assert len(encoder) > 6
    assert all(torch.equal(mine[key], before[key]) for key in encoder if ".norm." not in key)
    module = load_module(run / "checkpoints" / "best.ckpt")
    made = drawn_of(module, "QCD", 300.0, 40)
    assert np.isfinite(made.particles).all()
    assert 6 <= made.lengths.mean() <= 12
    kinds = kinds_of(torch.from_numpy(made.particles))[torch.from_numpy(made.real)]
    assert 0.3 < (kinds < 2).double().mean() < 0.85  # 70 % of the jets' particles are charged


def test_what_cannot_draw_is_told():
    def made(view="p", encoder=DeepSetEncoder, targets=("jet_class", "jet_pt"), **options):
        reconstructor = build_reconstructor(
            {}, targets, {"p": ParticlesView}, {"p": lambda in_channels: encoder(in_channels, 8)}, GaussianHead
        )
        return JetGenerationOptions(view, **options).task(reconstructor)

    for options, message in (
        ({"view": "q"}, r"model.generation.view is 'q', but no view is called so"),
        ({"encoder": ConvNetEncoder}, r"'p' is a ConvNetEncoder: use one of collider.jets.networks"),
        ({"targets": ("jet_class",)}, r"jet_pt is none of data.targets.*data.targets=\[jet_class,jet_pt\]"),
        ({"depth": 0}, r"model.generation.depth is 0, but must be 1 or more"),
        ({"width": 6}, r"multiple of its heads, 4, not 6"),
    ):
        with pytest.raises(UserError, match=message):
            made(**options)
    task = made()
    assert isinstance(task, JetGeneration)
    with pytest.raises(UserError, match="was not trained"):
        task.draw(torch.zeros(1, 2, dtype=torch.float64))
