"""certificates(): trust stores and others; against openssl."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509 as reader
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from rig.faults import FaultServer
from rig.images import make_image, push_image, symlink
from rig.processes import missing, require, run
from rig.registries import Registry

import didlab
from didlab.audits import x509
from didlab.audits.certificates import CertificatesLook
from didlab.errors import MalformedContent

BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def made(key: Any, *, days: int = 9, name: str = "a", ca: bool | None = None) -> reader.Certificate:
    subject = reader.Name([reader.NameAttribute(reader.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        reader.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0xABC123)
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now + timedelta(days=days))
    )
    if ca is not None:
        builder = builder.add_extension(reader.BasicConstraints(ca, None), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest)


def pem(one: reader.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


def der(one: reader.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


def test_a_bundle_of_many_roots(registry: Registry) -> None:
    if not BUNDLE.exists():
        missing("a trust store: apt-get install ca-certificates")
    content = BUNDLE.read_bytes()
    count = content.count(b"-----BEGIN CERTIFICATE-----")
    assert count > 100
    push_image(
        registry.host, "audits/certs", "1", make_image([{str(BUNDLE)[1:]: content}, {"a": b"a"}])
    )
    m = didlab.open(f"{registry.host}/audits/certs:1", trust_env=False)
    df = m.certificates()
    assert len(df) == count
    assert df["sha256"].is_unique
    assert set(df["layer"]) == {0}
    assert df["ca"].sum() >= count - 5  # the oldest roots have no such extension
    assert m.registry is not None
    before = len(m.registry.requests())
    assert len(m.certificates()) == count
    assert len(m.registry.requests()) == before
    # Some of them, one by one.
    blocks = content.split(b"-----END CERTIFICATE-----\n")[:-1]
    rows = {row.sha256: row for row in df.itertuples()}
    for block in blocks[:: count // 8]:
        told = _openssl(block + b"-----END CERTIFICATE-----\n")
        row = rows[told["sha256"]]
        assert row.serial == told["serial"]
        assert (
            f"{row.not_after:%b} {row.not_after.day:2} {row.not_after:%H:%M:%S %Y} GMT"
            == told["end"]
        )
        assert row.subject == told["subject"]


def _openssl(block: bytes) -> dict[str, str]:
    argv = [require("openssl", "openssl"), "x509", "-noout", "-serial", "-enddate", "-subject"]
    argv += ["-fingerprint", "-sha256", "-nameopt", "RFC2253,-esc_msb,utf8"]
    lines = subprocess.run(argv, input=block, capture_output=True, check=True).stdout.decode()
    told = dict(line.split("=", 1) for line in lines.splitlines())
    return {
        "serial": told["serial"].lower().lstrip("0") or "0",
        "end": told["notAfter"],
        "subject": told["subject"],
        "sha256": next(v for k, v in told.items() if "ingerprint" in k).replace(":", "").lower(),
    }


def test_kinds_places_and_times(server: FaultServer) -> None:
    rsa_key = rsa.generate_private_key(65537, 2048)
    one = made(rsa_key, name="one", ca=True)
    two = made(ec.generate_private_key(ec.SECP256R1()), name="two", days=-1, ca=False)
    three = made(ed25519.Ed25519PrivateKey.generate(), name="three")
    private = rsa_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    image = make_image(
        [
            {
                "etc/ssl/one.pem": b"# text\n" + private + pem(one) + b"and\n" + pem(two),
                "app/three.der": der(three),
                "app/copy.crt": symlink("three.der"),
                "app/key.pem": private,
                "app/unnamed": pem(one),
                "app/gone.pem": pem(one),
                "app/broken.pem": pem(one).replace(b"MII", b"AAA"),
                "app/text.crt": b"nothing",
            },
            {"app/.wh.gone.pem": b""},
        ]
    )
    server.add_image("lab/app", "1", image)
    df = didlab.open(f"{server.host}/lab/app:1", trust_env=False).certificates()
    rows = df[["path", "subject", "issuer", "key", "ca", "expired", "serial"]]
    assert [tuple(row) for row in rows.to_numpy()] == [
        ("/app/three.der", "CN=three", "CN=three", "Ed25519", False, False, "abc123"),
        ("/etc/ssl/one.pem", "CN=one", "CN=one", "RSA 2048", True, False, "abc123"),
        ("/etc/ssl/one.pem", "CN=two", "CN=two", "EC secp256r1", False, True, "abc123"),
    ]
    assert (df["not_after"] - df["not_before"]).dt.days.tolist() == [29, 29, 19]
    fingerprint = three.fingerprint(hashes.SHA256()).hex()
    assert df["sha256"].tolist()[0] == fingerprint


def test_trusted_certificates_of_openssl(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "a.pem")
    openssl = require("openssl", "openssl")
    argv = (openssl, "x509", "-in", tmp_path / "a.pem", "-addtrust", "serverAuth", "-out")
    run(*argv, tmp_path / "b.pem", "-trustout")
    content = (tmp_path / "b.pem").read_bytes()
    assert b"TRUSTED CERTIFICATE" in content
    assert [one.ca for one in x509.certificates(content)] == [True]


def test_without_cryptography(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA().cert_pem.bytes()
    server.add_image("lab/app", "1", make_image([{"etc/ssl/a.pem": ca}]))
    m = didlab.open(f"{server.host}/lab/app:1", trust_env=False)
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "cryptography", None)
        with pytest.raises(ImportError, match=r"pip install \"didlab\[audit\]\""):
            m.certificates()
    assert server.requests == [], "told before anything is read"
    assert len(m.certificates()) == 1


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    assert list(x509.certificates(b"\x30" + content)) == []
    list(x509.certificates(b"-----BEGIN CERTIFICATE-----" + content))


def test_hostile_files() -> None:
    begin = b"-----BEGIN CERTIFICATE-----\nAAAA"
    assert list(x509.certificates(begin * 100_000)) == []
    end = b"-----END CERTIFICATE-----\n"
    assert list(x509.certificates((begin + b"A" * 80 + end) * 10_000)) == []
    one = made(ec.generate_private_key(ec.SECP256R1()), name="x" * 60)
    (told,) = x509.certificates(pem(one))
    assert x509.Certificate.from_fact(list(told)) == told
    for bad in (None, [], [1] * 8, list(told)[:-1]):
        with pytest.raises(MalformedContent):
            x509.Certificate.from_fact(bad)


def test_the_look() -> None:
    look = CertificatesLook()
    for path in (
        b"/a.pem",
        b"/A.CRT",
        b"/etc/pki/tls/certs/ca-bundle.crt",
        b"/etc/ssl/certs/0a1b2c3d.0",
    ):
        assert look.wants(path, 100)
        assert look.maybe(b"\0/x\0" + path + b"\0/y\0")
        assert look.maybe(b"\0/x\0" + path)
    for path in (b"/a.txt", b"/lib/x.0", b"/cacerts.d/x"):
        assert not look.wants(path, 100)
    assert not look.maybe(b"\0/bin/sh\0/etc/passwd\0")
    assert not look.wants(b"/a.pem", 5 * 1024 * 1024)
