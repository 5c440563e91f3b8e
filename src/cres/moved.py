"""Where modules of former versions are now."""

from __future__ import annotations

MOVED = {
    f"cres.estimation.{old}": f"cres.estimation.{new}"
    for old, new in {
        "bank": "search.templates",
        "bounds": "bound.electrons",
        "calibration": "simple.local_spread",
        "carrier": "simple.carrier",
        "detection": "search.efficiency_map",
        "filter_estimator": "simple.filter_estimator",
        "gain": "fit.gain",
        "goodness": "search.periodogram",
        "information": "bound.information",
        "least_squares": "fit.least_squares",
        "likelihood": "fit.likelihood",
        "maps": "bound.maps",
        "matched_filter": "search.detection",
        "model_methods": "methods.model",
        "modes": "search.templates",
        "origin": "methods.table",
        "peak_estimator": "simple.peak_estimator",
        "peaks": "search.peaks",
        "periodogram": "search.periodogram",
        "products": "fit.products",
        "radial_grid": "radial.grid",
        "radial_posterior": "radial.posterior",
        "recordings": "methods.recordings",
        "seeded": "fit.seeded",
        "spectral_methods": "methods.spectral",
        "starts": "fit.likelihood",
        "tables": "estimates",
        "task": "methods.task",
    }.items()
} | {
    f"cres.data.{old}": f"cres.data.{new}"
    for old, new in {
        "assembly": "prepare.assembly",
        "checking": "prepare.checking",
        "counts": "prepare.counts",
        "decompress": "pickles.decompress",
        "egg": "eggs.source",
        "egg_header": "eggs.header",
        "egg_samples": "eggs.samples",
        "egg_truth": "eggs.truth",
        "egg_windows": "eggs.windows",
        "hdf5_writer": "prepare.hdf5_writer",
        "merging": "prepare.merging",
        "outputs": "prepare.outputs",
        "pickle_machine": "pickles.machine",
        "pickled_extensions": "pickles.extensions",
        "pickled_frames": "pickles.frames",
        "pickled_numpy": "pickles.arrays",
        "pickled_texts": "pickles.texts",
        "problems": "prepare.problems",
        "safe_load": "pickles.loading",
        "staging": "prepare.staging",
        "tables": "prepare.tables",
        "unpickle": "pickles.source",
    }.items()
}

ROOMS = {
    ("cres", "reconstruction"): ("clock models shapes studies sweeps"),
    ("cres.data", "reconstruction.records"): ("loader reading_ahead splits"),
    ("cres.evaluation", "reconstruction.judging.measures"): (
        "binned bootstrap calibration comparison diagnostics influence metrics numbers posterior"
    ),
    ("cres.evaluation", "reconstruction.judging.pictures"): ("axes diagnostics_plots illustrations plots"),
    ("cres.evaluation", "reconstruction.judging.report"): ("diagnostics_section first_page report>page summary"),
    ("cres.evaluation", "reconstruction.judging.sweeps"): ("runs runs_page runs_plots runs_summary"),
    ("cres.evaluation", "reconstruction.judging.tables"): ("captions find splits table table_csv"),
    ("cres.models", "reconstruction.models"): ("denoiser groups locator polynomial_map"),
    ("cres.models", "reconstruction.models.encoders"): (
        "base channel_norm conformer convnet convolution fusion joining linoss lstm pooling positions s4d "
        "s4d_kernel s4d_layer"
    ),
    ("cres.models", "reconstruction.models.predictive"): (
        "calibration distributions gaussian_algebra heads losses mixture quantiles"
    ),
    ("cres.training", "reconstruction"): ("output"),
    ("cres.training", "reconstruction.training"): ("schedules"),
    ("cres.training", "reconstruction.training.command_line"): (
        "arguments cli explain failures hardware help options settled study sweep_check wanted"
    ),
    ("cres.training", "reconstruction.training.learning"): (
        "averaging batch_finder checkpoints electrons>rows_met loss_watch metrics rate_finder"
    ),
    ("cres.training", "reconstruction.training.learning.tasks"): ("denoising"),
    ("cres.training", "reconstruction.training.network"): ("landmark reconstructor"),
    ("cres.training", "reconstruction.training.export"): ("onnx_export real_arithmetic"),
    ("cres.training", "reconstruction.training.runs"): (
        "ensembles fit_command fitting interruption loading origin predictions processes "
        "reconstruction>commands resuming run_lock runs slurm starts"
    ),
    ("cres.training", "reconstruction.training.watching"): ("counting figures loggers online_summary progress quiet"),
    ("cres.transforms", "reconstruction"): ("buffers>exact_buffers"),
    ("cres.transforms", "reconstruction.models"): ("scaling"),
    ("cres.transforms", "reconstruction.random"): ("processor_random random>keyed"),
    ("reconstruction.training.learning", "reconstruction.training.learning.tasks"): ("denoising masking"),
}
"""From which package to which, and the names of the modules that moved; `old>new` where one has another name now."""

for (before, now), names in ROOMS.items():
    for name in names.split():
        old, _, new = name.partition(">")
        MOVED[f"{before}.{old}"] = f"{now}.{new or old}"
