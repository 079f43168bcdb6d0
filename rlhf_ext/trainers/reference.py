"""The model the KL is measured from: given, copied, or left to TRL."""

from __future__ import annotations

from typing import Any

from accelerate.utils import is_peft_model
from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.callbacks import SyncRefModelCallback
from trl.trainer.utils import add_fused_lm_head, create_model_from_path

from .critic import hidden
from .dropout import disable_dropout
from .zero3 import copy_of


def reference_copy(ref_model: Any, policy: Any, args: Any, peft_config: Any) -> Any:
    """The reference model where TRL would not find it, else None.

    TRL loads the reference by the name in the policy's config, which for a policy in memory may be another model; with
    PEFT it is the policy without its adapter.

    Args:
        ref_model (`PreTrainedModel`, `str` or `None`):
            What the user gave.
        policy (`PreTrainedModel`, `PeftModel` or `str`):
            The policy.
        args ([`PPOConfig`]):
            Configuration.
        peft_config (`PeftConfig` or `None`):
            Of the trainer.

    Returns:
        `PreTrainedModel` or `None`.

    Raises:
        ValueError: If reference and policy are the same object, which would make every KL 0.
    """
    if isinstance(ref_model, str):
        options = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
        return create_model_from_path(ref_model, **options)
    if ref_model is not None:
        if ref_model is policy:
            raise ValueError("`model` and `ref_model` are the same object: give a copy, or leave `ref_model` out.")
        return ref_model
    in_memory = not isinstance(policy, str)
    if in_memory and peft_config is None and not is_peft_model(policy) and args.kl_coef:
        return copy_of(policy)
    return None


def adopt_reference(trainer: Any, ref_model: Any) -> None:
    """Does to a reference model what GRPOTrainer does to the one it loads, and makes it the trainer's."""
    args = trainer.args
    trainer.beta = args.beta
    if args.disable_dropout:
        disable_dropout(ref_model)
    add_fused_lm_head(ref_model, temperature=trainer.temperature, cast_lm_head_to_fp32=args.cast_lm_head_to_fp32)
    if trainer.is_deepspeed_enabled:
        trainer.ref_model = prepare_deepspeed(ref_model, trainer.accelerator)
    elif trainer.is_fsdp_enabled:
        trainer.ref_model = prepare_fsdp(ref_model, trainer.accelerator)
    else:
        trainer.ref_model = trainer.accelerator.prepare_model(ref_model, evaluation_mode=True)


def let_reference_follow(trainer: Any) -> None:
    """Lets a trainer's reference model follow its policy, as TRL's callback does.

    Raises:
        ValueError: If the policy is an adapter, whose parameters are not the reference's.
    """
    if is_peft_model(trainer.model):
        raise ValueError(
            "`sync_ref_model` mixes the weights of two whole models, and this policy is an adapter on a frozen one: leave it "
            "off, or train the whole model."
        )
    trainer.add_callback(_SyncReference(ref_model=trainer.ref_model, accelerator=trainer.accelerator))


class _SyncReference(SyncRefModelCallback):
    """TRL's callback, which zips the parameters of policy and reference strictly: the critic is none of them."""

    def on_step_end(self, args, state, control, **kwargs):
        policy = self.accelerator.unwrap_model(kwargs["model"]) if self.accelerator else kwargs["model"]
        with hidden(policy):
            super().on_step_end(args, state, control, **kwargs)
