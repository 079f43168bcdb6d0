import pytest

from rlhf_ext.rewards.functions.rows import column_of, log_mean, references_of


def test_a_column_keeps_its_values_and_empty_ones_become_none():
    values = ["a", "", "  ", None, [], {}, 0, False, ["x"]]
    assert column_of({"c": values}, "c", 9, "Me") == ["a", None, None, None, None, None, 0, False, ["x"]]


def test_a_missing_column_is_named_with_those_that_are_there():
    columns = {"refs": ["a"], "completion_ids": [[1]], "trainer_state": object(), "log_metric": print}
    with pytest.raises(
        ValueError, match=r"Rouge reads the column 'reference'.*the columns are refs, completion_ids\. "
    ):
        column_of(columns, "reference", 1, "Rouge")
    with pytest.raises(ValueError, match="the columns are none"):
        column_of({}, "reference", 1, "Rouge")


def test_a_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="Rouge got 2 completions, but 1 values of the column 'c'"):
        column_of({"c": ["a"]}, "c", 2, "Rouge")


def test_references_are_lists_of_texts():
    given = ["a", ["b", "c"], None, ["", "d"], ["", " "], ()]
    assert references_of({"c": given}, "c", 6, "Me") == [["a"], ["b", "c"], None, ["d"], None, None]


@pytest.mark.parametrize("wrong", [3, [3], ["a", None], {"a": "b"}])
def test_a_reference_that_is_no_text_is_refused_by_row(wrong):
    with pytest.raises(TypeError, match="Row 1 of the column 'c' should be text or a list of texts"):
        references_of({"c": ["a", wrong]}, "c", 2, "Me")


def test_the_mean_of_what_applies_is_logged(metrics):
    log_mean({"log_metric": metrics.log_metric}, "m", [1.0, None, 2.0])
    log_mean({"log_metric": metrics.log_metric}, "n", [None])
    log_mean({}, "o", [1.0])
    log_mean({"log_metric": None}, "p", [1.0])
    assert metrics == {"m": [1.5]}
