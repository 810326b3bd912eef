"""Object stores (S3 and others, through fsspec) for a shared grid. Each machine's results folder is a copy.

The bucket holds the files of a results folder under the same names. The files of a step or a model are stored under
their sha256. Their manifest follows last, by a conditional write: if several processes publish the same step, the first
wins. So no reader finds a part of a step, and no manifest names files that a killed process left. Leases use
conditional writes, too.
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
from cl_ner_bench.storage import layout
from cl_ner_bench.storage.checks import Manifest, parse_manifest, read_manifest
from cl_ner_bench.storage.files import host, read_json, remove_folder, sync_folder, temporary, write_bytes
from cl_ner_bench.storage.shared import SharedFolder, StoreError
from cl_ner_bench.untrusted import is_path_below

PATIENCE, RETRY = 300.0, 5.0  # seconds in all, and between tries, if the store does not answer
AT_ONCE = 8  # steps copied at a time, because each waits for a remote store
_STEP = re.compile(rf"({layout.RUNS}/[^/]+/step-\d+)/{re.escape(layout.STEP_SUMS)}")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


class BucketClient:
    """A client of fsspec below one URL. Every failure raises a :class:`StoreError`."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url
        if re.match(r"[^/]+://[^/@]*:[^/@]*@", url):
            raise UserError(
                "--store: holds a password, which would be stored with the command; set it in the environment"
            )
        try:
            self._fs, self.root = url_to_fs(url, use_listings_cache=False)
        except ImportError:
            package = _PACKAGES.get(url.partition(":")[0])
            raise UserError(f"--store {url}: the package {package} is not installed; pip install {package}") from None
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

    def create(self, key: str, content: bytes) -> bool:
        """Write an object if it does not exist. If several processes try at once, one gets True."""
        try:
            with self._reached(FileExistsError):
                self._fs.pipe_file(f"{self.root}/{key}", content, mode="create")
            return True
        except FileExistsError:
            return False

    def write(self, key: str, content: bytes) -> None:
        with self._reached():
            self._fs.pipe_file(f"{self.root}/{key}", content)

    def upload(self, file: Path, key: str) -> None:
        with self._reached():
            self._fs.put_file(str(file), f"{self.root}/{key}")

    def download(self, key: str, file: Path) -> bool:
        try:
            with self._reached(FileNotFoundError):
                self._fs.get_file(f"{self.root}/{key}", str(file))
            return True
        except FileNotFoundError:
            return False

    def read(self, key: str) -> bytes | None:
        return self.read_all([key]).get(key)

    def read_all(self, keys: Collection[str]) -> dict[str, bytes]:
        """Return the content of each object that exists, by key."""
        with self._reached():
            paths = [f"{self.root}/{key}" for key in keys]
            found = self._fs.cat(paths, on_error="return") if paths else {}
            for error in found.values():
                if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                    raise error
        return {self._key(path): content for path, content in found.items() if isinstance(content, bytes)}

    def list(self, folder: str) -> dict[str, dict[str, Any]]:
        """Return the store's metadata of each object below ``folder``, by key."""
        with self._reached():
            self._fs.invalidate_cache()
            found = self._fs.find(f"{self.root}/{folder}", detail=True)
        return {self._key(path): about for path, about in found.items()}

    def remove(self, key: str) -> None:
        with suppress(FileNotFoundError), self._reached(FileNotFoundError):
            self._fs.rm_file(f"{self.root}/{key}")

    def written(self, key: str) -> float | None:
        """Return the time at which an object was written (seconds, the store's clock), or None if it is gone."""
        try:
            with self._reached(FileNotFoundError):
                self._fs.invalidate_cache()
                return float(self._fs.modified(f"{self.root}/{key}").timestamp())
        except FileNotFoundError:
            return None

    def _key(self, path: str) -> str:
        return path[len(self.root) :].strip("/")


class BucketLeaseFiles:
    """Leases in an object store: a touch writes the object again."""

    lag = 5.0

    def __init__(self, client: BucketClient) -> None:
        self._client, self._own = client, dict[str, bytes]()

    def create(self, name: str, content: bytes) -> bool:
        made = self._client.create(f"{layout.LEASES}/{name}", content)
        if made:
            self._own[name] = content
        return made

    def names(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self._client.list(layout.LEASES)]

    def read(self, name: str) -> bytes | None:
        return self._client.read(f"{layout.LEASES}/{name}")

    def touch(self, name: str) -> None:
        self._client.write(f"{layout.LEASES}/{name}", self._own[name])

    def remove(self, name: str) -> None:
        self._own.pop(name, None)
        self._client.remove(f"{layout.LEASES}/{name}")

    def age(self, name: str) -> float:
        clock = f"clocks/{host()}-{os.getpid()}-{uuid.uuid4().hex}"
        self._client.write(clock, b"")
        now, then = self._client.written(clock), self._client.written(f"{layout.LEASES}/{name}")
        self._client.remove(clock)
        return now - then if now is not None and then is not None else 0.0


