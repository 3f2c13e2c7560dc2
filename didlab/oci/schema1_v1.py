"""The version 1 image of Docker's structs: read, and written again as they are.

What the structs do not know is lost on the way, what is missing gets its zero value
(moby v24: ``image.V1Image``, ``container.Config``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from didlab import errors
from didlab.oci import gojson
from didlab.oci.fields import Members, Names

__all__ = ["moment", "reencode", "words"]

#: Go's zero time.
_NEVER = "0001-01-01T00:00:00Z"

_CONFIG_NAMES = Names(
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin "
    "StdinOnce Env Cmd Healthcheck ArgsEscaped Image Volumes WorkingDir Entrypoint "
    "NetworkDisabled MacAddress OnBuild Labels StopSignal StopTimeout Shell"
)
_HEALTH_NAMES = Names("Test Interval Timeout StartPeriod Retries")


def reencode(document: dict[str, Any], where: str) -> dict[str, str]:
    """Return the members of an image, each as JSON; without those that a config never has."""
    image = Members(document, where, errors.ManifestInvalid)
    made = {"created": gojson.string(moment(image))}
    for key in (
        "comment", "container", "docker_version", "author", "architecture", "variant", "os",
    ):  # fmt: skip
        if text := image.text(key):
            made[key] = gojson.string(text)
    made["container_config"] = _config(image, "container_config")
    if image.raw("config") is not None:
        made["config"] = _config(image, "config")
    return made


def moment(image: Members) -> str:
    """Return when an image, or a step of one, was made, as Go writes it."""
    text = image.text("created")
    if text is None:
        return _NEVER
    made = gojson.time(text)
    if made is None:
        image.refuse_member("created", "is no time")
    return made


def words(members: Members, key: str) -> list[str] | None:
    """Return a command: a list of texts, one text, or None where it is not set."""
    value = members.raw(key)
    return [value] if isinstance(value, str) else _texts(members, key)


def _config(image: Members, key: str) -> str:
    value = image.raw(key)
    config = Members(
        {} if value is None else value, image.path(key), errors.ManifestInvalid, _CONFIG_NAMES
    )
    fields: list[tuple[str, str | None]] = []

    def add(names: str, encoded: Callable[[Members, str], str | None]) -> None:
        fields.extend((name, encoded(config, name)) for name in names.split())

    add("Hostname Domainname User", _text)
    add("AttachStdin AttachStdout AttachStderr", _flag)
    add("ExposedPorts", _or_nothing(_set))
    add("Tty OpenStdin StdinOnce", _flag)
    add("Env", _list)
    add("Cmd", _command)
    add("Healthcheck", _health)
    add("ArgsEscaped", _or_nothing(_flag))
    add("Image", _text)
    add("Volumes", _set)
    add("WorkingDir", _text)
    add("Entrypoint", _command)
    add("NetworkDisabled", _or_nothing(_flag))
    add("MacAddress", _or_nothing(_text))
    add("OnBuild", _list)
    add("Labels", _labels)
    add("StopSignal", _or_nothing(_text))
    add("StopTimeout", lambda members, name: _number(members, name, zero=None))
    add("Shell", _or_nothing(_command))
    return _present(fields)


def _present(fields: Iterable[tuple[str, str | None]]) -> str:
    return gojson.obj((name, value) for name, value in fields if value is not None)


def _or_nothing(encoded: Callable[[Members, str], str]) -> Callable[[Members, str], str | None]:
    """Leave out what is empty (Go's ``omitempty``)."""
    empty = {'""', "false", "null", "[]", "{}", "0"}

    def made(members: Members, name: str) -> str | None:
        value = encoded(members, name)
        return None if value in empty else value

    return made


def _text(members: Members, name: str) -> str:
    return gojson.string(members.text(name) or "")


def _flag(members: Members, name: str) -> str:
    return "true" if members.flag(name) else "false"


def _number(members: Members, name: str, zero: str | None = "0") -> str | None:
    value = members.raw(name)
    if value is None:
        return zero
    if type(value) is not int or not -(2**63) <= value < 2**63:
        members.refuse_member(name, "is no whole number")
    return str(value)


def _texts(members: Members, name: str) -> list[str] | None:
    if members.raw(name) is None:
        return None
    found = []
    for at, value in enumerate(members.array(name)):
        if value is not None and not isinstance(value, str):
            members.refuse_member(f"{name}[{at}]", "is no text")
        found.append(value or "")
    return found


def _encoded(values: list[str] | None) -> str:
    return "null" if values is None else gojson.array(map(gojson.string, values))


def _list(members: Members, name: str) -> str:
    return _encoded(_texts(members, name))


def _command(members: Members, name: str) -> str:
    return _encoded(words(members, name))


def _mapping(members: Members, name: str) -> dict[str, Any] | None:
    value = members.raw(name)
    if value is None:
        return None
    Members(value, members.path(name), errors.ManifestInvalid)  # an object
    assert isinstance(value, dict)
    return value


def _set(members: Members, name: str) -> str:
    """Return a set: the keys of an object whose values are empty objects."""
    found = _mapping(members, name)
    if found is None:
        return "null"
    for key, value in found.items():
        if value is not None and not isinstance(value, dict):
            members.refuse_member(name, "has a value that is no object", key)
    return gojson.obj((key, "{}") for key in sorted(found))


def _labels(members: Members, name: str) -> str:
    found = _mapping(members, name)
    if found is None:
        return "null"
    for key, value in found.items():
        if value is not None and not isinstance(value, str):
            members.refuse_member(name, "has a value that is no text", key)
    return gojson.obj((key, gojson.string(found[key] or "")) for key in sorted(found))


def _health(members: Members, name: str) -> str | None:
    value = members.raw(name)
    if value is None:
        return None
    health = Members(value, members.path(name), errors.ManifestInvalid, _HEALTH_NAMES)
    fields = [("Test", _or_nothing(_list)(health, "Test"))]
    for key in ("Interval", "Timeout", "StartPeriod", "Retries"):
        number = _number(health, key)
        fields.append((key, None if number == "0" else number))
    return _present(fields)
