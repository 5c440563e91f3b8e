"""Configuration files: see `reconstruction.yaml_files`, which every system shares."""

from reconstruction.yaml_files import line_of, read_yaml, require_yaml

__all__ = ["line_of", "read_yaml", "require_yaml"]
