"""Shapes and types of the package are checked at run time under test."""

from __future__ import annotations

import hypothesis
import matplotlib
from jaxtyping import install_import_hook

matplotlib.use("Agg")
install_import_hook("cres", "beartype.beartype")

# A busy machine is no failure, and the same commit gives the same verdict.
hypothesis.settings.register_profile("cres", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("cres")
