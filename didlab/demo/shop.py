"""``shop/api``: a program on its way through four versions, with what goes wrong on such ways.

The first two deleted a file with passwords one step too late. The newest is much larger than the
one before: a library, a cache that pip left, and a ``chown`` that wrote all files a second time.
"""

from __future__ import annotations

from functools import cache

from didlab.demo import bases
from didlab.demo.content import (
    OCI,
    Descriptor,
    Layer,
    Member,
    RepositoryContent,
    directory,
    file,
    layer,
    noise,
    whiteout,
)
from didlab.demo.steps import SOURCE, apt, copy, image, pip, run, system

__all__ = ["FLASK", "api"]

#: In two parts, so that nobody takes this file for a leak; it says itself what it is.
_TOKEN = "gh" + "p_NotARealTokenOnlyForDidlabsDemo00000"
_ENV_FILE = f"DATABASE_PASSWORD=made-up-for-the-demo\nGITHUB_TOKEN={_TOKEN}\nDEBUG=0\n"

_FLASK_1 = """\
flask 1.1.2 BSD-3-Clause
jinja2 2.11.3 BSD-3-Clause
requests 2.25.1 Apache-2.0
urllib3 1.26.2 MIT
werkzeug 1.0.1 BSD-3-Clause"""
FLASK = """\
flask 3.1.1 BSD-3-Clause
jinja2 3.1.6 BSD-3-Clause
requests 2.32.4 Apache-2.0
urllib3 2.4.0 MIT
werkzeug 3.1.3 BSD-3-Clause"""
_SETTINGS = """\
[server]
listen = "0.0.0.0:8000"
workers = {workers}
timeout = 30

[log]
level = "info"
{more}"""


def api() -> RepositoryContent:
    """Build ``shop/api``."""
    repository = RepositoryContent("shop/api")
    for version, created in (
        ("1.0", "2022-07-04T09:12:44Z"),
        ("1.1", "2023-02-13T16:40:02Z"),
        ("2.0", "2025-09-15T08:03:31Z"),
        ("2.1", "2025-11-03T10:27:58Z"),
    ):
        images = [_api_image(repository, version, created, arch) for arch in ("amd64", "arm64")]
        repository.tags[version] = repository.add_index(OCI, images)["digest"]
    repository.tags["latest"] = repository.tags["2.1"]
    return repository


def _api_image(repository: RepositoryContent, version: str, created: str, arch: str) -> Descriptor:
    labels = {"org.opencontainers.image.version": version}
    if version < "2":
        steps = [
            system("buster", arch),
            apt("buster", arch, "python3 3.7.3-1 187\nca-certificates 20200601~deb10u2 382"),
            run("pip install -r requirements.txt", pip("python3.7", _FLASK_1)),
            copy(". /app", _api_files(version, file("app/.env", _ENV_FILE))),
            run("rm /app/.env", layer(whiteout("app/.env"))),
        ]
        user = {"1.1": "app"}.get(version, "")
        if user:
            steps.append(run("useradd app", layer(bases.users("app"))))
        return image(
            repository, created, steps, arch=arch, user=user, labels=labels,
            cmd=["/usr/bin/python3", "-m", "shop.api"],
        )  # fmt: skip
    grown = version == "2.1"
    libraries = FLASK.replace("2.32.4", "2.32.5") if grown else FLASK
    steps = [
        system("trixie", arch),
        apt("trixie", arch, "python3 3.13.5-1 82\nca-certificates 20250419 377"),
        run(
            "pip install -r requirements.txt",
            pip(
                "python3.13",
                libraries + ("\npillow 12.0.0 MIT-CMU" if grown else ""),
                *(_pillow(arch) if grown else ()),
            ),
        ),
        run("useradd app", layer(bases.users("app"))),
        copy("static /app/static", _static()),
        copy("shop settings.toml /app/", _api_files(version)),
    ]
    if grown:
        steps.append(run("chown -R app:app /app", _owned(version)))
    return image(
        repository, created, steps, arch=arch, user="app",
        labels={**labels, SOURCE: "https://git.shop.example/api"},
        env=[f"SHOP_VERSION={version}", *(["SHOP_THUMBNAILS=1"] if grown else [])],
        cmd=["/usr/bin/python3", "-m", "shop.api"],
    )  # fmt: skip


def _pillow(arch: str) -> tuple[Member, ...]:
    """Return what pillow brings along, and what pip leaves where nobody tells it not to."""
    libraries = "usr/local/lib/python3.13/site-packages/pillow.libs"
    tiff = [file(f"{libraries}/libtiff.so", noise("libtiff", 210_000), 0o755)]
    if arch != "amd64":
        tiff = []  # forgotten there: for a comparison of platforms to find
    return (
        directory(libraries),
        file(f"{libraries}/libjpeg.so", noise(f"libjpeg {arch}", 340_000), 0o755),
        *tiff,
        *map(directory, ("root/.cache", "root/.cache/pip", "root/.cache/pip/wheels")),
        file("root/.cache/pip/wheels/pillow.whl", noise(f"pillow wheel {arch}", 400_000)),
    )


@cache
def _static() -> Layer:
    return layer(
        *map(directory, ("app", "app/static")),
        file("app/static/catalogue.bin", noise("catalogue", 500_000)),
        file("app/static/style.css", "body { margin: 0 }\n" * 40),
    )


def _api_files(version: str, *more: Member, owner: int = 0) -> Layer:
    return layer(*_program(version, owner), *more)


def _program(version: str, owner: int) -> list[Member]:
    grown = version == "2.1"
    settings = _SETTINGS.format(
        workers=8 if grown else 4,
        more='\n[thumbnails]\nsizes = [96, 320]\nkeep = "7d"\n' if grown else "",
    )
    code = f'VERSION = "{version}"\n' + "".join(f"def view_{n}(): ...\n" for n in range(60))
    return [
        *(directory(path, owner=owner) for path in ("app", "app/shop")),
        file("app/settings.toml", settings, owner=owner),
        file("app/shop/__init__.py", "", owner=owner),
        file("app/shop/api.py", code, owner=owner),
    ]


def _owned(version: str) -> Layer:
    """Return what ``chown -R`` makes of everything in ``/app``: a second copy."""
    return _api_files(
        version,
        directory("app/static", owner=1000),
        file("app/static/catalogue.bin", noise("catalogue", 500_000), owner=1000),
        file("app/static/style.css", "body { margin: 0 }\n" * 40, owner=1000),
        owner=1000,
    )
