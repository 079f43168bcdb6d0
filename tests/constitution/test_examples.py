"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import rlhf_ext.constitution

MODULES = [f"rlhf_ext.constitution.{module.name}" for module in pkgutil.iter_modules(rlhf_ext.constitution.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
