"""The examples in the docstrings of the reward functions run."""

import doctest
import importlib
import pkgutil

import pytest

import rlhf_ext.rewards

MODULES = [f"rlhf_ext.rewards.{module.name}" for module in pkgutil.iter_modules(rlhf_ext.rewards.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
