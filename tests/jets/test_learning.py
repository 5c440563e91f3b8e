"""Jets on the shared core: classes and masses from the real command line, pre-training, fine-tuning."""

from __future__ import annotations

import json
import math

import made_jets
import numpy as np
import pytest
import torch
from jet_trainings import SMALL, configuration

from collider.jets.features import series_of
from collider.jets.judging.rebuilding import MEAN, REBUILT, rebuilding_figures, rebuilt_of
from collider.jets.judging.report import judge
from collider.jets.judging.sources import open_run
from collider.jets.learning.masking import (
    PLACES,
    ConservationLoss,
    MaskedParticleOptions,
    MaskedParticles,
    ParticleMSE,
    Rebuilding,
    drawn,
)
from collider.jets.learning.rebuilt import four_vectors, jet_mass_loss, mass_shell_loss
from collider.jets.learning.views import ParticlesView, SumMass
from collider.jets.networks import DeepSetEncoder
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import ConvNetEncoder, GaussianHead
from reconstruction.random.keyed import KeyedRandom
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.network.reconstructor import build_reconstructor
from reconstruction.training.watching.quiet import QUIET

pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


def test_classes_are_told_apart(classified):
    """Prongs and displaced tracks tell a good part of ten classes apart: chance is 10 %."""
    table = PredictionTable.read(classified / "predictions.hdf5")
    assert table.attributes["system"] == "collider.jets"
    assert len(table) == 90
    right = table.probabilities().argmax(1) == table.truth("jet_class")
    assert right.mean() > 0.2


def test_what_a_checkpoint_knows(classified, jets, tmp_path):
    card = read_checkpoint(classified / "checkpoints" / "best.ckpt")[CARD]
    assert card["system"] == "collider.jets"
    assert card["data"]["particles"] == 12
    words = ["predict", f"--run={classified}", f"--data.data={jets}", "--data.particles=9"]
    with pytest.raises(UserError, match=r"number of particles read of a jet is 9, but the model was trained at 12:"):
        main([*words, f"--predictions={tmp_path / 'table.hdf5'}"])


def test_a_frozen_encoder_stays_as_it_is(jets, pretrained, tmp_path):
    words = ["fit", "-c", configuration("classify", tmp_path), f"--data.data={jets}", f"--run={tmp_path / 'run'}"]
    start = [f"--fine_tune.checkpoint={pretrained}/checkpoints/last.ckpt", "--fine_tune.trainable_layers=0"]
    main([*words, *start, "--trainer.max_epochs=1", "--data.training_jets=64", "--model.ema_decay=0", *SMALL])
    mine, before = (
        read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (tmp_path / "run", pretrained)
    )
    encoder = [key for key in mine if "fusion.encoders.particles" in key and isinstance(mine[key], torch.Tensor)]
    assert len(encoder) > 20
    # but for the pooling, which the pre-training did not use, and which learns with the head
    assert all(torch.equal(mine[key], before[key]) for key in encoder if ".pooling." not in key)
    # the scales of the pre-training go along: those of the 64 jets would be others
    assert {key for key in encoder if key.endswith(("scales.features.shift", "pairs.scale.shift"))}


def test_masses_have_error_bars(jets, tmp_path):
    """What was measured is 5 % low and a tenth of itself uncertain: the network learns both."""
    words = ["fit", "-c", configuration("mass", tmp_path), f"--data.data={jets}", f"--run={tmp_path / 'run'}"]
    main([*words, "--trainer.max_epochs=4", "--model.optimiser.lr=4e-3", *SMALL, "--data.particles=24"])
    main(["test", f"--run={tmp_path / 'run'}"])
    table = PredictionTable.read(tmp_path / "run" / "predictions.hdf5")
    truth, mass = table.truth("jet_genmass"), table.mean("jet_genmass")
    assert np.median(np.abs(mass / truth - 1)) < 0.11
    assert abs(np.median(mass / truth) - 1) < 0.04 < abs(np.median(table.column("jet_mass") / truth) - 1)
    share = table.std("jet_genmass") / mass
    assert 0.06 < np.median(share) < 0.16


# What is hidden -----------------------------------------------------------------------------------------------------


def particles(count, seed=0):
    columns = made_jets.columns(count, seed, most=12)
    values = torch.from_numpy(np.stack([columns[name] for name in PARTICLE_COLUMNS], axis=-1))
    return values, torch.from_numpy(columns["jet_nparticles"])


