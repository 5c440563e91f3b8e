"""Probability that an electron passes the quality cut into a class of stated uncertainty, against its true energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ENERGY_UNIT_EV = 100.0
"""Slopes are given per 100 eV."""


@dataclass(frozen=True)
class Efficiency:
    """P(class | true energy), a multinomial logistic model: p_j ∝ exp(α_j + β_j (K − centre)/100 eV).

    `coefficients` (class, 2) holds α and β; with `open_end` one more class, with logit 0, holds the electrons that fail
    the cut, otherwise the last class has logit 0 and every electron passes. `covariance` (2·class, 2·class) is that of
    the coefficients of the calibration electrons, row by row.
    """

    centre_ev: float
    coefficients: Array
    covariance: Array
    open_end: bool

    @classmethod
    def constant(cls, shares: Array, centre_ev: float) -> Efficiency:
        """Return an exactly known efficiency with these shares of classes at all energies; every electron passes."""
        logits = np.log(shares / shares[-1])
        size = 2 * len(shares)
        return cls(centre_ev, np.stack([logits, np.zeros_like(logits)], axis=1), np.zeros((size, size)), False)

    def of(self, energy_ev: Array) -> Array:
        """Return (energy, class) probabilities."""
        logits = self.coefficients[:, 0] + self.coefficients[:, 1] * self._scaled(energy_ev)[:, None]
        if self.open_end:
            logits = np.concatenate([logits, np.zeros((len(logits), 1))], axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        weight = np.exp(logits)
        return (weight / weight.sum(axis=1, keepdims=True))[:, : len(self.coefficients)]

    def total(self, energy_ev: Array) -> Array:
        """Return the probability to pass the cut, (energy,)."""
        return self.of(energy_ev).sum(axis=1)

    def moved(self, shift: Array) -> Efficiency:
        """Return the efficiency with its coefficients moved by `shift` (2·class,)."""
        return Efficiency(self.centre_ev, self.coefficients + shift.reshape(-1, 2), self.covariance, self.open_end)

    def collapsed(self) -> Efficiency:
        """Return a one-class efficiency with the same total at the centre and 100 eV above and below it."""
        if not self.open_end:
            return Efficiency.constant(np.ones(1), self.centre_ev)
        total = self.total(self.centre_ev + ENERGY_UNIT_EV * np.array([-1.0, 0.0, 1.0]))
        logit = np.log(total / (1 - total))
        return Efficiency(
            self.centre_ev, np.array([[logit[1], 0.5 * (logit[2] - logit[0])]]), np.zeros((2, 2)), open_end=True
        )

    def slope_std(self) -> float:
        """Return the standard error of d ln(total efficiency)/dK per 100 eV at the centre."""
        if not self.open_end:
            return 0.0
        step, centre = 0.01, np.array([self.centre_ev])

        def slope(efficiency: Efficiency) -> float:
            above, below = efficiency.total(centre + ENERGY_UNIT_EV / 2), efficiency.total(centre - ENERGY_UNIT_EV / 2)
            return float(np.log(above / below)[0])

        unit = np.eye(self.covariance.shape[0])
        gradient = np.array([(slope(self.moved(step * e)) - slope(self.moved(-step * e))) / (2 * step) for e in unit])
        return float(np.sqrt(gradient @ self.covariance @ gradient))

    def _scaled(self, energy_ev: Array) -> Array:
        return (np.asarray(energy_ev, np.float64) - self.centre_ev) / ENERGY_UNIT_EV


def fit_efficiency(energy_ev: Array, label: NDArray[np.int64], classes: int, centre_ev: float) -> Efficiency:
    """Fit the efficiency to calibration electrons by maximum likelihood (Newton's method; the problem is convex).

    energy_ev: (electron,) true energies; label: (electron,) class 0 … classes − 1, or `classes` for a failed cut.
    A ridge of one thousandth of an electron keeps it finite where a class is empty at one end.
    """
    open_end = bool((label == classes).any())
    free = classes if open_end else classes - 1
    design = np.stack([np.ones_like(energy_ev), (energy_ev - centre_ev) / ENERGY_UNIT_EV], axis=1)
    hit = (label[:, None] == np.arange(free)).astype(np.float64)
    theta = np.zeros((free, 2))
    ridge = 1e-3
    for _ in range(100):
        probability = _softmax_with_reference(design @ theta.T)
        gradient = (hit - probability).T @ design - ridge * theta
        hessian = _hessian(design, probability) + ridge * np.eye(2 * free)
        step = np.linalg.solve(hessian, gradient.ravel()).reshape(theta.shape)
        theta = theta + np.clip(step, -2.0, 2.0)
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    covariance = np.zeros((2 * classes, 2 * classes))
    covariance[: 2 * free, : 2 * free] = np.linalg.inv(hessian) if free else 0.0
    coefficients = np.zeros((classes, 2))
    coefficients[:free] = theta
    return Efficiency(centre_ev, coefficients, covariance, open_end)


def _softmax_with_reference(logits: Array) -> Array:
    padded = np.concatenate([logits, np.zeros((len(logits), 1))], axis=1)
    padded -= padded.max(axis=1, keepdims=True)
    weight = np.exp(padded)
    return (weight / weight.sum(axis=1, keepdims=True))[:, :-1]


def _hessian(design: Array, probability: Array) -> Array:
    free = probability.shape[1]
    curvature = np.einsum("ni,ij->nij", probability, np.eye(free)) - np.einsum("ni,nj->nij", probability, probability)
    return np.einsum("nij,na,nb->iajb", curvature, design, design, optimize=True).reshape(2 * free, 2 * free)
