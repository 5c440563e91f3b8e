"""Facts of the data, injected by argument name: a view or a source of noise gets what it asks for, and no more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Made = TypeVar("Made")


def with_facts(factory: Callable[..., Made], facts: Mapping[str, Any]) -> Made:
    """Return what a factory makes of those facts that its signature names."""
    parameters = inspect.signature(factory).parameters.values()
    # a class that only inherits "anything" (torch's modules do) asks for nothing; a parser's factory hands all on
    if not inspect.isclass(factory) and any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return factory(**facts)
    return factory(**{one.name: facts[one.name] for one in parameters if one.name in facts})
