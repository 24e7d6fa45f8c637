"""How long an event takes from the call that produces it until a reader can see it, at a steady rate: leat and Flink run the same jobs one after the
other, over topics with the same events, on the same cores, beside the same broker and the same Cassandra.

received      every event's id and time of sending: leat into a Delta table (seen when its commit stands in _delta_log), Flink into Parquet files (seen when
              they have their final names; there is no Delta connector for Flink 2, and its commit would come on top of that).
order_status  each order's newest status: an upsert a change in Cassandra. Seen when the row of order 0, read again and again, is as new as the event.
"""
import atexit
import glob
import json
import os
import signal
import subprocess
import sys
import time

import duckdb

HERE = os.path.dirname(os.path.abspath(__file__))
DEPS = os.path.join(os.path.dirname(HERE), ".deps")
FLINK = "2.2.0"
WARM_S, SECONDS = 8, 18  # Flink's JIT compiler has done its work by then; what was sent before is not measured
ORDERS, PROBES_PER_S = 1000, 500
STATUSES = [b"placed", b"paid", b"packed", b"shipped", b"delivered"]

LEAT_RECEIVED = """SET commit_interval = '50 ms';
CREATE SOURCE events (id BIGINT NOT NULL, order_id BIGINT NOT NULL, status VARCHAR, amount DECIMAL(18,2), sent_us BIGINT NOT NULL)
WITH (connector = 'kafka', topic = '{topic}', 'properties.bootstrap.servers' = '{broker}', format = 'json');
CREATE MATERIALIZED TABLE received FRESHNESS = INTERVAL '50' MILLISECOND AS SELECT id, sent_us FROM events;
"""
LEAT_STATUS = """CREATE SOURCE events (id BIGINT NOT NULL, order_id BIGINT NOT NULL, status VARCHAR, amount DECIMAL(18,2), sent_us BIGINT NOT NULL)
WITH (connector = 'kafka', topic = '{topic}', 'properties.bootstrap.servers' = '{broker}', format = 'json');
CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id)) FRESHNESS = INTERVAL '50' MILLISECOND
AS SELECT order_id, arg_max(status, id) AS status, max(sent_us) AS sent_us FROM events GROUP BY order_id;
CREATE SINK store FROM order_status WITH (connector = 'cassandra', contact_points = '127.0.0.1:{port}', keyspace = 'bench', 'table' = 'order_status');
"""
FLINK_SOURCE = """CREATE TABLE events (id BIGINT NOT NULL, order_id BIGINT NOT NULL, status STRING, amount DECIMAL(18,2), sent_us BIGINT NOT NULL, p AS PROCTIME())
WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{broker}', 'properties.group.id' = 'flink',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json')
;
"""
FLINK_RECEIVED = FLINK_SOURCE + """CREATE TABLE received (id BIGINT NOT NULL, sent_us BIGINT NOT NULL)
WITH ('connector' = 'filesystem', 'path' = 'file://{folder}/received', 'format' = 'parquet', 'parquet.compression' = 'SNAPPY')
;
INSERT INTO received SELECT id, sent_us FROM events
"""
FLINK_STATUS = FLINK_SOURCE + """SELECT order_id, status, sent_us, id
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY p DESC) AS r FROM events) WHERE r = 1
"""
FLINK_INSERT = "INSERT INTO bench.order_status (order_id, status, sent_us) VALUES (?, ?, ?) USING TIMESTAMP ?"
FLINK_OPTIONS = {"pipeline.object-reuse": "true", "state.backend.type": "hashmap", "execution.buffer-timeout.interval": "5 ms",
                 "execution.checkpointing.dir": "file://{folder}/checkpoints", "taskmanager.numberOfTaskSlots": "2"}
# On two cores the optimising compiler costs more than it gains: 14 CPU s instead of 21 for 50,000 events/s, and latencies of a ninth.
FLINK_JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseParallelGC", "-Xms512m", "-Xmx1g", "--add-opens=java.base/java.util=ALL-UNNAMED",
              "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.time=ALL-UNNAMED"]

