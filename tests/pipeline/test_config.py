import pytest
import trl
from peft import LoraConfig

from rlhf_ext import DPOConfig, PPOConfig, RewardConfig, RLHFConfig


def test_the_five_lines_of_the_readme_are_a_config():
    config = RLHFConfig(
        model_name="gpt2",
        algorithm="ppo",
        reward_model_path="./reward_model",
        learning_rate=1e-5,
        batch_size=8,
        ppo_epochs=4,
    )
    args = config.stage("ppo", num_train_epochs=3)
    assert isinstance(args, PPOConfig)
    assert (args.learning_rate, args.per_device_train_batch_size, args.num_iterations) == (1e-5, 8, 4)
    assert args.num_train_epochs == 3


@pytest.mark.parametrize(
    ("name", "kind"), [("sft", trl.SFTConfig), ("reward", RewardConfig), ("dpo", DPOConfig), ("ppo", PPOConfig)]
)
def test_every_stage_has_its_config_with_what_is_shared(name, kind, tmp_path):
    args = RLHFConfig("gpt2", max_grad_norm=0.3, seed=7, **{name: {"weight_decay": 0.1}}).stage(name, tmp_path)
    assert isinstance(args, kind)
    assert (args.max_grad_norm, args.seed, args.weight_decay) == (0.3, 7, 0.1)
    assert args.output_dir == str(tmp_path)


def test_a_stages_own_config_is_taken_as_it_is(tmp_path):
    own = PPOConfig(str(tmp_path), kl_coef=0.3, use_cpu=True)
    assert RLHFConfig("gpt2", ppo=own).stage("ppo", tmp_path / "x", num_train_epochs=9) is own
    assert own.output_dir == str(tmp_path / "x")
    assert own.num_train_epochs == 3.0


def test_settings_may_be_json_as_on_the_command_line():
    assert RLHFConfig("gpt2", ppo='{"kl_coef": 0.5}').stage("ppo").kl_coef == 0.5


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"algorithm": "grpo"}, "`algorithm` must be one of"),
        ({"learning_rate": 0}, "`learning_rate` must be a positive number"),
        ({"batch_size": "8"}, "`batch_size` must be a positive number, got '8'"),
        ({"ppo": {"klcoef": 1}}, "`ppo` has no setting 'klcoef'.*PPOConfig"),
        ({"sft": "{broken"}, "`sft` is not JSON"),
        ({"dpo": [1]}, "`dpo` must be a dict"),
        ({"bf16": True, "fp16": True}, "choose one"),
        ({"min_reward_accuracy": 70}, r"must be in \[0, 1\]"),
        ({"strength_scale": "percent"}, "`strength_scale` must be"),
        ({"use_lora": True, "lora": {"rank": 3}}, "`lora` has no setting 'rank'"),
        ({"lora": {"r": 64}}, "nothing is trained with LoRA: set `use_lora=True`"),
        ({"use_lora": "False"}, "`use_lora` must be True or False, got 'False'"),
        ({"skip_reward_validation": "no"}, "`skip_reward_validation` must be True or False"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number, got 2.5"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be a positive number"),
        ({"eval_prompts": True}, "`eval_prompts` must be a positive whole number"),
        ({"seed": "x"}, "`seed` must be a whole number"),
        ({"sft": {"output_dir": "elsewhere"}}, "`sft` may not set `output_dir`"),
        ({"ppo": {"learning_rate": "fast"}}, "`ppo`: `learning_rate` must be a number, got 'fast'"),
        ({"output_dir": 3}, "`output_dir` must be text"),
        ({"eval_prompts": 0}, "`eval_prompts` must be a positive"),
    ],
)
def test_a_wrong_value_is_named(changes, match):
    with pytest.raises(ValueError, match=match):
        RLHFConfig(**{"model_name": "gpt2", **changes})


def test_numbers_that_yaml_reads_as_text_are_numbers():
    """YAML 1.1 wants a dot in 1e-5; without it TRL would fail in the middle of a run."""
    config = RLHFConfig("gpt2", ppo={"learning_rate": "1e-5", "optim": "adamw_torch"}, dpo='{"beta": "5e-1"}')
    assert config.stage("ppo").learning_rate == 1e-5 and config.stage("dpo").beta == 0.5
    lora = RLHFConfig("gpt2", use_lora=True, lora={"lora_dropout": "5e-2"}).lora_config("CAUSAL_LM")
    assert lora.lora_dropout == 0.05


def test_qlora_is_lora():
    config = RLHFConfig("gpt2", load_in_4bit=True, lora={"r": 4})
    assert config.lora_config("CAUSAL_LM").r == 4
    assert config.lora_config("SEQ_CLS").modules_to_save is None  # PEFT adds the head for SEQ_CLS
    assert RLHFConfig("gpt2").lora_config("CAUSAL_LM") is None


def test_a_peft_config_is_taken_for_both_tasks():
    own = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"])
    config = RLHFConfig("gpt2", use_lora=True, lora=own)
    policy, reward = config.lora_config("CAUSAL_LM"), config.lora_config("SEQ_CLS")
    assert (policy.r, policy.task_type, policy.modules_to_save) == (4, "CAUSAL_LM", ["lm_head"])
    assert (reward.r, reward.task_type, reward.modules_to_save) == (4, "SEQ_CLS", None)
    assert own.task_type is None


@pytest.mark.parametrize(
    ("path", "remote"),
    [("./reward_model", False), ("reward_model", False), ("/a/b", False), ("Skywork/Reward-V2", True), (None, False)],
)
def test_a_hub_name_is_told_from_a_folder(path, remote):
    assert RLHFConfig("gpt2", reward_model_path=path).reward_is_remote is remote


def test_thresholds_as_a_dict_as_json_and_from_a_file(tmp_path):
    (tmp_path / "gate.yaml").write_text("ece: {max: 0.1}\n")
    limits = {"ece": {"max": 0.1, "interval": False}}
    for given in ({"ece": {"max": 0.1}}, '{"ece": {"max": 0.1}}', str(tmp_path / "gate.yaml")):
        assert RLHFConfig(reward_thresholds=given).reward_thresholds == limits
    assert RLHFConfig(reward_thresholds=limits).reward_thresholds == limits


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"acuracy": {"min": 0.7}}, "`reward_thresholds`: There is no figure 'acuracy'"),
        ("{", "`reward_thresholds`"),
        ({}, "`reward_thresholds`: Thresholds must be a mapping"),
        ({"best_of_n.drop": {"max": 0.1}}, "ask for best-of-n, which a run cannot measure"),
        ({"ensemble.auc": {"min": 0.5}}, "ask for ensemble, which a run cannot measure"),
    ],
)
def test_thresholds_that_a_run_cannot_hold_to_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        RLHFConfig(reward_thresholds=given)
