"""Rewards from a text classifier: any label's probability, and sentiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from ...types import Completion
from .encoders import Encoder, independent_probabilities, probabilities
from .rows import log_mean, need, texts_of


class ClassifierLabel:
    """The probability of one label of a text-classification model, in [0, 1].

    For [`RewardModel`]s, which have one output and no labels, use that. Shows the mean of every label in the logs.

    Args:
        model (`str`, `Path` or `PreTrainedModel`):
            A folder or hub name of a text-classification model, or such a model itself.
        label (`str`):
            The label whose probability is the score, as in the model's `config.id2label`.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the same place by default.
        batch_size (`int`, *optional*, defaults to `32`):
            Texts a forward pass.
        max_length (`int`, *optional*):
            Tokens of a completion that are read. Defaults to what the model can read.
        **model_kwargs:
            For `from_pretrained`: `dtype`, `device_map`, `revision`, `trust_remote_code`, ...

    Raises:
        ValueError: If the model has no such label (those that it has, are named), or only one.

    Example:

    ```python
    from rlhf_ext.rewards.functions import ClassifierLabel

    formal = ClassifierLabel("s-nlp/roberta-base-formality-ranker", label="formal")
    formal(prompts=["Say hello."], completions=["Good morning."])  # one probability
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module,
        label: str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        **model_kwargs: Any,
    ):
        self.encoder = Encoder(
            AutoModelForSequenceClassification, model, tokenizer, batch_size, max_length, **model_kwargs
        )
        labels = self.encoder.labels
        if len(labels) < 2:
            raise ValueError(
                "A classifier with one output is a reward model and has no labels to choose from: use RewardModel."
            )
        if label not in labels:
            raise ValueError(f"`label` should be one of the model's labels, {', '.join(labels)}; got {label!r}.")
        self.label = label
        self.__name__ = label.lower()

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        if not completions:
            return []
        several = self.encoder.model.config.problem_type == "multi_label_classification"
        scores = self.encoder.read(texts_of(completions), independent_probabilities if several else probabilities)
        for label, place in self.encoder.labels.items():
            log_mean(columns, f"{self.__name__}/{label}", scores[:, place].tolist())
        return scores[:, self.encoder.labels[self.label]].tolist()


class Sentiment(ClassifierLabel):
    """The probability that a completion's sentiment is positive, in [0, 1], by a text-classification model.

    Args:
        model (`str`, `Path` or `PreTrainedModel`, *optional*):
            A sentiment classifier; DistilBERT on SST-2 (English film reviews) by default.
        label (`str`, *optional*, defaults to `"POSITIVE"`):
            The label that is good.
        **kwargs:
            As for [`ClassifierLabel`].

    Raises:
        ValueError: As [`ClassifierLabel`].

    Example:

    ```python
    from rlhf_ext.rewards.functions import Sentiment

    Sentiment()(prompts=["How was it?"], completions=["Wonderful!"])  # close to [1.0]
    Sentiment("cardiffnlp/twitter-roberta-base-sentiment-latest", label="positive")
    ```
    """

    def __init__(
        self,
        model: str | Path | nn.Module = "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        label: str = "POSITIVE",
        **kwargs: Any,
    ):
        super().__init__(model, label, **kwargs)
        self.__name__ = "sentiment"


class VaderSentiment:
    """Sentiment by a lexicon and rules instead of a model, in [0, 1] with 0.5 as neutral; very quick.

    VADER (Hutto and Gilbert, 2014) knows English, emoticons and negation, and no irony; its compound score c is mapped to
    (c + 1) / 2. As a reward it is easily hacked by piling up praise. Needs `pip install rlhf_ext[eval]`.

    Raises:
        ImportError: If vaderSentiment is not installed.

    Example:

    ```python
    >>> from rlhf_ext.rewards.functions import VaderSentiment
    >>> VaderSentiment()(prompts=["How was it?"] * 2, completions=["The best day ever!", "It is a table."])
    [0.8348, 0.5]

    ```
    """

    def __init__(self) -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise need("vaderSentiment", "eval", "VaderSentiment") from error
        self.analyzer = SentimentIntensityAnalyzer()
        self.__name__ = "vader_sentiment"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [(self.analyzer.polarity_scores(text)["compound"] + 1) / 2 for text in texts_of(completions)]
