"""The retail example by three ways: nightly batch (a) and stream (b) by leat, made by tests/integration/retail.sh, and
(c) plain DuckDB over the CSV files. Row for row the same, read as others read Delta tables: through delta-rs, and through
DuckDB over the files that the Delta log lists."""
import datetime
import json
import os
import pathlib
import subprocess

import pytest

deltalake = pytest.importorskip("deltalake")
duckdb = pytest.importorskip("duckdb")

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAT = pathlib.Path(os.environ.get("LEAT", ROOT / "build/dev/leat")).resolve()
TABLES = ["cleaned_lines", "revenue_by_day", "revenue_by_month", "top_products", "customers"]
WAYS = ["nightly", "stream"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder that retail.sh has filled, or LEAT_RETAIL."""
    if "LEAT_RETAIL" in os.environ:
        return pathlib.Path(os.environ["LEAT_RETAIL"]).resolve()
    if not LEAT.exists():
        pytest.skip(f"{LEAT} is not built")
    path = tmp_path_factory.mktemp("retail") / "work"
    subprocess.run([ROOT / "tests/integration/retail.sh", LEAT, path], check=True)
    return path


@pytest.fixture(scope="module")
def peer(work, tmp_path_factory):
    """The folder with what plain DuckDB says, one Parquet file a table (bench/peer_retail.py has the queries)."""
    out = tmp_path_factory.mktemp("peer")
    lines = work / "nightly/lines"
    subprocess.run([os.sys.executable, ROOT / "bench/peer_retail.py", f"{lines}/*.csv*", work / "nightly/products.csv", out], check=True)
    return out


def lake(work, way, table):
    return work / way / "lake" / table


def files_of_log(folder, version=None):
    """The files of a version, by replaying the JSON log with nothing but the protocol's rules for add and remove."""
    files = {}
    for entry in sorted((folder / "_delta_log").glob("*.json")):
        if version is not None and int(entry.stem) > version:
            break
        for line in entry.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = True
            elif "remove" in action:
                files.pop(action["remove"]["path"], None)
    return [str(folder / path) for path in files]


def assert_same(connection, one, other):
    """Row for row, duplicates counted; columns by name."""
    columns = [row[0] for row in connection.sql(f"DESCRIBE {one}").fetchall()]
    assert sorted(columns) == sorted(row[0] for row in connection.sql(f"DESCRIBE {other}").fetchall())
    chosen = ", ".join(f'"{column}"' for column in columns)
    one, other = f"(SELECT {chosen} FROM ({one}))", f"(SELECT {chosen} FROM ({other}))"
    counts = [connection.sql(f"SELECT count(*) FROM {side}").fetchone()[0] for side in (one, other)]
    assert counts[0] == counts[1] and counts[0] > 0
    for left, right in ((one, other), (other, one)):
        assert connection.sql(f"{left} EXCEPT ALL {right} LIMIT 5").fetchall() == []


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("way", WAYS)
def test_plain_duckdb_agrees_through_delta_rs(work, peer, way, table):
    connection = duckdb.connect()
    connection.register("have", deltalake.DeltaTable(str(lake(work, way, table))).to_pyarrow_table())
    assert_same(connection, "SELECT * FROM have", f"SELECT * FROM read_parquet('{peer}/{table}.parquet')")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("way", WAYS)
def test_plain_duckdb_agrees_through_the_files_of_the_log(work, peer, way, table):
    connection = duckdb.connect()
    listed = files_of_log(lake(work, way, table))
    assert_same(connection, f"SELECT * FROM read_parquet({listed!r})", f"SELECT * FROM read_parquet('{peer}/{table}.parquet')")


def test_an_older_version(work):
    """The version that the first half's run left: half of the lines, and the description of then."""
    folder = lake(work, "stream", "cleaned_lines")
    newest = deltalake.DeltaTable(str(folder)).version()
    assert newest >= 2
    then = deltalake.DeltaTable(str(folder), version=newest - 1)
    connection = duckdb.connect()
    connection.register("older", then.to_pyarrow_table())
    connection.register("newer", deltalake.DeltaTable(str(folder)).to_pyarrow_table())
    assert connection.sql("SELECT count(*) FROM older WHERE description = 'DESCRIBED ANEW'").fetchone() == (0,)
    assert connection.sql("SELECT count(*) FROM newer WHERE description = 'DESCRIBED ANEW'").fetchone()[0] > 0
    # What was there then is there now, but for the description.
    columns = "invoice, stock_code, quantity, invoice_date, unit_price, amount, customer_id, country, returned"
    assert connection.sql(f"SELECT {columns} FROM older EXCEPT ALL SELECT {columns} FROM newer LIMIT 5").fetchall() == []
    listed = files_of_log(folder, newest - 1)
    assert_same(connection, "SELECT * FROM older", f"SELECT * FROM read_parquet({listed!r})")


def test_bronze_holds_every_line_once(work):
    connection = duckdb.connect()
    lines = connection.sql(f"SELECT count(*) FROM read_csv('{work}/nightly/lines/*.csv*', header = true, all_varchar = true)").fetchone()
    for way in WAYS:
        connection.register("bronze", deltalake.DeltaTable(str(work / way / "lake/bronze/lines")).to_pyarrow_table())
        assert connection.sql("SELECT count(*) FROM bronze").fetchone() == lines
        assert connection.sql("SELECT count(DISTINCT (_partition, _offset)) FROM bronze").fetchone() == lines


def test_days_are_days(work):
    """Types as others see them."""
    table = deltalake.DeltaTable(str(lake(work, "stream", "revenue_by_day"))).to_pyarrow_table()
    assert isinstance(table["day"][0].as_py(), datetime.date)
    assert str(table.schema.field("revenue").type).startswith("decimal128(38")
