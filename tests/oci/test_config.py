"""Configs: tolerant of what is in the wild, strict about types, and times that never raise."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didlab import errors
from didlab.oci import config as configs
from didlab.oci.config import HistoryEntry, ImageConfig, align, parse, parse_time

A, B = ("sha256:" + letter * 64 for letter in "ab")


def full(**fields):
    return {
        "created": "2024-05-06T07:08:09Z",
        "os": "linux",
        "architecture": "arm",
        "variant": "v7",
        "os.version": "1",
        "config": {"Env": ["A=b"], "Labels": None},
        "rootfs": {"type": "layers", "diff_ids": [A, B]},
        "history": [
            {"created": "2024-05-06T07:08:09.5Z", "created_by": "ADD x", "comment": "c"},
            {"created_by": "ENV A=b", "empty_layer": True, "author": "me"},
            {},
        ],
        **fields,
    }


def raw(document):
    return json.dumps(document).encode()


def test_all_fields():
    data = raw(full())
    found = parse(data)
    assert found == ImageConfig(
        data,
        {},
        "linux",
        "arm",
        "v7",
        "1",
        datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        (A, B),
        (
            HistoryEntry(datetime(2024, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC), "ADD x", "c"),
            HistoryEntry(created_by="ENV A=b", author="me", empty_layer=True),
            HistoryEntry(),
        ),
    )
    assert found.raw is data
    assert found.json == full()
    assert found.runtime == {"Env": ["A=b"], "Labels": None}
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"config": None, "rootfs": None, "history": None, "created": None, "variant": None},
        {"rootfs": {}},
        {"rootfs": {"type": "layers", "diff_ids": None}},
        {"name": "chart", "version": "1.0", "home": 5},
    ],
)
def test_what_is_not_there_is_empty(document):
    found = parse(raw(document))
    assert (found.os, found.architecture, found.created) == ("", "", None)
    assert found.diff_ids == found.history == ()
    assert found.runtime == {}
    assert found.json == (document or {})


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], ""),
        ("x", ""),
        (5, ""),
        (False, ""),
        (full(os=5), "os"),
        (full(architecture=[]), "architecture"),
        (full(variant={}), "variant"),
        (full(created=5), "created"),
        (full(config="x"), "config"),
        (full(config=[]), "config"),
        (full(rootfs=[]), "rootfs"),
        (full(rootfs={"diff_ids": {}}), "rootfs.diff_ids"),
        (full(rootfs={"diff_ids": [A, None]}), "rootfs.diff_ids[1]"),
        (full(rootfs={"diff_ids": ["sha256:../x"]}), "rootfs.diff_ids[0]"),
        (full(rootfs={"diff_ids": [A + "\n"]}), "rootfs.diff_ids[0]"),
        (full(history=5), "history"),
        (full(history={}), "history"),
        (full(history=[{}, None]), "history[1]"),
        (full(history=[{"created_by": []}]), "history[0].created_by"),
        (full(history=[{"empty_layer": "true"}]), "history[0].empty_layer"),
        (full(history=[{"empty_layer": 1}]), "history[0].empty_layer"),
    ],
)
def test_refused_with_the_place(document, where):
    with pytest.raises(errors.ConfigInvalid) as caught:
        parse(raw(document))
    assert caught.value.where == where


@pytest.mark.parametrize(
    "document",
    [
        full(OS="windows"),
        full(rootfs={"diff_ids": [A], "Diff_IDs": [B]}),
        {"RootFS": {}},
        full(history=[{"Empty_Layer": True}]),
    ],
)
def test_keys_in_other_letters(document):
    with pytest.raises(errors.TypeConfusion):
        parse(raw(document))


def test_strict_json_and_size_limit():
    for data in (b"", b"{}{}", b'{"os": "a", "os": "b"}', b"[NaN]"):
        with pytest.raises(errors.ConfigInvalid):
            parse(data)
    with pytest.raises(errors.LimitExceeded) as caught:
        parse(b'"' + b" " * (8 * 1024 * 1024) + b'"')
    assert caught.value.limit == configs.CONFIG_LIMIT == 8 * 1024 * 1024


def test_layer_count():
    found = parse(raw(full()))
    configs.check_layer_count(found, 2)
    for count in (0, 1, 3):
        with pytest.raises(errors.ManifestInvalid, match=rf"lists {count} layers?, but"):
            configs.check_layer_count(found, count)


L, E = HistoryEntry(), HistoryEntry(empty_layer=True)


@pytest.mark.parametrize(
    ("history", "layers", "expected"),
    [
        ([], 0, []),
        ([], 3, []),
        ([L], 1, [0]),
        ([E], 0, [None]),
        ([E, L, E, L, E], 2, [None, 0, None, 1, None]),
        ([L, L, L], 2, [0, 1, None]),
        ([L, E, L], 1, [0, None, None]),
        ([L, E], 5, [0, None]),
        ([L, E], 0, [None, None]),
        ([L], -1, [None]),
    ],
)
def test_align(history, layers, expected):
    assert align(history, layers) == expected


@given(st.lists(st.sampled_from([L, E])), st.integers(0, 10))
def test_align_counts_up_from_the_base(history, layers):
    positions = align(history, layers)
    assert len(positions) == len(history)
    made = [position for position in positions if position is not None]
    assert made == list(range(min(layers, history.count(L))))
    assert all(p is None for p, row in zip(positions, history, strict=True) if row.empty_layer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09+00:00"),
        ("2024-05-06t07:08:09z", "2024-05-06T07:08:09+00:00"),
        ("2024-05-06T07:08:09.1Z", "2024-05-06T07:08:09.100000+00:00"),
        ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456+00:00"),
        ("2024-05-06T07:08:09." + "9" * 5000 + "Z", "2024-05-06T07:08:09.999999+00:00"),
        ("2024-05-06T07:08:09+02:00", "2024-05-06T05:08:09+00:00"),
        ("2024-05-06T07:08:09-09:30", "2024-05-06T16:38:09+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
        # Beyond what datetime has, or no time at all.
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("9999-12-31T23:59:60Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("99999-01-01T00:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-13-01T00:00:00Z", None),
        ("2024-05-06T24:00:00Z", None),
        ("2024-05-06T07:08:61Z", None),
        ("2024-05-06T07:08:09+99:99", None),
        ("2024-05-06T07:08:09", None),
        ("2024-05-06", None),
        ("2024-05-06T07:08:09Z\n", None),
        ("２０24-05-06T07:08:09Z", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_parse_time(text, expected):
    found = parse_time(text)
    assert (None if found is None else found.isoformat()) == expected
    if found is not None:
        assert found.utcoffset() == timedelta()


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9:T.+Z-]{0,30}", fullmatch=True))
def test_parse_time_never_raises(text):
    found = parse_time(text)
    assert found is None or found.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC)))
def test_parse_time_reads_what_datetime_writes(moment):
    assert parse_time(moment.isoformat()) == moment


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*full(), "extra", "OS"]), _JSON, max_size=3))
def test_any_change_gives_a_config_or_a_typed_error(changes):
    try:
        found = parse(raw(full() | changes))
    except (errors.ConfigInvalid, errors.TypeConfusion):
        return
    assert all(isinstance(entry, HistoryEntry) for entry in found.history)
    assert dict(found.runtime) == (found.json.get("config") or {})
