"""Kernels that are written by hand against their formulae in float64.

On a GPU they run as they are. `--gpu-device=cpu` has Triton interpret them where it is installed and TRITON_INTERPRET=1
is set, as tests/device/test_interpreted_kernels.py does.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from reconstruction.kernels import run_on
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.convolution import fft_convolve
from reconstruction.models.encoders.s4d import S4DEncoder
from reconstruction.models.fused import correlation as correlation_module
from reconstruction.models.fused import gate as gate_module
from reconstruction.models.fused import norm as norm_module
from reconstruction.models.fused.correlation import summed_correlation
from reconstruction.models.fused.gate import add_gated
from reconstruction.models.fused.norm import fused_norm

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("kernels")]

EPSILON = 1e-5
SIZES = [(1, 1, 1), (3, 3, 7), (1, 1, 1000), (2, 48, 384), (3, 48, 7), (1, 96, 1000), (3, 128, 65), (1, 130, 33)]
"""(batch, channel, position)"""

Formula = Callable[..., Tensor]


@pytest.fixture
def kernels(kind: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels run on the device of the tests, or are interpreted."""
    if kind == "cpu":
        if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1":
            pytest.skip("without a GPU kernels can be interpreted: with Triton installed, and TRITON_INTERPRET=1 set")
        monkeypatch.setattr("reconstruction.kernels.run_on", lambda device: True)
    elif kind == "pretend":
        pytest.skip("a pretended device runs no kernels")
    else:
        assert run_on(device), "these tests need Triton, a C compiler and a card that Triton knows"


def random(*shape: int, seed: int = 0, device: torch.device | None = None) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


