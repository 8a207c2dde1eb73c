"""Drift tests, distances, detectors, metrics: pure functions over arrays of counts and moments, one idea a file."""

from driftline.streams.stats.adwin import Adwin, AdwinState
from driftline.streams.stats.auc import Auc, auc_from_scores
from driftline.streams.stats.benjamini_hochberg import benjamini_hochberg
from driftline.streams.stats.chi_square import ChiSquare, chi_square
from driftline.streams.stats.confusion import Confusion, accuracy, f1, precision, recall
from driftline.streams.stats.detector import Batch, Signal
from driftline.streams.stats.edges import bin_buckets, bin_counts, numeric_edges, weighted_edges
from driftline.streams.stats.errors import mae, rmse
from driftline.streams.stats.estimate import UNKNOWN, Estimate, wilson
from driftline.streams.stats.ks import ks, ks_pvalue
from driftline.streams.stats.null_quantile import null_quantile
from driftline.streams.stats.psi import psi

__all__ = [
    "UNKNOWN",
    "Adwin",
    "AdwinState",
    "Auc",
    "Batch",
    "ChiSquare",
    "Confusion",
    "Estimate",
    "Signal",
    "accuracy",
    "auc_from_scores",
    "benjamini_hochberg",
    "bin_buckets",
    "bin_counts",
    "chi_square",
    "f1",
    "ks",
    "ks_pvalue",
    "mae",
    "null_quantile",
    "numeric_edges",
    "precision",
    "psi",
    "recall",
    "rmse",
    "weighted_edges",
    "wilson",
]
