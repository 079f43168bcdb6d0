"""What the training arguments of all benchmarks share: one process on a CPU, in float32, that prints and saves nothing."""

QUIET = {
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "save_strategy": "no",
}
