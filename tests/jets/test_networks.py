"""The networks of particles keep the contract of the core's encoders; pairs and boosts are those of a loop."""

from __future__ import annotations

import math

import made_jets
import numpy as np
import pytest
import torch
from collisions import needed
from torch import Tensor

from collider.jets.features import MOMENTA, channels_of, series_of
from collider.jets.learning.invariance import boost, lorentz_violation, transformed
from collider.jets.learning.views import ParticlesView
from collider.jets.networks import (
    DeepSetEncoder,
    LorentzParticleTransformer,
    ParticleTransformer,
    SlimLorentzTransformer,
)
from collider.jets.networks.lorentz import equivariant_linear
from collider.jets.networks.pairs import PairBias, pair_features, upper
from collider.jets.networks.particles import HiddenParticles
from collider.jets.schema import PARTICLE_COLUMNS
from collider.jets.system import SYSTEM
from reconstruction.errors import UserError
from reconstruction.models import Encoder, set_trainable
from reconstruction.option_ranges import out_of_range

CHANNELS = channels_of("full")
ENCODERS = {
    "transformer": lambda: ParticleTransformer(CHANNELS, 8, 2, heads=2, pair_width=4, class_depth=1, expansion=1),
    "no pairs": lambda: ParticleTransformer(CHANNELS, 8, 1, heads=2, pair_width=0, expansion=1, pooling="mean"),
    "lorentz": lambda: LorentzParticleTransformer(
        CHANNELS, 8, 1, heads=2, pair_width=4, class_depth=1, expansion=1, multivectors=2
    ),
    "seed": lambda: LorentzParticleTransformer(
        CHANNELS, 8, 1, heads=2, pair_width=4, class_depth=1, expansion=1, multivectors=2, vectors="seed"
    ),
    "slim": lambda: SlimLorentzTransformer(CHANNELS, 8, 2, vectors=4, heads=2, expansion=1),
    "deep set": lambda: DeepSetEncoder(CHANNELS, 8, 2),
}


