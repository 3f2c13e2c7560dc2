"""``didlab.sandbox(fleet=True)``: real images, the same every time, with something to find."""

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rig import processes

import didlab
from didlab.demo import bases, fleet, shop
from didlab.demo.content import digest_of
from didlab.demo.images import repositories

TAGS = {
    "shop/api": ["1.0", "1.1", "2.0", "2.1", "latest"],
    "shop/base": ["alpine", "buster", "noble", "trixie"],
    "shop/batch": ["0.9", "1.0"],
    "shop/proxy": ["5.0", "5.1", "5.2"],
    "shop/tools": ["1", "2"],
    "shop/web": ["3.0", "3.1", "3.2"],
    "shop/worker": ["1.0", "1.1", "1.2"],
}


@pytest.fixture(scope="module")
def hub():
    with didlab.sandbox(fleet=True) as running:
        yield running


@pytest.fixture(scope="module")
def report(hub, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIDLAB_CACHE", str(tmp_path_factory.mktemp("store")))
        patch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
        images = [hub[name] for name in TAGS]
        checks = ["packages", "secrets", "setuid", "os", "config"]
        yield didlab.audit(images, checks, progress=False)


def found(frame, column):
    """Tag -> what a check has of it, as a set."""
    told = frame.dropna(subset=column)
    names = told["reference"].str.rpartition("/")[2]
    return {name: set(rows[column]) for name, rows in told.groupby(names)}


def test_its_repositories_come_beside_the_others_and_only_when_asked(hub):
    listed = set(hub.repositories()["repository"])
    assert listed == set(repositories()) | set(TAGS)
    assert {name: sorted(hub[name].tags()["tag"]) for name in TAGS} == TAGS
    with didlab.sandbox() as plain:
        assert set(plain.repositories()["repository"]) == set(repositories())


def test_every_descriptor_tells_the_digest_and_size_of_what_is_there():
    for repository in fleet.fleet().values():
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
                data = repository.manifests[digest][1]
                document = json.loads(data)
                pending += document.get("manifests", []) + document.get("layers", [])
                pending += [document["config"]] if "config" in document else []
            else:
                data = repository.blobs[digest]
            assert len(data) == descriptor["size"]
            assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
        assert seen == set(repository.manifests) | set(repository.blobs)


def test_configs_have_the_diff_ids_of_the_layers():
    for repository in fleet.fleet().values():
        for _, raw in repository.manifests.values():
            document = json.loads(raw)
            if "layers" not in document:
                continue
            config = json.loads(repository.blobs[document["config"]["digest"]])
            assert config["rootfs"]["diff_ids"] == [
                digest_of(gzip.decompress(repository.blobs[item["digest"]]))
                for item in document["layers"]
            ]


def test_another_interpreter_with_other_surroundings_builds_the_same(tmp_path):
    code = "from didlab.demo.fleet import fleet\nprint({n: r.tags for n, r in fleet().items()})"
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        env={
            "PYTHONPATH": str(Path(didlab.__file__).parent.parent),
            "PYTHONHASHSEED": "7",
            "TZ": "Asia/Tokyo",
            "SYSTEMROOT": "C:\\",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == str({n: r.tags for n, r in fleet.fleet().items()})


def test_it_is_small():
    blobs = {key: blob for item in fleet.fleet().values() for key, blob in item.blobs.items()}
    assert sum(map(len, blobs.values())) < 8_000_000


def test_images_share_their_bases():
    layers = {
        name: [
            item["digest"]
            for _, raw in repository.manifests.values()
            for item in json.loads(raw).get("layers", [])[:1]
        ]
        for name, repository in fleet.fleet().items()
    }
    for name in set(TAGS) - {"shop/api"}:
        assert set(layers[name]) <= set(layers["shop/base"])
    assert len(set(layers["shop/base"])) == len(bases.BASES)


def test_its_secrets_are_found_where_they_are_and_say_that_they_are_made_up(report):
    assert found(report["secrets"], "rule") == {
        "api:1.0": {"github-token", "password"},
        "api:1.1": {"github-token", "password"},
        "batch:0.9": {"url-password"},
        "batch:1.0": {"url-password"},
        "web:3.0": {"npmrc"},
    }
    deleted = report["secrets"].query("deleted")
    assert set(deleted["path"]) == {"/app/.env"}
    for secret in (shop._TOKEN, fleet._NPM_TOKEN):
        assert "NotAReal" in secret
    assert "made-up" in shop._ENV_FILE
    assert "made-up" in fleet._DATABASE


def test_there_is_something_for_every_check(report):
    assert report.errors.empty
    setuid = report["setuid"]
    own = setuid[~setuid["path"].str.startswith("/usr/bin/")]
    assert set(own["path"]) == {"/usr/local/bin/as-root"}
    packages = report["packages"]
    assert set(packages["ecosystem"]) == {"apk", "deb", "npm", "pypi"}
    systems = found(report["os"], "name")
    assert systems["batch:1.0"] == {"Debian GNU/Linux 10 (buster)"}
    ended = report["os"].loc[report["os"]["supported"].eq(False), "codename"]
    assert set(ended) >= {"buster"}
    root = report["config"].loc[report["config"]["user"].isna(), "reference"]
    assert {"batch:1.0", "tools:2"} <= set(root.str.rpartition("/")[2])


def test_the_newest_api_grew_by_what_it_should_not(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path))
    before, after = (hub["shop/api"][tag]["linux/amd64"] for tag in ("2.0", "2.1"))
    assert before.diff(after).packages()["name"].tolist() == ["pillow", "requests"]
    assert list(after.caches()["kind"]) == ["pip"]
    assert before.caches().empty
    again = after.waste().query("kind == 'metadata'")
    assert again["size"].sum() > 500_000
    assert again["created_by"].str.contains("chown -R").all()
    other = hub["shop/api"]["2.1"]["linux/arm64"]
    files = after.diff(other).files()
    gone = files.loc[files["change"] == "removed", "path"]
    assert [path.rpartition("/")[2] for path in gone] == ["libtiff.so"]


@pytest.mark.skipif(sys.platform != "linux", reason="skopeo is asked on Linux")
def test_skopeo_copies_one_of_each(hub, tmp_path):
    skopeo = processes.require("skopeo", "skopeo")
    for name, tags in TAGS.items():
        source = f"docker://{hub.host}/{name}:{tags[0]}"
        target = f"oci:{tmp_path / 'layout'}:{name.rpartition('/')[2]}"
        command = [skopeo, "copy", "-q", "--all", "--src-tls-verify=false", source, target]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
