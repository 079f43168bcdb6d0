"""Automatic metrics: any reward function, any metric of `evaluate`, and the usual ones by name, over one's own rows."""

from .bertscore import BertScore
from .classification import Classification, label_in
from .foreign import EvaluateMetric
from .likelihood import Perplexity, ReferenceKL
from .metrics import AnswerMetric, Answers, CorpusMetric, Metric
from .names import metric_named
from .overlap import ChrF, ExactMatch, TokenF1, corpus_bleu, corpus_chrf
from .suite import AutomaticSuite, automatic_suite
from .surface import Readability, Repetition, WordCount

__all__ = [
    "AnswerMetric",
    "Answers",
    "AutomaticSuite",
    "BertScore",
    "ChrF",
    "Classification",
    "CorpusMetric",
    "EvaluateMetric",
    "ExactMatch",
    "Metric",
    "Perplexity",
    "Readability",
    "ReferenceKL",
    "Repetition",
    "TokenF1",
    "WordCount",
    "automatic_suite",
    "corpus_bleu",
    "corpus_chrf",
    "label_in",
    "metric_named",
]
