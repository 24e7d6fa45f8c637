"""The PostgreSQL and Redis sinks against the real servers: exactly once across kill -9 of leat and of the server, every type, refusals."""
import collections
import json
import os
import shutil
import subprocess
import time

import pytest

from servers import Missing, Postgres, Project, Redis, kills, wait_for

EVENTS = """
CREATE SOURCE events (id BIGINT NOT NULL, k BIGINT, v BIGINT, s VARCHAR, t TIMESTAMP NOT NULL, WATERMARK FOR t AS t)
WITH (connector = 'file', path = 'in/*.ndjson');
SET retry_backoff = '20 ms';
SET commit_interval = '300 ms';
CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT id, k, v, s FROM events;
-- rows come and go: of a key, whether its count is odd
CREATE MATERIALIZED TABLE odd (PRIMARY KEY (k)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT k, count(*) AS n, sum(v)::BIGINT AS v, max(s) AS s FROM events GROUP BY k HAVING count(*) % 2 = 1;
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    try:
        with Postgres(tmp_path_factory.mktemp("postgres")) as server:
            yield server
    except Missing as missing:
        pytest.skip(f"{missing} is not installed")


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    try:
        with Redis(tmp_path_factory.mktemp("redis"), tls=True) as server:
            yield server
    except Missing as missing:
        pytest.skip(f"{missing} is not installed")


def events(first, count, keys=11):
    return [{"id": i, "k": i * i % keys, "v": i, "s": f"text {i}", "t": "2026-01-01 00:00:00"} for i in range(first, first + count)]


def odd(count, keys=11):
    groups = collections.defaultdict(list)
    for row in events(0, count, keys):
        groups[row["k"]].append(row)
    return {k: (len(rows), sum(r["v"] for r in rows), max(r["s"] for r in rows)) for k, rows in groups.items() if len(rows) % 2}


def all_delivered(project):
    sinks = project.status()["sinks"]
    return all(s["waiting"] == 0 and "error" not in s for s in sinks) and sinks


def postgres_odd(server, table):
    return {int(k): (int(n), int(v), s) for k, n, v, s in (line.split("|") for line in (server.try_sql(f"SELECT k, n, v, s FROM {table}") or "").splitlines())}


def redis_odd(server, prefix):
    found = {}
    for key in server.call("KEYS", f"{prefix}*").split():
        fields = server.call("HMGET", key, "n", "v", "s").splitlines()
        if len(fields) < 3:
            continue  # it went meanwhile
        found[int(key[len(prefix):])] = (int(fields[0]), int(fields[1]), fields[2])
    return found


def killed_under_load(project, server):
    """Feeds; after every round leat is killed, and sometimes the server. How many events there are."""
    count = 0
    project.start()
    for server_too in kills(4):
        for _ in range(15 if server_too else 5):
            project.feed(events(count, 40))
            count += 40
            time.sleep(0.05)
        if server_too:
            server.kill()
        project.feed(events(count, 40))
        count += 40
        project.kill()
        project.start()
        if server_too:
            server.start()
    print(f"leat killed {len(kills(4))} times, the server {sum(kills(4))}; {count} events")
    return count


def test_postgres_exactly_once_across_kill_9(postgres, tmp_path):
    """leat is killed again and again, the server too; appended rows are there once, keyed ones as they are."""
    sql = EVENTS + f"""
    CREATE SINK raw_out FROM raw WITH (connector = 'postgres', dsn = '${{DSN}}', "table" = 'killed.raw', retry_max = '200 ms');
    CREATE SINK odd_out FROM odd WITH (connector = 'postgres', dsn = '${{DSN}}', "table" = 'killed.odd', retry_max = '200 ms');
    """
    postgres.sql("CREATE SCHEMA killed")
    project = Project(tmp_path / "p", sql, env={"DSN": postgres.conninfo})
    count = killed_under_load(project, postgres)
    wait_for("all rows", lambda: postgres.try_sql("SELECT count(*) FROM killed.raw") == str(count))
    wait_for("the keyed table", lambda: postgres_odd(postgres, "killed.odd") == odd(count))
    assert project.stop() == 0
    assert postgres.sql("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM killed.raw") == f"{count}|{count}|0|{count - 1}"
    assert all_delivered(project)
    assert "leat" not in [s["error"] for s in project.status()["sinks"] if "error" in s]


def test_a_server_that_was_put_back_gets_what_it_lost(tmp_path):
    """A copy of its files of before: what leat had told it since is told again."""
    try:
        with Postgres(tmp_path / "server") as server:
            p = Project(tmp_path / "p", EVENTS + f"""
            CREATE SINK keyed FROM odd WITH (connector = 'postgres', dsn = '{server.conninfo}', "table" = 'odd');
            CREATE SINK plain FROM raw WITH (connector = 'postgres', dsn = '{server.conninfo}', "table" = 'raw', start = 'snapshot');""")
            p.feed(events(0, 500))
            p.once()
            server.stop()
            saved = server.data + "-saved"
            subprocess.run(["cp", "-a", server.data, saved], check=True)
            server.start()
            p.feed(events(500, 700))
            p.once()
            assert server.sql("SELECT count(*) FROM raw") == "1200"
            server.stop()
            shutil.rmtree(server.data)
            subprocess.run(["mv", saved, server.data], check=True)
            server.start()
            assert server.sql("SELECT count(*) FROM raw") == "500"
            p.feed(events(1200, 1))
            assert "was put back to an earlier state" in p.once().stderr
            assert server.sql("SELECT count(*), count(DISTINCT id) FROM raw") == "1201|1201" and postgres_odd(server, "odd") == odd(1201)
    except Missing as missing:
        pytest.skip(f"{missing} is not installed")


def test_redis_across_kill_9(redis, tmp_path):
    sql = EVENTS + f"CREATE SINK odd_out FROM odd WITH (connector = 'redis', port = {redis.port}, prefix = 'killed:', retry_max = '200 ms');\n"
    project = Project(tmp_path / "p", sql)
    count = killed_under_load(project, redis)
    wait_for("the keyed table", lambda: redis_odd(redis, "killed:") == odd(count))
    assert project.stop() == 0
    assert all_delivered(project)


def test_a_redis_that_was_put_back_gets_what_it_lost(tmp_path):
    try:
        with Redis(tmp_path / "server") as server:
            p = Project(tmp_path / "p", EVENTS + f"CREATE SINK odd_out FROM odd WITH (connector = 'redis', port = {server.port}, prefix = 'k:');")
            p.feed(events(0, 500))
            p.once()
            server.stop()
            shutil.copytree(server.folder, tmp_path / "saved")
            server.start()
            p.feed(events(500, 700))
            p.once()
            server.stop()
            shutil.rmtree(server.folder)
            shutil.copytree(tmp_path / "saved", server.folder)
            server.start()
            assert redis_odd(server, "k:") == odd(500)
            p.feed([{"id": 1200, "k": 1000, "v": 1, "s": "x", "t": "2026-01-01 00:00:00"}])
            assert "was put back to an earlier state" in p.once().stderr
            assert redis_odd(server, "k:") == {**odd(1200), 1000: (1, 1, "x")}
    except Missing as missing:
        pytest.skip(f"{missing} is not installed")


TYPES = {
    "b": ("BOOLEAN", True, "t", "true"),
    "ti": ("TINYINT", -128, "-128", "-128"),
    "bi": ("BIGINT", -(2**63), str(-(2**63)), str(-(2**63))),
    "ub": ("UBIGINT", 2**64 - 1, str(2**64 - 1), str(2**64 - 1)),
    "hu": ("HUGEINT", -(10**37), str(-(10**37)), str(-(10**37))),
    "f": ("DOUBLE", 0.1, "0.1", "0.1"),
    "de": ("DECIMAL(18,3)", "-0.050", "-0.050", "-0.050"),
    "s": ("VARCHAR", "tab\t back\\slash \n ü'\"|", None, None),
    "d": ("DATE", "0044-03-15", "0044-03-15", "0044-03-15"),
    "ts": ("TIMESTAMP", "2026-01-02 03:04:05.0607", "2026-01-02 03:04:05.0607", "2026-01-02 03:04:05.0607"),
    "tz": ("TIMESTAMPTZ", "1969-12-31 23:59:59.5+00", "1969-12-31 23:59:59.5+00", "1969-12-31 23:59:59.5+00"),
    "tm": ("TIME", "23:59:59.999999", "23:59:59.999999", "23:59:59.999999"),
    "u": ("UUID", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "n": ("INTEGER", None, "", ""),
}


def test_every_type_arrives_as_it_is(postgres, redis, tmp_path):
    columns = ", ".join(f"{name} {kind[0]}" for name, kind in TYPES.items())
    sql = f"""
    CREATE SOURCE rows (id BIGINT NOT NULL, {columns}, t TIMESTAMP NOT NULL, WATERMARK FOR t AS t) WITH (connector = 'file', path = 'in/*.ndjson');
    CREATE MATERIALIZED TABLE typed FRESHNESS = INTERVAL '1' SECOND AS SELECT id, {', '.join(TYPES)}, encode('\\x00' || s) AS bytes FROM rows;
    CREATE MATERIALIZED TABLE latest (PRIMARY KEY (id, s)) FRESHNESS = INTERVAL '1' SECOND
    AS SELECT id, s, {', '.join(f'max({name}) AS {name}' for name in TYPES if name != 's')} FROM rows GROUP BY id, s;
    CREATE SINK p FROM typed WITH (connector = 'postgres', dsn = '{postgres.conninfo}');
    CREATE SINK r FROM latest WITH (connector = 'redis', port = {redis.port}, prefix = 'typed:');
    CREATE SINK j FROM latest WITH (connector = 'redis', port = {redis.port}, prefix = 'json:', format = 'json');
    """
    project = Project(tmp_path / "p", sql)
    row = {"id": 1, "t": "2026-01-01 00:00:00", **{name: value for name, (_, value, _, _) in TYPES.items()}}
    project.feed([row])
    assert "tried again" not in project.once().stderr
    for name, (_, value, as_postgres, as_redis) in TYPES.items():
        assert postgres.sql(f"SELECT {name} FROM typed") == (value if as_postgres is None else as_postgres), name
    text = TYPES["s"][1]
    assert postgres.sql("SELECT encode(bytes, 'hex') FROM typed") == b"\\x00".hex() + text.encode().hex()
    key = "typed:1:" + text.replace("%", "%25").replace(":", "%3A")
    for name, (_, value, _, as_redis) in TYPES.items():
        assert redis.call("HGET", key, name) == (text if as_redis is None else as_redis), name
    assert redis.call("HEXISTS", key, "n") == "0"
    found = json.loads(redis.call("GET", key.replace("typed:", "json:")))
    assert found["s"] == text and found["bi"] == -(2**63) and found["n"] is None and found["tz"] == "1969-12-31T23:59:59.5Z"


def test_a_row_that_postgres_cannot_hold_is_a_dead_letter(postgres, tmp_path):
    """One of many; the others are there, once. A constraint of the table's own counts, too."""
    postgres.sql('CREATE TABLE strict (id bigint, k bigint, v bigint CHECK (v <> 77), s text)')
    sql = EVENTS + f"CREATE SINK out FROM raw WITH (connector = 'postgres', dsn = '{postgres.conninfo}', \"table\" = 'strict', max_tries = 2, retry_max = '20 ms');\n"
    project = Project(tmp_path / "p", sql)
    rows = events(0, 300)
    rows[50]["s"] = "a\0b"
    project.feed(rows)
    with project:
        wait_for("delivered", lambda: postgres.sql("SELECT count(*) FROM strict") == "298")
        assert project.stop() == 0
    letters = project.sql("SELECT reason, payload FROM out__dead ORDER BY sequence")
    assert [json.loads(l["payload"])["id"] for l in letters] == [50, 77]
    assert "22021" in letters[0]["reason"] and "23514" in letters[1]["reason"]
    assert postgres.sql("SELECT count(DISTINCT id) FROM strict") == "298"


