"""The SQL of one table: each operation is one statement, atomic by itself.

A statement that writes takes rows of key, value, seconds and the value that is there now, as four arrays. It ends in
the notification of the keys that it has changed, on the channel of the table that it has written, and returns them.
Rows are locked in the order of their keys wherever a statement locks several: two batches never wait for each other. It
is the order of bytes, COLLATE "C", as in the table; a parameter has that of the database's language. A row past
`expires` counts as absent everywhere, whether or not it has been deleted; `expires` is `infinity` for ever.
"""

from __future__ import annotations

import functools
from typing import Final

from psycopg.sql import Identifier

from cachecore_postgres.options import PostgresOptions

# Which process answers, and for which table. The server is limited too: a statement that this process has given up must
# not be carried out much later. A limit that a user has set is left alone, and that of a pooler's connection. Planning
# takes longer than the rest: a statement is planned once, by the index, although the table may be empty at that time. A
# bitmap of rows has no order: each page of a scan would be sorted from all rows behind it. Each statement is right by
# itself; a stricter isolation, which a database may have as its default, would fail those that meet at one row.
GREET: Final = b"""SELECT mine AND NOT pg_is_in_recovery(), to_regclass(%(table)s)::oid::text, CASE WHEN mine THEN
       set_config('statement_timeout', coalesce(nullif(current_setting('statement_timeout'), '0'), %(ms)s::text), false)
       || set_config('plan_cache_mode', 'force_generic_plan', false) || set_config('enable_bitmapscan', 'off', false)
       || set_config('default_transaction_isolation', 'read committed', false) || set_config('jit', 'off', false)
       || set_config('enable_seqscan', 'off', false) END FROM (SELECT pg_backend_pid() = %(process)s AS mine) own"""


class Statements:
    """The statements for one table, as psycopg takes them: `%s` and `%b` are parameters."""

    def __init__(self, options: PostgresOptions) -> None:
        self.name = Identifier(*filter(None, (options.schema, options.table))).as_string()
        parts = {
            "INSERT_": """WITH done AS (INSERT INTO TABLE_ AS t (key, value, expires) SELECT k, v, END_ FROM ROWS_
                ORDER BY k ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires""",
            # IS TRUE: a join on equal values would read those of the whole table, to hash them.
            "OWN_": """WITH own AS (SELECT new.* FROM TABLE_ t JOIN ROWS_ ON t.key = k AND (t.value = old) IS TRUE
                WHERE LIVE_ ORDER BY k FOR UPDATE OF t)""",
            # At most 31 keys of 250 bytes in one notification: Postgres takes less than 8,000.
            "TELL_": """RETURNING t.key, t.tableoid AS place)
                SELECT array_agg(key), pg_notify('cachecore_' || place, %s::text || string_agg(chr(10) || key, ''))
                FROM (SELECT *, row_number() OVER () / 31 AS part FROM done) told GROUP BY place, part""",
            "ROWS_": 'unnest(%s::text[] COLLATE "C", %b::bytea[], %s::float8[], %b::bytea[]) AS new(k, v, s, old)',
            "LIVE_": "(t.expires > now())",
            "END_": "coalesce(now() + make_interval(secs => s), 'infinity')",
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
                CASE cardinality(name) WHEN 2 THEN name[1] ELSE current_schema() END, 'CREATE') THEN ''
                ELSE ', and this user may not make it' END END AS "table", current_setting('transaction_read_only')
            AS "read-only" FROM parse_ident(%(table)s) name LEFT JOIN pg_class ON oid = to_regclass(%(table)s)"""
        self.get = sql("SELECT t.key, t.value FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.sizes = sql("SELECT t.key, octet_length(t.value) FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.page = sql("SELECT key FROM TABLE_ t WHERE key >= %s AND key < %s AND LIVE_ ORDER BY key LIMIT 512")
        self.put = sql("INSERT_ TELL_")
        self.delete = sql("""WITH own AS (SELECT key AS k FROM TABLE_ t WHERE key = ANY(%s::text[]) AND LIVE_ ORDER BY k
                FOR UPDATE), done AS (DELETE FROM TABLE_ t USING own WHERE key = k TELL_""")
        self.insert = sql("INSERT_ WHERE NOT LIVE_ TELL_")
        self.replace = sql("OWN_, done AS (UPDATE TABLE_ t SET value = v, expires = END_ FROM own WHERE key = k TELL_")
        self.extend = sql("OWN_ UPDATE TABLE_ SET expires = greatest(expires, END_) FROM own WHERE key = k RETURNING k")
        self.advance = sql("""INSERT INTO TABLE_ AS t (key, value) VALUES (%s, '1') ON CONFLICT (key)
            DO UPDATE SET expires = 'infinity', value = CASE WHEN LIVE_ AND encode(t.value, 'escape') ~ '^[0-9]{1,18}$'
                THEN decode((encode(t.value, 'escape')::bigint + 1)::text, 'escape') ELSE '1' END RETURNING value""")
        # The second condition is that of the index, which Postgres cannot conclude from the first.
        self.sweep = sql("""DELETE FROM TABLE_ WHERE ctid = ANY(ARRAY(SELECT ctid FROM TABLE_ WHERE expires <= now()
                AND expires < 'infinity' ORDER BY expires LIMIT 256 FOR UPDATE SKIP LOCKED)) RETURNING 1""")
        self.time = b"SELECT extract(epoch FROM clock_timestamp())::float8"
