"""URLs have one reading, and addresses one class."""

import ipaddress
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab import errors
from didlab.transport import urls
from didlab.transport.urls import LINK_LOCAL, LOOPBACK, PRIVATE, PUBLIC, SPECIAL


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://r.example", "https://r.example/"),
        ("HTTPS://R.Example:443/v2/", "https://r.example/v2/"),
        ("http://r.example.:5000/a?b=c#d", "http://r.example:5000/a?b=c"),
        ("http://r.example:00080", "http://r.example/"),
        ("https://r.example?x=1", "https://r.example/?x=1"),
        ("https://[::1]:5000/v2/", "https://[::1]:5000/v2/"),
        ("https://[2001:DB8:0:0::1]/", "https://[2001:db8::1]/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://1２7.0.0.1/", "https://127.0.0.1/"),
        ("https://\u212aeep.example/", "https://keep.example/"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://my_registry:5000/", "http://my_registry:5000/"),
        ("https://r.example/a/./b/../c//d/..", "https://r.example/a/c//"),
        ("https://r.example/../../etc", "https://r.example/etc"),
        ("https://r.example/a/%2E%2e/b", "https://r.example/b"),
        ("https://r.example/a%2fb?q=%zz&@", "https://r.example/a%2fb?q=%zz&@"),
        ("https://r.example/ä?ö", "https://r.example/%C3%A4?%C3%B6"),
        ("https://r.example/a@b:c", "https://r.example/a@b:c"),
    ],
)
def test_split_normalizes(text: str, shown: str) -> None:
    url = urls.split(text)
    assert str(url) == shown
    assert urls.split(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r.example",
        "//r.example/",
        "https:r.example",
        "https:/r.example",
        "https://",
        "https:///path",
        "https://?x",
        "https://:443/",
        "file:///etc/passwd",
        "ftp://r.example/",
        "gopher://r.example/",
        "httpſ://r.example/",
        " https://r.example/",
        "https://user@r.example/",
        "https://user:secret@r.example/",
        "https://r.example@evil.example/",
        "https://r.example\\@evil.example/",
        "https://r.example\\.evil.example/",
        "https://r.example/a b",
        "https://r.example/a\tb",
        "https://r.exa\nmple/",
        "https://r.example/\r\nX-Evil: 1",
        "https://r.example/\x00",
        "https://r.example/\x7f",
        "https://r.example/\u2028",
        "https://r.example/\ud800",
        "https://r.example:0/",
        "https://r.example:65536/",
        "https://r.example:/",
        "https://r.example:+80/",
        "https://r.example:٨٠/",
        "https://r.example:8_0/",
        "https://r.example:80:80/",
        "https://r..example/",
        "https://r.example../",
        "https://.example/",
        "https://./",
        "https://-r.example/",
        "https://r.ex%61mple/",
        "https://r,example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 130 + "example/",
        "https://::1/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[fe80::1%25eth0]/",
        "https://[v1.a]/",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://r.example.09/",
        "https://r.example/" + "a" * urls.MAX_URL,
        "https://r.example/" + "ä" * (urls.MAX_URL // 2),
    ],
)
def test_split_refuses(text: str) -> None:
    with pytest.raises(errors.OriginRefused) as caught:
        urls.split(text)
    assert "secret" not in str(caught.value)


def test_message_has_neither_query_nor_password() -> None:
    with pytest.raises(errors.OriginRefused) as caught:
        urls.split("https://bob:hunter2@r.example/x?X-Signature=abc")
    assert "hunter2" not in str(caught.value)
    assert "abc" not in str(caught.value)
    assert "r.example" in str(caught.value)
    url = urls.split("https://r.example/x?X-Signature=abc")
    assert "abc" not in repr(url)
    assert url.redacted() == "https://r.example/x"


# From RFC 3986, section 5.4, with http as the base.
_RFC = {
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q",
    "g#s": "http://a/b/c/g",
    ";x": "http://a/b/c/;x",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "/./g": "http://a/g",
    "g.": "http://a/b/c/g.",
    "..g": "http://a/b/c/..g",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "https://x.example/y": "https://x.example/y",
}


@pytest.mark.parametrize(("location", "shown"), _RFC.items())
def test_join_follows_the_rfc(location: str, shown: str) -> None:
    assert str(urls.join(urls.split("http://a/b/c/d;p?q"), location)) == shown


@pytest.mark.parametrize(
    "location",
    ["file:///x", "javascript:x", "https:x", "///evil", "/\\evil", "//u@evil/", "a b", "//[::1"],
)
def test_join_refuses(location: str) -> None:
    with pytest.raises(errors.OriginRefused):
        urls.join(urls.split("https://r.example/v2/"), location)


def test_a_joined_path_never_changes_the_origin() -> None:
    base = urls.split("https://r.example/v2/")
    url = urls.join(base, "/.//evil.example/x")
    assert url.origin == base.origin
    assert urls.split(str(url)) == url


