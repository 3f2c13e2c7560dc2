"""Logins from docker's and podman's files, and from helper programs that really run."""

import base64
import copy
import dataclasses
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from didlab import errors
from didlab.transport import credentials, helpers
from didlab.transport.credentials import Credential
from didlab.transport.secret import Environment, Secret

PASSWORD = "hunter2:with:colons"
HUB = "https://index.docker.io/v1/"


def b64(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return base64.b64encode(raw).decode()


def entry(password: str = PASSWORD, user: str = "bob") -> dict[str, str]:
    return {"auth": b64(f"{user}:{password}")}


class World:
    """A home directory, an environment and a PATH of their own."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.bin = root / "bin"
        self.bin.mkdir()
        self.docker = self.home / ".docker" / "config.json"
        self.podman = self.home / ".config" / "containers" / "auth.json"
        keep = ("SYSTEMROOT", "PATHEXT", "TEMP", "TMP")
        self.environ = {key: os.environ[key] for key in keep if key in os.environ}
        self.environ |= {"PATH": str(self.bin), "XDG_RUNTIME_DIR": str(root / "run")}

    def write(self, path: Path, document: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def helper(self, name: str, code: str) -> Path:
        """Install a helper; ``ask()`` in its code reads the server's name."""
        script = self.bin / f"{name}.py"
        counter = str(self.bin / f"{name}.calls")
        script.write_text(
            "import json, os, subprocess, sys, time\n"
            f"with open({counter!r}, 'a') as file:\n    file.write('x')\n"
            "ask = sys.stdin.read\n"
            "def answer(user, secret, url=''):\n"
            "    print(json.dumps({'ServerURL': url, 'Username': user, 'Secret': secret}))\n"
            "def unknown():\n"
            "    print('credentials not found in native keychain')\n"
            "    sys.exit(1)\n" + code,
            encoding="utf-8",
        )
        if sys.platform == "win32":
            program = self.bin / f"docker-credential-{name}.bat"
            program.write_text(f'@"{sys.executable}" "{script}" %*\n')
        else:
            program = self.bin / f"docker-credential-{name}"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o755)
        return program

    def calls(self, name: str) -> int:
        path = self.bin / f"{name}.calls"
        return len(path.read_text()) if path.exists() else 0

    def find(self, registry: str, repository: str = "") -> Credential | None:
        return credentials.find(registry, repository, environ=self.environ, home=self.home)

    def password(self, registry: str, repository: str = "") -> str | None:
        found = self.find(registry, repository)
        return found and found.password and found.password.reveal()

    def get(self, name: str, server: str = "r.test", **options: Any) -> Any:
        return helpers.get(name, server, environ=self.environ, **options)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    credentials.forget()
    yield World(tmp_path)
    credentials.forget()


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "didlab")
    return lambda: [record.getMessage() for record in caplog.records]


def locals_of(error: BaseException) -> str:
    """All that a traceback with locals would show of didlab's own frames."""
    shown = [str(error)]
    for exception in (error, error.__cause__, error.__context__):
        for frame, _ in traceback.walk_tb(exception and exception.__traceback__):
            if frame.f_globals["__name__"].startswith("didlab."):
                shown += [repr(value) for value in frame.f_locals.values()]
    assert len(shown) > 1
    return "\n".join(shown)


# --- Secret


def test_secret_shows_itself_only_by_name() -> None:
    secret = Secret(PASSWORD)
    shown = f"{secret} {secret!r} {secret:>5} {[secret]} { ({'x': secret}) }"
    assert PASSWORD[:4] not in shown
    assert shown.count("***") == 5
    assert "h" not in f"{secret:.1}"
    assert secret.reveal() == PASSWORD
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret, default=vars)
    with pytest.raises(AttributeError):
        secret._value = "x"
    with pytest.raises(AttributeError):
        del secret._value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secret_does_not_pickle(protocol: int) -> None:
    for value in (Secret("x"), Credential("bob", Secret("x")), Environment({"A": "x"})):
        with pytest.raises(TypeError):
            pickle.dumps(value, protocol)