READER = """
import sys, threading, time
from cassandra.cluster import Cluster
session = Cluster(["127.0.0.1"], port=int(sys.argv[1]), protocol_version=4).connect()
read = session.prepare("SELECT sent_us FROM bench.order_status WHERE order_id = 0")
done, last = threading.Event(), 0
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
print("ready", flush=True)
while not done.wait(0.005):
    row = session.execute(read).one()
    if row and row[0] != last:
        last = row[0]
        print(time.time_ns() // 1000, last)
"""


def missing():
    if not glob.glob(f"{DEPS}/flink/flink-runtime-*.jar"):
        return "Flink's jars are missing: scripts/bootstrap --peers gets them"
    return None


class Events:
    """What is sent, the same for every job; keeps when the probes (order 0) were, and each order's newest."""

    def __init__(self, rate):
        self.rate, self.probes, self.newest = rate, [], {}

    def lines(self):
        started, every = time.monotonic(), self.rate // PROBES_PER_S
        for i in range(self.rate * SECONDS):
            if i % (self.rate // 100) == 0:
                time.sleep(max(0.0, started + i / self.rate - time.monotonic()))
            order = 0 if i % every == 0 else 1 + i * 7919 % (ORDERS - 1)
            status, sent = STATUSES[i % 5], time.time_ns() // 1000
            if order == 0:
                self.probes.append(sent)
            self.newest[order] = (status.decode(), sent)
            yield order, b'{"id":%d,"order_id":%d,"status":"%s","amount":12.50,"sent_us":%d}' % (i, order, status, sent)

    def first_measured(self):
        return self.rate * WARM_S


class Process:
    """A job under way, its errors in a file; stop: its CPU seconds. None outlives the bench."""

    def __init__(self, command, errors, ready=None, **more):
        self.errors = errors
        with open(errors, "w") as out:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE if ready else None, stderr=out, text=True, **more)
        atexit.register(self.child.kill)
        if ready and self.child.stdout.readline().strip() != ready:
            sys.exit(f"{command[0]} did not start: {open(errors).read()[-3000:]}")

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is not None:
            sys.exit(f"{self.child.args[0]} has ended by itself: {open(self.errors).read()[-3000:]}")
        self.child.send_signal(how)
        _, status, used = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        return used.ru_utime + used.ru_stime


def start_leat(program, project, text):
    with open(project + "/project.sql", "w") as out:
        out.write(text)
    return Process([program, "run", "--project", project], project + "/errors")


def compile_flink(folder):
    subprocess.run(["javac", "-nowarn", "-cp", f"{DEPS}/flink/*", "-d", folder, f"{HERE}/flink/KafkaJob.java"], check=True)


def start_flink(classes, folder, sql, options, *cassandra):
    with open(folder + "/job.sql", "w") as out:
        out.write(sql)
    hadoop = ":".join(glob.glob(f"{DEPS}/venv/lib/python3*/site-packages/pyspark/jars/hadoop-client-*.jar"))
    command = [*FLINK_JAVA, "-cp", f"{classes}:{DEPS}/flink/*:{hadoop}", "KafkaJob", "1", folder + "/job.sql", *cassandra, "--",
               *(f"{name}={value.format(folder=folder)}" for name, value in options.items())]
    return Process(command, folder + "/errors", ready="running")


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.5)


