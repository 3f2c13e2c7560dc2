"""Progress on a terminal, in a log, in a notebook as it is stored, and for objects of users."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import nbclient
import nbformat
import pytest
from rig.actions import half_close_after, too_many
from rig.cutting import CuttingProxy
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab import errors
from didlab.export import progress
from didlab.export.progress.handed import Guarded
from didlab.export.progress.state import State

MB = 1_000_000
ROOT = Path(__file__).parents[2]
SAVE = "import didlab, sys; didlab.open(sys.argv[1]).save(sys.argv[2], progress={})"


@pytest.fixture(scope="module")
def image():
    noise = random.Random(7)
    return make_image([{"data": noise.randbytes(2 * MB)}, {"etc/motd": b"hello"}])


@pytest.fixture
def server(image):
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        layers = json.loads(image.manifest)["layers"]
        server.large = max(layers, key=lambda layer: layer["size"])["digest"]
        server.total = sum(layer["size"] for layer in layers)
        yield server


@pytest.fixture
def line(server):
    """A line on which a save lasts long enough to be looked at."""
    with CuttingProxy(server.host, rate=0.25 * MB) as line:
        yield line


@pytest.fixture
def quicker(server):
    """For what one connection reads whole."""
    with CuttingProxy(server.host, rate=1.0 * MB) as line:
        yield line


def ran(arguments: list[object], **options: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120", "TERM": "xterm"}
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)], env=environment, **options
    )


# --- a terminal ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_a_terminal_gets_one_line(server, line, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    server.rule(lambda request: server.large in request.path, half_close_after(300_000), times=1)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    target = tmp_path / "app.tar"
    child = ran([SAVE.format(None), f"{line.host}/lab/app:1", target], stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # how Linux tells the end of a terminal
    os.close(ours)
    assert child.wait(60) == 0
    text = shown.decode()
    assert text.rstrip("\r\n").count("\n") == 0
    drawn = [part.strip() for part in text.split("\r") if part.strip()]
    assert len(drawn) > 3
    assert re.match(
        r"app\.tar: +\d+%\|.*\| [\d.]+[kM]?/2\.\d\dM \[.*<.*, .*B/s, [01]/2 lay", drawn[1]
    )
    assert any("broke off after" in part and "asking again" in part for part in drawn)
    assert re.match(r"app\.tar: 100%\|.*B/s, 2/2 layers\]", drawn[-1])
    assert "broke off" not in drawn[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
def test_ipython_in_a_terminal_gets_one_line_too(quicker, tmp_path):
    import fcntl
    import pty
    import struct
    import termios

    code = f"import didlab; _ = didlab.open('{quicker.host}/lab/app:1').files()"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)}
    child = subprocess.Popen(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code],
        stderr=theirs,
        stdout=subprocess.DEVNULL,
        env={**environment, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # how Linux tells the end of a terminal
    os.close(ours)
    assert child.wait(60) == 0
    text = shown.decode()
    assert text.rstrip("\r\n").count("\n") == 0
    assert re.search(r"listing .*lab/app:1: 100%\|", text)


def test_what_is_over_at_once_shows_nothing_unless_asked(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_at_terminal", lambda: True)
    for wanted in (None, True):
        bar = progress.start(wanted, 100, "app.tar")
        bar.tell(0, 1, ())
        bar.update(100)
        bar.tell(1, 1, ())
        bar.close()
        shown = capsys.readouterr().err
        assert ("100%" in shown) is (wanted is True)
        assert ("1/1 layer]" in shown) is (wanted is True)


def test_no_thread_of_a_bar_stays(monkeypatch):
    monkeypatch.setattr(progress, "_at_terminal", lambda: True)
    before = set(threading.enumerate())
    bar = progress.start(True, 100, "app.tar")
    assert set(threading.enumerate()) == before
    bar.close()


# --- a log ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [None, True])
def test_a_log_gets_no_bars(server, tmp_path, wanted):
    server.rule(lambda request: server.large in request.path, half_close_after(300_000), times=1)
    log, target = tmp_path / "log", tmp_path / "app.tar"
    with log.open("wb") as file:
        child = ran([SAVE.format(wanted), f"{server.host}/lab/app:1", target], stderr=file)
        assert child.wait(60) == 0
    text = log.read_text()
    if wanted is None:
        assert text == ""
        return
    assert "\r" not in text
    note, end = text.splitlines()
    assert note.startswith("app.tar: the answer of")
    assert note.endswith("asking again")
    assert re.fullmatch(r"app\.tar: 100% · 2\.\d MB · 2/2 layers · [\d.]+ s · .*B/s", end)


def test_a_log_is_told_now_and_then(monkeypatch, capsys):
    from didlab.export.progress import lines

    monkeypatch.setattr(lines, "EVERY", 0.0)
    bar = lines.Lines(1000, "app.tar", 500)
    bar.update(100)
    bar.tell(1, 3, ())
    assert capsys.readouterr().err.splitlines() == [
        "app.tar: 60% · 600 B of 1.0 kB",
        "app.tar: 60% · 600 B of 1.0 kB · 1/3 layers",
    ]


# --- a notebook ----------------------------------------------------------------------------------


def stored(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    nbformat.validate(notebook)
    return notebook.cells[0].outputs


CELL = "import didlab\nreport = didlab.open({!r}).save('app.tar')"


@pytest.mark.filterwarnings("default")  # those of Jupyter's own machinery are not ours
def test_a_stored_notebook_shows_how_it_ended(line, tmp_path, monkeypatch):
    [output] = stored(CELL.format(f"{line.host}/lab/app:1"), tmp_path, monkeypatch)
    assert output.output_type == "display_data"
    assert set(output.data) == {"text/plain", "text/html"}
    assert re.fullmatch(
        r"app\.tar: 100% · 2\.\d MB · 2/2 layers · [\d.]+ s · .*/s", output.data["text/plain"]
    )
    assert "width:100%" in output.data["text/html"]
    assert "2/2 layers" in output.data["text/html"]
    assert "<script" not in output.data["text/html"]


@pytest.mark.filterwarnings("default")
def test_a_stored_notebook_shows_where_it_stopped(server, line, tmp_path, monkeypatch):
    server.rule(
        lambda request: server.large in request.path and not request.range.startswith("bytes=0"),
        half_close_after(400_000),
    )
    server.rules[0].left = 1
    server.rule(lambda request: server.large in request.path, half_close_after(0))
    shown, error = stored(CELL.format(f"{line.host}/lab/app:1"), tmp_path, monkeypatch)
    assert error.ename == "Truncated"
    assert re.fullmatch(
        r"app\.tar: \d\d?% · \d.* of 2\.\d MB · 1/2 layers · .* · stopped",
        shown.data["text/plain"],
    )
    assert "width:100%" not in shown.data["text/html"]


@pytest.mark.filterwarnings("default")
def test_a_stored_notebook_shows_one_end_of_a_listing(quicker, tmp_path, monkeypatch):
    code = f"import didlab\nframe = didlab.open('{quicker.host}/lab/app:1').files()"
    [output] = stored(code, tmp_path, monkeypatch)
    assert re.match(r"listing .*lab/app:1: 100% · 2\.\d MB", output.data["text/plain"])
    assert "width:100%" in output.data["text/html"]


def test_the_clock_of_a_bar_goes_on_while_nothing_comes(monkeypatch):
    from didlab.export.progress.notebook import NotebookBar

    bar = NotebookBar(100, "app.tar", 0, delay=60)
    drawn = []
    monkeypatch.setattr(bar._bar, "set_postfix_str", lambda text, refresh: drawn.append(text))
    now = [bar.state.now]
    bar.state._clock = lambda: now[0]
    for _ in range(5):
        now[0] += 0.5
        bar.tell(0, 2, ())
    assert drawn == ["0/2 layers"] * 3  # the first time, then once a second
    bar.close()


def test_kernels_derived_from_ipykernels_are_notebooks(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):  # as in Colab
        pass

    class Module:
        get_ipython = staticmethod(Shell)

    monkeypatch.setitem(sys.modules, "IPython", Module)
    assert progress.in_notebook()
    Module.get_ipython = staticmethod(lambda: None)
    assert not progress.in_notebook()


# --- objects of users ----------------------------------------------------------------------------


def test_an_object_needs_update_alone(server, tmp_path):
    class Counts:
        n = 0

        def update(self, n: int) -> None:
            self.n += n

    counts = Counts()
    didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", progress=counts)
    assert counts.n == server.total


@pytest.mark.usefixtures("store")
def test_one_bar_however_many_layers():
    class Bars:
        totals: ClassVar[list[int]] = []
        n = 0

        def reset(self, total: int) -> None:
            self.totals.append(total)

        def update(self, n: int) -> None:
            self.n += n

    image = make_image([{f"f{number}": b"x" * 1000} for number in range(5)])
    total = sum(layer["size"] for layer in image.layers)
    with FaultServer() as server:
        server.add_image("lab/many", "1", image)
        manifest = didlab.open(f"{server.host}/lab/many:1")
        listing, keeping = Bars(), Bars()
        manifest.files(progress=listing)
        assert (listing.totals, listing.n) == ([total], total)
        Bars.totals.clear()
        manifest.files(progress=keeping, keep=True)  # listed already: the layers alone are fetched
        assert (keeping.totals, keeping.n) == ([total], total)


def test_an_object_that_has_tell_hears_of_layers_and_notes(server, tmp_path):
    server.rule(lambda request: server.large in request.path, half_close_after(300_000), times=1)
    told: list[tuple[int, int, list[str]]] = []

    class Hears:
        def update(self, n: int) -> None:
            pass

        def tell(self, done: int, total: int, notes: list[str]) -> None:
            told.append((done, total, list(notes)))

    report = didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", progress=Hears())
    assert told[-1][:2] == (2, 2)
    assert len({one[:2] for one in told}) + sum(bool(one[2]) for one in told) >= len(told)
    [note] = [note for one in told for note in one[2]]
    assert "broke off" in note
    assert report.notes == (f"{server.host} broke off once",)


def test_tqdm_itself_is_an_object(server, tmp_path):
    from tqdm import tqdm

    with tqdm(file=io.StringIO()) as bar:
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", progress=bar)
        assert bar.n == bar.total == server.total


def test_what_is_there_already_counts_at_once():
    class Counts:
        n = 0

        def update(self, n: int) -> None:
            self.n += n

    counts = Counts()
    Guarded(counts, 100, there=40)
    assert counts.n == 40
    state = State(100, "app.tar", 40)
    state.tell(0, 1, ())
    assert state.percent == 40


# --- notes ---------------------------------------------------------------------------------------


def test_a_note_stays_until_bytes_come_again():
    now = [0.0]
    state = State(100, "app.tar", 0, clock=lambda: now[0])
    state.tell(0, 2, ("first", "slow down"))
    state.update(1)
    assert state.postfix == "0/2 layers, slow down"
    now[0] = 60.0  # nothing came: it still waits
    assert state.postfix == "0/2 layers, slow down"
    state.update(1)
    assert state.postfix == "0/2 layers"


def test_hundred_percent_is_said_of_what_is_whole():
    state = State(1000, "app.tar", 0)
    state.update(1000)
    state.tell(1, 2, ())
    assert (state.percent, state.whole) == (99, False)  # it is not verified yet
    state.tell(2, 2, ())
    assert (state.percent, state.whole) == (100, True)


# --- waiting for rates ---------------------------------------------------------------------------


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def update(self, n: int) -> None:
        pass

    def tell(self, done: int, total: int, notes: list[str]) -> None:
        self.notes += notes


def test_a_rate_limit_is_waited_for_and_told(server, tmp_path):
    server.rule(lambda request: server.large in request.path, too_many("1"), times=3)
    seen = Notes()
    image = didlab.open(f"{server.host}/lab/app:1")
    image.save(tmp_path / "app.tar", progress=seen, workers=1)
    # Longer than a blob's attempts: the place says each time when to come again.
    assert len(server.asked(server.large)) == 4
    assert len(seen.notes) == 3
    assert re.fullmatch(
        re.escape(server.host) + r" asks to wait: going on in 1 s, at \d\d:\d\d:\d\d", seen.notes[0]
    )


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("part", ["/manifests/", "large"])
def test_longer_than_the_user_waits_is_an_error_at_once(server, tmp_path, part, status):
    part = server.large if part == "large" else part
    server.rule(lambda request: part in request.path, busy(status, "30"))
    with pytest.raises(errors.RateLimited) as caught:
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", wait=29)
    assert len(server.asked(part)) == 1
    assert caught.value.retry_after == 30
    assert caught.value.resets is not None
    assert "resets at" in str(caught.value)


def busy(status: int, seconds: str):
    from rig.actions import respond

    return respond(status, {"Retry-After": seconds})


def test_the_waits_of_one_request_are_bounded_together(server, tmp_path):
    server.rule(lambda request: server.large in request.path, too_many("1"))
    with pytest.raises(errors.RateLimited):
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", wait=2.5)
    assert len(server.asked(server.large)) == 3  # nor did another lane ask meanwhile


def test_nobody_waits_who_said_so(server, tmp_path):
    server.rule(lambda request: server.large in request.path, too_many(""))
    with pytest.raises(errors.RateLimited):
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", wait=0)
    assert len(server.asked(server.large)) == 1


def test_a_wait_before_there_is_a_bar_is_told(server, tmp_path, monkeypatch, capsys):
    server.rule(lambda request: "/manifests/" in request.path, too_many("1"), times=1)
    image = didlab.open(f"{server.host}/lab/app:1")
    image.save(tmp_path / "app.tar", progress=True)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"{server.host} asks to wait: going on in 1 s")


def test_save_of_several_waits_as_well(server, tmp_path):
    server.rule(lambda request: server.large in request.path, too_many("30"))
    with pytest.raises(errors.RateLimited):
        didlab.save([f"{server.host}/lab/app:1"], tmp_path / "app.tar", wait=1)


@pytest.mark.parametrize("wrong", [-1, True, "20", float("nan"), None])
def test_nonsense_waits(server, tmp_path, wrong):
    with pytest.raises(errors.InvalidArgument, match="wait="):
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "app.tar", wait=wrong)
    assert server.requests == []
