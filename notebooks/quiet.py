"""What the notebooks' trainings share: one CPU process that prints nothing. With a GPU, leave both out."""

import logging
import os
import warnings

QUIET = {
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
}
"""Training arguments: float32 on the CPU, nothing saved, no progress bars."""


def quiet() -> None:
    """One thread, so that a run is the same each time, and no bars or notes of other libraries in the outputs."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed, where it is installed, says which one it found
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module="tqdm")
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
    for name in ("transformers", "trl", "accelerate", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import datasets  # after the filters: they speak when they are imported
    import torch
    import transformers

    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
