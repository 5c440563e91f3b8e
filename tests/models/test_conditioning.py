"""What every encoder promises when it is told settings, in each of the three ways, and what a context is."""

from __future__ import annotations

from functools import partial
from typing import get_args

import pytest
import torch
from torch import nn

from collider.showers.networks import GraphEncoder, LayerTransformerEncoder, VolumeEncoder
from cres.errors import UserError
from encoders import ENCODERS
from reconstruction.models import CategoricalHead, Encoder, GaussianHead
from reconstruction.models.conditioning.context import By, ConditionOptions, Context
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import SETTINGS
from reconstruction.training.learning.settings_met import MOST_TRAINED, described_settings
from reconstruction.training.network.reconstructor import Reconstructor, build_reconstructor

WAYS: tuple[By, ...] = get_args(By)
SHOWERS = {
    "layers": lambda channels: LayerTransformerEncoder(channels, 8, 1, heads=2, pooling="attention"),
    "volume": lambda channels: VolumeEncoder(channels, 4, 1, sectors=2, pooling="attention"),
    "graph": lambda channels: GraphEncoder(channels, 8, 1, neighbours=2, pooling="attention"),
}
MAKERS = {name: (lambda channels, make=make: make(channels, "attention")) for name, make in ENCODERS.items()} | SHOWERS


class PlainView(RecordView):
    reads, channels, scalar_count = "series", 4, 0

    def forward(self, series: torch.Tensor) -> View:
        return View(series, series.new_zeros(len(series), 0))

    def lengths(self, lengths: torch.Tensor, samples: int, positions: int) -> torch.Tensor:
        return lengths


def model_of(name: str, by: By, **options: object) -> Reconstructor:
    torch.manual_seed(0)
    condition = ConditionOptions(("length_m", "temperature_k"), by, ("temperature_k",), width=6, **options)
    encoders = {"plain": lambda in_channels: MAKERS[name](in_channels)}
    model = build_reconstructor({}, ("a", "b"), {"plain": PlainView}, encoders, GaussianHead, condition=condition)
    model.target_scaler.fitted = True
    model.condition.context.fit(torch.tensor([[0.3, 4.0], [0.5, 12.0], [0.4, 6.0]], dtype=torch.float64))
    return model


