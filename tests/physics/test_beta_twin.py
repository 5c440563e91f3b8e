"""The beta spectrum against a twin in 40 digits, written from the papers and not from the fast code."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from cres.physics.beta import CORRECTIONS, RATE_PER_SECOND, T2_ENDPOINT_EV, beta_spectrum_rate
from cres.physics.final_states import FinalStates

mp.mp.dps = 40
ME = mp.mpf("510998.95069")  # CODATA 2022
ALPHA = mp.mpf("7.2973525643e-3")
LAMBDA, MU, R, M, V0, Z = (mp.mpf(x) for x in ("1.2754", "5.107", "2.884e-3", "5497.885", "76", "2"))


def slow_rate(kinetic, endpoint, mass_squared, corrections, final_states=None):
    kinetic, endpoint, mass_squared = mp.mpf(float(kinetic)), mp.mpf(float(endpoint)), mp.mpf(mass_squared)
    w, w0 = 1 + kinetic / ME, 1 + endpoint / ME
    p = mp.sqrt(w**2 - 1)
    beta, g = p / w, mp.sqrt(1 - (ALPHA * Z) ** 2)
    states = [(0.0, 1.0)] if final_states is None else final_states.pairs()
    total = mp.mpf(0)
    for excitation, probability in states:
        epsilon = endpoint - mp.mpf(excitation) - kinetic
        if epsilon <= 0 or epsilon**2 < mass_squared:
            continue
        physical = mass_squared >= 0
        term = epsilon * mp.sqrt(epsilon**2 - mass_squared) if physical else epsilon**2 - mass_squared / 2
        term *= mp.mpf(probability)
        total += term * (radiative(beta, w, epsilon / ME) if "radiative" in corrections else 1)
    factors = {
        "screening": lambda: screening(w, p, g),
        "recoil": lambda: recoil(w, w0),
        "coulomb_recoil": lambda: (
            1 - mp.pi * ALPHA * Z / (M * p) * (1 + (1 - LAMBDA**2) / (1 + 3 * LAMBDA**2) * (w0 - w) / (3 * w))
        ),
        "finite_nucleus": lambda: finite_nucleus(w, w0, g),
        "exchange": lambda: exchange(p),
    }
    for name in corrections:
        if name != "radiative":
            total *= factors[name]()
    return mp.mpf(RATE_PER_SECOND) * fermi(p, beta, g) * p * ME * w * ME * total


def fermi(p, beta, g):
    eta = ALPHA * Z / beta
    gamma = abs(mp.gamma(g + 1j * eta)) ** 2 / mp.gamma(2 * g + 1) ** 2
    return 4 / (2 * p * R) ** (2 * (1 - g)) * gamma * mp.exp(mp.pi * eta)


def radiative(beta, w, epsilon):
    t = mp.atanh(beta) / beta - 1
    inner = t * (mp.log(2) - mp.mpf(3) / 2 + epsilon / w)
    inner += (t + 1) / 4 * (2 * (1 + beta**2) + 2 * mp.log(1 - beta) + epsilon**2 / (6 * w**2))
    inner += -2 + beta / 2 - mp.mpf(17) / 36 * beta**2 + mp.mpf(5) / 6 * beta**3
    return epsilon ** (2 * ALPHA * t / mp.pi) * (1 + 2 * ALPHA / mp.pi * inner)


def screening(w, p, g):
    ws = w - V0 / ME
    ps = mp.sqrt(ws**2 - 1)
    eta, etas = ALPHA * Z * w / p, ALPHA * Z * ws / ps
    ratio = abs(mp.gamma(g + 1j * etas)) ** 2 / abs(mp.gamma(g + 1j * eta)) ** 2
    return ws / w * (ps / p) ** (2 * g - 1) * mp.exp(mp.pi * (etas - eta)) * ratio


def recoil(w, w0):
    a = 2 * (5 * LAMBDA**2 + LAMBDA * MU + 1) / M
    b = 2 * LAMBDA * (MU + LAMBDA) / M
    return 1 + (a * w - b / w) / (1 + 3 * LAMBDA**2 - w0 * b)


def finite_nucleus(w, w0, g):
    az = ALPHA * Z
    field = 1 + mp.mpf(13) / 60 * az**2 - w * R * az / 15 * (41 - 26 * g) / (2 * g - 1)
    field -= az * R * g / (30 * w) * (17 - 2 * g) / (2 * g - 1)
    c0 = -mp.mpf(233) / 630 * az**2 - (w0 * R) ** 2 / 5 + mp.mpf(2) / 35 * w0 * R * az
    c1 = -mp.mpf(21) / 35 * R * az + mp.mpf(4) / 9 * w0 * R**2
    c2 = -mp.mpf(4) / 9 * R**2
    return field * (1 + c0 + c1 * w + c2 * w**2)


def exchange(p):
    tau = -2 * ALPHA / p
    a = mp.exp(2 * tau * mp.atan(-2 / tau)) * (tau**2 / (1 + tau**2 / 4)) ** 2
    return 1 + mp.mpf(729) / 256 * a**2 + mp.mpf(27) / 16 * a


E0 = T2_ENDPOINT_EV
STATES = FinalStates.from_arrays(np.array([0.0, 0.4, 25.0]), np.array([0.3, 0.3, 0.4]), "test")


@pytest.mark.parametrize("corrections", [(), *[(name,) for name in CORRECTIONS], CORRECTIONS])
@pytest.mark.parametrize("mass_squared", [0.0, 4.0, -9.0])
def test_slow_twin(corrections, mass_squared):
    energies = np.array([200.0, 5000.0, E0 - 200, E0 - 30.1, E0 - 5, E0 - 0.01])
    fast = beta_spectrum_rate(energies, E0, neutrino_mass_squared_ev2=mass_squared, corrections=corrections)
    slow = np.array([float(slow_rate(energy, E0, mass_squared, corrections)) for energy in energies])
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=0)


def test_slow_twin_with_final_states():
    energies = np.array([E0 - 200, E0 - 25.2, E0 - 24.8, E0 - 0.2])
    fast = beta_spectrum_rate(energies, E0, 0.05, final_states=STATES)
    slow = [float(slow_rate(energy, E0, mp.mpf("0.0025"), CORRECTIONS, STATES)) for energy in energies]
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=0)
