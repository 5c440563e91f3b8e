"""What is not learned: the Cramér–Rao bound, spectral peaks, matched filter, maximum likelihood, seeded likelihood.

`search` finds a record's lines, `fit` measures them, `radial` does both where the radius moves the carrier, `simple`
does without a likelihood, `bound` says what is possible; `methods` runs each by its name on the electrons of a file.
"""

from cres.estimation.apparatus import Apparatus, Reception
from cres.estimation.bound.electrons import Freedom, bound_of, electron_bounds, freedom
from cres.estimation.bound.information import Bound, cramer_rao, fisher_information
from cres.estimation.estimates import Estimated
from cres.estimation.fit.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.fit.seeded import Seed, SeededEstimator
from cres.estimation.methods import METHODS, Task, run
from cres.estimation.noise import Coloured, NoiseModel, White
from cres.estimation.radial.posterior import RadialEstimator, RadialPosterior
from cres.estimation.search.matched_filter import Found, MatchedFilter
from cres.estimation.simple.filter_estimator import FilterEstimator
from cres.estimation.simple.peak_estimator import PeakEstimator

__all__ = [
    "METHODS",
    "Apparatus",
    "Bound",
    "Coloured",
    "Estimated",
    "FilterEstimator",
    "Found",
    "Freedom",
    "Likelihood",
    "LikelihoodEstimator",
    "MatchedFilter",
    "NoiseModel",
    "PeakEstimator",
    "RadialEstimator",
    "RadialPosterior",
    "Reception",
    "Seed",
    "SeededEstimator",
    "Task",
    "White",
    "bound_of",
    "cramer_rao",
    "electron_bounds",
    "fisher_information",
    "freedom",
    "run",
]
