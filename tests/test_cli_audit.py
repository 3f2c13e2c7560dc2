"""The commands that audit: what they show, for people and programs, and their exit status."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command import Command, interrupt
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rig.actions import Exchange
from rig.faults import FaultServer, hang_up
from rig.images import make_image, push_image
from rig.registries import Registry

import didlab
from didlab.cli import auditgrammar, main
from didlab.cli.findings import FOUND
from didlab.views.frames import SCHEMAS

OLD = b'ID=debian\nVERSION_ID="8"\nPRETTY_NAME="Debian GNU/Linux 8 (jessie)"\n'
KEY = "AKIA" + "Q7ZP4MXN2WRT5VKD"
SETUID = 0o4755


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command in this process, which is fast; the logger is as before afterwards."""
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    logger = logging.getLogger("didlab")
    before = logger.level, logger.handlers[:], logger.propagate

    def done(*args: object) -> Done:
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as end:
            status = int(end.code or 0)
        return Done(status, *capsys.readouterr())

    yield done
    logger.setLevel(before[0])
    logger.handlers[:], logger.propagate = before[1], before[2]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """The registry of `didlab.sandbox`."""
    hub = didlab.sandbox()
    yield hub.name
    hub.close()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """A registry with an image in which there is something of everything."""
    with FaultServer() as made:
        made.add_image("lab/bad", "1", make_image([BASE, BAD], Env=["LANG=C"]))
        made.add_image("lab/base", "1", make_image([BASE]))
        made.add_image("lab/good", "1", make_image([BASE, {"a": b"x"}], User="1000"))
        yield made


def paragraph(name: str, version: str) -> bytes:
    told = {"Package": name, "Status": "install ok installed", "Architecture": "amd64"}
    told["Version"] = version
    return "".join(f"{key}: {value}\n" for key, value in told.items()).encode() + b"\n"


BASE: dict[str, Any] = {
    "etc/os-release": OLD,
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\n",
    "var/lib/dpkg/status": paragraph("libssl1", "1.0") + paragraph("tar", "1.2"),
    "var/big": bytes(300_000),
}
BAD: dict[str, Any] = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nopen:x:1:1::/:/bin/sh\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\nopen::19000:0:99999:7:::\n",
    "root/.aws/credentials": f"[default]\naws_access_key_id = {KEY}\n".encode(),
    "var/.wh.big": b"",
    "var/lib/dpkg/status": paragraph("libssl1", "1.1") + paragraph("curl", "8"),
    "one": bytes(range(256)) * 40,
    "two": bytes(range(256)) * 40,
}


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def bad(server: FaultServer) -> str:
    return f"{server.host}/lab/bad:1"


def good(server: FaultServer) -> str:
    return f"{server.host}/lab/good:1"


# --- the same as the library's frames -------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "schema"),
    [
        (["packages"], "packages"),
        (["secrets"], "secrets"),
        (["setuid"], "setuid"),
        (["users"], "users"),
        (["waste", "--duplicates"], "duplicates"),
        (["waste", "--caches"], "caches"),
    ],
)
def test_json_and_csv_are_the_frame(
    run: Run, server: FaultServer, args: list[str], schema: str
) -> None:
    columns = [column.name for column in SCHEMAS[schema]]
    done = run(*args, "--json", bad(server))
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out)
    call = args[-1].strip("-")
    frame = getattr(didlab.open(bad(server), trust_env=False), call)()
    assert len(found) == len(frame)
    assert all(list(row) == columns for row in found)
    header, *listed = rows(run(*args, "--csv", bad(server)).out)
    assert header == columns
    assert len(listed) == len(frame)
    shown = run(*args, bad(server)).out.splitlines()
    assert len(shown) == len(frame) + 1


