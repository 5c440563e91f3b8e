"""A step of the network replayed as CUDA graphs: a GPU gets two launches where it would wait for hundreds.

Forward pass, loss and backward pass are captured once for batches of one layout and replayed for the others. What
depends on the epoch stays outside: noise, augmentations, curriculum and optimiser act on tensors before and after.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reconstruction.models import replayed
from reconstruction.models.replayed import say_not_captured
from reconstruction.records.batch import Batch

Objective = Callable[[Batch], Tensor]


class Layout(NamedTuple):
    """What batches must share to be replayed by one capture."""

    names: tuple[tuple[str, ...], ...]
    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]


class CapturedObjective:
    """The objective of a batch, on one GPU replayed where it can be, else as it is.

    The objective must be made of tensors alone: nothing that the host looks at, no number that changes from step to
    step outside of them. Where a capture fails, a warning says so once and the steps go on without.
    """

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        self._module = _Step(module, objective)
        self._known: tuple[Layout, tuple[int, ...]] | None = None
        self._replay: Callable[..., Tensor] | None = None
        self._weights: tuple[Tensor, ...] = ()
        self._missed: Layout | None = None
        self._failed = False

    def __call__(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch; its gradients arrive in the module's parameters as ever."""
        parts = dict(_tensors(batch))
        device = next(iter(parts.values())).device
        if self._failed or device.type != replayed.WITH_GRAPHS or not torch.is_grad_enabled():
            return self._module.objective(batch)
        layout = Layout(tuple(parts), *zip(*((v.shape, v.dtype) for v in parts.values()), strict=True))
        if self._known != (layout, self._places()):
            # the last batch of an epoch is often a shorter one: what does not come twice in a row is not captured
            if self._missed != layout:
                self._missed = layout
                return self._module.objective(batch)
            self._capture(layout, tuple(parts.values()))
        if self._replay is None:
            return self._module.objective(batch)
        self._missed = None
        # the graph writes its loss into the same place again and again
        return self._replay(*parts.values(), *self._weights).clone()

    def _capture(self, layout: Layout, values: tuple[Tensor, ...]) -> None:
        """Capture for batches of a layout; where that fails, say why, and replay nothing from here on."""
        self._module.names = layout.names
        self._known, self._replay = None, None
        weights = {name: weight for name, weight in self._module.named_parameters() if weight.requires_grad}
        # the same numbers under other names: what a former backward pass knows of the weights belongs to its stream
        aliases = tuple(weight.detach().requires_grad_() for weight in weights.values())

        def loss(*given: Tensor) -> Tensor:
            named = dict(zip(weights, given[len(values) :], strict=True))
            made: Tensor = functional_call(self._module, named, given[: len(values)])
            return made

        given = (*(value.detach().clone() for value in values), *aliases)
        with _left_as_it_was(self._module, values[0].device):
            try:
                self._replay = _graphed(loss, given)
            except RuntimeError as error:  # of torch or CUDA, by the kind of operation that cannot be captured
                self._failed = True
                say_not_captured("the steps", error, values[0].device)
                return
        self._weights = tuple(weights.values())
        self._known = (layout, self._places())

    def _places(self) -> tuple[int, ...]:
        """Return where weights and buffers lie, which a graph reads again: others must be captured anew."""
        return tuple(value.data_ptr() for value in (*self._module.parameters(), *self._module.buffers()))


class _Step(nn.Module):
    """The objective as a module of tensors: what is captured."""

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.module, self.objective = module, objective
        self.names: tuple[tuple[str, ...], ...] = ()

    def forward(self, *values: Tensor) -> Tensor:
        """Return the loss of the batch that has these values under `names`."""
        batch: dict[str, Any] = {"inputs": {}, "masks": {}, "observables": {}}
        for (*path, last), value in zip(self.names, values, strict=True):
            inner = batch
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = value
        return self.objective(batch)


def _tensors(part: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Yield the tensors of a batch by their place in it."""
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _tensors(value, (*path, name))
        elif isinstance(value, Tensor):
            yield (*path, name), value


@contextmanager
def _left_as_it_was(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Put back what the passes that warm up change: random numbers of dropout, statistics of norms."""
    state = torch.cuda.get_rng_state(device)
    buffers = [value.clone() for value in module.buffers()]
    cache = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(cache)
        torch.cuda.set_rng_state(state, device)
        with torch.no_grad():
            for value, before in zip(module.buffers(), buffers, strict=True):
                value.copy_(before)


def _graphed(loss: Callable[..., Tensor], given: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    with warnings.catch_warnings():
        # torch 2.11's own passes before a capture leave their leaves on another stream, and it warns of that
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
        made: Any = torch.cuda.make_graphed_callables(loss, given, allow_unused_input=True)
    replay: Callable[..., Tensor] = made
    return replay
