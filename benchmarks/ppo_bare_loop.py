"""PPO as a bare torch loop: the arithmetic of `ppo_vs_trl.py`'s workload and nothing around it.

What a trainer adds (data loading, logging, callbacks, checks, metrics) is the difference to this.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad


def bare_loop(work: dict[str, Any], seed: int) -> list[dict[str, float]]:
    """Trains `work["policy"]` and `work["value"]`; returns score, KL and their balance for each rollout."""
    config = work["settings"]["config"]
    policy, value = work["policy"], work["value"]
    size, parts = config["per_device_train_batch_size"], config["num_mini_batches"]
    optimizer = torch.optim.AdamW(
        [*policy.parameters(), *value.parameters()], lr=config["learning_rate"], weight_decay=0
    )
    rows, log = work["rows"]["input_ids"], []
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    for rollout in range(config["total_episodes"] // size):
        picked = [rows[order[(rollout * size + i) % len(rows)]] for i in range(size)]
        batch, entry = _rollout(work, picked, config)
        log.append(entry)
        for _ in range(config["num_ppo_epochs"]):
            for part in torch.randperm(size).chunk(parts):
                loss = _loss(policy, value, {name: tensor[part] for name, tensor in batch.items()}, config)
                loss.backward()
                torch.nn.utils.clip_grad_norm_([*policy.parameters(), *value.parameters()], 1.0)
                optimizer.step()
                optimizer.zero_grad()
    return log


def _rollout(work: dict[str, Any], prompts: list[list[int]], config: dict[str, Any]) -> tuple[dict, dict]:
    tokenizer, length = work["tokenizer"], max(map(len, prompts))
    ids = torch.stack([pad(torch.tensor(p), (length - len(p), 0), value=tokenizer.pad_token_id) for p in prompts])
    mask = torch.stack([pad(torch.ones(len(p)), (length - len(p), 0)) for p in prompts]).long()
    with torch.no_grad():
        out = work["policy"].generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            temperature=config["temperature"],
            max_new_tokens=config["response_length"],
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        done = (out[:, length:] == tokenizer.eos_token_id).cumsum(1)
        kept = (done - (out[:, length:] == tokenizer.eos_token_id).long() == 0).long()
        batch = {"ids": out, "mask": torch.cat([mask, kept], 1), "kept": kept}
        logps, values = _score(work["policy"], work["value"], batch, config["temperature"])
        reference, _ = _score(work["reference"], None, batch, config["temperature"])
        scores = work["reward"](input_ids=out, attention_mask=batch["mask"], use_cache=False).logits[:, 0]
        kl = (logps - reference) * kept
        rewards = -config["kl_coef"] * kl
        rewards[torch.arange(len(out)), kept.sum(1) - 1] += scores
        advantages, running = torch.zeros_like(values), torch.zeros(len(out))
        for t in reversed(range(values.size(1))):
            following = values[:, t + 1] * kept[:, t + 1] if t + 1 < values.size(1) else 0.0
            running = (rewards[:, t] + following - values[:, t] + 0.95 * running) * kept[:, t]
            advantages[:, t] = running
        returns = advantages + values
        mean = (advantages * kept).sum() / kept.sum()
        deviation = (((advantages - mean) ** 2 * kept).sum() / kept.sum()).sqrt()
        batch |= {"advantages": (advantages - mean) / deviation, "returns": returns, "values": values, "logps": logps}
    score, cost = scores.mean().item(), kl.sum(1).mean().item()
    balance = score - config["kl_coef"] * cost
    return batch, {"objective/scores": score, "objective/kl": cost, "objective/rlhf_reward": balance}


def _score(policy: Any, value: Any, batch: dict[str, torch.Tensor], temperature: float) -> tuple[torch.Tensor, Any]:
    length = batch["kept"].size(1)
    inputs = {
        "input_ids": batch["ids"],
        "attention_mask": batch["mask"],
        "position_ids": (batch["mask"].cumsum(1) - 1).clamp(min=0),
        "use_cache": False,
    }
    logits = policy(**inputs, logits_to_keep=length + 1).logits[:, :-1] / temperature
    logps = logits.log_softmax(-1).gather(2, batch["ids"][:, -length:, None])[..., 0]
    if value is None:
        return logps, None
    return logps, value.score(value.model(**inputs).last_hidden_state)[:, -length - 1 : -1, 0]


def _loss(policy: Any, value: Any, batch: dict[str, torch.Tensor], config: dict[str, Any]) -> torch.Tensor:
    logps, values = _score(policy, value, batch, config["temperature"])
    kept, advantages = batch["kept"], batch["advantages"]
    ratio = (logps - batch["logps"]).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    near = batch["values"] + (values - batch["values"]).clamp(-0.2, 0.2)
    error = torch.max((values - batch["returns"]) ** 2, (near - batch["returns"]) ** 2)
    return ((0.1 * 0.5 * error - surrogate) * kept).sum() / kept.sum()
