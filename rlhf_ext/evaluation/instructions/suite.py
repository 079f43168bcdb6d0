"""Instruction following: prompts with constraints that a program can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...stats import Estimate, clustered_rate
from ..automatic.metrics import corpus_values
from ..prompt_files import Row, Rows
from ..prompt_suite import PromptSuite, user_message
from ..suite import Case, Column, sampling_of
from .constraints import FAMILIES, FAMILY_OF, Constraint

_OWN = Path(__file__).parent.parent / "prompts" / "instructions.jsonl"
_CHECKS = 1
"""Part of the version: to be raised when a check changes."""
_STRICT, _LOOSE = "strict", "loose"
LABELS = {
    "counts": "Keeps to counts",
    "format": "Keeps to a format",
    "letter_case": "Keeps to large or small letters",
    "wording": "Uses and avoids words",
    "begin_and_end": "Begins and ends as asked",
    "language": "Writes in the language",
}


class InstructionsSuite(PromptSuite):
    """Whether answers follow constraints that can be checked, as IFEval measures it ([2311.07911](https://huggingface.co/papers/2311.07911)).

    | figure | |
    |---|---|
    | `prompt_strict`, `prompt_loose` | share of answers that follow all constraints of their prompt |
    | `instruction_strict`, `instruction_loose` | share of all constraints that are followed |
    | `counts`, `format`, `letter_case`, `wording`, `begin_and_end`, `language` | the same, strict, for a family of constraints: the mean over prompts that have some |

    Strict is as it says; loose forgives an opening line, a closing line and asterisks ([`loose_readings`]). An empty answer
    follows nothing. [`by_kind`] has the figures of every kind.

    Args:
        cases (`Sequence[Case]`, *optional*):
            Prompts with a list of constraints, `{"kind": ..., setting: ...}`, in the column `constraints`. Defaults to the
            project's own, [`instruction_prompts`].
        samples (`int`, *optional*, defaults to `1`), sampling (`dict`, *optional*):
            Answers a case, and how they are sampled, over the defaults: greedy for one, temperature 1 for several, up to
            384 tokens.

    Raises:
        ValueError: If a case has no constraints, or one that is not known (the case is named).
    """

    def __init__(
        self,
        cases: Sequence[Case] | None = None,
        samples: int = 1,
        sampling: Mapping[str, Any] | None = None,
    ):
        cases = instruction_prompts() if cases is None else cases
        kinds = [constraint.kind for case in cases for constraint in constraints_of(case)]
        self.families = [family for family in FAMILIES if any(FAMILY_OF[kind] == family for kind in kinds)]
        levels = [f"{level}_{reading}" for level in ("prompt", "instruction") for reading in (_STRICT, _LOOSE)]
        sampling = sampling_of(sampling, samples, max_new_tokens=384)
        super().__init__("instructions", cases, [*levels, *self.families], samples, sampling, checks=_CHECKS)

    def measure(self, cases: list[Case], answers: list[str]) -> list[Column]:
        """Prompts and constraints, strict and loose, and families."""
        columns = []
        strict = [followed(case, answer) for case, answer in zip(cases, answers, strict=True)]
        loose = [followed(case, answer, loose=True) for case, answer in zip(cases, answers, strict=True)]
        for reading, found in ((_STRICT, strict), (_LOOSE, loose)):
            values: list[float | None] = [float(all(row)) for row in found]
            label = f"Follows all constraints of a prompt, {reading}"
            columns.append(Column(f"prompt_{reading}", label, values, better="higher", by_category=reading == _STRICT))
        for reading, found in ((_STRICT, strict), (_LOOSE, loose)):
            share = corpus_values(_share, cases, [(sum(row), len(row)) for row in found])
            label = f"Constraints followed, {reading}"
            columns.append(Column(f"instruction_{reading}", label, share, "rate", "higher", "case", corpus=True))
        return [*columns, *(_family(family, cases, strict) for family in self.families)]


def _family(family: str, cases: Sequence[Case], found: Sequence[list[bool]]) -> Column:
    values: list[float | None] = []
    for case, row in zip(cases, found, strict=True):
        kinds = [constraint.kind for constraint in constraints_of(case)]
        mine = [kept for kind, kept in zip(kinds, row, strict=True) if FAMILY_OF[kind] == family]
        values.append(sum(mine) / len(mine) if mine else None)
    return Column(family, LABELS[family], values, better="higher")


def instructions_suite(samples: int = 1, sampling: Mapping[str, Any] | None = None) -> InstructionsSuite:
    """The project's own instruction-following suite.

    Args:
        samples (`int`, *optional*, defaults to `1`), sampling (`dict`, *optional*):
            As for [`InstructionsSuite`].

    Returns:
        [`InstructionsSuite`], called "instructions".

    Example:

    ```python
    >>> from rlhf_ext.evaluation.instructions import instructions_suite
    >>> suite = instructions_suite()
    >>> len(suite.cases) >= 120, suite.figures[:2]
    (True, ('prompt_strict', 'prompt_loose'))

    ```
    """
    return InstructionsSuite(None, samples, sampling)


def instruction_prompts(path: str | Path | None = None) -> list[Case]:
    """Prompts with constraints from a file; by default the project's own (data card: `evaluation/prompts/`).

    Args:
        path (`str` or `Path`, *optional*):
            JSONL with `id`, `category`, `prompt` and `constraints`, a list of `{"kind": ..., setting: ...}`.

    Returns:
        `list[Case]`: prompts as messages, what is to be written as category, `constraints` in the columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a row lacks something or has a constraint that is not known; the row is named.

    Example:

    ```python
    >>> from rlhf_ext.evaluation.instructions import instruction_prompts
    >>> case = instruction_prompts()[0]
    >>> case.columns["constraints"][0]["kind"]
    'word_count'

    ```
    """
    return Rows.read(path or _OWN).cases(
        prompt=lambda row: user_message(row.text("prompt")),
        id=lambda row: row.text("id"),
        category=lambda row: row.text("category"),
        columns=lambda row: {"constraints": _listed(row)},
    )


def constraints_of(case: Case) -> list[Constraint]:
    """A case's constraints.

    Raises:
        ValueError: If there is none, or one is not known; the case is named.
    """
    listed = case.columns.get("constraints")
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"The case {case.id!r} has no list of constraints in its column 'constraints'.")
    try:
        return [Constraint.of(fields) for fields in listed]
    except ValueError as error:
        raise ValueError(f"The case {case.id!r}: {error}") from error


def followed(case: Case, answer: str, loose: bool = False) -> list[bool]:
    """Whether an answer follows each constraint of its case, in their order."""
    return [constraint.followed(answer, loose) for constraint in constraints_of(case)]


def by_kind(cases: Sequence[Case], answers: Sequence[str], loose: bool = False) -> dict[str, Estimate]:
    """The share of constraints of each kind that are followed, with Wilson's interval, the worst first.

    Args:
        cases (`Sequence[Case]`), answers (`Sequence[str]`):
            `cases[i]` is the case of `answers[i]`.
        loose (`bool`, *optional*, defaults to `False`):
            Whether answers are read loosely.

    Returns:
        `dict[str, Estimate]`: by kind. Few rest on more than ten prompts: to look into, not to decide by.
    """
    found: dict[str, list[tuple[str, float]]] = {}
    for case, answer in zip(cases, answers, strict=True):
        for constraint, kept in zip(constraints_of(case), followed(case, answer, loose), strict=True):
            found.setdefault(constraint.kind, []).append((case.id, float(kept)))
    rates = {kind: clustered_rate([kept for _, kept in rows], [id for id, _ in rows]) for kind, rows in found.items()}
    return dict(sorted(rates.items(), key=lambda item: item[1].value))


def _share(rows: list[tuple[int, int]]) -> float:
    return sum(kept for kept, _ in rows) / sum(asked for _, asked in rows)


def _listed(row: Row) -> list[Any]:
    listed = row.value("constraints")
    if not isinstance(listed, list) or not listed or not all(isinstance(fields, dict) for fields in listed):
        raise row.wrong("constraints", f"should be a list of constraints, got {listed!r}")
    for fields in listed:
        try:
            Constraint.of(fields)
        except ValueError as error:
            raise row.wrong("constraints", f"has one that is not known: {error}") from error
    return listed
