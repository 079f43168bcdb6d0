"""Stages of AI feedback on two processes, for `test_feedback_processes.py`: what works, and what fails on the main process.

torchrun feedback_driver.py MODEL_FOLDER OUTPUT_FOLDER
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from rlhf_ext import RLHFConfig, ScriptedGenerator, assistant_preferences, constitution
from rlhf_ext.constitution import Constitution, Principle
from rlhf_ext.labelers import Budget, PairwiseLabeler
from rlhf_ext.pipeline.feedback import Feedback
from rlhf_ext.pipeline.plan import Plan
from rlhf_ext.pipeline.stages import Run
from rlhf_ext.pipeline.state import RunRecord, processes

KIND = Constitution([Principle("kind", "Say where it is unkind.", "Make it kind.")])
ROWS = [{"prompt": [{"role": "user", "content": "Name a fruit."}], "responses": ["A fig.", "No."]}]


def judge(prompt, choices):
    return [0.9, 0.1] if 'Answer 1: "A' in prompt[0]["content"] else [0.1, 0.9]


def broken(*args, **options):
    raise KeyError("the model is gone")


def feedback(model, folder, budget):
    """The preferences that a run goes on with, or why it does not; and how often the judge was asked."""
    config = RLHFConfig(model_name=model, output_dir=folder, batch_size=4, bf16=False, eval_max_new_tokens=4)
    generator = ScriptedGenerator([], choice_probs=judge)
    labeler = PairwiseLabeler(generator, "helpful", budget=budget, on_disagreement="average")
    asked = Feedback(labeler, KIND, ROWS)
    record = RunRecord(folder, {}, processes().is_main_process)
    processes().wait_for_everyone()  # all have looked at the folder before one writes to it
    record.start()
    run = Run(config, record, model, AutoTokenizer.from_pretrained(model))
    data = assistant_preferences("train").select(range(4))
    try:
        joined = asked.join(run, data, Plan(config, False, asked.stages))
        return [[row["chosen"][0]["content"] for row in joined][4:5], len(generator.calls)]
    except (KeyError, RuntimeError, ValueError) as error:
        return [f"{type(error).__name__}: {error}", len(generator.calls)]


if __name__ == "__main__":
    model, folder = sys.argv[1:]
    found = {"works": feedback(model, f"{folder}/works", None)}
    found["labels fail"] = feedback(model, f"{folder}/labels", Budget(0))
    constitution.critique_and_revise = broken
    found["revisions fail"] = feedback(model, f"{folder}/revisions", None)
    Path(folder, f"{processes().process_index}.json").write_text(json.dumps(found))
