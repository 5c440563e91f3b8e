"""Modules under the names that they had before: class paths of old configurations and checkpoints, users' scripts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class MovedModules(MetaPathFinder, Loader):
    """Finds modules by their former names, `moved` from old to new. What is found is the module itself, not a copy."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = dict(moved)

    def find_spec(
        self, fullname: str, path: Iterable[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a former name leads, None for names that never moved."""
        return ModuleSpec(fullname, self) if fullname in self.moved else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module under its present name."""
        module = importlib.import_module(self.moved[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as its present name made it: the import has given it the former name's spec."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state

    def install(self) -> None:
        """Look names up here first: a package that moved would find its modules a second time, under the old name."""
        sys.meta_path.insert(0, self)
