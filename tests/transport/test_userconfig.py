"""didlab.toml: its shape, who goes before whom, and what show_config tells about it."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.proxies import Proxy
from rig.registries import Registry as LabRegistry

import didlab
from didlab import settings, userconfig
from didlab.errors import ConfigError, InvalidArgument, InvalidReference
from didlab.transport import credentials, effective, options
from didlab.transport.options import Options

Write = Callable[[str | bytes], Path]
PEM = "own.pem"


@pytest.fixture
def file(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """``file(text)``: the user's file says this."""
    path = tmp_path / "conf" / "didlab.toml"
    path.parent.mkdir()
    (path.parent / PEM).write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.setenv("DIDLAB_CONFIG", str(path))
    monkeypatch.setattr(settings, "_current", None)
    for name in ("WORKERS", "PROGRESS", "COMPLETION", "CARD"):
        monkeypatch.delenv(f"DIDLAB_{name}", raising=False)

    def write(text: str | bytes) -> Path:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(0o600)
        return path

    return write


def rows(registry: str | None = None, **more: Any) -> dict[str, tuple[str | None, str]]:
    table = didlab.show_config(registry, **more).astype(object)
    table = table.where(table.notna(), None)
    return {option: (value, source) for option, value, source in table.itertuples(index=False)}


# --- who goes before whom -----------------------------------------------------------------------

FILE = userconfig.parse(
    """
    [registry."r.eu.corp.example"]
    timeout = 1
    [registry."*.eu.corp.example"]
    timeout = 2
    proxy = "http://eu:1"
    [registry."*.corp.example"]
    timeout = 3
    proxy = "http://corp:1"
    auth_hosts = ["auth.corp.example"]
    [registry."*.corp.example:5000"]
    timeout = [4, 40]
    [registry."*"]
    timeout = 5
    proxy = "http://all:1"
    mirrors = ["https://m.example/{registry}"]
    insecure = ["m.example"]
    credentials_helper = "pass"
    """,
    "/u/didlab.toml",
)


def table(name: str) -> str:
    return f'/u/didlab.toml [registry."{name}"]'


ENVIRON = {
    "DIDLAB_PROXY": "http://env:1",
    "DIDLAB_MIRRORS": "docker.io=https://e1.example, https://e2.example; *.corp.example=",
    "NO_PROXY": "quiet.example",
}


