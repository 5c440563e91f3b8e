"""Four detectors read as one: tracker, calorimeters and muon stations around collisions

from collider.detectors import DetectorEvents

part = DetectorEvents("data/detectors")[100:200]     # what scripts/detectors.py made
part["clusters"]["energy_gev"]
"""

from collider.detectors.events import DetectorEvents, EventSlice, RaggedTable

__all__ = ["DetectorEvents", "EventSlice", "RaggedTable"]
