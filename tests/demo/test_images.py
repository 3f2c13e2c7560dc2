"""The demo images are real: consistent, repeatable, accepted by skopeo, and they run."""

import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile

import pytest

from didlab.demo import images, web
from didlab.demo.content import digest_of, noise
from didlab.demo.elf import ARCHITECTURES, program
from didlab.demo.images import repositories
from didlab.demo.server import DemoServer

SKOPEO = shutil.which("skopeo")
INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}


def image_manifests(repository):
    """(platform or None, manifest) of every image, attestations left out."""
    found = []
    for media_type, raw in repository.manifests.values():
        document = json.loads(raw)
        if media_type in INDEXES or "in-toto" in document["layers"][0]["mediaType"]:
            continue
        found.append(document)
    return found


def layer_members(repository, descriptor):
    raw = gzip.decompress(repository.blobs[descriptor["digest"]])
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {
            member.name: (member, tar.extractfile(member).read() if member.isreg() else None)
            for member in tar
        }


def of_platform(name, tag, architecture):
    repository = repositories()[name]
    index = json.loads(repository.manifests[repository.tags[tag]][1])
    [entry] = [
        item for item in index["manifests"] if item["platform"]["architecture"] == architecture
    ]
    return repository, json.loads(repository.manifests[entry["digest"]][1])


def test_the_four_repositories_and_their_tags():
    assert {name: sorted(item.tags) for name, item in repositories().items()} == {
        "demo/hello": ["1.0", "1.1", "latest"],
        "demo/oci": ["1.0", "latest"],
        "demo/single": ["1.0", "latest"],
        "demo/web": ["1.26", "1.27", "latest"],
    }
    for item in repositories().values():
        newest = sorted(tag for tag in item.tags if tag != "latest")[-1]
        assert item.tags["latest"] == item.tags[newest]


