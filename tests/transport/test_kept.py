"""Connections are kept for some registries, and let go for the others."""

from __future__ import annotations

import gc

import pytest
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.transport import adapter, client


def test_what_is_forgotten_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """urllib3 keeps idle connections until their pool goes: nothing may lead back to it."""
    monkeypatch.setattr(client, "KEPT", 2)
    built = make_image([{"a": b"1"}])
    gc.collect()
    before = sum(isinstance(thing, adapter.Adapter) for thing in gc.get_objects())
    for _ in range(8):
        with FaultServer() as server:
            server.add_image("lab/app", "1", built)
            didlab.open(f"{server.host}/lab/app:1").layers()
    gc.collect()
    after = sum(isinstance(thing, adapter.Adapter) for thing in gc.get_objects())
    assert after - before <= 2 * 2
