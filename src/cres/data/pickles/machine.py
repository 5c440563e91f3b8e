"""A pickle interpreter that cannot run anything: the opcodes of a pickle applied to inert values.

`pickle.Unpickler` imports and calls what a pickle names, and believes the sizes and memo indices that it states.
This one never imports. A name must be an exact (module, name) pair of the vocabulary that is handed in, and then it
stands for a small function or class of ours that only keeps data. Any other name, and any opcode that data does not
need (extensions, persistent identities, old-style instances), is refused when it is read.
"""

from __future__ import annotations

import io
import pickletools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# A list of numbers takes 9 bytes a number in a pickle and about 40 in memory, an array is handed on a few times. What
# goes far beyond that repeats small opcodes, or one large object, to fill the memory.
_BYTES_PER_OPCODE: Final = 80
_MEMORY_PER_PICKLE_BYTE: Final = 16
_MEMORY_FLOOR: Final = 1 << 25


class RefusedPickleError(Exception):
    """The pickle holds something that data never need. The message says what."""


class Node(ABC):
    """A thing that a pickle builds in two steps: constructed, then given its state."""

    @property
    @abstractmethod
    def weight(self) -> int:
        """Bytes that it holds."""

    @abstractmethod
    def set_state(self, state: Any) -> None:
        """Take the state of a BUILD opcode; raise RefusedPickleError where it has not the known form."""


class Ignored(Node):
    """A description that the data do not need: a dtype of pandas, a time zone, a frequency."""

    @property
    def weight(self) -> int:
        """Nothing."""
        return 0

    def set_state(self, state: Any) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Name:
    """An allowed (module, name) pair. `make` stands for it when the pickle calls it; None where it is only named."""

    module: str
    name: str
    make: Callable[..., Any] | None

    def __call__(self, *args: Any) -> Any:
        """Return what the pickle would have constructed."""
        if self.make is None:
            raise RefusedPickleError(f"it calls {self.module}.{self.name}, which may only be named")
        try:
            return self.make(*args)
        except (TypeError, ValueError, KeyError, OverflowError, AttributeError, IndexError) as error:
            raise RefusedPickleError(f"it constructs {self.module}.{self.name} in an unknown way ({error})") from error


Vocabulary = Mapping[tuple[str, str], Callable[..., Any] | None]

_TOO_MANY: Final = "it makes far more objects than it holds data"
_MARK: Final = object()
_SMALL: Final = frozenset({int, float, bool, type(None)})
_NUMBERS: Final = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS: Final = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_BYTES: Final = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_CONSTANTS: Final = frozenset(_NUMBERS | _TEXTS | _BYTES)
_IGNORED: Final = frozenset({"PROTO", "FRAME"})
_OPCODES: Final[dict[bytes, tuple[str, Callable[[io.BytesIO], Any] | None]]] = {
    opcode.code.encode("latin-1"): (opcode.name, None if opcode.arg is None else opcode.arg.reader)
    for opcode in pickletools.opcodes
}
"""Name of each opcode, and what reads its argument, by its byte: `pickletools.genops` does more than is needed here."""


def interpret(data: io.BytesIO, vocabulary: Vocabulary) -> Any:
    """Return what the pickle describes, made of Python values and of the vocabulary's inert stand-ins.

    Raises RefusedPickleError for foreign names, for opcodes that data never need, for more objects than the data can
    justify, and for a damaged pickle.
    """
    size = data.getbuffer().nbytes
    machine = _Machine(vocabulary, _MEMORY_PER_PICKLE_BYTE * size + _MEMORY_FLOOR)
    try:
        _run(machine, data)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError, UnicodeError) as error:
        raise RefusedPickleError(f"it is damaged near byte {data.tell()} ({error})") from error
    if data.tell() != size:
        raise RefusedPickleError(f"{size - data.tell()} bytes follow its end")
    return machine.result()


def _run(machine: _Machine, data: io.BytesIO) -> None:
    """Apply the opcodes up to the first STOP."""
    while True:
        code = data.read(1)
        if (known := _OPCODES.get(code)) is None:
            raise ValueError(f"{code!r} is no opcode" if code else "it ends without a STOP")
        name, read_argument = known
        machine.step(name, None if read_argument is None else read_argument(data))
        if code == b".":
            return


