"""Prompts that come as token ids, as TRL's PPO up to 1.12 took them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from transformers.utils import logging

logger = logging.get_logger(__name__)


_IDS = "prompt_token_ids"


class TokenizedPrompt(str):
    """A prompt's text that knows the ids it was decoded from, so that no token changes on the way through the text."""

    ids: tuple[int, ...] = ()

    @classmethod
    def in_row(cls, row: dict[str, Any]) -> dict[str, Any]:
        """A row of [`with_text_prompts`] with its prompt as a [`TokenizedPrompt`]; any other row as it is."""
        if _IDS not in row:
            return row
        prompt = cls(row["prompt"])
        prompt.ids = tuple(row[_IDS])
        return {**row, "prompt": prompt}


def with_text_prompts(dataset: Any, tokenizer: Any) -> Any:
    """A data set of `input_ids` with the `prompt` column that TRL's trainers need; any other stays as it is.

    Args:
        dataset (`Dataset`, `IterableDataset`, a dict of them, or `None`):
            Rows with `input_ids`, padded or not, and perhaps an `attention_mask`.
        tokenizer (`PreTrainedTokenizerBase` or `None`):
            What the ids were made with.

    Returns:
        The same kind of data set.

    Raises:
        ValueError: If there are neither prompts nor ids, ids and no tokenizer to decode them, or a row of none (named).
    """
    if isinstance(dataset, dict):
        return type(dataset)({name: with_text_prompts(part, tokenizer) for name, part in dataset.items()})
    if not hasattr(dataset, "column_names"):
        return dataset
    columns = dataset.column_names or list(next(iter(dataset), {}))  # a stream does not always know them
    if "prompt" in columns or not columns:
        return dataset
    if "input_ids" not in columns:
        raise ValueError(f"The data set has no column `prompt`; it has {', '.join(columns)}.")
    if tokenizer is None:
        raise ValueError(
            "The data set has `input_ids` in place of `prompt`: give the `processing_class` they are from."
        )

    def decode(row: dict[str, Any], index: int) -> dict[str, Any]:
        ids = _unpadded(row, tokenizer)
        if not ids:
            raise ValueError(f"Row {index} of the data set has no `input_ids` but padding.")
        return {"prompt": _text(ids, tokenizer), _IDS: ids}

    gone = [name for name in ("input_ids", "attention_mask", "labels") if name in columns]
    return dataset.map(decode, with_indices=True, remove_columns=gone)


def _text(ids: list[int], tokenizer: Any) -> str:
    """The text of ids, without a first token that the tokenizer would put there again."""
    rest = tokenizer.decode(ids[1:])
    return rest if ids[0] == tokenizer.bos_token_id and _ids(rest, tokenizer) == ids else tokenizer.decode(ids)


def _ids(text: str, tokenizer: Any) -> list[int]:
    return list(getattr(tokenizer, "tokenizer", tokenizer)(text)["input_ids"])


def _unpadded(row: dict[str, Any], tokenizer: Any) -> list[int]:
    ids = list(row["input_ids"])
    if "attention_mask" in row:
        return [token for token, kept in zip(ids, row["attention_mask"], strict=True) if kept]
    start = 0
    while start < len(ids) and ids[start] == tokenizer.pad_token_id != tokenizer.bos_token_id:
        start += 1
    return ids[start:]


def with_pad_inside(tokenizer: Any, model: Any) -> Any:
    """A tokenizer whose padding token the model has an embedding for: the one given, or a copy with another pad.

    Scripts for TRL 1.12 add a `[PAD]` token without resizing the model; its trainer never showed it to the model, TRL's
    rollouts do. The other is not EOS, which a classifier would take for padding where it ends a text.
    """
    if tokenizer is None or not hasattr(model, "get_input_embeddings"):
        return tokenizer
    inner: Any = getattr(tokenizer, "tokenizer", tokenizer)
    rows = model.get_input_embeddings().num_embeddings
    if inner.pad_token_id is None or inner.pad_token_id < rows:
        return tokenizer
    own = model.config.get_text_config().pad_token_id
    candidates = [own, inner.unk_token_id, inner.bos_token_id, *range(rows)]
    pad = next(i for i in candidates if i is not None and i < rows and i != inner.eos_token_id)
    logger.warning_once(
        f"The padding token {inner.pad_token!r} has id {inner.pad_token_id}, but the model has {rows} embeddings: "
        f"{inner.convert_ids_to_tokens(pad)!r} pads instead."
    )
    tokenizer = copy.deepcopy(tokenizer)
    getattr(tokenizer, "tokenizer", tokenizer).pad_token = inner.convert_ids_to_tokens(pad)
    return tokenizer


def ids_of(prompts: Sequence[Any]) -> list[list[int]] | None:
    """The ids of prompts that all know them."""
    if all(isinstance(prompt, TokenizedPrompt) and prompt.ids for prompt in prompts):
        return [list(prompt.ids) for prompt in prompts]
    return None
