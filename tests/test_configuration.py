"""The one reader of configurations: nested mappings to typed dataclasses, or one sentence with the place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from reconstruction.configuration import Named, build
from reconstruction.errors import UserError


@dataclass(frozen=True)
class Wood(Named):
    name: str = "oak"
    thickness_m: float = 0.1

    @classmethod
    def from_name(cls, name: str) -> Wood:
        return cls(name)


@dataclass(frozen=True)
class House:
    rooms: int = 3
    wood: Wood = field(default_factory=Wood)
    shares: dict[str, float] = field(default_factory=dict)
    size_m: tuple[float, float] = (1.0, 2.0)
    floors: tuple[Wood, ...] = ()
    price: float | None = None
    lit: bool = False


def test_what_is_left_out_takes_its_default() -> None:
    assert build(House, {}, "the house") == House()
    given = {"wood": {"thickness_m": 1}, "shares": {"a": 2}, "size_m": [3, "4e1"], "floors": ["fir", {}], "price": 5}
    assert build(House, given, "the house") == House(
        wood=Wood(thickness_m=1.0), shares={"a": 2.0}, size_m=(3.0, 40.0), floors=(Wood("fir"), Wood()), price=5.0
    )
    assert build(House, {"wood": "ash"}, "the house").wood == Wood("ash")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"room": 1}, r"unknown key 'room' in the house \(did you mean 'rooms'\?\): known are rooms, wood"),
        ({"wood": {"thick_m": 1}}, "unknown key 'thick_m' in the house, wood"),
        ({"rooms": True}, "the house, rooms must be of type int, not True"),
        ({"rooms": 1.5}, "the house, rooms must be of type int, not 1.5"),
        ({"lit": 1}, "the house, lit must be of type bool, not 1"),
        ({"wood": {"thickness_m": math.nan}}, "wood, thickness_m must be of type float, not nan"),
        ({"price": ".inf"}, "the house, price must be of type float, not '.inf'"),
        ({"price": math.inf}, "the house, price must be of type float, not inf"),
        ({"size_m": [1]}, "the house, size_m must hold 2 values, not 1"),
        ({"size_m": 1}, "the house, size_m must be a list, not 1"),
        ({"shares": [1]}, "the house, shares must be a table of keys and values"),
        ([1], "the house must be a table of keys and values, not"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(given: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        build(House, given, "the house")
