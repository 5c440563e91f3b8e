"""A device that is not there: its tensors hold their values in the processor's memory and refuse to meet others.

It finds what a graphics card would find without one: every operation runs on the processor, but as on a card a tensor
of the device and one of the processor never enter one operation (but for numbers without a dimension and for indices),
`.numpy()` raises, and whatever the host waits for is counted. It stands on torch's PrivateUse1 backend in Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch.accelerators import Accelerator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

NAME = "pretend"
DEVICE = f"{NAME}:0"

_COPIES = {"aten::_to_copy", "aten::copy_"}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
"""A card takes indices that lie on the processor."""
_ON_HOST = {"aten::_pack_padded_sequence": 1, "aten::tensor_split": 1, "aten::_pack_padded_sequence_backward": 2}
"""Place of the argument that must lie on the processor, as on a card."""
_TAKES_NUMBERS = {"aten::fill_", "aten::masked_fill", "aten::masked_fill_", "aten::where", *_INDEXING}
"""Beside pointwise operations: a tensor without a dimension may lie on the processor."""
_WAITS = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select"}
"""What the host has to wait for, beside copies to it."""


class DeviceMismatch(RuntimeError):
    """Tensors of the device and of the processor met in one operation."""


class Pretended(Tensor):
    """A tensor of the pretended device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.held = held.detach()
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.held!r})"

    def __format__(self, how: str) -> str:
        return format(self.held, how)

    def tolist(self) -> Any:
        return self.held.tolist()

    def __reduce_ex__(self, protocol: int) -> Any:
        """A file holds plain tensors, as that of a checkpoint that is read to the processor."""
        return self.held.__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied: Tensor = Pretended(self.held.clone())
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, requires_grad=self.requires_grad)
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """While it is entered, tensors can be made on `DEVICE`; `waits` counts what the host waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.operations = 0

    def __enter__(self) -> PretendedDevice:
        # else torch.tensor(…, device=…) asks for the device's memory behind the mode's back
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *reason: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._before)
        super().__exit__(*reason)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_ours(kwargs.get("device")) or any(isinstance(leaf, Pretended) for leaf in _leaves((args, kwargs))):
            self._count(operation, args, kwargs)
            return _run(operation, args, kwargs)
        return operation(*args, **kwargs)

    def _count(self, operation: Any, args: Any, kwargs: Any) -> None:
        self.operations += 1
        name = operation._schema.name
        to_host = name == "aten::_to_copy" and kwargs.get("device") is not None and not _is_ours(kwargs["device"])
        to_host |= name == "aten::copy_" and not isinstance(args[0], Pretended)
        if name in _WAITS or to_host:
            self.waits[name] += 1


def _leaves(given: Any) -> Iterator[Any]:
    """Yield what is in arguments: lists, tuples and dictionaries are all that an operation takes."""
    for one in given.values() if isinstance(given, dict) else given:
        if isinstance(one, list | tuple | dict):
            yield from _leaves(one)
        else:
            yield one


def _mapped(change: Callable[[Any], Any], given: Any) -> Any:
    """Return arguments or results with something done to each."""
    if isinstance(given, list | tuple):
        return type(given)([_mapped(change, one) for one in given])
    if isinstance(given, dict):
        return {name: _mapped(change, one) for name, one in given.items()}
    return change(given)


def _is_ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _run(operation: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation of the device on what its tensors hold."""
    name = operation._schema.name
    if name not in _COPIES:
        _refuse_a_mixture(operation, name, args, kwargs)
    wanted = kwargs.get("device")
    if _is_ours(wanted):
        kwargs = kwargs | {"device": torch.device("cpu")}
    held_args, held_kwargs = _mapped(_held, args), _mapped(_held, kwargs)
    result = _INSTEAD.get(name, operation)(*held_args, **held_kwargs)
    if name == "aten::_local_scalar_dense":
        return result
    if (wanted is not None and not _is_ours(wanted)) or (name == "aten::copy_" and not isinstance(args[0], Pretended)):
        return args[0] if name == "aten::copy_" else result
    if name == "aten::_pack_padded_sequence":
        # how many records reach each position stays on the processor, as on a card
        return Pretended(result[0]), result[1]
    wrapped = _mapped(lambda value: Pretended(value) if type(value) is Tensor else value, result)
    return return_and_correct_aliasing(operation, args, kwargs, wrapped)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _refuse_a_mixture(operation: Any, name: str, args: Any, kwargs: Any) -> None:
    """Raise DeviceMismatch where a card would refuse."""
    indices = args[1] if name in _INDEXING else ()
    checked = (args[0], *args[2:]) if name in _INDEXING else args
    on_host = _ON_HOST.get(name)
    tensors = [one for one in _leaves((checked, kwargs)) if isinstance(one, Tensor)]
    if on_host is not None:
        tensors = [one for one in tensors if one is not args[on_host]]
        if isinstance(args[on_host], Pretended):
            raise DeviceMismatch(f"{name} wants argument {on_host} on the processor, but it lies on {DEVICE}")
    numbers_too = torch.Tag.pointwise in operation.tags or name in _TAKES_NUMBERS
    strangers = [one for one in tensors if not isinstance(one, Pretended) and (one.ndim or not numbers_too)]
    ours = [one for one in _leaves((tensors, indices)) if isinstance(one, Pretended)]
    if strangers and ours:
        raise DeviceMismatch(f"{name} meets tensors of {DEVICE} and of the processor")


