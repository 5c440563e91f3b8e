"""What numbers may be, by the name of the option: one table for all parts of a model, and a walk over a configuration.

The same name means the same thing in every part (`width`, `dropout`, `stride`), so that a new encoder is covered by
using it. A number must be finite wherever the table says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconstruction.ranges import COUNT, FINITE, LARGE, NOT_NEGATIVE, POSITIVE, PROBABILITY, SEED, SHARE, SIZE, Allowed

RANGES: dict[str, Allowed] = {
    # layers
    **dict.fromkeys(
        (
            "width", "depth", "heads", "kernel_size", "expansion", "stride", "downsample", "hidden_width",
            "feature_width", "components", "window", "in_channels", "input_channels", "channels", "outputs",
            "context_width", "spline_width",
        ),
        SIZE,
    ),
    "transforms": Allowed(0, 100),
    "bins": Allowed(2, LARGE),
    "draws": Allowed(16, LARGE),
    "state": Allowed(2, LARGE),
    **dict.fromkeys(("dropout", "ema_decay", "decay_per_epoch"), Allowed(0, 1, below=True)),
    **dict.fromkeys(("dt_min", "dt_max", "epsilon", "delta"), POSITIVE),
    "levels": Allowed(0, 1, above=True, below=True),
    **dict.fromkeys(("weights", "weight", "spectrum_weight", "beta"), NOT_NEGATIVE),
    **dict.fromkeys(("degrees", "location_degree", "scalar_degrees", "place", "scalars"), Allowed(0, 20)),
    "multiple": POSITIVE,
    "share": Allowed(0, 1, above=True, below=True),
    "towards_lines": SHARE,
    "drop": Allowed(0, 1, below=True),
    "widen": NOT_NEGATIVE,
    # rows
    "batch_size": SIZE,
    "workers": COUNT,
    **dict.fromkeys(("open_files", "shuffle_block"), SIZE),
    "memory_mb": NOT_NEGATIVE,
    "fractions": SHARE,
    **dict.fromkeys(("seed", "noise_seed", "split_seed", "seed_everything"), SEED),
    "noise_scale": NOT_NEGATIVE,
    # training
    **dict.fromkeys(("lr", "ssm_lr"), POSITIVE),
    **dict.fromkeys(("weight_decay", "minimum_lr", "threshold"), NOT_NEGATIVE),
    "betas": PROBABILITY,
    "factor": POSITIVE,
    "patience": COUNT,
    **dict.fromkeys(("point", "startup_points", "warmup_epochs"), COUNT),
    **dict.fromkeys(("every_minutes", "every_steps", "every_epochs", "requeue_limit", "trainable_layers"), COUNT),
    **dict.fromkeys(("warmup", "floor", "rise"), SHARE),
    **dict.fromkeys(("start", "end", "over", "epochs"), NOT_NEGATIVE),
    "steps": SIZE,
    "grace_s": POSITIVE,
    # Lightning's trainer and early stopping
    **dict.fromkeys(("max_epochs", "max_steps", "num_sanity_val_steps"), Allowed(-1, 2**63 - 1)),
    **dict.fromkeys(("min_epochs", "min_steps"), COUNT),
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), SIZE),
    **dict.fromkeys(
        ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches",
         "overfit_batches", "fast_dev_run", "log_every_n_steps", "reload_dataloaders_every_n_epochs",
         "gradient_clip_val", "min_delta"),
        NOT_NEGATIVE,
    ),
    "val_check_interval": POSITIVE,
}  # fmt: skip
"""Name of an option → what its numbers may be."""

OURS = ("reconstruction.", "cres.", "collider.", "lightning.")
"""Classes of these packages follow the table; in others its names may mean something else."""


def numbers(config: Mapping[str, Any], above: str = "", ours: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield every number in a nested configuration with its dotted place; those of foreign classes are left out."""
    for key, value in config.items():
        place = f"{above}{key}"
        if isinstance(value, Mapping):
            known = str(value["class_path"]).startswith(OURS) if "class_path" in value else ours
            yield from numbers(value, f"{place}.", known)
        elif isinstance(value, list | tuple):
            for item in value:
                if isinstance(item, Mapping | list | tuple):  # a part, or the row of a table
                    yield from numbers({key: item}, above, ours)
                elif ours and _is_number(item):
                    yield place, item
        elif ours and _is_number(value):
            yield place, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def range_of(place: str, own: Mapping[str, Allowed] | None = None) -> Allowed:
    """Return what the number at a dotted place may be; `own` are a system's further names."""
    name = place.rpartition(".")[2]
    return (own or {}).get(name) or RANGES.get(name, FINITE)


def out_of_range(config: Mapping[str, Any], own: Mapping[str, Allowed] | None = None) -> list[tuple[str, Any]]:
    """Return the numbers of a configuration that are not what they may be, with their places."""
    return [(place, number) for place, number in numbers(config) if number not in range_of(place, own)]
