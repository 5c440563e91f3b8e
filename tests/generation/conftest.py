"""Events that several tests look at, generated once; without the extra `collider` they are skipped, but not in CI."""

from __future__ import annotations

import importlib.util
import os

import pytest

from collider.generation import EventGenerator, Process
from collider.generation.wheels import PACKAGES

MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
TOPS = ("Top:gg2ttbar", "Top:qqbar2ttbar")


@pytest.fixture(scope="session")
def wheels():
    if MISSING:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"the extra collider lacks {', '.join(MISSING)}: pip install -e '.[collider]'")


@pytest.fixture(scope="session")
def tops(wheels):
    """Sixty pairs of top quarks, without further interactions of the protons."""
    return EventGenerator(Process("tops", TOPS, underlying_event=False), seed=3).batch(60)
