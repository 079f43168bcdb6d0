"""Shared by the tests of the trainers."""

import pytest


@pytest.fixture
def prompts(preferences):
    return preferences.select_columns(["prompt"])
