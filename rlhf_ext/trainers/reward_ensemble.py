"""An ensemble of reward models in one call: one data set, different seeds and bootstrap resamples."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PrinterCallback, ProgressCallback
from transformers.pytorch_utils import Conv1D

from ..rewards.ensemble import RewardEnsemble
from ..rewards.ensemble_members import scale_of
from ..rewards.model import ENSEMBLE, RewardModel
from ..rewards.shared_trunk import transformer_layers
from ..types import Completion, Prompt, is_messages
from .callbacks import StageBar
from .reward import RewardConfig, RewardTrainer

# Beginnings of settings that do not change what is trained: they may differ when a run goes on.
_FREE = (
    *("output_dir", "run_name", "project", "trackio_", "logging_", "log_", "report_to", "disable_tqdm", "include_"),
    *("save_", "eval_", "hub_", "push_to_hub", "resume_from_checkpoint", "do_", "dataloader_", "dataset_num_proc"),
    "use_cpu",
)


def train_reward_ensemble(
    model: str | Path,
    train_dataset: Dataset,
    output_dir: str | Path,
    members: int = 5,
    args: RewardConfig | None = None,
    peft_config: Any = "last_layers",
    bootstrap: bool = True,
    reference_rows: int = 256,
    **trainer_options: Any,
) -> RewardEnsemble:
    """Trains `members` reward models that differ by seed and bootstrap resample, and gives them back as one reward.

    Each member has its own folder, `member_0` and so on. The same call on the same folder goes on where it was stopped:
    finished members are not trained again, an unfinished one goes on from its last checkpoint, and with a larger `members`
    new ones are added. When a member is finished, its scores of the reference texts put it on the common scale.

    With 25 % of the labels wrong, four to five members were enough in Coste et al.,
    [2310.02743](https://huggingface.co/papers/2310.02743). There the members were whole models; adapters on the last layers
    share more. An ensemble gives what its members' differences give: look at the correlation of their scores on held-out
    texts (`torch.corrcoef(ensemble.score_members(...))`), and raise the learning rate or the steps if it is near 1.

    Args:
        model (`str` or `Path`):
            Folder or hub name of the base. All members start from it.
        train_dataset (`datasets.Dataset`):
            Preferences as [`RewardTrainer`] takes them.
        output_dir (`str` or `Path`):
            Where the members go. Must be empty, missing, or hold an earlier part of the same run.
        members (`int`, *optional*, defaults to `5`):
            How many, at least 2.
        args ([`RewardConfig`], *optional*):
            Settings of each member's training. Its `output_dir` is not used; member k trains with `seed + k`.
        peft_config (`PeftConfig`, `str` or `None`, *optional*, defaults to `"last_layers"`):
            By default LoRA of rank 8 on all linear modules of the last eighth of the layers (at least one), so that scoring
            with five members takes about 1.6 times one model's time; see [`last_layers`]. `"head"` trains a head a member
            on the frozen base, which then runs once for all of them: quickest, and the weakest reward models; it takes a
            higher learning rate. None trains whole models.
        bootstrap (`bool`, *optional*, defaults to `True`):
            Whether each member trains on as many rows drawn with replacement; if not, on the rows as they are, and members
            differ by seed alone (as in 2310.02743).
        reference_rows (`int`, *optional*, defaults to `256`):
            Rows, from the first, whose chosen and rejected responses are the reference texts.
        **trainer_options:
            For [`RewardTrainer`]: `processing_class`, `eval_dataset`, `callbacks`, ...

    Returns:
        [`RewardEnsemble`]: as `RewardEnsemble.from_folder(output_dir)` loads it.

    Raises:
        FileExistsError: If the folder holds something else, or a run with other settings; the message names what differs.
        ValueError: If there are fewer than two members, or the data has no `chosen` and `rejected`.
        TypeError: If the data is a stream, which cannot be resampled.

    Example:

    ```python
    from rlhf_ext import PPOTrainer, train_reward_ensemble

    reward = train_reward_ensemble("Qwen/Qwen3-0.6B", preferences, "./ensemble", members=5)
    reward.combine = "uncertainty_weighted"
    trainer = PPOTrainer(model, reward, ...)
    ```
    """
    if members < 2:
        raise ValueError(f"`members` must be at least 2, got {members}. For one reward model use `RewardTrainer`.")
    _check_data(train_dataset, reference_rows)
    args = args or RewardConfig(str(output_dir))
    if peft_config == "last_layers":
        peft_config = last_layers(model, trust_remote_code=args.trust_remote_code)
    elif peft_config == "head":
        peft_config = _head_alone()
    elif isinstance(peft_config, str):
        raise ValueError(f"`peft_config` is a PeftConfig, None, 'last_layers' or 'head', got {peft_config!r}.")
    run = _EnsembleRun(Path(output_dir), args, _identity(str(model), train_dataset, args, peft_config, bootstrap))
    reference = _responses(train_dataset.select(range(min(reference_rows, len(train_dataset)))))
    for number in range(len(run.members), members):
        data = _resample(train_dataset, args.seed, number) if bootstrap else train_dataset
        run.train(
            number, f"Reward model {number + 1}/{members}", str(model), data, peft_config, reference, trainer_options
        )
    loading = {"trust_remote_code": True} if args.trust_remote_code else {}
    return RewardEnsemble.from_folder(output_dir, members=members, **loading)


def last_layers(model: str | Path, share: float = 1 / 8, rank: int = 8, **config_kwargs: Any) -> Any:
    """LoRA on all linear modules of the last layers, so that members share all layers below.

    With a share s of the layers adapted, K members take about 1 + (K - 1) s times one model's arithmetic: 1.5 times for
    five members on an eighth of the layers, 2 on a quarter, 5 where every layer is adapted.

    Args:
        model (`str` or `Path`):
            Folder or hub name of the base, whose config tells the number of layers.
        share (`float`, *optional*, defaults to `1/8`):
            Share of the layers to adapt, in (0, 1]; rounded down, at least one layer.
        rank (`int`, *optional*, defaults to `8`):
            Rank of the adapters; alpha is twice that.
        **config_kwargs:
            For `AutoConfig.from_pretrained`.

    Returns:
        `peft.LoraConfig`: with `task_type="SEQ_CLS"`, so that the reward head is trained and saved.

    Raises:
        ValueError: If `share` is out of range, or the architecture has no one list of layers.
    """
    from peft import LoraConfig

    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1], got {share}.")
    config = AutoConfig.from_pretrained(str(model), **config_kwargs)
    with torch.device("meta"):  # names without weights
        skeleton = AutoModelForSequenceClassification.from_config(
            config, trust_remote_code=config_kwargs.get("trust_remote_code")
        )
    layers = transformer_layers(skeleton)
    if not layers:
        raise ValueError(
            f"{type(skeleton).__name__} has no one list of layers to tell the last ones by: give `peft_config`."
        )
    first = len(layers) - max(1, int(len(layers) * share))
    modules = [pair for layer in layers[first:] for pair in layer.named_modules()]
    return LoraConfig(
        task_type="SEQ_CLS",
        r=rank,
        lora_alpha=2 * rank,
        target_modules=sorted({name for name, module in modules if isinstance(module, nn.Linear | Conv1D)}),
        layers_to_transform=list(range(first, len(layers))),
    )


def _head_alone() -> Any:
    """An adapter that adapts no module and brings a reward head of its own."""
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    return LoraConfig(task_type="SEQ_CLS", r=1, target_modules=DUMMY_TARGET_MODULES)


class _EnsembleRun:
    """The folder of an ensemble: which run it belongs to, and which members are finished."""

    def __init__(self, folder: Path, args: RewardConfig, identity: dict[str, Any]):
        self.folder, self.args, self.identity = folder, args, identity
        self.members: list[dict[str, Any]] = []
        if (folder / ENSEMBLE).is_file():
            saved = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
            _check_same(folder, saved["identity"], identity)
            self.members = saved["members"]
        elif folder.is_dir() and any(folder.iterdir()):
            raise FileExistsError(
                f"{folder} is not empty and holds no ensemble. Choose another `output_dir`, or empty it."
            )
        self._is_main = args.process_index == 0
        args.distributed_state.wait_for_everyone()  # all have looked before one writes
        self._write()

    def train(
        self,
        number: int,
        title: str,
        model: str,
        data: Dataset,
        peft_config: Any,
        reference: tuple[list[Prompt], list[Completion]],
        options: dict[str, Any],
    ) -> None:
        """Trains a member from its last checkpoint, if there is one, moves it into its folder whole, and records it."""
        args = copy.copy(self.args)
        args.output_dir, args.seed = str(self._checkpoints(number)), self.args.seed + number
        # The trainer seeds before it loads the model: head and adapter start from the member's own seed.
        trainer = RewardTrainer(model, args, train_dataset=data, peft_config=copy.deepcopy(peft_config), **options)
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        if not args.disable_tqdm:
            trainer.add_callback(StageBar(title, ("loss", "accuracy")))
        trainer.train(resume_from_checkpoint=_last_checkpoint(self._checkpoints(number)))
        partial, target = self.folder / f".member_{number}.partial", self.folder / f"member_{number}"
        trainer.save_model(str(partial))
        scorer = RewardModel(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class)
        centre, scale = scale_of(scorer.score(*reference), target.name)
        if self._is_main:
            shutil.rmtree(target, ignore_errors=True)
            os.replace(partial, target)
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.free_memory()
        self.members.append({"folder": target.name, "centre": centre, "scale": scale})
        self._write()
        if self._is_main:
            shutil.rmtree(self._checkpoints(number).parent, ignore_errors=True)

    def _checkpoints(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"member_{number}"

    def _write(self) -> None:
        if not self._is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{ENSEMBLE}.partial"
        partial.write_text(
            json.dumps({"identity": self.identity, "members": self.members}, indent=1), encoding="utf-8"
        )
        os.replace(partial, self.folder / ENSEMBLE)


def _check_data(data: Any, reference_rows: int) -> None:
    if not isinstance(data, Dataset):
        raise TypeError(
            f"`train_dataset` must be a `datasets.Dataset`, got {type(data).__name__}: each member resamples its rows, which a "
            "stream cannot give."
        )
    missing = {"chosen", "rejected"} - set(data.column_names)
    if missing:
        raise ValueError(
            f"The preferences have no column {' and '.join(sorted(missing))}; they have {data.column_names}."
        )
    if reference_rows < 1:
        raise ValueError(f"`reference_rows` must be at least 1, got {reference_rows}.")


def _resample(data: Dataset, seed: int, member: int) -> Dataset:
    return data.select(np.random.default_rng([seed, member]).integers(len(data), size=len(data)))


def _responses(rows: Dataset) -> tuple[list[Prompt], list[Completion]]:
    """Prompts and responses of both sides. Where the prompt is part of the responses, it is empty."""
    responses = [*rows["chosen"], *rows["rejected"]]
    if "prompt" in rows.column_names:
        return [*rows["prompt"], *rows["prompt"]], responses
    return [[] if is_messages(response) else "" for response in responses], responses


def _identity(model: str, data: Dataset, args: RewardConfig, peft_config: Any, bootstrap: bool) -> dict[str, Any]:
    settings = {k: v for k, v in args.to_dict().items() if not k.startswith(_FREE)}
    adapter = None if peft_config is None else peft_config.to_dict()
    digest = hashlib.sha256()
    for row in data:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    rows = f"{len(data)} rows, sha256 {digest.hexdigest()[:16]}"
    identity = {"model": model, "data": rows, "bootstrap": bootstrap, "args": settings, "peft_config": adapter}
    return json.loads(
        json.dumps(identity, default=lambda value: sorted(value) if isinstance(value, set) else str(value))
    )


def _check_same(folder: Path, saved: dict[str, Any], now: dict[str, Any], within: str = "") -> None:
    for name in sorted(saved.keys() | now.keys()):
        before, after = saved.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            _check_same(folder, before, after, f"{within}{name}.")
        elif before != after:
            raise FileExistsError(
                f"{folder} holds another ensemble: there `{within}{name}` is {before!r}, now it is {after!r}. Choose another "
                "`output_dir`, or remove the folder."
            )


def _last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole: Transformers writes the trainer's state last."""
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None