def test_retractions_of_rows_without_a_key(postgres, tmp_path):
    """Equal rows come twice and go once."""
    sql = EVENTS + f"""
    CREATE MATERIALIZED TABLE pairs FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT n, v > 50 AS large FROM odd;
    CREATE SINK out FROM pairs WITH (connector = 'postgres', dsn = '{postgres.conninfo}', on_retract = 'send');
    """
    project = Project(tmp_path / "p", sql)
    for i in range(4):
        project.feed(events(i * 25, 25))
        project.once()
        expected = sorted((n, v > 50) for n, v, _ in odd((i + 1) * 25).values())
        found = sorted((int(n), large == "t") for n, large in (line.split("|") for line in postgres.sql("SELECT n, large FROM pairs").splitlines()))
        assert found == expected


def test_somebody_elses_table_without_a_key_is_said(postgres, tmp_path):
    postgres.sql("CREATE TABLE keyless (k bigint, n bigint, v bigint, s text)")
    sql = EVENTS + f"CREATE SINK out FROM odd WITH (connector = 'postgres', dsn = '{postgres.conninfo}', \"table\" = 'keyless');\n"
    project = Project(tmp_path / "p", sql)
    project.feed(events(0, 10))
    said = project.once().stderr
    assert "no unique or exclusion constraint" in said and "sink" in said
    postgres.sql("ALTER TABLE keyless ADD PRIMARY KEY (k)")
    project.once()
    assert postgres_odd(postgres, "keyless") == odd(10)