def test_secret_compares_hashes_and_copies() -> None:
    secret = Secret("é")
    assert secret == Secret("é")
    assert secret != Secret("e")
    assert secret != "é"
    assert hash(secret) == hash(Secret("é"))
    assert copy.deepcopy(secret) is secret
    assert copy.copy(secret) is secret
    assert dataclasses.asdict(Credential("bob", secret))["password"] is secret
    assert bool(secret)
    assert not Secret("")


def test_credential_repr_names_what_it_holds() -> None:
    found = Credential("bob\x1b", Secret("pass1"), registry_token=Secret("tok1"), source="here")
    assert "pass1" not in repr(found)
    assert "tok1" not in repr(found)
    assert "\x1b" not in repr(found)
    assert "registry_token=***" in repr(found)
    assert "identity_token" not in repr(found)


def test_environment_hides_values() -> None:
    hidden = Environment({"A": "secret1"})
    assert dict(hidden) == {"A": "secret1"}
    assert len(hidden) == 1
    assert "secret1" not in repr(hidden)


# --- matching


def test_nothing_there(world: World) -> None:
    assert world.find("r.test") is None


@pytest.mark.parametrize(
    ("key", "registry", "matches"),
    [
        ("r.test", "r.test", True),
        ("R.Test", "r.TEST", True),
        ("https://r.test", "r.test", True),
        ("http://r.test/", "r.test", True),
        ("https://r.test/v1/", "r.test", True),
        ("https://r.test/v2/", "r.test", True),
        ("r.test/v2/", "r.test", True),
        ("r.test/", "r.test", True),
        ("r.test:5000", "r.test:5000", True),
        ("[::1]:5000", "[::1]:5000", True),
        ("r.test", "r.test:5000", False),
        ("r.test:5000", "r.test", False),
        ("r.test:5000", "r.test:500", False),
        ("r.test", "evil-r.test", False),
        ("r.test", "r.test.evil.test", False),
        ("r.test", "a.r.test", False),
        ("r.test.evil.test", "r.test", False),
        ("https://r.test@evil.test", "r.test", False),
        ("\u212ar.test", "kr.test", False),
        ("r.test\n", "r.test", False),
        ("", "r.test", False),
        ("https://", "r.test", False),
        (HUB, "docker.io", True),
        (HUB, "index.docker.io", True),
        (HUB, "registry-1.docker.io", True),
        (HUB, "r.test", False),
        (HUB, "auth.docker.io", False),
        ("docker.io", "registry-1.docker.io", True),
        ("Registry-1.Docker.io", "docker.io", True),
        ("index.docker.io/v1", "docker.io", True),
        ("docker.io", "docker.io.evil.test", False),
        ("docker.io", "docker.io:5000", False),
    ],
)
def test_keys_match_the_host_exactly(world: World, key: str, registry: str, matches: bool) -> None:
    world.write(world.docker, {"auths": {key: entry()}})
    assert world.password(registry) == (PASSWORD if matches else None)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("", "host"),
        ("other/app", "host"),
        ("org", "org"),
        ("org/app", "app"),
        ("org/app/deeper", "app"),
        ("org/application", "org"),
        ("organisation/app", "host"),
        ("ORG/app", "host"),
    ],
)
def test_the_longest_path_wins(world: World, repository: str, expected: str) -> None:
    keys = {"quay.test/org": "org", "quay.test": "host", "quay.test/org/app": "app"}
    world.write(world.podman, {"auths": {key: entry(word) for key, word in keys.items()}})
    assert world.password("quay.test", repository) == expected


def test_a_path_entry_is_not_for_the_whole_host(world: World) -> None:
    world.write(world.podman, {"auths": {"quay.test/org": entry(), "docker.io/me": entry("me")}})
    assert world.find("quay.test", "other/app") is None
    assert world.find("quay.test") is None
    assert world.password("registry-1.docker.io", "me/app") == "me"


