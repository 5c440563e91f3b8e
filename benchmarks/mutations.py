"""Break the program on purpose, place by place, and see which tests notice: none may survive.

    python benchmarks/mutations.py                    all, one after the other; minutes
    python benchmarks/mutations.py --only tied_loss class_shares
    python benchmarks/mutations.py --list             what is broken and by what it is caught, as Markdown

Each mutation replaces one text of one file in a copy of the program and runs the tests that are to fail there; it is
found when they do. A text that is no longer there is told, so that the list stays true. Exit code 1 when one survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "tests", "configs", "scripts", "pyproject.toml", "cli.py")
PASSED, FAILED = 0, 1
"""Exit codes of pytest."""


@dataclass(frozen=True)
class Mutation:
    """`old` in `file` becomes `new`; `tests`, a path and a part of names, must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    words: str = ""
    package: str = "cres"


MUTATIONS = (
    # four detectors
    Mutation("first_neighbour", "detectors/calorimeters/clusters.py", "best = np.argmax(joinable, axis=1)",
             "best = np.argmax(joinable > -np.inf, axis=1)", "detectors/calorimeters/test_clusters.py", "slow_flood",
             package="collider"),
    Mutation("compensating", "detectors/calorimeters/showering.py",
             "np.where(points.in_hcal, hcal.hadronic_response, ecal.hadronic_response)", "np.ones(len(points.entry))",
             "detectors/calorimeters/test_showering.py", "hadron", package="collider"),
    Mutation("rows_of_the_batch", "detectors/making/events.py", "place - first[event]", "place",
             "detectors/making/test_events.py", "tables or rows", package="collider"),
    Mutation("trained_on_is_tested", "detectors/combining/tables.py",
             "part[rows] = np.minimum(part[rows], table.column(PART))", "part[rows] = table.column(PART)",
             "detectors/combining/test_combining.py", "trained_on", package="collider"),
    Mutation("independent_errors", "detectors/combining/weights.py",
             "correlation = _correlations(pulls / inflation)", "correlation = np.eye(len(names))",
             "detectors/combining/test_combining.py", "correlated_errors", package="collider"),
    Mutation("truth_of_many", "detectors/learning/candidates.py", "return np.where(first, particle, NONE)",
             "return particle", "detectors/learning/test_candidates.py", "truth_of_one", package="collider"),
    Mutation("events_torn_apart", "detectors/learning/data.py", "of_rows = files.event_of_rows",
             "of_rows = np.arange(len(files))", "detectors/learning/test_data.py", "same_part", package="collider"),
    # jets
    Mutation("hidden_particle_seen", "jets/networks/particles.py", "series = hidden.hide(series)", "pass",
             "jets/test_networks.py", "hidden", package="collider"),
    Mutation("copies_that_decay", "jets/making/truth.py", "last = heavy & ~copied", "last = heavy",
             "jets/test_making.py", "copies", package="collider"),
    Mutation("slim_without_metric", "jets/networks/slim.py", "METRIC = (1.0, -1.0, -1.0, -1.0)",
             "METRIC = (1.0, 1.0, 1.0, 1.0)", "jets/test_networks.py", "no_boost", package="collider"),
    Mutation("off_the_shell", "jets/learning/rebuilt.py", "(pt * eta.cosh())", "(pt * eta.sinh())",
             "jets/test_learning.py", "ties", package="collider"),
    Mutation("farthest_class", "jets/judging/unlike.py", "squares.min(axis=0)", "squares.max(axis=0)",
             "jets/test_unlike.py", "loop", package="collider"),
    Mutation("turned_azimuth", "jets/learning/masking.py", "(1 - phi.cos()).mean()", "phi.square().mean()",
             "jets/test_learning.py", "azimuth", package="collider"),
    # what an independent review found to survive
    Mutation("class_shares", "endpoint/likelihood.py", "return shares / shares.sum() / window.width_ev",
             "return np.full_like(shares, 1 / len(shares)) / window.width_ev", "endpoint/test_background_classes.py"),
    Mutation("free_space_drift", "simulation/track.py", "share = 1 / gamma**2 if", "share = torch.ones_like(gamma) if",
             "simulation/test_pitch_drift.py"),
    Mutation("fallback_covariance", "estimation/fit/seeded.py", "    covariance[use] = diagonal[use]\n", "",
             "estimation/test_fallback.py"),
    # samples of a flow
    Mutation("weight_without_proposal", "estimation/weighing/importance.py",
             "exact.log_density(data, points) - log_density", "exact.log_density(data, points)",
             "estimation/test_weighing.py", "wrong_density"),
    Mutation("weight_without_prior", "estimation/weighing/exact.py",
             "return self.log_prior(points) + self.log_likelihood", "return self.log_likelihood",
             "estimation/test_weighing.py", "surrounds"),
    Mutation("sheet_without_jacobian", "training/network/sheet.py", "change = change - self.spread[row].log()",
             "change = change", "training/test_sheet.py", "by_how_much", package="reconstruction"),
    Mutation("samples_unweighted", "endpoint/sampled.py", "(self.weights * part).ravel()]",
             "(part / part.shape[1]).ravel()]", "endpoint/test_sampled.py", "closed"),
    Mutation("averaged_weights", "training/runs/fitting.py", "= evaluation_weights(checkpoint)",
             '= checkpoint["state_dict"]', "training/test_average_calibration.py", package="reconstruction"),
    # trainings that are stopped, resumed, and end
    Mutation("first_score", "training/learning/checkpoints.py", "if not math.isfinite(score):", "if False:",
             "training/test_failures.py", "never_the_best", package="reconstruction"),
    Mutation("said_but_kept", "training/learning/checkpoints.py", ")\n            return\n        if self.best_score",
             ")\n        if self.best_score", "training/test_failures.py", "never_the_best", package="reconstruction"),
    Mutation("resumed_rate", "training/runs/resuming.py", '"seed_everything", "model", ', '"seed_everything", ',
             "training/test_run_record.py", "another_training", package="reconstruction"),
    Mutation("score_of_before", "training/learning/checkpoints.py", "score is not None and math.isfinite(score)",
             "score is not None", "training/test_failures.py", "never_the_best", package="reconstruction"),
    Mutation("changes_let_pass", "training/runs/fit_command.py", "refuse_changes(checkpoint, self.model.card)", "pass",
             "training/test_run_record.py", "another_training", package="reconstruction"),
    Mutation("other_metric", "training/runs/resuming.py", "return name in FIXED_OPTIONS or (", "return (",
             "training/test_run_record.py", "another_training", package="reconstruction"),
    Mutation("other_class", "training/runs/resuming.py", "if not _same_class(before.get", "if False and (before.get",
             "training/test_run_record.py", "another_training", package="reconstruction"),
    Mutation("any_number", "training/runs/resuming.py", "return float(before) == float(now)", "return True",
             "training/test_run_record.py", "another_training", package="reconstruction"),
    Mutation("other_rows", "training/runs/resuming.py", 'old.get("train_events") != new["train_events"]', "False",
             "training/test_run_record.py", "other_electrons", package="reconstruction"),
    Mutation("never_finished", "training/runs/resuming.py", "0 <= trainer.max_epochs <= epochs", "False",
             "training/test_run_record.py", "is_finished", package="reconstruction"),
    Mutation("equal_ids", "judging/tables/joins.py", "        other = ~_same(known, found)\n",
             "        other = np.zeros(len(known), bool)\n", "training/test_browsing.py", "equal_ids",
             package="reconstruction"),
    Mutation("any_place", "files.py", "if path.exists() and not path.is_file():", "if False:", "test_script_options.py",
             "only_files", package="reconstruction"),
    Mutation("system_refuses", "errors.py", "    except OSError as error:\n", "    except LookupError as error:\n",
             "test_script_options.py", "what_the_system_refuses", package="reconstruction"),
    Mutation("vendored", "provenance.py", " or any(beside)", "", "test_provenance.py", "around_an_installed",
             package="reconstruction"),
    Mutation("unfinished", "training/runs/interruption.py", "remove_unfinished(saved.parent)", "pass",
             "training/test_interruption.py", "never_ends", package="reconstruction"),
    Mutation("late_gloo", "training/runs/processes.py", "one.__dict__.update(reducer=None, logger=None)", "pass",
             "training/test_distributed.py", package="reconstruction"),
    # one model for many apparatus
    Mutation("never_wider", "training/network/condition.py", "outside.unsqueeze(1), factor, 1.0)",
             "outside.unsqueeze(1), 1.0, 1.0)", "models/test_conditioning.py", "error_bars_grow",
             package="reconstruction"),
    Mutation("never_hidden", "models/conditioning/context.py", "if self.training and self.options.drop:", "if False:",
             "models/test_conditioning.py", "dropped", package="reconstruction"),
    Mutation("one_noise", "training/learning/learner.py", "strength = batch[STRENGTH] / self.nominal_strength if",
             "strength = None if", "training/test_told_records.py", "noise_is_that", package="reconstruction"),
    Mutation("unbalanced", "records/loader.py", "if self.groups is not None and self._all:", "if False:",
             "data/test_many_files.py", "balances", package="reconstruction"),
    Mutation("oldest_kept", "records/recent.py", "self._kept.move_to_end(key)", "pass", "data/test_many_files.py",
             "least_recently", package="reconstruction"),
    Mutation("all_in_blocks", "records/mixing.py", "order[first : first + blocks.at_once]", "order[first:]",
             "data/test_many_files.py", "reads_few_places", package="reconstruction"),
    Mutation("first_is_average", "training/stages/line.py", "for state in states]).mean(dim=0)",
             "for state in states])[0]", "systems/test_stages.py", "mean_of_the_weights", package="reconstruction"),
    Mutation("all_trained", "judging/measures/by_setting.py", "return TRAINED if bool(same.any()) else BETWEEN",
             "return TRAINED", "evaluation/test_settings.py", package="reconstruction"),
    # masked pre-training
    Mutation("hidden_seen", "training/learning/tasks/masking.py", "noisy = noisy - one.part(noisy)",
             "noisy = noisy + 0", "training/test_masking.py", "does_not_reach", package="reconstruction"),
    Mutation("hidden_mean", "training/learning/tasks/masking.py", " / hidden.share(lengths)).mean()", ").mean()",
             "training/test_masking.py", "units_of_the_noise", package="reconstruction"),
    Mutation("other_masks", "training/learning/learner.py", "noisy, clean, self._random(noisy, epoch))",
             "noisy, clean, self._random(noisy, 0))", "training/test_masking.py", "other_in_each_epoch",
             package="reconstruction"),
    Mutation("all_alike", "training/learning/learner.py", "(self.row_weights(batch).to(losses) * losses).mean()",
             "losses.mean()", "training/test_row_weights.py", "weighted_mean", package="reconstruction"),
    # records of several kinds
    Mutation("empty_alike", "data/records.py", "known = schema.EVENT_ID in self.columns", "known = False",
             "training/test_classify.py", "shared_out"),
    Mutation("second_alone", "simulation/kinds.py", "columns[name][two] += second[name]",
             "columns[name][two] = second[name]", "simulation/test_kinds.py", "is_what_it_says"),
    Mutation("free_scattering", "simulation/tracks.py",
             "draw = draw * share_within(self.config.scattering, energy, left_s)", "pass",
             "simulation/test_kinds.py", "within_the_record or exponential"),
    # the bound
    Mutation("tied_loss", "estimation/bound/information.py", "2 / parameters[:, AMPLITUDE, None] * by_loss",
             "1 / parameters[:, AMPLITUDE, None] * by_loss", "estimation/test_bounds.py", "finite_differences"),
    Mutation("tied_strength", "estimation/bound/information.py", "2 / parameters[:, AMPLITUDE, None] * by_loss",
             "2 * by_loss", "estimation/test_bounds.py", "another_strength"),
    Mutation("loss_derivative", "simulation/forward.py", "return (more - less) / (2 * LOSS_STEP)",
             "return (more - less) / LOSS_STEP", "estimation/test_bounds.py", "finite_differences"),
    Mutation("start_edge", "estimation/bound/information.py", "- sampling_rate_hz * series[:, 0]", "",
             "estimation/test_bounds.py", "start_time"),
    Mutation("default_bound", "estimation/bound/electrons.py", 'bound: str = TIED, also',
             'bound: str = LOSS_KNOWN, also', "estimation/test_bounds.py", "tied or says_which"),
    Mutation("area_prior", "estimation/bound/information.py", "return 18 / largest_radius_m**2",
             "return 12 / largest_radius_m**2", "estimation/test_information.py", "silent"),
    # near 90°
    Mutation("template_norm", "estimation/search/templates.py", "    power /= bank.norms[node, template]\n", "",
             "estimation/test_near_ninety.py"),
    Mutation("templates_end", "estimation/apparatus.py", "LARGEST_PITCH_DEG = 89.9995",
             "LARGEST_PITCH_DEG = 89.97", "estimation/test_near_ninety.py"),
    Mutation("lines_between", "estimation/search/templates.py",
             "    values[slow] = spectrum.between(slow[0], frequency[slow]).to(values.dtype)\n", "",
             "estimation/test_near_ninety.py"),
    Mutation("negative_variance", "estimation/fit/likelihood.py", "& (variance > 0).all(axis=1)", "",
             "estimation/test_near_ninety.py", "without_curvature"),
    Mutation("near_ninety_width", "estimation/fit/likelihood.py", "NEAR_NINETY_SIGMAS = 3.0",
             "NEAR_NINETY_SIGMAS = -3.0", "estimation/test_near_ninety.py", "without_curvature"),
    # the likelihood
    Mutation("ambiguous_width", "estimation/fit/likelihood.py", "wide = (ambiguous | ~curved,", "wide = (~curved,",
             "estimation/test_likelihood.py", "ambiguous"),
    Mutation("goodness_flag", "estimation/fit/likelihood.py", " | (self.goodness < SMALLEST_GOODNESS)", "",
             "estimation/test_flags.py"),
    Mutation("best_start", "estimation/fit/least_squares.py", "fits.chi_square.argsort(stable=True)",
             "(-fits.chi_square).argsort(stable=True)", "estimation/test_likelihood.py", "best_start"),
    Mutation("prior_pull", "estimation/fit/least_squares.py", "gradient = gradient + precision * pull",
             "gradient = gradient - precision * pull", "estimation/test_likelihood.py", "prior"),
    Mutation("isotropic_prior", "estimation/search/templates.py", " + density.log()[self.template]", "",
             "estimation/test_flags.py"),
    Mutation("seed_modes", "estimation/fit/seeded.py", "np.maximum(SEARCH_SIGMAS * std, SEARCH_SPREADS * spread)",
             "SEARCH_SIGMAS * std", "estimation/test_flags.py"),
    # quantile heads
    Mutation("quantile_place", "models/predictive/quantiles.py", "self.affine(factor, self.estimate * (1 - factor))",
             "self.affine(factor, self.mean * (1 - factor))", "models/test_heads.py", "temper",
             package="reconstruction"),
    # the simulation's options
    Mutation("loss_factor", "simulation/track.py", "loss.factor / ELEMENTARY_CHARGE_C", "1.0 / ELEMENTARY_CHARGE_C",
             "simulation/test_pitch_drift.py", "free_space_loses"),
    Mutation("free_space_power", "simulation/track.py", "* torch.sin(start.pitch_rad) ** 2\n", "\n",
             "simulation/test_pitch_drift.py", "free_space_loses"),
    # detectors
    Mutation("no_scattering_in_the_fit", "detectors/tracking/kalman.py", "covariance = covariance + noise[:, layer]",
             "pass", "detectors/tracking/test_kalman.py", "least_squares", "collider"),
    Mutation("kick_at_equal_pt", "detectors/tracking/perigee.py",
             "out[..., Q_OVER_PT, 1] = curvature * change * slope2", "pass",
             "detectors/tracking/test_perigee.py", "kick", "collider"),
    Mutation("each_seed_a_track", "detectors/tracking/finding.py",
             "if used[own].sum() <= options.shared * len(own):", "if len(own):",
             "detectors/tracking/test_finding.py", "found_once", "collider"),
    Mutation("independent_hits", "detectors/tracking/bounds.py", "moved = found.jacobian[",
             "moved = 0 * found.jacobian[",
             "detectors/tracking/test_finding.py", "bound_is_reached", "collider"),
    # the endpoint
    Mutation("background_window", "endpoint/likelihood.py", "response.efficiency.of(energies).mean(axis=0)",
             "response.efficiency.of(energies)[0]", "endpoint/test_background_classes.py", "averaged"),
    Mutation("energy_shift_sign", "endpoint/model.py", 'endpoint_offset_ev + values["energy_shift_ev"]',
             'endpoint_offset_ev - values["energy_shift_ev"]', "endpoint/test_endpoint_likelihood.py",
             "energy_shift"),
    # showers
    Mutation("spot_profile", "showers/parameters.py",
             "return t * (0.813 + 0.0019 * z), alpha * (0.844 + 0.0026 * z)",
             "return t * (0.698 + 0.00212 * z), alpha * (0.639 + 0.00334 * z)",
             "showers/test_parameters.py", "spots", "collider"),
    Mutation("tail_slope", "showers/parameters.py",
             "(0.3585 + 0.0421 * log_energy)",
             "(0.3585 + 0.0412 * log_energy)",
             "showers/test_parameters.py", "radial", "collider"),
    Mutation("layer_term", "showers/parameters.py",
             "t - 0.55 * per_layer - 0.69 * less",
             "t - 0.59 * per_layer - 0.53 * less",
             "showers/test_parameters.py", "sampling", "collider"),
    Mutation("opposite_sign", "showers/sources.py",
             "(common - opposite)), SMALLEST_ALPHA)",
             "(common + opposite)), SMALLEST_ALPHA)",
             "showers/test_simulation.py", "fluctuations or twin", "collider"),
    Mutation("pair_share", "showers/sources.py", "np.where(first < 6 / 7, second, (1 + edge) / 2)", "second",
             "showers/test_simulation.py", "photon", "collider"),
    Mutation("conversion", "showers/sources.py", "-9 / 7 * np.log", "-7 / 9 * np.log",
             "showers/test_simulation.py", "photon", "collider"),
    Mutation("tail_choice", "showers/spots.py", "(choice - p) / (1 - p)", "choice",
             "showers/test_simulation.py", "twin", "collider"),
    Mutation("sampling_scale", "showers/spots.py", "energy / c_square)", "energy / c_square**0.5)",
             "showers/test_simulation.py", "fluctuations", "collider"),
    Mutation("sheppard", "showers/validation.py", " - np.diff(DEPTHS_X0)[0] ** 2 / 12", "",
             "showers/test_dataset.py", "measured", "collider"),
    Mutation("holm", "showers/checks.py", "(len(checks) - rank) * checks[i].p_value", "checks[i].p_value",
             "showers/test_dataset.py", "corrected", "collider"),
    Mutation("soft_loss", "showers/cascade.py",
             "return energy * (4 / 3 * (low - low**2 / 2) + low**3 / 3)",
             "return energy * 4 / 3 * low**2",
             "showers/test_cascade.py", "bremsstrahlung", "collider"),
    Mutation("pair_series", "showers/cascade.py", "(6 - math.pi**2 / 3) * log", "6 * log",
             "showers/test_cascade.py", "meet", "collider"),
    Mutation("prior", "showers/information.py", "+ np.diag([0.0, 1.0, 1.0])", "",
             "showers/test_information.py", "curvature", "collider"),
    # collisions
    Mutation("closed_channel", "generation/processes.py", "SHARE_STANDS: Final = 100", "SHARE_STANDS: Final = 0",
             "generation/test_processes.py", "below_threshold", "collider"),
    Mutation("one_sign", "generation/processes.py", "positive, negative = negative, positive", "pass",
             "generation/test_processes.py", "signs", "collider"),
    Mutation("beams_are_hadrons", "generation/events.py", "pdg.mapped(pdg.is_hadron, codes) & (mothers >= 0)",
             "pdg.mapped(pdg.is_hadron, codes)", "generation/test_pdg.py", "prompt", "collider"),
    Mutation("mothers_of_hadrons", "generation/events.py", "flavour[holds & ~mother_of_another]", "flavour[holds]",
             "generation/test_pdg.py", "heavy", "collider"),
    Mutation("turned_jets", "generation/kinematics.py", "(first - second + np.pi) % (2 * np.pi) - np.pi",
             "first - second", "generation/test_jets_and_objects.py", "loop or tags", "collider"),
    Mutation("cells_without_noise", "generation/smearing.py", " + (one.noise_gev / at) ** 2", "",
             "generation/test_jets_and_objects.py", "widths", "collider"),
    Mutation("numbers_of_the_batch", "generation/smearing.py", "range(-(-int(counts.max(initial=0)) // BLOCK))",
             "range(-(-int(counts.max(initial=0)) // BLOCK) + len(counts) // 30)[len(counts) // 30 :]",
             "generation/test_jets_and_objects.py", "own_numbers", "collider"),
    Mutation("all_that_were_generated", "generation/files.py",
             "sum_of_weights = float(worth.weight[last])", "sum_of_weights = float(kept)",
             "generation/test_files.py", "visible", "collider"),
    Mutation("what_a_filter_drops", "generation/pythia.py", "self._weight += float(", "self._weight = float(",
             "generation/test_filters.py", "cross_section or dropped", "collider"),
    Mutation("hepmc_units", "generation/readers.py", '"MEV": 1e-3', '"MEV": 1.0',
             "generation/test_files.py", "hepmc", "collider"),
    # reports, pages and what judges posteriors
    Mutation("always_honest", "judging/report/first_page.py", "if all(row.verdict.calibrated for row in judged",
             "if all(True for row in judged", "evaluation/test_first_page.py", "verdict_says",
             package="reconstruction"),
    Mutation("broken_by_a_name", "evaluation/browser.py", '.replace("<", "\\\\u003c")', "",
             "evaluation/test_browser.py", "names_cannot"),
    Mutation("exchanged_nibbles", "evaluation/browser.py", "flat[:, ::2] | (flat[:, 1::2] << 4)",
             "flat[:, 1::2] | (flat[:, ::2] << 4)", "evaluation/test_browser.py", "coarse"),
    Mutation("one_outlier", "judging/measures/influence.py", "if mean - without <= DECIDES", "if mean - without <= 1e9",
             "evaluation/test_first_page.py", "one_electron", package="reconstruction"),
    Mutation("tarp_to_all_sides", "judging/measures/diagnostics.py", "np.abs(random.standard_normal(own.shape))",
             "random.standard_normal(own.shape)", "evaluation/test_diagnostics.py", "right_posteriors",
             package="reconstruction"),
    Mutation("equal_weights", "judging/measures/posterior.py", 'np.einsum("rk,rkt->rt", self.weights, below)',
             "below.mean(axis=1)", "evaluation/test_diagnostics.py", "distribution_of_the_network",
             package="reconstruction"),
    Mutation("sidebands_elsewhere", "training/browsing.py", "lines = 2 * table.column", "lines = 1.9 * table.column",
             "training/test_browsing.py", "lines_stand"),
    Mutation("penalty", "endpoint/likelihood.py", "float(0.5 * away @ self.inverse @ away)",
             "float(away @ self.inverse @ away)", "endpoint/test_endpoint_systematics.py", "penalty"),
    Mutation("efficiency_slope", "endpoint/likelihood.py", 'np.exp(slope * distance + curved)',
             'np.exp(-slope * distance + curved)', "endpoint/test_background_classes.py", "slope"),
    # long tracks
    Mutation("window_bias", "evaluation/windows.py", "start = start - np.stack", "start = start - 0 * np.stack",
             "evaluation/test_windows.py", "bias_of_all"),
    Mutation("window_bias_slope", "evaluation/window_features.py", "np.ones(len(away)), *away.T,",
             "np.ones(len(away)), *0 * away.T,", "evaluation/test_windows.py", "bias_of_all"),
    Mutation("window_factor", "evaluation/window_calibration.py", "known.sum() // _PER_QUANTILE, 1, 3",
             "known.sum() // _PER_QUANTILE, 1, 1", "evaluation/test_windows.py", "easy_and_for_hard"),
    Mutation("window_slope_law", "evaluation/window_combination.py", "means[:, i] += basis_of",
             "means[:, i] += 0 * basis_of", "evaluation/test_windows.py", "foretell_slopes"),
    Mutation("window_correlation", "evaluation/window_fit.py",
             '"ek,eki,ekij,ekj->eij", weight, change, tracks.covariance, change',
             '"ek,eki,ekij,ekj->eij", weight, change, np.abs(tracks.covariance), change',
             "evaluation/test_windows.py", "without_drift_average"),
    Mutation("shard_spectrum", "data/noise_spectrum.py", "NoiseSpectrum.beside(path) or NoiseSpectrum.beside(output)",
             "NoiseSpectrum.beside(path)", "estimation/test_measured_noise.py", "shards"),
    Mutation("window_quantile", "evaluation/window_features.py", "b_eq=(1 - probability)",
             "b_eq=probability", "evaluation/test_windows.py", "quantile_fit"),
    Mutation("window_tail", "evaluation/windows.py", "half = 2 * std[:, i] * combination.tail(*at[i])",
             "half = 3 * std[:, i] * combination.tail(*at[i])", "evaluation/test_windows.py", "easy_and_for_hard"),
    # few electrons, and data that do not hold what is fitted
    Mutation("interval_bias", "endpoint/endpoint_interval.py", "best.edge_ev[0] - expected.endpoint_ev",
             "expected.endpoint_ev - best.edge_ev[0]", "endpoint/test_mass_scan.py", "expected_bias"),
    Mutation("far_endpoint", "endpoint/fit.py", "nearest = min(max(endpoint, lowest - REACH_EV), highest + REACH_EV)",
             "nearest = endpoint", "endpoint/test_endpoint_quality.py", "far_from_the_electrons and 40"),
    Mutation("unknown_truth", "endpoint/quality.py", "np.isfinite(energy) & ~np.isfinite(truth)",
             "np.zeros(len(table), bool)", "endpoint/test_endpoint_quality.py", "without_a_true_energy"),
    Mutation("copied_truth", "endpoint/quality.py", "COPIED = 1e-3", "COPIED = 0.0",
             "endpoint/test_endpoint_quality.py", "tells_nothing_of_the_response"),
    Mutation("joint_blind", "endpoint/joint.py", "for name in names if not starts[name].valid]\n",
             "for name in names if 0]\n", "endpoint/test_endpoint_systematics.py", "fitted_together"),
)  # fmt: skip


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None, help="names of mutations")
    parser.add_argument("--list", action="store_true", help="print the list and stop")
    return parser.parse_args()


