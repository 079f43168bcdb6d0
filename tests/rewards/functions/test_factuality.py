import pytest
from transformers import AutoModelForSequenceClassification

from rlhf_ext.rewards.functions import Factuality
from rlhf_ext.rewards.functions.encoders import Encoder, probabilities
from rlhf_ext.rewards.functions.factuality import sentences_of

LABELS = ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]
PASSAGE = "the tower opened in 1889 . the tower is old ."
YES, NO = "opened in 1889 .", "opened in 1900 ."


@pytest.fixture(scope="module")
def nli_folder(bert):
    first, second = sentences_of(PASSAGE)
    rows = [
        ((first, YES), 2),
        ((first, NO), 0),
        ((second, YES), 1),
        ((second, NO), 1),
        ((second, "it is old ."), 2),
        ((first, "it is old ."), 1),
    ]
    return bert(LABELS, train=rows)


def entailed(folder, premise, claim):
    return Encoder(AutoModelForSequenceClassification, folder).read([(premise, claim)], probabilities)[0, 2].item()


def test_sentences():
    assert sentences_of('It rains. Does it? Yes!\nSo "it is." Good') == [
        "It rains.",
        "Does it?",
        "Yes!",
        'So "it is.',
        "Good",
    ]
    assert sentences_of("3.5 metres. 雨だ。はい。") == ["3.5 metres.", "雨だ。", "はい。"]
    assert sentences_of(" \n ") == []


def test_what_the_passage_says_is_supported(nli_folder):
    reward = Factuality(nli_folder, column="passage", window=1)
    yes, no = reward(prompts=["?"] * 2, completions=[YES, NO], passage=[PASSAGE] * 2)
    assert yes > 0.9 and no < 0.1


def test_it_is_the_mean_over_sentences_of_the_best_premise(nli_folder):
    first, second = sentences_of(PASSAGE)
    score = Factuality(nli_folder, window=1)(prompts=["?"], completions=[f"{YES} {NO}"], reference=[PASSAGE])
    best = [max(entailed(nli_folder, premise, claim) for premise in (first, second)) for claim in (YES, NO)]
    assert score == pytest.approx([sum(best) / 2], abs=1e-5)
    assert best[0] - best[1] > 0.5


def test_a_premise_is_a_window_of_sentences(nli_folder):
    text = "good . bad . old ."
    columns = {"prompts": ["?"], "completions": [YES], "reference": [text]}
    for window, premises in {
        1: ["good .", "bad .", "old ."],
        2: ["good . bad .", "bad . old ."],
        3: [text],
        9: [text],
    }.items():
        best = max(entailed(nli_folder, premise, YES) for premise in premises)
        assert Factuality(nli_folder, window=window)(**columns) == pytest.approx([best], abs=1e-5)


def test_several_passages_support_together(nli_folder):
    first, second = sentences_of(PASSAGE)
    reward = Factuality(nli_folder, window=1)
    text = f"{YES} it is old ."
    both, one = reward(prompts=["?"] * 2, completions=[text] * 2, reference=[[first, second], [first]])
    assert both > 0.9 > one


def test_rows_without_a_passage_and_empty_answers(nli_folder):
    reward = Factuality(nli_folder)
    assert reward(prompts=["?"] * 3, completions=[YES, "", ""], reference=[None, PASSAGE, None]) == [None, 0.0, None]


def test_the_least_supported_sentence_is_logged(nli_folder, metrics):
    reward = Factuality(nli_folder, window=1)
    text = f"{YES} {NO}"
    reward(prompts=["?"] * 2, completions=[text, text], reference=[PASSAGE, None], log_metric=metrics.log_metric)
    worst = max(entailed(nli_folder, premise, NO) for premise in sentences_of(PASSAGE))
    assert metrics == {"factuality/least_supported": pytest.approx([worst], abs=1e-5)}


def test_arguments_are_checked(nli_folder, bert):
    with pytest.raises(
        ValueError, match="`entailment` should name one of the model's labels, LABEL_0, LABEL_1; got 'entailment'"
    ):
        Factuality(bert(["LABEL_0", "LABEL_1"]))
    Factuality(bert(["LABEL_0", "LABEL_1"]), entailment="label_1")
    with pytest.raises(ValueError, match="`window` must be at least 1, got 0"):
        Factuality(nli_folder, window=0)
    with pytest.raises(ValueError, match="Factuality reads the column 'passage'"):
        Factuality(nli_folder, column="passage")(prompts=["?"], completions=["a"], reference=["a"])
