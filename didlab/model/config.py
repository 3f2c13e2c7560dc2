"""The image config as users hold it: a read-only mapping with the usual fields at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from types import MappingProxyType
from typing import Any

from didlab.oci.config import ImageConfig
from didlab.oci.digest import of
from didlab.views import cards, text


class Config(Mapping[str, Any]):
    """An image's config: a read-only mapping over its JSON (OCI image specification, config).

    All attributes are free: the bytes are in memory. Keys are those of the JSON
    (``config["rootfs"]["diff_ids"]``); attributes are the fields that people ask for.

    Attributes
    ----------
    raw : bytes
        The config as received; its digest is the image ID.
    env, labels : Mapping[str, str]
        Environment variables, and labels.
    entrypoint, cmd : tuple of str
        Empty where not set.
    created : datetime or None
        Aware, UTC; None where missing or impossible.
    """

    __slots__ = ("_inner", "_json")

    def __init__(self, config: ImageConfig) -> None:
        self._inner = config
        self._json: dict[str, Any] = config.json

    # --- mapping -----------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        # A copy: whoever changes it changes nothing here.
        return deepcopy(self._json[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._json)

    def __len__(self) -> int:
        return len(self._json)

    def __bool__(self) -> bool:
        return True

    def __hash__(self) -> int:
        return hash(self._inner.raw)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self._inner.raw == other._inner.raw
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._inner.raw,)

    # --- fields ------------------------------------------------------------------------------

    @property
    def raw(self) -> bytes:
        """The bytes as received."""
        return self._inner.raw

    @property
    def image_id(self) -> str:
        """The digest of the bytes: what Docker calls the image ID."""
        return of(self._inner.raw)

    @property
    def env(self) -> Mapping[str, str]:
        """The environment, in order; a name given twice has its last value."""
        pairs = (word.partition("=") for word in self._words("Env"))
        return MappingProxyType({name: value for name, _, value in pairs})

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels."""
        labels = self._mapping("Labels")
        return MappingProxyType({name: _text(value) for name, value in labels.items()})

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """The entrypoint; empty where not set."""
        return self._words("Entrypoint")

    @property
    def cmd(self) -> tuple[str, ...]:
        """The command; empty where not set."""
        return self._words("Cmd")

    @property
    def user(self) -> str:
        """The user; empty means root."""
        return str(self._section("User") or "")

    @property
    def working_dir(self) -> str:
        """The working directory; empty where not set."""
        return str(self._section("WorkingDir") or "")

    @property
    def exposed_ports(self) -> tuple[str, ...]:
        """The exposed ports, as ``80/tcp``."""
        return tuple(self._mapping("ExposedPorts"))

    @property
    def volumes(self) -> tuple[str, ...]:
        """The paths of volumes."""
        return tuple(self._mapping("Volumes"))

    @property
    def stop_signal(self) -> str:
        """The stop signal; empty where not set."""
        return str(self._section("StopSignal") or "")

    @property
    def healthcheck(self) -> Mapping[str, Any] | None:
        """Docker's health check, or None."""
        value = self._section("Healthcheck")
        return deepcopy(value) if isinstance(value, dict) else None

    @property
    def os(self) -> str:
        """The operating system."""
        return self._inner.os

    @property
    def architecture(self) -> str:
        """The architecture, in Go's words."""
        return self._inner.architecture

    @property
    def variant(self) -> str:
        """The architecture's variant; empty where not set."""
        return self._inner.variant or ""

    @property
    def created(self) -> datetime | None:
        """When the image was made: aware, UTC."""
        return self._inner.created

    @property
    def author(self) -> str:
        """The author; empty where not set."""
        return str(self._json.get("author") or "")

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the uncompressed layers, base first."""
        return self._inner.diff_ids

    # --- look --------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return text.config(self._facts())

    def _repr_html_(self) -> str:
        return cards.config({**self._facts(), "json": self._json, "image_id": self.image_id})

    def _ipython_key_completions_(self) -> list[str]:
        return [str(key) for key in self._json]

    def as_json(self) -> Any:
        """Return JupyterLab's own JSON viewer over this config."""
        from IPython.display import JSON

        viewer: Any = JSON
        return viewer(self._json, expanded=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON as plain dicts and lists, a copy."""
        copy: dict[str, Any] = json.loads(self._inner.raw)
        return copy

    def _facts(self) -> dict[str, Any]:
        return {
            "platform": "/".join(p for p in (self.os, self.architecture, self.variant) if p),
            "created": self.created,
            "entrypoint": self.entrypoint,
            "cmd": self.cmd,
            "user": self.user,
            "env": dict(self.env),
            "labels": dict(self.labels),
            "working_dir": self.working_dir,
            "ports": self.exposed_ports,
            "volumes": self.volumes,
            "layers": len(self.diff_ids),
        }

    # --- reading -----------------------------------------------------------------------------

    def _section(self, name: str) -> Any:
        return self._inner.runtime.get(name)

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = self._section(name)
        return value if isinstance(value, dict) else {}

    def _words(self, name: str) -> tuple[str, ...]:
        value = self._section(name)
        if isinstance(value, str):
            return (value,)
        return tuple(_text(word) for word in value) if isinstance(value, list) else ()


def _text(value: object) -> str:
    # No engine takes anything but text here; what is something else is shown as it stands.
    return value if isinstance(value, str) else json.dumps(value)


def _restore(raw: bytes) -> Config:
    from didlab.oci.config import parse

    return Config(parse(raw))
