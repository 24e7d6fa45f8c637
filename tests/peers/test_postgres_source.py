"""PostgreSQL as a source, against a real server."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

servers = pytest.importorskip("servers")
deltalake = pytest.importorskip("deltalake")

from tcp_proxy import FAULTS, KINDS, Proxy, disturb  # noqa: E402

LEAT = str(pathlib.Path(os.environ.get("LEAT", "build/dev/leat")).resolve())


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    try:
        with servers.Postgres(tmp_path_factory.mktemp("postgres"), {"max_replication_slots": 40, "max_wal_senders": 40}) as server:
            yield server
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")


class Project:
    def __init__(self, folder, text, **environment):
        self.folder = folder
        self.environment = {**os.environ, **environment}
        (folder / "project.sql").write_text(text)
        self.process = None

    def leat(self, *arguments):
        done = subprocess.run([LEAT, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300, env=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def once(self):
        return self.leat("run", "--once", "--all")

    def rows(self, table):
        return sorted(tuple(r.values()) for r in deltalake.DeltaTable(str(self.folder / "lake" / table)).to_pyarrow_table().to_pylist())


PRODUCTS = """CREATE SOURCE products (id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', %s, refresh = INTERVAL '100' MILLISECOND);
CREATE SOURCE orders (id BIGINT, product INTEGER) WITH (connector = 'file', path = 'in/*.ndjson');
CREATE MATERIALIZED TABLE joined FRESHNESS = INTERVAL '1' SECOND AS SELECT o.id, p.category, p.price FROM orders o JOIN products p ON o.product = p.id;
"""


def test_a_reference_table_and_its_changes(shop, tmp_path):
    shop.sql("CREATE TABLE products (price numeric(18,2), id integer PRIMARY KEY, category text, more json)")
    shop.sql("INSERT INTO products SELECT i * 1.5, i, 'c' || i % 3 FROM generate_series(1, 1000) i")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/o.ndjson").write_text("".join(f'{{"id":{i},"product":{i}}}\n' for i in range(1, 1101)))
    p = Project(tmp_path, PRODUCTS % "'table' = 'products'", SHOP_DSN=shop.conninfo)
    expected = lambda: sorted(tuple(line.split("|")) for line in  # noqa: E731
                              shop.sql("SELECT id, category, price FROM products WHERE id <= 1100").splitlines())
    said = lambda: sorted((str(a), b, str(c)) for a, b, c in p.rows("joined"))  # noqa: E731
    p.once()
    assert said() == expected() and len(said()) == 1000
    shop.sql("UPDATE products SET price = price + 1 WHERE id % 10 = 0; DELETE FROM products WHERE id % 7 = 0; "
             "INSERT INTO products SELECT i, i, 'new' FROM generate_series(1001, 1050) i")
    time.sleep(0.2)
    p.once()
    assert said() == expected()
    assert "0 differing rows" in p.leat("verify")


def test_a_query_and_every_type(shop, tmp_path):
    columns = dict(a="bigint", b="boolean", c="smallint", d="double precision", e="real", f="numeric(38,6)", g="text", h="bytea", i="date", j="time",
                   k="timestamp", l="timestamptz", m="uuid", n="interval", o="jsonb")
    low = ("-9223372036854775808, false, -32768, -1e300, -1.5, -12345678901234567890.123456, E'a\"b,\\n\\'', '\\x00ff5c27', '0001-01-01', '00:00', "
           "'1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+01', '00000000-0000-0000-0000-000000000000', '-1 month 2 days', '{\"a\": null}'")
    high = ("9223372036854775807, true, 32767, 0.1, 0.1, 98765432109876543210.654321, '', 'abc', '9999-12-31', '23:59:59.999999', "
            "'2026-01-01 00:00:00.123456', '2026-01-01 00:00:00.123456+01', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '1 hour 1.5 seconds', '[]'")
    shop.sql(f"CREATE TABLE kinds ({', '.join(f'{n} {t}' for n, t in columns.items())}); "
             f"INSERT INTO kinds VALUES ({low}), ({high}); INSERT INTO kinds (a) VALUES (0)")
    ours = dict(a="BIGINT", b="BOOLEAN", c="SMALLINT", d="DOUBLE", e="FLOAT", f="DECIMAL(38,6)", g="VARCHAR", h="BLOB", i="DATE", j="TIME",
                k="TIMESTAMP", l="TIMESTAMPTZ", m="UUID", n="INTERVAL", o="VARCHAR")
    text = (f"CREATE SOURCE kinds ({', '.join(f'{n} {t}' for n, t in ours.items())}) WITH (connector = 'postgres', dsn = '{shop.conninfo}', "
            "query = 'SELECT *, 1 AS unused FROM kinds WHERE a IS NOT NULL -- all of them');\n"
            "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT a, b, c, d, e, f, g, hex(h) AS h, i, j::VARCHAR AS j, k, l, "
            "m::VARCHAR AS m, n::VARCHAR AS n, o FROM kinds;\n")
    p = Project(tmp_path, text)
    p.once()
    rows = {r[0]: [str(v) for v in r[1:]] for r in p.rows("t")}
    assert rows[0] == ["None"] * 14
    assert rows[-2**63] == ["False", "-32768", "-1e+300", "-1.5", "-12345678901234567890.123456", "a\"b,\n'", "00FF5C27", "0001-01-01", "00:00:00",
                            "1969-12-31 23:59:59.999999", "1969-12-31 22:59:59.999999+00:00", "00000000-0000-0000-0000-000000000000",
                            "-1 month 2 days", '{"a": null}']
    assert rows[2**63 - 1] == ["True", "32767", "0.1", "0.10000000149011612", "98765432109876543210.654321", "", "616263", "9999-12-31",
                               "23:59:59.999999", "2026-01-01 00:00:00.123456", "2025-12-31 23:00:00.123456+00:00",
                               "ffffffff-ffff-ffff-ffff-ffffffffffff", "01:00:01.5", "[]"]


CHECKED = """CREATE SOURCE sold (id INTEGER PRIMARY KEY, shop VARCHAR, amount DECIMAL(18,2))
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', query = 'SELECT id, shop, amount FROM sales WHERE %s', refresh = INTERVAL '100' MILLISECOND);
CREATE SOURCE sales (id INTEGER PRIMARY KEY, shop VARCHAR, amount DECIMAL(18,2))
WITH (connector = 'postgres', dsn = '${SHOP_DSN}', 'table' = 'sales', refresh = INTERVAL '100' MILLISECOND);
CREATE SOURCE shops (shop VARCHAR) WITH (connector = 'file', path = 'in/*.ndjson');
CREATE MATERIALIZED TABLE revenue FRESHNESS = INTERVAL '1' SECOND AS
SELECT s.shop, count(*) AS sales, sum(x.amount) AS amount FROM shops s JOIN sold x USING (shop) GROUP BY s.shop;
CREATE CHECK books COMPARE revenue WITH (SELECT shop, count(*) AS sales, sum(amount) AS amount FROM sales GROUP BY shop) BY shop;
"""


def test_a_wrong_source_query_is_found_by_a_check(shop, tmp_path):
    """The extraction's filter loses rows: no input has them, so leat's own tables agree; the system of record does not."""
    shop.sql("CREATE TABLE sales (id integer PRIMARY KEY, shop text, amount numeric(18,2))")
    shop.sql("INSERT INTO sales SELECT i, 'shop' || i % 3, i FROM generate_series(1, 30) i")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/s.ndjson").write_text("".join(f'{{"shop":"shop{i}"}}\n' for i in range(3)))
    p = Project(tmp_path, CHECKED % "id >= 0", SHOP_DSN=shop.conninfo)
    p.once()
    assert p.rows("books__differences") == []
    (tmp_path / "project.sql").write_text(CHECKED % "amount <> 7")
    p.once()
    found = deltalake.DeltaTable(str(tmp_path / "lake/books__differences")).to_pyarrow_table().to_pylist()
    assert [(d["kind"], d["key"], d["columns"]) for d in found] == [("differs", '{"shop":"shop1"}', "sales, amount")]
    assert "revenue: 0 differing rows" in p.leat("verify")


def test_trouble_leaves_the_last_version_and_is_said(shop, tmp_path):
    shop.sql("CREATE TABLE few (id integer, category text, price numeric); INSERT INTO few VALUES (1, 'a', 1), (2, 'b', 2)")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/o.ndjson").write_text('{"id":1,"product":1}\n{"id":2,"product":2}\n')
    proxy = Proxy(shop.port)
    dsn = f"host=127.0.0.1 port={proxy.port} user=leat dbname=leat password=secret-word"
    text = PRODUCTS.replace("products (", "products (").replace("%s", "'table' = 'public.few', timeout = INTERVAL '1' SECOND")
    p = Project(tmp_path, text, SHOP_DSN=dsn)
    p.once()
    first = p.rows("joined")
    assert len(first) == 2

    def stays(what):
        time.sleep(1.1)  # until the next try
        said = p.once()
        assert what in said and "stays until it can be read" in said and "secret-word" not in said
        assert p.rows("joined") == first
    shop.sql("INSERT INTO few VALUES (2, 'twice', 3)")
    stays("the primary key (2) is there more than once")
    shop.sql("DELETE FROM few WHERE category = 'twice'; INSERT INTO few VALUES (3, 'c', 1e30)")
    stays("DECIMAL(18,2)")
    shop.sql("ALTER TABLE few RENAME TO other")
    stays('relation "public.few" does not exist (42P01)')
    shop.sql("ALTER TABLE other RENAME TO few; DELETE FROM few WHERE id = 3; INSERT INTO few SELECT i, 'x', 1 FROM generate_series(3, 200000) i")
    proxy.fault = "blackhole"
    stays("PostgreSQL")
    proxy.fault = "slow"  # an answer that comes is waited for, one that stops does not hold for ever
    proxy.half_answer()
    stays("PostgreSQL")
    proxy.fault = None
    time.sleep(1.1)
    p.once()
    assert p.rows("joined") == first and "200000 rows" in p.leat("status")
    proxy.close()


def test_a_silent_database_holds_nothing_else_up(shop, tmp_path):
    """A reference is read beside everything else, with the default time-out of a minute: tables, also those that look rows up in it, go on with what it was."""
    shop.sql("CREATE TABLE silent (id integer PRIMARY KEY, category text, price numeric(18,2)); INSERT INTO silent VALUES (1, 'a', 1)")
    (tmp_path / "in").mkdir()
    proxy = Proxy(shop.port)
    p = Project(tmp_path, "SET commit_interval = INTERVAL '1' SECOND;\n" + PRODUCTS % "'table' = 'silent'", SHOP_DSN=shop.conninfo.replace(f"port={shop.port}", f"port={proxy.port}"))

    def order(number, expected):
        with open(tmp_path / "in/o.ndjson", "a") as f:
            f.write(f'{{"id":{number},"product":1}}\n')
        servers.wait_for("the order is there", lambda: (tmp_path / "lake/joined/_delta_log").exists() and (number, expected) in [r[:2] for r in p.rows("joined")], 6)

    process = subprocess.Popen([LEAT, "run"], cwd=tmp_path, stdout=open(tmp_path / "log", "a"), stderr=subprocess.STDOUT, env=p.environment)
    try:
        order(1, "a")
        for n, fault in enumerate(("blackhole", "partition")):
            proxy.fault = fault
            time.sleep(1)
            shop.sql(f"UPDATE silent SET category = 'after {fault}'")
            order(10 * n + 2, "a" if n == 0 else "after blackhole")
            proxy.fault = None
            servers.wait_for("the reference is read again", lambda fault=fault: all(r[1] == f"after {fault}" for r in p.rows("joined")), 75)  # a query that was under way has a minute
        proxy.fault = "blackhole"
        time.sleep(1)
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        proxy.close()


CHANGES = """CREATE SOURCE orders (id BIGINT, status VARCHAR, amount DECIMAL(18,2), made TIMESTAMP, note BLOB, PRIMARY KEY (id))
WITH (connector = 'postgres', dsn = '{dsn}', 'table' = '{table}', slot = '{table}_slot', timeout = INTERVAL '3' SECOND);
CREATE MATERIALIZED TABLE current FRESHNESS = INTERVAL '200' MILLISECOND AS SELECT id, status, amount, made, hex(note) AS note FROM orders;
"""


class Changes(Project):
    def __init__(self, shop, folder, table, port=None):
        super().__init__(folder, CHANGES.format(dsn=shop.conninfo.replace(f"port={shop.port}", f"port={port or shop.port}"), table=table))
        self.shop, self.table = shop, table
        shop.sql(f"CREATE TABLE {table} (id bigint PRIMARY KEY, status text, more text, amount numeric(18,2), made timestamp, note bytea); "
                 f"ALTER TABLE {table} REPLICA IDENTITY FULL; INSERT INTO {table} SELECT i, E'created\\t\"\\\\' || i, repeat('m', 5000), i / 4.0, "
                 f"timestamp '2026-01-01' + i * interval '1 ms', decode(md5(i::text), 'hex') FROM generate_series(1, 2000) i")

    def start(self):
        self.process = subprocess.Popen([LEAT, "run"], cwd=self.folder, stdout=open(self.folder / "log", "a"), stderr=subprocess.STDOUT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, (self.folder / "log").read_text()

    def same(self):
        """leat's table is the database's."""
        self.once()
        there = self.shop.sql(f"SELECT id, coalesce(replace(replace(status, E'\\t', '<tab>'), '|', '<bar>'), '-'), coalesce(amount::text, '-'), coalesce(to_char(made, 'YYYY-MM-DD HH24:MI:SS.US'), '-'), "
                              f"coalesce(upper(encode(note, 'hex')), '-') FROM {self.table} ORDER BY id").splitlines()
        text = lambda v: v.isoformat(" ", "microseconds") if hasattr(v, "isoformat") else str(v)  # noqa: E731
        ours = ["|".join("-" if v is None else text(v).replace("\t", "<tab>").replace("|", "<bar>") for v in row) for row in self.rows("current")]
        assert len(ours) > 100 and ours == there

    def refused(self):
        done = subprocess.run([LEAT, "run", "--once"], cwd=self.folder, capture_output=True, text=True, timeout=100)
        assert done.returncode == 4
        return done.stderr

    def told(self, what):
        self.start()
        servers.wait_for(what, lambda: what in (self.folder / "log").read_text(), 30)
        self.stop()

    def change(self, n):
        """Transactions of all kinds, some rolled back."""
        t = self.table
        for i in range(n):
            self.shop.sql(f"INSERT INTO {t} SELECT g, 'new', 'x', {i}, now(), NULL FROM generate_series((SELECT max(id) FROM {t}) + 1, (SELECT max(id) FROM {t}) + 20) g; "
                          f"UPDATE {t} SET status = 'paid|' || {i} WHERE id % 7 = {i % 7}; DELETE FROM {t} WHERE id % 50 = {i % 50}; "
                          f"UPDATE {t} SET id = -id WHERE id % 97 = {i % 97}; BEGIN; DELETE FROM {t}; ROLLBACK; "
                          f"UPDATE {t} SET amount = NULL, status = '' WHERE id % 11 = {i % 11}")


def test_changes_follow_the_rows(shop, tmp_path):
    p = Changes(shop, tmp_path, "follow")
    p.same()
    for n in (1, 3):
        p.change(n)
        p.same()
    assert "0 differing rows" in p.leat("verify")
    held = shop.sql("SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'follow_slot'")
    assert int(held) < 5000000
    assert "op is 't', TRUNCATE" not in p.leat("status")


def test_restored_from_a_backup(shop, tmp_path):
    """With the slot where it was, a copy goes on; with one that has gone on, changes would be missing, which is refused."""
    (tmp_path / "one").mkdir()
    p = Changes(shop, tmp_path / "one", "kept")
    p.same()
    p.change(1)
    p.leat("backup", str(tmp_path / "kept"), "--name", "a")
    p.leat("restore", str(tmp_path / "kept"), "--project", str(tmp_path / "two"))
    p.folder = tmp_path / "two"
    p.same()
    p.change(1)
    p.same()
    p.leat("restore", str(tmp_path / "kept"), "--project", str(tmp_path / "three"))
    p.folder = tmp_path / "three"
    done = subprocess.run([LEAT, "run", "--once"], cwd=p.folder, capture_output=True, text=True, timeout=100, env=p.environment)
    assert done.returncode != 0 and "has gone on" in done.stderr, done.stderr
    shop.sql("SELECT pg_drop_replication_slot('kept_slot')")
    for name in ("slot", "restored"):
        next((p.folder / ".leat/connector").glob(f"*/{name}")).unlink()
    p.leat("run", "--once", "--all")
    ids = {r[0] for r in p.rows("current")}
    assert {int(i) for i in shop.sql(f"SELECT id FROM {p.table}").splitlines()} <= ids


def test_hand_over_under_writes_and_kill_9(shop, tmp_path):
    """The rows are copied and the stream begins while others write; leat is killed again and again, the server, too."""
    p = Changes(shop, tmp_path, "busy")
    stop, changes = threading.Event(), [0]

    def write():
        while not stop.is_set():
            try:
                p.change(1)
                changes[0] += 1
            except RuntimeError:
                time.sleep(0.1)  # the server is away

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i, server_too in enumerate(servers.kills(5)):
            p.start()
            time.sleep(0.3 + 0.4 * (i % 5))
            if server_too:
                shop.kill()
            p.kill()
            if server_too:
                shop.start()
    finally:
        stop.set()
        writer.join()
    p.same()
    print(f"leat killed {len(servers.kills(5))} times, PostgreSQL {sum(servers.kills(5))}; {changes[0]} rounds of changes, {len(p.rows('current'))} rows")
    told = (tmp_path / "log").read_text()
    p.start()
    time.sleep(8)  # more than twice the time-out: a quiet database is not a dead one
    assert "PostgreSQL" not in (tmp_path / "log").read_text()[len(told):]
    shop.stop(signal.SIGQUIT)  # as a crash: it recovers from its log
    shop.start()
    p.change(2)
    time.sleep(1)
    p.stop()
    p.same()


@pytest.mark.parametrize("fault", KINDS)
def test_changes_over_a_bad_network(shop, tmp_path, fault):
    proxy = Proxy(shop.port)
    p = Changes(shop, tmp_path, f"net_{fault}", proxy.port)
    p.start()
    time.sleep(1)
    for _ in range(FAULTS):
        disturb([proxy], fault, 1.2 if fault == "partition" else 0.5, lambda: p.change(1))
    p.stop()
    p.same()
    proxy.close()


def test_a_table_whose_changes_would_not_say_all_is_refused(shop, tmp_path):
    p = Changes(shop, tmp_path, "small")
    shop.sql("ALTER TABLE small REPLICA IDENTITY DEFAULT")
    assert "a large value of column 'status' that a change does not touch is not sent with it" in p.refused()
    shop.sql("ALTER TABLE small REPLICA IDENTITY NOTHING")
    p.told("column 'id' of the source's key is not in the replica identity of table small")
    shop.sql("ALTER TABLE small REPLICA IDENTITY FULL")
    shop.sql("SELECT pg_create_logical_replication_slot('small_slot', 'pgoutput')")
    p.told("PostgreSQL has a replication slot 'small_slot' already, which is not this work folder's")
    shop.sql("SELECT pg_drop_replication_slot('small_slot')")
    p.same()
    shop.sql("TRUNCATE small")
    p.once()
    assert "1 dead" in p.leat("status")


def test_leat_stops_while_the_rows_are_copied(shop, tmp_path):
    """A large table takes hours; what was copied does not count, and is copied anew."""
    proxy = Proxy(shop.port)
    p = Changes(shop, tmp_path, "slow", proxy.port)
    proxy.fault = "slow"
    p.start()
    servers.wait_for("the copy begins", lambda: list(tmp_path.glob(".leat/connector/*/snapshot")), 100)
    p.stop()
    proxy.fault = None
    p.same()
    proxy.close()


def test_a_partitioned_table(shop, tmp_path):
    """Its changes are made in its partitions, also in one that comes later and between two."""
    p = Changes(shop, tmp_path, "pieces")
    shop.sql("DROP TABLE pieces; CREATE TABLE pieces (id bigint PRIMARY KEY, status text, more text, amount numeric(18,2), made timestamp, note bytea) PARTITION BY RANGE (id); "
             "CREATE TABLE pieces_1 PARTITION OF pieces FOR VALUES FROM (0) TO (1000); CREATE TABLE pieces_2 PARTITION OF pieces FOR VALUES FROM (1000) TO (2000); "
             "INSERT INTO pieces SELECT i, 'x' FROM generate_series(1, 1999) i")
    assert "in PostgreSQL: ALTER TABLE pieces_1 REPLICA IDENTITY FULL" in p.refused()
    shop.sql("ALTER TABLE pieces_1 REPLICA IDENTITY FULL; ALTER TABLE pieces_2 REPLICA IDENTITY FULL")
    p.same()
    shop.sql("CREATE TABLE pieces_3 PARTITION OF pieces FOR VALUES FROM (2000) TO (3000); ALTER TABLE pieces_3 REPLICA IDENTITY FULL; "
             "INSERT INTO pieces SELECT i, 'new' FROM generate_series(2000, 2100) i; UPDATE pieces SET status = 'y' WHERE id % 3 = 0; "
             "DELETE FROM pieces WHERE id % 5 = 0; UPDATE pieces SET id = id + 2000 WHERE id = 999")
    p.same()


def test_a_table_that_is_not_what_it_was_is_told(shop, tmp_path):
    """Nothing of it would come, or NULLs, and nobody would know."""
    p = Changes(shop, tmp_path, "other")
    shop.sql("ALTER TABLE other DROP COLUMN status; ALTER TABLE other ADD COLUMN status text GENERATED ALWAYS AS ('x' || id) STORED")
    assert "table other has no column 'status', or computes it" in p.refused()
    shop.sql("DROP TABLE other; CREATE TABLE other (id bigint PRIMARY KEY, status text, more text, amount numeric(18,2), made timestamp, note bytea); "
             "ALTER TABLE other REPLICA IDENTITY FULL; INSERT INTO other SELECT i, 'x' FROM generate_series(1, 500) i")
    p.same()
    shop.sql("ALTER TABLE other ADD COLUMN later int; UPDATE other SET status = 'a' WHERE id = 1")
    p.same()
    p.start()
    time.sleep(1)
    shop.sql("ALTER TABLE other RENAME COLUMN status TO state; UPDATE other SET state = 'b' WHERE id = 1")
    servers.wait_for("the column is missed", lambda: "table other has no column 'status'" in (tmp_path / "log").read_text(), 30)
    p.stop()
    assert (1, "a") in [r[:2] for r in p.rows("current")]
    shop.sql("ALTER TABLE other RENAME COLUMN state TO status; UPDATE other SET status = 'c' WHERE id = 2")
    p.once()
    assert [r[:2] for r in p.rows("current")][:2] == [(1, "a"), (2, "c")] and "1 dead" in p.leat("status")  # what it was meanwhile cannot be known
    shop.sql("UPDATE other SET status = 'd' WHERE id = 1")
    p.same()
    (tmp_path / "project.sql").write_text((tmp_path / "project.sql").read_text().replace("note BLOB,", "note BLOB, extra INTEGER,").replace("hex(note)", "extra, hex(note)"))
    shop.sql("UPDATE other SET amount = 7 WHERE id = 3; ALTER TABLE other ADD COLUMN extra int; UPDATE other SET extra = 9 WHERE id = 4")
    p.once()  # the first of these has no such column: it is NULL
    assert [r[4] for r in p.rows("current")][2:4] == [None, 9] and "1 dead" in p.leat("status")
    (tmp_path / "project.sql").write_text((tmp_path / "project.sql").read_text().replace("extra, hex(note)", "hex(note)"))
    shop.sql("ALTER TABLE other RENAME TO older; CREATE TABLE other (LIKE older INCLUDING ALL)")
    assert 'publication "other_slot" does not tell the changes of table other' in p.refused()
    shop.sql("DROP TABLE other; ALTER TABLE older RENAME TO other; CREATE TABLE child () INHERITS (other)")
    assert "rows of table other are in others that inherit from it (child)" in p.refused()
    shop.sql("DROP TABLE child")
    p.same()
    shop.sql("SELECT pg_drop_replication_slot('other_slot')")
    assert 'no replication slot "other_slot" any more' in p.refused()


def test_other_schemas_of_a_publication_may_be_shut(shop, tmp_path):
    p = Changes(shop, tmp_path, "one")
    shop.sql("CREATE SCHEMA shut; CREATE TABLE shut.one (id bigint PRIMARY KEY); CREATE ROLE reader LOGIN REPLICATION; GRANT SELECT ON one TO reader")
    shop.sql("CREATE PUBLICATION one_slot FOR ALL TABLES")
    text = (tmp_path / "project.sql").read_text()
    (tmp_path / "project.sql").write_text(re.sub(r"user=\w+", "user=reader", text))
    assert "user=reader" in (tmp_path / "project.sql").read_text()
    p.same()
    shop.sql("DROP PUBLICATION one_slot; DROP SCHEMA shut CASCADE")


def test_an_upgraded_server_begins_its_timelines_anew(shop, tmp_path):
    p = Changes(shop, tmp_path, "upgraded")
    p.same()
    kept = next(pathlib.Path(tmp_path).glob(".leat/**/slot"))
    begin, system = kept.read_text().split()[:2], kept.read_text().split()[3]
    kept.write_text(" ".join([*begin, "7", system]))  # went back on its own
    assert "PostgreSQL has not all that was read of it" in p.refused()
    kept.write_text(" ".join([*begin, "7", "12345"]))  # as pg_upgrade leaves it
    p.change(1)
    p.same()
    assert kept.read_text().split() == [*begin, "1", system]


def test_a_server_that_was_put_back_is_told(tmp_path):
    """What it does anew has numbers that were read before: it would be passed over."""
    try:
        with servers.Postgres(tmp_path / "server") as server:
            p = Changes(server, tmp_path, "back")
            p.same()
            server.stop()
            data, saved = server.data, server.data + "-saved"
            subprocess.run(["cp", "-a", data, saved], check=True)
            server.start()
            p.change(2)
            p.same()
            server.stop()
            shutil.rmtree(data)
            subprocess.run(["cp", "-a", saved, data], check=True)
            server.start()
            assert "PostgreSQL has not all that was read of it" in p.refused()
            server.stop()
            shutil.rmtree(data)
            subprocess.run(["mv", saved, data], check=True)
            (pathlib.Path(data) / "recovery.signal").touch()
            server.settings = {"restore_command": "false"}
            server.start()
            servers.wait_for("its recovery ends", lambda: server.sql("SELECT pg_is_in_recovery()") == "f")
            server.sql("CREATE TABLE filler AS SELECT repeat(md5(i::text), 10) FROM generate_series(1, 50000) i")  # its log is longer than what was read now
            assert "PostgreSQL has not all that was read of it" in p.refused()
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")
