"""Whose results are judged: the names, groups and goals that the figures carry are a system's own.

A comparison is of tables of one system. Whatever is made of it says which before; without, figures are of the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

from reconstruction.errors import UserError
from reconstruction.judging.tables.stored import unit_in_name
from reconstruction.system import Goal, System, find_system

if TYPE_CHECKING:
    from reconstruction.judging.tables.table import PredictionTable

_JUDGED: ContextVar[System | None] = ContextVar("judged", default=None)


def judged() -> System:
    """Return the system whose results are judged now."""
    return _JUDGED.get() or find_system()


def judge_as(system: System) -> None:
    """Take the names, groups and goals of a system from now on."""
    _JUDGED.set(system)


def common_system(tables: Sequence[PredictionTable]) -> System:
    """Return the system of tables. Raises UserError where they are of several."""
    systems = {table.system.name: table.system for table in tables}
    if len(systems) > 1:
        raise UserError(f"tables of {' and of '.join(systems)} cannot be compared: their rows are of different systems")
    return next(iter(systems.values()))


def goal_of(target: str) -> Goal | None:
    """Return what is asked of a target, None where nothing is."""
    return judged().judging.goals.get(target)


def unit_of(column: str) -> str:
    """Return the unit of a column of a table, "" for none: that of its name, or what the system says of it."""
    known = {name.lower(): one.unit for name, one in judged().columns.items()}
    return unit_in_name(column) or known.get(column.removeprefix("true_").lower(), "")


def rows_word() -> str:
    """Return what several rows are called: electrons."""
    return judged().nouns
