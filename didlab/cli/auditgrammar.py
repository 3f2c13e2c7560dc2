"""The options of the commands that audit images. Loads nothing that a ``--help`` does not need."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from didlab.cli import groups
from didlab.cli.groups import Parser

Arguments = Callable[[argparse.ArgumentParser], None]

#: Which module has which command.
MODULES = {
    "packages": "auditing",
    "secrets": "auditing",
    "setuid": "auditing",
    "users": "auditing",
    "certificates": "auditing",
    "os": "auditing",
    "base": "auditing",
    "sbom": "billing",
    "waste": "wasting",
    "diff": "comparing",
    "audit": "fleet",
}
FINDINGS = "exit status 3: it is done, and there is what --fail-on asks for; 0: there is none of it"

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "%": None}


def add_to(
    add: Callable[..., Parser],
    reference: Arguments,
    references: Arguments,
    foreign: Arguments,
    parents: tuple[Parser, Parser, Parser, Parser],
) -> None:
    """Add the commands.

    Parameters
    ----------
    add : callable
        Makes a command of its name, its summary and parents.
    reference, references, foreign : callable
        Add an image, several, and the option of those that read layers.
    parents : tuple of Parser
        Options for one platform, the registry, what results look like, how much is told.
    """
    one, net, shape, talk = parents
    looking = groups.keeping()
    foreign(looking)

    def image(name: str, summary: str, *, shown: bool = True) -> Parser:
        shapes = (shape,) if shown else ()
        made = add(name, summary, one, looking, net, *shapes, talk)
        reference(made)
        return made

    packages = image("packages", "list the packages that are installed in an image")
    packages.add_argument(
        "--ecosystem", metavar="TYPE", help="only these: deb, apk, rpm, pypi, npm, golang"
    )
    packages.add_argument(
        "--name", metavar="GLOB", help="only packages with such a name: 'libssl*'"
    )
    _fail_on(packages, ("any",), "any: a package is listed")

    diff = add("diff", "tell how an image differs from another", one, looking, net, shape, talk)
    diff.add_argument("before", metavar="BEFORE", help="the image that is compared with")
    diff.add_argument("after", metavar="AFTER", help="the image that is compared")
    _diff(diff)

    waste = image("waste", "list what an image stores for nothing")
    what = waste.add_mutually_exclusive_group()
    what.add_argument(
        "--duplicates",
        action="store_true",
        help="files of the same content instead; those of 4 kB and more",
    )
    what.add_argument(
        "--caches", action="store_true", help="what package managers left behind instead"
    )
    _fail_on(
        waste,
        None,
        "so many bytes together, or more: 50MB; or a share of what the layers hold: 5%%",
        kind=amount,
        metavar="AMOUNT",
    )

    secrets = image("secrets", "list what looks like a secret in an image, redacted")
    _fail_on(secrets, ("high", "medium", "low"), "a secret of this severity, or of a higher one")

    setuid = image("setuid", "list the files that run with more rights than their caller's")
    _fail_on(setuid, ("any",), "any: a file is listed")
    users = image("users", "list the users that an image knows")
    _fail_on(users, ("empty",), "empty: a user who logs in without a password")
    certificates = image("certificates", "list the certificates in an image")
    _fail_on(certificates, ("expired",), "expired: a certificate that is no longer valid")

    system = image("os", "tell the distribution of an image, and when its support ends")
    _fail_on(
        system,
        ("unsupported",),
        "unsupported: the distribution no longer looks after it, LTS and ESM not counted",
    )

    base = add("base", "tell which of some images an image was built on", one, net, shape, talk)
    reference(base)
    base.add_argument(
        "candidates", metavar="CANDIDATE", nargs="+", help="images that it may be built on"
    )

    bill = image("sbom", "make a bill of materials of an image, in JSON", shown=False)
    bill.add_argument(
        "--format",
        choices=("cyclonedx", "spdx"),
        default="cyclonedx",
        help="cyclonedx: CycloneDX 1.6 (the default); spdx: SPDX 2.3",
    )
    bill.add_argument("-o", "--output", metavar="PATH", help="the file to write; default: stdout")
    bill.add_argument("--overwrite", action="store_true", help="replace another file there")

    many = Parser(add_help=False)
    foreign(many)
    audit = add("audit", "check many images, reading each layer once", many, net, shape, talk)
    references(audit)
    _audit(audit)


def _diff(parser: Parser) -> None:
    what = parser.add_mutually_exclusive_group()
    for name, summary in (
        ("files", "the files that differ"),
        ("packages", "the packages that differ"),
        ("config", "what differs in the configs"),
        ("layers", "which layers are shared, and which are not"),
    ):
        what.add_argument(f"--{name}", action="store_const", dest="view", const=name, help=summary)
    what.add_argument(
        "--sizes",
        dest="by",
        choices=("directory", "layer", "package"),
        help="where the sizes differ, the largest difference first",
    )
    what.add_argument(
        "--text", metavar="PATH", help="the lines of a file that differ, as diff -u shows them"
    )
    parser.add_argument(
        "--content",
        action="store_true",
        help="with --files: read files of equal size, so that nothing is listed as maybe",
    )
    parser.add_argument(
        "--fail-on",
        action="append",
        choices=("any", "added", "removed", "changed", "upgraded", "downgraded"),
        help="exit with status 3 if there is such a difference; repeatable. changed: any kind of "
        "change, and maybe; without another option the packages are meant",
    )
    parser.epilog = _with_findings(parser.epilog)


def _audit(parser: Parser) -> None:
    parser.add_argument(
        "--check",
        action="append",
        metavar="NAME",
        help="packages, os, secrets, setuid, users, certificates, waste, config, labels, layers, "
        "size; repeatable; default: config and layers, for which no layer is read; with --policy "
        "what the rules need",
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="a TOML file of rules: show who keeps them, and who not"
    )
    parser.add_argument(
        "--platform",
        action="append",
        metavar="P",
        help="linux/arm64 …; repeatable, or all; default: one platform, as for other commands",
    )
    parser.add_argument(
        "--resume",
        metavar="PATH",
        help="keep results in this file (.jsonl), and begin with those that it has",
    )
    parser.add_argument(
        "-o", "--output", metavar="PATH", help="write the whole report there, as JSON"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace another file there")
    parser.add_argument(
        "--all", action="store_true", help="with --policy: show the rules that are kept, too"
    )
    parser.add_argument(
        "--workers", type=groups.workers, metavar="N", default=8, help="threads; default: 8"
    )
    parser.add_argument(
        "--fail-on",
        action="append",
        metavar="WHAT",
        choices=("error", "high", "medium", "low", "any", "never"),
        help="exit with status 3 if there is: error, an image that could not be checked; high, "
        "medium, low: a rule of this severity, or of a higher one, that is not kept; any: one of "
        "these; never: exit with 0 then; repeatable; default: any with --policy, else never",
    )
    parser.epilog = _with_findings(parser.epilog)


def _fail_on(
    parser: Parser,
    choices: tuple[str, ...] | None,
    meaning: str,
    *,
    kind: Callable[[str], object] | None = None,
    metavar: str | None = None,
) -> None:
    parser.add_argument(
        "--fail-on",
        choices=choices,
        type=kind or str,
        metavar=metavar,
        help=f"exit with status 3 if there is such a finding: {meaning}",
    )
    parser.epilog = _with_findings(parser.epilog)


def _with_findings(epilog: str | None) -> str:
    return f"{FINDINGS}\n\n{epilog}" if epilog else FINDINGS


def amount(text: str) -> tuple[float, bool]:
    """Read bytes, or a share in percent: the number, and whether it is a share from 0 to 1.

    >>> amount("50MB"), amount("5%")
    ((50000000.0, False), (0.05, True))
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]{0,2}|%)", text.strip(), re.ASCII)
    if match is None or match[2].lower() not in _UNITS:
        raise argparse.ArgumentTypeError(f"no amount like 50MB or 5%: {text!r}")
    unit = _UNITS[match[2].lower()]
    number = float(match[1])
    return (number / 100, True) if unit is None else (number * unit, False)
