"""Several images, several platforms, image layouts; and what a save would take."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest
from rig.actions import half_close_after, hang_up, redirect
from rig.faults import FaultServer
from rig.images import make_image, make_index
from rig.loaders import skopeo, umoci

import didlab
from didlab import errors


@pytest.fixture(scope="module")
def names(lab):
    return [f"{lab.host}/lab/small:1", f"{lab.host}/lab/small:2", f"{lab.host}/lab/app:latest"]


@pytest.fixture(scope="module")
def bundle(names, tmp_path_factory):
    return didlab.save(names, tmp_path_factory.mktemp("bundle") / "bundle.tar")


def blobs(path) -> list[str]:
    with tarfile.open(path) as tar:
        return [name for name in tar.getnames() if name.startswith("blobs/")]


# --- several images ------------------------------------------------------------------------------


def test_a_bundle_holds_what_is_shared_once(bundle, names):
    found = blobs(bundle)
    assert len(found) == len(set(found))
    assert [image.reference for image in bundle.images] == names
    assert bundle.digest is None
    layers = [didlab.open(name).layers()["digest"] for name in names]
    distinct = set().union(*layers)
    assert sum(len(digests) for digests in layers) > len(distinct)
    assert distinct <= {f"sha256:{name.rpartition('/')[2]}" for name in found}


def test_the_bytes_on_the_wire_are_those_of_the_distinct_blobs(lab, names, tmp_path):
    with lab.record() as seen:
        report = didlab.save(names, tmp_path / "again.tar")
    fetched = [entry.path for entry in seen if "/blobs/" in entry.path]
    assert len(fetched) == len(set(fetched))
    assert report.downloaded == didlab.plan(names).query("kind == 'layer'")["size"].sum()


def test_docker_loads_every_image_of_a_bundle(bundle, dockerd):
    dockerd.run("load", "-i", str(bundle))
    for image in bundle.images:
        assert dockerd.inspect(image.reference)["Id"] == image.image_id


def test_podman_loads_every_image_of_a_bundle(bundle, podman):
    podman.run("load", "-i", str(bundle))
    for image in bundle.images:
        assert podman.inspect(image.reference)["Id"] == image.image_id.removeprefix("sha256:")


def test_containerd_imports_every_image_of_a_bundle(bundle, ctr):
    ctr.load(str(bundle))
    for image in bundle.images:
        assert ctr.images()[image.reference] == image.digest


def test_a_bundle_is_deterministic_and_recognised(bundle, names, tmp_path):
    again = didlab.save(names, tmp_path / "again.tar", workers=1)
    assert again.path.read_bytes() == bundle.path.read_bytes()
    assert didlab.save(names, bundle.path).downloaded == 0


def test_images_of_two_registries(lab, registry_token, tmp_path):
    report = didlab.save(
        [f"{lab.host}/lab/small:1", f"{registry_token.host}/lab/app:oci"], tmp_path / "two.tar"
    )
    assert set(report.served) == {lab.host, registry_token.host}


def test_one_name_cannot_stand_for_two_images(lab, tmp_path):
    images = [
        didlab.open(f"{lab.host}/lab/app:multi")[name] for name in ("linux/amd64", "linux/arm64")
    ]
    with pytest.raises(errors.InvalidArgument, match="two images"):
        didlab.save(images, tmp_path / "two.tar")


@pytest.mark.parametrize("nothing", [[], ()])
def test_nothing(nothing, tmp_path):
    with pytest.raises(errors.InvalidArgument):
        didlab.save(nothing, tmp_path / "none.tar")


def test_a_bundle_wants_a_name(names, tmp_path):
    with pytest.raises(errors.InvalidArgument):
        didlab.save(names, tmp_path)


# --- several platforms ---------------------------------------------------------------------------


def test_all_platforms_keep_the_index_as_it_is(lab, tmp_path):
    image = didlab.open(f"{lab.host}/lab/app:multi")
    report = image.save(tmp_path / "all.tar", platform="all")
    assert report.digest == image.digest()
    with tarfile.open(report) as tar:
        raw = tar.extractfile(f"blobs/sha256/{image.digest()[7:]}").read()
    assert raw == image.raw()
    raw = skopeo("inspect", "--raw", f"oci-archive:{report}")
    assert "sha256:" + hashlib.sha256(raw.encode()).hexdigest() == image.digest()
    assert len(report.images[0].platforms) == 3


def test_every_platform_is_complete(lab, tmp_path, ctr):
    """ctr refuses an index with children missing; skopeo copies all of them."""
    report = didlab.open(f"{lab.host}/lab/app:multi").save(tmp_path / "all.tar", platform="all")
    skopeo("copy", "--all", f"oci-archive:{report}", f"dir:{tmp_path}/copy")
    ctr.run("images", "import", "--all-platforms", "--no-unpack", str(report))
    assert ctr.images()[f"{lab.host}/lab/app:multi"] == report.digest


def test_some_platforms_cut_the_index(lab, tmp_path, dockerd):
    image = didlab.open(f"{lab.host}/lab/app:multi")
    report = image.save(tmp_path / "two.tar", platform=["linux/arm64", "linux/amd64"])
    assert report.images[0].platforms == ("linux/amd64", "linux/arm64/v8")
    assert report.digest != image.digest()
    raw = json.loads(skopeo("inspect", "--raw", f"oci-archive:{report}"))
    kept = [entry["digest"] for entry in raw["manifests"]]
    listed = image.platforms().set_index("platform")["digest"]
    assert kept[:2] == [listed["linux/amd64"], listed["linux/arm64/v8"]]
    assert listed["linux/arm/v7"] not in kept
    dockerd.run("load", "-i", str(report))
    assert dockerd.inspect(f"{lab.host}/lab/app:multi")["Id"] == image["linux/amd64"].image_id()


def test_a_platform_that_is_not_there(lab, tmp_path):
    image = didlab.open(f"{lab.host}/lab/app:multi")
    with pytest.raises(errors.PlatformNotFound):
        image.save(tmp_path / "x.tar", platform=["linux/amd64", "linux/s390x"])
    with pytest.raises(errors.InvalidArgument):
        image["linux/amd64"].save(tmp_path / "x.tar", platform="all")
    assert list(tmp_path.iterdir()) == []


def test_all_of_a_single_image_is_the_image(lab, tmp_path):
    report = didlab.open(f"{lab.host}/lab/app:latest").save(tmp_path / "x.tar", platform="all")
    assert report.platform == "linux/amd64"


def test_all_of_a_nested_index(tmp_path):
    with FaultServer() as server:
        inner = make_index([make_image([{"a": b"1"}], "linux/amd64")])
        outer = make_index([inner, make_image([{"b": b"2"}], "linux/arm64")])
        server.add_image("lab/nested", "1", outer)
        report = didlab.open(f"{server.host}/lab/nested:1").save(
            tmp_path / "all.tar", platform="all"
        )
    held = set(blobs(report))
    for document in (outer, inner):
        assert f"blobs/sha256/{document.digest[7:]}" in held
    # Two manifests, two configs, two layers; skopeo itself does not go into nested indexes.
    assert len(held) == 2 + 6


# --- layouts -------------------------------------------------------------------------------------


def test_a_layout_is_read_by_umoci_and_skopeo(lab, tmp_path):
    image = didlab.open(f"{lab.host}/lab/app:oci")
    report = image.save(tmp_path / "layout", format="oci-dir")
    assert report.path == tmp_path / "layout"
    umoci("unpack", "--rootless", "--image", f"{tmp_path}/layout:oci", f"{tmp_path}/bundle")
    assert skopeo("inspect", "--raw", f"oci:{tmp_path}/layout:oci").encode() == image.raw()


def test_a_layout_gets_further_images_and_keeps_the_others(lab, tmp_path):
    layout = tmp_path / "layout"
    didlab.open(f"{lab.host}/lab/app:oci").save(layout, format="oci-dir")
    before = {path: path.stat().st_mtime_ns for path in layout.rglob("*") if path.is_file()}
    with lab.record() as seen:
        report = didlab.open(f"{lab.host}/lab/app:multi", platform="linux/amd64").save(
            layout, format="oci-dir"
        )
    assert report.reused > 0
    assert len([entry for entry in seen if "/blobs/" in entry.path]) <= 1  # its config
    for path, modified in before.items():
        if path.name != "index.json":
            assert path.stat().st_mtime_ns == modified
    index = json.loads((layout / "index.json").read_bytes())
    assert len(index["manifests"]) == 2
    for tag in ("oci", "multi"):
        skopeo("copy", f"oci:{layout}:{tag}", f"dir:{tmp_path}/copy-{tag}")


def test_the_same_again_changes_nothing(lab, tmp_path):
    image = didlab.open(f"{lab.host}/lab/app:multi")
    image.save(tmp_path / "layout", format="oci-dir", platform="all")
    first = {path: path.read_bytes() for path in (tmp_path / "layout").rglob("*") if path.is_file()}
    again = image.save(tmp_path / "layout", format="oci-dir", platform="all")
    assert again.downloaded == 0
    assert first == {
        path: path.read_bytes() for path in (tmp_path / "layout").rglob("*") if path.is_file()
    }


def test_a_rotten_blob_in_a_layout_is_fetched_anew(lab, tmp_path):
    image = didlab.open(f"{lab.host}/lab/small:1")
    image.save(tmp_path / "layout", format="oci-dir")
    layer = image.layer(0)
    path = tmp_path / "layout" / "blobs" / "sha256" / layer.digest[7:]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert image.save(tmp_path / "layout", format="oci-dir").downloaded == layer.size
    assert path.read_bytes() == whole


def test_a_name_in_a_layout_is_not_taken_away(tmp_path):
    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image([{"a": b"1"}]))
        didlab.open(f"{server.host}/lab/app:1").save(tmp_path / "layout", format="oci-dir")
        server.add_image("lab/app", "1", make_image([{"a": b"2"}]))
        image = didlab.open(f"{server.host}/lab/app:1")
        with pytest.raises(errors.DestinationExists):
            image.save(tmp_path / "layout", format="oci-dir")
        image.save(tmp_path / "layout", format="oci-dir", overwrite=True)
    index = json.loads((tmp_path / "layout" / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [image.digest()]


def test_a_folder_that_is_something_else(lab, tmp_path):
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(errors.DestinationExists):
        didlab.open(f"{lab.host}/lab/small:1").save(tmp_path, format="oci-dir")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_layout_goes_on_in_another_call(tmp_path):
    import random

    with FaultServer() as server:
        server.add_image("lab/app", "1", make_image([{"a": random.Random(9).randbytes(900_000)}]))
        image = didlab.open(f"{server.host}/lab/app:1")
        digest = image.layer(0).digest
        server.rule(lambda request: digest in request.path, half_close_after(500_000), times=1)
        rule = server.rule(lambda request: digest in request.path, hang_up)
        with pytest.raises(errors.Truncated):
            image.save(tmp_path / "layout", format="oci-dir")
        assert not (tmp_path / "layout" / "index.json").exists()
        server.rules.remove(rule)
        report = image.save(tmp_path / "layout", format="oci-dir")
        assert report.reused >= 250_000
    skopeo("copy", f"oci:{tmp_path}/layout:1", f"dir:{tmp_path}/copy")


def test_an_unknown_format(lab, tmp_path):
    with pytest.raises(errors.Unsupported, match="oci-dir"):
        didlab.open(f"{lab.host}/lab/small:1").save(tmp_path / "x", format="squashfs")


# --- what it would take --------------------------------------------------------------------------


def test_a_plan_lists_each_blob_once(lab, names):
    with lab.record() as seen:
        frame = didlab.plan(names)
    assert not frame["digest"].duplicated().any()
    layers = set(frame.loc[frame["kind"] == "layer", "digest"])
    assert not any(digest in entry.path for entry in seen for digest in layers)
    shared = frame[frame["images"].str.contains(", ")]
    assert not shared.empty
    one = didlab.plan(names[0])
    assert one.query("kind != 'manifest'")["size"].sum() == didlab.open(names[0]).size()


def test_a_plan_of_an_index(lab):
    frame = didlab.plan(f"{lab.host}/lab/app:multi", platform="all")
    assert frame["kind"].value_counts()["index"] == 1
    assert frame["kind"].value_counts()["manifest"] == 4


def test_endpoints_names_every_host(registry_token):
    frame = didlab.endpoints(f"{registry_token.host}/lab/app:latest")
    roles = frame.groupby("role", observed=True)["host"].agg(list).to_dict()
    assert roles["registry"] == [registry_token.host]
    assert roles["token server"] == [registry_token.tokens.host]


def test_endpoints_sees_where_content_lies():
    with FaultServer() as store, FaultServer() as server:
        built = make_image([{"a": b"1" * 100}])
        server.add_image("lab/app", "1", built)
        store.add_image("lab/app", "1", built)
        server.rule(
            lambda request: "/blobs/" in request.path,
            lambda exchange: redirect(f"{store.url}{exchange.request.path}")(exchange),
        )
        frame = didlab.endpoints(f"{server.host}/lab/app:1")
        assert set(frame.loc[frame["role"] == "content", "host"]) == {store.host}
        layer = didlab.open(f"{server.host}/lab/app:1").layer(0)
        assert sum(request.sent for request in store.asked(layer.digest)) <= 1
