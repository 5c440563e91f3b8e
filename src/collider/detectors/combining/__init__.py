"""What several detectors say of one particle as one number: inverse-variance weights, learned and calibrated"""