@pytest.mark.parametrize("name", ["demo/hello", "demo/oci", "demo/single", "demo/web"])
def test_every_descriptor_tells_the_digest_and_size_of_what_is_there(name):
    repository = repositories()[name]
    seen = set()
    pending = [
        {"digest": digest, "size": len(repository.manifests[digest][1])}
        for digest in repository.tags.values()
    ]
    while pending:
        descriptor = pending.pop()
        digest = descriptor["digest"]
        seen.add(digest)
        if digest in repository.manifests:
            media_type, data = repository.manifests[digest]
            assert descriptor.get("mediaType", media_type) == media_type
            document = json.loads(data)
            pending += document.get("manifests", []) + document.get("layers", [])
            pending += [document["config"]] if "config" in document else []
        else:
            data = repository.blobs[digest]
        assert len(data) == descriptor["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
    assert seen == set(repository.manifests) | set(repository.blobs)  # nothing left over


@pytest.mark.parametrize("name", ["demo/hello", "demo/oci", "demo/single", "demo/web"])
def test_diff_ids_and_history_line_up_with_the_layers(name):
    repository = repositories()[name]
    manifests = image_manifests(repository)
    assert manifests
    for manifest in manifests:
        config = json.loads(repository.blobs[manifest["config"]["digest"]])
        diff_ids = [
            digest_of(gzip.decompress(repository.blobs[item["digest"]]))
            for item in manifest["layers"]
        ]
        assert config["rootfs"]["diff_ids"] == diff_ids
        filled = [line for line in config["history"] if not line.get("empty_layer")]
        assert len(filled) == len(diff_ids)


def test_building_again_gives_the_same_bytes():
    first = repositories()["demo/web"], repositories()["demo/hello"]
    for part in (web._base, web._install, web._clean_up, web._assets, web._pages, web._site):
        part.cache_clear()
    web._user.cache_clear()
    images._readme.cache_clear()
    again = web.web(), images.hello()
    assert again[0] is not first[0]
    for one, other in zip(first, again, strict=True):
        assert (one.tags, one.manifests, one.blobs) == (other.tags, other.manifests, other.blobs)


def test_another_interpreter_with_other_surroundings_builds_the_same(tmp_path):
    code = (
        "from didlab.demo.images import repositories\n"
        "print({n: r.tags for n, r in repositories().items()})"
    )
    import didlab

    root = str(tmp_path.__class__(didlab.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        env={"PYTHONPATH": root, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SYSTEMROOT": "C:\\"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == str({n: r.tags for n, r in repositories().items()})


def test_gzip_headers_tell_nothing_about_this_machine():
    for repository in repositories().values():
        for blob in repository.blobs.values():
            if blob[:2] == b"\x1f\x8b":
                assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_hello_is_an_index_with_attestations():
    repository = repositories()["demo/hello"]
    media_type, raw = repository.manifests[repository.tags["1.1"]]
    assert media_type == "application/vnd.oci.image.index.v1+json"
    entries = json.loads(raw)["manifests"]
    assert ["/".join(e["platform"].values()) for e in entries[:3]] == [
        "amd64/linux",
        "arm64/linux/v8",
        "arm/linux/v7",
    ]
    for image, attestation in zip(entries[:3], entries[3:], strict=True):
        assert attestation["platform"] == {"architecture": "unknown", "os": "unknown"}
        assert attestation["annotations"] == {
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        [layer] = json.loads(repository.manifests[attestation["digest"]][1])["layers"]
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        statement = json.loads(repository.blobs[layer["digest"]])
        assert statement["subject"][0]["digest"]["sha256"] == image["digest"][7:]
        assert statement["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]


def test_oci_does_not_state_its_media_type_and_single_does():
    [oci] = repositories()["demo/oci"].manifests.values()
    [single] = repositories()["demo/single"].manifests.values()
    assert oci[0] == "application/vnd.oci.image.manifest.v1+json"
    assert "mediaType" not in json.loads(oci[1])
    assert json.loads(single[1])["mediaType"] == single[0]
    assert single[0] == "application/vnd.docker.distribution.manifest.v2+json"


def test_web_deletes_hides_replaces_and_links():
    repository, manifest = of_platform("demo/web", "1.27", "arm64")
    layers = [layer_members(repository, item) for item in manifest["layers"]]
    base, install, clean_up, _assets, pages, site, user = layers
    archive = "var/cache/apt/archives/demo-web_1.27-1_arm64.deb"
    assert archive in install
    assert set(clean_up) == {
        "var/cache/apt/archives/.wh.demo-web_1.27-1_arm64.deb",
        "var/lib/apt/.wh.lists",
    }
    assert any(name.startswith("var/lib/apt/lists/") for name in install)
    assert "etc/demo-web/conf.d/default.conf" in install
    assert list(site) == [
        "etc/demo-web/conf.d",
        "etc/demo-web/conf.d/.wh..wh..opq",
        "etc/demo-web/conf.d/site.conf",
    ]
    assert base["etc/passwd"][1] != user["etc/passwd"][1]
    assert base["etc/os-release"][0].linkname == "../usr/lib/os-release"
    assert base["usr/bin/dash"][0].islnk()
    assert base["usr/bin/su"][0].mode == 0o4755
    assert user["var/log/demo-web/access.log"][0].linkname == "/dev/stdout"
    assert "srv/www/größe.html" in pages
    assert b"Package: demo-web\n" in install["var/lib/dpkg/status"][1]


def test_web_shares_layers_between_versions_and_architectures():
    def digests(tag, architecture):
        manifest = of_platform("demo/web", tag, architecture)[1]
        return [item["digest"] for item in manifest["layers"]]

    old, new, arm = digests("1.26", "amd64"), digests("1.27", "amd64"), digests("1.27", "arm64")
    assert [a == b for a, b in zip(old, new, strict=True)] == [
        *(True, False, False, True, False, True, True)
    ]
    assert [a == b for a, b in zip(new, arm, strict=True)] == [
        *(False, False, False, True, True, True, True)
    ]


def test_sizes_are_small_with_one_layer_worth_a_progress_bar():
    blobs = {key: len(b) for item in repositories().values() for key, b in item.blobs.items()}
    large = [size for size in blobs.values() if size > 1_000_000]
    assert len(large) == 1
    assert 1_900_000 < large[0] < 2_200_000
    assert sum(blobs.values()) - large[0] < 600_000


def test_noise_is_fixed():
    assert noise("photos", 8).hex() == "963bd9b57fb220fd"
    assert noise("photos", 8) != noise("photo", 8)


# --- programs -------------------------------------------------------------------------------

RUNNERS = {"arm64": "qemu-aarch64", "arm": "qemu-arm", "amd64": "qemu-x86_64"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def run(path, architecture):
    path.chmod(0o755)
    if sys.platform == "linux" and platform.machine() == MACHINES.get(architecture):
        command = [str(path)]
    elif emulator := shutil.which(RUNNERS[architecture]):
        command = [emulator, str(path)]
    else:
        pytest.skip(f"nothing here runs Linux programs for {architecture}")
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [1, 30, 4000])
def test_programs_print_their_text_and_exit_with_zero(tmp_path, architecture, size):
    text = "x" * (size - 1) + "\n"
    path = tmp_path / "program"
    path.write_bytes(program(architecture, text))
    result = run(path, architecture)
    assert (result.returncode, result.stdout, result.stderr) == (0, text.encode(), b"")


@pytest.mark.parametrize("architecture", ["amd64", "arm64", "arm"])
def test_the_program_in_the_layer_runs(tmp_path, architecture):
    repository, manifest = of_platform("demo/hello", "1.1", architecture)
    member, data = layer_members(repository, manifest["layers"][0])["hello"]
    assert member.mode == 0o755
    path = tmp_path / "hello"
    path.write_bytes(data)
    result = run(path, architecture)
    variant = {"arm64": "/v8", "arm": "/v7"}.get(architecture, "")
    assert result.returncode == 0
    assert result.stdout.decode() == (
        f"Hello from didlab's sandbox: demo/hello 1.1 on linux/{architecture}{variant}.\n"
    )


def test_programs_refuse_longer_texts():
    with pytest.raises(ValueError, match="4000"):
        program("amd64", "x" * 4001)


# --- skopeo ---------------------------------------------------------------------------------


def skopeo(*arguments):
    result = subprocess.run(
        [SKOPEO, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def server():
    with DemoServer(auth=("anna", "secret")) as running:
        yield running


TAGGED = [(name, tag) for name, item in repositories().items() for tag in item.tags]


@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not here")
@pytest.mark.parametrize(("name", "tag"), TAGGED)
def test_skopeo_inspects_and_copies(server, tmp_path, name, tag):
    source = f"docker://{server.host}/{name}:{tag}"
    login = ["--creds", "anna:secret"]
    raw = skopeo("inspect", "--tls-verify=false", *login, "--raw", source)
    repository = repositories()[name]
    assert raw.encode() == repository.manifests[repository.tags[tag]][1]
    facts = json.loads(skopeo("inspect", "--tls-verify=false", *login, source))
    assert facts["Digest"] == repository.tags[tag]
    assert facts["Architecture"] in {"amd64", "arm64"}
    # oci: would drop an index's digest when it converts Docker's types; dir: keeps every byte.
    for kind in ("dir", "oci"):
        target = tmp_path / kind
        copy = ["copy", "-q", "--all", "--src-tls-verify=false", "--src-creds", "anna:secret"]
        skopeo(*copy, source, f"{kind}:{target}" + (":demo" if kind == "oci" else ""))
    assert (tmp_path / "dir" / "manifest.json").read_bytes() == raw.encode()
    blobs = {path.name for path in (tmp_path / "oci" / "blobs" / "sha256").iterdir()}
    layers = {
        item["digest"]
        for digest in _below(repository, repository.tags[tag])
        for item in json.loads(repository.manifests[digest][1])["layers"]
    }
    assert layers
    assert {digest.removeprefix("sha256:") for digest in layers} <= blobs


def _below(repository, digest):
    document = json.loads(repository.manifests[digest][1])
    return [item["digest"] for item in document.get("manifests", [])] or [digest]
