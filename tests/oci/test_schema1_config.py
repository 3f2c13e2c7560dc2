"""The config that Docker makes of schema 1: byte for byte, checked against a real dockerd."""

from __future__ import annotations

import json
import random
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rig.images import sha256
from rig.loaders import Docker
from rig.registries import Registry
from rig.schema1 import CREATED, OldImage, document, make_old, push_old
from rig.schema1 import EMPTY as EMPTY_LAYER

from didlab import errors
from didlab.oci import config as configs
from didlab.oci import gojson, schema1, schema1_config
from didlab.oci.schema1_config import UNKNOWN, convert

LAYERS: list[Any] = [{"etc/base": b"base\n"}, None, {"etc/top": b"top\n"}]


def converted(top: Any = None, **options: Any) -> dict[str, Any]:
    old = schema1.parse(make_old(LAYERS, top, **options).raw)
    raw = convert(old, [UNKNOWN] * 2)
    assert len(raw) == schema1_config.size(old)
    configs.parse(raw)
    return json.loads(raw)


# --- JSON as Go writes it -----------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ODD = '<script>&amp;\u2028\u2029\x00\x07\b\f\x7f\n\r\t"\\/ü☃\U0001f433\ufffd\ufeff'


def written(value: Any, dice: random.Random) -> str:
    """JSON with white space and escapes where they may be."""

    def blank() -> str:
        return "".join(dice.choices(" \t\r\n", k=dice.choice((0, 0, 0, 1, 3))))

    def text(of: str) -> str:
        plain = json.dumps(of, ensure_ascii=dice.random() < 0.5)
        return plain.replace("<", "\\u003C") if dice.random() < 0.2 else plain

    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        members = [f"{blank()}{text(k)}{blank()}:{blank()}{written(v, dice)}{blank()}"
                   for k, v in value.items()]  # fmt: skip
        return "{" + (",".join(members) or blank()) + "}"
    if isinstance(value, list):
        return (
            "["
            + (",".join(f"{blank()}{written(v, dice)}{blank()}" for v in value) or blank())
            + "]"
        )
    return json.dumps(value)


@given(VALUES, st.integers())
@settings(max_examples=200, deadline=None)
@example({ODD: [ODD, 1.50, {}], "": []}, 1)
def test_compact_loses_nothing_but_white_space(value, seed):
    text = written(value, random.Random(seed))
    short = gojson.compact(text)
    assert json.loads(short) == json.loads(text)
    assert gojson.compact(short) == short
    assert not set(short) & set("<>&\u2028\u2029\n\r\t")
    if isinstance(value, dict):
        found = gojson.members(text)
        assert {key: json.loads(part) for key, part in found.items()} == value
        again = gojson.obj((key, gojson.compact(part)) for key, part in found.items())
        assert json.loads(again) == value


@given(st.text(max_size=30))
@example(ODD)
@example("\ud800")
def test_strings(value):
    made = gojson.string(value)
    assert json.loads(made) == gojson.whole(value)
    made.encode()
    assert not set(made) & set("<>&\u2028\u2029") | {c for c in made if c < " "}


