"""Databases that several tests read."""

from __future__ import annotations

import pytest
from audits.ecosystems.databases import RpmDatabases, make_rpms


@pytest.fixture(scope="session")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> RpmDatabases:
    """rpm's databases of five packages."""
    return make_rpms(tmp_path_factory.mktemp("rpms"))
