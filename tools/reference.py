"""Write ``docs/reference`` from the code: ``python3 tools/reference.py`` (didlab installed).

The pages are committed; ``tests/test_docs.py`` holds them equal to what this makes.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_MADE = "<!-- Made by tools/reference.py; edit the code, then run it. -->\n"

_ENVIRONMENT = """\
## Environment

| variable | what it does |
|---|---|
| `DOCKER_DEFAULT_PLATFORM` | the platform that an index stands for when nobody says |
| `DOCKER_AUTH_CONFIG` | logins, as JSON |
| `DOCKER_CONFIG` | folder of docker's `config.json` |
| `REGISTRY_AUTH_FILE` | podman's `auth.json` |
| `DIDLAB_CONFIG` | another [`didlab.toml`](config-file.md) |
| `DIDLAB_MIRRORS` | mirrors by registry: `docker.io=https://a.example;ghcr.io=https://b.example` |
| `DIDLAB_PROXY` | one proxy for all registries; those of `NO_PROXY` and this machine left out |
| `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies; those that only didlab knows win |
| `DIDLAB_CACHE` | folder of the local store, from the root on; empty or `0`: no store |
| `DIDLAB_CACHE_LIMIT` | how much it holds: bytes, or `20GB`; 10 GB if not set |
| `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE` | certificates; `ca=` wins |
| `DOCKER_HOST` | the local daemon's socket: `unix:///run/user/1000/docker.sock` |
| `XDG_CONFIG_HOME`, `XDG_CACHE_HOME` | on Linux, where `didlab.toml` and the local store lie |