@pytest.mark.parametrize("registry", ["", "r.test\n", "r.test/x", "u@r.test", "a b", "r.test:x"])
def test_registry_has_to_be_a_host(world: World, registry: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        world.find(registry)


# --- entries


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (entry(), ("bob", PASSWORD, None, None)),
        (entry("pä"), ("bob", "pä", None, None)),
        (entry(""), ("bob", "", None, None)),
        ({"auth": b64("bob:pass\0\0")}, ("bob", "pass", None, None)),
        (
            {"auth": b64("bob:" + "x" * 90)[:76] + "\n" + b64("bob:" + "x" * 90)[76:]},
            ("bob", "x" * 90, None, None),
        ),
        ({"username": "bob", "password": "pass"}, ("bob", "pass", None, None)),
        ({**entry("real"), "username": "al", "password": "no"}, ("bob", "real", None, None)),
        (
            {"auth": b64("00000000-0000-0000-0000-000000000000:"), "identitytoken": "idtok"},
            ("00000000-0000-0000-0000-000000000000", None, "idtok", None),
        ),
        ({"identitytoken": "idtok"}, (None, None, "idtok", None)),
        ({"registrytoken": "regtok"}, (None, None, None, "regtok")),
        ({**entry(), "email": "a@b"}, ("bob", PASSWORD, None, None)),
        ({}, None),
        ({"auth": ""}, None),
        ({"auth": None, "password": "pass"}, None),
    ],
)
def test_entries(world: World, fields: Any, expected: Any) -> None:
    world.write(world.docker, {"auths": {"r.test": fields}})
    found = world.find("r.test")
    if expected is None:
        assert found is None
        return
    assert found is not None
    secrets = (found.password, found.identity_token, found.registry_token)
    assert (
        found.username,
        *(None if each is None else each.reveal() for each in secrets),
    ) == expected
    assert found.source == str(world.docker)


