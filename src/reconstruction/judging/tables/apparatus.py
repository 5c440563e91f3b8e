"""What a table says of the apparatus of its records."""

from __future__ import annotations

from typing import Final

from reconstruction.judging.tables.table import PredictionTable

APPARATUS: Final = "apparatus"
"""Attribute of a table: the signature of its records, JSON."""
WARNING: Final = "apparatus_warning"
"""Attribute of a table: how its records differ from those of the training, a sentence; empty where they do not."""


def apparatus_notes(table: PredictionTable) -> list[str]:
    """Return the warning that a table carries, as a sentence under its name."""
    warning = str(table.attributes.get(WARNING, ""))
    return [f"{table.estimator}: {warning}."] if warning else []