@pytest.mark.parametrize(
    ("registry", "arguments", "environ", "option", "value", "origin"),
    [
        # the file: exact, narrower pattern, wider pattern, everything
        ("r.eu.corp.example", {}, {}, "timeout", (1, 1), table("r.eu.corp.example")),
        ("x.eu.corp.example", {}, {}, "timeout", (2, 2), table("*.eu.corp.example")),
        ("a.b.eu.corp.example", {}, {}, "timeout", (2, 2), table("*.eu.corp.example")),
        ("us.corp.example", {}, {}, "timeout", (3, 3), table("*.corp.example")),
        ("us.corp.example:443", {}, {}, "timeout", (3, 3), table("*.corp.example")),
        ("us.corp.example:5000", {}, {}, "timeout", (4, 40), table("*.corp.example:5000")),
        # whole labels only, and a name is not its own subdomain
        ("corp.example", {}, {}, "timeout", (5, 5), table("*")),
        ("mycorp.example", {}, {}, "timeout", (5, 5), table("*")),
        ("corp.example.net", {}, {}, "timeout", (5, 5), table("*")),
        # another port is another registry
        ("r.eu.corp.example:1", {}, {}, "timeout", (2, 2), table("*.eu.corp.example")),
        # option by option, not table by table
        ("r.eu.corp.example", {}, {}, "proxy", "http://eu:1", table("*.eu.corp.example")),
        ("r.eu.corp.example", {}, {}, "auth_hosts", ("auth.corp.example",),
         table("*.corp.example")),
        ("ghcr.io", {}, {}, "mirrors", ("https://m.example/ghcr.io",), table("*")),
        # what is for all does not hold for this machine
        ("localhost:5000", {}, {}, "mirrors", (), None),
        ("127.0.0.1:5000", {}, {}, "timeout", (10, 30), None),
        ("[::1]:5000", {}, {}, "timeout", (10, 30), None),
        ("127.0.0.1:5000", {}, ENVIRON, "proxy", None, None),
        # the environment goes before the file
        ("docker.io", {}, ENVIRON, "mirrors", ("https://e1.example", "https://e2.example"),
         "environment DIDLAB_MIRRORS"),
        ("us.corp.example", {}, ENVIRON, "mirrors", (), "environment DIDLAB_MIRRORS"),
        ("ghcr.io", {}, ENVIRON, "mirrors", ("https://m.example/ghcr.io",), table("*")),
        ("r.eu.corp.example", {}, ENVIRON, "proxy", "http://env:1", "environment DIDLAB_PROXY"),
        # but for trust_env=False and NO_PROXY
        ("ghcr.io", {"trust_env": False}, ENVIRON, "proxy", "http://all:1", table("*")),
        ("ghcr.io", {"trust_env": False}, {"NO_PROXY": "*"}, "proxy", "http://all:1", table("*")),
        ("quiet.example", {}, ENVIRON, "proxy", None, None),
        ("a.quiet.example:5000", {}, ENVIRON, "proxy", None, None),
        ("unquiet.example", {}, ENVIRON, "proxy", "http://env:1", "environment DIDLAB_PROXY"),
        ("us.corp.example", {}, {"no_proxy": ".corp.example"}, "proxy", "http://corp:1",
         table("*.corp.example")),
        # arguments go before all
        ("docker.io", {"mirrors": "https://a.example"}, ENVIRON, "mirrors",
         ("https://a.example",), "argument"),
        ("docker.io", {"proxy": "socks5://a:1"}, ENVIRON, "proxy", "socks5h://a:1", "argument"),
        ("docker.io", {"proxy": "direct"}, ENVIRON, "proxy", "direct", "argument"),
        ("r.eu.corp.example", {"timeout": 9}, {}, "timeout", (9, 9), "argument"),
        ("docker.io", {"insecure": False}, {}, "insecure", False, "argument"),
        # nothing is nothing
        ("ghcr.io", {"mirrors": ()}, {}, "mirrors", ("https://m.example/ghcr.io",), table("*")),
        ("ghcr.io", {"mirrors": [], "proxy": None, "insecure": None, "timeout": None}, {},
         "insecure", ("m.example",), table("*")),
        ("ghcr.io", {"proxy": None}, {"DIDLAB_PROXY": "", "DIDLAB_MIRRORS": ""}, "proxy",
         "http://all:1", table("*")),
    ],
)  # fmt: skip
def test_precedence(
    registry: str,
    arguments: dict[str, Any],
    environ: dict[str, str],
    option: str,
    value: Any,
    origin: str | None,
) -> None:
    found, origins = effective.effective(registry, arguments, environ, FILE)
    got = getattr(found, option)
    assert (str(got) if isinstance(got, options.Proxy) else got) == value
    assert origins.get(option) == origin


def test_without_anything_the_options_are_those_of_make() -> None:
    found, origins = effective.effective("docker.io", {}, {}, userconfig.UserConfig())
    assert found == options.make()
    assert origins == {}


def test_names_of_the_hub_are_one() -> None:
    found = userconfig.parse('[registry."Index.Docker.io"]\ntimeout = 7', "f")
    assert effective.effective("docker.io", {}, {}, found)[0].timeout == (7, 7)


def test_an_empty_list_in_the_file_is_an_answer() -> None:
    text = '[registry."*"]\nmirrors = "https://m.example"\n[registry."ghcr.io"]\nmirrors = []'
    found = userconfig.parse(text, "f")
    assert effective.effective("ghcr.io", {}, {}, found)[0].mirrors == ()
    assert effective.effective("quay.io", {}, {}, found)[0].mirrors == ("https://m.example",)


def test_an_unknown_argument_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"mirror.*mirrors"):
        didlab.open("nginx", mirror="https://m.example")


@pytest.mark.parametrize(
    "text",
    ["docker.io", "https://a.example", "a/b=https://a", "=https://a", "a b=https://a", "**=x"],
)
def test_nonsense_in_didlab_mirrors(
    text: str, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDLAB_MIRRORS", text)
    with pytest.raises(InvalidArgument, match="DIDLAB_MIRRORS"):
        didlab.Registry("ghcr.io")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIDLAB_MIRRORS", "ghcr.io=ftp://a"),
        ("DIDLAB_MIRRORS", "ghcr.io=https://u:hunter2@a"),
        ("DIDLAB_PROXY", "gopher://u:hunter2@a:1"),
    ],
)
def test_wrong_addresses_in_the_environment(
    name: str, value: str, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgument, match=name) as caught:
        didlab.open("ghcr.io/a/b")
    assert "hunter2" not in str(caught.value)


