"""Downloads over HTTP read by others: Arrow by pyarrow, Parquet and CSV by DuckDB, each with every type, the same rows as leat's own SQL gives."""
import http.client
import io
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

duckdb = pytest.importorskip("duckdb")
pyarrow = pytest.importorskip("pyarrow")

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAT = pathlib.Path(os.environ.get("LEAT", ROOT / "build/dev/leat")).resolve()
COLUMNS = {
    "b": "BOOLEAN", "i8": "TINYINT", "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT", "u8": "UTINYINT", "u16": "USMALLINT", "u32": "UINTEGER",
    "u64": "UBIGINT", "f": "FLOAT", "d": "DOUBLE", "d4": "DECIMAL(4,1)", "d9": "DECIMAL(9,2)", "d18": "DECIMAL(18,3)", "d38": "DECIMAL(38,4)", "s": "VARCHAR",
    "dt": "DATE", "tm": "TIME", "ts": "TIMESTAMP", "tz": "TIMESTAMP WITH TIME ZONE", "u": "UUID",
}
ROWS = [
    dict(k="full", b=True, i8=-128, i16=-32768, i32=-2147483648, i64=-9223372036854775808, u8=255, u16=65535, u32=4294967295, u64=18446744073709551615, f=1.5, d=-1e-300,
         d4=-99.9, d9="1234567.89", d18="-123456789012345.678", d38="1234567890123456789012345678901234.5678", s='a "quoted", long text\nof two lines \u00e4\u20ac', dt="1969-12-31",
         tm="23:59:59.999999", ts="1900-01-01T00:00:00.000001", tz="2026-03-29T01:30:00+02:00", u="00112233-4455-6677-8899-aabbccddeeff"),
    dict(k="none"),
    dict(k="zero", b=False, i8=0, i16=0, i32=0, i64=0, u8=0, u16=0, u32=0, u64=0, f=0, d=0, d4=0, d9=0, d18=0, d38=0, s="", dt="2026-01-31", tm="00:00:00",
         ts="2026-01-31T12:00:00", tz="2026-01-31T12:00:00Z", u="ffffffff-ffff-ffff-ffff-ffffffffffff"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not LEAT.exists():
        pytest.skip(f"{LEAT} is not built")
    project = tmp_path_factory.mktemp("http")
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    (project / "project.sql").write_text(
        "SET commit_interval = INTERVAL '50' MILLISECOND;\n"
        f"CREATE SOURCE rows (k VARCHAR NOT NULL, {columns}) WITH (connector = 'http');\n"
        f"CREATE MATERIALIZED TABLE types (PRIMARY KEY (k)) FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT DISTINCT ON (k) k, {', '.join(COLUMNS)},\n"
        "  i64::HUGEINT * 3 AS huge, to_days(u8 % 5) + to_microseconds(u16) AS span, encode(s) AS blob FROM rows;\n")
    child = subprocess.Popen([LEAT, "run", "--project", project, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)$", child.stderr.readline().strip()).group(1))
    status, data = ask(port, "POST", "/v1/sources/rows?wait=types", json.dumps(ROWS), {"Content-Type": "application/json"})
    answer = json.loads(data)
    assert status == 200 and answer["accepted"] == len(ROWS), answer
    for _ in range(50):
        if json.loads(ask(port, "POST", "/v1/sql", "SELECT count(*) FROM types", {"Content-Type": "text/plain"})[1])["rows"] == [[3]]:
            break
    yield port
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 0


def ask(port, method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    c.request(method, path, body, headers or {})
    answer = c.getresponse()
    return answer.status, answer.read()


def download(port, kind):
    status, data = ask(port, "GET", f"/v1/tables/types/rows?format={kind}")
    assert status == 200, data
    return data


NAMES = ["k", *COLUMNS, "huge", "span", "blob"]
AS_TEXT = "SELECT " + ", ".join(f"CAST({name} AS VARCHAR)" for name in NAMES) + " FROM {} ORDER BY k"


@pytest.fixture(scope="module")
def expected(server):
    """The rows as text, computed by DuckDB from what was sent."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    fields = ", ".join(f"{name}: '{kind}'" for name, kind in {"k": "VARCHAR", **COLUMNS}.items())
    path = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"leat-rows-{os.getpid()}.json"
    path.write_text("\n".join(json.dumps(dict(row, tz=row["tz"]) if "tz" in row else row) for row in ROWS))
    db.execute(f"CREATE TABLE sent AS SELECT *, i64::HUGEINT * 3 AS huge, to_days(u8 % 5) + to_microseconds(u16) AS span, encode(s) AS blob FROM "
               f"read_json('{path}', format='newline_delimited', columns={{{fields}}})")
    path.unlink()
    return db.execute(AS_TEXT.format("sent")).fetchall()


def test_arrow(server, expected):
    arrow = pyarrow.ipc.open_stream(io.BytesIO(download(server, "arrow"))).read_all()
    arrow.validate(full=True)
    assert arrow.column_names == NAMES
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    rows = db.execute("WITH t AS (SELECT * REPLACE (CAST(u AS VARCHAR) AS u) FROM arrow) " + AS_TEXT.format("t")).fetchall()
    u = NAMES.index("u")
    raw = {row["k"]: row["u"] for row in arrow.to_pylist()}  # fixed-size binary: Arrow has no UUID of its own
    rows = [tuple(value if i != u or raw[row[0]] is None else str(__import__("uuid").UUID(bytes=raw[row[0]])) for i, value in enumerate(row)) for row in rows]
    assert rows == expected


def test_arrow_of_no_rows(server):
    status, data = ask(server, "GET", "/v1/tables/types/rows?format=arrow&k=nobody")
    assert status == 200
    table = pyarrow.ipc.open_stream(io.BytesIO(data)).read_all()
    assert table.num_rows == 0 and table.column_names == NAMES


def test_parquet(server, expected, tmp_path):
    path = tmp_path / "types.parquet"
    path.write_bytes(download(server, "parquet"))
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    rows = db.execute(AS_TEXT.format(f"'{path}'").replace("CAST(huge AS VARCHAR)", "CAST(huge::DECIMAL(38,0) AS VARCHAR)")).fetchall()
    span = NAMES.index("span")  # Parquet's intervals end at milliseconds
    assert [row[:span] + row[span + 1:] for row in rows] == [row[:span] + row[span + 1:] for row in expected]


def test_csv(server, expected, tmp_path):
    path = tmp_path / "types.csv"
    path.write_bytes(download(server, "csv"))
    kinds = {"k": "VARCHAR", **COLUMNS, "huge": "HUGEINT", "span": "VARCHAR", "blob": "VARCHAR"}
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    rows = db.execute(AS_TEXT.format(f"read_csv('{path}', header=true, columns={kinds}, allow_quoted_nulls=false)")).fetchall()
    different = {NAMES.index("span"), NAMES.index("blob")}  # texts of their own: "2 days 3 us", base64
    strip = lambda found: [tuple(v for i, v in enumerate(row) if i not in different) for row in found]
    assert strip(rows) == strip(expected)


def test_json(server):
    rows = [json.loads(line) for line in download(server, "ndjson").splitlines()]
    full = next(row for row in rows if row["k"] == "full")
    assert full["d38"] == pytest.approx(1.2345678901234568e33) and full["i64"] == -9223372036854775808 and full["b"] is True
    assert full["tz"] == "2026-03-28T23:30:00Z" and full["ts"] == "1900-01-01T00:00:00.000001" and full["u"] == ROWS[0]["u"]
    assert next(row for row in rows if row["k"] == "none")["s"] is None
