"""ParticleNet keeps the contract of encoders, knows no order of objects, and is what a slow float64 twin computes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collider.higgs.networks import ParticleNetEncoder
from collider.higgs.networks.particle_net import WINDOWS, hypothesis_features, pair_features
from reconstruction.errors import UserError
from reconstruction.models import set_trainable
from reconstruction.models.edges import EdgeConv, nearest_objects

CHANNELS = 7
CONTEXT = 5


def objects_of(batch: int, count: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    """Objects with three features, ln pT, η, cos φ and sin φ."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randn(batch, count, 6, dtype=dtype, generator=random)
    angle = 3 * drawn[..., 5]
    return torch.cat(
        [
            drawn[..., :3],
            4 + 0.5 * drawn[..., 3:4],
            drawn[..., 4:5],
            angle.cos().unsqueeze(-1),
            angle.sin().unsqueeze(-1),
        ],
        dim=-1,
    )


def encoder_of(pooling="mean", pairs=True, by=None) -> ParticleNetEncoder:
    torch.manual_seed(0)
    made = ParticleNetEncoder(CHANNELS, 6, (8, 12), neighbours=3, depth=2, pairs=pairs, pooling=pooling)
    if by is not None:
        made.condition(by, CONTEXT)
    return made.double().eval()


@torch.no_grad()
def slow(encoder: ParticleNetEncoder, series: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Return the features event by event and edge by edge, with lists in place of tensors of neighbours."""
    found = []
    for event, length in zip(series, lengths, strict=True):
        objects = event[:length]
        kinematics = objects[:, -4:].tolist()
        values = [encoder.project(one) for one in objects]
        places = [torch.tensor(one[1:]) for one in kinematics]
        for block in encoder.blocks:
            assert isinstance(block, EdgeConv)
            new = []
            for i in range(length):
                others = sorted(
                    (j for j in range(length) if j != i), key=lambda j: float((places[i] - places[j]).norm())
                )
                edges = [edge(block, values, kinematics, i, j) for j in others[: encoder.neighbours]]
                heard = sum(edges) / len(edges) if edges else 0.0
                new.append(torch.relu(block.shortcut(values[i]) + heard))
            values = places = new
        found.append(torch.stack(values).mean(0))
    return torch.stack(found)


def edge(block: EdgeConv, values, kinematics, i: int, j: int) -> torch.Tensor:
    """Return h of one edge: W (x_i, x_j − x_i) with W = (own + other, other), and what is known of the pair."""
    x = torch.cat([values[i], values[j] - values[i]])
    weight = torch.cat([block.own.weight + block.other.weight, block.other.weight], dim=1)
    said = weight @ x + block.own.bias
    if block.pair is not None:
        said = said + block.pair(torch.tensor(pair_by_hand(kinematics[i], kinematics[j]), dtype=said.dtype))
    said = torch.relu(block.norms[0](said))
    for layer, norm in zip(block.further, list(block.norms)[1:], strict=True):
        said = torch.relu(norm(layer(said)))
    return said


def pair_by_hand(one, other) -> list[float]:
    """Return ln m − 4, ln m_T − 4, |Δη|, cos Δφ and the ripples of ln m, from four-momenta."""
    momenta = []
    for log_pt, eta, cosine, sine in (one, other):
        pt = math.exp(log_pt)
        momenta.append((pt * math.cosh(eta), pt * cosine, pt * sine, pt * math.sinh(eta)))
    energy, x, y, z = (a + b for a, b in zip(*momenta, strict=True))
    across = math.exp(one[0]) + math.exp(other[0])
    mass, transverse = energy**2 - x**2 - y**2 - z**2, across**2 - x**2 - y**2
    log_mass, cosine = math.log(mass) / 2, one[2] * other[2] + one[3] * other[3]
    ripples = [wave(frequency * log_mass) for frequency in (4, 8, 16) for wave in (math.sin, math.cos)]
    return [log_mass - 4, math.log(transverse) / 2 - 4, abs(one[1] - other[1]), cosine, *ripples]


@pytest.mark.parametrize("pairs", [True, False])
def test_it_is_what_a_slow_twin_computes(pairs):
    encoder, series, lengths = encoder_of(pairs=pairs), objects_of(3, 7), [7, 4, 1]
    torch.testing.assert_close(
        encoder(series, torch.tensor(lengths)), slow(encoder, series, lengths), rtol=1e-9, atol=1e-9
    )


def test_masses_of_pairs_are_those_of_four_momenta():
    kinematics = objects_of(1, 5)[..., -4:]
    found = pair_features(kinematics)[0]
    for i in range(5):
        for j in range(5):
            if i != j:
                by_hand = pair_by_hand(kinematics[0, i].tolist(), kinematics[0, j].tolist())
                wanted = torch.tensor(by_hand, dtype=torch.float64)
                torch.testing.assert_close(found[i, j], wanted, rtol=1e-7, atol=1e-7)


def told_objects(mass_gev: float, count: int = 6, scale: float = 1.0) -> torch.Tensor:
    """Objects with the logarithm of a mass that is told before the kinematics; pT and mass times a scale."""
    objects = objects_of(2, count)
    objects[..., -4] += math.log(scale)
    told = torch.full_like(objects[..., :1], math.log(mass_gev * scale))
    return torch.cat([objects[..., :-4], told, objects[..., -4:]], dim=-1)


def test_pairs_near_the_mass_that_is_told_are_known_as_such():
    masses, told = [20.0, 88.0, 90.0, 91.0, 1e-3], 90.0
    logs = torch.tensor([[[math.log(mass) for mass in masses]]], dtype=torch.float64)
    found = hypothesis_features(logs, torch.tensor([[[math.log(told)]]], dtype=torch.float64))[0, 0]
    for mass, features in zip(masses, found.tolist(), strict=True):
        away = [math.log(mass / told) / window for window in WINDOWS]
        expected = [value for x in away for value in (math.exp(-x * x / 2), x * math.exp(-x * x / 2))]
        assert features == pytest.approx(expected, abs=1e-12)
    assert found[2].tolist() == pytest.approx([1.0, 0.0] * len(WINDOWS))
    unknown = hypothesis_features(logs[..., 1:4], torch.zeros(1, 1, 1, dtype=torch.float64))
    assert float(unknown.abs().max()) < 1e-80  # of 1 GeV, as one that is not known counts


@given(scale=st.floats(0.3, 3.0))
@settings(max_examples=10, deadline=None)
def test_what_is_known_of_a_told_mass_is_the_same_wherever_it_lies(scale):
    """What holds at 85 and 90 GeV holds at 87: the only other features of edges are left out here."""
    from_scale = []
    for factor in (1.0, scale):
        objects = told_objects(60.0, scale=factor)
        logs = pair_features(objects[..., -4:])[..., 0] + 4
        from_scale.append(hypothesis_features(logs, objects[:, :1, -5:-4]))
    torch.testing.assert_close(*from_scale)


def test_an_encoder_that_compares_masses_listens_to_what_is_told():
    torch.manual_seed(0)
    encoder = ParticleNetEncoder(CHANNELS + 1, 6, (8, 12), neighbours=3, depth=2)
    with torch.no_grad():
        encoder.project.weight[:, -5] = 0  # the mass itself is not to be heard
    encoder.weigh_against(1)
    encoder = encoder.double().eval().requires_grad_(False)
    one, other = encoder(told_objects(40.0)), encoder(told_objects(60.0))
    assert float((one - other).abs().max()) > 1e-3
    deaf = ParticleNetEncoder(CHANNELS + 1, 6, (8, 12), neighbours=3, depth=2, pairs=False)
    with pytest.raises(UserError, match="needs pairs=true"):
        deaf.weigh_against(1)


@pytest.mark.parametrize("by", [None, "film", "attention"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_neither_order_nor_padding_changes_anything(by, seed):
    encoder, series = encoder_of("attention", by=by), objects_of(3, 9, seed=seed)
    context = None if by is None else torch.randn(3, CONTEXT, dtype=torch.float64)
    lengths = torch.tensor([9, 5, 1])
    together = encoder(series, lengths, context)
    shuffled, polluted = series.clone(), series.clone()
    for row, length in enumerate(lengths.tolist()):
        order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
        shuffled[row, :length] = series[row, order]
        polluted[row, length:] = 1e3
    torch.testing.assert_close(encoder(shuffled, lengths, context), together, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(encoder(polluted, lengths, context), together, rtol=1e-12, atol=1e-12)
    alone = encoder(series[1:2, :5], None, None if context is None else context[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("by", ["film", "attention"])
def test_what_it_is_told_reaches_every_scale(by):
    encoder = encoder_of(by=by).train()
    assert encoder.modulations is not None
    assert len(encoder.modulations) == len(encoder.layers) == 3
    series, told = objects_of(4, 6), torch.randn(4, CONTEXT, dtype=torch.float64)
    (encoder(series, None, told) * torch.randn(4, 12, dtype=torch.float64)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    for modulation in encoder.modulations:
        before = encoder(series, None, told)
        with torch.no_grad():
            next(modulation.parameters()).add_(0.1)
        assert not torch.equal(encoder(series, None, told), before)


@pytest.mark.parametrize("count", [1, 2, 13])
def test_any_number_of_objects(count):
    features = encoder_of("last")(objects_of(2, count))
    assert features.shape == (2, 12)
    assert features.isfinite().all()


def test_events_do_not_see_each_other():
    series = objects_of(4, 8).requires_grad_()
    encoder_of("attention").train()(series)[1].pow(3).sum().backward()
    assert series.grad is not None
    assert series.grad[1].abs().max() > 0
    assert series.grad[[0, 2, 3]].abs().max() == 0


def test_single_and_half_precision():
    encoder, series = encoder_of(), objects_of(2, 8)
    double, single = encoder(series), encoder.float()(series.float())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder(series.float()).float(), single, rtol=0.1, atol=0.1)


def test_neighbours_know_no_seam_and_no_padding():
    """Objects at φ = 3.1 and −3.1 are neighbours; what is not there is nobody's."""
    angle = torch.tensor([[3.1, -3.1, 1.5, 0.0]])
    places = torch.stack([torch.zeros(1, 4), angle.cos(), angle.sin()], dim=-1)
    near, heard = nearest_objects(places, None, 1)
    assert near[0, 0, 0] == 1
    assert near[0, 1, 0] == 0
    near, heard = nearest_objects(places, torch.tensor([[True, False, True, True]]), 3)
    assert near[0, 0, 0] == 2
    assert heard.sum(-1).tolist() == [[2, 3, 2, 2]]


def test_layers_can_be_frozen():
    encoder, counts = encoder_of(), []
    for last in (0, 1, None):
        set_trainable(encoder, last)
        counts.append(sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad))
    assert counts[0] == 0 < counts[1] < counts[2] == sum(parameter.numel() for parameter in encoder.parameters())


def test_what_cannot_be_meant_is_said():
    with pytest.raises(UserError, match="at least 4 channels"):
        ParticleNetEncoder(3)
    with pytest.raises(UserError, match="at least one neighbour"):
        ParticleNetEncoder(7, neighbours=0)
    with pytest.raises(UserError, match="widths of"):
        ParticleNetEncoder(7, widths=())


def test_the_size_of_the_paper_is_below_five_megabytes():
    encoder = ParticleNetEncoder(12)
    encoder.condition("attention", 16)
    assert 4 * sum(parameter.numel() for parameter in encoder.parameters()) < 5e6
