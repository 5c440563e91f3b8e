"""Several checkpoints named as one: what they state together is calibrated on the data of their training."""

from __future__ import annotations

import warnings

from reconstruction.errors import UserError
from reconstruction.records.rows import RowsDataModule
from reconstruction.training.learning.learner import Learner
from reconstruction.training.runs.calibrating import calibrate_ensemble


def calibrate_as_trained(model: Learner, data: RowsDataModule) -> None:
    """Calibrate the members together on the validation split of their training, whatever `data` are.

    How rows are read is that of `data`. Warns where the data of the training are gone or cannot calibrate.
    """
    try:
        calibrate_ensemble(model, data.as_trained(model.card["data"], model.targets).val_dataloader())
    except UserError as error:
        warnings.warn(f"the uncertainties of the ensemble are not calibrated together: {error}", stacklevel=1)