# --- wrong files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[registry", "see end of document"),
        ("a = 1\n[registry.'x']\nb = hunter2", "line 3, column"),
        ("mirrors = ['https://a.example']", "unknown key: mirrors"),
        ("registry = 1", "has to be a table, not a number"),
        ("options = [1]", "has to be a table, not such an array"),
        ("[registry]\nx = 'hunter2'", "has to be a table, not a string"),
        ("[[registry.x]]", "has to be a table"),
        ("[registry.docker.io]\nmirrors = []", "needs quotes"),
        ("[registry.'a/b']", "is no registry"),
        ("[registry.'a*.b']", "is no registry"),
        ("[registry.'*x']", "is no registry"),
        ("[registry.'*.']", "is no registry"),
        ("[registry.'*.*']", "is no registry"),
        ("[registry.'https://a']", "is no registry"),
        ("[registry.'docker.io']\n[registry.'index.docker.io']", "another name of docker.io"),
        ("[registry.x]\nmirors = []", "unknown key: mirors (did you mean mirrors?)"),
        ("[registry.x]\nzzz = 'hunter2'", "there are mirrors, proxy"),
        ("[registry.x]\ntrust_env = false", "unknown key"),
        ("[registry.x]\nmirrors = 1", "mirrors has to be an array of addresses, not a number"),
        ("[registry.x]\nmirrors = [1]", "mirrors has to be"),
        ("[registry.x]\nmirrors = ['']", "mirrors has to be"),
        ("[registry.x]\nmirrors = [['a']]", "mirrors has to be"),
        ("[registry.x]\nproxy = ['a']", "proxy has to be"),
        ("[registry.x]\nproxy = false", 'proxy has to be an address, or "direct", not a boolean'),
        ("[registry.x]\nca = 1979-05-27", "ca has to be a file's name, not a date"),
        ("[registry.x]\nclient_cert = []", "client_cert has to be"),
        ("[registry.x]\nclient_cert = ['a', 'b', 'c']", "client_cert has to be"),
        ("[registry.x]\ninsecure = 1", "insecure has to be"),
        ("[registry.x]\ninsecure = ['a', true]", "insecure has to be"),
        (
            "[registry.x]\nauth_hosts = {a = 1}",
            "auth_hosts has to be an array of hosts, not a table",
        ),
        ("[registry.x]\ntimeout = true", "timeout has to be"),
        ("[registry.x]\ntimeout = 0", "timeout has to be"),
        ("[registry.x]\ntimeout = nan", "timeout has to be"),
        ("[registry.x]\ntimeout = inf", "timeout has to be"),
        ("[registry.x]\ntimeout = '5'", "timeout has to be"),
        ("[registry.x]\ntimeout = [1, 2, 3]", "timeout has to be"),
        ("[registry.x]\ncredentials_helper = '../x'", "credentials_helper has to be"),
        ("[registry.x]\ncredentials_helper = 'a b'", "credentials_helper has to be"),
        ('[registry.x]\ncredentials_helper = "a\\n"', "credentials_helper has to be"),
        # secrets
        ("[registry.x]\npassword = 'hunter2'", "password is refused"),
        ("[registry.x]\nusername = 'hunter2'", "docker login"),
        ("[registry.x]\ntoken = 'hunter2'", "token is refused"),
        ("[registry.x]\nidentitytoken = 'hunter2'", "is refused"),
        ("[registry.x]\nauth = 'hunter2'", "auth is refused"),
        ("[registry.x]\nproxy = 'http://u:hunter2@p:1'", "DIDLAB_PROXY"),
        ("[registry.x]\nproxy = 'http://hunter2@p:1'", "proxy is refused"),
        ("[registry.x]\nmirrors = ['https://u:hunter2@m']", "mirrors is refused"),
    ],
)
def test_wrong_files(file: Write, text: str, expected: str) -> None:
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        didlab.open("nginx")
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.path == str(path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    with pytest.raises(ConfigError):
        didlab.show_config()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ca = 'absent.pem'", "ca= names no file"),
        ("client_cert = ['own.pem', 'absent.pem']", "client_cert= names no file"),
        ("proxy = 'gopher://a:1'", "not a proxy address"),
        ("mirrors = ['ftp://a']", "not a mirror's address"),
    ],
)
def test_values_that_cannot_be_are_told_where_they_matter(
    file: Write, text: str, expected: str
) -> None:
    path = file(f'[registry."docker.io"]\n{text}')
    didlab.open("ghcr.io/a/b")
    with pytest.raises(ConfigError) as caught:
        didlab.open("nginx")
    assert str(caught.value).startswith(f'{path} [registry."docker.io"]: {expected}')
    assert caught.value.path == str(path)


