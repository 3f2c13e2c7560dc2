"""The commands that show something: each one call of the library, shown as a table."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import asdict
from typing import Any

from didlab.blobs.info import cache_info, clear_cache
from didlab.cli import connection, messages, summary
from didlab.cli.tables import Output, Table
from didlab.errors import InvalidArgument
from didlab.model import bundle, configuration
from didlab.model.images import images as list_images
from didlab.model.manifest import Manifest
from didlab.model.opening import open as open_image
from didlab.model.registry import Registry
from didlab.oci.reference import Reference
from didlab.sizes import human


def _image(args: argparse.Namespace) -> Manifest:
    platform = getattr(args, "platform", None)
    return open_image(args.reference, platform, **connection.options(args))


def platforms(args: argparse.Namespace) -> int:
    """List the platforms of an image."""
    found = Table.of(_image(args).platforms(sizes=args.sizes))
    more = ("layers", "size") if args.sizes else ()
    Output(args.shape).table(found, "platform", "kind", *more, "digest")
    return 0


def layers(args: argparse.Namespace) -> int:
    """List the layers of an image."""
    found = Table.of(_image(args).layers())
    Output(args.shape).table(found, "position", "size", "digest", "created_by")
    return 0


def images(args: argparse.Namespace) -> int:
    """List the images of an archive."""
    found = Table.of(list_images(args.path))
    Output(args.shape).table(found, "position", "name", "kind", "platform", "size", "image_id")
    return 0


def history(args: argparse.Namespace) -> int:
    """List the steps that made an image."""
    found = Table.of(_image(args).history())
    Output(args.shape).table(found, "position", "created", "layer", "size", "created_by")
    return 0


def referrers(args: argparse.Namespace) -> int:
    """List what is attached to an image."""
    found = Table.of(_image(args).referrers(args.artifact_type))
    Output(args.shape).table(found, "kind", "digest", "platform", "found", "artifact_type")
    return 0


def attestations(args: argparse.Namespace) -> int:
    """List the statements that are attached to an image, or show one."""
    if args.show is not None:
        Output(args.shape).json(_image(args).attestation(args.show).to_dict())
        return 0
    found = Table.of(_image(args).attestations())
    Output(args.shape).table(found, "kind", "size", "digest", "platform", "predicate_type")
    return 0


def config(args: argparse.Namespace) -> int:
    """Show the config of an image; as JSON it is the registry's own."""
    found = _image(args).config()
    output = Output(args.shape)
    if args.shape == "json":
        output.json(found.to_dict())
    else:
        output.table(Table(("field", "value"), summary.fields(found)))
    return 0


def inspect(args: argparse.Namespace) -> int:
    """Show an image on one page."""
    image = _image(args)
    output = Output(args.shape)
    facts = summary.facts(image)
    if args.shape == "json":
        output.json(facts)
    elif args.shape == "csv":
        output.table(Table(("field", "value"), summary.rows(image, facts)))
    else:
        summary.page(image, facts, output)
    return 0


def tags(args: argparse.Namespace) -> int:
    """List the tags of a repository."""
    reference = Reference.parse(args.repository)
    _check_not_a_registry(args.repository)
    if reference.digest is not None or reference.tag != "latest":
        raise InvalidArgument(
            f"{args.repository!r} is more than a repository's name",
            hint=f"write {reference.with_tag('latest').familiar()}",
        )
    repository = Registry(reference.registry, **connection.options(args))[reference.repository]
    found = repository.tags(details=args.details)
    more = ("created", "size", "digest", "platforms") if args.details else ()
    Output(args.shape).table(Table.of(found), "tag", *more)
    broken: dict[str, str] = found.attrs.get("errors", {})
    if broken and not args.quiet:
        first = next(iter(broken))
        many = f"{len(broken)} tags" if len(broken) > 1 else "1 tag"
        messages.say(f"warning: {many} could not be read, first {first}: {broken[first]}")
    return 0


def _check_not_a_registry(text: str) -> None:
    """Refuse ``127.0.0.1:5000``, which reads as an image 127.0.0.1 at Docker Hub."""
    name, _, port = text.rpartition(":")
    host = name if name and port.isdigit() else text
    if "/" not in text and (host == "localhost" or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host)):
        raise InvalidArgument(
            f"{text!r} is a registry, not a repository",
            hint=f"write {text}/NAME; didlab repositories {text} lists the names",
        )


def repositories(args: argparse.Namespace) -> int:
    """List the repositories of a registry."""
    found = Registry(args.registry, **connection.options(args)).repositories()
    Output(args.shape).table(Table.of(found), "repository")
    return 0


def show_config(args: argparse.Namespace) -> int:
    """Show what holds for a registry."""
    found = configuration.show_config(args.registry, ask_helpers=args.ask_helpers)
    Output(args.shape).table(Table.of(found))
    return 0


def plan(args: argparse.Namespace) -> int:
    """List what a save would download; the sum goes to stderr, for people."""
    found = Table.of(
        bundle.plan(args.references, platform=args.platform, **connection.options(args))
    )
    Output(args.shape).table(found, "kind", "size", "stored", "digest", "images")
    if args.shape == "text" and not args.quiet and connection.at_terminal(sys.stderr):
        rows = found.records()
        together = sum(row["size"] for row in rows)
        here = sum(row["size"] for row in rows if row["stored"])
        many = f"{len(rows)} blobs" if len(rows) != 1 else "1 blob"
        known = f", {human(here)} of it in the local store" if here else ""
        sys.stderr.write(f"{many}, {human(together)} together{known}\n")
    return 0


def endpoints(args: argparse.Namespace) -> int:
    """List the hosts that a save contacts."""
    found = bundle.endpoints(args.references, **connection.options(args))
    Output(args.shape).table(Table.of(found), "host", "scheme", "role", "registry")
    return 0


def cache(args: argparse.Namespace) -> int:
    """Show the local store, or empty it."""
    output = Output(args.shape)
    facts: dict[str, Any] = {"freed": clear_cache()} if args.clear else asdict(cache_info())
    if facts.get("path") is not None:
        facts["path"] = str(facts["path"])
    if args.shape == "json":
        output.json(facts)
        return 0
    if output.person:
        bytes_of = {"freed", "bytes", "limit", "partial_bytes"}
        facts = {name: human(value) if name in bytes_of else value for name, value in facts.items()}
    rows = [(name, None if value is None else str(value)) for name, value in facts.items()]
    output.table(Table(("field", "value"), rows))
    return 0


def sandbox(args: argparse.Namespace) -> int:
    """Serve the demo registry until Ctrl+C."""
    from didlab.demo.server import serve_forever

    def announce(host: str) -> None:
        # The address alone on stdout, for scripts.
        sys.stdout.write(f"{host}\n")
        sys.stdout.flush()
        if args.quiet:
            return
        login = "echo demo | " if args.auth else ""
        option = " --username demo" if args.auth else ""
        sys.stderr.write(
            "A demo registry answers there until Ctrl+C. In another shell:\n"
            f"  {login}didlab platforms{option} {host}/demo/hello\n"
            f"  {login}didlab layers{option} {host}/demo/web\n"
            f"  {login}didlab save{option} {host}/demo/hello\n"
        )
        sys.stderr.flush()

    serve_forever(announce, auth=args.auth, port=args.port, tags=args.tags)
    return 0
