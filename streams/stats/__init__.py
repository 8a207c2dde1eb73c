"""Drift tests, distances, detectors, metrics: pure functions over arrays of counts and moments, one idea a file."""

from driftline.streams.stats.adwin import Adwin, AdwinState
from driftline.streams.stats.anderson_darling import anderson_darling
from driftline.streams.stats.auc import Auc, auc_from_scores
from driftline.streams.stats.averages import averaged, kappa, mcc, mean_cost
from driftline.streams.stats.benjamini_hochberg import benjamini_hochberg
from driftline.streams.stats.bocpd import Bocpd, BocpdState
from driftline.streams.stats.bootstrap import null_draws
from driftline.streams.stats.calibration import Brier, brier, ece, log_loss, reliability, score_positions
from driftline.streams.stats.cbpe import (
    ExpectedConfusion,
    accuracy_of,
    estimated,
    estimated_accuracy,
    expected_classes,
    expected_confusion,
    f1_of,
    precision_of,
    recall_of,
    specificity_of,
)
from driftline.streams.stats.change_point import ChangePoint, batches_of, change_point
from driftline.streams.stats.chi_square import ChiSquare, chi_square
from driftline.streams.stats.combined import Sums, combined
from driftline.streams.stats.confusion import Confusion, accuracy, f1, precision, recall
from driftline.streams.stats.correlation_change import CorrelationChange, correlation_change, correlations
from driftline.streams.stats.cramer_von_mises import cramer_von_mises
from driftline.streams.stats.cramers_v import cramers_v
from driftline.streams.stats.cross_moments import CrossMoments, merge_all
from driftline.streams.stats.cusum import Cusum, CusumState
from driftline.streams.stats.ddm import Ddm, DdmState
from driftline.streams.stats.decomposition import Carried, Share, mean_change, psi_by_bin, psi_by_group
from driftline.streams.stats.detector import Batch, Level, Signal
from driftline.streams.stats.detectors import DETECTORS, Detector
from driftline.streams.stats.dle import LossModel
from driftline.streams.stats.domain_classifier import DomainAuc, domain_classifier
from driftline.streams.stats.drift_evidence import DriftEvidence, EvidenceState
from driftline.streams.stats.e_detector import EDetector, EDetectorState
from driftline.streams.stats.ecdd import Ecdd, EcddState
from driftline.streams.stats.eddm import Eddm, EddmState
from driftline.streams.stats.edges import bin_buckets, bin_counts, edges_by, numeric_edges, weighted_edges, with_bounds
from driftline.streams.stats.energy import energy
from driftline.streams.stats.errors import mae, percentage_error, quantile_loss, r2, rmse
from driftline.streams.stats.estimate import UNKNOWN, Estimate, mean_of_sums, resampled, wilson
from driftline.streams.stats.fairness import Fairness, GroupRates, fairness
from driftline.streams.stats.faults import Fault, category_rename, clock_shift, null_spike, stuck_value, unit_change
from driftline.streams.stats.g_test import g_test
from driftline.streams.stats.hddm_a import HddmA, HddmAState
from driftline.streams.stats.hddm_w import HddmW, HddmWState
from driftline.streams.stats.hellinger import hellinger
from driftline.streams.stats.jensen_shannon import jensen_shannon
from driftline.streams.stats.kl import kl
from driftline.streams.stats.ks import ks, ks_pvalue
from driftline.streams.stats.kswin import Kswin, KswinState
from driftline.streams.stats.l_infinity import l_infinity
from driftline.streams.stats.maturity import DelayCurve
from driftline.streams.stats.mean_shift import Shift, mean_shift
from driftline.streams.stats.mmd import RandomFeatures, mmd
from driftline.streams.stats.moments import Moments, bin_positions, moments_of_bins
from driftline.streams.stats.page_hinkley import PageHinkley, PageHinkleyState
from driftline.streams.stats.paired_test import Comparison, PairedState, PairedTest
from driftline.streams.stats.pca_reconstruction import PcaReconstruction
from driftline.streams.stats.pooled_null import PooledNull
from driftline.streams.stats.psi import psi
from driftline.streams.stats.ranked_scores import average_precision, lift
from driftline.streams.stats.ranking import average_precision_at, hit, ndcg, reciprocal_rank
from driftline.streams.stats.rare import least_known, without_straggler
from driftline.streams.stats.rddm import Rddm, RddmState
from driftline.streams.stats.registry import TESTS, DriftTest, Measured, null_quantile
from driftline.streams.stats.score_calibration import ScoreCalibration
from driftline.streams.stats.shewhart import Shewhart, ShewhartState
from driftline.streams.stats.smooth_test import SmoothTest, category_basis, score_basis, shared_between_blocks
from driftline.streams.stats.stepd import Stepd, StepdState
from driftline.streams.stats.total_variation import total_variation
from driftline.streams.stats.variance_shift import levene, variance_ratio
from driftline.streams.stats.wasserstein import wasserstein, wasserstein_normalised

