"""The Kafka source against a real broker."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

confluent_kafka = pytest.importorskip("confluent_kafka")
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from kafka_broker import broker  # noqa: F401 (a fixture)
from servers import kills
from tcp_proxy import FAULTS, KINDS, disturb

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEAT = str(pathlib.Path(os.environ.get("LEAT", ROOT / "build/dev/leat")).resolve())
ORDERS = """CREATE SOURCE orders (id BIGINT NOT NULL, v BIGINT) INCLUDE offset AS o, partition AS p {include}
WITH (connector = 'kafka', topic = '{topic}', 'properties.bootstrap.servers' = '{address}', metadata_interval = INTERVAL '1' SECOND {options});
CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(v) AS s FROM orders;
"""


class Kafka:
    def __init__(self, broker):
        self.broker, self.address = broker, broker.address
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 2})
        self.producer = Producer({"bootstrap.servers": self.address, "enable.idempotence": True, "linger.ms": 5, "log_level": 2})

    def create(self, topic, partitions=1, **config):
        for future in self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
            future.result(30)

    def delete(self, topic):
        for future in self.admin.delete_topics([topic]).values():
            future.result(30)
        while topic in self.admin.list_topics(timeout=10).topics:
            time.sleep(0.1)

    def send(self, topic, ids, **more):
        for i in ids:
            self.producer.produce(topic, json.dumps({"id": i, "v": i * 3}), key=str(i), **more)
            self.producer.poll(0)
        self.producer.flush(60)


@pytest.fixture(scope="module")
def kafka(broker):  # noqa: F811
    return Kafka(broker)


class Project:
    def __init__(self, folder, sql):
        self.folder = folder
        (folder / "project.sql").write_text(sql)
        self.process = None

    def leat(self, *arguments, fails=False):
        done = subprocess.run([LEAT, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def once(self):
        return self.leat("run", "--once")

    def sql(self, query):
        lines = self.leat("sql", "--format", "json", query).strip()
        rows = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        return [tuple(int(v) if isinstance(v, str) and v.lstrip("-").isdigit() else v for v in row.values()) for row in rows]

    def start(self):
        self.process = subprocess.Popen([LEAT, "run"], cwd=self.folder, stderr=open(self.folder / "log", "a"))

    def log(self):
        return (self.folder / "log").read_text()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log()


def wait_for(condition, what):
    """A bound against hanging, not a measurement."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"this did not come about: {what}")


def orders(kafka, tmp_path, topic, include="", options=""):
    return Project(tmp_path, ORDERS.format(topic=topic, address=kafka.address, include=include, options=options))


def exactly(project, ids):
    ids = list(ids)
    assert project.sql("SELECT n, ids, s FROM t") == [(len(ids), len(set(ids)), sum(i * 3 for i in ids))]
    assert "0 differing rows" in project.leat("verify")


def test_every_record_once_with_its_place(kafka, tmp_path):
    kafka.create("places", 3)
    kafka.send("places", range(5000), headers={"shop": "north"}, timestamp=1700000000123)
    p = orders(kafka, tmp_path, "places", ", key, timestamp AS ts, header 'shop'")
    p.once()
    exactly(p, range(5000))
    assert p.sql("SELECT count(*) AS n FROM orders WHERE key <> id::VARCHAR OR ts <> TIMESTAMP '2023-11-14 22:13:20.123' OR shop <> 'north'") == [(0,)]
    ends = {i: kafka_end(kafka, "places", i) for i in range(3)}
    assert dict(p.sql("SELECT p, max(o) + 1 AS o FROM orders GROUP BY p")) == ends
    kafka.send("places", range(5000, 6000))
    p.once()
    exactly(p, range(6000))
    # Tools that watch lag see none.
    watcher = Consumer({"bootstrap.servers": kafka.address, "group.id": "leat-orders", "log_level": 2})
    committed = watcher.committed([TopicPartition("places", i) for i in range(3)], timeout=20)
    assert {c.partition: c.offset for c in committed} == {i: kafka_end(kafka, "places", i) for i in range(3)}
    watcher.close()


