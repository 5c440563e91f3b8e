"""Workers collect the same tests, each from another beginning."""

from __future__ import annotations

from pathlib import Path

import pytest
from begun_elsewhere import begun_elsewhere

TESTS = Path(__file__).parent
CONFIGURATION = (TESTS.parent / "pyproject.toml").read_text()


def made(folder: Path) -> Path:
    """A folder of 2 + 1 + 0 + 3 files of tests."""
    for name in ("a/test_x.py", "a/deep/test_y.py", "test_b.py", "helpers/x.py", "conftest.py", "c/test_1.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in ("c/test_2.py", "c/test_3.py"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("worker", "workers", "order"),
    [(0, 1, "a c test_b.py"), (0, 2, "a c test_b.py"), (1, 2, "test_b.py a c"), (1, 3, "c test_b.py a")],
)
def test_each_worker_begins_after_the_shares_of_those_before_it(worker, workers, order, tmp_path):
    assert [path.name for path in begun_elsewhere(made(tmp_path), worker, workers)] == order.split()


def test_of_these_tests_none_is_left_out_and_workers_begin_apart():
    orders = [begun_elsewhere(TESTS, worker, 3) for worker in range(3)]
    there = sorted(TESTS.rglob("test_*.py"))
    for order in orders:
        found = [file for path in order for file in (path.rglob("test_*.py") if path.is_dir() else [path])]
        assert sorted(found) == there
    assert len({order[0] for order in orders}) == 3
