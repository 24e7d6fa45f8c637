"""Reference tables read from a real Cassandra: every type, pages, refreshes."""
import datetime
import decimal
import uuid

import pytest

pytest.importorskip("cassandra")
servers = pytest.importorskip("servers")

from cassandra_server import cassandra_server  # noqa: E402,F401 (a fixture)

TYPES = {  # of CQL: ours, the value for Cassandra, leat's text
    "tinyint": ("TINYINT", -3, "-3"), "smallint": ("SMALLINT", 300, "300"), "int": ("INTEGER", -7, "-7"), "bigint": ("BIGINT", 2**62, str(2**62)),
    "varint": ("HUGEINT", -2**100, str(-2**100)), "decimal": ("DECIMAL(18,2)", decimal.Decimal("12.30"), "12.30"), "boolean": ("BOOLEAN", True, "true"),
    "text": ("VARCHAR", 'ä "quoted", \\ €', 'ä "quoted", \\ €'), "ascii": ("VARCHAR", "plain", "plain"), "blob": ("BLOB", b"\x00a\xff", "\\x00a\\xFF"),
    "double": ("DOUBLE", 0.1, "0.1"), "float": ("FLOAT", 0.5, "0.5"), "date": ("DATE", datetime.date(1969, 7, 20), "1969-07-20"),
    "time": ("TIME", datetime.time(1, 2, 3, 4), "01:02:03.000004"), "timestamp": ("TIMESTAMP", datetime.datetime(2024, 2, 29, 12, 0, 0, 123000), "2024-02-29 12:00:00.123"),
    "uuid": ("UUID", uuid.UUID(int=2**127 + 5), str(uuid.UUID(int=2**127 + 5))),
}


@pytest.fixture(scope="module")
def session(cassandra_server):  # noqa: F811
    session = cassandra_server.connect()
    session.execute("CREATE KEYSPACE IF NOT EXISTS looked WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    yield session
    session.cluster.shutdown()


def source(server, table, columns):
    return (f"CREATE SOURCE {table} ({columns}) WITH (connector = 'cassandra', contact_points = '{server.address}', keyspace = 'looked', 'table' = '{table}', "
            "refresh = INTERVAL '100' MILLISECOND);\n")


def test_every_type(cassandra_server, session, tmp_path):  # noqa: F811
    session.execute("CREATE TABLE looked.every_type (id int PRIMARY KEY, " + ", ".join(f"c_{t} {t}" for t in TYPES) + ")")
    names = ", ".join(f"c_{t}" for t in TYPES)
    insert = session.prepare(f"INSERT INTO looked.every_type (id, {names}) VALUES (?, {', '.join('?' for _ in TYPES)})")
    session.execute(insert, [1, *(value for _, value, _ in TYPES.values())])
    session.execute(insert, [2, *(None for _ in TYPES)])
    session.execute("INSERT INTO looked.every_type (id, c_text, c_int, c_timestamp, c_uuid) VALUES (3, '', blobAsInt(0x), blobAsTimestamp(0x), blobAsUuid(0x))")  # values of no bytes
    p = servers.Project(tmp_path, source(cassandra_server, "every_type", "id INTEGER PRIMARY KEY, " + ", ".join(f"c_{t} {ours}" for t, (ours, _, _) in TYPES.items())) +
                        "CREATE MATERIALIZED TABLE copy SCHEDULE CRON '0 2 * * *' AS SELECT id, " + ", ".join(f"CAST(c_{t} AS VARCHAR) AS c_{t}" for t in TYPES) +
                        " FROM every_type;")
    p.once("--all")
    first, second, third = sorted(p.sql("SELECT * FROM copy"), key=lambda r: int(r["id"]))
    assert {t: first[f"c_{t}"] for t in TYPES} == {t: text for t, (_, _, text) in TYPES.items()}
    assert all(second[f"c_{t}"] is None for t in TYPES)
    assert third["c_text"] == "" and all(third[f"c_{t}"] is None for t in TYPES if t != "text")


def test_pages_and_refreshes(cassandra_server, session, tmp_path):  # noqa: F811
    session.execute("CREATE TABLE looked.products (id int PRIMARY KEY, category text, tags set<text>)")
    insert = session.prepare("INSERT INTO looked.products (id, category) VALUES (?, ?)")
    for chunk in range(0, 12000, 500):
        for future in [session.execute_async(insert, [i, f"c{i % 7}"]) for i in range(chunk, chunk + 500)]:
            future.result()
    p = servers.Project(tmp_path, source(cassandra_server, "products", "id INTEGER PRIMARY KEY, category VARCHAR") + """
        CREATE SOURCE orders (id BIGINT, product INTEGER) WITH (connector = 'file', path = 'in/*.ndjson');
        CREATE MATERIALIZED TABLE joined FRESHNESS = INTERVAL '1' SECOND AS SELECT o.id, p.category FROM orders o JOIN products p ON o.product = p.id;""")
    p.feed([{"id": i, "product": i} for i in range(12100)], "in/o.ndjson")
    p.once()
    assert p.sql("SELECT count(*) AS n, count(DISTINCT category) AS c FROM joined") == [{"n": "12000", "c": "7"}]
    session.execute("DELETE FROM looked.products WHERE id = 5")
    session.execute("UPDATE looked.products SET category = 'new' WHERE id = 6")
    p.once()
    assert p.sql("SELECT id, category FROM joined WHERE id IN (5, 6)") == [{"id": "6", "category": "new"}]
    assert "0 differing rows" in p.leat("verify").stdout


def test_what_cannot_be_read_is_said(cassandra_server, session, tmp_path):  # noqa: F811
    session.execute("CREATE TABLE IF NOT EXISTS looked.tagged (id int PRIMARY KEY, tags set<text>)")
    session.execute("INSERT INTO looked.tagged (id, tags) VALUES (1, {'a'})")
    view = "CREATE MATERIALIZED TABLE t SCHEDULE CRON '0 2 * * *' AS SELECT * FROM %s;"
    p = servers.Project(tmp_path / "a", source(cassandra_server, "tagged", "id INTEGER PRIMARY KEY, tags VARCHAR") + view % "tagged")
    assert 'column "tags" has a value or a type' in p.once("--all", check=False).stderr
    p = servers.Project(tmp_path / "b", source(cassandra_server, "nothing", "id INTEGER PRIMARY KEY") + view % "nothing")
    assert "nothing" in p.once("--all", check=False).stderr