BROKEN = [
    {"auth": "SECRET%%%"},
    {"auth": b64("SECRETnocolon")},
    {"auth": b64(":SECRET")},
    {"auth": b64("bob:SECRET").rstrip("=") + "==="},
    {"auth": b64(b"bob:SECRET\xff")},
    {"auth": 12345678},
    {"auth": ["SECRET"]},
    {"identitytoken": "SECRET\r\nX: y"},
    {"registrytoken": "SECRET é"},
    {"username": "bob", "password": "SECRET\ud800"},
    "SECRET",
    None,
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_entry_loses_only_itself(
    world: World, broken: Any, warnings_of: Callable[[], list[str]]
) -> None:
    world.write(world.docker, {"auths": {"broken.test": broken, "r.test": entry()}})
    assert world.password("r.test") == PASSWORD
    assert world.find("else.test") is None
    (warning,) = warnings_of()  # once, though two searches met it
    assert "broken.test" in warning
    assert "SECRET" not in warning
    with pytest.raises(errors.ConfigError) as caught:
        world.find("broken.test", "a/b")
    assert caught.value.host == "broken.test"
    assert caught.value.path == str(world.docker)
    assert "broken.test" in str(caught.value)
    told = locals_of(caught.value)
    for word in ("SECRET", b64("bob:SECRET")[:10], b64("SECRETnocolon")[:10]):
        assert word not in told


def test_of_two_spellings_the_good_one_is_taken(world: World) -> None:
    world.write(world.docker, {"auths": {"https://r.test/v1/": {"auth": "%"}, "r.test": entry()}})
    assert world.password("r.test") == PASSWORD


# --- places


def test_order_of_places(world: World) -> None:
    run = Path(world.environ["XDG_RUNTIME_DIR"], "containers", "auth.json")
    given = world.home / "given.json"
    places = [given, world.docker, run, world.podman]
    for path in places:
        world.write(path, {"auths": {"r.test": entry(path.name + path.parent.name)}})
    inline = json.dumps({"auths": {"r.test": entry("inline")}})

    world.environ["DOCKER_AUTH_CONFIG"] = inline
    found = world.find("r.test")
    assert found is not None
    assert found.source == "DOCKER_AUTH_CONFIG"
    assert found.password == Secret("inline")
    world.environ["DOCKER_AUTH_CONFIG"] = " "

    for path in (world.docker, run, world.podman):
        found = world.find("r.test")
        assert found is not None
        assert found.source == str(path)
        path.unlink()
    assert world.find("r.test") is None
    world.write(world.podman, {"auths": {"r.test": entry("podman")}})
    world.environ["REGISTRY_AUTH_FILE"] = str(given)
    found = world.find("r.test")
    assert found is not None
    assert found.source == str(given)


def test_the_next_place_is_asked_where_one_knows_nothing(world: World) -> None:
    world.environ["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"other.test": entry("no")}})
    world.write(world.docker, {"auths": {"r.test": {}}})
    world.write(world.podman, {"auths": {"r.test": entry()}})
    assert world.password("r.test") == PASSWORD


def test_folders_from_the_environment(world: World, tmp_path: Path) -> None:
    world.write(world.docker, {"auths": {"r.test": entry("home")}})
    world.environ["DOCKER_CONFIG"] = str(tmp_path / "dc")
    assert world.find("r.test") is None
    world.write(tmp_path / "dc" / "config.json", {"auths": {"r.test": entry("dc")}})
    assert world.password("r.test") == "dc"
    world.environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    world.write(tmp_path / "xdg" / "containers" / "auth.json", {"auths": {"x.test": entry("xdg")}})
    assert world.password("x.test") == "xdg"


def test_home_from_the_environment(world: World) -> None:
    world.write(world.docker, {"auths": {"r.test": entry()}})
    variable = "USERPROFILE" if sys.platform == "win32" else "HOME"
    assert credentials.find("r.test", environ={variable: str(world.home)}) is not None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"text"',
        "null",
        '{"auths": []}',
        '{"auths": "SECRET"}',
        '{"credHelpers": ["SECRET"]}',
        '{"credsStore": 1}',
        '{"auths": {}, "auths": {}}',
        '{"auths": {"r.test": {"auth": "SECRET", "auth": "SECRET"}}}',
        '{"x": NaN}',
        '{"auths": {}} {"auths": {}}',
        '{"auths": {"r.test": {"auth": "SECRET"',
        "\ufeff{}",
        "[" * 100_000,
        '{"x": ' + "9" * 5000 + "}",
    ],
)
def test_unusable_files(world: World, text: str) -> None:
    world.write(world.docker, text)
    with pytest.raises(errors.ConfigError) as caught:
        world.find("r.test")
    assert caught.value.path == str(world.docker)
    assert "SECRET" not in locals_of(caught.value)
    world.docker.unlink()
    world.environ["DOCKER_AUTH_CONFIG"] = text
    if text:
        with pytest.raises(errors.ConfigError) as caught:
            world.find("r.test")
        assert "SECRET" not in locals_of(caught.value)


def test_null_sections_are_empty_ones(world: World) -> None:
    world.write(world.docker, {"auths": None, "credHelpers": None, "credsStore": None})
    assert world.find("r.test") is None


def test_file_limits(world: World) -> None:
    world.write(world.docker, '{"x": "' + "a" * (1024 * 1024 - 9) + '"}')
    assert world.docker.stat().st_size == 1024 * 1024
    assert world.find("r.test") is None
    world.write(world.docker, '{"x": "' + "a" * (1024 * 1024) + '"}')
    with pytest.raises(errors.ConfigError, match="larger"):
        world.find("r.test")
    world.docker.write_bytes(b'{"auths": {}, "x": "\xff"}')
    with pytest.raises(errors.ConfigError, match="UTF-8"):
        world.find("r.test")
    world.docker.unlink()
    world.docker.mkdir()
    with pytest.raises(errors.ConfigError, match="regular file"):
        world.find("r.test")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_fifo_does_not_block(world: World) -> None:
    world.docker.parent.mkdir(parents=True)
    os.mkfifo(world.docker)
    with pytest.raises(errors.ConfigError, match="regular file"):
        world.find("r.test")


