"""Types and shapes of the package are checked at every call, and those of arrays only where arrays are annotated.

jaxtyping puts its own wrapper around every function: it binds the arguments, remembers sizes that several of them
share, and checks the arguments twice. Nine functions of ten annotate no array: beartype alone checks all of their
types, in 0.4 µs a call in place of 4.6 µs (two arguments).
"""

from __future__ import annotations

import builtins
import functools
import inspect
import re
import typing
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep612Exception

PACKAGES = ("cres", "reconstruction")
NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")

AS_JAXTYPING = BeartypeConf(violation_type=jaxtyping.TypeCheckError)
"""An error of types is a TypeError, whoever finds it."""


def check_types() -> None:
    """Check what is imported from the packages from now on."""
    jaxtyping.jaxtyped = _shapes_where_there_are(jaxtyping.jaxtyped)
    jaxtyping.install_import_hook(list(PACKAGES), "beartype.beartype")


def _shapes_where_there_are(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Return jaxtyping's decorator as its import hook calls it, but for functions without arrays the checker itself."""

    @functools.wraps(jaxtyped)
    def chosen(*given: Any, typechecker: Callable[..., Any] | None = None) -> Any:
        whole = jaxtyped(*given, typechecker=typechecker)
        if given or typechecker is None:
            return whole
        return functools.partial(_checked, whole)

    return chosen


def _checked(whole: Callable[..., Any], thing: Any) -> Any:
    if inspect.isclass(thing) or annotates_arrays(thing):
        return whole(thing)
    try:
        return beartype(thing, conf=AS_JAXTYPING)
    except BeartypeDecorHintPep612Exception:  # it reads no *args: P.args that is a text
        return whole(thing)


def annotates_arrays(function: FunctionType) -> bool:
    """Whether a size can be in an annotation: an array, an alias of one, or what has no meaning yet."""
    for annotation in function.__annotations__.values():
        if not isinstance(annotation, str):
            if _holds_arrays(annotation):
                return True
            continue
        for name in NAME.findall(annotation):
            if _holds_arrays(function.__globals__.get(name, getattr(builtins, name, _Unknown))):
                return True
    return False


class _Unknown:
    """A name that is made later, or nowhere: it may be an array's."""


def _holds_arrays(value: Any) -> bool:
    if value is _Unknown:
        return True
    if isinstance(value, ModuleType):
        return value.__name__ == "jaxtyping"
    if any(str(getattr(one, "__module__", "")).startswith("jaxtyping") for one in (value, type(value))):
        return True
    return any(_holds_arrays(part) for part in typing.get_args(value))
