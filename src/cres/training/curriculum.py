"""The curriculum of records: noise, length, band and difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

from cres.training.cuts import shortened, within_band
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.moves import DIFFICULTY, NOISE_SCALE, Moves, Stage
from reconstruction.training.network.easing import Easing


class Curriculum(Moves):
    """Move noise, length, band and difficulty of the training, each by a stage of its own.

    Args:
        noise_scale: Power of the noise, in units of the nominal density.
        length: Share of the record that is read, from its start.
        band: Share of the band ±f_s/2 that is kept, around `band_centre_hz`; the rest is filtered out.
        difficulty: Share of the electrons that are drawn, the easiest; an epoch keeps its number of batches, so the
            easy ones come again with other noise. It moves from epoch to epoch.
        band_centre_hz: Record frequency, after mixing, around which the band opens: where the carriers are.
        difficulty_column: Column that says how easy an electron is; null: the power of its record, and so its ratio
            to the noise.
        easiest: Which end of that column is easy.
        monitor: What the shape competence watches; smaller is better.

    """

    def __init__(
        self,
        noise_scale: Stage = Stage(),
        length: Stage = Stage(start=0.25),
        band: Stage = Stage(start=0.1),
        difficulty: Stage = Stage(start=0.25),
        band_centre_hz: float = 0.0,
        difficulty_column: str | None = None,
        easiest: Literal["high", "low"] = "high",
        monitor: str = "val/loss",
    ) -> None:
        stages = {NOISE_SCALE: noise_scale, "length": length, "band": band, DIFFICULTY: difficulty}
        super().__init__(stages, difficulty_column, easiest, monitor)
        self.band_centre_hz = band_centre_hz

    def easing(self, now: Mapping[str, float], module: Learner) -> Easing:
        """Return shorter records before the noise, and a part of their band behind it."""
        rate_hz: float = module.sampling_rate_hz  # type: ignore[assignment]
        band_hz = self._band_hz(now["band"], rate_hz)
        return Easing(
            now[NOISE_SCALE],
            before=[partial(shortened, share=now["length"])] if now["length"] != 1 else [],
            after=[] if band_hz is None else [partial(within_band, sampling_rate_hz=rate_hz, band_hz=band_hz)],
        )

    def _band_hz(self, share: float, sampling_rate_hz: float) -> tuple[float, float] | None:
        if share == 1:
            return None
        edges = -sampling_rate_hz / 2, sampling_rate_hz / 2
        low, high = (self.band_centre_hz + share * (edge - self.band_centre_hz) for edge in edges)
        return low, high
