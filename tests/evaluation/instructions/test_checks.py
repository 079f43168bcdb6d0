"""Every check passes what it should and fails what it should, one mistake at a time."""

import pytest

from rlhf_ext.evaluation.instructions import FAMILIES, KINDS, Constraint

TABLE = "| a | b |\n|---|:--:|\n| 1 | 2 |"
CSV = 'name,age\n"Li, Wei",31\nBo,27'
LANGUAGES = {"code": "de", "among": ["de", "en", "fr"]}

# kind, settings, what passes, what fails.
CHECKS = [
    ("word_count", {"least": 2, "most": 3}, ["one two", "don't well-known it"], ["one", "one two three four"]),
    ("sentence_count", {"least": 2, "most": 2}, ["One. Two!", "One 1.5 is.\nTwo"], ["One.", "One. Two. Three?"]),
    ("paragraph_count", {"count": 2}, ["a\nb\n\nc", "a\n \n\nb\n"], ["a\nb", "a\n\nb\n\nc"]),
    ("line_count", {"count": 2}, ["a\n\nb\n"], ["a", "a\nb\nc"]),
    ("character_count", {"most": 5}, ["12345", " 12345\n"], ["123456"]),
    ("bullet_count", {"count": 2}, ["Some:\n- a\n* b", "  • a\n  • b"], ["- a", "- a\n- b\n- c", "-a\n-b", "**a**\n**b**"]),
    ("numbered_list", {"count": 2}, ["1. a\n2. b", "So:\n1) a\n2) b"], ["1. a", "1. a\n2. b\n3. c", "2. a\n3. b", "1. a\n1. b"]),
    ("heading_count", {"count": 1}, ["# A\ntext", "text\n### A"], ["A\ntext", "# A\n# B", "#A"]),
    ("question_count", {"count": 1}, ["Why? Because."], ["Why.", "Why? How?"]),
    ("json_object", {"keys": ["a", "b"]}, ['{"b": 1, "a": []}', '```json\n{"a": 1, "b": 2}\n```'],
     ['{"a": 1}', '{"a": 1, "b": 2, "c": 3}', 'Here: {"a": 1, "b": 2}', "{'a': 1, 'b': 2}", '["a", "b"]', '{"a": NaN, "b": 1}', "[" * 9999]),
    ("json_array", {"count": 2}, ["[1, [2]]", "```\n[1, 2]\n```"], ["[1]", "[1, 2, 3]", '{"a": 1, "b": 2}', "1, 2"]),
    ("csv_rows", {"header": ["name", "age"], "rows": 2}, [CSV, f"```csv\n{CSV}\n```", CSV.replace("name,age", "Name, Age")],
     ["name,age\nBo,27", f"{CSV}\nCy,9", CSV.replace("Bo,27", "Bo,27,x"), CSV.replace("Bo,27", "Bo,"), CSV.replace("name,age", "age,name"), 'name,age\n"Li,31\nBo,27', f"Here:\n{CSV}"]),
    ("table", {"columns": 2, "rows": 1}, [TABLE, "a | b\n--- | ---\n1 | 2"],
     [f"{TABLE}\n| 3 | 4 |", "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |", "| a | b |\n| 1 | 2 |\n| 3 | 4 |", f"Here:\n{TABLE}", "| a | b |\n|---|---|\n1"]),
    ("code_block", {}, ["```python\nx = 1\n```", "\n~~~\nx\n~~~\n"], ["x = 1", "Here:\n```\nx\n```", "```\n\n```", "```\nx\n```\n\n```\ny\n```", "```\nx"]),
    ("one_of", {"options": ["Yes", "No"]}, ["Yes", "No\n"], ["yes", "Yes.", "Yes No", "Maybe"]),
    ("title", {}, ["[[A title]]\ntext"], ["[A title]\ntext", "[[A title]]", "text\n[[A title]]", "[[]]\ntext", "[[A]] text\nmore"]),
    ("quoted", {}, ['"a b"', "“a b”\n"], ['"a b', "a b", "'a b'", '""', '"a" b']),
    ("bold_parts", {"least": 2}, ["**a** and **b c**", "**a****b**"], ["**a** and *b*", "** a ** and ** b **", "a"]),
    ("labelled_parts", {"labels": ["For", "Not for"]}, ["For: a\nNot for: b", "**For:** a\n\n**Not for:** b", "For: for: x\nNot for: y"],
     ["Not for: b\nFor: a", "For: a", "For: a Not for: b", "For: a\nFor: c\nNot for: b", "For a\nNot for b"]),
    ("separated_parts", {"mark": "===", "count": 2}, ["a\n===\nb", "a\nb\n\n===\n\nc"], ["a", "a\n===\nb\n===\nc", "a\n====\nb", "===\nb", "a\n==="]),
    ("placeholders", {"least": 2}, ["[name] and [street no]"], ["[name] and [name]", "[name] and []", "name and street"]),
    ("postscript", {"mark": "P.S."}, ["Hello.\n\nP.S. More", "Hello.\n P.S.: More"], ["P.S. More", "Hello. P.S. More", "Hello.\nP.S.", "Hello.\nPS More", "a\nP.S. b\nP.S. c"]),
    ("lower_case", {}, ["a b, 3!", "ça và"], ["A b", "3!"]),
    ("upper_case", {}, ["A B, 3!"], ["A b", "3!"]),
    ("capital_words", {"least": 1, "most": 2}, ["NASA flew", "I saw NASA and ESA"], ["I flew", "A AA BB CC", "Nasa"]),
    ("include_words", {"words": ["cat", "red hat"]}, ["A Cat in a red hat."], ["A cat in a hat.", "Cats in a red hat", "concat red hat"]),
    ("avoid_words", {"words": ["cat", "e.g."]}, ["Cats and category"], ["The CAT.", "Pets, e.g. dogs", "..."]),
    ("word_times", {"word": "wind", "least": 2, "most": 2}, ["Wind, wind", "wind (wind) windy"], ["wind", "wind wind wind", "windy winds"]),
    ("word_order", {"words": ["one", "two", "three"]}, ["One two three one"], ["two one three", "one two", "one twofold three"]),
    ("avoid_letter", {"letter": "E"}, ["A long word"], ["Even", "the", "!?"]),
    ("avoid_marks", {"marks": ",;"}, ["No such mark."], ["a, b", "a; b", "..."]),
    ("starts_with", {"phrase": "Dear all,"}, ["Dear all, hello", "\nDear all,\nhello"], ["dear all, hello", "Hello Dear all,", "Dear all,"]),
    ("ends_with", {"phrase": "The end."}, ["So it was. The end.\n"], ["The end", "The end. Bye.", "The end.", "So it was. the end."]),
    ("repeats_request", {"request": "Why is it so?"}, ["Why is it so?\nBecause.", "Why is\nit so? Because."], ["Why is it so?", "Because. Why is it so?", "why is it so? Because."]),
    ("first_and_last_word", {}, ["Rain, more rain.", "One is one"], ["Rain or sun.", "Rain rain", "rain"]),
    ("acrostic", {"word": "Cat"}, ["come\n\nAnd\ntalk"], ["come\nand", "come\nand\ntalk\nnow", "talk\nand\ncome", "- come\nand\ntalk"]),
    ("language", LANGUAGES, ["Das ist ein Satz in deutscher Sprache."], ["This is a sentence in English.", "Ja.", "C'est une phrase en français."]),
]  # fmt: skip


