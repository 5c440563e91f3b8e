"""Transforms of batches of records on any device: noise, receiver, filters, spectra, views, scaling."""

from cres.transforms.alignment import AlignedSpectrum
from cres.transforms.coloured import CavityNoise, ColouredNoise, ShapedNoise, read_table
from cres.transforms.filters import BandSelect, ButterworthBandPass, Decimate, FrequencyShift
from cres.transforms.noise import (
    NOMINAL_DENSITY_W_PER_HZ,
    RESISTANCE_OHM,
    RandomPhase,
    ThermalNoise,
    WhiteNoise,
    channel_std_volt,
)
from cres.transforms.qtransform import QTransform
from cres.transforms.receiver import GainPhaseDrift, GainRipple, PhaseNoise, PhaseWalk, Quantise, SpuriousTones
from cres.transforms.spectrogram import STFT, SpectrogramView
from cres.transforms.spectrum import (
    band_bins,
    band_frequencies_hz,
    crop_band,
    form_channels,
    fourier,
    from_complex,
    periodogram_w_per_hz,
    to_complex,
    window,
)
from cres.transforms.temperature import effective_temperature_k, noise_temperature_k, thermal_density_w_per_hz
from cres.transforms.views import SIGNAL_BAND_HZ, FilteredView, SpectrumView, TimeView
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.models.scaling import Standardise
from reconstruction.random.keyed import FROZEN_EPOCH, KeyedRandom
from reconstruction.random.transforms import PiecewiseTransform, Place, RandomChain, RandomTransform

__all__ = [
    "FROZEN_EPOCH",
    "NOMINAL_DENSITY_W_PER_HZ",
    "RESISTANCE_OHM",
    "SIGNAL_BAND_HZ",
    "STFT",
    "AlignedSpectrum",
    "BandSelect",
    "ButterworthBandPass",
    "CavityNoise",
    "ColouredNoise",
    "Decimate",
    "FilteredView",
    "FrequencyShift",
    "GainPhaseDrift",
    "GainRipple",
    "KeyedRandom",
    "PhaseNoise",
    "PhaseWalk",
    "PiecewiseTransform",
    "Place",
    "QTransform",
    "Quantise",
    "RandomChain",
    "RandomPhase",
    "RandomTransform",
    "RecordView",
    "ShapedNoise",
    "SpectrogramView",
    "SpectrumView",
    "SpuriousTones",
    "Standardise",
    "ThermalNoise",
    "TimeView",
    "View",
    "WhiteNoise",
    "band_bins",
    "band_frequencies_hz",
    "channel_std_volt",
    "crop_band",
    "effective_temperature_k",
    "form_channels",
    "fourier",
    "from_complex",
    "noise_temperature_k",
    "periodogram_w_per_hz",
    "read_table",
    "thermal_density_w_per_hz",
    "to_complex",
    "window",
]
