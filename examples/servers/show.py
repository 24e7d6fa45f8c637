"""The shop with real servers, started here and stopped at the end.

kafka        a generated day (late, twice, malformed, fraud) through Kafka, the catalogue from PostgreSQL; order status into Cassandra and PostgreSQL,
             alerts to a webhook. Then four readings of every order's status are compared: DuckDB over the topic, leat's HTTP, psql, the Python driver of Cassandra.
replication  the same without Kafka: the day's orders are written into PostgreSQL's own table, which leat follows by logical replication.

--keep       leaves everything running, and says where, until Ctrl-C.
"""
import argparse
import contextlib
import csv
import datetime
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/peers"))

import duckdb  # noqa: E402

import cassandra_server  # noqa: E402
import kafka_broker  # noqa: E402
import servers  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
LEAT = os.environ.get("LEAT", str(ROOT / "build/dev/leat"))
STATUS = "order_id, status, strftime(updated_at, '%Y-%m-%d %H:%M:%S.%g') AS updated_at"  # Cassandra's timestamps are milliseconds


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def leat(*arguments, **more):
    return subprocess.run([LEAT, *map(str, arguments)], check=True, capture_output=True, text=True, **more).stdout


def same(name, rows, expected):
    if rows == expected:
        say(f"{name}: {len(rows)} orders, the same")
        return
    differing = [pair for pair in zip(sorted(set(rows) - set(expected)), sorted(set(expected) - set(rows)))][:3]
    sys.exit(f"{name} differs: {len(rows)} orders instead of {len(expected)}; {differing}")


