"""The Cassandra sink against a real Cassandra; the Python driver reads back, delta-rs says what leat's table is."""
import datetime
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time

import pytest

pytest.importorskip("cassandra")
deltalake = pytest.importorskip("deltalake")

from cassandra.cluster import NoHostAvailable  # noqa: E402

from cassandra_server import cassandra_server  # noqa: E402,F401 (a fixture)
from servers import kills  # noqa: E402
from tcp_proxy import FAULTS, KINDS, Proxy, disturb  # noqa: E402

OUTAGE = float(os.environ.get("LEAT_OUTAGE", "20"))  # seconds without Cassandra; soak: ten minutes
LEAT = str(pathlib.Path(os.environ.get("LEAT", "build/dev/leat")).resolve())
SOURCE = """SET retry_backoff = INTERVAL '100' MILLISECOND;
CREATE SOURCE events (id BIGINT NOT NULL, status VARCHAR, amount DECIMAL(18,2), event_time TIMESTAMP NOT NULL)
WITH (connector = 'file', path = 'in/*.ndjson', format = 'json', poll_interval = INTERVAL '100' MILLISECOND);
"""
ORDERS = """CREATE MATERIALIZED TABLE orders (PRIMARY KEY (id)) FRESHNESS = INTERVAL '200' MILLISECOND AS
SELECT id, arg_max(status, event_time) AS status, max(event_time) AS updated_at, sum(amount) AS amount FROM events GROUP BY id
HAVING arg_max(status, event_time) <> 'cancelled';
"""
SINK = """CREATE SINK store FROM orders WITH (connector = 'cassandra', contact_points = '{address}', keyspace = 'shop', 'table' = '{table}',
create = true, retry_max = INTERVAL '1' SECOND, timeout = INTERVAL '3' SECOND{more});
"""


