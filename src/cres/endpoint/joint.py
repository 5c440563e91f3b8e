"""Several data sets fitted together: periods with fields of their own, or settings of the apparatus.

Endpoint and squared mass are common; each data set has its numbers of signal and background electrons, its response,
and a shift of its energy scale, constrained by what is known of its field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from iminuit import Minuit
from scipy.stats import chi2

from cres.endpoint.fit import NO_BACKGROUND, EndpointFit, nll_within_reach
from cres.endpoint.likelihood import NUISANCES, PARAMETERS, EndpointLikelihood
from cres.errors import UserError


@dataclass(frozen=True)
class JointFit:
    """Result of a common fit.

    `endpoint_ev` with its error, that of fixed fields in `statistical_ev`; by data set `shifts_ev`, the fitted shift of
    the energy scale and its error, `alone_ev`, its own endpoint; `agreement` is the p-value of one endpoint for all.
    `problems` says in sentences why it means nothing: it did not converge, or a data set alone shows no endpoint.
    """

    endpoint_ev: float
    error_ev: float
    statistical_ev: float
    shifts_ev: dict[str, tuple[float, float]]
    alone_ev: dict[str, tuple[float, float]]
    agreement: float
    nll: float
    problems: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {**asdict(self), "valid": self.valid}

    def lines(self) -> list[str]:
        """Return the result in plain words."""
        said = [
            f"together             {self.endpoint_ev:.3f} ± {self.error_ev:.3f} eV ({self.statistical_ev:.3f} of the "
            f"electrons), {len(self.shifts_ev)} settings agree with p = {self.agreement:.2f}"
        ]
        for name, (shift, error) in self.shifts_ev.items():
            alone, own = self.alone_ev[name]
            said.append(
                f"  {name:<18} {alone:.3f} ± {own:.3f} eV alone; its scale moves by {shift:+.3f} ± {error:.3f} eV"
            )
        return said + [f"WARNING: do not use the common fit: {problem}" for problem in self.problems]


def fit_together(
    likelihoods: Mapping[str, EndpointLikelihood], starts: Mapping[str, EndpointFit], scale_std_ev: Mapping[str, float]
) -> JointFit:
    """Fit data sets with a common endpoint.

    `starts` are their own fits, `scale_std_ev` the uncertainties of their energy scales in eV, independent of each
    other; 0 holds a scale. Raises UserError for fewer than two data sets, or where one has no uncertainty named.
    """
    if len(likelihoods) < 2:
        raise UserError("a common fit wants two data sets or more")
    if missing := [name for name in likelihoods if name not in scale_std_ev or name not in starts]:
        raise UserError(f"the data set {missing[0]!r} has no uncertainty of its energy scale, or no fit of its own")
    names = list(likelihoods)
    held = _minimise(likelihoods, starts, dict.fromkeys(likelihoods, 0.0))
    fit = _minimise(likelihoods, starts, scale_std_ev)
    weights = np.array([1 / (starts[n].endpoint_error_ev ** 2 + scale_std_ev[n] ** 2) for n in likelihoods])
    alone = np.array([starts[name].endpoint_ev for name in likelihoods])
    spread = float(weights @ (alone - weights @ alone / weights.sum()) ** 2)
    problems = [f"{name} alone is not valid, {starts[name].problems[0]}" for name in names if not starts[name].valid]
    if not fit.valid or fit.covariance is None:
        problems.append("it did not converge")
    return JointFit(
        float(fit.values["endpoint"]),
        float(fit.errors["endpoint"]),
        float(held.errors["endpoint"]),
        {name: (float(fit.values[f"shift {name}"]), float(fit.errors[f"shift {name}"])) for name in likelihoods},
        {name: (starts[name].endpoint_ev, starts[name].endpoint_error_ev) for name in likelihoods},
        float(chi2.sf(spread, len(likelihoods) - 1)),
        float(fit.fval),
        tuple(problems),
    )


def _minimise(
    likelihoods: Mapping[str, EndpointLikelihood], starts: Mapping[str, EndpointFit], scale_std_ev: Mapping[str, float]
) -> Minuit:
    names = list(likelihoods)

    def cost(values: np.ndarray) -> float:
        total = 0.0
        for index, name in enumerate(names):
            shift, signal, background = values[1 + 3 * index : 4 + 3 * index]
            point = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
            # a scale that reads too high puts the endpoint higher in its own data
            point |= {"endpoint_ev": values[0] + shift, "signal": signal, "background": background}
            total += nll_within_reach(likelihoods[name], point)
            total += 0.5 * (shift / scale_std_ev[name]) ** 2 if scale_std_ev[name] else 0.0
        return total

    # where a data set has no endpoint, its own lies anywhere
    seen = [name for name in names if starts[name].valid] or names
    first, labels = [float(np.mean([starts[name].endpoint_ev for name in seen]))], ["endpoint"]
    for name in names:
        first += [0.0, starts[name].values["signal"], max(starts[name].values["background"], NO_BACKGROUND)]
        labels += [f"shift {name}", f"signal {name}", f"background {name}"]
    minuit = Minuit(cost, np.array(first), name=labels)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.errors["endpoint"] = 0.5
    for name in names:
        minuit.errors[f"shift {name}"] = scale_std_ev[name] or 0.1
        minuit.fixed[f"shift {name}"] = not scale_std_ev[name]
        minuit.errors[f"signal {name}"] = np.sqrt(likelihoods[name].electrons)
        minuit.errors[f"background {name}"] = max(np.sqrt(starts[name].values["background"]), 0.5)
        minuit.limits[f"signal {name}"] = minuit.limits[f"background {name}"] = (0.0, None)
    minuit.migrad(ncall=8000)
    minuit.hesse()
    return minuit
