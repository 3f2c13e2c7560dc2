"""base(): which image another one was built on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rig.faults import FaultServer
from rig.images import gzipped, make_artifact, make_image, make_index, push_image
from rig.registries import Registry

import didlab
from didlab.errors import InvalidArgument, ManifestNotFound

LAYERS: list[dict[str, Any]] = [{f"file-{number}": bytes([number]) * 99} for number in range(5)]
OTHER: dict[str, Any] = {"other": b"other"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


def rows(df: Any, *columns: str) -> list[tuple[Any, ...]]:
    chosen = df[list(columns)].astype(object)
    return list(chosen.where(chosen.notna(), None).itertuples(index=False, name=None))


def test_tags_of_a_repository(registry: Registry) -> None:
    images = {
        "one": make_image(LAYERS[:1]),
        "two": make_image(LAYERS[:2]),
        "more": make_image([*LAYERS[:2], OTHER]),
        "none": make_image([OTHER]),
        "app": make_image(LAYERS[:4]),
        "same": make_image(LAYERS[:4], Env=["A=1"]),
    }
    for tag, image in images.items():
        push_image(registry.host, "audits/base", tag, image)
    hub = didlab.Registry(registry.host, trust_env=False)
    m = hub["audits/base"]["app"]
    df = m.base(hub["audits/base"])
    where = f"{registry.host}/audits/base"
    found = [
        (ref.rpartition(":")[2], *rest)
        for ref, *rest in rows(df, "reference", "shared_layers", "is_base")
    ]
    # app itself is no base of itself; what only sets a variable is one.
    assert found == [
        ("app", 4, False),
        ("same", 4, True),
        ("two", 2, True),
        ("more", 2, False),
        ("one", 1, True),
        ("none", 0, False),
    ]
    sizes = [layer["size"] for layer in images["app"].layers]
    assert df["shared_bytes"].tolist() == [sum(sizes[:n]) for n in (4, 4, 2, 2, 1, 0)]
    assert df["reference"].str.startswith(where).all()
    assert set(df["platform"]) == {"linux/amd64"}
    assert df["digest"].tolist()[2] == images["two"].digest
    assert df.attrs == {"reference": str(m.reference)}


def test_packed_anew_and_of_other_platforms(server: FaultServer) -> None:
    arm = make_image(LAYERS[:2], "linux/arm64")
    amd = make_image(LAYERS[1:3])
    server.add_image("lab/base", "index", make_index((amd, arm)))
    server.add_image(
        "lab/base",
        "anew",
        make_image(LAYERS[:2], "linux/arm64", compress=lambda tar: gzipped(tar, 1)),
    )
    server.add_image("lab/base", "amd", make_index((amd,)))
    server.add_image("lab/app", "1", make_image(LAYERS[:3], "linux/arm64"))
    server.add_image("lab/base", "sig", make_artifact(b"{}", "application/x", [], {}))
    hub = didlab.Registry(server.host, trust_env=False)
    base = hub["lab/base"]
    df = hub["lab/app"]["1"].base(
        [base["index"], f"{server.host}/lab/base:anew", base["amd"], base["sig"]]
    )
    found = [
        (ref.rpartition(":")[2], *rest)
        for ref, *rest in rows(df, "reference", "platform", "shared_layers", "is_base")
    ]
    assert found == [
        ("anew", "linux/arm64", 2, True),
        ("index", "linux/arm64", 2, True),
        ("amd", None, 0, False),
        ("sig", None, 0, False),
    ]
    assert not any(
        layer["digest"] in request.path for layer in arm.layers for request in server.requests
    )


def test_what_is_no_image(server: FaultServer) -> None:
    server.add_image("lab/app", "1", make_image(LAYERS[:2]))
    hub = didlab.Registry(server.host, trust_env=False)
    m = hub["lab/app"]["1"]
    assert len(m.base([])) == 0
    for bad in (3, None, [3], [None]):
        with pytest.raises(InvalidArgument, match="no"):
            m.base(bad)
    with pytest.raises(ManifestNotFound):
        m.base(hub["lab/app"]["missing"])
    with pytest.raises(ManifestNotFound):
        m.base([m, f"{server.host}/lab/app:missing"])