@pytest.mark.parametrize("share", [0.01, 0.3, 0.99])
def test_a_share_of_real_particles_is_hidden_and_never_all(share):
    jets, lengths = particles(60)
    lengths[0] = 1
    hidden = drawn(MaskedParticleOptions(share), series_of(jets, "kin"), lengths, _random(60))
    number = hidden.sum(1)
    expected = torch.minimum((share * lengths).round().clamp(min=1), lengths - 1)
    assert torch.equal(number, expected.long())
    assert not hidden[torch.arange(12) >= lengths[:, None]].any()


def _random(count, epoch=0):
    return KeyedRandom(0, epoch, torch.arange(count))


def test_hard_particles_are_hidden_more_often_where_asked():
    """One of three particles with 80, 15 and 5 % of the pT: shares of the draws against these."""
    jets, _ = particles(1)
    jets = jets[:, :3].expand(20_000, -1, -1).clone()
    jets[..., :4] = torch.tensor([[80.0, 0, 0, 80], [15, 0, 0, 15], [5, 0, 0, 5]])
    for towards, expected in ((1.0, [0.8, 0.15, 0.05]), (0.0, [1 / 3] * 3), (0.5, [0.567, 0.242, 0.192])):
        hidden = drawn(MaskedParticleOptions(0.3, towards), series_of(jets, "kin"), None, _random(20_000))
        np.testing.assert_allclose(hidden.double().mean(0), expected, atol=0.015)


def test_what_is_hidden_of_a_jet_depends_on_the_jet_and_the_epoch_alone():
    jets, lengths = particles(20)
    series, options = series_of(jets, "kin"), MaskedParticleOptions(0.3)
    whole = drawn(options, series, lengths, _random(20))
    assert torch.equal(drawn(options, series[:5], lengths[:5], _random(5)), whole[:5])
    assert not torch.equal(drawn(options, series, lengths, _random(20, 1)), whole)


def test_losses_are_those_of_a_loop():
    made, true = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 4, dtype=torch.float64)
    away = (made - true).numpy()

    def spread(values):
        return np.sqrt(np.mean(values**2)) + 0.3 * np.mean(values) ** 2

    expected = (
        2 * spread(away[:, 0]) + np.mean(np.abs(away[:, 1])) + 3 * np.mean(1 - np.cos(away[:, 2])) + spread(away[:, 3])
    )
    found = ConservationLoss(pt=2.0, phi=3.0, gamma=0.3)(made, true)
    assert float(found) == pytest.approx(expected)
    assert float(ParticleMSE()(made, true)) == pytest.approx(np.mean(away**2))


def test_an_azimuth_is_the_same_after_a_turn():
    true = torch.zeros(4, 4, dtype=torch.float64)
    turned = true.clone()
    turned[:, 2] = 2 * torch.pi
    assert float(ConservationLoss()(turned, true)) == pytest.approx(float(ConservationLoss()(true, true)), abs=1e-9)
    assert float(ParticleMSE()(turned, true)) > 9


def test_a_biased_guess_costs_more_than_a_scattered_one():
    true = torch.zeros(1000, 4, dtype=torch.float64)
    scattered = true.clone()
    scattered[:, 0] = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(500)
    biased = true.clone()
    biased[:, 0] = 1.0
    assert float(ConservationLoss(gamma=0.5)(biased, true)) > float(ConservationLoss(gamma=0.5)(scattered, true)) + 0.4


