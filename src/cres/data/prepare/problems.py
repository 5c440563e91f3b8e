"""What is wrong with a cell or a column, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something wrong with one row (counted from 0) of one column; row None means the column as a whole."""

    row: int | None
    column: str
    what: str

    def __str__(self) -> str:
        where = f"column {self.column}" if self.row is None else f"row {self.row}, column {self.column}"
        return f"{where}: {self.what}"
