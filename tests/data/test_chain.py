"""Pickles in, batches out: the whole room in one pass."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from cres import schema
from cres.data.module import CresDataModule
from cres.data.prepare import prepare
from cres.data.records import open_records


def make_frame(rows: int, seed: int, samples: int = 64, first_event: int = 0) -> pd.DataFrame:
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


def test_pickles_reach_the_batches_unchanged(tmp_path):
    frames = [make_frame(30, 1), make_frame(20, 2, first_event=100)]
    for number, frame in enumerate(frames):
        frame.to_pickle(tmp_path / f"electrons_{number:05d}.pkl.gz")
    result = prepare([tmp_path], tmp_path / "cres.hdf5")
    assert result.rows == 50
    frame = pd.concat(frames, ignore_index=True)
    records = open_records(result.outputs[0])
    for name in frame.columns:
        stored = records.read(np.arange(50), [name])[name]
        np.testing.assert_array_equal(stored, np.stack(list(frame[name])))
    module = CresDataModule(str(result.outputs[0]), batch_size=16)
    module.setup("fit")
    seen = [
        batch
        for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
        for batch in loader
    ]
    events = torch.cat([batch["event_id"] for batch in seen])
    assert sorted(events.tolist()) == sorted(frame[schema.EVENT_ID])
    by_event = frame.set_index(schema.EVENT_ID)
    for batch in seen:
        energies = by_event.loc[batch["event_id"].numpy(), schema.ENERGY]
        np.testing.assert_array_equal(batch["targets"][:, 0].numpy(), energies)
        series = np.stack(list(by_event.loc[batch["event_id"].numpy(), schema.SERIES_I]))
        np.testing.assert_array_equal(batch["series"][:, :, 0].numpy(), series)
