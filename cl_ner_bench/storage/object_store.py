"""A grid in an object store (S3 and its kin, through fsspec), of which each machine's results folder is a copy.

The store holds what a results folder does, under the same names. What is made of several files, a step or a model, has
each file under its sha256, and its record is put last, by a conditional write: of several that publish one, the first
wins. So no reader meets a part of it, and what a killed process left belongs to nothing. Leases are made by
conditional writes too.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cl_ner_bench.errors import UserError
from cl_ner_bench.storage.atomic import host, remove_folder, sync_folder, temporary, write_bytes
from cl_ner_bench.storage.shared import Depot, StoreError
from cl_ner_bench.storage.store import COMMIT, PROGRESS, SUMS, TRAINING_CHECK, is_whole, read_json, read_record
from cl_ner_bench.untrusted import is_sums, is_way

FILES = ("split.json", TRAINING_CHECK, PROGRESS, "run.json")  # of a run; what says that it is done comes last
PATIENCE, AGAIN = 300.0, 5.0  # seconds for which, and between which, a run tries a store that does not answer
AT_ONCE = 8  # steps: a store far away takes its time for each
_STEP = re.compile(r"(runs/[^/]+/step-\d+)/" + re.escape(COMMIT))
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


class Remote:
    """The calls of fsspec that are needed, below one URL, with one kind of error."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url
        if re.match(r"[^/]+://[^/@]*:[^/@]*@", url):
            raise UserError(
                "--store: holds a password, which would be stored with the command; say it by the environment"
            )
        try:
            self._fs, self.root = url_to_fs(url, use_listings_cache=False)
        except ImportError:
            package = _PACKAGES.get(url.partition(":")[0])
            raise UserError(
                f"--store {url}: the package {package} is not installed; pip install {package}"
                + (" (or 'cl-ner-bench[s3]')" if package == "s3fs" else "")
            ) from None
        except ValueError as error:
            raise UserError(f"--store {url}: {error}; expected a URL as s3://bucket/name") from None

    @contextmanager
    def _reached(self, expected: type[OSError] | None = None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if expected and isinstance(error, expected):
                raise
            raise StoreError(f"--store {self.url}: {error or type(error).__name__}") from None

    def create(self, way: str, content: bytes) -> bool:
        """Write an object if it is not there; of several that try at once, one is told True."""
        try:
            with self._reached(FileExistsError):
                self._fs.pipe_file(f"{self.root}/{way}", content, mode="create")
            return True
        except FileExistsError:
            return False

    def write(self, way: str, content: bytes) -> None:
        with self._reached():
            self._fs.pipe_file(f"{self.root}/{way}", content)

    def upload(self, file: Path, way: str) -> None:
        with self._reached():
            self._fs.put_file(str(file), f"{self.root}/{way}")

    def download(self, way: str, file: Path) -> bool:
        try:
            with self._reached(FileNotFoundError):
                self._fs.get_file(f"{self.root}/{way}", str(file))
            return True
        except FileNotFoundError:
            return False

    def read(self, way: str) -> bytes | None:
        return self.read_all([way]).get(way)

    def read_all(self, ways: Collection[str]) -> dict[str, bytes]:
        """The content of those objects that are there."""
        with self._reached():
            paths = [f"{self.root}/{way}" for way in ways]
            found = self._fs.cat(paths, on_error="return") if paths else {}
            for error in found.values():
                if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                    raise error
        return {self._way(path): content for path, content in found.items() if isinstance(content, bytes)}

    def list(self, folder: str) -> dict[str, dict[str, Any]]:
        """What the store tells of each object below ``folder``."""
        with self._reached():
            self._fs.invalidate_cache()
            found = self._fs.find(f"{self.root}/{folder}", detail=True)
        return {self._way(path): about for path, about in found.items()}

    def remove(self, way: str) -> None:
        with suppress(FileNotFoundError), self._reached(FileNotFoundError):
            self._fs.rm_file(f"{self.root}/{way}")

    def written(self, way: str) -> float | None:
        """When an object was written, by the store's clock, in seconds; None where it is gone."""
        try:
            with self._reached(FileNotFoundError):
                self._fs.invalidate_cache()
                return float(self._fs.modified(f"{self.root}/{way}").timestamp())
        except FileNotFoundError:
            return None

    def _way(self, path: str) -> str:
        return path[len(self.root) :].strip("/")


class Leases:
    """Leases in an object store: a touch writes the object anew."""

    lag = 5.0

    def __init__(self, remote: Remote) -> None:
        self._remote, self._own = remote, dict[str, bytes]()

    def create(self, name: str, content: bytes) -> bool:
        made = self._remote.create(f"leases/{name}", content)
        if made:
            self._own[name] = content
        return made

    def names(self) -> list[str]:
        return [way.rpartition("/")[2] for way in self._remote.list("leases")]

    def read(self, name: str) -> bytes | None:
        return self._remote.read(f"leases/{name}")

    def touch(self, name: str) -> None:
        self._remote.write(f"leases/{name}", self._own[name])

    def remove(self, name: str) -> None:
        self._own.pop(name, None)
        self._remote.remove(f"leases/{name}")

    def age(self, name: str) -> float:
        clock = f"clocks/{host()}-{os.getpid()}-{uuid.uuid4().hex}"
        self._remote.write(clock, b"")
        now, then = self._remote.written(clock), self._remote.written(f"leases/{name}")
        self._remote.remove(clock)
        return now - then if now is not None and then is not None else 0.0


class Objects(Depot):
    """A results folder as this machine's copy of what stands in an object store."""

    def __init__(self, out: Path, url: str) -> None:
        super().__init__(out)
        self.url = url.rstrip("/")
        self._remote = Remote(self.url)
        self.leases = Leases(self._remote)
        self._known: dict[str, str] = {}  # what the store told of each file when it was pulled last

    def check(self) -> None:
        probe = f"clocks/{uuid.uuid4().hex}"
        if not self._remote.create(probe, b"1") or self._remote.create(probe, b"2"):
            raise UserError(
                f"--store {self.url}: it writes over an object that was to be made only if it is not there "
                "(If-None-Match on S3), so results could be lost; use a store that knows conditional writes"
            )
        self._remote.remove(probe)

    def pull(self, leave: Collection[str] = ()) -> None:
        found = {way: repr(about) for way, about in self._remote.list("runs").items() if is_way(way)}
        steps = [self.out / match[1] for way in found if (match := _STEP.fullmatch(way))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch, steps))
        files = [way for name in FILES for way in sorted(found) if way.count("/") == 2 and way.endswith(f"/{name}")]
        new = [way for way in files if self._known.get(way) != found[way] and not self._is_left(self.out / way, leave)]
        contents = self._remote.read_all(new)
        for way in new:
            if way in contents:
                write_bytes(self.out / way, contents[way])
                self._known[way] = found[way]
        for progress in self.out.glob(f"runs/*/{PROGRESS}"):
            if self._way(progress) not in found and not self._is_left(progress, leave):
                progress.unlink(missing_ok=True)

    def _is_left(self, file: Path, leave: Collection[str]) -> bool:
        """Whether a file of a run is not had: this command learns the run, here, or elsewhere and that is not over."""
        if file.parent.name not in leave:
            return False
        return file.name != PROGRESS or (read_json(file) or {}).get("host") == host()

    def push(self) -> None:
        there = self._remote.list("runs").keys() | self._remote.list("store").keys()
        records = [*self.out.glob(f"runs/*/step-*/{COMMIT}"), *self.out.glob(f"store/*/{SUMS}")]
        new = [record for record in records if self._way(record) not in there]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._publish, [r.parent for r in new if is_whole(r.parent, r.name)]))
        for file in [path for name in FILES if name != PROGRESS for path in self.out.glob(f"runs/*/{name}")]:
            if self._way(file) not in there:
                self.put(file)

    def publish(self, folder: Path) -> None:
        _patiently(self._publish, folder)

    def _publish(self, folder: Path) -> None:
        record = folder / _record_name(folder)
        at, content = self._way(folder), record.read_bytes()
        about = read_json(record)
        for name, told in about["sha256"].items():
            self._remote.upload(folder / name, f"{at}/{told}")
        while not self._remote.create(f"{at}/{record.name}", content):
            if self._remote.read(f"{at}/{record.name}") == content or self._have(folder, about["key"]):
                return
            self._remote.remove(f"{at}/{record.name}")  # of other settings, or damaged

    def fetch(self, folder: Path) -> None:
        _patiently(self._fetch, folder)

    def _fetch(self, folder: Path) -> None:
        if not folder.is_dir():
            self._have(folder)

    def _have(self, folder: Path, key: str | None = None) -> bool:
        """Put what is published in the place of ``folder``. False where there is nothing whole, or of another key."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(folder)
        try:
            record = self._download(folder, made)
            if record is None or (key is not None and record.get("key") != key):
                return False
            remove_folder(folder)
            with suppress(OSError):  # a process beside this one was quicker
                made.rename(folder)
            sync_folder(folder.parent)
            return True
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _download(self, folder: Path, made: Path) -> dict[str, Any] | None:
        """Have at ``made`` what is published of a step or model; its record, None where there is nothing whole."""
        at, name = self._way(folder), _record_name(folder)
        content = self._remote.read(f"{at}/{name}")
        if content is None:
            return None
        write_bytes(made / name, content)
        record = read_record(made / name)
        sums = record.get("sha256") if record else None
        if not is_sums(sums) or not all(
            self._remote.download(f"{at}/{told}", made / file) for file, told in sums.items()
        ):
            return None
        return record if is_whole(made, name) else None

    def holds(self, folder: Path) -> bool:
        return folder.is_dir() or self._remote.read(f"{self._way(folder)}/{_record_name(folder)}") is not None

    def drop(self, folder: Path) -> None:
        remove_folder(folder)
        below = sorted(self._remote.list(self._way(folder)), key=lambda way: not way.endswith((COMMIT, SUMS)))
        for way in below:  # the record first: nobody shall find a part
            self._remote.remove(way)

    def put(self, file: Path) -> None:
        if file.exists():
            self._remote.upload(file, self._way(file))

    def get(self, file: Path) -> None:
        _patiently(self._get, file)

    def _get(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(file)
        try:
            if self._remote.download(self._way(file), made):
                made.replace(file)
        finally:
            made.unlink(missing_ok=True)

    def remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._remote.remove(self._way(file))

    def _way(self, path: Path) -> str:
        return path.absolute().relative_to(self.out.absolute()).as_posix()


def _patiently(call: Callable[[Path], None], path: Path) -> None:
    """What a run cannot go on without is tried again for a while where the store does not answer."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call(path)
        except StoreError:
            if time.monotonic() > end:
                raise
            time.sleep(AGAIN)


def _record_name(folder: Path) -> str:
    return SUMS if folder.parent.name == "store" else COMMIT
