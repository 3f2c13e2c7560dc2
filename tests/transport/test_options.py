"""Options that cannot be meant that way are refused when they are given, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import didlab
from didlab import errors
from didlab.transport import failures, urls
from didlab.transport.options import make
from didlab.transport.secret import Secret

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", "5"),
        ("timeout", (1, 2, 3)),
        ("timeout", ()),
        ("timeout", ("1", "2")),
        ("timeout", True),
        ("timeout", float("nan")),
        ("timeout", 0),
        ("mirrors", [5]),
        ("mirrors", 5),
        ("mirrors", b"https://m.example"),
        ("proxy", 5),
        ("proxy", b"http://p"),
        ("insecure", [5]),
        ("insecure", 5),
        ("insecure", "yes"),
        ("insecure", "true"),
        ("insecure", ["No"]),
        ("insecure", "https://r.example"),
        ("insecure", ""),
        ("auth_hosts", [5]),
        ("auth_hosts", 5),
        ("auth_hosts", ["a/b"]),
        ("auth_hosts", ["https://a"]),
        ("ca", 5),
        ("ca", b"x"),
        ("ca", "a\0b"),
        ("client_cert", 5),
        ("client_cert", (5, 5)),
        ("trust_env", "no"),
        ("trust_env", 1),
        ("offline", "no"),
        ("offline", 0),
        ("token", ""),
        ("token", " \n"),
        ("token", "a\nb"),
        ("token", "Bearer abc"),
        ("token", "ä"),
        ("token", 5),
        ("token", Secret("a\0")),
    ],
)
def test_what_no_option_takes(option: str, value: Any) -> None:
    with pytest.raises(errors.InvalidArgument, match=option):
        make(**{option: value})
    with pytest.raises(errors.InvalidArgument, match=option):
        didlab.open("registry.example/x", **({option: value} if value != () else {option: "5"}))


@pytest.mark.parametrize("name", ["username", "password"])
def test_logins_are_text_and_not_shown(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=name) as caught:
        make(**{"username": "u", "password": "p", name: 52741})
    assert "52741" not in str(caught.value)


@pytest.mark.parametrize("given", ["abc\n", " abc", Secret("abc\r\n")])
def test_a_token_is_taken_without_the_line_end_of_its_file(given: Any) -> None:
    assert make(token=given).token == Secret("abc")


def test_words_for_insecure_come_with_a_hint() -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        make(insecure="true")
    assert "insecure=True" in str(caught.value.hint)


@pytest.mark.parametrize("entry", ["r.example:5000", "[::1]:5000", "::1", "LOCALHOST", "my_host"])
def test_hosts_for_insecure(entry: str) -> None:
    assert make(insecure=entry).insecure == (entry.lower(),)


def test_insecure_names_ipv6_hosts_as_they_are_written() -> None:
    options = make(insecure="[fd00::1]:5000")
    assert options.is_insecure("fd00::1", 5000, registry=True)
    assert not options.is_insecure("fd00::1", 5001, registry=True)


@pytest.mark.parametrize(
    ("query", "fine"), [("", True), ("?ns=docker.io", True), ("?x=1", False), ("?ns=a&x", False)]
)
def test_queries_of_mirrors(query: str, fine: bool) -> None:
    address = f"https://m.example/docker.io{query}"
    if fine:
        assert make(mirrors=address).mirrors == (address,)
        return
    with pytest.raises(errors.InvalidArgument, match="query") as caught:
        make(mirrors=address)
    assert "x" not in str(caught.value).replace("m.example", "")


def test_a_file_without_a_certificate(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for text, fine in (
        ("", False),
        ("-----BEGIN PRIVATE KEY-----\n", False),
        ("# comment\n-----BEGIN CERTIFICATE-----\n", True),
        ("-----BEGIN TRUSTED CERTIFICATE-----\n", True),
    ):
        file.write_text(text)
        if fine:
            assert make(ca=file).ca == str(file)
            continue
        with pytest.raises(errors.InvalidArgument, match="without a certificate"):
            make(ca=file)


@pytest.mark.parametrize("value", ["a\nb", "☃"])
def test_a_header_of_our_own_does_not_blame_the_registry(value: str) -> None:
    import requests

    origin = urls.split("https://r.example").origin
    with pytest.raises((requests.RequestException, UnicodeError, ValueError)) as caught:
        request = requests.Request("GET", "https://r.example", headers={"X": value}).prepare()
        str(request.headers["X"]).encode("latin-1")
    found = failures.translate(caught.value, origin, proxied=False)
    assert isinstance(found, errors.InvalidArgument)
    assert value not in str(found)