def test_packages(run: Run, host: str) -> None:
    head, *lines = run("packages", f"{host}/demo/web:1.27").out.splitlines()
    assert head.split() == ["ECOSYSTEM", "NAME", "VERSION", "ARCHITECTURE", "LAYER"]
    assert ["deb", "demo-web", "1.27-1", "amd64", "1"] in [line.split() for line in lines]
    some = run("packages", "--name", "LIB*", f"{host}/demo/web:1.27")
    assert [line.split()[1] for line in some.out.splitlines()[1:]] == ["libdemo1"]
    none = run("packages", "--ecosystem", "npm", "--json", f"{host}/demo/web:1.27")
    assert json.loads(none.out) == []
    wrong = run("packages", "--ecosystem", "cobol", f"{host}/demo/web:1.27")
    assert (wrong.status, wrong.out) == (1, "")
    assert wrong.err.count("\n") == 1


def test_secrets_stay_secret(run: Run, server: FaultServer) -> None:
    for shape in ("--json", "--csv", "-q"):
        done = run("secrets", shape, bad(server))
        assert "aws" in done.out
        assert KEY not in done.out + done.err


def test_os(run: Run, server: FaultServer) -> None:
    told = json.loads(run("os", "--json", bad(server)).out)
    assert (told["id"], told["version"], told["supported"]) == ("debian", "8", False)
    assert told["eol"].startswith("20")
    assert "jessie" in run("os", bad(server)).out


def test_base(run: Run, server: FaultServer, host: str) -> None:
    done = run("base", "--json", bad(server), f"{server.host}/lab/base:1", good(server))
    assert [row["is_base"] for row in json.loads(done.out)] == [True, False]
    assert done.status == 0


def test_waste(run: Run, server: FaultServer) -> None:
    told = json.loads(run("waste", "--json", bad(server)).out)
    frame = didlab.open(bad(server), trust_env=False).waste()
    assert told["wasted"] == frame.attrs["wasted"] >= 300_000
    assert told["efficiency"] == frame.attrs["efficiency"] < 1
    assert [row["path"] for row in told["paths"]] == list(frame["path"])
    assert "/var/big" in run("waste", bad(server)).out
    assert run("waste", "--caches", "--duplicates", bad(server)).status == 2


# --- bills of materials ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
def test_sbom(run: Run, host: str, tmp_path: Path, form: str) -> None:
    name = f"{host}/demo/web:1.27"
    done = run("sbom", "--format", form, name)
    bill = didlab.open(name, trust_env=False).sbom(form)
    assert done == (0, bill.json() + "\n", "")
    target = tmp_path / "a.json"
    wrote = run("sbom", "--format", form, "-o", target, name)
    assert wrote == (0, f"{target}\n", "")
    assert target.read_text() == done.out
    target.write_text("else")
    refused = run("sbom", "-o", target, name)
    assert refused.status == 1
    assert "--overwrite" in refused.err
    assert run("sbom", "--overwrite", "-o", target, name).status == 0
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(target.read_text())
    assert found is None


# --- differences ----------------------------------------------------------------------------------


def test_diff_in_short(run: Run, host: str) -> None:
    names = [f"{host}/demo/web:{tag}" for tag in ("1.26", "1.27")]
    done = run("diff", *names)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{names[0]} -> {names[1]}\nto download: ")
    assert "layers: 4 shared, 3 removed, 3 added" in done.out
    assert "upgraded  deb        demo-web  1.26-1  1.27-1" in done.out
    told = json.loads(run("diff", "--json", *names).out)
    assert [row["name"] for row in told["packages"]] == ["demo-web"]
    assert set(told) == {"before", "after", "layers", "config", "packages", "sizes"}
    same = run("diff", "--fail-on", "any", names[0], names[0])
    assert same.status == 0
    assert "packages: no difference" in same.out


