"""Logins at Debian's docker-registry, and who may receive them."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from rig.faults import FaultServer
from rig.names import NamesProxy
from rig.tokens import PASSWORD, USER

import didlab
from didlab import errors
from didlab.oci import manifest as manifests
from didlab.transport import auth, credentials
from didlab.transport.client import connect

pytestmark = pytest.mark.usefixtures("alone")
ALICE = {"username": USER, "password": PASSWORD}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def docker_config(home: Path, document: object) -> Path:
    return write(home / ".docker" / "config.json", document)


# --- ways to log in -----------------------------------------------------------------------------


def test_anonymous_where_nothing_is_asked(lab, at, ref):
    source = at(lab.host, "lab/small")
    assert source.resolve(ref(source)).size > 100


def test_anonymous_token(registry_token, at, ref):
    source = at(registry_token.host, "lab/small")
    source.resolve(ref(source))
    assert [r.basic for r in registry_token.tokens.requests] == [None]


def test_password_for_a_token(registry_token, at, ref):
    source = at(registry_token.host, "private/app", **ALICE)
    source.resolve(ref(source))
    (asked,) = registry_token.tokens.requests
    assert asked.basic == (USER, PASSWORD)
    assert asked.scopes == ["repository:private/app:pull"]


def test_basic(registry_htpasswd, at, ref):
    source = at(registry_htpasswd.host, "private/app", **ALICE)
    source.resolve(ref(source))


def test_given_token(registry_token, at, ref):
    access = [{"type": "repository", "name": "private/app", "actions": ["pull"]}]
    source = at(registry_token.host, "private/app", token=registry_token.tokens.sign(USER, access))
    with registry_token.record() as seen:
        source.resolve(ref(source))
    assert [r.status for r in seen] == [200]
    assert not registry_token.tokens.requests


@pytest.mark.parametrize("kind", ["registry_token", "registry_htpasswd"])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({}, errors.AuthRequired, id="none"),
        pytest.param({**ALICE, "password": "wrong"}, errors.AuthDenied, id="wrong"),
        pytest.param({"token": "wrong"}, errors.AuthDenied, id="wrong-token"),
    ],
)
def test_no_entry(request, at, ref, kind, options, error):
    source = at(request.getfixturevalue(kind).host, "private/app", **options)
    with pytest.raises(error) as caught:
        source.resolve(ref(source))
    assert "private/app" in str(caught.value) or options
    assert "wrong" not in str(caught.value).replace("a wrong name", "")
    assert isinstance(caught.value, PermissionError)


@pytest.mark.parametrize("post", [0, 404, 405, 401, 400])
def test_identity_token(alone, registry_token, at, ref, post):
    tokens = registry_token.tokens
    tokens.post = post
    entry = {"auth": b64("<token>:"), "identitytoken": "identity-of-alice"}
    docker_config(alone, {"auths": {registry_token.host: entry}})
    source = at(registry_token.host, "private/app")
    source.resolve(ref(source))
    assert [r.method for r in tokens.requests] == (["POST", "GET"] if post else ["POST"])
    form = tokens.requests[0].form
    assert form["grant_type"] == ["refresh_token"]
    assert form["service"] == ["rig"]
    assert not tokens.requests[0].query


# --- life of tokens -----------------------------------------------------------------------------


def test_tokens_are_renewed_in_mid_job(registry_token, at, ref):
    registry_token.tokens.lifetime, registry_token.tokens.expires_in = 1.0, 1
    source = at(registry_token.host, "lab/app")
    layers = manifests.parse(source.resolve(ref(source, "latest")).data).layers
    stream = source.open(layers[0]).stream()
    next(stream)
    time.sleep(1.3)
    for layer in layers[1:4]:
        assert len(b"".join(source.open(layer).stream())) == layer.size
    assert len(registry_token.tokens.requests) == 2
    assert sum(map(len, stream)) > 0


@pytest.mark.parametrize("lifetime", [300.0, 1.0], ids=["cold", "expired"])
def test_eight_threads_make_one_token_request(registry_token, at, ref, lifetime):
    tokens = registry_token.tokens
    tokens.lifetime = lifetime
    source = at(registry_token.host, "lab/app")
    if lifetime == 1.0:
        source.resolve(ref(source, "oci"))
        tokens.lifetime = 300.0
        time.sleep(1.3)
    tokens.requests.clear()
    barrier = threading.Barrier(8)

    def job(_: int) -> str:
        barrier.wait()
        return source.resolve(ref(source, "oci")).digest

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(job, range(8)))) == 1
    assert len(tokens.requests) == 1


@pytest.mark.parametrize("spelling", [("token",), ("access_token",)])
def test_bare_token_answers(registry_token, at, ref, spelling):
    tokens = registry_token.tokens
    tokens.spelling, tokens.expires_in, tokens.issued_at = spelling, None, False
    source = at(registry_token.host, "lab/small")
    source.resolve(ref(source))


def test_how_long_a_token_is_believed():
    table = {60: 60, 1: 60, 0: 60, -5: 60, 3600: 3420, 10**18: 82080, 10**400: 82080}
    for said, lives in table.items():
        assert auth._life(said) == pytest.approx(lives)
    for said in (None, True, "300", float("nan"), float("-inf"), [300]):
        assert auth._life(said) == 60
    assert auth._life(float("inf")) == pytest.approx(82080)


def test_request_counts(registry_token):
    host, tokens = registry_token.host, registry_token.tokens

    def count(job) -> int:
        tokens.requests.clear()
        with registry_token.record() as seen:
            job()
        return len(seen) + len(tokens.requests)

    image = didlab.open(f"{host}/lab/app:multi")
    assert count(image.platforms) == 3
    assert count(image.platforms) == 0
    assert count(didlab.open(f"{host}/lab/app:list").platforms) == 1
    assert count(didlab.open(f"{host}/lab/small:1").platforms) == 4 - 1  # the challenge is known
    assert count(lambda: didlab.Registry(host)["lab/many"]["t001"].digest()) == 2


def test_request_count_of_a_single_image_cold(registry_token):
    tokens = registry_token.tokens
    with registry_token.record() as seen:
        didlab.open(f"{registry_token.host}/lab/app:latest").platforms()
    assert len(seen) + len(tokens.requests) == 4


# --- sources of logins --------------------------------------------------------------------------


def place_env(home, host, monkeypatch, login):
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: login}}))


def place_docker(home, host, monkeypatch, login):
    docker_config(home, {"auths": {host: login}})


def place_docker_path(home, host, monkeypatch, login):
    wrong = {"auth": b64(f"{USER}:wrong")}
    docker_config(home, {"auths": {host: wrong, f"{host}/private/app": login}})


def place_docker_config(home, host, monkeypatch, login):
    write(home / "elsewhere" / "config.json", {"auths": {host: login}})
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))


def place_podman(home, host, monkeypatch, login):
    write(home / ".config" / "containers" / "auth.json", {"auths": {host: login}})
    monkeypatch.delenv("XDG_CONFIG_HOME")


def place_podman_file(home, host, monkeypatch, login):
    path = write(home / "auth.json", {"auths": {f"{host}/private": login}})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))


@pytest.mark.parametrize(
    "place",
    [place_env, place_docker, place_docker_path, place_docker_config, place_podman,
     place_podman_file],
    ids=lambda function: function.__name__.removeprefix("place_"),
)  # fmt: skip
@pytest.mark.parametrize("kind", ["registry_token", "registry_htpasswd"])
def test_places_of_logins(request, alone, monkeypatch, at, ref, place, kind):
    host = request.getfixturevalue(kind).host
    place(alone, host, monkeypatch, {"auth": b64(f"{USER}:{PASSWORD}")})
    source = at(host, "private/app")
    source.resolve(ref(source))


def helper(home: Path, monkeypatch: pytest.MonkeyPatch, password: str) -> Path:
    """docker-credential-rig, which answers what a file says; returns its log of questions."""
    (home / "password").write_text(password)
    log = home / "asked"
    log.write_text("")
    program = home / "docker-credential-rig"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\nserver = sys.stdin.read().strip()\n"
        f"open({str(log)!r}, 'a').write(server + '\\n')\n"
        f"secret = open({str(home / 'password')!r}).read()\n"
        "user = '<token>' if secret.startswith('identity') else 'alice'\n"
        "print(json.dumps({'ServerURL': server, 'Username': user, 'Secret': secret}))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(home), prepend=":")
    return log


posix = pytest.mark.skipif(sys.platform == "win32", reason="the helper is a script")


@posix
@pytest.mark.parametrize("secret", [PASSWORD, "identity-of-alice"], ids=["password", "identity"])
@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_helper_program(alone, registry_token, monkeypatch, at, ref, secret, key):
    log = helper(alone, monkeypatch, secret)
    value = {registry_token.host: "rig"} if key == "credHelpers" else "rig"
    docker_config(alone, {key: value})
    for repository in ("private/app", "lab/small"):
        source = at(registry_token.host, repository)
        source.resolve(ref(source))
    assert log.read_text().split() == [registry_token.host]  # asked once


@posix
@pytest.mark.parametrize("kind", ["registry_token", "registry_htpasswd"])
def test_a_refused_helper_is_asked_again(request, alone, monkeypatch, at, ref, kind):
    host = request.getfixturevalue(kind).host
    log = helper(alone, monkeypatch, "old")
    docker_config(alone, {"credHelpers": {host: "rig"}})
    source = at(host, "private/app")
    with pytest.raises(errors.AuthDenied, match="docker-credential-rig"):
        source.resolve(ref(source))
    (alone / "password").write_text(PASSWORD)
    source.resolve(ref(source))
    assert log.read_text().split() == [host, host]


def test_a_login_made_meanwhile_is_found(alone, registry_token, at, ref):
    source = at(registry_token.host, "private/app")
    with pytest.raises(errors.AuthRequired):
        source.resolve(ref(source))
    docker_config(alone, {"auths": {registry_token.host: {"auth": b64(f"{USER}:{PASSWORD}")}}})
    source.resolve(ref(source))


def test_a_failing_helper_is_told(alone, registry_token, at, ref):
    docker_config(alone, {"credHelpers": {registry_token.host: "../evil"}})
    source = at(registry_token.host, "private/app")
    with pytest.raises(errors.HelperError):
        source.resolve(ref(source))


def test_forget_is_what_the_authorizer_calls(monkeypatch):
    assert auth.forget is credentials.forget


# --- token servers elsewhere --------------------------------------------------------------------


@pytest.fixture
def names():
    with NamesProxy({}) as made:
        yield made


@pytest.fixture
def far(server, other, names, http):
    """registry.example:5000 by plain http, its token server at auth.elsewhere:80."""
    names.names |= {"registry.example:5000": server.host, "auth.elsewhere:80": other.host}
    http(HOST)
    server.auth, server.realm = "bearer", "http://auth.elsewhere/token"
    server.valid = other.valid
    return {"proxy": names.url, "insecure": ["registry.example:5000"]}


HOST = "registry.example:5000"


def test_a_realm_elsewhere_gets_no_login(far, other, at, ref):
    source = at(HOST, **far, **ALICE)
    source.resolve(ref(source))  # an anonymous token is enough here
    assert [r.basic for r in other.requests] == [None]
    other.anonymous = False
    other.valid.clear()
    with pytest.raises(errors.RealmRefused) as caught:
        source.resolve(ref(source))
    assert HOST in str(caught.value)
    assert "auth.elsewhere" in str(caught.value)
    assert "auth_hosts=['auth.elsewhere']" in (caught.value.hint or "")
    assert not [r for r in other.requests if r.basic]


@pytest.mark.parametrize("allowed", ["auth.elsewhere", "auth.elsewhere:80"])
def test_a_realm_elsewhere_that_is_allowed(far, other, at, ref, allowed):
    other.anonymous = False
    source = at(HOST, **far, **ALICE, auth_hosts=[allowed])
    source.resolve(ref(source))
    assert [r.basic for r in other.requests] == [(USER, PASSWORD)]


@pytest.mark.parametrize("allowed", ["elsewhere", "auth.elsewhere:81", "xauth.elsewhere"])
def test_allowing_another_host_does_not_help(far, other, at, ref, allowed):
    other.anonymous = False
    source = at(HOST, **far, **ALICE, auth_hosts=[allowed])
    with pytest.raises(errors.RealmRefused):
        source.resolve(ref(source))
    assert not [r for r in other.requests if r.basic]


@pytest.mark.parametrize(
    ("realm", "goes"),
    [("auth.example.com", True), ("registry.example.com", True), ("auth.example.org", False),
     ("registry.example.com.evil.org", False)],
)  # fmt: skip
def test_the_registrable_domain_counts_as_its_own(tmp_path, names, image, at, ref, realm, goes):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def context(name):
        import ssl

        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(made)
        return made

    with (
        FaultServer(tls=context("registry.example.com")) as server,
        FaultServer("127.0.0.2", tls=context(realm)) as tokens,
    ):
        names.names |= {"registry.example.com:443": server.host, f"{realm}:8443": tokens.host}
        server.add_image("lab/app", "1", image)
        server.auth, server.realm, server.valid = "bearer", f"https://{realm}:8443/token", (
            tokens.valid
        )  # fmt: skip
        tokens.anonymous = False
        options = {"proxy": names.url, "ca": tmp_path / "ca.pem", **ALICE}
        source = at("registry.example.com", **options)
        if goes:
            source.resolve(ref(source))
        else:
            with pytest.raises(errors.RealmRefused):
                source.resolve(ref(source))
        assert [r.basic for r in tokens.requests] == [(USER, PASSWORD) if goes else None]


def test_loopback_is_one_place(server, other, at, ref):
    server.auth, server.realm = "bearer", f"{other.url}/token"
    server.valid = other.valid
    other.anonymous = False
    source = at(server, **ALICE)
    source.resolve(ref(source))
    assert [r.basic for r in other.requests] == [(USER, PASSWORD)]


def test_accounts_do_not_share_tokens(server, at, ref):
    server.auth, server.users = "bearer", {"alice": "a", "bob": "b"}
    for user, password in server.users.items():
        source = at(server, username=user, password=password)
        source.resolve(ref(source))
    assert [r.basic[0] for r in server.asked("/token")] == ["alice", "bob"]
    one, two = (at(server, username=u, password=p) for u, p in server.users.items())
    assert connect(server.host, one.options) is not connect(server.host, two.options)
