"""The kernel's Stop button, pressed while didlab waits for a line that stalls."""

from __future__ import annotations

from rig.actions import stall
from rig.faults import FaultServer
from rig.images import make_image

INTERRUPT = """async () => await
    window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()"""


def test_stop_ends_a_call_with_one_bar_and_few_lines(jupyter):
    import random

    noise = random.Random(5)
    image = make_image([{f"f{number}": noise.randbytes(300_000)} for number in range(6)])
    with FaultServer() as server:
        server.add_image("lab/app", "1", image)
        cells = [
            "import os, didlab\nos.environ['DIDLAB_CACHE'] = os.path.abspath('cache')\n"
            f"m = didlab.open('{server.host}/lab/app:1')\nm.config()\nprint('be', 'gun')",
            "m.files()",
            "m.save('app.tar')",
            "print(len(m.files()), 'files')",
        ]
        with jupyter.notebook(cells) as page:
            page.begin(0)
            page.output("pre").get_by_text("be gun").wait_for()
            server.rule(lambda request: "/blobs/" in request.path, stall(1000, after=100_000))
            for number, title in ((1, "listing"), (2, "app.tar")):
                page.begin(number)
                bar = page.output(".widget-hprogress")
                bar.wait_for()
                assert bar.count() == 1, "one for all layers"
                page.picture(f"stop-{title}")
                page.page.evaluate(INTERRUPT)
                ended = page.output("small").filter(has_text=title)
                ended.get_by_text("stopped").wait_for()
                shown = page.output("pre").filter(has_text="KeyboardInterrupt").nth(number - 1)
                shown.wait_for()
                assert len(shown.inner_text().splitlines()) < 45
                bar.wait_for(state="detached")
            assert "the same call goes on from there" in shown.inner_text()
            server.rules.clear()
            page.begin(3)
            page.output("pre").get_by_text("6 files").wait_for()
            page.picture("stopped")
