"""What the four detectors are for: particle flow by rules and by networks, jets, missing momentum, masses with fits"""
