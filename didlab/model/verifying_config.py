"""The kinds that loaders, Go programs all, demand of a config's fields: one wrong, all refused.

dockerd, skopeo's ``docker-archive:`` and podman decode Docker's structure (``container.Config``
and its fellows); podman and containerd decode the OCI one (``v1.Image``). Keys match without
regard to case, null fits everything, and unknown fields may be anything. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from didlab.errors import printable
from didlab.model.findings import Findings
from didlab.oci.loaders import Odd, Reader

TEXT, FLAG, NUMBER = "a string", "true or false", "an integer"
TEXTS, WORDS = "a list of strings", "a string or a list of strings"
SET, MAP, ANY = "an object of empty objects", "an object of strings", "an object"

#: Field, in lower case -> its kind, or the fields of the object that it is.
_Kinds = Mapping[str, Any]


def _fields(**names: str) -> dict[str, str]:
    """Return the kind of each field, from the fields of each kind."""
    kinds = {"text": TEXT, "flag": FLAG, "number": NUMBER, "texts": TEXTS, "words": WORDS,
             "keys": SET, "pairs": MAP}  # fmt: skip
    return {name: kinds[kind] for kind, some in names.items() for name in some.split()}


_OCI_RUN = _fields(
    text="user workingdir stopsignal",
    flag="argsescaped",
    texts="env entrypoint cmd",
    keys="exposedports volumes",
    pairs="labels",
)
_DOCKER_RUN: _Kinds = {
    **_fields(
        text="hostname domainname user image workingdir macaddress stopsignal",
        flag="attachstdin attachstdout attachstderr tty openstdin stdinonce argsescaped "
        "networkdisabled",
        number="stoptimeout",
        texts="env onbuild",
        words="cmd entrypoint shell",
        keys="exposedports volumes",
        pairs="labels",
    ),
    "healthcheck": _fields(texts="test", number="interval timeout startperiod retries"),
}
_BOTH = {**_fields(text="author", texts="os.features"), "rootfs": _fields(text="type")}
_OCI: _Kinds = {**_BOTH, "config": _OCI_RUN}
_DOCKER: _Kinds = {
    **_BOTH,
    **_fields(text="id parent comment container docker_version", number="size"),
    "container_config": _DOCKER_RUN,
    "config": _DOCKER_RUN,
}
#: Of an item of ``manifest.json``; others are looked at when it is read.
_ITEM: _Kinds = {"parent": TEXT, "layersources": ANY}

_BY_DOCKER: tuple[Reader, ...] = ("docker", "podman", "skopeo")
_BY_OCI: tuple[Reader, ...] = ("podman", "containerd")


def odd_config(
    found: Findings, subject: str, config: Mapping[str, Any], *, docker: bool
) -> tuple[Odd, ...]:
    """Tell of the first field that each structure refuses.

    ``docker``: the image is read by ``manifest.json``.
    """
    odd = _told(found, "config", subject, config, _OCI, _BY_OCI)
    if docker:
        odd += _told(found, "config", subject, config, _DOCKER, _BY_DOCKER)
    return odd


def odd_item(found: Findings, item: Mapping[str, Any]) -> tuple[Odd, ...]:
    """Tell of a field of ``manifest.json`` that its readers refuse; containerd has not got it."""
    return _told(found, "manifest.json", "manifest.json", item, _ITEM, _BY_DOCKER)


def _told(
    found: Findings,
    check: str,
    subject: str,
    value: Mapping[str, Any],
    kinds: _Kinds,
    readers: tuple[Reader, ...],
) -> tuple[Odd, ...]:
    wrong = _wrong(value, kinds, "")
    if wrong is None:
        return ()
    where, kind = wrong
    found.check(check, subject, False, severity="warning", expected=kind, actual=where)
    return (Odd(f"{where} is not {kind}", readers),)


def _wrong(value: Mapping[str, Any], kinds: _Kinds, before: str) -> tuple[str, str] | None:
    """Return the first field that is not of its kind, and that kind."""
    for key, one in value.items():
        kind = kinds.get(key.lower())
        if kind is None or one is None:
            continue
        where = before + printable(key, 80)
        if isinstance(kind, str):
            if not _fits(one, kind):
                return where, kind
        elif not isinstance(one, dict):
            return where, ANY
        else:
            below = _wrong(one, kind, f"{where}.")
            if below is not None:
                return below
    return None


def _fits(value: object, kind: str) -> bool:
    if kind == TEXT:
        return isinstance(value, str)
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == NUMBER:
        return type(value) is int and -(2**63) <= value < 2**63
    if kind in (TEXTS, WORDS):
        if kind == WORDS and isinstance(value, str):
            return True
        return isinstance(value, list) and all(_texts(one) for one in value)
    if not isinstance(value, dict):
        return False
    if kind == SET:
        return all(one is None or isinstance(one, dict) for one in value.values())
    return kind == ANY or all(map(_texts, value.values()))


def _texts(value: object) -> bool:
    return value is None or isinstance(value, str)
