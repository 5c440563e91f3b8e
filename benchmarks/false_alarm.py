"""How often noise alone passes the matched filter's threshold, against the probability that was asked for.

    python benchmarks/false_alarm.py                       20 000 records of noise, some minutes
    python benchmarks/false_alarm.py --records 1000        a look

The threshold comes from 500 records of its own seed. Exit status 1 where the fraction is more than three standard
deviations off; that counts the threshold's own error, for which see the printed line.
"""

from __future__ import annotations

import argparse
import math

from cres import errors
from cres.estimation.apparatus import Apparatus
from cres.estimation.search.matched_filter import FALSE_ALARM_PROBABILITY, MatchedFilter
from cres.simulation import SimulationConfig
from reconstruction.command import Parser

SEED = 20_000
PROBABILITIES = (1e-2, FALSE_ALARM_PROBABILITY)


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000, help="records of noise (default 20 000)")
    records = parser.parse_args().records
    search = MatchedFilter(Apparatus.from_config(SimulationConfig.default()))
    thresholds = {probability: search.threshold(probability) for probability in PROBABILITIES}
    maxima = search.noise_maxima(records, SEED)
    off = []
    print(f"{records} records of noise alone\n\n| stated | threshold | found | off by σ |\n|---|---|---|---|")
    for probability, threshold in thresholds.items():
        found = float((maxima > threshold).double().mean())
        error = math.sqrt(probability * (1 - probability) / records)
        off.append(abs(found - probability) / error)
        print(f"| {probability:g} | {threshold:.2f} | {found:.5f} ± {error:.5f} | {off[-1]:.1f} |")
    if max(off) > 3:
        raise errors.UserError("the threshold does not have its probability")


if __name__ == "__main__":
    errors.run(main)