def test_what_is_rebuilt_is_what_was_hidden():
    """The truth of the task, number by number; and its gradient reaches the encoder but not its pooling."""
    torch.manual_seed(0)
    reconstructor = build_reconstructor(
        {}, ("jet_genmass",), {"p": ParticlesView}, {"p": lambda in_channels: DeepSetEncoder(in_channels, 8, 1)},
        GaussianHead,
    )  # fmt: skip
    jets, lengths = particles(30)
    masks = {"particles": torch.arange(12) < lengths[:, None]}
    encoder = reconstructor.fusion.encoders["p"]
    encoder.fit([(series_of(jets, "full"), lengths)])
    task = MaskedParticles(MaskedParticleOptions(0.3), reconstructor)
    found = task.rebuilt("p", reconstructor, {"particles": jets}, masks, _random(30))
    names = encoder.scales.names
    pt = jets[..., :2].double().square().sum(-1).sqrt()[found.hidden]
    scale = encoder.scales.features
    place = names.index("log_pt")
    expected = (pt.log1p() - scale.shift[place]) / scale.scale[place]
    torch.testing.assert_close(found.true[:, 0].double(), expected, rtol=1e-4, atol=1e-4)
    dphi = jets[..., PARTICLE_COLUMNS.index("part_dphi")][found.hidden]
    torch.testing.assert_close(found.true[:, 2], dphi)
    loss = task(reconstructor, {"particles": jets}, masks, _random(30))
    loss.backward()
    assert encoder.embed.weight.grad is not None
    assert task.blanks["p"].weight.grad is not None
    floor = task(reconstructor, {"particles": jets}, masks, _random(30), rebuild=False)
    assert float(floor) == pytest.approx(float(ConservationLoss()(torch.zeros_like(found.true), found.true)))


def hidden_particles(jitter=0.0):
    """Hidden particles of jets, rebuilt as they are but for a jitter of all four numbers."""
    torch.manual_seed(0)
    jets = particles(20)[0].double()
    scales = DeepSetEncoder(21, 8, 1).scales.double()
    series = series_of(jets, "full")
    scales.fit(series[series[..., 3] > 0])
    hidden = torch.zeros(20, 12, dtype=torch.bool)
    hidden[:15, 1:4] = True
    true = scales(series)[0][hidden][:, PLACES]
    made = true + jitter * torch.randn_like(true)
    return Rebuilding(made, true, hidden, series).jets(scales), jets[..., :4], hidden


def test_rebuilt_particles_are_in_gev():
    """Number by number, and their jets: what is rebuilt as it was changes nothing."""
    found, momenta, hidden = hidden_particles()
    torch.testing.assert_close(four_vectors(found.true), momenta[hidden], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.made, found.true, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.jets, momenta.sum(1), rtol=1e-6, atol=1e-4)
    assert float(mass_shell_loss(found)) < 1e-6
    assert float(jet_mass_loss(found)) < 1e-5


def test_what_ties_the_numbers_is_that_of_a_loop():
    found, momenta, hidden = hidden_particles(0.3)
    shell, masses, place = [], [], 0
    for jet in range(20):
        total, true = [0.0] * 4, [0.0] * 4
        for particle in range(12):
            px, py, pz, energy = momenta[jet, particle].tolist()
            true = [a + b for a, b in zip(true, (px, py, pz, energy), strict=True)]
            if hidden[jet, particle]:
                pt, eta, phi, made = found.made[place].tolist()
                own = [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta), made]
                size = math.sqrt(own[0] ** 2 + own[1] ** 2 + own[2] ** 2)
                shell.append(abs(math.log(made / size) - math.log(energy / math.sqrt(px**2 + py**2 + pz**2))))
                px, py, pz, energy = own
                place += 1
            total = [a + b for a, b in zip(total, (px, py, pz, energy), strict=True)]
        squares = [four[3] ** 2 - four[0] ** 2 - four[1] ** 2 - four[2] ** 2 for four in (total, true)]
        if hidden[jet].any():
            one, other = (math.copysign(math.log1p(abs(square)), square) for square in squares)
            masses.append(abs(one - other))
    assert float(mass_shell_loss(found)) == pytest.approx(np.mean(shell), rel=1e-6)
    assert float(jet_mass_loss(found)) == pytest.approx(np.mean(masses), rel=1e-6)


def test_a_rebuilt_energy_of_its_own_is_off_the_shell():
    """pT, η, φ right and E a tenth too large costs ln 1.1; so does pT a tenth too small."""
    found, *_ = hidden_particles()
    for place, factor in ((3, 1.1), (0, 1 / 1.1)):
        made = found.made.clone()
        made[:, place] *= factor
        assert float(mass_shell_loss(found._replace(made=made))) == pytest.approx(math.log(1.1), rel=1e-5)


