"""Incremental extraction by a cursor, and reference tables, from PostgreSQL and, by ODBC, from MariaDB: one mechanism, the same tests."""
import collections
import os
import pathlib
import shutil
import signal
import sqlite3
import threading
import time

import pytest

servers = pytest.importorskip("servers")
deltalake = pytest.importorskip("deltalake")

from tcp_proxy import FAULTS, KINDS, Proxy, disturb  # noqa: E402



class Database:
    """What the two databases spell differently."""

    def __init__(self, kind, server):
        self.kind, self.server, self.sql = kind, server, server.sql

    def source(self):
        return "connector = 'postgres', dsn = '${SHOP_DSN}'" if self.kind == "postgres" else "connector = 'odbc', dsn = '${SHOP_DSN}'"

    def env(self, port=None):
        if self.kind == "mariadb":
            return {"SHOP_DSN": self.server.connection(port)}
        return {"SHOP_DSN": self.server.conninfo.replace(f"port={self.server.port}", f"port={port or self.server.port}")}

    def table(self, name, columns="id BIGINT PRIMARY KEY, status VARCHAR(100), amount DECIMAL(18,2), updated_at TIMESTAMP(6) NULL"):
        self.sql(f"DROP TABLE IF EXISTS {name}")
        self.sql(f"CREATE TABLE {name} ({columns})".replace("TIMESTAMP(6)", "DATETIME(6)" if self.kind == "mariadb" else "TIMESTAMP(6)"))

    def now(self, back=0):
        return f"now() AT TIME ZONE 'UTC' - interval '{back} second'" if self.kind == "postgres" else f"date_sub(utc_timestamp(6), interval {back} second)"


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def database(request, tmp_path_factory):
    make = {"postgres": servers.Postgres, "mariadb": servers.MariaDB}[request.param]
    try:
        with make(tmp_path_factory.mktemp(request.param)) as server:
            yield Database(request.param, server)
    except servers.Missing as missing:
        pytest.skip(f"not installed: {missing}")


EVENTS = """SET commit_interval = INTERVAL '1' SECOND;
CREATE SOURCE orders (id BIGINT, status VARCHAR, amount DECIMAL(18,2), updated_at TIMESTAMP%s)
WITH (%s, 'table' = '%s', cursor = 'updated_at', %s);
CREATE MATERIALIZED TABLE taken FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM orders;
"""


def project(database, folder, table, options="poll_interval = INTERVAL '100' MILLISECOND", key="", port=None):
    return servers.Project(folder, EVENTS % (key, database.source(), table, options), env=database.env(port))


def rows(folder, table="taken"):
    return [tuple(r.values()) for r in deltalake.DeltaTable(str(folder / "lake" / table)).to_pyarrow_table().to_pylist()]


def there(database, table):
    return sorted(tuple(line.split("|")) for line in database.sql(f"SELECT id, status, amount, updated_at FROM {table}").splitlines())


def as_text(row):
    time_of = row[3].strftime("%Y-%m-%d %H:%M:%S.%f") if row[3].microsecond else row[3].strftime("%Y-%m-%d %H:%M:%S")
    return str(row[0]), row[1], str(row[2]), time_of


def trim(row):
    return (*row[:3], row[3].rstrip("0").rstrip(".") if "." in row[3] else row[3])


def same(folder, database, table):
    assert sorted(trim(as_text(r)) for r in rows(folder)) == sorted(trim(r) for r in there(database, table))


def test_rows_are_taken_once_and_changed_ones_again(database, tmp_path):
    database.table("shop_orders")
    database.sql(f"INSERT INTO shop_orders VALUES (1, 'new', 1.50, {database.now(60)}), (2, 'Bücher \" \\\\ €', -0.25, {database.now(50)})")
    p = project(database, tmp_path, "shop_orders", "overlap = INTERVAL '10' MINUTE")
    for _ in range(3):
        p.once()
    same(tmp_path, database, "shop_orders")
    database.sql(f"UPDATE shop_orders SET status = 'paid', updated_at = {database.now()} WHERE id = 1")
    database.sql(f"INSERT INTO shop_orders VALUES (3, NULL, NULL, {database.now(300)})")  # committed late, within the overlap
    database.sql(f"INSERT INTO shop_orders VALUES (4, 'too late', 1, {database.now(3000)}), (5, 'no cursor', 1, NULL)")
    p.once()
    assert collections.Counter(r[0] for r in rows(tmp_path)) == {1: 2, 2: 1, 3: 1}
    shutil.rmtree(tmp_path / ".leat")  # the work folder is lost: bronze knows what was taken
    p.once()
    assert collections.Counter(r[0] for r in rows(tmp_path)) == {1: 2, 2: 1, 3: 1}
    assert "0 differing rows" in p.leat("verify").stdout


