"""Fixtures of the test rig, for all tests."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from rig.lab import big_image, lab
from rig.loaders import _containerd, _dockerd, _podman, ctr, dockerd, podman
from rig.proxies import http_proxy, http_proxy_auth, socks_proxy, socks_proxy_auth
from rig.registries import (
    _token_registry,
    own_registry,
    registry,
    registry_htpasswd,
    registry_mirror,
    registry_tls,
    registry_token,
)

from didlab.blobs import store as stores
from didlab.blobs.store import BlobStore

# How long an example takes says how busy the machine is. Pytest's own timeout ends what hangs.
settings.register_profile("didlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("didlab")

#: Fuzzing is on demand, and needs atheris, which has no wheels for every Python.
collect_ignore = ["fuzz"]

__all__ = [
    "_containerd",
    "_dockerd",
    "_podman",
    "_token_registry",
    "big_image",
    "ctr",
    "dockerd",
    "http_proxy",
    "http_proxy_auth",
    "lab",
    "own_registry",
    "podman",
    "registry",
    "registry_htpasswd",
    "registry_mirror",
    "registry_tls",
    "registry_token",
    "socks_proxy",
    "socks_proxy_auth",
]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """See to it that an interrupt of this process arrives.

    It is ignored where a shell started the tests in its background. And it would be lost in a
    collection of garbage, for which hypothesis has a callback: errors there are ignored.
    """
    gc.collect()
    gc.disable()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _no_store() -> Iterator[None]:
    """Keep nothing between tests, and out of the developer's own store; `store` switches it on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIDLAB_CACHE", "0")
        patch.delenv("DIDLAB_CACHE_LIMIT", raising=False)
        yield


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    """An empty local store, which everything in this test uses."""
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path / "cache"))
    made = stores.default()
    assert made is not None
    return made


@pytest.fixture(autouse=True, scope="session")
def _no_user_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the developer's own didlab.toml have no say; a test of it names another."""
    with pytest.MonkeyPatch.context() as patch:
        absent = tmp_path_factory.mktemp("config") / "didlab.toml"
        patch.setenv("DIDLAB_CONFIG", str(absent))
        for name in ("DIDLAB_MIRRORS", "DIDLAB_PROXY"):
            patch.delenv(name, raising=False)
        yield
