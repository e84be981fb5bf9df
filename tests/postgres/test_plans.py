"""Postgres finds the rows of each statement by an index, also where the statement was planned on an empty table."""

from __future__ import annotations

import re

import pytest

from cachecore_postgres import PostgresBackend, PostgresOptions
from cachecore_postgres.connections import connect
from cachecore_postgres.statements import Statements

ROWS = ["text[]", "bytea[]", "float8[]", "bytea[]"]
STATEMENTS = {
    "get": ["text[]"],
    "sizes": ["text[]"],
    "page": ["text", "text"],
    "put": [*ROWS, "text"],
    "delete": ["text[]", "text"],
    "insert": [*ROWS, "text"],
    "replace": [*ROWS, "text"],
    "extend": ROWS,
    "advance": ["text"],
    "sweep": [],
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_statement_that_is_planned_on_an_empty_table_reads_no_whole_table(name: str, postgres_url: str) -> None:
    """The plan stays until the server next analyses the table, which has a million rows by then."""
    types, numbers = STATEMENTS[name], iter(range(1, 9))
    backend = PostgresBackend(postgres_url)
    await backend.delete_many(["makes the table"])
    async with await connect(postgres_url, statements := Statements(PostgresOptions()), 5, 5) as connection:
        text = re.sub("%[sb]", lambda found: f"${next(numbers)}", getattr(statements, name).decode())
        given = f"({', '.join(types)})" if types else ""
        await connection.execute(f"PREPARE asked{given} AS {text}".replace("%%", "%").encode())
        asked = f"EXPLAIN EXECUTE asked{given and '(' + ', '.join(['NULL'] * len(types)) + ')'}"
        plan = "\n".join(line for (line,) in await (await connection.execute(asked.encode())).fetchall())
    assert "Seq Scan" not in plan
    assert name != "page" or "Sort" not in plan  # a page of 512 keys would be sorted from all keys behind it
    assert "JIT" not in plan  # compiled code is for statements that read much, and takes longer than these
    await backend.aclose()