@pytest.mark.parametrize(
    ("option", "schema"),
    [
        (["--files"], "diff_files"),
        (["--packages"], "diff_packages"),
        (["--config"], "diff_config"),
        (["--layers"], "diff_layers"),
        (["--sizes", "directory"], "diff_sizes"),
        (["--sizes", "layer"], "diff_sizes"),
    ],
)
def test_diff_in_tables(run: Run, server: FaultServer, option: list[str], schema: str) -> None:
    names = [f"{server.host}/lab/base:1", bad(server)]
    columns = [column.name for column in SCHEMAS[schema]]
    found = json.loads(run("diff", *option, "--json", *names).out)
    assert found
    assert list(found[0]) == columns
    assert rows(run("diff", *option, "--csv", *names).out)[0] == columns
    assert len(run("diff", *option, *names).out.splitlines()) == len(found) + 1
    assert run("diff", *option, "--fail-on", "any", *names).status == FOUND
    assert run("diff", *option, "--fail-on", "any", names[1], names[1]).status == 0


def test_diff_of_a_text(run: Run, server: FaultServer) -> None:
    names = [f"{server.host}/lab/base:1", bad(server)]
    done = run("diff", "--text", "/etc/passwd", *names)
    assert done.status == 0
    assert "+open:x:1:1::/:/bin/sh" in done.out.splitlines()
    assert run("diff", "--text", "/etc/passwd", "--fail-on", "any", *names).status == FOUND
    same = run("diff", "--text", "/etc/os-release", "--fail-on", "any", *names)
    assert same == (0, "", "")
    assert json.loads(run("diff", "--json", "--text", "/etc/passwd", *names).out)["diff"]


def test_diff_contents(run: Run, host: str) -> None:
    names = [f"{host}/demo/web:{tag}" for tag in ("1.26", "1.27")]
    before = json.loads(run("diff", "--files", "--json", *names).out)
    after = json.loads(run("diff", "--files", "--content", "--json", *names).out)
    assert "maybe" in {row["change"] for row in before}
    assert "maybe" not in {row["change"] for row in after}


# --- findings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "which", "status"),
    [
        (["packages", "--name", "curl", "--fail-on", "any"], "bad", 3),
        (["packages", "--name", "curl", "--fail-on", "any"], "good", 0),
        (["secrets", "--fail-on", "low"], "bad", 3),
        (["secrets", "--fail-on", "low"], "good", 0),
        (["users", "--fail-on", "empty"], "bad", 3),
        (["users", "--fail-on", "empty"], "good", 0),
        (["os", "--fail-on", "unsupported"], "bad", 3),
        (["waste", "--fail-on", "300kB"], "bad", 3),
        (["waste", "--fail-on", "300MB"], "bad", 0),
        (["waste", "--fail-on", "5%"], "bad", 3),
        (["waste", "--fail-on", "99%"], "bad", 0),
        (["waste", "--fail-on", "0%"], "good", 0),
        (["waste", "--duplicates", "--fail-on", "10kB"], "bad", 3),
        (["waste", "--caches", "--fail-on", "1"], "bad", 0),
    ],
)
def test_fail_on(run: Run, server: FaultServer, args: list[str], which: str, status: int) -> None:
    done = run(*args, {"bad": bad, "good": good}[which](server))
    assert done.status == status
    assert bool(done.err) == bool(status)
    if status:
        assert done.err.count("\n") == 1
        assert f"(--fail-on {args[-1]}" in done.err or args[0] == "waste"
    # Without the option findings are no failure.
    option = args.index("--fail-on")
    quiet = run(*args[:option], {"bad": bad, "good": good}[which](server))
    assert (quiet.status, quiet.out) == (0, done.out)


