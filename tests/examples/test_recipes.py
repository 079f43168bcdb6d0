"""Every recipe of examples/recipes, run whole on the tiny model; the other half is in test_recipes_more.py, for two workers."""

import pytest

from .recipe_runs import RECIPES, check_recipe, classifiers

TASKS = ["chat", "classification", "code", "question_answering", "summarization", "translation"]


@pytest.fixture(scope="module")
def local(tiny, tmp_path_factory):
    return classifiers(tiny, tmp_path_factory.mktemp("classifiers"))


@pytest.mark.parametrize("task", TASKS)
def test_a_recipe_runs_whole(task, tiny, local, tmp_path):
    check_recipe(task, tiny, local, tmp_path)


def test_no_recipe_is_left_out():
    from .test_recipes_more import TASKS as MORE

    assert sorted([*TASKS, *MORE]) == sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_the_table_has_every_recipe():
    table = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert all(f"[{path.stem}]({path.name})" in table for path in RECIPES.glob("*.yaml"))
