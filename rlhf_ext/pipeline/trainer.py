"""RLHFTrainer: InstructGPT's stages, from preferences to a measured model, in a folder that a killed run goes on in."""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..data.preferences import StrengthScale, has_messages, prepare_preferences
from ..evaluation.report import Report, write_report
from ..rewards.model import check_reward_folder
from ..types import RewardFunction
from . import stages
from .config import RLHFConfig
from .feedback import Feedback
from .plan import Plan
from .report import make_report
from .stages import Run
from .state import RunRecord, identity_of, processes

if TYPE_CHECKING:
    from ..constitution import Constitution
    from ..labelers import PairwiseLabeler

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class RLHFResult:
    """What a run leaves.

    Args:
        policy_path (`str`):
            Folder of the aligned model, or of its adapter with LoRA; `from_pretrained` of transformers loads either.
        reward_model_path (`str`, *optional*):
            Folder or hub name of the reward model, if there is one.
        report ([`~rlhf_ext.evaluation.report.Report`]):
            Before against after, and the course of the training.
        report_path (`str`):
            The same as a page.
    """

    policy_path: str
    reward_model_path: str | None
    report: Report
    report_path: str


class RLHFTrainer:
    """Preferences in, an aligned and measured model out.

    The stages are InstructGPT's ([2203.02155](https://huggingface.co/papers/2203.02155)): a supervised warm start on
    the chosen answers, a reward model and its validation, PPO against it (or DPO on the pairs), and the comparison of
    the model before and after on held-out prompts. Each leaves its result in `config.output_dir`. A run that was
    killed goes on, when called again in the same way, from the last finished stage or the last checkpoint within it.

    Args:
        model (`str`, `PreTrainedModel` or `PeftModel`, *optional*):
            The language model; `config.model_name` by default. A model in memory is written to
            `output_dir/base_model` first and is itself not changed.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Its tokenizer; loaded from the model's folder or hub name by default.
        config ([`RLHFConfig`]):
            The run.
        reward_funcs (`RewardFunction` or `list[RewardFunction]`, *optional*):
            Rewards for PPO in place of a trained reward model.
        labeler ([`~rlhf_ext.labelers.PairwiseLabeler`], *optional*):
            Labels `unlabelled_dataset` before the reward model is trained, and judges the revisions. Give it a `store`: then a
            run that was killed pays for nothing twice.
        constitution ([`~rlhf_ext.constitution.Constitution`], *optional*):
            The model criticises and revises its own answers by it; revision over first answer joins the preferences.

    Raises:
        ValueError, TypeError, FileNotFoundError, FileExistsError: For what is wrong with settings, data, models or the
            output folder, before any weight is loaded or file written.

    Example:

    ```python
    from rlhf_ext import RLHFConfig, RLHFTrainer

    config = RLHFConfig(model_name="gpt2", algorithm="ppo", reward_model_path="./reward_model")
    trainer = RLHFTrainer(config=config)
    result = trainer.train(preference_dataset=preferences, eval_dataset=heldout, num_epochs=3)
    print(result.report_path)
    ```
    """

    def __init__(
        self,
        model: str | PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        config: RLHFConfig | None = None,
        reward_funcs: RewardFunction | list[RewardFunction] | None = None,
        labeler: PairwiseLabeler | None = None,
        constitution: Constitution | None = None,
    ):
        self.config = config or RLHFConfig()
        self._model: Any = model if model is not None else self.config.model_name
        if self._model is None:
            raise ValueError("No model: pass `model`, or set `model_name` in the config.")
        if not isinstance(self._model, str | torch.nn.Module):
            raise TypeError(
                f"`model` must be a folder, a hub name or a transformers model, got {type(self._model).__name__}."
            )
        if reward_funcs is not None and self.config.algorithm == "dpo":
            raise ValueError(
                "`reward_funcs` are for PPO; DPO learns from the pairs. Set algorithm='ppo', or drop them."
            )
        if reward_funcs is not None and self.config.reward_thresholds is not None:
            raise ValueError("`reward_thresholds` are asked of a reward model; with `reward_funcs` none is validated.")
        self.reward_funcs, self.labeler, self.constitution = reward_funcs, labeler, constitution
        self.tokenizer = tokenizer or self._load_tokenizer()
        if not self.config.reward_is_remote:
            check_reward_folder_or_empty(self.config.reward_path)

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        name = self._model if isinstance(self._model, str) else self._model.config._name_or_path
        if not name:
            raise ValueError("A model in memory that was never saved needs its `tokenizer` as well.")
        if isinstance(self._model, str) and Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise FileNotFoundError(f"{name} holds no model: there is no config.json in it.")
        options = {"trust_remote_code": self.config.trust_remote_code}
        try:
            AutoConfig.from_pretrained(name, **options)
        except OSError as error:
            raise FileNotFoundError(
                f"No model {name!r}: it is no folder with a model in it, and the hub did not give it "
                f"({str(error).splitlines()[0]})"
            ) from error
        return AutoTokenizer.from_pretrained(name, **options)

    def train(
        self,
        preference_dataset: Dataset | Sequence[dict[str, Any]],
        eval_dataset: Dataset | Sequence[dict[str, Any]] | None = None,
        num_epochs: float = 1,
        unlabelled_dataset: Dataset | Sequence[dict[str, Any]] | None = None,
    ) -> RLHFResult:
        """Runs the stages that are not finished yet.

        Args:
            preference_dataset (`datasets.Dataset` or `list[dict]`):
                Rows with `prompt`, `chosen`, `rejected` and, if there is, `preference_strength`.
            eval_dataset (`datasets.Dataset` or `list[dict]`, *optional*):
                Held-out rows of the same kind. Without it, a tenth of the preferences is held out.
            num_epochs (`float`, *optional*, defaults to `1`):
                Passes over the prompts (PPO) or pairs (DPO). Warm start and reward model make one, unless
                `config.sft` or `config.reward` sets `num_train_epochs`.
            unlabelled_dataset (`datasets.Dataset` or `list[dict]`, *optional*):
                Rows with a `prompt` and, if there are, its `responses` (otherwise the model writes two), for the labeler;
                the constitution uses their prompts. Without it, the constitution uses those of the preferences.

        Returns:
            [`RLHFResult`].

        Raises:
            ValueError: If the data is bad, or the reward model fails its validation.
            FileExistsError: If the output folder holds another run.
            FloatingPointError: If a loss becomes NaN.
        """
        if not num_epochs > 0:
            raise ValueError(f"`num_epochs` must be positive, got {num_epochs}.")
        data, heldout = self._check_data(preference_dataset, eval_dataset)
        feedback = Feedback(self.labeler, self.constitution, unlabelled_dataset)
        settings = {**self.config.to_dict(), "num_epochs": num_epochs, **feedback.identity()}
        identity = identity_of(
            settings, self._identity(), {"train": data, "heldout": heldout, "unlabelled": feedback.dataset}
        )
        record = RunRecord(self.config.output_dir, identity, processes().is_main_process)
        processes().wait_for_everyone()  # all have looked at the folder before one writes to it
        record.start()
        run = Run(self.config, record, self._base_on_disk(), self.tokenizer)
        return self._run_stages(run, data, heldout, num_epochs, feedback)

    def _check_data(self, data: Any, heldout: Any) -> tuple[Dataset, Dataset]:
        scale = cast(StrengthScale, self.config.strength_scale)
        data = prepare_preferences(data, scale)
        if heldout is None:
            if len(data) < 10:
                raise ValueError(
                    f"`preference_dataset` has {len(data)} rows, too few to hold some out: give an `eval_dataset`."
                )
            parts = data.train_test_split(test_size=0.1, seed=self.config.seed)
            data, heldout = parts["train"], parts["test"]
            logger.warning(f"No `eval_dataset`: {len(heldout)} of the preferences are held out for the comparison.")
        else:
            heldout = prepare_preferences(heldout, scale, "eval_dataset")
        if has_messages(data) != has_messages(heldout):
            raise ValueError(
                "One of `preference_dataset` and `eval_dataset` has messages, the other text. Use one kind."
            )
        if has_messages(data) and self.tokenizer.chat_template is None:
            raise ValueError(
                "The preferences are messages, but the tokenizer has no chat template. Set `tokenizer.chat_template`, "
                "use an instruction-tuned model, or give the preferences as plain text."
            )
        if self.tokenizer.pad_token is None:
            if self.tokenizer.eos_token is None:
                raise ValueError("The tokenizer has neither a pad nor an EOS token: set `tokenizer.pad_token`.")
            self.tokenizer.pad_token = self.tokenizer.eos_token
        return data, heldout

    def _identity(self) -> str:
        if isinstance(self._model, str):
            return self._model
        digest = hashlib.sha256()
        for name, parameter in self._model.named_parameters():
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return f"in memory, sha256 {digest.hexdigest()[:16]}"

    def _base_on_disk(self) -> str:
        """The model before, as a folder or hub name: what every stage loads, also after a restart."""
        if isinstance(self._model, str):
            return self._model
        folder = Path(self.config.output_dir) / "base_model"
        if processes().is_main_process and not folder.is_dir():
            # A copy: the user's model keeps its adapter.
            model = copy.deepcopy(self._model).merge_and_unload() if is_peft_model(self._model) else self._model
            partial = folder.with_name(".base_model.partial")
            model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            partial.rename(folder)
        processes().wait_for_everyone()
        return str(folder)

    def _run_stages(
        self, run: Run, data: Dataset, heldout: Dataset, num_epochs: float, feedback: Feedback
    ) -> RLHFResult:
        config, rows = self.config, heldout
        if config.eval_prompts is not None and config.eval_prompts < len(heldout):
            rows = heldout.select(range(config.eval_prompts))
        wants_reward = config.reward_model_path is not None or (config.algorithm == "ppo" and not self.reward_funcs)
        plan = Plan(config, wants_reward, feedback.stages)
        run.stage("before", lambda: stages.answer(run, rows, None, plan.title("before")))
        data = feedback.join(run, data, plan)
        start = None
        if config.supervised_warm_start:
            run.stage("sft", lambda: stages.warm_start(run, data, plan.title("sft")))
            start = run.folder / "sft"
        if wants_reward:
            # A model that this run began to train and was killed before it could say so is this run's to finish.
            begun = run.record.checkpoints("reward_model").is_dir() or run.record.finished("reward_model")
            if not config.reward_is_remote and (begun or not _holds_model(config.reward_path)):
                run.stage("reward_model", lambda: stages.train_reward(run, data, start, plan.title("reward_model")))
            validation = run.stage("validation", lambda: stages.validate(run, heldout, plan.title("validation")))
            if config.algorithm == "ppo" and not self.reward_funcs:
                self._gate(validation)
        work: Callable[[], dict[str, Any]]
        if config.algorithm == "ppo":
            work = lambda: stages.align_ppo(  # noqa: E731
                run, data, start, num_epochs, self.reward_funcs, plan.title("policy")
            )
        else:
            work = lambda: stages.align_dpo(run, data, start, num_epochs, plan.title("policy"))  # noqa: E731
        run.stage("policy", work)
        policy = run.folder / "policy"
        after = run.stage("after", lambda: stages.answer(run, rows, policy, plan.title("after")))
        run.stage("divergence", lambda: stages.divergence(run, rows, policy, after["answers"]))
        report = make_report(run, rows, stages.load_reward(run) if wants_reward else None)
        path = write_report(report, run.folder) if processes().is_main_process else run.folder / "report.html"
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        return RLHFResult(str(policy), config.reward_path if wants_reward else None, report, str(path))

    def _gate(self, validation: dict[str, Any]) -> None:
        if validation["refusal"] is None:
            return
        if self.config.skip_reward_validation:
            logger.warning(f"The reward model fails its validation and is used all the same: {validation['refusal']}.")
            return
        raise ValueError(
            f"The reward model {self.config.reward_path} fails its validation: {validation['refusal']}. PPO would climb "
            "its errors. Give it more or clearer preferences, train it longer (`reward={'num_train_epochs': 3}`), or "
            "set `skip_reward_validation=True` to go on regardless."
        )


def check_reward_folder_or_empty(path: str) -> None:
    """Refuses what is in the way of a reward model: a file, or a folder with something else in it."""
    folder = Path(path)
    if folder.is_file():
        raise FileExistsError(f"{path} is a file; `reward_model_path` is a folder or the name of a model on the hub.")
    if folder.is_dir() and any(folder.iterdir()):
        check_reward_folder(folder)


def _holds_model(path: str) -> bool:
    return any((Path(path) / name).is_file() for name in ("config.json", "adapter_config.json"))
