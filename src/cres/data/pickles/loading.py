"""One pickled file as pandas or as arrays, for notebooks and for users' own scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cres.data.pickles.source import read_source


def safe_load(path: Path | str) -> pd.DataFrame | dict[str, NDArray[Any]]:
    """Return what a `.pkl` or `.pkl.gz` file holds: a DataFrame, or a dict of arrays.

    Nothing that the file names is imported or run. Raises UserError when the file is damaged, or made of anything but
    numbers, texts and arrays.
    """
    columns = read_source(Path(path)).columns
    if not columns.is_frame:
        return columns.cells
    frame = pd.DataFrame({name: _own(cells) for name, cells in columns.cells.items()})
    frame.attrs.update(columns.attributes)
    return frame


def _own(cells: NDArray[Any]) -> NDArray[Any]:
    """Return cells that may be written to: those of the pickle lie in its bytes."""
    return cells if cells.dtype == object else np.array(cells)