def test_a_new_field_is_there_at_once_or_ignored(kafka, tmp_path):
    kafka.create("evolving", 1)
    kafka.send("evolving", range(100))
    p = Project(tmp_path, f"""CREATE SOURCE orders (id BIGINT NOT NULL, extra VARCHAR)
WITH (connector = 'kafka', topic = 'evolving', 'properties.bootstrap.servers' = '{kafka.address}', format = 'json', unknown_fields = 'extra');
CREATE SOURCE plain (id BIGINT NOT NULL)
WITH (connector = 'kafka', topic = 'evolving', 'properties.bootstrap.servers' = '{kafka.address}', format = 'json');
CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND
AS SELECT extra->>'coupon' AS coupon, count(*) AS n FROM orders GROUP BY 1;
CREATE MATERIALIZED TABLE u FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM plain;
""")
    p.once()
    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 2})
    for i in range(100, 150):
        producer.produce("evolving", json.dumps({"id": i, "coupon": "X1", "more": {"a": [i]}}))
    producer.flush(30)
    p.once()
    assert p.sql("SELECT coupon, n FROM t ORDER BY n") == [("X1", 50), (None, 100)]
    assert p.sql("SELECT n FROM u") == [(150,)]
    assert "0 differing rows" in p.leat("verify")


def kafka_end(kafka, topic, partition):
    c = Consumer({"bootstrap.servers": kafka.address, "group.id": "x", "log_level": 2})
    low, high = c.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
    c.close()
    return high


def test_aborted_transactions_are_not_seen(kafka, tmp_path):
    kafka.create("transactions")
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": "one", "log_level": 2})
    producer.init_transactions(30)
    for first, commit in ((0, True), (100, False), (200, True)):
        producer.begin_transaction()
        for i in range(first, first + 100):
            producer.produce("transactions", json.dumps({"id": i, "v": i * 3}))
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    p = orders(kafka, tmp_path, "transactions")
    p.once()
    exactly(p, [*range(100), *range(200, 300)])
    p.once()
    exactly(p, [*range(100), *range(200, 300)])


def test_starts_at_latest_or_a_time_and_keeps_that(kafka, tmp_path):
    kafka.create("start", 2)
    kafka.send("start", range(100), timestamp=1700000000000)
    kafka.send("start", range(100, 200), timestamp=1700000060000)
    latest, timed = tmp_path / "latest", tmp_path / "timed"
    latest.mkdir(), timed.mkdir()
    a = orders(kafka, latest, "start", options=", 'scan.startup.mode' = 'latest'")
    b = orders(kafka, timed, "start", options=", 'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp.millis' = '1700000030000'")
    a.once(), b.once()
    assert a.sql("SELECT n FROM t") == [(0,)]
    exactly(b, range(100, 200))
    kafka.send("start", range(200, 300))  # before the second start: the first one's end is kept
    a.once(), b.once()
    exactly(a, range(200, 300))
    exactly(b, range(100, 300))


def test_new_partitions_and_topics_are_picked_up(kafka, tmp_path):
    kafka.create("many-a")
    kafka.send("many-a", range(100))
    p = orders(kafka, tmp_path, "^many-[a-z]$")
    p.start()
    try:
        wait_for(lambda: p.sql("SELECT n FROM t") == [(100,)], "the first topic")
        for future in kafka.admin.create_partitions([NewPartitions("many-a", 3)]).values():
            future.result(30)
        kafka.create("many-b", 2)
        kafka.create("many-more")
        time.sleep(1)
        kafka = Kafka(kafka.broker)  # the other producer does not know of the partitions yet
        for i in range(3):
            kafka.send("many-a", range(100 + i * 100, 200 + i * 100), partition=i)
        kafka.send("many-b", range(400, 500))
        kafka.send("many-more", range(900, 1000))
        wait_for(lambda: p.sql("SELECT n FROM t") == [(500,)], "new partitions and a new topic")
    finally:
        p.stop()
    exactly(p, range(500))


def test_deleted_and_made_anew_while_stopped_and_while_running(kafka, tmp_path):
    kafka.create("anew")
    kafka.send("anew", range(100))
    p = orders(kafka, tmp_path, "anew")
    p.once()
    kafka.delete("anew")
    kafka.create("anew")
    kafka.send("anew", range(100, 400))  # more than before: an offset alone would not tell
    assert "re-created" in p.once()
    exactly(p, range(400))
    p.start()
    try:
        kafka.delete("anew")
        time.sleep(1)
        kafka.create("anew")
        kafka.send("anew", range(400, 450))
        wait_for(lambda: p.sql("SELECT n FROM t") == [(450,)], "the topic made anew is read")
    finally:
        p.stop()
    assert "re-created" in p.log()
    exactly(p, range(450))
    p.once()
    exactly(p, range(450))


def test_expired_records_are_told_and_the_rest_goes_on(kafka, tmp_path):
    kafka.create("expired")
    kafka.send("expired", range(100))
    p = orders(kafka, tmp_path, "expired")
    p.once()
    kafka.send("expired", range(100, 300))
    for future in kafka.admin.delete_records([TopicPartition("expired", 0, 150)]).values():
        future.result(30)
    said = p.once()
    assert "no longer has records 100 to 149" in said, said
    exactly(p, [*range(100), *range(150, 300)])


