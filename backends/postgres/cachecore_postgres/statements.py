"""The SQL of one table: each operation is one statement, atomic by itself, that ends in the notification of its keys.

Rows are locked in the order of their keys wherever a statement locks several: two batches never wait for each other.
A row past `expires` counts as absent everywhere, whether or not it has been deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from cachecore_postgres.options import PostgresOptions

_MAKE_LOCK: Final = 0x63616368
SWEEP: Final = 256
"""Dead rows that one step deletes."""

_CHUNK_BYTES: Final = 16 * 1024 * 1024
_CHUNK_KEYS: Final = 1024
_PAYLOAD_BYTES: Final = 7900  # of keys in one notification; Postgres takes less than 8,000

CHANNEL: Final = object()
"""A parameter that stands for the channel of the connection's table."""
BEAT: Final = b"SELECT pg_backend_pid() = %s AND %s IN (SELECT pg_listening_channels())"
ABOUT: Final = b"""
SELECT current_setting('server_version'), CASE WHEN pg_is_in_recovery() THEN 'replica: takes no writes'
           WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only' ELSE 'primary' END,
       (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass(%s)),
       (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid())"""
# Which process answers, and in which schema the table is or would be made. Limits the server too: a statement that this
# process has given up must not be carried out much later.
GREET: Final = b"""
SELECT pg_backend_pid(),
       coalesce((SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = to_regclass(%s)), nullif(%s, ''), current_schema(), '')::text,
       CASE WHEN pg_backend_pid() = %s AND current_setting('statement_timeout') = '0'
            THEN set_config('statement_timeout', %s, false) END"""


