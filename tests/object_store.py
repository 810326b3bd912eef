"""A real S3 server on loopback (moto's), as a process of its own, for the tests and benchmarks of object stores."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

BUCKET = "results"
START = 60  # seconds that the server has to answer


@contextmanager
def s3_server(host: str = "127.0.0.1") -> Iterator[tuple[dict[str, str], psutil.Process]]:
    """Yields the environment with which processes find the server, and its process; it holds the bucket ``results``."""
    with socket.socket() as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "moto.server", "--host", host, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(host, port)
        made = f"import boto3; boto3.client('s3').create_bucket(Bucket={BUCKET!r})"
        subprocess.run([sys.executable, "-c", made], env=os.environ | environment, check=True)
        yield environment, psutil.Process(server.pid)
    finally:
        server.kill()
        server.wait()


def _wait(host: str, port: int) -> None:
    end = time.monotonic() + START
    while True:
        with suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return
        if time.monotonic() > end:
            raise TimeoutError(f"no S3 server answers at {host}:{port} after {START} s")
        time.sleep(0.1)