def test_every_kind_is_here():
    assert sorted(kind for kind, *_ in CHECKS) == sorted(KINDS)
    assert sum(len(family) for family in FAMILIES.values()) == len(KINDS) >= 25


@pytest.mark.parametrize(("kind", "settings", "passing", "failing"), CHECKS, ids=[check[0] for check in CHECKS])
def test_a_check_tells_right_from_wrong(kind, settings, passing, failing):
    constraint = Constraint(kind, settings)
    assert [text for text in passing if not constraint.followed(text)] == []
    assert [text for text in failing if constraint.followed(text)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_answer_follows_nothing(kind):
    settings = next(settings for name, settings, *_ in CHECKS if name == kind)
    for text in ("", " \n\t\n"):
        assert not Constraint(kind, settings).followed(text) and not Constraint(kind, settings).followed(
            text, loose=True
        )


def test_one_end_of_a_range_is_enough():
    assert Constraint("word_count", {"least": 2}).followed("one two three")
    assert Constraint("word_times", {"word": "a", "most": 1}).followed("b c")


@pytest.mark.parametrize(
    ("kind", "settings", "match"),
    [
        ("word_counts", {}, "no kind of constraint 'word_counts'; there are word_count, sentence_count"),
        ("word_count", {"at_least": 3}, "'word_count' cannot have {'at_least': 3}"),
        ("starts_with", {}, "'starts_with' cannot have {}"),
        ("word_count", {}, "'word_count' needs `least` or `most`"),
        ("word_times", {"word": "a"}, "'word_times' needs `least` or `most`"),
    ],
)
def test_what_is_no_constraint_is_refused(kind, settings, match):
    with pytest.raises(ValueError, match=match):
        Constraint(kind, settings)
