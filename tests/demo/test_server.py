"""The demo registry over HTTP, asked by the standard library's clients."""

import base64
import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from didlab.demo import server as server_module
from didlab.demo import tokens as tokens_module
from didlab.demo.api import _accepts, _span
from didlab.demo.images import repositories
from didlab.demo.server import DemoServer, serve_forever
from didlab.demo.tokens import TokenServer
from didlab.errors import InvalidArgument

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@pytest.fixture(scope="module")
def open_server():
    with DemoServer(tags=250) as running:
        yield running


@pytest.fixture
def locked_server():
    with DemoServer(auth=True) as running:
        yield running


def ask(server, path, method="GET", **headers):
    """(status, headers, body) of one request on a connection of its own."""
    request = urllib.request.Request(
        f"http://{server.host}{path}",
        method=method,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def code_of(body):
    [error] = json.loads(body)["errors"]
    assert error["message"]
    return error["code"]


def largest_blob():
    return max(repositories()["demo/web"].blobs.items(), key=lambda item: len(item[1]))


# --- reading --------------------------------------------------------------------------------


def test_version_and_catalog(open_server):
    status, headers, body = ask(open_server, "/v2/")
    assert (status, json.loads(body)) == (200, {})
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    _, _, body = ask(open_server, "/v2/_catalog")
    assert json.loads(body) == {"repositories": sorted(repositories())}


@pytest.mark.parametrize(
    ("path", "key"),
    [("/v2/_catalog?n=3", "repositories"), ("/v2/demo/single/tags/list?n=7", "tags")],
)
def test_paging_by_link_gives_everything_once_in_order(open_server, path, key):
    found, pages = [], 0
    while path:
        _, headers, body = ask(open_server, path)
        found += json.loads(body)[key]
        pages += 1
        link = headers["Link"]
        assert link is None or link.endswith('>; rel="next"')
        path = link and link[1 : link.index(">")]
    _, headers, body = ask(open_server, path_of(key) + "?n=1000")
    assert found == json.loads(body)[key] == sorted(set(found))
    assert headers["Link"] is None
    assert pages == {"repositories": 2, "tags": 36}[key]  # 252 tags are 36 full pages


def path_of(key):
    return {"repositories": "/v2/_catalog", "tags": "/v2/demo/single/tags/list"}[key]


def test_more_tags_on_request_and_a_page_of_a_hundred_when_not_asked(open_server):
    _, headers, body = ask(open_server, "/v2/demo/single/tags/list")
    page = json.loads(body)
    assert page["name"] == "demo/single"
    assert page["tags"][:2] == ["1.0", "build-00001"]
    assert len(page["tags"]) == 100
    assert "last=build-00099" in headers["Link"]
    # The images of other servers in this process keep their tags.
    assert sorted(repositories()["demo/single"].tags) == ["1.0", "latest"]


@pytest.mark.parametrize(
    ("query", "status", "tags"),
    [
        ("last=1.0", 200, ["1.1", "latest"]),
        ("last=1.05", 200, ["1.1", "latest"]),  # need not exist
        ("last=zzz", 200, []),
        ("n=0", 200, []),
        ("n=2&last=1.0", 200, ["1.1", "latest"]),
        ("n=-1", 400, None),
        ("n=x", 400, None),
        ("n=٣", 400, None),
    ],
)
def test_paging_parameters(open_server, query, status, tags):
    path = "/v2/demo/hello/tags/list?" + urllib.request.quote(query, safe="=&-")
    got, headers, body = ask(open_server, path)
    assert got == status
    assert headers["Link"] is None
    if tags is None:
        assert code_of(body) == "PAGINATION_NUMBER_INVALID"
    else:
        assert json.loads(body)["tags"] == tags


@pytest.mark.parametrize("name", sorted(repositories()))
def test_manifests_by_tag_and_digest_get_and_head(open_server, name):
    repository = repositories()[name]
    for reference in [*repository.tags, *repository.manifests]:
        digest = repository.tags.get(reference, reference)
        media_type, raw = repository.manifests[digest]
        for method in ("GET", "HEAD"):
            status, headers, body = ask(
                open_server, f"/v2/{name}/manifests/{reference}", method, Accept=media_type
            )
            assert status == 200
            assert headers["Content-Type"] == media_type
            assert headers["Docker-Content-Digest"] == digest
            assert headers["Content-Length"] == str(len(raw))
            assert body == (raw if method == "GET" else b"")


def test_an_index_is_never_downgraded(open_server):
    status, _, body = ask(
        open_server,
        "/v2/demo/hello/manifests/latest",
        Accept="application/vnd.docker.distribution.manifest.v2+json",
    )
    assert (status, code_of(body)) == (404, "MANIFEST_UNKNOWN")


def test_accept_may_come_in_several_lines(open_server):
    connection = http.client.HTTPConnection(open_server.host, timeout=30)
    connection.putrequest("GET", "/v2/demo/web/manifests/latest")
    connection.putheader("Accept", DOCKER_LIST)
    connection.putheader("Accept", OCI_INDEX)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, DOCKER_LIST)
    response.read()
    connection.close()


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        (OCI_INDEX, True),
        (f"text/html , {OCI_INDEX};q=0.5", True),
        (f"{OCI_INDEX};q=0", False),
        (f"{OCI_INDEX}; q=0.00", False),
        ("text/*", False),
        (OCI_INDEX + "x", False),
    ],
)
def test_accept(accept, taken):
    assert _accepts(accept, OCI_INDEX) is taken


