"""A trained model as data of the package: weights, the card that says how to build it, and the card for people.

`weights.pt` holds tensors only and is read so (`weights_only`); `card.json` is what a checkpoint says about itself,
without the paths of the machine that trained it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch

from cres.errors import UserError
from cres.resources import pretrained_folder
from cres.training.model_card import card_text
from reconstruction.files import atomic_path
from reconstruction.training.learning.checkpoints import read_with_fallback
from reconstruction.training.learning.learner import CARD as CARD_KEY
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.rows_met import ELECTRONS
from reconstruction.training.runs.loading import build_module, load_module
from reconstruction.training.runs.predictions import checkpoint_hash

WEIGHTS: Final = "weights.pt"
CARD: Final = "card.json"
README: Final = "README.md"
MOST_BYTES: Final = 1_000_000
"""What the weights of a model that comes with the package may take."""


def write_package(checkpoint: Path, folder: Path, name: str | None = None) -> Path:
    """Write the model of a checkpoint into a folder of package data, and return the folder.

    Figures of `predictions.hdf5` beside the run's checkpoints go into its README. Raises UserError where the weights
    take more than a megabyte.
    """
    module = load_module(checkpoint)
    made_by = checkpoint_hash([checkpoint])
    stored = dict(read_with_fallback(checkpoint)[0][CARD_KEY])
    for key in ("format", ELECTRONS):  # thousands of hashes, which tell nothing of other people's records
        stored.pop(key, None)
    card = without_places(stored) | {"name": name or folder.name, "checkpoint_hash": made_by}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        torch.save({key: _alone(value) for key, value in module.state_dict().items()}, temporary)
        size = temporary.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"the weights of {checkpoint} take {size / 1e6:.1f} MB, more than 1 MB: too much to ship")
    card["weights_sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    table = checkpoint.parent.parent / "predictions.hdf5"
    with atomic_path(folder / README) as temporary:
        temporary.write_text(card_text(card, made_by, table if table.exists() else None) + _usage(folder.name))
    return folder


def _alone(value: Any) -> Any:
    """Return a tensor with storage of its own: a view would bring the whole of what it looks into."""
    return value.contiguous().clone() if isinstance(value, torch.Tensor) else value


def read_package(name: str) -> tuple[Learner, str]:
    """Return a model of the package, ready to predict, and the hash of its checkpoint.

    Raises UserError where it is not there, or where the weights are not those of the card.
    """
    folder = pretrained_folder(name)
    card = json.loads((folder / CARD).read_text())
    raw = (folder / WEIGHTS).read_bytes() if (folder / WEIGHTS).exists() else b""
    if hashlib.sha256(raw).hexdigest() != card["weights_sha256"]:
        raise UserError(f"{folder / WEIGHTS} is missing or not what its card says; install the package again")
    try:
        weights = torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder / WEIGHTS} cannot be read ({error}); install the package again") from error
    module = build_module(copy.deepcopy(card["model"]))  # the parser writes into what it is given
    module.load_state_dict(weights)
    module.card = card
    return module.eval(), str(card["checkpoint_hash"])


def without_places(value: Any) -> Any:
    """Return plain data in which absolute paths are names of files alone."""
    if isinstance(value, Mapping):
        return {key: without_places(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_places(item) for item in value]
    if isinstance(value, str) and value[:1] in "{[" and value:
        try:
            return json.dumps(without_places(json.loads(value)))
        except ValueError:
            return value
    if isinstance(value, str) and value.startswith("/"):
        return PurePosixPath(value).name
    return value


def _usage(name: str) -> str:
    return f"""
## Usage

```python
import cres

model = cres.pretrained("{name}")
estimates = model(volts)          # (records, samples, 2): I and Q in volts, with their noise
print(estimates["energy_ev"], estimates["energy_std_ev"], estimates.posterior.quantile(0.9))
```
"""
