"""Electron or photon, from the energies of the layers alone: how thin must they be?

A photon leaves nothing before it converts, after 9/7 X0 on the average, and then showers twice with shared energy. A
small network sees the logarithms of the layers' shares; its accuracy on events that it has not seen is a lower limit of
what the layers hold. It says what *this* simulation tells apart: no material before the calorimeter, no tracks.

In a homogeneous calorimeter without a stochastic term each electron's profile is a gamma distribution to the last
digit, which no photon's is, and a network sees that in the thickest layers: such a figure is of the parametrisation,
not of calorimeters. Give a `sampling_term`, or a sampling calorimeter, whose layers fluctuate by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from collider.showers.grid import CylindricalGrid
from collider.showers.materials import AnyMaterial
from collider.showers.readout import Readout
from collider.showers.simulation import simulate_showers
from reconstruction.errors import UserError
from reconstruction.judging.measures.separation import area_under_curve

Values = NDArray[np.float64]

DEPTH_X0: Final = 25.0
FINEST_X0: Final = 0.25
WIDE_RM: Final = 100.0
FLOOR: Final = 1e-6
"""Share of the energy below which a layer counts as empty."""

WIDTH, EPOCHS, BATCH, LEARNING_RATE = 48, 30, 128, 3e-3


@dataclass(frozen=True)
class Separation:
    """Accuracy of telling electrons from photons with layers of one thickness, and its binomial uncertainty."""

    layer_x0: float
    accuracy: float
    uncertainty: float


def separations(
    material: AnyMaterial,
    energy_gev: float,
    layers_x0: tuple[float, ...],
    events: int = 6000,
    seed: int = 0,
    sampling_term: float = 0.0,
) -> list[Separation]:
    """Return the accuracy for several thicknesses of the layers, from the same showers.

    events: electrons and photons together, half of them to judge with. sampling_term: c of σ/E = c/√E of a homogeneous
    material. Raises UserError for a thickness that is no
    multiple of 0.25 X0 or does not divide 25 X0.
    """
    for thickness in layers_x0:
        for ratio in (thickness / FINEST_X0, DEPTH_X0 / thickness):
            if abs(ratio - round(ratio)) > 1e-9 or ratio < 1:
                raise UserError(
                    f"layers of {thickness:g} X0 cannot be made of {FINEST_X0:g} X0 within {DEPTH_X0:g} X0: give 0.25, "
                    "0.5, 1, 5 …"
                )
    layers, truth = _showers(material, energy_gev, events, seed, sampling_term)
    return [_judged(_summed(layers, round(thickness / FINEST_X0)), truth, thickness, seed) for thickness in layers_x0]


def _showers(
    material: AnyMaterial, energy_gev: float, events: int, seed: int, sampling_term: float
) -> tuple[Values, Values]:
    """Return the shares of the finest layers (event, layer), and 1 for photons."""
    depths = np.linspace(0, DEPTH_X0, round(DEPTH_X0 / FINEST_X0) + 1) * material.radiation_length_cm
    grid = CylindricalGrid(tuple(depths.tolist()), (0.0, WIDE_RM * material.moliere_radius_cm))
    truth = np.arange(events) % 2
    particle = np.where(truth == 1, 22, 11)
    found = simulate_showers(
        np.full(events, energy_gev),
        material,
        grid,
        particle=particle,
        seed=seed,
        readout=Readout(stochastic_term=sampling_term),
    )
    return found.cells_gev[:, :, 0, 0].astype(np.float64) / energy_gev, truth.astype(np.float64)


def _summed(layers: Values, together: int) -> Values:
    return layers.reshape(len(layers), -1, together).sum(2)


def _judged(layers: Values, truth: Values, thickness: float, seed: int) -> Separation:
    features = np.log10(np.maximum(layers, FLOOR))
    half = len(truth) // 2
    mean, spread = features[:half].mean(0), features[:half].std(0) + 1e-3
    scaled = torch.as_tensor((features - mean) / spread, dtype=torch.float32)
    labels = torch.as_tensor(truth, dtype=torch.float32)
    guess = _trained(scaled[:half], labels[:half], seed)(scaled[half:])[:, 0].detach() > 0
    accuracy = float((guess == (labels[half:] > 0.5)).double().mean())
    return Separation(thickness, accuracy, float(np.sqrt(accuracy * (1 - accuracy) / (len(truth) - half))))


def area_between(first: Values, second: Values, seed: int = 0, epochs: int = EPOCHS) -> tuple[float, float]:
    """Return how well a network tells two samples (event, feature) apart, as the area under its ROC curve.

    Half of both is learned from, the other half judged. The second number is the uncertainty of an area of 0.5, which
    samples of one distribution have up to chance.
    """
    features, labels = np.concatenate([first, second]), np.repeat([0.0, 1.0], [len(first), len(second)])
    order = np.random.default_rng(seed).permutation(len(labels))
    features, labels = features[order], labels[order]
    half = len(labels) // 2
    mean, spread = features[:half].mean(0), features[:half].std(0) + 1e-9
    scaled = torch.as_tensor((features - mean) / spread, dtype=torch.float32)
    network = _trained(scaled[:half], torch.as_tensor(labels[:half], dtype=torch.float32), seed, epochs)
    with torch.no_grad():
        score = network(scaled[half:])[:, 0].double().numpy()
    truth = labels[half:] > 0.5
    area = float(area_under_curve(score, truth, np.ones((1, len(truth))))[0])
    return area, float(np.sqrt((1 / truth.sum() + 1 / (~truth).sum()) / 12))


def _trained(features: torch.Tensor, labels: torch.Tensor, seed: int, epochs: int = EPOCHS) -> torch.nn.Module:
    """Return a network of two hidden layers, averaged over its last third of epochs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(
            torch.nn.Linear(features.shape[1], WIDTH),
            torch.nn.GELU(),
            torch.nn.Linear(WIDTH, WIDTH),
            torch.nn.GELU(),
            torch.nn.Linear(WIDTH, 1),
        )
        averaged = torch.optim.swa_utils.AveragedModel(network)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        for epoch in range(epochs):
            for chosen in torch.randperm(len(labels)).split(BATCH):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    network(features[chosen])[:, 0], labels[chosen]
                )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            if epoch >= epochs * 2 // 3:
                averaged.update_parameters(network)
    return averaged
