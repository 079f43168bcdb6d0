"""Tiny BERTs, and a record of what was logged."""

import pytest

from ...tiny_bert import WORDS, tiny_bert


@pytest.fixture(scope="session")
def words() -> list[str]:
    return WORDS


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    """A function that writes a tiny BERT with some labels (none: the bare encoder) to a folder and gives its path."""
    return lambda *given, **settings: tiny_bert(tmp_path_factory.mktemp("bert"), *given, **settings)


@pytest.fixture
def metrics():
    """What was logged: `log_metric` for a reward function, and the values by name."""

    class Metrics(dict):
        def log_metric(self, name, value):
            self.setdefault(name, []).append(value)

    return Metrics()