def test_equal_rows_and_a_cursor_ahead_of_the_clock(database, tmp_path):
    database.table("readings", "id BIGINT, status VARCHAR(100), amount DECIMAL(18,2), updated_at TIMESTAMP(6) NULL")
    database.sql("INSERT INTO readings VALUES " + ", ".join(["(1, 'same', 1, '2026-01-01 00:00:00')"] * 7) + ", (2, 'far', 1, '2199-01-01 00:00:00')")
    p = project(database, tmp_path, "readings")
    p.once()
    database.sql(f"INSERT INTO readings VALUES (1, 'same', 1, '2026-01-01 00:00:00'), (3, 'now', 1, {database.now()})")
    p.once()
    p.once()
    assert collections.Counter(r[0] for r in rows(tmp_path)) == {1: 7, 2: 1, 3: 1}  # the eighth came too late
    shutil.rmtree(tmp_path / ".leat")  # what bronze knows is asked for below the clock, not below the far one
    p.once()
    assert collections.Counter(r[0] for r in rows(tmp_path)) == {1: 7, 2: 1, 3: 1}


def test_a_column_more_takes_no_row_twice(database, tmp_path):
    database.table("grown", "id BIGINT, status VARCHAR(100), amount DECIMAL(18,2), updated_at TIMESTAMP(6) NULL, note VARCHAR(100)")
    database.sql("INSERT INTO grown VALUES " + ", ".join(f"({n // 2}, 'new', 1, {database.now(60)}, 'note {n}')" for n in range(20)))  # two of each, but for the note
    p = project(database, tmp_path, "grown", "overlap = INTERVAL '1' HOUR")
    p.once()
    p.write((tmp_path / "project.sql").read_text().replace("(id BIGINT,", "(note VARCHAR, id BIGINT,"))
    database.sql(f"INSERT INTO grown VALUES (20, 'new', 1, {database.now(50)}, 'with a note')")
    for _ in range(3):
        p.once()
        assert p.sql("SELECT id, note FROM orders WHERE note IS NOT NULL") == [{"id": "20", "note": "with a note"}]
    database.sql(f"UPDATE grown SET status = 'paid', updated_at = {database.now()} WHERE note = 'note 4'")
    for _ in range(2):
        p.once()
        assert p.sql("SELECT count(*) AS n, count(note) AS noted FROM orders") == [{"n": "22", "noted": "2"}]
    p.write((tmp_path / "project.sql").read_text().replace("(note VARCHAR, id BIGINT,", "(id BIGINT,"))  # taken back
    p.once()
    assert p.sql("SELECT count(*) AS n FROM orders") == [{"n": "24"}]  # what was taken with the note cannot be known without it


def test_days_as_cursor(database, tmp_path):
    """More rows than are remembered without forgetting, and an overlap that is no whole day: a day is asked for again, so it is remembered whole."""
    database.sql("DROP TABLE IF EXISTS days")
    database.sql("CREATE TABLE days (id BIGINT, day DATE)")
    database.sql("INSERT INTO days WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 1000) "
                 "SELECT a.id * 1000 + b.id, '2026-03-01' FROM n a JOIN n b ON a.id <= 150" if database.kind == "mariadb" else
                 "INSERT INTO days SELECT g, '2026-03-01' FROM generate_series(1, 150000) g")
    database.sql("INSERT INTO days VALUES (-1, '2026-03-02')")
    p = servers.Project(tmp_path, f"""CREATE SOURCE days (id BIGINT, day DATE)
        WITH ({database.source()}, 'table' = 'days', cursor = 'day', overlap = INTERVAL '1' HOUR);
        CREATE MATERIALIZED TABLE taken FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM days;""", env=database.env())
    for _ in range(3):
        p.once()
        assert rows(tmp_path) == [(150001,)]


