"""What a request asks of a model in this process: prompts and sampling; what it cannot do is refused by name."""

from __future__ import annotations

from typing import Any

from .bodies import Kind
from .errors import invalid

_HARMLESS: dict[str, tuple[Any, ...]] = {
    # Fields that change what is answered, and their values that do not.
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "chat_template_kwargs": ({},),
    # What vLLM and others add to OpenAI's, and clients send in `extra_body`.
    "min_p": (0,),
    "min_tokens": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "use_beam_search": (False,),
    "prompt_logprobs": (),
    "chat_template": (),
    "continue_final_message": (False,),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "reasoning_effort": (),
}


def options_of(body: dict[str, Any], most: int) -> tuple[dict[str, Any], int]:
    """Sampling, and how many choices.

    Args:
        body (`dict`): The request, its types checked.
        most (`int`): Choices at most.

    Raises:
        ApiError: If it asks for what there is not.
    """
    for name, values in _HARMLESS.items():
        if body.get(name) is not None and body[name] not in values:
            message = f"'{name}' is not supported by this model, which runs in the gateway's process."
            raise invalid(message, name, "unsupported_parameter")
    stop = body.get("stop") or []
    n = body.get("n") or 1
    if n > most:
        raise invalid(f"Invalid 'n': {n} is above the maximum of {most}.", "n", "integer_above_max_value")
    seed, top_k, top_p = body.get("seed"), body.get("top_k"), body.get("top_p")
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < -1):
        raise invalid(f"Invalid 'top_k': {top_k!r:.80}.", "top_k", "invalid_value")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return {
        "max_new_tokens": limit,
        "temperature": 1.0 if body.get("temperature") is None else body["temperature"],
        "top_p": 1.0 if top_p is None else max(top_p, 1e-6),
        "top_k": max(top_k or 0, 0),
        "stop": [one for one in ([stop] if isinstance(stop, str) else stop) if one],
        "seed": None if seed is None else seed % 2**62,
    }, n


def prompts_of(kind: Kind, body: dict[str, Any]) -> list[Any]:
    """Prompts: messages, text, or tokens.

    Raises:
        ApiError: If a message has something other than text.
    """
    if kind == "chat":
        return [[_plain(index, message) for index, message in enumerate(body["messages"])]]
    prompt = body["prompt"]
    if isinstance(prompt, str):
        return [prompt]
    if prompt and isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)


def _plain(index: int, message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is one text, as chat templates want it."""
    content = message.get("content")
    if isinstance(content, str):
        return message
    texts = []
    for block in content or []:
        if not isinstance(block.get("text"), str):
            name = f"messages[{index}].content"
            raise invalid(f"Invalid '{name}': this model reads text only.", name, "unsupported_content")
        texts.append(block["text"])
    return {**message, "content": "".join(texts)}