def percentiles(latencies):
    latencies.sort()
    if not latencies:
        return None
    return latencies[len(latencies) // 2] / 1000, latencies[len(latencies) * 99 // 100] / 1000


def better(best, other):
    """Of two pairs of percentiles that of the smaller 99th; None: there is none."""
    return other if other and (not best or other[1] < best[1]) else best


# ---- received -----------------------------------------------------------------------------------------------------------------------------


def rows_in(files):
    paths = [path for several, _ in files for path in several]
    return duckdb.sql(f"SELECT count(*) FROM read_parquet({paths!r})").fetchone()[0] if paths else 0


def seen_in_files(files, first):
    """(microseconds it took, id) of all rows; files: paths and when they could be seen."""
    rows = []
    for paths, seen_us in files:
        rows += duckdb.sql(f"SELECT {seen_us} - sent_us, id FROM read_parquet({paths!r})").fetchall()
    return percentiles([us for us, i in rows if i >= first]), (len(rows), sum(i for _, i in rows))


def delta_files(folder):
    for name in sorted(os.listdir(folder + "/_delta_log")):
        path = f"{folder}/_delta_log/{name}"
        if not name.endswith(".json"):
            continue
        added = [json.loads(line)["add"] for line in open(path) if line.startswith('{"add"')]
        paths = [f"{folder}/{add['path']}" for add in added if add["dataChange"]]  # compaction adds what was there
        if paths:
            yield paths, os.stat(path).st_mtime_ns // 1000


def flink_files(folder):
    """A file has its final name from its rename on, which is the last change of its inode."""
    for path in glob.glob(folder + "/part-*"):
        yield [path], os.stat(path).st_ctime_ns // 1000


# ---- order_status -------------------------------------------------------------------------------------------------------------------------


def seen_in_rows(lines, events):
    """latencies of the probes; lines: when order 0 was read, and the time of sending it had."""
    at, latencies, first = 0, [], events.probes[0] + WARM_S * 1000000
    for line in lines:
        now, newest = map(int, line.split())
        while at < len(events.probes) and events.probes[at] <= newest:
            if events.probes[at] >= first:
                latencies.append(now - events.probes[at])
            at += 1
    return percentiles(latencies)


# ---- runs ---------------------------------------------------------------------------------------------------------------------------------


class Bench:
    """figure, problems: bench.py's."""

    def __init__(self, program, fresh, figure, problems, broker, admin):
        self.program, self.fresh, self.figure, self.problems, self.broker, self.admin = program, fresh, figure, problems, broker, admin

    def send(self, topic, rate, start):
        """Makes the topic, starts the job on it, sends."""
        from confluent_kafka import Producer
        from confluent_kafka.admin import NewTopic
        for future in self.admin.create_topics([NewTopic(topic, 4, 1)]).values():
            future.result(30)
        job, events = start(), Events(rate)
        producer = Producer({"bootstrap.servers": self.broker.address, "linger.ms": 5, "log_level": 2, "queue.buffering.max.messages": 500000})
        for order, line in events.lines():
            while True:
                try:
                    producer.produce(topic, line, key=b"%d" % order)
                    break
                except BufferError:
                    producer.poll(1)
        producer.flush(120)
        return job, events

    def report(self, job, rate, ours, theirs, how):
        for name, at in (("p50", 0), ("p99", 1)):
            peer = (f"Flink, {how}", FLINK, theirs[at]) if theirs else ("", "", None)
            self.figure(f"{job}_ms_{name}_at_{rate}", ours[at], "ms", "lower", *peer)

    def tell(self, rate, cpu, their_cpu, options):
        """What a Flink user needs to object."""
        print(f"  {rate}/s for {SECONDS} s, {WARM_S} s not measured: leat {cpu:.1f} CPU s, Flink {their_cpu:.1f} CPU s with {' '.join(FLINK_JAVA[1:5])}, parallelism 1, "
              + ", ".join(f"{name}={value}" for name, value in options.items()), flush=True)

    def result(self, name, latencies, content, expected):
        if content != expected or not latencies:
            self.problems.append(f"{name}: NOT EQUAL: {content} of {expected}")
            print("  " + self.problems[-1], flush=True)
        return latencies

    # -- received

    def received_by_leat(self, rate):
        project = self.fresh(f"latency-leat-{rate}")
        topic = f"leat-{rate}"
        job, events = self.send(topic, rate, lambda: start_leat(self.program, project, LEAT_RECEIVED.format(topic=topic, broker=self.broker.address)))
        wait_for(lambda: rows_in(delta_files(project + "/lake/received")) >= rate * SECONDS)
        return job.stop(), *seen_in_files(delta_files(project + "/lake/received"), events.first_measured())

    def received_by_flink(self, rate, classes, options):
        folder, topic = self.fresh(f"latency-flink-{rate}"), f"flink-{rate}-{options['execution.checkpointing.interval'].replace(' ', '')}"
        sql = FLINK_RECEIVED.format(topic=topic, broker=self.broker.address, folder=folder)
        job, events = self.send(topic, rate, lambda: start_flink(classes, folder, sql, options))
        wait_for(lambda: rows_in(flink_files(folder + "/received")) >= rate * SECONDS)
        return job.stop(signal.SIGKILL), *seen_in_files(flink_files(folder + "/received"), events.first_measured())

    def received(self, rate, classes):
        n = rate * SECONDS
        expected = n, n * (n - 1) // 2
        cpu, ours, content = self.received_by_leat(rate)
        self.result(f"kafka_to_delta at {rate}/s, leat", ours, content, expected)
        if classes is None:
            return self.report("kafka_to_delta", rate, ours, None, "")
        best = None
        for interval in ("50 ms", "100 ms"):
            options = dict(FLINK_OPTIONS, **{"execution.checkpointing.interval": interval})
            their_cpu, theirs, content = self.received_by_flink(rate, classes, options)
            self.result(f"kafka_to_delta at {rate}/s, Flink", theirs, content, expected)
            self.tell(rate, cpu, their_cpu, options)
            best = better(best, theirs)
        self.report("kafka_to_delta", rate, ours, best, "Parquet files by checkpoint")

    # -- order_status

    def with_reader(self, server, topic, rate, start):
        """Runs the job with Cassandra's row read beside it: (CPU seconds, latencies, content, what the content must be)."""
        session = server.connect()
        session.execute("CREATE KEYSPACE IF NOT EXISTS bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("DROP TABLE IF EXISTS bench.order_status", timeout=60)
        session.execute("CREATE TABLE bench.order_status (order_id bigint PRIMARY KEY, status text, sent_us bigint)", timeout=60)
        reader = Process([sys.executable, "-c", READER, str(server.port)], self.fresh("latency-reader") + "/errors", ready="ready", stdin=subprocess.PIPE)
        job, events = self.send(topic, rate, start)

        def content():
            return {row[0]: (row[1], row[2]) for row in session.execute("SELECT order_id, status, sent_us FROM bench.order_status", timeout=60)}
        wait_for(lambda: content() == events.newest)
        time.sleep(0.5)
        reader.child.stdin.close()
        lines = reader.child.stdout.read().splitlines()
        reader.child.wait()
        cpu, there = job.stop(signal.SIGTERM), content()
        session.cluster.shutdown()
        return cpu, seen_in_rows(lines, events), there, events.newest

    def order_status(self, rate, classes, server):
        project, topic = self.fresh(f"status-leat-{rate}"), f"status-leat-{rate}"
        text = LEAT_STATUS.format(topic=topic, broker=self.broker.address, port=server.port)
        cpu, ours, *contents = self.with_reader(server, topic, rate, lambda: start_leat(self.program, project, text))
        self.result(f"kafka_to_cassandra at {rate}/s, leat", ours, *contents)
        if classes is None:
            return self.report("kafka_to_cassandra", rate, ours, None, "")
        best = None
        for wait_ms in (50, 200):
            folder, topic = self.fresh(f"status-flink-{rate}"), f"status-flink-{rate}-{wait_ms}"
            options = dict(FLINK_OPTIONS, **{"execution.checkpointing.interval": "1 s", "table.exec.mini-batch.enabled": "true",
                                             "table.exec.mini-batch.allow-latency": f"{wait_ms} ms", "table.exec.mini-batch.size": "10000"})
            sql = FLINK_STATUS.format(topic=topic, broker=self.broker.address)
            their_cpu, theirs, *contents = self.with_reader(
                server, topic, rate, lambda: start_flink(classes, folder, sql, options, server.address, FLINK_INSERT))
            self.result(f"kafka_to_cassandra at {rate}/s, Flink", theirs, *contents)
            self.tell(rate, cpu, their_cpu, options)
            best = better(best, theirs)
        self.report("kafka_to_cassandra", rate, ours, best, "driver 4, 512 upserts on the way")