def test_with_a_key_it_is_the_current_row(database, tmp_path):
    database.table("keyed")
    database.sql(f"INSERT INTO keyed VALUES (1, 'new', 1, {database.now(9)}), (2, 'new', 1, {database.now(8)})")
    p = project(database, tmp_path, "keyed", key=", PRIMARY KEY (id)")
    p.once()
    database.sql(f"UPDATE keyed SET status = 'paid', updated_at = {database.now()} WHERE id = 2")
    p.once()
    same(tmp_path, database, "keyed")


CHANGES = """SET commit_interval = INTERVAL '1' SECOND;
CREATE SOURCE stock (id BIGINT, status VARCHAR, amount DECIMAL(18,2), op VARCHAR, n BIGINT, PRIMARY KEY (id))
WITH (%s, 'table' = 'stock_changes', cursor = 'n', sequence = 'n', overlap_values = 200, delete_when = 'op = ''D''', poll_interval = INTERVAL '100' MILLISECOND);
CREATE MATERIALIZED TABLE taken (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, status, amount FROM stock;
CREATE MATERIALIZED TABLE by_status FRESHNESS = INTERVAL '1' SECOND AS SELECT status, count(*) AS n, sum(amount) AS amount FROM stock GROUP BY status;
"""


def with_change_table(database):
    """docs/how-to/change-table.md: the table, and triggers that write what changes beside it."""
    database.table("stock", "id BIGINT PRIMARY KEY, status VARCHAR(100), amount DECIMAL(18,2)")
    database.sql("DROP TABLE IF EXISTS stock_changes")
    events = (("INSERT", "I", "NEW"), ("UPDATE", "U", "NEW"), ("DELETE", "D", "OLD"))
    if database.kind == "mariadb":
        database.sql("CREATE TABLE stock_changes (n BIGINT AUTO_INCREMENT PRIMARY KEY, op CHAR(1), id BIGINT, status VARCHAR(100), amount DECIMAL(18,2))")
        for event, op, row in events:
            database.sql(f"CREATE TRIGGER stock_{event} AFTER {event} ON stock FOR EACH ROW "
                         f"INSERT INTO stock_changes (op, id, status, amount) VALUES ('{op}', {row}.id, {row}.status, {row}.amount)")
        return
    database.sql("CREATE TABLE stock_changes (n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, op CHAR(1), id BIGINT, status VARCHAR(100), amount DECIMAL(18,2))")
    database.sql("CREATE OR REPLACE FUNCTION stock_changed() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r stock := COALESCE(NEW, OLD); BEGIN "
                 "INSERT INTO stock_changes (op, id, status, amount) VALUES (left(TG_OP, 1), r.id, r.status, r.amount); RETURN NULL; END $$")
    database.sql("CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON stock FOR EACH ROW EXECUTE FUNCTION stock_changed()")


def test_a_change_table_tells_deletes_too(database, tmp_path):
    """Writers side by side, so that numbers are committed in another order than they were given, and leat killed meanwhile."""
    with_change_table(database)
    stop = threading.Event()

    def load(writer):
        for n in range(10**6):
            if stop.is_set():
                return
            first = 1000 * writer + 10 * (n % 5)  # its own keys; 5000 to 5006 are written by all
            database.sql(f"DELETE FROM stock WHERE id >= {first} AND id < {first + 10}")
            database.sql("INSERT INTO stock VALUES " + ", ".join(f"({first + i}, 'new', {i}.5)" for i in range(10)))
            database.sql(f"UPDATE stock SET status = 'sold', amount = amount + 1 WHERE id >= {first} AND id < {first + 6}")
            database.sql(f"DELETE FROM stock WHERE id >= {first + 3} AND id < {first + 8}")
            database.sql(f"UPDATE stock SET amount = {n} WHERE id = {5000 + n % 7}")

    database.sql("INSERT INTO stock VALUES " + ", ".join(f"({5000 + i}, 'shared', 0)" for i in range(7)))
    p = servers.Project(tmp_path, CHANGES % database.source(), env=database.env())
    writers = [threading.Thread(target=load, args=(w,)) for w in range(3)]
    for w in writers:
        w.start()
    try:
        for _ in range(3):
            p.start()
            time.sleep(1.5)
            p.kill()
    finally:
        stop.set()
        for w in writers:
            w.join()
    p.once()
    now = sorted(tuple(line.split("|")) for line in database.sql("SELECT id, status, amount FROM stock").splitlines())
    assert sorted((str(r[0]), r[1], str(r[2])) for r in rows(tmp_path)) == now
    changes = database.sql("SELECT count(*), sum(CASE WHEN op = 'D' THEN 1 ELSE 0 END) FROM stock_changes").strip().split("|")
    assert p.sql("SELECT count(*) AS n, count(*) FILTER (op = 'D') AS gone FROM stock__changes") == [{"n": changes[0], "gone": changes[1]}] and int(changes[1]) > 20
    assert "0 differing rows" in p.leat("verify").stdout
    database.sql("DELETE FROM stock")
    p.once()
    assert rows(tmp_path) == [] and rows(tmp_path, "by_status") == []
    database.sql("INSERT INTO stock VALUES (5001, 'back', 1)")
    p.once()
    assert [r[:2] for r in rows(tmp_path)] == [(5001, "back")]


