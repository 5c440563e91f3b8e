"""Whatever happens to a file or a disk, the last good state is found and named."""

import errno
import shutil
import warnings

import pytest
import torch
from forked import run_forked

from cres.errors import UserError
from reconstruction.training.learning import checkpoints
from reconstruction.training.learning.checkpoints import (
    AtomicCheckpointIO,
    previous_of,
    read_checkpoint,
    read_with_fallback,
    resumable,
    write_atomically,
)


def state(value: float) -> dict:
    return {"state_dict": {"weight": torch.full((2000,), value)}}


def value_of(checkpoint: dict) -> float:
    return float(checkpoint["state_dict"]["weight"][0])


@pytest.fixture
def last(tmp_path):
    path = tmp_path / "last.ckpt"
    write_atomically(state(1.0), path)
    write_atomically(state(2.0), path)
    return path


def test_the_previous_file_is_kept(last):
    assert value_of(read_checkpoint(last)) == 2.0
    assert value_of(read_checkpoint(previous_of(last))) == 1.0
    assert {path.name for path in last.parent.iterdir()} == {last.name, previous_of(last).name}


@pytest.mark.parametrize("tenth", range(10))
def test_truncated_anywhere_falls_back_and_says_so(last, tenth):
    whole = last.read_bytes()
    last.unlink()
    last.write_bytes(whole[: len(whole) * tenth // 10])
    with pytest.warns(UserWarning, match=r"last\.ckpt\.previous"):
        checkpoint, found = read_with_fallback(last)
    assert value_of(checkpoint) == 1.0
    assert found == previous_of(last)


def test_one_wrong_bit_is_noticed(last):
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 4
    last.unlink()
    last.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(last)


def test_full_disk_leaves_the_last_good_file_and_names_it(last, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(UserError, match=r"No space left on device; .*last\.ckpt holds the last good state"):
        AtomicCheckpointIO().save_checkpoint(state(3.0), last)
    assert value_of(read_checkpoint(last)) == 2.0
    assert not [path for path in last.parent.iterdir() if path.name.startswith(".")]


FILLED = """
import resource, sys
from pathlib import Path
import torch
from cres.errors import UserError
from reconstruction.training.learning.checkpoints import read_checkpoint, write_atomically

def state(value):
    return {"state_dict": {f"weight{i}": torch.full((2000,), value) for i in range(6)}}

path = Path(sys.argv[1])
write_atomically(state(1.0), path)
size, hard = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in range(1, size, size // 40):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write_atomically(state(2.0), path)
        raise SystemExit(f"{limit} bytes were enough")
    except UserError as error:
        assert f"{path} holds the last good state" in str(error), error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert float(read_checkpoint(path)["state_dict"]["weight0"][0]) == 1.0, limit
    assert [file.name for file in path.parent.iterdir()] == [path.name], limit
"""


def test_a_disk_that_fills_up_anywhere_leaves_the_last_good_file(tmp_path):
    """The operating system refuses to write on at every fortieth of the file; torch words some of that its own way."""
    (tmp_path / "fill.py").write_text(FILLED)
    (tmp_path / "run").mkdir()
    done = run_forked(tmp_path / "fill.py", tmp_path / "run" / "last.ckpt")
    assert done.returncode == 0, done.stdout + done.stderr


def test_resume_goes_from_last_to_previous_to_best(last):
    write_atomically(state(0.5), last.with_name("best.ckpt"))
    assert resumable(last.parent) == last
    last.unlink()
    last.write_bytes(b"nonsense")
    with pytest.warns(UserWarning, match="previous"):
        assert resumable(last.parent) == previous_of(last)
    previous_of(last).unlink()
    with pytest.warns(UserWarning, match=r"best\.ckpt"):
        assert resumable(last.parent) == last.with_name("best.ckpt")


def test_nothing_to_resume_from(tmp_path):
    with pytest.raises(UserError, match="--resume"):
        resumable(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoint(tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"cli\.py fit"):
        read_checkpoint(tmp_path / "missing.ckpt")


def test_without_hard_links_there_is_still_a_previous_file(last, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(type(last), "hardlink_to", refuse)
    write_atomically(state(3.0), last)
    assert value_of(read_checkpoint(last)) == 3.0
    assert value_of(read_checkpoint(previous_of(last))) == 2.0


def test_a_resumed_training_uses_the_previous_file_when_the_last_is_cut(trained, fit, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    last = run / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 3])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(run, "--resume")
    assert any("last good state" in str(warning.message) for warning in caught)
    assert read_checkpoint(last)["global_step"] == 15