def markdown() -> str:
    """Return the list."""
    lines = ["| mutation | file | breaks | found by |", "|---|---|---|---|"]
    for one in MUTATIONS:
        lines.append(
            f"| `{one.name}` | `{one.file}` | `{one.old.strip().replace('|', 'or')}` | `{one.tests}` {one.words} |"
        )
    return "\n".join(lines)


def survived(one: Mutation, folder: Path) -> str:
    """Return an empty text where the mutation is found, else what happened."""
    path = folder / "src" / one.package / one.file
    sound = path.read_text()
    if sound.count(one.old) != 1:
        return f"its text is there {sound.count(one.old)} times: bring the list up to date"
    path.write_text(sound.replace(one.old, one.new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{one.tests}"]
    command += ["-k", one.words] if one.words else []
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        path.write_text(sound)
    if done.returncode == FAILED:
        return ""
    return "survived" if done.returncode == PASSED else f"the tests did not run: {done.stdout[-300:]}"


def main() -> int:
    arguments = parse_arguments()
    if arguments.list:
        print(markdown())
        return 0
    left = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
        for one in MUTATIONS:
            if arguments.only is None or one.name in arguments.only:
                verdict = survived(one, folder)
                left += bool(verdict)
                print(f"{one.name}: {verdict or 'found'}", flush=True)
    print(f"{left} survived" if left else "all were found")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
