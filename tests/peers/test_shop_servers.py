"""The shop with its servers (examples/servers/run): Kafka, or PostgreSQL alone, in; PostgreSQL, Cassandra and a webhook out; all readings agree."""
import os
import pathlib
import subprocess

import pytest

pytest.importorskip("cassandra")
cassandra_server = pytest.importorskip("cassandra_server")
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("variant", ["kafka", "replication"])
def test_all_readings_agree(variant):
    missing = cassandra_server.missing()
    if missing or not (ROOT / ".deps/kafka").exists():
        pytest.skip(f"not installed: {missing or 'Kafka'}")
    env = {**os.environ, "LEAT": str(pathlib.Path(os.environ.get("LEAT", ROOT / "build/dev/leat")).resolve())}
    done = subprocess.run([ROOT / "examples/servers/run", variant], capture_output=True, text=True, timeout=170, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    for reading in ("what leat serves over HTTP", "Cassandra by its Python driver", "PostgreSQL by psql"):
        assert any(line.split("  ")[-1].startswith(reading) and line.endswith("the same") for line in done.stdout.splitlines()), done.stdout
