"""What cannot be done with weights that ZeRO-3 has parted is refused. What can be is in `test_ppo_processes.py`."""

import pytest
from peft import LoraConfig, get_peft_model

from rlhf_ext.trainers.zero3 import copy_of


def test_a_model_with_an_adapter_is_not_copied_under_zero3(policy, monkeypatch):
    adapted = get_peft_model(policy, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    assert copy_of(adapted) is not adapted
    monkeypatch.setattr("rlhf_ext.trainers.zero3.is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(ValueError, match="give `value_model` .* and `ref_model` yourself, or use ZeRO-2"):
        copy_of(adapted)