def test_rows_that_are_only_marked_as_deleted(database, tmp_path):
    database.table("marked", "id BIGINT PRIMARY KEY, status VARCHAR(100), deleted_at TIMESTAMP(6) NULL, updated_at TIMESTAMP(6) NULL")
    database.sql(f"INSERT INTO marked VALUES (1, 'new', NULL, {database.now(9)}), (2, 'new', NULL, {database.now(8)}), (3, 'new', {database.now(7)}, {database.now(7)})")
    p = servers.Project(tmp_path, f"""CREATE SOURCE orders (id BIGINT PRIMARY KEY, status VARCHAR, deleted_at TIMESTAMP, updated_at TIMESTAMP)
        WITH ({database.source()}, 'table' = 'marked', cursor = 'updated_at', delete_when = 'deleted_at IS NOT NULL');
        CREATE MATERIALIZED TABLE taken FRESHNESS = INTERVAL '1' SECOND AS SELECT id, status FROM orders;""", env=database.env())
    p.once()
    assert sorted(rows(tmp_path)) == [(1, "new"), (2, "new")]
    database.sql(f"UPDATE marked SET deleted_at = {database.now()}, updated_at = {database.now()} WHERE id = 1")
    p.once()
    assert rows(tmp_path) == [(2, "new")]
    database.sql(f"UPDATE marked SET deleted_at = NULL, updated_at = {database.now()} WHERE id = 3")
    p.once()
    assert sorted(rows(tmp_path)) == [(2, "new"), (3, "new")]


def test_a_number_as_cursor(database, tmp_path):
    database.sql("DROP TABLE IF EXISTS numbered")
    database.sql("CREATE TABLE numbered (n BIGINT, value VARCHAR(10))")
    database.sql("INSERT INTO numbered VALUES (1, 'a'), (10, 'b'), (2000, 'c')")
    p = servers.Project(tmp_path, f"""CREATE SOURCE numbered (n BIGINT, value VARCHAR) WITH ({database.source()},
        query = 'SELECT n, value FROM numbered WHERE value IS NOT NULL', cursor = 'n', overlap_values = 50);
        CREATE MATERIALIZED TABLE taken FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM numbered;""", env=database.env())
    p.once()
    database.sql("INSERT INTO numbered VALUES (1960, 'd'), (11, 'missed'), (2001, 'e')")
    p.once()
    assert sorted(rows(tmp_path)) == [(1, "a"), (10, "b"), (1960, "d"), (2000, "c"), (2001, "e")]
    shutil.rmtree(tmp_path / ".leat")  # what bronze knows is found by the cursor, whatever columns are called
    p.once()
    assert sorted(rows(tmp_path)) == [(1, "a"), (10, "b"), (1960, "d"), (2000, "c"), (2001, "e")]


def test_a_cron_is_waited_for(database, tmp_path):
    database.table("nightly")
    database.sql(f"INSERT INTO nightly VALUES (1, 'new', 1, {database.now(9)})")
    p = project(database, tmp_path, "nightly", "cron = '0 2 29 2 *', overlap = INTERVAL '1' DAY")
    p.once()
    database.sql(f"INSERT INTO nightly VALUES (2, 'new', 1, {database.now(8)})")
    p.once()
    assert [r[0] for r in rows(tmp_path)] == [1]
    os.remove(tmp_path / ".leat/connector/orders/extracted")
    p.once()
    assert sorted(r[0] for r in rows(tmp_path)) == [1, 2]


