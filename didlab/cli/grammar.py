"""The parser of all commands. Loads nothing that a ``--help`` does not need."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

from didlab import __version__
from didlab.cli import auditgrammar, groups
from didlab.cli.groups import Parser
from didlab.errors import InvalidArgument

_LOGIN = (
    "logins: --username reads the password from standard input (or asks on a terminal):\n"
    "  echo SECRET | didlab tags --username me registry.example/app\n"
    "without it docker's and podman's stored logins are used."
)

#: Where commands are, other than in ``commands``.
_MODULES = {
    "save": "saving",
    "copy": "copying",
    "load": "loading",
    "complete": "loading",
    "verify": "verifying",
    "files": "inside",
    "tree": "inside",
    "cat": "inside",
    "extract": "inside",
    **auditgrammar.MODULES,
}


def build() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="didlab",
        description="Look inside container images and download them, without Docker.",
        epilog="exit status: 0 done, 1 failed, 2 wrong usage, 3 found what --fail-on asks for, 130 "
        "interrupted\n"
        "didlab COMMAND --help tells more about one command",
    )
    parser.add_argument("--version", action="version", version=f"didlab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, *parents: Parser) -> Parser:
        made = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            parents=parents,
            epilog=_LOGIN if any(parent is net for parent in parents) else None,
        )
        made.set_defaults(run=_later(name), parser=made)
        return made

    talk, net, shape = groups.talk(), groups.net(), groups.shape()
    one, some = groups.platform(), groups.platforms()

    _saving(add("save", "save images as tars that docker load takes", some, net, shape, talk))
    _loading(add("load", "load images into the local Docker daemon", one, net, shape, talk))
    _complete(add("complete", "make a tar of save --since whole", net, shape, talk))
    _copying(add("copy", "copy an image to a registry, or into an OCI layout", net, shape, talk))
    for name, summary, *parents in (
        ("plan", "list what a save would download, each blob once", some),
        ("endpoints", "list the hosts that a save contacts, for a firewall's rules"),
    ):
        _references(add(name, summary, *parents, net, shape, talk))

    platforms = add("platforms", "list the platforms of an image", net, shape, talk)
    _reference(platforms)
    platforms.add_argument(
        "--sizes", action="store_true", help="also layers and bytes; one more request for each"
    )
    for name, summary in (
        ("layers", "list the layers of an image, base first"),
        ("config", "show the config of an image"),
        ("history", "list the steps that made an image, oldest first"),
        ("inspect", "show an image on one page"),
    ):
        _reference(add(name, summary, one, net, shape, talk))

    _attached(
        add("referrers", "list what is attached to an image", net, shape, talk),
        add("attestations", "list the attestations of an image, or show one", net, shape, talk),
    )

    images = add("images", "list the images of an archive or OCI layout", shape, talk)
    images.add_argument("path", metavar="PATH", help="app.tar, layout/, docker-archive:app.tar")

    _verify(add("verify", "compute again what an image or archive claims", one, net, shape, talk))

    inside = groups.inside()
    _foreign(inside)
    _files(add("files", "list the files of an image", one, inside, net, shape, talk))
    _tree(add("tree", "draw the folders and files of an image", one, inside, net, talk))
    _cat(add("cat", "write files of an image to stdout", one, inside, net, talk))
    _extract(add("extract", "write files of an image to the disk", one, inside, net, shape, talk))

    auditgrammar.add_to(add, _reference, _references, _foreign, (one, net, shape, talk))

    tags = add("tags", "list the tags of a repository", net, shape, talk)
    tags.add_argument("repository", metavar="REPOSITORY", help="nginx, ghcr.io/owner/image")
    tags.add_argument(
        "--details",
        action="store_true",
        help="also digest, time, size and platforms; two or three requests for each tag",
    )
    catalog = add("repositories", "list the repositories of a registry", net, shape, talk)
    catalog.add_argument("registry", metavar="REGISTRY", help="registry.example, 127.0.0.1:5000")

    setup = add(
        "show-config", "show what holds for a registry, and where it comes from", shape, talk
    )
    setup.add_argument("registry", metavar="REGISTRY", nargs="?", help="default: docker.io")
    setup.add_argument(
        "--ask-helpers", action="store_true", help="run credential helpers to see if they answer"
    )

    cache = add("cache", "show where the local store lies and how full it is", shape, talk)
    cache.add_argument("--clear", action="store_true", help="empty it")

    sandbox = add("sandbox", "serve a small demo registry until Ctrl+C", talk)
    sandbox.add_argument("--port", type=groups.port, default=0, help="default: a free one")
    sandbox.add_argument("--auth", action="store_true", help="ask for a login: demo, demo")
    sandbox.add_argument("--tags", type=int, default=0, metavar="N", help="so many more tags")
    return parser


def _later(name: str) -> Callable[[argparse.Namespace], int]:
    """Return the command, loaded when it is called: ``--help`` needs none of them."""

    def run(args: argparse.Namespace) -> int:
        module = import_module(f"didlab.cli.{_MODULES.get(name, 'commands')}")
        try:
            code: int = getattr(module, name.replace("-", "_"))(args)
        except InvalidArgument as error:
            from didlab.cli import connection

            what = getattr(args, "source", None) or getattr(args, "reference", None)
            raise connection.in_words(error, what) from None
        return code

    return run


def _saving(parser: argparse.ArgumentParser) -> None:
    _references(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="the file to write, or a directory; several images go into one NAME.tar, what they "
        "share once, or into a directory, a file each; NAME.tar.gz and NAME.tar.zst are compressed "
        "as a whole; - is stdout; default: the current directory",
    )
    parser.add_argument(
        "--format",
        choices=("archive", "docker", "oci-archive", "oci-dir"),
        default="archive",
        help="archive: one tar for every loader (the default); docker: a plain docker-archive, "
        "layers not compressed, for old daemons; oci-archive: without docker's manifest.json; "
        "oci-dir: an OCI image layout, which keeps the images that it has",
    )
    parser.add_argument(
        "--compression",
        choices=("keep", "none", "gzip", "zstd"),
        help="write layers that are otherwise anew: changes the manifest's digest, not the image "
        "ID; default: keep",
    )
    parser.add_argument(
        "--since",
        metavar="BASE",
        help="leave out the layers that the other side has from BASE: a reference, a tar, or "
        "docker-daemon: for all that the daemon here has; docker load takes it there, didlab "
        "complete makes it whole for others",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace other files at the target"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="add the layers that came to the local store, for the next save that needs them",
    )
    _foreign(parser)
    _waiting(parser)
    parser.add_argument(
        "--workers",
        type=groups.workers,
        metavar="N",
        help="connections at a time; default: 4, more where a line is slow for each of them",
    )


def _attached(referrers: argparse.ArgumentParser, attestations: argparse.ArgumentParser) -> None:
    for parser in (referrers, attestations):
        _reference(parser)
        parser.add_argument(
            "--platform",
            metavar="P",
            help="only what is attached to that platform's image; default: to the index itself "
            "and to each of its images",
        )
    referrers.add_argument(
        "--artifact-type", metavar="TYPE", help="only of this type: application/spdx+json"
    )
    attestations.add_argument(
        "--show",
        metavar="WHICH",
        type=groups.layer,
        help="show one as JSON: by its row (the first is 0), digest or kind; nothing is verified",
    )


def _foreign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--foreign",
        action="store_true",
        help="fetch layers that the registry may not hold (Windows' base layers) from the urls "
        "that their manifest names, without any login",
    )


def _waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=groups.patience,
        metavar="SECONDS",
        help="how long to wait, at most, where a registry takes no more requests for now; "
        "default: 20",
    )


def _loading(parser: argparse.ArgumentParser) -> None:
    _references(parser)
    _foreign(parser)
    _waiting(parser)


def _complete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tar", metavar="THIN", help="the tar that save --since wrote")
    parser.add_argument(
        "--from",
        dest="base",
        metavar="BASE",
        required=True,
        help="what has the missing layers: a tar, an OCI layout, a reference",
    )
    parser.add_argument("-o", "--output", metavar="PATH", required=True, help="the file to write")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another file at the target"
    )


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="app.tar or layout/: all that is in there, and which loaders take it; nginx:1.27, "
        "docker-archive:app.tar:NAME …: that image, every layer read",
    )
    parser.add_argument(
        "--all", action="store_true", help="show what is right, too; --json and --csv always do"
    )


def _copying(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SRC", help="nginx:1.27, app.tar, oci:DIR[:TAG] …: what can be opened"
    )
    parser.add_argument(
        "destination",
        metavar="DST",
        help="the name that it gets, at a registry: harbor.example/library/nginx:1.27; or "
        "oci:DIR[:TAG], or NAME.tar. A login is for there, not for another registry",
    )
    parser.add_argument(
        "--platform",
        action="append",
        metavar="P",
        help="one image of an index: linux/arm64 …; repeatable: the index, cut to these; default: "
        "what the name stands for, an index with everything in it",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace other files; a tag moves anyhow"
    )
    parser.add_argument(
        "--attached",
        action="store_true",
        help="copy signatures, attestations, SBOMs and whatever else is attached, too",
    )
    _foreign(parser)
    parser.add_argument(
        "--src-insecure",
        action="store_true",
        help="allow unverified TLS and plain http for SRC; --insecure allows it for DST",
    )
    _waiting(parser)
    parser.add_argument(
        "--workers", type=groups.workers, metavar="N", help="blobs at a time; default: 4"
    )


def _files(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only paths like this, in quotes: '/usr/lib/**/*.so*', '/etc/{passwd,group}'",
    )
    parser.add_argument(
        "--changes",
        action="store_true",
        help="what each layer added, replaced and deleted; with --layer, what that one did",
    )


def _tree(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="the folder to begin at; default: /"
    )
    parser.add_argument(
        "--depth",
        type=groups.depth,
        metavar="N",
        help="so many levels; default: all of them, but 2000 lines at most",
    )


def _cat(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="files, written byte for byte, one after the other; a terminal gets text only",
    )
    parser.add_argument(
        "--no-verify",
        action="store_true",
        help="stop where the file ends, before its layer's digest can be checked; for layers that "
        "were never listed",
    )


def _extract(parser: argparse.ArgumentParser) -> None:
    _reference(parser)
    parser.add_argument("path", metavar="PATH", help="a file or folder of the image, / for all")
    parser.add_argument(
        "dest", metavar="DEST", help="where to: a new name, a folder that is there, or NAME/"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--devices", action="store_true", help="make devices and fifos, too (as root)"
    )
    parser.add_argument("--owner", action="store_true", help="keep the owners (as root)")
    parser.add_argument(
        "--portable",
        action="store_true",
        help="refuse names that Windows or macOS could not have or would take for one",
    )


def _references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "references", metavar="REF", nargs="+", help="nginx:1.27, ghcr.io/o/i@sha256:…"
    )


def _reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference",
        metavar="REF",
        help="nginx:1.27, ghcr.io/owner/image@sha256:…, app.tar, oci:FOLDER:TAG, "
        "docker-archive:TAR:NAME, docker-daemon:NAME",
    )