def test_severities_are_ordered(run: Run, server: FaultServer) -> None:
    found = json.loads(run("secrets", "--json", bad(server)).out)
    worst = min(("high", "medium", "low").index(row["severity"]) for row in found)
    told = [run("secrets", "--fail-on", one, bad(server)).status for one in ("high", "medium")]
    assert told == [3 if at >= worst else 0 for at in range(2)]


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [
        (["any"], 3),
        (["upgraded"], 3),
        (["changed"], 3),
        (["downgraded"], 0),
        (["added", "downgraded"], 3),
    ],
)
def test_fail_on_differences(
    run: Run, server: FaultServer, fail_on: list[str], status: int
) -> None:
    options = [word for one in fail_on for word in ("--fail-on", one)]
    done = run("diff", "--packages", *options, f"{server.host}/lab/base:1", bad(server))
    assert done.status == status


def test_what_cannot_be_asked(run: Run, server: FaultServer) -> None:
    before = len(server.requests)
    two = [bad(server), good(server)]
    for args in (
        ["diff", "--csv", *two],
        ["diff", "--content", *two],
        ["diff", "--sizes", "layer", "--fail-on", "added", *two],
        ["audit", "--csv", *two],
        ["audit", "--fail-on", "high", *two],
        ["audit", "--check", "nothing", *two],
        ["audit", "--policy", "missing.toml", *two],
    ):
        done = run(*args)
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1), args
    for args in (["waste", "--fail-on", "much", two[0]], ["secrets", "--fail-on", "all", two[0]]):
        assert run(*args).status == 2, args
    assert len(server.requests) == before


def test_amounts() -> None:
    assert auditgrammar.amount("1.5 GB") == (1.5e9, False)
    assert auditgrammar.amount("12.5%") == (0.125, True)
    for text in ("", "MB", "-1", "5 %%", "1e9", "٣"):
        with pytest.raises(Exception, match="amount"):
            auditgrammar.amount(text)


def test_the_status_is_documented(run: Run) -> None:
    assert "3 found what --fail-on asks for" in run("--help").out
    for name in auditgrammar.MODULES:
        told = run(name, "--help")
        assert told.status == 0
        assert ("exit status 3" in told.out) == (name not in ("base", "sbom")), name


# --- many images ----------------------------------------------------------------------------------

