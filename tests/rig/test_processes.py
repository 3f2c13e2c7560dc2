"""Starting and ending programs."""

from __future__ import annotations

import os
import socket
import sys
import time

import pytest

from rig.processes import CommandFailed, Service, clean_environ, free_port, require, run


def test_a_missing_program_is_loud(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install nothing"):
        require("no-such-program", "nothing")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install nothing"):
        require("no-such-program", "nothing")


def test_free_port_can_be_bound_and_is_given_once():
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", ports.pop()))


def test_clean_environ(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_X", "1")
    assert "HTTPS_PROXY" not in clean_environ()
    assert "DOCKER_X" in clean_environ()
    assert "DOCKER_X" not in clean_environ("DOCKER_")


def test_a_service_that_dies_shows_its_log(tmp_path):
    code = "import sys; print('to out'); sys.exit('to err')"
    service = Service("dies", [sys.executable, "-c", code], folder=tmp_path, ready=lambda: False)
    with pytest.raises(RuntimeError, match=r"ended with 1[^$]*to out[^$]*to err"):
        service.start()
    assert not service.running


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_a_service_ends_with_its_stubborn_children(tmp_path):
    child = "import signal, time; signal.signal(15, 1); print('child', flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    out = tmp_path / "parent.out"
    service = Service(
        "parent",
        [sys.executable, "-c", code],
        folder=tmp_path,
        ready=lambda: "child" in out.read_text(),
    )
    service.start()
    group = service.pid
    os.killpg(group, 0)
    service.stop()
    assert not service.running
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("children live on")


def test_run_shows_what_went_wrong():
    utf8 = {**clean_environ(), "PYTHONUTF8": "1"}
    words = [sys.executable, "-c", "print(input())"]
    assert run(*words, text="héllo", environ=utf8).strip() == "héllo"
    with pytest.raises(CommandFailed, match="ended with 3\nout") as caught:
        run(sys.executable, "-c", "print('out', end=''); raise SystemExit(3)")
    assert caught.value.status == 3
