import json
from collections import Counter

import pytest
import yaml

from rlhf_ext.constitution import Constitution, Principle

from .helpers import named

ROW = {"name": "kind", "critique_request": "Say where.", "revision_request": "Mend it."}


def from_text(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return Constitution.from_file(path)


def test_a_file_is_read_with_its_defaults(tmp_path):
    constitution = from_text(tmp_path, yaml.safe_dump({"name": "mine", "version": 3, "principles": [ROW]}))
    assert (constitution.name, constitution.version, len(constitution)) == ("mine", "3", 1)
    assert constitution.principles == (Principle("kind", "Say where.", "Mend it.", 1.0, "general", None),)
    assert Constitution.from_dict(constitution.to_dict()) == constitution


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weigth": 2}, r"mine.yaml, principle 1 \('kind'\): unknown key 'weigth'; the known ones are name, crit"),
        ({"critique_request": " "}, r"mine.yaml, principle 1 \('kind'\): `critique_request` is empty"),
        ({"revision_request": ""}, r"principle 1 \('kind'\): `revision_request` is empty"),
        ({"rule": ""}, r"principle 1 \('kind'\): `rule` is empty"),
        ({"category": 3}, r"principle 1 \('kind'\): `category` should be text, got 3"),
        ({"weight": 0}, r"principle 1 \('kind'\): `weight` should be finite and above 0, got 0"),
        ({"weight": -1.5}, r"`weight` should be finite and above 0, got -1.5"),
        ({"weight": float("nan")}, r"`weight` should be finite and above 0, got nan"),
        ({"weight": float("inf")}, r"`weight` should be finite and above 0, got inf"),
        ({"weight": True}, r"`weight` should be a number, got True"),
        ({"weight": "2"}, r"`weight` should be a number, got '2'"),
        ({"name": 7}, r"principle 1 \(7\): `name` should be text, got 7"),
    ],
)
def test_a_bad_principle_is_refused_by_file_number_name_and_field(tmp_path, change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        from_text(tmp_path, yaml.safe_dump({"principles": [{**ROW, **change}]}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"principles": []}, r"mine.yaml: `principles` should be a list of at least one principle, got \[\]"),
        ({"principles": None}, "at least one principle, got None"),
        ({"principles": ROW}, "at least one principle, got {"),
        ({"name": "x"}, "mine.yaml: `principles` is missing"),
        ({"principles": [ROW], "author": "me"}, "mine.yaml: unknown key 'author'"),
        ({"principles": [ROW, ROW]}, "mine.yaml, principle 2: the `name` 'kind' is taken"),
        ({"principles": ["be kind"]}, "mine.yaml, principle 1 should hold name, critique_request"),
        ({"principles": [{"name": "kind"}]}, r"principle 1 \('kind'\): `critique_request` is missing"),
        ({"principles": [ROW], "version": 1.1}, r"`version` should be text, got 1.1; quote it"),
        ({"principles": [ROW], "version": True}, "`version` should be text, got True"),
        ({"principles": [ROW], "name": ""}, "mine.yaml, `name` should be text that is not empty, got ''"),
        ([ROW], "mine.yaml should hold `name`, `version` and `principles`"),
        (None, "mine.yaml should hold `name`, `version` and `principles`, got None"),
    ],
)
def test_what_is_no_constitution_is_refused(tmp_path, data, message):
    with pytest.raises((TypeError, ValueError), match=message):
        from_text(tmp_path, yaml.safe_dump(data))


def test_in_python_too():
    with pytest.raises(ValueError, match="`principles` is empty"):
        Constitution([])
    with pytest.raises(TypeError, match="principle 1 should be a Principle, got {'name'"):
        Constitution([ROW])
    with pytest.raises(ValueError, match="principle 2: the `name` 'a' is taken"):
        named("a", "a")


def test_the_default_covers_what_it_says_twice():
    constitution = Constitution.default()
    counts = Counter(principle.category for principle in constitution)
    assert set(counts) == {"harm", "honesty", "helpfulness", "privacy", "bias", "over-refusal"}
    assert min(counts.values()) >= 2
    assert all(principle.rule for principle in constitution)


def test_the_fingerprint_follows_the_content_alone(tmp_path):
    base = Constitution.default()
    assert len(base.fingerprint) == 16
    assert Constitution.from_dict(json.loads(json.dumps(base.to_dict()))).fingerprint == base.fingerprint
    assert (
        Constitution([Principle("a", "b", "c", 2)]).fingerprint
        == Constitution([Principle("a", "b", "c", 2.0)]).fingerprint
    )
    changed = {
        "name": "x",
        "critique_request": "x",
        "revision_request": "x",
        "weight": 9,
        "category": "x",
        "rule": "x",
    }
    prints = {base.fingerprint}
    for key, value in changed.items():
        data = base.to_dict()
        data["principles"][3][key] = value
        prints.add(Constitution.from_dict(data).fingerprint)
    prints |= {
        Constitution(base.principles, "other").fingerprint,
        Constitution(base.principles, version="9").fingerprint,
    }
    assert len(prints) == 1 + len(changed) + 2
    assert base.provenance == f"constitution:rlhf_ext@1#{base.fingerprint}"


def test_categories_are_selected():
    constitution = Constitution.default()
    assert constitution.select("bias").categories == ["bias"]
    assert constitution.select("bias").fingerprint != constitution.fingerprint
    with pytest.raises(ValueError, match="rlhf_ext has no category 'taste'; it has harm, honesty"):
        constitution.select("taste")


def test_no_principle_is_drawn_again_until_all_were():
    constitution = named(*"abcde")
    for key in ("row 1", "row 2", "row 3"):
        draws = [constitution.drawn(key, turn).name for turn in range(15)]
        for start in (0, 5, 10):
            assert sorted(draws[start : start + 5]) == list("abcde")
        assert len({tuple(draws[start : start + 5]) for start in (0, 5, 10)}) > 1  # each cycle in an order of its own


def test_draws_depend_on_seed_and_row_and_nothing_else():
    constitution = named(*"abcdefgh")
    order = lambda key, seed: [constitution.drawn(key, turn, seed).name for turn in range(8)]  # noqa: E731
    assert order("x", 0) == order("x", 0)
    assert order("x", 0) != order("x", 1)
    assert order("x", 0) != order("y", 0)


def test_draws_follow_the_weights():
    constitution = Constitution(
        [Principle("a", "c", "r", weight=3), Principle("b", "c", "r"), Principle("c", "c", "r")]
    )
    first = Counter(constitution.drawn(str(row), 0).name for row in range(4000))
    assert first["a"] / 4000 == pytest.approx(3 / 5, abs=0.03)
    second = Counter(
        constitution.drawn(str(row), 1).name for row in range(4000) if constitution.drawn(str(row), 0).name == "b"
    )
    assert second["a"] / sum(second.values()) == pytest.approx(3 / 4, abs=0.06)  # by weight among what is left