def test_kill_9_under_load(database, tmp_path):
    database.table("busy")
    stop, versions = threading.Event(), set()

    def load():
        for n in range(0, 10**7, 20):
            if stop.is_set():
                return
            try:
                database.sql("INSERT INTO busy VALUES " + ", ".join(f"({i}, 'new', {i}, {database.now()})" for i in range(n, n + 20)))
                database.sql(f"UPDATE busy SET status = 'paid', updated_at = {database.now()} WHERE id >= {n} AND id % 3 = 0")
            except RuntimeError:
                time.sleep(0.1)  # the server is away

    p = project(database, tmp_path, "busy")
    writer = threading.Thread(target=load)
    writer.start()
    try:
        for server_too in servers.kills(5):
            p.start()
            time.sleep(1)
            if server_too:
                database.server.kill()
            p.kill()
            if server_too:
                database.server.start()
    finally:
        stop.set()
        writer.join()
    p.once()
    taken = rows(tmp_path)
    versions = set(taken)
    assert len(versions) == len(taken)  # none twice
    newest = {}
    for r in sorted(taken, key=lambda r: r[3]):
        newest[r[0]] = r
    assert sorted(trim(as_text(r)) for r in newest.values()) == sorted(trim(r) for r in there(database, "busy"))  # none left out
    print(f"leat killed {len(servers.kills(5))} times, {database.kind} {sum(servers.kills(5))}; {len(newest)} rows, {len(taken)} versions, each once")


@pytest.mark.parametrize("fault", KINDS)
def test_a_bad_network(database, tmp_path, fault):
    database.table("net")
    proxy = Proxy(database.server.port)
    p = project(database, tmp_path, "net", "poll_interval = INTERVAL '100' MILLISECOND, timeout = INTERVAL '1' SECOND", port=proxy.port)
    p.start()
    for n in range(FAULTS):
        disturb([proxy], fault, 1.5 if fault in ("blackhole", "partition") else 0.5,
                lambda: database.sql(f"INSERT INTO net VALUES ({n}, 'new', {n}, {database.now()})"), answers=15)  # those of some polls, too: pauses are short again
    servers.wait_for("all rows", lambda: os.path.exists(tmp_path / "lake/taken") and len(rows(tmp_path)) >= FAULTS, 90)
    assert p.stop() == 0
    same(tmp_path, database, "net")
    assert "the program has ended" not in (tmp_path / "leat.log").read_text()  # of half an answer MariaDB's driver crashes now and then; it is said
    proxy.close()


def test_a_server_that_is_down_and_a_secret_that_is_not_told(database, tmp_path):
    database.table("down")
    database.sql(f"INSERT INTO down VALUES (1, 'new', 1, {database.now()})")
    p = project(database, tmp_path, "down")
    database.server.stop(signal.SIGTERM if database.kind == "mariadb" else signal.SIGINT)
    p.start()
    time.sleep(3)
    database.server.start()
    servers.wait_for("the row", lambda: os.path.exists(tmp_path / "lake/taken") and len(rows(tmp_path)) == 1, 60)
    p.stop()
    said = (tmp_path / "leat.log").read_text()
    assert "source orders" in said and "geheim" not in said


def test_a_reference(database, tmp_path):
    database.sql("DROP TABLE IF EXISTS things")
    blob, flag = ("BYTEA", "BOOLEAN") if database.kind == "postgres" else ("BLOB", "BOOLEAN")
    database.sql(f"CREATE TABLE things (id INTEGER PRIMARY KEY, name VARCHAR(100), price DECIMAL(18,4), made DATE, moment TIMESTAMP NULL, raw {blob}, ok {flag}, d DOUBLE PRECISION)")
    hexa = "'\\x00ff'" if database.kind == "postgres" else "x'00ff'"
    database.sql(f"INSERT INTO things VALUES (1, 'Ä \"€\" ,', 12.3456, '2024-02-29', '2024-02-29 12:00:01', {hexa}, true, 0.1), (2, '', -0.5, NULL, NULL, NULL, false, NULL), "
                 "(3, NULL, NULL, NULL, NULL, NULL, NULL, 1e300)")
    p = servers.Project(tmp_path, f"""CREATE SOURCE things (id INTEGER PRIMARY KEY, name VARCHAR, price DECIMAL(18,4), made DATE, moment TIMESTAMP, raw BLOB, ok BOOLEAN, d DOUBLE)
        WITH ({database.source()}, 'table' = 'things', refresh = INTERVAL '1' SECOND);
        CREATE MATERIALIZED TABLE taken SCHEDULE CRON '0 2 * * *' AS SELECT id, name, price::VARCHAR, made::VARCHAR, moment::VARCHAR, hex(raw) AS h, ok, d FROM things;""",
                        env=database.env())
    p.once("--all")
    assert sorted(rows(tmp_path)) == [(1, 'Ä "€" ,', "12.3456", "2024-02-29", "2024-02-29 12:00:01", "00FF", True, 0.1),
                                      (2, "", "-0.5000", None, None, None, False, None), (3, None, None, None, None, None, None, 1e300)]


