"""What a review of the audits found: each of these was wrong once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.faults import FaultServer
from rig.images import OCI_CONFIG, make_artifact, make_image, sha256, write_layout

import didlab
from didlab.audits import packages
from didlab.audits.ecosystems import rpm_sqlite
from didlab.audits.secrets.look import SecretsLook
from didlab.blobs.store import BlobStore
from didlab.errors import InvalidArgument, LimitExceeded, NotAnImage, PackagesInvalid
from didlab.files import blocks, kept
from didlab.sources.cached import shared

#: Made for these tests; nobody's.
WORD = "Tr0ub4dor-x9Kq"
TOKEN = "ghp_" + "Ab3dE5gH7jK9mN2pQ4sT6vW8yZ1bC3dF5gH7"
#: Commands in which `Manifest.secrets` finds a secret that no name gives away.
COMMANDS = [
    f"curl -u bob:{WORD} https://repo.corp.net/x",
    f"echo 'root:{WORD}' | chpasswd",
    f"sshpass -p {WORD} ssh host",
    f"curl -H 'Authorization: Bearer {WORD}{WORD}' https://repo.corp.net/x",
]


def forget() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    forget()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


ACCOUNTS = {
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\napp:x:1:1::/:/bin/sh\nd:x:2:2::/:/bin/sh\n",
    "etc/shadow": b"root:$6$abcdefgh$abcdefghijklmnop:1:::::\napp:!:1:::::\nd::1:::::\n",
}


def test_users_are_known_without_the_registry(server: FaultServer, store: BlobStore) -> None:
    server.add_image("lab/app", "1", make_image([ACCOUNTS]))
    name = f"{server.host}/lab/app:1"
    told = didlab.open(name, trust_env=False).users()
    assert dict(zip(told["user"], told["password"], strict=True)) == {
        "root": "hashed",
        "app": "locked",
        "d": "empty",
    }
    forget()
    again = didlab.open(name, trust_env=False, offline=True).users()
    assert again.to_csv() == told.to_csv()
    # What is kept does not tell the hash.
    for path in store.root.rglob("*"):
        assert not path.is_file() or b"abcdefghijklmnop" not in path.read_bytes()


def test_users_of_a_fleet_cost_no_more_than_its_layers(server: FaultServer) -> None:
    for number in range(5):
        image = make_image([ACCOUNTS, {"x": str(number).encode()}])
        server.add_image("lab/app", str(number), image)
    report = didlab.audit([f"{server.host}/lab/app:{n}" for n in range(5)], ["users"])
    assert report["users"]["password"].value_counts().to_dict() == dict.fromkeys(
        ("hashed", "locked", "empty"), 5
    )
    layer = make_image([ACCOUNTS]).layers[0]["digest"]
    asked = [r for r in server.requests if r.method == "GET" and r.path.endswith(layer)]
    assert len(asked) == 1


def test_files_of_an_artifact_are_no_files(tmp_path: Path) -> None:
    row = {"mediaType": "text/plain", "digest": sha256(b"hi"), "size": 2}
    artifact = make_artifact(
        b"{}", "application/vnd.oci.empty.v1+json", [row], {sha256(b"hi"): b"hi"}
    )
    m = didlab.open(f"oci:{write_layout(tmp_path / 'layout', {'1': artifact})}:1")
    with pytest.raises(NotAnImage):
        m.diff(m).files()
    assert "1" in m.diff(m)._repr_html_()


def layout_with(folder: Path, **fields: Any) -> didlab.Manifest:
    image = make_image([{"x": b"x"}])
    config = json.loads(image.config) | fields
    raw = json.dumps(config).encode()
    other = make_artifact(raw, OCI_CONFIG, image.layers, image.blobs, platform="linux/amd64")
    return didlab.open(f"oci:{write_layout(folder, {'1': other})}:1")


@pytest.mark.parametrize("command", COMMANDS)
def test_tables_of_a_fleet_hide_what_secrets_finds(tmp_path: Path, command: str) -> None:
    image = make_image([{"x": b"x" * 9}, {"x": b"y"}])
    config = json.loads(image.config)
    config["history"] = [{"created_by": f"RUN {command}"}] * 2
    config["config"] = {"Cmd": ["sh", "-c", command], "Labels": {"run": command}}
    raw = json.dumps(config).encode()
    other = make_artifact(raw, OCI_CONFIG, image.layers, image.blobs, platform="linux/amd64")
    m = didlab.open(f"oci:{write_layout(tmp_path / 'layout', {'1': other})}:1")
    assert len(m.secrets())
    report = didlab.audit(
        [m], ["config", "labels", "layers", "waste", "secrets"], resume=tmp_path / "kept.jsonl"
    )
    assert report.errors.empty
    for name in report:
        assert len(report[name])
        assert WORD not in report[name].to_csv(), name
    assert WORD not in (tmp_path / "kept.jsonl").read_text()
    assert "https://repo.corp.net/x" in report["labels"].to_csv() or "://" not in command


@pytest.mark.parametrize("command", COMMANDS)
def test_a_difference_of_configs_hides_what_secrets_finds(tmp_path: Path, command: str) -> None:
    before = layout_with(tmp_path / "one")
    after = layout_with(tmp_path / "two", config={"Cmd": ["sh", "-c", command]})
    rows = before.diff(after).config()
    assert list(rows["key"]) == ["Cmd"]
    assert WORD not in rows.to_csv()


def test_errors_of_a_fleet_hide_secrets(tmp_path: Path) -> None:
    @didlab.check
    def bad(image: Any) -> None:
        raise ValueError(f"no answer from https://bob:{WORD}@host with {TOKEN}")

    report = didlab.audit([layout_with(tmp_path / "layout")], [bad])
    told = report.errors.to_csv() + report["bad"].to_csv()
    assert "no answer from https://bob:" in told
    assert WORD not in told
    assert TOKEN not in told


def test_the_first_bytes_of_a_program_are_no_text() -> None:
    look = SecretsLook()
    content = f"token={TOKEN}\n".encode() + b"text" * 20 + bytes(100)
    sieve = look.sieve(b"/app/tool", len(content))
    sieve.feed(content)
    assert look.facts(b"/app/tool", sieve.finish()) == []


def test_a_sqlite_without_deserialize(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    connect = sqlite3.connect

    class Poor:
        """A connection as some builds of Python have it."""

        def __init__(self) -> None:
            self._own = connect(":memory:")

        def __getattr__(self, name: str) -> Any:
            if name == "deserialize":
                raise AttributeError(name)
            return getattr(self._own, name)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: Poor())
    with pytest.raises(PackagesInvalid, match="deserialize"):
        list(rpm_sqlite.packages(b"SQLite format 3\0" + bytes(600)))


def test_a_checkpoint_of_nothing_but_brackets(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * 200_000 + "\n")
    with pytest.raises(InvalidArgument, match="no checkpoint"):
        didlab.audit([layout_with(tmp_path / "layout")], ["config"], resume=path)
    assert path.stat().st_size == 200_001


def test_a_database_in_common_is_understood_once(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = "".join(
        f"Package: p{n}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"
        for n in range(100)
    )
    for number in range(4):
        layers = [{"var/lib/dpkg/status": status.encode()}, {"x": str(number).encode()}]
        server.add_image("lab/app", str(number), make_image(layers))
    asked: list[int] = []
    own = packages.found
    monkeypatch.setattr(packages, "found", lambda facts: (asked.append(len(facts)), own(facts))[1])
    packages._remembered.cache_clear()
    packages._parsed.cache_clear()
    report = didlab.audit([f"{server.host}/lab/app:{n}" for n in range(4)], ["packages"], workers=1)
    assert len(report["packages"]) == 400
    assert asked == [100]


@pytest.mark.parametrize("file", ["passwd", "group", "shadow"])
@pytest.mark.parametrize("filling", [b"#\n" * 100_001, b"#" * (8 * 1024 * 1024) + b"\n"])
def test_no_user_hides_behind_a_limit(server: FaultServer, file: str, filling: bytes) -> None:
    members = {"etc/group": b"root:x:0:\n", **ACCOUNTS}
    members[f"etc/{file}"] = filling + members[f"etc/{file}"]
    server.add_image("lab/app", "1", make_image([members]))
    name = f"{server.host}/lab/app:1"
    with pytest.raises(LimitExceeded, match=f"/etc/{file} has"):
        didlab.open(name, trust_env=False).users()
    judged = didlab.policy([name], ["no-empty-password"])
    assert not judged["passed"].any()
