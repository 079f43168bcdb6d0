"""Summaries by two roads at the same price: PPO and DPO on one mixed reward, compared by ROUGE.

    python examples/summarization_rlhf.py --tiny    # under a minute on one core, no hub: the project's own texts, gibberish
    python examples/summarization_rlhf.py           # Qwen3-0.6B with LoRA on TL;DR, one GPU; --nli for a judge of faithfulness

The reward is faithful (what the summary says is in the text), covers what the reference says, and is short. PPO gets `--budget`
completions to learn from as it writes them. DPO gets as many, written by the model before: four a text, scored by the same reward,
best against worst. Neither may generate or have scored more; what they spend in optimizer steps is in the output.

Look at the paired comparison of the two, `PPO against DPO`, whose interval says whether one is better at all, and at the words beside
ROUGE, which grows with them. The reward is what both were trained on: that it rises is no news, that ROUGE does not may be.
Everything is in `--output`; the same command goes on there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from peft import AutoPeftModelForCausalLM, LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint
from trl import ModelConfig, TrlParser, get_peft_config

from rlhf_ext import DPOConfig, DPOTrainer, LocalGenerator, PPOConfig, PPOTrainer, RewardMixer, assistant_preferences
from rlhf_ext import from_rewards, run_suite, sample_candidates
from rlhf_ext.embedded import cache_dir, tiny_model
from rlhf_ext.evaluation.automatic import AnswerMetric, automatic_suite
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import render_table, write_report
from rlhf_ext.rewards.functions import Factuality, Length, Rouge
