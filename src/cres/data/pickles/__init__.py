"""Pickled files that nobody vouches for: read whole, checked and bounded, and without running anything.

`read_source` is the door; what lies behind it is an interpreter of inert values, nobody else's business. For notebooks
there is `cres.data.pickles.loading.safe_load`, which needs pandas.
"""

from cres.data.pickles.frames import Columns
from cres.data.pickles.source import BadFileError, SourceFile, read_source

__all__ = ["BadFileError", "Columns", "SourceFile", "read_source"]
