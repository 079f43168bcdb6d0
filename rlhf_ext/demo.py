"""The demo: the main job on a real language model, small enough for two cores and a coffee."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from . import embedded
from .data.preferences import assistant_preferences
from .pipeline import RLHFConfig, RLHFResult, RLHFTrainer

_EVERYWHERE: dict[str, Any] = {"gradient_checkpointing": False, "lr_scheduler_type": "cosine", "warmup_steps": 2}


def demo_config(algorithm: str, output_dir: str, tiny: bool = False, seed: int = 42) -> RLHFConfig:
    """The demo's run: SmolLM2-135M-Instruct with LoRA in bf16, or the tiny model for a smoke run.

    Args:
        algorithm (`str`):
            `"ppo"` or `"dpo"`.
        output_dir (`str`):
            The run's folder.
        tiny (`bool`, *optional*, defaults to `False`):
            Whether to take the tiny model: seconds instead of minutes, and gibberish for answers.
        seed (`int`, *optional*, defaults to `42`):
            Seed.

    Returns:
        [`RLHFConfig`].
    """
    return RLHFConfig(
        algorithm=algorithm,
        output_dir=output_dir,
        # DPO needs no reward model; here it gets one to be measured with.
        reward_model_path=str(Path(output_dir) / "reward_model"),
        batch_size=8,
        ppo_epochs=2,
        seed=seed,
        **(_tiny_settings() if tiny else _smollm2_settings(algorithm)),
    )


def _tiny_settings() -> dict[str, Any]:
    return {
        "model_name": embedded.tiny_model(embedded.cache_dir() / "tiny"),
        "bf16": False,
        "learning_rate": 1e-3,
        "sft": {**_EVERYWHERE, "learning_rate": 1e-3, "max_steps": 10},
        "reward": {**_EVERYWHERE, "learning_rate": 2e-3, "max_steps": 20},
        "ppo": {**_EVERYWHERE, "max_completion_length": 24, "max_steps": 16},
        "dpo": {**_EVERYWHERE, "max_steps": 16},
        "skip_reward_validation": True,  # what it learns is noise: the run is what is shown
    }


def _smollm2_settings(algorithm: str) -> dict[str, Any]:
    small_batches = {**_EVERYWHERE, "per_device_train_batch_size": 4}
    ppo = algorithm == "ppo"
    return {
        "model_name": embedded.smollm2(),
        "bf16": True,
        "use_lora": True,
        "lora": {
            "r": 16,
            "lora_alpha": 32,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            "layers_to_transform": list(range(10, 30)),  # the layers below need no backward pass
        },
        "learning_rate": 6e-4 if ppo else 3e-4,
        "eval_max_new_tokens": 64,
        "checkpoint_steps": 24,
        "sft": {
            **small_batches,
            "learning_rate": 1.5e-3,
            "num_train_epochs": 3,
            "max_steps": 72 if ppo else 80,
        },
        "reward": {**small_batches, "learning_rate": 5e-4, "max_steps": 24},
        "ppo": {
            **_EVERYWHERE,
            "max_completion_length": 64,
            "steps_per_generation": 4,
            "max_steps": 40,
            "temperature": 0.7,  # nearer to the greedy answers that are measured
            "lam": 1.0,  # whether to refuse is decided in the first words, 60 tokens before the reward
            "kl_coef": 0.02,
            "value_learning_rate": 1e-3,
        },
        "dpo": {**small_batches, "beta": 0.1, "max_steps": 20},
    }


def run_demo(
    algorithm: str = "ppo", output_dir: str = "demo_output", tiny: bool = False, seed: int = 42
) -> RLHFResult:
    """Runs the demo; see [`demo_config`] for the arguments."""
    config = demo_config(algorithm, output_dir, tiny, seed)
    return RLHFTrainer(config=config).train(*demo_data(tiny))


def demo_data(tiny: bool = False) -> tuple[Dataset, Dataset]:
    """The project's own preferences: train and held-out.

    The minutes of the demo are for what changes most: all requests that are or sound harmful, and half of the others.
    What is held out is cut likewise; its rows come in random order, from all categories.
    """
    train, heldout = assistant_preferences("train"), assistant_preferences("heldout")
    if tiny:
        return train.select(range(96)), heldout.select(range(48))
    kept = [i for i, c in enumerate(train["category"]) if c in ("harmful", "borderline") or i % 2 == 0]
    return train.select(kept), heldout.select(range(96))
