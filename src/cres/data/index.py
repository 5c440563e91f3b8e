"""The index of a sharded data set: which files belong to it, and what must be in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.errors import UserError

INDEX_SUFFIX: Final = ".index.json"


@dataclass(frozen=True)
class Shard:
    """One file of the set: its name, its rows, and a hash over the content hashes of its electrons."""

    name: str
    rows: int
    content: str


@dataclass(frozen=True)
class Index:
    """All shards of a set, in order."""

    folder: Path
    shards: tuple[Shard, ...]
    created_by: str

    def to_json(self) -> str:
        """Return the text of the index file."""
        shards = [{"name": shard.name, "rows": shard.rows, "content": shard.content} for shard in self.shards]
        rows = sum(shard.rows for shard in self.shards)
        content = {
            "schema_version": schema.SCHEMA_VERSION,
            "created_by": self.created_by,
            "rows": rows,
            "shards": shards,
        }
        return json.dumps(content, indent=1) + "\n"


def index_path(output: Path) -> Path:
    """Return where the index of an output stands: cres.hdf5 → cres.index.json."""
    return output.with_name(output.stem + INDEX_SUFFIX)


def read_index(path: Path) -> Index:
    """Return an index. Raises UserError where it cannot be read or lists files outside its folder."""
    try:
        content = json.loads(path.read_text())
        shards = tuple(Shard(str(s["name"]), int(s["rows"]), str(s["content"])) for s in content["shards"])
        created_by = str(content["created_by"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no index of shards; make it again with `python scripts/data_prep.py`") from error
    if not shards or any(Path(shard.name).name != shard.name for shard in shards):
        raise UserError(f"{path} lists no shards, or shards that do not lie beside it")
    return Index(path.parent, shards, created_by)


def shard_paths(index: Path) -> list[Path]:
    """Return the files of an index. Raises UserError where one is missing: HDF5 itself would not say it."""
    found = read_index(index)
    for shard in found.shards:
        if not (found.folder / shard.name).exists():
            raise UserError(f"{index} lists the shard {shard.name}, which is missing; prepare the data again")
    return [found.folder / shard.name for shard in found.shards]


def data_sets(files: Iterable[Path]) -> list[Path]:
    """Return, file by file, the name that its data set was asked for by: run.hdf5 for the shards of run.index.json.

    A file that no index beside it lists is a set of its own.
    """
    paths = list(files)
    known: dict[Path, Path] = {}
    for index in (found for folder in {path.parent for path in paths} for found in folder.glob(f"*{INDEX_SUFFIX}")):
        with suppress(UserError):  # a damaged index of other data is no matter of these
            output = index.with_name(index.name.removesuffix(INDEX_SUFFIX) + ".hdf5")
            known |= {index.parent / shard.name: output for shard in read_index(index).shards}
    return [known.get(path, path) for path in paths]


def content_digest(content_hashes: NDArray[np.int64]) -> str:
    """Return the hash over the content hashes of a file's electrons, in order."""
    return hashlib.sha256(np.ascontiguousarray(content_hashes, "<i8").tobytes()).hexdigest()
