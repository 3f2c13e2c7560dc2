"""``demo/web``: what a usual application image looks like, in small.

A Debian-like base, an installed package, a clean-up that deletes files of the layer below,
assets, pages, a directory replaced as a whole, and a user: so that file listings, merged views,
package lists, wasted bytes and differences between versions all have something to show.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from didlab.demo.content import (
    DOCKER,
    Layer,
    RepositoryContent,
    Step,
    directory,
    file,
    layer,
    link,
    noise,
    opaque,
    symlink,
    whiteout,
)
from didlab.demo.elf import program

__all__ = ["web"]

_OS_RELEASE = """\
PRETTY_NAME="Didlab Demo Linux 12"
NAME="Didlab Demo Linux"
VERSION_ID="12"
ID=demo
ID_LIKE=debian
"""
_USERS = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_WEB_USER = "web:x:101:101:demo web:/srv/www:/usr/sbin/nologin\n"
_CONFIG = "listen 8080\nroot /srv/www\ninclude /etc/demo-web/conf.d/*.conf\n"


def web() -> RepositoryContent:
    """Build ``demo/web``."""
    repository = RepositoryContent("demo/web")
    for version, created in (("1.26", "2024-04-23T14:01:12Z"), ("1.27", "2024-05-29T17:20:05Z")):
        images = [
            repository.add_image(
                DOCKER,
                platform=platform,
                created=created,
                config=_config(version),
                steps=_steps(arch, version),
            )
            for arch, platform in (
                ("amd64", {"architecture": "amd64", "os": "linux"}),
                ("arm64", {"architecture": "arm64", "os": "linux", "variant": "v8"}),
            )
        ]
        index = repository.add_index(DOCKER, images)
        repository.tags[version] = repository.tags["latest"] = index["digest"]
    return repository


def _config(version: str) -> dict[str, Any]:
    return {
        "User": "web",
        "ExposedPorts": {"8080/tcp": {}},
        "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"DEMO_WEB_VERSION={version}",
        ],
        "Entrypoint": ["/usr/bin/demo-web"],
        "Cmd": ["--config", "/etc/demo-web/web.conf"],
        "Volumes": {"/var/cache/demo-web": {}},
        "WorkingDir": "/srv/www",
        "Labels": {
            "maintainer": "The didlab developers",
            "org.opencontainers.image.title": "demo/web",
            "org.opencontainers.image.version": version,
        },
        "StopSignal": "SIGQUIT",
    }


def _steps(arch: str, version: str) -> list[Step]:
    nop = "/bin/sh -c #(nop) "
    return [
        Step(nop + "ADD file:rootfs.tar in / ", _base(arch)),
        Step(nop + ' CMD ["sh"]'),
        Step(nop + " LABEL maintainer=The didlab developers"),
        Step(nop + f" ENV DEMO_WEB_VERSION={version}"),
        Step(
            "/bin/sh -c apt-get update && apt-get install -y demo-web=${DEMO_WEB_VERSION}",
            _install(arch, version),
        ),
        Step(
            "/bin/sh -c rm -rf /var/lib/apt/lists /var/cache/apt/archives/*.deb",
            _clean_up(version, arch),
        ),
        Step(nop + "COPY dir:assets in /srv/www/assets ", _assets()),
        Step(nop + "COPY dir:html in /srv/www ", _pages(version)),
        Step(
            "/bin/sh -c rm -rf /etc/demo-web/conf.d && mkdir /etc/demo-web/conf.d"
            " && echo 'server_name demo' > /etc/demo-web/conf.d/site.conf",
            _site(),
        ),
        Step(
            "/bin/sh -c useradd --uid 101 web && ln -sf /dev/stdout /var/log/demo-web/access.log",
            _user(),
        ),
        Step(nop + " USER web"),
        Step(nop + " EXPOSE 8080"),
        Step(nop + " STOPSIGNAL SIGQUIT"),
        Step(nop + ' ENTRYPOINT ["/usr/bin/demo-web"]'),
        Step(nop + ' CMD ["--config" "/etc/demo-web/web.conf"]'),
    ]


def _package(name: str, version: str, arch: str, *, size: int, text: str, depends: str = "") -> str:
    lines = [
        f"Package: {name}",
        "Status: install ok installed",
        "Priority: optional",
        "Section: demo",
        f"Installed-Size: {size}",
        "Maintainer: The didlab developers <demo@didlab.invalid>",
        f"Architecture: {arch}",
        f"Version: {version}",
        *([f"Depends: {depends}"] if depends else []),
        f"Description: {text}",
    ]
    return "\n".join(lines) + "\n\n"


def _base_packages(arch: str) -> str:
    return _package(
        "base-files", "12.4", "all", size=340, text="the base directories and files"
    ) + _package("libdemo1", "1.4.2-3", arch, size=61, text="what every demo needs")


def _libdemo(arch: str) -> str:
    cpu = {"amd64": "x86_64", "arm64": "aarch64"}[arch]
    return f"usr/lib/{cpu}-linux-gnu/libdemo.so.1"


@cache
def _base(arch: str) -> Layer:
    library = _libdemo(arch)
    return layer(
        symlink("bin", "usr/bin"),
        *map(directory, ("dev", "etc", "home", "proc")),
        symlink("lib", "usr/lib"),
        directory("root", 0o700),
        directory("run"),
        symlink("sbin", "usr/sbin"),
        *map(directory, ("srv", "sys")),
        directory("tmp", 0o1777),
        *map(directory, ("usr", "usr/bin", "usr/lib", library.rpartition("/")[0], "usr/sbin")),
        *map(directory, ("usr/share", "usr/share/doc", "var", "var/cache", "var/cache/apt")),
        *map(directory, ("var/cache/apt/archives", "var/lib", "var/lib/apt", "var/lib/apt/lists")),
        *map(directory, ("var/lib/dpkg", "var/log")),
        file("etc/passwd", _USERS),
        file("etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n"),
        file("etc/shadow", "root:*:19000:0:99999:7:::\n", 0o640),
        file("etc/hostname", "demo\n"),
        symlink("etc/os-release", "../usr/lib/os-release"),
        file("usr/lib/os-release", _OS_RELEASE),
        file(f"{library}.4.2", noise(f"libdemo {arch}", 60_000)),
        symlink(library, "libdemo.so.1.4.2"),
        file("usr/bin/sh", program(arch, "This is demo/web's sh: it only says so.\n"), 0o755),
        link("usr/bin/dash", "usr/bin/sh", 0o755),
        file("usr/bin/su", program(arch, "su\n"), 0o4755),
        file("var/lib/dpkg/status", _base_packages(arch)),
    )


def _archive(version: str, arch: str) -> str:
    return f"var/cache/apt/archives/demo-web_{version}-1_{arch}.deb"


@cache
def _install(arch: str, version: str) -> Layer:
    says = f"demo-web {version} serves nothing; it shows what an image looks like.\n"
    status = _base_packages(arch) + _package(
        "demo-web",
        f"{version}-1",
        arch,
        size=96,
        text="a web server that serves nothing",
        depends="libdemo1",
    )
    doc = "usr/share/doc/demo-web"
    changes = "".join(
        f"demo-web ({version}-{number}) stable; urgency=low\n  * Change number {number}.\n\n"
        for number in range(1, 200)
    )
    return layer(
        directory("etc/demo-web"),
        directory("etc/demo-web/conf.d"),
        file("etc/demo-web/web.conf", _CONFIG),
        file("etc/demo-web/conf.d/default.conf", "server_name localhost\n"),
        file("etc/demo-web/conf.d/example.conf", "# server_name example.org\n"),
        file("usr/bin/demo-web", program(arch, says), 0o755),
        directory(doc),
        file(f"{doc}/changelog", changes),
        file(f"{doc}/copyright", "Apache-2.0\n"),
        file("var/lib/apt/lists/demo_dists_stable_Packages", status * 20),
        file(_archive(version, arch), noise(f"demo-web {version} {arch}", 50_000)),
        file("var/lib/dpkg/status", status),
        directory("var/log/demo-web", owner=101),
        file("var/log/demo-web/access.log", b"", owner=101),
    )


@cache
def _clean_up(version: str, arch: str) -> Layer:
    return layer(whiteout(_archive(version, arch)), whiteout("var/lib/apt/lists"))


@cache
def _assets() -> Layer:
    folder = "srv/www/assets"
    text = "".join(f".column-{n} {{ width: {n}%; }}\n" for n in range(1, 101))
    return layer(
        directory("srv/www"),
        directory(folder),
        file(f"{folder}/style.css", text),
        file(f"{folder}/photos.bin", noise("photos", 2_000_000)),
    )


@cache
def _pages(version: str) -> Layer:
    def page(title: str, text: str) -> str:
        return f"<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"

    return layer(
        directory("srv/www"),
        file("srv/www/index.html", page("demo/web", f"This is version {version}.")),
        file("srv/www/404.html", page("404", "There is nothing here.")),
        file("srv/www/größe.html", page("Größe", "A file name that is not ASCII.")),
    )


@cache
def _site() -> Layer:
    folder = "etc/demo-web/conf.d"
    return layer(
        directory(folder), opaque(folder), file(f"{folder}/site.conf", "server_name demo\n")
    )


@cache
def _user() -> Layer:
    return layer(
        file("etc/passwd", _USERS + _WEB_USER),
        file("etc/group", "root:x:0:\ndaemon:x:1:\nweb:x:101:\nnogroup:x:65534:\n"),
        symlink("var/log/demo-web/access.log", "/dev/stdout"),
    )
