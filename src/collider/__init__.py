"""collider: collisions (`collider.generation`), particles in detectors (`collider.showers`), jets (`collider.jets`) and
a search for charged Higgs bosons (`collider.higgs`).

It shares the ground of `reconstruction` with `cres` and imports nothing of it.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cres")
except PackageNotFoundError:  # a source tree on the path that nobody installed
    __version__ = "0+unknown"
