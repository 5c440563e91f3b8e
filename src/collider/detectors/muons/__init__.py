"""Four muon stations behind calorimeters and iron: who reaches them, hits, segments"""
