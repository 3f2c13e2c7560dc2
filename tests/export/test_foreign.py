"""Layers that lie elsewhere: fetched when asked for, by nobody in particular."""

from __future__ import annotations

import io
import itertools
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Command
from rig.faults import (
    Answer,
    Exchange,
    FaultServer,
    chunked,
    half_close_after,
    redirect,
    reset_after,
    respond,
)
from rig.foreign import VALIDATION, Publisher, publish, windows, without
from rig.images import BuiltImage, push_image, sha256, write_layout
from rig.names import NamesProxy
from rig.processes import require, run
from rig.registries import Registry, htpasswd_file, start_registry
from rig.tokens import PASSWORD, USER
from rig.uploads import PushServer

import didlab
from didlab import _pausing as pausing
from didlab import errors
from didlab.transport import client, endpoint

LOGIN = {"username": USER, "password": PASSWORD}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    client._clients.clear()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts."""
    for module in (endpoint, client, pausing):
        monkeypatch.setattr(module, "wait", lambda seconds: None)
    monkeypatch.setattr(pausing, "pause", lambda attempt: 0.0)


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    server = Publisher(tmp_path_factory.mktemp("publisher"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def image(publisher: Publisher) -> BuiltImage:
    made = windows([], size=700_000)
    name = publisher.serve(made)
    return publish(made, [f"{publisher.url}/nothing/{name}", f"{publisher.url}/moved/{name}"])


@pytest.fixture(scope="module")
def private(image: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """docker-registry with a login: corp/windows:1 without its base."""
    folder = tmp_path_factory.mktemp("private")
    plain = start_registry(folder / "plain", "plain", validation=VALIDATION)
    push_image(plain.host, "corp/windows", "1", without(image))
    plain.stop()
    auth = {"htpasswd": {"realm": "rig", "path": str(htpasswd_file(folder / "users"))}}
    server = start_registry(folder, "private", storage=plain.storage, auth=auth)
    yield server
    server.stop()


@pytest.fixture
def registry() -> Iterator[PushServer]:
    with PushServer() as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def base_of(built: BuiltImage) -> bytes:
    return built.blobs[built.layers[0]["digest"]]


def held(tar: Path, built: BuiltImage) -> None:
    """Assert that an archive has all of an image."""
    with tarfile.open(tar) as archive:
        for digest, data in built.blobs.items():
            member = archive.extractfile(f"blobs/sha256/{digest[7:]}")
            assert member is not None
            assert member.read() == data


def at(server: FaultServer, elsewhere: FaultServer, *paths: str) -> BuiltImage:
    """The server's corp/app:1 has a base at ``/layer`` of another one, or where paths or urls say.

    Never the same one: what was listed once is remembered.
    """
    urls = [path if ":" in path else f"{elsewhere.url}{path}" for path in paths or ("/layer",)]
    built = windows(urls, size=200_000 + next(_sizes))
    server.add_image("corp/app", "1", without(built))
    serve(elsewhere, "/layer", base_of(built))
    return built


_sizes = itertools.count()


def serve(server: FaultServer, path: str, body: bytes, *, told: bool = True) -> None:
    """Answer with a body, whose length is announced or not."""

    def act(exchange: Exchange) -> None:
        exchange.answer = Answer(200, {}, body)
        (chunked(100_000) if not told else Exchange.finish)(exchange)

    server.rule(lambda request: request.path == path, act)


def allowed(server: FaultServer, elsewhere: FaultServer) -> didlab.Manifest:
    return didlab.open(f"{server.host}/corp/app:1", foreign=True, insecure=[elsewhere.host])


# --- real parts ----------------------------------------------------------------------------------


def test_saved_from_a_private_registry(
    private: Registry, publisher: Publisher, image: BuiltImage, tmp_path: Path
) -> None:
    """The login and the certificate are for the registry, never for the publisher."""
    options = {**LOGIN, "ca": publisher.ca, "client_cert": publisher.client_cert}
    m = didlab.open(f"{private.host}/corp/windows:1", **options)
    before = len(publisher.seen())
    report = m.save(tmp_path / "w.tar", foreign=True, progress=False)
    held(tmp_path / "w.tar", image)
    assert report.digest == image.digest
    with private.record() as asked:
        m.layer(0).save(tmp_path / "again.tar.gz", foreign=True, progress=False)
    assert (tmp_path / "again.tar.gz").read_bytes() == base_of(image)
    assert asked[0].path.endswith(image.layers[0]["digest"])  # the registry first
    assert asked[0].status == 404
    name = image.layers[0]["digest"][7:]
    seen = publisher.seen()[before:]
    assert [(one.path, one.status) for one in seen[:3]] == [
        (f"/nothing/{name}", 404), (f"/moved/{name}", 302), (f"/{name}", 200),
    ]  # fmt: skip
    for one in seen:
        assert (one.authorization, one.cookie, one.client) == ("", "", "")
    # Counted like every other request.
    made = m.registry.requests()
    here = made[made["host"] == publisher.url.removeprefix("https://")]
    assert len(here) == len(seen)
    # skopeo takes it for the same image.
    skopeo = require("skopeo", "skopeo")
    raw = run(skopeo, "inspect", "--raw", f"oci-archive:{tmp_path}/w.tar")
    assert sha256(raw.encode()) == image.digest


def test_looked_into(private: Registry, publisher: Publisher, image: BuiltImage) -> None:
    m = didlab.open(f"{private.host}/corp/windows:1", foreign=True, ca=publisher.ca, **LOGIN)
    assert m.read("/etc/os-release") == b"ID=base\n"
    assert "/base" in set(m.files()["path"])
    again = pickle.loads(pickle.dumps(m.layer(0)))
    assert again == m.layer(0)
    assert PASSWORD.encode() not in pickle.dumps(m)


def test_survives_pickling(registry: PushServer, elsewhere: FaultServer) -> None:
    built = at(registry, elsewhere)
    m = pickle.loads(pickle.dumps(allowed(registry, elsewhere)))
    assert b"".join(m.layer(0).stream()) == base_of(built)
    # So do the platforms of it, and a look anew.
    assert b"".join(m["linux/amd64"].refresh().layer(0).stream()) == base_of(built)


def test_the_registry_may_be_the_publisher(registry: PushServer, elsewhere: FaultServer) -> None:
    """Also there nobody is logged in at an address that a manifest names."""
    registry.auth, registry.users = "basic", {USER: PASSWORD}
    built = at(registry, elsewhere, f"{registry.url}/files/base")
    serve(registry, "/files/base", base_of(built))
    m = didlab.open(f"{registry.host}/corp/app:1", foreign=True, insecure=[registry.host], **LOGIN)
    assert b"".join(m.layer(0).stream()) == base_of(built)
    (asked,) = registry.asked("/files/base")
    assert "authorization" not in asked.headers
    assert all("authorization" in one.headers for one in registry.asked("/manifests/1")[-1:])


def test_verified(registry: PushServer, elsewhere: FaultServer) -> None:
    at(registry, elsewhere)
    found = allowed(registry, elsewhere).verify(progress=False)
    assert not (found["severity"] == "error").any()
    assert len(elsewhere.requests) > 0


def test_hosts_for_a_firewall(registry: PushServer, elsewhere: FaultServer) -> None:
    at(registry, elsewhere)
    hosts = didlab.endpoints(f"{registry.host}/corp/app:1", foreign=True, insecure=[elsewhere.host])
    assert elsewhere.host in set(hosts["host"])


def test_not_unless_asked(
    private: Registry, publisher: Publisher, image: BuiltImage, tmp_path: Path
) -> None:
    before = len(publisher.seen())
    m = didlab.open(f"{private.host}/corp/windows:1", ca=publisher.ca, **LOGIN)
    for call in (
        lambda: m.save(tmp_path / "w.tar", progress=False),
        lambda: m.save(io.BytesIO(), progress=False),
        lambda: m.layer(0).save(tmp_path / "l.tgz", progress=False),
        lambda: b"".join(m.layer(0).stream()),
    ):
        with pytest.raises(errors.BlobNotFound, match="foreign=True") as caught:
            call()
        assert image.layers[0]["digest"] in caught.value.message
        assert image.layers[0]["urls"][0] in str(caught.value)
    assert len(publisher.seen()) == before
    assert not (tmp_path / "w.tar").exists()


def test_command(
    private: Registry, publisher: Publisher, image: BuiltImage, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    command = Command(tmp_path / "work")
    name = f"{private.host}/corp/windows:1"
    how = ("--username", USER, "--ca", publisher.ca)
    refused = command("save", name, "-o", "w.tar", *how, text=PASSWORD)
    assert refused.returncode == 1
    assert "--foreign" in refused.stderr
    for args, output in (
        (("save", name, "-o", "w.tar", "--foreign"), "w.tar\n"),
        (("cat", name, "/etc/os-release", "--foreign"), "ID=base\n"),
        (("copy", name, "oci:layout:1", "--foreign", "--username", USER), None),
    ):
        extra = how if args[0] != "copy" else how[2:]
        done = command(*args, *extra, text=PASSWORD)
        if output is None:
            continue
        assert (done.returncode, done.stdout) == (0, output), done.stderr
    held(tmp_path / "work/w.tar", image)
    for verb in ("files", "tree", "extract", "load"):
        assert "--foreign" in command(verb, "--help").stdout


def test_from_a_file_that_lacks_it(publisher: Publisher, image: BuiltImage, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"x": without(image)})
    with pytest.raises(errors.BlobNotFound, match="foreign=True"):
        didlab.open(layout).save(tmp_path / "w.tar", progress=False)
    # Whoever wrote it may be anybody: this machine is not asked.
    m = didlab.open(layout, foreign=True, ca=publisher.ca)
    with pytest.raises(errors.OriginRefused):
        m.save(tmp_path / "w.tar", progress=False)
    host = publisher.url.removeprefix("https://")
    m = didlab.open(layout, foreign=True, ca=publisher.ca, insecure=[host])
    m.save(tmp_path / "w.tar", progress=False)
    held(tmp_path / "w.tar", image)


# --- copies --------------------------------------------------------------------------------------


def test_copied_only_when_asked(
    registry: PushServer, private: Registry, publisher: Publisher, image: BuiltImage
) -> None:
    name = f"{private.host}/corp/windows:1"
    m = didlab.open(name, ca=publisher.ca, **LOGIN)
    report = m.copy_to(f"{registry.host}/a/windows:1", progress=False)
    assert any("foreign=True" in note for note in report.notes)
    assert image.layers[0]["digest"] not in registry.blobs
    report = m.copy_to(f"{registry.host}/b/windows:1", foreign=True, progress=False)
    assert registry.blobs[image.layers[0]["digest"]] == base_of(image)
    assert (report.digest, report.notes) == (image.digest, ())
    registry.blobs.pop(image.layers[0]["digest"])
    source = {"foreign": True, "ca": publisher.ca, **LOGIN}
    didlab.copy(name, f"{registry.host}/c/windows:1", source=source, progress=False)
    assert registry.blobs[image.layers[0]["digest"]] == base_of(image)


# --- what goes wrong -----------------------------------------------------------------------------


def test_at_the_registry_after_all(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    built = at(registry, elsewhere)
    registry.blobs[built.layers[0]["digest"]] = base_of(built)
    allowed(registry, elsewhere).save(tmp_path / "a.tar", workers=8, progress=False)
    held(tmp_path / "a.tar", built)
    layer = allowed(registry, elsewhere).layer(0)
    assert b"".join(layer.stream()) == base_of(built)
    # Whoever names the address as the place gets it from the registry, too.
    reader = layer.manifest._snapshot.source.open(layer._descriptor)
    assert reader.places == (registry.host, f"{elsewhere.url}/layer")
    assert b"".join(reader.stream(place=reader.places[1])) == base_of(built)
    assert reader.served_by == registry.host
    assert elsewhere.requests == []


Call = Callable[[didlab.Manifest, Path], object]
WAYS: list[Call] = [
    lambda m, folder: m.save(folder / "a.tar", progress=False),
    lambda m, folder: b"".join(m.layer(0).stream()),
    lambda m, folder: m.files(progress=False),
]


@pytest.mark.parametrize("call", WAYS)
def test_nowhere(registry: PushServer, elsewhere: FaultServer, tmp_path: Path, call: Call) -> None:
    at(registry, elsewhere, *(f"/gone/{number}" for number in range(9)))
    with pytest.raises(errors.BlobNotFound) as caught:
        call(allowed(registry, elsewhere), tmp_path)
    assert "foreign=True" not in str(caught.value)  # it was
    assert [one.path for one in elsewhere.requests] == [f"/gone/{n}" for n in range(4)]


@pytest.mark.parametrize("call", WAYS)
def test_wrong_bytes(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, call: Call
) -> None:
    built = at(registry, elsewhere, "/bad")
    serve(elsewhere, "/bad", b"x" * len(base_of(built)))
    with pytest.raises(errors.DigestMismatch):
        call(allowed(registry, elsewhere), tmp_path)
    assert not (tmp_path / "a.tar").exists()


def test_wrong_bytes_at_the_first_address(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    built = at(registry, elsewhere, "/bad", "/layer")
    serve(elsewhere, "/bad", b"x" * len(base_of(built)))
    report = allowed(registry, elsewhere).save(tmp_path / "a.tar", progress=False)
    held(tmp_path / "a.tar", built)
    assert any("/bad" in note for note in report.notes)


@pytest.mark.parametrize("call", WAYS)
@pytest.mark.parametrize("told", [True, False], ids=["announced", "endless"])
def test_more_than_was_promised(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, call: Call, told: bool
) -> None:
    built = at(registry, elsewhere, "/huge")
    serve(elsewhere, "/huge", base_of(built) + b"x" * 3_000_000, told=told)
    with pytest.raises(errors.SizeMismatch):
        call(allowed(registry, elsewhere), tmp_path)
    assert not (tmp_path / "a.tar").exists()


@pytest.mark.parametrize("call", WAYS)
def test_plain_http_is_not_allowed_by_itself(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, call: Call
) -> None:
    at(registry, elsewhere)
    m = didlab.open(f"{registry.host}/corp/app:1", foreign=True)
    with pytest.raises(errors.BlobNotFound, match=r"plain http \(insecure="):
        call(m, tmp_path)
    with pytest.raises(errors.BlobNotFound, match="foreign=True"):
        call(didlab.open(f"{registry.host}/corp/app:1"), tmp_path)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.example/x", "data:,x", "https://u:p@a.example/", "x"]
)
def test_addresses_that_are_none(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, url: str
) -> None:
    at(registry, elsewhere, url if ":" in url else f":{url}")
    with pytest.raises(errors.BlobNotFound, match="urls cannot be asked") as caught:
        allowed(registry, elsewhere).save(tmp_path / "a.tar", progress=False)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("call", WAYS)
def test_a_login_is_not_answered(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, call: Call
) -> None:
    registry.auth = "basic"
    registry.users = {USER: PASSWORD}
    at(registry, elsewhere, "/login")
    realm = f'Bearer realm="{elsewhere.url}/token",service="s"'
    elsewhere.rule(
        lambda request: request.path == "/login", respond(401, {"WWW-Authenticate": realm})
    )
    m = didlab.open(f"{registry.host}/corp/app:1", foreign=True, insecure=[elsewhere.host], **LOGIN)
    with pytest.raises(errors.AuthDenied, match="nobody logs in"):
        call(m, tmp_path)
    assert {one.path for one in elsewhere.requests} == {"/login"}
    assert not any("authorization" in one.headers for one in elsewhere.requests)


def test_where_a_redirect_wants_a_login(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    at(registry, elsewhere, "/away")
    with FaultServer("127.0.0.2") as third:
        realm = f'Bearer realm="{third.url}/token",service="s"'
        third.rule(lambda request: request.path == "/x", respond(401, {"WWW-Authenticate": realm}))
        elsewhere.rule(lambda request: True, redirect(f"{third.url}/x"))
        hosts = [elsewhere.host, third.host]
        m = didlab.open(f"{registry.host}/corp/app:1", foreign=True, insecure=hosts)
        with pytest.raises(errors.AuthDenied):
            m.save(tmp_path / "a.tar", progress=False)
        assert [one.path for one in third.requests] == ["/x"]


def test_redirects_have_an_end(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    at(registry, elsewhere, "/0")
    for number in range(20):
        elsewhere.rule(
            lambda request, number=number: request.path == f"/{number}",  # type: ignore[misc]
            redirect(f"/{number + 1}"),
        )
    with pytest.raises(errors.TooManyRedirects):
        b"".join(allowed(registry, elsewhere).layer(0).stream())
    assert len(elsewhere.requests) == 6


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/", "http://10.0.0.1/", "http://[::1]/"])
@pytest.mark.parametrize("direct", [True, False], ids=["urls", "redirect"])
def test_a_public_registry_leads_to_no_private_place(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path, target: str, direct: bool
) -> None:
    """By https alone where it is named; the proxy stands for the internet."""
    target = target.replace("http:", "https:")
    url = target if direct else "http://far.test/away"
    at(registry, elsewhere, url)
    elsewhere.rule(lambda request: request.path == "/away", redirect(target))
    with NamesProxy({"registry.test:80": registry.host, "far.test:80": elsewhere.host}) as names:
        m = didlab.open(
            "registry.test:80/corp/app:1",
            foreign=True,
            proxy=names.url,
            insecure=["registry.test:80", "far.test:80"],
        )
        with pytest.raises(errors.OriginRefused, match="less public"):
            m.save(tmp_path / "a.tar", progress=False)
        assert {one.kind for one in names.requests} == {"name"}  # through the proxy, all of it
    assert len(elsewhere.requests) == (0 if direct else 1)


def test_http_does_not_redirect_to_http_that_is_not_allowed(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    at(registry, elsewhere, "/away")
    with FaultServer("127.0.0.2") as third:
        elsewhere.rule(lambda request: True, redirect(f"{third.url}/x"))
        with pytest.raises(errors.OriginRefused, match="plain http"):
            allowed(registry, elsewhere).save(tmp_path / "a.tar", progress=False)
        assert third.requests == []


def test_goes_on_where_it_broke(
    registry: PushServer, elsewhere: FaultServer, tmp_path: Path
) -> None:
    made = windows([], size=300_000)
    # Served as a blob, in ranges, too.
    digest = elsewhere.add_blob("x", base_of(made))
    built = publish(made, [f"{elsewhere.url}/v2/x/blobs/{digest}"])
    registry.add_image("corp/app", "1", without(built))
    elsewhere.rule(lambda request: True, half_close_after(120_000), times=1)
    elsewhere.rule(lambda request: True, reset_after(10_000), times=1)
    allowed(registry, elsewhere).save(tmp_path / "a.tar", progress=False)
    held(tmp_path / "a.tar", built)
    ranges = [one.range for one in elsewhere.requests]
    assert ranges[0] == ""
    assert all(one.startswith("bytes=") for one in ranges[1:])
    assert len(ranges) > 1


def test_offline_asks_nobody(
    registry: PushServer,
    elsewhere: FaultServer,
    image: BuiltImage,
    store: object,
    tmp_path: Path,
) -> None:
    at(registry, elsewhere)
    m = allowed(registry, elsewhere)
    m.config()
    later = didlab.open(
        f"{registry.host}/corp/app:1", foreign=True, insecure=[elsewhere.host], offline=True
    )
    with pytest.raises(errors.BlobNotFound):
        later.save(tmp_path / "a.tar", progress=False)
    assert elsewhere.requests == []
    layout = write_layout(tmp_path / "layout", {"x": without(image)})
    lacking = didlab.open(layout, foreign=True, offline=True)
    with pytest.raises(errors.Unsupported, match="offline"):
        lacking.save(tmp_path / "a.tar", progress=False)
    # What came once is kept by its digest, wherever it came from.
    m.save(tmp_path / "a.tar", progress=False, keep=True)
    later.save(tmp_path / "b.tar", progress=False)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("wanted", ["yes", 1, None])
def test_true_or_false(wanted: object) -> None:
    with pytest.raises(errors.InvalidArgument, match="foreign="):
        didlab.open("app", foreign=wanted)  # type: ignore[arg-type]


def test_by_way_of_a_registry_object(registry: PushServer, elsewhere: FaultServer) -> None:
    built = at(registry, elsewhere)
    place = didlab.Registry(registry.host, foreign=True, insecure=[elsewhere.host])
    for hub in (place, pickle.loads(pickle.dumps(place)), place["corp/app"].registry):
        m = pickle.loads(pickle.dumps(hub["corp/app"]))["1"]
        assert b"".join(m.layer(0).stream()) == base_of(built)
        assert m.repository is not None
        assert b"".join(m.repository["1"].layer(0).stream()) == base_of(built)
    with pytest.raises(errors.BlobNotFound, match="foreign=True"):
        list(didlab.Registry(registry.host)["corp/app"]["1"].layer(0).stream())
