"""Electrons in a trap, as the core knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cres import schema
from cres.evaluation.resolved import ENERGY_GOAL, RESOLVED
from cres.evaluation.signature import RECORDS, Signature
from cres.evaluation.words import CAPTIONS
from cres.ranges import RANGES
from reconstruction.system import Judging, System


class VoltsOfAnApparatus:
    """Records are of the apparatus that their noise, their lines and their axial frequencies are of."""

    def measure(self, inputs: Mapping[str, Any], data: Any, rows: Any) -> dict[str, Any]:
        """Return what noisy records (batch, time, 2) look like, with the axial frequencies of all these rows."""
        facts, records = data.file_facts(), data.records
        known = schema.AXIAL_FREQUENCY in records.scalar_columns
        axial = records.scalar(schema.AXIAL_FREQUENCY)[rows] if known else None
        volts = inputs["series"][:RECORDS].detach().float().cpu().numpy()
        return Signature.measure(volts, facts["sampling_rate_hz"], facts["lo_frequency_hz"], axial).to_dict()

    def differences(self, found: Mapping[str, Any], known: Mapping[str, Any], any_length: bool = False) -> list[str]:
        """Return how records differ from those of the training, a phrase each."""
        return Signature.from_dict(found).differences(Signature.from_dict(known), any_length=any_length)

    def advice(self, found: Mapping[str, Any], known: Mapping[str, Any], any_length: bool = False) -> str:
        """Return what to do about them."""
        longer = "" if any_length or found["samples"] == known["samples"] else ", or cut them with data.window_samples"
        return (
            f"use a model of this apparatus{longer}, and check the unit (volts) and noise_scale (0 for records that "
            "carry their noise, 1 for those of a simulation without it)"
        )


SYSTEM = System(
    name="cres",
    noun="electron",
    nouns="electrons",
    columns=schema.COLUMNS,
    truths=schema.TRUTH_COLUMNS,
    module="cres.training.module.CresModule",
    data="cres.data.module.CresDataModule",
    curriculum="cres.training.curriculum.Curriculum",
    reconstruction="cres.training.long_records.RecordReconstruction",
    export="cres.training.export.export",
    ranges=RANGES,
    input_columns=schema.SERIES_COLUMNS,
    facts=("sampling_rate_hz", "noise_density_w_per_hz", "noise_rows"),
    must_agree={"sampling_rate_hz": ("sampling rate", "Hz"), "lo_frequency_hz": ("local oscillator", "Hz")},
    apparatus=VoltsOfAnApparatus(),
    judging=Judging(
        groups=(RESOLVED,),
        goals={"energy_ev": ENERGY_GOAL},
        covariates={
            "true_energy_ev": "avg_carrier_frequency_hz",
            "true_pitch_angle_deg": "avg_axial_frequency_hz",
            "true_radius_m": None,
            "sideband_snr": None,
            "signal_snr": None,
            "track_length_s": None,
        },
        map_over=("true_pitch_angle_deg", "true_radius_m"),
        captions=CAPTIONS,
    ),
)
