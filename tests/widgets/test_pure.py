"""What the explorer shows, without widgets or images: folders, search, previews, jobs."""

from __future__ import annotations

import base64
import json
import random
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didlab import _pausing as pausing
from didlab.errors import InvalidArgument
from didlab.files import links, merge
from didlab.files.table import DIR, FILE, HARDLINK, SYMLINK, Entry, Table
from didlab.widgets import parts, preview, recent
from didlab.widgets.changed import changed
from didlab.widgets.folders import ROOT, Folders
from didlab.widgets.jobs import Halted, Jobs
from didlab.widgets.saving import Meter, Stand
from didlab.widgets.search import search

MANY = 100_000


def merged(*entries: Entry) -> Table:
    return merge.merge([Table.of(list(entries))])


def large() -> Table:
    """A merged table of 100,000 files: one folder of 10,000, the others of 90."""
    entries = [Entry(b"/big/file-%05d" % number, FILE, size=number) for number in range(10_000)]
    entries += [
        Entry(b"/usr/lib/d%04d/f%d.so" % divmod(number, 90), FILE, size=1)
        for number in range(MANY - 10_000)
    ]
    return merged(*entries)


@pytest.fixture(scope="module")
def folders() -> Folders:
    return Folders(large())


# --- folders -------------------------------------------------------------------------------------


def test_a_hundred_thousand_files_by_folder(folders: Folders) -> None:
    assert [folders.name(row) for row in folders.children(b"/")] == [b"big", b"usr"]
    assert len(folders.children(b"/big")) == 10_000
    assert len(folders.children(b"/usr/lib")) == 1000
    assert folders.size(ROOT) == sum(range(10_000)) + MANY - 10_000
    row = folders.row(b"/usr/lib/d0007")
    assert row is not None
    assert folders.size(row) == 90
    assert folders.path(row) == b"/usr/lib/d0007"
    assert folders.row(b"/nowhere") is None


def test_folders_are_what_the_table_says(folders: Folders) -> None:
    for path in (b"/", b"/big", b"/usr", b"/usr/lib", b"/usr/lib/d0999"):
        assert list(folders.children(path)) == links.children(folders.table, path)


names = st.binary(min_size=1, max_size=3).filter(lambda name: not set(name) & set(b"/\0."))


@given(st.lists(st.lists(names, min_size=1, max_size=4), max_size=30))
def test_any_folders_are_what_the_table_says(paths: list[list[bytes]]) -> None:
    entries = {b"/" + b"/".join(parts_) for parts_ in paths}
    # A path is a file only where nothing lies below it.
    files = [p for p in entries if not any(q.startswith(p + b"/") for q in entries)]
    table = merged(*(Entry(path, FILE, size=len(path)) for path in files))
    found = Folders(table)
    assert found.size(ROOT) == sum(map(len, files))
    for row in (ROOT, *range(len(table))):
        path = found.path(row)
        if found.is_folder(row):
            assert list(found.children(path)) == links.children(table, path)
            below = sum(len(one) for one in files if one.startswith(path.rstrip(b"/") + b"/"))
            assert found.size(row) == below
        assert found.row(path) == row or path == b"/"


def test_links_count_once_and_lead_somewhere() -> None:
    found = Folders(
        merged(
            Entry(b"/a/file", FILE, size=100),
            Entry(b"/a/same", HARDLINK, link=b"/a/file"),
            Entry(b"/link", SYMLINK, link=b"a"),
            Entry(b"/broken", SYMLINK, link=b"nowhere"),
            Entry(b"/round", SYMLINK, link=b"round"),
        )
    )
    assert found.size(ROOT) == 100
    rows = {found.name(row): row for row in found.children(b"/")}
    assert found.target(rows[b"link"]) == rows[b"a"]
    assert found.target(rows[b"broken"]) is None
    assert found.target(rows[b"round"]) is None
    assert found.target(ROOT) == ROOT
    assert found.facts(rows[b"link"])["leads to"] == "a"
    assert found.facts(rows[b"a"])["entries"] == "2"


def test_the_filter_knows_no_case() -> None:
    found = Folders(
        merged(*(Entry(path, FILE) for path in ("/Äpfel".encode(), b"/README.md", b"/\xff")))
    )
    assert [found.name(row) for row in found.named(b"/", "readme")] == [b"README.md"]
    assert [found.name(row) for row in found.named(b"/", "äPF")] == ["/Äpfel".encode()[1:]]
    assert len(found.named(b"/", " ")) == 3
    assert len(found.named(b"/", "\\xff")) == 1


# --- search --------------------------------------------------------------------------------------


def paths_of(table: Table, text: str, limit: int = 500) -> list[bytes]:
    return [table.paths[row] for row in search(table, text, limit)[0]]


