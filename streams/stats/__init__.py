"""Drift tests, distances, detectors, metrics: pure functions over arrays of counts and moments, one idea a file."""

from driftline.streams.stats.adwin import Adwin, AdwinState
from driftline.streams.stats.anderson_darling import anderson_darling
from driftline.streams.stats.auc import Auc, auc_from_scores
from driftline.streams.stats.benjamini_hochberg import benjamini_hochberg
from driftline.streams.stats.chi_square import ChiSquare, chi_square
from driftline.streams.stats.confusion import Confusion, accuracy, f1, precision, recall
from driftline.streams.stats.cramer_von_mises import cramer_von_mises
from driftline.streams.stats.cramers_v import cramers_v
from driftline.streams.stats.detector import Batch, Signal
from driftline.streams.stats.drift_evidence import DriftEvidence, EvidenceState
from driftline.streams.stats.edges import bin_buckets, bin_counts, numeric_edges, weighted_edges
from driftline.streams.stats.energy import energy
from driftline.streams.stats.errors import mae, rmse
from driftline.streams.stats.estimate import UNKNOWN, Estimate, wilson
from driftline.streams.stats.g_test import g_test
from driftline.streams.stats.hellinger import hellinger
from driftline.streams.stats.jensen_shannon import jensen_shannon
from driftline.streams.stats.kl import kl
from driftline.streams.stats.ks import ks, ks_pvalue
from driftline.streams.stats.l_infinity import l_infinity
from driftline.streams.stats.mean_shift import Shift, mean_shift
from driftline.streams.stats.moments import Moments, bin_positions, moments_of_bins
from driftline.streams.stats.pooled_null import PooledNull
from driftline.streams.stats.psi import psi
from driftline.streams.stats.registry import TESTS, DriftTest, Measured, null_quantile
from driftline.streams.stats.smooth_test import SmoothTest, score_basis, shared_between_blocks
from driftline.streams.stats.total_variation import total_variation
from driftline.streams.stats.variance_shift import levene, variance_ratio
from driftline.streams.stats.wasserstein import wasserstein, wasserstein_normalised

__all__ = [
    "TESTS",
    "UNKNOWN",
    "Adwin",
    "AdwinState",
    "Auc",
    "Batch",
    "ChiSquare",
    "Confusion",
    "DriftEvidence",
    "DriftTest",
    "Estimate",
    "EvidenceState",
    "Measured",
    "Moments",
    "PooledNull",
    "Shift",
    "Signal",
    "SmoothTest",
    "accuracy",
    "anderson_darling",
    "auc_from_scores",
    "benjamini_hochberg",
    "bin_buckets",
    "bin_counts",
    "bin_positions",
    "chi_square",
    "cramer_von_mises",
    "cramers_v",
    "energy",
    "f1",
    "g_test",
    "hellinger",
    "jensen_shannon",
    "kl",
    "ks",
    "ks_pvalue",
    "l_infinity",
    "levene",
    "mae",
    "mean_shift",
    "moments_of_bins",
    "null_quantile",
    "numeric_edges",
    "precision",
    "psi",
    "recall",
    "rmse",
    "score_basis",
    "shared_between_blocks",
    "total_variation",
    "variance_ratio",
    "wasserstein",
    "wasserstein_normalised",
    "weighted_edges",
    "wilson",
]
