"""Delta tables made by leat, read by delta-rs and DuckDB.

The tables come from the program delta_tables (beside the leat binary, or named by LEAT_DELTA_TABLES_PROGRAM), or from
a folder that exists already (LEAT_DELTA_TABLES): FOLDER/NAME is a table, FOLDER/NAME.expected/N.parquet its content at
version N.
"""
import os
import pathlib
import shutil
import subprocess

import pytest

deltalake = pytest.importorskip("deltalake")
duckdb = pytest.importorskip("duckdb")
pyarrow = pytest.importorskip("pyarrow")


def find_program():
    named = os.environ.get("LEAT_DELTA_TABLES_PROGRAM")
    beside = pathlib.Path(os.environ.get("LEAT", "build/dev/leat")).parent / "delta_tables"
    program = pathlib.Path(named) if named else beside
    return program if program.exists() else None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    given = os.environ.get("LEAT_DELTA_TABLES")
    if given:
        return pathlib.Path(given)
    program = find_program()
    if not program:
        pytest.skip("no LEAT_DELTA_TABLES, and the program delta_tables is not built")
    path = tmp_path_factory.mktemp("delta")
    subprocess.run([str(program), str(path)], check=True)
    return path


def tables(folder):
    found = sorted(p.name[: -len(".expected")] for p in folder.glob("*.expected"))
    assert found, f"no tables in {folder}"
    return found


def versions(folder, name):
    return sorted(int(p.stem) for p in (folder / f"{name}.expected").glob("*.parquet"))


def expected_of(folder, name, version):
    return folder / f"{name}.expected" / f"{version}.parquet"


def assert_same(connection, have, expected):
    connection.sql("SET TimeZone = 'UTC'")
    connection.register("have", have)
    columns = [c[0] for c in connection.sql(f"DESCRIBE SELECT * FROM read_parquet('{expected}')").fetchall()]
    chosen = ", ".join(f'"{c}"' for c in columns)
    want = f"SELECT {chosen} FROM read_parquet('{expected}')"
    got = f"SELECT {chosen} FROM have"
    count = "SELECT count(*) FROM"
    assert connection.sql(f"{count} ({got})").fetchone() == connection.sql(f"{count} ({want})").fetchone()
    assert connection.sql(f"{count} ({got} EXCEPT ALL {want})").fetchone() == (0,)
    assert connection.sql(f"{count} ({want} EXCEPT ALL {got})").fetchone() == (0,)


def test_every_version_by_delta_rs(folder):
    connection = duckdb.connect()
    for name in tables(folder):
        for version in versions(folder, name):
            table = deltalake.DeltaTable(str(folder / name), version=version)
            assert table.version() == version
            assert_same(connection, table.to_pyarrow_table(), expected_of(folder, name, version))


def test_newest_by_duckdb(folder):
    connection = duckdb.connect()
    for name in tables(folder):
        files = deltalake.DeltaTable(str(folder / name)).file_uris()
        if files:
            have = connection.sql(f"SELECT * FROM read_parquet({files!r})").to_arrow_table()
            assert_same(connection, have, expected_of(folder, name, versions(folder, name)[-1]))


def test_skipping_files_loses_nothing(folder):
    """A reader that trusts the statistics finds every row: values of each column are looked up by equality."""
    connection = duckdb.connect()
    for name in tables(folder):
        expected = expected_of(folder, name, versions(folder, name)[-1])
        query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(folder / name)))
        described = connection.sql(f"DESCRIBE SELECT * FROM read_parquet('{expected}')").fetchall()
        for column, kind, *_ in described:
            if kind not in ("BIGINT", "INTEGER", "VARCHAR", "DATE"):
                continue
            sql = (f"SELECT \"{column}\", count(*) FROM read_parquet('{expected}') WHERE \"{column}\" IS NOT NULL "
                   f"GROUP BY 1 ORDER BY hash(\"{column}\") LIMIT 20")
            for value, count in connection.sql(sql).fetchall():
                text = str(value).replace("'", "''")
                literal = {"VARCHAR": f"'{text}'", "DATE": f"DATE '{text}'"}.get(kind, text)
                found = query.execute(f'SELECT count(*) AS n FROM t WHERE "{column}" = {literal}').read_all()
                assert pyarrow.table(found)["n"][0].as_py() == count, (name, column, value)


def test_log_as_others_see_it(folder):
    for name in tables(folder):
        table = deltalake.DeltaTable(str(folder / name))
        newest = table.history(1)[0]
        assert newest["engineInfo"].startswith("leat/")
        assert newest["version"] == table.version()
        actions = pyarrow.table(table.get_add_actions(flatten=True))
        assert sum(actions["num_records"].to_pylist()) == table.to_pyarrow_table().num_rows


def test_others_may_write_too(folder, tmp_path):
    """delta-rs appends to tables of leat, joins their files, and makes a checkpoint."""
    for name in tables(folder):
        shutil.copytree(folder / name, tmp_path / name)
        table = deltalake.DeltaTable(str(tmp_path / name))
        before = table.to_pyarrow_table()
        more = min(7, before.num_rows)
        deltalake.write_deltalake(table, before.slice(0, more), mode="append")
        table = deltalake.DeltaTable(str(tmp_path / name))
        table.optimize.compact()
        table.create_checkpoint()
        assert deltalake.DeltaTable(str(tmp_path / name)).to_pyarrow_table().num_rows == before.num_rows + more