def test_search_finds_names_paths_and_globs() -> None:
    table = merged(
        *(Entry(path, FILE) for path in (b"/etc/Passwd", b"/etc/passwd-", b"/passwd.d/x", b"/b/a"))
    )
    assert paths_of(table, "PASSWD") == [b"/etc/Passwd", b"/etc/passwd-", b"/passwd.d"]
    assert paths_of(table, "d/x") == [b"/passwd.d/x"]
    assert paths_of(table, "*.d") == [b"/passwd.d"]
    assert paths_of(table, "/etc/*-") == [b"/etc/passwd-"]
    assert paths_of(table, "  ") == []
    with pytest.raises(InvalidArgument):
        search(table, "[")


def test_search_stops_at_its_limit(folders: Folders) -> None:
    rows, more = search(folders.table, "file-", limit=10)
    assert (len(rows), more) == (10, True)
    rows, more = search(folders.table, "file-0000", limit=10)
    assert (len(rows), more) == (10, False)
    assert len(search(folders.table, "f89.so", limit=2000)[0]) == 1000


@given(st.lists(names, max_size=20, unique=True), st.text("abAB", min_size=1, max_size=2))
def test_search_is_what_a_loop_would_find(found: list[bytes], text: str) -> None:
    table = Table.of([Entry(b"/x/" + name, FILE) for name in found])
    slow = [b"/x/" + name for name in found if text.lower().encode() in name.lower()]
    assert paths_of(table, text) == slow


# --- previews ------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, *[0] * 5)


def jpeg(width: int, height: int) -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 4) + b"ab"
    return b"\xff\xd8" + app + b"\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + b"\0" * 9


def webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + size


GIF = b"GIF89a" + struct.pack("<HH", 3, 4)
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0/" + (2 | 3 << 14).to_bytes(4, "little")
LOSSY = b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + struct.pack("<HH", 3, 4)


@pytest.mark.parametrize("data", [png(3, 4), jpeg(3, 4), webp(3, 4), GIF, LOSSLESS, LOSSY])
def test_pictures_become_data_urls(data: bytes) -> None:
    kind = preview.picture_type(data)
    assert kind is not None
    assert preview._dimensions(data, kind) == (3, 4)
    found = preview.preview(data, len(data))
    assert found.kind == "picture"
    head, _, body = found.text.partition(",")
    assert head == f"data:{kind};base64"
    assert base64.b64decode(body) == data


@pytest.mark.parametrize(
    ("data", "size", "why"),
    [
        (png(100_000, 100_000), None, "pixels"),
        (jpeg(65_535, 65_535), None, "pixels"),
        (png(0, 4), None, "pixels"),
        (png(3, 4), 3_000_000, "2 MB"),
        (png(3, 4)[:20], None, "no size"),
        (b"\xff\xd8\xff\xe0\0\0", None, "no size"),
    ],
)
def test_pictures_that_would_hurt_are_shown_as_bytes(
    data: bytes, size: int | None, why: str
) -> None:
    found = preview.preview(data, len(data) if size is None else size)
    assert found.kind == "hex"
    assert why in found.note


@given(st.binary(max_size=400))
def test_any_head_of_a_picture_is_shown_somehow(tail: bytes) -> None:
    for head in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"GIF89a"):
        assert preview.preview(head + tail, len(head + tail)).kind in ("picture", "hex")


def test_text_json_bytes() -> None:
    def shown(data: bytes, size: int | None = None) -> tuple[str, str]:
        found = preview.preview(data, len(data) if size is None else size)
        return found.kind, found.text

    assert shown(b"") == ("empty", "")
    assert shown(b"a\n") == ("text", "a\n")
    assert shown("é".encode()) == ("text", "é")
    assert shown("é".encode()[:1], 2) == ("text", "")  # cut in the middle of a character
    assert shown("é".encode()[:1])[0] == "hex"
    assert shown("hi".encode("utf-16")) == ("text", "hi")
    assert shown(b'\xef\xbb\xbf{"a"') == ("text", '{"a"')
    assert shown(b'{"a":[1,"\xc3\xa9"]}')[0] == "json"
    assert json.loads(shown(b'{"a":[1,2]}')[1]) == {"a": [1, 2]}
    assert shown(b"[" * 100_000)[0] == "text"
    assert shown(b"[" + b"9" * 5000 + b"]")[0] == "text"  # more digits than Python reads
    assert shown(b"\0\1")[0] == "hex"
    assert shown(b"\0" * 20)[1].count("\n") == 1


def test_long_text_is_cut() -> None:
    found = preview.preview(b"x\n" * 5000, 10_000)
    assert found.text.count("\n") == 1999
    assert "2,000 lines" in found.note
    assert preview.wanted(b"x" * 10, 10**9) == preview.TEXT
    assert preview.wanted(b"{", 100_000) == 100_000
    assert preview.wanted(png(3, 4), 1_900_000) == 1_900_000
    assert preview.wanted(png(3, 4), 10**9) == preview.TEXT


# --- what is drawn -------------------------------------------------------------------------------


