"""Four detectors read as one: tracker, calorimeters and muon stations around collisions"""
