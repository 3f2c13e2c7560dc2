"""A token server whose signatures a real docker-registry accepts.

Everything about it can be turned while it runs: lifetimes, spelling, whether the OAuth2
POST exists. It keeps every request, so that tests can count them.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "alice", "wonder:land/42"
LEEWAY = 60  # docker-registry takes a token for so long after its end


@dataclass
class TokenRequest:
    """One request: ``query`` and ``form`` map names to lists of values, as they came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    form: dict[str, list[str]]
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def scopes(self) -> list[str]:
        """Scopes asked for, in either way of asking, split at spaces."""
        values = [*self.query.get("scope", []), *self.form.get("scope", [])]
        return [scope for value in values for scope in value.split(" ") if scope]

    @property
    def basic(self) -> tuple[str, str] | None:
        """User and password of the Authorization header."""
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return None
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, password


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """The server; set its attributes between requests.

    Attributes
    ----------
    users : dict of str to str
        Passwords.
    may : dict of str to list of str
        Repository patterns that a user may pull; "" is anybody.
    identity : dict of str to str
        Identity (refresh) tokens and whose they are.
    post : int
        0: POST works; otherwise the status it is answered with (404, 405, …).
    expires_in : int or None
        What the answer claims; None leaves it out (the specification then says 60 s).
    lifetime : float
        For how many seconds the registry really takes the token.
    spelling : tuple of str
        Names under which the token is given: "token", "access_token" or both.
    issued_at : bool
        Whether the answer says when the token was made.
    answer : callable or None
        ``answer(request) -> (status, headers, body) | None`` may answer instead.
    """

    def __init__(self, folder: Path, service: str = "rig") -> None:
        self.service = service
        self.issuer = "didlab test rig"
        self.users = {USER: PASSWORD, "bob": "builder"}
        self.may = {"": ["lab/*"], USER: ["*"], "bob": ["lab/*"]}
        self.identity = {"identity-of-alice": USER}
        self.post = 0
        self.expires_in: int | None = 300
        self.lifetime = 300.0
        self.spelling: tuple[str, ...] = ("token", "access_token")
        self.issued_at = True
        self.answer: Callable[[TokenRequest], tuple[int, dict[str, str], bytes] | None] | None
        self.answer = None
        self.requests: list[TokenRequest] = []
        self.root_certificates = folder / "token-root.pem"
        self._make_key()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The realm."""
        return f"http://{self.host}/token"

    def start(self) -> None:
        if self._server is None:
            rig = self

            class Bound(_Handler):
                tokens = rig

            self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Bound)
            self._server.daemon_threads = True
            self._port = self._server.server_address[1]
            threading.Thread(
                target=self._server.serve_forever, args=(0.02,), daemon=True, name="tokens"
            ).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def reset(self) -> None:
        """Forget the requests and all settings of a test."""
        self.requests.clear()
        self.post, self.expires_in, self.lifetime, self.answer = 0, 300, 300.0, None
        self.spelling, self.issued_at = ("token", "access_token"), True

    def _make_key(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self._key.public_key()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.issuer)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=7))
            .sign(self._key, hashes.SHA256())
        )
        self.root_certificates.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        # libtrust's name of a key: 240 bits of its SHA-256, base32, in groups of four.
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        self._key_id = ":".join(text[i : i + 4] for i in range(0, len(text), 4))

    def sign(self, user: str, access: list[dict[str, Any]], service: str = "") -> str:
        """A token for ``access``."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        now = time.time()
        header = {"typ": "JWT", "alg": "RS256", "kid": self._key_id}
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": service or self.service,
            "iat": int(now),
            "nbf": int(now) - 3600,
            "exp": int(now + self.lifetime) - LEEWAY,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_b64(signature)}"

    def grant(self, user: str, scopes: list[str]) -> list[dict[str, Any]]:
        """What of ``scopes`` the user gets; the rest is left out silently, as the hubs do."""
        granted = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository":
                patterns = self.may.get(user, [])
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                    allowed = [action for action in actions.split(",") if action == "pull"]
                    granted.append({"type": kind, "name": name, "actions": allowed})
            elif kind == "registry" and user:
                granted.append({"type": kind, "name": name, "actions": actions.split(",")})
        return granted

    def reply(self, request: TokenRequest) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.requests.append(request)
        special = self.answer(request) if self.answer else None
        if special is not None:
            request.status = special[0]
            return special
        if urlsplit(request.path).path != "/token":
            request.status, request.answer = 404, {"details": "not found"}
        elif request.method == "POST":
            request.status, request.answer = self._post(request)
        else:
            request.status, request.answer = self._get(request)
        return request.status, {}, json.dumps(request.answer).encode()

    def _get(self, request: TokenRequest) -> tuple[int, dict[str, Any]]:
        user = ""
        if request.basic is not None:
            user, password = request.basic
            if password in self.identity:
                user = self.identity[password]
            elif self.users.get(user) != password:
                return 401, {"details": "incorrect username or password"}
        answer = self._token(user, request)
        if user and request.query.get("offline_token") == ["true"]:
            answer["refresh_token"] = self._identity_of(user)
        return 200, answer

    def _post(self, request: TokenRequest) -> tuple[int, dict[str, Any]]:
        if self.post:
            return self.post, {"details": "no such method here"}
        form = {name: values[0] for name, values in request.form.items()}
        if not form.get("service") or not form.get("client_id"):
            return 400, {"error": "invalid_request"}
        if form.get("grant_type") == "refresh_token":
            user = self.identity.get(form.get("refresh_token", ""), "")
        elif form.get("grant_type") == "password":
            user = form.get("username", "")
            if self.users.get(user) != form.get("password"):
                user = ""
        else:
            return 400, {"error": "unsupported_grant_type"}
        if not user:
            return 401, {"error": "invalid_grant"}
        answer = self._token(user, request)
        answer["access_token"] = answer.pop("token", answer.get("access_token"))
        answer["scope"] = " ".join(request.scopes)
        if form["grant_type"] == "refresh_token":
            answer["refresh_token"] = form["refresh_token"]
        elif form.get("access_type") == "offline":
            answer["refresh_token"] = self._identity_of(user)
        return 200, answer

    def _identity_of(self, user: str) -> str:
        for token, owner in self.identity.items():
            if owner == user:
                return token
        token = f"identity-of-{user}"
        self.identity[token] = user
        return token

    def _token(self, user: str, request: TokenRequest) -> dict[str, Any]:
        service = (request.query.get("service") or request.form.get("service") or [self.service])[0]
        token = self.sign(user, self.grant(user, request.scopes), service)
        answer: dict[str, Any] = dict.fromkeys(self.spelling, token)
        if self.expires_in is not None:
            answer["expires_in"] = self.expires_in
        if self.issued_at:
            answer["issued_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    tokens: TokenServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        request = TokenRequest(
            self.command,
            self.path,
            parse_qs(parts.query, keep_blank_values=True),
            {name.lower(): value for name, value in self.headers.items()},
            parse_qs(body, keep_blank_values=True),
        )
        status, headers, answer = self.tokens.reply(request)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if status == 401 and "WWW-Authenticate" not in headers:
            self.send_header("WWW-Authenticate", 'Basic realm="tokens"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass
