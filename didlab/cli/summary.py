"""An image on one page: facts for programs, lines for people."""

from __future__ import annotations

import json
import shutil
from typing import Any

from didlab.cli.tables import Output, Table, cut, text_lines
from didlab.errors import NotAnImage, printable
from didlab.model.config import Config
from didlab.model.converted import MARK
from didlab.model.manifest import Manifest
from didlab.oci import artifacts
from didlab.sizes import human
from didlab.views import text


def facts(image: Manifest) -> dict[str, Any]:
    """Return what ``didlab inspect --json`` shows; an artifact has its type, and no config."""
    config = _config(image)  # an image in a file has its name from now on
    kind = artifacts.type_of(image._document())
    return {
        **({} if kind is None else {"artifact_type": kind}),
        **({} if image._snapshot.conversion is None else {"note": MARK}),
        "reference": str(image.reference),
        "digest": image.digest(),
        "media_type": image.media_type(),
        "platforms": Table.of(image.platforms()).records(),
        "config": config.to_dict() if config is not None else None,
        "layers": Table.of(image.layers()).records(),
        "size": image.size(),
        "image_id": image.image_id() if config is not None else None,
    }


def _config(image: Manifest) -> Config | None:
    try:
        return image.config()
    except NotAnImage:
        return None


def fields(config: Config) -> list[tuple[str, Any]]:
    """Return a config's fields as rows; what may come several times has a row each."""
    rows: list[tuple[str, Any]] = [
        ("platform", _platform(config)),
        ("created", config.created),
        ("author", config.author),
        ("user", config.user),
        ("working_dir", config.working_dir),
        ("entrypoint", _words(config.entrypoint)),
        ("cmd", _words(config.cmd)),
        ("stop_signal", config.stop_signal),
        *(("port", port) for port in config.exposed_ports),
        *(("volume", path) for path in config.volumes),
        *(("env", f"{name}={value}") for name, value in config.env.items()),
        *(("label", f"{name}={value}") for name, value in config.labels.items()),
    ]
    if config.healthcheck is not None:
        rows.append(("healthcheck", json.dumps(config.healthcheck, ensure_ascii=False)))
    rows += (("diff_id", digest) for digest in config.diff_ids)
    return [(name, value) for name, value in rows if value not in (None, "")]


def rows(image: Manifest, found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the page as rows of field and value, without the layers."""
    names = [row["platform"] for row in found["platforms"] if row["kind"] == "image"]
    config = _config(image)
    made: list[tuple[str, Any]] = [
        ("reference", found["reference"]),
        ("digest", found["digest"]),
        ("media_type", found["media_type"]),
        ("artifact_type", _artifact(found.get("artifact_type"))),
        ("note", found.get("note")),
        ("platforms", ", ".join(names)),
        ("image_id", found["image_id"]),
        ("size", found["size"]),
    ]
    if config is not None:
        made += (row for row in fields(config) if row[0] != "diff_id")
    return [(name, value) for name, value in made if value not in (None, "")]


def page(image: Manifest, found: dict[str, Any], output: Output) -> None:
    """Write the page for people."""
    width = shutil.get_terminal_size().columns if output.person else None
    lines = []
    before = ""
    made = rows(image, found)
    platform = dict(made).get("platform")
    for name, value in made:
        shown = _shown(name, value, output.person)
        if name == "size":
            # Of an index there are as many sizes as platforms.
            about = f" for {printable(platform, 120)}" if platform else ""
            shown = f"{shown} to download{about}"
        label = "" if name == before else name.replace("_", " ")
        before = name
        line = f"{label:13}{shown}"
        # A digest is there to be copied; the terminal wraps it.
        keep = width is None or name in ("reference", "digest", "image_id")
        lines.append(line if keep or width is None else cut(line, width))
    layers = found["layers"]
    columns = ("position", "size", "digest", "created_by")
    table = Table(columns, [[layer[name] for name in columns] for layer in layers])
    lines += ["", text.count(len(layers), "layer")]
    if layers:
        lines += text_lines(table, width)
    output.lines(lines)


def _shown(name: str, value: Any, person: bool) -> str:
    if name == "size":
        return human(value) if person else str(value)
    if name == "created":
        return f"{text.moment(value)} UTC"
    return printable(value, 4000)


def _artifact(kind: str | None) -> str | None:
    return None if kind is None else artifacts.described(kind)


def _platform(config: Config) -> str:
    return "/".join(part for part in (config.os, config.architecture, config.variant) if part)


def _words(words: tuple[str, ...]) -> str:
    # As in a Dockerfile: a shell line would hide where one word ends.
    return json.dumps(list(words), ensure_ascii=False) if words else ""
