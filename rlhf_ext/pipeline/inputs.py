"""What a run is given, checked before anything is loaded or written: model, tokenizer, data, reward model."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from ..data.preferences import StrengthScale, has_messages, prepare_preferences
from ..rewards.model import check_reward_folder
from .config import RLHFConfig
from .state import processes

logger = logging.get_logger(__name__)


def load_tokenizer(model: Any, config: RLHFConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a model by folder, hub name or in memory.

    Raises:
        ValueError: If a model in memory has no name to load it by.
        FileNotFoundError: If there is no such model.
    """
    name = model if isinstance(model, str) else model.config._name_or_path
    if not name:
        raise ValueError("A model in memory that was never saved needs its `tokenizer` as well.")
    if isinstance(model, str) and Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise FileNotFoundError(f"{name} holds no model: there is no config.json in it.")
    options = {"trust_remote_code": config.trust_remote_code}
    try:
        AutoConfig.from_pretrained(name, **options)
    except OSError as error:
        raise FileNotFoundError(
            f"No model {name!r}: it is no folder with a model in it, and the hub did not give it "
            f"({str(error).splitlines()[0]})"
        ) from error
    return AutoTokenizer.from_pretrained(name, **options)


def check_data(data: Any, heldout: Any, config: RLHFConfig, tokenizer: Any) -> tuple[Dataset, Dataset]:
    """Preferences and held-out rows, checked; without held-out rows a tenth is held out.

    The tokenizer gets a pad token where it has none.

    Raises:
        TypeError, ValueError: As [`~rlhf_ext.data.preferences.prepare_preferences`], and if rows and tokenizer do not fit.
    """
    scale = cast(StrengthScale, config.strength_scale)
    data = prepare_preferences(data, scale)
    if heldout is None:
        if len(data) < 10:
            raise ValueError(
                f"`preference_dataset` has {len(data)} rows, too few to hold some out: give an `eval_dataset`."
            )
        parts = data.train_test_split(test_size=0.1, seed=config.seed)
        data, heldout = parts["train"], parts["test"]
        logger.warning(f"No `eval_dataset`: {len(heldout)} of the preferences are held out for the comparison.")
    else:
        heldout = prepare_preferences(heldout, scale, "eval_dataset")
    if has_messages(data) != has_messages(heldout):
        raise ValueError("One of `preference_dataset` and `eval_dataset` has messages, the other text. Use one kind.")
    if has_messages(data) and tokenizer.chat_template is None:
        raise ValueError(
            "The preferences are messages, but the tokenizer has no chat template. Set `tokenizer.chat_template`, "
            "use an instruction-tuned model, or give the preferences as plain text."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError("The tokenizer has neither a pad nor an EOS token: set `tokenizer.pad_token`.")
        tokenizer.pad_token = tokenizer.eos_token
    return data, heldout


def identity_of_model(model: Any) -> str:
    """A model's name, or what tells one in memory from others."""
    if isinstance(model, str):
        return model
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return f"in memory, sha256 {digest.hexdigest()[:16]}"


def base_on_disk(given: Any, tokenizer: Any, output_dir: str) -> str:
    """The model before, as a folder or hub name: what every stage loads, also after a restart."""
    if isinstance(given, str):
        return given
    folder = Path(output_dir) / "base_model"
    if processes().is_main_process and not folder.is_dir():
        # A copy: the user's model keeps its adapter.
        model = copy.deepcopy(given).merge_and_unload() if is_peft_model(given) else given
        partial = folder.with_name(".base_model.partial")
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(folder)
    processes().wait_for_everyone()
    return str(folder)


def check_reward_folder_or_empty(path: str) -> None:
    """Refuses what is in the way of a reward model: a file, or a folder with something else in it."""
    folder = Path(path)
    if folder.is_file():
        raise FileExistsError(f"{path} is a file; `reward_model_path` is a folder or the name of a model on the hub.")
    if folder.is_dir() and any(folder.iterdir()):
        check_reward_folder(folder)


def holds_model(path: str) -> bool:
    """Whether there is a model, or an adapter, in a folder."""
    return any((Path(path) / name).is_file() for name in ("config.json", "adapter_config.json"))