def test_plain_http_at_a_mirror_needs_a_word(file: Write) -> None:
    file('[registry."docker.io"]\nmirrors = ["http://m.example"]')
    with pytest.raises(InvalidArgument, match="plain http"):
        didlab.Registry()
    file('[registry."docker.io"]\nmirrors = ["http://m.example"]\ninsecure = ["m.example"]')
    assert didlab.Registry().mirrors == ("http://m.example",)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"# \xff", "not UTF-8"),
        ("# é".encode("utf-16"), "not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than"),
        (b"[" * 100_000, "is not TOML"),
        (b"a" + b".a" * 100_000, "is not TOML"),
    ],
)
def test_files_that_are_no_configuration(file: Write, raw: bytes, expected: str) -> None:
    file(raw)
    with pytest.raises(ConfigError, match=expected):
        didlab.open("nginx")


def test_a_byte_order_mark_is_forgiven(file: Write) -> None:
    file('\ufeff[registry."docker.io"]\nmirrors = "https://m.example"')
    assert didlab.Registry().mirrors == ("https://m.example",)


def test_a_folder_is_no_file(tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIDLAB_CONFIG", str(tmp_path))
    with pytest.raises(ConfigError, match="not a regular file"):
        didlab.open("nginx")


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO")
def test_a_fifo_does_not_block(
    tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setenv("DIDLAB_CONFIG", str(tmp_path / "fifo"))
    with pytest.raises(ConfigError, match="not a regular file"):
        didlab.open("nginx")


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_a_file_that_all_may_change_is_told(file: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = file("")
    path.chmod(0o666)
    with caplog.at_level(logging.WARNING, "didlab"):
        didlab.open("nginx")
        didlab.open("nginx")
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} can be changed by everybody on this machine; chmod 600 it"
    ]


# --- where it is, and when it is read -----------------------------------------------------------


def test_no_file_is_fine(alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in (tmp_path / "absent", tmp_path / "no" / "folder"):
        monkeypatch.setenv("DIDLAB_CONFIG", str(place))
        assert userconfig.load() == userconfig.UserConfig()
        assert rows()["file"] == (f"{place} (not there)", "environment DIDLAB_CONFIG")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG")
def test_the_platforms_folder(alone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DIDLAB_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    expected = tmp_path / "xdg" / "didlab" / "didlab.toml"
    assert userconfig.location() == expected
    expected.parent.mkdir(parents=True)
    expected.write_text('[registry."docker.io"]\nmirrors = "https://m.example"')
    assert rows()["mirrors"] == ("https://m.example", f'{expected} [registry."docker.io"]')
    assert rows()["file"] == (str(expected), "default")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert userconfig.location() == alone / ".config" / "didlab" / "didlab.toml"
    # A relative folder must not bring in what lies in the working directory.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", "xdg")
    assert rows()["mirrors"] == (None, "default")


def test_a_relative_folder_is_none(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIDLAB_CONFIG")
    # As older versions of platformdirs answer.
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: Path("xdg"))
    assert userconfig.location() is None
    assert userconfig.load() == userconfig.UserConfig()
    assert rows()["file"] == (None, "default")


def test_a_tilde_is_the_home(alone: Path) -> None:
    assert userconfig.location({"DIDLAB_CONFIG": "~/d.toml"}) == alone / "d.toml"


def test_it_is_read_once_and_again_when_it_changed(
    file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    text = userconfig._text
    monkeypatch.setattr(userconfig, "_text", lambda path: (read.append(path), text(path))[1])
    path = file('[registry."docker.io"]\ntimeout = 5')
    for _ in range(3):
        assert didlab.Registry()._options.timeout == (5, 5)
    assert len(read) == 1
    file('[registry."docker.io"]\ntimeout = 6')  # as long as before
    os.utime(path, ns=(1, 1))
    assert didlab.Registry()._options.timeout == (6, 6)
    assert len(read) == 2
    path.unlink()
    assert didlab.Registry()._options.timeout == (10, 30)


def test_files_are_looked_for_beside_it(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(f'[registry."docker.io"]\nca = "{PEM}"\nclient_cert = ["{PEM}", "~/key.pem"]')
    (Path.home() / "key.pem").write_text("")
    pem = str(path.parent / PEM)
    monkeypatch.chdir(path.parent.parent)
    found = didlab.Registry()._options
    assert found.ca == pem
    assert found.client_cert == (pem, str(Path.home() / "key.pem"))


# --- what travels -------------------------------------------------------------------------------


def test_arguments_travel_and_the_rest_is_found_anew(
    file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDLAB_PROXY", "http://u:hunter2@here:1")
    path = file('[registry."docker.io"]\nmirrors = "https://here.example"\ntimeout = 5')
    hub = didlab.Registry(timeout=9, ca=path.parent / PEM, username="ada", password="hunter3")
    travelling = pickle.dumps(hub)
    for word in (b"hunter", b"here.example", b"here:1", b"ada"):
        assert word not in travelling.replace(str(path.parent).encode(), b"")
    monkeypatch.setenv("DIDLAB_PROXY", "http://u:hunter2@there:1")
    file('[registry."docker.io"]\nmirrors = "https://there.example"\ntimeout = 6')
    (path.parent / PEM).unlink()  # told when it is needed, not when a worker starts
    found: Options = pickle.loads(travelling)._options
    assert found.mirrors == ("https://there.example",)
    assert found.proxy is not None
    assert found.proxy.reveal() == "http://u:hunter2@there:1"
    assert (found.timeout, found.ca) == ((9, 9), str(path.parent / PEM))
    assert pickle.loads(pickle.dumps(found)) == found


# --- over the wire ------------------------------------------------------------------------------


def test_a_real_mirror_from_the_file(
    file: Write, lab: LabRegistry, registry_mirror: LabRegistry
) -> None:
    file(f'[registry."{lab.host}"]\nmirrors = ["http://{registry_mirror.host}"]')
    image = didlab.open(f"{lab.host}/lab/small:1")
    assert len(image.layers()) == 1
    log = image.registry.requests()
    assert set(log["host"]) == {registry_mirror.host}
    assert image.registry.mirrors == (f"http://{registry_mirror.host}",)
    # The registry itself, once more without the file.
    file("")
    direct = didlab.open(f"{lab.host}/lab/small:1")
    assert direct.digest() == image.digest()
    assert lab.host in set(direct.registry.requests()["host"])


def test_a_real_mirror_from_the_environment(
    alone: Path, lab: LabRegistry, registry_mirror: LabRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDLAB_MIRRORS", f"{lab.host}=http://{registry_mirror.host}")
    hub = didlab.Registry(lab.host)
    hub["lab/small"]["2"].digest()
    assert set(hub.requests()["host"]) == {registry_mirror.host}


def test_a_real_proxy_from_the_file_and_around_it(
    file: Write, lab: LabRegistry, http_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    file(f'[registry."{lab.host}"]\nproxy = "{http_proxy.url}"')
    before = len(http_proxy.seen())
    didlab.Registry(lab.host).repositories()
    through = len(http_proxy.seen())
    assert through > before
    # Not given for this registry: what is for all leaves this machine out.
    file("")
    monkeypatch.setenv("DIDLAB_PROXY", http_proxy.url)
    didlab.Registry(lab.host).repositories()
    # "direct" goes around the environment's, too.
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, http_proxy.url)
    file(f'[registry."{lab.host}"]\nproxy = "direct"')
    didlab.Registry(lab.host).repositories()
    assert len(http_proxy.seen()) == through


# --- credentials helpers ------------------------------------------------------------------------


class Helper:
    """docker-credential-own on PATH; ``asked`` are the servers it was asked for."""

    def __init__(self, folder: Path, login: str) -> None:
        self.log = folder / "asked"
        script = folder / "own.py"
        script.write_text(
            "import sys\nserver = sys.stdin.read()\n"
            f"open({str(self.log)!r}, 'a').write(server + '\\n')\n{login}\n"
        )
        if sys.platform == "win32":
            program = folder / "docker-credential-own.bat"
            program.write_text(f'@"{sys.executable}" "{script}" %*\n')
        else:
            program = folder / "docker-credential-own"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Helper]:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return lambda login: Helper(folder, login)


NOTHING = "print('credentials not found in native keychain'); sys.exit(1)"
AUTHS = '{"auths": {"%s": {"username": "%s", "password": "%s"}}}'


def login_of(registry: LabRegistry) -> str:
    answer = {"Username": registry.user, "Secret": registry.password}
    return f"import json; print(json.dumps({answer!r}))"


def test_a_helper_from_the_file_goes_before_docker_auth_config(
    file: Write,
    helper: Callable[[str], Helper],
    registry_htpasswd: LabRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = registry_htpasswd.host
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", AUTHS % (host, "ada", "wrong"))
    own = helper(login_of(registry_htpasswd))
    file(f'[registry."{host}"]\ncredentials_helper = "own"')
    assert rows(host)["login"] == ("would be asked", "docker-credential-own")
    assert own.asked == []
    assert rows(host, ask_helpers=True)["login"] == ("found", "docker-credential-own")
    assert own.asked == [host]
    credentials.forget()
    didlab.Registry(host)["lab/app"].tags()
    assert own.asked == [host, host]


def test_a_helper_without_a_login_is_passed_over(
    file: Write,
    helper: Callable[[str], Helper],
    registry_htpasswd: LabRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host, user, word = (
        registry_htpasswd.host,
        registry_htpasswd.user,
        registry_htpasswd.password,
    )
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", AUTHS % (host, user, word))
    own = helper(NOTHING)
    file(f'[registry."{host}"]\ncredentials_helper = "own"')
    didlab.Registry(host)["lab/app"].tags()
    assert own.asked == [host]
    assert rows(host, ask_helpers=True)["login"] == ("found", "DOCKER_AUTH_CONFIG")


def test_arguments_go_before_the_helper(
    file: Write, helper: Callable[[str], Helper], registry_htpasswd: LabRegistry
) -> None:
    host = registry_htpasswd.host
    own = helper("sys.exit(3)")
    file(f'[registry."{host}"]\ncredentials_helper = "own"')
    made = didlab.Registry(
        host, username=registry_htpasswd.user, password=registry_htpasswd.password
    )
    made["lab/app"].tags()
    assert own.asked == []


def test_a_mirror_has_the_helper_of_its_own_name() -> None:
    text = """
        [registry."docker.io"]
        mirrors = ["https://m.example/docker.io", "https://m.example:5000", "https://none.test"]
        credentials_helper = "hub"
        [registry."m.example"]
        credentials_helper = "one"
        [registry."*.example:5000"]
        credentials_helper = "never"
        [registry."m.example:5000"]
        credentials_helper = "two"
        """
    found, _ = effective.effective("docker.io", {}, {}, userconfig.parse(text, "f"))
    assert dict(found.helpers) == {"docker.io": "hub", "m.example": "one", "m.example:5000": "two"}


# --- show_config --------------------------------------------------------------------------------


def test_show_config_without_anything(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_current", None)
    found = rows()
    assert found.pop("file")[1] == "environment DIDLAB_CONFIG"
    assert found == {
        "mirrors": (None, "default"),
        "proxy": (None, "default"),
        "insecure": ("False", "default"),
        "ca": (None, "default"),
        "ca_bundle": ("certifi", "default"),
        "client_cert": (None, "default"),
        "auth_hosts": (None, "default"),
        "timeout": ("10, 30", "default"),
        "credentials_helper": (None, "default"),
        "login": (None, "default"),
        **{
            name: (str(getattr(settings.Settings(), name)), "default")
            for name in settings.Settings.__dataclass_fields__
        },
    }
    assert didlab.show_config().attrs["reference"] == "docker.io"


def test_show_config_with_everything(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(
        f"""
        [registry."docker.io"]
        mirrors = ["https://a.example", "https://b.example/x"]
        ca = "{PEM}"
        client_cert = "{PEM}"
        auth_hosts = ["auth.example"]
        timeout = 2.5
        [registry."*"]
        insecure = ["a.example"]
        credentials_helper = "that-is-not-there"
        [options]
        workers = 7
        card = false
        """
    )
    monkeypatch.setenv("DIDLAB_PROXY", "socks5://ada:hunter2@p.example:1")
    monkeypatch.setenv("DIDLAB_CARD", "1")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/own.pem")
    didlab.set_options(completion=False)
    found = rows("docker.io")
    own, rest = f'{path} [registry."docker.io"]', f'{path} [registry."*"]'
    pem = str(path.parent / PEM)
    missing = "that-is-not-there (docker-credential-that-is-not-there is not installed)"
    expected = {
        "file": (str(path), "environment DIDLAB_CONFIG"),
        "mirrors": ("https://a.example, https://b.example/x", own),
        "proxy": ("socks5h://***@p.example:1", "environment DIDLAB_PROXY"),
        "insecure": ("a.example", rest),
        "ca": (pem, own),
        "ca_bundle": ("/etc/own.pem", "environment SSL_CERT_FILE"),
        "client_cert": (pem, own),
        "auth_hosts": ("auth.example", own),
        "timeout": ("2.5, 2.5", own),
        "credentials_helper": (missing, rest),
        "login": (None, "default"),
        "progress": ("True", "default"),
        "completion": ("False", "set_options"),
        "card": ("True", "environment DIDLAB_CARD"),
        "workers": ("7", f"{path} [options]"),
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("environ", "value", "source"),
    [
        ({"HTTPS_PROXY": "http://ada:hunter2@p:1"}, "http://***@p:1", "environment HTTPS_PROXY"),
        ({"https_proxy": "http://p:1"}, "http://p:1", "environment https_proxy"),
        ({"ALL_PROXY": "socks5://p:1"}, "socks5h://p:1", "environment ALL_PROXY"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "docker.io"}, None, "environment NO_PROXY"),
        ({"HTTPS_PROXY": "gopher://ada:hunter2@p:1"}, "broken: not a proxy address: 'p:1'",
         "environment HTTPS_PROXY"),
        ({"HTTP_PROXY": "http://p:1"}, None, "default"),
    ],
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="variables have one case")
def test_the_proxy_of_the_environment(
    alone: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    value: str | None,
    source: str,
) -> None:
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    assert rows()["proxy"] == (value, source)


def test_show_config_names_a_login_and_never_shows_it(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = alone / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text(AUTHS % ("r.example", "ada", "hunter2"))
    assert rows("r.example")["login"] == ("found", str(folder / "config.json"))
    assert rows("other.example")["login"] == (None, "default")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", AUTHS % ("r.example", "ada", "hunter2"))
    assert rows("r.example")["login"] == ("found", "DOCKER_AUTH_CONFIG")
    assert "hunter2" not in didlab.show_config("r.example").to_string()


def test_show_config_shows_what_is_broken_about_logins(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "{")
    value, source = rows()["login"]
    assert value is not None
    assert value.startswith("broken: DOCKER_AUTH_CONFIG cannot be used")
    assert source == "DOCKER_AUTH_CONFIG"


@pytest.mark.parametrize("wrong", ["a/b", "", "nginx:1.27", "https://a.example"])
def test_show_config_of_no_registry(alone: Path, wrong: str) -> None:
    with pytest.raises(InvalidReference):
        didlab.show_config(wrong)


def test_show_config_on_the_command_line(file: Write) -> None:
    file('[registry."ghcr.io"]\nmirrors = ["https://m.example"]')
    done = subprocess.run(
        [sys.executable, "-m", "didlab", "show-config", "ghcr.io", "--csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mirrors,https://m.example,", done.stdout
    assert done.stdout.splitlines()[0] == "option,value,source"


# --- [options] ----------------------------------------------------------------------------------


def test_options_of_the_file_come_last(file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file("[options]\nworkers = 2\nprogress = false")
    monkeypatch.setenv("DIDLAB_WORKERS", "3")
    assert (settings.current().workers, settings.current().progress) == (3, False)
    with didlab.set_options(workers=9, progress=True):
        assert (settings.current().workers, settings.current().progress) == (9, True)
    assert (settings.current().workers, settings.current().progress) == (3, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workers = 0", "workers"),
        ("workers = '4'", "workers"),
        ("progress = 1", "progress"),
        ("progres = true", "progres: there is no such option"),
        ("password = 'hunter2'", "password: there is no such option"),
    ],
)
def test_wrong_options(file: Write, text: str, expected: str) -> None:
    path = file(f"[options]\n{text}")
    with pytest.raises(ConfigError) as caught:
        settings.current()
    assert str(caught.value).startswith(f"{path} [options] {expected}")
    assert "hunter2" not in str(caught.value)
