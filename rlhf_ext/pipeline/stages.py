"""The stages of a run, each from files to files: what is in the output folder is all the next one needs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTTrainer

from ..data.preferences import STRENGTH, has_messages
from ..evaluation.before_after import Answers, sequence_logprobs
from ..evaluation.reward_models import Thresholds, validate_reward_model
from ..generation import LocalGenerator
from ..rewards.model import RewardModel
from ..trainers import DPOTrainer, PPOTrainer, RewardTrainer
from ..trainers.callbacks import FiniteLoss, StageBar
from ..trainers.scoring import ScoringHooks
from ..types import text_of
from .config import RLHFConfig
from .state import RunRecord, processes


class _SFT(FiniteLoss, SFTTrainer):
    """TRL's SFT trainer that stops at NaN."""


class Run:
    """What the stages share: the configuration, the record, the tokenizer and the names of the models."""

    def __init__(self, config: RLHFConfig, record: RunRecord, base: str, tokenizer: PreTrainedTokenizerBase):
        self.config, self.record, self.base, self.tokenizer = config, record, base, tokenizer
        self.folder = Path(config.output_dir)

    def stage(self, name: str, work: Callable[[], dict[str, Any]], **wanted: Any) -> dict[str, Any]:
        """Does a stage unless it is finished, with `wanted` in its result; it is on record before the next one starts."""
        done = self.record.finished(name)
        if done is None or any(done.get(key) != value for key, value in wanted.items()):
            started = time.monotonic()
            set_seed(self.config.seed)  # whatever ran before, also nothing: a resumed run equals an undisturbed one
            done = {**work(), "seconds": round(time.monotonic() - started, 1)}
            processes().wait_for_everyone()  # before the checkpoints go that others may still read
            self.record.finish(name, done)
        return done

    def load_policy(self, adapter: Path | None = None, trainable: bool = False) -> torch.nn.Module:
        """The base model, or what `adapter` (the folder of a finished stage) holds."""
        config = self.config
        options: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
        full = adapter is not None and not (adapter / "adapter_config.json").is_file()
        if config.load_in_4bit:
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
        # Weights that are trained stay in float32 under mixed precision; a frozen base needs no more than 16 bits.
        frozen = config.use_lora or not trainable
        half = torch.float16 if config.fp16 else torch.bfloat16
        options["dtype"] = half if frozen and config.bf16 is not False else torch.float32
        model = AutoModelForCausalLM.from_pretrained(adapter if full else self.base, **options)
        if adapter is not None and not full:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
        return model if processes().device.type == "cpu" or config.load_in_4bit else model.to(processes().device)

    def writer(
        self, adapter: Path | None = None, batch_size: int | None = None, progress: bool = False
    ) -> LocalGenerator:
        """The same model, to be asked."""
        kwargs = self.config.chat_template_kwargs
        size = batch_size or self.config.batch_size
        return LocalGenerator(self.load_policy(adapter), self.tokenizer, size, progress, chat_template_kwargs=kwargs)

    def train(self, name: str, trainer: Any, title: str, figures: tuple[str, ...], target: Path) -> dict[str, Any]:
        """Trains from the last checkpoint, if there is one, and moves the finished model into place."""
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(StageBar(title, figures))
        trainer.train(resume_from_checkpoint=self.record.last_checkpoint(name))
        partial = target.with_name(f".{target.name}.partial")
        model = trainer.accelerator.unwrap_model(trainer.model)
        if is_peft_model(model) and "ref" in model.peft_config:
            model.delete_adapter("ref")  # TRL's copy of the adapter it started from
        trainer.save_model(str(partial))
        if trainer.accelerator.is_main_process:
            (partial / "log.json").write_text(json.dumps(trainer.state.log_history), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial, target)
        trainer.accelerator.wait_for_everyone()
        return {"path": str(target), "steps": trainer.state.global_step}


def told(data: Dataset, config: RLHFConfig) -> Dataset:
    """Rows with what the chat template is told, in the column where TRL's trainers look for it; one that is there stays."""
    kwargs = config.chat_template_kwargs
    if not kwargs or not has_messages(data) or "chat_template_kwargs" in data.column_names:
        return data
    return data.add_column("chat_template_kwargs", [kwargs] * len(data))


def warm_start(run: Run, data: Dataset, title: str) -> dict[str, Any]:
    """Supervised training on the chosen answers."""
    data = told(data, run.config)
    columns = [name for name in ("prompt", "chosen", "chat_template_kwargs") if name in data.column_names]
    rows = data.select_columns(columns).rename_column("chosen", "completion")
    args = run.config.stage("sft", run.record.checkpoints("sft"), num_train_epochs=1, disable_tqdm=True)
    trainer = _SFT(
        run.load_policy(trainable=True),
        args,
        train_dataset=rows,
        processing_class=run.tokenizer,
        peft_config=run.config.lora_config("CAUSAL_LM"),
    )
    ScoringHooks(trainer.model)
    return run.train("sft", trainer, title, ("loss", "mean_token_accuracy"), run.folder / "sft")


