"""What a log hears of long work: a line now and then, though nothing can be drawn there."""

import multiprocessing
import time

import pytest

from cres.progress import EVERY, every_s, progress_bar, track, waiting
from reconstruction import progress


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setenv(EVERY, "0.1")


def test_a_log_hears_of_long_work(capsys):
    for _ in track(range(3), "counting", 3, "sheep"):
        time.sleep(0.25)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("counting: ")]
    assert len(lines) >= 3
    assert "counting: 1 of 3 sheep" in lines


def test_one_step_that_takes_long_is_heard_of_too(capsys):
    with progress_bar() as bar:
        bar.add_task("thinking", total=None, unit="thoughts")
        time.sleep(0.35)
    assert capsys.readouterr().err.count("thinking: 0 thoughts") >= 2


def test_what_is_waited_for_is_told_and_ends_with_it(capsys):
    with waiting("loading"):
        time.sleep(0.35)
    said = capsys.readouterr().err
    assert said.count("loading: 0 s") >= 2
    time.sleep(0.25)
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyError), waiting("failing"):
        raise KeyError
    time.sleep(0.25)
    assert capsys.readouterr().err == ""


def test_logs_are_told_rarely_by_default_and_nonsense_is_left_aside(monkeypatch):
    monkeypatch.delenv(EVERY)
    assert every_s() == 60
    monkeypatch.setenv(EVERY, "often")
    assert every_s() == 60


def test_the_pause_before_the_first_line_counts_from_the_last_line_of_another_work(monkeypatch, capsys):
    monkeypatch.setattr(progress.Heartbeat, "_said", time.monotonic() - 1.8)
    monkeypatch.setenv(EVERY, "2")
    with waiting("comparing"):
        time.sleep(0.9)
    with waiting("drawing"):
        time.sleep(0.3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("comparing: ")


def test_the_end_of_a_work_whose_bar_is_full_is_heard_of(capsys):
    with progress_bar() as bar:
        bar.update(bar.add_task("writing", total=2, unit="files"), completed=2)
        time.sleep(0.35)
    assert "writing: 2 of 2 files" in capsys.readouterr().err.splitlines()


def test_a_worker_says_nothing_while_it_imports_the_script_again(capfd):
    worker = multiprocessing.get_context("fork").Process(target=_wait)
    worker.start()
    worker.join()
    assert "in a worker" not in capfd.readouterr().err


def _wait():
    with waiting("in a worker"):
        time.sleep(0.35)
