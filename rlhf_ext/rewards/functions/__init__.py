"""The rewards people reach for: each a reward function in TRL's protocol, named after what it measures.

Unless its docstring says otherwise, a score lies in [0, 1] and higher is better. A row to which a function does not apply
(no reference, no tests) gives None. What needs a package beyond the core says so when it is made, by the extra's name.
"""

from .classifier import ClassifierLabel, Sentiment, VaderSentiment
from .code import CodeTests
from .factuality import Factuality
from .formats import JSONFormat, Tags
from .judged import JudgeScore
from .language import Language
from .overlap import Bleu, Rouge
from .similarity import Similarity
from .text import DistinctNgrams, Length, Regex, repeated_ngrams
from .toxicity import DetoxifySafety

__all__ = [
    "Bleu",
    "ClassifierLabel",
    "CodeTests",
    "DetoxifySafety",
    "DistinctNgrams",
    "Factuality",
    "JSONFormat",
    "JudgeScore",
    "Language",
    "Length",
    "Regex",
    "Rouge",
    "Sentiment",
    "Similarity",
    "Tags",
    "VaderSentiment",
    "repeated_ngrams",
]
