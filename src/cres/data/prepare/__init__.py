"""Preparing a data set: any pile of files to checked HDF5 that is served by row."""

from cres.data.prepare.checking import CheckResult, check
from cres.data.prepare.merging import merge
from cres.data.prepare.preparation import PreparationResult, find_sources, prepare

__all__ = ["CheckResult", "PreparationResult", "check", "find_sources", "merge", "prepare"]