def test_what_go_escapes_before_its_version_1_22():
    assert gojson.string("\b\f\x7f") == '"\\u0008\\u000c\x7f"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2015-01-02T03:04:05Z", "2015-01-02T03:04:05Z"),
        ("2015-01-02T03:04:05.100Z", "2015-01-02T03:04:05.1Z"),
        ("2015-01-02T03:04:05.000000000Z", "2015-01-02T03:04:05Z"),
        ("2015-01-02T03:04:05.123456789Z", "2015-01-02T03:04:05.123456789Z"),
        ("2015-01-02T03:04:05.1234567899Z", "2015-01-02T03:04:05.123456789Z"),
        ("2015-01-02T03:04:05,5Z", "2015-01-02T03:04:05.5Z"),
        ("2015-01-02T03:04:05.5+02:00", "2015-01-02T03:04:05.5+02:00"),
        ("2015-01-02T03:04:05-00:00", "2015-01-02T03:04:05Z"),
        ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z"),
        ("2016-02-29T23:59:59Z", "2016-02-29T23:59:59Z"),
        ("2015-02-29T00:00:00Z", None),
        ("2015-13-01T00:00:00Z", None),
        ("2015-00-01T00:00:00Z", None),
        ("2015-01-00T00:00:00Z", None),
        ("2015-01-02T24:00:00Z", None),
        ("2015-01-02T03:04:60Z", None),
        ("2015-01-02T03:04:05+24:00", None),
        ("2015-01-02T03:04:05+02:60", None),
        ("2015-01-02T03:04:05", None),
        ("2015-01-02t03:04:05z", None),
        ("2015-01-02 03:04:05Z", None),
        ("", None),
        ("٢015-01-02T03:04:05Z", None),
    ],
)
def test_times(text, expected):
    assert gojson.time(text) == expected


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_times_stay_what_they_are(moment, offset):
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{moment.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    made = gojson.time(text)
    assert made is not None
    assert configs.parse_time(made) == configs.parse_time(text)
    assert gojson.time(made) == made


# --- the conversion -----------------------------------------------------------------------------


def test_keys_are_sorted_and_what_only_links_goes():
    top = {
        "docker_version": "1.9.0", "zeta": 1, "Size": 5, "parent_id": "x", "layer_id": "y",
        "config": {"b": 1, "a": "<"}, "throwaway": False, "rootfs": "x", "history": 7,
    }  # fmt: skip
    old = schema1.parse(make_old(LAYERS, top).payload)
    raw = convert(old, [UNKNOWN, UNKNOWN]).decode()
    assert raw == (
        '{"architecture":"amd64","config":{"b":1,"a":"\\u003c"},'
        '"container_config":{"Cmd":["/bin/sh","-c","step 2 \\u003c\\u0026\\u003e"]},'
        f'"created":"{CREATED}","docker_version":"1.9.0",'
        '"history":[{"created":"2015-03-04T05:06:07.12Z",'
        '"created_by":"/bin/sh -c step 0 \\u003c\\u0026\\u003e"},'
        '{"created":"2015-03-04T05:06:07.12Z",'
        '"created_by":"/bin/sh -c step 1 \\u003c\\u0026\\u003e","empty_layer":true},'
        '{"created":"2015-03-04T05:06:07.12Z",'
        '"created_by":"/bin/sh -c step 2 \\u003c\\u0026\\u003e"}],'
        f'"os":"linux","rootfs":{{"type":"layers","diff_ids":["{UNKNOWN}","{UNKNOWN}"]}},'
        '"zeta":1}'
    )


def test_history_members_are_in_the_order_of_docker_24():
    steps = {0: {"author": "me", "comment": "first"}}
    history = converted({"docker_version": "1.9.0"}, steps=steps)["history"]
    assert list(history[0]) == ["created", "author", "created_by", "comment"]


def test_before_1_8_3_the_structs_decide():
    found = converted({"docker_version": "1.8.2", "unknown": 1, "config": {"Memory": 5}})
    assert "unknown" not in found
    assert list(found["config"]) == [
        "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
        "OpenStdin", "StdinOnce", "Env", "Cmd", "Image", "Volumes", "WorkingDir", "Entrypoint",
        "OnBuild", "Labels",
    ]  # fmt: skip
    assert converted({"docker_version": "1.8.3", "unknown": 1})["unknown"] == 1
    assert "unknown" not in converted({"unknown": 1})  # no version at all: moby's rule


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("", True), ("1.8.3", False), ("1.8.2", True), ("1.8.10", False), ("1.10.0", False),
        ("0.9.9.9", True), ("1.8", True), ("1.8.3.1", False), ("2", False), ("1.8.3-rc1", True),
        ("1.9.0-dev", False), ("17.05.0-ce", False), ("nonsense", True), ("+1.+8.+3", False),
        ("1.-9.9", True), ("1.8.٣", True),
    ],
)  # fmt: skip
def test_versions(version, old):
    found = converted({"docker_version": version, "unknown": 1})
    assert ("unknown" not in found) is old