@pytest.mark.skipif(sys.platform == "win32", reason="modes mean little on Windows")
def test_an_open_file_is_warned_about_once(
    world: World, warnings_of: Callable[[], list[str]]
) -> None:
    world.write(world.docker, {"auths": {"r.test": entry()}})
    world.docker.chmod(0o644)
    assert world.find("other.test") is None
    assert warnings_of() == []
    world.find("r.test")
    world.find("r.test")
    (warning,) = warnings_of()
    assert "chmod 600" in warning
    assert stat.S_IMODE(world.docker.stat().st_mode) == 0o644  # never written


# --- credential helpers


def test_helper_answers(world: World) -> None:
    world.write(world.docker, {"credHelpers": {"r.test:5000": "one"}})
    world.helper("one", "answer(sys.argv[1], 'for ' + ask(), 'r.test:5000')")
    found = world.find("R.test:5000")
    assert found == Credential("get", Secret("for r.test:5000"), source="docker-credential-one")
    assert world.find("r.test") is None


def test_identity_token_of_a_helper(world: World) -> None:
    world.write(world.docker, {"credsStore": "one"})
    world.helper("one", "answer('<token>', 'idtok')")
    found = world.find("r.test")
    assert found is not None
    assert (found.username, found.password) == (None, None)
    assert found.identity_token == Secret("idtok")


