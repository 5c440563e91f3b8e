"""Masses that a network is told, as what masses of pairs are compared with: from the data to the edges."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from collider.higgs.learning.module import VIEW, HiggsModule
from collider.higgs.learning.views import CHANNELS, OBJECTS
from collider.higgs.networks import ParticleNetEncoder
from reconstruction.errors import UserError
from reconstruction.models import CategoricalHead, Encoder
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import make_pooling
from reconstruction.records.batch import SETTINGS
from reconstruction.training.watching.counting import OperationCount

MASSES = ("mass_charged_higgs_gev", "mass_a_gev")
CLASSES = {"signal": 0, "nonprompt": 1, "diboson": 2, "ttx": 3}


class NoPairs(Encoder):
    """Knows nothing of pairs."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, in_channels, 1, make_pooling("mean", in_channels))

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        return ()

    def sequence(self, series, lengths=None, context=None) -> Sequence:
        return Sequence(series, lengths)


def module_of(hypotheses=("mass_a_gev",), told: tuple[str, ...] | None = MASSES, encoder=None) -> HiggsModule:
    torch.manual_seed(0)
    net = encoder or partial(ParticleNetEncoder, width=6, widths=(8,), neighbours=3, depth=1)
    condition = None if told is None else ConditionOptions(told, drop=0.0)
    head = partial(CategoricalHead, classes=CLASSES, hidden_width=8)
    made = HiggsModule(("class",), {VIEW: net}, head, condition=condition, hypotheses=hypotheses)
    if made.reconstructor.condition is not None:
        made.reconstructor.condition.context.fit(torch.tensor([[100.0, 85.0], [160.0, 95.0]], dtype=torch.float64))
    return made.eval()


def events() -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    drawn = torch.rand(3, 6, len(CHANNELS), generator=random)
    drawn[..., CHANNELS.index("object_kind")] = 13.0
    drawn[..., CHANNELS.index("object_pt_gev")] *= 80
    return drawn


def seen(module: HiggsModule, mass_a_gev: float | None) -> torch.Tensor:
    inputs = {OBJECTS: events()}
    if mass_a_gev is not None:
        inputs[SETTINGS] = torch.tensor([[[130.0, mass_a_gev]]] * 3, dtype=torch.float64)
    return module.reconstructor.seen(VIEW, inputs, {})[0].series


def test_the_logarithm_of_the_mass_stands_before_the_kinematics():
    module, plain = module_of(), module_of(hypotheses=())
    told, without = seen(module, 90.0), seen(plain, 90.0)
    torch.testing.assert_close(torch.cat([told[..., :-5], told[..., -4:]], dim=-1), without)
    torch.testing.assert_close(told[..., -5], torch.full_like(told[..., -5], 90.0).log())
    for unknown in (None, float("nan")):
        assert float(seen(module, unknown)[..., -5].abs().max()) == 0


def test_edges_are_told_the_mass_itself_beyond_the_trained_range():
    """The context stops at the edge of the range, 95 GeV; a resonance beyond it is still one."""
    module = module_of()
    parts = module.reconstructor.condition
    assert parts is not None
    inputs = {OBJECTS: events(), SETTINGS: torch.tensor([[[130.0, 120.0]]] * 3, dtype=torch.float64)}
    assert float(parts.given(inputs, ("mass_a_gev",)).min()) == 120.0
    torch.testing.assert_close(seen(module, 120.0)[..., -5].exp(), torch.full((3, 6), 120.0))


def test_no_tensor_of_the_host_comes_between():
    """A list of places in an index is one, and what is copied from the host cannot be replayed as a CUDA graph."""
    module = module_of(hypotheses=tuple(reversed(MASSES)))
    parts = module.reconstructor.condition
    assert parts is not None
    inputs = {OBJECTS: events(), SETTINGS: torch.tensor([[[130.0, 90.0]]] * 3, dtype=torch.float64)}
    with OperationCount() as count:
        told = parts.given(inputs, tuple(reversed(MASSES)))
    assert told.tolist() == [[90.0, 130.0]] * 3
    assert not {"index", "lift_fresh"} & set(count.by_name)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(UserError, match=r"mass_b_gev.*model.condition.settings.*did you mean 'mass_a_gev'"):
        module_of(hypotheses=("mass_b_gev",))
    with pytest.raises(UserError, match=r"mass_a_gev, of which model.condition.settings tells nothing"):
        module_of(told=None)
    with pytest.raises(UserError, match="which NoPairs does not know"):
        module_of(encoder=NoPairs)
