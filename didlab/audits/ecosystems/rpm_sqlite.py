"""rpm's database in SQLite, ``rpmdb.sqlite``: a table ``Packages (hnum, blob)`` of headers.

SQLite is built to open hostile files, with care (sqlite.org/security.html): this database is
opened from memory, so it reaches no file; its schema may name nothing but plain tables that are
read by their own name (a view or a virtual table of that name is refused); functions with effects
are off; an authorizer allows one kind of statement; a counter ends what runs too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from didlab.audits.ecosystems import rpm_header
from didlab.audits.ecosystems.package import Package
from didlab.audits.ecosystems.texts import invalid
from didlab.errors import PackagesInvalid

if TYPE_CHECKING:
    import sqlite3

__all__ = ["packages"]

_MAGIC = b"SQLite format 3\0"
#: The largest header; the largest that is known, of a kernel's development files, has 10 MiB.
_BLOB_LIMIT = 64 * 1024 * 1024
#: Steps of SQLite's machine between two looks at the counter, and how often it may look. A row
#: takes some five steps.
_STEPS, _LOOKS = 10_000, 1_000


def packages(content: bytes) -> Iterator[Package]:
    """Yield the packages of a database.

    What is only in its write-ahead log, another file, is not seen.

    Raises
    ------
    PackagesInvalid
        It is no such database; or, after all others, some headers cannot be read.
    """
    return rpm_header.packages(_blobs(content))


def _blobs(content: bytes) -> Iterator[bytes | PackagesInvalid]:
    if not content.startswith(_MAGIC) or len(content) < 512:
        raise invalid("rpmdb.sqlite is no SQLite database")
    try:
        import sqlite3
    except ImportError:  # a Python may be built without it
        raise invalid("rpmdb.sqlite cannot be read: this Python has no sqlite3") from None
    # 2 says that there may be a write-ahead log beside it, where memory has no beside.
    content = content[:18] + b"\1\1" + content[20:]
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        yield from _rows(connection, content)
    except (sqlite3.Error, MemoryError, OverflowError, UnicodeError) as failure:
        raise invalid(f"rpmdb.sqlite cannot be read: {failure}") from None
    finally:
        connection.set_authorizer(None)
        connection.close()


def _rows(connection: sqlite3.Connection, content: bytes) -> Iterator[bytes | PackagesInvalid]:
    import sqlite3

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _BLOB_LIMIT)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 100_000)
    if not hasattr(connection, "deserialize"):  # SQLite may be built without it
        raise invalid("rpmdb.sqlite cannot be read: this Python's SQLite has no deserialize")
    connection.deserialize(content)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}").close()
    looks = iter(range(_LOOKS))
    connection.set_progress_handler(lambda: next(looks, None) is None, _STEPS)
    connection.set_authorizer(_authorize)
    connection.text_factory = bytes
    tables = connection.execute(
        "SELECT type, rootpage, sql FROM sqlite_master WHERE name = 'Packages' LIMIT 2"
    ).fetchall()
    if len(tables) != 1 or tables[0][0] != b"table" or not tables[0][1]:
        raise invalid("rpmdb.sqlite has no table Packages")
    room = len(content)
    for (blob,) in connection.execute("SELECT blob FROM main.Packages"):
        if not isinstance(blob, bytes):
            yield invalid("it is no blob")
            continue
        # Pages that lead in a circle give the same rows for ever.
        room -= len(blob) + 1
        if room < 0:
            raise invalid("rpmdb.sqlite gives more than it holds")
        yield blob


def _authorize(
    action: int, first: str | None, second: str | None, base: str | None, trigger: str | None
) -> int:
    import sqlite3

    del second, base
    reads = action == sqlite3.SQLITE_READ and first in ("Packages", "sqlite_master")
    allowed = (reads or action == sqlite3.SQLITE_SELECT) and not trigger
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