def sqlite(folder, source, table="FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM orders"):
    ini = pathlib.Path("/etc/odbcinst.ini")
    if not ini.exists() or "[SQLite3]" not in ini.read_text():
        pytest.skip("not installed: libsqliteodbc")
    p = servers.Project(folder, f"CREATE SOURCE orders ({source}) WITH (connector = 'odbc', dsn = 'DRIVER={{SQLite3}};DATABASE={folder}/shop.db', "
                                f"'table' = 'orders', cursor = 'updated_at', overlap = INTERVAL '0' SECOND);\nCREATE MATERIALIZED TABLE taken {table};\n")
    return p, sqlite3.connect(folder / "shop.db", isolation_level=None)


def test_sqlite_whose_times_are_texts(tmp_path):
    """'2026-03-01 09:00' is before '2026-03-01T08:00' there: rows of the same day would be left out."""
    p, db = sqlite(tmp_path, "id BIGINT, updated_at TIMESTAMP")
    db.execute("CREATE TABLE orders (id INTEGER, updated_at TEXT)")
    for n, time_of in enumerate(("2026-02-28 23:00:00", "2026-03-01 08:00:00", "2026-03-01 08:30:00.5", "2026-03-01T09:00:00", "2026-03-02 00:00:00")):
        db.execute("INSERT INTO orders VALUES (?, ?)", (n, time_of))
        for _ in range(2):
            p.once()
            assert sorted(r[0] for r in rows(tmp_path)) == list(range(n + 1))


def test_long_texts_come_whole(tmp_path):
    """The driver gives a text in pieces of 32 k UTF-16 units; a letter of two may lie across their border."""
    p, db = sqlite(tmp_path, "id BIGINT, updated_at TIMESTAMP, s VARCHAR", "FRESHNESS = INTERVAL '1' SECOND AS SELECT id, length(s) AS n, s[-3:] AS last FROM orders")
    db.execute("CREATE TABLE orders (id INTEGER, updated_at TEXT, s TEXT)")
    lengths = [size + more for size in (32766, 65532) for more in range(-3, 4)]
    for n in lengths:
        db.execute("INSERT INTO orders VALUES (?, '2026-03-01 08:00:00', ?)", (n, "a" * n + "\U0001F600bc"))
    p.once()
    assert sorted(rows(tmp_path)) == [(n, n + 3, "\U0001F600bc") for n in lengths]


def test_a_row_that_is_too_long_is_a_dead_letter(tmp_path):
    """700 columns of 60 kB: beyond what the process that has the driver hands over at once. The rows after it are taken."""
    columns = [f"c{n}" for n in range(700)]
    p, db = sqlite(tmp_path, "id BIGINT, updated_at TIMESTAMP, " + ", ".join(f"{c} VARCHAR" for c in columns),
                   "FRESHNESS = INTERVAL '1' SECOND AS SELECT id, c0 FROM orders")
    db.execute("CREATE TABLE narrow (id INTEGER, updated_at TEXT)")
    db.execute("INSERT INTO narrow VALUES (1, '2026-03-01 08:00:00'), (2, '2026-03-01 08:00:01'), (3, '2026-03-01 08:00:02')")
    long = "CASE WHEN id = 2 THEN replace(hex(zeroblob(20000)), '0', '€') ELSE 'x' END"
    db.execute(f"CREATE VIEW orders AS SELECT id, updated_at, {', '.join(f'{long} AS {c}' for c in columns)} FROM narrow")
    for _ in range(2):
        p.once()
        assert sorted(rows(tmp_path)) == [(1, "x"), (3, "x")]
        assert p.sql("SELECT count(*) AS n FROM orders__dead") == [{"n": "1"}]
