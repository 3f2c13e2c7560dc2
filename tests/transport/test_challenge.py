"""WWW-Authenticate as real registries, and hostile ones, send it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab import errors
from didlab.transport import challenge
from didlab.transport.challenge import Challenge

_REALM = "https://auth.example/token"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        ([" , ,"], []),
        (["Basic"], [("basic", {})]),
        (['Basic realm="Registry Realm"'], [("basic", {"realm": "Registry Realm"})]),
        (
            [f'Bearer realm="{_REALM}",service="registry.docker.io",scope="repository:a/b:pull"'],
            [
                (
                    "bearer",
                    {
                        "realm": _REALM,
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull",
                    },
                )
            ],
        ),
        # A comma inside quotes belongs to the value.
        (
            ['Bearer scope="repository:a:pull,push", realm="x"'],
            [("bearer", {"scope": "repository:a:pull,push", "realm": "x"})],
        ),
        # nvcr.io: no service.
        (
            [f'Bearer realm="{_REALM}",scope="x"'],
            [("bearer", {"realm": _REALM, "scope": "x"})],
        ),
        (['BEARER Realm = "x" , SERVICE="y"'], [("bearer", {"realm": "x", "service": "y"})]),
        (
            ['Basic realm="a", Bearer realm="b",scope=""'],
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "scope": ""})],
        ),
        (
            ['Basic realm="a"', 'Bearer realm="b"'],
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
        ),
        (["Negotiate", "NTLM, Basic"], [("negotiate", {}), ("ntlm", {}), ("basic", {})]),
        (
            ['Negotiate YII+/a~-._==, Basic realm="a"'],
            [("negotiate", {}), ("basic", {"realm": "a"})],
        ),
        (["Negotiate abc"], [("negotiate", {})]),
        ([f"Bearer realm={_REALM},service=x"], [("bearer", {"realm": _REALM, "service": "x"})]),
        (['Bearer realm="a" service="b"'], [("bearer", {"realm": "a", "service": "b"})]),
        ([',Bearer realm="a",,service="b",'], [("bearer", {"realm": "a", "service": "b"})]),
        (['Bearer realm="first", realm="second"'], [("bearer", {"realm": "first"})]),
        ([r'Basic realm="a\"b\\c\d"'], [("basic", {"realm": 'a"b\\cd'})]),
        (['Basic realm="é\tx"'], [("basic", {"realm": "é\tx"})]),
    ],
)
def test_parse(values: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert challenge.parse(values) == [Challenge(*each) for each in expected]


@pytest.mark.parametrize(
    "value",
    [
        'Bearer realm="x',
        'Bearer realm="x\\',
        'Bearer realm="x\\"',
        'Bearer realm=x"y"',
        'Bearer "x"',
        'realm="x"',
        'Bearer realm="a\r\nX-Evil: 1"',
        'Bearer realm="a\x00"',
        'Bearer realm="a\\\n"',
        "Bearer\nrealm=x",
        "<html>",
        "Bearér x",
        'Bearer realm="' + "x" * challenge.MAX_CHALLENGE + '"',
    ],
)
def test_parse_refuses(value: str) -> None:
    with pytest.raises(errors.BadHeader):
        challenge.parse([value])


def test_the_limit_holds_for_all_headers_together() -> None:
    line = 'Basic realm="x"'
    assert len(challenge.parse([line] * (challenge.MAX_CHALLENGE // len(line)))) > 500
    with pytest.raises(errors.BadHeader):
        challenge.parse([line] * (challenge.MAX_CHALLENGE // len(line) + 1))


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        (['Basic realm="a", Bearer realm="b"'], "bearer"),
        (['Bearer realm="b"', 'Basic realm="a"'], "bearer"),
        (['Bearer service="b"', 'Basic realm="a"'], "basic"),
        (['Bearer realm=""', "Basic"], "basic"),
        (['Negotiate, Digest realm="x"', "Basic"], "basic"),
        (["Negotiate"], None),
        (["Bearer"], None),
        ([], None),
    ],
)
def test_choose(values: list[str], scheme: str | None) -> None:
    chosen = challenge.choose(challenge.parse(values))
    assert (chosen and chosen.scheme) == scheme


def test_realm() -> None:
    assert Challenge("bearer", {"realm": "x"}).realm == "x"
    assert Challenge("bearer").realm is None
    assert len({Challenge("bearer"), Challenge("bearer")}) == 1


_pieces = st.one_of(
    st.sampled_from(
        ["Bearer", "Basic ", "realm", "=", '"', "\\", ",", " ", "\t", "a==", '"x"', "é", "\n"]
    ),
    st.text(max_size=3),
)


@given(st.lists(st.lists(_pieces, max_size=25).map("".join), max_size=3))
@settings(max_examples=500, deadline=None)
def test_anything_gives_challenges_or_a_typed_error(values: list[str]) -> None:
    try:
        found = challenge.parse(values)
    except errors.BadHeader:
        return
    for each in found:
        assert each.scheme == each.scheme.lower()
        assert each.scheme.isascii()
        for name, value in each.parameters.items():
            assert name.isascii()
            assert not set(value) & set("\r\n\0")


_value = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope", "error"]), _value))
@settings(deadline=None)
def test_quoting_round_trips(parameters: dict[str, str]) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    line = "Bearer " + ", ".join(f"{name}={quote(value)}" for name, value in parameters.items())
    assert challenge.parse([line]) == [Challenge("bearer", parameters)]
