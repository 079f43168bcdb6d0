import json
import math
import re
from collections import Counter

import pytest
from datasets import Dataset

from rlhf_ext.data.preferences import assistant_preferences, has_messages, load_preferences, prepare_preferences
from rlhf_ext.types import text_of


def row(**changes):
    return {"prompt": "2+2?", "chosen": "4", "rejected": "5", **changes}


def message(text, role="assistant"):
    return [{"role": role, "content": text}]


def test_good_rows_come_back_as_they_are():
    rows = [row(preference_strength=0.8, note="a"), row(prompt="3+3?", preference_strength=1.0, note="b")]
    assert prepare_preferences(rows).to_list() == rows
    assert prepare_preferences(Dataset.from_list(rows)).to_list() == rows


def test_messages_are_taken():
    rows = [{"prompt": message("2+2?", "user"), "chosen": message("4"), "rejected": message("5")}]
    assert has_messages(prepare_preferences(rows))


def test_a_unit_scale_is_read_as_probability():
    strengths = prepare_preferences([row(preference_strength=s) for s in (0.0, 0.6, 1.0)], "unit")
    assert strengths["preference_strength"][:] == [0.5, 0.8, 1.0]


@pytest.mark.parametrize("stated", [{}, {"prompt": "2+2?"}])
def test_a_prompt_that_both_answers_begin_with_is_taken_out_of_them(stated):
    asked = message("2+2?", "user")
    rows = [{**stated, "chosen": asked + message("4"), "rejected": asked + message("5"), "note": "a"}]
    wanted = [{"prompt": asked, "chosen": message("4"), "rejected": message("5"), "note": "a"}]
    assert prepare_preferences(Dataset.from_list(rows)).to_list() == wanted
    if not stated:
        assert prepare_preferences(rows).to_list() == wanted


def test_answers_that_only_begin_alike_keep_their_prompt():
    rows = [{"prompt": message("2+2?", "user"), "chosen": message("4") * 2, "rejected": message("4") + message("5")}]
    assert prepare_preferences(Dataset.from_list(rows)).to_list() == rows


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([], ValueError, "is empty"),
        ("rows.jsonl", TypeError, "must be a `datasets.Dataset` or a list of dicts, got str"),
        ([row(), {"prompt": "a", "chosen": "b"}], ValueError, r"row 1 has no `rejected`"),
        ([row(), row(chosen="5")], ValueError, r"row 1: `chosen` equals `rejected`"),
        ([row(chosen=" ")], ValueError, r"row 0: `chosen` is empty"),
        ([row(chosen=None), row()], ValueError, r"row 0: `chosen` is empty"),
        ([row(chosen=3, rejected=4)], TypeError, r"row 0: `chosen` must be text or a list of messages, got int"),
        ([row(preference_strength=0.8), row(preference_strength=0.2)], ValueError, r"row 1.*in \[0.5, 1\], got 0.2"),
        ([row(preference_strength=math.nan)], ValueError, r"row 0: `preference_strength` must be in"),
        ([row(preference_strength=0.8), row()], TypeError, r"row 1: `preference_strength` must be a number, got None"),
        ([row(margin=math.inf)], ValueError, r"row 0: `margin` must be finite"),
        ([row(weight=-1.0)], ValueError, r"row 0: `weight` must be in"),
        ([row(), row(prompt=message("a", "user"))], ValueError, r"row 1: `prompt` is messages"),
        ([row(chosen=message("a"))], ValueError, r"row 0: `chosen` is messages"),
        ([{"chosen": message("4"), "rejected": message("5")}], ValueError, "has no column 'prompt'"),
        ([{"chosen": "4", "rejected": "5"}], ValueError, "has no column 'prompt'"),
        ([{"prompt": [{"text": "a"}], "chosen": message("4"), "rejected": message("5")}], ValueError, "message 0"),
    ],
)
def test_a_bad_row_is_refused_by_index_and_field(rows, error, match):
    with pytest.raises(error, match=match):
        prepare_preferences(rows)


def test_a_missing_column_of_a_dataset_is_named_with_those_it_has():
    with pytest.raises(ValueError, match=r"no column 'rejected'. It has \['prompt', 'chosen'\]"):
        prepare_preferences(Dataset.from_list([{"prompt": "a", "chosen": "b"}]))


def test_a_unit_strength_outside_its_scale_is_shown_as_written():
    with pytest.raises(ValueError, match=r"row 1.*in \[0, 1\], got 1.5"):
        prepare_preferences([row(preference_strength=0.1), row(preference_strength=1.5)], "unit")


def test_files_are_read(tmp_path):
    rows = [row(), row(prompt="3+3?")]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "a.json").write_text(json.dumps(rows))
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    for name in ("a.jsonl", "a.json", "a.parquet", "saved"):
        assert load_preferences(tmp_path / name).to_list() == rows
        with pytest.raises(ValueError, match="has no split 'test'"):
            load_preferences(tmp_path / name, "test")


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(row()) + "\n{broken\n")
    with pytest.raises(ValueError, match=r"a\.jsonl line 2 is not JSON"):
        load_preferences(tmp_path / "a.jsonl")


def test_a_missing_or_unknown_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file: .*gone\.jsonl"):
        load_preferences(tmp_path / "gone.jsonl")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="expected a .jsonl"):
        load_preferences(tmp_path / "a.txt")


class TestAssistantPreferences:
    """The project's own data keeps what its card says."""

    train, heldout = assistant_preferences("train"), assistant_preferences("heldout")

    def test_it_is_valid_and_large_enough(self):
        assert len(prepare_preferences(self.train)) >= 300
        assert len(prepare_preferences(self.heldout)) >= 100

    def test_every_category_is_in_both_splits(self):
        names = {"everyday", "explanation", "code", "summary", "harmful", "borderline"}
        assert set(self.train["category"]) == set(self.heldout["category"]) == names
        assert min(Counter(self.heldout["category"]).values()) >= 15

    def test_no_prompt_is_in_it_twice_and_none_is_near_one_of_the_other_split(self):
        prompts = [text_of(p) for p in [*self.train["prompt"], *self.heldout["prompt"]]]
        assert len(set(prompts)) == len(prompts)
        words = [set(re.findall(r"\w+", p.lower())) for p in prompts]
        train = words[: len(self.train)]
        for other in words[len(self.train) :]:
            assert max(len(other & w) / len(other | w) for w in train) < 0.7

    def test_length_does_not_tell_which_answer_is_better(self):
        longer = [len(text_of(r["chosen"])) > len(text_of(r["rejected"])) for r in self.train]
        assert 0.4 < sum(longer) / len(longer) < 0.6