class Shop:
    """A project folder, the servers, leat as a process with HTTP."""

    def __init__(self, folder, stack, variant, events):
        self.process = None
        self.day, self.project, self.variant = folder / "day", folder / "shop", variant
        self.project.mkdir()
        leat("generate", "--out", self.day, "--events", events, "--rate", 20, "--fraud", 6, "--late", 8, "--malformed", 6, "--seed", 4)
        self.planted = json.loads((self.day / "planted.json").read_text())
        self.http = f"127.0.0.1:{servers.free_port()}"
        say("starting PostgreSQL, Cassandra" + (", Kafka" if variant == "kafka" else "") + " and a receiver of webhooks")
        self.cassandra = cassandra_server.Cassandra()
        stack.callback(self.cassandra.stop)
        self.postgres = stack.enter_context(servers.Postgres(folder / "postgres"))
        self.desk = stack.enter_context(servers.HttpReceiver())
        self.env = {**os.environ, "CASSANDRA": self.cassandra.address, "SHOP_DSN": self.postgres.conninfo, "FRAUD_URL": self.desk.url,
                    "FRAUD_SECRET": "whsec_" + "c2VjcmV0" * 4}
        if variant == "kafka":
            self.kafka = kafka_broker.Broker()
            stack.callback(self.kafka.remove)
            stack.callback(self.kafka.stop)
            self.env["KAFKA"] = self.kafka.address
        with self.session() as session:
            session.execute("CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        self.sql("CREATE TABLE products (product_id integer PRIMARY KEY, name text, category text, price numeric(18,2), valid_from timestamptz)")
        self.copy("products", (self.day / "products.csv").read_text())

    def sql(self, text):
        return self.postgres.sql(text)

    def copy(self, table, text):
        subprocess.run([self.postgres.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.postgres.conninfo, "-c",
                        f"\\copy {table} FROM stdin CSV HEADER"], input=text, text=True, check=True)

    @contextlib.contextmanager
    def session(self):
        session = self.cassandra.connect()
        try:
            yield session
        finally:
            session.cluster.shutdown()

    def run(self):
        with open(self.project / "leat.log", "ab") as log:
            self.process = subprocess.Popen([LEAT, "run", "--project", self.project, "--listen", self.http], env=self.env, stdout=log, stderr=log)
        servers.wait_for("leat listens", lambda: servers.accepts(int(self.http.split(":")[1])), process=self.process)
        say(f"leat runs: http://{self.http}/")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
        self.process = None

    def status(self):
        return json.load(urllib.request.urlopen(f"http://{self.http}/v1/status", timeout=60))

    def wait_for_sinks(self):
        servers.wait_for("sinks have caught up", lambda: all(s["waiting"] == 0 for s in self.status()["sinks"]), 60)

    def query(self, sql):
        request = urllib.request.Request(f"http://{self.http}/v1/sql?format=csv", sql.encode(), {"Content-Type": "text/plain"})
        return urllib.request.urlopen(request, timeout=60).read().decode()

    def served(self):
        """What leat serves: the table in memory, over HTTP."""
        text = urllib.request.urlopen(f"http://{self.http}/v1/tables/order_status/rows?format=csv", timeout=60).read().decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        return sorted((int(r["order_id"]), r["status"], milliseconds(r["updated_at"])) for r in rows)

    def in_cassandra(self):
        with self.session() as session:
            return sorted((r.order_id, r.status, milliseconds(r.updated_at.isoformat(" "))) for r in session.execute("SELECT * FROM shop.order_status"))

    def in_postgres(self):
        text = self.sql("SELECT order_id, status, updated_at FROM live_order_status")
        return sorted((int(a), b, milliseconds(c)) for a, b, c in (line.split("|") for line in text.splitlines()))


def milliseconds(time_text):
    whole, _, fraction = time_text.replace("T", " ").rstrip("Z").partition(".")
    return f"{whole}.{(fraction + '000')[:3]}"


# ---- Kafka


def produce(shop):
    """Every line of the day's files as it is, by order; their numbers."""
    import confluent_kafka
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": shop.kafka.address, "log_level": 2})
    for future in admin.create_topics([NewTopic("order_events", 2, 1), NewTopic("payments", 1, 1)]).values():
        future.result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": shop.kafka.address, "enable.idempotence": True, "log_level": 2})
    sent = {}
    for topic in ("order_events", "payments"):
        lines = (shop.day / f"{topic}.ndjson").read_bytes().splitlines()
        for n, line in enumerate(lines):
            at = line.find(b'"order_id":')
            producer.produce(topic, line, key=line[at + 11:at + 20].split(b",")[0] if at >= 0 else None)
            producer.poll(0)
            if n % 1500 == 1499:  # as a day comes, not all at once: what comes late then is late
                producer.flush(60)
                time.sleep(0.5)
        producer.flush(60)
        sent[topic] = len(lines)
    return sent


def computed_from_the_topic(shop):
    """Order status by DuckDB over what a consumer of its own reads; a message is usable if its values are of the declared types."""
    import confluent_kafka
    reader = confluent_kafka.Consumer({"bootstrap.servers": shop.kafka.address, "group.id": "reader", "enable.partition.eof": True, "log_level": 2})
    reader.assign([confluent_kafka.TopicPartition("order_events", p, 0) for p in range(2)])
    values, ends = [], 0
    while ends < 2:
        message = reader.poll(30)
        if message.error():
            ends += 1
            continue
        with contextlib.suppress(UnicodeDecodeError):
            values.append((message.value().decode(),))
    reader.close()
    with open(shop.day / "topic.csv", "w", newline="") as out:
        csv.writer(out).writerows(values)
    db = duckdb.connect()
    db.execute(f"CREATE TABLE topic AS SELECT * FROM read_csv('{shop.day}/topic.csv', columns = {{'v': 'VARCHAR'}}, header = false, quote = '\"', escape = '\"', delim = ',')")
    types = {"event_id": "VARCHAR", "order_id": "BIGINT", "customer_id": "BIGINT", "product_id": "INTEGER", "quantity": "INTEGER", "amount": "DECIMAL(18,2)",
             "status": "VARCHAR", "event_time": "TIMESTAMP"}
    usable = [f"((v->>'{c}') IS NULL OR TRY_CAST((v->>'{c}') AS {t}) IS NOT NULL)" for c, t in types.items()]
    usable += [f"(v->>'{c}') IS NOT NULL" for c in ("event_id", "order_id", "customer_id", "event_time")]
    usable += ["json_type(v, '$.status') = 'VARCHAR'", "json_type(v, '$.event_time') = 'VARCHAR'"]
    db.execute("CREATE TABLE usable AS SELECT (v->>'order_id')::BIGINT AS order_id, v->>'status' AS status, (v->>'event_time')::TIMESTAMP AS event_time "
               f"FROM topic WHERE CASE WHEN json_valid(v) THEN {' AND '.join(usable)} ELSE false END")
    used = db.execute("SELECT count(*) FROM usable").fetchone()[0]
    rows = db.execute(f"SELECT {STATUS} FROM (SELECT order_id, arg_max(status, event_time) AS status, max(event_time) AS updated_at FROM usable GROUP BY 1)").fetchall()
    return used, sorted(rows)


def show_kafka(shop):
    shutil.copy(HERE / "kafka/sources.sql", shop.project)
    shutil.copy(HERE / "sinks.sql", shop.project)
    shutil.copy(ROOT / "examples/orders/live.sql", shop.project)
    shop.run()
    sent = produce(shop)
    say(f"{sent['order_events']} order events and {sent['payments']} payments sent: {shop.planted}")
    taken = "SELECT (SELECT count(*) FROM order_events) + (SELECT count(*) FROM order_events__dead)"
    servers.wait_for("everything is read", lambda: int(shop.query(taken).splitlines()[-1]) == sent["order_events"], 60)
    late = int(shop.query("SELECT count(*) FROM fraud_alerts__late").splitlines()[-1])
    shop.stop()
    leat("restate", "--project", shop.project, env=shop.env)  # late records are folded in; once a day leat run does it by itself
    shop.run()
    shop.wait_for_sinks()
    used, expected = computed_from_the_topic(shop)
    dead = int(shop.query("SELECT count(*) FROM order_events__dead").splitlines()[-1])
    say(f"{dead} malformed messages are dead letters, {late} came late and are restated")
    if used + dead != sent["order_events"]:
        sys.exit(f"DuckDB finds {sent['order_events'] - used} malformed, leat {dead}")
    return expected


# ---- PostgreSQL alone


def write_orders(shop):
    """The day as the shop's application writes it: orders are inserted, then their status is updated, in the order of arrival."""
    usable = []
    for line in (shop.day / "order_events.ndjson").read_bytes().splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):  # malformed ones, which no application would write
            e = json.loads(line)
            row = {c: int(e[c]) for c in ("order_id", "customer_id", "product_id", "quantity")}
            row |= {"amount": round(float(e["amount"]), 2), "status": e["status"], "event_time": datetime.datetime.fromisoformat(e["event_time"].rstrip("Z"))}
            if row["amount"] < 1e9 and all(abs(row[c]) < 2**31 for c in ("product_id", "quantity")):
                usable.append(row)
    text = io.StringIO()
    columns = ["order_id", "customer_id", "product_id", "quantity", "amount", "status", "event_time"]
    out = csv.writer(text)
    out.writerow(["n", *columns])
    for n, e in enumerate(usable):
        out.writerow([n, *(e.get(c) for c in columns)])
    shop.sql("CREATE TABLE day (n integer, order_id bigint, customer_id bigint, product_id integer, quantity integer, amount numeric(18,2), status text, updated_at timestamp)")
    shop.copy("day", text.getvalue())
    for first in range(0, len(usable), 500):
        shop.sql("INSERT INTO orders SELECT DISTINCT ON (order_id) order_id, customer_id, product_id, quantity, amount, status, updated_at FROM day "
                 f"WHERE n >= {first} AND n < {first + 500} ORDER BY order_id, updated_at DESC, n "
                 "ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at WHERE excluded.updated_at > orders.updated_at")
    return len(usable)


