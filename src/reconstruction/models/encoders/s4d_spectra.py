"""Spectra of the kernels of several S4D layers, made together in the steps of one, and kept while nothing changes.

From the parameters to the spectra it is one function with its gradient written out: of what autograd would do, most are
views, conjugates and changes of precision of tensors of a few thousand numbers, each of them a launch on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.autograd import Function

from reconstruction.models.encoders.convolution import good_length, two_sided, two_sided_gradient
from reconstruction.models.encoders.s4d_kernel import kernel_and_tables, kernel_gradients
from reconstruction.shapes import Complex


@runtime_checkable
class KernelLayer(Protocol):
    """A layer whose kernel is that of a diagonal state space."""

    def kernel_parameters(self) -> tuple[Tensor, ...]:
        """Return C as (direction, channel, state, 2), D, log Δ, log(−Re A) and Im A."""
        ...


def joint_spectra(layers: Many[KernelLayer], length: int) -> tuple[Complex[Tensor, "channel bin"], ...]:
    """Return the spectrum of each layer's kernel for series of `length`.

    The layers have equal widths, state sizes and directions; side by side they are one layer of many channels.
    """
    groups = zip(*(layer.kernel_parameters() for layer in layers), strict=True)
    parameters = [parameter for group in groups for parameter in group]
    with torch.autocast(parameters[0].device.type, enabled=False):
        made: tuple[Tensor, ...] = _JointSpectra.apply(length, len(layers), *parameters)
    return made[: len(layers)]


class _JointSpectra(Function):
    """The spectra of layers from C, D, log Δ, log(−Re A) and Im A, each of all layers."""

    generate_vmap_rule = True

    @staticmethod
    def forward(length: int, count: int, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return (channel, bin) of each layer; beside it what the backward pass needs."""
        parts, skip, log_dt, log_a_real, a_imaginary = _side_by_side(parameters, count)
        c = torch.view_as_complex(parts)
        a = torch.complex(-torch.exp(log_a_real.double()), a_imaginary.double())
        dt = torch.exp(log_dt.double())
        kernel, *tables = kernel_and_tables(c, a, dt, length)
        # D is the weight of the sample itself: the same at every frequency
        spectra = torch.fft.rfft(two_sided(kernel, good_length(2 * length))) + skip.unsqueeze(-1)
        return *spectra.split(len(spectra) // count), c, a, dt, *tables

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what is small."""
        ctx.length, ctx.count, *parameters = inputs
        ctx.precision = parameters[0].dtype
        ctx.mark_non_differentiable(*output[ctx.count :])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*output[ctx.count :])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """From the spectra to the kernel, from there to C, A and Δ, and to the logarithms that stand for them."""
        arrived = [gradient for gradient in gradients[: ctx.count] if gradient is not None]
        if not arrived:
            return (None,) * (2 + 5 * ctx.count)
        of_spectra = torch.cat([torch.zeros_like(arrived[0]) if one is None else one for one in gradients[: ctx.count]])
        c, a, dt, *tables = ctx.saved_tensors
        with torch.autocast(of_spectra.device.type, enabled=False):
            of_kernel = two_sided_gradient(of_spectra, len(c), ctx.length)
            of_c, of_a, of_dt = kernel_gradients(of_kernel, c, a, dt, *tables)
            real, imaginary = torch.view_as_real(of_a).unbind(dim=-1)
            of_vectors_and_matrices = (
                torch.view_as_real(of_spectra)[..., 0].sum(dim=-1),
                (of_dt * dt).to(ctx.precision),
                (real * torch.view_as_real(a)[..., 0]).to(ctx.precision),
                imaginary.to(ctx.precision),
            )
        width = len(of_spectra) // ctx.count
        # layer by layer in memory, or autograd would copy each part
        of_parts = torch.view_as_real(of_c).unflatten(1, (ctx.count, width)).transpose(0, 1).contiguous()
        split = (part.split(width) for part in of_vectors_and_matrices)
        return None, None, *of_parts.unbind(), *(one for group in split for one in group)


_CHANNEL = (1, 0, 0, 0, 0)
"""Axis of the channels in each of a layer's parameters."""


def _side_by_side(parameters: tuple[Tensor, ...], count: int) -> list[Tensor]:
    """Return each parameter of all layers as that of one layer of many channels."""
    return [torch.cat(parameters[place * count :][:count], dim=axis) for place, axis in enumerate(_CHANNEL)]


class _Kept(NamedTuple):
    parameters: list[Tensor]
    length: int
    spectra: tuple[Tensor, ...]


class KeptSpectra:
    """Spectra of the same layers again and again, made anew when a parameter or the length is another one."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def of(self, layers: Many[KernelLayer], length: int) -> tuple[Complex[Tensor, "channel bin"], ...]:
        """Return the spectrum of each layer's kernel for series of `length`."""
        current = [parameter for layer in layers for parameter in layer.kernel_parameters()]
        if current[0].is_cuda and torch.cuda.is_current_stream_capturing():
            return joint_spectra(layers, length)  # the host may not look at numbers, and a graph keeps what it made
        if self._kept is None or self._kept.length != length or not _equal(self._kept.parameters, current):
            held = [parameter.detach().clone() for parameter in current]
            self._kept = _Kept(held, length, joint_spectra(layers, length))
        return self._kept.spectra

    def forget(self) -> None:
        """Keep nothing."""
        self._kept = None


def _equal(kept: list[Tensor], current: list[Tensor]) -> bool:
    """Whether tensors hold equal numbers, with one look of the host at their device."""
    alike = zip(kept, current, strict=True)
    if any((a.dtype, a.device, a.shape) != (b.dtype, b.device, b.shape) for a, b in alike):
        return False
    apart = torch._foreach_norm(torch._foreach_sub(kept, current), torch.inf)
    return float(torch.stack(list(apart)).sum()) == 0