@pytest.mark.parametrize(
    "top",
    [
        {"docker_version": 1},
        {"config": []},
        {"config": {"Env": "A=1"}},
        {"config": {"Env": [1]}},
        {"config": {"Cmd": {}}},
        {"config": {"Cmd": [1]}},
        {"config": {"Tty": 1}},
        {"config": {"User": 1}},
        {"config": {"Volumes": ["/a"]}},
        {"config": {"Volumes": {"/a": 1}}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"StopTimeout": 1.5}},
        {"config": {"StopTimeout": 2**63}},
        {"config": {"StopTimeout": True}},
        {"config": {"Healthcheck": {"Interval": "1s"}}},
        {"container_config": "x"},
        {"created": 1},
        {"created": "yesterday"},
        {"author": []},
        {"comment": {}},
    ],
)
def test_types_that_docker_does_not_take(top):
    with pytest.raises(errors.ManifestInvalid, match="history"):
        converted(top)


def test_lookalikes_inside_are_refused():
    with pytest.raises(errors.TypeConfusion):
        converted({"config": {"Cmd": ["a"], "cmd": ["b"]}})


def test_the_count_of_diff_ids_is_held():
    old = schema1.parse(make_old(LAYERS).raw)
    with pytest.raises(errors.InvalidArgument):
        convert(old, [UNKNOWN])
    empty = schema1.parse(make_old([None]).raw)
    assert json.loads(convert(empty, []))["rootfs"] == {"type": "layers"}


# --- against Docker -----------------------------------------------------------------------------

FULL = {
    "Hostname": "h<>&", "Domainname": "d", "User": "u", "AttachStdin": True, "Memory": 7,
    "ExposedPorts": {"90/tcp": {}, "8/udp": {"x": 1}, "9/tcp": None}, "Tty": True,
    "Env": ["B=2", "A=<&>\u2028", None], "Cmd": "one word", "ArgsEscaped": True, "Image": "i",
    "Healthcheck": {"Test": ["NONE"], "Interval": 5, "Retries": 0, "Timeout": -3},
    "Volumes": {"/z": {}, "/a": None}, "WorkingDir": "/w", "Entrypoint": ["", None],
    "NetworkDisabled": True, "MacAddress": "m", "OnBuild": [], "StopTimeout": 0,
    "Labels": {"z": None, "ü": "☃", "a\u2029": ODD, "\U0001f433": "", "\uff5e": "", "": "x"},
    "StopSignal": "S", "Shell": ["sh"],
}  # fmt: skip
EMPTY: dict[str, Any] = {
    "ExposedPorts": {}, "Env": [], "Cmd": [], "Healthcheck": {}, "Volumes": {}, "Shell": [],
    "Entrypoint": None, "Labels": {}, "StopTimeout": None, "NetworkDisabled": None, "Env2": 1,
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "new": {"top": {"docker_version": "1.9.1", "config": FULL, "x": ODD}},
    "old": {"top": {"docker_version": "1.7.0", "config": FULL, "x": ODD, "Size": 3}},
    "no-version": {"top": {"config": EMPTY, "container": "c", "variant": "v8", "x": 1}},
    "null-config": {"top": {"config": None, "container_config": None}},
    "no-time": {"top": {"created": None}, "steps": {0: {"created": "2015-01-01T00:00:00+02:00"}}},
    "zone": {"top": {"created": "2015-01-01T00:00:00.10-03:30", "docker_version": "1.2"}},
    "author": {
        "top": {"docker_version": "1.12.0", "author": "A <a@b>", "comment": ODD},
        "steps": {0: {"author": "me", "comment": "<first>"}, 1: {"container_config": None}},
    },
    "command-is-text": {"steps": {0: {"container_config": {"Cmd": "a b"}}}},
    "rootfs-and-history-there": {"top": {"rootfs": 1, "history": "x", "docker_version": "2"}},
    "no-platform": {"top": {"os": None, "architecture": ""}},
    "pretty": {"top": {"docker_version": "1.9"}, "write": lambda v: json.dumps(v, indent=2)},
    "halves": {
        "top": '{ "docker_version" :"1.9","id": "%(id)s", "parent":\n"%(parent)s","\\u0061a": '
        '"\\ud800 \\udc33\\ud83d \\/ \\u003C <", "os": "linux", "num": [1.50, 1e3, -0] }'
    },
    "halves-old": {
        "top": '{"id": "%(id)s", "parent": "%(parent)s", "author": "\\ud800 \\ud83d\\udc33 \\/"}'
    },
    "repeated": {"repeat": True},
    "empty-blobs-are-layers": {"steps": {1: {"throwaway": False}}},
    "all-thrown-away-but-one": {"layers": [None, {"a": b"a"}, None]},
}


