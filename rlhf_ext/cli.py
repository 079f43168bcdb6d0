"""The command line: `rlhf-ext demo | run | reward | validate | dpo | ppo`.

Arguments are TRL's: every field of a configuration is a flag, and `--config FILE` reads them from YAML. A user's
mistake ends in one line on stderr and exit code 2; `RLHF_EXT_TRACEBACK=1` shows where it came from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_HELP = """\
usage: rlhf-ext COMMAND [--config FILE.yaml] [--FIELD VALUE ...]

What RLHF needs and TRL does not have.

commands:
  demo     the whole job on SmolLM2-135M-Instruct, on two cores in minutes (--algorithm ppo|dpo, --tiny)
  run      preferences in, an aligned and measured model out (--model_name, --preferences, --algorithm, ...)
  reward   train a reward model
  validate measure a reward model on held-out preferences; with --thresholds, exit code 1 where it fails them
  dpo      DPO with graded preferences
  ppo      PPO against a reward model

`rlhf-ext COMMAND --help` lists a command's fields.
"""


@dataclass
class DemoArguments:
    """Arguments of `rlhf-ext demo`."""

    algorithm: str = field(default="ppo", metadata={"help": "'ppo' or 'dpo'.", "choices": ["ppo", "dpo"]})
    output_dir: str | None = field(
        default=None, metadata={"help": "Where the run goes, and goes on. By default a folder in demo_output/."}
    )
    tiny: bool = field(default=False, metadata={"help": "A tiny model in place of SmolLM2: seconds, not minutes."})
    seed: int = field(default=42, metadata={"help": "Seed."})


@dataclass
class DataArguments:
    """The data of a command."""

    preferences: str = field(
        metadata={"help": "Preferences: .jsonl, .json, .parquet, a saved folder, a hub name, or 'assistant'."}
    )
    heldout: str | None = field(default=None, metadata={"help": "Held-out preferences, likewise."})


@dataclass
class RunArguments(DataArguments):
    """Arguments of `rlhf-ext run` beside those of `RLHFConfig`."""

    num_epochs: float = field(default=1.0, metadata={"help": "Passes over the prompts (PPO) or pairs (DPO)."})


@dataclass
class PPOArguments(DataArguments):
    """Arguments of `rlhf-ext ppo` beside those of `PPOConfig`."""

    reward_model: str = field(default="", metadata={"help": "Folder or hub name of the reward model."})
    value_model: str | None = field(
        default=None, metadata={"help": "Folder or hub name of the critic, or 'shared'. None: from the reward model."}
    )


@dataclass
class ValidateArguments:
    """Arguments of `rlhf-ext validate`."""

    reward_model: str = field(metadata={"help": "Folder or hub name of the reward model."})
    preferences: str = field(
        metadata={"help": "Held-out preferences: .jsonl, .json, .parquet, a folder, a hub name, or 'assistant'."}
    )
    thresholds: str | None = field(
        default=None, metadata={"help": "YAML such as 'accuracy: {min: 0.7}'. Exit code 1 where one does not hold."}
    )
    output_dir: str = field(default="validation", metadata={"help": "Where report.html and report.json go."})
    strength_scale: str = field(
        default="probability",
        metadata={
            "help": "preference_strength as 'probability' (0.5-1) or 'unit' (0-1).",
            "choices": ["probability", "unit"],
        },
    )
    gold: str | None = field(
        default=None, metadata={"help": "Folder or hub name of a gold reward model, for the best-of-n curve."}
    )
    generator: str | None = field(
        default=None, metadata={"help": "Folder or hub name of the model that writes the samples for best-of-n."}
    )
    samples_column: str = field(default="samples", metadata={"help": "Column with samples, without a generator."})
    num_samples: int = field(default=16, metadata={"help": "Samples a prompt that the generator writes."})
    max_new_tokens: int = field(default=256, metadata={"help": "Longest sample, in tokens."})
    batch_size: int = field(default=16, metadata={"help": "Texts a forward pass."})
    trust_remote_code: bool = field(default=False, metadata={"help": "Whether models may bring their own code."})
    seed: int = field(default=0, metadata={"help": "Seed of samples and folds."})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv (`Sequence[str]`, *optional*):
            Arguments after the program's name; `sys.argv` by default.

    Returns:
        `int`: 0, or 1 where a gate fails, or 2 after a user's mistake, or 130 after an interrupt.
    """
    command, *arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        sys.stdout.write(_HELP)
        return 0
    if command == "--version":
        from . import __version__

        sys.stdout.write(f"rlhf_ext {__version__}\n")
        return 0
    if command not in _COMMANDS:
        return _complain(f"unknown command {command!r}; there are {', '.join(_COMMANDS)}.")
    # `--config=FILE` as well as `--config FILE`; TRL reads the latter alone.
    arguments = [part for a in arguments for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
    import warnings

    import yaml

    # Notes of libraries to their developers, and bars for what takes no time, would bury what the user should see.
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return _COMMANDS[command](arguments) or 0
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError, yaml.YAMLError) as error:
        if os.environ.get("RLHF_EXT_TRACEBACK"):
            raise
        return _complain(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("\nrlhf-ext: interrupted. The same command goes on where it stopped.\n")
        return 130


def _complain(message: str) -> int:
    sys.stderr.write(f"rlhf-ext: {' '.join(message.split())}\n")
    return 2


def _parse(command: str, dataclasses: list[type], arguments: list[str], **defaults: Any) -> tuple[Any, ...]:
    import torch
    from transformers.utils import logging
    from trl import TrlParser

    from ._allocator import keep_freed_memory

    logging.disable_progress_bar()  # of weights being loaded; stages have bars of their own
    if not torch.accelerator.is_available():
        keep_freed_memory()

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise ValueError(f"{message}. See rlhf-ext {command} --help")

    parser = Parser(dataclasses, prog=f"rlhf-ext {command}")
    known = {action.dest for action in parser._actions}
    parser.set_defaults(**{name: value for name, value in defaults.items() if name in known})
    if "--config" in arguments and arguments.index("--config") + 1 == len(arguments):
        parser.error("--config needs a file")
    return parser.parse_args_and_config(arguments)


def _load(name: str | None, split: str) -> Any:
    from .data.preferences import assistant_preferences, load_preferences

    if name is None:
        return None
    return assistant_preferences(split) if name == "assistant" else load_preferences(name)  # type: ignore[arg-type]


def _demo(arguments: list[str]) -> None:
    (options,) = _parse("demo", [DemoArguments], arguments)
    from .demo import run_demo

    folder = options.output_dir or f"demo_output/{'tiny-' if options.tiny else ''}{options.algorithm}-{options.seed}"
    _show(run_demo(options.algorithm, folder, options.tiny, options.seed))


def _run(arguments: list[str]) -> None:
    from .pipeline import RLHFConfig, RLHFTrainer

    options, config = _parse("run", [RunArguments, RLHFConfig], arguments)
    data, heldout = _load(options.preferences, "train"), _load(options.heldout, "heldout")
    _show(RLHFTrainer(config=config).train(data, heldout, options.num_epochs))


def _show(result: Any) -> None:
    from .evaluation.report import render_side_by_side, render_table

    text = (render_table(result.report), render_side_by_side(result.report, count=3))
    sys.stdout.write("\n" + "\n\n".join(text) + "\n\n")
    sys.stdout.write(f"model   {result.policy_path}\nreport  {result.report_path}\n")


def _train(command: str, data_class: type, arguments: list[str], make: Callable[..., Any]) -> None:
    """Loads data and configuration, trains from the last checkpoint if there is one, and saves."""
    import torch
    from transformers.trainer_utils import get_last_checkpoint
    from trl import ModelConfig, get_peft_config, get_quantization_config

    from . import trainers
    from .data.preferences import prepare_preferences

    config_class = {"reward": trainers.RewardConfig, "dpo": trainers.DPOConfig, "ppo": trainers.PPOConfig}[command]
    on_cpu = not torch.accelerator.is_available()
    options, args, model = _parse(command, [data_class, config_class, ModelConfig], arguments, use_cpu=on_cpu)
    if not model.model_name_or_path:
        raise ValueError("--model_name_or_path is needed: a folder or the name of a model on the hub.")
    data = prepare_preferences(_load(options.preferences, "train"))
    heldout = _load(options.heldout, "heldout")
    settings: dict[str, Any] = {
        "args": args,
        "train_dataset": data,
        "eval_dataset": None if heldout is None else prepare_preferences(heldout, name="heldout"),
        "peft_config": get_peft_config(model),
        "quantization_config": get_quantization_config(model),
    }
    kwargs = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    args.model_init_kwargs = {**{k: v for k, v in kwargs.items() if v is not None}, **(args.model_init_kwargs or {})}
    trainer = make(options, model.model_name_or_path, settings)
    checkpoint = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(args.output_dir)
    sys.stdout.write(f"model   {args.output_dir}\n")


def _reward(arguments: list[str]) -> None:
    def make(options: DataArguments, model: str, settings: dict[str, Any]) -> Any:
        from .trainers import RewardTrainer

        if settings["peft_config"] is not None:
            settings["peft_config"].task_type = "SEQ_CLS"
            settings["peft_config"].modules_to_save = ["score"]
        return RewardTrainer(model, **settings)

    _train("reward", DataArguments, arguments, make)


def _validate(arguments: list[str]) -> int:
    (options,) = _parse("validate", [ValidateArguments], arguments)
    from .data.preferences import prepare_preferences
    from .evaluation.report import render_table, write_report
    from .evaluation.reward_models import Thresholds, validate_reward_model

    thresholds = None if options.thresholds is None else Thresholds.from_file(options.thresholds)
    if Path(options.output_dir).exists() and not Path(options.output_dir).is_dir():
        raise FileExistsError(f"--output_dir {options.output_dir} is a file; give a folder.")
    data = prepare_preferences(_load(options.preferences, "heldout"), options.strength_scale, "preferences")
    reward, gold, generator = _models_to_validate(options)
    validation = validate_reward_model(
        reward,
        data,
        gold=gold,
        generator=generator,
        num_samples=options.num_samples,
        samples_column=options.samples_column,
        sampling={"max_new_tokens": options.max_new_tokens} if generator is not None else None,
        seed=options.seed,
    )
    subtitle = f"{options.reward_model} on {len(data)} held-out pairs of {options.preferences}"
    report = validation.to_report("Validation of a reward model", subtitle, thresholds)
    path = write_report(report, options.output_dir)
    sys.stdout.write(f"\n{render_table(report)}\n\nreport  {path}\n")
    failures = [] if thresholds is None else thresholds.failures(validation)
    for line in failures:
        sys.stdout.write(f"fails   {line}\n")
    return 1 if failures else 0


def _models_to_validate(options: ValidateArguments) -> tuple[Any, Any, Any]:
    """The reward model, the gold one and the generator, on this machine's device; the last two may be None."""
    import torch

    from .generation import LocalGenerator
    from .rewards import RewardModel

    if options.generator is not None and options.gold is None:
        raise ValueError("--generator writes samples for best-of-n, which needs --gold as well.")
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    trust = {"trust_remote_code": True} if options.trust_remote_code else {}
    reward, gold = (
        None if name is None else RewardModel(name, batch_size=options.batch_size, progress=True, **trust).to(device)
        for name in (options.reward_model, options.gold)
    )
    if options.generator is None:
        return reward, gold, None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy = AutoModelForCausalLM.from_pretrained(options.generator, dtype="auto", **trust).to(device)
    tokenizer = AutoTokenizer.from_pretrained(options.generator, **trust)
    return reward, gold, LocalGenerator(policy, tokenizer, options.batch_size, progress=True)


def _dpo(arguments: list[str]) -> None:
    def make(options: DataArguments, model: str, settings: dict[str, Any]) -> Any:
        from .trainers import DPOTrainer

        return DPOTrainer(model, **settings)

    _train("dpo", DataArguments, arguments, make)


def _ppo(arguments: list[str]) -> None:
    def make(options: PPOArguments, model: str, settings: dict[str, Any]) -> Any:
        from .rewards import RewardModel
        from .trainers import PPOTrainer

        if not options.reward_model:
            raise ValueError("--reward_model is needed: a folder written by `rlhf-ext reward`, or a name on the hub.")
        for name in ("train_dataset", "eval_dataset"):
            if settings[name] is not None:
                settings[name] = settings[name].remove_columns(["chosen", "rejected"])
        return PPOTrainer(model, RewardModel(options.reward_model), value_model=options.value_model, **settings)

    _train("ppo", PPOArguments, arguments, make)


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "demo": _demo,
    "run": _run,
    "reward": _reward,
    "validate": _validate,
    "dpo": _dpo,
    "ppo": _ppo,
}