def test_records_that_expired_once_they_were_read_hold_nothing_up(kafka, tmp_path):
    """Retention took everything that leat has: the record before its position, which a start looks at, is not there, and that is no change."""
    kafka.create("all_expired")
    kafka.send("all_expired", range(100))
    p = orders(kafka, tmp_path, "all_expired")
    p.once()
    for future in kafka.admin.delete_records([TopicPartition("all_expired", 0, 100)]).values():
        future.result(30)
    kafka.send("all_expired", range(100, 150))
    p.once()
    exactly(p, range(150))


def test_a_compacted_topic(kafka, tmp_path):
    kafka.create("compacted", **{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100", "delete.retention.ms": "0"})
    kafka.send("compacted", range(50))
    p = orders(kafka, tmp_path, "compacted")
    p.once()
    for _ in range(20):
        kafka.send("compacted", range(50))
        time.sleep(0.15)

    def left():
        c = Consumer({"bootstrap.servers": kafka.address, "group.id": "y", "log_level": 2, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
        c.assign([TopicPartition("compacted", 0, 0)])
        offsets = []
        while True:
            m = c.poll(10)
            if m is None or m.error():
                break
            offsets.append(m.offset())
        c.close()
        return offsets

    wait_for(lambda: 0 not in left() and len(left()) < 900, "the broker compacts")
    kept = [o for o in left() if o >= 50]
    p.once()
    assert p.sql("SELECT max(o) AS o FROM orders") == [(1049,)]
    assert p.sql("SELECT count(*) AS n FROM orders WHERE o >= 50")[0][0] >= len(kept)
    assert p.sql("SELECT count(*) - count(DISTINCT o) AS n FROM orders") == [(0,)]
    assert "0 differing rows" in p.leat("verify")


def test_a_lost_work_folder_goes_on_from_bronze(kafka, tmp_path):
    kafka.create("lost", 2)
    kafka.send("lost", range(500))
    for i in range(2):
        kafka.producer.produce("lost", "not json", partition=i)
    kafka.producer.flush(30)
    p = orders(kafka, tmp_path, "lost")
    p.once()
    shutil.rmtree(tmp_path / ".leat")
    for future in kafka.admin.delete_records([TopicPartition("lost", 0, 100), TopicPartition("lost", 1, 100)]).values():
        future.result(30)  # the lake has them
    kafka.send("lost", range(500, 600))
    p.once()
    exactly(p, range(600))
    status = p.leat("status")
    assert "2 dead" in status or "dead" in status, status


def test_a_broker_that_is_away_is_told_once_and_waited_for(kafka, tmp_path):
    kafka.create("away")
    kafka.send("away", range(100))
    p = orders(kafka, tmp_path, "away")
    kafka.broker.stop()
    p.start()
    try:
        wait_for(lambda: "no broker answers" in p.log(), "it is told")
        time.sleep(3)
        kafka.broker.start()
        wait_for(lambda: p.sql("SELECT n FROM t") == [(100,)], "it recovers")
        kafka.send("away", range(100, 200))
        wait_for(lambda: p.sql("SELECT n FROM t") == [(200,)], "it goes on")
    finally:
        p.stop()
    assert p.log().count("no broker answers") == 1 and "answer again" in p.log()
    exactly(p, range(200))


def test_kill_9_under_load_nothing_is_lost_or_doubled(kafka, tmp_path):
    kafka.create("load", 4)
    p = orders(kafka, tmp_path, "load")
    sent = 0
    for server_too in kills(10):
        p.start()
        for part in range(10):
            kafka.send("load", range(sent, sent + 500))
            sent += 500
            time.sleep(0.03)
            if server_too and part == 4:
                time.sleep(0.5)
                kafka.broker.kill()
                time.sleep(1)
                kafka.broker.start()
        p.kill()
    p.once()
    exactly(p, range(sent))
    print(f"leat killed {len(kills(10))} times, the broker {sum(kills(10))}; {sent} records")


def test_passwords_come_from_the_environment_and_are_not_shown(kafka, tmp_path, monkeypatch):
    kafka.create("secured")
    kafka.send("secured", range(100))
    options = """, 'properties.security.protocol' = 'SASL_PLAINTEXT', 'properties.sasl.mechanism' = 'PLAIN', 'properties.sasl.username' = 'leat',
'properties.sasl.password' = '${KAFKA_PASSWORD}'"""
    p = Project(tmp_path, ORDERS.format(topic="secured", address=kafka.broker.sasl_address, include="", options=options))
    monkeypatch.setenv("KAFKA_PASSWORD", "wr0ng")
    p.start()
    try:
        wait_for(lambda: "uthentication" in p.log(), "the refusal is told")
    finally:
        p.stop()
    assert "wr0ng" not in p.log() and p.log().count("uthentication failed") == 1, p.log()
    monkeypatch.setenv("KAFKA_PASSWORD", "s3cret")
    p.once()
    exactly(p, range(100))


# ---- the sink ----

SINK = """CREATE SOURCE events (k INTEGER NOT NULL, v BIGINT NOT NULL, gone BOOLEAN)
WITH (connector = 'kafka', topic = '{name}-in', 'properties.bootstrap.servers' = '{address}');
CREATE MATERIALIZED TABLE current (PRIMARY KEY (k)) FRESHNESS = INTERVAL '100' MILLISECOND
AS SELECT k, sum(v) AS total, count(*) AS n FROM events GROUP BY k HAVING count(*) FILTER (gone) % 2 = 0;
CREATE SINK out FROM current WITH (connector = 'kafka', topic = '{name}-out', 'properties.bootstrap.servers' = '{address}' {options});
"""


def read_all(kafka, topic):
    """What a reader of committed messages sees, by partition in order."""
    c = Consumer({"bootstrap.servers": kafka.address, "group.id": "reader", "isolation.level": "read_committed", "enable.partition.eof": True,
                  "auto.offset.reset": "earliest", "log_level": 2})
    partitions = list(c.list_topics(topic, timeout=20).topics[topic].partitions)
    c.assign([TopicPartition(topic, p, 0) for p in partitions])
    messages, ends = [], 0
    while ends < len(partitions):
        m = c.poll(30)
        assert m is not None
        if m.error():
            ends += 1
        else:
            messages.append(m)
    c.close()
    return messages


def send_events(kafka, topic, rows):
    for k, v, gone in rows:
        kafka.producer.produce(topic, json.dumps({"k": k, "v": v, "gone": gone}))
        kafka.producer.poll(0)
    kafka.producer.flush(60)


def state_of(rows):
    state = {}
    for k, v, gone in rows:
        total, n, g = state.get(k, (0, 0, 0))
        state[k] = (total + v, n + 1, g + gone)
    return {k: (total, n) for k, (total, n, g) in state.items() if g % 2 == 0}


def upserted(messages):
    now = {}
    for m in messages:
        key, row = json.loads(m.key())["k"], json.loads(m.value()) if m.value() else None
        now.pop(key, None)
        if row:
            now[key] = (int(row["total"]), int(row["n"]))
    return now


def events(seed, count):
    import random
    r = random.Random(seed)
    return [(r.randrange(40), r.randrange(1000), r.random() < 0.2) for _ in range(count)]


def test_sink_upserts_and_debezium(kafka, tmp_path):
    for name, options in (("plain", ""), ("cdc", ", format = 'debezium-json', delivery = 'at_least_once'")):
        kafka.create(name + "-in")
        kafka.create(name + "-out", 3)
        folder = tmp_path / name
        folder.mkdir()
        p = Project(folder, SINK.format(name=name, address=kafka.address, options=options))
        rows = events(1, 2000)
        for at in range(0, 2000, 500):
            send_events(kafka, name + "-in", rows[at:at + 500])
            p.once()
        messages = read_all(kafka, name + "-out")
        ids = [dict(m.headers())["leat-event-id"] for m in messages]
        assert len(set(ids)) == len(ids)
        if name == "plain":
            assert upserted(messages) == state_of(rows)
            continue
        now = {}
        for m in messages:
            event = json.loads(m.value())
            key = json.loads(m.key())["k"]
            before = event["before"] and (int(event["before"]["total"]), int(event["before"]["n"]))
            assert event["op"] in "cud" and before == (now.get(key) if event["op"] != "c" else None), event
            now.pop(key, None)
            if event["op"] != "d":
                now[key] = (int(event["after"]["total"]), int(event["after"]["n"]))
        assert now == state_of(rows)


def test_a_refused_change_is_a_dead_letter_and_the_rest_goes_on(kafka, tmp_path):
    kafka.create("small", **{"max.message.bytes": "2000"})
    (tmp_path / "in").mkdir()
    p = Project(tmp_path, f"""CREATE SOURCE s (id INTEGER NOT NULL, t VARCHAR) WITH (connector = 'file', path = 'in/*.ndjson', format = 'json');
CREATE MATERIALIZED TABLE t (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, max(t) AS t FROM s GROUP BY id;
CREATE SINK out FROM t WITH (connector = 'kafka', topic = 'small', 'properties.bootstrap.servers' = '{kafka.address}');
""")
    with open(tmp_path / "in/a.ndjson", "w") as f:
        for i in range(50):
            f.write(json.dumps({"id": i, "t": os.urandom(3000).hex() if i == 20 else "x"}) + "\n")
    said = p.once()
    assert "dead letter" in said, said
    assert sorted(json.loads(m.key())["id"] for m in read_all(kafka, "small")) == [i for i in range(50) if i != 20]


def test_sink_kill_9_under_load_is_exactly_once(kafka, tmp_path):
    kafka.create("sunk-in", 2)
    kafka.create("sunk-out", 3)
    p = Project(tmp_path, SINK.format(name="sunk", address=kafka.address, options=""))
    rows = events(2, 1000 * len(kills(8)))
    for round_number, server_too in enumerate(kills(8)):
        p.start()
        for part in range(10):
            at = round_number * 1000 + part * 100
            send_events(kafka, "sunk-in", rows[at:at + 100])
            time.sleep(0.12)
            if server_too and part == 5:
                kafka.broker.kill()
                time.sleep(1)
                kafka.broker.start()
        p.kill()
    p.start()
    try:
        wait_for(lambda: upserted(read_all(kafka, "sunk-out")) == state_of(rows), "all is told")
    finally:
        p.stop()
    messages = read_all(kafka, "sunk-out")
    ids = [dict(m.headers())["leat-event-id"] for m in messages]
    assert len(set(ids)) == len(ids)
    last = {}
    for m in messages:  # in order by key
        key, sequence = m.key(), int(dict(m.headers())["leat-event-id"].rsplit(b"-", 1)[1])
        assert sequence > last.get(key, 0)
        last[key] = sequence
    assert upserted(messages) == state_of(rows)
    print(f"leat killed {len(kills(8))} times, the broker {sum(kills(8))}; {len(rows)} events, {len(messages)} messages, each id once")


@pytest.mark.parametrize("when", ["sending", "starting"])
def test_a_stop_does_not_wait_for_a_broker_that_says_nothing(kafka, tmp_path, when):
    name, proxy = f"stop-{when}", kafka.broker.proxy
    kafka.create(name + "-in", 2)
    kafka.create(name + "-out", 2)
    p = Project(tmp_path, SINK.format(name=name, address=proxy.address, options="").replace(proxy.address, kafka.address, 1))
    send_events(kafka, name + "-in", events(4, 1000))
    try:
        if when == "starting":
            proxy.fault = "blackhole"
        p.start()
        if when == "sending":
            wait_for(lambda: read_all(kafka, name + "-out"), "it sends")
            proxy.fault = "blackhole"
            send_events(kafka, name + "-in", events(5, 1000))
        time.sleep(2)
        p.process.terminate()
        assert p.process.wait(5) == 0
    finally:
        p.process.kill()
        proxy.fault = None
    p.once()
    assert upserted(read_all(kafka, name + "-out")) == state_of(events(4, 1000) + (events(5, 1000) if when == "sending" else []))


@pytest.mark.parametrize("fault", KINDS)
def test_a_network_that_fails(kafka, tmp_path, fault):
    """Source and sink both through a proxy that misbehaves again and again; then all is told once, and memory stayed bounded."""
    name, proxy = f"net-{fault.replace('_', '-')}", kafka.broker.proxy
    kafka.create(name + "-in", 2)
    kafka.create(name + "-out", 2)
    p = Project(tmp_path, "SET retry_backoff = INTERVAL '100' MILLISECOND;\n"
                + SINK.format(name=name, address=proxy.address, options=", retry_max = INTERVAL '1' SECOND")
                .replace("'properties.bootstrap", "'properties.socket.timeout.ms' = '2000', 'properties.bootstrap"))
    rows = events(3, 1000 * FAULTS)
    p.start()
    try:
        for at in range(0, len(rows), 1000):
            send_events(kafka, name + "-in", rows[at:at + 500])
            time.sleep(0.4)
            disturb([proxy], fault, 3 if fault in ("blackhole", "partition") else 1, lambda: send_events(kafka, name + "-in", rows[at + 500:at + 1000]))
        wait_for(lambda: upserted(read_all(kafka, name + "-out")) == state_of(rows), "it recovers")
        peak_kb = [int(line.split()[1]) for line in open(f"/proc/{p.process.pid}/status") if line.startswith("VmHWM")][0]
    finally:
        proxy.fault = None
        p.stop()
    assert peak_kb < 400 * 1024
    ids = [dict(m.headers())["leat-event-id"] for m in read_all(kafka, name + "-out")]
    assert len(set(ids)) == len(ids)