def test_blobs_get_and_head(open_server):
    for name, repository in repositories().items():
        for digest, blob in repository.blobs.items():
            status, headers, body = ask(open_server, f"/v2/{name}/blobs/{digest}")
            assert (status, body) == (200, blob)
            assert headers["ETag"] == f'"{digest}"'
            assert headers["Docker-Content-Digest"] == digest
            assert headers["Content-Type"] == "application/octet-stream"
    status, headers, body = ask(open_server, f"/v2/{name}/blobs/{digest}", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(blob)), b"")
    encoded = digest.replace(":", "%3A")
    assert ask(open_server, f"/v2/{name}/blobs/{encoded}")[2] == blob


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        ("", 10, None),
        ("bytes=0-0", 10, range(1)),
        ("bytes=3-", 10, range(3, 10)),
        ("bytes=3-99", 10, range(3, 10)),
        ("bytes=-4", 10, range(6, 10)),
        ("bytes=-99", 10, range(10)),
        ("bytes=-0", 10, range(10, 10)),
        ("bytes=9-9", 10, range(9, 10)),
        ("bytes=10-", 10, range(10, 10)),
        ("bytes=10-20", 10, range(10, 10)),
        ("bytes=0-", 0, range(0)),
        ("bytes=5-4", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=٠-٣", 10, None),
        ("items=0-1", 10, None),
    ],
)
def test_ranges(header, size, span):
    got = _span(header, size)
    assert (None if got is None else list(got)) == (None if span is None else list(span))


def test_a_part_of_a_blob(open_server):
    digest, blob = largest_blob()
    path = f"/v2/demo/web/blobs/{digest}"
    status, headers, body = ask(open_server, path, Range="bytes=1000000-1999999")
    assert (status, body) == (206, blob[1_000_000:2_000_000])
    assert headers["Content-Range"] == f"bytes 1000000-1999999/{len(blob)}"
    assert headers["Content-Length"] == "1000000"
    status, headers, body = ask(open_server, path, Range=f"bytes={len(blob)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(blob)}")
    assert json.loads(body)["errors"]
    status, _, body = ask(open_server, path, Range="bytes=0-1,5-6")
    assert (status, len(body)) == (200, len(blob))
    status, _, body = ask(open_server, path, Range="bytes=0-3", If_Range='"another"')
    assert (status, len(body)) == (200, len(blob))
    status, _, body = ask(open_server, path, Range="bytes=0-3", If_Range=f'"{digest}"')
    assert (status, body) == (206, blob[:4])
    assert ask(open_server, path, "HEAD", Range="bytes=0-3")[0] == 200


