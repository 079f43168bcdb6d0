"""rlhf_ext: what RLHF needs and TRL does not have.

TRL trains; rlhf_ext closes the loop around it. Public names are imported when first used, so that `import rlhf_ext`
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Annotators": "data.store",
    "BatchRule": "active",
    "Budget": "labelers",
    "BudgetUsedUp": "labelers",
    "Canary": "deployment.experiments",
    "Constitution": "constitution",
    "ConstitutionalLabeler": "constitution",
    "ConstitutionalReward": "constitution",
    "Constraint": "rewards.constraints",
    "DPOConfig": "trainers",
    "DPOTrainer": "trainers",
    "EndpointGenerator": "generation",
    "Experiment": "deployment.experiments",
    "FeedbackItem": "data.store",
    "FeedbackRecord": "data.store",
    "FeedbackSettings": "deployment.feedback_ui",
    "FeedbackStore": "data.store",
    "Filter": "deployment.filters",
    "FilterSet": "deployment.filters",
    "JudgementStore": "data.store",
    "LabelResult": "labelers",
    "LocalGenerator": "generation",
    "PPOConfig": "trainers",
    "PPOTrainer": "trainers",
    "PairRubric": "labelers",
    "PairwiseLabeler": "labelers",
    "RLHFConfig": "pipeline",
    "RLHFResult": "pipeline",
    "RLHFTrainer": "pipeline",
    "ReleaseGate": "evaluation.gate",
    "RewardConfig": "trainers",
    "RewardEnsemble": "rewards",
    "RewardFeatures": "active",
    "RewardHackingCallback": "trainers.hacking",
    "RewardMixer": "rewards.mixing",
    "RewardModel": "rewards",
    "RewardRecipe": "rewards.recipe",
    "RewardStateCallback": "trainers.reward_state",
    "RewardTrainer": "trainers",
    "RewardValidation": "evaluation.reward_models",
    "SafetyEvalCallback": "trainers.safety_eval",
    "ScoreLabeler": "labelers",
    "ScriptedGenerator": "generation",
    "SpanFilter": "deployment.filters",
    "StreamFilter": "deployment.filters",
    "TextEmbeddings": "active",
    "Thresholds": "evaluation.reward_models",
    "WinRateCallback": "trainers.win_rate",
    "WorkQueue": "data.store",
    "ab_report": "deployment.experiments",
    "answers_from_store": "evaluation.human",
    "assistant_preferences": "data.preferences",
    "automatic_suite": "evaluation.automatic",
    "best_graded": "labelers",
    "best_of_n": "labelers",
    "best_of_n_dataset": "labelers",
    "code_suite": "evaluation.coding",
    "create_feedback_app": "deployment.feedback_ui",
    "create_gateway": "deployment.gateway",
    "critique_and_revise": "constitution",
    "from_rewards": "labelers",
    "instructions_suite": "evaluation.instructions",
    "load_preferences": "data.preferences",
    "personal_data": "deployment.filters",
    "prepare_preferences": "data.preferences",
    "rank_models": "evaluation.human",
    "run_suite": "evaluation.running",
    "safety_suite": "evaluation.safety",
    "sample_candidates": "labelers",
    "select_for_feedback": "active",
    "train_reward_ensemble": "trainers.reward_ensemble",
    "validate_reward_model": "evaluation.reward_models",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from .active import BatchRule, RewardFeatures, TextEmbeddings, select_for_feedback
    from .constitution import Constitution, ConstitutionalLabeler, ConstitutionalReward, critique_and_revise
    from .data.preferences import assistant_preferences, load_preferences, prepare_preferences
    from .data.store import Annotators, FeedbackItem, FeedbackRecord, FeedbackStore, JudgementStore, WorkQueue
    from .deployment.experiments import Canary, Experiment, ab_report
    from .deployment.feedback_ui import FeedbackSettings, create_feedback_app
    from .deployment.filters import Filter, FilterSet, SpanFilter, StreamFilter, personal_data
    from .deployment.gateway import create_gateway
    from .evaluation.automatic import automatic_suite
    from .evaluation.coding import code_suite
    from .evaluation.gate import ReleaseGate
    from .evaluation.human import answers_from_store, rank_models
    from .evaluation.instructions import instructions_suite
    from .evaluation.reward_models import RewardValidation, Thresholds, validate_reward_model
    from .evaluation.running import run_suite
    from .evaluation.safety import safety_suite
    from .generation import EndpointGenerator, LocalGenerator, ScriptedGenerator
    from .labelers import (
        Budget,
        BudgetUsedUp,
        LabelResult,
        PairRubric,
        PairwiseLabeler,
        ScoreLabeler,
        best_graded,
        best_of_n,
        best_of_n_dataset,
        from_rewards,
        sample_candidates,
    )
    from .pipeline import RLHFConfig, RLHFResult, RLHFTrainer
    from .rewards import RewardEnsemble, RewardModel
    from .rewards.constraints import Constraint
    from .rewards.mixing import RewardMixer
    from .rewards.recipe import RewardRecipe
    from .trainers import DPOConfig, DPOTrainer, PPOConfig, PPOTrainer, RewardConfig, RewardTrainer
    from .trainers.hacking import RewardHackingCallback
    from .trainers.reward_ensemble import train_reward_ensemble
    from .trainers.reward_state import RewardStateCallback
    from .trainers.safety_eval import SafetyEvalCallback
    from .trainers.win_rate import WinRateCallback


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
