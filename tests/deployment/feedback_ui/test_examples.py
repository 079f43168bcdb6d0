"""Examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

from rlhf_ext.deployment import feedback_ui

MODULES = [f"{feedback_ui.__name__}.{found.name}" for found in pkgutil.iter_modules(feedback_ui.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", feedback_ui.__all__)
def test_public_names_say_what_they_are_for(name):
    assert (getattr(feedback_ui, name).__doc__ or "").strip()