def test_referrers_are_none(open_server):
    digest = repositories()["demo/hello"].tags["latest"]
    status, headers, body = ask(open_server, f"/v2/demo/hello/referrers/{digest}")
    assert (status, headers["Content-Type"]) == (200, OCI_INDEX)
    assert json.loads(body)["manifests"] == []


# --- refusing -------------------------------------------------------------------------------

ABSENT = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/demo/none/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/demo/none/manifests/latest", 404, "NAME_UNKNOWN"),
        ("/v2/demo/web/manifests/9.9", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/demo/web/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/demo/web/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        ("/v2/demo/web/blobs/latest", 400, "DIGEST_INVALID"),
        ("/v2/demo/web/tags/other", 404, "UNSUPPORTED"),
        ("/v2/../../etc/passwd", 404, "UNSUPPORTED"),
        ("/v2/demo/web/blobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "UNSUPPORTED"),
        ("/v2/%00/manifests/latest", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
        ("//[/v2/", 404, "UNSUPPORTED"),
        ("/token", 404, "UNSUPPORTED"),  # nobody needs one here
        ("/v2/_catalog?" + "&".join(["a=1"] * 60), 400, "UNSUPPORTED"),
        ("/v2/" + "a" * 5000, 414, "UNSUPPORTED"),
    ],
)
def test_errors_have_the_shape_of_the_specification(open_server, path, status, code):
    got, headers, body = ask(open_server, path)
    assert (got, code_of(body)) == (status, code)
    assert headers["Content-Type"] == "application/json"


def test_a_blob_of_another_repository_is_not_served(open_server):
    digest, _ = largest_blob()
    status, _, body = ask(open_server, f"/v2/demo/hello/blobs/{digest}")
    assert (status, code_of(body)) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_only_get_and_head(open_server, method):
    status, headers, body = ask(open_server, "/v2/demo/web/manifests/latest", method)
    assert (status, code_of(body), headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")
    assert open_server.requests[-1] == (method, "/v2/demo/web/manifests/latest", 405)


def raw_exchange(server, data):
    with socket.create_connection(server.host.split(":"), timeout=30) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "request_line",
    [b"GET /v2/" + b"a" * 70_000 + b" HTTP/1.1", b"nonsense", b"GET /v2/ HTTP/9.9"],
)
def test_unreadable_requests_are_answered_and_cut(open_server, request_line):
    try:
        answer = raw_exchange(open_server, request_line + b"\r\nHost: x\r\n\r\n")
    except ConnectionResetError:
        pytest.skip("the system threw the answer away with the unread rest")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"414", b"505"}
    assert code_of(body) == "UNSUPPORTED"


def test_a_body_is_not_taken_for_the_next_request(open_server):
    answer = raw_exchange(
        open_server,
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\n"
        b"GET /v2/_catalog HTTP/1.1\r\n\r\n\r\n",
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


# --- logging in -----------------------------------------------------------------------------


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def token_for(server, scope, user="demo", password="demo"):
    query = urllib.request.quote(scope, safe="")
    status, _, body = ask(
        server,
        f"/token?service=didlab-sandbox&scope={query}",
        Authorization=basic(user, password),
    )
    assert status == 200
    return json.loads(body)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v2/", None),
        ("/v2/_catalog", "registry:catalog:*"),
        ("/v2/demo/web/tags/list", "repository:demo/web:pull"),
        ("/v2/demo/none/tags/list", "repository:demo/none:pull"),  # does not tell that it is not
        (f"/v2/demo/web/blobs/{ABSENT}", "repository:demo/web:pull"),
    ],
)
def test_the_challenge_names_the_scope(locked_server, path, scope):
    status, headers, body = ask(locked_server, path)
    assert (status, code_of(body)) == (401, "UNAUTHORIZED")
    expected = f'Bearer realm="http://{locked_server.host}/token",service="didlab-sandbox"'
    assert headers["WWW-Authenticate"] == expected + (f',scope="{scope}"' if scope else "")
    # A login is for the token server only.
    assert ask(locked_server, path, Authorization=basic("demo", "demo"))[0] == 401


