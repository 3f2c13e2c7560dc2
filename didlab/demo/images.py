"""The demo images: four small repositories, built in memory.

``demo/hello``
    An OCI index for three platforms with BuildKit's attestations beside them.
``demo/web``
    A Docker manifest list; its layers delete files, hide a directory, replace and link files.
``demo/single``
    One Docker image, no list.
``demo/oci``
    One OCI image whose manifest does not state its media type.
"""

from __future__ import annotations

from functools import cache

from didlab.demo.content import (
    DOCKER,
    OCI,
    OCI_WITHOUT_MEDIA_TYPE,
    Layer,
    RepositoryContent,
    Step,
    directory,
    file,
    layer,
    symlink,
)
from didlab.demo.elf import program
from didlab.demo.web import web

__all__ = ["repositories"]

_AMD64 = {"architecture": "amd64", "os": "linux"}
_PLATFORMS = [
    _AMD64,
    {"architecture": "arm64", "os": "linux", "variant": "v8"},
    {"architecture": "arm", "os": "linux", "variant": "v7"},
]
_BUILDKIT = "buildkit.dockerfile.v0"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@cache
def repositories() -> dict[str, RepositoryContent]:
    """Return the demo repositories by name; built once in a process, to be read only."""
    return {item.name: item for item in (hello(), oci(), single(), web())}


def hello() -> RepositoryContent:
    """Build ``demo/hello``."""
    repository = RepositoryContent("demo/hello")
    for version, created in (("1.0", "2024-03-01T09:00:00Z"), ("1.1", "2024-06-01T10:00:00Z")):
        images = []
        for platform in _PLATFORMS:
            name = "/".join([platform["os"], platform["architecture"], *_variant(platform)])
            text = f"Hello from didlab's sandbox: demo/hello {version} on {name}.\n"
            binary = program(platform["architecture"], text)
            steps = [
                Step(
                    "COPY hello /hello # buildkit", layer(file("hello", binary, 0o755)), _BUILDKIT
                ),
                Step("COPY README /usr/share/doc/hello/ # buildkit", _readme(), _BUILDKIT),
                Step('ENTRYPOINT ["/hello"]', None, _BUILDKIT),
            ]
            config = {
                "Env": [_PATH],
                "Entrypoint": ["/hello"],
                "WorkingDir": "/",
                "Labels": {"org.opencontainers.image.version": version},
            }
            images.append(
                repository.add_image(
                    OCI, platform=platform, created=created, config=config, steps=steps
                )
            )
        attestations = [
            repository.add_attestation(image, f"demo/hello@{version}", created) for image in images
        ]
        index = repository.add_index(OCI, [*images, *attestations])
        repository.tags[version] = repository.tags["latest"] = index["digest"]
    return repository


def _variant(platform: dict[str, str]) -> list[str]:
    return [platform["variant"]] if "variant" in platform else []


@cache
def _readme() -> Layer:
    text = "hello prints one line and exits.\nIts source is didlab/demo/elf.py.\n"
    folders = ("usr", "usr/share", "usr/share/doc", "usr/share/doc/hello")
    return layer(*map(directory, folders), file("usr/share/doc/hello/README", text))


def single() -> RepositoryContent:
    """Build ``demo/single``."""
    repository = RepositoryContent("demo/single")
    binary = program("amd64", "Hello from demo/single 1.0.\n")
    files = layer(
        *map(directory, ("usr", "usr/bin", "etc")),
        file("usr/bin/hello", binary, 0o755),
        symlink("bin", "usr/bin"),
        file("etc/hostname", "single\n"),
    )
    # Docker writes null for what is not set.
    config = {"Env": [_PATH], "Cmd": ["/usr/bin/hello"], "Entrypoint": None, "Labels": None}
    steps = [
        Step("/bin/sh -c #(nop) ADD dir:hello in / ", files),
        Step('/bin/sh -c #(nop)  CMD ["/usr/bin/hello"]'),
    ]
    image = repository.add_image(
        DOCKER,
        platform=_AMD64,
        created="2023-11-05T12:30:00.123456789Z",
        config=config,
        steps=steps,
    )
    repository.tags["1.0"] = repository.tags["latest"] = image["digest"]
    return repository


def oci() -> RepositoryContent:
    """Build ``demo/oci``."""
    repository = RepositoryContent("demo/oci")
    created = "2024-01-15T08:00:00Z"
    binary = program("amd64", "Hello from demo/oci 1.0.\n")
    steps = [
        Step("umoci insert hello /hello", layer(file("hello", binary, 0o755))),
        Step("umoci insert README /usr/share/doc/hello/", _readme()),
        Step("umoci config --config.entrypoint /hello"),
    ]
    annotations = {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.title": "demo/oci",
    }
    image = repository.add_image(
        OCI_WITHOUT_MEDIA_TYPE,
        platform=_AMD64,
        created=created,
        config={"Entrypoint": ["/hello"]},
        steps=steps,
        annotations=annotations,
    )
    repository.tags["1.0"] = repository.tags["latest"] = image["digest"]
    return repository
