import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaModel,
)

from rlhf_ext.rewards.functions.encoders import (
    Encoder,
    first_embedding,
    independent_probabilities,
    logger,
    mean_embedding,
    probabilities,
)

TEXTS = ["good", "a bad day in the old tower", "", "the film was awful , not good", "good", "fine !"]


def one_by_one(folder, text, kind=AutoModel):
    """The plain way: one text, no padding, no batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = kind.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(*([text] if isinstance(text, str) else text), return_tensors="pt"))


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batches_of_mixed_length_read_as_one_by_one(bert, batch_size):
    folder = bert(["no", "yes"])
    found = Encoder(AutoModelForSequenceClassification, folder, batch_size=batch_size).read(TEXTS, probabilities)
    assert found.shape == (6, 2) and found.dtype == torch.float32
    for text, row in zip(TEXTS, found, strict=True):
        expected = one_by_one(folder, text, AutoModelForSequenceClassification).logits.softmax(-1)[0]
        assert torch.allclose(row, expected, atol=1e-5)
    assert found.std(0).min() > 0.01  # the model tells the texts apart


def test_pairs_read_as_one_by_one(bert):
    folder = bert(["no", "yes"])
    pairs = [("good day", "bad"), ("bad", "good day"), ("a", "the old red tower")]
    found = Encoder(AutoModelForSequenceClassification, folder).read(pairs, independent_probabilities)
    for pair, row in zip(pairs, found, strict=True):
        expected = one_by_one(folder, pair, AutoModelForSequenceClassification).logits.sigmoid()[0]
        assert torch.allclose(row, expected, atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_embeddings_leave_padding_out(bert):
    folder = bert()
    encoder = Encoder(AutoModel, folder)
    for text, mean, first in zip(
        TEXTS, encoder.read(TEXTS, mean_embedding), encoder.read(TEXTS, first_embedding), strict=True
    ):
        states = one_by_one(folder, text).last_hidden_state[0]
        assert torch.allclose(mean, torch.nn.functional.normalize(states.mean(0), dim=0), atol=1e-5)
        assert torch.allclose(first, torch.nn.functional.normalize(states[0], dim=0), atol=1e-5)


def test_equal_texts_are_read_once(bert):
    encoder = Encoder(AutoModel, bert(), batch_size=2)
    sizes = []
    encoder.model.register_forward_hook(lambda module, args, output: sizes.append(len(output.last_hidden_state)))
    encoder.read(["good", "bad", "good", "good"], mean_embedding)
    assert sizes == [2]


def test_a_long_text_loses_its_end(bert):
    encoder = Encoder(AutoModel, bert())
    assert encoder.max_length == 48
    long, cut = encoder.read(["good " * 500, "good " * 46], mean_embedding)
    assert torch.allclose(long, cut, atol=1e-6)
    short = Encoder(AutoModel, bert(), max_length=4).read(["good bad awful poor", "good bad"], mean_embedding)
    assert torch.allclose(short[0], short[1], atol=1e-6)


def test_positions_that_begin_after_the_padding_are_counted(bert):
    """RoBERTa has 2 fewer than its table; with 50 tokens of 50 it would read past the end."""
    config = RobertaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=50,
    )
    encoder = Encoder(AutoModel, RobertaModel(config), AutoTokenizer.from_pretrained(bert()))
    assert encoder.max_length == 48
    encoder.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert encoder.read(["good " * 500], mean_embedding).shape == (1, 16)


def test_a_decoder_without_a_pad_token_gets_one(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.pad_token = None
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=2)
    encoder = Encoder(None, model, tokenizer)
    both = encoder.read(["a", "a longer text than that"], probabilities)
    alone = encoder.read(["a"], probabilities)
    assert torch.allclose(both[0], alone[0], atol=1e-5)


def test_sizes_are_checked(bert):
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        Encoder(AutoModel, bert(), batch_size=0)
    with pytest.raises(ValueError, match="`max_length` must be at least 1, got 0"):
        Encoder(AutoModel, bert(), max_length=0)


@pytest.mark.parametrize("pairs", [False, True])
def test_what_is_not_read_is_said(bert, caplog, pairs):
    logger.warning_once.cache_clear()
    encoder = Encoder(AutoModel, bert())
    whole, long = "good " * (encoder.max_length - 2 - pairs * 2), "good " * encoder.max_length
    encoder.read([(whole, "bad")] if pairs else [whole], mean_embedding)
    assert not caplog.records
    encoder.read([(whole, "bad"), ("bad", long)] if pairs else [whole, long], mean_embedding)
    assert f"longer than the {encoder.max_length} tokens that" in caplog.text
