"""TRL's usual DPO script, with graded preferences: its import changed, and nothing else.

    python examples/drop_in/dpo.py --dataset_name trl-lib/ultrafeedback_binarized --model_name_or_path Qwen/Qwen3-0.6B

Without a `preference_strength` column it trains what TRL trains, to the last bit. With one, say how to read it:

    python examples/drop_in/dpo.py --dataset_name ./preferences --strength_loss soft_label --use_peft --lora_r 32
"""

from datasets import load_dataset
from trl import ModelConfig, ScriptArguments, TrlParser, get_peft_config, get_quantization_config

from rlhf_ext import DPOConfig, DPOTrainer  # was: from trl import DPOConfig, DPOTrainer

if __name__ == "__main__":
    parser = TrlParser((ScriptArguments, DPOConfig, ModelConfig))
    parser.set_defaults(
        dataset_name="trl-lib/ultrafeedback_binarized",
        model_name_or_path="Qwen/Qwen3-0.6B",
        output_dir="Qwen3-0.6B-DPO",
    )
    script_args, training_args, model_args = parser.parse_args_and_config()

    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
    }
    dataset = load_dataset(
        script_args.dataset_name, script_args.dataset_config, streaming=script_args.dataset_streaming
    )

    trainer = DPOTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        train_dataset=dataset[script_args.dataset_train_split],
        eval_dataset=dataset[script_args.dataset_test_split] if training_args.eval_strategy != "no" else None,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)

    trainer.save_model(training_args.output_dir)
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=script_args.dataset_name)
