"""The SQL of one table: each operation is one statement, atomic by itself.

A statement that writes ends in the notification of its keys, on the channel of the table that it has written, and
returns how many live rows it has changed. Rows are locked in the order of their keys wherever a statement locks
several: two batches never wait for each other. A row past `expires` counts as absent everywhere, whether or not it has
been deleted; `expires` is `infinity` for ever.
"""

from __future__ import annotations

import functools
from typing import Final

from psycopg.sql import Identifier

from cachecore_postgres.options import PostgresOptions

# Which process answers, and for which table. The server is limited too: a statement that this process has given up must
# not be carried out much later. A limit that a user has set is left alone, and that of a pooler's connection.
GREET: Final = b"""SELECT pg_backend_pid() = %(process)s AND NOT pg_is_in_recovery(), to_regclass(%(table)s)::oid::text,
       CASE WHEN pg_backend_pid() = %(process)s AND current_setting('statement_timeout') = '0'
            THEN set_config('statement_timeout', %(ms)s::text, false) END"""


class Statements:
    """The statements for one table, as psycopg takes them: `%s` and `%b` are parameters."""

    def __init__(self, options: PostgresOptions) -> None:
        self.name = Identifier(*filter(None, (options.schema, options.table))).as_string()
        parts = {
            "TELL_": """SELECT count(*) FILTER (WHERE live), (SELECT count(pg_notify('cachecore_' || place, said))
                FROM (SELECT place FROM done LIMIT 1) here, unnest(%s::text[]) said) FROM done""",
            "OVER_": "ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires",
            "LIVE_": "(t.expires > now())",
            "DONE_": "RETURNING t.tableoid AS place, true AS live",
            "END_": "coalesce(now() + make_interval(secs => %s::float8), 'infinity')",
            "UNLOGGED_": "UNLOGGED" if options.durability == "unlogged" else "",
            "TABLE_": self.name.replace("%", "%%"),  # the last: a table may have any name
        }

        def sql(text: str) -> bytes:
            return functools.reduce(lambda text, part: text.replace(*part), parts.items(), text).encode()

        self.make = sql("""CREATE UNLOGGED_ TABLE TABLE_ (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL,
                expires timestamptz NOT NULL DEFAULT 'infinity') WITH (autovacuum_vacuum_scale_factor = 0.05);
            ALTER TABLE TABLE_ ALTER COLUMN value SET STORAGE EXTERNAL;
            CREATE INDEX ON TABLE_ (expires) WHERE expires < 'infinity'""").replace(b"%%", b"%")
        self.about = b"""SELECT version() AS server, CASE relpersistence WHEN 'p' THEN 'logged' WHEN 'u' THEN
                'unlogged: empty after a crash or a failover' ELSE 'not made yet' || CASE WHEN has_schema_privilege(
                place, 'CREATE') THEN '' ELSE ', and this user may not make it' END END AS "table",
                current_setting('transaction_read_only') AS "read-only" FROM parse_ident(%(table)s) name,
            LATERAL (SELECT CASE cardinality(name) WHEN 2 THEN name[1] ELSE current_schema() END) here(place)
            LEFT JOIN pg_class ON oid = to_regclass(%(table)s)"""
        self.get = sql("SELECT t.key, t.value FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.sizes = sql("SELECT t.key, octet_length(t.value) FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.page = sql("SELECT key FROM TABLE_ t WHERE key >= %s AND key < %s AND LIVE_ ORDER BY key LIMIT 512")
        self.put = sql("""WITH done AS (INSERT INTO TABLE_ AS t (expires, key, value)
                SELECT END_, k, v FROM unnest(%s::text[], %b::bytea[]) AS new(k, v) ORDER BY k OVER_ DONE_) TELL_""")
        self.delete = sql("""WITH held AS (SELECT t.key FROM TABLE_ t WHERE t.key = ANY(%s::text[]) ORDER BY t.key
                FOR UPDATE), done AS (DELETE FROM TABLE_ t USING held WHERE t.key = held.key
                RETURNING t.tableoid AS place, LIVE_ AS live) TELL_""")
        self.insert = sql("""WITH done AS (INSERT INTO TABLE_ AS t (value, expires, key) VALUES (%b, END_, %s)
                OVER_ WHERE NOT LIVE_ DONE_) TELL_""")
        self.replace = sql("""WITH done AS (UPDATE TABLE_ t SET value = %b, expires = END_
                WHERE t.key = %s AND t.value = %b AND LIVE_ DONE_) TELL_""")
        self.extend = sql("""WITH held AS (SELECT t.key FROM TABLE_ t JOIN unnest(%s::text[], %b::bytea[]) AS old(k, v)
                ON t.key = old.k AND t.value = old.v WHERE LIVE_ ORDER BY t.key FOR UPDATE OF t)
            UPDATE TABLE_ t SET expires = greatest(t.expires, END_) FROM held WHERE t.key = held.key RETURNING t.key""")
        self.advance = sql("""INSERT INTO TABLE_ AS t (key, value) VALUES (%s, '1') ON CONFLICT (key)
            DO UPDATE SET expires = 'infinity', value = CASE
                WHEN LIVE_ AND octet_length(t.value) < 19 AND encode(t.value, 'escape') ~ '^[0-9]+$'
                THEN decode((encode(t.value, 'escape')::bigint + 1)::text, 'escape') ELSE '1' END RETURNING value""")
        self.sweep = sql("""DELETE FROM TABLE_ t WHERE NOT LIVE_ AND t.key IN (SELECT s.key FROM TABLE_ s
                WHERE s.expires <= now() ORDER BY s.expires LIMIT 256 FOR UPDATE SKIP LOCKED) RETURNING 1""")
        self.time = b"SELECT extract(epoch FROM clock_timestamp())::float8"
