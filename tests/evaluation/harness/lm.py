"""lm-eval, run as its command line does, on a task from a folder."""

import os

from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

os.environ["DISABLE_MULTIPROC"] = "1"  # lm-eval's bootstrap forks a process a core, after threads have started


def run(model, task, folder, output, chat=True, samples=True, **settings):
    """Runs a task; the results lie in `output`."""
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    tracker = EvaluationTracker(output_path=str(output))
    found = simple_evaluate(
        model="hf",
        model_args=f"pretrained={model},dtype=float32",
        tasks=[task],
        task_manager=manager,
        apply_chat_template=chat,
        batch_size=16,
        device="cpu",
        evaluation_tracker=tracker,
        **settings,
    )
    kept = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=kept)
    for name in kept if samples else ():
        tracker.save_results_samples(task_name=name, samples=kept[name])
    return found
