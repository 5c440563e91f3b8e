"""Small synthetic electrons for the tests of this folder: the columns of the schema, without any physics."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
from forked import run_forked

from cres import schema
from cres.data.records import open_records


def make_frame(rows: int, seed: int, samples: int = 64, first_event: int = 0) -> pd.DataFrame:
    """Return electrons of noise."""
    rng = np.random.default_rng(seed)
    series = {name: list(rng.normal(size=(rows, samples)).astype(np.float32)) for name in schema.SERIES_COLUMNS}
    return pd.DataFrame(
        {
            schema.EVENT_ID: np.arange(first_event, first_event + rows),
            schema.ENERGY: rng.uniform(18500, 18700, rows),
            schema.PITCH_ANGLE: rng.uniform(88, 90, rows),
            schema.RADIUS: rng.uniform(0, 6.5e-3, rows),
            schema.CARRIER_FREQUENCY: rng.uniform(25.90e9, 25.92e9, rows),
            **series,
        }
    )


def write_frames(folder: Path, files: int = 3, rows: int = 10, samples: int = 64) -> pd.DataFrame:
    """Write several files and return all their electrons in order."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = [make_frame(rows + number, number, samples, 1000 * number) for number in range(files)]
    for number, frame in enumerate(frames):
        frame.to_pickle(folder / f"electrons_{number:05d}.pkl.gz")
    return pd.concat(frames, ignore_index=True)


def assert_holds(data: Path, frame: pd.DataFrame) -> None:
    """Every value of the frame is in the files, bit for bit, in order."""
    records = open_records(data)
    assert len(records) == len(frame)
    stored = records.read(np.arange(len(frame)), frame.columns)
    for name in frame.columns:
        np.testing.assert_array_equal(stored[name], np.stack(list(frame[name])), err_msg=name)


def run_script(*words: object) -> CompletedProcess[str]:
    """Run scripts/data_prep.py."""
    return run_forked(Path(__file__).parents[2] / "scripts" / "data_prep.py", *words)
