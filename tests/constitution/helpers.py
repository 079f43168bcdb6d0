"""A model that critiques and revises by a script, and counts the calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from rlhf_ext import ScriptedGenerator
from rlhf_ext.constitution import Constitution, Principle
from rlhf_ext.types import text_of


def stage_of(request) -> str:
    if isinstance(request, str) or (len(request) == 1 and not request[0]["content"].startswith("You review")):
        return "answer"
    return "critique" if len(request) == 1 else "revise"


def quoted_answer(request) -> str:
    """The answer that a critique request is about."""
    return json.loads(re.search(r"^Response: (.*)$", request[0]["content"], re.MULTILINE)[1])


def asked_by(request) -> str:
    """The principle that a critique request names, in a constitution of `named`."""
    return re.search(r"by (\w+)\.", request[0]["content"])[1]


class Model(ScriptedGenerator):
    """Answers by stage; `batches` holds the stage and size of each call."""

    each = None  # asked in whole batches, which are counted

    def __init__(self, answer: Callable, critique: Callable, revise: Callable):
        self.roles = {"answer": answer, "critique": critique, "revise": revise}
        self.batches: list[tuple[str, int]] = []
        super().__init__(lambda request, sampling: self.roles[stage_of(request)](request))

    def generate(self, prompts, **sampling):
        self.batches.append((stage_of(prompts[0]), len(prompts)))
        assert len({stage_of(prompt) for prompt in prompts}) == 1
        return super().generate(prompts, **sampling)

    def requests(self, stage: str) -> list:
        return [request for request, _ in self.calls if stage_of(request) == stage]


def always(text: str) -> Callable:
    return lambda request: text


def improving(request) -> str:
    """A revision that differs from what it revises."""
    return text_of(request[-2:-1]) + " Better."


def objecting(request) -> str:
    return "It could be better.\nVerdict: REVISE"


def obedient(critique: Callable = objecting, revise: Callable = improving) -> Model:
    return Model(lambda request: f"First answer to {text_of(request)}", critique, revise)


def named(*names: str, **options) -> Constitution:
    return Constitution(
        [Principle(name, f"Look at it by {name}.", f"Mend it by {name}.", **options) for name in names]
    )


class Judge:
    """Compares by a function `(prompt, first, second) -> float | None` and records its calls."""

    def __init__(self, decide: Callable):
        self.decide, self.calls = decide, []

    def compare(self, prompts, first, second):
        self.calls.append((list(prompts), list(first), list(second)))
        return [self.decide(*row) for row in zip(prompts, first, second, strict=True)]
