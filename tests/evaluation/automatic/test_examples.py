"""The examples in the docstrings of the automatic metrics run."""

import doctest
import importlib
import pkgutil

import pytest

import rlhf_ext.evaluation.automatic as automatic

MODULES = [f"{automatic.__name__}.{module.name}" for module in pkgutil.iter_modules(automatic.__path__)]


@pytest.mark.parametrize("name", [*MODULES, "rlhf_ext.stats.contributions"])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
