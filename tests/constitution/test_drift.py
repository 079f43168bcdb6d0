import pytest

from rlhf_ext.constitution import SharedWords

FIRST = "Bread dough rises while the yeast works; knead the dough first."


def score(text, prompt="Why does bread dough rise?", first=FIRST):
    return SharedWords()(prompts=[prompt], completions=[text], first_answer=[first])[0]


def test_it_tells_topics_apart():
    assert score("Yeast makes gas, which lets bread dough rise in warmth.") > 0.4
    assert score("Paris lies north of Lyon along the river Seine.") == 0


def test_words_meet_by_their_stems_and_filler_does_not_count():
    assert score("Risen doughs, breads, yeasts: four kneaded lumps") > 0
    assert (
        score("Perhaps something else would have been really quite good there, like Paris, Lyon, Nantes, Lille") == 0
    )


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Paris, Lyon."},  # too short to tell
        {"text": "Paris lies north of Lyon along the river Seine.", "prompt": "Why?"},
        {"text": "Paris lies north of Lyon along the river Seine.", "first": "It just does, because of chemistry."},
        {"text": ""},
        {"text": "Paris lies north of Lyon along the river Seine.", "first": ""},
    ],
)
def test_where_words_cannot_tell_it_does_not_apply(row):
    assert score(**row) is None


def test_scripts_without_spaces_are_read_by_character():
    first = "面包发酵是因为酵母产生气体。"
    assert score("酵母在温暖的地方产生气体，面包就会膨胀。", "为什么面包会发酵？", first) > 0.3
    assert score("Paris lies north of Lyon along the river.", "为什么面包会发酵？", first) == 0


def test_messages_are_read_and_rows_keep_their_order():
    message = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    good, off = "Yeast lets bread dough rise in warmth.", "Paris lies north of Lyon along the Seine."
    scores = SharedWords()(
        prompts=[message("user", "Why does bread dough rise?")] * 2,
        completions=[message("assistant", good), message("assistant", off)],
        first_answer=[FIRST] * 2,
    )
    assert scores[0] > 0.4 and scores[1] == 0


def test_without_its_column_it_says_so():
    with pytest.raises(ValueError, match="SharedWords reads the column 'first_answer', which is not there"):
        SharedWords()(prompts=["?"], completions=["!"])
