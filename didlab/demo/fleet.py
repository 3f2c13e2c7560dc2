"""The demo fleet: the images of a small shop, good ones and bad ones, to be audited.

``shop/base``
    Four systems; support of one of them ended years ago.
``shop/api``, ``shop/worker``
    Python programs. The first api images deleted a file with passwords one step too late; the
    newest one is larger than it must be.
``shop/web``, ``shop/proxy``, ``shop/batch``, ``shop/tools``
    Node.js, Alpine, an old job that runs as root, a box of tools with a setuid program.

Every secret in here is made up, and says so.
"""

from __future__ import annotations

from functools import cache

from didlab.demo import bases
from didlab.demo.content import RepositoryContent, directory, file, layer, noise
from didlab.demo.elf import program
from didlab.demo.shop import FLASK, api
from didlab.demo.steps import SOURCE, apt, copy, image, npm, pip, run, system

__all__ = ["fleet"]

_NPM_TOKEN = "npm" + "_NotARealTokenOnlyForDidlabsDemo00000"
_DATABASE = "postgres://shop:made-up-for-the-demo@db.shop.internal/shop"


@cache
def fleet() -> dict[str, RepositoryContent]:
    """Return the fleet's repositories by name; built once in a process, to be read only."""
    made = (_base(), api(), _worker(), _web(), _proxy(), _batch(), _tools())
    return {item.name: item for item in sorted(made, key=lambda item: item.name)}


def _base() -> RepositoryContent:
    repository = RepositoryContent("shop/base")
    for tag, (created, _, _) in bases.BASES.items():
        repository.tags[tag] = image(repository, created, [system(tag)])["digest"]
    return repository


def _worker() -> RepositoryContent:
    repository = RepositoryContent("shop/worker")
    for version, created, celery in (
        ("1.0", "2025-09-16T07:30:00Z", "5.5.2"),
        ("1.1", "2025-10-01T07:30:00Z", "5.5.3"),
        ("1.2", "2025-11-04T07:30:00Z", "5.5.3"),
    ):
        queue = f"celery {celery} BSD-3-Clause\nredis 6.4.0 MIT\n"
        steps = [
            system("trixie"),
            apt("trixie", "amd64", "python3 3.13.5-1 82\nca-certificates 20250419 377"),
            run("pip install --no-cache-dir celery redis", pip("python3.13", queue + FLASK)),
            run("useradd app", layer(bases.users("app"))),
            copy("tasks.py /app/", layer(directory("app"), file("app/tasks.py", version * 40))),
        ]
        more = {"Healthcheck": {"Test": ["CMD", "celery", "inspect", "ping"]}}
        repository.tags[version] = image(
            repository,
            created,
            steps,
            user="app",
            labels={SOURCE: "https://git.shop.example/worker"},
            more=more if version == "1.2" else {},
        )["digest"]
    return repository


def _web() -> RepositoryContent:
    repository = RepositoryContent("shop/web")
    for version, created, express in (
        ("3.0", "2025-08-20T12:00:00Z", "4.21.1"),
        ("3.1", "2025-09-10T12:00:00Z", "4.21.2"),
        ("3.2", "2025-10-22T12:00:00Z", "5.1.0"),
    ):
        wanted = (
            f"accepts 1.3.8 MIT\nbody-parser 1.20.3 MIT\nexpress {express} MIT\nqs 6.13.0 "
            "BSD-3-Clause\nsemver 7.7.2 ISC\ntslib 2.8.1 0BSD\nws 8.18.3 MIT"
        )
        # Left by whoever needed it once to install from a private registry.
        login = [file("app/.npmrc", f"//npm.shop.internal/:_authToken={_NPM_TOKEN}\n")]
        page = file("app/server.js", f"// version {version}\n" * 30)
        steps = [
            system("noble"),
            apt("noble", "amd64", "nodejs 18.19.1+dfsg-6ubuntu5 189"),
            run("npm ci --omit=dev", npm(wanted)),
            copy(". /app", layer(directory("app"), page, *(login if version == "3.0" else ()))),
            run("useradd node", layer(bases.users("node"))),
        ]
        repository.tags[version] = image(
            repository, created, steps, user="node",
            labels={SOURCE: "https://git.shop.example/web"}, cmd=["/usr/bin/nodejs", "server.js"],
        )["digest"]  # fmt: skip
    return repository


def _proxy() -> RepositoryContent:
    repository = RepositoryContent("shop/proxy")
    for version, created, nginx in (
        ("5.0", "2024-09-10T05:00:00Z", "1.26.1-r0"),
        ("5.1", "2024-10-15T05:00:00Z", "1.26.2-r0"),
        ("5.2", "2025-02-18T05:00:00Z", "1.26.3-r0"),
    ):
        more = f"nginx {nginx} BSD-2-Clause\npcre2 10.43-r0 BSD-3-Clause"
        installed = layer(
            file("lib/apk/db/installed", bases.apk_database(more)),
            file("usr/bin/nginx", noise(f"nginx {nginx}", 60_000), 0o755),
            bases.users("nginx"),
        )
        site = layer(directory("etc/nginx"), file("etc/nginx/nginx.conf", "worker_processes 2;\n"))
        steps = [
            system("alpine"),
            run("apk add --no-cache nginx", installed),
            copy("nginx.conf /etc/nginx/", site),
        ]
        user = "" if version == "5.0" else "nginx"
        repository.tags[version] = image(
            repository, created, steps, user=user, cmd=["/usr/bin/nginx"]
        )["digest"]
    return repository


def _batch() -> RepositoryContent:
    repository = RepositoryContent("shop/batch")
    for version, created in (("0.9", "2022-07-11T22:14:00Z"), ("1.0", "2022-11-28T22:14:00Z")):
        script = file("usr/local/bin/nightly", f"#!/bin/sh\n# {version}\n", 0o755)
        steps = [
            system("buster"),
            apt("buster", "amd64", "cron 3.0pl1-134+deb10u1 257\ntelnet 0.17-41.2 161"),
            copy("nightly /usr/local/bin/", layer(script)),
        ]
        repository.tags[version] = image(
            repository, created, steps, env=[f"DATABASE_URL={_DATABASE}"],
            cmd=["/usr/local/bin/nightly"],
        )["digest"]  # fmt: skip
    return repository


def _tools() -> RepositoryContent:
    repository = RepositoryContent("shop/tools")
    for version, created in (("1", "2025-08-25T15:00:00Z"), ("2", "2025-10-06T15:00:00Z")):
        helper = file("usr/local/bin/as-root", program("amd64", "as-root\n"), 0o4755)
        read = file("usr/local/share/version", f"{version}\n")
        steps = [
            system("noble"),
            apt("noble", "amd64", "curl 8.5.0-2ubuntu10.6 534\ntcpdump 4.99.4-3ubuntu4 1337"),
            copy("tools /usr/local/", layer(directory("usr/local/share"), helper, read)),
        ]
        repository.tags[version] = image(repository, created, steps, cmd=["/usr/bin/sh"])["digest"]
    return repository