class _Machine:
    """Stack and memo of one pickle."""

    def __init__(self, vocabulary: Vocabulary, budget: int) -> None:
        self._vocabulary = vocabulary
        self._budget = budget
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._actions: dict[str, Callable[[Any], None]] = {
            "NONE": lambda _: self._stack.append(None),
            "NEWTRUE": lambda _: self._stack.append(True),
            "NEWFALSE": lambda _: self._stack.append(False),
            "MARK": lambda _: self._stack.append(_MARK),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "TUPLE": lambda _: self._stack.append(tuple(self._pop_to_mark())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "LIST": lambda _: self._stack.append(self._pop_to_mark()),
            "DICT": lambda _: self._stack.append(self._fill({}, self._pop_to_mark())),
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._pop_to_mark()),
            "SETITEM": lambda _: self._set_items([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda _: self._set_items(self._pop_to_mark()),
            "POP": lambda _: self._drop(),
            "POP_MARK": lambda _: self._drop_to_mark(),
            "DUP": lambda _: self._stack.append(self._top()),
            "PUT": self._put,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": lambda _: self._put(len(self._memo)),
            "GET": self._get,
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "GLOBAL": lambda argument: self._name(*argument.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(self._stack.pop(-2), self._stack.pop()),
            "REDUCE": lambda _: self._construct(self._stack.pop(-2), self._stack.pop()),
            "NEWOBJ": lambda _: self._construct(self._stack.pop(-2), self._stack.pop()),
            "NEWOBJ_EX": lambda _: self._construct_ex(),
            "BUILD": lambda _: self._build(self._stack.pop()),
            "STOP": lambda _: None,
        }

    def step(self, opcode: str, argument: Any) -> None:
        """Apply one opcode."""
        self._budget -= _BYTES_PER_OPCODE
        if opcode in _CONSTANTS:
            self._stack.append(argument)
        elif self._budget < 0:
            raise RefusedPickleError(_TOO_MANY)
        elif (action := self._actions.get(opcode)) is not None:
            action(argument)
        elif opcode not in _IGNORED:
            raise RefusedPickleError(f"it uses the opcode {opcode}, which data never need")

    def result(self) -> Any:
        """Return the one value that is left on the stack."""
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise RefusedPickleError("it does not end with one object")
        if isinstance(self._stack[0], Name):
            raise RefusedPickleError(f"it names {_describe(self._stack[0])}, and holds no data")
        self._charge(_weight(self._stack[0]))
        return self._stack[0]

    def _charge(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise RefusedPickleError(_TOO_MANY)

    def _top(self) -> Any:
        if self._stack[-1] is _MARK:
            raise ValueError("a mark where a value belongs")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("no mark")
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def _drop(self) -> None:
        self._stack.pop()

    def _drop_to_mark(self) -> None:
        self._pop_to_mark()

    def _tuple(self, size: int) -> None:
        values = tuple(self._stack[-size:])
        if len(values) < size or any(value is _MARK for value in values):
            raise ValueError("too few values for a tuple")
        self._stack[-size:] = [values]

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise RefusedPickleError(f"it appends to {_describe(target)}")
        target.extend(values)

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict):
            raise RefusedPickleError(f"it sets items of {_describe(target)}")
        self._fill(target, items)

    def _fill(self, target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
        # Hashing a deeply nested tuple overflows the interpreter's own stack: names of columns are plain.
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int)):
                raise RefusedPickleError(f"it uses {_describe(key)} as a key")
            target[key] = value
        return target

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise ValueError(f"there is no object {index} to repeat")
        self._stack.append(self._memo[index])

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise RefusedPickleError("it names something by what is no text")
        if (module, name) not in self._vocabulary:
            raise RefusedPickleError(f"it names {module}.{name}, which is not on the list of what data may be made of")
        self._stack.append(Name(module, name, self._vocabulary[module, name]))

    def _construct(self, maker: Any, arguments: Any) -> None:
        if not isinstance(maker, Name) or not isinstance(arguments, tuple):
            raise RefusedPickleError(f"it calls {_describe(maker)}")
        self._charge(_weight(arguments))
        self._stack.append(maker(*arguments))

    def _construct_ex(self) -> None:
        keywords = self._stack.pop()
        if keywords != {}:
            raise RefusedPickleError("it constructs with keywords")
        self._construct(self._stack.pop(-2), self._stack.pop())

    def _build(self, state: Any) -> None:
        target = self._top()
        if not isinstance(target, Node):
            raise RefusedPickleError(f"it sets the state of {_describe(target)}")
        self._charge(_weight(state))
        target.set_state(state)


def _weight(value: Any, depth: int = 4) -> int:
    """Return about how many bytes a stand-in may copy when it is given this value."""
    if type(value) in _SMALL:  # before the slower questions: most values are numbers
        return 8
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return 8 * len(value) + sum([_weight(item, depth - 1) for item in value]) if depth else 8
    return value.weight if isinstance(value, Node) else 8


def _describe(value: Any) -> str:
    return f"{value.module}.{value.name}" if isinstance(value, Name) else f"a value of type {type(value).__name__}"
