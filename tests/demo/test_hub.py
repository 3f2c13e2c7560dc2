"""``didlab.sandbox()``: the demo server as a Registry."""

import gc
import http.client
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import didlab
from didlab.demo.server import DemoServer

registry = pytest.importorskip("didlab.model.registry")

from didlab.demo.hub import Sandbox  # noqa: E402 - needs the model


def answers(host):
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def test_it_is_a_registry_that_ends_with_its_block():
    with didlab.sandbox() as hub:
        assert isinstance(hub, registry.Registry)
        assert isinstance(hub, Sandbox)
        assert answers(hub.host) == 200
        assert repr(hub) == f"<Sandbox {hub.host}>"
        assert hub.server.requests == [("GET", "/v2/", 200)]
    assert answers(hub.host) is None
    assert repr(hub) == f"<Sandbox {hub.host} closed>"


def test_it_can_be_closed_by_hand():
    hub = didlab.sandbox(port=0, tags=3)
    assert answers(hub.host) == 200
    hub.close()
    hub.close()
    assert answers(hub.host) is None


def test_it_ends_when_nobody_holds_it():
    hub = didlab.sandbox()
    thread = hub.server._thread
    del hub
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_its_pickle_is_a_plain_registry_without_the_login():
    with didlab.sandbox(auth=("anna", "hidden-password")) as hub:
        data = pickle.dumps(hub)
        assert b"hidden-password" not in data
        assert b"anna" not in data
        assert "hidden-password" not in repr(hub)
        plain = pickle.loads(data)
        assert type(plain) is registry.Registry
        assert plain == registry.Registry(hub.host)
        assert answers(hub.host) == 401


def test_a_registry_that_cannot_be_made_leaves_no_server(monkeypatch):
    started = []
    real = DemoServer.start
    monkeypatch.setattr(DemoServer, "start", lambda self: started.append(self) or real(self))

    def broken(self, *args, **kwargs):
        raise RuntimeError("no")

    monkeypatch.setattr(registry.Registry, "__init__", broken)
    with pytest.raises(RuntimeError, match="no"):
        didlab.sandbox()
    [server] = started
    assert not server.running


def test_an_interpreter_that_forgets_to_close_still_ends():
    code = "import didlab; hub = didlab.sandbox(); print(hub.host)"
    root = Path(didlab.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("127.0.0.1:")


@pytest.mark.parametrize("auth", [False, True, ("anna", "secret")])
def test_it_is_used_as_a_registry(auth):
    with didlab.sandbox(auth=auth) as hub:
        assert set(hub["demo/web"].tags()["tag"]) == {"1.26", "1.27", "latest"}
        assert "linux/arm64/v8" in set(hub["demo/hello"]["latest"].platforms()["platform"])