class BucketMirror(SharedFolder):
    """A results folder that is this machine's copy of a bucket."""

    def __init__(self, home: Path, url: str) -> None:
        super().__init__(home)
        self.url = url.rstrip("/")
        self._client = BucketClient(self.url)
        self.leases = BucketLeaseFiles(self._client)
        self._known: dict[str, str] = {}  # the store's metadata of each file at its last pull

    def check(self) -> None:
        probe = f"clocks/{uuid.uuid4().hex}"
        if not self._client.create(probe, b"1") or self._client.create(probe, b"2"):
            raise UserError(
                f"--store {self.url}: it overwrites an object that was to be created only if it does not exist "
                "(If-None-Match on S3), so results could be lost; use a store that supports conditional writes"
            )
        self._client.remove(probe)

    def pull(self, leave: Collection[str] = ()) -> None:
        found = {key: repr(about) for key, about in self._client.list(layout.RUNS).items() if is_path_below(key)}
        steps = [self.home / match[1] for key in found if (match := _STEP.fullmatch(key))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch, steps))
        of_runs = [key for key in sorted(found) if key.count("/") == 2]
        files = [key for name in layout.RUN_FILES for key in of_runs if key.endswith(f"/{name}")]
        new = [key for key in files if self._known.get(key) != found[key] and not self._is_left(self.home / key, leave)]
        contents = self._client.read_all(new)
        for key in new:
            if key in contents:
                write_bytes(self.home / key, contents[key])
                self._known[key] = found[key]
        for progress in self.home.glob(f"{layout.RUNS}/*/{layout.PROGRESS}"):
            if self._key(progress) not in found and not self._is_left(progress, leave):
                progress.unlink(missing_ok=True)

    def _is_left(self, file: Path, leave: Collection[str]) -> bool:
        """Return True if a pull must leave a run's file alone, because this command is learning the run."""
        if file.parent.name not in leave:
            return False
        return file.name != layout.PROGRESS or (read_json(file) or {}).get("host") == host()

    def push(self) -> None:
        there = self._client.list(layout.RUNS).keys() | self._client.list(layout.STORE).keys()
        steps = self.home.glob(f"{layout.RUNS}/*/step-*/{layout.STEP_SUMS}")
        models = self.home.glob(f"{layout.STORE}/*/{layout.MODEL_SUMS}")
        new = [file for file in (*steps, *models) if self._key(file) not in there]
        whole = [file.parent for file in new if (found := read_manifest(file)) and found.is_whole()]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._publish, whole))
        names = [name for name in layout.RUN_FILES if name != layout.PROGRESS]
        for file in [path for name in names for path in self.home.glob(f"{layout.RUNS}/*/{name}")]:
            if self._key(file) not in there:
                self.put(file)

    def publish(self, folder: Path) -> None:
        _patiently(self._publish, folder)

    def _publish(self, folder: Path) -> None:
        file = folder / _sums_name(folder)
        at, content = self._key(folder), file.read_bytes()
        found = parse_manifest(read_json(file), file)
        assert found is not None, f"{file} was written just now"
        for name, (sha256, *_) in found.sums.items():
            self._client.upload(folder / name, f"{at}/{sha256}")
        while not self._client.create(f"{at}/{file.name}", content):
            if self._client.read(f"{at}/{file.name}") == content or self._replace(folder, found.about["key"]):
                return
            self._client.remove(f"{at}/{file.name}")  # a step of other settings, or damaged

    def fetch(self, folder: Path) -> None:
        _patiently(self._fetch, folder)

    def _fetch(self, folder: Path) -> None:
        if not folder.is_dir():
            self._replace(folder)

    def _replace(self, folder: Path, key: str | None = None) -> bool:
        """Replace ``folder`` by its published state. Return False if that is not whole or has another step key."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(folder)
        try:
            found = self._download(folder, made)
            if found is None or (key is not None and found.about.get("key") != key):
                return False
            remove_folder(folder)
            with suppress(OSError):  # another process was faster
                made.rename(folder)
            sync_folder(folder.parent)
            return True
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _download(self, folder: Path, made: Path) -> Manifest | None:
        """Copy a published step or model to ``made``. Return its checksums, or None if it is not whole."""
        at, name = self._key(folder), _sums_name(folder)
        content = self._client.read(f"{at}/{name}")
        if content is None:
            return None
        write_bytes(made / name, content)
        found = read_manifest(made / name)
        if found is None or not all(
            self._client.download(f"{at}/{sha256}", made / file) for file, (sha256, *_) in found.sums.items()
        ):
            return None
        return found if found.is_whole() else None

    def holds(self, folder: Path) -> bool:
        return folder.is_dir() or self._client.read(f"{self._key(folder)}/{_sums_name(folder)}") is not None

    def drop(self, folder: Path) -> None:
        remove_folder(folder)
        last = (layout.STEP_SUMS, layout.MODEL_SUMS)
        for key in sorted(self._client.list(self._key(folder)), key=lambda key: not key.endswith(last)):
            self._client.remove(key)  # the checksums first, so nobody finds a part

    def put(self, file: Path) -> None:
        if file.exists():
            self._client.upload(file, self._key(file))

    def get(self, file: Path) -> None:
        _patiently(self._get, file)

    def _get(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = temporary(file)
        try:
            if self._client.download(self._key(file), made):
                made.replace(file)
        finally:
            made.unlink(missing_ok=True)

    def remove(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._client.remove(self._key(file))

    def _key(self, path: Path) -> str:
        return path.absolute().relative_to(self.home.absolute()).as_posix()


def _sums_name(folder: Path) -> str:
    """Return the name of the manifest in the folder of a model or a step."""
    return layout.MODEL_SUMS if folder.parent.name == layout.STORE else layout.STEP_SUMS


def _patiently(call: Callable[[Path], None], path: Path) -> None:
    """Repeat a call for a while if the store does not answer, because a run cannot continue without the store."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call(path)
        except StoreError:
            if time.monotonic() > end:
                raise
            time.sleep(RETRY)