def pulled(dockerd: Docker, name: str) -> bytes:
    """The config that Docker made, as it stores it."""
    dockerd.run("pull", "-q", name)
    encoded = dockerd.inspect(name)["Id"].removeprefix("sha256:")
    found = list(dockerd.folder.glob(f"data/image/*/imagedb/content/sha256/{encoded}"))
    return found[0].read_bytes()


def ours(old: OldImage) -> bytes:
    parsed = schema1.parse(old.raw)
    tars = {digest: zlib.decompress(data, 31) for digest, data in old.blobs.items()}
    assert tars.get(sha256(EMPTY_LAYER), bytes(1024)) == bytes(1024)
    return convert(parsed, [sha256(tars[blob]) for blob in parsed.layers])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_same_bytes_as_dockerd(case, dockerd: Docker, registry: Registry, request):
    options = dict(case)
    layers = options.pop("layers", LAYERS)
    repeat = options.pop("repeat", False)
    old = make_old(layers, **options)
    if repeat:
        old = _repeated(old)
    name = push_old(registry.host, "schema1/cases", request.node.callspec.id.lower(), old)
    assert ours(old).decode() == pulled(dockerd, name).decode()


def _repeated(old: OldImage) -> OldImage:
    """Every entry twice, the upper one with other words."""
    body = json.loads(old.payload)
    entries = []
    for layer, row in zip(reversed(body["fsLayers"]), reversed(body["history"]), strict=True):
        text = row["v1Compatibility"]
        entries += [(layer["blobSum"], text), (layer["blobSum"], text.replace("step", "again"))]
    return replace(old, payload=document(entries))


MEMBERS = st.dictionaries(TEXT.map(lambda key: f"x-{key}"), VALUES, max_size=12)
TYPED = st.fixed_dictionaries(
    {},
    optional={
        "Hostname": TEXT,
        "User": st.none() | TEXT,
        "Env": st.none() | st.lists(st.none() | TEXT, max_size=3),
        "Cmd": st.none() | TEXT | st.lists(TEXT, max_size=3),
        "Entrypoint": st.none() | TEXT | st.lists(TEXT, max_size=3),
        "Labels": st.none() | st.dictionaries(TEXT, st.none() | TEXT, max_size=6),
        "Volumes": st.none() | st.dictionaries(TEXT, st.just({}), max_size=3),
        "Tty": st.none() | st.booleans(),
        "StopTimeout": st.none() | st.integers(-(2**63), 2**63 - 1),
    },
)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(
    lambda moment: moment.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")
)


@given(MEMBERS, TYPED, st.sampled_from([None, "", "1.8.2", "1.8.3", "1.13.0"]), TIMES, TEXT,
       st.integers())  # fmt: skip
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_same_bytes_as_dockerd_for_anything(
    dockerd: Docker, registry: Registry, members, config, version, created, author, seed
):
    top = {**members, "config": config, "created": created, "author": author}
    if version is not None:
        top["docker_version"] = version
    dice = random.Random(seed)
    old = make_old(LAYERS, top, write=lambda value: written(value, dice))
    name = push_old(registry.host, "schema1/any", f"t{time.monotonic_ns()}", old)
    assert ours(old).decode() == pulled(dockerd, name).decode()
