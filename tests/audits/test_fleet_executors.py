"""audit() elsewhere: processes, and several workers of Dask, with and without a shared store."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rig.faults import FaultServer
from rig.images import make_image

import didlab
from didlab.audits.fleet import luggage, packing, tasks
from didlab.blobs import store as stores
from didlab.errors import InvalidArgument
from didlab.files import blocks, kept
from didlab.sources.cached import shared

IMAGES = 12
STATUS = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36\n\n"
CHECKS = ["packages", "os", "config", "setuid"]


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    forget()


def forget() -> None:
    shared.clear()
    kept.forget()
    blocks.forget()


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    bases = [
        {
            "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
            "var/lib/dpkg/status": STATUS,
            "usr/lib/x": os.urandom(50_000),
            "app/base": b"%d" % number,
        }
        for number in range(3)
    ]
    with FaultServer() as made:
        for number in range(IMAGES):
            image = make_image([bases[number % 3], {"app/name": b"%d" % number}])
            made.add_image("lab/app", str(number), image)
        yield made


def names(server: FaultServer) -> list[str]:
    return [f"{server.host}/lab/app:{number}" for number in range(IMAGES)]


def mine() -> Any:
    """A check as a notebook has one: in no module that a worker could import."""

    @didlab.check(reads="/app/*", name="mine")
    def function(image: Any) -> Any:
        return {"name": image.read("/app/name").decode(), "files": len(image.files())}

    return function


def audited(server: FaultServer, executor: Any, **options: Any) -> tuple[Any, Counter[str]]:
    """Audit, and count how often each layer was read."""
    configs = {didlab.open(name, trust_env=False).image_id() for name in names(server)}
    forget()
    before = len(server.requests)
    report = didlab.audit(
        names(server), [*CHECKS, mine()], executor=executor, trust_env=False, **options
    )
    asked = [
        one.path.rpartition("/")[2] for one in server.requests[before:] if "/blobs/" in one.path
    ]
    return report, Counter(one for one in asked if one not in configs)


@pytest.fixture(scope="module")
def expected(server: FaultServer) -> dict[str, pd.DataFrame]:
    report, asked = audited(server, None)
    assert report.errors.empty, report.errors.to_string()
    assert set(asked.values()) == {1}
    assert len(asked) == 3 + IMAGES
    return {name: report[name] for name in report}


def same(report: Any, expected: dict[str, pd.DataFrame]) -> None:
    assert report.errors.empty, report.errors.to_string()
    assert list(report) == list(expected)
    for name, frame in expected.items():
        pd.testing.assert_frame_equal(report[name], frame)


def test_threads_of_somebody_else(server: FaultServer, expected: dict[str, Any]) -> None:
    with ThreadPoolExecutor(3) as executor:
        report, asked = audited(server, executor)
    same(report, expected)
    assert set(asked.values()) == {1}


# Python 3.12 and later warn of what fork() may do to threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes(server: FaultServer, expected: dict[str, Any], method: str) -> None:
    if method == "fork" and sys.platform != "linux":
        pytest.skip("a process with threads is forked on Linux only")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        report, asked = audited(server, executor)
    same(report, expected)
    # What one process learned travels to the others: no layer is read twice.
    assert set(asked.values()) == {1}
    assert len(asked) == 3 + IMAGES


def test_processes_that_share_a_store(
    server: FaultServer, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path / "cache"))
    packed: list[object] = []
    monkeypatch.setattr(luggage, "unpack", lambda *args: packed.append(args))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        report, asked = audited(server, executor)
    same(report, expected)
    assert set(asked.values()) == {1}
    assert not packed
    store = stores.default()
    assert store is not None
    assert not luggage._homes


class _Dies:
    """An executor whose pool breaks after some tasks."""

    def __init__(self, most: int) -> None:
        self._most = most

    def submit(self, function: Any, /, *args: Any) -> Future[Any]:
        self._most -= 1
        if self._most < 0:
            from concurrent.futures.process import BrokenProcessPool

            raise BrokenProcessPool("a child process terminated abruptly")
        future: Future[Any] = Future()
        # As another process would: what is sent pickles, what comes back, too.
        function, args = pickle.loads(pickle.dumps((function, args)))
        future.set_result(pickle.loads(pickle.dumps(function(*args))))
        return future


def test_a_broken_pool_costs_rows_and_no_report(server: FaultServer) -> None:
    report, _ = audited(server, _Dies(10), workers=2)
    assert report.complete
    errors = report.errors
    assert errors["error"].str.contains("terminated abruptly").all()
    assert len(errors) >= IMAGES - 10
    assert len(report["packages"]) >= IMAGES


def test_a_worker_that_is_killed(server: FaultServer) -> None:
    def dies(image: Any) -> None:
        os._exit(3)

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        report = didlab.audit(
            names(server)[:2], didlab.check(layers=False)(dies), executor=executor, trust_env=False
        )
    assert report.complete
    assert report.images["error"].str.contains("BrokenProcessPool").all()


def test_a_check_that_does_not_arrive_is_an_error_of_that_check(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = packing.Packed("lost", where=("no_such_module", "lost"))
    monkeypatch.setattr("didlab.audits.fleet.running.packed", lambda checks: (
        *packing.packed([one for one in checks if one.name != "lost"]), lost,
    ))  # fmt: skip
    report = didlab.audit(
        names(server)[:2],
        ["config", didlab.check(name="lost")(lambda image: 1)],
        executor=_Dies(100),
        trust_env=False,
    )
    assert set(report.errors["check"]) == {"lost"}
    assert report.errors["error"].str.contains("no_such_module").all()
    assert report["config"]["error"].isna().all()


def test_without_cloudpickle_functions_of_modules_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(InvalidArgument, match="cloudpickle"):
        didlab.audit("127.0.0.1:1/a:1", mine(), executor=_Dies(0))
    plain = didlab.check(name="plain", layers=False)(os.path.basename)
    assert packing.packed([plain])[0].unpacked() == plain


def test_an_unpicklable_check_is_refused_at_once(tmp_path: Path) -> None:
    lock = threading.Lock()
    path = tmp_path / "audit.jsonl"
    with pytest.raises(InvalidArgument, match="cannot be sent"):
        didlab.audit("127.0.0.1:1/a:1", lambda image: lock.locked(), executor=_Dies(0), resume=path)


def test_logins_do_not_travel(server: FaultServer) -> None:
    secret = "correct horse battery"
    sent: list[bytes] = []

    class Watched(_Dies):
        def submit(self, function: Any, /, *args: Any) -> Future[Any]:
            sent.append(pickle.dumps((function, args)))
            return super().submit(function, *args)

    report = didlab.audit(
        names(server)[:2], "packages", executor=Watched(100), trust_env=False,
        username="me", password=secret,
    )  # fmt: skip
    assert report.errors.empty
    assert sent
    assert not any(secret.encode() in one for one in sent)


# --- Dask ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    if os.environ.get("CI"):
        import distributed
    else:
        distributed = pytest.importorskip("distributed")
    import dask

    quiet = {"distributed.admin.tick.limit": "1h", "distributed.comm.timeouts.connect": "60s"}
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as made,
    ):
        yield made


def test_dask_without_a_shared_store(
    server: FaultServer, client: Any, expected: dict[str, Any]
) -> None:
    client.run(_forgotten, "0")
    report, asked = audited(server, client.get_executor(), workers=4)
    same(report, expected)
    assert set(asked.values()) == {1}
    assert len(asked) == 3 + IMAGES


def test_dask_with_a_shared_store(
    server: FaultServer, client: Any, expected: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path / "cache"))
    client.run(_forgotten, str(tmp_path / "cache"))
    carried: list[object] = []
    monkeypatch.setattr(luggage.Home, "put", lambda *args: carried.append(args))
    report, asked = audited(server, client.get_executor(), workers=4)
    same(report, expected)
    assert set(asked.values()) == {1}
    assert not carried


def test_dask_where_each_worker_has_a_store_of_its_own(
    server: FaultServer, client: Any, expected: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DIDLAB_CACHE", str(tmp_path / "here"))
    for number, worker in enumerate(client.scheduler_info()["workers"]):
        client.run(_forgotten, str(tmp_path / f"there{number}"), workers=[worker])
    report, asked = audited(server, client.get_executor(), workers=4)
    same(report, expected)
    assert set(asked.values()) == {1}


def test_a_client_is_no_executor(client: Any) -> None:
    with pytest.raises(InvalidArgument, match="get_executor"):
        didlab.audit("127.0.0.1:1/a:1", executor=client)


def _forgotten(cache: str) -> None:
    # By value: a worker cannot import the tests.
    import os

    from didlab.files import blocks, kept
    from didlab.sources.cached import shared

    os.environ["DIDLAB_CACHE"] = cache
    kept.forget()
    shared.clear()
    blocks.forget()


def test_tasks_are_functions_of_a_module() -> None:
    for function in (tasks.learn, tasks.look):
        assert pickle.loads(pickle.dumps(function)) is function