def particles(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Made-up jets (jet, particle, column), and how many particles each has."""
    columns = made_jets.columns(count, seed, most=12)
    values = np.stack([columns[name] for name in PARTICLE_COLUMNS], axis=-1)
    return torch.from_numpy(values), torch.from_numpy(columns["jet_nparticles"])


def ready(encoder: Encoder) -> Encoder:
    """An encoder with scales, double and still."""
    jets, lengths = particles(40, 9)
    encoder.fit([(series_of(jets, "full"), lengths)])
    return encoder.double().eval()


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    if request.param in ("lorentz", "seed", "slim"):
        needed()
    torch.manual_seed(0)
    return ready(ENCODERS[request.param]())


def test_padding_changes_nothing(encoder):
    jets, lengths = particles(4)
    series = series_of(jets.double(), "full")
    together = encoder(series, lengths)
    polluted = series.clone()
    for row, length in enumerate(lengths.tolist()):
        polluted[row, length:] = 1e3
        alone = encoder(series[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(polluted, lengths), together, rtol=1e-12, atol=1e-12)
    more = torch.nn.functional.pad(series, (0, 0, 0, 7))
    torch.testing.assert_close(encoder(more, lengths), together, rtol=1e-9, atol=1e-9)


def test_the_order_of_particles_changes_nothing(encoder):
    jets, _ = particles(3)
    series = series_of(jets.double()[:, :6], "full")
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(encoder(series[:, order]), encoder(series), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_particles(encoder, count):
    jets, _ = particles(3)
    features = encoder(series_of(jets.double()[:, :count], "full"))
    assert features.shape == (3, encoder.output_width)
    assert features.isfinite().all()
    none = torch.tensor([0, 1, 1])
    assert encoder(series_of(jets.double()[:, :count], "full"), none).isfinite().all()


def test_jets_of_one_particle_have_no_pairs():
    jets, lengths = particles(3)
    series = series_of(jets[:, :1], "full")
    for encoder in (ENCODERS["transformer"](), ENCODERS["deep set"]()):
        encoder.fit([(series, torch.ones_like(lengths))])
        assert encoder(series).isfinite().all()


def test_gradient_reaches_every_parameter_and_no_other_jet(encoder):
    jets, lengths = particles(3)
    series = series_of(jets.double(), "full").requires_grad_()
    features = encoder.train()(series, lengths)
    features[1].pow(3).sum().backward(retain_graph=True)
    assert series.grad is not None
    assert series.grad[1].abs().max() > 0
    assert series.grad[[0, 2]].abs().max() == 0
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_layers_can_be_frozen(encoder):
    counts = []
    for last in (0, 1, None):
        set_trainable(encoder, last)
        counts.append(sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad))
    assert counts[0] == 0 < counts[1] < counts[2] == sum(parameter.numel() for parameter in encoder.parameters())


def test_single_precision_and_bfloat16(encoder):
    jets, lengths = particles(3)
    series = series_of(jets, "full")
    double = encoder(series.double(), lengths)
    single = encoder.float()(series, lengths)
    torch.testing.assert_close(single.double(), double, rtol=2e-3, atol=2e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder(series, lengths).double(), double, rtol=0.2, atol=0.2)


def test_what_is_hidden_is_not_seen(encoder):
    """Whatever a hidden particle is, the features are the same; of one that is shown they are not."""
    jets, lengths = particles(2)
    series = series_of(jets.double(), "full")
    places = torch.zeros(2, series.shape[1], dtype=torch.bool)
    places[:, 1] = True
    tokens = torch.randn(2, series.shape[1], encoder.sequence_width, dtype=torch.float64)
    hidden = HiddenParticles(places, tokens)
    other = series.clone()
    other[:, 1] = series[:, 4]
    told = encoder.sequence(series, lengths, hidden=hidden).values
    torch.testing.assert_close(encoder.sequence(other, lengths, hidden=hidden).values, told, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(encoder.sequence(other, lengths).values, encoder.sequence(series, lengths).values)


def test_scales_are_part_of_the_state(encoder):
    state = encoder.state_dict()
    torch.manual_seed(1)
    name = next(kind for kind, make in ENCODERS.items() if state.keys() == make().state_dict().keys())
    fresh = ENCODERS[name]().double()
    assert not fresh.fitted
    jets, lengths = particles(2)
    with pytest.raises(UserError, match="was not fitted"):
        fresh(series_of(jets.double(), "full"), lengths)
    fresh.load_state_dict(state)
    assert fresh.fitted
    shift = fresh.scales.features.shift
    names = fresh.scales.names
    assert shift[names.index("dphi")] == 0
    assert shift[names.index("log_pt")] != 0


# Pairs, boosts ------------------------------------------------------------------------------------------------------


def test_pairs_are_those_of_a_loop():
    """The slow way, number by number in double precision."""
    jets, _ = particles(2)
    momenta = jets[:, :6, :MOMENTA].double()
    found = pair_features(momenta)
    first, second = upper(6, momenta.device)
    for jet in range(2):
        for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            expected = _pair(momenta[jet, i].tolist(), momenta[jet, j].tolist())
            np.testing.assert_allclose(found[jet, pair].numpy(), expected, rtol=1e-7, atol=1e-7)
    single = pair_features(momenta.float()).double()
    torch.testing.assert_close(single[..., :3], found[..., :3], rtol=1e-3, atol=1e-3)


def _pair(a: list[float], b: list[float]) -> list[float]:
    def rapidity(p: list[float]) -> float:
        return 0.5 * math.log((p[3] + p[2]) / (p[3] - p[2]))

    pt = [math.hypot(p[0], p[1]) for p in (a, b)]
    away = abs(math.atan2(a[1], a[0]) - math.atan2(b[1], b[0]))
    distance = math.hypot(rapidity(a) - rapidity(b), min(away, 2 * math.pi - away))
    mass2 = (a[3] + b[3]) ** 2 - sum((x + y) ** 2 for x, y in zip(a[:3], b[:3], strict=True))
    values = (distance, min(pt) * distance, min(pt) / sum(pt), mass2)
    return [math.log(max(value, 1e-8)) for value in values]


def test_the_bias_of_a_pair_stands_at_both_places():
    torch.manual_seed(0)
    bias = PairBias(4, 3).double()
    jets, _ = particles(2)
    momenta = jets[:, :5, :MOMENTA].double()
    bias.scale.fit(pair_features(momenta).flatten(0, 1))
    shown = torch.ones(2, 5, dtype=torch.bool)
    shown[0, 3] = False
    found = bias(momenta, shown)
    assert found.shape == (2, 3, 5, 5)
    torch.testing.assert_close(found, found.mT)
    assert (found.diagonal(dim1=2, dim2=3) == 0).all()
    assert (found[0, :, 3] == 0).all()
    expected = bias.network(bias.scale(pair_features(momenta[1:, [1, 4]]).flatten(0, 1)))
    torch.testing.assert_close(found[1, :, 4, 1], expected[0])


@pytest.mark.usefixtures("wheels")
def test_the_linear_maps_commute_with_boosts():
    lgatr = pytest.importorskip("lgatr")
    torch.manual_seed(0)
    layer = equivariant_linear(1, 3).double()
    matrix = boost(torch.tensor([0.3, -0.5, 0.6]))
    vectors = torch.randn(7, 4, dtype=torch.float64)
    ordered = matrix[[3, 0, 1, 2]][:, [3, 0, 1, 2]]
    made, _ = layer(lgatr.embed_vector(vectors @ ordered.T).unsqueeze(-2))
    own, _ = layer(lgatr.embed_vector(vectors).unsqueeze(-2))
    torch.testing.assert_close(made[..., 1:5], own[..., 1:5] @ ordered.T, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(made[..., 0], own[..., 0], rtol=1e-10, atol=1e-10)


def test_a_boost_keeps_masses():
    jets, _ = particles(4)
    matrix = boost(torch.tensor([0.2, 0.1, -0.4]))
    moved = transformed(jets.double(), matrix)

    def mass2(values: Tensor) -> Tensor:
        four = values[..., :MOMENTA].sum(dim=1)
        return four[:, 3] ** 2 - four[:, :3].square().sum(dim=1)

    torch.testing.assert_close(mass2(moved), mass2(jets.double()), rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(transformed(moved, boost(-torch.tensor([0.2, 0.1, -0.4])))[..., :MOMENTA],
                               jets.double()[..., :MOMENTA], rtol=1e-8, atol=1e-6)  # fmt: skip


class _Mean(Encoder):
    """The mean of the charges: what no boost changes."""

    def __init__(self) -> None:
        from reconstruction.models.encoders.pooling import MeanPooling

        super().__init__(CHANNELS, 1, 1, MeanPooling(1))

    @property
    def layers(self) -> tuple:
        return ()

    def sequence(self, series, lengths=None):
        from reconstruction.models.encoders.base import Sequence

        return Sequence(series[..., MOMENTA + 7 : MOMENTA + 8], lengths)


@pytest.mark.usefixtures("wheels")
def test_the_violation_of_invariance_is_measured():
    """Nothing for charges; something for every network, more the stronger the boost."""
    jets, lengths = particles(30)
    view = ParticlesView()
    none = lorentz_violation(view, _Mean(), jets.double(), lengths, boost(torch.tensor([0.0, 0.0, 0.9])))
    assert none < 1e-12
    torch.manual_seed(0)
    network = ready(ENCODERS["lorentz"]())
    weak, strong = (
        lorentz_violation(view, network, jets.double(), lengths, boost(torch.tensor([beta, 0.0, 0.0])))
        for beta in (0.02, 0.5)
    )
    assert 1e-4 < weak < strong


TURNS = ((0.0, 0.0, 0.9), (0.3, -0.5, 0.6), (-0.8, 0.1, 0.0))


@pytest.mark.usefixtures("wheels")
@pytest.mark.parametrize("velocity", TURNS)
def test_no_boost_changes_the_features_of_a_slim_network(velocity):
    """Jets of other lengths, in float64: boosted, and turned about an axis by a boost there and another one back."""
    torch.manual_seed(0)
    jets, lengths = particles(12)
    encoder = ready(ENCODERS["slim"]())
    matrix = boost(torch.tensor(velocity))
    turned = matrix @ boost(torch.tensor([0.0, 0.7, 0.2])) @ boost(-torch.tensor([0.5, 0.1, 0.3]))
    before = encoder(series_of(jets.double(), "full"), lengths)
    for transformation in (matrix, turned):
        after = encoder(series_of(transformed(jets.double(), transformation), "full"), lengths)
        torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("wheels")
def test_a_feature_that_changes_breaks_the_invariance():
    """The check can fail: a network that is fed pT and ΔR beside the four-vectors changes."""
    jets, lengths = particles(12)
    moved = boost(torch.tensor([0.3, -0.5, 0.6]))
    torch.manual_seed(0)
    told = SlimLorentzTransformer(CHANNELS, 8, 2, vectors=4, heads=2, expansion=1, scalars="all")
    for encoder, least in ((ready(told), 1e-2), (ready(ENCODERS["lorentz"]()), 1e-2)):
        assert lorentz_violation(ParticlesView(), encoder, jets.double(), lengths, moved) > least
    mine = ready(ENCODERS["slim"]())
    assert lorentz_violation(ParticlesView(), mine, jets.double(), lengths, moved) < 1e-8


def test_pairs_can_be_left_out_on_the_command_line():
    assert not list(out_of_range({"pair_width": 0}, SYSTEM.ranges))
    assert list(out_of_range({"heads": 0}, SYSTEM.ranges))


@pytest.mark.usefixtures("wheels")
def test_a_slim_network_of_kinematics_alone_reads_four_vectors():
    jets, lengths = particles(6)
    encoder = SlimLorentzTransformer(channels_of("kin"), 8, 1, vectors=4, heads=2)
    series = series_of(jets, "kin")
    encoder.fit([(series, lengths)])
    assert encoder(series, lengths).std(dim=0).max() > 1e-3


def test_impossible_networks_are_refused():
    with pytest.raises(UserError, match=r"channels of a ParticlesView \(11, 17, 21\), not 5"):
        ParticleTransformer(5)
    with pytest.raises(UserError, match="multiple of its heads, 4, not 10"):
        ParticleTransformer(CHANNELS, 10)
    with pytest.raises(UserError, match="vectors of a slim L-GATr is a multiple of its heads, 4, not 6"):
        SlimLorentzTransformer(CHANNELS, 8, 1, vectors=6)
