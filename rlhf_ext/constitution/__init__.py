"""Constitutional AI: principles in YAML, critique and revision by them, and what comes of it.

Written after Bai et al., [2212.08073](https://huggingface.co/papers/2212.08073): a [`Constitution`],
[`critique_and_revise`], data sets to learn from ([`to_sft`], [`to_preferences`]), a labeler that judges by the constitution
([`ConstitutionalLabeler`]), a reward function ([`ConstitutionalReward`]), and a report of what it cost ([`summarise`]).
"""

from .comparing import pair_question
from .drift import SharedWords
from .labeler import ConstitutionalLabeler
from .outcome import split_prompts, to_preferences, to_sft
from .principles import Constitution, Principle
from .revision import critique_and_revise
from .reward import ConstitutionalReward
from .steps import Revision, Revisions, RevisionStep
from .summary import RevisionSummary, summarise

__all__ = [
    "Constitution",
    "ConstitutionalLabeler",
    "ConstitutionalReward",
    "Principle",
    "Revision",
    "RevisionStep",
    "RevisionSummary",
    "Revisions",
    "SharedWords",
    "critique_and_revise",
    "pair_question",
    "split_prompts",
    "summarise",
    "to_preferences",
    "to_sft",
]