def _lstm_cell(
    of_input: Tensor, of_hidden: Tensor, cell: Tensor, bias: Tensor | None = None, hidden_bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden state, cell and the activated gates; torch fuses them on cards only."""
    gates = of_input + of_hidden
    for one in (bias, hidden_bias):
        gates = gates if one is None else gates + one
    enter, forget, change, leave = gates.chunk(4, 1)
    enter, forget, change, leave = enter.sigmoid(), forget.sigmoid(), change.tanh(), leave.sigmoid()
    after = forget * cell + enter * change
    return leave * after.tanh(), after, torch.cat([enter, forget, change, leave], 1)


def _lstm_cell_backward(
    by_hidden: Tensor | None, by_after: Tensor | None, cell: Tensor, after: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    enter, forget, change, leave = gates.chunk(4, 1)
    by_hidden = torch.zeros_like(after) if by_hidden is None else by_hidden
    by_cell = by_hidden * leave * (1 - after.tanh().square()) + (0 if by_after is None else by_after)
    by_gates = torch.cat(
        [
            by_cell * change * enter * (1 - enter),
            by_cell * cell * forget * (1 - forget),
            by_cell * enter * (1 - change.square()),
            by_hidden * after.tanh() * leave * (1 - leave),
        ],
        1,
    )
    return by_gates, by_cell * forget, by_gates.sum(0) if has_bias else None


_INSTEAD: dict[str, Callable[..., Any]] = {
    # behind the mode torch forgets that a tensor is to be read conjugated or negated, or holds nothing and means zero
    "aten::_efficientzerotensor": torch.zeros,
    "aten::_conj": torch.ops.aten._conj_physical.default,
    "aten::_neg_view": torch.ops.aten.neg.default,
    # torch has these on cards alone
    "aten::_thnn_fused_lstm_cell": _lstm_cell,
    "aten::_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}


class _Module:
    """What torch asks of `torch.pretend`."""

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """Its numbers are the processor's."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    @staticmethod
    def synchronize(device: object = None) -> None:
        """Nothing is late."""


_LIBRARIES: list[torch.library.Library] = []
"""What torch would forget with the last reference to it."""


def set_up() -> None:
    """Make torch know the device, once a process. A copy to it replaces the parameters of a module.

    Autocast changes nothing there.
    """
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    _LIBRARIES.append(torch.library.Library("_", "IMPL", "AutocastPrivateUse1"))
    _LIBRARIES[-1].fallback(torch.library.fallthrough_kernel)
    torch.__future__.set_overwrite_module_params_on_conversion(True)


class PretendedAccelerator(Accelerator):
    """What Lightning asks of it."""

    def setup_device(self, device: torch.device) -> None:
        """Nothing to do."""

    def teardown(self) -> None:
        """Nothing to do."""

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(DEVICE)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return NAME
