"""Ctrl-C and the kernel's Stop button, at any moment: back at once, nothing left behind but the
partial file, and the same call goes on."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from rig.actions import delay, dribble, hang_up, redirect, stall, too_many
from rig.cutting import CuttingProxy
from rig.faults import FaultServer
from rig.images import make_image

MB = 1_000_000
SECONDS = 1000
#: One second is what is promised. This tells it from a timeout (30 s) on a busy machine.
PROMPT = 3.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def image():
    noise = random.Random(6)
    return make_image([{"data": noise.randbytes(4 * MB)}, {"etc/motd": b"hello"}])


@pytest.fixture
def server(image):
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        layers = json.loads(image.manifest)["layers"]
        server.large = max(layers, key=lambda layer: layer["size"])["digest"]
        server.total = sum(layer["size"] for layer in layers)
        server.config = json.loads(image.manifest)["config"]["digest"]
        yield server


class Saver:
    """The process that saves (`interrupting.py`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("interrupting.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.heard() == {"ready": True}

    def begin(self, reference: str, target: Path, patch: str | None = None) -> None:
        order = {"reference": reference, "target": str(target), "patch": patch}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def heard(self) -> dict:
        return json.loads(self._process.stdout.readline() or '{"error": "ended"}')

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def saver():
    saver = Saver()
    yield saver
    saver.close()


def partial(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith(".part")]


def check(saver: Saver, folder: Path, *, helper: str | None = None) -> None:
    """Interrupt, and hold what is promised; ``helper`` waits for the system, which nothing ends."""
    saver.interrupt()
    said = saver.heard()
    assert said.get("interrupted", SECONDS) < PROMPT, said
    assert said["threads"] == ([] if helper is None else [helper]), said["stacks"]
    assert not (folder / "app.tar").exists()


def goes_on(saver: Saver, server: FaultServer, host: str, folder: Path) -> dict:
    server.rules.clear()
    saver.begin(f"{host}/lab/app:1", folder / "app.tar")
    said = saver.heard()
    assert said.get("downloaded", -1) + said.get("reused", 0) == server.total, said
    assert [path.name for path in folder.iterdir()] == ["app.tar"]
    return said


# --- what a server can do ------------------------------------------------------------------------


def half_a_head(exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: appli", body=False)
    exchange.wait(SECONDS)


def trickled_head(exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n", body=False)
    for number in range(100_000):
        exchange.send(b"X-%d: y\r\n" % number, body=False)
        exchange.wait(0.01)


#: Where, what the server does, bytes of the large layer that are here by then.
POINTS = {
    "manifest, before the head": ("/manifests/", delay(SECONDS), 0),
    "manifest, in the head": ("/manifests/", half_a_head, 0),
    "manifest, in a head that trickles": ("/manifests/", trickled_head, 0),
    "manifest, in the body": ("/manifests/", stall(SECONDS, after=100), 0),
    "manifest, in a body that trickles": ("/manifests/", dribble(1, 0.1), 0),
    "manifest, waiting for the rate": ("/manifests/", too_many("15"), 0),
    "token": ("/token", delay(SECONDS), 0),
    "token, in the body": ("/token", stall(SECONDS, after=5), 0),
    "config, before the head": ("config", delay(SECONDS), 0),
    "config, in the body": ("config", stall(SECONDS, after=20), 0),
    "layer, before the head": ("large", delay(SECONDS), 0),
    "layer, in the head": ("large", half_a_head, 0),
    "layer, in a head that trickles": ("large", trickled_head, 0),
    "layer, at the first byte": ("large", stall(SECONDS), 0),
    "layer, after some bytes": ("large", stall(SECONDS, after=1000), 0),
    "layer, in the body": ("large", stall(SECONDS, after=2 * MB), 2 * MB),
    "layer, at the last byte": ("large", stall(SECONDS, after=4 * MB), 4 * MB),
    "layer, in a body that trickles": ("large", dribble(10_000, 0.1), 0),
    "layer, waiting for the rate": ("large", too_many("15"), 0),
    "layer, between attempts": ("large", hang_up, 0),
}


@pytest.mark.parametrize("point", POINTS)
def test_interrupted_while_a_server_does_nothing(saver, server, tmp_path, point):
    where, action, here = POINTS[point]
    if where == "/token":
        server.auth = "bearer"
    part = {"large": server.large, "config": server.config}.get(where, where)
    reached = threading.Event()

    def act(exchange) -> None:
        reached.set()
        action(exchange)

    server.rule(lambda request: part in request.path, act)
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar")
    assert reached.wait(30)
    if here:
        arrived(tmp_path, here)
    check(saver, tmp_path)
    if here:
        assert len(partial(tmp_path)) == 1
    said = goes_on(saver, server, server.host, tmp_path)
    assert said["reused"] >= here - 256 * 1024


def arrived(folder: Path, count: int) -> None:
    """Wait until that much has been written: what is in sockets still is not kept."""
    from didlab.export.partial import HEAD, read_journal

    ended = threading.Event()
    for _ in range(3000):
        for path in partial(folder):
            data = path.read_bytes()
            stretches = read_journal(data[data.rfind(HEAD) :])
            if sum(s.stop - s.start for s in stretches) >= count - 256 * 1024:
                return
        ended.wait(0.01)
    raise AssertionError("nothing arrives")


def test_interrupted_at_a_token_in_the_middle_of_a_save(saver, server, tmp_path):
    server.auth = "bearer"
    reached = threading.Event()

    def expire(exchange) -> None:
        server.valid.clear()
        server.rule(lambda request: request.path == "/token", stalled)  # from now on
        exchange.answer = exchange.honest(exchange.request)
        exchange.finish()

    def stalled(exchange) -> None:
        reached.set()
        exchange.wait(SECONDS)

    server.rule(lambda request: server.large in request.path, expire, times=1)
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar")
    assert reached.wait(30)
    check(saver, tmp_path)
    goes_on(saver, server, server.host, tmp_path)


class Mute:
    """A host that accepts connections and says nothing; or does not even accept them."""

    def __init__(self, *, accepts: bool) -> None:
        self.reached = threading.Event()
        self._stack = ExitStack()
        self._listener = self._stack.enter_context(socket.socket())
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16 if accepts else 0)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        if accepts:
            threading.Thread(target=self._accept, daemon=True).start()
        else:
            # A full queue: further connections get no answer at all.
            for _ in range(4):
                sock = self._stack.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(self._listener.getsockname())

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._stack.push(sock)
            self.reached.set()

    def __enter__(self) -> Mute:
        return self

    def __exit__(self, *_: object) -> None:
        if self.reached.is_set():
            self._listener.shutdown(socket.SHUT_RDWR)
        self._stack.close()


@pytest.mark.parametrize("accepts", [True, False], ids=["mute", "silent"])
def test_interrupted_at_a_registry_that_says_nothing(saver, tmp_path, accepts):
    with Mute(accepts=accepts) as mute:
        saver.begin(f"{mute.host}/lab/app:1", tmp_path / "app.tar")
        mute.reached.wait(30 if accepts else 0.5)
        check(saver, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("accepts", [True, False], ids=["mute", "silent"])
def test_interrupted_at_a_store_that_says_nothing(saver, server, tmp_path, scheme, accepts):
    reached = threading.Event()

    def away(exchange) -> None:
        reached.set()
        redirect(f"{scheme}://{mute.host}/layer")(exchange)

    with Mute(accepts=accepts) as mute:
        server.rule(lambda request: server.large in request.path, away)
        saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar")
        assert reached.wait(30)
        mute.reached.wait(30 if accepts else 0.5)
        check(saver, tmp_path)
    goes_on(saver, server, server.host, tmp_path)


# --- what the system can do ----------------------------------------------------------------------


def test_interrupted_while_a_name_is_looked_up(saver, tmp_path):
    saver.begin("localhost:1/lab/app:1", tmp_path / "app.tar", "names")
    assert saver.heard() == {"here": True}
    check(saver, tmp_path, helper="didlab-resolve")


def test_interrupted_while_the_name_of_a_store_is_looked_up(saver, server, tmp_path):
    port = server.port
    server.rule(
        lambda request: server.large in request.path, redirect(f"http://localhost:{port}/layer")
    )
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar", "names")
    assert saver.heard() == {"here": True}
    check(saver, tmp_path, helper="didlab-resolve")
    goes_on(saver, server, server.host, tmp_path)


def test_interrupted_while_the_disk_is_waited_for(saver, server, tmp_path):
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar", "fsync")
    assert saver.heard() == {"here": True}
    check(saver, tmp_path, helper="didlab-sync")
    said = goes_on(saver, server, server.host, tmp_path)
    assert said["downloaded"] == 0


def test_interrupted_while_a_partial_file_is_read_back(saver, server, tmp_path):
    server.rule(lambda request: server.large in request.path, stall(SECONDS, after=2 * MB))
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar")
    arrived(tmp_path, 2 * MB)
    check(saver, tmp_path)
    saver.begin(f"{server.host}/lab/app:1", tmp_path / "app.tar", "hashing")
    assert saver.heard() == {"here": True}
    check(saver, tmp_path)
    said = goes_on(saver, server, server.host, tmp_path)
    assert said["reused"] >= 2 * MB - 256 * 1024


# --- anywhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenth", [1, 3, 5, 7, 9])
def test_interrupted_in_mid_download(saver, server, tmp_path, tenth):
    with CuttingProxy(server.host, rate=2 * MB) as line:
        saver.begin(f"{line.host}/lab/app:1", tmp_path / "app.tar")
        waiting = threading.Event()
        while line.passed < tenth * server.total // 10:
            waiting.wait(0.001)
        here = line.passed
        check(saver, tmp_path)
        assert len(partial(tmp_path)) == 1
        line.rate = None
        said = goes_on(saver, server, line.host, tmp_path)
    # What lay in sockets is lost, and what no note was made of.
    assert said["reused"] >= here - 10 * 128 * 1024


# --- a real kernel -------------------------------------------------------------------------------

SAVE = """
import signal, threading, time
import didlab
came = []
def interrupted(*_):
    came.append(time.monotonic())
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, interrupted)
try:
    report = didlab.open({reference!r}).save({target!r})
    print("saved", report.downloaded + report.reused)
except KeyboardInterrupt:
    print("seconds", time.monotonic() - came[0])
    raise
"""
THREADS = """
end = time.monotonic() + 2
names = lambda: [t.name for t in threading.enumerate() if t.name.startswith("didlab")]
while names() and time.monotonic() < end:
    time.sleep(0.01)
print(names())
"""


@pytest.mark.filterwarnings("default")  # those of Jupyter's own machinery are not ours
@pytest.mark.parametrize("point", ["before the head", "in the body"])
def test_the_stop_button(server, tmp_path, monkeypatch, point):
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "saved"
    folder.mkdir()
    reached = threading.Event()

    def act(exchange) -> None:
        reached.set()
        (delay(SECONDS) if point == "before the head" else stall(SECONDS, after=MB))(exchange)

    server.rule(lambda request: server.large in request.path, act)
    save = SAVE.format(reference=f"{server.host}/lab/app:1", target=str(folder / "app.tar"))
    manager, client = start_new_kernel(kernel_name="python3")
    try:

        def run(code: str, meanwhile=lambda: None) -> tuple[str, str]:
            """What a cell printed, and the name of the error that it ended with."""
            printed: list[str] = []
            asked = client.execute(code)
            meanwhile()
            while True:
                message = client.get_iopub_msg(timeout=60)
                if message["parent_header"].get("msg_id") != asked:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "stream" and content["name"] == "stdout":
                    printed.append(content["text"])
                if kind == "status" and content["execution_state"] == "idle":
                    break
            # The channel may still have answers to what the kernel was asked when it started.
            while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != asked:
                pass
            return "".join(printed).strip(), reply["content"].get("ename", "")

        def stop() -> None:
            assert reached.wait(60)
            manager.interrupt_kernel()

        printed, error = run(save, stop)
        assert error == "KeyboardInterrupt"
        word, seconds = printed.split()
        assert word == "seconds"
        assert float(seconds) < PROMPT
        assert run(THREADS) == ("[]", "")
        assert not (folder / "app.tar").exists()
        server.rules.clear()
        assert run(save) == (f"saved {server.total}", "")
        assert [path.name for path in folder.iterdir()] == ["app.tar"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
