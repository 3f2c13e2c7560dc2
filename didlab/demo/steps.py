"""Steps that the images of the demo fleet have in common: systems, installed packages, configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from didlab.demo import bases
from didlab.demo.content import (
    OCI,
    Descriptor,
    Layer,
    Member,
    RepositoryContent,
    Step,
    directory,
    file,
    layer,
    noise,
)
from didlab.demo.elf import program

__all__ = ["SOURCE", "apt", "copy", "image", "npm", "pip", "run", "system"]

#: The label with the address of the source.
SOURCE = "org.opencontainers.image.source"

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUILDKIT = "buildkit.dockerfile.v0"


def run(command: str, made: Layer | None = None) -> Step:
    """Return a ``RUN`` step."""
    return Step(f"RUN /bin/sh -c {command} # buildkit", made, _BUILDKIT)


def copy(what: str, made: Layer) -> Step:
    """Return a ``COPY`` step."""
    return Step(f"COPY {what} # buildkit", made, _BUILDKIT)


def system(tag: str, arch: str = "amd64") -> Step:
    """Return the first step: one of the systems in `bases`."""
    return Step(f"ADD {tag}.tar / # buildkit", bases.base(tag, arch), _BUILDKIT)


def image(
    repository: RepositoryContent,
    created: str,
    steps: Sequence[Step],
    *,
    arch: str = "amd64",
    user: str = "",
    labels: dict[str, str] | None = None,
    env: Sequence[str] = (),
    cmd: Sequence[str] = ("/usr/bin/sh",),
    more: Mapping[str, Any] | None = None,
) -> Descriptor:
    """Keep an image of these steps in a repository; ``more`` goes into its config."""
    config: dict[str, Any] = {"User": user} if user else {}
    config |= {"Env": [_PATH, *env], "Cmd": list(cmd), **(more or {})}
    if labels:
        config["Labels"] = labels
    ends = [Step(f"USER {user}", None, _BUILDKIT)] if user else []
    ends.append(Step(f"CMD {list(cmd)}".replace("'", '"'), None, _BUILDKIT))
    platform = {"architecture": arch, "os": "linux"}
    return repository.add_image(
        OCI, platform=platform, created=created, config=config, steps=[*steps, *ends]
    )


def apt(tag: str, arch: str, packages: str) -> Step:
    """Return a step that installs packages of dpkg: name, version, kilobytes a line."""
    names = " ".join(line.split()[0] for line in packages.splitlines())
    files = [
        file(f"usr/bin/{name}", program(arch, f"{name}\n") + noise(f"{name} {tag} {arch}", 30_000),
             0o755)
        for name in names.split()
    ]  # fmt: skip
    made = layer(*files, file("var/lib/dpkg/status", bases.dpkg_status(tag, arch, packages)))
    return run(f"apt-get update && apt-get install -y {names} && rm -r /var/lib/apt/lists/*", made)


def pip(python: str, packages: str, *more: Member) -> Layer:
    """Return a layer with Python packages: name, version, licence a line."""
    site = f"usr/local/lib/{python}/site-packages"
    members = [directory(site.rpartition("/")[0]), directory(site)]
    for line in packages.splitlines():
        name, version, license_ = line.split()
        facts = f"{site}/{name}-{version}.dist-info"
        head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        members += [
            directory(facts),
            file(f"{facts}/METADATA", f"{head}License-Expression: {license_}\n"),
            directory(f"{site}/{name}"),
            file(f"{site}/{name}/__init__.py", f'__version__ = "{version}"\n'),
            file(f"{site}/{name}/_speedups.so", noise(f"{name} {version}", 20_000), 0o755),
        ]
    return layer(*members, *more)


def npm(packages: str) -> Layer:
    """Return a layer with npm packages: name, version, licence a line."""
    members = [directory("app"), directory("app/node_modules")]
    for line in packages.splitlines():
        name, version, license_ = line.split()
        folder = f"app/node_modules/{name}"
        told = f'{{"name": "{name}", "version": "{version}", "license": "{license_}"}}\n'
        members += [
            directory(folder),
            file(f"{folder}/package.json", told),
            file(f"{folder}/index.js", f"// {name} {version}\n" * 200),
        ]
    return layer(*members)
