"""Jets that a network draws: their numbers, what is learned, what is refused, and how they are judged."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import made_jets
import numpy as np
import pytest
import torch
from collisions import needed

from collider.jets.command import main as command
from collider.jets.judging import generation as judging
from collider.jets.judging.generation import Described, generation_figures, judged_generation
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.drawn import DRAWN_FOR, drawn_like, drawn_of, write_drawn
from collider.jets.learning.files import JetTable
from collider.jets.learning.generation import JetGeneration, JetGenerationOptions
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import DeepSetEncoder
from collider.jets.networks.drawing import AskedParticles, ParticleDecoder, ParticleFlow
from collider.jets.networks.numbers import (
    CONTINUOUS,
    KINEMATIC,
    NUMBERS,
    PARTICLE_KINDS,
    Frame,
    ParticleNumbers,
    axis_of,
    kinds_of,
)
from collider.jets.quantities import JetArrays, axis_quantities
from collider.jets.schema import PARTICLE_COLUMNS
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
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--figures.every_epochs=0",
    "--data.particles=12",
    "--data.batch_size=32",
    "--data.training_jets=320",
    "--model.optimiser.lr=1e-2",
    "--model.encoders.particles=collider.jets.networks.DeepSetEncoder",
    "--model.encoders.particles.width=8",
    "--model.encoders.particles.depth=1",
    "--model.generation.width=16",
    "--model.generation.depth=1",
    "--model.generation.outline_width=32",
]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


def jets_of(count, seed=0, most=12):
    columns = made_jets.columns(count, seed, most=most)
    values = torch.from_numpy(np.stack([columns[name] for name in PARTICLE_COLUMNS], axis=-1))
    lengths = torch.from_numpy(columns["jet_nparticles"])
    return values, torch.arange(most) < lengths[:, None], columns


def arrays(count, seed=0, scale=1.0, fewer=0):
    """Made-up jets whose angles are scaled, of which each lacks so many particles."""
    particles, real, columns = jets_of(count, seed, 16)
    axis = axis_of(particles, real)
    numbers = ParticleNumbers()
    numbers.fit(particles, real, torch.ones(count))
    values = numbers(particles.double(), real, torch.ones(count))
    shift, spread = numbers.kinematic.shift[1:], numbers.kinematic.scale[1:]
    values[..., 1:3] = ((values[..., 1:3] * spread + shift) * scale - shift) / spread
    numbers.low, numbers.high = numbers.low - 1, numbers.high + 1
    made = numbers.particles(values, real, Frame(torch.ones(count), *axis))
    return JetArrays(made.float().numpy(), np.maximum(columns["jet_nparticles"] - fewer, 1))


# Numbers ------------------------------------------------------------------------------------------------------------


def test_particles_come_back_from_their_numbers():
    """Momenta, direction, charge, kind and impact parameters; of the energy what the mass of the kind makes of it."""
    particles, real, _ = jets_of(50)
    numbers = ParticleNumbers()
    reference = torch.linspace(50, 500, 50)
    numbers.fit(particles, real, reference)
    values = numbers(particles.double(), real, reference)
    assert values.shape == (50, 12, NUMBERS)
    made = numbers.particles(values, real, Frame(reference, *axis_of(particles, real)))
    for place, name in enumerate(PARTICLE_COLUMNS):
        found, wanted = made[..., place], particles[..., place].double()
        if name == "part_energy":
            mass = torch.tensor([mass for _, _, mass, _ in PARTICLE_KINDS], dtype=torch.float64)[kinds_of(particles)]
            wanted = (particles[..., :3].double().square().sum(-1) + (mass * real).square()).sqrt()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4, msg=name)
    scaled = values[real][:, :KINEMATIC]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert (values[~real] == 0).all()


def test_the_axis_is_found_on_its_side_of_the_detector():
    particles, real, columns = jets_of(200)
    eta, phi = axis_of(particles, real)
    np.testing.assert_allclose(eta, columns["jet_eta"], atol=1e-4)
    np.testing.assert_allclose(np.cos(phi.numpy() - columns["jet_phi"]), 1, atol=1e-6)


def test_a_particle_without_a_flag_is_what_its_charge_says():
    particles = torch.zeros(1, 3, len(PARTICLE_COLUMNS))
    particles[0, :, PARTICLE_COLUMNS.index("part_charge")] = torch.tensor([1.0, -1.0, 0.0])
    assert kinds_of(particles).tolist() == [[0, 1, 2]]


# Networks -----------------------------------------------------------------------------------------------------------


def test_places_without_a_particle_change_nothing_and_stay_empty():
    torch.manual_seed(0)
    flow = ParticleFlow(3, 8, 2, 2).double()
    real = torch.tensor([[True] * 4 + [False] * 3, [True] * 7])
    place, condition = torch.randn(2, 7, NUMBERS).double(), torch.randn(2, 3).double()
    time = torch.tensor([[0.2], [0.7]]).double()
    found = flow.velocity(place, time, AskedParticles(condition, real))
    assert (found[0, 4:] == 0).all()
    place[0, 4:] = 1e3
    torch.testing.assert_close(flow.velocity(place, time, AskedParticles(condition, real))[0], found[0])
    alone = flow.velocity(place[:1, :4], time[:1], AskedParticles(condition[:1], real[:1, :4]))
    torch.testing.assert_close(alone[0], found[0, :4])


def test_the_density_of_particles_is_that_of_a_loop():
    torch.manual_seed(1)
    particles, real, _ = jets_of(3)
    coding = ParticleNumbers()
    coding.fit(particles, real, torch.ones(3))
    numbers = coding(particles.double(), real, torch.ones(3))
    decoder = ParticleDecoder(2, 8, 1, 2).double()
    asked = AskedParticles(torch.randn(3, 2).double(), real)
    mean, log_spread, logits = (part.detach() for part in decoder._stated(asked))
    kinds, charge = kinds_of(particles), particles[..., PARTICLE_COLUMNS.index("part_charge")]
    for row, cost in enumerate(decoder.costs(numbers, coding.kinds(numbers), asked).tolist()):
        expected = 0.0
        for place in range(int(real[row].sum())):
            density = torch.distributions.Normal(mean[row, place], log_spread[row, place].exp())
            each = -density.log_prob(numbers[row, place, :CONTINUOUS])
            expected += float(each.sum() if charge[row, place] else each[:KINEMATIC].sum())
            expected -= float(logits[row, place].log_softmax(0)[kinds[row, place]])
        assert cost == pytest.approx(expected)


def test_drawn_numbers_have_the_density_that_is_stated():
    torch.manual_seed(2)
    decoder = ParticleDecoder(1, 8, 1, 2).double()
    asked = AskedParticles(torch.zeros(4000, 1).double(), torch.ones(4000, 1, dtype=torch.bool))
    mean, log_spread, logits = decoder._stated(asked)
    drawn = decoder.draw(asked, torch.randn(4000, 1, NUMBERS).double(), torch.rand(4000, 1, len(PARTICLE_KINDS)))
    spread = log_spread[0, 0].exp().detach()
    np.testing.assert_allclose(drawn[:, 0, :CONTINUOUS].detach().mean(0), mean[0, 0].detach(), atol=0.08)
    np.testing.assert_allclose(drawn[:, 0, :CONTINUOUS].detach().std(0), spread, rtol=0.06)
    kinds = ParticleNumbers().kinds(drawn.detach())[:, 0]
    shares = torch.bincount(kinds, minlength=len(PARTICLE_KINDS)).double() / 4000
    np.testing.assert_allclose(shares, logits[0, 0].softmax(0).detach(), atol=0.03)


# Trainings ----------------------------------------------------------------------------------------------------------


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


# Judging ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures():
    """Figures of jets of the same distribution, and of wider ones."""
    needed()
    pytest.importorskip("sklearn")
    simulated = arrays(160, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "ROUNDS", 8)
        patch.setattr(judging, "FOLDS", 3)
        made = {"same": arrays(80, 2), "wide": arrays(80, 2, scale=1.5)}
        return {name: generation_figures(one, simulated) for name, one in made.items()}


def test_each_figure_notices_what_is_wrong_and_stands_beside_its_floor(figures):
    same, wide = figures["same"], figures["wide"]
    assert same["jets_compared"] == 80
    for name in ("w1_mass_gev", "classifier_auc", "mmd2", "particle_histogram_mse"):
        assert wide[name] > same[name]
    assert wide["w1_mass_gev"] > 2 * max(same["w1_mass_gev"], wide["w1_mass_floor_gev"])
    for name in ("classifier_auc", "classifier_auc_floor"):
        assert same[name] == pytest.approx(0.5, abs=5 * same["classifier_auc_chance"])
    assert wide["classifier_auc"] > 0.5 + 5 * wide["classifier_auc_chance"]
    assert abs(same["mmd2_floor"]) < 0.02 < wide["mmd2"]
    # floors are of simulated jets alone
    floors = [name for name in same if "floor" in name]
    assert len(floors) == 7
    assert all(same[name] == wide[name] for name in floors)


def test_a_distance_is_that_of_sorted_samples():
    true, few = (Described(jets, axis_quantities(jets)) for jets in (arrays(60, 1), arrays(60, 1, fewer=4)))
    found = judging.distances(few, true)
    assert found["w1_multiplicity"] == 4
    for name, column in (("mass", "jet_mass"), ("pt", "jet_pt")):
        apart = np.sort(few.quantities[column]) - np.sort(true.quantities[column])
        assert found[f"w1_{name}_gev"] == pytest.approx(np.abs(apart).mean())
        assert found[f"w1_{name}_gev"] > 1


def test_the_discrepancy_is_that_of_a_loop():
    needed()
    first, true = Described.of(arrays(14, 3, scale=1.4)), Described.of(arrays(14, 4))
    names = judging.KERNEL_QUANTITIES
    spread = [np.std(true.quantities[name]) for name in names]
    x, y = (
        [[one.quantities[name][row] / s for name, s in zip(names, spread, strict=True)] for row in range(14)]
        for one in (first, true)
    )
    apart = [math.dist(a, b) for a, b in itertools.combinations(y, 2)]
    width = float(np.median(apart))
    assert judging.bandwidth(true) == pytest.approx(width)

    def kernel(a, b):
        return math.exp(-(math.dist(a, b) ** 2) / (2 * width**2))

    inner = [np.mean([kernel(a, b) for a, b in itertools.permutations(points, 2)]) for points in (x, y)]
    cross = np.mean([kernel(a, b) for a, b in itertools.product(x, y)])
    assert judging.discrepancy(first, true)["mmd2"] == pytest.approx(sum(inner) - 2 * cross)


def test_a_divergence_is_that_of_a_loop():
    needed()
    first, true = Described.of(arrays(30, 5, scale=1.2, fewer=3)), Described.of(arrays(30, 6))
    made, real = (np.log(one.jets.pt_gev[one.jets.real]) for one in (first, true))
    edges = np.linspace(real.min(), real.max(), judging.BINS + 1)
    p, q = np.full(judging.BINS, 0.5), np.full(judging.BINS, 0.5)
    for counts, values in ((p, real), (q, made)):
        for value in values:
            counts[min(max(int(np.searchsorted(edges, value, "right")) - 1, 0), judging.BINS - 1)] += 1
    expected = sum(a / p.sum() * math.log((a / p.sum()) / (b / q.sum())) for a, b in zip(p, q, strict=True))
    found = judging.particle_histograms(first, true)
    assert found["particle_pt_kl_nats"] == pytest.approx(expected, rel=1e-6)
    assert found["particle_pt_kl_nats"] > 0
    assert judging.particle_histograms(true, true)["particle_histogram_mse"] == 0


def test_samples_that_say_nothing_are_refused(drawing, held_back, monkeypatch):
    with pytest.raises(UserError, match="100 generated and 30 simulated jets are too few: 20 generated"):
        generation_figures(arrays(100), arrays(30))
    with pytest.raises(UserError, match="16 particles are read of a generated jet and 8 of a simulated one"):
        generation_figures(arrays(40), arrays(90).hardest(8))
    needed()
    pytest.importorskip("sklearn")
    monkeypatch.setattr(judging, "ROUNDS", 2)
    monkeypatch.setattr(judging, "FOLDS", 2)
    found = judged_generation(drawing, held_back)
    assert 40 <= found["jets_compared"] <= 45
    assert found["jets_left_out"] + 2 * found["jets_compared"] in (89, 90)
    assert found["w1_multiplicity"] < 3
