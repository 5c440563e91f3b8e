"""Shapes and types of the package are checked at run time under test."""

from __future__ import annotations

import matplotlib
from jaxtyping import install_import_hook

matplotlib.use("Agg")
install_import_hook("cres", "beartype.beartype")
