"""Long convolutions by real FFT, with a backward pass that uses real FFTs too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from reconstruction.models.fused.correlation import summed_correlation
from reconstruction.shapes import Complex, Float

_CACHE_BYTES = 1 << 20
"""Size of one buffer of the convolution on a CPU; a core has one to two megabytes of its own."""
_SHARED_BYTES = 1 << 24
"""Buffers up to this size are worked on as one: they stay in the cache that the cores share."""
_KEPT_BYTES = 1 << 28
"""Spectra up to this size are kept for the backward pass on a GPU: its memory has room for those of short series."""


def good_length(minimum: int) -> int:
    """Return the smallest even number ≥ minimum whose only prime factors are 2, 3 and 5 (fast FFTs)."""
    best = 1 << max(1, (minimum - 1).bit_length())
    five = 1
    while five < best:
        three = five
        while three < best:
            two = 2 * three
            while two < minimum:
                two *= 2
            best = min(best, two)
            three *= 3
        five *= 5
    return best


def kernel_spectrum(kernel: Float[Tensor, "direction channel length"], size: int) -> Complex[Tensor, "channel bin"]:
    """Spectrum of a causal kernel (one direction) or of past and future together (two directions).

    The second direction acts on the future: weight l belongs to the sample l + 1 ahead.
    """
    return _RealFFT.apply(two_sided(kernel, size), size)


def two_sided(kernel: Float[Tensor, "direction channel length"], size: int) -> Float[Tensor, "channel size"]:
    """Return the kernel on a circle of `size` samples: the past from its start, the future backwards from its end."""
    if kernel.shape[0] == 1:
        return nn.functional.pad(kernel.squeeze(0), (0, size - kernel.shape[-1]))
    past, future = kernel.unbind()
    between = past.new_zeros(past.shape[0], size - 2 * past.shape[1])
    return torch.cat((past, between, future.flip(-1)), dim=-1)


def two_sided_gradient(
    gradient: Complex[Tensor, "channel bin"], directions: int, length: int
) -> Float[Tensor, "direction channel length"]:
    """Return the gradient of a kernel from that of the rfft of its `two_sided` form."""
    circle = _adjoint(gradient, 2 * (gradient.shape[-1] - 1))
    past = circle[..., :length]
    return past.unsqueeze(0) if directions == 1 else torch.stack((past, circle[..., -length:].flip(-1)))


def fft_convolve(
    values: Float[Tensor, "batch channel length"], spectrum: Complex[Tensor, "channel bin"], size: int
) -> Float[Tensor, "batch channel length"]:
    """Circular convolution of period `size` of the zero-padded values, cropped to their length."""
    result: Tensor = _Convolution.apply(values, spectrum, size)[0]
    return result


class _RealFFT(Function):
    """rfft whose backward pass is one irfft (torch's own pads to a full complex FFT)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, size: int) -> Tensor:
        """(…, size or shorter) real to (…, size/2 + 1) complex."""
        return torch.fft.rfft(values, n=size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        """Keep the sizes."""
        ctx.length, ctx.size = inputs[0].shape[-1], inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Adjoint of rfft: size · irfft of the gradient with its inner bins halved."""
        return _adjoint(gradient, ctx.size)[..., : ctx.length], None


def _adjoint(gradient: Tensor, size: int) -> Tensor:
    """Return the gradient of `size` values, an even number, from that of their rfft."""
    return torch.fft.irfft(_inner_bins(gradient, 0.5), n=size, norm="forward")


class _Convolution(Function):
    """irfft(rfft(values) · spectrum): three real FFTs backward, none through torch's complex adjoints."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, spectrum: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Values (batch, channel, length), spectrum (channel, size/2 + 1); beside the result the values' spectrum.

        Empty where it is not kept.
        """
        if _as_one(values, size):
            transformed = torch.fft.rfft(values, n=size)
            result = _filtered(transformed, spectrum, size)[..., : values.shape[-1]]
            # a compiler may not ask for the size of a batch
            keep = not torch.compiler.is_compiling() and _is_kept(values, size)
            return result, transformed if keep else values.new_empty(0)
        result = torch.empty_like(values)
        work = _Work(values, size)
        for channels in work.chunks:
            product = work.transform(values[:, channels])
            product *= spectrum[channels]
            work.inverse(product, result[:, channels])
        return result, values.new_empty(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: tuple[Tensor, Tensor]) -> None:
        """Keep the inputs, and of small ones the spectrum: of others one more FFT costs less than its memory."""
        values, spectrum, ctx.size = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(values, spectrum, output[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, Tensor | None, None]:
        """Correlate the gradient with the kernel and with the values."""
        if gradient is None:
            return None, None, None
        values, spectrum, kept = ctx.saved_tensors
        if not _as_one(values, ctx.size):
            return *_chunked_gradients(values, spectrum, gradient, ctx.size, ctx.needs_input_grad[1]), None
        transformed = torch.fft.rfft(gradient, n=ctx.size)
        spectrum_gradient = None
        if ctx.needs_input_grad[1]:
            of_values = kept if kept.numel() else torch.fft.rfft(values, n=ctx.size)
            spectrum_gradient = _inner_bins(summed_correlation(transformed, of_values), 2.0, 1 / ctx.size)
        values_gradient = _filtered(transformed, spectrum.conj_physical(), ctx.size)[..., : values.shape[-1]]
        return values_gradient, spectrum_gradient, None


def _filtered(transformed: Tensor, spectrum: Tensor, size: int) -> Tensor:
    """Return `size` values from their transform (batch, channel, bin) times a spectrum (channel, bin).

    Torch divides by the size in a pass of its own on a GPU, over all numbers of all records: there the one spectrum is
    divided. A processor's FFT divides as it goes.
    """
    if transformed.device.type == "cpu":
        return torch.fft.irfft(transformed * spectrum, n=size)
    return torch.fft.irfft(transformed * (spectrum / size), n=size, norm="forward")


def _as_one(values: Tensor, size: int) -> bool:
    """Whether all channels are transformed together, not some at a time."""
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    return _is_small(values, size)


def _is_small(values: Tensor, size: int) -> bool:
    """Whether the values, filled up to `size`, stay in a cache."""
    return _filled_bytes(values, size) <= _SHARED_BYTES


def _is_kept(values: Tensor, size: int) -> bool:
    """Whether a backward pass finds the values' spectrum, and need not transform them again."""
    return _filled_bytes(values, size) <= (_SHARED_BYTES if values.device.type == "cpu" else _KEPT_BYTES)


def _filled_bytes(values: Tensor, size: int) -> int:
    return values.shape[0] * values.shape[1] * size * values.element_size()


class _Work:
    """Buffers for some channels at a time, small enough to stay in a core's cache: twice as fast on a CPU."""

    def __init__(self, values: Tensor, size: int) -> None:
        batch, channels, self.length = values.shape
        self.size = size
        step = max(1, _CACHE_BYTES // (batch * size * values.element_size()))
        self.chunks = [slice(start, min(start + step, channels)) for start in range(0, channels, step)]
        self._padded = values.new_zeros(batch, min(step, channels), size)
        self._result = torch.empty_like(self._padded)

    def transform(self, values: Tensor) -> Tensor:
        """Spectrum of zero-padded values."""
        padded = self._padded[:, : values.shape[1]]
        padded[..., : self.length] = values
        return torch.fft.rfft(padded)

    def inverse(self, spectrum: Tensor, result: Tensor) -> None:
        """Write the first samples of the inverse transform to `result`."""
        result.copy_(torch.fft.irfft(spectrum, n=self.size, out=self._result[:, : result.shape[1]])[..., : self.length])


def _chunked_gradients(
    values: Tensor, spectrum: Tensor, gradient: Tensor, size: int, spectrum_needed: bool
) -> tuple[Tensor, Tensor | None]:
    work = _Work(values, size)
    values_gradient = torch.empty_like(values)
    spectrum_gradient = torch.empty_like(spectrum) if spectrum_needed else None
    for channels in work.chunks:
        transformed = work.transform(gradient[:, channels])
        if spectrum_gradient is not None:
            correlation = (work.transform(values[:, channels]).conj() * transformed).sum(dim=0)
            spectrum_gradient[channels] = _inner_bins(correlation, 2.0, 1 / size)
        transformed *= spectrum[channels].conj()
        work.inverse(transformed, values_gradient[:, channels])
    return values_gradient, spectrum_gradient


def _inner_bins(spectrum: Tensor, factor: float, scale: float = 1.0) -> Tensor:
    """Multiply the bins of a one-sided spectrum of even size that stand for two of the full one: all but both ends.

    All of them by `scale` besides.
    """
    scaled = spectrum * (factor * scale)
    scaled[..., :: spectrum.shape[-1] - 1].mul_(1 / factor)
    return scaled
