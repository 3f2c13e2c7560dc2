"""The tree of errors: what its docstring says, what the classes are, and that they travel."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest

from didlab import errors
from didlab.errors import DidlabError, printable

CLASSES: list[type[DidlabError]] = [
    value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, DidlabError)
]
LEAVES = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def documented() -> dict[str, tuple[str, str | None]]:
    """Name -> (its parent, the builtin in brackets), as drawn in the docstring."""
    found: dict[str, tuple[str, str | None]] = {}
    stack: list[tuple[int, str]] = []
    doc = errors.__doc__ or ""
    for line in doc.splitlines():
        drawn = re.match(r"^( *(?:[│ ]+)?(?:├── |└── )?)([A-Z]\w+.*)$", line)
        if drawn is None or not line.startswith("    "):
            continue
        depth = len(drawn[1])
        names = re.match(r"\w+(?: \((\w+)\))?(?: · \w+(?: \(\w+\))?)*", drawn[2])
        assert names is not None
        while stack and stack[-1][0] >= depth:
            stack.pop()
        parent = stack[-1][1] if stack else ""
        for part in names[0].split(" · "):
            name, _, builtin = part.partition(" (")
            found[name] = (parent, builtin.rstrip(")") or None)
        stack.append((depth, re.split(r"\W", names[0])[0]))
    return found


TREE = documented()


def test_the_tree_in_the_docstring_has_every_class() -> None:
    assert set(TREE) == {cls.__name__ for cls in CLASSES}
    assert len(TREE) >= 40


@LEAVES
def test_the_tree_in_the_docstring_is_right(cls: type[DidlabError]) -> None:
    parent, builtin = TREE[cls.__name__]
    own = [base.__name__ for base in cls.__bases__]
    if cls is DidlabError:
        assert parent == ""
        assert own == ["Exception"]
        return
    assert own[0] == parent
    if builtin is not None:
        assert builtin in own
    assert set(own[1:]) <= {builtin}


def test_all_names_every_class() -> None:
    assert set(errors.__all__) == {cls.__name__ for cls in CLASSES}
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidReference", ValueError),
        ("InvalidArgument", ValueError),
        ("Unsupported", NotImplementedError),
        ("ConfigError", ValueError),
        ("HelperError", ValueError),
        ("AuthRequired", PermissionError),
        ("AuthDenied", PermissionError),
        ("RealmRefused", PermissionError),
        ("TokenInvalid", PermissionError),
        ("RepositoryNotFound", KeyError),
        ("ManifestNotFound", KeyError),
        ("BlobNotFound", KeyError),
        ("PlatformNotFound", KeyError),
        ("LayerNotFound", KeyError),
        ("LayerNotFound", IndexError),
        ("ConnectFailed", ConnectionError),
        ("TlsFailed", ConnectionError),
        ("ProxyError", ConnectionError),
        ("TimedOut", TimeoutError),
        ("Truncated", ConnectionError),
        ("RateLimited", ConnectionError),
        ("ServerError", ConnectionError),
        ("DigestMismatch", ValueError),
        ("SizeMismatch", ValueError),
        ("ManifestInvalid", ValueError),
        ("ConfigInvalid", ValueError),
        ("NotAnImage", ValueError),
        ("DiskFull", OSError),
        ("WriteFailed", OSError),
        ("DestinationExists", FileExistsError),
    ],
)
def test_code_that_knows_builtins_only_catches_them(name: str, builtin: type[Exception]) -> None:
    cls = getattr(errors, name)
    with pytest.raises(builtin):
        raise cls("it happened")


FIELDS: dict[str, Any] = {
    "hint": "do this",
    "host": "r.example",
    "reference": "r.example/a:1",
    "available": ("linux/amd64", "linux/arm64"),
    "expected": "sha256:a",
    "actual": "sha256:b",
    "status": 503,
    "limit": 100,
    "resets": datetime(2024, 2, 29, tzinfo=UTC),
    "path": "/tmp/x",
    "needed": 2**40,
}


@LEAVES
def test_every_error_travels(cls: type[DidlabError]) -> None:
    error = cls("it happened at r.example", **FIELDS)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is cls
        assert str(again) == str(error) == "it happened at r.example (do this)"
        assert again.message == error.message
        assert again.fields() == error.fields() == FIELDS
        for name, value in FIELDS.items():
            assert getattr(again, name) == value
    copied = copy.copy(error)
    assert copied.fields() == FIELDS
    assert str(copied) == str(error)


@LEAVES
def test_a_bare_error_has_all_its_fields(cls: type[DidlabError]) -> None:
    error = cls("it happened")
    assert str(error) == "it happened"
    assert error.hint is error.host is error.reference is None
    assert isinstance(cls.retryable, bool)
    for base in cls.__mro__:
        for name, value in vars(base).get("defaults", {}).items():
            assert getattr(error, name) == value
    # Declared for type checkers and there at run time: the same names.
    declared = {
        name
        for base in cls.__mro__
        if base.__module__ == errors.__name__
        for name, kind in inspect.get_annotations(base).items()
        if "ClassVar" not in str(kind)
    }
    for name in declared:
        assert hasattr(error, name), name
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "it happened"


@LEAVES
def test_every_class_says_what_it_means(cls: type[DidlabError]) -> None:
    assert cls.__doc__
    assert cls.__doc__ != cls.__base__.__doc__  # type: ignore[union-attr]


@LEAVES
def test_one_line_in_a_traceback(cls: type[DidlabError]) -> None:
    # KeyError shows its message in quotes, OSError an errno: not these.
    try:
        raise cls("a 'quoted' thing", hint="try 'that'")
    except DidlabError as error:
        (line,) = traceback.format_exception_only(error)
    assert line.endswith(f"{cls.__name__}: a 'quoted' thing (try 'that')\n")


@LEAVES
def test_remote_text_has_no_powers(cls: type[DidlabError]) -> None:
    error = cls("a\x1b[31m\nb\u202e\ud800", hint="\x1b]8;;x\x07\u2028")
    text = str(error)
    assert text == "a\\x1b[31m\\x0ab\\u202e\\ud800 (\\x1b]8;;x\\x07\\u2028)"
    text.encode()
    repr(error).encode()
    assert str(pickle.loads(pickle.dumps(error))) == text
    assert len(str(cls("x" * 10**6, hint="y" * 10**6))) < 4100


def test_which_errors_may_pass_by_themselves() -> None:
    passing = {cls.__name__ for cls in CLASSES if cls.retryable}
    assert {"TimedOut", "Truncated", "ServerError", "RateLimited", "ConnectFailed"} <= passing
    assert passing.isdisjoint(
        {"TlsFailed", "TooManyRedirects", "OriginRefused", "AuthDenied", "DigestMismatch"}
    )


@pytest.mark.parametrize("char", [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))], ids=ascii)
def test_no_control_character_is_printed(char: str) -> None:
    assert printable(f"a{char}b") == f"a\\x{ord(char):02x}b"


@pytest.mark.parametrize(
    "code",
    [
        0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065),
        *range(0x2066, 0x206A), 0x2028, 0x2029, 0xFEFF, 0xD800, 0xDFFF,
    ],
)  # fmt: skip
def test_no_character_that_hides_or_turns_text_is_printed(code: int) -> None:
    assert printable(f"a{chr(code)}b") == f"a\\u{code:04x}b"


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        (0xAD, r"\xad"),
        (0xE0000, r"\U000e0000"),
        (0xE0001, r"\U000e0001"),
        (0xE0041, r"\U000e0041"),
        (0xE007F, r"\U000e007f"),
    ],
)
def test_what_hides_has_the_escape_of_its_length(code: int, shown: str) -> None:
    assert printable(f"a{chr(code)}b") == f"a{shown}b"
    assert eval(f"'{shown}'") == chr(code)


def test_other_text_is_printed_as_it_is() -> None:
    beside = "\u00ac\u00ae\u180d\u180f\u205f\u2065\U000dffff\U000e0080"
    for text in ("plain", "grüße ☃ 你好 🐳", "back\\slash", "", "<b>", beside):
        assert printable(text) == text
    assert printable(5) == "5"
    assert printable("x" * 501) == "x" * 499 + "…"
    assert printable("x" * 500) == "x" * 500
    assert printable("abc", 2) == "a…"