def test_a_user_that_may_write_and_not_create(postgres, tmp_path):
    postgres.sql("""CREATE SCHEMA narrow; CREATE USER clerk; GRANT USAGE ON SCHEMA narrow TO clerk;
    CREATE TABLE narrow.odd (k bigint PRIMARY KEY, n bigint, v bigint, s text, note text DEFAULT 'theirs');
    CREATE TABLE narrow.leat_progress (sink text PRIMARY KEY, sequence bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA narrow TO clerk""")
    sql = EVENTS + f"""CREATE SINK out FROM odd WITH (connector = 'postgres', "table" = 'narrow.odd',
    dsn = 'host=127.0.0.1 port={postgres.port} user=clerk dbname=leat');"""
    project = Project(tmp_path / "p", sql)
    project.feed(events(0, 50))
    assert "tried again" not in project.once().stderr
    assert postgres_odd(postgres, "narrow.odd") == odd(50)
    assert postgres.sql("SELECT DISTINCT note FROM narrow.odd") == "theirs"


def test_passwords_are_not_shown(postgres, redis, tmp_path):
    sql = EVENTS + f"""
    CREATE SINK p FROM odd WITH (connector = 'postgres', dsn = 'host=127.0.0.1 port=1 user=leat dbname=leat password=${{PASSWORD}}');
    CREATE SINK r FROM odd WITH (connector = 'redis', port = {redis.port}, password = '${{PASSWORD}}');
    """
    project = Project(tmp_path / "p", sql, env={"PASSWORD": "sesame-open"})
    project.feed(events(0, 10))
    shown = project.once().stderr
    shown += project.leat("status", "--json").stdout + project.leat("check").stdout
    assert "tried again" in shown
    assert "sesame" not in shown


