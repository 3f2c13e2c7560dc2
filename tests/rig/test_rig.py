"""The rig itself: each part starts, serves, and stops."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import random
import socket
import ssl
import tarfile
from urllib.parse import urlencode

import pytest
import trustme

from rig import faults
from rig.faults import FaultServer
from rig.images import make_image, push_image


def get(host, path, method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request(method, path, headers=named)
        with contextlib.closing(connection.getresponse()) as answer:
            return answer.status, answer.headers, answer.read()


ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)


def manifest(host, repository, reference, **headers):
    status, answered, body = get(
        host, f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT, **headers
    )
    assert status == 200, body
    return answered, body


def test_lab_serves_what_the_table_says(lab):
    headers, body = manifest(lab.host, "lab/app", "latest")
    assert headers["Content-Type"] == "application/vnd.docker.distribution.manifest.v2+json"
    latest = json.loads(body)
    assert len(latest["layers"]) == 11
    headers, body = manifest(lab.host, "lab/app", "oci")
    assert headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
    headers, body = manifest(lab.host, "lab/app", "multi")
    assert headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
    rows = json.loads(body)["manifests"]
    assert [row["platform"]["architecture"] for row in rows] == ["amd64", "arm64", "arm", "unknown"]
    assert rows[3]["annotations"]["vnd.docker.reference.digest"] == rows[0]["digest"]
    headers, body = manifest(lab.host, "lab/app", "list")
    assert headers["Content-Type"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    first, second = (json.loads(manifest(lab.host, "lab/small", n)[1]) for n in "12")
    assert first["layers"] == second["layers"][:1]
    status, _, body = get(lab.host, "/v2/lab/many/tags/list")
    assert status == 200
    assert len(json.loads(body)["tags"]) == 250
    status, headers, body = get(lab.host, "/v2/lab/old/manifests/1")
    assert json.loads(body)["schemaVersion"] == 1


def test_layers_are_real_tars_with_whiteouts(lab):
    layers = json.loads(manifest(lab.host, "lab/app", "latest")[1])["layers"]
    names = []
    for layer in layers:
        _, _, blob = get(lab.host, f"/v2/lab/app/blobs/{layer['digest']}")
        assert hashlib.sha256(blob).hexdigest() == layer["digest"][7:]
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as tar:
            names.append(tar.getnames())
    assert "var/lib/dpkg/status" in names[0]
    assert "usr/share/doc/.wh..wh..opq" in names[9]
    assert "etc/.wh.issue" in names[9]
    assert any("issue" in name for name in names[0])


def test_a_registry_counts_its_requests_and_comes_back_after_a_stop(own_registry):
    push_image(own_registry.host, "x", "1", make_image([{"a": b"a"}]))
    assert own_registry.requests() == []  # the rig's own do not count
    with own_registry.record() as seen:
        manifest(own_registry.host, "x", "1")
        get(own_registry.host, "/v2/x/manifests/none?a=b")
    assert [(one.method, one.path, one.query, one.status) for one in seen] == [
        ("GET", "/v2/x/manifests/1", "", 200),
        ("GET", "/v2/x/manifests/none", "a=b", 404),
    ]
    assert seen[0].sent > 100
    own_registry.stop()
    try:
        get(own_registry.host, "/v2/")
    except ConnectionRefusedError:
        pass
    else:
        raise AssertionError("still there")
    own_registry.start()
    manifest(own_registry.host, "x", "1")
    assert len(own_registry.requests()) == 3


def test_basic_auth(registry_htpasswd):
    assert get(registry_htpasswd.host, "/v2/lab/small/manifests/1")[0] == 401
    secret = f"{registry_htpasswd.user}:{registry_htpasswd.password}".encode()
    basic = "Basic " + base64.b64encode(secret).decode()
    manifest(registry_htpasswd.host, "lab/small", "1", Authorization=basic)


def token_for(registry, scope, user=""):
    query = urlencode({"service": "rig", "scope": scope})
    headers = {}
    if user:
        secret = f"{user}:{registry.tokens.users[user]}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(secret).decode()
    status, _, body = get(registry.tokens.host, f"/token?{query}", **headers)
    assert status == 200, body
    return json.loads(body)["token"]


def test_token_auth_is_checked_by_the_real_registry(registry_token):
    status, headers, _ = get(registry_token.host, "/v2/lab/small/manifests/1")
    assert status == 401
    assert headers["WWW-Authenticate"] == (
        f'Bearer realm="{registry_token.tokens.url}",service="rig",'
        'scope="repository:lab/small:pull"'
    )
    token = token_for(registry_token, "repository:lab/small:pull")
    manifest(registry_token.host, "lab/small", "1", Authorization=f"Bearer {token}")
    forged = token[:-8] + "AAAAAAAA"
    path = "/v2/lab/small/manifests/1"
    assert get(registry_token.host, path, Authorization=f"Bearer {forged}")[0] == 401
    for user, expected in (("", 401), ("bob", 401), ("alice", 200)):
        token = token_for(registry_token, "repository:private/app:pull", user)
        path = "/v2/private/app/manifests/1"
        status, _, _ = get(registry_token.host, path, Authorization=f"Bearer {token}")
        assert status == expected, user
    assert [one.method for one in registry_token.tokens.requests] == ["GET"] * 4
    assert registry_token.tokens.requests[3].basic == ("alice", "wonder:land/42")


def test_a_token_really_ends_with_its_lifetime(registry_token):
    registry_token.tokens.lifetime = -5
    token = token_for(registry_token, "repository:lab/small:pull")
    path = "/v2/lab/small/manifests/1"
    assert get(registry_token.host, path, Authorization=f"Bearer {token}")[0] == 401


def test_oauth2_post(registry_token):
    tokens = registry_token.tokens

    def post(**form):
        connection = http.client.HTTPConnection(tokens.host)
        form = {"service": "rig", "client_id": "x", "scope": "repository:private/app:pull", **form}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/token", urlencode(form), kind)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    status, body = post(grant_type="refresh_token", refresh_token="identity-of-alice")
    assert status == 200
    assert "token" not in body
    bearer = f"Bearer {body['access_token']}"
    manifest(registry_token.host, "private/app", "1", Authorization=bearer)
    assert post(grant_type="refresh_token", refresh_token="guess")[0] == 401
    secret = tokens.users["alice"]
    assert post(grant_type="password", username="alice", password=secret)[0] == 200
    assert post(grant_type="password", username="alice", password="wrong")[0] == 401
    tokens.post = 405
    assert post(grant_type="refresh_token", refresh_token="identity-of-alice")[0] == 405


def test_tls_is_trusted_with_its_authority_only(registry_tls):
    for cafile in (registry_tls.ca, None):
        for name in ("localhost", "127.0.0.1"):
            context = ssl.create_default_context(cafile=cafile)
            connection = http.client.HTTPSConnection(name, registry_tls.port, context=context)
            if cafile is None:
                with pytest.raises(ssl.SSLCertVerificationError):
                    connection.request("GET", "/v2/")
            else:
                connection.request("GET", "/v2/lab/many/tags/list")
                assert connection.getresponse().status == 200
            connection.close()
    seen = [(one.method, one.path, one.status) for one in registry_tls.requests()]
    assert seen[-1] == ("GET", "/v2/lab/many/tags/list", 200)


def test_mirror_asks_its_origin_for_content_once(registry_mirror, lab):
    headers, _ = manifest(lab.host, "lab/small", "1")
    digest = headers["Docker-Content-Digest"]
    headers, _ = manifest(registry_mirror.host, "lab/small", digest)
    assert headers["Docker-Content-Digest"] == digest
    with lab.record() as seen:
        manifest(registry_mirror.host, "lab/small", digest)
    assert [one for one in seen if digest in one.path and one.method == "GET"] == []


@pytest.mark.slow
def test_big_image_has_its_size_and_valid_gzip(big_image, registry):
    assert big_image(30) == f"{registry.host}/lab/big:30"
    layers = json.loads(manifest(registry.host, "lab/big", "30")[1])["layers"]
    assert len(layers) == 7
    total = sum(layer["size"] for layer in layers)
    assert 29_000_000 < total < 31_000_000
    _, _, blob = get(registry.host, f"/v2/lab/big/blobs/{layers[1]['digest']}")
    assert hashlib.sha256(blob).hexdigest() == layers[1]["digest"][7:]
    plain = gzip.decompress(blob)
    assert len(plain) > len(blob)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert len(tar.getnames()) > 1


@pytest.fixture
def faulty():
    with FaultServer() as server:
        image = make_image([{"noise": random.Random(1).randbytes(50_000)}])
        server.add_image("lab/app", "1", image)
        server.blob = f"/v2/lab/app/blobs/{image.layers[0]['digest']}"
        server.data = image.blobs[image.layers[0]["digest"]]
        yield server


def is_blob(request):
    return "/blobs/" in request.path


def test_fault_server_is_honest_unless_told_otherwise(faulty):
    status, headers, body = get(faulty.host, faulty.blob, Range="bytes=10-19")
    assert (status, body) == (206, faulty.data[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(faulty.data)}"
    assert get(faulty.host, faulty.blob, Range="bytes=-3")[2] == faulty.data[-3:]
    assert get(faulty.host, faulty.blob, Range="bytes=999999-")[0] == 416
    assert get(faulty.host, faulty.blob, Range="bytes=5-", If_Range='"old"')[0] == 200
    assert get(faulty.host, faulty.blob, "HEAD")[2] == b""
    manifest(faulty.host, "lab/app", "1")
    assert get(faulty.host, "/v2/lab/app/manifests/none")[0] == 404
    assert json.loads(get(faulty.host, "/v2/nothing/tags/list")[2])["errors"][0]["code"] == (
        "NAME_UNKNOWN"
    )
    assert [one.sent for one in faulty.asked("/blobs/")] == [10, 3, 0, len(faulty.data), 0]


def test_fault_server_pages_by_link(faulty):
    image = make_image([{"a": b"a"}])
    for number in range(2, 6):
        faulty.add_image("lab/app", str(number), image)
    faulty.page = 2
    path, tags = "/v2/lab/app/tags/list?n=100", []
    while path:
        _, headers, body = get(faulty.host, path)
        tags += json.loads(body)["tags"]
        path = headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert tags == ["1", "2", "3", "4", "5"]
    assert len(faulty.requests) == 3


def test_fault_server_auth(faulty):
    faulty.auth = "bearer"
    status, headers, _ = get(faulty.host, "/v2/lab/app/manifests/1")
    assert (status, headers["WWW-Authenticate"]) == (
        401,
        f'Bearer realm="{faulty.url}/token",service="faults",scope="repository:lab/app:pull"',
    )
    token = json.loads(get(faulty.host, "/token?service=faults")[2])["token"]
    bearer = f"Bearer {token}"
    assert get(faulty.host, "/v2/lab/app/manifests/1", Authorization=bearer)[0] == 200
    faulty.valid.clear()
    assert get(faulty.host, "/v2/lab/app/manifests/1", Authorization=bearer)[0] == 401
    faulty.auth = "basic"
    basic = "Basic " + base64.b64encode(b"alice:wonder:land/42").decode()
    assert get(faulty.host, "/v2/", Authorization=basic)[0] == 200
    assert get(faulty.host, "/v2/")[0] == 401


def test_faults(faulty):
    size = len(faulty.data)

    def once(action):
        faulty.rule(is_blob, action, times=1)

    once(faults.half_close_after(100))
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(faulty.host, faulty.blob)
    assert caught.value.partial == faulty.data[:100]
    once(faults.reset_after(100))
    with pytest.raises(ConnectionResetError):
        get(faulty.host, faulty.blob)
    once(faults.hang_up)
    with pytest.raises(http.client.RemoteDisconnected):
        get(faulty.host, faulty.blob)
    once(faults.raw(b"220 mail server\r\n"))
    with pytest.raises(http.client.BadStatusLine):
        get(faulty.host, faulty.blob)
    once(faults.corrupt(7))
    body = get(faulty.host, faulty.blob)[2]
    assert body[:7] + body[8:] == faulty.data[:7] + faulty.data[8:]
    assert body[7] != faulty.data[7]
    once(faults.ignore_range)
    assert get(faulty.host, faulty.blob, Range="bytes=3-4")[0] == 200
    once(faults.wrong_range("bytes 0-1/9"))
    assert get(faulty.host, faulty.blob, Range="bytes=3-4")[1]["Content-Range"] == "bytes 0-1/9"
    once(faults.wrong_range(""))
    assert get(faulty.host, faulty.blob, Range="bytes=3-4")[1]["Content-Range"] is None
    once(faults.redirect("http://127.0.0.2:1/x"))
    assert get(faulty.host, faulty.blob)[1]["Location"] == "http://127.0.0.2:1/x"
    once(faults.too_many("7"))
    status, headers, _ = get(faulty.host, faulty.blob)
    assert (status, headers["Retry-After"]) == (429, "7")
    once(faults.dribble(size // 3, 0.001))
    assert get(faulty.host, faulty.blob)[2] == faulty.data
    once(faults.until_close)
    status, headers, body = get(faulty.host, faulty.blob)
    assert (headers["Content-Length"], body) == (None, faulty.data)
    once(faults.chunked())
    assert get(faulty.host, faulty.blob)[2] == faulty.data
    once(faults.chunked(end=False))
    with pytest.raises(http.client.IncompleteRead):
        get(faulty.host, faulty.blob)
    once(faults.stall(0.01, after=10))
    assert get(faulty.host, faulty.blob)[2] == faulty.data
    assert get(faulty.host, faulty.blob)[2] == faulty.data  # and all rules are used up
    assert [rule.hits for rule in faulty.rules] == [1] * 15
    assert [one.sent for one in faulty.requests[:2]] == [100, 100]


def test_a_stall_ends_with_the_server():
    server = FaultServer()
    server.rule(lambda _: True, faults.stall(3600))
    with socket.create_connection((server.address, server.port)) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")
        sock.recv(10)
        server.stop()
    assert not any(thread.is_alive() for thread in server._threads)


def test_fault_server_over_tls_on_another_address():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.2").configure_cert(context)
    try:
        server = FaultServer("127.0.0.2", tls=context)
    except OSError:
        pytest.skip("NOT TESTED: this system has one loopback address only")
    with server:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        host = server.host
        connection = http.client.HTTPSConnection(host, context=trusting, timeout=10)
        connection.request("GET", "/v2/")
        assert connection.getresponse().read() == b"{}"
        connection.close()
    assert server.url.startswith("https://127.0.0.2:")
