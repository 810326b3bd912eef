"""An S3 server (moto) on loopback in a process of its own, for tests and benchmarks of object stores."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

BUCKET = "results"
HOST = "127.0.0.1"
START = 60  # seconds in which a server must answer

FORWARD = """
import asyncio, sys
host, port, to = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
async def copy(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(reader, writer):
    there = await asyncio.open_connection(host, to)
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, host, port)).serve_forever()
asyncio.run(main())
"""


class Server:
    """A server in ``process``; processes find it through ``environment``. While it is shut, it refuses connections and
    keeps its content."""

    def __init__(self) -> None:
        self._port, self._door = free_port(), free_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._door}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.process = _start(["-m", "moto.server", "--host", HOST, "--port", str(self._port)], self._port)
        self.open()

    def open(self) -> None:
        self._doorman = _start(["-c", FORWARD, HOST, str(self._door), str(self._port)], self._door)

    def shut(self) -> None:
        _end(self._doorman)

    def end(self) -> None:
        _end(self._doorman)
        _end(self.process)


@contextmanager
def s3_server() -> Iterator[Server]:
    """Yield a server with the bucket ``results``."""
    server = Server()
    try:
        made = f"import boto3; boto3.client('s3').create_bucket(Bucket={BUCKET!r})"
        subprocess.run([sys.executable, "-c", made], env=os.environ | server.environment, check=True)
        yield server
    finally:
        server.end()


def free_port() -> int:
    with socket.socket() as free:
        free.bind((HOST, 0))
        return int(free.getsockname()[1])


def _start(words: Sequence[str], port: int) -> psutil.Popen:
    process = psutil.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + START
    while True:
        with suppress(OSError):
            socket.create_connection((HOST, port), 1).close()
            return process
        if time.monotonic() > end:
            raise TimeoutError(f"no server answers at {HOST}:{port} after {START} s")
        time.sleep(0.1)


def _end(process: psutil.Popen) -> None:
    with suppress(psutil.NoSuchProcess):  # the server was already shut
        process.kill()
    process.wait()
