"""The verbs of `import cres`: simulate electrons, load a model, let it read volts, fit an endpoint.

Each imports what it needs when it is called, so that `import cres` stays light.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.data.electrons import SERIES
from cres.errors import UserError, nearest
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ
from reconstruction.models import PredictiveDistribution
from reconstruction.models.predictive.distributions import joined
from reconstruction.records.batch import SETTINGS, Inputs

if TYPE_CHECKING:
    import pandas as pd

    from cres.endpoint.analysis import Analysis
    from cres.evaluation import PredictionTable
    from cres.evaluation.browser import ElectronPage
    from cres.training.online import Online
    from reconstruction.training.learning.learner import Learner

Array = NDArray[Any]

_BATCH = 64
_FROZEN_SEED = 0


@dataclass(frozen=True)
class SimulatedRecords:
    """Electrons of a simulation: every column by its name on disk, and their volts with or without noise."""

    columns: dict[str, Array]
    sampling_rate_hz: float
    lo_frequency_hz: float
    noise_density_w_per_hz: float = NOMINAL_DENSITY_W_PER_HZ

    def __len__(self) -> int:
        return len(self.columns[schema.EVENT_ID])

    def __getitem__(self, name: str) -> Array:
        """Return a column, (rows, …): `energy_eV`, `pitch_angle_deg`, `output_ts_I` …"""
        return self.columns[name]

    def __repr__(self) -> str:
        samples = self.columns[schema.SERIES_I].shape[1]
        return f"{len(self)} simulated electrons of {samples} samples at {self.sampling_rate_hz / 1e6:g} MHz"

    def volts(self, noise_scale: float | int = 1.0, seed: int = _FROZEN_SEED) -> NDArray[np.float32]:
        """Return I and Q in volts, (rows, samples, 2), with white noise of this scale (power over the nominal)."""
        series = torch.from_numpy(np.stack([self.columns[name] for name in schema.SERIES_COLUMNS], axis=-1))
        noise = (self.sampling_rate_hz, self.noise_density_w_per_hz, float(noise_scale))
        noisy: NDArray[np.float32] = _with_noise(series, self.columns[schema.EVENT_ID], *noise, seed).numpy()
        return noisy


def _with_noise(
    series: torch.Tensor,
    event_id: Array,
    sampling_rate_hz: float,
    density_w_per_hz: float,
    scale: float,
    seed: int = _FROZEN_SEED,
) -> torch.Tensor:
    """Return records (rows, samples, 2) with white noise that depends on seed and event alone."""
    from cres.transforms import FROZEN_EPOCH, KeyedRandom, WhiteNoise

    random = KeyedRandom(seed, FROZEN_EPOCH, torch.from_numpy(event_id))
    return WhiteNoise(sampling_rate_hz, density_w_per_hz)(series, random, scale)


def simulate(electrons: int, config: str | Path | None = None, seed: int = 0) -> SimulatedRecords:
    """Return simulated electrons, noiseless, with their truth.

    config: a YAML file, or the name of one in `configs/simulation` (`tritium`, `coils` …); None: the default apparatus.
    The same seed gives the same electrons. Raises UserError for a configuration that is wrong or not there.
    """
    from cres.resources import simulation_config
    from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

    if electrons < 1:
        raise UserError(f"simulate wants 1 electron or more, not {electrons}")
    settings = SimulationConfig.from_yaml(simulation_config(config))
    columns = simulate_columns(settings, sample_electrons(settings, electrons, seed))
    readout = settings.readout
    return SimulatedRecords(columns, readout.sampling_rate_hz, readout.lo_frequency_hz, readout.density_w_per_hz)


@dataclass(frozen=True)
class Estimates:
    """What a model says of electrons: `table` (estimates, error bars, flags) and the whole `posterior` of the targets.

    `posterior` has `mean`, `std`, `quantile(level)`, `sample(count)`, `log_prob(value)`: one row an electron, columns
    in the order of `table.targets`.
    """

    table: PredictionTable
    posterior: PredictiveDistribution

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> Array:
        """Return a column: `energy_ev`, `energy_std_ev`, `pitch_angle_deg`, `outside_range` … Raises UserError."""
        return self.table.column(name)

    def to_pandas(self) -> pd.DataFrame:
        """Return all columns of one number a row as a DataFrame."""
        import pandas as pd

        return pd.DataFrame({name: values for name, values in self.table.columns.items() if values.ndim == 1})

    def __repr__(self) -> str:
        shown = [name for target in self.table.targets for name in (target, schema.std_name(target))]
        frame = self.to_pandas()[[name for name in shown if name in self.table]]
        return str(frame.to_string(max_rows=10))


class Model:
    """A trained model: call it with volts.

    `sampling_rate_hz`, `lo_frequency_hz`, `samples`: what its records must be like; `targets`: what it estimates.
    """

    def __init__(self, module: Learner, made_by: str) -> None:
        self.module = module.eval()
        self.card: dict[str, Any] = dict(module.card)
        self._made_by = made_by
        data = self.card.get("data", {})
        self.sampling_rate_hz = float(data.get("sampling_rate_hz", module.card["model"]["sampling_rate_hz"]))
        self.lo_frequency_hz = float(data.get("lo_frequency_hz", schema.DEFAULT_LO_FREQUENCY_HZ))
        self.samples = int(data["samples"]) if "samples" in data else None
        self.targets = tuple(module.targets)

    def __repr__(self) -> str:
        name, length = self.card.get("name", "model"), f" of {self.samples} samples" if self.samples else ""
        return f"{name}: volts{length} at {self.sampling_rate_hz / 1e6:g} MHz → {', '.join(self.targets)}"

    def __call__(
        self,
        volts: Array | torch.Tensor | SimulatedRecords,
        *,
        event_id: Array | None = None,
        truth: Mapping[str, Array] | None = None,
        noise_scale: float | int = 0.0,
        settings: Mapping[str, Any] | None = None,
        noise_spectrum: str | Path | None = None,
    ) -> Estimates:
        """Return estimates of records.

        volts: (rows, samples, 2) I and Q, or complex (rows, samples), or one record without the first axis. Simulated
        records get their noise and lend their truth. noise_scale: power of white noise to add to your own records, over
        that of the training; 0 for records that carry their noise, 1 for those of a simulation that do not. truth: true
        values by column (`energy_eV`), for a table that is to be judged or to calibrate an endpoint. settings: of the
        apparatus, by name, one for all records or one for each, for a model that is told them; those that are left out
        are taken from the truth where it holds them, and are else, as NaN is, not known. noise_spectrum: a table of
        `estimate.py --measure-noise`, `white` for the nominal noise, for a model that is told the noise of its records;
        simulated ones have white noise. Raises UserError for other shapes, for volts that are not finite, for a
        negative noise_scale, for one beside a noise_spectrum, for settings that the model does not know or that are no
        such numbers, and for a spectrum that it is not told.
        """
        if isinstance(volts, SimulatedRecords):
            known = {name: v for name, v in volts.columns.items() if v.ndim == 1 and name != schema.EVENT_ID}
            ids = volts[schema.EVENT_ID] if event_id is None else event_id
            told = self._noise("white", volts.noise_density_w_per_hz) if noise_spectrum is None and self._bands else {}
            said = told | dict(settings or {})
            return self(volts.volts(), event_id=ids, truth=known, settings=said, noise_spectrum=noise_spectrum)
        series = self._series(volts)
        rows = np.arange(len(series)) if event_id is None else np.asarray(event_id, np.int64)
        if len(rows) != len(series):
            raise UserError(f"there are {len(series)} records and {len(rows)} event ids")
        if not noise_scale >= 0:
            raise UserError(f"noise_scale is {noise_scale}; it is 0 or more")
        if noise_scale and noise_spectrum is not None:
            raise UserError(
                "noise_scale adds white noise of the nominal density, and noise_spectrum says which noise the records "
                "have: give one of the two"
            )
        if noise_scale:
            series = _with_noise(series, rows, self.sampling_rate_hz, self._nominal, float(noise_scale))
        known = dict(truth or {})
        given: dict[str, Any] = dict(settings or {})
        if noise_spectrum is not None:
            given = self._noise(noise_spectrum, self._nominal) | given
        elif noise_scale and self._bands:
            given = self._noise("white", noise_scale * self._nominal) | given
        return self._estimates(series, rows, known | self._settings(given, known, len(series)))

    @property
    def _nominal(self) -> float:
        """Density of the nominal noise of the training."""
        return float(self.card.get("data", {}).get("noise_density_w_per_hz", NOMINAL_DENSITY_W_PER_HZ))

    @property
    def _bands(self) -> tuple[str, ...]:
        """Those of the settings that the noise says."""
        from cres.transforms.bands import is_band

        return tuple(name for name in self.module.settings if is_band(name))

    def _noise(self, table: str | Path, nominal_w_per_hz: float) -> dict[str, float]:
        """Return the settings that a table of noise says. Raises UserError for a model that is told no noise."""
        from cres.data.noise_of_rows import bands_of_table

        if not self._bands:
            raise UserError(
                "the model is told no spectrum of the noise (model.condition.settings of its training): leave out "
                "noise_spectrum"
            )
        return bands_of_table(table, self._bands, self.sampling_rate_hz, nominal_w_per_hz)

    def _settings(self, given: Mapping[str, Any], truth: Mapping[str, Array], records: int) -> dict[str, Array]:
        """Return the settings that the model is told, one a record, NaN where neither they nor the truth are given."""
        known = self.module.settings
        for name in given:
            if name not in known:
                told = f"it is told {', '.join(known)}" if known else "it is told none"
                raise UserError(f"the model knows no setting {name!r}{nearest(name, known)}: {told}")
        given = {name: truth[name] for name in known if name in truth} | dict(given)
        return {name: _one_each(name, given.get(name, np.nan), records) for name in known}

    def _series(self, volts: Array | torch.Tensor) -> torch.Tensor:
        values = volts.detach().cpu().numpy() if isinstance(volts, torch.Tensor) else np.asarray(volts)
        if np.iscomplexobj(values):
            values = np.stack([values.real, values.imag], axis=-1)
        values = values[None] if values.ndim == 2 and values.shape[-1] == 2 else values
        if values.ndim != 3 or values.shape[-1] != 2 or not values.size:
            raise UserError(
                f"volts have the shape {np.shape(volts)}; (records, samples, 2) real, or (records, samples) complex, "
                "are read"
            )
        if not np.isfinite(values).all():
            raise UserError("volts hold NaN or infinity")
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    def _warn_of_other_records(self, series: torch.Tensor) -> None:
        """Warn where the records look otherwise than those of the training: length, noise, lines."""
        from cres.evaluation.signature import RECORDS, Signature
        from reconstruction.training.runs.origin import SIGNATURE, compare_apparatus

        if self.module.settings:  # it is told the apparatus
            return
        if SIGNATURE in self.card:
            rates = (self.sampling_rate_hz, self.lo_frequency_hz)
            found = Signature.measure(series[:RECORDS].numpy(), *rates).to_dict()
            compare_apparatus(self.module.system, self.card, found)
        elif self.samples is not None and series.shape[1] != self.samples:
            warnings.warn(
                f"the records have {series.shape[1]} samples, the model was trained on {self.samples}: expect a bias "
                "and wrong error bars",
                stacklevel=5,
            )

    @torch.no_grad()
    def _estimates(self, series: torch.Tensor, rows: Array, known: dict[str, Array]) -> Estimates:
        from reconstruction.training.learning.metrics import Collected, collect
        from reconstruction.training.runs.predictions import prediction_table

        self._warn_of_other_records(series)
        truth = None
        if all(name in known for name in self.targets):
            truth = torch.from_numpy(np.stack([known[name] for name in self.targets], axis=-1).astype(np.float64))
        others = {name: torch.from_numpy(np.array(v)) for name, v in known.items() if name not in self.targets}
        said, parts = [], []
        places = torch.arange(len(series))
        for start in range(0, len(series), _BATCH):
            part = slice(start, start + _BATCH)
            posterior = self.module(self._told(series[part], known, part))
            batch: dict[str, Any] = {"event_id": places[part]}
            batch |= {} if truth is None else {"targets": truth[part]}
            batch["observables"] = {name: values[part] for name, values in others.items()}
            parts.append(collect(posterior, batch, self.module.calibrations, whole=True))
            said.append(posterior)
        collected = replace(Collected.join(parts), event_id=rows)
        table = prediction_table(collected, self.card | {"model": self._plain_model()}, self._made_by, {})
        return Estimates(table, joined(said))

    def online(self, device: str | torch.device = "cuda") -> Online:
        """Return this model for records that arrive one by one or a few at a time, as fast as the device allows."""
        if self.module.settings:
            raise UserError("a model that is told settings reads more than volts: call it instead")
        from cres.training.online import Online

        return Online(self.module, torch.device(device))

    def _told(self, series: torch.Tensor, known: Mapping[str, Array], part: slice) -> torch.Tensor | Inputs:
        names = self.module.settings
        if not names:
            return series
        settings = torch.from_numpy(np.stack([known[name][part] for name in names], axis=1)).unsqueeze(1)
        return {SERIES: series, SETTINGS: settings}

    def _plain_model(self) -> dict[str, Any]:
        return dict(self.card.get("model", {})) | {"targets": list(self.targets)}


def _one_each(name: str, given: Any, records: int) -> Array:
    """Return a setting of each record, (records,). Raises UserError for what is neither one nor one a record."""
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"the setting {name} holds what is no number") from None
    if values.shape not in {(), (1,), (records,)}:
        raise UserError(f"the setting {name} has the shape {values.shape}; one number, or one for each of {records}")
    if np.isinf(values).any():
        raise UserError(f"the setting {name} is infinite; NaN says that it is not known")
    return np.full(records, values)


def load(run: str | Path, checkpoint: str = "best") -> Model:
    """Return the model of a run's folder (its best or its last checkpoint), or of a checkpoint file.

    Raises UserError where there is none, and for a damaged file.
    """
    from reconstruction.training.runs.loading import load_module
    from reconstruction.training.runs.predictions import checkpoint_hash

    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / f"{checkpoint}.ckpt"
    return Model(load_module(path), checkpoint_hash([path]) if path.exists() else "")


def pretrained(name: str = "cavity_26ghz_modes") -> Model:
    """Return a model that comes with the package, called after its apparatus; that of `simulate` where none is named.

    Raises UserError where this installation holds none of that name.
    """
    from cres.training.package import read_package

    return Model(*read_package(name))


def browse(
    estimates: PredictionTable | Estimates | str | Path,
    *others: PredictionTable | Estimates | str | Path,
    data: str | Path | Sequence[str | Path] = (),
    noise_scale: float | int = 1.0,
    electrons: int = 300,
) -> ElectronPage:
    """Return a page to look at electrons one by one: a notebook shows it, `.save(FILE)` writes it.

    estimates: a run's folder, whose model then shows its attention, a table or its file. others: tables of the same
    electrons to show beside it, the Cramér–Rao bound among them. data: files of the records, where the table does not
    name them. noise_scale: noise power over nominal that the estimates saw; 0 for records that carry their own.
    electrons: at most so many, half of them the largest outliers. Raises UserError for what cannot be read.
    """
    from cres.training.browsing import browse_run

    run = Path(estimates) if isinstance(estimates, str | Path) and Path(estimates).is_dir() else None
    tables = [_table(given) for given in (others if run is not None else (estimates, *others))]
    if run is not None:
        from cres.evaluation import PredictionTable
        from reconstruction.judging.tables.find import PREDICTIONS

        tables.insert(0, PredictionTable.read(run / PREDICTIONS))
    files = [str(data)] if isinstance(data, str | Path) else [str(file) for file in data]
    return browse_run(run, tables, data=files, noise_scale=float(noise_scale), most=electrons)


def fit_endpoint(
    data: PredictionTable | Estimates | str | Path,
    calibration: PredictionTable | Estimates | str | Path,
    **options: Any,
) -> Analysis:
    """Fit the tritium endpoint of `data` with the response that `calibration` (electrons of known truth) shows.

    Both: estimates of one model, a predictions table, or its file. options: those of
    `cres.endpoint.analysis.Options`. Returns the analysis: `fit.endpoint_ev`, `fit.endpoint_error_ev`,
    `systematic_ev`, `limit` … Raises UserError when the tables lack what is needed.
    """
    from cres.endpoint.analysis import Options, analyse

    known = Options.__dataclass_fields__
    for option in options:
        if option not in known:
            raise UserError(f"fit_endpoint has no option {option!r}; it has {', '.join(known)}")
    return analyse(_table(data), _table(calibration), Options(**options))


def _table(given: PredictionTable | Estimates | str | Path) -> PredictionTable:
    from cres.evaluation import PredictionTable

    if isinstance(given, Estimates):
        return given.table
    return given if isinstance(given, PredictionTable) else PredictionTable.read(Path(given))
