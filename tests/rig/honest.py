"""The registry that a `rig.faults.FaultServer` is while no rule applies."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import urlencode

from rig.actions import Answer, Request, error_body
from rig.images import BuiltImage, BuiltIndex, all_blobs, sha256


class HonestRegistry:
    """Content in memory, and what a good registry answers about it.

    ``auth`` is None, "basic" or "bearer", and may change at any time.

    Attributes
    ----------
    users : dict of str to str
        Passwords, for both ways of auth; "bearer" also serves anonymous callers unless
        ``anonymous`` is False.
    valid : set of str
        Tokens that are good now; clear it to have all of them expired.
    realm : str
        Where the challenge sends to; "" is this server's own ``/token``.
    page : int
        How many tags or repositories one answer lists at most.
    referrers : dict of str to bytes
        Answers of the referrers API by digest, before all else.
    referrers_api : bool
        Whether the referrers API is served (OCI distribution 1.1); 404 as if there were none.
    referrers_filter : bool
        Whether it filters by ``artifactType``, and says so.
    referrers_page : int
        How many descriptors one answer of it lists at most.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.referrers: dict[str, bytes] = {}
        self.auth: str | None = None
        self.users = {"alice": "wonder:land/42"}
        self.anonymous = True
        self.valid: set[str] = set()
        self.expires_in = 300
        self.realm = ""
        self.page = 1000
        self.referrers_api = False
        self.referrers_filter = True
        self.referrers_page = 1000
        self._issued = 0
        self._issuing = threading.Lock()

    @property
    def url(self) -> str:
        """Where this is served."""
        raise NotImplementedError

    def add_image(self, repository: str, tag: str, built: BuiltImage | BuiltIndex) -> str:
        """Serve an image or index under a tag; returns its digest."""
        self.blobs.update(all_blobs(built))
        self._add_types(built)
        self.tags.setdefault(repository, {})[tag] = built.digest
        return built.digest

    def _add_types(self, built: BuiltImage | BuiltIndex) -> None:
        self.types[built.digest] = built.media_type
        for child in built.children if isinstance(built, BuiltIndex) else ():
            self._add_types(child)

    def attach(
        self, repository: str, built: BuiltImage | BuiltIndex, tag: str | None = None
    ) -> str:
        """Serve a manifest, under no tag unless one is given; returns its digest."""
        self.blobs.update(all_blobs(built))
        self._add_types(built)
        tags = self.tags.setdefault(repository, {})
        if tag is not None:
            tags[tag] = built.digest
        return built.digest

    def add_blob(self, repository: str, data: bytes) -> str:
        """Serve a blob; returns its digest."""
        self.tags.setdefault(repository, {})
        self.blobs[sha256(data)] = data
        return sha256(data)

    def honest(self, request: Request) -> Answer:
        """What a good registry answers."""
        if request.path == "/token":
            return self._token(request)
        if self.auth and not self._authorized(request):
            return self._challenge(request)
        if request.method not in ("GET", "HEAD"):
            return self._error(405, "UNSUPPORTED")
        if request.path in ("/v2", "/v2/"):
            return self._json({})
        if request.path == "/v2/_catalog":
            return self._paged(request, "repositories", sorted(self.tags), {})
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags|referrers)/([^/]+)", request.path)
        if found is None:
            return self._error(404, "NOT_FOUND")
        repository, kind, name = found.groups()
        if repository not in self.tags:
            return self._error(404, "NAME_UNKNOWN", name=repository)
        if kind == "tags":
            return self._paged(request, "tags", sorted(self.tags[repository]), {"name": repository})
        if kind == "referrers":
            return self._referrers(request, name)
        if kind == "manifests":
            digest = self.tags[repository].get(name, name)
            if digest not in self.types:
                return self._error(404, "MANIFEST_UNKNOWN", Tag=name)
            headers = {"Content-Type": self.types[digest], "Docker-Content-Digest": digest}
            return Answer(200, {**headers, "ETag": f'"{digest}"'}, self.blobs[digest])
        if name not in self.blobs:
            return self._error(404, "BLOB_UNKNOWN", digest=name)
        return self._blob(request, name)

    def _referrers(self, request: Request, digest: str) -> Answer:
        """What the specification says about listing referrers."""
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        body = self.referrers.get(digest)
        if body is not None:
            return Answer(200, headers, body)
        if not self.referrers_api:
            # As net/http answers for a route that it does not have.
            return Answer(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
        rows = [row for name in sorted(self.types) if (row := self._referrer(name, digest))]
        wanted = request.query.get("artifactType", [""])[0]
        if wanted and self.referrers_filter:
            rows = [row for row in rows if row.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        start = int(request.query.get("from", ["0"])[0])
        stop = start + self.referrers_page
        if len(rows) > stop:
            query = {"from": str(stop), **({"artifactType": wanted} if wanted else {})}
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        index = {
            "schemaVersion": 2,
            "mediaType": headers["Content-Type"],
            "manifests": rows[start:stop],
        }
        return Answer(200, headers, json.dumps(index).encode())

    def _referrer(self, name: str, subject: str) -> dict[str, object] | None:
        document = json.loads(self.blobs[name])
        if (document.get("subject") or {}).get("digest") != subject:
            return None
        row: dict[str, object] = {
            "mediaType": self.types[name],
            "digest": name,
            "size": len(self.blobs[name]),
        }
        kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
        if kind:
            row["artifactType"] = kind
        if document.get("annotations"):
            row["annotations"] = document["annotations"]
        return row

    def _blob(self, request: Request, digest: str) -> Answer:
        data = self.blobs[digest]
        etag = f'"{digest}"'
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "ETag": etag,
            "Accept-Ranges": "bytes",
        }
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.range)
        if not wanted or wanted[0] == "bytes=-" or request.headers.get("if-range", etag) != etag:
            return Answer(200, headers, data)
        first, last = wanted.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(len(data), int(last) + 1) if first and last else len(data)
        if start >= stop:
            return Answer(416, {"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return Answer(206, headers, data[start:stop])

    def _paged(self, request: Request, key: str, names: list[str], extra: dict[str, str]) -> Answer:
        count = min(int(request.query.get("n", [str(self.page)])[0]), self.page)
        last = request.query.get("last", [""])[0]
        rest = [name for name in names if name > last]
        answer = self._json({**extra, key: rest[:count]})
        if len(rest) > count:
            query = urlencode({"n": count, "last": rest[count - 1]})
            answer.headers["Link"] = f'<{request.path}?{query}>; rel="next"'
        return answer

    @staticmethod
    def _json(value: object, status: int = 200) -> Answer:
        return Answer(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    @staticmethod
    def _error(status: int, code: str, **detail: str) -> Answer:
        return Answer(status, {"Content-Type": "application/json"}, error_body(code, **detail))

    def _authorized(self, request: Request) -> bool:
        if self.auth == "basic":
            return (
                request.basic is not None and self.users.get(request.basic[0]) == (request.basic[1])
            )
        return request.bearer in self.valid

    def _challenge(self, request: Request) -> Answer:
        answer = self._error(401, "UNAUTHORIZED")
        challenge = 'Basic realm="faults"'
        if self.auth == "bearer":
            challenge = f'Bearer realm="{self.realm or self.url + "/token"}",service="faults"'
            found = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/.*", request.path)
            if found:
                challenge += f',scope="repository:{found[1]}:pull"'
        answer.headers["WWW-Authenticate"] = challenge
        return answer

    def _token(self, request: Request) -> Answer:
        user = request.basic
        good = self.anonymous if user is None else self.users.get(user[0]) == user[1]
        if request.method != "GET":
            return self._error(405, "UNSUPPORTED")
        if not good:
            return self._error(401, "UNAUTHORIZED")
        with self._issuing:
            self._issued += 1
            token = f"token-{self._issued}-{user[0] if user else 'anonymous'}"
            self.valid.add(token)
        return self._json({"token": token, "expires_in": self.expires_in})
