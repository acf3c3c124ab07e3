"""Judges, features, and the numbers of the competition: FID, distance, MiFID."""
