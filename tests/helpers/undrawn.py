"""Reports without the seconds that their pictures take, for tests of what they say: the figures are made, not drawn.

That all of them can be drawn is tested where a page is complete, in tests/evaluation/test_report.py and
tests/test_end_to_end.py.
"""

from __future__ import annotations

import pytest

ONE_PIXEL = bytes(16) + bytes([0, 0, 0, 1]) * 2
"""What a page reads of a PNG: its width and height."""


def leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one pixel in the place of every picture of a report, in this process and those that are forked of it."""
    monkeypatch.setattr("reconstruction.judging.report.page._png", lambda figure: ONE_PIXEL)
