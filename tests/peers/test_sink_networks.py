"""What networks do between leat and what it writes to: resets, black holes, half answers, crawling, delays. The content is right every time."""
import time

import pytest

from servers import HttpReceiver, Missing, Postgres, Project, Redis, wait_for
from tcp_proxy import FAULTS, KINDS, Proxy, disturb
from test_database_sinks import EVENTS, events, odd, postgres_odd, redis_odd
from test_webhook import current


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    try:
        with Postgres(tmp_path_factory.mktemp("postgres")) as postgres, Redis(tmp_path_factory.mktemp("redis")) as redis, HttpReceiver() as receiver:
            yield postgres, redis, receiver
    except Missing as missing:
        pytest.skip(f"{missing} is not installed")


def test_a_transaction_that_nobody_will_end(servers, tmp_path):
    """PostgreSQL is not told that leat, which has the lock of its progress, is gone: it ends the transaction by itself."""
    postgres = servers[0]
    proxy = Proxy(postgres.port, tells=False)
    with Project(tmp_path / "p", EVENTS + f"""CREATE SINK r FROM raw WITH (connector = 'postgres', dsn = 'host=127.0.0.1 port={proxy.port} user=leat dbname=leat',
            "table" = 'raw_left', retry_max = '200 ms', timeout = '1 second');""") as project:
        project.feed(events(0, 10))
        wait_for("the first rows", lambda: postgres.try_sql("SELECT count(*) FROM raw_left") == "10", 30)
        proxy.fault = "delay"
        project.feed(events(10, 10))
        wait_for("the lock", lambda: postgres.sql("SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = 'leat_progress'::regclass AND mode = 'RowShareLock' "
                                                  "AND state = 'idle in transaction'") != "0", 30)
        proxy.fault = "blackhole"
        time.sleep(0.5)
        proxy.fault = None
        wait_for("all rows", lambda: postgres.sql("SELECT count(*), count(DISTINCT id) FROM raw_left") == "20|20", 20)
    proxy.close()


def test_a_stop_does_not_wait_for_a_server_that_says_nothing(servers, tmp_path):
    proxy = Proxy(servers[0].port)
    proxy.fault = "blackhole"
    with Project(tmp_path / "p", EVENTS + f"""CREATE SINK r FROM raw WITH (connector = 'postgres', dsn = 'host=127.0.0.1 port={proxy.port} user=leat dbname=leat',
            "table" = 'raw_stopped');""") as project:
        project.feed(events(0, 10))
        wait_for("it connects", lambda: proxy.felt, 30)
        assert project.stop(seconds=5) == 0
    proxy.close()


@pytest.mark.parametrize("fault", KINDS)
def test_faults_of_the_network(servers, tmp_path, fault):
    postgres, redis, receiver = servers
    through = [Proxy(postgres.port), Proxy(redis.port), Proxy(receiver.port)]
    dsn = f"host=127.0.0.1 port={through[0].port} user=leat dbname=leat"
    sql = EVENTS + f"""
    CREATE SINK r FROM raw WITH (connector = 'postgres', dsn = '{dsn}', "table" = 'raw_{fault}', retry_max = '200 ms', timeout = '500 ms');
    CREATE SINK p FROM odd WITH (connector = 'postgres', dsn = '{dsn}', "table" = 'odd_{fault}', retry_max = '200 ms', timeout = '500 ms');
    CREATE SINK k FROM odd WITH (connector = 'redis', port = {through[1].port}, prefix = '{fault}:', retry_max = '200 ms', timeout = '500 ms');
    CREATE MATERIALIZED TABLE totals (PRIMARY KEY (k)) FRESHNESS = INTERVAL '100' MILLISECOND AS SELECT k, count(*) AS n, sum(v)::BIGINT AS v FROM events GROUP BY k;
    CREATE SINK w FROM totals WITH (connector = 'webhook', url = 'http://127.0.0.1:{through[2].port}/{fault}', allow_private = true, retry_max = '200 ms',
      timeout = '500 ms');
    """
    receiver.requests.clear()
    count = 0
    with Project(tmp_path / "p", sql) as project:
        def feed():
            nonlocal count
            project.feed(events(count, 60))
            count += 60

        for _ in range(FAULTS):
            feed()
            time.sleep(0.15)
            disturb(through, fault, 0.7, feed, stir=feed)  # what comes and goes in one step is told to nobody
        last = {}
        for row in events(0, count):
            n, v = last.get(row["k"], (0, 0))
            last[row["k"]] = (n + 1, v + row["v"])
        wait_for("rows in PostgreSQL", lambda: postgres.try_sql(f"SELECT count(*), count(DISTINCT id) FROM raw_{fault}") == f"{count}|{count}", 30)
        wait_for("keys in PostgreSQL", lambda: postgres_odd(postgres, f"odd_{fault}") == odd(count), 30)
        wait_for("keys in Redis", lambda: redis_odd(redis, f"{fault}:") == odd(count), 30)
        wait_for("the last of each key by HTTP", lambda: current(receiver) == last, 30)
        assert project.stop() == 0
        assert all(s["dead"] == 0 for s in project.status()["sinks"])
