"""Constitutional AI without labels: a model revises its own answers by written principles, and DPO learns from that.

    python examples/constitutional_dpo.py --tiny    # under a minute on one core, no hub; its principles are about form
    python examples/constitutional_dpo.py           # Qwen3-0.6B answers, Qwen3-4B criticises and revises; one GPU

Every answer is held to principles (`--constitution`, a YAML file; the project's own by default): a critic names the breach, the answer is
revised, and the revision is preferred to the first answer. The critic may be the model itself; one of 0.6B is a poor one, so that the
default is a larger one. With `--tiny` the critic is a program, for no model of 118,000 parameters can criticise; the rest is the same.

Look at the summary before you trust the pairs: how many critiques had a readable verdict, what revision did to refusals and length. Then
at the change in what the principles asked for, on held-out prompts. Every step is in `--output`, and the same command goes on there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from running import base_of, merged, parse, tokenizer_of, train
from trl import get_peft_config

import rlhf_ext
from rlhf_ext import Constitution, DPOConfig
from rlhf_ext.constitution import summarise, to_preferences
from rlhf_ext.evaluation.automatic import automatic_suite
from rlhf_ext.evaluation.page import evaluation_report
from rlhf_ext.evaluation.report import render_table, write_report
from rlhf_ext.generation import LocalGenerator, ScriptedGenerator


@dataclass
class Options:
    critic: str = field(default="Qwen/Qwen3-4B-Instruct-2507", metadata={"help": "Hub name, folder, or 'program'."})
    constitution: str = field(default="", metadata={"help": "YAML file; the project's own principles by default."})
    prompts: int = field(default=400, metadata={"help": "How many requests, of the project's own."})
    rounds: int = field(default=2, metadata={"help": "Rounds of critique and revision."})
    words: int = field(default=256, metadata={"help": "Tokens of an answer."})
    output: str = field(default="constitutional", metadata={"help": "Folder for steps, models and reports."})
    tiny: bool = field(default=False, metadata={"help": "Other defaults: for a run in seconds, without a hub."})