POLICY = """
[[rule]]
name = "no-root"

[[rule]]
name = "max-size"
size = "1 GB"
severity = "low"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_audit(run: Run, host: str) -> None:
    done = run("audit", "--check", "packages", "--csv", f"{host}/demo/web:1.*")
    assert (done.status, done.err) == (0, "")
    header, *listed = rows(done.out)
    assert header[:3] == ["reference", "platform", "digest"]
    assert {row[0] for row in listed} == {f"{host}/demo/web:1.26", f"{host}/demo/web:1.27"}
    told = json.loads(run("audit", "--json", f"{host}/demo/hello", f"{host}/demo/oci").out)
    assert told["complete"]
    assert list(told["checks"]) == ["config", "layers"]
    assert len(told["images"]) == len(told["checks"]["config"]) == 2
    shown = run("audit", "--check", "os", f"{host}/demo/web").out
    assert "Didlab Demo Linux 12" in shown
    platforms = run("audit", "--check", "size", "--platform", "all", "--json", f"{host}/demo/hello")
    assert len(json.loads(platforms.out)["images"]) == 3


def test_audit_by_a_policy(run: Run, server: FaultServer, policy: Path, tmp_path: Path) -> None:
    both = [bad(server), good(server)]
    report = tmp_path / "report.json"
    done = run("audit", "--policy", policy, "-o", report, *both)
    assert done.status == FOUND
    assert "1 rule not kept" in done.err
    head, *lines = done.out.splitlines()
    assert head.split() == ["SEVERITY", "RULE", "REFERENCE", "PLATFORM", "EVIDENCE"]
    assert [line.split()[:3] for line in lines] == [["high", "no-root", both[0]]]
    told = json.loads(report.read_text())
    assert [row["passed"] for row in told["policy"]] == [False, True, True, True]
    assert len(run("audit", "--all", "--policy", policy, *both).out.splitlines()) == 5
    for fail_on, status in (("high", 3), ("low", 3), ("error", 0), ("never", 0)):
        assert run("audit", "--policy", policy, "--fail-on", fail_on, *both).status == status
    assert run("audit", "--policy", policy, good(server)).status == 0
    before = len(server.requests)
    again = run("audit", "--policy", policy, "-o", report, *both)
    assert (again.status, len(server.requests)) == (1, before), "refused before anything is read"
    assert "--overwrite" in again.err


def test_audit_with_errors(run: Run, server: FaultServer) -> None:
    both = [good(server), f"{server.host}/lab/missing:1"]
    done = run("audit", "--check", "size", "--json", *both)
    assert done.status == 0
    assert "warning: 1 image could not be checked in full" in done.err
    assert [row["error"] is None for row in json.loads(done.out)["images"]] == [True, False]
    assert run("audit", "--fail-on", "error", "--check", "size", *both).status == FOUND
    assert run("audit", "--check", "size", both[1]).status == 1


def test_audit_goes_on(run: Run, server: FaultServer, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    args = ["audit", "--check", "packages", "--csv", "--resume", kept, bad(server)]
    first = run(*args)
    assert first.status == 0
    assert kept.stat().st_size > 0
    before = [one for one in server.requests if "/blobs/" in one.path]
    assert run(*args) == first
    after = [one for one in server.requests if "/blobs/" in one.path]
    assert len(after) - len(before) <= 1, "its config at most"


# --- as users run it ------------------------------------------------------------------------------


def test_a_login_goes_to_one_registry(
    run: Run, server: FaultServer, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    before = len(server.requests)
    for args in (
        ["diff", bad(server), f"{host}/demo/web"],
        ["base", bad(server), good(server), f"{host}/demo/web"],
        ["audit", "--check", "os", bad(server), f"{host}/demo/web:1.*"],
    ):
        done = run(*args[:1], "--username", "me", *args[1:])
        assert done.status == 1
        assert "for one registry" in done.err
        assert server.host in done.err
    assert len(server.requests) == before
    done = run("audit", "--username", "me", "--check", "size", "--json", bad(server), "./a.tar")
    assert "for one registry" not in done.err


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def test_in_a_pipeline(command: Command, registry: Registry) -> None:
    """Against a real registry, in a process of its own."""
    push_image(registry.host, "audits/cli", "1", make_image([BASE, BAD]))
    name = f"{registry.host}/audits/cli:1"
    found = command("secrets", "--fail-on", "low", name)
    assert found.returncode == FOUND
    assert found.stderr.startswith("didlab: ")
    bill = command("sbom", name)
    assert bill.returncode == 0
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.stdout) is None


def test_interrupted(command: Command, server: FaultServer) -> None:
    """Ctrl+C: what is done is shown, and the status says that it is not all."""
    if sys.platform == "win32":
        pytest.skip("signals")
    image = make_image([{"late": b"late" * 5000}])
    server.add_image("lab/late", "1", image)
    asked, go = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        asked.set()
        go.wait(60)
        hang_up(exchange)

    layer = image.layers[0]["digest"]
    server.rule(lambda request: request.path.endswith(layer), hold)
    process = command.start("audit", "--check", "packages", "--json", good(server),
                            f"{server.host}/lab/late:1")  # fmt: skip
    try:
        assert asked.wait(60)
        interrupt(process)
        out, err = process.communicate(timeout=60)
    finally:
        go.set()
        process.kill()
        process.wait(60)
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    assert process.returncode == 130, err
    told = json.loads(out)
    assert not told["complete"]
    assert len(told["images"]) == 2


def test_help_is_cheap(command: Command) -> None:
    program = (
        "import sys\nfrom didlab.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = command.python("-c", program, "audit", "--help")
    loaded = {one.partition(".")[0] for one in done.stderr.split()}
    assert "didlab" in loaded
    assert not loaded & {"pandas", "numpy", "requests", "tqdm"}
