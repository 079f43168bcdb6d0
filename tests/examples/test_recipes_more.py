"""The other half of the recipes, see test_recipes.py."""

import pytest

from .recipe_runs import check_recipe, classifiers

TASKS = ["creative_writing", "customer_service", "moderation", "technical_documentation", "tutoring"]


@pytest.fixture(scope="module")
def local(tiny, tmp_path_factory):
    return classifiers(tiny, tmp_path_factory.mktemp("classifiers"))


@pytest.mark.parametrize("task", TASKS)
def test_a_recipe_runs_whole(task, tiny, local, tmp_path):
    check_recipe(task, tiny, local, tmp_path)
