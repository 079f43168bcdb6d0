import sys

import pytest

from rlhf_ext.rewards.functions import Language
from rlhf_ext.rewards.functions.language import _identifier

TEXTS = {
    "en": "The weather has been rather cold this week, so we stayed at home.",
    "de": "Das Wetter war diese Woche ziemlich kalt, also blieben wir zu Hause.",
    "fr": "Il a fait assez froid cette semaine, alors nous sommes restés à la maison.",
    "es": "Esta semana ha hecho bastante frío, así que nos quedamos en casa.",
    "zh": "这个星期天气很冷，所以我们待在家里。",
}


@pytest.mark.parametrize("language", TEXTS)
def test_each_language_is_told_from_the_others(language):
    scores = Language(language)(prompts=["?"] * len(TEXTS), completions=list(TEXTS.values()))
    for other, score in zip(TEXTS, scores, strict=True):
        assert score > 0.9 if other == language else score < 0.05


def test_each_row_may_want_its_own():
    reward = Language(column="lang")
    scores = reward(prompts=["?"] * 3, completions=[TEXTS["en"], TEXTS["en"], TEXTS["fr"]], lang=["en", "de", None])
    assert scores[0] > 0.9 and scores[1] < 0.05 and scores[2] is None


def test_it_is_a_probability():
    ranked = _identifier(None).rank(TEXTS["es"])
    assert sum(probability for _, probability in ranked) == pytest.approx(1, abs=1e-3)
    assert Language("en")(prompts=["?"], completions=["1 2 3"])[0] < 0.02
    assert all(0 <= score <= 1 for score in Language("en")(prompts=["?"] * 3, completions=["", "!?", "ok"]))


def test_a_choice_of_languages_makes_short_texts_safer():
    assert Language("en", among=["en", "fr"])(prompts=["?"], completions=["yes"]) > Language("en")(
        prompts=["?"], completions=["yes"]
    )
    # one restriction does not leak into another
    assert Language("de")(prompts=["?"], completions=[TEXTS["de"]])[0] > 0.9


def test_arguments_are_checked():
    for wrong in ({}, {"language": "en", "column": "lang"}):
        with pytest.raises(ValueError, match="Give one of `language` and `column`"):
            Language(**wrong)
    with pytest.raises(ValueError, match="`language` should be one of .*en.*got 'english'"):
        Language("english")
    with pytest.raises(ValueError, match="`language` should be one of en, fr, got 'de'"):
        Language("de", among=["en", "fr"])
    with pytest.raises(ValueError, match="row 1 of the column 'lang' should be one of .*got 'xx'"):
        Language(column="lang")(prompts=["?"] * 2, completions=["a", "a"], lang=["en", "xx"])
    with pytest.raises(ValueError, match="Language reads the column 'lang'"):
        Language(column="lang")(prompts=["?"], completions=["a"])


def test_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    _identifier.cache_clear()
    with pytest.raises(ImportError, match=r"Language needs the package py3langid: pip install rlhf_ext\[eval\]"):
        Language("en")
