"""Public prompt sets in their authors' formats, from files that the user has; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..prompt_files import Duplicates, Row, Rows
from ..prompt_suite import user_message
from ..suite import Case

HARMBENCH_KINDS = ("standard", "contextual", "copyright")
XSTEST_LABELS = ("safe", "unsafe")


def load_harmbench(path: str | Path, duplicates: Duplicates = "refuse") -> list[Case]:
    """HarmBench behaviors ([2402.04249](https://huggingface.co/papers/2402.04249)): `harmbench_behaviors_text_*.csv`.

    Fields read: `Behavior`, `FunctionalCategory` (standard, contextual, copyright), `SemanticCategory`, `BehaviorID`, and
    where there are any `ContextString` (put before the behavior, as HarmBench does) and `Tags`. Whether a copyright
    behavior succeeded is told by comparing with the work, which neither refusal patterns nor a judge of harm does: leave
    them out (`case.columns["kind"] != "copyright"`).

    Args:
        path (`str` or `Path`):
            The `.csv` file, or its rows as `.jsonl` or `.json`.
        duplicates (`str`, *optional*, defaults to `"refuse"`):
            What two rows with the same prompt are: `"refuse"`, or `"first"` to keep the first of them.

    Returns:
        `list[Case]`: the behavior as prompt (a chat), `SemanticCategory` as category; `harmful`, `kind` and `tags` in the
        columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a row is bad or there are duplicates; file, row and field are named.
    """

    def prompt(row: Row) -> Any:
        context, behavior = row.optional("ContextString"), row.text("Behavior")
        return user_message(f"{context}\n\n---\n\n{behavior}" if context else behavior)

    return Rows.read(path).cases(
        prompt,
        id=lambda row: row.text("BehaviorID"),
        category=lambda row: row.text("SemanticCategory"),
        columns=lambda row: {
            "harmful": True,
            "kind": row.one_of("FunctionalCategory", HARMBENCH_KINDS),
            "tags": row.optional("Tags"),
        },
        duplicates=duplicates,
    )


def load_strongreject(path: str | Path, duplicates: Duplicates = "refuse") -> list[Case]:
    """StrongREJECT's forbidden prompts ([2402.10260](https://huggingface.co/papers/2402.10260)): `strongreject_dataset.csv`.

    Fields read: `category`, `source`, `forbidden_prompt`. The file has no ids: a case is named after its row.

    Args:
        path (`str` or `Path`), duplicates (`str`, *optional*):
            As for [`load_harmbench`].

    Returns:
        `list[Case]`: prompts as chats; `harmful` and `source` in the columns.

    Raises:
        FileNotFoundError, ValueError: As [`load_harmbench`].
    """
    return Rows.read(path).cases(
        prompt=lambda row: user_message(row.text("forbidden_prompt")),
        id=lambda row: f"strongreject, {row.place}",
        category=lambda row: row.text("category"),
        columns=lambda row: {"harmful": True, "source": row.optional("source")},
        duplicates=duplicates,
    )


def load_xstest(path: str | Path, duplicates: Duplicates = "refuse") -> list[Case]:
    """XSTest ([2308.01263](https://huggingface.co/papers/2308.01263)): `xstest_prompts.csv`, safe prompts and unsafe contrasts.

    Fields read: `id`, `prompt`, `type`, and where there are any `label` (safe, unsafe), `focus` and `note`. Without `label`
    (the file of version 2), types that begin with `contrast_` are unsafe.

    Args:
        path (`str` or `Path`), duplicates (`str`, *optional*):
            As for [`load_harmbench`].

    Returns:
        `list[Case]`: prompts as chats, the type as category; `harmful`, `focus` and `note` in the columns. Those with
        `harmful` False are for [`OverRefusalSuite`], the others for [`HarmfulSuite`].

    Raises:
        FileNotFoundError, ValueError: As [`load_harmbench`]; also if `label` and `type` contradict each other.
    """

    def columns(row: Row) -> dict[str, Any]:
        unsafe = row.text("type").startswith("contrast_")
        if row.optional("label") and (row.one_of("label", XSTEST_LABELS) == "unsafe") != unsafe:
            raise row.wrong("label", f"is {row.text('label')!r}, which contradicts the type {row.text('type')!r}")
        return {"harmful": unsafe, "focus": row.optional("focus"), "note": row.optional("note")}

    return Rows.read(path).cases(
        prompt=lambda row: user_message(row.text("prompt")),
        id=lambda row: f"xstest-{row.value('id')}",
        category=lambda row: row.text("type"),
        columns=columns,
        duplicates=duplicates,
    )


def load_real_toxicity_prompts(path: str | Path, duplicates: Duplicates = "refuse") -> list[Case]:
    """RealToxicityPrompts ([2009.11462](https://huggingface.co/papers/2009.11462)): `prompts.jsonl`, beginnings of sentences.

    Fields read: `filename`, `begin`, `end`, `challenging`, and of `prompt` its `text` and `toxicity` (Perspective's, which
    may be null). The prompts are plain text to be continued, as the paper does, not chats.

    Args:
        path (`str` or `Path`), duplicates (`str`, *optional*):
            As for [`load_harmbench`]; the set was cut from web pages and may hold the same beginning twice.

    Returns:
        `list[Case]`: the texts; the category is "toxic" from a toxicity of 0.5, "nontoxic" below, "unknown" without one;
        `toxicity` and `challenging` in the columns.

    Raises:
        FileNotFoundError, ValueError: As [`load_harmbench`].
    """
    return Rows.read(path).cases(
        prompt=lambda row: _part(row).text("text"),
        id=lambda row: "-".join(str(row.value(field)) for field in ("filename", "begin", "end")),
        category=_toxicity_category,
        columns=lambda row: {"toxicity": _toxicity(row), "challenging": bool(row.value("challenging"))},
        duplicates=duplicates,
    )


def _part(row: Row) -> Row:
    prompt = row.value("prompt")
    if not isinstance(prompt, dict):
        raise row.wrong("prompt", f"should be an object with `text` and `toxicity`, got {prompt!r}")
    return Row(row.path, f"{row.place}, `prompt`,", prompt)


def _toxicity(row: Row) -> float | None:
    toxicity = _part(row).fields.get("toxicity")
    if toxicity is None:
        return None
    if isinstance(toxicity, bool) or not isinstance(toxicity, int | float) or not 0 <= toxicity <= 1:
        raise _part(row).wrong("toxicity", f"should be a number in [0, 1] or null, got {toxicity!r}")
    return float(toxicity)


def _toxicity_category(row: Row) -> str:
    toxicity = _toxicity(row)
    if toxicity is None:
        return "unknown"
    return "toxic" if toxicity >= 0.5 else "nontoxic"
