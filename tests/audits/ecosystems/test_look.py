"""Which files the look wants, and what it makes of them."""

from __future__ import annotations

import json

import pytest
from audits.ecosystems.databases import APK, STATUS, RpmDatabases
from hypothesis import given
from hypothesis import strategies as st

from didlab.audits.ecosystems import look as looks
from didlab.audits.ecosystems.look import Found, PackagesLook, found, kind_of
from didlab.audits.ecosystems.package import Package
from didlab.errors import MalformedContent
from didlab.files.looks import Sieve

SMALL, LARGE = 10_000, 5_000_000
SITE = "/usr/lib/python3/dist-packages"
KINDS = {
    "/var/lib/dpkg/status": "dpkg",
    "/var/lib/dpkg/status.d/base": "dpkg.d",
    "/lib/apk/db/installed": "apk",
    "/usr/lib/apk/db/installed": "apk",
    "/var/lib/rpm/rpmdb.sqlite": "rpm sqlite",
    "/var/lib/rpm/rpmdb.sqlite-wal": "rpm sqlite log",
    "/usr/lib/sysimage/rpm/Packages.db": "rpm ndb",
    "/usr/share/rpm/Packages": "rpm bdb",
    f"{SITE}/x-1.dist-info/METADATA": "python",
    f"{SITE}/x-1.egg-info/PKG-INFO": "python",
    f"{SITE}/x-1.egg-info": "python",
    "/app/x-1-py3.egg/EGG-INFO/PKG-INFO": "python",
    "/app/node_modules/a/package.json": "npm",
    "/app/node_modules/a/node_modules/@s/b/package.json": "npm",
    "/usr/local/lib/node_modules/npm/package.json": "npm",
    "/app/node_modules/.pnpm/a@1.0.0/node_modules/a/package.json": "npm",
    "/opt/yarn-v1.22.22/package.json": "npm",
}
NOT = [
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/status.d/base.md5sums",
    "/var/lib/dpkg/available",
    "/root/var/lib/rpm/Packages",
    "/var/lib/rpm/Name",
    "/lib/apk/db/scripts.tar",
    f"{SITE}/x-1.dist-info/RECORD",
    f"{SITE}/METADATA",
    f"{SITE}/x/PKG-INFO",
    "/app/package.json",
    "/app/node_modules/a/dist/package.json",
    "/app/node_modules/package.json",
    "/app/node_modules/@s/package.json",
    "/app/node_modules/.cache/package.json",
    "/app/node_modules/@s/b/c/package.json",
]


@pytest.mark.parametrize(("path", "kind"), KINDS.items())
def test_wanted(path: str, kind: str) -> None:
    look = PackagesLook()
    assert kind_of(path.encode(), SMALL) == kind
    assert look.wants(path.encode(), SMALL)
    assert look.wants(path.encode(), 1 << 40)
    assert not look.wants(path.encode(), 0)
    assert look.maybe(b"/bin/sh\0" + path.encode() + b"\0/etc/passwd")


@pytest.mark.parametrize("path", NOT)
def test_not_wanted(path: str) -> None:
    assert kind_of(path.encode(), SMALL) is None


PATHS = st.lists(
    st.sampled_from(
        ["var", "lib", "usr", "opt", "rpm", "dpkg", "apk", "db", "status", "status.d", "installed",
         "Packages", "Packages.db", "rpmdb.sqlite", "x.egg-info", "EGG-INFO", "PKG-INFO",
         "x.dist-info", "METADATA", "node_modules", "@s", "a", "package.json", "yarn-v1"]
    ), min_size=1, max_size=6,
).map(lambda parts: "/" + "/".join(parts)) | st.sampled_from([*KINDS, *NOT])  # fmt: skip


@given(st.lists(PATHS, min_size=1, max_size=4), st.integers(0, 1 << 20))
def test_maybe_never_denies_what_is_wanted(paths: list[str], size: int) -> None:
    look = PackagesLook()
    raw = [path.encode() for path in paths]
    if any(look.wants(path, size) for path in raw):
        assert look.maybe(b"\0".join(raw))


@pytest.mark.parametrize(
    ("path", "size", "wanted"),
    [
        ("/usr/bin/kubectl", LARGE, True),
        ("/usr/local/bin/tool_v1.2.3_x5", LARGE, True),
        ("/usr/bin/tool.exe", LARGE, True),
        ("/usr/bin/docker-compose-linux-x86_64-2.24.0", LARGE, True),
        ("/usr/bin/kubectl", 1 << 20, False),
        ("/usr/bin/kubectl", 3 << 30, False),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", LARGE, False),
        ("/usr/lib/libLLVM-14.so.1", LARGE, False),
        ("/usr/share/x.tar.gz", LARGE, False),
        ("/app/main.js", LARGE, False),
        ("/models/pytorch_model.bin", LARGE, False),
    ],
)
def test_programs(path: str, size: int, wanted: bool) -> None:
    assert PackagesLook().wants(path.encode(), size) is wanted


