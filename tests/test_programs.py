"""Programs that hang say where, and leave nothing behind; those that are only slow are left alone."""

import os
import sys
import time
from pathlib import Path

import programs
import pytest
from programs import processor_s, run_program, run_programs

HANGS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("pids", "w").write(f"{os.getpid()} {child.pid}")
def waits_for_ever():
    time.sleep(600)
waits_for_ever()
"""


def test_a_program_that_hangs_says_where_and_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="hangs") as said:
        run_program([sys.executable, "-c", HANGS], tmp_path, quiet_s=6)
    assert "in waits_for_ever" in str(said.value)
    assert not [pid for pid in (tmp_path / "pids").read_text().split() if alive(int(pid))]


def test_when_one_program_dies_what_the_other_waits_for_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "AFTER_A_DEATH_S", 2.0)
    waits = "def meets():\n import time; time.sleep(600)\nmeets()"
    with pytest.raises(AssertionError, match="after exit code 7") as said:
        run_programs(*([sys.executable, "-c", text] for text in (waits, "exit(7)")), folder=tmp_path)
    assert "in meets" in str(said.value)


def test_an_endless_loop_is_ended(tmp_path):
    with pytest.raises(AssertionError, match="does not end"):
        run_program([sys.executable, "-c", "while True: pass"], tmp_path, most_processor_s=0.5)


def test_what_a_program_prints_never_stops_it(tmp_path):
    done = run_program([sys.executable, "-c", "print('x' * 1_000_000); exit(3)"], tmp_path)
    assert (done.code, len(done.said)) == (3, 1_000_001)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_processor_time_is_that_of_the_session():
    before = processor_s({os.getsid(0)})
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert processor_s({os.getsid(0)}) - before >= 0.25


def test_a_warning_is_a_sentence_to_its_reader_and_has_a_place_for_developers(tmp_path):
    text = "import warnings; from cres import errors\n"
    text += "def main():\n warnings.warn('mind the gap')\n warnings.warn('old', DeprecationWarning)\nerrors.run(main)"
    said = run_program([sys.executable, "-c", text], tmp_path).said
    assert "warning: mind the gap\n" in said
    assert "<string>:4: DeprecationWarning: old\n" in said


def alive(pid: int) -> bool:
    """Return whether a process is there; one that has ended may still wait to be noticed by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
