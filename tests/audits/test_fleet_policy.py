"""policy(): rules over images, as values, by name, and from a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.audits.ecosystems import look
from didlab.audits.fleet.checkpoint import Checkpoint
from didlab.audits.fleet.policies import load
from didlab.audits.fleet.results import Result
from didlab.audits.fleet.rules import RULES, _bytes
from didlab.errors import ConfigError, InvalidArgument, MalformedContent, PathNotFound

BASE = {
    "etc/os-release": b'ID=debian\nVERSION_ID="9"\nPRETTY_NAME="Debian 9"\n',
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\nguest::7:7::/:/bin/sh\n",
    "var/lib/dpkg/status": b"Package: telnet\nStatus: install ok installed\n"
    b"Architecture: amd64\nVersion: 0.17\n\n",
}
KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEowIBAAKCAQEA7bq0\n" * 12
KEY += b"-----END RSA PRIVATE KEY-----\n"
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def names() -> Iterator[list[str]]:
    bad = make_image(
        [BASE, {"root/.ssh/id_rsa": KEY, "etc/passwd": BASE["etc/passwd"]}],
        config_json={"created": (NOW - timedelta(days=100)).isoformat()},
    )
    good = make_image(
        [{"app": b"x"}],
        User="1000:1000",
        Labels={"source": "https://a.example/x"},
        Healthcheck={"Test": ["CMD", "true"]},
        config_json={"created": (NOW - timedelta(days=1)).isoformat()},
    )
    with FaultServer() as server:
        server.add_image("lab/base", "1", make_image([BASE]))
        server.add_image("lab/app", "latest", bad)
        server.add_image("lab/app", "1", good)
        yield [f"{server.host}/lab/{name}" for name in ("app:latest", "app:1", "base:1", "none:1")]


def told(frame: pd.DataFrame, reference: str) -> dict[str, Any]:
    rows = frame[frame["reference"] == reference]
    return {
        str(row["rule"]): True if row["passed"] else row["evidence"]
        for row in rows.to_dict("records")
    }


def test_the_rules_that_come_along(names: list[str]) -> None:
    rules = [
        "no-root",
        "no-secrets",
        "no-setuid",
        "os-supported",
        "no-latest",
        "has-healthcheck",
        "no-empty-password",
        "no-expired-certificates",
        didlab.rule("max-size", size="200 B", name="small"),
        didlab.rule("max-layers", layers=1),
        didlab.rule("max-age", days=90),
        didlab.rule("max-waste", size=1),
        didlab.rule("base-in", bases=[names[2]]),
        didlab.rule("no-package", package=["tel*"], ecosystem="deb"),
        didlab.rule("required-label", label="source", value="https://*"),
    ]
    assert {one if isinstance(one, str) else one.name for one in rules} == {
        "small" if name == "max-size" else name for name in RULES
    }
    frame = didlab.policy(names[:2], rules, trust_env=False)
    bad, good = told(frame, names[0]), told(frame, names[1])
    assert bad["no-root"] == "no user is set: runs as root"
    assert bad["no-secrets"] == "private-key in /root/.ssh/id_rsa"
    assert bad["no-setuid"] is True
    assert bad["os-supported"].startswith("Debian 9: support ended 20")
    assert bad["no-latest"].endswith("means whatever is newest")
    assert bad["has-healthcheck"] == "no health check"
    assert bad["no-empty-password"] == "guest"
    assert bad["small"].endswith("at most 200 B")
    assert bad["max-layers"] == "2 layers, at most 1"
    assert bad["max-age"] == "100 days old, at most 90"
    assert bad["max-waste"].endswith("in vain, at most 1 B")
    assert bad["base-in"] is True
    assert bad["no-package"] == "telnet 0.17"
    assert bad["required-label"] == "no label source"
    assert good.pop("base-in").startswith("built on none of")
    assert good.pop("os-supported").endswith("is not known")
    assert good.pop("small")
    assert set(good.values()) == {True}
    # In the order of images and rules, each with its severity.
    assert list(frame["rule"][: len(rules)]) == [
        one if isinstance(one, str) else one.name for one in rules
    ]
    assert set(frame["severity"]) == {"high", "medium", "low"}


def test_of_a_report_nothing_is_asked_again(names: list[str]) -> None:
    report = didlab.audit(names, ["config"], trust_env=False)
    frame = report.policy(["no-root", "no-latest"])
    assert frame["passed"].tolist() == [False, False, True, True, False, True, False, False]
    # What is not known has not passed.
    assert frame["evidence"][6].startswith("not checked: RepositoryNotFound") or frame["evidence"][
        6
    ].startswith("not checked: ManifestNotFound")
    with pytest.raises(InvalidArgument, match="no check packages"):
        report.policy(didlab.rule("no-package", package="x"))


def test_a_check_that_failed_has_not_passed(names: list[str]) -> None:
    def breaks(image: Any) -> Any:
        raise ValueError("no")

    frame = didlab.policy(names[1], [didlab.rule(breaks), "no-root"], trust_env=False)
    assert frame["passed"].tolist() == [False, True]
    assert frame["evidence"][0] == "not checked: ValueError: no"


DAMAGED = BASE["var/lib/dpkg/status"] + b"Package: netcat\nStatus: install ok installed\n\n"
GOOD = b"Package: libc6\nVersion: 2.36\nArchitecture: amd64\n\n"


def serve_partly(server: FaultServer, status: bytes) -> list[str]:
    """Serve an image with two databases of packages, one of them damaged, and one without."""
    bad = {"var/lib/dpkg/status": status, "var/lib/dpkg/status.d/libc6": GOOD}
    server.add_image("lab/partly", "1", make_image([bad]))
    server.add_image("lab/whole", "1", make_image([{"var/lib/dpkg/status.d/libc6": GOOD}]))
    return [f"{server.host}/lab/partly:1", f"{server.host}/lab/whole:1"]


@pytest.mark.parametrize(
    ("status", "found", "says"),
    [
        (DAMAGED, ["libc6", "telnet"], "netcat has no Version"),
        (b"\xff\0 no database\n", ["libc6"], "it has no Package"),
        (DAMAGED + b"\n" * 500, ["libc6"], "larger than the"),
    ],
)
def test_what_could_be_read_in_part_has_not_passed(
    status: bytes, found: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_DATABASE_LIMIT", 400)
    resume = tmp_path / "audit.jsonl"
    with FaultServer() as server:
        names = serve_partly(server, status)
        # The second time errors are tried again, and nothing comes twice.
        for _ in range(2):
            report = didlab.audit(names, ["packages", "os"], resume=resume, trust_env=False)
            frame = report["packages"]
            assert frame["name"].dropna().tolist() == [*found, "libc6"]
            assert frame["error"].notna().tolist() == [*[False] * len(found), True, False]
            error = frame["error"][len(found)]
            assert error.startswith("PackagesInvalid: /var/lib/dpkg/status of layer 0: ")
            assert says in error
            assert report.errors[["reference", "check", "error"]].values.tolist() == [
                [names[0], "packages", error]
            ]
        (partly,) = (one for one in report.as_completed() if one.reference == names[0])
        assert partly.errors == {"packages": error}
        assert len(partly["packages"]) == len(found) + 1
        judged = report.policy(
            [
                didlab.rule("no-package", package="nc*"),
                didlab.rule("no-package", package="lib*", name="no-lib"),
                didlab.rule("os-supported", unknown=True),
            ]
        )
    assert judged["passed"].tolist() == [False, False, True, True, False, True]
    assert judged["evidence"][0] == f"not checked in full: {error}"
    # What was found is said first.
    assert judged["evidence"][1] == f"libc6 2.36; not checked in full: {error}"
    assert judged["evidence"][4] == "libc6 2.36"


def test_of_several_damaged_databases_the_first_is_told() -> None:
    files = {f"var/lib/dpkg/status.d/{name}": b"Package: a\n\n" for name in ("a", "b")}
    with FaultServer() as server:
        server.add_image("lab/none", "1", make_image([files]))
        report = didlab.audit(f"{server.host}/lab/none:1", ["packages"], trust_env=False)
        judged = report.policy(didlab.rule("no-package", package="x"))
    (error,) = report["packages"]["error"]
    assert error.startswith("PackagesInvalid: 2 files cannot be read in full, first /var/lib/dpkg/")
    # No row at all is no part.
    assert judged["evidence"].tolist() == [f"not checked: {error}"]


def test_a_checkpoint_keeps_what_was_read_in_part(tmp_path: Path) -> None:
    resume = tmp_path / "audit.jsonl"
    with FaultServer() as server:
        name = serve_partly(server, DAMAGED)[0]
        report = didlab.audit(name, ["packages", "os"], resume=resume, trust_env=False)
    (line,) = (json.loads(line) for line in resume.read_text().splitlines()[1:])
    kept = Result.from_json(line["checks"]["packages"])
    assert (kept.rows, kept.error) == (2, report.errors["error"][0])
    assert kept.columns["name"] == ["libc6", "telnet"]
    assert Result.from_json(kept.to_json()) == kept
    with pytest.raises(MalformedContent):
        Result.from_json({**kept.to_json(), "rows": 3})
    checkpoint = Checkpoint(resume)
    keys = {name: told["key"] for name, told in line["checks"].items()}
    assert list(checkpoint.known(line["digest"], keys)) == ["os"]
    checkpoint.close()


@pytest.mark.parametrize(
    ("value", "evidence"),
    [
        (True, None),
        (None, None),
        ([], None),
        (False, "returned False"),
        ("bad", "bad"),
        ([{"path": "/a", "n": 1}, {"path": "/b"}], "path=/a n=1; path=/b"),
        (["x"] * 7, "x; x; x; x; x; and 2 more"),
    ],
)
def test_rules_of_functions(names: list[str], value: Any, evidence: str | None) -> None:
    own = didlab.rule(didlab.check(layers=False)(lambda image: value), "low", name="own")
    frame = didlab.policy(names[1], own, trust_env=False)
    assert frame["rule"].tolist() == ["own"]
    assert frame["severity"].tolist() == ["low"]
    assert frame["passed"].tolist() == [evidence is None]
    assert frame["evidence"].tolist() == [evidence] or pd.isna(frame["evidence"][0])


def test_rules_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[[rule]]\nname = "no-root"\n\n'
        '[[rule]]\nname = "max-size"\nas = "not too large"\nseverity = "high"\nsize = "1 GB"\n'
    )
    for given in (path, str(path)):
        first, second = load(given)
        assert (first.name, first.severity) == ("no-root", "high")
        assert (second.name, second.severity) == ("not too large", "high")
        assert second.options == {"size": "1 GB"}
    for text, says in (
        ("", "no \\[\\[rule"),
        ("rule = 5", "tables"),
        ("[[rule]]\nname = 5", "has no name"),
        ('[[rule]]\nname = "nope"', "no rule nope"),
        ('[[rule]]\nname = "max-size"', "max-size.*size"),
        ('[[rule]]\nname = "no-root"\nseverity = "dire"', "dire"),
        ("[[rule", "policy.toml"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            load(path)
    with pytest.raises(PathNotFound):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "make",
    [
        lambda: didlab.rule("nope"),
        lambda: didlab.rule("max-size"),
        lambda: didlab.rule("max-size", size="large"),
        lambda: didlab.rule("max-size", size=-1),
        lambda: didlab.rule("max-age", days=True),
        lambda: didlab.rule("no-root", what=1),
        lambda: didlab.rule("no-secrets", least="dire"),
        lambda: didlab.rule("base-in", bases=[]),
        lambda: didlab.rule("no-root", "dire"),
        lambda: didlab.rule(lambda image: True, days=1),
        lambda: didlab.policy("127.0.0.1:1/a:1", []),
        lambda: didlab.policy("127.0.0.1:1/a:1", 5),
    ],
)
def test_nonsense_is_refused_at_once(make: Any) -> None:
    with pytest.raises(InvalidArgument):
        make()


def test_sizes() -> None:
    for text, size in (("500 MB", 500_000_000), ("1.5GiB", 1610612736), ("7", 7), ("2 kB", 2000)):
        assert _bytes(text) == size