def test_helper_is_asked_once(world: World) -> None:
    world.write(world.docker, {"credsStore": "one"})
    world.helper("one", "answer('bob', 'x') if ask() == 'r.test' else unknown()")
    threads = [threading.Thread(target=world.find, args=("r.test",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.find("none.test") is None
    assert world.find("none.test") is None
    assert world.password("r.test") == "x"
    assert world.calls("one") == 2
    credentials.forget()
    assert world.password("r.test") == "x"
    assert world.calls("one") == 3


def test_the_host_s_helper_goes_before_the_store_and_auths_come_last(world: World) -> None:
    world.helper("own", "answer('bob', 'own') if ask() == 'own.test' else unknown()")
    world.helper("store", "answer('bob', 'store') if ask() == 'store.test' else unknown()")
    hosts = ("own.test", "own2.test", "store.test", "file.test")
    world.write(
        world.docker,
        {
            "credHelpers": {"own.test": "own", "own2.test": "own", "store.test": ""},
            "credsStore": "store",
            "auths": {host: entry("file") for host in hosts},
        },
    )
    assert [world.password(host) for host in hosts] == ["own", "file", "store", "file"]


def test_a_path_entry_goes_before_the_host_s_helper(world: World) -> None:
    world.helper("one", "answer('bob', 'helper')")
    world.write(world.docker, {"credsStore": "one", "auths": {"r.test/org": entry("org")}})
    assert world.password("r.test", "org/app") == "org"
    assert world.password("r.test", "other/app") == "helper"


@pytest.mark.parametrize("kept_as", [HUB, "docker.io"])
@pytest.mark.parametrize("key", [HUB, "docker.io", "registry-1.docker.io"])
def test_helper_and_the_hub(world: World, kept_as: str, key: str) -> None:
    world.helper("one", f"answer('bob', 'hub') if ask() == {kept_as!r} else unknown()")
    world.write(world.docker, {"credHelpers": {key: "one"}})
    for registry in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        assert world.password(registry) == "hub"


def test_a_missing_helper_is_no_failure(world: World, warnings_of: Callable[[], list[str]]) -> None:
    world.write(world.docker, {"credsStore": "desktop.exe", "auths": {"r.test": entry("file")}})
    world.write(world.podman, {"auths": {"p.test": entry("podman")}})
    assert world.password("r.test") == "file"
    assert world.password("p.test") == "podman"
    assert world.find("public.test") is None
    (warning,) = warnings_of()
    assert "docker-credential-desktop.exe" in warning
    assert str(world.docker) in warning


@pytest.mark.parametrize(
    "name", ["../../tmp/evil", "x;rm", "-flag", ".x", "a b", "a\n", "é", "x/y", "x\\y", 7, ["x"]]
)
def test_helper_names_are_names(world: World, name: Any) -> None:
    world.write(world.docker, {"credHelpers": {"r.test": name}})
    with pytest.raises(errors.HelperError) as caught:
        world.find("r.test")
    assert caught.value.path == str(world.docker)
    assert world.find("other.test") is None


def test_empty_name_is_no_helper(world: World) -> None:
    world.write(world.docker, {"credsStore": "", "auths": {"r.test": entry()}})
    assert world.password("r.test") == PASSWORD
    with pytest.raises(errors.HelperError):
        helpers.find_program("", world.environ)


def test_the_working_directory_is_never_searched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.helper("one", "answer('bob', 'x')")
    monkeypatch.chdir(world.bin)
    path = os.pathsep.join(["", ".", str(Path("..", world.bin.name))])
    assert helpers.find_program("one", {**world.environ, "PATH": path}) is None
    assert helpers.find_program("one", {}) is None
    found = helpers.find_program("one", world.environ)
    assert found is not None
    assert found.is_absolute()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no executable bit")
def test_only_executable_files_are_helpers(world: World) -> None:
    world.helper("one", "").chmod(0o644)
    (world.bin / "docker-credential-two").mkdir()
    assert helpers.find_program("one", world.environ) is None
    assert helpers.find_program("two", world.environ) is None


@pytest.mark.parametrize(
    "server",
    [
        "",
        "r.test\n",
        "r.test\nother.test",
        "r.test\0",
        "https://r.test",
        "r.test/x",
        "a" * 300,
        "é",
    ],
)
def test_only_hosts_reach_a_helper(world: World, server: str) -> None:
    world.helper("one", "answer('bob', 'x')")
    with pytest.raises(errors.InvalidArgument):
        world.get("one", server)
    assert world.calls("one") == 0


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('SECRET1')\nprint('locked \\x1b[31m out', file=sys.stderr)\nsys.exit(1)", "locked"),
        ("print('SECRET1'); sys.exit(3)", "status 3"),
        ("print('<html>SECRET1</html>')", "did not answer"),
        ("print('')", "did not answer"),
        ("print('[]')", "did not answer"),
        ("print('{}')", "did not answer"),
        ("print('[' * 60000)", "did not answer"),
        ('print(\'{"Username": 1, "Secret": "SECRET1"}\')', "did not answer"),
        ('print(\'{"Username": "x", "Secret": ["SECRET1"]}\')', "did not answer"),
        ('print(\'{"Username": "x", "Secret": "SECRET1\\\\ud800"}\')', "did not answer"),
        ("answer('bob', 'SECRET1' * 20000)", "more than"),
        ("while True: sys.stdout.write('SECRET1' * 1000)", "more than"),
        ("while True: sys.stderr.write('x' * 1000)", "more than"),
    ],
)
def test_failing_helpers(world: World, code: str, says: str) -> None:
    world.write(world.docker, {"credsStore": "one", "auths": {"r.test": entry("SECRET2")}})
    world.helper("one", code)
    world.environ["CANARY"] = "SECRET3"
    with pytest.raises(errors.HelperError, match=says) as caught:
        world.find("r.test")
    assert caught.value.helper == "one"
    assert caught.value.host == "r.test"
    assert "\x1b" not in str(caught.value)
    assert "SECRET" not in locals_of(caught.value)


def test_stderr_is_cut(world: World) -> None:
    world.helper("one", "print('x' * 5000, file=sys.stderr); sys.exit(1)")
    with pytest.raises(errors.HelperError) as caught:
        world.get("one")
    assert 250 < str(caught.value).count("x") < 320


def test_an_empty_answer_is_no_login(world: World) -> None:
    world.write(world.docker, {"credsStore": "one"})
    world.helper("one", "answer('', '')")
    assert world.find("r.test") is None


def test_not_found_on_stderr(world: World) -> None:
    world.helper("one", "print('Credentials not found', file=sys.stderr); sys.exit(1)")
    assert world.get("one") is None


def test_lower_case_answers(world: World) -> None:
    world.helper("one", 'print(\'{"username": "bob", "secret": "x"}\')')
    assert world.get("one") == ("bob", Secret("x"))


def test_an_answer_for_another_server_is_warned_about(
    world: World, warnings_of: Callable[[], list[str]]
) -> None:
    world.helper("one", "answer('bob', 'x', 'https://u:SECRET@other.test/v1/')")
    assert world.get("one") == ("bob", Secret("x"))
    (warning,) = warnings_of()
    assert "other.test" in warning
    assert "SECRET" not in warning
    world.helper("two", "answer('bob', 'x', 'https://R.test/')")
    world.get("two")
    assert len(warnings_of()) == 1


def test_a_helper_that_does_not_start(world: World) -> None:
    world.helper("one", "")
    program = helpers.find_program("one", world.environ)
    assert program is not None
    program.write_bytes(b"\x00\x01\x02")
    if sys.platform == "win32":
        program = program.rename(program.with_suffix(".exe"))
    with pytest.raises(errors.HelperError, match="cannot be started"):
        world.get("one")


def test_a_missing_helper_asked_directly(world: World) -> None:
    with pytest.raises(errors.HelperError, match="not installed"):
        world.get("none")


def test_environment_of_a_helper(world: World) -> None:
    world.helper("one", "answer(' '.join(sorted(os.environ)), ' '.join(sys.argv[1:]))")
    world.environ |= {"DIDLAB_PASSWORD": "x", "DOCKER_AUTH_CONFIG": "{}", "AWS_PROFILE": "a"}
    names, arguments = world.get("one")
    assert "AWS_PROFILE" in names
    assert "DIDLAB_PASSWORD" not in names
    assert "DOCKER_AUTH_CONFIG" not in names
    assert arguments == Secret("get")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed orphan may wait for a reaper that this machine lacks.
    status = Path(f"/proc/{pid}/stat")
    if status.exists():
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] not in ("", "Z")


