"""rpm's three databases, against rpm itself."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audits.ecosystems.databases import RpmDatabases, header, listed, ndb, stored

from didlab.audits.ecosystems import rpm_bdb, rpm_header, rpm_ndb, rpm_sqlite
from didlab.audits.ecosystems.package import Package
from didlab.errors import PackagesInvalid

NAME, VERSION, RELEASE, EPOCH = 1000, 1001, 1002, 1003


def as_rpm_says(packages: Iterator[Package]) -> list[list[str | None]]:
    return sorted(
        [
            package.name,
            package.version,
            package.architecture,
            f"{package.source}-{package.source_version}.src.rpm",
            package.license,
        ]
        for package in packages
    )


def test_sqlite_is_as_rpm_lists_it(rpms: RpmDatabases) -> None:
    assert len(rpms.told) == 5
    assert as_rpm_says(rpm_sqlite.packages(rpms.sqlite)) == rpms.told
    versions = {name: version for name, version, *_ in rpms.told}
    assert versions["alpha"] == "2:1.5~rc1^git20-3.el9+b1"
    assert versions["alpha-none"] == "0:1.5~rc1^git20-3.el9+b1"
    assert versions["plain"] == "0.1-1"


def test_berkeley_is_as_rpm_lists_it(rpms: RpmDatabases) -> None:
    read_by_rpm = listed(rpms.folder.parent / "bdb", "--define", "_db_backend bdb_ro")
    assert read_by_rpm == rpms.told
    assert as_rpm_says(rpm_bdb.packages(rpms.bdb)) == rpms.told
    assert as_rpm_says(rpm_bdb.packages(rpms.big_endian_bdb)) == rpms.told
    # Both ways that a value is stored are there.
    assert len(max(blob for _, blob in stored(rpms.folder / "rpmdb.sqlite"))) > 4096


def test_ndb_gives_the_same(rpms: RpmDatabases) -> None:
    assert as_rpm_says(rpm_ndb.packages(rpms.ndb)) == rpms.told


def test_a_source_is_split() -> None:
    text = header((NAME, 6, b"x\0"), (VERSION, 6, b"1\0"), (1044, 6, b"a-b-1.0-2.el9.nosrc.rpm\0"))
    package = rpm_header.package(text)
    assert (package.version, package.source, package.source_version) == ("1", "a-b", "1.0-2.el9")


GOOD = header((NAME, 6, b"good\0"), (VERSION, 6, b"1\0"), (RELEASE, 6, b"1\0"))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0" * 8,
        GOOD[:-1],
        header((NAME, 6, b"x\0")),
        header((NAME, 6, b"x\0"), (VERSION, 6, b"endless")),
        header((NAME, 6, b"x\0"), (VERSION, 6, b"endless")) + b"\0",
        header((NAME, 4, b"x\0\0\0"), (VERSION, 6, b"1\0")),
        header((NAME, 6, b"x\0"), (VERSION, 6, b"1\0"), (EPOCH, 4, b"\0\0")),
        header((NAME, 6, b"x\0"), (VERSION, 6, b"1\0"), (EPOCH, 6, b"1\0\0\0")),
        header((NAME, 6, b"x y\0"), (VERSION, 6, b"1\0")),
        header((NAME, 6, b"x\0"), (VERSION, 6, b"1\0"), entry_count=3),
        struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF) + GOOD,
        struct.pack(">IIIIII", 1, 4, NAME, 6, 0xFFFFFFFF, 1) + b"abc\0",
    ],
)
def test_a_header_that_is_none(blob: bytes) -> None:
    with pytest.raises(PackagesInvalid):
        rpm_header.package(blob)


def collected(packages: Iterator[Package]) -> tuple[list[str], str]:
    """Names of those that come before the error, and the error."""
    names: list[str] = []
    try:
        for package in packages:
            names.append(package.name)
    except PackagesInvalid as failure:
        return names, str(failure)
    return names, ""


def test_one_bad_header_hides_no_other(rpms: RpmDatabases) -> None:
    headers = stored(rpms.folder / "rpmdb.sqlite")
    broken = [(headers[0][0], b"\xff" * 100), *headers[1:]]
    names, problem = collected(rpm_ndb.packages(ndb(broken)))
    assert len(names) == 4
    assert "1 headers" in problem


def test_one_bad_slot_hides_no_other(rpms: RpmDatabases) -> None:
    content = bytearray(rpms.ndb)
    content[32 + 8 : 32 + 12] = struct.pack("<I", 0xFFFFFFF)
    names, problem = collected(rpm_ndb.packages(bytes(content)))
    assert len(names) == 4
    assert "leads to no package" in problem


def test_a_cut_database_gives_what_is_left(rpms: RpmDatabases) -> None:
    names, problem = collected(rpm_ndb.packages(rpms.ndb[:-50]))
    assert len(names) == 4
    assert "beyond the file" in problem


def test_slots_that_share_a_package_end(rpms: RpmDatabases) -> None:
    # 16 bytes each, as many packages: a small file must not become a large answer.
    one = bytearray(ndb([(1, GOOD)], pages=16))
    one[32 : 16 * 4096] = one[32:48] * (16 * 256 - 2)
    names, problem = collected(rpm_ndb.packages(bytes(one)))
    assert len(names) * (len(GOOD) + 28) <= len(one)
    assert "more than it holds" in problem


def test_a_chain_in_a_circle_ends(rpms: RpmDatabases) -> None:
    content = bytearray(rpms.bdb)
    pages = range(4096, len(content), 4096)
    overflow = [page for page in pages if content[page + 25] == 7]
    assert overflow
    for page in overflow:
        content[page + 16 : page + 20] = struct.pack("<I", page // 4096)
    names, problem = collected(rpm_bdb.packages(bytes(content)))
    assert "leads nowhere" in problem
    assert len(names) < 5


def made(tmp_path: Path, *statements: str) -> bytes:
    path = tmp_path / "made.sqlite"
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path.read_bytes()


TABLE = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["CREATE TABLE other (blob)"], "no table"),
        # A view would run what it pleases.
        (["CREATE TABLE t (blob)", "CREATE VIEW Packages AS SELECT blob FROM t"], "no table"),
        (
            ["CREATE VIEW Packages AS WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT 1 FROM n)"
             " SELECT zeroblob(1000) AS blob FROM n"],
            "no table",
        ),
        (["CREATE VIRTUAL TABLE Packages USING fts4(blob)"], "no table"),
        ([TABLE, "INSERT INTO Packages VALUES (1, 5)"], "no blob"),
        (["CREATE TABLE Packages (hnum, data)"], "cannot be read"),
        # Columns that are computed when read.
        (
            ["CREATE TABLE Packages (x, blob AS (zeroblob(100000000)))",
             "INSERT INTO Packages VALUES (1)"],
            "cannot be read",
        ),
        (
            ["CREATE TABLE Packages (x, blob AS (zeroblob(1000000)))",
             "INSERT INTO Packages VALUES (1)"],
            "more than it holds",
        ),
    ],
)  # fmt: skip
def test_sqlite_runs_nothing(tmp_path: Path, statements: list[str], says: str) -> None:
    names, problem = collected(rpm_sqlite.packages(made(tmp_path, *statements)))
    assert names == []
    assert says in problem


@pytest.mark.parametrize(
    "changed",
    [
        # What the schema says of itself need not be so.
        "sql = 'CREATE VIEW Packages AS SELECT blob FROM other'",
        "sql = 'CREATE VIEW Packages AS WITH RECURSIVE n(x) AS (VALUES(1) UNION ALL SELECT 1"
        " FROM n) SELECT x AS blob FROM n'",
        "sql = 'CREATE VIEW Packages AS SELECT randomblob(9) AS blob'",
        "type = 'view'",
        "rootpage = 0",
        "rootpage = 99",
        "sql = 'nonsense'",
    ],
)
def test_a_forged_schema_runs_nothing(tmp_path: Path, changed: str) -> None:
    content = made(
        tmp_path, TABLE, f"INSERT INTO Packages VALUES (1, x'{GOOD.hex()}')",
        "CREATE TABLE other (blob)", f"INSERT INTO other VALUES (x'{GOOD.hex()}')",
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET {changed} WHERE name = 'Packages'",
    )  # fmt: skip
    names, problem = collected(rpm_sqlite.packages(content))
    assert names == []
    # Which of the defences speaks is up to SQLite's version.
    assert problem.startswith("rpmdb.sqlite")


def test_sqlite_is_allowed_one_kind_of_statement() -> None:
    # SQLite refuses most forgeries before it asks; this stands behind it.
    def allowed(action: int, first: str | None, trigger: str | None = None) -> bool:
        answer = rpm_sqlite._authorize(action, first, None, "main", trigger)
        assert answer in (sqlite3.SQLITE_OK, sqlite3.SQLITE_DENY)
        return answer == sqlite3.SQLITE_OK

    assert allowed(sqlite3.SQLITE_SELECT, None)
    assert allowed(sqlite3.SQLITE_READ, "Packages")
    assert not allowed(sqlite3.SQLITE_READ, "other")
    assert not allowed(sqlite3.SQLITE_READ, "Packages", "a view")
    for action in (sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_INSERT,
                   sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_PRAGMA):  # fmt: skip
        assert not allowed(action, "Packages")


def test_a_trigger_beside_the_table_is_of_no_effect(tmp_path: Path) -> None:
    content = made(
        tmp_path, TABLE, f"INSERT INTO Packages VALUES (1, x'{GOOD.hex()}')",
        "CREATE TRIGGER t BEFORE INSERT ON Packages BEGIN SELECT load_extension('x'); END",
    )  # fmt: skip
    assert [package.name for package in rpm_sqlite.packages(content)] == ["good"]


def test_sqlite_that_may_have_a_log_beside_it_is_read(rpms: RpmDatabases) -> None:
    # As rpm leaves it.
    assert rpms.sqlite[18:20] == b"\2\2"


@pytest.mark.parametrize("read", [rpm_sqlite.packages, rpm_ndb.packages, rpm_bdb.packages])
@pytest.mark.parametrize("content", [b"", b"x" * 10_000, b"\0" * 10_000])
def test_something_else(read: Callable[[bytes], Iterator[Package]], content: bytes) -> None:
    with pytest.raises(PackagesInvalid):
        list(read(content))
