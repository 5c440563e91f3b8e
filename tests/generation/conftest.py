"""Events that several tests look at, generated once."""

from __future__ import annotations

import pytest
from collisions import needed

from collider.generation import EventGenerator, Process

TOPS = ("Top:gg2ttbar", "Top:qqbar2ttbar")


@pytest.fixture(scope="session")
def wheels():
    """The libraries, without which a test is skipped."""
    needed()


@pytest.fixture(scope="session")
def tops(wheels):
    """Sixty pairs of top quarks, without further interactions of the protons."""
    return EventGenerator(Process("tops", TOPS, underlying_event=False), seed=3).batch(60)
