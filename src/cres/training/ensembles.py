"""Several checkpoints named as one: what they state together is calibrated on the data of their training."""

from __future__ import annotations

import warnings

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.training.fitting import calibrate_ensemble
from cres.training.module import CresModule


def calibrate_as_trained(model: CresModule, data: CresDataModule) -> None:
    """Calibrate the members together on the validation split of their training, whatever `data` are.

    Batches and window are those of `data`. Warns where the data of the training are gone or cannot calibrate.
    """
    facts = model.card["data"]
    training = CresDataModule(
        facts["files"],
        targets=model.targets,
        batch_size=data.batch_size,
        fractions=tuple(facts["split"]["fractions"]),
        split=facts["split"]["by"],
        split_seed=facts["split"]["seed"],
        window_start=data.window_start,
        window_samples=data.window_samples,
        band_hz=data.band_hz,
    )
    try:
        calibrate_ensemble(model, training.val_dataloader())
    except UserError as error:
        warnings.warn(f"the uncertainties of the ensemble are not calibrated together: {error}", stacklevel=1)
