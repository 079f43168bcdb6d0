"""RLHFTrainer: InstructGPT's stages, from preferences to a measured model, in a folder that a killed run goes on in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from ..evaluation.gate import failures
from ..evaluation.report import Report, write_report
from ..types import RewardFunction
from . import measuring, stages
from .cards import write_policy_card, write_reward_card
from .config import RLHFConfig
from .evaluation import Suites
from .feedback import Feedback
from .inputs import (
    base_on_disk,
    check_data,
    check_reward_folder_or_empty,
    holds_model,
    identity_of_model,
    load_tokenizer,
)
from .plan import Plan
from .report import make_report
from .reward_mix import RewardMix, heldout_cases
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
        evaluation_path (`str`, *optional*):
            The page on suites and rewards, if there are any: with answers, and figures by category.
    """

    policy_path: str
    reward_model_path: str | None
    report: Report
    report_path: str
    evaluation_path: str | None = None

    @property
    def failures(self) -> list[str]:
        """A sentence for each of the thresholds in `config.evaluation` that does not hold; empty where all do."""
        return failures(self.report.gate)


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
            Rewards for PPO in place of a trained reward model and of `config.rewards`.
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
        if reward_funcs is not None and self.config.rewards is not None:
            raise ValueError("Both `reward_funcs` and `rewards` in the config say what is rewarded: drop one of them.")
        self.reward_funcs, self.labeler, self.constitution = reward_funcs, labeler, constitution
        self.tokenizer = tokenizer or load_tokenizer(self._model, self.config)
        if not self.config.reward_is_remote:
            check_reward_folder_or_empty(self.config.reward_path)
        recipe = self.config.reward_recipe
        self._mix = None if recipe is None else RewardMix(recipe, self.tokenizer)

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
            ValueError: If the data is bad or lacks what rewards or metrics read, or the reward model fails its validation.
            FileExistsError: If the output folder holds another run.
            FloatingPointError: If a loss becomes NaN.
        """
        if not num_epochs > 0:
            raise ValueError(f"`num_epochs` must be positive, got {num_epochs}.")
        self._check_stages(num_epochs)
        data, heldout = check_data(preference_dataset, eval_dataset, self.config, self.tokenizer)
        feedback = Feedback(self.labeler, self.constitution, unlabelled_dataset)
        settings = {**self.config.to_dict(), "num_epochs": num_epochs, **feedback.identity()}
        datasets = {"train": data, "heldout": heldout, "unlabelled": feedback.dataset}
        identity = identity_of(settings, identity_of_model(self._model), datasets)
        record = RunRecord(self.config.output_dir, identity, processes().is_main_process)
        if self._mix is not None and record.finished("policy") is None:
            self._mix.check(data)
        rows = heldout.select(range(min(self.config.eval_prompts or len(heldout), len(heldout))))
        suites = self._suites(rows)
        processes().wait_for_everyone()  # all have looked at the folder before one writes to it
        record.start()
        base = base_on_disk(self._model, self.tokenizer, self.config.output_dir)
        run = Run(self.config, record, base, self.tokenizer)
        plan = Plan(self.config, self._wants_reward_model, feedback.stages, bool(suites.versions))
        run.stage("before", lambda: stages.answer(run, rows, None, plan.title("before")))
        data = feedback.join(run, data, plan)
        start = self._warm_start(run, data, plan)
        if self._wants_reward_model:
            self._reward_model(run, data, heldout, start, plan)
        self._align(run, data, start, num_epochs, plan)
        return self._compare(run, data, rows, suites, plan)

    def _check_stages(self, num_epochs: float) -> None:
        """Makes each stage's TRL configuration once: what it refuses should show now, and not hours later when its turn comes."""
        stages = ["sft"] if self.config.supervised_warm_start else []
        stages += ["reward"] if self._wants_reward_model else []
        for name in (*stages, self.config.algorithm):
            try:
                self.config.stage(name, num_train_epochs=num_epochs)
            except (ValueError, TypeError) as error:
                raise ValueError(f"`{name}`: {error}") from error

    def _suites(self, rows: Dataset) -> Suites:
        """What the model is put to before and after, made and checked."""
        metrics = [] if self._mix is None else self._mix.metrics(lambda: stages.load_reward(self.config))
        cases = heldout_cases(rows) if metrics or self.config.evaluation else []
        return self.config.evaluation_plan.make(cases, metrics)

    @property
    def _trains_against_reward_model(self) -> bool:
        """Whether PPO's reward is the run's reward model, or has it among its components."""
        if self.config.algorithm != "ppo" or self.reward_funcs:
            return False
        return self._mix is None or self._mix.recipe.reward_model is not None

    @property
    def _wants_reward_model(self) -> bool:
        return self.config.reward_model_path is not None or self._trains_against_reward_model

    def _warm_start(self, run: Run, data: Dataset, plan: Plan) -> Path | None:
        if not self.config.supervised_warm_start:
            return None
        run.stage("sft", lambda: stages.warm_start(run, data, plan.title("sft")))
        return run.folder / "sft"

    def _reward_model(self, run: Run, data: Dataset, heldout: Dataset, start: Path | None, plan: Plan) -> None:
        config = self.config
        # A model that this run began to train and was killed before it could say so is this run's to finish.
        begun = run.record.checkpoints("reward_model").is_dir() or run.record.finished("reward_model")
        if not config.reward_is_remote and (begun or not holds_model(config.reward_path)):
            run.stage("reward_model", lambda: stages.train_reward(run, data, start, plan.title("reward_model")))
        validation = run.stage("validation", lambda: stages.validate(run, heldout, plan.title("validation")))
        if run.record.finished("reward_model") and processes().is_main_process:
            write_reward_card(run, len(data), validation)
        if self._trains_against_reward_model:
            self._gate(validation)

    def _align(self, run: Run, data: Dataset, start: Path | None, num_epochs: float, plan: Plan) -> None:
        def work() -> dict[str, Any]:
            title = plan.title("policy")
            if self.config.algorithm == "dpo":
                return stages.align_dpo(run, data, start, num_epochs, title)
            return stages.align_ppo(run, data, start, num_epochs, self._reward(), title)

        run.stage("policy", work)

    def _reward(self) -> Any:
        """PPO's reward; None for the run's reward model alone."""
        if self._mix is None:
            return self.reward_funcs
        own = stages.load_reward(self.config, progress=False) if self._trains_against_reward_model else None
        return self._mix.mixer(own, processes().device)

    def _compare(self, run: Run, data: Dataset, rows: Dataset, suites: Suites, plan: Plan) -> RLHFResult:
        """The model after beside the one before: answers, suites, report and model card."""
        policy = run.folder / "policy"
        before = run.record.finished("before") or {}
        after = run.stage("after", lambda: stages.answer(run, rows, policy, plan.title("after")))
        run.stage("divergence", lambda: stages.divergence(run, rows, policy, after["answers"]))
        pairs: list[measuring.Pair] = []
        if suites.versions:

            def measure() -> dict[str, Any]:
                plan.title("evaluation")  # announces it: suites have bars of their own
                return measuring.put_to_suites(run, suites, policy, (before["answers"], after["answers"]))

            run.stage("evaluation", measure, suites=suites.versions)
            pairs = measuring.results_of(run)
        alone = self._wants_reward_model and self._mix is None
        report = make_report(run, rows, stages.load_reward(self.config) if alone else None, pairs, suites.gate)
        path, page = run.folder / "report.html", None
        if pairs:
            page = measuring.folder_of(run) / "report.html"
        if processes().is_main_process:
            write_report(report, run.folder)
            write_policy_card(run, len(data), report)
            if pairs:
                measuring.write_evaluation(run, pairs, suites, report.title)
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)
        reward_path = self.config.reward_path if self._wants_reward_model else None
        return RLHFResult(str(policy), reward_path, report, str(path), None if page is None else str(page))

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
