"""Runs the benchmarks and writes build/bench.json: an array of
{name, value, unit, better, peer, peer_version, peer_value, ratio, commit}; ratio above 1: better than the peer.

Every comparison runs both sides on the same data and cores in this one run and checks that the results are equal.
Usage: bench.py --leat PROGRAM --out FILE [--events N] [--only NAME,...]
"""
import argparse
import decimal
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import duckdb

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
args = None
figures = []
problems = []


def commit():
    return subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def figure(name, value, unit, better, peer="", peer_version="", peer_value=None):
    ratio = None
    if peer_value is not None and value:
        ratio = peer_value / value if better == "lower" else value / peer_value
    figures.append(dict(name=name, value=value, unit=unit, better=better, peer=peer, peer_version=peer_version,
                        peer_value=peer_value, ratio=ratio, commit=commit()))
    against = f"  vs {peer} {peer_value:.3f}  {ratio:.2f} times better" if ratio is not None else ""
    print(f"{name} {value:.3f} {unit}{against}", flush=True)


def usage_of(pid):
    """Waits for a child: (cpu seconds, peak MB, exit code)."""
    _, status, used = os.wait4(pid, 0)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def run(command, **more):
    started = time.monotonic()
    child = subprocess.Popen(command, **more)
    cpu, peak, code = usage_of(child.pid)
    child.returncode = code
    if code:
        sys.exit(f"{' '.join(command)}: exit code {code}")
    return dict(cpu=cpu, peak=peak, wall=time.monotonic() - started)


def leat(*arguments, **more):
    return run([args.leat, *arguments], **more)


def fresh(*names):
    path = os.path.join(args.work, *names)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def generate(events, rate):
    path = os.path.join(args.work, f"data-{events}-{rate}")
    if not os.path.exists(os.path.join(path, "planted.json")):
        leat("generate", "--out", path, "--seed", "7", "--events", str(events), "--rate", str(rate), "--late", "0",
             "--duplicates", "30", "--malformed", "0")
    return path


def stream_project(name, data):
    path = fresh(name)
    os.makedirs(path + "/in")
    shutil.copy(HERE + "/projects/stream/project.sql", path)
    shutil.copy(data + "/products.csv", path + "/in/products.csv")
    return path