`trust_env=False` leaves the environment's mirrors, proxies and certificates aside.
"""

_FRAMES = {
    "platforms": "`Manifest.platforms()`",
    "platforms+sizes": "`Manifest.platforms(sizes=True)` adds",
    "layers": "`Manifest.layers()`",
    "history": "`Manifest.history()`",
    "tags": "`Repository.tags()`",
    "tags+details": "`Repository.tags(details=True)`",
    "repositories": "`Registry.repositories()`",
    "requests": "`Registry.requests()`",
    "show_config": "`didlab.show_config()`",
    "files": "`Manifest.files()`",
    "files+layer": "`Layer.files()` adds",
    "changes": "`Manifest.changes()`",
    "plan": "`didlab.plan()`",
    "endpoints": "`didlab.endpoints()`",
    "images": "`didlab.images()`",
    "referrers": "`Manifest.referrers()`",
    "attestations": "`Manifest.attestations()`",
    "sbom": "`Manifest.attached_sbom()`, `Attestation.packages()`, `Sbom.packages()`",
    "packages": "`Manifest.packages()`",
    "diff_files": "`Diff.files()`",
    "diff_packages": "`Diff.packages()`",
    "diff_config": "`Diff.config()`",
    "diff_layers": "`Diff.layers()`",
    "diff_sizes": "`Diff.sizes()`",
    "waste": "`Manifest.waste()`",
    "duplicates": "`Manifest.duplicates()`",
    "caches": "`Manifest.caches()`",
    "secrets": "`Manifest.secrets()`",
    "setuid": "`Manifest.setuid()`",
    "users": "`Manifest.users()`",
    "certificates": "`Manifest.certificates()`",
    "base": "`Manifest.base()`",
    "verify": "`didlab.verify()`, `Manifest.verify()`",
    "audit_images": "`Report.images`",
    "audit_errors": "`Report.errors`",
    "audit_config": '`Report["config"]`, between digest and error',
    "audit_labels": '`Report["labels"]`, between digest and error',
    "audit_size": '`Report["size"]`, between digest and error',
    "audit_os": '`Report["os"]`, between digest and error',
    "policy": "`didlab.policy()`, `Report.policy()`",
}


def frames() -> str:
    """Give the columns of every DataFrame."""
    from didlab.views.frames import KINDS, SCHEMAS

    text = (
        "# Columns of the DataFrames\n\nNames, order and dtypes are an API. Text has pandas' own "
        "dtype (`str` on pandas 3, `object` on 2.2). Sizes are bytes, times UTC. "
        '`frame.attrs["reference"]` says what a frame is about.\n'
    )
    for name, columns in SCHEMAS.items():
        text += f"\n## {_FRAMES.get(name, f'`{name}`')}\n\n"
        text += _table(
            ("column", "dtype", "meaning"),
            ((f"`{c.name}`", KINDS[c.kind], c.meaning) for c in columns),
        )
    return text


def errors() -> str:
    """Give the tree of errors, and what each one is."""
    from didlab import errors as module

    title, _, body = inspect.cleandoc(module.__doc__ or "").partition("\n\n::\n\n")
    tree, _, rest = body.partition("\n\nEvery error")
    rows = []
    for name in module.__all__:
        cls = getattr(module, name)
        own = ", ".join(f"`{field}`" for field in vars(cls).get("defaults", {}))
        rows.append((f"`{name}`", _first(cls), own, "yes" if cls.retryable else ""))
    return (
        f"# Errors\n\n{title}\n\n```text\n{inspect.cleandoc(tree)}\n```\n\n"
        + f"Every error{rest}\n\n".replace("``", "`")
        + _table(("error", "when", "fields", "retryable"), rows)
    )


def options() -> str:
    """Give the options of the library, of a registry, and of the environment."""
    import didlab
    from didlab.settings import Settings

    told = dict(_parameters(didlab.set_options))
    rows = [
        (f"`{f.name}`", f"`{f.default}`", f"`DIDLAB_{f.name.upper()}`", told.get(f.name, ""))
        for f in fields(Settings)
    ]
    return (
        "# Options\n\n## `didlab.set_options(…)`\n\nFor good, or inside `with`.\n\n"
        + _table(("option", "default", "environment", "meaning"), rows)
        + "\n## A registry's options\n\n"
        + "For `didlab.Registry(…)`; `didlab.open(…)` takes the same.\n\n"
        + _table(
            ("option", "meaning"),
            (
                (f"`{name}`", meaning)
                for name, meaning in _parameters(didlab.Registry)
                if name != "name"
            ),
        )
        + "\n"
        + _ENVIRONMENT
    )


def api() -> str:
    """Give the public names, with their methods."""
    import didlab

    text = "# API\n\nEverything that is public, in a line each; `help()` and `?` tell more.\n"
    names = [name for name in didlab.__all__ if name not in ("__version__", "errors", "plot")]
    calls = [name for name in names if not inspect.isclass(getattr(didlab, name))]
    text += "\n## Functions\n\n" + _table(
        ("call", "what it does"),
        ((_signature(f"didlab.{name}", getattr(didlab, name)), _first(getattr(didlab, name)))
         for name in calls),
    )  # fmt: skip
    text += "\n## `didlab.plot`\n\n" + _first(didlab.plot) + "\n\n" + _table(
        ("call", "what it does"),
        ((_signature(f"didlab.plot.{name}", getattr(didlab.plot, name)),
          _first(getattr(didlab.plot, name))) for name in didlab.plot.__all__),
    )  # fmt: skip
    for cls in (*(getattr(didlab, name) for name in names if name not in calls), *_returned()):
        text += f"\n## `{cls.__name__}`\n\n{_first(cls)}\n\n"
        text += _table(("", ""), _members(cls))
    return text


def _returned() -> tuple[type[Any], ...]:
    """Classes without a public constructor that public calls return."""
    from didlab.audits.diff.difference import Diff
    from didlab.audits.distribution import OperatingSystem
    from didlab.audits.sbom.document import Sbom
    from didlab.export.push_report import CopyReport
    from didlab.export.report import SaveReport
    from didlab.model.config import Config
    from didlab.model.plotting import ImagePlots, RepositoryPlots

    return Config, Diff, OperatingSystem, Sbom, SaveReport, CopyReport, ImagePlots, RepositoryPlots


def _members(cls: type[Any]) -> Iterator[tuple[str, str]]:
    free = [
        name
        for name, value in inspect.getmembers(cls)
        if not name.startswith("_")
        and (isinstance(value, property) or inspect.ismemberdescriptor(value))
    ]
    if free:
        yield "free", ", ".join(f"`{name}`" for name in free)
    # With those of its mixins, which are didlab's; not those of Mapping and the like.
    names = dict.fromkeys(
        name for base in cls.__mro__ if base.__module__.startswith("didlab.") for name in vars(base)
    )
    for name in names:
        if name.startswith("_"):
            continue
        value = inspect.getattr_static(cls, name)
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if inspect.isfunction(function):
            yield _signature(name, function), _first(function)


def cli() -> str:
    """Give the commands and their options."""
    from didlab.cli.grammar import build

    parser = build()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    text = f"# Command line\n\n{parser.description}\n\n```text\n{parser.epilog}\n```\n\n"
    text += _table(
        ("command", "what it does"), ((f"`didlab {n}`", s) for n, s in summaries.items())
    )
    # By meaning, too: one spelling may mean more in one command than in another.
    everywhere: dict[tuple[str, str], list[str]] = {}
    for name, command in commands.choices.items():
        for action in command._actions:
            if action.dest != "help" and action.help != argparse.SUPPRESS:
                row = (_spelling(action), (action.help or "").replace("|", "\\|"))
                everywhere.setdefault(row, []).append(name)
    text += "\n## Options and arguments\n\n"
    text += _table(
        ("", "meaning", "of"),
        (
            (*row, "all" if len(of) == len(commands.choices) else ", ".join(of))
            for row, of in everywhere.items()
        ),
    )
    for epilog in dict.fromkeys(c.epilog for c in commands.choices.values() if c.epilog):
        text += f"\n```text\n{epilog}\n```\n"
    return text


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs is None else "")
    if not action.option_strings:
        return f"`{value}{'…' if action.nargs == '+' else ''}`"
    return f"`{', '.join(action.option_strings)}{f' {value}' if value else ''}`"


def _first(thing: Any) -> str:
    paragraph = inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "`").replace("|", "\\|")


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    bare = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    made = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"`{name}{made}`"


def _parameters(thing: Any) -> Iterator[tuple[str, str]]:
    """Names and meanings from a docstring's Parameters section."""
    text = inspect.cleandoc(thing.__doc__ or "").partition("Parameters\n----------\n")[2]
    names: list[str] = []
    meaning: list[str] = []
    for line in [*text.split("\n\n")[0].splitlines(), ""]:
        if line.startswith(" "):
            meaning.append(line.strip())
            continue
        said = " ".join(meaning).replace("``", "`").replace("|", "\\|")
        yield from ((name, said) for name in names)
        names, meaning = [name.strip() for name in line.partition(" : ")[0].split(",")], []


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]] | Any) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def pages() -> dict[str, str]:
    """Give name and text of every page."""
    makers = (api, cli, errors, frames, options)
    return {f"{maker.__name__}.md": _MADE + maker() for maker in makers}


def main() -> int:
    """Write the pages."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        print(FOLDER.name, name, len(text.splitlines()), "lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
