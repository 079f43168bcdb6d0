"""A canary's store in both kinds of database."""

import pytest

from rlhf_ext.data.store.database import Database
from rlhf_ext.deployment.experiments import StoredCanaries

from ...data.conftest import postgres, url  # noqa: F401


@pytest.fixture
def store(url):  # noqa: F811
    found = StoredCanaries(Database(url))
    yield found
    found.database.close()
