"""What the libraries say and a user cannot act on, left out."""

from __future__ import annotations

import logging
import warnings

QUIET = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*The `srun` command is available.*",
    ".*It is recommended to use `self.log.*sync_dist.*",
    ".*Torchinductor does not support code generation for complex operators.*",
    ".*is deprecated, use `isinstance\\(treespec.*",
)
"""Warnings of the libraries that a user cannot act on."""


def leave_out_library_messages() -> None:
    """Leave out the libraries' warnings of QUIET, and Lightning's messages below a warning."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in QUIET:
        warnings.filterwarnings("ignore", message=text)