__all__ = [
    "DETECTORS",
    "TESTS",
    "UNKNOWN",
    "Adwin",
    "AdwinState",
    "Auc",
    "Batch",
    "Bocpd",
    "BocpdState",
    "Brier",
    "Carried",
    "ChangePoint",
    "ChiSquare",
    "Comparison",
    "Confusion",
    "CorrelationChange",
    "CrossMoments",
    "Cusum",
    "CusumState",
    "Ddm",
    "DdmState",
    "DelayCurve",
    "Detector",
    "DomainAuc",
    "DriftEvidence",
    "DriftTest",
    "EDetector",
    "EDetectorState",
    "Ecdd",
    "EcddState",
    "Eddm",
    "EddmState",
    "Estimate",
    "EvidenceState",
    "ExpectedConfusion",
    "Fairness",
    "Fault",
    "GroupRates",
    "HddmA",
    "HddmAState",
    "HddmW",
    "HddmWState",
    "Kswin",
    "KswinState",
    "Level",
    "LossModel",
    "Measured",
    "Moments",
    "PageHinkley",
    "PageHinkleyState",
    "PairedState",
    "PairedTest",
    "PcaReconstruction",
    "PooledNull",
    "RandomFeatures",
    "Rddm",
    "RddmState",
    "ScoreCalibration",
    "Share",
    "Shewhart",
    "ShewhartState",
    "Shift",
    "Signal",
    "SmoothTest",
    "Stepd",
    "StepdState",
    "Sums",
    "accuracy",
    "accuracy_of",
    "anderson_darling",
    "auc_from_scores",
    "average_precision",
    "average_precision_at",
    "averaged",
    "batches_of",
    "benjamini_hochberg",
    "bin_buckets",
    "bin_counts",
    "bin_positions",
    "brier",
    "category_basis",
    "category_rename",
    "change_point",
    "chi_square",
    "clock_shift",
    "combined",
    "correlation_change",
    "correlations",
    "cramer_von_mises",
    "cramers_v",
    "domain_classifier",
    "ece",
    "edges_by",
    "energy",
    "estimated",
    "estimated_accuracy",
    "expected_classes",
    "expected_confusion",
    "f1",
    "f1_of",
    "fairness",
    "g_test",
    "hellinger",
    "hit",
    "jensen_shannon",
    "kappa",
    "kl",
    "ks",
    "ks_pvalue",
    "l_infinity",
    "least_known",
    "levene",
    "lift",
    "log_loss",
    "mae",
    "mcc",
    "mean_change",
    "mean_cost",
    "mean_of_sums",
    "mean_shift",
    "merge_all",
    "mmd",
    "moments_of_bins",
    "ndcg",
    "null_draws",
    "null_quantile",
    "null_spike",
    "numeric_edges",
    "percentage_error",
    "precision",
    "precision_of",
    "psi",
    "psi_by_bin",
    "psi_by_group",
    "quantile_loss",
    "r2",
    "recall",
    "recall_of",
    "reciprocal_rank",
    "reliability",
    "resampled",
    "rmse",
    "score_basis",
    "score_positions",
    "shared_between_blocks",
    "specificity_of",
    "stuck_value",
    "total_variation",
    "unit_change",
    "variance_ratio",
    "wasserstein",
    "wasserstein_normalised",
    "weighted_edges",
    "wilson",
    "with_bounds",
    "without_straggler",
]