def _gone(pid_file: Path) -> bool:
    pid = int(pid_file.read_text())
    for _ in range(200):
        if not _alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_hanging_helper_is_killed(world: World) -> None:
    world.helper("one", "time.sleep(600)")
    threads = threading.active_count()
    with pytest.raises(errors.HelperError, match=r"no answer in 0\.5 s"):
        world.get("one", timeout=0.5)
    assert threading.active_count() == threads


_CHILD = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_children_of_a_hanging_helper_are_killed(world: World, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    write = f"open({str(file)!r}, 'w').write(str(child.pid))"
    world.helper("one", f"child = {_CHILD})\n{write}\nprint('{{', flush=True)\nchild.wait()")
    with pytest.raises(errors.HelperError, match="no answer"):
        world.get("one", timeout=2)
    assert _gone(file)


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
@pytest.mark.parametrize("detached", [False, True])
def test_a_child_that_keeps_the_pipes_does_not_block(
    world: World, tmp_path: Path, detached: bool
) -> None:
    file = tmp_path / "pid"
    write = f"open({str(file)!r}, 'w').write(str(child.pid))"
    world.helper(
        "one", f"child = {_CHILD}, start_new_session={detached})\n{write}\nanswer('b', 'x')"
    )
    threads = threading.active_count()
    try:
        assert world.get("one") == ("b", Secret("x"))
        assert threading.active_count() == threads
        if not detached:
            assert _gone(file)
    finally:
        if file.exists() and _alive(int(file.read_text())):
            os.kill(int(file.read_text()), 9)


def test_a_helper_that_does_not_read(world: World) -> None:
    world.helper("one", "sys.stdin.close(); answer('bob', 'x')")
    assert world.get("one") == ("bob", Secret("x"))


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_file_is_like_none(world: World, text: str) -> None:
    world.write(world.docker, text)
    assert world.find("r.example") is None
    world.write(world.podman, {"auths": {"r.example": entry()}})
    found = world.find("r.example")
    assert found is not None
    assert found.source == str(world.podman)
