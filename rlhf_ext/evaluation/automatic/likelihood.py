"""What language models say of answers: perplexity under a model, and the policy's divergence from its reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...generation.identity import weights_of
from ...types import Completion
from ..suite import Case, Column
from .answer_logits import AnswerLogits
from .metrics import Answers, corpus_values, model_name_of


class Perplexity:
    """How surprising completions are to a language model: `exp` of the mean negative log-likelihood of their tokens, from 1.

    As a reward function it gives the perplexity of each completion, None for empty ones. In a suite it gives two figures:
    `perplexity` of all answers together (`exp` of all nats over all tokens, so that long answers count by their length and
    a single odd one does not decide), and `nats_per_token`, the mean over answers, of which changes are easier to see.
    Only comparable between texts read by the same model and tokenizer. Texts that loop have a low one, too. The token that
    ends an answer is not counted.

    Args:
        model (`str`, `Path` or `PreTrainedModel`):
            A causal language model that is not the one under test, by folder or hub name, or itself.
        tokenizer, batch_size, max_length:
            As for [`AnswerLogits`].
        conditional (`bool`, *optional*, defaults to `True`):
            Whether answers are read after their prompts, or by themselves.

    Raises:
        ValueError: As [`AnswerLogits`].

    Example:

    ```python
    from rlhf_ext.evaluation.automatic import Perplexity

    perplexity = Perplexity("HuggingFaceTB/SmolLM2-135M-Instruct", conditional=False)
    perplexity(prompts=["Why?"], completions=["Because it rains."])  # about [40.0]
    ```
    """

    figures: Sequence[str] = ("perplexity", "nats_per_token")

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 8,
        max_length: int | None = None,
        conditional: bool = True,
    ):
        self.reader, self.conditional = AnswerLogits(model, tokenizer, batch_size, max_length), conditional
        name, weights = model_name_of(self.reader.model), weights_of(self.reader.model)
        self.settings = ["perplexity", name, weights, conditional, self.reader.max_length]
        self.__name__ = "perplexity"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        return [None if row is None else math.exp(row[0] / row[1]) for row in self.nats(prompts, completions)]

    def nats(self, prompts: Sequence[Any], completions: Sequence[Completion]) -> list[tuple[float, int] | None]:
        """Negative log-likelihood of each completion in nats, and its tokens; None for empty ones."""
        rows = self.reader.rows(prompts if self.conditional else [None] * len(completions), completions)
        found: list[tuple[float, int] | None] = [None] * len(rows)
        for index, logits, ids in self.reader.each(rows):
            nats = torch.nn.functional.cross_entropy(logits, ids, reduction="sum")
            found[index] = (nats.item(), len(ids))
        return found

    def check(self, cases: Sequence[Case]) -> None:
        """It needs no columns."""

    def measure(self, answers: Answers) -> list[Column]:
        """Perplexity of the corpus, and nats per token of each answer."""
        rows = self.nats(answers.inputs["prompts"], answers.texts)
        note = f"Under {model_name_of(self.reader.model)}. Repetition makes it lower, too."
        each = [None if row is None else row[0] / row[1] for row in rows]
        return [
            Column(
                "perplexity",
                "Perplexity",
                corpus_values(_perplexity, answers.cases, rows),
                "mean",
                "lower",
                "case",
                note,
                corpus=True,
            ),
            Column("nats_per_token", "Nats per token", each, "mean", "lower", note=note, by_category=True),
        ]


class ReferenceKL:
    """KL divergence of the policy from a reference model, in nats per token, over the tokens of its completions.

    `KL(policy || reference)` of the next-token distributions, exact over the vocabulary, averaged over a completion's
    positions: what RLHF pays for reward with. Not estimated from samples, so it is never negative. Both models must have
    the same vocabulary. Empty completions give None.

    Args:
        reference (`str`, `Path` or `PreTrainedModel`):
            What the policy was trained from.
        policy ([`~transformers.PreTrainedModel`], *optional*):
            The model under test. `run_suite` gives it, so that one suite compares two models.
        tokenizer, batch_size, max_length:
            As for [`AnswerLogits`].

    Raises:
        ValueError: As [`AnswerLogits`]; if the vocabularies differ; from a call, if there is no policy.

    Example:

    ```python
    from rlhf_ext.evaluation.automatic import ReferenceKL

    kl = ReferenceKL("HuggingFaceTB/SmolLM2-135M-Instruct", policy=model)
    kl(prompts=["Why?"], completions=["Because it rains."])  # for example [0.31]
    ```
    """

    figures: Sequence[str] = ("kl",)

    def __init__(
        self,
        reference: str | Path | PreTrainedModel,
        policy: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 8,
        max_length: int | None = None,
    ):
        self.reference = AnswerLogits(reference, tokenizer, batch_size, max_length)
        name, weights = model_name_of(self.reference.model), weights_of(self.reference.model)
        self.settings = ["kl", name, weights, self.reference.max_length]
        self.__name__ = "kl"
        self.policy = None if policy is None else self._reader(policy, self.reference.tokenizer)

    def of(self, generator: Any) -> ReferenceKL:
        """The same for the model of a [`~rlhf_ext.generation.LocalGenerator`].

        Raises:
            ValueError: If the generator's model is not on this machine, or its vocabulary is another.
        """
        if not isinstance(getattr(generator, "model", None), torch.nn.Module):
            raise ValueError("The KL divergence needs the model itself on this machine, not an endpoint.")
        made = object.__new__(ReferenceKL)
        made.__dict__.update(self.__dict__)
        made.policy = made._reader(
            generator.model, generator.tokenizer, getattr(generator, "chat_template_kwargs", None)
        )
        return made

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        if self.policy is None:
            raise ValueError("ReferenceKL has no policy: give `policy`, or have the suite bound by `of(generator)`.")
        rows = self.policy.rows(prompts, completions)
        found: list[float | None] = [None] * len(rows)
        both = zip(self.policy.each(rows), self.reference.each(rows), strict=True)
        for (index, logits, _), (_, others, _) in both:
            found[index] = _kl(logits, others.to(logits.device)).mean().item()
        return found

    def check(self, cases: Sequence[Case]) -> None:
        """It needs no columns."""

    def measure(self, answers: Answers) -> list[Column]:
        """KL of each answer."""
        values = self(prompts=answers.inputs["prompts"], completions=answers.texts)
        note = f"From {model_name_of(self.reference.model)}, in nats per token, over the vocabulary."
        return [Column("kl", "KL to the reference", values, "mean", None, note=note, by_category=True)]

    def _reader(self, policy: Any, tokenizer: Any, told: Any = None) -> AnswerLogits:
        if tokenizer.get_vocab() != self.reference.tokenizer.get_vocab():
            raise ValueError("Policy and reference have different vocabularies: their tokens cannot be compared.")
        mine, other = (model.config.get_text_config().vocab_size for model in (policy, self.reference.model))
        if mine != other:
            raise ValueError(f"The policy predicts {mine} tokens and the reference {other}: pad or cut one of them.")
        return AnswerLogits(policy, tokenizer, self.reference.batch_size, self.reference.max_length, told)


def _kl(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """`(t,)` divergences of `(t, vocabulary)` logits; rounding alone would make some negative."""
    mine, reference = logits.log_softmax(-1), others.log_softmax(-1)
    return torch.nn.functional.kl_div(reference, mine, reduction="none", log_target=True).sum(-1).clamp(min=0)


def _perplexity(rows: list[tuple[float, int]]) -> float:
    return math.exp(sum(nats for nats, _ in rows) / sum(tokens for _, tokens in rows))
