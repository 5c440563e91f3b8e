"""Encoders, heads, predictive distributions and losses. They learn nothing of electrons: targets are columns."""

from cres.models.base import Encoded, Encoder, Sequence
from cres.models.calibration import Calibration, interval95
from cres.models.conformer import ConformerEncoder
from cres.models.convnet import ConvNetEncoder
from cres.models.denoiser import Denoiser, SeriesHuber, SeriesLoss, SeriesMSE, TimeSpectrumLoss
from cres.models.distributions import Gaussian, Point, PredictiveDistribution
from cres.models.fusion import Fusion
from cres.models.groups import optimizer_groups, set_trainable
from cres.models.heads import GaussianHead, Head, MixtureHead, PointHead, QuantileHead
from cres.models.linoss import LinOSSEncoder
from cres.models.locator import Locator, Reading, location_loss
from cres.models.losses import CRPS, MSE, GaussianNLL, Huber, Loss, Pinball
from cres.models.lstm import LSTMEncoder
from cres.models.mixture import GaussianMixture, combine
from cres.models.polynomial_map import PolynomialMap
from cres.models.quantiles import Quantiles
from cres.models.s4d import S4DEncoder
from cres.models.s4d_kernel import s4d_kernel

__all__ = [
    "CRPS",
    "MSE",
    "Calibration",
    "ConformerEncoder",
    "ConvNetEncoder",
    "Denoiser",
    "Encoded",
    "Encoder",
    "Fusion",
    "Gaussian",
    "GaussianHead",
    "GaussianMixture",
    "GaussianNLL",
    "Head",
    "Huber",
    "LSTMEncoder",
    "LinOSSEncoder",
    "Locator",
    "Loss",
    "MixtureHead",
    "Pinball",
    "Point",
    "PointHead",
    "PolynomialMap",
    "PredictiveDistribution",
    "QuantileHead",
    "Quantiles",
    "Reading",
    "S4DEncoder",
    "Sequence",
    "SeriesHuber",
    "SeriesLoss",
    "SeriesMSE",
    "TimeSpectrumLoss",
    "combine",
    "interval95",
    "location_loss",
    "optimizer_groups",
    "s4d_kernel",
    "set_trainable",
]