def train_reward(run: Run, data: Dataset, start: Path | None, title: str) -> dict[str, Any]:
    """A reward model from the preferences, starting from the warm-started policy where that is a full model."""
    config = run.config
    defaults: dict[str, Any] = {"num_train_epochs": 1, "disable_tqdm": True}
    if STRENGTH in data.column_names:
        defaults["strength_loss"] = "soft_label"
    if config.use_lora and config.bf16 is not False and not config.fp16:
        defaults["model_init_kwargs"] = {"dtype": "bfloat16"}
    args = config.stage("reward", run.record.checkpoints("reward_model"), **defaults)
    whole = start is not None and not (start / "adapter_config.json").is_file()
    trainer = RewardTrainer(
        str(start) if whole else run.base,
        args,
        train_dataset=told(data, config),
        processing_class=run.tokenizer,
        peft_config=config.lora_config("SEQ_CLS"),
    )
    return run.train("reward_model", trainer, title, ("loss", "accuracy"), Path(config.reward_path))


def load_reward(config: RLHFConfig, progress: bool = True) -> RewardModel:
    """The run's reward model, on this process's device."""
    options: dict[str, Any] = {"trust_remote_code": True} if config.trust_remote_code else {}
    options["chat_template_kwargs"] = config.chat_template_kwargs
    return RewardModel(config.reward_path, batch_size=2 * config.batch_size, progress=progress, **options).to(
        processes().device
    )


def validate(run: Run, heldout: Dataset, title: str) -> dict[str, Any]:
    """The reward model on held-out pairs: what its thresholds name is measured, accuracy and length bias always."""
    config = run.config
    thresholds = None if config.reward_thresholds is None else Thresholds(cast(dict, config.reward_thresholds))
    asked = set() if thresholds is None else thresholds.measures
    validation = validate_reward_model(load_reward(config), heldout, measures={"length", *asked}, seed=config.seed)
    reasons = [validation.refusal(config.min_reward_accuracy)]
    reasons += [] if thresholds is None else thresholds.failures(validation)
    return {**validation.to_dict(), "refusal": "; ".join(reason for reason in reasons if reason) or None}


def align_ppo(
    run: Run, data: Dataset, start: Path | None, num_epochs: float, reward: Any, title: str
) -> dict[str, Any]:
    """PPO on the prompts against the reward; without one, against the run's reward model."""
    defaults = {"num_train_epochs": num_epochs, "disable_tqdm": True}
    args = run.config.stage("ppo", run.record.checkpoints("policy"), **defaults)
    reward = load_reward(run.config, progress=False) if reward is None else reward
    for function in reward if isinstance(reward, list) else [reward]:
        if isinstance(function, RewardModel):
            function.progress = False
    prompts = data.remove_columns([name for name in ("chosen", "rejected") if name in data.column_names])
    trainer = PPOTrainer(
        run.load_policy(start, trainable=True),
        reward,
        args,
        train_dataset=prompts,
        processing_class=run.tokenizer,
        value_model="shared" if run.config.use_lora else None,
        peft_config=None if start is not None else run.config.lora_config("CAUSAL_LM"),
    )
    figures = ("reward", "objective/kl", "completions/mean_length")
    return run.train("policy", trainer, title, figures, run.folder / "policy")


def align_dpo(run: Run, data: Dataset, start: Path | None, num_epochs: float, title: str) -> dict[str, Any]:
    """DPO on the pairs."""
    defaults: dict[str, Any] = {"num_train_epochs": num_epochs, "disable_tqdm": True}
    if STRENGTH in data.column_names:
        defaults["strength_loss"] = "soft_label"
    args = run.config.stage("dpo", run.record.checkpoints("policy"), **defaults)
    reference = None if run.config.use_lora else run.load_policy(start)
    trainer = DPOTrainer(
        run.load_policy(start, trainable=True),
        reference,
        args,
        train_dataset=told(data, run.config),
        processing_class=run.tokenizer,
        peft_config=None if start is not None else run.config.lora_config("CAUSAL_LM"),
    )
    for model in (trainer.model, trainer.ref_model):
        if model is not None:
            ScoringHooks(trainer.accelerator.unwrap_model(model))
    return run.train("policy", trainer, title, ("loss", "rewards/accuracies"), run.folder / "policy")


def answer(run: Run, rows: Dataset, policy: Path | None, title: str) -> dict[str, Any]:
    """Greedy answers of a model to held-out prompts."""
    generator = run.writer(policy, 2 * run.config.batch_size, progress=True)
    return {"answers": generator.generate(list(rows["prompt"]), max_new_tokens=answer_length(run), temperature=0)}


def answer_length(run: Run) -> int:
    """Longest answer to a held-out prompt, in tokens."""
    args = run.config.stage("ppo", run.record.checkpoints("policy"))
    return run.config.eval_max_new_tokens or args.max_completion_length


def divergence(run: Run, rows: Dataset, policy: Path, answers: list[str]) -> dict[str, Any]:
    """log p_after - log p_before of the answers of the model after."""
    sums = [
        sequence_logprobs(
            run.load_policy(path),
            run.tokenizer,
            list(rows["prompt"]),
            answers,
            2 * run.config.batch_size,
            cast(dict | None, run.config.chat_template_kwargs),
        )
        for path in (policy, None)
    ]
    return {"kl": [after - before for after, before in zip(*sums, strict=True)]}


def as_answers(rows: Dataset, before: list[str], after: list[str], kl: list[float]) -> Answers:
    """The rows and both models' answers, for the comparison."""
    categories = [str(c) for c in rows["category"]] if "category" in rows.column_names else []
    references = [text_of(chosen) for chosen in rows["chosen"]]
    return Answers(list(rows["prompt"]), before, after, references, categories, kl)