_url_text = st.text(
    alphabet=st.one_of(
        st.sampled_from("htps:/@[]\\.?#%-_:0123456789xABCé\u212a\t\n "), st.characters()
    ),
    max_size=60,
)


@given(st.one_of(_url_text, _url_text.map("https://".__add__), _url_text.map("http://r.a".__add__)))
@settings(max_examples=400, deadline=None)
def test_split_gives_a_url_or_a_typed_error(text: str) -> None:
    try:
        url = urls.split(text)
    except errors.OriginRefused:
        return
    again = str(url)
    assert urls.split(again) == url
    assert url.path.startswith("/")
    assert set(again) <= set(string.printable) - set(" \\\t\n\r\x0b\x0c#")
    # An independent reading: host and port by one regular expression.
    match = re.fullmatch(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d+))?/.*", again)
    assert match is not None
    assert match[2].strip("[]") == url.origin.host
    assert (match[3] is None) == url.origin.is_default_port


@given(_url_text)
@settings(max_examples=300, deadline=None)
def test_join_gives_a_url_or_a_typed_error(location: str) -> None:
    base = urls.split("https://r.example/v2/a?b")
    try:
        url = urls.join(base, location)
    except errors.OriginRefused:
        return
    assert urls.split(str(url)) == url


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", PUBLIC),
        ("2606:4700::1111", PUBLIC),
        ("10.0.0.1", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("172.15.255.255", PUBLIC),
        ("172.32.0.0", PUBLIC),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("100.128.0.0", PUBLIC),
        ("198.18.0.1", PRIVATE),
        ("fc00::1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("::1", LOOPBACK),
        ("169.254.169.254", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("0.0.0.0", SPECIAL),
        ("::", SPECIAL),
        ("224.0.0.1", SPECIAL),
        ("255.255.255.255", SPECIAL),
        ("240.0.0.1", SPECIAL),
        ("192.0.2.1", SPECIAL),
        ("ff02::1", SPECIAL),
        ("2001:db8::1", SPECIAL),
        ("4000::1", SPECIAL),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::ffff:8.8.8.8", PUBLIC),
        ("::127.0.0.1", LOOPBACK),
        ("64:ff9b::7f00:1", LOOPBACK),
        ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
        ("64:ff9b::808:808", PUBLIC),
        ("2002:7f00:1::", LOOPBACK),
        ("2002:a00:1::1", PRIVATE),
        ("2002:808:808::1", PUBLIC),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", LOOPBACK),  # Teredo, client 127.0.0.1
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", SPECIAL),  # Teredo, client 192.0.2.45
    ],
)
def test_address_class(address: str, expected: int) -> None:
    assert urls.address_class(address) == expected
    assert urls.host_class(address) == expected


def test_address_class_takes_addresses_only() -> None:
    with pytest.raises(errors.InvalidArgument):
        urls.address_class("127.1")


def test_classes_are_ordered_and_named() -> None:
    order = [SPECIAL, LINK_LOCAL, LOOPBACK, PRIVATE, PUBLIC]
    assert order == sorted(order)
    assert [urls.class_name(cls) for cls in order[1:4]] == ["link-local", "loopback", "private"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F000001", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("1.2.65535", "1.2.255.255"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        # Spelled with dots from Python 3.13 on.
        ("::ffff:7f00:1", str(ipaddress.ip_address("::ffff:7f00:1"))),
        ("256", "0.0.1.0"),
        ("256.1", None),
        ("1.2.65536", None),
        ("4294967296", None),
        ("08.1.1.1", None),
        ("1.2.3.4.5", None),
        ("1..2", None),
        ("", None),
        (".", None),
        ("1.2.3.4x", None),
        ("١.1.1.1", None),
        ("1_0.0.0.1", None),
        ("0x_1", None),
        ("-1", None),
        ("example.com", None),
        ("9" * 5000, None),
        ("::g", None),
    ],
)
def test_literal_address(host: str, address: str | None) -> None:
    assert urls.literal_address(host) == address


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("r.localhost", True),
        ("127.0.0.2", True),
        ("127.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("r.example", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert urls.is_loopback(host) is expected


def test_host_class_of_names() -> None:
    assert urls.host_class("localhost.") == LOOPBACK
    assert urls.host_class("a.localhost") == LOOPBACK
    assert urls.host_class("r.example") is None


def test_origin() -> None:
    origin = urls.split("https://[::1]:5000/x").origin
    assert (origin.scheme, origin.host, origin.port) == ("https", "::1", 5000)
    assert str(origin) == "https://[::1]:5000"
    assert origin.netloc == "[::1]:5000"
    assert not origin.is_default_port
    assert urls.split("http://r.example/").origin != urls.split("https://r.example/").origin
    assert urls.split("https://r.example:443/").origin == urls.split("https://R.example./").origin