def quoted(name: str) -> str:
    """Return `name` as an identifier of SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


class Statements:
    """The statements for one table, as psycopg takes them: `%s` and `%b` are parameters."""

    def __init__(self, options: PostgresOptions) -> None:
        self.table, self.schema = options.table, options.schema
        self.name = ".".join(quoted(part) for part in (options.schema, options.table) if part)

        told = "SELECT pg_notify(%s, said) FROM unnest(%s::text[]) said" if options.feed else "SELECT %s, %s::text[]"
        parts = {
            "IF_DONE_": f"{told} WHERE EXISTS (SELECT FROM done)",
            "TOLD_": told,
            "LIVE_": "(t.expires IS NULL OR t.expires > now())",
            "END_": "now() + make_interval(secs => %s::float8)",  # of NULL seconds: NULL, for ever
            "MAKE_LOCK_": str(_MAKE_LOCK),
            "SWEEP_": str(SWEEP),
            "UNLOGGED_": "UNLOGGED" if options.durability == "unlogged" else "",
            "TABLE_": self.name.replace("%", "%%"),  # the last: a table may have any name
        }

        def sql(text: str) -> bytes:
            for mark, part in parts.items():
                text = text.replace(mark, part)
            return text.encode()

        self._upkeep(sql)
        self._reads(sql)
        self.put = sql("""
            WITH done AS (INSERT INTO TABLE_ (key, value, expires)
                SELECT k, v, END_ FROM unnest(%s::text[], %b::bytea[]) AS new(k, v)
                ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires)
            TOLD_""")
        self.delete = sql("""
            WITH held AS (SELECT t.key FROM TABLE_ t WHERE t.key = ANY(%s::text[]) ORDER BY t.key FOR UPDATE),
                 done AS (DELETE FROM TABLE_ t USING held WHERE t.key = held.key RETURNING LIVE_ AS live),
                 said AS (IF_DONE_)
            SELECT count(*) FILTER (WHERE live), (SELECT count(*) FROM said) FROM done""")
        self.insert = sql("""
            WITH done AS (INSERT INTO TABLE_ AS t (value, expires, key) VALUES (%b, END_, %s) ON CONFLICT (key)
                DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires WHERE NOT LIVE_ RETURNING 1)
            IF_DONE_""")
        self.replace = sql("""
            WITH done AS (UPDATE TABLE_ t SET value = %b, expires = END_
                WHERE t.key = %s AND t.value = %b AND LIVE_ RETURNING 1)
            IF_DONE_""")
        self.remove = sql("""
            WITH done AS (DELETE FROM TABLE_ t WHERE t.key = %s AND t.value = %b AND LIVE_ RETURNING 1)
            IF_DONE_""")
        self.extend = sql("""
            WITH held AS (SELECT t.key FROM TABLE_ t JOIN unnest(%s::text[], %b::bytea[]) AS old(k, v)
                ON t.key = old.k AND t.value = old.v WHERE LIVE_ ORDER BY t.key FOR UPDATE OF t)
            UPDATE TABLE_ t SET expires = CASE WHEN t.expires IS NULL THEN NULL WHEN new.ends IS NULL THEN NULL
                ELSE greatest(t.expires, new.ends) END
                FROM held, (SELECT END_ AS ends) new WHERE t.key = held.key RETURNING t.key""")
        # Nothing is cast that is no number: CASE looks at one branch after the other.
        self.advance = sql("""
            INSERT INTO TABLE_ AS t (key, value) VALUES (%s, '1') ON CONFLICT (key)
                DO UPDATE SET expires = NULL, value =
                CASE WHEN NOT LIVE_ OR octet_length(t.value) NOT BETWEEN 1 AND 18 THEN '1'
                     WHEN encode(t.value, 'escape') !~ '^[0-9]+$' THEN '1'
                     ELSE decode((encode(t.value, 'escape')::bigint + 1)::text, 'escape') END
            RETURNING value""")

    def _upkeep(self, sql: Callable[[str], bytes]) -> None:
        self.make = sql("""
            SELECT pg_advisory_xact_lock(MAKE_LOCK_);
            CREATE UNLOGGED_ TABLE TABLE_ (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, expires timestamptz)
                WITH (autovacuum_vacuum_scale_factor = 0.05);
            ALTER TABLE TABLE_ ALTER COLUMN value SET STORAGE EXTERNAL;
            CREATE INDEX ON TABLE_ (expires) WHERE expires IS NOT NULL""").replace(b"%%", b"%")
        self.sweep = sql("""
            DELETE FROM TABLE_ t WHERE t.expires <= now() AND t.key IN (SELECT s.key FROM TABLE_ s
                WHERE s.expires <= now() ORDER BY s.expires LIMIT SWEEP_ FOR UPDATE SKIP LOCKED) RETURNING 1""")

    def _reads(self, sql: Callable[[str], bytes]) -> None:
        self.time = b"SELECT extract(epoch FROM clock_timestamp())::float8"
        self.get = sql("SELECT t.key, t.value FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.sizes = sql("SELECT t.key, octet_length(t.value) FROM TABLE_ t WHERE t.key = ANY(%s::text[]) AND LIVE_")
        self.absent = sql("SELECT 1 WHERE NOT EXISTS (SELECT FROM TABLE_ t WHERE t.key = %s AND LIVE_)")
        self.page = sql("""
            SELECT t.key FROM TABLE_ t WHERE t.key > %s AND t.key >= %s AND t.key < %s AND LIVE_
            ORDER BY t.key LIMIT 512""")


def channel(schema: str, table: str) -> str:
    """Return the name under which the changes of a table are told; a database has one space of such names."""
    return "cachecore_" + hashlib.blake2b(f"{quoted(schema)}.{quoted(table)}".encode(), digest_size=16).hexdigest()


def chunks(items: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Split `items` into those of single statements, in the order of their keys: so rows are locked in one order."""
    chunk: dict[str, bytes] = {}
    size = 0
    for key in sorted(items):
        if chunk and (size + len(items[key]) > _CHUNK_BYTES or len(chunk) == _CHUNK_KEYS):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = items[key]
        size += len(items[key])
    if chunk:
        yield chunk


def payloads(sender: str, keys: Iterable[str]) -> list[str]:
    """Return the notifications that tell of `keys`: a line for each key, below one that says which process tells."""
    found, size = [[sender]], 0
    for key in keys:
        size += len(key) + 1
        if size > _PAYLOAD_BYTES:
            found.append([sender])
            size = len(key) + 1
        found[-1].append(key)
    return ["\n".join(lines) for lines in found]
