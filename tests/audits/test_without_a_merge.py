"""Audits that look single paths up say what they say of the merged file system."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from rig.images import Member, make_image, make_tar, write_layout

import didlab
from didlab.errors import DidlabError
from didlab.model.indexing import Manner
from didlab.model.inside import Layers

_FILES = [
    "var/lib/dpkg/status",
    "etc/os-release",
    "usr/lib/os-release",
    "etc/passwd",
    "etc/shadow",
    "app/node_modules/a/package.json",
    "root/id_rsa",
]
#: Their folders, and what may lead there.
_FOLDERS = ["var", "var/lib", "var/lib/dpkg", "etc", "usr/lib", "usr/etc", "app", "lib", "root"]
_LINKS = ["/etc", "usr/etc", "../usr/lib/os-release", "/usr/lib", "/app", "/var/lib/dpkg/status"]

Layer = list[tuple[str, Member]]


def _content(path: str, version: int) -> bytes:
    name = path.rpartition("/")[2]
    if name == "status":
        names = ["base", *(["more"] if version % 2 else [])]
        return "".join(
            f"Package: {one}\nStatus: install ok installed\nVersion: {version // 2}\n"
            f"Architecture: all\n\n"
            for one in names
        ).encode()
    if name == "os-release":
        return b"ID=debian\nVERSION_ID=%d\n" % (10 + version)
    if name == "passwd":
        return b"root:x:0:0::/root:/bin/sh\nu%d:x:%d:7::/:\n" % (version % 2, version)
    if name == "shadow":
        return b"root:*:1::::::\nu0:%s:1::::::\n" % (b"!", b"", b"$6$x$y", b"*")[version]
    if name == "package.json":
        return b'{"name": "a", "version": "1.%d.0"}' % version
    body = b"%d" % version * 64 + b"\n"
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"-----END OPENSSH PRIVATE KEY-----\n"


@st.composite
def _member(draw: st.DrawFn) -> tuple[str, Member]:
    kind = draw(st.sampled_from("ffffffffddwwwossl"))
    path = draw(st.sampled_from(_FILES))
    folder = draw(st.sampled_from(_FOLDERS))
    entry = tarfile.TarInfo()
    match kind:
        case "d":
            entry.type = tarfile.DIRTYPE
            return folder, entry
        case "w":
            gone = draw(st.sampled_from([path, folder]))
            parent, slash, name = gone.rpartition("/")
            return f"{parent}{slash}.wh.{name}", b""
        case "o":
            return f"{folder}/.wh..wh..opq", b""
        case "s":
            entry.type, entry.linkname = tarfile.SYMTYPE, draw(st.sampled_from(_LINKS))
            return draw(st.sampled_from([folder, path])), entry
        case "l":
            entry.type, entry.linkname = tarfile.LNKTYPE, draw(st.sampled_from(_FILES))
            return path, entry
    return path, _content(path, draw(st.integers(0, 3)))


_STACKS = st.lists(st.lists(_member(), min_size=2, max_size=7), min_size=2, max_size=4)


def said(m: didlab.Manifest) -> dict[str, Any]:
    """What audits say of an image; the kind of an error where they do not."""
    found: dict[str, Any] = {}
    for name in ("packages", "os", "users", "secrets"):
        try:
            answer = getattr(m, name)()
        except DidlabError as error:
            found[name] = type(error).__name__
            continue
        found[name] = answer if name == "os" else answer.astype(object).fillna("").values.tolist()
    return found


def test_as_of_the_merged_file_system(tmp_path_factory: pytest.TempPathFactory) -> None:
    ways: Counter[str] = Counter()

    @settings(
        max_examples=200,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(stack=_STACKS)
    def compare(stack: Sequence[Layer]) -> None:
        lines = (f"{number}: {name}" for number, one in enumerate(stack) for name, _ in one)
        note("\n".join(lines))
        image = make_image([make_tar(layer) for layer in stack], compress=False)
        layout = write_layout(tmp_path_factory.mktemp("stack") / "layout", {"1": image})
        ways[compared(f"oci:{layout}:1")] += 1

    compare()
    # Or this says little.
    assert ways["looked up"] > 40, ways
    assert ways["merged"] > 20, ways


def compared(name: str) -> str:
    """Ask in both ways; return which one was taken where nobody says."""
    m = didlab.open(name)
    standing = m._layers(Manner(False)).standing()
    quick = said(m)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layers, "standing", lambda _: None)
        slow = said(didlab.open(name))
    try:
        m.files()
    except DidlabError:
        # Nobody unpacks it. What can be said of its packages all the same may be said.
        if standing is not None:
            return "not to be merged"
    assert quick == slow
    if standing is None:
        return "merged"
    return "looked up" if quick["packages"] or quick["secrets"] else "nothing to say"