@pytest.mark.parametrize(
    "header",
    [
        None,
        basic("demo", "wrong"),
        basic("", ""),
        "Basic !!!",
        "Basic",
        "Bearer demo:demo",
        "Basic ZGVtbzpkZW1v\u00e9",
    ],
)
def test_wrong_logins_get_no_token(locked_server, header):
    headers = {} if header is None else {"Authorization": header}
    status, got, body = ask(
        locked_server, "/token?service=didlab-sandbox&scope=repository:demo/web:pull", **headers
    )
    assert (status, code_of(body)) == (401, "UNAUTHORIZED")
    assert got["WWW-Authenticate"] == 'Basic realm="didlab-sandbox"'


def test_a_token_opens_what_it_was_issued_for(locked_server):
    answer = token_for(locked_server, "repository:demo/web:pull")
    assert answer["expires_in"] == 300
    assert answer["token"] == answer["access_token"]
    bearer = "Bearer " + answer["token"]
    assert ask(locked_server, "/v2/", Authorization=bearer)[0] == 200
    assert ask(locked_server, "/v2/demo/web/tags/list", Authorization=bearer)[0] == 200
    for path in ("/v2/demo/hello/tags/list", "/v2/_catalog"):
        status, headers, _ = ask(locked_server, path, Authorization=bearer)
        assert status == 401
        assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]
    status, headers, _ = ask(locked_server, "/v2/", Authorization=bearer + "x")
    assert status == 401
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]


def test_several_scopes_in_one_token_and_others_left_out(locked_server):
    scope = "repository:demo/web:pull,push repository:demo/hello:push registry:catalog:*"
    bearer = "Bearer " + token_for(locked_server, scope)["token"]
    status = {
        path: ask(locked_server, path, Authorization=bearer)[0]
        for path in ("/v2/demo/web/tags/list", "/v2/demo/hello/tags/list", "/v2/_catalog")
    }
    assert list(status.values()) == [200, 401, 200]


def test_tokens_are_for_this_service_only(locked_server):
    status, _, body = ask(
        locked_server, "/token?service=other", Authorization=basic("demo", "demo")
    )
    assert (status, code_of(body)) == (400, "DENIED")


def test_tokens_expire_and_are_forgotten(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tokens_module.time, "monotonic", lambda: now[0])
    tokens = TokenServer("demo", "demo")
    token = "bearer " + tokens.issue(["repository:demo/web:pull"])
    now[0] += 299
    assert tokens.refusal(token, "repository:demo/web:pull") is None
    now[0] += 1
    assert tokens.refusal(token, "repository:demo/web:pull") == "invalid_token"
    tokens.issue([])
    assert len(tokens._grants) == 1


def test_another_login():
    with DemoServer(auth=("änne", "pass:wörd")) as server:
        token = token_for(server, "registry:catalog:*", "änne", "pass:wörd")["token"]
        assert ask(server, "/v2/_catalog", Authorization=f"Bearer {token}")[0] == 200
        assert "wörd" not in repr(server)
        assert ask(server, "/token", Authorization=basic("demo", "demo"))[0] == 401


# --- life -----------------------------------------------------------------------------------


