"""A search for H± → W A, A → μμ: samples at many masses, one network that is told which, and how it is judged"""
