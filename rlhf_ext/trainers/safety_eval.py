"""An evaluation suite on a sample of its cases, while a model trains."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.utils import logging

from ..generation import Answer, Request
from ..stats import clustered_mean, clustered_rate
from .policy_texts import log_beside, on_main, random_state_kept, refuse_parted_model, shared_out, writer

logger = logging.get_logger(__name__)

_PARTS = ("name", "version", "cases", "samples", "sampling", "figures", "measure")


class SafetyEvalCallback(TrainerCallback):
    """Puts an evaluation suite to the model in training at each evaluation, in any of TRL's trainers.

    The same cases are asked each time, with the same seeds, so that the figures of two steps can be compared: some of each
    category, drawn once. Answers that cannot be generated are counted. The state of all random generators and the model's
    modes stay as they were. A sample is a smoke alarm, not a verdict: run `rlhf-ext evaluate` on what is to be shipped.

    | logged | |
    |---|---|
    | `eval_{suite}_{figure}` | its value, such as `eval_safety_harmful_complied`; NaN where it was not measured |
    | `eval_{suite}_{figure}_low`, `..._high` | ends of its 95 % interval |
    | `eval_{suite}_failed` | share of answers that could not be generated |

    They are in `history`, in what `evaluate()` returns (so that `metric_for_best_model` works) and in the trainer's
    `state.log_history`. A callback does not know its trainer: give `trainer` to have them in Weights & Biases and other
    trackers, too. The answers of the last evaluation are in `answers`.

    Args:
        suite ([`~rlhf_ext.evaluation.suite.Suite`]):
            What is asked and measured. On several processes only the main one measures.
        cases (`int` or `None`, *optional*, defaults to `64`):
            How many of its cases are asked; `None` for all.
        trainer ([`~transformers.Trainer`], *optional*):
            The trainer, for its trackers.
        every (`int`, *optional*):
            Steps between evaluations; by default whenever the trainer evaluates.
        max_answers (`int`, *optional*):
            Budget: answers written in the whole training. An evaluation that does not fit is not begun, and none after it.
        seed (`int`, *optional*, defaults to `0`):
            Draws the cases, and seeds the answers.
        batch_size (`int`, *optional*, defaults to `16`):
            Prompts a batch.

    Raises:
        TypeError: If `suite` lacks a part of the protocol.
        ValueError: If a number is too small, or the budget does not suffice for one evaluation. At the start of a training:
            under FSDP and ZeRO-3, or when the checkpoint's evaluations are of another suite, cases or seed.

    Example:

    ```python
    trainer = DPOTrainer(model, args=args, train_dataset=train, eval_dataset=test, processing_class=tokenizer)
    trainer.add_callback(SafetyEvalCallback(safety_suite(), cases=100, trainer=trainer, max_answers=5_000))
    trainer.train()
    ```
    """

    def __init__(
        self,
        suite: Any,
        cases: int | None = 64,
        trainer: Trainer | None = None,
        every: int | None = None,
        max_answers: int | None = None,
        seed: int = 0,
        batch_size: int = 16,
    ):
        if missing := [part for part in _PARTS if not hasattr(suite, part)]:
            raise TypeError(f"`suite` should be an evaluation suite; {type(suite).__name__} has no `{missing[0]}`.")
        for name, value in (("cases", cases), ("every", every), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        self.suite, self.trainer, self.every, self.max_answers = suite, trainer, every, max_answers
        self.seed, self.batch_size = seed, batch_size
        self.cases = _drawn(suite.cases, len(suite.cases) if cases is None else cases, seed)
        self._rows = [(case, sample) for case in self.cases for sample in range(suite.samples)]
        if max_answers is not None and max_answers < len(self._rows):
            raise ValueError(
                f"`max_answers` is {max_answers}, and one evaluation writes {len(self._rows)}: give fewer cases, or a larger budget."
            )
        self.history: list[dict[str, float]] = []
        self.answers: list[dict[str, Any]] = []
        self.written = 0
        self._spent = False
        self._evaluated_at: int | None = None

    # What the trainer calls.

    def on_train_begin(self, args, state, control, **kwargs):
        refuse_parted_model("SafetyEvalCallback", "evaluate the saved model afterwards")
        self._evaluated_at = None
        if self.trainer is None and args.report_to and state.is_world_process_zero:
            logger.warning(
                f"SafetyEvalCallback was not given `trainer`: {', '.join(args.report_to)} will not show its figures, which are "
                "in `history` and the trainer's log alone."
            )
        if state.global_step:
            self._restore(
                on_main(args, lambda: self._saved(Path(args.output_dir) / f"checkpoint-{state.global_step}"))
            )

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        if self.every and state.global_step % self.every == 0:
            self._evaluate(args, state, control, model, processing_class)

    def on_evaluate(self, args, state, control, model=None, processing_class=None, metrics=None, **kwargs):
        if self.every is None:
            self._evaluate(args, state, control, model, processing_class)
        if metrics is not None and self._evaluated_at == state.global_step:
            metrics.update(self._logs())
        elif metrics is not None and self._spent and self.history:
            metrics.update(dict.fromkeys(self._logs(), math.nan))

    def on_train_end(self, args, state, control, **kwargs):
        self._evaluated_at = None  # the best checkpoint may be in the model now, at the same step

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():
            seen = {"identity": self._identity(), "history": self.history, "written": self.written}
            (folder / self._file).write_text(json.dumps(seen), encoding="utf-8")

    # One evaluation.

    def _evaluate(self, args: Any, state: Any, control: Any, model: Any, tokenizer: Any) -> None:
        # Once a step: with several evaluation sets, `evaluate` runs once for each.
        if self._spent or self._evaluated_at == state.global_step:
            return
        refuse_parted_model("SafetyEvalCallback", "evaluate the saved model afterwards")
        if self.max_answers is not None and self.written + len(self._rows) > self.max_answers:
            self._spent = True
            if state.is_world_process_zero:
                logger.warning(
                    f"Step {state.global_step}: {self.written} of {self.max_answers} answers are used up, and the next do not "
                    f"fit. The training goes on without the suite {self.suite.name!r}."
                )
            return
        answers = shared_out(args, len(self._rows), lambda rows: self._write(model, tokenizer, rows, args))
        self.written += len(answers)
        figures = on_main(args, lambda: self._measure(answers))
        self.answers = [
            {"case": case.id, "prompt": case.prompt, "answer": answer}
            for (case, _), answer in zip(self._rows, answers, strict=True)
        ]
        self.history.append({"step": state.global_step, **figures})
        self._evaluated_at = state.global_step
        log_beside(self.trainer, self._logs(), state, control)

    def _write(self, model: Any, tokenizer: Any, rows: list[int], args: Any) -> list[str | None]:
        """The answers of some rows; None where there is none."""
        requests = [Request(self._rows[row][0].prompt, self.seed + 1000 * row) for row in rows]
        found: list[str | None] = [None] * len(rows)
        with random_state_kept():
            generator = writer(model, tokenizer, self.batch_size, args)
            for index, answer in generator.each(requests, **self.suite.sampling):
                found[index] = answer.text if isinstance(answer, Answer) else None
        return found

    def _measure(self, answers: list[str | None]) -> dict[str, float]:
        there = [(case, answer) for (case, _), answer in zip(self._rows, answers, strict=True) if answer is not None]
        with random_state_kept():
            columns = self.suite.measure([case for case, _ in there], [answer for _, answer in there]) if there else []
        ids = [case.id for case, _ in there]
        prefix = f"eval_{self.suite.name}_"
        figures = {name: math.nan for figure in self.suite.figures for name in _names(prefix + figure)}
        for column in columns:
            labels = ids if column.per == "answer" else list(dict.fromkeys(ids))
            if all(value is None for value in column.values):
                continue
            if column.kind == "rate":
                estimate = clustered_rate(column.values, labels, contributed=column.corpus)
            else:
                estimate = clustered_mean(column.values, labels)
            ends = (estimate.value, estimate.low, estimate.high)
            figures |= dict(zip(_names(prefix + column.name), ends, strict=True))
        return {**figures, f"{prefix}failed": answers.count(None) / len(answers)}

    def _logs(self) -> dict[str, float]:
        return {name: value for name, value in self.history[-1].items() if name != "step"}

    # Going on from a checkpoint.

    @property
    def _file(self) -> str:
        return f"evaluation_{self.suite.name}.json"

    def _identity(self) -> str:
        asked = [self.suite.name, self.suite.version, self.seed, [case.id for case in self.cases]]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _saved(self, folder: Path) -> dict[str, Any]:
        path = folder / self._file
        if not path.is_file():
            logger.warning(
                f"SafetyEvalCallback finds no {self._file} in {folder}: its history and its budget begin here."
            )
            return {}
        seen = json.loads(path.read_text(encoding="utf-8"))
        if seen["identity"] != self._identity():
            raise ValueError(f"{path} is of another suite, other cases or another seed: give the same to go on.")
        return seen

    def _restore(self, seen: dict[str, Any]) -> None:
        self.history = seen.get("history", self.history)
        self.written = max(self.written, seen.get("written", 0))


def _names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _drawn(cases: list[Any], count: int, seed: int) -> list[Any]:
    """Some of each category in turn, drawn at random, in the suite's order."""
    queues: dict[str, list[int]] = {}
    for index in random.Random(seed).sample(range(len(cases)), len(cases)):
        queues.setdefault(cases[index].category, []).append(index)
    turns = [(rank, index) for queue in queues.values() for rank, index in enumerate(queue)]
    picked = sorted(turns, key=lambda turn: turn[0])[:count]
    return [cases[index] for index in sorted(index for _, index in picked)]
