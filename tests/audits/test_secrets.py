"""secrets(): found wherever they lie, told without being shown, and little that is none."""

from __future__ import annotations

import base64
import json
import logging
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer
from rig.images import OCI_LAYER, BuiltImage, hardlink, make_image, push_image, symlink
from rig.processes import require, run
from rig.registries import Registry

import didlab
from didlab.audits.secrets import placeholders, texts
from didlab.audits.secrets.look import MOST, SecretsLook, findings
from didlab.audits.secrets.rule import FINDINGS, Finding
from didlab.blobs.store import BlobStore
from didlab.errors import MalformedContent
from didlab.files import blocks, kept
from didlab.files.zstdlib import needed
from didlab.sources.cached import shared

_RANDOM = random.Random(7)
_LETTERS = "abcdefghijkmnopqrstuvwyzABCDEFGHJKLMNPQRSTUVWYZ23456789"


def some(count: int, letters: str = _LETTERS) -> str:
    """Text as a service would make it, the same in every run; nothing here is anybody's."""
    return "".join(_RANDOM.choice(letters) for _ in range(count))


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def opened(server: FaultServer, image: BuiltImage, tag: str = "1") -> didlab.Manifest:
    server.add_image("lab/app", tag, image)
    return didlab.open(f"{server.host}/lab/app:{tag}", trust_env=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Keys by openssl and ssh-keygen, of every kind."""
    openssl = require("openssl", "openssl")
    keygen = require("ssh-keygen", "openssh-client")
    folder = tmp_path_factory.mktemp("keys")

    def made(name: str, *argv: str) -> bytes:
        run(*argv)
        return (folder / name).read_bytes()

    path = str(folder)
    ec = (openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{path}/ec")
    found = {"EC PRIVATE KEY": made("ec", *ec)}
    own = (openssl, "pkey", "-in", f"{path}/ec")
    found["PRIVATE KEY"] = made("pkcs8", *own, "-out", f"{path}/pkcs8")
    rsa = (openssl, "genrsa", "-traditional", "-out", f"{path}/rsa", "2048")
    found["RSA PRIVATE KEY"] = made("rsa", *rsa)
    found["ENCRYPTED PRIVATE KEY"] = made(
        "locked", *own, "-aes128", "-passout", "pass:x", "-out", f"{path}/locked"
    )
    traditional = (openssl, "ec", "-in", f"{path}/ec", "-aes128", "-passout", "pass:x")
    found["EC, encrypted"] = made("old", *traditional, "-out", f"{path}/old")
    for name, word in (("OPENSSH PRIVATE KEY", ""), ("OPENSSH, encrypted", "locked up")):
        file = "ssh" + str(len(word))
        found[name] = made(
            file, keygen, "-q", "-t", "ed25519", "-N", word, "-C", "", "-f", f"{path}/{file}"
        )
    found["public"] = made("pub", *own, "-pubout", "-out", f"{path}/pub")
    found["ssh public"] = (folder / "ssh0.pub").read_bytes()
    for name, form in (("der", "DER"),):
        found[name] = made(name, *own, "-outform", form, "-out", f"{path}/{name}")
    found["rsa der"] = made(
        "rder", *rsa[:1], "rsa", "-in", f"{path}/rsa", "-traditional", "-outform", "DER", "-out",
        f"{path}/rder",
    )  # fmt: skip
    found["ec der"] = made(
        "eder", openssl, "ec", "-in", f"{path}/ec", "-outform", "DER", "-out", f"{path}/eder"
    )
    request = (openssl, "req", "-x509", "-key", f"{path}/ec", "-subj", "/CN=a", "-days", "9")
    found["certificate"] = made("crt", *request, "-out", f"{path}/crt")
    found["certificate der"] = made("cder", *request, "-outform", "DER", "-out", f"{path}/cder")
    store = (openssl, "pkcs12", "-export", "-inkey", f"{path}/ec", "-in", f"{path}/crt")
    found["store"] = made("store", *store, "-passout", "pass:x", "-out", f"{path}/store")
    return found


def found(path: str, content: bytes | str) -> list[tuple[str, str, int | None]]:
    raw = content.encode() if isinstance(content, str) else content
    return [(one.rule, one.severity, one.line) for one in findings(path.encode(), raw)]


def rules(path: str, content: bytes | str) -> list[str]:
    return [rule for rule, _, _ in found(path, content)]


# --- rules: keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["EC PRIVATE KEY", "PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY"]
)
def test_private_keys(keys: dict[str, bytes], kind: str) -> None:
    assert kind.encode() in keys[kind]
    assert found("/app/x.bin", keys[kind]) == [("private-key", "high", 1)]
    (one,) = findings(b"/a", b"# mine\n\n" + keys[kind])
    assert (one.line, one.name) == (3, kind)
    written_out = json.dumps({"key": keys[kind].decode()})
    assert rules("/app/x.json", written_out) == ["private-key"]
    assert rules("/app/x.txt", keys[kind].replace(b"\n", b"\r\n")) == ["private-key"]
    assert rules("/app/x.txt", keys[kind].decode().encode("utf-16")) == ["private-key"]


@pytest.mark.parametrize("kind", ["ENCRYPTED PRIVATE KEY", "EC, encrypted", "OPENSSH, encrypted"])
def test_encrypted_keys_are_less(keys: dict[str, bytes], kind: str) -> None:
    assert found("/app/x", keys[kind]) == [("encrypted-private-key", "low", 1)]


@pytest.mark.parametrize("kind", ["public", "ssh public", "certificate", "certificate der"])
def test_what_is_public_is_none(keys: dict[str, bytes], kind: str) -> None:
    for path in ("/app/x.pem", "/root/.ssh/id_rsa", "/app/server.key", "/app/x.der"):
        assert found(path, keys[kind]) == []


def test_keys_in_der_and_in_stores(keys: dict[str, bytes]) -> None:
    for kind in ("der", "rsa der", "ec der"):
        assert found("/app/server.key", keys[kind]) == [("private-key", "high", None)]
    assert found("/app/a.p12", keys["store"]) == [("key-store", "medium", None)]
    assert found("/app/a.jks", b"\xfe\xed\xfe\xed" + bytes(50)) == [("key-store", "medium", None)]
    assert found("/app/a.kdbx", b"\x03\xd9\xa2\x9a" + bytes(9)) == [
        ("password-store", "medium", None)
    ]
    for path in ("/etc/ssl/truststore.jks", "/app/a.p12"):
        assert found(path, b"\xfe\xed\xfe\xee" + bytes(50)) == []


def test_talk_about_keys_is_none(keys: dict[str, bytes]) -> None:
    body = b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"
    assert found("/app/x.py", body) == []
    assert found("/app/x.py", b"if '-----BEGIN PRIVATE KEY-----' in text: pass") == []
    # cut before its end: a key that nobody can use
    assert found("/app/x.py", keys["PRIVATE KEY"][:100]) == []
    # in a package's tests it is everybody's
    assert found("/usr/lib/python3/test/certdata/k.pem", keys["PRIVATE KEY"]) == [
        ("private-key", "low", 1)
    ]


# --- rules: tokens --------------------------------------------------------------------------------

TOKENS: dict[str, Callable[[], str]] = {
    "aws-access-key": lambda: "AKIA" + some(16, "ABCDEFGHJKLMNPQRSTUVW234567"),
    "aws-secret-key": lambda: "aws_secret_access_key = " + some(40),
    "google-api-key": lambda: "AIza" + some(35),
    "azure-key": lambda: f"AccountName=a;AccountKey={some(86)}==;EndpointSuffix=e",
    "github-token": lambda: "ghp_" + some(36),
    "gitlab-token": lambda: "glpat-" + some(20),
    "slack-token": lambda: f"xoxb-{some(12, '0123456789')}-{some(24)}",
    "stripe-key": lambda: "sk_live_" + some(24),
    "npm-token": lambda: "npm_" + some(36),
    "pypi-token": lambda: "pypi-AgEIcHlwaS5vcmc" + some(60),
    "docker-token": lambda: "dckr_pat_" + some(27),
    "openai-key": lambda: "sk-proj-" + some(48),
    "huggingface-token": lambda: "hf_" + some(34, "abcdefghijkmnopqrstuvwyzABCDEFGH"),
    "sendgrid-key": lambda: f"SG.{some(22)}.{some(43)}",
    "digitalocean-token": lambda: "dop_v1_" + some(64, "0123456789abcdef"),
    "vault-token": lambda: "hvs." + some(30),
    "age-key": lambda: "AGE-SECRET-KEY-1" + some(58, "ABCDEFGHJKLMNPQRSTUVW23456789"),
    "authorization": lambda: f'curl -H "Authorization: Bearer {some(30)}" https://a.b',
    "url-password": lambda: f"DATABASE=postgres://app:{some(12)}@db.internal:5432/app",
    "jwt": lambda: ".".join(
        [
            base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("="),
            base64.urlsafe_b64encode(b'{"sub":"somebody","n":1}').decode().rstrip("="),
            some(43),
        ]
    ),
}


@pytest.mark.parametrize("rule", TOKENS)
def test_tokens(rule: str) -> None:
    token = TOKENS[rule]()
    for text in (token, f"x = '{token}'\n", f"\n\n{token}\n"):
        told = [one for one in findings(b"/srv/app/main.rb", text.encode()) if one.rule == rule]
        assert len(told) == 1, text
        assert told[0].line == text.index(token) + 1 if text.startswith("\n") else True
        assert told[0].redacted is not None
        longest = max(token.replace("=", " ").replace(":", " ").split(), key=len)
        assert longest not in str(told)
        assert len(told[0].redacted.partition("…")[0]) <= 4


def test_a_token_within_a_word_is_none() -> None:
    token = TOKENS["github-token"]()
    assert rules("/srv/a.rb", "x" + token) == []
    assert rules("/srv/a.rb", "AKIA" + some(17, "ABCDEFGHJKLMNPQRSTUVW234567")) == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "DATABASE_URL=postgres://user:password@localhost/db",
        "https://user:secret@example.com/x",
        "https://${USER}:${PASSWORD}@host.internal/",
        "https://me:<password>@host.internal/",
        "DB_PASSWORD=changeme",
        "DB_PASSWORD=password",
        "DB_PASSWORD=${DB_PASSWORD}",
        "DB_PASSWORD=$DB_PASSWORD",
        "DB_PASSWORD=<password>",
        "DB_PASSWORD=",
        'DB_PASSWORD=""',
        "DB_PASSWORD_FILE=/run/secrets/db",
        "API_TOKEN=your-token-here",
        "API_TOKEN=xxxxxxxxxxxxxxxx",
        "API_TOKEN={{ vault.token }}",
        "API_TOKEN=$(cat /run/token)",
        "TOKEN_TTL=3600",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0Ijo"
        "xNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    ],
)
def test_what_documentation_says_is_none(text: str) -> None:
    assert found("/app/.env", text + "\n") == []
    assert found("/app/config.ini", text + "\n") == []


# --- rules: names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("/app/.env", "DB_PASSWORD=letmein\n", "DB_PASSWORD"),
        ("/app/.env.production", "export API_KEY='a8Fk29xLq0Pz'\n", "API_KEY"),
        ("/app/config.ini", "[db]\npassword = hunter2x\n", "password"),
        ("/app/application.yml", "spring:\n  datasource:\n    password: Sup3rS4fe\n", "password"),
        ("/app/settings.json", '{"clientSecret": "k3Fh20sLq8Zx71"}', "clientSecret"),
        ("/app/settings.py", 'SECRET_KEY = "h#k9!x0qz7wv3mt5"\n', "SECRET_KEY"),
        ("/app/web.config", "<add><password>Qw8rty77</password></add>", "password"),
        ("/var/www/wp-config.php", "define('DB_PASSWORD', 'k2j4h8f6g9q1');", "DB_PASSWORD"),
        ("/root/.my.cnf", "[client]\npassword=Tr0ub4dor\n", "password"),
        ("/opt/app/run.sh", "DB_PASS='z9x8c7v6b5'\n", "DB_PASS"),
    ],
)
def test_assignments(path: str, text: str, name: str) -> None:
    (one,) = findings(path.encode(), text.encode())
    assert (one.severity, one.name) == ("medium", name)
    assert one.rule in ("password", "token")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/app/main.py", "password = get_password(user)\ntoken = request.headers['x']\n"),
        ("/app/main.py", "def f(password='password', token=None): ...\n"),
        ("/app/main.js", "const token = await fetchToken();\nif (password === other) {}\n"),
        ("/app/main.js", '{password: "form.password.label", token: "access_token"}'),
        ("/app/a.c", "static const char *password = NULL; /* token: see below */\n"),
        ("/etc/nsswitch.conf", "passwd:         files systemd\n"),
        ("/etc/pam.d/common-password", "password\t[success=1 default=ignore]\tpam_unix.so\n"),
        ("/usr/lib/python3/x.py", 'password = "h9x8c7v6b5n4m3"\n'),
        ("/app/node_modules/x/y.js", 'password = "h9x8c7v6b5n4m3"\n'),
        ("/app/.env.example", "DB_PASSWORD=letmein99\n"),
        ("/app/README.md", "password = h9x8c7v6b5n4m3\n"),
    ],
)
def test_code_that_only_speaks_of_passwords(path: str, text: str) -> None:
    assert found(path, text) == []


# --- rules: files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("/etc/shadow", "a:*:1::::::\nroot:$6$salt$%s:19000:0:::::\n", "password-hash"),
        ("/etc/shadow-", "root:!$y$j9T$%s:19000:0:::::\n", "password-hash"),
        ("/root/.npmrc", "//npm.example/:_authToken=%s\n", "npmrc"),
        ("/root/.pypirc", "[pypi]\nusername = me\npassword = %s\n", "pypirc"),
        ("/root/.netrc", "machine a.b login me password %s\n", "netrc"),
        ("/root/.git-credentials", "https://me:%s@git.internal\n", "git-credentials"),
        ("/root/.docker/config.json", '{"auths": {"r": {"auth": "%s"}}}', "docker-config"),
        ("/root/.kube/config", "users:\n- user:\n    token: %s\n", "kubeconfig"),
        ("/root/.aws/credentials", "[x]\naws_secret_access_key = %s\n", "aws-credentials"),
        ("/root/.pgpass", "host:5432:db:me:%s\n", "pgpass"),
        ("/root/.vault-token", "%s", "vault-token"),
        ("/root/.cargo/credentials.toml", '[registry]\ntoken = "%s"\n', "cargo-credentials"),
        ("/root/.m2/settings.xml", "<server><password>%s</password></server>", "maven-settings"),
        ("/app/terraform.tfstate", '{"attributes": {"db_password": "%s"}}', "terraform-state"),
        ("/etc/nginx/.htpasswd", "me:$apr1$%s\n", "htpasswd"),
    ],
)
def test_credential_files(path: str, text: str, rule: str) -> None:
    secret = some(40)
    told = findings(path.encode(), (text % secret).encode())
    assert [(one.rule, one.severity) for one in told] == [
        (rule, "medium" if rule == "htpasswd" else "high")
    ]
    assert secret not in str(told)
    assert told[0].redacted is not None
    assert SecretsLook().wants(path.encode(), 100)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/shadow", "root:*:19000:0:::::\nme:!:1::::::\nx::1::::::\n"),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
        ("/root/.npmrc", "//r/:_authToken=${NPM_TOKEN}\n"),
        ("/root/.docker/config.json", '{"auths": {"r": {}}, "credsStore": "pass"}'),
        ("/root/.m2/settings.xml", "<!-- <server><password>Ab3dE5fG</password></server> -->"),
        ("/etc/maven/settings.xml", "<a/>"),
        ("/app/terraform.tfstate", '{"attributes": {"db_password": ""}}'),
    ],
)
def test_credential_files_without(path: str, text: str) -> None:
    assert found(path, text) == []


# --- bounds ---------------------------------------------------------------------------------------


def test_what_is_looked_at() -> None:
    look = SecretsLook()
    assert look.wants(b"/app/x", MOST)
    assert not look.wants(b"/app/x", MOST + 1)
    assert look.wants(b"/app/terraform.tfstate", MOST + 1)
    assert not look.wants(b"/app/terraform.tfstate", 9 * MOST)
    assert not look.wants(b"/app/x.png", 100)
    assert not look.wants(b"/app/x", 0)
    sieve: Any = look.sieve(b"/app/x", 10_000)
    sieve.feed(b"\x7fELF\0" + bytes(5000))
    assert sieve.over
    assert len(sieve.finish()) <= 64
    sieve = look.sieve(b"/app/x", 10_000)
    sieve.feed(b"text")
    sieve.feed(b"more")
    assert (sieve.over, sieve.finish()) == (False, b"textmore")


@pytest.mark.parametrize(
    "unit",
    [
        *("eyJ", "://", "a://a:", "password=", "token=a1b2c3d4e5f6\n", "<!--", "secret_key "),
        *("-----BEGIN PRIVATE KEY-----", "a:", "change_", "_", "\\n"),
    ],
)
def test_hostile_files_are_bounded(unit: str) -> None:
    """What would take for ever if a pattern could try everything: the test's own timeout."""
    content = (unit * (MOST // len(unit) + 1))[:MOST].encode()
    for path in (b"/app/.env", b"/app/x.conf", b"/root/.m2/settings.xml", b"/etc/shadow"):
        told = findings(path, content)
        assert len(told) <= FINDINGS
        assert len(json.dumps([one.to_fact() for one in told])) < 50_000


def test_placeholders_are_bounded() -> None:
    for value in (b"change" + b"_" * 490 + b"!", b"pass" * 200, b"my" * 300 + b"!"):
        placeholders.is_placeholder(value)


def test_facts_come_back_or_are_refused() -> None:
    one = Finding("password", "medium", 3, "…(8)", "A")
    assert Finding.from_fact(json.loads(json.dumps(one.to_fact()))) == one
    for bad in (None, [], ["a"], ["a", "worst", 1, "b", "c"], [1, "high", 1, "b", "c"], {"a": 1}):
        with pytest.raises(MalformedContent):
            Finding.from_fact(bad)


# --- texts of a config ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "where", "secret"),
    [
        ("RUN |1 A_TOKEN=a8Fk29xLq0Pz /bin/sh -c make", "build argument", "a8Fk29xLq0Pz"),
        ("/bin/sh -c #(nop)  ARG DB_PASSWORD=letmein", "build argument", "letmein"),
        ("ENV DB_PASSWORD=letmein PATH=/bin", "history", "letmein"),
        ("/bin/sh -c #(nop)  ENV DB_PASSWORD=letmein", "history", "letmein"),
        ("RUN /bin/sh -c curl -u bob:s3cret99 https://x", "history", "s3cret99"),
        ("RUN echo 'root:toor99' | chpasswd", "history", "toor99"),
        ("RUN mysql -u root -phunter2 -e 'x'", "history", "hunter2"),
        ("RUN tool --password hunter2x", "history", "hunter2x"),
        ("RUN git clone https://me:aB3dE5fG@git.internal/x", "history", "aB3dE5fG"),
    ],
)  # fmt: skip
def test_steps(step: str, where: str, secret: str) -> None:
    places = texts.of_step(step)
    assert [one.where for one in places] == [where]
    assert places[0].secret.decode() == secret
    assert secret not in str(places[0].finding)
    assert secret not in texts.Hider([])(step)


@pytest.mark.parametrize(
    "step",
    [
        "/bin/sh -c set -eux; apt-get update; rm -rf /var/lib/apt/lists/* # buildkit",
        "ENV GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",
        "RUN |2 TARGETARCH=amd64 VERSION=1.2.3 /bin/sh -c make install # buildkit",
        "RUN adduser --disabled-password --gecos '' app",
        "RUN apt-key adv --keyserver hkp://keys.internal --recv-keys 573BFD6B3D8FBC64",
        "ARG NPM_TOKEN",
        "RUN --mount=type=secret,id=npm npm ci",
        "CMD [\"nginx\" \"-g\" \"daemon off;\"]",
        "RUN passwd -d root && useradd -m -p '*' app",
    ],
)  # fmt: skip
def test_harmless_steps(step: str) -> None:
    assert texts.of_step(step) == []


def test_very_many_variables() -> None:
    many = {f"A_TOKEN_{number}": f"aB3dE5fG7h{number}" for number in range(20_000)}
    assert len(texts.of_pairs(many.items(), "env")) <= 1000
    assert texts.of_pairs([("A" * 100_000, "x"), ("PASSWORD", "y" * 300_000)], "env") == []
    long = texts.Hider([b"letmein"])("RUN " + "x letmein " * 100_000)
    assert len(long) <= 4096
    assert "letmein" not in long


def test_a_hidden_name() -> None:
    token = TOKENS["github-token"]()
    (one, *_) = texts.of_pairs([(f"{token}_PASSWORD", "letmein99")], "label")
    assert token not in str(one.finding)


# --- images ---------------------------------------------------------------------------------------

KEPT, GONE, OVERWRITTEN, IN_FOLDER, IN_OPAQUE, IN_ZSTD, IN_ENV, IN_LABEL, IN_ARG, IN_RUN = (
    "ghp_" + some(36) for _ in range(10)
)
PASSWORD = "Tr0ub4dor-and-3"
SEEDED = [KEPT, GONE, OVERWRITTEN, IN_FOLDER, IN_OPAQUE, IN_ZSTD, IN_ENV, IN_LABEL, IN_ARG, IN_RUN]


def seeded(**options: Any) -> BuiltImage:
    """A secret in every position that a layer has."""
    layers: list[dict[str, Any]] = [
        {
            "app/kept": f"x\ntoken {KEPT}\n".encode(),
            "app/gone": GONE.encode(),
            "app/over": OVERWRITTEN.encode(),
            "app/folder/deep/a": IN_FOLDER.encode(),
            "app/opaque/a": IN_OPAQUE.encode(),
            "app/.env": f"DB_PASSWORD={PASSWORD}\n".encode(),
        },
        {
            "app/.wh.gone": b"",
            "app/over": b"harmless",
            "app/.wh.folder": b"",
            "app/opaque/.wh..wh..opq": b"",
            "app/opaque/b": b"harmless",
        },
        {"app/last": IN_ZSTD.encode()},
    ]
    steps = [
        {"created_by": f"RUN |1 BUILD_TOKEN={IN_ARG} /bin/sh -c echo {IN_RUN} # buildkit"},
        {"created_by": f"ENV API_TOKEN={IN_ENV}", "empty_layer": True},
        {"created_by": f"RUN mysql --password {PASSWORD}x; rm {GONE}"},
        {"created_by": f"COPY {IN_ENV} /"},
    ]
    return make_image(
        layers,
        history=steps,
        Env=["PATH=/bin", f"API_TOKEN={IN_ENV}"],
        Labels={"org.x.token": IN_LABEL, "maintainer": "a@b.example"},
        **options,
    )


def zstd_last(tar: bytes) -> bytes:
    blob: bytes = needed("this test").compress(tar)
    return blob


EXPECTED = {
    # where, path, deleted, layer
    ("file", "/app/kept", False, 0),
    ("file", "/app/gone", True, 0),
    ("file", "/app/over", True, 0),
    ("file", "/app/folder/deep/a", True, 0),
    ("file", "/app/opaque/a", True, 0),
    ("file", "/app/.env", False, 0),
    ("file", "/app/last", False, 2),
    ("env", None, False, None),
    ("label", None, False, None),
    ("build argument", None, False, 0),
    ("history", None, False, 0),
    ("history", None, False, 1),
}


def told(df: pd.DataFrame) -> set[tuple[Any, ...]]:
    columns = df[["where", "path", "deleted", "layer"]].astype(object)
    return set(columns.where(columns.notna(), None).itertuples(index=False, name=None))


@pytest.mark.parametrize("packed", ["gzip", "zstd", "plain"])
def test_wherever_it_lies(
    registry: Registry, store: BlobStore, caplog: pytest.LogCaptureFixture, packed: str
) -> None:
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {
        "gzip": {},
        "zstd": {"compress": zstd_last, "layer_type": OCI_LAYER + "+zstd"},
        "plain": {"compress": False},
    }[packed]
    push_image(registry.host, "audits/secrets", packed, seeded(**options))
    m = didlab.open(f"{registry.host}/audits/secrets:{packed}", trust_env=False)
    df = m.secrets()
    assert told(df) == EXPECTED
    assert set(df.loc[df["where"] != "history", "rule"]) == {"github-token", "password"}
    kept_row = df[df["path"] == "/app/kept"].iloc[0]
    assert (kept_row["line"], kept_row["redacted"]) == (2, "ghp_…(40)")
    ranks = [["high", "medium", "low"].index(one) for one in df["severity"]]
    assert ranks == sorted(ranks)
    assert df.attrs == {"reference": str(m.reference)}
    assert m.registry is not None
    before = len(m.registry.requests())
    again = m.secrets()
    assert len(m.registry.requests()) == before, "it is known"
    pd.testing.assert_frame_equal(df, again)
    # Nothing of it anywhere: what is shown, what is said, what is kept.
    shown = "\n".join([df.to_string(), df.to_html(), df.to_csv(), repr(df), caplog.text])
    for look in ("secrets 1",):
        for row in m.layers().itertuples():
            facts = kept.facts(row.digest, row.size, look)
            assert facts is not None
            shown += repr(dict(facts))
    derived = b"\n".join(path.read_bytes() for path in (store.root / "v1/derived").iterdir())
    every = b"\n".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
    assert b"secrets 1" in derived
    for secret in [*SEEDED, PASSWORD]:
        assert secret not in shown
        assert secret[6:] not in shown
        assert secret.encode() not in derived
        # The config is the image's own: it is kept as it came.
        if secret in (KEPT, OVERWRITTEN, IN_FOLDER, IN_OPAQUE, IN_ZSTD):
            assert secret.encode() not in every


def test_after_a_listing_and_by_layers_that_others_share(server: FaultServer) -> None:
    """The same layer in two images: what is deleted is another matter in each."""
    first = {"app/a": KEPT.encode()}
    one = opened(server, make_image([first]), "1")
    two = opened(server, make_image([first, {"app/.wh.a": b""}]), "2")
    one.files()
    two.files()
    assert one.secrets()["deleted"].tolist() == [False]
    asked = len(server.requests)
    assert two.secrets()["deleted"].tolist() == [True]
    assert len([r for r in server.requests[asked:] if "/blobs/" in r.path]) <= 1


def test_links(server: FaultServer) -> None:
    m = opened(
        server,
        make_image(
            [
                {"a": KEPT.encode(), "b": hardlink("a"), "c": symlink("a")},
                {".wh.a": b""},
            ]
        ),
    )
    df = m.secrets()
    assert told(df) >= {("file", "/b", False, 0)}
    assert ("file", "/c", False, 0) not in told(df)


def test_an_image_without(server: FaultServer) -> None:
    df = opened(server, make_image([{"a": b"a"}])).secrets()
    assert len(df) == 0
    assert str(df["layer"].dtype) == "Int64"
    assert str(df["deleted"].dtype) == "bool"


def test_what_a_config_repeats_or_keeps_elsewhere(server: FaultServer) -> None:
    """A variable that another one of its name hides; the container of the last step; triggers."""
    image = make_image(
        [{"a": b"a"}],
        Env=[f"TOKEN={IN_ENV}", "TOKEN=", 3],
        OnBuild=[f"RUN curl -u bob:{PASSWORD} https://x"],
        Healthcheck={"Test": ["CMD", "probe", "--password", "z9x8c7v6b5"]},
        config_json={"container_config": {"Env": [f"TOKEN={IN_ENV}", f"OTHER={IN_ARG}"]}},
    )
    df = opened(server, image).secrets()
    found = df[["where", "name"]].astype(object)
    assert set(found.where(found.notna(), None).itertuples(index=False, name=None)) == {
        ("env", "TOKEN"),
        ("env", "OTHER"),
        ("command", None),
        ("command", "password"),
    }


# --- what a real Debian has -----------------------------------------------------------------------

#: With what they need, a minimal system with Python, OpenSSL and its certificates.
PACKAGES = ("python3", "openssl", "ca-certificates", "apt", "adduser", "libssl3")


def test_a_real_debian_has_next_to_none() -> None:
    """Every file of these packages: nothing in them is anybody's secret."""
    query = require("dpkg-query", "dpkg")
    form = "${Package}\t${Priority}\t${Essential}\n"
    listed = [line.split("\t") for line in run(query, "-W", f"--showformat={form}").splitlines()]
    minimal = {row[0] for row in listed if row[1] == "required" or row[2] == "yes"}
    python = {row[0] for row in listed if row[0].startswith(("python3.", "libpython3."))}
    there = {row[0] for row in listed}
    wanted = sorted((minimal | python | set(PACKAGES)) & there)
    assert {"base-files", "libc-bin", "passwd", "python3", "openssl"} <= set(wanted)
    done = subprocess.run([query, "-L", *wanted], capture_output=True, text=True, check=False)
    look = SecretsLook()
    count = 0
    told: list[tuple[str, Finding]] = []
    for name in sorted(set(done.stdout.splitlines())):
        path = Path(name)
        # What is in /etc may be this machine's own.
        if not name.startswith("/usr") or path.is_symlink() or not path.is_file():
            continue
        size = path.stat().st_size
        if not look.wants(name.encode(), size):
            continue
        count += 1
        sieve: Any = look.sieve(name.encode(), size)
        with path.open("rb") as file:
            while not sieve.over and (data := file.read(65536)):
                sieve.feed(data)
        told += [(name, one) for one in findings(name.encode(), sieve.finish())]
    assert count > 1500
    assert len(told) <= 5, told
    assert [one for one in told if one[1].severity == "high"] == []