def test_redis_by_tls(redis, tmp_path):
    more = ", retry_max = '200 ms'"
    sql = EVENTS + f"""
    CREATE SINK good FROM odd WITH (connector = 'redis', host = 'localhost', port = {redis.tls_port}, prefix = 'tls:', tls = true, tls_ca = '{redis.folder}/ca.pem'{more});
    CREATE SINK any_host FROM odd WITH (connector = 'redis', host = '127.0.0.1', port = {redis.tls_port}, prefix = 'any:', tls = true, tls_ca = '{redis.folder}/ca.pem',
      tls_any_host = true{more});
    CREATE SINK other_host FROM odd WITH (connector = 'redis', host = '127.0.0.1', port = {redis.tls_port}, prefix = 'other:', tls = true, tls_ca = '{redis.folder}/ca.pem'{more});
    CREATE SINK unknown FROM odd WITH (connector = 'redis', host = 'localhost', port = {redis.tls_port}, prefix = 'unknown:', tls = true{more});
    """
    with Project(tmp_path / "p", sql) as project:
        project.feed(events(0, 2000, 997))
        wait_for("both tables", lambda: redis_odd(redis, "tls:") == redis_odd(redis, "any:") == odd(2000, 997))
        wait_for("the host is told", lambda: "certificate" in project.sink("other_host").get("error", ""))
        wait_for("the authority is told", lambda: "certificate" in project.sink("unknown").get("error", ""))
    assert not redis.call("KEYS", "other:*") and not redis.call("KEYS", "unknown:*")
