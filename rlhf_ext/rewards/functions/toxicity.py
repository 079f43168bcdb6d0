"""Reward for safe language: Detoxify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch

from ...types import Completion
from .encoders import Encoder, independent_probabilities
from .rows import log_mean, need, texts_of


class DetoxifySafety:
    """How free of toxicity a completion is, in [0, 1], higher is safer: 1 - the highest of Detoxify's probabilities.

    Hanu and Unitary (2020), trained on Wikipedia and news comments. It judges tone, not content: it takes swearing and the
    names of groups for attacks, and a polite recipe for harm for safe. Never let it decide alone. Completions are sorted
    by length and batched, which Detoxify's own `predict` does not do; the probabilities are the same. The mean of every
    label is shown in the logs. Needs `pip install rlhf_ext[safety]`.

    Loading a Detoxify checkpoint unpickles it, which runs what is in it: load only files that you trust.

    Args:
        model_type (`str`, *optional*, defaults to `"original"`):
            `"original"`, `"unbiased"` (less wary of the names of groups), `"multilingual"`, `"original-small"` or
            `"unbiased-small"`, downloaded on first use.
        checkpoint (`str` or `Path`, *optional*):
            A local checkpoint in Detoxify's format instead.
        huggingface_config_path (`str` or `Path`, *optional*):
            Folder with the checkpoint's configuration and tokenizer, for use without a hub.
        labels (`Sequence[str]`, *optional*):
            The labels that count; all that the checkpoint has by default.
        batch_size (`int`, *optional*, defaults to `32`):
            Texts a forward pass.
        max_length (`int`, *optional*):
            Tokens of a completion that are read; what comes after them may say anything, which is warned of. Defaults to what
            the model can read.
        device (`str` or `torch.device`, *optional*, defaults to `"cpu"`):
            Where the model runs.

    Raises:
        ImportError: If detoxify is not installed.
        ConnectionError: If its checkpoint cannot be downloaded.
        FileNotFoundError: If there is no file `checkpoint`.
        ValueError: If the model type or a label is unknown.

    Example:

    ```python
    from rlhf_ext.rewards.functions import DetoxifySafety

    safety = DetoxifySafety("unbiased")
    safety(prompts=["Hi."], completions=["Hello, how are you?"])  # close to [1.0]
    ```
    """

    def __init__(
        self,
        model_type: str = "original",
        checkpoint: str | Path | None = None,
        huggingface_config_path: str | Path | None = None,
        labels: Sequence[str] | None = None,
        batch_size: int = 32,
        max_length: int | None = None,
        device: str | torch.device = "cpu",
    ):
        try:
            from detoxify import Detoxify
            from detoxify.detoxify import MODEL_URLS
        except ImportError as error:
            raise need("detoxify", "safety", "DetoxifySafety") from error
        if checkpoint is None and model_type not in MODEL_URLS:
            raise ValueError(f"`model_type` should be one of {', '.join(MODEL_URLS)}, got {model_type!r}.")
        if checkpoint is not None and not Path(checkpoint).is_file():
            raise FileNotFoundError(f"There is no Detoxify checkpoint {checkpoint}.")
        try:
            detoxify = Detoxify(
                model_type,
                checkpoint=None if checkpoint is None else str(checkpoint),
                device=device,
                huggingface_config_path=None if huggingface_config_path is None else str(huggingface_config_path),
            )
        except URLError as error:
            raise ConnectionError(
                f"Detoxify's model {model_type!r} could not be fetched from {MODEL_URLS[model_type]}: {error.reason}. Without a "
                "network give `checkpoint` and `huggingface_config_path`, a file and a folder of this machine."
            ) from error
        self.class_names = list(detoxify.class_names)
        if unknown := [label for label in labels or [] if label not in self.class_names]:
            raise ValueError(f"`labels` should be among {', '.join(self.class_names)}; got {unknown[0]!r}.")
        if labels is not None and not labels:
            raise ValueError("`labels` is empty: leave it out to have all of them count.")
        self.labels = list(labels or self.class_names)
        self.encoder = Encoder(None, detoxify.model, detoxify.tokenizer, batch_size, max_length)
        self.__name__ = "detoxify_safety"

    def __call__(
        self, *, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        if not completions:
            return []
        scores = self.encoder.read(texts_of(completions), independent_probabilities)
        for place, label in enumerate(self.class_names):
            log_mean(columns, f"{self.__name__}/{label}", scores[:, place].tolist())
        counted = [self.class_names.index(label) for label in self.labels]
        return (1 - scores[:, counted].amax(1)).tolist()
