"""What hinders a connection is named, so that the log says what to do."""

from __future__ import annotations

import psycopg
import pytest

from cachecore.contract import BackendError
from cachecore_postgres import PostgresBackend
from cachecore_postgres.connections import translate
from tests.postgres.server import Server


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgres://owner:wrong@127.0.0.1:PORT/postgres", "auth"),
        ("postgres://owner:pass%2Fword@127.0.0.1:PORT/nowhere", "no_database"),
        ("postgres://owner:pass%2Fword@127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=/none", "tls"),
        ("postgres://owner:pass%2Fword@127.0.0.1:PORT/postgres?sslmode=verify-full&sslrootcert=system", "tls"),
        ("postgres://owner:pass%2Fword@no-such-host.invalid/postgres", "dns"),
        ("postgres:///postgres?host=/nowhere", "refused"),
    ],
)
async def test_what_hinders_a_connection_is_named(postgres: Server, url: str, reason: str) -> None:
    backend = PostgresBackend(url.replace("PORT", str(postgres.port)))
    with pytest.raises(BackendError) as refused:
        await backend.get_many(["k"])
    assert (refused.value.reason, refused.value.transient) == (reason, True), refused.value.__cause__
    await backend.aclose()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("consuming input failed: SSL error: unexpected eof while reading", "reset"),
        ("sending query failed: SSL error: bad length", "reset"),
        ('connection to server at "certificate.db" (10.0.0.1), port 5432 failed: Connection refused', "refused"),
        ("connection to server at x failed: SSL error: certificate verify failed", "tls"),
        ('connection to server at x failed: root certificate file "/none" does not exist', "tls"),
        ('connection to server at x failed: server certificate for "a" does not match host name "b"', "tls"),
        ("connection to server at x failed: SSL error: tlsv1 alert unknown ca", "tls"),
        ("connection to server at x failed: server does not support SSL, but SSL was required", "tls"),
    ],
)
def test_a_connection_that_is_lost_over_tls_is_no_fault_of_tls(message: str, reason: str) -> None:
    """Managed servers drop idle connections; that must neither open the breaker at once nor blame certificates."""
    assert translate("get_many", psycopg.OperationalError(message)).reason == reason