def test_requests_are_remembered_and_nothing_is_printed(capfd):
    with DemoServer() as server:
        ask(server, "/v2/")
        ask(server, "/v2/demo/web/tags/list?n=1", "HEAD")
        ask(server, "/nowhere")
        assert server.requests == [
            ("GET", "/v2/", 200),
            ("HEAD", "/v2/demo/web/tags/list?n=1", 200),
            ("GET", "/nowhere", 404),
        ]
        raw_exchange(server, b"nonsense\r\n\r\n")
    assert capfd.readouterr() == ("", "")


def test_one_connection_serves_many_requests(open_server):
    connection = http.client.HTTPConnection(open_server.host, timeout=30)
    connection.request("GET", "/v2/")
    connection.getresponse().read()
    first = connection.sock
    for method, path in (("HEAD", "/v2/"), ("GET", "/v2/nowhere"), ("GET", "/v2/_catalog")):
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    assert connection.sock is first is not None
    assert json.loads(body)["repositories"]
    connection.close()


def test_many_clients_at_once(open_server):
    digest, blob = largest_blob()
    with ThreadPoolExecutor(8) as pool:
        path = f"/v2/demo/web/blobs/{digest}"
        answers = list(pool.map(lambda _: ask(open_server, path)[2], range(16)))
    assert all(answer == blob for answer in answers)


def test_it_listens_on_loopback_only(open_server):
    host, _, port = open_server.host.partition(":")
    assert host == "127.0.0.1"
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", int(port))) != 0


def test_stopping_frees_the_port_and_cuts_idle_connections():
    server = DemoServer()
    assert not server.running
    server.start()
    assert server.running
    idle = http.client.HTTPConnection(server.host, timeout=30)
    idle.request("GET", "/v2/")
    idle.getresponse().read()
    server.stop()
    server.stop()
    assert not server.running
    assert idle.sock.recv(1) == b""  # would wait for 30 s if the thread were still there
    idle.close()
    host, port = server.host.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    with DemoServer(port=int(port)) as again:
        assert ask(again, "/v2/")[0] == 200


def test_a_server_starts_once():
    with DemoServer() as server, pytest.raises(InvalidArgument, match="already started"):
        server.start()
    with pytest.raises(InvalidArgument, match="already started"):
        server.start()


def test_a_taken_port_is_a_clear_error():
    with DemoServer() as server:
        port = int(server.host.split(":")[1])
        with pytest.raises(InvalidArgument, match=rf"127\.0\.0\.1:{port}.*port=0"):
            DemoServer(port=port).start()


@pytest.mark.parametrize(
    "arguments",
    [
        {"auth": ("a:b", "c")},
        {"auth": ("", "c")},
        {"auth": ("user", None)},
        {"auth": "demo"},
        {"auth": ("a", "b", "c")},
        {"port": -1},
        {"port": 65536},
        {"port": True},
        {"tags": -1},
        {"tags": 1.5},
    ],
)
def test_arguments_that_cannot_be_meant(arguments):
    with pytest.raises(InvalidArgument):
        DemoServer(**arguments)


def test_serving_until_interrupted(monkeypatch):
    seen = []

    def interrupt(_seconds):
        seen.append(ask(running[0], "/v2/")[0])
        raise KeyboardInterrupt

    running = []
    real = DemoServer.start
    monkeypatch.setattr(DemoServer, "start", lambda self: running.append(self) or real(self))
    monkeypatch.setattr(server_module.time, "sleep", interrupt)
    serve_forever(seen.append, auth=False)
    assert seen == [running[0].host, 200]
    assert not running[0].running


def test_a_client_that_leaves_in_the_middle_disturbs_nobody(open_server, capfd):
    digest, _ = largest_blob()
    for _ in range(3):
        connection = socket.create_connection(open_server.host.split(":"), timeout=30)
        connection.sendall(f"GET /v2/demo/web/blobs/{digest} HTTP/1.1\r\n\r\n".encode())
        connection.recv(100)
        connection.close()
    workers = "process_request_thread"
    deadline = time.monotonic() + 30
    while any(workers in t.name for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ask(open_server, "/v2/")[0] == 200
    assert capfd.readouterr().err == ""
