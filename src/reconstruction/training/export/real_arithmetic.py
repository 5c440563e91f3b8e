"""A program that computes with complex numbers, rewritten in real ones: what ONNX and its runtimes can run.

A complex value becomes a pair of real ones, a Fourier transform two small matrix products with a table of phases
between them (Cooley & Tukey 1965, with two factors near √N). What does not depend on the records is computed once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils._pytree import tree_flatten, tree_map

from reconstruction.errors import UserError

aten = torch.ops.aten


@dataclass(frozen=True)
class Pair:
    """A complex value: its real and its imaginary part, of one shape."""

    real: Tensor
    imag: Tensor

    def map(self, function: Callable[[Tensor], Any]) -> Pair:
        """Apply a linear function to both parts."""
        return Pair(function(self.real), function(self.imag))


class RealProgram(nn.Module):
    """The same numbers as an exported program of one input, without a complex one on the way.

    Raises UserError, which names the operator, where a program does with complex numbers what is not known here.
    """

    def __init__(self, program: torch.export.ExportedProgram, example: Tensor) -> None:
        super().__init__()
        module = program.run_decompositions({}).module()
        assert isinstance(module, torch.fx.GraphModule)
        self._nodes = list(module.graph.nodes)
        self._dependent = _dependent(self._nodes)
        self._tables: dict[tuple[int, int, torch.dtype], str] = {}
        self._folded: dict[str, str] = {}
        self._complex: set[str] = set()
        self._fold(module)
        self(example)  # makes the tables

    def forward(self, volts: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the program."""
        values: dict[Node, Any] = {}
        for node in self._nodes:
            if node.op == "placeholder":
                values[node] = volts
            elif node.op == "output":
                flat, _ = tree_flatten(tree_map(lambda v: values[v] if isinstance(v, Node) else v, node.args[0]))
                return tuple(flat)
            elif node.name in self._folded:
                values[node] = self._constant(node.name)
            elif node in self._dependent and node.op == "call_function" and "assert" not in str(node.target):
                arguments, named = tree_map(
                    lambda v: values[v] if isinstance(v, Node) else v, (tuple(node.args), dict(node.kwargs))
                )
                values[node] = self._called(node.target, arguments, named)
        raise AssertionError("a program without outputs")

    # Constants ---------------------------------------------------------------------------------------------------

    def _fold(self, module: torch.fx.GraphModule) -> None:
        """Compute what does not depend on the input, and keep what something that does depend on it reads."""
        values: dict[Node, Any] = {}
        for node in self._nodes:
            if node in self._dependent or node.op not in ("get_attr", "call_function"):
                continue
            if node.op == "get_attr":
                values[node] = _attribute(module, str(node.target))
            elif "assert" not in str(node.target):
                arguments, named = tree_map(
                    lambda v: values[v] if isinstance(v, Node) else v, (tuple(node.args), dict(node.kwargs))
                )
                operator_: Any = node.target
                values[node] = operator_(*arguments, **named)
            if any(user in self._dependent or user.op == "output" for user in node.users):
                self._keep(node.name, values.get(node))

    def _keep(self, name: str, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise UserError(f"the program keeps {type(value).__name__} as a constant, which ONNX has no place for")
        value = value.detach()
        self._folded[name] = f"folded_{len(self._folded)}"
        parts = {"": value}
        if value.is_complex():
            self._complex.add(name)
            parts = {"_real": value.real.contiguous(), "_imag": value.imag.contiguous()}
        for suffix, part in parts.items():
            self.register_buffer(self._folded[name] + suffix, part.clone())

    def _constant(self, name: str) -> Tensor | Pair:
        buffer = self._folded[name]
        if name in self._complex:
            return Pair(getattr(self, f"{buffer}_real"), getattr(self, f"{buffer}_imag"))
        constant: Tensor = getattr(self, buffer)
        return constant

    # Operators ---------------------------------------------------------------------------------------------------

    def _called(self, target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        transforms: dict[Any, Callable[..., Any]] = {
            aten.fft_fft.default: self._fft,
            aten.fft_ifft.default: self._ifft,
            aten.fft_rfft.default: self._rfft,
            aten.fft_irfft.default: self._irfft,
        }
        if target in transforms:
            return transforms[target](*arguments, **named)
        flat, _ = tree_flatten((arguments, named))
        if any(isinstance(value, Pair) for value in flat):
            if target in _LINEAR:
                return _on_both(target, arguments, named)
            if target not in _COMPLEX:
                raise UserError(f"the model applies {target} to complex numbers, which has no real form here")
            return _COMPLEX[target](*arguments, **named)
        return _REAL.get(target, target)(*arguments, **named)

    def _fft(self, values: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Pair:
        real, imag = _parts(values, n, dim)
        return self._transformed(real, imag, dim, -1, _scale(real.shape[dim], norm, "forward"))

    def _ifft(self, values: Any, n: int | None = None, dim: int = -1, norm: str | None = None) -> Pair:
        real, imag = _parts(values, n, dim)
        return self._transformed(real, imag, dim, 1, _scale(real.shape[dim], norm, "backward"))

    def _rfft(self, values: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Pair:
        whole = self._fft(values, n, dim, norm)
        return whole.map(lambda part: part.narrow(dim, 0, part.shape[dim] // 2 + 1))

    def _irfft(self, values: Pair, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        length = 2 * (values.real.shape[dim] - 1) if n is None else n
        inner = (length - 1) // 2
        real, imag = _parts(values, length // 2 + 1, dim)
        # the spectrum of a real record: the other half is the mirror image of this one, conjugated
        mirrored = [part.narrow(dim, 1, inner).flip(dim) for part in (real, imag)]
        whole = torch.cat((real, mirrored[0]), dim), torch.cat((imag, -mirrored[1]), dim)
        return self._transformed(*whole, dim, 1, _scale(length, norm, "backward")).real

    def _transformed(self, real: Tensor, imag: Tensor | None, dim: int, sign: int, scale: float) -> Pair:
        """Return scale · Σ_n x_n exp(sign · 2πi kn/N) along an axis.

        With n = N₂n₁ + n₂ and k = k₁ + N₁k₂: over n₁, times exp(2πi n₂k₁/N), over n₂.
        """
        length = int(real.shape[dim])
        first, phases, second = (self._table(length, sign, real.dtype, part) for part in range(3))
        last = real.movedim(dim, -1)
        lead = last.shape[:-1]
        shape = (*lead, first.real.shape[0], second.real.shape[0])
        split = None if imag is None else imag.movedim(dim, -1).reshape(shape)
        inner = _product(first, last.reshape(shape), split, left=True)
        turned = Pair(
            inner.real * phases.real - inner.imag * phases.imag, inner.real * phases.imag + inner.imag * phases.real
        )
        outer = _product(second, turned.real, turned.imag, left=False)
        return outer.map(lambda part: (part.transpose(-1, -2).reshape(*lead, length) * scale).movedim(-1, dim))

    def _table(self, length: int, sign: int, dtype: torch.dtype, part: int) -> Pair:
        key = (length, sign, dtype)
        if key not in self._tables:
            name = f"transform_{len(self._tables)}"
            self._tables[key] = name
            for number, table in enumerate(_phases(length, sign)):
                self.register_buffer(f"{name}_{number}_real", table.real.to(dtype).contiguous())
                self.register_buffer(f"{name}_{number}_imag", table.imag.to(dtype).contiguous())
        name = f"{self._tables[key]}_{part}"
        return Pair(getattr(self, f"{name}_real"), getattr(self, f"{name}_imag"))


def _parts(values: Any, n: int | None, dim: int) -> tuple[Tensor, Any]:
    """Return real and imaginary part, None for a real input, cut or padded with zeros to `n` along an axis."""
    if not isinstance(values, Pair):
        return (values if n is None else _fitted(values, n, dim)), None
    fitted = values if n is None else values.map(lambda part: _fitted(part, n, dim))
    return fitted.real, fitted.imag


def _fitted(values: Tensor, n: int, dim: int) -> Tensor:
    missing = n - int(values.shape[dim])
    if missing <= 0:
        return values.narrow(dim, 0, n) if missing else values
    shape = list(values.shape)
    shape[dim] = missing
    return torch.cat((values, values.new_zeros(shape)), dim)


def _scale(length: int, norm: str | None, direction: str) -> float:
    """Return the factor of a transform: torch's `norm` says which direction bears 1/N."""
    if norm == "ortho":
        return float(length) ** -0.5
    return 1.0 / length if (norm or "backward") == ("backward" if direction == "backward" else "forward") else 1.0


def _phases(length: int, sign: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transform over n₁ (k₁, n₁), the phases (k₁, n₂) and the transform over n₂ (n₂, k₂), complex128."""
    rows = max(divisor for divisor in range(1, math.isqrt(length) + 1) if length % divisor == 0)
    columns = length // rows

    def turn(left: int, right: int, period: int) -> Tensor:
        # whole turns are taken out in integers
        steps = torch.outer(torch.arange(left), torch.arange(right)) % period
        return torch.exp(sign * 2j * math.pi * steps.double() / period)

    return turn(rows, rows, rows), turn(rows, columns, length), turn(columns, columns, columns)


def _product(table: Pair, real: Tensor, imag: Tensor | None, left: bool) -> Pair:
    """Return table @ values, or values @ table."""

    def times(one: Tensor, values: Tensor) -> Tensor:
        return one @ values if left else values @ one

    if imag is None:
        return Pair(times(table.real, real), times(table.imag, real))
    return Pair(times(table.real, real) - times(table.imag, imag), times(table.imag, real) + times(table.real, imag))


def _dependent(nodes: list[Node]) -> set[Node]:
    """Return the nodes that depend on the input."""
    found: set[Node] = set()
    for node in nodes:
        if node.op == "placeholder" or any(one in found for one in node.all_input_nodes):
            found.add(node)
    return found


def _attribute(module: nn.Module, name: str) -> Any:
    *path, last = name.split(".")
    for word in path:
        module = getattr(module, word)
    return getattr(module, last)


def _on_both(target: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Apply an operator to the real parts and to the imaginary parts."""

    def part(which: str) -> Any:
        taken = tree_map(lambda v: getattr(v, which) if isinstance(v, Pair) else v, (arguments, named))
        return target(*taken[0], **taken[1])

    real, imag = part("real"), part("imag")
    if isinstance(real, Tensor):
        return Pair(real, imag)
    return [Pair(one, other) for one, other in zip(real, imag, strict=True)]


def _multiplied(one: Any, other: Any) -> Pair:
    if isinstance(one, Pair) and isinstance(other, Pair):
        return Pair(one.real * other.real - one.imag * other.imag, one.real * other.imag + one.imag * other.real)
    pair, factor = (one, other) if isinstance(one, Pair) else (other, one)
    return Pair(pair.real * factor, pair.imag * factor)


def _divided(one: Any, other: Any) -> Pair:
    if not isinstance(other, Pair):
        return Pair(one.real / other, one.imag / other)
    size = other.real * other.real + other.imag * other.imag
    return _multiplied(one, Pair(other.real / size, -other.imag / size))


def _added(one: Any, other: Any, alpha: float | int = 1) -> Pair:
    if not isinstance(other, Pair):
        return Pair(one.real + alpha * other, one.imag)
    if not isinstance(one, Pair):
        return Pair(one + alpha * other.real, alpha * other.imag)
    return Pair(one.real + alpha * other.real, one.imag + alpha * other.imag)


def _conjugate(value: Pair) -> Pair:
    return Pair(value.real, -value.imag)


def _magnitude(value: Pair) -> Tensor:
    return torch.sqrt(value.real * value.real + value.imag * value.imag)


def _sign(value: Pair) -> Pair:
    size = _magnitude(value)
    kept = torch.where(size == 0, torch.ones_like(size), size)
    return Pair(value.real / kept, value.imag / kept)


def _norm(values: Tensor, order: float | int = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    if order != 2 or dim is None:
        return aten.linalg_vector_norm.default(values, order, dim, keepdim, dtype=dtype)
    return torch.sqrt((values * values).sum(dim=dim, keepdim=keepdim))


def _itself(value: Pair, *arguments: Any, **named: Any) -> Pair:
    return value


_LINEAR: Final = {
    aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.expand.default, aten.slice.Tensor,
    aten.select.int, aten.permute.default, aten.transpose.int, aten.view.default, aten.reshape.default,
    aten._unsafe_view.default, aten.flip.default, aten.cat.default, aten.stack.default, aten.gather.default,
    aten.index_select.default, aten.sum.dim_IntList, aten.mean.dim, aten.neg.default, aten.clone.default,
    aten.unbind.int, aten.split_with_sizes.default, aten.split.Tensor, aten.constant_pad_nd.default, aten.alias.default,
    aten.flatten.using_ints, aten.unflatten.int, aten.contiguous.default,
}  # fmt: skip
"""Operators that treat the two parts alike."""

_COMPLEX: Final[dict[Any, Callable[..., Any]]] = {
    operator.getitem: operator.getitem,
    aten.view_as_real.default: lambda value: torch.stack((value.real, value.imag), dim=-1),
    aten.real.default: lambda value: value.real,
    aten.imag.default: lambda value: value.imag,
    aten.mul.Tensor: _multiplied,
    aten.div.Tensor: _divided,
    aten.add.Tensor: _added,
    aten.sub.Tensor: lambda one, other, alpha=1: _added(one, other, -alpha),
    aten.conj_physical.default: _conjugate,
    aten._conj.default: _conjugate,
    aten._conj_physical.default: _conjugate,
    aten.resolve_conj.default: _itself,
    aten.abs.default: _magnitude,
    aten.sgn.default: _sign,
    aten.linalg_vector_norm.default: lambda value, *arguments: _norm(_magnitude(value), *arguments),
}


def _sinc(values: Tensor) -> Tensor:
    angle = math.pi * values
    zero = angle == 0
    return torch.where(
        zero, torch.ones_like(angle), torch.sin(angle) / torch.where(zero, torch.ones_like(angle), angle)
    )


def _ndtr(values: Tensor) -> Tensor:
    """Φ in single precision, 6e-8, which moves a quantile by less than 1e-5 of a standard deviation."""
    return (0.5 * (1 + torch.erf((values * math.sqrt(0.5)).float()))).to(values.dtype)


_REAL: Final[dict[Any, Callable[..., Any]]] = {
    aten.view_as_complex.default: lambda values: Pair(values[..., 0], values[..., 1]),
    aten.complex.default: Pair,
    aten.polar.default: lambda size, angle: Pair(size * torch.cos(angle), size * torch.sin(angle)),
    aten.linalg_vector_norm.default: _norm,
    aten.sinc.default: _sinc,
    aten.special_ndtr.default: _ndtr,
    aten.frac.default: lambda values: values - torch.where(values < 0, torch.ceil(values), torch.floor(values)),
}
"""What begins a complex value, and real operators that runtimes lack in double precision."""
