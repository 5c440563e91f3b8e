"""Transforms of batches of records on any device: noise, views, spectra, filters, scaling."""

from cres.transforms.noise import (
    NOMINAL_DENSITY_W_PER_HZ,
    RESISTANCE_OHM,
    RandomChain,
    RandomPhase,
    RandomTransform,
    WhiteNoise,
    channel_std_volt,
)
from cres.transforms.random import FROZEN_EPOCH, KeyedRandom
from cres.transforms.scaling import Standardise
from cres.transforms.spectrum import (
    band_bins,
    band_frequencies_hz,
    crop_band,
    form_channels,
    fourier,
    from_complex,
    to_complex,
    window,
)
from cres.transforms.views import SIGNAL_BAND_HZ, RecordView, SpectrumView, TimeView, View

__all__ = [
    "FROZEN_EPOCH",
    "NOMINAL_DENSITY_W_PER_HZ",
    "RESISTANCE_OHM",
    "SIGNAL_BAND_HZ",
    "KeyedRandom",
    "RandomChain",
    "RandomPhase",
    "RandomTransform",
    "RecordView",
    "SpectrumView",
    "Standardise",
    "TimeView",
    "View",
    "WhiteNoise",
    "band_bins",
    "band_frequencies_hz",
    "channel_std_volt",
    "crop_band",
    "form_channels",
    "fourier",
    "from_complex",
    "to_complex",
    "window",
]
