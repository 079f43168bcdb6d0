"""Watching a run for reward hacking: is the proxy still worth climbing?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from numpy.typing import NDArray
from transformers import TrainerCallback
from transformers.utils import logging

from ..generation import check_sampling
from ..rewards.calling import like_prompt, score_rows
from ..rewards.functions.text import repeated_ngrams
from ..rewards.learning import standing_still
from ..rewards.mixing import RewardMixer
from ..stats import Estimate
from ..types import Prompt, RewardFunction
from .hacking_signals import HackingWarning, checked_limits, disagreements, gap, rise
from .policy_texts import prompts_of, random_state_kept, refuse_parted_model, run_sampling, writer

logger = logging.get_logger(__name__)

_BASELINE_LOGS = 5
_BASELINE_SAMPLES = 4
_STATE = "reward_hacking.json"

Columns = dict[str, NDArray[np.float64]]
"""Measured of each text, by name."""


class RewardHackingCallback(TrainerCallback):
    """Watches a PPO, GRPO or RLOO run for signs that the policy climbs an error of its reward; warns, or stops it.

    | signal | from | value | limit |
    |---|---|---|---|
    | `length` | logs | mean length over that of the first 5 logged rollouts, or its inverse if shorter | None |
    | `kl` | logs | KL from the reference in nats a completion | 20 |
    | `repetition` | texts | rise in the share of word triples that a text says again | 0.1 |
    | `disagreement` | texts | deviation of the proxy's members, over that at the start | 1.5 |
    | `gap` | texts | gain that the held-back scorer ought to see and does not, in its deviations | 0.5 |

    Texts are written by the policy for held-out `prompts` at the start of the run, and every `every` steps with the same
    seed; the state of all random generators and the model's modes stay as they were. Without prompts, only the logs are
    watched. The `gap` takes the relation of the two scorers as it was at the start: where they correlated with r, a proxy
    that gained g of its deviations should have brought the held-back scorer r g of its own.

    A signal counts as beyond its limit when its value is, and when the change of the texts since the start is beyond noise
    (99 % interval over prompts); a warning is given when it is so `patience` times in a row.

    How often it is right is measured by `benchmarks/hacking_detector.py --seeds 8` on tiny models with a poor held-back
    scorer, 32 runs with a planted hack and 24 healthy ones: the `gap` alone found 88 % [72, 95] with 12 % [4, 31] false
    alarms, all defaults together 94 % [80, 98] with 17 % [7, 36], and most warnings came after the true reward had peaked.
    Without a held-back scorer they found 62 % [45, 77] with 4 % [1, 20]. Length at a limit of 2 found 66 % with 75 % false
    alarms, which is why it is recorded and not warned of: answers change their length for good reasons, too. Such detectors
    are good audits and weak early warnings.

    What was seen is in `history`, in the trainer's `state.log_history` (`hacking/...`), and the warnings in `warnings`. A
    run that resumes from a checkpoint goes on with the baselines of its start.

    Args:
        prompts (`datasets.Dataset`, `list[str]` or `list[list[dict]]`, *optional*):
            Held-out prompts, 32 or more; a data set's other columns are given to the scorers.
        proxy (`RewardFunction`, *optional*):
            The reward that is trained against. With `score_members(prompts, responses)` of shape `(K, n)`, its members'
            disagreement is watched. Of a mixer whose scale moves with the run give one with fixed settings: see
            [`~rlhf_ext.rewards.mixing.RewardMixer.has_fixed_scale`].
        held_back (`RewardFunction`, *optional*):
            A scorer that is not trained against: another reward model, a judge. With `proxy`, the `gap` is watched.
        every (`int`, *optional*, defaults to `10`):
            Optimizer steps between two looks at texts.
        limits (`dict[str, float | None]`, *optional*):
            Limits other than the defaults; None for a signal that is recorded and not warned of.
        patience (`int`, *optional*, defaults to `2`):
            Times in a row that a signal must be beyond its limit.
        stop (`bool`, *optional*, defaults to `False`):
            Whether a warning ends the training.
        seed (`int`, *optional*, defaults to `0`), batch_size (`int`, *optional*, defaults to `16`):
            Of the texts.
        **sampling:
            How texts are written (`max_new_tokens`, `temperature`, ...); by default as the run's completions are.

    Raises:
        ValueError: If a limit is unknown or not positive, a scorer is given without prompts, or a number is too small.

    Example:

    ```python
    watch = RewardHackingCallback(prompts=heldout, proxy=reward_model, held_back=judge, stop=True)
    trainer = PPOTrainer(model, reward_model, args, train_dataset=prompts, callbacks=[watch])
    trainer.train()
    for warning in watch.warnings:
        print(warning)
    ```
    """

    def __init__(
        self,
        prompts: Dataset | Sequence[Prompt] | None = None,
        proxy: RewardFunction | None = None,
        held_back: RewardFunction | None = None,
        every: int = 10,
        limits: Mapping[str, float | None] | None = None,
        patience: int = 2,
        stop: bool = False,
        seed: int = 0,
        batch_size: int = 16,
        **sampling: Any,
    ):
        self.limits = checked_limits(limits)
        if prompts is None and (proxy is not None or held_back is not None):
            raise ValueError("`proxy` and `held_back` score texts, which need held-out `prompts`.")
        if held_back is not None and proxy is None:
            raise ValueError("`held_back` is compared with the `proxy`: give both.")
        for name, value in (("every", every), ("patience", patience), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        self.prompts, self.columns = prompts_of(prompts)
        if prompts is not None and len(self.prompts) < 2:
            raise ValueError(f"`prompts` has {len(self.prompts)} rows; at least 2 are needed, and 32 make sense.")
        check_sampling(sampling)
        if held_back is not None and isinstance(proxy, RewardMixer) and not proxy.has_fixed_scale:
            logger.warning(
                "RewardHackingCallback: the scale of the proxy, a RewardMixer, moves with the run (what it normalises by, "
                "multipliers, schedules), so that its gain and the `gap` look smaller than they are. Give as `proxy` a mixer of the same "
                "components with fixed weights, `normalize=reference_scores(...)` and no constraints."
            )
        self.proxy, self.held_back = proxy, held_back
        self.every, self.patience, self.stop = every, patience, stop
        self.seed, self.batch_size, self.sampling = seed, batch_size, sampling
        self.history: list[dict[str, Any]] = []
        self.warnings: list[HackingWarning] = []
        self._start: Columns = {}
        self._first_lengths: list[float] = []
        self._streaks: Counter[str] = Counter()

    # What the trainer calls.

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        if self.prompts:
            refuse_parted_model("RewardHackingCallback", "leave `prompts` out to watch the logs alone")
        if state.global_step and self._load(Path(args.output_dir) / f"checkpoint-{state.global_step}"):
            return
        if state.global_step:
            logger.warning("RewardHackingCallback finds no baselines in the checkpoint: it takes the present ones.")
        if self.prompts:
            self._start = self._measure(model, processing_class, args, _BASELINE_SAMPLES)
            if "held_back" in self._start and self._gap(self._start) is None:
                logger.warning(
                    "RewardHackingCallback: the proxy or the held-back scorer scores all texts of the start alike, so there is "
                    "no `gap` to watch."
                )

    def on_log(self, args, state, control, logs=None, **kwargs):
        logs = logs or {}
        length = logs.get("completions/mean_length")
        if length is None:  # no rollout in these steps
            return
        found = {}
        if len(self._first_lengths) < _BASELINE_LOGS:
            self._first_lengths.append(length)
        else:
            ratio = length / max(np.mean(self._first_lengths), 1e-9)
            found["length"] = (max(ratio, 1 / max(ratio, 1e-9)), True)
        if logs.get("objective/kl") is not None:
            found["kl"] = (logs["objective/kl"], True)
        elif logs.get("kl") is not None:  # GRPO's and RLOO's is a token's
            found["kl"] = (logs["kl"] * length, True)
        self._judge(found, args, state, control)

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        if not self.prompts or state.global_step % self.every:
            return
        found = self._changes(self._measure(model, processing_class, args))
        seen = {f"hacking/{name}": float(value) for name, (value, _) in found.items()}
        state.log_history.append({**seen, "step": state.global_step})
        self._judge(found, args, state, control)

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if not state.is_world_process_zero or not folder.is_dir():
            return
        seen = {
            "start": {name: values.tolist() for name, values in self._start.items()},
            "first_lengths": self._first_lengths,
            "streaks": dict(self._streaks),
            "history": self.history,
            "warnings": [asdict(warning) for warning in self.warnings],
        }
        (folder / _STATE).write_text(json.dumps(seen), encoding="utf-8")

    # What is measured.

    def _measure(self, model: Any, tokenizer: Any, args: Any, samples: int = 1) -> Columns:
        """Of the texts of each prompt, columns of shape `(P, samples)`."""
        prompts = [prompt for prompt in self.prompts for _ in range(samples)]
        columns = {name: [v for v in values for _ in range(samples)] for name, values in self.columns.items()}
        with random_state_kept():
            generator = writer(model, tokenizer, self.batch_size, args)
            texts = generator.generate(prompts, **{**run_sampling(args), "seed": self.seed, **self.sampling})
            with standing_still(self.proxy, self.held_back):  # whichever callback comes first
                box = [self._score(prompts, texts, columns)]
        if args.world_size > 1:  # all go by the main process's, lest one stops and the others wait for it
            broadcast_object_list(box)
        return {name: values.reshape(-1, samples, *values.shape[1:]) for name, values in box[0].items()}

    def _score(self, prompts: list[Prompt], texts: list[str], columns: Mapping[str, Sequence[Any]]) -> Columns:
        found = {"repetition": np.array([repeated_ngrams(text, n=3) for text in texts])}
        completions = [like_prompt(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
        if self.held_back is not None:
            found["proxy"] = score_rows(self.proxy, prompts, completions, columns)
            found["held_back"] = score_rows(self.held_back, prompts, completions, columns)
        members = getattr(self.proxy, "score_members", None)
        if members is not None:
            scores = np.asarray(members(prompts, completions), dtype=float)
            if scores.ndim != 2 or scores.shape[1] != len(texts) or not np.isfinite(scores).all():
                raise ValueError(
                    f"`score_members` must give finite scores of shape (K, {len(texts)}), got shape {scores.shape}."
                )
            found["members"] = scores.T
        return found

    def _changes(self, now: Columns) -> dict[str, tuple[float, bool]]:
        """Each signal's value, and whether its change is beyond noise."""
        found: dict[str, tuple[float, bool]] = {}
        change = rise(self._start["repetition"], now["repetition"])
        found["repetition"] = (change.value, change.low > 0)
        missed = self._gap(now) if "held_back" in now else None
        if missed is not None:
            found["gap"] = (missed.value, missed.low > 0)
        if "members" in now:
            before, after = disagreements(self._start["members"], now["members"])
            if before.mean() > 0:
                found["disagreement"] = (float(after.mean() / before.mean()), rise(before, after).low > 0)
        return found

    def _gap(self, now: Columns) -> Estimate | None:
        start, end = ((columns["proxy"], columns["held_back"]) for columns in (self._start, now))
        return gap(start, end)

    def _judge(self, found: Mapping[str, tuple[float, bool]], args: Any, state: Any, control: Any) -> None:
        for name, (value, beyond_noise) in found.items():
            limit = self.limits[name]
            self.history.append({"step": state.global_step, "signal": name, "value": float(value)})
            beyond = limit is not None and value > limit and beyond_noise
            self._streaks[name] = self._streaks[name] + 1 if beyond else 0
            if limit is None or self._streaks[name] != self.patience:  # once for each time that it goes beyond
                continue
            warning = HackingWarning(name, float(value), limit, state.global_step)
            self.warnings.append(warning)
            if state.is_world_process_zero:
                logger.warning(f"{warning}{' The run is stopped.' if self.stop else ''}")
            if self.stop:
                control.should_training_stop = True

    def _load(self, checkpoint: Path) -> bool:
        path = checkpoint / _STATE
        if not path.is_file():
            return False
        seen = json.loads(path.read_text(encoding="utf-8"))
        self._start = {name: np.array(values) for name, values in seen["start"].items()}
        self._first_lengths, self._streaks = seen["first_lengths"], Counter(seen["streaks"])
        self.history = seen["history"]
        self.warnings = [HackingWarning(**fields) for fields in seen["warnings"]]
        return True
