"""An audit at work: names resolved, then layers learned and images looked at, each once.

One thread hands out tasks and takes results in; never more tasks are out than a few for each
worker, whatever the number of images.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from typing import Any

from didlab import _pausing as pausing
from didlab.audits.fleet import luggage, resolving, tasks, workers
from didlab.audits.fleet.check import Check
from didlab.audits.fleet.checkpoint import Checkpoint
from didlab.audits.fleet.drawing import Drawing
from didlab.audits.fleet.handing import Handing
from didlab.audits.fleet.naming import Naming
from didlab.audits.fleet.pace import Pace
from didlab.audits.fleet.packing import packed
from didlab.audits.fleet.reads import ReadsLook
from didlab.audits.fleet.report import INTERRUPTED, Report
from didlab.audits.fleet.resolving import Found
from didlab.audits.fleet.results import Result
from didlab.audits.fleet.targets import Target
from didlab.audits.fleet.tasks import ImageDone, ImageJob, LayerDone, LayerJob
from didlab.audits.fleet.work import Image, Layer, Work, documents, sizes
from didlab.audits.looks import always
from didlab.errors import DidlabError
from didlab.files.looks import Look
from didlab.files.underway import Key
from didlab.model.indexing import Wanted

#: Tasks that are out for each worker.
_AHEAD = 2
#: Images that wait for each task that may be out, until no more layers are read for others.
_BEHIND = 8
#: Seconds that tasks which were called off get to end.
_LEAVE = 2.0

_log = logging.getLogger("didlab")


class Run:
    """One call of `didlab.audit`."""

    def __init__(
        self,
        targets: Sequence[Target],
        checks: Sequence[Check],
        platforms: resolving.Platforms,
        *,
        executor: workers.Executor | None,
        count: int,
        progress: Any,
        checkpoint: Checkpoint | None,
        strict: bool,
    ) -> None:
        self.report = Report(checks)
        self.report._run = self
        self._targets = targets
        self._checks = checks
        self._platforms = platforms
        self._threads = workers.Threads(count)
        self._executor = executor if executor is not None else self._threads
        self._here = workers.is_here(self._executor)
        self._count = count
        self._most = count * _AHEAD if executor is not None else count + 2
        # Elsewhere tasks are in nobody's way here.
        self._layers_pace = Pace(count) if self._here else None
        self._images_pace = Pace(count) if self._here else None
        self._reading = self._looking = 0
        self._sent: dict[str, Any] = {one.name: one for one in checks}
        if not self._here:
            self._sent = {one.name: one for one in packed(checks)}
        self._keys = {one.name: one.key for one in checks}
        self._checkpoint = checkpoint
        self._strict = strict
        self._stop = pausing.Stop()
        self._home = luggage.Home(self._stop)
        self._carried = False
        self._tasks = Handing(self._stop)
        self._work = Work()
        self._learned_layers = 0
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self.drawing = Drawing(progress)
        self._looks = self._all_looks()

    def _all_looks(self) -> tuple[Look, ...]:
        """Return what is learned of every layer; not nothing, or nobody would list them."""
        globs = [glob for check in self._checks for glob in check.reads]
        looks = [look for check in self._checks for look in check.looks()]
        looks += [ReadsLook(globs)] if globs else []
        return tuple({look.name: look for look in (*always(), *looks)}.values())

    # --- from outside ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(
            target=copy_context().run, args=(self._main,), name="didlab-audit", daemon=True
        ).start()

    def wait(self) -> None:
        """Wait for the end, and show progress meanwhile; Ctrl-C ends it early, once.

        Raises
        ------
        DidlabError
            What ended it where ``on_error="raise"``, or the checkpoint could not be written.
        """
        try:
            self._watch()
        except KeyboardInterrupt:
            self.cancel()
            self._watch()  # a second one is raised
        finally:
            if not self._ended.is_set():
                self._stop.set()
            self.drawing.close()
        if self._failure is not None:
            raise self._failure

    def show(self) -> None:
        """Show progress until the end, where nobody waits."""
        try:
            self._watch()
        finally:
            self.drawing.close()

    def _watch(self) -> None:
        while not self._ended.wait(pausing.LOOK):
            self.drawing.draw()
        self.drawing.draw()

    def cancel(self) -> None:
        """End it early; returns when it has, or soon after."""
        self._stop.set()
        self._ended.wait(_LEAVE * 2)

    # --- the thread --------------------------------------------------------------------------

    def _main(self) -> None:
        complete = False
        try:
            self._plan(self._resolve())
            self._look()
            complete = not self._stop.is_set()
        except _Ended:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by whoever waits
            self._failure = error
        finally:
            self._leave()
            if not complete:
                self._interrupted()
            try:
                if self._checkpoint is not None:
                    self._checkpoint.close()
            except DidlabError as error:
                self._failure = self._failure or error
            self.report._end(complete=complete, failure=self._failure)
            self._ended.set()

    def _leave(self) -> None:
        """Call off what is out, and wait a little for what runs here."""
        self._stop.set()
        self._tasks.call_off(_LEAVE if self._here else 0.0)
        self._threads.close()
        self._home.close()

    def _interrupted(self) -> None:
        left = list(self._work.images)
        for digest in left:
            self.report._failed(digest, INTERRUPTED)
        self._work.images.clear()
        if self._failure is None:
            done, total = len(self.report._order) - len(left), len(self.report._images)
            _log.warning(
                "the audit was interrupted: %d of %d images are done, rows of the others say so",
                max(done, 0),
                total,
            )

    # --- tasks in and out --------------------------------------------------------------------

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Ended

    # --- 1: names ----------------------------------------------------------------------------

    def _resolve(self) -> list[Found]:
        """Resolve all names; their layers are read meanwhile."""
        naming = Naming(
            self._targets, self._platforms, self._count, self._tasks, self._stop, self._heard
        )
        try:
            while naming.busy and not self._stop.is_set():
                naming.hand_out()
                self._send_layers()
                self._tasks.take_in(pausing.LOOK)
        finally:
            naming.close()
            listed = naming.listed()
            self.report._resolved(listed)
        return listed

    def _heard(self, found: Sequence[Found]) -> None:
        self._strictly(found)
        for one in found:
            if one.unit is None:
                continue
            known = self._known(one.unit.digest)
            if any(check.layers for check in self._checks if check.name not in known):
                self._work.need(one.unit)

    def _known(self, digest: str) -> dict[str, Result]:
        return {} if self._checkpoint is None else self._checkpoint.known(digest, self._keys)

    def _strictly(self, found: Sequence[Found]) -> None:
        for one in found:
            if self._strict and one.error is not None:
                raise _raised(one.reference, None, one.error)

    # --- 2: what is to be done ----------------------------------------------------------------

    def _plan(self, found: Sequence[Found]) -> None:
        self._work.name(found)
        for digest, image in list(self._work.images.items()):
            self._check()
            known = self._known(digest)
            image.checks = [one for one in self._checks if one.name not in known]
            if known:
                self.report._tables_of(digest, known)
            if not image.checks:
                self._over(image, {}, 0.0)
                continue
            self._work.add(image)
        layers = self._work.layers
        self.drawing.plan(sizes(layers), len(layers), len(self.report._images))
        self._tell()

    # --- 3: layers and images ----------------------------------------------------------------

    def _look(self) -> None:
        while self._work.ready or self._work.queue or self._tasks.out:
            self._check()
            self._send_layers()
            self._send_images()
            self._tasks.take_in(pausing.LOOK)

    def _send_images(self) -> None:
        while (
            self._work.ready
            and (self._images_pace is None or self._images_pace.allows(self._looking))
            and self._reading + self._looking < self._most
        ):
            self._send_image(self._work.ready.popleft())

    def _send_layers(self) -> None:
        """Keep the line busy, unless images wait: what they need was just learned."""
        while (
            self._work.queue
            and len(self._work.ready) < self._most * _BEHIND
            and (self._layers_pace is None or self._layers_pace.allows(self._reading))
            and self._reading + self._looking < self._most
        ):
            self._send_layer(self._work.queue.popleft())

    def _send_layer(self, layer: Layer) -> None:
        location = next(iter(layer.sources))
        source = layer.sources.pop(location)
        job = LayerJob(self._home.token, source, layer.wanted, self._looks)

        def count(n: int) -> None:
            layer.counted += n
            self.drawing.came(n)

        def done(answer: LayerDone) -> None:
            if answer.error is not None:
                failed(answer.error)
                return
            self._reading -= 1
            if answer.luggage is not None:
                self._carried = True
                key = (layer.wanted.descriptor.digest, layer.wanted.descriptor.size)
                self._home.put(key, answer.luggage)
            self._learned(layer)

        def failed(error: str) -> None:
            self._reading -= 1
            if layer.sources:
                _log.info("layer %s: %s", layer.wanted.descriptor.digest, error)
                self._send_layer(layer)
                return
            self._learned(layer, error)

        self._reading += 1
        self._tasks.submit(
            self._executor, done, failed, tasks.learn, job, *([count] if self._here else [])
        )

    def _learned(self, layer: Layer, error: str | None = None) -> None:
        self._learned_layers += 1
        self.drawing.came(layer.wanted.descriptor.size - layer.counted)
        self._work.learned(layer, error)
        self._tell()

    def _send_image(self, image: Image) -> None:
        unit = image.unit
        needed = image.layers
        attempts = image.attempts
        image.attempts += 1
        carried: Mapping[Key, bytes] = {}
        if not self._here and (self._carried or attempts):
            carried = self._luggage(needed)
        job = ImageJob(
            self._home.token,
            unit.manifest(),
            tuple(image.references),
            unit.platform,
            unit.digest,
            tuple(self._sent[check.name] for check in image.checks),
            self._looks,
            tuple(needed),
            dict(image.broken),
            () if self._here else documents(unit),
            carried,
            last=attempts > 0,
        )

        def done(answer: ImageDone) -> None:
            self._looking -= 1
            if answer.missing:
                self._carried = self._carried or not self._here
                self._work.ready.appendleft(image)
                return
            self._over(image, answer.results, answer.seconds)

        def failed(error: str) -> None:
            self._looking -= 1
            self.report._failed(unit.digest, error)
            self._work.images.pop(unit.digest, None)
            self._tell()
            if self._strict:
                raise _raised(image.references[0], None, error)

        self._looking += 1
        self._tasks.submit(self._executor, done, failed, tasks.look, job)

    def _luggage(self, layers: Sequence[Wanted]) -> dict[Key, bytes]:
        found = {}
        for one in layers:
            key = (one.descriptor.digest, one.descriptor.size)
            content = self._home.get(key) or luggage.pack(one.descriptor, self._looks)
            if content is not None:
                found[key] = content
        return found

    def _over(self, image: Image, results: Mapping[str, Result], seconds: float) -> None:
        unit = image.unit
        self.report._finished(unit.digest, results, seconds)
        self._work.images.pop(unit.digest, None)
        self._tell()
        if self._checkpoint is not None and results:
            about = {
                "reference": image.references[0],
                "platform": unit.platform,
                "seconds": round(seconds, 3),
            }
            self._checkpoint.add(unit.digest, about, results, self._keys)
        for name, result in results.items():
            if self._strict and result.error is not None:
                raise _raised(image.references[0], name, result.error)

    def _tell(self) -> None:
        self.drawing.done(self._learned_layers, len(self.report._order))


class _Ended(Exception):
    """It was called off."""


def _raised(reference: str, check: str | None, error: str) -> DidlabError:
    about = f"{reference}: {check}" if check else reference
    return DidlabError(
        f"{about}: {error}", hint='on_error="row" goes on with the others', reference=reference
    )