def show_replication(shop):
    shutil.copy(HERE / "replication/project.sql", shop.project)
    shutil.copy(HERE / "sinks.sql", shop.project)
    shop.sql("CREATE TABLE orders (order_id bigint PRIMARY KEY, customer_id bigint, product_id integer, quantity integer, amount numeric(18,2), status text, "
             "updated_at timestamp); ALTER TABLE orders REPLICA IDENTITY FULL")
    shop.run()
    say(f"{write_orders(shop)} changes written to PostgreSQL")
    shop.sql("DELETE FROM orders WHERE order_id % 100 = 7")  # and some orders are removed
    text = shop.sql("SELECT order_id, status, updated_at FROM orders")
    expected = sorted((int(a), b, milliseconds(c)) for a, b, c in (line.split("|") for line in text.splitlines()))
    servers.wait_for("everything is read", lambda: shop.served() == expected, 60)
    shop.wait_for_sinks()
    return expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=["kafka", "replication"])
    parser.add_argument("--events", type=int, default=15000)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leat-show-")))
        folder.chmod(0o755)
        shop = Shop(folder, stack, options.variant, options.events)
        stack.callback(shop.stop)
        expected = (show_kafka if options.variant == "kafka" else show_replication)(shop)
        same("what leat serves over HTTP", shop.served(), expected)
        same("Cassandra by its Python driver", shop.in_cassandra(), expected)
        same("PostgreSQL by psql", shop.in_postgres(), expected)
        alerts = int(shop.query("SELECT count(*) FROM fraud_alerts").splitlines()[-1])
        say(f"{alerts} alerts stand, {len(shop.desk.taken())} messages were taken by the fraud desk")
        if options.keep:
            say(f"PostgreSQL: psql '{shop.postgres.conninfo}'   Cassandra: {shop.cassandra.address}   project: {shop.project}   Ctrl-C ends it all")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)


if __name__ == "__main__":
    main()
