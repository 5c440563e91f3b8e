"""The state-space layer: one truth in three forms (convolution, recurrence, chunks), cache, initial spectra."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from cres.errors import UserError
from reconstruction.models.encoders import channel_norm
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.convolution import kernel_spectrum
from reconstruction.models.encoders.s4d_layer import StateSpace, initial_spectrum
from reconstruction.models.encoders.s4d_spectra import joint_spectra


def recurrence(layer: StateSpace, values: Tensor) -> Tensor:
    """Step by step in float64, with the discretisation written out again."""
    a = torch.complex(-torch.exp(layer.dynamics.log_a_real), layer.dynamics.a_imaginary)
    decay = torch.exp(a * torch.exp(layer.dynamics.log_dt)[:, None])
    c = torch.view_as_complex(layer.c)

    def run(series: Tensor, c: Tensor) -> Tensor:
        state = torch.zeros(series.shape[0], *a.shape, dtype=torch.complex128)
        outputs = []
        for sample in series.unbind(-1):
            state = decay * state + (decay - 1) / a * sample[..., None]
            outputs.append(2 * (c * state).real.sum(-1))
        return torch.stack(outputs, dim=-1)

    result = run(values, c[0]) + layer.skip[:, None] * values
    if layer.directions == 2:
        future = run(values.flip(-1), c[1]).flip(-1)
        result[..., :-1] += future[..., 1:]
    return result


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_convolution_equals_recurrence(bidirectional: bool, length: int) -> None:
    layer = StateSpace(3, 8, bidirectional=bidirectional).double()
    values = torch.randn(2, 3, length, dtype=torch.float64)
    torch.testing.assert_close(layer(values), recurrence(layer, values), rtol=1e-10, atol=1e-10)


def test_causal_means_causal() -> None:
    layer = StateSpace(2, 4, bidirectional=False).double()
    values = torch.randn(1, 2, 20, dtype=torch.float64)
    changed = values.clone()
    changed[..., 10:] += 1
    torch.testing.assert_close(layer(values)[..., :10], layer(changed)[..., :10])
    both = StateSpace(2, 4).double()
    assert (both(values) - both(changed))[..., :10].abs().max() > 1e-6


@torch.no_grad()
def test_steps_and_chunks_equal_the_convolution() -> None:
    layer = StateSpace(3, 16, bidirectional=False)
    values = torch.randn(2, 3, 120)
    whole = layer(values)
    scale = whole.abs().max()
    state = layer.initial_state(2)
    steps = []
    for sample in values.unbind(-1):
        output, state = layer.step(sample, state)
        steps.append(output)
    assert (torch.stack(steps, dim=-1) - whole).abs().max() < 1e-5 * scale
    for size in (7, 64, 119, 120):
        state = layer.initial_state(2)
        pieces = []
        for piece in values.split(size, dim=-1):
            output, state = layer.chunk(piece, state)
            pieces.append(output)
        together = torch.cat(pieces, dim=-1)
        assert (together - whole).abs().max() < 1e-5 * scale


@pytest.mark.parametrize("bidirectional", [False, True])
def test_spectra_of_several_layers_at_once_are_theirs(bidirectional: bool) -> None:
    """The twin is what autograd makes of each layer's own kernel."""
    layers = [StateSpace(3, 8, bidirectional=bidirectional).double() for _ in range(3)]
    for layer, together in zip(layers, joint_spectra(layers, 21), strict=True):
        alone = kernel_spectrum(layer.kernel(21), 48)
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer.spectrum(21), alone, rtol=1e-12, atol=1e-12)
        weights = torch.randn_like(alone)
        gradients = [
            torch.autograd.grad((one * weights).real.sum(), list(layer.parameters()), retain_graph=True)
            for one in (together, alone)
        ]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_layers_whose_spectrum_nothing_reads_get_no_gradient_of_it() -> None:
    layers = [StateSpace(3, 8).double() for _ in range(2)]
    joint_spectra(layers, 21)[1].abs().sum().backward()
    assert layers[0].c.grad is not None
    assert float(layers[0].c.grad.abs().max()) == 0
    assert layers[1].c.grad is not None
    assert float(layers[1].c.grad.abs().max()) > 0


def test_bidirectional_cannot_stream() -> None:
    layer = StateSpace(3, 4)
    with pytest.raises(UserError, match="causal"):
        layer.step(torch.zeros(1, 3), layer.initial_state(1))


def test_initial_spectra_of_the_paper() -> None:
    n = torch.arange(8, dtype=torch.float64)
    lin = initial_spectrum("lin", 2, 8)
    torch.testing.assert_close(lin, torch.complex(torch.full((8,), -0.5).double(), math.pi * n).repeat(2, 1))
    inverse = initial_spectrum("inv", 2, 8)
    expected = 16 / math.pi * (16 / (2 * n + 1) - 1)
    torch.testing.assert_close(inverse.imag, expected.repeat(2, 1))
    random = initial_spectrum("random", 64, 8)
    assert (random.real < 0).all()
    assert len(random.imag.unique()) == 64 * 8


def test_the_cache_follows_the_parameters() -> None:
    layer = StateSpace(3, 8).eval()
    values = torch.randn(1, 3, 30)
    with torch.no_grad():
        before = layer(values)
        kept = layer.spectrum(30)
        torch.testing.assert_close(layer(values), before)
        assert layer.spectrum(30) is kept
        for parameter in layer.parameters():
            # .data changes behind autograd's back, as averaging of weights does.
            parameter.data.mul_(1.1)
            fresh = copy.deepcopy(layer)
            fresh.kept.forget()
            torch.testing.assert_close(layer(values), fresh(values), rtol=0, atol=0)
            assert not torch.equal(layer(values), before)
        assert layer(values[..., :20]).shape == (1, 3, 20)
    assert layer(values).requires_grad
    with torch.inference_mode():
        layer(values)
    layer(values).sum().backward()
    assert layer.c.grad is not None


def test_float32_layer_is_close_to_float64() -> None:
    layer = StateSpace(4, 64)
    values = torch.randn(1, 4, 4096)
    exact = copy.deepcopy(layer).double()(values.double())
    assert (layer(values) - exact).abs().max() < 1e-4 * exact.abs().max()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="even"):
        StateSpace(3, 5)
    with pytest.raises(UserError, match="dt_min"):
        StateSpace(3, 4, dt_min=0.2, dt_max=0.1)


@pytest.mark.parametrize("few", [0, 1024])
def test_channel_norm_is_layer_norm(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    norm = ChannelNorm(5).double()
    twin = nn.LayerNorm(5).double()
    with torch.no_grad():
        for ours, theirs in zip(norm.parameters(), twin.parameters(), strict=True):
            ours.normal_()
            theirs.copy_(ours)
    values = torch.randn(2, 5, 300, dtype=torch.float64)
    monkeypatch.setattr(channel_norm, "_FEW_POSITIONS", few)
    torch.testing.assert_close(norm(values), twin(values.mT).mT)
    small = values[..., :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, *_: norm(v), (small, *norm.parameters()))