def feed_lines(source, target, per_second, seconds):
    """Appends lines at a steady rate, 20 times a second."""
    with open(source, "rb") as lines, open(target, "ab", buffering=0) as out:
        started = time.monotonic()
        per_tick = max(1, per_second // 20)
        ticks = 20 * seconds if per_second >= 20 else per_second * seconds
        for tick in range(int(ticks)):
            chunk = b"".join(line for _, line in zip(range(per_tick), lines))
            if not chunk:
                break
            out.write(chunk)
            due = started + (tick + 1) * per_tick / per_second
            time.sleep(max(0.0, due - time.monotonic()))


CONTENT = "SELECT count(*) AS n, sum(hash(t)::HUGEINT) AS h FROM {} t"


def content_of(project, table):
    return subprocess.run([args.leat, "sql", "--project", project, "--format", "csv", CONTENT.format(table)],
                          capture_output=True, text=True, check=True).stdout.splitlines()[1]


def check_equal(project, tables, out):
    """Rows and their hashes, of leat's tables and the peer's Parquet files."""
    for table in tables:
        ours, theirs = content_of(project, table), ",".join(map(str, duckdb.sql(CONTENT.format(f"'{out}/{table}.parquet'")).fetchone()))
        if ours != theirs:
            problems.append(f"{table}: NOT EQUAL: leat {ours}, DuckDB {theirs} (rows, sum of hashes)")
            print("  " + problems[-1], flush=True)


def stream_over_batch():
    data = generate(args.events, 50000)
    project = stream_project("stream", data)
    target = project + "/in/order_events.ndjson"
    open(target, "w").close()
    with open(project + "/status.json", "w") as status:
        child = subprocess.Popen([args.leat, "run", "--json", "--project", project], stdout=status)
    time.sleep(1)
    feed_lines(data + "/order_events.ndjson", target, 50000, args.events // 50000 + 10)
    wait_until_quiet(child.pid)
    child.send_signal(signal.SIGTERM)
    cpu, peak, code = usage_of(child.pid)
    child.returncode = code
    if code:
        sys.exit(f"leat run: exit code {code}")
    phases = json.load(open(project + "/status.json"))["phase_cpu_us"]
    out = fresh("batch")
    batch = run([sys.executable, HERE + "/peer_batch.py", data + "/order_events.ndjson", data + "/products.csv", out])
    check_equal(project, ("silver_orders", "revenue_by_minute", "order_status"), out)
    print(f"  leat: {cpu:.2f} CPU s, peak {peak:.0f} MB; of it " + ", ".join(f"{name} {us / 1e6:.2f}" for name, us in phases.items() if us))
    print(f"  DuckDB: {batch['cpu']:.2f} CPU s, {batch['wall']:.1f} s, peak {batch['peak']:.0f} MB; threads=1, insertion order not kept, "
          "one pass over tables in memory, the same Parquet (zstd level 1, delta encodings, dictionaries up to 4096)")
    figure("stream_over_batch_cpu", cpu / batch["cpu"], "ratio", "lower", "DuckDB batch, one thread", duckdb.__version__, 1.0)


def stream_cpu_percent():
    data = generate(args.events, 50000)
    for rate in (10, 100, 1000, 10000):
        project = stream_project(f"rate-{rate}", data)
        target = project + "/in/order_events.ndjson"
        open(target, "w").close()
        child = subprocess.Popen([args.leat, "run", "--project", project])
        time.sleep(1)
        before = cpu_of(child.pid)
        started = time.monotonic()
        feed_lines(data + "/order_events.ndjson", target, rate, 20)
        percent = 100 * (cpu_of(child.pid) - before) / (time.monotonic() - started)
        child.send_signal(signal.SIGTERM)
        child.wait()
        figure(f"stream_cpu_percent_at_{rate}", percent, "% of a core", "lower")


def cpu_of(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet(pid):
    """Until it has worked off what it was fed: no CPU time for three seconds."""
    before, since = cpu_of(pid), time.monotonic()
    while time.monotonic() - since < 3:
        time.sleep(0.5)
        now = cpu_of(pid)
        if now - before > 0.05:
            before, since = now, time.monotonic()


def rss_mb_of(pid):
    return int(open(f"/proc/{pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def idle():
    data = generate(20000, 50000)
    project = stream_project("idle", data)
    shutil.copy(data + "/order_events.ndjson", project + "/in/")
    leat("run", "--once", "--project", project)
    child = subprocess.Popen([args.leat, "run", "--project", project])
    time.sleep(5)
    before, started = cpu_of(child.pid), time.monotonic()
    time.sleep(args.idle_s)
    percent = 100 * (cpu_of(child.pid) - before) / (time.monotonic() - started)
    rss = rss_mb_of(child.pid)
    child.send_signal(signal.SIGTERM)
    child.wait()
    figure("idle_cpu_percent", percent, "% of a core", "lower")
    figure("idle_rss_mb", rss, "MB", "lower")


def aggregate_per_core():
    data = generate(args.events, 50000)
    events = data + "/order_events.ndjson"
    program = os.path.join(os.path.dirname(args.leat), "step_bench")
    script = (
        "import duckdb,resource,sys\n"
        "db=duckdb.connect();db.execute('SET threads=1; SET enable_progress_bar=false');\n"
        f"db.execute(\"CREATE TABLE products AS FROM read_csv('{data}/products.csv')\")\n"
        "before=resource.getrusage(resource.RUSAGE_SELF)\n"
        "r=db.execute(\"\"\"SELECT count(*), sum(orders), sum(revenue) FROM (SELECT time_bucket(INTERVAL '1 minute', event_time) AS w, category,"
        " count(*) AS orders, sum(amount) AS revenue FROM (SELECT DISTINCT ON (event_id) * FROM read_json('" + events + "', format='newline_delimited',"
        " ignore_errors=true, columns={event_id:'VARCHAR',product_id:'INTEGER',amount:'DECIMAL(18,2)',event_time:'TIMESTAMP'}) WHERE amount >= 0)"
        " JOIN products USING (product_id) GROUP BY ALL)\"\"\").fetchone()\n"
        "after=resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(after.ru_utime+after.ru_stime-before.ru_utime-before.ru_stime, r[0], r[1], r[2])\n")
    ours, theirs = [], []
    for _ in range(5):
        mine = subprocess.run([program, HERE + "/projects/aggregate", events, data + "/products.csv", "revenue_by_minute"],
                              capture_output=True, text=True, check=True).stdout.split()
        peer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
        if mine[2:4] != peer[1:3] or int(mine[4]) != round(decimal.Decimal(peer[3]) * 100):
            sys.exit(f"json_to_aggregate_per_core: groups, orders or revenue differ: leat {mine}, DuckDB {peer}")
        ours.append(float(mine[1]))
        theirs.append(float(peer[0]))
    ours.sort()
    theirs.sort()
    count, keys, state = (int(mine[i]) for i in (0, 5, 6))
    print(f"  leat {ours[2]:.2f} CPU s, DuckDB {theirs[2]:.2f} CPU s, medians of 5; de-duplication keeps {state / keys:.1f} bytes a key")
    figure("json_to_aggregate_per_core", count / ours[2], "events/CPU s", "higher", "DuckDB read_json, one thread",
           duckdb.__version__, count / theirs[2])


def nightly():
    retail = os.path.join(ROOT, "..", "shared", "data", "online-retail")
    if not os.path.isdir(retail):
        print("nightly_over_duckdb_cpu skipped: the Online Retail data is not on this machine")
        return
    lines = os.path.join(os.path.realpath(retail), "*.csv.gz")
    subprocess.run([ROOT + "/examples/retail/demo", args.leat, os.path.join(args.work, "retail")], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    products = os.path.join(args.work, "retail", "nightly", "products.csv")
    environment = dict(os.environ, RETAIL_LINES=lines, RETAIL_PRODUCTS=products)
    ours, theirs = [], []
    for _ in range(5):
        project = fresh("nightly")
        shutil.copy(ROOT + "/examples/retail/project.sql", project)
        ours.append(leat("run", "--once", "--all", "--final", "--project", project, env=environment)["cpu"])
        theirs.append(run([sys.executable, HERE + "/peer_retail.py", lines, products, fresh("nightly-peer")])["cpu"])
    ours.sort()
    theirs.sort()
    print(f"  leat {ours[2]:.2f} CPU s, DuckDB {theirs[2]:.2f} CPU s, medians of 5")
    figure("nightly_over_duckdb_cpu", ours[2] / theirs[2], "ratio", "lower", "DuckDB script", duckdb.__version__, 1.0)


def restart():
    program = os.path.join(os.path.dirname(args.leat), "restart_bench")
    seconds = subprocess.run([program, fresh("restart"), "10000000"], capture_output=True, text=True, check=True).stdout.split()
    figure("restart_to_fresh_s", float(seconds[0]), "s", "lower")


def many_steps():
    program = os.path.join(os.path.dirname(args.leat), "many_steps_bench")
    result = subprocess.run([program, fresh("steps")], capture_output=True, text=True, check=True).stdout.split()
    figure("many_steps_scan", float(result[0]), "times a compacted table", "lower")


class Served:
    """leat run over HTTP, on a fresh project."""

    def __init__(self, name, project):
        self.dir = fresh(name)
        shutil.copy(HERE + f"/projects/{project}/project.sql", self.dir)
        self.child = subprocess.Popen([args.leat, "run", "--listen", "127.0.0.1:0", "--project", self.dir], stderr=subprocess.PIPE, text=True)
        self.port = int(self.child.stderr.readline().rsplit(":", 1)[1])
        self.pid = self.child.pid

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def http_load(*arguments, background=False):
    command = [os.path.join(os.path.dirname(args.leat), "http_bench"), *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return child if background else http_result(child)


def http_result(child):
    out = child.communicate()[0].split()
    if child.returncode:
        sys.exit("http_bench failed")
    names = ("requests", "refused", "seconds", "p50", "p99", "largest", "cpu")
    result = dict(zip(names, map(float, out)))
    if result["refused"]:
        problems.append(f"{result['refused']:.0f} requests were not answered by 200")
        print("  " + problems[-1], flush=True)
    return result


def cpu_seconds(pid, work):
    before = cpu_of(pid)
    result = work()
    return cpu_of(pid) - before, result


def http_post_to_readable():
    server = Served("readable", "http")
    load = http_load("post", server.port, "/v1/sources/events", 17, 100, 16, 100, 250, background=True)  # 10,000 events/s
    time.sleep(1)
    seen = http_load("probe", server.port, "events", "cards", 15, 100)
    http_result(load)
    server.stop()
    print(f"  {seen['requests']:.0f} rows posted and read back beside 10,000 events/s; at freshness 100 ms; largest {seen['largest']:.0f} ms")
    figure("post_to_readable_ms_p50", seen["p50"], "ms", "lower")
    figure("post_to_readable_ms_p99", seen["p99"], "ms", "lower")


def http_verdict():
    server = Served("verdict", "http")
    result = http_load("post", server.port, "/v1/sources/events?wait=cards", 10, 5000, 64, 1, 250)
    server.stop()
    print(f"  {result['requests'] / result['seconds']:.0f} verdicts/s, median {result['p50']:.1f} ms, largest {result['largest']:.0f} ms")
    figure("fraud_verdict_ms_p99", result["p99"], "ms", "lower")


def http_acked():
    server = Served("acked", "http_ingest")
    result = http_load("post", server.port, "/v1/sources/events", 15, 500, 32, 100, 1000)  # 50,000 events of 1 KB a second
    server.stop()
    print(f"  {result['requests'] * 100 / result['seconds']:.0f} events/s, median {result['p50']:.1f} ms, largest {result['largest']:.0f} ms")
    figure("acked_50k_x_1kb_p99_ms", result["p99"], "ms", "lower")


def version_of(*command):
    out = subprocess.run(command, capture_output=True, text=True)
    return (out.stdout + out.stderr).split("\n")[0]


def nginx(config):
    """One worker that reads bodies and answers 200: (process of the worker, port)."""
    path, port = fresh("nginx"), free_port()
    with open(path + "/nginx.conf", "w") as out:
        out.write(config.format(path=path, port=port))
    master = subprocess.Popen(["nginx", "-p", path, "-c", path + "/nginx.conf", "-e", path + "/error.log"])
    time.sleep(1)
    worker = subprocess.run(["pgrep", "-P", str(master.pid)], capture_output=True, text=True).stdout.split()
    return master, int(worker[0]), port


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


NGINX = """daemon off; worker_processes 1; pid {path}/pid; error_log {path}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_max_body_size 64m; client_body_buffer_size 1m; client_body_temp_path {path}; keepalive_requests 100000000;
  proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path}; scgi_temp_path {path};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }} }}
"""


def http_ingest():
    if not shutil.which("nginx"):
        print("http_ingest skipped: nginx is not here (scripts/bootstrap --peers)")
        return
    server = Served("ingest", "http_ingest")
    cpu, ours = cpu_seconds(server.pid, lambda: http_load("post", server.port, "/v1/sources/events", 6, 0, 8, 100, 1000))
    server.stop()
    master, worker, port = nginx(NGINX)
    peer_cpu, theirs = cpu_seconds(worker, lambda: http_load("post", port, "/", 4, 0, 8, 100, 1000))
    master.terminate()
    master.wait()
    print(f"  leat {ours['requests'] * 100 / ours['seconds']:.0f} events/s: received, decoded, synced, stepped, archived; nginx {theirs['requests'] * 100 / theirs['seconds']:.0f} "
          "events/s: bodies read and thrown away")
    figure("http_ingest_events_per_cpu_s", ours["requests"] * 100 / cpu, "events/CPU s", "higher", "nginx, bodies to nowhere", version_of("nginx", "-v"),
           theirs["requests"] * 100 / peer_cpu)


def http_point_reads():
    if not shutil.which("redis-server"):
        print("point_reads skipped: redis is not here (scripts/bootstrap --peers)")
        return
    keys, server = 10000, Served("reads", "http")
    http_load("post", server.port, "/v1/sources/events", 2, 100, 8, 100, 250)
    load = http_load("post", server.port, "/v1/sources/events", 8, 10, 4, 100, 250, background=True)  # 1,000 events/s beside
    before = cpu_of(server.pid)
    alone = http_load("get", server.port, "/v1/tables/cards/rows/c-", 6, 0, 32, keys)
    cpu = cpu_of(server.pid) - before
    http_result(load)
    server.stop()
    port, path = free_port(), fresh("redis")
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", path], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    tool = ["redis-benchmark", "-p", str(port), "-c", "32", "-q", "-r", str(keys)]
    row = '{"card":"c-1234","n":100,"total":25050.00,"last":"2026-01-31T12:00:00"}'
    subprocess.run([*tool, "-n", str(10 * keys), "SET", "c-__rand_int__", row], stdout=subprocess.DEVNULL, check=True)
    reads = 400000
    peer_cpu, _ = cpu_seconds(redis.pid, lambda: subprocess.run([*tool, "-n", str(reads), "GET", "c-__rand_int__"], stdout=subprocess.DEVNULL, check=True))
    redis.terminate()
    redis.wait()
    print(f"  leat {alone['requests'] / alone['seconds']:.0f} reads/s, p99 {alone['p99']:.1f} ms; HTTP's request and answer are 60 and 200 bytes, RESP's 30 and 80, "
          "and leat makes the JSON for each answer")
    figure("point_reads_per_cpu_s", alone["requests"] / cpu, "reads/CPU s", "higher", "Redis GET over RESP", version_of("redis-server", "--version").split(" sha")[0], reads / peer_cpu)


def http_slow_clients():
    server = Served("slow", "http")
    http_load("post", server.port, "/v1/sources/events", 1, 100, 8, 100, 250)
    before = http_load("get", server.port, "/v1/tables/cards/rows/c-", 4, 2000, 16, 10000)
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    for s in held:
        s.sendall(b"POST /v1/sources/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    beside = http_load("get", server.port, "/v1/tables/cards/rows/c-", 4, 2000, 16, 10000)
    for s in held:
        s.close()
    server.stop()
    print(f"  p99 of 2,000 reads/s: {before['p99']:.2f} ms, with 1,000 slow clients {beside['p99']:.2f} ms")
    figure("slow_clients_p99_ratio", beside["p99"] / before["p99"], "ratio", "lower")


def cost_of_freshness():
    """leat's own prediction from recorded input, and DuckDB recomputing what the day has brought so far, half of it on average, each time."""
    data = generate(60000, 50)
    project = stream_project("cost", data)
    shutil.copy(data + "/order_events.ndjson", project + "/in/order_events.ndjson")
    leat("run", "--once", "--project", project)
    out = subprocess.run([args.leat, "cost", "--json", "--sample", "60", "--project", project, "--svg", os.path.join(args.work, "cost.svg")],
                         capture_output=True, text=True, check=True).stdout
    cost = json.loads(out)
    batch = run([sys.executable, HERE + "/peer_batch.py", data + "/order_events.ndjson", data + "/products.csv", fresh("cost-batch")])
    start = run([sys.executable, "-c", "import duckdb"])
    per_record = max(batch["cpu"] - start["cpu"], 0) / 60000
    for point in cost["points"]:
        us = point["freshness_us"]
        name = {86400000000: "24h", 3600000000: "1h", 300000000: "5min", 60000000: "1min", 10000000: "10s", 1000000: "1s", 100000: "100ms"}[us]
        runs = 86400e6 / us
        peer = runs * (start["cpu"] + per_record * cost["records_a_day"] * (1 if runs == 1 else 0.5))
        figure(f"cost_at_{name}", point["cpu_s"], "CPU s/day", "lower", "DuckDB recompute", duckdb.__version__, peer)


KAFKA_PROJECT = """CREATE SOURCE order_events (
  event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER, quantity INTEGER,
  amount DECIMAL(18,2), status VARCHAR, event_time TIMESTAMP NOT NULL)
WITH (connector = 'kafka', topic = 'orders', 'properties.bootstrap.servers' = '%s', format = 'json');
CREATE MATERIALIZED TABLE by_status FRESHNESS = INTERVAL '1' SECOND
AS SELECT status, count(*) AS orders, sum(amount) AS revenue, max(event_time) AS latest FROM order_events GROUP BY status;
"""


def kafka_load(broker, admin, NewTopic, Producer, topic, lines):
    for future in admin.create_topics([NewTopic(topic, 4, 1)]).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 5, "log_level": 2, "queue.buffering.max.messages": 500000})
    for line in lines:
        while True:
            try:
                producer.produce(topic, line)
                break
            except BufferError:
                producer.poll(1)
    producer.flush(120)


def kafka_throughput(broker, admin, NewTopic, Producer):
    events = args.events
    data = generate(events, 50000) + "/order_events.ndjson"
    with open(data, "rb") as lines:
        kafka_load(broker, admin, NewTopic, Producer, "orders", (line.rstrip(b"\n") for line in lines))
    expected = duckdb.sql(f"""SELECT status, count(*) AS orders, sum(amount) AS revenue FROM read_json('{data}', format='newline_delimited',
        columns={{status:'VARCHAR', amount:'DECIMAL(18,2)'}}) GROUP BY ALL ORDER BY 1""").fetchall()
    counter = [os.path.join(os.path.dirname(args.leat), "kafka_count_bench"), broker.address, "orders"]
    ours, theirs = [], []
    subprocess.run(counter, capture_output=True, check=True)  # the broker's code is compiled, the topic in memory
    for _ in range(5):
        project = fresh("kafka")
        with open(project + "/project.sql", "w") as out:
            out.write(KAFKA_PROJECT % broker.address)
        ours.append(leat("run", "--once", "--project", project)["cpu"])
        got = subprocess.run([args.leat, "sql", "--project", project, "--format", "csv", "SELECT status, orders, revenue FROM by_status ORDER BY 1"],
                             capture_output=True, text=True, check=True).stdout.splitlines()[1:]
        if got != [",".join(map(str, row)) for row in expected]:
            problems.append(f"kafka_to_table: NOT EQUAL: leat {got}, DuckDB {expected}")
        count, _, cpu = subprocess.run(counter, capture_output=True, text=True, check=True).stdout.split()
        if int(count) != events:
            problems.append(f"kafka_count_bench counted {count} of {events}")
        theirs.append(float(cpu))
    ratios = sorted(their / our for our, their in zip(ours, theirs))  # of each turn: what slows the machine slows both
    for name, took in (("leat", ours), ("counting alone", theirs)):
        print(f"  {name}: {' '.join(f'{cpu:.2f}' for cpu in took)} CPU s, in turns, for {events} events of {os.path.getsize(data) / events:.0f} bytes")
    print(f"  leat's events per CPU second are {ratios[2]:.2f} of the counter's, the median of turns from {ratios[0]:.2f} to {ratios[4]:.2f}")
    figure("kafka_to_table_events_per_cpu_s", events / sorted(ours)[2], "events/CPU s", "higher", "librdkafka, counting only", "the same library",
           events / sorted(theirs)[2])


def kafka_broker():
    """(a broker, its administrator), or None: why is told."""
    sys.path.insert(0, ROOT + "/tests/peers")
    try:
        from confluent_kafka.admin import AdminClient
        from kafka_broker import JARS, Broker
    except ImportError:
        JARS = None
    if not JARS or not JARS.is_dir():
        print("the Kafka figures are skipped: Kafka's jars or its Python client are missing; scripts/bootstrap --peers gets them")
        return None
    broker = Broker()
    return broker, AdminClient({"bootstrap.servers": broker.address, "log_level": 2})


def kafka():
    """Events of a topic into bronze and a table, beside a consumer that only counts them (librdkafka's threads and leat's: all of their CPU time)."""
    there = kafka_broker()
    if not there:
        return
    from confluent_kafka import Producer
    from confluent_kafka.admin import NewTopic
    broker, admin = there
    try:
        kafka_throughput(broker, admin, NewTopic, Producer)
    finally:
        broker.remove()


def flink():
    """How long an event takes from Kafka into a Delta table and into Cassandra, beside the same job in Flink (kafka_latency.py)."""
    import kafka_latency as latency
    there = kafka_broker()
    if not there:
        return
    import cassandra_server
    broker, admin = there
    try:
        classes = None
        if latency.missing():
            print(f"  Flink is skipped: {latency.missing()}")
        else:
            latency.compile_flink(classes := fresh("flink"))
        bench = latency.Bench(args.leat, fresh, figure, problems, broker, admin)
        for rate in (10000, 50000):
            bench.received(rate, classes)
        if cassandra_server.missing():
            print(f"  Cassandra is skipped: {cassandra_server.missing()}")
            return
        server = cassandra_server.Cassandra(commitlog="periodic")
        try:
            for rate in (10000, 50000):
                bench.order_status(rate, classes, server)
        finally:
            server.stop()
    finally:
        broker.remove()


def python_upserts(server, n, processes):
    """Rows a second of the Python driver: prepared, 256 requests on the way in each process."""
    script = """
import sys, time
from cassandra.cluster import Cluster, ExecutionProfile, EXEC_PROFILE_DEFAULT
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import RoundRobinPolicy
from cassandra import ConsistencyLevel
port, start, end = map(int, sys.argv[1:])
profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), consistency_level=ConsistencyLevel.LOCAL_QUORUM, request_timeout=60)
session = Cluster(["127.0.0.1"], port=port, protocol_version=4, execution_profiles={EXEC_PROFILE_DEFAULT: profile}).connect()
insert = session.prepare("INSERT INTO cql_test.upserts (id, status, updated_at) VALUES (?, ?, ?) USING TIMESTAMP ?")
insert.consistency_level = ConsistencyLevel.LOCAL_QUORUM
print("ready", flush=True)
sys.stdin.readline()
execute_concurrent_with_args(session, insert, ((i, "shipped" if i % 2 else "delivered", 1700000000000 + i, i + 1) for i in range(start, end)),
                             concurrency=256, results_generator=False)
print("done", flush=True)
"""
    share = n // processes
    children = [subprocess.Popen([sys.executable, "-c", script, str(server.port), str(i * share), str((i + 1) * share)], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for i in range(processes)]
    for child in children:
        child.stdout.readline()
    started = time.monotonic()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        if child.stdout.readline() != "done\n":
            sys.exit("the Python driver failed")
    seconds = time.monotonic() - started
    for child in children:
        child.kill()
        child.wait()
    return n / seconds


def cassandra():
    """Upserts confirmed a second by one Cassandra on the same cores: leat's client and the Python driver, each row by a prepared statement."""
    sys.path.insert(0, os.path.join(ROOT, "tests/peers"))
    import cassandra_server
    if cassandra_server.missing():
        print(f"  skipped: {cassandra_server.missing()}")
        return
    import cassandra as driver
    server = cassandra_server.Cassandra(commitlog="periodic")
    peer = os.path.join(os.path.dirname(args.leat), "cql_peer")

    def cql(*arguments):
        return subprocess.run([peer, server.address, *arguments], capture_output=True, text=True, check=True).stdout.split()
    try:
        cql("run", "CREATE KEYSPACE cql_test WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        cql("run", "CREATE TABLE cql_test.upserts (id bigint PRIMARY KEY, status text, updated_at timestamp)")
        n, ours, theirs = 100000, [], {1: [], 2: []}
        cql("upserts", str(n))  # the server warms up
        for _ in range(3):
            ours.append(n / float(cql("upserts", str(n))[0]))
            for processes in theirs:
                theirs[processes].append(python_upserts(server, n, processes))
        session = server.connect()
        if session.execute("SELECT count(*) FROM cql_test.upserts", timeout=120).one()[0] != n:
            problems.append("cassandra: rows are missing")
        session.cluster.shutdown()
    finally:
        server.stop()
    medians = {processes: sorted(rates)[1] for processes, rates in theirs.items()}
    print(f"  the Python driver in 1 process {medians[1]:.0f}, in 2 {medians[2]:.0f} rows/s; medians of 3")
    figure("cassandra_upserts_per_s", sorted(ours)[1], "rows/s", "higher", "Python driver", driver.__version__, max(medians.values()))


def postgres():
    """A table of a PostgreSQL database to a reference (decoded, compared, kept in the lake), beside psql's \\copy to a file."""
    sys.path.insert(0, os.path.join(ROOT, "tests/peers"))
    import servers
    rows, folder = 1000000, fresh("postgres")
    try:
        server = servers.Postgres(os.path.join(folder, "server"))
    except servers.Missing as missing:
        print(f"  skipped, not installed: {missing}")
        return
    with server:
        server.sql("CREATE TABLE orders AS SELECT i::bigint AS id, (i % 1000)::integer AS customer_id, (i * 7 % 100000 / 100.0)::numeric(18,2) AS amount, "
                   "'status ' || i % 5 AS status, timestamp '2026-01-01' + i * interval '1 second' AS event_time, md5(i::text) AS token "
                   f"FROM generate_series(1, {rows}) i")
        ours, theirs = [], []
        for i in range(3):
            project = fresh(f"postgres/{i}")
            with open(f"{project}/project.sql", "w") as out:
                out.write("CREATE SOURCE orders (id BIGINT, customer_id INTEGER, amount DECIMAL(18,2), status VARCHAR, event_time TIMESTAMP, token VARCHAR) "
                          f"WITH (connector = 'postgres', dsn = '{server.conninfo}', 'table' = 'orders');\n")
            ours.append(leat("run", "--once", cwd=project)["wall"])
            theirs.append(run([str(server.bin / "psql"), "-X", "-q", server.conninfo, "-c", f"\\copy orders TO '{project}/orders.csv' CSV"])["wall"])
        kept = duckdb.sql(f"SELECT count(*), sum(amount), max(event_time) FROM '{project}/lake/orders__history/*.parquet'").fetchall()
        there = duckdb.sql(f"SELECT count(*), sum(column2::DECIMAL(18,2)), max(column4) FROM read_csv('{project}/orders.csv', header = false)").fetchall()
        if kept != there:
            problems.append(f"postgres: leat has {kept}, psql {there}")
    figure("postgres_snapshot_rows_per_s", rows / sorted(ours)[1], "rows/s", "higher", "psql copy", "PostgreSQL", rows / sorted(theirs)[1])


class Freshness(threading.Thread):
    """Appends lines of new orders at a rate and hears of each by Server-Sent Events: how long each took, in milliseconds."""

    def __init__(self, port, target, per_second):
        super().__init__(daemon=True)
        self.target, self.per_second, self.sent, self.took_ms, self.stop = target, per_second, {}, [], False
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.stream.sendall(b"GET /v1/tables/order_status/changes HTTP/1.0\r\nHost: localhost\r\n\r\n")
        threading.Thread(target=self.listen, daemon=True).start()

    def run(self):
        first = order = time.time_ns() // 1000
        started = time.monotonic()
        with open(self.target, "ab", buffering=0) as out:
            while not self.stop:
                lines = []
                for _ in range(self.per_second // 20):
                    order += 1
                    lines.append(f'{{"event_id":"n{order}","order_id":{order},"customer_id":1,"product_id":1,"quantity":1,"amount":5,"status":"paid",'
                                 f'"event_time":"2026-02-01T00:00:00"}}\n')
                    self.sent[order] = time.monotonic()
                out.write("".join(lines).encode())
                time.sleep(max(0, started + (order - first) / self.per_second - time.monotonic()))

    def listen(self):
        for line in self.stream.makefile("rb"):
            if line.startswith(b'data: {"order_id":'):
                begun = self.sent.get(int(line[18:line.index(b",")]))
                if begun:
                    self.took_ms.append(((time.monotonic() - begun) * 1000, begun))


def nightly_beside():
    rows = args.nightly_rows
    data = generate(rows, 50000)
    project = fresh("nightly_beside")
    os.makedirs(project + "/in")
    shutil.copy(HERE + "/projects/nightly_beside/project.sql", project)
    shutil.copy(data + "/products.csv", project + "/in/products.csv")
    os.link(data + "/order_events.ndjson", project + "/in/order_events-0.ndjson")
    leat("run", "--once", "--project", project)
    shutil.copy(HERE + "/projects/nightly_beside/nightly.sql", project)
    child = subprocess.Popen([args.leat, "run", "--listen", "127.0.0.1:0", "--project", project], stderr=subprocess.PIPE, text=True)
    for line in child.stderr:
        if "listens at" in line:
            break
    port = int(line.rsplit(":", 1)[1].split()[0])
    threading.Thread(target=child.stderr.read, daemon=True).start()
    freshness = Freshness(port, project + "/in/order_events-1.ndjson", 1000)
    freshness.start()
    time.sleep(args.nightly_s)
    freshness.stop = True
    time.sleep(3)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status") as answer:
        runs = [run for run in json.load(answer)["history"] if run["table"] == "silver_orders"]
    child.send_signal(signal.SIGTERM)
    cpu, peak, _ = usage_of(child.pid)
    child.returncode = 0
    took = sorted(ms for ms, _ in freshness.took_ms)
    missing = len(freshness.sent) - len(took)
    if missing:
        problems.append(f"nightly_beside: {missing} orders never came")
    within = sum(ms <= 1000 for ms in took) / max(1, len(freshness.sent))
    print(f"  {rows} rows, {len(runs)} runs of silver_orders of {', '.join('%.0f s' % ((r['end'] - r['start']) / 1e6) for r in runs)}; 1,000 events/s beside them; "
          f"peak {peak:.0f} MB; order_status: median {took[len(took) // 2]:.0f} ms, largest {took[-1]:.0f} ms")
    figure("nightly_beside_attained_percent", 100 * within, "% within 1 s", "higher")
    figure("nightly_beside_fresh_ms_p99", took[len(took) * 99 // 100], "ms", "lower")


BENCHES = dict(stream=stream_over_batch, aggregate=aggregate_per_core, nightly=nightly, restart=restart, steps=many_steps,
               rates=stream_cpu_percent, idle=idle, cost=cost_of_freshness, kafka=kafka, flink=flink,
               readable=http_post_to_readable, verdict=http_verdict, acked=http_acked, ingest=http_ingest, reads=http_point_reads, slow=http_slow_clients)
BENCHES.update(cassandra=cassandra, postgres=postgres, nightly_beside=nightly_beside)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--leat", required=True)
    parser.add_argument("--out", default="build/bench.json")
    parser.add_argument("--work", default="build/bench")
    parser.add_argument("--events", type=int, default=5000000)
    parser.add_argument("--nightly-rows", type=int, default=20000000)
    parser.add_argument("--nightly-s", type=int, default=90)
    parser.add_argument("--idle-s", type=int, default=60)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    args.leat = os.path.abspath(args.leat)
    args.work = os.path.abspath(args.work)
    os.makedirs(args.work, exist_ok=True)
    for name, bench in BENCHES.items():
        if not args.only or name in args.only.split(","):
            bench()
    with open(args.out, "w") as out:
        json.dump(figures, out, indent=1)
    if problems:
        sys.exit("\n".join(problems))
