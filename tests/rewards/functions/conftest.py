"""Tiny BERTs, built on the spot: a vocabulary of whole words, random weights or a few steps of training."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

WORDS = [
    "good",
    "great",
    "fine",
    "bad",
    "awful",
    "poor",
    "film",
    "day",
    "tower",
    "opened",
    "closed",
    "old",
    "red",
    "1889",
    "1900",
    "was",
    "the",
    "a",
    "in",
    "it",
    "is",
    "not",
]


@pytest.fixture(scope="session")
def words() -> list[str]:
    return WORDS


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A function that writes a tiny BERT with some labels (none: the bare encoder) to a folder and gives its path."""
    tokenizer = BertTokenizer(
        vocab={word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", ",", "!"])}
    )

    def build(labels: list[str] | None = None, train=(), **settings) -> str:
        torch.manual_seed(3)
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        names = (
            {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}} if labels else {}
        )
        config = BertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=48, initializer_range=0.6, **shape, **names, **settings
        )
        model = (BertForSequenceClassification if labels else BertModel)(config)
        if train:
            learn(model, tokenizer, train)
        folder = str(tmp_path_factory.mktemp("bert"))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return build


def learn(model, tokenizer, rows):
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


@pytest.fixture
def metrics():
    """What was logged: `log_metric` for a reward function, and the values by name."""

    class Metrics(dict):
        def log_metric(self, name, value):
            self.setdefault(name, []).append(value)

    return Metrics()
