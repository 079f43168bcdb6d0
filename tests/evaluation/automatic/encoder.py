"""A tiny BERT of whole words with random weights, written to a folder."""

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

WORDS = [
    "good",
    "great",
    "fine",
    "bad",
    "awful",
    "film",
    "day",
    "tower",
    "opened",
    "closed",
    "old",
    "red",
    "was",
    "the",
    "a",
    "in",
    "it",
    "is",
    "not",
]


def bert(folder, labels=None):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "."]
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(names)})
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    known = (
        {}
        if labels is None
        else {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    )
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=24, initializer_range=0.6, **shape, **known)
    model = (BertModel if labels is None else BertForSequenceClassification)(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
