"""Labels in answers, accuracy and macro-F1 against scikit-learn, what is taken for what."""

import random

import pytest
from sklearn.metrics import accuracy_score, f1_score

from rlhf_ext.evaluation.automatic import Classification, label_in
from rlhf_ext.evaluation.automatic.classification import UNPARSEABLE
from rlhf_ext.evaluation.automatic.metrics import Answers
from rlhf_ext.evaluation.suite import Case

LABELS = ["positive", "negative", "neutral"]


def answered(right, texts):
    return Answers([Case(str(n), f"{n}?", columns={"reference": label}) for n, label in enumerate(right)], texts)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Positive", "positive"),
        ("The review is **negative**, clearly negative.", "negative"),
        ("Label: neutral\n", "neutral"),
        ("positively", None),
        ("positive or negative", None),
        ("", None),
    ],
)
def test_the_one_label_that_stands_in_the_answer(text, named):
    assert label_in(text, LABELS) == named


def test_a_label_inside_of_another_and_labels_of_signs():
    assert label_in("This is not spam", ["spam", "not spam"]) == "not spam"
    assert label_in("C++ it is", ["C", "C++"]) == "C++" and label_in("C it is", ["C", "C++"]) == "C"


def test_accuracy_and_macro_f1_are_scikit_learns():
    draw = random.Random(0)
    right = [draw.choice(LABELS) for _ in range(80)]
    named = [draw.choice([label, label, *LABELS, ""]) for label in right]
    accuracy, f1, lost = Classification(LABELS).measure(answered(right, [f"It is {label}." for label in named]))
    assert sum(accuracy.values) / 80 == pytest.approx(accuracy_score(right, named))
    expected = f1_score(right, named, labels=LABELS, average="macro")
    assert f1.corpus and sum(f1.values) / 80 == pytest.approx(expected)
    assert sum(lost.values) == named.count("") > 0


def test_what_cannot_be_read_is_wrong_not_left_out():
    accuracy, f1, lost = Classification(LABELS).measure(answered(["positive"] * 2, ["positive", ""]))
    assert (accuracy.values, lost.values) == ([1.0, 0.0], [0.0, 1.0])
    assert sum(f1.values) / 2 == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert accuracy.note == "Most often wrong: 'positive' answered without one label (1 of 2)."


def test_the_confusion_has_all_of_it():
    metric = Classification(LABELS)
    given = answered(["Positive ", "positive", "negative", None], ["neutral", "neutral", "?", "positive"])
    counts = metric.confusion(given.cases, given.texts)
    assert counts["positive"] == {"positive": 0, "negative": 0, "neutral": 2, UNPARSEABLE: 0}
    assert counts["negative"][UNPARSEABLE] == 1 and sum(counts["neutral"].values()) == 0
    columns = metric.measure(given)
    assert columns[0].note == "Most often wrong: 'positive' taken for 'neutral' (2 of 2)."
    assert [column.values[3] for column in columns] == [None, None, None]


def test_ones_own_reading_and_name():
    metric = Classification(["yes", "no"], "gold", lambda text: {"1": "yes", "0": "no"}.get(text.strip()), "nli")
    assert metric.figures == ("nli_accuracy", "nli_macro_f1", "nli_unparseable")
    cases = [Case(str(n), f"{n}?", columns={"gold": label}) for n, label in enumerate(["yes", "no", "no"])]
    assert metric.measure(Answers(cases, ["1", "1", "yes"]))[0].values == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="`extract` gave 'maybe'"):
        Classification(["yes", "no"], "gold", lambda text: "maybe").measure(Answers(cases, ["a"] * 3))


def test_mistakes():
    with pytest.raises(ValueError, match="at least two labels that differ in lower case"):
        Classification(["Yes", "yes"])
    cases = answered(["positive", "mixed"], ["", ""]).cases
    with pytest.raises(ValueError, match="case '1' has 'mixed' in the column 'reference'; the labels are positive"):
        Classification(LABELS).check(cases)
    with pytest.raises(ValueError, match="reads the column 'gold', which is not there; the columns are reference"):
        Classification(LABELS, "gold").check(cases)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("It is a B.", "B"),
        ("I have not a clue.", None),
        ("The answer is A: a cat.", "A"),
        ("A or B?", None),
    ],
)
def test_an_article_is_not_the_choice_a(text, label):
    assert label_in(text, ["A", "B", "C"]) == label
