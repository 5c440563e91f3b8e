"""Events of Pythia through all four detectors, in files of ragged columns: what is made, and by how many"""
