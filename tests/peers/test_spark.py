"""Delta tables made by leat, read by Spark with Delta Lake: what test_delta_rs.py shows of delta-rs, and that Spark may
write to them."""
import pathlib
import shutil

import pytest

pyspark = pytest.importorskip("pyspark")
duckdb = pytest.importorskip("duckdb")

from test_delta_rs import assert_same, expected_of, folder, tables, versions  # noqa: F401 (folder is a fixture)

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spark():
    jars = sorted(str(p) for p in (ROOT / ".deps/delta-spark").glob("*.jar"))
    if not jars:
        pytest.skip("the jars of Delta Lake for Spark are missing: scripts/bootstrap --peers gets them")
    session = (pyspark.sql.SparkSession.builder.master("local[1]")
               .config("spark.jars", ",".join(jars))
               .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
               .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
               .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
               .config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
               .config("spark.sql.shuffle.partitions", "1").config("spark.databricks.delta.snapshotPartitions", "1")
               .config("spark.ui.showConsoleProgress", "false").config("spark.driver.memory", "1g").getOrCreate())
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def read(spark, path, version=None):
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(str(path))


def test_first_middle_and_newest_version(spark, folder):
    connection = duckdb.connect()
    for name in tables(folder):
        every = versions(folder, name)
        for version in sorted({every[0], every[len(every) // 2], every[-1]}):
            have = read(spark, folder / name, version).toArrow()
            assert_same(connection, have, expected_of(folder, name, version))


def test_spark_may_write_too(spark, folder, tmp_path):
    """Spark appends to a table of leat, deletes from it, and joins its files."""
    name = "merged"
    path = tmp_path / name
    shutil.copytree(folder / name, path)
    before = read(spark, path)
    count = before.count()
    before.limit(5).write.format("delta").mode("append").save(str(path))
    assert read(spark, path).count() == count + 5
    spark.sql(f"DELETE FROM delta.`{path}` WHERE c0 % 3 = 0")
    spark.sql(f"OPTIMIZE delta.`{path}`")
    left = before.sparkSession.sql(f"SELECT count(*) FROM delta.`{path}` WHERE c0 % 3 = 0").first()[0]
    assert left == 0