class Project:
    def __init__(self, folder, text):
        self.folder = folder
        (folder / "in").mkdir()
        self.write(text)
        self.random = random.Random(7)
        self.sent = 0
        self.process = None

    def write(self, text):
        (self.folder / "project.sql").write_text(text)

    def leat(self, *arguments, fails=False):
        done = subprocess.run([LEAT, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def events(self, n, keys=2000):
        """Orders that go through their states, some of them cancelled and back again."""
        states = ["created", "paid", "shipped", "delivered", "cancelled"]
        with open(self.folder / "in/events.ndjson", "a") as f:
            for _ in range(n):
                self.sent += 1
                f.write(json.dumps({"id": self.random.randrange(keys), "status": self.random.choice(states),
                                    "amount": f"{self.random.randrange(10000) / 100:.2f}",
                                    "event_time": f"2026-01-01 {self.sent // 3600 % 24:02}:{self.sent // 60 % 60:02}:{self.sent % 60:02}."
                                                  f"{self.sent % 1000:03}"}) + "\n")

    def status(self, *options):
        """What a running leat says, or nothing yet (without one, status would open the project itself)."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        if not (self.folder / ".leat/status.json").exists():
            return ""
        return subprocess.run([LEAT, "status", *options], cwd=self.folder, capture_output=True, text=True, timeout=60).stdout

    def store(self):
        return next(s for s in json.loads(self.status("--json"))["sinks"] if s["name"] == "store")

    def start(self):
        self.process = subprocess.Popen([LEAT, "run"], cwd=self.folder, stdout=open(self.folder / "log", "a"), stderr=subprocess.STDOUT)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, (self.folder / "log").read_text()

    def settle(self):
        """run --once leaves after the first failure of a sink; until nothing waits any more."""
        for _ in range(30):
            said = self.leat("run", "--once")
            if "waiting" not in self.leat("status"):
                return
            time.sleep(0.2)
        raise AssertionError(said + self.leat("status"))

    def lake(self, table="orders"):
        rows = deltalake.DeltaTable(str(self.folder / "lake" / table)).to_pyarrow_table().to_pylist()
        return {r["id"]: (r["status"], r["updated_at"], r["amount"]) for r in rows}


def in_cassandra(session, table):
    for _ in range(100):  # the driver, too, has to find a server that was killed
        try:
            session.execute("SELECT key FROM system.local")
            break
        except NoHostAvailable:
            time.sleep(0.3)
    return {r.id: (r.status, r.updated_at, r.amount) for r in session.execute(f"SELECT id, status, updated_at, amount FROM shop.{table}")}


def wait_for(condition, what):
    """A bound against hanging, not a measurement."""
    for _ in range(400):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"this did not come about: {what}")


@pytest.fixture(scope="module")
def session(cassandra_server):  # noqa: F811
    session = cassandra_server.connect()
    yield session
    session.cluster.shutdown()


def sink(address, table, more=""):
    return SOURCE + ORDERS + SINK.format(address=address, table=table, more=more)


def same(project, session, table):
    project.settle()
    ours, theirs = project.lake(), in_cassandra(session, table)
    assert len(ours) > 100 and theirs == ours


def test_upserts_and_deletes_are_the_table(cassandra_server, session, tmp_path):  # noqa: F811
    p = Project(tmp_path, sink(cassandra_server.address, "plain"))
    for n in (3000, 1, 3000):
        p.events(n)
        same(p, session, "plain")
    times = [r[0] for r in session.execute("SELECT writetime(status) FROM shop.plain")]
    assert all(t % 2 == 1 for t in times) and len(set(times)) == len(times)  # rule 13: 2v + 1, each its own
    # A work folder that is lost begins a new sequence above the old one; the snapshot is written over what is there.
    subprocess.run(["rm", "-rf", str(tmp_path / ".leat")], check=True)
    p.events(500)
    same(p, session, "plain")


TYPES = """CREATE SOURCE things (a BIGINT NOT NULL, b BOOLEAN, c TINYINT, d SMALLINT, e INTEGER, f HUGEINT, g UTINYINT, h UINTEGER, i UBIGINT, j FLOAT,
k DOUBLE, l DECIMAL(38,6), m VARCHAR, n BLOB, o DATE, p TIME, q TIMESTAMP, r TIMESTAMPTZ, s UUID, t USMALLINT)
WITH (connector = 'file', path = 'in/*.ndjson', format = 'json', mode = 'once');
CREATE MATERIALIZED TABLE things_out (PRIMARY KEY (a, m)) FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM things;
CREATE SINK out FROM things_out WITH (connector = 'cassandra', contact_points = '{address}', keyspace = 'shop', 'table' = 'things', create = true,
partition_key = 'a');
"""


def test_every_type(cassandra_server, session, tmp_path):  # noqa: F811
    p = Project(tmp_path, TYPES.format(address=cassandra_server.address))
    low = dict(a=-2**63, b=False, c=-128, d=-2**15, e=-2**31, f=-10**37, g=0, h=0, i=0, j=-1.5, k=-1e300, l="-12345678901234567890.123456", m="",
               n="", o="0001-01-01", p="00:00:00", q="1969-12-31 23:59:59.999", r="1969-12-31 23:59:59.999Z", s="00000000-0000-0000-0000-000000000000",
               t=0)
    high = dict(a=2**63 - 1, b=True, c=127, d=2**15 - 1, e=2**31 - 1, f=10**37, g=255, h=2**32 - 1, i=2**64 - 1, j=0.25, k=1e-300,
                l="98765432109876543210.654321", m="grüße", n="abc", o="9999-12-31", p="23:59:59.999999", q="2026-01-01 00:00:00.123456",
                r="2026-01-01 00:00:00.123+01:00", s="ffffffff-ffff-ffff-ffff-ffffffffffff", t=65535)
    empty = {name: None for name in low} | dict(a=0, m="x")
    (tmp_path / "in/t.ndjson").write_text("".join(json.dumps(row) + "\n" for row in (low, high, empty)))
    p.settle()
    rows = {r.a: r for r in session.execute("SELECT * FROM shop.things")}
    columns = "a b c d e f g h i j k l m n o p q r s t".split()
    for row in (low, high, empty):
        got = rows[row["a"]]
        for name in columns:
            value, want = getattr(got, name), row[name]
            if want is None:
                assert value is None, name
            elif name == "n":
                assert value == want.encode()
            elif name in "qr":  # milliseconds, UTC
                assert str(value)[:23] == ("2025-12-31 23:00:00.123" if name == "r" and row is high else want[:23])
            elif name == "p":
                assert value.nanosecond_time == (0 if row is low else 86399999999000)
            elif name in "los":
                assert str(value) == want, name
            else:
                assert value == want, name
    assert session.execute("SELECT count(*) FROM system_schema.columns WHERE keyspace_name = 'shop' AND table_name = 'things' AND "
                           "kind = 'clustering' ALLOW FILTERING").one()[0] == 1


def test_a_table_that_does_not_fit_is_said(cassandra_server, session, tmp_path):  # noqa: F811
    session.execute("CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    p = Project(tmp_path, sink(cassandra_server.address, "odd").replace("create = true", "create = false"))
    p.events(300)

    def said():
        return p.leat("run", "--once")
    assert "there is no table 'shop.odd' in Cassandra; make it, or say create = true" in said()
    session.execute("CREATE TABLE shop.odd (id int PRIMARY KEY, status text, updated_at timestamp, amount decimal)")
    assert "column 'id' is int in Cassandra's table 'odd', which does not take BIGINT; it takes bigint or varint" in said()
    session.execute("DROP TABLE shop.odd")
    session.execute("CREATE TABLE shop.odd (id bigint PRIMARY KEY, status text, amount decimal)")
    assert "has no column for 'updated_at'; ALTER TABLE shop.odd ADD updated_at timestamp" in said()
    session.execute("DROP TABLE shop.odd")
    session.execute("CREATE TABLE shop.odd (id bigint, region text, status text, updated_at timestamp, amount decimal, PRIMARY KEY (id, region))")
    assert "the primary key of Cassandra's table 'odd' has 2 columns, the one here 1" in said()
    session.execute("DROP TABLE shop.odd")
    # Nothing of it was held against the changes: with the right table they arrive. A column that is not ours is left alone.
    session.execute("CREATE TABLE shop.odd (id bigint PRIMARY KEY, status text, updated_at bigint, amount decimal, note text)")
    p.settle()
    epoch = datetime.datetime(1970, 1, 1)
    assert in_cassandra(session, "odd") == {k: (s, (t.replace(tzinfo=None) - epoch) // datetime.timedelta(microseconds=1), a)
                                            for k, (s, t, a) in p.lake().items()}


def test_a_table_made_anew_with_other_types(cassandra_server, session, tmp_path):  # noqa: F811
    """While leat runs: eight bytes of microseconds, which a bigint took, would be another time in a timestamp."""
    session.execute("CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    session.execute("CREATE TABLE shop.anew (id bigint PRIMARY KEY, status text, updated_at bigint, amount decimal)")
    p = Project(tmp_path, sink(cassandra_server.address, "anew").replace("create = true", "create = false"))
    p.start()
    p.events(300)
    wait_for(lambda: len(in_cassandra(session, "anew")) > 10, "rows are there")
    session.execute("DROP TABLE shop.anew")
    session.execute("CREATE TABLE shop.anew (id bigint PRIMARY KEY, status text, updated_at timestamp, amount decimal)")
    p.events(300)
    wait_for(lambda: len(in_cassandra(session, "anew")) > 10 and "waiting" not in p.status(), "rows are there again")
    p.stop()
    ours, theirs = p.lake(), in_cassandra(session, "anew")
    assert theirs == {k: ours[k] for k in theirs}


def test_a_row_that_cassandra_refuses_is_a_dead_letter(cassandra_server, session, tmp_path):  # noqa: F811
    text = SOURCE + ORDERS.replace("PRIMARY KEY (id)", "PRIMARY KEY (status, id)").replace("GROUP BY id", "GROUP BY id") + SINK.format(
        address=cassandra_server.address, table="refused", more=", partition_key = 'status'")
    p = Project(tmp_path, text)
    p.events(500)
    with open(tmp_path / "in/events.ndjson", "a") as f:
        for key in (5001, 5002):  # Cassandra's keys have at most 64 KiB
            f.write(json.dumps({"id": key, "status": "x" * 70000, "amount": "1", "event_time": "2026-01-02 00:00:00"}) + "\n")
    p.events(500)
    p.settle()
    assert "2 dead letters" in p.leat("status")
    ours = {k: v for k, v in p.lake().items() if k < 5000}
    assert in_cassandra(session, "refused") == ours and len(ours) > 100


def test_kill_9_of_leat_and_of_cassandra(cassandra_server, session, tmp_path):  # noqa: F811
    """Under load: what is there in the end is the table, nothing lost, nothing back."""
    p = Project(tmp_path, sink(cassandra_server.address, "kills"))
    p.events(1000)
    p.start()
    for server_too in kills(5):
        p.events(3000)
        time.sleep(0.7)
        if server_too:
            cassandra_server.kill()
            p.events(1000)
            time.sleep(0.5)
        p.kill()
        p.events(500)
        p.start()
        if server_too:
            cassandra_server.start()
    p.events(2000)
    time.sleep(1)
    p.stop()
    same(p, session, "kills")
    print(f"leat killed {len(kills(5))} times, Cassandra {sum(kills(5))}; {p.sent} events, {len(p.lake())} rows")


def test_a_dead_cassandra_delays_only_its_own_sink(cassandra_server, session, tmp_path):  # noqa: F811
    p = Project(tmp_path, sink(cassandra_server.address, "alone") + "CREATE SINK lines FROM orders WITH (connector = 'file', path = 'lines', "
                "on_retract = 'send');\n")
    p.events(500)
    p.start()
    try:
        wait_for(lambda: p.status().count(" changes delivered") == 2 and " 0 changes delivered" not in p.status(), "both sinks deliver")
        cassandra_server.kill()
        down_since = time.time()
        first = None
        while not first or time.time() - down_since < OUTAGE:
            before = p.lake()
            p.events(500, keys=10**9)
            wait_for(lambda: len(p.lake()) >= len(before) + 300, "the lake goes on")
            wait_for(lambda: len({json.loads(line)["row"]["id"] for line in open(tmp_path / "lines")}) >= len(p.lake()), "the other sink goes on")
            first = first or time.time()
        wait_for(lambda: "no host of Cassandra is ready" in p.status(), "status says what is wrong")
        store = p.store()
        assert store["waiting"] >= 300 and down_since - 5 <= store["behind_since_us"] / 1e6 <= first, store  # how far, and since when
        cassandra_server.start()
        wait_for(lambda: in_cassandra(session, "alone") == p.lake(), "it is caught up")
    finally:
        p.stop()


@pytest.mark.parametrize("fault", KINDS)
def test_network(cassandra_server, session, tmp_path, fault):  # noqa: F811
    """So many times each, under load; afterwards leat's memory is what it was and Cassandra has the table."""
    proxy = Proxy(cassandra_server.port)
    p = Project(tmp_path, sink(proxy.address, f"net_{fault}").replace("timeout = INTERVAL '3' SECOND", "timeout = INTERVAL '1' SECOND"))
    p.events(1000)
    p.start()
    for _ in range(FAULTS):
        p.events(800)
        time.sleep(0.3)
        disturb([proxy], fault, 1.8 if fault in ("blackhole", "partition") else 0.6, lambda: p.events(200))
    rss = [int(line.split()[1]) for line in open(f"/proc/{p.process.pid}/status") if line.startswith("VmHWM")][0]
    assert rss < 400 * 1024
    p.stop()
    same(p, session, f"net_{fault}")
    proxy.close()
