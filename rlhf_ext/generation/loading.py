"""Language models by folder or hub name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

_OF_TOKENIZERS = ("revision", "trust_remote_code", "token", "cache_dir")


def load_language_model(
    path: str | Path, tokenizer: PreTrainedTokenizerBase | None = None, **model_kwargs: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a language model, with its adapter where `path` holds one, and its tokenizer.

    Args:
        path (`str` or `Path`):
            Folder or hub name of a model, or a folder with a LoRA adapter (as trainers write with `peft_config`).
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            The model's tokenizer; by default that of `path`, or of the adapter's base.
        **model_kwargs:
            For `from_pretrained`. `dtype` defaults to `"auto"`. Without a `device_map` the model goes to the accelerator, if
            there is one.

    Returns:
        `tuple`: the model and its tokenizer.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it has no tokenizer, or is a classifier, such as a reward model: as a language model it would write
            noise.
    """
    path = str(path)
    _check_folder(Path(path))
    try:
        model = AutoModelForCausalLM.from_pretrained(path, **{"dtype": "auto", **model_kwargs})
    except OSError as error:
        raise FileNotFoundError(
            f"No model {path!r}: it is no folder with a model in it, and the hub did not give it "
            f"({str(error).splitlines()[0]})"
        ) from error
    _check_architectures(model.config.architectures, path)
    if tokenizer is None:
        options = {name: value for name, value in model_kwargs.items() if name in _OF_TOKENIZERS}
        tokenizer = _load_tokenizer(_tokenizer_folder(path), **options)
    if "device_map" not in model_kwargs and "quantization_config" not in model_kwargs:
        model = model.to(torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu"))
    return model, tokenizer


def check_language_model(model: Any) -> None:
    """Refuses a model that does not write text from left to right.

    Raises:
        ValueError: That names its class.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(f"{type(model).__name__} is an encoder-decoder; a decoder-only model is needed.")
    inner = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)  # inside PEFT's
    if inner is not None and "Classification" in type(inner).__name__:
        raise ValueError(f"{type(inner).__name__} scores texts and cannot write any. {_SCORES}")


def tokenizer_of(model: Any) -> PreTrainedTokenizerBase:
    """The tokenizer that lies where a loaded model is from.

    Raises:
        ValueError: If there is none.
    """
    if not model.config._name_or_path:
        raise ValueError(f"This {type(model).__name__} was loaded from nowhere: give its tokenizer as `tokenizer`.")
    return _load_tokenizer(model.config._name_or_path)


def _load_tokenizer(name: str, **options: Any) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError) as error:  # of transformers, which has both for a folder without one
        raise ValueError(
            f"No tokenizer in {name}: save it there with `save_pretrained`, or give it as `tokenizer` "
            f"({str(error).splitlines()[0]})"
        ) from error


def _tokenizer_folder(path: str) -> str:
    """Where the tokenizer is: an adapter's folder may come without that of its base."""
    adapter = Path(path) / "adapter_config.json"
    if not adapter.is_file() or (Path(path) / "tokenizer_config.json").is_file():
        return path
    return str(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])


def _check_folder(folder: Path) -> None:
    """Refuses a folder with a classifier or an adapter for one, before any weights are loaded."""
    adapter, config = folder / "adapter_config.json", folder / "config.json"
    if adapter.is_file():
        kind = json.loads(adapter.read_text(encoding="utf-8")).get("task_type")
        if kind not in ("CAUSAL_LM", None):
            raise ValueError(f"{folder} holds an adapter for {kind}, not for a language model (CAUSAL_LM). {_SCORES}")
    elif folder.is_dir() and not config.is_file():
        raise FileNotFoundError(f"No model {str(folder)!r}: it has neither a config.json nor an adapter_config.json.")
    elif config.is_file():
        _check_architectures(json.loads(config.read_text(encoding="utf-8")).get("architectures"), str(folder))


def _check_architectures(architectures: list[str] | None, path: str) -> None:
    if wrong := [name for name in architectures or [] if "Classification" in name or "RewardModel" in name]:
        raise ValueError(f"{path} holds a {wrong[0]}, which scores texts and cannot write any. {_SCORES}")


_SCORES = "Read it with `RewardModel`, and give a language model here."
