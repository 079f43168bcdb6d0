"""Every private seam of TRL that rlhf_ext leans on, and the check that it still holds.

TRL's public surface is small; what we add to its trainers hangs on a few methods whose names start with an underscore.
They are named here once, with what we expect of them. [`check_seams`] is called when one of our trainers is imported:
on a TRL whose seam has moved, the import fails with the seam's name instead of training something else.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

TESTED_TRL = ("1.15", "1.16")
"""TRL releases that the tests run against. 1.15 trains through Triton kernels only, which CPU builds of torch lack."""

# (trainer, method) -> names of parameters we pass or read, in order. An empty tuple: only its existence matters,
# because we hand its arguments on untouched.
_SEAMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("RewardTrainer", "compute_loss"): ("self", "model", "inputs", "return_outputs"),
    ("RewardTrainer", "_set_signature_columns_if_needed"): ("self",),
    ("DPOTrainer", "_compute_loss"): ("self", "model", "inputs", "return_outputs"),
    ("DPOTrainer", "compute_ref_log_probs"): ("self", "model", "inputs"),
    ("DPOTrainer", "_set_signature_columns_if_needed"): ("self",),
    ("GRPOTrainer", "_get_train_sampler"): ("self", "dataset"),
    ("GRPOTrainer", "_prepare_inputs"): ("self", "generation_batch"),
    ("GRPOTrainer", "_calculate_rewards"): ("self", "inputs", "prompts", "completions", "completion_ids_list"),
    ("GRPOTrainer", "_generate_and_score_completions"): ("self", "inputs"),
    ("GRPOTrainer", "_get_per_token_logps_and_entropies"): (
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
    ),
    ("GRPOTrainer", "_compute_loss"): ("self", "model", "inputs"),
    ("GRPOTrainer", "_tokenize_prompts"): ("self", "prompts"),
    ("GRPOTrainer", "_generate_single_turn"): ("self", "prompt_ids"),
    ("GRPOTrainer", "_save"): (),
    ("GRPOTrainer", "_load_from_checkpoint"): (),
    ("GRPOTrainer", "_load_best_model"): ("self",),
    ("GRPOTrainer", "_clip_grad_norm"): ("self", "model"),
    ("GRPOTrainer", "_save_rng_state"): ("self", "output_dir"),
    ("GRPOTrainer", "_load_rng_state"): ("self", "checkpoint"),
}


_FUNCTIONS = {
    "trl.models.utils": ("prepare_deepspeed", "prepare_fsdp"),
    "trl.trainer.callbacks": ("SyncRefModelCallback",),
    "trl.trainer.utils": (
        "add_fused_lm_head",
        "create_model_from_path",
        "disable_dropout_in_model",
        "shuffle_sequence_dict",
        "split_tensor_dict",
    ),
}
"""What our trainers import from modules of TRL that are not its public ones."""


def check_functions() -> None:
    """Checks that TRL still has, where it had them, the functions and classes that our trainers import.

    Raises:
        ImportError: If one is gone, naming it and the TRL releases that work.
    """
    import trl

    for module, names in _FUNCTIONS.items():
        for name in names:
            if not hasattr(importlib.import_module(module), name):
                raise ImportError(_other_trl(f"{module}.{name}", trl.__version__, "is gone"))


def _other_trl(seam: str, version: str, what: str) -> str:
    return (
        f"rlhf_ext leans on {seam}, which in TRL {version} {what}. Install a TRL that works with this version of rlhf_ext "
        f"(tested: {', '.join(TESTED_TRL)}), or a newer rlhf_ext."
    )


def check_seams(trainer: type) -> None:
    """Checks that `trainer` (a TRL trainer class) still has the methods that our subclass of it leans on.

    Args:
        trainer (`type`):
            `trl.RewardTrainer`, `trl.DPOTrainer` or `trl.GRPOTrainer`.

    Raises:
        ImportError: If a method is gone or its parameters have changed, naming it and the TRL releases that work.

    Example:

    ```python
    >>> from trl import GRPOTrainer
    >>> from rlhf_ext._compat import check_seams
    >>> check_seams(GRPOTrainer)

    ```
    """
    import trl

    for (class_name, method), expected in _SEAMS.items():
        if class_name != trainer.__name__:
            continue
        function = inspect.unwrap(getattr(trainer, method, None) or _missing)
        found = tuple(inspect.signature(function).parameters)
        if function is _missing or found[: len(expected)] != expected:
            what = "is gone" if function is _missing else f"now takes {found}, expected to begin with {expected}"
            raise ImportError(_other_trl(f"trl.{class_name}.{method}", trl.__version__, what))


def _missing() -> None:
    """Stands for a method that TRL no longer has."""


class SingleGeneration(int):
    """The number 1, for `GRPOConfig.__post_init__`, which refuses `num_generations < 2` (PPO needs no group).

    GRPOTrainer's own arithmetic handles one generation a prompt; only the check in its config does not.
    """

    def __lt__(self, other: object) -> bool:
        return False

    def __new__(cls) -> SingleGeneration:
        return super().__new__(cls, 1)


def by_name(names: Sequence[str], positional: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, those that came by position with them; more of them, or one twice, is an error as in Python.

    Example:

    ```python
    >>> by_name(("a", "b", "c"), (1, 2), {"c": 3})
    {'a': 1, 'b': 2, 'c': 3}

    ```
    """
    if len(positional) > len(names):
        raise TypeError(f"{len(positional)} arguments by position, where there are {len(names)}: {', '.join(names)}.")
    found = dict(zip(names, positional, strict=False))
    twice = sorted(found.keys() & keywords.keys())
    if twice:
        raise TypeError(f"`{twice[0]}` came twice, by position and by name.")
    return {**found, **keywords}


@contextmanager
def attributes_set(target: Any, **values: Any) -> Iterator[None]:
    """Sets attributes of `target` for the time of a `with` block: for TRL code that reads them from `self` or `args`."""
    before = {name: getattr(target, name) for name in values}
    for name, value in values.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
