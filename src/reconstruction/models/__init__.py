"""Encoders, heads, predictive distributions and losses. They know no particle: targets are columns."""

from reconstruction.models.denoiser import Denoiser, SeriesHuber, SeriesLoss, SeriesMSE, TimeSpectrumLoss
from reconstruction.models.encoders.base import Encoded, Encoder, Sequence
from reconstruction.models.encoders.conformer import ConformerEncoder
from reconstruction.models.encoders.convnet import ConvNetEncoder
from reconstruction.models.encoders.fusion import Fusion
from reconstruction.models.encoders.linoss import LinOSSEncoder
from reconstruction.models.encoders.lstm import LSTMEncoder
from reconstruction.models.encoders.s4d import S4DEncoder
from reconstruction.models.encoders.s4d_kernel import s4d_kernel
from reconstruction.models.groups import optimizer_groups, set_trainable
from reconstruction.models.locator import Locator, Reading, location_loss
from reconstruction.models.polynomial_map import PolynomialMap
from reconstruction.models.predictive.calibration import Calibration, interval95
from reconstruction.models.predictive.categorical import Categorical
from reconstruction.models.predictive.class_head import CategoricalHead
from reconstruction.models.predictive.distributions import Gaussian, Point, PredictiveDistribution
from reconstruction.models.predictive.draws import DrawnDistribution
from reconstruction.models.predictive.ensembles import combine
from reconstruction.models.predictive.flow_head import FlowHead
from reconstruction.models.predictive.heads import GaussianHead, Head, MixtureHead, PointHead, QuantileHead
from reconstruction.models.predictive.losses import CRPS, MSE, CrossEntropy, GaussianNLL, Huber, Loss, Pinball
from reconstruction.models.predictive.mixture import GaussianMixture
from reconstruction.models.predictive.quantiles import Quantiles

__all__ = [
    "CRPS",
    "MSE",
    "Calibration",
    "Categorical",
    "CategoricalHead",
    "ConformerEncoder",
    "ConvNetEncoder",
    "CrossEntropy",
    "Denoiser",
    "DrawnDistribution",
    "Encoded",
    "Encoder",
    "FlowHead",
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
