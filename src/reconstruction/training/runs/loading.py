"""A checkpoint alone makes the model again: it carries the configuration, the scalers and what it was trained on."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from reconstruction.errors import UserError
from reconstruction.provenance import package_ancestry as ancestry
from reconstruction.records.rows import RowsDataModule
from reconstruction.system import DEFAULT, System, class_of, find_system
from reconstruction.training.learning.averaging import evaluation_weights
from reconstruction.training.learning.checkpoints import read_with_fallback
from reconstruction.training.learning.learner import CARD, Learner
from reconstruction.training.learning.rows_met import ELECTRONS, electrons_of, together
from reconstruction.training.network.reconstructor import Reconstructor


def build_module(config: Mapping[str, Any], system: System | None = None) -> Learner:
    """Make a module from the plain form of its configuration (nested dictionaries with class_path and init_args).

    Raises UserError when the configuration does not fit this version of the program.
    """
    module_class: Any = class_of((system or find_system()).module)
    parser = _parser_of(module_class)
    try:
        parsed = parser.parse_object({"model": dict(config)})
    except (ArgumentError, TypeError, ValueError, KeyError) as error:
        raise UserError(f"the model's configuration is not understood: {error}") from error
    module: Learner = parser.instantiate(parsed)["model"]
    module.card = {"model": dict(config)}
    return module


@functools.cache
def _parser_of(module_class: type[Any]) -> ArgumentParser:
    """Return what reads the configuration of a module, made once: there are ensembles of many checkpoints."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(module_class, "model", sub_configs=True)
    return parser


def load_module(path: Path | str) -> Learner:
    """Return the module of a checkpoint, ready to predict. Raises UserError when the file is missing or damaged."""
    checkpoint, found = read_with_fallback(Path(path))
    if CARD not in checkpoint or "model" not in checkpoint[CARD]:
        raise UserError(f"{found} does not say how its model was built: it was not written by `python cli.py fit`")
    system = find_system(checkpoint[CARD].get("system", DEFAULT))
    module = build_module(checkpoint[CARD]["model"], system)
    module.load_state_dict(evaluation_weights(checkpoint))
    module.card = {name: value for name, value in checkpoint[CARD].items() if name != "format"}
    return module.eval()


def load_ensemble(paths: Sequence[Path]) -> Learner:
    """Return one module for several checkpoints, whose predictions it combines; they must agree on data and targets."""
    first, *rest = (load_module(path) for path in paths)
    for path, other in zip(paths[1:], rest, strict=True):
        for fact in ("system", "targets", "classes", *first.system.must_agree):
            if _fact(other, fact) != _fact(first, fact):
                raise UserError(f"{path} and {paths[0]} cannot be one ensemble: they differ in {fact}")
        if other.settings != first.settings:
            raise UserError(f"{path} and {paths[0]} cannot be one ensemble: they are told other settings")
        splits = [one.card.get("data", {}).get("split", {}).get("test_events") for one in (first, other)]
        if splits[0] != splits[1]:
            warnings.warn(
                f"{path} and {paths[0]} kept other data aside for their test: none are new to both, and a "
                "test of the ensemble is too good; train its members with the same data and data.split_seed",
                stacklevel=2,
            )
        first.others.append(other.reconstructor)
    first.card[ELECTRONS] = together([first.card, *(other.card for other in rest)])
    return first.eval()


def _fact(module: Learner, name: str) -> Any:
    """Return what a module's card says of a fact: of its system, of its model, or of its data."""
    default = DEFAULT if name == "system" else None
    return module.card["model"].get(name, module.card.get("data", {}).get(name, module.card.get(name, default)))


def load_reconstructor(path: Path | str) -> Reconstructor:
    """Return what turns volts (batch, time, 2) with noise into a distribution in physical units."""
    return load_module(path).reconstructor


def plain_text(parser: ArgumentParser, config: Namespace, skip_link_targets: bool = True) -> str:
    """Return a configuration as YAML, with every default; it was validated when it was read."""
    options = {"skip_unset": False, "skip_validation": True, "skip_link_targets": skip_link_targets}
    return str(parser.dump(config, format="yaml", **options))


def plain_types(parser: ArgumentParser, config: Namespace, skip_link_targets: bool = True) -> dict[str, Any]:
    """Return a configuration in plain types, with every default: what its text holds, read by the parser written in C.

    That takes 4 ms in place of 24 ms, twice a training; a PyYAML without libyaml has none.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    plain: dict[str, Any] = yaml.load(plain_text(parser, config, skip_link_targets), loader)
    return plain


def model_card(parser: Any, config: Namespace, data: RowsDataModule, name: str) -> dict[str, Any]:
    """Return what a checkpoint says about itself, in plain types: model, data, valid ranges, ancestry."""
    plain = plain_types(parser, config, skip_link_targets=False)
    facts = data.file_facts()
    model = plain["model"] | {
        **{name: _plain(facts[name]) for name in data.system.facts},
        "targets": list(data.targets),
        "seed": int(config.seed_everything),
    }
    return {
        "name": name,
        "system": data.system.name,
        "model": model,
        "data": facts,
        ELECTRONS: electrons_of(data),
        "ancestry": ancestry(plain, seed=int(config.seed_everything)),
    }


def _plain(value: Any) -> Any:
    """Return a fact as a configuration file holds it: lists instead of tuples."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