def plain_norm(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Position by position, as the formula says it."""
    mean = values.mean(dim=1, keepdim=True)
    variance = (values - mean).square().mean(dim=1, keepdim=True)
    return (values - mean) / (variance + EPSILON).sqrt() * weight[:, None] + bias[:, None]


def plain_gate(values: Tensor, mixed: Tensor) -> Tensor:
    kept, gate = mixed.chunk(2, dim=1)
    return values + kept / (1 + torch.exp(-gate))


def with_gradients(formula: Formula, inputs: list[Tensor], gradient: Tensor) -> list[Tensor]:
    inputs = [one.detach().requires_grad_() for one in inputs]
    result = formula(*inputs)
    return [result.detach(), *torch.autograd.grad(result, inputs, gradient.to(result.dtype))]


def check(ours: Formula, plain: Formula, inputs: list[Tensor], gradient: Tensor, part: float = 3e-6) -> list[Tensor]:
    """Result and gradients lie within a part of the largest of each (sums of n terms: √n more); returns them."""
    found = with_gradients(ours, inputs, gradient)
    wanted = with_gradients(plain, [one.double() for one in inputs], gradient.double())
    for place, (one, other) in enumerate(zip(found, wanted, strict=True)):
        assert one.shape == other.shape
        allowed = part * (1 + float(other.abs().max()))
        torch.testing.assert_close(one.double(), other, rtol=0, atol=allowed, msg=lambda said, n=place: f"{n}: {said}")
    return found


def norm(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return fused_norm(values, weight, bias, EPSILON)


def norm_of_vectors(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    result = fused_norm(values, weight, bias, EPSILON, channels_last=True)
    assert result.mT.is_contiguous()
    return result


def norm_inputs(device: torch.device, batch: int, channels: int, positions: int) -> tuple[list[Tensor], Tensor]:
    values = 3 + 2 * random(batch, channels, positions, device=device)
    weight, bias = (random(channels, seed=seed, device=device) for seed in (1, 2))
    return [values, weight, bias], random(batch, channels, positions, seed=3, device=device)


@pytest.mark.parametrize("ours", [norm, norm_of_vectors])
@pytest.mark.parametrize("size", SIZES)
def test_the_norm_and_its_gradient(device: torch.device, size: tuple[int, int, int], ours: Formula) -> None:
    """Of one channel the gradient is zero, and the last bits of what cancels are divided by √ε."""
    inputs, gradient = norm_inputs(device, *size)
    check(ours, plain_norm, inputs, gradient, part=3e-6 if size[1] > 1 else 3e-7 / EPSILON**0.5)


def test_the_norm_of_other_strides(device: torch.device) -> None:
    """Values and gradient may be transposed, cut from something longer, or one number for all places."""
    (values, weight, bias), gradient = norm_inputs(device, 3, 5, 40)
    vectors = values.mT.contiguous().mT
    longer = random(3, 5, 50, seed=4, device=device)[..., 3:43]
    for given in (vectors, longer, values[:1].expand(3, -1, -1)):
        for arriving in (gradient, gradient.mT.contiguous().mT, torch.ones((), device=device).expand(3, 5, 40)):
            check(norm, plain_norm, [given, weight, bias], arriving)


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 2, 5), (40, 3, 129), (5, 4, 385)])
def test_the_sum_of_a_correlation(
    device: torch.device, size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few programs a record's numbers are summed by one, with many the records are shared out, unevenly too."""
    first, second = (torch.view_as_complex(random(*size, 2, seed=seed, device=device)) for seed in (6, 7))
    wanted = (first.to(torch.complex128) * second.to(torch.complex128).conj()).sum(dim=0)
    for programs in (1, 7, 1024):
        monkeypatch.setattr(correlation_module, "_PROGRAMS", programs)
        found = [summed_correlation(first, other) for other in (second, second.conj().clone().conj())]
        assert torch.equal(*found)
        torch.testing.assert_close(found[0].to(torch.complex128), wanted, rtol=0, atol=1e-6 * size[0])


def test_a_convolution_and_its_gradients(device: torch.device) -> None:
    """Against the sum over all pairs of samples of a circle, in float64."""
    size, values, kernel = 20, random(3, 2, 9, device=device), random(2, 9, seed=8, device=device)
    spectrum, gradient = torch.fft.rfft(kernel, n=size), random(3, 2, 9, seed=9, device=device)

    def ours(values: Tensor, spectrum: Tensor) -> Tensor:
        return fft_convolve(values, spectrum, size)

    def plain(values: Tensor, spectrum: Tensor) -> Tensor:
        weights = torch.fft.irfft(spectrum, n=size)
        return torch.stack(
            [sum(weights[:, (at - to) % size] * values[..., to] for to in range(9)) for at in range(9)], dim=-1
        )

    found = with_gradients(ours, [values, spectrum], gradient)
    wanted = with_gradients(plain, [values.double(), spectrum.to(torch.complex128)], gradient.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.to(other.dtype), other, rtol=0, atol=2e-5)


def test_the_same_bits_every_time(device: torch.device) -> None:
    inputs, gradient = norm_inputs(device, 7, 48, 100)
    first, second = (with_gradients(norm, inputs, gradient) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_records_do_not_reach_each_other(device: torch.device) -> None:
    (values, weight, bias), _ = norm_inputs(device, 3, 5, 40)
    mixed = random(3, 10, 40, seed=5, device=device)
    formulae = ((lambda given: norm(given, weight, bias), values), (partial(add_gated, values), mixed))
    for formula, broken in formulae:
        right = formula(broken)
        broken = broken.clone()
        broken[1, 2, 20:] = float("nan")
        found = formula(broken)
        assert torch.equal(found[::2], right[::2])
        assert torch.equal(found[..., :20], right[..., :20])
        assert found[1, :, 20:].isnan().any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_and_the_rest_is_float32(device: torch.device, dtype: torch.dtype) -> None:
    (values, weight, bias), gradient = norm_inputs(device, 2, 5, 40)
    result, of_values, of_weight, _ = check(norm, plain_norm, [values.to(dtype), weight, bias], gradient, part=5e-3)
    assert [one.dtype for one in (result, of_values, of_weight)] == [torch.float32, dtype, torch.float32]
    exact = plain_norm(values.to(dtype).double(), weight.double(), bias.double())
    torch.testing.assert_close(result.double(), exact, rtol=0, atol=3e-5)
    mixed = random(2, 10, 40, seed=5, device=device).to(dtype)
    result, of_values, of_mixed = check(add_gated, plain_gate, [values, mixed], gradient, part=5e-3)
    assert [one.dtype for one in (result, of_values, of_mixed)] == [torch.float32, torch.float32, dtype]
    torch.testing.assert_close(result.double(), plain_gate(values.double(), mixed.double()), rtol=0, atol=3e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_gated_sum_and_its_gradient(device: torch.device, size: tuple[int, int, int]) -> None:
    batch, channels, positions = size
    mixed = 4 * random(batch, 2 * channels, positions, seed=5, device=device)
    values, gradient = (random(*size, seed=seed, device=device) for seed in (6, 7))
    check(add_gated, plain_gate, [values, mixed], gradient)
    strided = [one.mT.contiguous().mT for one in (values, mixed)]
    check(add_gated, plain_gate, strided, gradient.mT.contiguous().mT)


@pytest.mark.filterwarnings("ignore:overflow encountered")  # NumPy's, where it interprets exp(200)
def test_a_shut_and_an_open_gate(device: torch.device) -> None:
    mixed = torch.tensor([2.0, 2.0, 2.0, -200.0, 0.0, 200.0], device=device).reshape(1, 2, 3)
    values, gradient = torch.ones(1, 1, 3, device=device), torch.ones(1, 1, 3, device=device)
    result, _, of_mixed = with_gradients(add_gated, [values, mixed], gradient)
    assert result.flatten().tolist() == [1.0, 2.0, 3.0]
    assert of_mixed.flatten().tolist() == [0.0, 0.5, 1.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize("formula", ["norm", "gate"])
def test_further_derivatives_are_torch_s_own(device: torch.device, formula: str) -> None:
    (values, weight, bias), gradient = norm_inputs(device, 2, 3, 4)
    ours, plain, inputs = (
        (norm, plain_norm, [values, weight, bias])
        if formula == "norm"
        else (add_gated, plain_gate, [values, random(2, 6, 4, seed=5, device=device)])
    )

    def second(formula: Formula, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        inputs = [one.detach().requires_grad_() for one in inputs]
        result = formula(*inputs).sin()
        once = torch.autograd.grad((result * gradient.to(result.dtype)).sum(), inputs, create_graph=True)
        two = torch.stack((gradient, -gradient)).to(result.dtype)
        batched = torch.autograd.grad(result, inputs, two, is_grads_batched=True, retain_graph=True)
        return *torch.autograd.grad(sum(one.square().sum() for one in once), inputs), *batched

    for one, other in zip(second(ours, inputs), second(plain, [one.double() for one in inputs]), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prenorm", [True, False])
def test_an_encoder_says_with_kernels_what_it_says_without(
    device: torch.device, prenorm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    encoder = S4DEncoder(2, width=6, state=4, depth=2, prenorm=prenorm).to(device)
    series = random(2, 40, 2, device=device)
    lengths = torch.tensor([40, 23], device=device)
    started: list[str] = []
    for module, name in ((norm_module, "normalised"), (norm_module, "gradients"), (gate_module, "_gradient")):
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _n=name, _inner=inner: (started.append(_n), _inner(*a))[1])

    def said() -> list[Tensor]:
        features = [encoder(series), encoder(series, lengths)]
        parameters = list(encoder.parameters())
        return [*features, *torch.autograd.grad(sum(one.square().sum() for one in features), parameters)]

    found = said()
    norms = 3 if prenorm else 2
    assert {name: started.count(name) for name in started} == {
        "normalised": 2 * norms,
        "gradients": 2 * norms,
        "_gradient": 4,
    }
    monkeypatch.setattr("reconstruction.kernels.run_on", lambda device: False)
    started.clear()
    for one, other in zip(found, said(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not started


def test_transforms_and_other_tensors_take_torch_s_own(device: torch.device) -> None:
    norm = ChannelNorm(5).to(device)
    values = random(2, 5, 8, device=device)
    wanted = norm(values)
    torch.testing.assert_close(torch.func.vmap(lambda one: norm(one.unsqueeze(0))[0])(values), wanted)
    said, change = torch.func.jvp(norm, (values,), (values,))
    torch.testing.assert_close(said, wanted)
    assert change.abs().max() < 1e-3  # a larger signal is normalised away
    assert norm.double()(values.double()).dtype == torch.float64
    empty = norm.float()(values[:0])
    assert empty.shape == (0, 5, 8)


def test_offsets_have_64_bits(device: torch.device) -> None:
    channels, positions = 64, (1 << 24) + 40
    if device.type != "cuda" or torch.cuda.mem_get_info(device)[0] < 40e9:
        pytest.skip("needs a GPU with 40 GB")
    values = torch.zeros(2, channels, positions, device=device)
    last = random(1, channels, 40, device=device)
    values[1, :, -40:] = last[0]
    weight, bias = torch.ones(2, channels, device=device)
    wanted = plain_norm(last.double(), weight.double(), bias.double())
    with torch.no_grad():
        found = norm(values, weight, bias)[1:, :, -40:]
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
        gated = add_gated(values[:, :32].contiguous(), values)[1:, :, -40:]
        torch.testing.assert_close(gated.double(), plain_gate(last[:, :32].double(), last.double()), rtol=0, atol=1e-5)
