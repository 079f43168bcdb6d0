"""Whether a revision still answers the question, without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..rewards.functions.rows import column_of, texts_of
from ..types import Completion, text_of

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")  # Thai, kana, Chinese: no spaces between words
_STEM = 5
_FEW = 4

# English words of four letters and more that say nothing about the topic.
_STOP = frozenset(
    _WORD.findall(
        "about above after again against also always another anything around because been before being below between both "
        "came cannot come could does doing done down during each either else even ever every from further give given goes "
        "going gone good have having help here into itself just keep know like made make many maybe might more most much must "
        "need neither never nothing once only other others over part perhaps please quite rather really same shall should "
        "since some someone something still such take tell than thank thanks that their them then there these they thing "
        "things this those though through thus together told under until upon used using very want wants well were what when "
        "where whether which while whole whom whose will with within without would your yours yourself"
    )
)


class SharedWords:
    """How much of a revision is about what question and first answer are about, in [0, 1]: a reward function.

    The overlap coefficient of their content words (cut to five letters, so that "revise" meets "revision"; single
    characters where a script has no spaces): shared words over those of the shorter. None where words cannot tell: a
    revision or question of too few words, or a first answer that itself shares none with the question. Reads the
    column `first_answer`.

    It is a light guard, for revisions that go astray altogether. On the 431 answers of the project's own preferences
    that do not refuse, the other answer of the pair taken as the first, 5 % of the right answers share nothing (true
    revisions keep more), and 41 % of those to another topic's question; for a closer look take
    [`~rlhf_ext.rewards.functions.Similarity`] with `column="question"`.

    Raises:
        ValueError: From a call, if there is no column `first_answer`.

    Example:

    ```python
    >>> from rlhf_ext.constitution import SharedWords
    >>> first = "Knead the dough, let it rise, then bake the bread."
    >>> revisions = ["Bake bread once the dough has risen warm.", "Paris lies north, along the river Seine."]
    >>> SharedWords()(prompts=["How is bread baked?"] * 2, completions=revisions, first_answer=[first] * 2)
    [0.6, 0.0]

    ```
    """

    def __init__(self) -> None:
        self.__name__ = "shared_words"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        firsts = column_of(columns, "first_answer", len(completions), "SharedWords")
        scores: list[float | None] = []
        for prompt, text, first in zip(prompts, texts_of(completions), firsts, strict=True):
            question, before, words = _words(text_of(prompt)), _words(text_of(first or "")), _words(text)
            if len(words) < _FEW or not question & before:
                scores.append(None)
                continue
            topic = question | before
            scores.append(len(words & topic) / min(len(words), len(topic)))
        return scores


def _words(text: str) -> set[str]:
    text = text.casefold()
    spaced = (word for word in _WORD.findall(_UNSPACED.sub(" ", text)) if len(word) > 3 or word.isdigit())
    return {word[:_STEM] for word in spaced if word not in _STOP} | set(_UNSPACED.findall(text))