def test_html_of_an_image_is_escaped() -> None:
    evil = "<script>alert(1)</script>$x$\u202e\x1b"
    entry = Entry(b"/<b>'\"", FILE, size=1)
    found = Folders(merged(entry, Entry(b"/l", SYMLINK, link=b"<i>")))
    row = found.row(entry.path)
    assert row is not None
    made = [
        parts.header(evil, [evil]),
        parts.entry(found, row),
        parts.preview(preview.Preview("text", evil, evil)),
        parts.history([(0, None, evil, evil, evil, False, 0, "sha256:0", 1)]),
        parts.changes(changed([merged(entry)], 0)),
        parts.problem(evil),
        parts.note(evil),
    ]
    for html in made:
        for part in ("<script", "<b>'", "<i>", "$x$", "\u202e", "\x1b"):
            assert part not in html
    lines = [parts.entry_line(found, row), *parts.layer_lines([("sha256:" + "0" * 64, 1, evil)])]
    assert all(line.isprintable() or "\u00a0" in line for line in lines)
    assert not any(char in "".join(lines) for char in "\u202e\x1b\n")


def test_secrets_in_commands_are_masked() -> None:
    secret = "ghp_" + "a1B2" * 9
    made = f"RUN curl -H 'Authorization: token {secret}' https://x.example"
    shown = "".join(parts.layer_lines([("sha256:" + "0" * 64, 1, made)]))
    shown += parts.history([(0, None, made, None, None, False, 0, "sha256:0", 1)])
    assert "curl" in shown
    assert secret not in shown


def test_what_a_layer_did_largest_first() -> None:
    base = Table.of([Entry(b"/a", FILE, size=5), Entry(b"/b", FILE, size=9), Entry(b"/d", DIR)])
    top = Table.of(
        [
            Entry(b"/d", DIR),
            Entry(b"/.wh.b", FILE),
            Entry(b"/a", FILE, size=2),
            Entry(b"/new", FILE, size=20),
        ]
    )
    found = changed([base, top], 1)
    assert found.rows == [
        ("added", "/new", 20, -1),
        ("deleted", "/b", 0, 9),
        ("replaced", "/a", 2, 5),
    ]
    assert found.counts == {"added": 1, "replaced": 1, "deleted": 1}
    assert found.more == 0


# --- jobs and meters -----------------------------------------------------------------------------


def test_a_newer_job_calls_the_older_off_and_is_heard_alone() -> None:
    jobs = Jobs()
    heard: list[object] = []
    begun = threading.Event()

    def slow(stop: pausing.Stop) -> str:
        begun.set()
        pausing.wait(60)  # ends because the job's stop is where the library looks
        return "slow"

    jobs.start("look", slow, heard.append, heard.append)
    assert begun.wait(30)
    jobs.start("look", lambda _: "fast", heard.append, heard.append)
    assert jobs.wait()
    assert heard == ["fast"]


def test_a_stop_is_heard_as_a_stop_and_errors_as_they_are() -> None:
    jobs = Jobs()
    heard: list[object] = []
    begun = threading.Event()

    def slow(stop: pausing.Stop) -> None:
        begun.set()
        pausing.wait(60)

    jobs.start("save", slow, heard.append, heard.append)
    assert begun.wait(30)
    assert jobs.busy("save")
    jobs.stop("save")
    assert jobs.wait()
    assert [type(one) for one in heard] == [Halted]
    jobs.start("save", lambda _: 1 // 0, heard.append, heard.append)
    assert jobs.wait()
    assert type(heard[-1]) is ZeroDivisionError
    jobs.close()
    jobs.start("save", lambda _: heard.append("never"), heard.append, heard.append)
    assert jobs.wait()
    assert len(heard) == 2


def test_a_meter_tells_and_ends_what_was_stopped() -> None:
    stop = pausing.Stop()
    told: list[Stand] = []
    meter = Meter(stop, told.append, "saving")
    meter.reset(total=1000)
    meter.update(400)
    meter.tell(1, 3, ["broke off"])
    assert meter.stand().share == 0.4
    assert meter.stand().text == "saving · 400 B of 1.0 kB · 1 of 3 layers · broke off"
    assert told[0].total == 1000
    stop.set()
    with pytest.raises(Halted):
        meter.update(1)
    with pytest.raises(KeyboardInterrupt):
        meter.tell(1, 3, [])


# --- names opened last ---------------------------------------------------------------------------


def test_recent_names_latest_first_and_few(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(recent, "file", lambda: tmp_path / "folder" / "recent.txt")
    assert recent.names() == []
    for number in range(30):
        recent.add(f"app:{number}")
    recent.add("app:20")
    recent.add("not\nme")
    found = recent.names()
    assert found[:2] == ["app:20", "app:29"]
    assert len(found) == recent.KEPT == len(set(found))
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["recent.txt"]


def test_recent_names_are_no_reason_to_fail(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(1000))
    monkeypatch.setattr(recent, "file", lambda: tmp_path / "file" / "recent.txt")
    recent.add("app")
    assert recent.names() == []
    monkeypatch.setattr(recent, "file", lambda: tmp_path / "file")
    assert all(name.isprintable() for name in recent.names())
