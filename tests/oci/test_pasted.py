"""Hints for commands and lines that are pasted where a reference is wanted."""

from __future__ import annotations

import pytest

from didlab.errors import InvalidReference
from didlab.oci.reference import Reference

COMMANDS = [
    ("docker run -it --rm nginx:1 bash", "nginx:1"),
    ("docker run -itp 80:80 --name web -e A=1 nginx:1 echo hello", "nginx:1"),
    ("docker run -p8080:80 --network=host nginx:1", "nginx:1"),
    ("docker container create --gpus all --read-only org/app", "org/app"),
    ("docker --context far pull -q nginx", "nginx"),
    ("docker pull nginx:1 --platform linux/amd64", "nginx:1"),
    ("$ docker pull nginx", "nginx"),
    ("# sudo podman pull quay.io/o/i", "quay.io/o/i"),
    ("$ nginx:1", "nginx:1"),
    ("image: nginx:1", "nginx:1"),
    ('  - image: "ghcr.io/o/i:2"', "ghcr.io/o/i:2"),
    ("FROM nginx:1 AS build", "nginx:1"),
    ("ctr images pull docker.io/library/nginx:1", "docker.io/library/nginx:1"),
    ("skopeo copy docker://nginx:1 dir:/tmp/x", "nginx:1"),
    ("docker image inspect nginx:1", "nginx:1"),
]


@pytest.mark.parametrize(("text", "image"), COMMANDS)
def test_the_image_of_a_command(text: str, image: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert caught.value.hint == f"write {image}"


@pytest.mark.parametrize(
    "text",
    [
        "docker run --some-option web nginx:1",
        "docker run -x web nginx:1",
        "docker run",
        "docker exec -it web bash",
        "docker build -t me/app .",
        "docker run --name",
        "docker pull -",
        "$ ",
        "image: ",
        "FROM ",
    ],
)
def test_no_guess(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse(text)
    assert "write web" not in str(caught.value.hint)
    assert "nginx" not in str(caught.value.hint)
