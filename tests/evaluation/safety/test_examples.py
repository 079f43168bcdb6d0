"""The examples in the docstrings of the safety suites run."""

import doctest
import importlib
import pkgutil

import pytest

import rlhf_ext.evaluation.safety as safety

MODULES = [f"{safety.__name__}.{module.name}" for module in pkgutil.iter_modules(safety.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
