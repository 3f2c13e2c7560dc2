"""A Registry: its repositories, its limits, and the log of what was asked."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rig.faults import FaultServer, error_body, respond, too_many, with_headers
from rig.images import make_image
from rig.registries import Registry as LabRegistry

import didlab
from didlab.errors import (
    AuthError,
    ConnectFailed,
    InvalidArgument,
    InvalidReference,
    MalformedContent,
    ManifestNotFound,
    RateLimited,
    Unsupported,
)
from didlab.sources.cached import shared

IMAGE = make_image([{"a": b"a"}])


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()


def test_repositories(lab: LabRegistry) -> None:
    table = didlab.Registry(lab.host).repositories()
    assert list(table.columns) == ["repository"]
    assert {"lab/app", "lab/many", "lab/old", "lab/small", "private/app"} <= set(
        table["repository"]
    )
    assert table["repository"].is_unique
    assert table.attrs["reference"] == lab.host


def test_repositories_over_several_pages() -> None:
    with FaultServer() as server:
        for number in range(7):
            server.add_image(f"lab/app{number}", "1", IMAGE)
        server.page = 3
        table = didlab.Registry(server.host, trust_env=False).repositories()
        assert list(table["repository"]) == [f"lab/app{number}" for number in range(7)]
        assert len(server.asked("/_catalog")) == 3


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_that_does_not_list(status: int) -> None:
    with FaultServer() as server:
        json_type = {"Content-Type": "application/json"}
        server.rule(
            lambda request: "_catalog" in request.path,
            respond(status, json_type, error_body("UNSUPPORTED")),
        )
        with pytest.raises(Unsupported, match="does not list") as caught:
            didlab.Registry(server.host, trust_env=False).repositories()
        assert caught.value.host == server.host


@pytest.mark.parametrize("status", [401, 403])
def test_a_list_for_administrators(status: int) -> None:
    with FaultServer() as server:
        json_type = {"Content-Type": "application/json"}
        server.rule(
            lambda request: "_catalog" in request.path,
            respond(status, json_type, error_body("DENIED")),
        )
        with pytest.raises(AuthError, match="administrators") as caught:
            didlab.Registry(server.host, trust_env=False).repositories()
        # The hint travels, too.
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nginx", "library/nginx"),
        ("library/nginx", "library/nginx"),
        ("o/i", "o/i"),
    ],
)
def test_down_to_a_repository(name: str, found: str) -> None:
    assert didlab.Registry()[name].name == found


@pytest.mark.parametrize(
    "wrong",
    ["", "UPPER", "a//b", "nginx:1.27", "nginx:latest", "a@sha256:" + "0" * 64, "../a", "a b"],
)
def test_what_is_no_repository(wrong: str) -> None:
    with pytest.raises((InvalidReference, InvalidArgument)):
        didlab.Registry()[wrong]


@pytest.mark.parametrize("wrong", [0, None, b"nginx"])
def test_a_registry_is_indexed_by_text(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        didlab.Registry()[wrong]


@pytest.mark.parametrize("wrong", ["", "a/b", "https://a", "a b", "a:b", "a:99999"])
def test_what_is_no_registry(wrong: str) -> None:
    with pytest.raises(InvalidReference):
        didlab.Registry(wrong)


# --- limits -----------------------------------------------------------------------------------


def limit_of(**headers: str) -> didlab.model.registry.RateLimit:  # type: ignore[name-defined]
    with FaultServer() as server:
        server.rule(lambda request: request.path == "/v2/", with_headers(**headers))
        return didlab.Registry(server.host, trust_env=False).rate_limit()


def test_rate_limit() -> None:
    found = limit_of(
        RateLimit_Limit="100;w=21600",
        RateLimit_Remaining="76;w=21600",
        docker_ratelimit_source="192.0.2.1",
    )
    assert (found.limit, found.remaining, found.window) == (100, 76, 21600)
    assert found.source == "192.0.2.1"
    assert found.resets is None


def test_rate_limit_says_when_it_resets() -> None:
    moment = datetime.now(UTC) + timedelta(hours=2)
    found = limit_of(
        X_RateLimit_Limit="60",
        X_RateLimit_Remaining="0",
        X_RateLimit_Reset=str(int(moment.timestamp())),
    )
    assert (found.limit, found.remaining) == (60, 0)
    assert found.resets is not None
    assert found.resets.tzinfo is not None
    assert abs(found.resets - moment) < timedelta(minutes=10)


def test_a_registry_without_limits(lab: LabRegistry) -> None:
    found = didlab.Registry(lab.host).rate_limit()
    assert (found.limit, found.remaining, found.window, found.resets) == (None,) * 4


@pytest.mark.parametrize("value", ["many", "-5", "1e3", "١٠٠", ""])
def test_nonsense_is_no_limit(value: str) -> None:
    text = value.encode().decode("latin-1")
    assert limit_of(RateLimit_Limit=text, RateLimit_Remaining=text).limit is None


def test_too_many_requests_is_a_typed_error() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        server.rule(
            lambda request: "/manifests/" in request.path,
            too_many("86400", RateLimit_Limit="100;w=21600", RateLimit_Remaining="0;w=21600"),
        )
        with pytest.raises(RateLimited) as caught:
            didlab.open(f"{server.host}/lab/app:1", trust_env=False).digest()
        error = caught.value
        assert (error.limit, error.remaining, error.retry_after) == (100, 0, 86400)
        assert error.resets is not None
        assert error.retryable
        assert len(server.asked("/manifests/")) == 1  # nobody waits for a day


# --- the log ----------------------------------------------------------------------------------


def test_requests_lists_what_was_asked(lab: LabRegistry) -> None:
    # Options of its own: a client, and so a log, that no other test shares.
    hub = didlab.Registry(lab.host, timeout=(9, 29))
    assert hub.requests().empty
    m = hub["lab/app"]["multi"]
    with lab.record() as seen:
        m.platforms(sizes=True)
        hub["lab/app"].tags()
    table = hub.requests()
    answered = table[table["status"].notna()]
    assert list(answered["path"]) == [entry.path for entry in seen]
    assert list(answered["status"]) == [entry.status for entry in seen]
    assert list(answered["bytes"]) == [entry.sent for entry in seen]
    assert set(answered["host"]) == {lab.host}
    assert set(answered["method"]) == {"GET"}
    assert (answered["attempt"] == 1).all()
    assert answered["mirror"].isna().all()
    assert (answered["seconds"] >= 0).all()
    assert table["started"].is_monotonic_increasing
    with lab.record() as seen:
        hub.requests()
    assert seen == []


def test_failures_are_in_the_log() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        server.rule(
            lambda request: "/manifests/" in request.path, respond(503, {"Retry-After": "0"}), 1
        )
        hub = didlab.Registry(server.host, trust_env=False)
        hub["lab/app"]["1"].digest()
        table = hub.requests()
        table = table[table["status"].notna()]
        assert list(table["status"]) == [503, 200]
        assert list(table["attempt"]) == [1, 2]


def test_secrets_are_not_in_the_log() -> None:
    with FaultServer() as server:
        server.auth = "bearer"
        server.anonymous = False
        server.add_image("lab/app", "1", IMAGE)
        hub = didlab.Registry(
            server.host, username="alice", password="wonder:land/42", trust_env=False
        )
        hub["lab/app"]["1"].config()
        table = hub.requests()
        assert "/token" in set(table["path"])
        text = table.to_csv()
        assert "wonder" not in text
        assert "token-1-alice" not in text
        for secret in ("wonder:land/42", "token-1-alice"):
            for shown in (repr(hub), repr(vars(hub)), str(pickle.dumps(hub))):
                assert secret not in shown


def test_objects_that_talk_in_the_same_way_share_a_log(lab: LabRegistry) -> None:
    options: dict[str, Any] = {"timeout": (8, 28)}
    didlab.open(f"{lab.host}/lab/small:1", **options).digest()
    assert not didlab.Registry(lab.host, **options).requests().empty
    assert didlab.Registry(lab.host, timeout=(7, 27)).requests().empty


def test_nobody_there() -> None:
    server = FaultServer()
    host = server.host
    server.stop()
    with pytest.raises(ConnectFailed) as caught:
        didlab.Registry(host, trust_env=False)["lab/app"].tags()
    assert caught.value.host is not None
    assert caught.value.retryable


def test_identity() -> None:
    hub = didlab.Registry("registry.invalid", mirrors="https://mirror.invalid")
    assert hub == didlab.Registry("registry.invalid")
    assert hash(hub) == hash(didlab.Registry("registry.invalid"))
    assert hub != didlab.Registry("other.invalid")
    again = pickle.loads(pickle.dumps(hub))
    assert again == hub
    assert again.mirrors == hub.mirrors == ("https://mirror.invalid",)
    assert didlab.Registry("index.docker.io").name == "docker.io"
    assert repr(didlab.Registry()) == "<Registry docker.io>"
    assert "mirror.invalid" in repr(hub)


@pytest.mark.parametrize(
    ("registry", "name", "found"),
    [
        ("docker.io", "docker.io/library/nginx", "library/nginx"),
        ("docker.io", "docker.io/nginx", "library/nginx"),
        ("docker.io", "index.docker.io/o/i", "o/i"),
        ("ghcr.io", "ghcr.io/o/i", "o/i"),
        ("ghcr.io", "GHCR.io/o/i", "o/i"),
        ("127.0.0.1:5000", "127.0.0.1:5000/a", "a"),
        # A mirror of many registries has them as a first part.
        ("m.example", "docker.io/library/nginx", "docker.io/library/nginx"),
        ("m.example:5000", "m.example/a", "m.example/a"),
    ],
)
def test_its_own_host_is_no_part_of_the_name(registry: str, name: str, found: str) -> None:
    assert didlab.Registry(registry)[name].name == found


def test_a_mirror_lists_only_what_it_kept() -> None:
    with FaultServer() as server, FaultServer("127.0.0.2") as mirror:
        server.add_image("lab/app", "1", IMAGE)
        server.add_image("lab/other", "1", IMAGE)
        mirror.add_image("lab/app", "1", IMAGE)
        hub = didlab.Registry(server.host, mirrors=[mirror.url], trust_env=False)
        assert list(hub.repositories()["repository"]) == ["lab/app", "lab/other"]
        assert "lab/other" in hub._ipython_key_completions_()
        assert not mirror.requests


def test_near_misses_of_a_tag() -> None:
    with FaultServer() as server:
        for tag in ("1.26", "1.27", "latest"):
            server.add_image("lab/app", tag, IMAGE)
        repository = didlab.Registry(server.host, trust_env=False)["lab/app"]
        repository["1.27"].digest()
        assert not server.asked("/tags/list")
        with pytest.raises(ManifestNotFound) as caught:
            repository["1.27.0"].digest()
        assert caught.value.available[0] == "1.27"
        assert "1.27" in str(caught.value.hint)
        assert len(server.asked("/tags/list")) == 1
        with pytest.raises(ManifestNotFound) as caught:
            repository["zzz"].digest()
        assert caught.value.available == ()
        before = len(server.asked("/tags/list"))
        with pytest.raises(ManifestNotFound):
            repository["sha256:" + "0" * 64].digest()
        assert len(server.asked("/tags/list")) == before


@pytest.mark.parametrize("action", [respond(500), too_many("5"), respond(200, {}, b"<html>")])
def test_no_near_misses_where_the_list_fails(action: Any) -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1.27", IMAGE)
        server.rule(lambda request: "/tags/list" in request.path, action)
        repository = didlab.Registry(server.host, trust_env=False)["lab/app"]
        with pytest.raises(ManifestNotFound) as caught:
            repository["1.27.0"].digest()
        assert caught.value.available == ()
        assert len(server.asked("/tags/list")) == 1


def test_errors_about_content_say_of_which_image() -> None:
    with FaultServer() as server:
        server.add_image("lab/app", "1", IMAGE)
        server.rule(
            lambda request: "/manifests/" in request.path,
            respond(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, b"{}"),
        )
        name = f"{server.host}/lab/app:1"
        with pytest.raises(MalformedContent) as caught:
            didlab.open(name, trust_env=False).digest()
        assert caught.value.reference == name
        assert caught.value.host == server.host
        assert caught.value.message.startswith(f"{name}: ")
        assert caught.value.message.count(name) == 1
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
