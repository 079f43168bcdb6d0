"""What a model reads: the ids of a prompt, where texts end, and how much has room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..types import Prompt, template_kwargs
from .answer import PromptTooLong


class PromptReader:
    """Turns prompts into ids as a model wants them.

    Args:
        model ([`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]): The language model.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        chat_template_kwargs (`dict`, *optional*): What the chat template is told beside the messages.
    """

    def __init__(self, model: Any, tokenizer: Any, chat_template_kwargs: Mapping[str, Any] | str | None = None):
        self.model, self.tokenizer = model, tokenizer
        self.chat_template_kwargs = template_kwargs(chat_template_kwargs)

    def ids(self, prompt: Prompt, choice: str = "") -> list[int]:
        """Ids of a prompt, and of a choice that follows it.

        Raises:
            ValueError: If the prompt is messages and there is no chat template.
        """
        if not isinstance(prompt, str):  # a chat template writes the special tokens itself
            if self.tokenizer.chat_template is None:
                raise ValueError(
                    "The prompts are messages, and the tokenizer has no chat template: pass the prompts as text, or "
                    "set `tokenizer.chat_template`."
                )
            text = self.tokenizer.apply_chat_template(
                prompt, tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
            )
            return self.tokenizer(text + choice, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(prompt + choice)["input_ids"]
        eos, eos_id = self.tokenizer.eos_token, self.tokenizer.eos_token_id
        # Some tokenizers close every text with EOS; a prompt is to be continued.
        return ids[:-1] if ids and ids[-1] == eos_id and not (prompt + choice).endswith(eos) else ids

    def start(self, index: int) -> int:
        """The id that a prompt without tokens starts from.

        Raises:
            ValueError: If there is none; it names the prompt by `index`.
        """
        config = self.model.generation_config
        for token in (self.tokenizer.bos_token_id, config.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise ValueError(f"prompts[{index}] has no tokens, and the tokenizer no BOS or EOS token to start from.")

    def ends(self, stop: list[str] | None = None) -> set[int]:
        """Ids that end a text: those of the model, and stop strings that are one added token, such as `<|im_end|>`."""
        # These are not in the decoded text, where the other stop strings are looked for.
        added = self.tokenizer.get_added_vocab()
        ends = self.model.generation_config.eos_token_id
        ours = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}
        return ours | {added[one] for one in stop or () if one in added}

    @property
    def window(self) -> int | None:
        """Positions that the model has, if it says."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)

    def check_room(self, index: int, length: int, strict: bool) -> None:
        """Refuses what has more ids than there are positions.

        Raises:
            PromptTooLong: That names the prompt by `index`.
        """
        # A table of positions has an end: past it an IndexError, and on a GPU a dead process. RoPE goes on, outside of what it
        # was trained for, with a warning of transformers': a user may want that, a labeler does not.
        limit = self.window
        has_table = getattr(self.model.config.get_text_config(), "rope_parameters", None) is None
        if limit is not None and length > limit and (has_table or strict):
            raise PromptTooLong(
                f"prompts[{index}] and what is to follow need {length} positions, and the model has {limit}: shorten "
                "the prompt or lower max_new_tokens."
            )