@pytest.mark.parametrize("option", ["mass_shell", "jet_mass"])
def test_a_term_is_part_of_the_loss_where_it_is_asked_for(option):
    torch.manual_seed(0)
    reconstructor = build_reconstructor(
        {}, ("jet_genmass",), {"p": ParticlesView}, {"p": lambda in_channels: DeepSetEncoder(in_channels, 8, 1)},
        GaussianHead,
    )  # fmt: skip
    jets, lengths = particles(30)
    masks = {"particles": torch.arange(12) < lengths[:, None]}
    encoder = reconstructor.fusion.encoders["p"]
    encoder.fit([(series_of(jets, "full"), lengths)])
    told = MaskedParticleOptions(0.3, **{option: 2.0})
    with_term, without = (
        MaskedParticles(told, reconstructor),
        MaskedParticles(MaskedParticleOptions(0.3), reconstructor),
    )
    with_term.load_state_dict(without.state_dict())
    losses = [one(reconstructor, {"particles": jets}, masks, _random(30)) for one in (with_term, without)]
    found = without.rebuilt("p", reconstructor, {"particles": jets}, masks, _random(30)).jets(encoder.scales)
    term = mass_shell_loss(found) if option == "mass_shell" else jet_mass_loss(found)
    torch.testing.assert_close(losses[0] - losses[1], 2 * term, rtol=1e-3, atol=1e-4)
    losses[0].backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in encoder.parameters())


def test_what_a_pretraining_rebuilds_is_judged(pretrained, tmp_path):
    """Beside the mean particle, particles and jets; the same jets and particles each time."""
    run = open_run(pretrained)
    found = rebuilt_of(run)
    assert len(found[REBUILT].jets) == 90
    np.testing.assert_array_equal(found[REBUILT].row, found[MEAN].row)
    np.testing.assert_allclose(found[REBUILT].true, rebuilt_of(run)[REBUILT].true)
    exact = found[REBUILT]._replace(made=found[REBUILT].true, jets=found[REBUILT].whole)
    figures = rebuilding_figures(exact)
    assert figures["pt_width"].value == pytest.approx(0, abs=1e-9)
    assert figures["jet_mass_response"].value == pytest.approx(1)
    said = judge([run], tmp_path)
    assert "hidden particles" in said
    kept = json.loads((tmp_path / "jets.json").read_text())["hidden_particles"]
    assert next(iter(kept.values()))["rebuilt"]["pt_width"]["value"] > 0


def test_only_networks_of_particles_can_be_pretrained():
    reconstructor = build_reconstructor(
        {}, ("jet_genmass",), {"p": ParticlesView}, {"p": lambda in_channels: ConvNetEncoder(in_channels, 8)},
        GaussianHead,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"the encoder 'p' \(ConvNetEncoder\) reads none that are hidden"):
        MaskedParticleOptions().task(reconstructor)
    for options, message in (({"share": 1.0}, "between 0 and 1"), ({"towards_pt": 2.0}, "must lie in"),
                             ({"weight": 0.0}, "more than 0"), ({"jet_mass": -1.0}, "jet_mass is -1")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            MaskedParticleOptions(**options)
    with pytest.raises(UserError, match="gamma of a ConservationLoss"):
        ConservationLoss(gamma=-1.0)


# Views --------------------------------------------------------------------------------------------------------------


def test_the_view_has_mass_and_momentum_of_the_sum():
    jets, _ = particles(5)
    found = ParticlesView("kin")(jets)
    four = jets[..., :4].double().sum(1)
    mass = (four[:, 3] ** 2 - four[:, :3].square().sum(1)).sqrt()
    torch.testing.assert_close(found.scalars[:, 1].double(), mass.log(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        found.scalars[:, 0].double(), four[:, :2].square().sum(1).sqrt().log(), rtol=1e-5, atol=0
    )
    assert found.series.shape == (5, 12, 11)
    size = SumMass(("jet_class", "jet_genmass"))({"particles": jets})
    torch.testing.assert_close(size, torch.stack([torch.ones_like(mass), mass], dim=1))


@pytest.mark.parametrize(("features", "channels"), [("kin", 11), ("kinpid", 17), ("full", 21)])
def test_features_are_those_of_the_set(features, channels):
    jets, lengths = particles(3)
    series = series_of(jets, features)
    assert series.shape[-1] == channels
    assert (series[torch.arange(12) >= lengths[:, None]] == 0).all()
    assert series.isfinite().all()
    if features == "full":
        torch.testing.assert_close(series[..., 17], jets[..., PARTICLE_COLUMNS.index("part_d0val")].tanh())
