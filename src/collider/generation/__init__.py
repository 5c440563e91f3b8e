"""Collisions from Pythia 8 or a file: events, smearing, jets, selection, samples in files

    from collider.generation import EventGenerator, GenerationConfig, Process, final

    generator = EventGenerator(Process("ttbar", ("Top:gg2ttbar", "Top:qqbar2ttbar")), seed=1)
    final(generator.batch(100)).px                           # awkward: a list for each event

Pythia, FastJet and awkward come with the extra `collider`, and are imported where they are used.
"""

from collider.generation.config import GenerationConfig
from collider.generation.events import balance, events_of, final, heavy_hadrons
from collider.generation.files import AddedColumns, SampleFile, convert, files_of, write_file, write_files
from collider.generation.filters import EventFilter, GeneratedLeptons
from collider.generation.jets import Clustering, cluster
from collider.generation.objects import Leptons, reconstruct
from collider.generation.processes import Decay, Process, Resonance
from collider.generation.pythia import EventGenerator, keyed_seed
from collider.generation.readers import read_events, read_hepmc, read_lhe
from collider.generation.selection import Cuts, Selection, Wanted
from collider.generation.smearing import PERFECT, CalorimeterBin, Detector, TrackBin, smeared

__all__ = [
    "PERFECT",
    "AddedColumns",
    "CalorimeterBin",
    "Clustering",
    "Cuts",
    "Decay",
    "Detector",
    "EventFilter",
    "EventGenerator",
    "GeneratedLeptons",
    "GenerationConfig",
    "Leptons",
    "Process",
    "Resonance",
    "SampleFile",
    "Selection",
    "TrackBin",
    "Wanted",
    "balance",
    "cluster",
    "convert",
    "events_of",
    "files_of",
    "final",
    "heavy_hadrons",
    "keyed_seed",
    "read_events",
    "read_hepmc",
    "read_lhe",
    "reconstruct",
    "smeared",
    "write_file",
    "write_files",
]
