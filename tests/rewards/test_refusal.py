import pytest

from rlhf_ext.data.preferences import assistant_preferences
from rlhf_ext.rewards.refusal import Refusal
from rlhf_ext.types import text_of


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", 1.0),
        ("I can’t assist with breaking into accounts.", 1.0),
        ("I won't explain that. Instead, ...", 1.0),
        ("As an AI language model, I cannot provide this.", 1.0),
        ("That is not something I can help with.", 1.0),
        ("Sure! First, pick a quiet evening.", 0.0),
        ("To kill the process, run `kill 1234`.", 0.0),
        ("You can't mix them: the dough will not rise.", 0.0),
        ("", 0.0),
    ],
)
def test_phrases(text, refuses):
    assert Refusal()(prompts=[""], completions=[text]) == [refuses]
    assert Refusal()(prompts=[""], completions=[[{"role": "assistant", "content": text}]]) == [refuses]


def test_a_refusal_after_the_window_is_not_seen():
    text = "x" * 50 + " I can't help with that."
    assert Refusal(window=50)(prompts=[""], completions=[text]) == [0.0]


def test_the_window_is_checked():
    with pytest.raises(ValueError, match="`window`"):
        Refusal(window=0)


def test_it_agrees_with_the_projects_own_labels():
    """Chosen answers to harmful requests refuse, chosen answers to harmless ones do not, in at least 97 % of rows."""
    for split in ("train", "heldout"):
        rows = assistant_preferences(split)
        found = Refusal()(prompts=rows["prompt"][:], completions=[text_of(c) for c in rows["chosen"]])
        expected = [float(category == "harmful") for category in rows["category"]]
        wrong = [text_of(c)[:120] for c, f, e in zip(rows["chosen"], found, expected, strict=True) if f != e]
        assert len(wrong) <= 0.03 * len(rows), wrong
