"""Active selection: which comparisons are worth a person's time."""

from .acquisition import bald, disagreement, label_entropy, margin
from .arrays import Acquisition
from .batches import over_threshold, quota_counts, top_k, with_quotas
from .design import Design, d_optimal, ridge_of
from .distances import embedding_distances, text_distances
from .readers import LogProbs, RewardFeatures, TextEmbeddings
from .sampled import predictive_entropy, random, response_diversity
from .selection import Selection, select_for_feedback
from .shortlist import BatchRule
from .spread import deduplicate, k_center, k_means_plus_plus
from .strategies import STRATEGIES, Candidates
from .thompson import delta_ucb, double_thompson, max_min, reversed_double_thompson

__all__ = [
    "STRATEGIES",
    "Acquisition",
    "BatchRule",
    "Candidates",
    "Design",
    "LogProbs",
    "RewardFeatures",
    "Selection",
    "TextEmbeddings",
    "bald",
    "d_optimal",
    "deduplicate",
    "delta_ucb",
    "disagreement",
    "double_thompson",
    "embedding_distances",
    "k_center",
    "k_means_plus_plus",
    "label_entropy",
    "margin",
    "max_min",
    "over_threshold",
    "predictive_entropy",
    "quota_counts",
    "random",
    "response_diversity",
    "reversed_double_thompson",
    "ridge_of",
    "select_for_feedback",
    "text_distances",
    "top_k",
    "with_quotas",
]
