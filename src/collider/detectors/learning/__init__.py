"""Candidates for the shared core: what belongs to a track or a cluster, batches, views, what each detector learns"""
