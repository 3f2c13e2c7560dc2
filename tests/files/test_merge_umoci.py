"""Random stacks of layers: the merged table says what umoci unpacks."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, event, given, note, settings
from rig.images import make_image, make_tar, write_layout
from rig.stacks import LATEST, describe, stacks
from rig.unpacked import Fact, differences, layer_table, merged_facts, umoci_facts

from didlab import errors
from didlab.files.merge import merge
from didlab.files.table import HARDLINK

OWNERS = hasattr(os, "geteuid") and os.geteuid() == 0


def taken(tables):
    """The merged table, or None where the layers are refused."""
    try:
        return merge(tables)
    except (errors.TarInvalid, errors.LinkLoop):
        return None


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(stack=stacks())
def test_as_umoci_unpacks(tmp_path_factory, stack):
    note(describe(stack))
    tars = [make_tar(layer) for layer in stack]
    folder = tmp_path_factory.mktemp("stack")
    layout = write_layout(folder / "layout", {"it": make_image(tars, compress=False)})
    theirs = umoci_facts(layout, "it", folder / "root", OWNERS)
    tables = [layer_table(tar) for tar in tars]
    if (merged := taken(tables)) is None:
        event("refused by both")
        assert isinstance(theirs, str), "umoci takes what the merge refuses"
        return
    if isinstance(theirs, str):
        # umoci takes no hard link whose target is missing; a table shows it without content.
        event("umoci refuses")
        assert any(HARDLINK in table.types for table in tables), theirs
        return
    event("compared")
    ours = merged_facts(merged, tars, OWNERS)
    # Making parents that nobody stated, umoci touches the directory above them.
    for path, fact in theirs.items():
        if fact.type == "dir" and fact.mtime > LATEST and path in ours:
            ours[path] = ours[path]._replace(mtime=None)
    assert differences(ours, theirs) == []


def test_the_comparison_sees_differences():
    fact = Fact("file", b"x", None, 0o644, 5, None)
    same = {b"/a": fact}
    assert differences(same, same) == []
    for other in (
        {},
        {b"/a": fact, b"/b": fact},
        *(
            {b"/a": fact._replace(**{name: "other"})}
            for name in ("type", "content", "mode", "mtime")
        ),
    ):
        assert differences(same, other)
