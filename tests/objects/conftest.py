"""An S3 server in this process, for all tests of object stores in a worker."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.objects.azurite import azurite, azurite_program, make_container

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[int]:
    """The port of a server that writes on conditions, as S3 does."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    whole, lock = DomainDispatcherApplication.__call__, threading.Lock()

    def one_by_one(*arguments: Any) -> Any:
        """Answer one request after the other: moto looks at a condition and writes in two steps, S3 in one."""
        with lock:
            return whole(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", one_by_one)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        yield server.get_host_and_port()[1]
        server.stop()


@pytest.fixture(scope="session")
def azure_server() -> Iterator[int]:
    """The port of Azurite, which writes on conditions, as Azure does."""
    program = azurite_program()
    if program is None:
        pytest.skip("Azurite is not installed: `make azurite`")
    with azurite(program) as port:
        yield port


def container_of(port: int) -> str:
    """Make a container of this test's own; return its name."""
    name = f"container-{next(_numbers)}"
    make_container(port, name)
    return name


def bucket_of(port: int) -> str:
    """Make a bucket of this test's own; return its name."""
    import boto3

    name = f"bucket-{next(_numbers)}"
    client: Any = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=name)
    client.close()
    return name


def s3_url(port: int, bucket: str) -> str:
    """Return the address of a folder of a bucket."""
    return (
        f"s3://{bucket}/some/folder?endpoint=http://127.0.0.1:{port}&region=us-east-1"
        "&access_key_id=a&secret_access_key=b&virtual_hosted_style_request=false"
    )
