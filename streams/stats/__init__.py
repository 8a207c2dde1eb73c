"""Drift tests, distances, detectors, metrics: pure functions over arrays of counts and moments, one idea a file."""
