"""Uploads: where they go on, what the registry says it has, and what its refusals mean."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from rig.faults import FaultServer, HangUp, change, error_body, respond
from rig.images import sha256
from rig.uploads import PushServer

from didlab import _pausing as pausing
from didlab import errors
from didlab.transport import client, tokens
from didlab.transport.auth import _actions
from didlab.transport.options import make
from didlab.transport.uploads import Lost, Target, Upload, _taken
from didlab.transport.urls import Origin, Url, split

pytestmark = pytest.mark.usefixtures("alone", "waits")
ALICE = {"username": "alice", "password": "wonder:land/42"}
DATA = b"0123456789" * 1000
DIGEST = sha256(DATA)


@pytest.fixture
def pushed() -> Iterator[PushServer]:
    with PushServer() as made:
        yield made


def target(server: FaultServer, repository: str = "lab/app", **options: object) -> Target:
    mount = options.pop("mount_from", None)
    made = make(**options)  # type: ignore[arg-type]
    return Target(client.connect(server.host, made), repository, mount)  # type: ignore[arg-type]


@dataclass
class Bytes:
    """A body that counts how often it is begun."""

    data: bytes
    begun: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        self.begun += 1
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]


def begun(place: Target) -> Upload:
    upload = place.begin(DIGEST)
    assert upload is not None
    return upload


# --- blobs ----------------------------------------------------------------------------------


def test_a_blob_in_pieces(pushed: PushServer) -> None:
    place = target(pushed)
    assert not place.holds(DIGEST, len(DATA))
    upload = begun(place)
    for start in (0, 4000, 8000):
        assert upload.offset == start
        upload.send(Bytes(DATA[start : start + 4000]), whole=False)
    upload.commit(DIGEST)
    assert pushed.blobs[DIGEST] == DATA
    assert place.holds(DIGEST, len(DATA))
    ranges = [one.headers["content-range"] for one in pushed.asked("uploads", "PATCH")]
    assert ranges == ["0-3999", "4000-7999", "8000-9999"]
    # Each goes to the address that the answer before it gave.
    assert [one.query["state"] for one in pushed.asked("uploads", "PATCH")] == [
        ["0"], ["3999"], ["7999"]
    ]  # fmt: skip


def test_a_blob_as_a_whole_names_no_range(pushed: PushServer) -> None:
    upload = begun(target(pushed))
    upload.send(Bytes(DATA), whole=True)
    upload.commit(DIGEST)
    (patch,) = pushed.asked("uploads", "PATCH")
    assert "content-range" not in patch.headers
    assert patch.headers["content-length"] == str(len(DATA))
    assert pushed.blobs[DIGEST] == DATA


def test_a_small_blob_is_one_put(pushed: PushServer) -> None:
    begun(target(pushed)).commit(DIGEST, DATA)
    assert [one.method for one in pushed.requests] == ["POST", "PUT"]
    assert pushed.blobs[DIGEST] == DATA


def test_a_size_that_is_another_is_not_the_blob(pushed: PushServer) -> None:
    begun(target(pushed)).commit(DIGEST, DATA)
    assert not target(pushed).holds(DIGEST, len(DATA) + 1)


def test_what_the_registry_has_is_asked(pushed: PushServer) -> None:
    upload = begun(target(pushed))
    pushed.uploads[1] += DATA[:1234]
    upload.ask()
    assert upload.offset == 1234
    upload.send(Bytes(DATA[1234:]), whole=False)
    upload.commit(DIGEST)
    assert pushed.blobs[DIGEST] == DATA


def test_an_upload_that_is_gone_is_lost(pushed: PushServer) -> None:
    place = target(pushed)
    upload = begun(place)
    pushed.uploads.clear()
    with pytest.raises(Lost):
        upload.ask()
    with pytest.raises(Lost):
        upload.send(Bytes(DATA), whole=True)
    with pytest.raises(Lost):
        upload.commit(DIGEST)


def test_bytes_for_another_place_are_lost(pushed: PushServer) -> None:
    upload = begun(target(pushed))
    pushed.uploads[1] += DATA[:100]
    with pytest.raises(Lost):
        upload.send(Bytes(DATA), whole=False)


def test_a_registry_that_took_less(pushed: PushServer) -> None:
    upload = begun(target(pushed))
    where = {"Location": "/v2/lab/app/blobs/uploads/1?state=99", "Range": "0-99"}
    pushed.rule(lambda r: r.method == "PATCH", respond(202, where), times=1)
    upload.send(Bytes(DATA), whole=True)
    assert upload.offset == 100


def test_abandoned_also_when_called_off(pushed: PushServer) -> None:
    upload = begun(target(pushed))
    stop = pausing.Stop()
    stop.set()
    token = pausing.stop.set(stop)
    try:
        upload.abandon()
    finally:
        pausing.stop.reset(token)
    assert pushed.deleted == [1]


@pytest.mark.parametrize(
    ("text", "count"),
    [("0-99", 100), ("bytes=0-99", 100), ("0-0", 0), ("", 0), ("5-9", 0), ("0-x", 0)],
)
def test_ranges_as_registries_write_them(text: str, count: int) -> None:
    @dataclass
    class Answered:
        headers: dict[str, str]

    assert _taken(Answered({"Range": text})) == count  # type: ignore[arg-type]


# --- mounts -----------------------------------------------------------------------------------


def test_mounted(pushed: PushServer) -> None:
    begun(target(pushed, "lab/base")).commit(DIGEST, DATA)
    assert target(pushed, mount_from="lab/base").begin(DIGEST, mount=True) is None
    assert pushed.requests[-1].query == {"mount": [DIGEST], "from": ["lab/base"]}
    assert target(pushed).holds(DIGEST, len(DATA))


def test_not_mounted_begins_an_upload(pushed: PushServer) -> None:
    upload = target(pushed, mount_from="lab/base").begin(DIGEST, mount=True)
    assert upload is not None
    upload.commit(DIGEST, DATA)
    assert pushed.blobs[DIGEST] == DATA


def test_a_registry_that_cannot_mount(pushed: PushServer) -> None:
    pushed.rule(lambda r: "mount" in r.query, respond(400, {}, error_body("UNSUPPORTED")))
    assert target(pushed, mount_from="lab/base").begin(DIGEST, mount=True) is not None
    assert [one.query for one in pushed.asked("uploads")][1] == {}


def test_the_same_repository_is_nothing_to_mount_from(pushed: PushServer) -> None:
    assert target(pushed, mount_from="lab/app").mount_from is None


# --- logins -----------------------------------------------------------------------------------


def test_scopes_are_one_parameter_each(pushed: PushServer) -> None:
    pushed.auth, pushed.anonymous = "bearer", False
    place = target(pushed, mount_from="lab/base", **ALICE)
    assert not place.holds(DIGEST, 1)
    (token,) = pushed.asked("/token")
    assert token.query["scope"] == ["repository:lab/app:pull,push", "repository:lab/base:pull"]


def test_a_token_refused_for_the_other_repository_is_asked_for_without(pushed: PushServer) -> None:
    pushed.auth, pushed.anonymous = "bearer", False
    refuse = lambda r: r.path == "/token" and len(r.query["scope"]) > 1  # noqa: E731
    pushed.rule(refuse, respond(403, {}, error_body("DENIED")))
    place = target(pushed, mount_from="lab/base", **ALICE)
    upload = place.begin(DIGEST, mount=True)
    assert upload is not None
    assert place.mount_from is None
    assert pushed.asked("/token")[-1].query["scope"] == ["repository:lab/app:pull,push"]
    assert pushed.asked("uploads")[-1].query == {}


def test_denied(pushed: PushServer) -> None:
    pushed.auth, pushed.anonymous = "bearer", False
    with pytest.raises(errors.AuthRequired):
        target(pushed).holds(DIGEST, 1)
    with pytest.raises(errors.AuthDenied, match="may push to"):
        target(pushed, username="alice", password="wrong").holds(DIGEST, 1)
    pushed.rule(lambda r: r.method == "POST", respond(403, {}, error_body("DENIED", "no way")))
    with pytest.raises(errors.AuthDenied, match=r"no way.*may push to"):
        target(pushed, **ALICE).begin(DIGEST)


def test_a_token_that_ran_out_is_renewed_and_the_bytes_sent_again(pushed: PushServer) -> None:
    pushed.auth, pushed.anonymous = "bearer", False
    upload = begun(target(pushed, **ALICE))
    pushed.valid.clear()
    body = Bytes(DATA)
    upload.send(body, whole=True)
    upload.commit(DIGEST)
    assert body.begun == 2
    assert pushed.blobs[DIGEST] == DATA


def test_a_wider_scope_is_modest() -> None:
    assert _actions("repository:a/b:pull,push repository:c:pull") == {"pull", "push"}
    assert _actions("repository:a/b:pull") == {"pull"}
    assert _actions(None) == {"pull"}
    url = tokens._with_query(Url(Origin("https", "t.example", 443), "/"), {"scope": "a b"})
    assert url.query == "scope=a&scope=b"


# --- where uploads go -------------------------------------------------------------------------


def test_elsewhere_without_the_login(pushed: PushServer) -> None:
    with PushServer("127.0.0.2") as store:
        pushed.auth = "basic"
        pushed.where = store.url
        upload = begun(target(pushed, insecure=[pushed.host, store.host], **ALICE))
        store.uploads[1] = bytearray()
        upload.send(Bytes(DATA), whole=True)
        upload.commit(DIGEST)
        assert store.blobs[DIGEST] == DATA
        assert [one.method for one in store.requests] == ["PATCH", "PUT"]
        assert not any("authorization" in one.headers for one in store.requests)
        assert "authorization" in pushed.asked("uploads", "POST")[-1].headers


def test_elsewhere_that_wants_a_login_gets_none(pushed: PushServer) -> None:
    with PushServer("127.0.0.2") as store:
        store.auth, pushed.auth, pushed.where = "basic", "basic", store.url
        upload = begun(target(pushed, insecure=[pushed.host, store.host], **ALICE))
        with pytest.raises(errors.AuthDenied, match="sends uploads"):
            upload.send(Bytes(DATA), whole=True)
        assert not any("authorization" in one.headers for one in store.requests)


def test_elsewhere_less_public_is_refused(pushed: PushServer) -> None:
    pushed.where = "http://169.254.169.254"
    upload = begun(target(pushed))
    with pytest.raises(errors.OriginRefused):
        upload.send(Bytes(DATA), whole=True)


def test_moved_elsewhere_by_a_redirect(pushed: PushServer) -> None:
    with PushServer("127.0.0.2") as store:
        pushed.auth = "basic"
        store.uploads[1] = bytearray()
        upload = begun(target(pushed, insecure=[pushed.host, store.host], **ALICE))
        moved = {"Location": f"{store.url}/v2/lab/app/blobs/uploads/1"}
        pushed.rule(lambda r: r.method == "PATCH", respond(307, moved))
        upload.send(Bytes(DATA), whole=True)
        assert bytes(store.uploads[1]) == DATA
        assert "authorization" not in store.requests[-1].headers


def test_see_other_is_not_followed(pushed: PushServer) -> None:
    pushed.rule(lambda r: r.method == "PUT", respond(303, {"Location": "/v2/"}))
    with pytest.raises(errors.PushRefused) as caught:
        target(pushed).put_manifest("1", b"{}", "application/json", sha256(b"{}"))
    assert caught.value.status == 303
    assert len(pushed.requests) == 1


def located(base: str, location: str) -> object:
    from didlab.transport.uploads import _located

    @dataclass
    class Answered:
        url: Url
        headers: dict[str, str]
        status: int = 202
        host: str = "r.example"

    return _located(Answered(split(base), {"Location": location} if location else {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/a?x=1", "https://r.example/v2/a?x=1"),
        ("7", "https://r.example/v2/b/7"),
        ("https://s.example/x?sig=1", "https://s.example/x?sig=1"),
        # A registry that does not know of the TLS before it.
        ("http://r.example/v2/a?x=1", "https://r.example/v2/a?x=1"),
        ("http://r.example:5000/v2/a", "https://r.example/v2/a"),
    ],
)
def test_locations(location: str, url: str) -> None:
    assert str(located("https://r.example/v2/b/uploads", location)) == url


@pytest.mark.parametrize("location", ["http://s.example/x", "ftp://s.example/x", ""])
def test_locations_that_lead_nowhere_good(location: str) -> None:
    found = located("https://r.example/v2/b/uploads", location)
    assert isinstance(found, errors.OriginRefused | errors.ProtocolError)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (404, "NAME_UNKNOWN", "no project", errors.RepositoryNotFound),
        (400, "NAME_INVALID", "bad name", errors.PushRefused),
        (405, "UNSUPPORTED", "read-only", errors.RegistryReadOnly),
        (413, "", "", errors.TooLarge),
        (403, "DENIED", "will exceed the configured upper limit", errors.QuotaExceeded),
        (412, "DENIED", "Quota exceeded", errors.QuotaExceeded),
        (507, "", "", errors.QuotaExceeded),
        (412, "PRECONDITION", "the tag is immutable", errors.PushRefused),
        (500, "UNKNOWN", "oops", errors.ServerError),
        (429, "TOOMANYREQUESTS", "slow down", errors.RateLimited),
        (400, "DIGEST_INVALID", "other bytes", errors.DigestMismatch),
        (404, "MANIFEST_BLOB_UNKNOWN", "layer missing", errors.BlobNotFound),
        (400, "MANIFEST_INVALID", "no such type", errors.PushRefused),
    ],
)
def test_refusals(
    pushed: PushServer, status: int, code: str, message: str, error: type[Exception]
) -> None:
    body = error_body(code, message) if code else b"<html>"
    json = {"Content-Type": "application/json"}
    pushed.rule(lambda r: r.method == "PUT", respond(status, json, body))
    with pytest.raises(error) as caught:
        target(pushed).put_manifest("1", b"{}", "application/json", sha256(b"{}"))
    assert type(caught.value) is error
    assert isinstance(caught.value, errors.DidlabError)
    if message and error is not errors.RateLimited:
        assert message in caught.value.message


def test_a_limit_that_ends_soon_is_waited_for(pushed: PushServer, waits: list[float]) -> None:
    pushed.rule(lambda r: r.method == "PATCH", respond(429, {"Retry-After": "3"}), times=1)
    upload = begun(target(pushed))
    upload.send(Bytes(DATA), whole=True)
    upload.commit(DIGEST)
    assert waits == [3.0]
    assert pushed.blobs[DIGEST] == DATA


def test_a_manifest_that_is_kept_as_another(pushed: PushServer) -> None:
    other = {"Docker-Content-Digest": sha256(b"other")}
    pushed.rule(lambda r: r.method == "PUT", change(lambda a, _: type(a)(201, other)))
    with pytest.raises(errors.DigestMismatch):
        target(pushed).put_manifest("1", b"{}", "application/json", sha256(b"{}"))


def test_mirrors_are_not_written_to(pushed: PushServer) -> None:
    with PushServer("127.0.0.2") as mirror:
        place = target(pushed, mirrors=[mirror.url], insecure=[mirror.host])
        begun(place).commit(DIGEST, DATA)
        assert mirror.requests == []


# --- called off -------------------------------------------------------------------------------


class Endless:
    """More than any buffer takes; tells when it is asked for."""

    size = 1 << 40

    def __init__(self) -> None:
        self.started = threading.Event()

    def pieces(self) -> Iterator[bytes]:
        self.started.set()
        while True:
            yield bytes(65536)


def test_a_body_that_nobody_takes_is_called_off(
    pushed: PushServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other side reads nothing: the sending thread hangs in the socket until it is cut."""
    upload = begun(target(pushed))
    body, stop = Endless(), pausing.Stop()
    ended: list[BaseException] = []

    def deaf(server: PushServer, *_: object) -> bool:
        server.stopping.wait(30)
        raise HangUp

    monkeypatch.setattr(FaultServer, "_one", deaf)
    client._clients.clear()
    upload._target = target(pushed)  # with connections of its own: kept ones are read already

    def run() -> None:
        pausing.stop.set(stop)
        try:
            upload.send(body, whole=True)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert body.started.wait(10)
    thread.join(0.3)
    assert thread.is_alive()
    stop.set()
    thread.join(5)
    assert [type(error) for error in ended] == [pausing.Stopped]
