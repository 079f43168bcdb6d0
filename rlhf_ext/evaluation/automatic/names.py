"""Metrics by short name, as the command line has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ...rewards.functions import Bleu, DistinctNgrams, Factuality, Language, Rouge, Similarity
from .bertscore import BertScore
from .classification import Classification
from .foreign import EvaluateMetric
from .likelihood import Perplexity, ReferenceKL
from .metrics import AnswerMetric, Metric
from .overlap import ChrF, ExactMatch, TokenF1, corpus_bleu, corpus_chrf
from .surface import Readability, Repetition, WordCount

Maker = Callable[..., Metric]


def _rouge(variant: str) -> Maker:
    note = "F1 of shared n-grams." if variant[-1].isdigit() else "F1 of the longest common subsequence of words."
    return lambda reference, source: AnswerMetric(
        Rouge(reference, variant), label=f"ROUGE-{variant.removeprefix('rouge')}", kind="rate", note=note
    )


def _distinct(n: int) -> Maker:
    return lambda reference, source: AnswerMetric(
        DistinctNgrams(n),
        f"distinct_{n}",
        f"Distinct-{n}",
        "rate",
        note="The longer the answers, the lower by nature.",
    )


def _scored(
    make: Callable[[str, str], Any], label: str, kind: Any = "rate", better: Any = "higher", note: str = ""
) -> Maker:
    return lambda reference, source: AnswerMetric(make(reference, source), None, label, kind, better, note)


# Each is called with the names of the columns with the reference and the source.
PLAIN: dict[str, Maker] = {
    "rouge1": _rouge("rouge1"),
    "rouge2": _rouge("rouge2"),
    "rougeL": _rouge("rougeL"),
    "bleu": _scored(
        lambda reference, source: Bleu(reference), "BLEU by sentence", note="Smoothed; papers report corpus BLEU."
    ),
    "corpus_bleu": lambda reference, source: corpus_bleu(reference),
    "chrf": _scored(lambda reference, source: ChrF(reference), "chrF by sentence"),
    "corpus_chrf": lambda reference, source: corpus_chrf(reference),
    "exact_match": _scored(lambda reference, source: ExactMatch(reference), "Exact match"),
    "token_f1": _scored(lambda reference, source: TokenF1(reference), "F1 of words"),
    "distinct_1": _distinct(1),
    "distinct_2": _distinct(2),
    "repetition": _scored(
        lambda reference, source: Repetition(),
        "Repeated 4-grams",
        better="lower",
        note="Share of an answer's that it has said before.",
    ),
    "length": _scored(lambda reference, source: WordCount(), "Words", "mean", None),
    "readability": _scored(
        lambda reference, source: Readability(),
        "School grade to read it",
        "mean",
        None,
        "Automated Readability Index, for English.",
    ),
}
"""Metrics that need nothing more."""

# Called with the text behind "=" as well.
WITH_ARGUMENT: dict[str, tuple[str, Callable[[str, str, str], Metric]]] = {
    "bertscore": (
        "an encoder",
        lambda value, reference, source: AnswerMetric(
            BertScore(value, reference),
            None,
            "BERTScore",
            note="Unrelated texts score high, too: compare, do not read off.",
        ),
    ),
    "similarity": (
        "an encoder of sentences",
        lambda value, reference, source: AnswerMetric(Similarity(value, reference), None, "Similarity of embeddings"),
    ),
    "faithfulness": (
        "an NLI model",
        lambda value, reference, source: AnswerMetric(
            Factuality(value, source),
            "faithfulness",
            "Supported by the source",
            "rate",
            note="Mean over sentences, by NLI.",
        ),
    ),
    "perplexity": ("a language model", lambda value, reference, source: Perplexity(value)),
    "kl": ("the reference model", lambda value, reference, source: ReferenceKL(value)),
    "language": (
        "a code such as de",
        lambda value, reference, source: AnswerMetric(Language(value), None, f"Written in {value}", "rate"),
    ),
    "classification": (
        "labels with | between",
        lambda value, reference, source: Classification([label.strip() for label in value.split("|")], reference),
    ),
    "evaluate": (
        "a metric of evaluate, or metric:result",
        lambda value, reference, source: _evaluate(value, reference),
    ),
}
"""Metrics that need a model or the like, with what that is: `name=argument`."""


def metric_named(name: str, reference: str = "reference", source: str = "source") -> Metric:
    """A metric by its short name.

    Args:
        name (`str`):
            One of [`PLAIN`], one of [`WITH_ARGUMENT`] with what it needs (`"perplexity=runs/sft"`), or a reward function of
            one's own as `module:function`.
        reference (`str`, *optional*, defaults to `"reference"`), source (`str`, *optional*, defaults to `"source"`):
            Columns with the reference, and with the text that a summary is of.

    Returns:
        [`Metric`]: the metric.

    Raises:
        ValueError: If there is none of that name (those there are, are named), or it lacks its argument.
        ImportError: If a module or package is not there.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.automatic import metric_named
    >>> metric_named("rougeL").figures, metric_named("classification=yes|no").figures
    (('rougeL',), ('accuracy', 'macro_f1', 'unparseable'))

    ```
    """
    head, equals, value = name.partition("=")
    if name in PLAIN:
        return PLAIN[name](reference, source)
    if head in WITH_ARGUMENT:
        what, make = WITH_ARGUMENT[head]
        if not value:
            raise ValueError(f"The metric {head!r} needs {what}: write {head}=...")
        return make(value, reference, source)
    if not equals and name.count(":") == 1:
        module, function = name.split(":")
        made = getattr(importlib.import_module(module), function, None)
        if made is None:
            raise ValueError(f"There is no {function!r} in {module!r}.")
        return made if isinstance(made, Metric) else AnswerMetric(made() if isinstance(made, type) else made)
    known = ", ".join([*PLAIN, *(f"{known}=..." for known in WITH_ARGUMENT)])
    raise ValueError(f"There is no metric {name!r}; there are {known}, and your own as module:function.")


def _evaluate(value: str, reference: str) -> EvaluateMetric:
    metric, _, result = value.partition(":")
    return EvaluateMetric(metric, result or None, {"references": reference})
