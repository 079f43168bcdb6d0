"""A tiny BERT of whole words, built on the spot: random weights, or a few steps of training on rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

WORDS = [
    *("good", "great", "fine", "bad", "awful", "poor", "film", "day", "tower", "opened", "closed", "old", "red"),
    *("1889", "1900", "was", "the", "a", "in", "it", "is", "not"),
]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tiny_bert(folder: Path, labels: Sequence[str] | None = None, train: Sequence[Any] = (), **settings: Any) -> str:
    """Writes it to a folder, with a head for labels if there are any, and gives the folder."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", ",", "!"]
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(names)})
    torch.manual_seed(3)
    if labels:
        settings |= {"id2label": dict(enumerate(labels)), "label2id": {name: n for n, name in enumerate(labels)}}
    settings = {"max_position_embeddings": 48, "initializer_range": 0.6, **SHAPE, **settings}
    config = BertConfig(vocab_size=len(tokenizer), **settings)
    model = (BertForSequenceClassification if labels else BertModel)(config)
    if train:
        learn(model, tokenizer, train)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def learn(model: Any, tokenizer: Any, rows: Sequence[Any]) -> None:
    """Full-batch steps until the rows, (text or pair, label) each, are known."""
    model.train(False)  # no dropout: nothing here is to be regularised
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    texts = [[row[0]] if isinstance(row[0], str) else list(row[0]) for row in rows]
    batch = tokenizer(*(list(part) for part in zip(*texts, strict=True)), padding=True, return_tensors="pt")
    labels = torch.tensor([row[1] for row in rows])
    for _ in range(60):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