def batch_of(rows: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    settings = torch.tensor([[0.3, 4.0], [0.5, 12.0], [0.4, torch.nan], [torch.nan, 6.0]], dtype=torch.float64)[:rows]
    return {"series": torch.randn(rows, 24, 4, generator=generator), SETTINGS: settings.unsqueeze(1)}


@pytest.fixture(params=MAKERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("by", WAYS)
def test_every_encoder_is_told(name: str, by: By) -> None:
    """Settings change what is said, of their own row alone; every parameter learns; padding changes nothing."""
    if name == "volume" and by == "concatenation":
        with pytest.raises(UserError, match="cells of a grid"):
            model_of(name, by)
        return
    model = model_of(name, by, drop=0.0)
    inputs = batch_of()
    said = model.standardised(inputs).distribution.mean
    other = inputs | {SETTINGS: inputs[SETTINGS].clone()}
    other[SETTINGS][1, 0, 0] = 0.35
    changed = model.standardised(other).distribution.mean
    assert not torch.allclose(changed[1], said[1])
    torch.testing.assert_close(changed[[0, 2, 3]], said[[0, 2, 3]])
    model.standardised(inputs).distribution.log_prob(torch.randn(4, 2)).sum().backward()
    for place, parameter in model.named_parameters():
        assert parameter.grad is not None, place
        assert parameter.grad.abs().max() > 0, place
    model.eval()
    mask = torch.arange(24) < torch.tensor([[24], [13], [7], [20]])
    spoiled = inputs | {"series": torch.where(mask.unsqueeze(-1), inputs["series"], 1e3)}
    padded = model.standardised(inputs, {"series": mask}).distribution.mean
    torch.testing.assert_close(model.standardised(spoiled, {"series": mask}).distribution.mean, padded)


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("name", ["s4d", "conformer"])
def test_the_context_reaches_the_encoder_and_the_head(name: str, by: By) -> None:
    model = model_of(name, by, drop=0.0)
    inputs = batch_of()
    other = inputs | {SETTINGS: inputs[SETTINGS] * 0.9}
    one, two = (model.standardised(these).encoded["plain"].features for these in (inputs, other))
    assert not torch.allclose(one, two)
    head = model.condition.features(one, model.condition.context(model.condition.placed(inputs)))
    assert sum(part.shape[1] for part in head) == one.shape[1] + 6


def test_without_settings_nothing_is_computed_for_them() -> None:
    model = Reconstructor({"plain": PlainView()}, {"plain": MAKERS["s4d"](4)}, GaussianHead, ("a",))
    assert model.condition is None
    assert not [name for name, _ in model.named_parameters() if "modulation" in name or "context" in name]


def test_a_setting_that_is_not_known_has_a_learned_default() -> None:
    context = model_of("s4d", "film").condition.context.eval()
    placed = torch.tensor([[torch.nan, 0.2], [0.0, 0.2]], dtype=torch.float64)
    before = context(placed).vector
    with torch.no_grad():
        context.unknown[0] = 3.0
    after = context(placed).vector
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_in_training_settings_are_dropped_in_their_share() -> None:
    context = model_of("s4d", "film", drop=0.3).condition.context.train()
    placed = torch.ones(4000, 2, dtype=torch.float64)
    torch.manual_seed(0)
    hidden = (context(placed).coordinates == 0).double().mean(dim=0)
    assert ((hidden - 0.3).abs() < 0.03).all()
    assert (context.eval()(placed).coordinates != 0).all()


def test_logarithms_and_their_own_range_are_standardised() -> None:
    context = model_of("s4d", "film").condition.context
    values = torch.tensor([[0.3, 4.0], [0.5, 12.0], [0.4, 6.0]], dtype=torch.float64)
    placed = context.placed(values)
    torch.testing.assert_close(placed.mean(dim=0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    logs = values[:, 1].log()
    torch.testing.assert_close(placed[:, 1], (logs - logs.mean()) / logs.std(correction=0))
    torch.testing.assert_close(context.low, placed.amin(dim=0))
    assert context.to(torch.bfloat16).shift.dtype == torch.float64


def test_outside_of_the_range_error_bars_grow_with_the_distance() -> None:
    model = model_of("s4d", "film").eval()
    series = batch_of(1)["series"].expand(5, -1, -1)
    lengths = torch.tensor([0.45, 0.5, 0.52, 0.56, torch.nan], dtype=torch.float64)
    settings = torch.stack((lengths, torch.full_like(lengths, 6.0)), dim=1).unsqueeze(1)
    std = model({"series": series, SETTINGS: settings}).error_bar[:, 0]
    at_edge = std[1]
    assert std[2] > at_edge
    assert std[3] > std[2]
    told = model.standardised({"series": series, SETTINGS: settings}).distribution
    torch.testing.assert_close(
        model.physical(told).error_bar[:2], model({"series": series, SETTINGS: settings}).error_bar[:2]
    )
    never = model_of("s4d", "film", widen=0.0).eval()
    grown = never({"series": series, SETTINGS: settings}).error_bar[3, 0]
    assert at_edge <= grown < std[3]


def test_outside_of_the_range_classes_are_less_sure() -> None:
    torch.manual_seed(0)
    condition = ConditionOptions(("mass",), width=6)
    encoders = {"plain": lambda in_channels: MAKERS["s4d"](in_channels)}
    head = partial(CategoricalHead, classes={"signal": 1, "background": 0})
    model = build_reconstructor({}, ("kind",), {"plain": PlainView}, encoders, head, condition=condition).eval()
    model.target_scaler.leave()
    model.condition.context.fit(torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(5)
    series = batch_of(1)["series"].expand(3, -1, -1)
    masses = torch.tensor([3.0, 3.5, 4.5], dtype=torch.float64).reshape(3, 1, 1)
    surest = model({"series": series, SETTINGS: masses}).probabilities.amax(dim=1)
    assert surest[0] > surest[1] > surest[2] >= 0.5


@pytest.mark.parametrize("by", WAYS)
def test_export(by: By) -> None:
    model = model_of("s4d", by).eval()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, series: torch.Tensor, settings: torch.Tensor) -> torch.Tensor:
            said = self.model({"series": series, SETTINGS: settings})
            return torch.stack((said.mean, said.error_bar))

    inputs = batch_of()
    inputs[SETTINGS][0, 0, 0] = 0.7
    with torch.no_grad():
        program = torch.export.export(Whole(), tuple(inputs.values()), strict=False).module()
        torch.testing.assert_close(program(*inputs.values()), Whole()(*inputs.values()))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([1.0, 1.0], "is 1 in all training rows"),
        ([torch.nan, torch.nan], "known in none"),
        ([1.0, torch.inf], "is infinite"),
        ([0.0, 1.0], "has no logarithm"),
    ],
)
def test_settings_that_teach_nothing_are_refused(column: list[float], said: str) -> None:
    context = Context(ConditionOptions(("q",), log=("q",)))
    with pytest.raises(UserError, match=said):
        context.fit(torch.tensor(column, dtype=torch.float64).unsqueeze(1))


def test_wrong_options_are_refused() -> None:
    for options, said in (
        ({"settings": ()}, "at least one"),
        ({"settings": ("a", "a")}, "each once"),
        ({"settings": ("length_m",), "log": ("lenght_m",)}, "length_m"),
        ({"settings": ("a",), "degrees": (1, 2)}, "2 entries for 1"),
        ({"settings": ("a",), "drop": 1.0}, "drop"),
    ):
        with pytest.raises(UserError, match=said):
            ConditionOptions(**options)


def test_an_encoder_of_ones_own_without_context_is_told_by_concatenation() -> None:
    class Means(Encoder):
        def __init__(self, in_channels: int) -> None:
            super().__init__(in_channels, 8, 1, make_pooling("mean", 8))
            self.project = nn.Linear(in_channels, 8)

        @property
        def layers(self) -> tuple[nn.Module, ...]:
            return (self.project,)

        def sequence(self, series: torch.Tensor, lengths: torch.Tensor | None = None) -> Sequence:
            return Sequence(self.project(series), lengths)

    MAKERS["means"] = Means
    try:
        with pytest.raises(UserError, match="takes no context"):
            model_of("means", "film")
        assert model_of("means", "concatenation").standardised(batch_of()).distribution.mean.shape == (4, 2)
    finally:
        del MAKERS["means"]


def test_apparatus_too_many_to_list_stay_too_many() -> None:
    many = torch.arange(MOST_TRAINED + 1, dtype=torch.float64).unsqueeze(1)
    before = described_settings(["length_m"], many)
    assert before["trained"] == []
    after = described_settings(["length_m"], torch.tensor([[9e3]], dtype=torch.float64), before)
    assert after["trained"] == []  # one that was met since is not all that was met
    assert (after["low"], after["high"]) == ([0.0], [9e3])
