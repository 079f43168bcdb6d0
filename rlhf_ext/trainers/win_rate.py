"""How often the model in training beats a reference, by a judge, while it trains."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from datasets import Dataset
from transformers import Trainer, TrainerCallback
from transformers.utils import logging

from ..generation import check_sampling
from ..rewards.calling import Signed, checked_probabilities, like_prompt
from ..types import Completion, PairwiseJudge, Prompt, text_of
from .policy_texts import (
    log_beside,
    on_main,
    prompts_of,
    random_state_kept,
    refuse_parted_model,
    run_sampling,
    shared_out,
    writer,
)
from .win_rate_figures import CONTROLLED, WIN_RATE, win_rate_figures

logger = logging.get_logger(__name__)

_STATE = "win_rate.json"


class WinRateCallback(TrainerCallback):
    """Lets a judge compare the answers of the model in training with a reference's, in any of TRL's trainers.

    The reference is the model as it is when the training starts (its answers are written once, and come back with the
    checkpoint when a run is resumed), the base model under an adapter, or given answers. Both write to the same prompts
    with the same settings and seed. The judge's p(the model's answer is better) is averaged; where it abstains, the pair is
    left out and counted; where the two answers are the same, it is a tie and nobody is asked. The state of all random
    generators and the model's modes stay as they were.

    | logged | |
    |---|---|
    | `eval_win_rate` | in [0, 1]; 0.5 is a draw. NaN where the judge abstained from all |
    | `eval_win_rate_low`, `eval_win_rate_high` | ends of its interval, from resampling prompts |
    | `eval_win_rate_abstained` | share of pairs from which the judge abstained |
    | `eval_win_rate_length_controlled`, `..._low`, `..._high` | if asked for: at equal length in characters, see [`~rlhf_ext.stats.length_controlled_win_rate`] |

    They are in `history`, in what `evaluate()` returns (so that `metric_for_best_model="eval_win_rate"` works) and in the
    trainer's `state.log_history`. A callback does not know its trainer: give `trainer` to have them in Weights & Biases and
    other trackers, too. [`~transformers.EarlyStoppingCallback`] must be added after this one. The
    answers of the last comparison, with the judge's probabilities, are in `answers`.

    Earlier TRL had a `WinRateCallback` that logged the same name, for the share of pairs won. Source of the
    comparison: Dubois et al., AlpacaFarm (https://huggingface.co/papers/2305.14387).

    Args:
        judge ([`~rlhf_ext.types.PairwiseJudge`]):
            Compares pairs, not moved by which stands first. On several processes, only the main one asks it.
        prompts (`datasets.Dataset`, `list[str]` or `list[list[dict]]`):
            Held-out prompts, 2 at least; 100 give an interval of about 0.1 to both sides.
        reference (`str` or `list`, *optional*, defaults to `"start"`):
            `"start"`: the model at the start of the training. `"base"`: the model without its adapter. Or one answer a
            prompt, as text or messages.
        trainer (`transformers.Trainer`, *optional*):
            The trainer that the callback is added to, for trackers.
        every (`int`, *optional*):
            Compare every so many optimizer steps, for runs without evaluation; by default at each evaluation.
        length_controlled (`bool`, *optional*, defaults to `False`):
            Whether to log the win rate at equal length as well.
        max_comparisons (`int`, *optional*):
            Pairs that the judge may be given in the whole run (a judge asks both orders: two requests a pair), after a
            resumption less those that the checkpoint knows of. A comparison that does not fit into what is left is not
            begun, nor is any after it: the training goes on, and `evaluate()` has NaN.
        seed (`int`, *optional*, defaults to `0`), batch_size (`int`, *optional*, defaults to `16`):
            Of the texts.
        **sampling:
            How answers are written (`max_new_tokens`, `temperature`, ...); by default as the trainer's configuration says,
            else 256 tokens at temperature 1.

    Raises:
        TypeError: If the judge has no `compare`, or a sampling argument is unknown.
        ValueError: If there are fewer than 2 prompts, not one reference answer for each, `max_comparisons` does not suffice
            for one comparison, or a number is too small. At the start of a training: under FSDP and ZeRO-3, for `"base"`
            without an adapter, or when the checkpoint's comparisons are of other prompts. In a comparison: if the judge
            gives anything but one probability or None a pair.

    Example:

    ```python
    trainer = DPOTrainer(model, args=args, train_dataset=train, eval_dataset=test, processing_class=tokenizer)
    win_rate = WinRateCallback(judge, heldout_prompts, trainer=trainer, length_controlled=True, max_comparisons=2_000)
    trainer.add_callback(win_rate)
    trainer.train()
    print(win_rate.history[-1]["eval_win_rate"])
    ```
    """

    def __init__(
        self,
        judge: PairwiseJudge,
        prompts: Dataset | Sequence[Prompt],
        reference: str | Sequence[Completion] = "start",
        trainer: Trainer | None = None,
        every: int | None = None,
        length_controlled: bool = False,
        max_comparisons: int | None = None,
        seed: int = 0,
        batch_size: int = 16,
        **sampling: Any,
    ):
        if not isinstance(judge, PairwiseJudge):
            raise TypeError(f"`judge` must have `compare(prompts, first, second)`, got {judge!r}.")
        for name, value in (("every", every), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        check_sampling({**sampling, "seed": seed})
        self.judge, self.trainer = judge, trainer
        self.prompts, _ = prompts_of(prompts)
        if len(self.prompts) < 2:
            raise ValueError(f"`prompts` has {len(self.prompts)} rows; at least 2 are needed, and 100 make sense.")
        if max_comparisons is not None and max_comparisons < len(self.prompts):
            raise ValueError(
                f"`max_comparisons` is {max_comparisons}, but one comparison of {len(self.prompts)} prompts may take as many "
                "pairs. Give fewer prompts, or a larger budget."
            )
        self.reference = _checked_reference(reference, self.prompts)
        self.every, self.length_controlled, self.max_comparisons = every, length_controlled, max_comparisons
        self.seed, self.batch_size, self.sampling = seed, batch_size, sampling
        self.history: list[dict[str, float]] = []
        self.answers: list[dict[str, Any]] = []
        self.comparisons = 0
        self._references: list[Completion] | None = None
        self._spent = False
        self._compared_at: int | None = None

    # What the trainer calls.

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        self._references = self._compared_at = None
        if self.trainer is None and args.report_to and state.is_world_process_zero:
            logger.warning(
                f"WinRateCallback was not given `trainer`: {', '.join(args.report_to)} will not show `{WIN_RATE}`, which is "
                "in `history` and the trainer's log alone."
            )
        if state.global_step:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._restore(on_main(args, lambda: self._saved(folder)))
        self._prepare(model, processing_class, args)

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        if self.every and state.global_step % self.every == 0:
            self._compare(args, state, control, model, processing_class)

    def on_evaluate(self, args, state, control, model=None, processing_class=None, metrics=None, **kwargs):
        if self.every is None:
            self._compare(args, state, control, model, processing_class)
        if metrics is not None and self._compared_at == state.global_step:
            metrics.update(self._logs())
        elif metrics is not None and self._spent:
            metrics.update({WIN_RATE: math.nan, **({CONTROLLED: math.nan} if self.length_controlled else {})})

    def on_train_end(self, args, state, control, **kwargs):
        self._compared_at = None  # the best checkpoint may be in the model now, at the same step

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not state.is_world_process_zero or not folder.is_dir():
            return
        seen = {
            "prompts": _digest(self.prompts),
            "references": self._references,
            "history": self.history,
            "comparisons": self.comparisons,
        }
        (folder / _STATE).write_text(json.dumps(seen), encoding="utf-8")

    # One comparison.

    def _compare(self, args: Any, state: Any, control: Any, model: Any, tokenizer: Any) -> None:
        # Once a step: with several evaluation sets, `evaluate` runs once for each.
        if self._spent or self._compared_at == state.global_step:
            return
        self._prepare(model, tokenizer, args)
        answers = self._write(model, tokenizer, args)
        found, self.comparisons, self._spent = on_main(args, lambda: self._judge(answers))
        if self._spent:
            if state.is_world_process_zero:
                logger.warning(
                    f"Step {state.global_step}: {self.comparisons} of {self.max_comparisons} comparisons are used up, and the "
                    "next do not fit. The training goes on without a win rate."
                )
            return
        self.answers = self._table(answers, found)
        figures = win_rate_figures(
            self.prompts, answers, self._references or [], found, self.length_controlled, self.seed
        )
        self.history.append({"step": state.global_step, **figures})
        self._compared_at = state.global_step
        log_beside(self.trainer, self._logs(), state, control)

    def _prepare(self, model: Any, tokenizer: Any, args: Any) -> None:
        """The reference's answers, unless they are there."""
        refuse_parted_model("WinRateCallback", "compare the saved model afterwards")
        if self._references is not None:
            return
        if not isinstance(self.reference, str):
            self._references = self.reference
            return
        if self.reference == "base" and not is_peft_model(model):
            raise ValueError(
                '`reference="base"` is the model without its adapter, and this model has none: use "start".'
            )
        with model.disable_adapter() if self.reference == "base" else nullcontext():
            self._references = self._write(model, tokenizer, args)

    def _write(self, model: Any, tokenizer: Any, args: Any) -> list[Completion]:
        """An answer a prompt; each process writes its share."""
        options = {**run_sampling(args), **self.sampling, "seed": self.seed + args.process_index}

        def write(rows: list[int]) -> list[str]:
            with random_state_kept():
                generator = writer(model, tokenizer, self.batch_size, args)
                return generator.generate([self.prompts[row] for row in rows], **options)

        whole = shared_out(args, len(self.prompts), write)
        return [like_prompt(prompt, text) for prompt, text in zip(self.prompts, whole, strict=True)]

    def _judge(self, answers: list[Completion]) -> tuple[list[float | None], int, bool]:
        """p(the answer is better than the reference's), pairs used so far, and whether the budget ends here."""
        references = self._references or []
        asked = [row for row, answer in enumerate(answers) if text_of(answer) != text_of(references[row])]
        used = self.comparisons + len(asked)
        if self.max_comparisons is not None and used > self.max_comparisons:
            return [], self.comparisons, True
        prompts = [self.prompts[row] for row in asked]
        found: list[float | None] = [0.5] * len(answers)
        who = f"the judge {type(self.judge).__name__}"
        if asked:
            with random_state_kept(), Signed(who, prompts):
                given = self.judge.compare(
                    prompts, [answers[row] for row in asked], [references[row] for row in asked]
                )
            for row, probability in zip(asked, checked_probabilities(who, given, len(asked)), strict=True):
                found[row] = probability
        return found, used, False

    def _table(self, answers: list[Completion], found: list[float | None]) -> list[dict[str, Any]]:
        names = ("prompt", "answer", "reference", "probability")
        rows = zip(self.prompts, answers, self._references or [], found, strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _logs(self) -> dict[str, float]:
        return {name: value for name, value in self.history[-1].items() if name.startswith(WIN_RATE)}

    # Going on from a checkpoint.

    def _saved(self, folder: Path) -> dict[str, Any]:
        path = folder / _STATE
        if not path.is_file():
            logger.warning(
                f"WinRateCallback finds no {_STATE} in {folder}: its history begins here, and so does its budget."
            )
            return {}
        seen = json.loads(path.read_text(encoding="utf-8"))
        if seen["prompts"] != _digest(self.prompts):
            raise ValueError(f"{path} is of other prompts than those of this WinRateCallback: give the same to go on.")
        return seen

    def _restore(self, seen: dict[str, Any]) -> None:
        self.history = seen.get("history", self.history)
        self.comparisons = max(self.comparisons, seen.get("comparisons", 0))
        if isinstance(self.reference, str):
            self._references = seen.get("references")


def _checked_reference(reference: Any, prompts: list[Prompt]) -> str | list[Completion]:
    if isinstance(reference, str):
        if reference not in ("start", "base"):
            raise ValueError(
                f"`reference` must be 'start', 'base' or a list with an answer a prompt, got {reference!r}."
            )
        return reference
    answers = list(reference)
    if len(answers) != len(prompts):
        raise ValueError(f"`reference` has {len(answers)} answers for {len(prompts)} prompts.")
    return [like_prompt(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]


def _digest(prompts: list[Prompt]) -> str:
    return hashlib.sha256(json.dumps(prompts, sort_keys=True).encode()).hexdigest()