def learned(path: str, content: bytes, size: int | None = None) -> Found:
    """As the walker does it, and as facts come back from where they are kept."""
    look = PackagesLook()
    size = len(content) if size is None else size
    assert look.wants(path.encode(), size)
    sieve: Sieve = look.sieve(path.encode(), size)
    for start in range(0, len(content), 1000):
        sieve.feed(content[start : start + 1000])
    facts = json.loads(json.dumps(look.facts(path.encode(), sieve.finish())))
    return found(facts)


@pytest.mark.parametrize(
    ("path", "content", "kind", "names"),
    [
        ("/var/lib/dpkg/status", STATUS, "dpkg", ["libc6", "bash"]),
        ("/var/lib/dpkg/status.d/x", b"Package: x\nVersion: 1\n", "dpkg.d", ["x"]),
        ("/lib/apk/db/installed", APK, "apk", ["musl", "ssl_client", "py3-what+ever"]),
        (f"{SITE}/x.dist-info/METADATA", b"Name: x\n", "python", ["x"]),
        ("/node_modules/x/package.json", b'{"name": "x"}', "npm", ["x"]),
        ("/node_modules/x/package.json", b"{}", None, []),
    ],
)
def test_facts(path: str, content: bytes, kind: str | None, names: list[str]) -> None:
    told = learned(path, content)
    assert (told.kind, [p.name for p in told.packages], told.problems) == (kind, names, [])


def test_facts_of_rpm(rpms: RpmDatabases) -> None:
    contents = {"rpmdb.sqlite": rpms.sqlite, "Packages": rpms.bdb, "Packages.db": rpms.ndb}
    told = [learned(f"/var/lib/rpm/{name}", content) for name, content in contents.items()]
    assert [each.kind for each in told] == ["rpm sqlite", "rpm bdb", "rpm ndb"]
    assert [len(each.packages) for each in told] == [5, 5, 5]
    assert not any(each.problems for each in told)


@pytest.mark.parametrize("path", [path for path, kind in KINDS.items() if kind != "rpm sqlite log"])
def test_a_hostile_file_is_a_problem_not_an_error(path: str) -> None:
    told = learned(path, b"\xff\0" * 1000)
    assert told.packages == []
    assert len(told.problems) == 1


def test_what_could_be_read_is_kept_beside_the_problem() -> None:
    told = learned("/var/lib/dpkg/status", STATUS + b"\n\nbroken\n")
    assert [p.name for p in told.packages] == ["libc6", "bash"]
    assert "1 paragraphs" in told.problems[0]


@pytest.mark.parametrize(
    ("path", "size"),
    [("/var/lib/dpkg/status", (64 << 20) + 1), ("/var/lib/rpm/Packages", (256 << 20) + 1),
     ("/node_modules/x/package.json", (4 << 20) + 1)],
)  # fmt: skip
def test_what_is_too_large_is_a_problem(path: str, size: int) -> None:
    told = learned(path, b"x" * 5000, size)
    assert told.packages == []
    assert f"{size >> 20} MiB" in told.problems[0]


def test_a_log_beside_sqlite_is_a_problem() -> None:
    told = learned("/var/lib/rpm/rpmdb.sqlite-wal", b"x" * 5000)
    assert "rpmdb.sqlite-wal" in told.problems[0]


def test_more_packages_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("didlab.audits.ecosystems.texts.PACKAGE_LIMIT", 3)
    content = b"".join(b"P:a%d\nV:1\n\n" % number for number in range(5))
    told = learned("/lib/apk/db/installed", content)
    assert [p.name for p in told.packages] == ["a0", "a1", "a2"]
    assert "more than 3 packages" in told.problems[0]


def test_texts_are_bounded() -> None:
    told = learned("/lib/apk/db/installed", b"P:a\nV:1\nL:" + b"x" * 100_000 + b"\n")
    assert len(told.packages[0].license or "") == 4096


@pytest.mark.parametrize(
    "facts", [[1], [[]], [["problem"]], [["nobody", "deb", "x"]], [["apk", "apk"]], ["apk"]]
)
def test_other_facts_are_refused(facts: list[object]) -> None:
    with pytest.raises(MalformedContent):
        found(facts)


def test_its_name_and_rows() -> None:
    # Facts that are kept carry the name: another form of rows needs another number.
    look = PackagesLook()
    assert look.name == "packages 1"
    assert look.facts(b"/lib/apk/db/installed", b"P:a\nV:1\nA:noarch\nL:MIT\n") == [
        ["apk", "apk", "a", "1", "noarch", "a", "1", "MIT"]
    ]
    row = Package("apk", "a", "1", "noarch", "a", "1", "MIT").to_fact()
    assert look.facts(b"/lib/apk/db/installed", b"P:a\nV:1\nA:noarch\nL:MIT\n")[0][1:] == row
    assert set(KINDS.values()) - {"rpm sqlite log"} == set(looks._PARSERS) - {"go"}
