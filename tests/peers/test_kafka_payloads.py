"""Recorded payloads of Kafka topics (Debezium, Canal, Maxwell, upsert, Avro with and without a registry, CSV, bytes): each is decoded, or a dead
letter with the right reason. What is expected is computed here from the files, by Python alone."""
import io
import json
import pathlib

import pytest

pytest.importorskip("confluent_kafka")
fastavro = pytest.importorskip("fastavro")

from kafka_broker import broker  # noqa: F401 (a fixture)
from schema_registry import Registry
from test_kafka import Kafka, Project, wait_for

FOLDER = pathlib.Path(__file__).resolve().parents[3] / "shared/data/kafka-payloads"
if not FOLDER.is_dir():
    pytest.skip("the recorded payloads (../shared/data/kafka-payloads) are not here", allow_module_level=True)


def lines(name):
    return (FOLDER / name).read_text().splitlines()


def plain(name):
    return [(None, line.encode()) for line in lines(name)]


def keyed(name, skip=0):
    pairs = [line.split("^", 1) for line in lines(name)[skip:]]
    return [(key.encode(), value.encode() if value else None) for key, value in pairs]


def frame(number, data):
    return b"\0" + number.to_bytes(4, "big") + data


def avro(registry, name):
    """The first line has the schemas of key and value, the others the records, in Avro's JSON encoding."""
    schemas = [json.loads(text) for text in lines(name)[0].split("^")]
    numbers = [registry.add(json.dumps(schema)) for schema in schemas]

    def encode(text, schema, number):
        if not text:
            return None
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema), next(fastavro.json_reader(io.StringIO(text), fastavro.parse_schema(schema))))
        return frame(number, out.getvalue())

    pairs = [line.split("^", 1) for line in lines(name)[1:]]
    return [(encode(k, schemas[0], numbers[0]), encode(v, schemas[1], numbers[1])) for k, v in pairs]


def json_schema(registry, name):
    numbers = [registry.add(text) for text in lines(name)[0].split("^")]
    pairs = [line.split("^", 1) if "^" in line else [None, line] for line in lines(name)[1:]]
    return [(frame(numbers[0], k.encode()) if k else None, frame(numbers[-1], v.encode()) if v else None) for k, v in pairs]


def whole(name):
    return [(None, (FOLDER / name).read_bytes())]


def container(name):
    """The record of an object container file; by hand, for fastavro does not take a logical type around a type in braces."""
    data = (FOLDER / name).read_bytes()
    at = data.index(b"avro.schema") + len(b"avro.schema")
    at = data.index(b"{", at)
    schema, end = json.JSONDecoder().raw_decode(data[at:].decode("latin-1"))
    for field in schema["fields"]:
        if isinstance(field["type"], dict) and isinstance(field["type"]["type"], dict):
            field["type"] = field["type"]["type"]
    rest = io.BytesIO(data[at + end:])
    assert rest.read(1) == b"\0"  # the end of the header's map
    rest.read(16)
    assert fastavro.schemaless_reader(rest, "long") == 1
    fastavro.schemaless_reader(rest, "long")
    return fastavro.schemaless_reader(rest, fastavro.parse_schema(schema))


def rows_of(name):
    return [json.loads(line) for line in lines(name)]


def pick(rows, *columns):
    return [tuple(row.get(c) for c in columns) for row in rows]


def fold(events, key):
    """(key, row or None) in order, to the rows that are there in the end."""
    now = {}
    for k, row in events:
        now.pop(k, None)
        if row is not None:
            now[k] = row
    return list(now.values())


def debezium(name, key):
    events = []
    for line in lines(name):
        event = json.loads(line.split("^", 1)[-1])
        event = event.get("payload", event)
        row = event["after"] or event["before"]
        row = json.loads(row) if isinstance(row, str) else row
        row = {k: next(iter(v.values())) if isinstance(v, dict) else v for k, v in row.items()}
        events.append((row[key], row if event["op"] != "d" else None))
    return fold(events, key)


CUSTOMERS = ("id", "first_name", "last_name", "email")
PEOPLE = ("id", "firstName", "lastName", "age", "height", "weight")


def upserted(name, skip, keys):
    events = [line.split("^", 1) for line in lines(name)[skip:]]
    return fold([(json.loads(k)[keys], json.loads(v) if v else None) for k, v in events], keys)


@pytest.fixture(scope="module")
def cases():
    """name: (messages, columns, options, the columns' names or SQL, expected rows, dead letters' reasons)"""
    registry = Registry()
    with_registry = f", 'schema.registry.url' = '{registry.url}'"
    d = "format = 'debezium-json'"
    people = "id INTEGER, firstName VARCHAR, lastName VARCHAR, age INTEGER, height DOUBLE, weight DOUBLE"
    orders = "order_id INTEGER, order_date BIGINT, customer_name VARCHAR, price DECIMAL(18,3), product_id INTEGER, order_status INTEGER, PRIMARY KEY (order_id)"
    customers = "id BIGINT, first_name VARCHAR, last_name VARCHAR, email VARCHAR, PRIMARY KEY (id)"
    mongo = '"_id" BIGINT, first_name VARCHAR, last_name VARCHAR, email VARCHAR, PRIMARY KEY ("_id")'
    v12 = "v1 INTEGER, v2 VARCHAR"
    product = "productId INTEGER, productName VARCHAR, price DOUBLE, tags VARCHAR, dimensions VARCHAR"
    lineitem = "l_orderkey BIGINT, l_linenumber INTEGER, l_quantity DECIMAL(10,2), l_comment VARCHAR, PRIMARY KEY (l_orderkey, l_linenumber)"
    simple_row = container("avro_simple_schema_bin.1")
    complex_row = container("avro_complex_schema_bin.1")
    all_cases = {
        "avro_simple_schema_bin.1": (whole, "id INTEGER, sequence_id BIGINT, name VARCHAR, score FLOAT, avg_score DOUBLE, is_lasted BOOLEAN, entrance_date DATE, "
                                     "birthday TIMESTAMP, anniversary TIMESTAMP", "format = 'avro'",
                                     "id, sequence_id, name, is_lasted::VARCHAR, entrance_date::VARCHAR, birthday::VARCHAR, anniversary::VARCHAR, avg_score::VARCHAR",
                                     [(simple_row["id"], simple_row["sequence_id"], simple_row["name"], str(simple_row["is_lasted"]).lower(), str(simple_row["entrance_date"]),
                                       str(simple_row["birthday"])[:19], str(simple_row["anniversary"])[:19], str(simple_row["avg_score"]))], []),
        "avro_complex_schema_bin.1": (whole, "id INTEGER, code VARCHAR, timestamp BIGINT, xfas VARCHAR, contacts VARCHAR, sex VARCHAR", "format = 'avro'",
                                      "id, code, timestamp, xfas, contacts, sex",
                                      [(complex_row["id"], complex_row["code"], complex_row["timestamp"], json.dumps(complex_row["xfas"], separators=(",", ":")),
                                        json.dumps(complex_row["contacts"], separators=(",", ":")), complex_row["sex"])], []),
        "bug_bash.1": (plain, "c_id INTEGER, c_d_id INTEGER, c_w_id INTEGER, c_first VARCHAR, PRIMARY KEY (c_id, c_d_id, c_w_id)", d,
                       "c_id, c_d_id, c_w_id, c_first", [(r["c_id"], r["c_d_id"], r["c_w_id"], r["c_first"]) for r in
                                                         (json.loads(line).get("payload", json.loads(line))["after"] for line in lines("bug_bash.1"))], []),
        "canal_json_double_field.1": (plain, "v1 INTEGER, v2 INTEGER, PRIMARY KEY (v1)", "format = 'canal-json'", "v1, v2", "canal", []),
        "cannal_json.1": (plain, "id BIGINT, name VARCHAR, is_adult INTEGER, balance DECIMAL(10,2), reg_time TIMESTAMP, win_rate DOUBLE, PRIMARY KEY (id)",
                          "format = 'canal-json'", "id, name, is_adult, balance::VARCHAR, reg_time::VARCHAR, win_rate::VARCHAR", "canal", []),
        "debezium_compact_avro_json.1": (lambda n: avro(registry, n), orders, "format = 'debezium-avro'" + with_registry, "order_id, customer_name, product_id",
                                         "avro_orders", []),
        "debezium_non_compact_avro_json.1": (lambda n: avro(registry, n), orders, "format = 'debezium-avro'" + with_registry,
                                             "order_id, customer_name, product_id", "avro_orders", []),
        "debezium_ignore_case_json.1": (plain, lineitem, d, "l_orderkey, l_linenumber, l_comment",
                                        [(r["L_ORDERKEY"], r["L_LINENUMBER"], r["L_COMMENT"]) for r in
                                         (json.loads(line)["payload"]["after"] for line in lines("debezium_ignore_case_json.1"))], []),
        "debezium_log.1": (plain, customers, d, ", ".join(CUSTOMERS), pick(debezium("debezium_log.1", "id"), *CUSTOMERS), []),
        "debezium_log_no_schema_field.1": (plain, customers, d, ", ".join(CUSTOMERS), pick(debezium("debezium_log_no_schema_field.1", "id"), *CUSTOMERS), []),
        "debezium_mess_key.1": (keyed, orders, d, "order_id, order_date, customer_name, product_id",
                                pick(debezium("debezium_mess_key.1", "order_id"), "order_id", "order_date", "customer_name", "product_id"), []),
        "debezium_mongo_json_customers.1": (plain, mongo, d, '"_id", first_name, last_name, email', "mongo", []),
        "debezium_mongo_json_customers_no_schema_field.1": (plain, mongo, d, '"_id", first_name, last_name, email', "mongo", []),
        "json_bytea.1": (plain, "bytea_example BLOB", "", "hex(bytea_example)", [("DE" + b"adBeef".hex().upper(),), (b"12CD".hex().upper(),)], []),
        "json_c.1": (plain, "id INTEGER, code VARCHAR, timestamp BIGINT, xfas VARCHAR, contacts VARCHAR, jsonb VARCHAR", "", "id, code, timestamp, xfas::JSON->1->>'ip'",
                     [(100, "abc", 1473305798, "10.0.0.2")], []),
        "json_schema_without_schema.1": (plain, product, "", "productId, productName, price::VARCHAR, tags", [(1, "An ice sculpture", "12.5", '["cold","ice"]')], []),
        "kafka_1_csv_topic.1": (plain, v12, "format = 'csv'", "v1, v2", [(1, 1), (2, 22), (3, 333), (4, 4444)], []),
        "kafka_1_partition_mv_topic.1": (plain, v12, "", "v1, v2", [(int(r["v1"]), r["v2"]) for r in rows_of("kafka_1_partition_mv_topic.1")], []),
        "kafka_4_partition_topic_generated_columns.1": (plain, "v1 INTEGER, v2 INTEGER, v3 VARCHAR", "", "v1, v2, v3",
                                                        [(10, 20, None), (None, 21, 10), (0, None, None)], []),
        "kafka_4_partition_topic_with_100_message.4": (plain, "v1 INTEGER, v2 VARCHAR, v3 VARCHAR, v4 VARCHAR", "", "v1, v2, v4::JSON->>'v6'",
                                                       [(r["v1"], r["v2"], r["v4"]["v6"]) for r in rows_of("kafka_4_partition_topic_with_100_message.4")], []),
        "kafka_json_schema.1": (lambda n: json_schema(registry, n), product + ", map VARCHAR", "format = 'json'" + with_registry, "productId, productName, map",
                                [(1, "An ice sculpture", '{"foo":"bar"}')], []),
        "kafka_source_format_bytes.1": (plain, "b BLOB", "format = 'raw'", "b::VARCHAR", [("kk",), ("weawefwef",)], []),
        "kafka_upsert_json_schema.1": (lambda n: json_schema(registry, n), "id INTEGER, productName VARCHAR, price DOUBLE, PRIMARY KEY (id)",
                                       "format = 'upsert-json'" + with_registry, "id, price::VARCHAR", [(1, "23.0"), (2, "12.5")], []),
        "maxwell_json.1": (plain, "id INTEGER, name VARCHAR, is_adult INTEGER, birthday TIMESTAMP, PRIMARY KEY (id)", "format = 'maxwell-json'",
                           "id, name, is_adult, birthday::VARCHAR", [(1, "tom", 0, "2017-12-31 16:00:01"), (2, "chi", 1, "1999-12-31 16:00:01")], []),
        "sink_debezium.1": (plain, v12, "", "v1, v2", [], ["empty"] * len(lines("sink_debezium.1"))),
        "sink_target.1": (plain, v12, "", "v1, v2", [], ["empty"] * len(lines("sink_target.1"))),
        "upsert_json.1": (keyed, people + ", PRIMARY KEY (id)", "format = 'upsert-json'", "id, firstName, age",
                          pick(upserted("upsert_json.1", 0, "ID"), "ID", "firstName", "age"), []),
        "upsert_student_avro_json.1": (lambda n: avro(registry, n), people + ", PRIMARY KEY (id)", "format = 'upsert-avro'" + with_registry, "id, firstName, age",
                                       pick(upserted("upsert_student_avro_json.1", 1, "ID"), "ID", "firstName", "age"), []),
        "upsert_student_key_not_subset_of_value_avro_json.1": (
            lambda n: avro(registry, n), people + ", PRIMARY KEY (k)", "format = 'upsert-avro'" + with_registry, "id, firstName, age",
            pick(upserted("upsert_student_key_not_subset_of_value_avro_json.1", 1, "NOTEXIST"), "ID", "firstName", "age"), []),
    }
    for n in (1, 2, 3, 4):
        name = f"kafka_{n}_partition_topic.{n}"
        all_cases[name] = (plain, v12, "", "v1, v2", [(r["v1"], int(r["v2"])) for r in rows_of(name)], [])
    yield all_cases
    registry.stop()


def canal(name, columns):
    """Canal's rows, folded by their first column."""
    events = []
    for line in lines(name):
        event = json.loads(line)
        for row, old in zip(event["data"], event["old"] or [{}] * len(event["data"])):
            key = columns[0]
            if event["type"] == "UPDATE" and old.get(key, row[key]) != row[key]:
                events.append((old[key], None))
            events.append((row[key], None if event["type"] == "DELETE" else row))
    return fold(events, columns[0])


def expected(name, rows, columns):
    if rows == "canal":
        names = [c.split("::")[0].strip() for c in columns.split(",")]
        return pick(canal(name, names), *names)
    if rows == "mongo":
        return pick(debezium(name, "_id"), "_id", *CUSTOMERS[1:])
    if rows == "avro_orders":
        events = []
        for key, value in (line.split("^", 1) for line in lines(name)[1:]):
            event = json.loads(value) if value else {"op": "d"}
            row = next(iter(event["after"].values())) if event["op"] != "d" else None
            row = row and {k: next(iter(v.values())) if isinstance(v, dict) else v for k, v in row.items()}
            events.append((json.loads(key)["order_id"], row))
        return pick(fold(events, None), "order_id", "customer_name", "product_id")
    return rows


def normal(rows):
    return sorted([tuple(int(v) if isinstance(v, str) and v.lstrip("-").isdigit() else v for v in row) for row in rows], key=repr)


def test_all_payloads(broker, cases, tmp_path):  # noqa: F811
    if not FOLDER.is_dir():
        pytest.skip(f"{FOLDER} is not there")
    assert set(cases) == {p.name for p in FOLDER.iterdir()}
    kafka = Kafka(broker)
    sql = []
    for i, (name, (read, columns, options, *_)) in enumerate(sorted(cases.items())):
        partitions = int(name.rsplit(".", 1)[1])
        kafka.create(name, partitions)
        for number, (key, value) in enumerate(read(name)):
            kafka.producer.produce(name, value, key=key, partition=0 if key or options else number % partitions)
        include = "INCLUDE key BLOB AS k" if "PRIMARY KEY (k)" in columns else ""
        sql.append(f"CREATE SOURCE s{i} ({columns}) {include} WITH (connector = 'kafka', topic = '{name}', "
                   f"'properties.bootstrap.servers' = '{kafka.address}'{', ' if options else ''}{options});\n"
                   f"CREATE MATERIALIZED TABLE t{i} FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM s{i};\n")
    kafka.producer.flush(60)
    p = Project(tmp_path, "".join(sql))
    p.leat("check")
    p.once()
    problems = []
    for i, (name, (_, columns, _, select, rows, dead)) in enumerate(sorted(cases.items())):
        have, want = normal(read_delta(p, f"t{i}", select)), normal(expected(name, rows, select))
        if have != want:
            problems.append(f"{name}:\n  have {have}\n  want {want}")
        source = f"s{i}__changes" if "PRIMARY KEY" in columns else f"s{i}"
        reasons = dead_letters(p, source)
        if len(reasons) != len(dead) or any(part not in reason for part, reason in zip(dead, reasons)):
            problems.append(f"{name}: dead letters {reasons}, expected {dead}")
    assert not problems, "\n".join(problems)
    assert "0 differing rows" in p.leat("verify")


def read_delta(project, table, select, order=""):
    """By delta-rs and DuckDB, without leat."""
    import deltalake
    import duckdb
    path = project.folder / "lake" / table
    if not deltalake.DeltaTable.is_deltatable(str(path)):
        return []
    files = deltalake.DeltaTable(str(path)).file_uris()
    return duckdb.sql(f"SELECT {select} FROM read_parquet({files!r}) {order}").fetchall() if files else []


def dead_letters(project, source):
    return [reason for (reason,) in read_delta(project, f"dead/{source}", "reason", "ORDER BY _partition, _offset")]


def test_schemas_that_change(broker, tmp_path):  # noqa: F811
    """A new field is ignored; what does not fit is a dead letter; a registry that is away is waited for."""
    kafka, registry = Kafka(broker), Registry()
    kafka.create("evolves")

    def send(fields, number=None, **values):
        schema = {"type": "record", "name": "r", "fields": [{"name": n, "type": t} for n, t in fields]}
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(schema), values)
        kafka.producer.produce("evolves", frame(number or registry.add(json.dumps(schema)), out.getvalue()))

    send([("id", "int"), ("name", ["null", "string"])], id=1, name="a")
    send([("id", "long"), ("more", {"type": "array", "items": "double"}), ("name", "string")], id=2, name="b", more=[1.5])
    send([("id", "string"), ("name", "string")], id="3", name="c")
    send([("id", "string"), ("name", "string")], id="x", name="d")
    send([("name", "string")], name="e")
    send([("id", "long"), ("name", "string")], id=2**40, name="f")
    send([("id", "int"), ("name", "string")], number=4711, id=7, name="g")
    kafka.producer.produce("evolves", b"\0\0\0\0\1\x0e")  # cut short
    kafka.producer.produce("evolves", b"plain")
    kafka.producer.flush(30)
    p = Project(tmp_path, f"""CREATE SOURCE s (id INTEGER NOT NULL, name VARCHAR)
WITH (connector = 'kafka', topic = 'evolves', 'properties.bootstrap.servers' = '{kafka.address}', format = 'avro', 'schema.registry.url' = '{registry.url}');
CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM s;
""")
    p.once()
    assert normal(read_delta(p, "t", "id, name")) == [(1, "a"), (2, "b"), (3, "c")]
    reasons = dead_letters(p, "s")
    parts = ["column \"id\": value 'x' is not a", "does not have it", "is out of range", "no schema 4711", "in the middle of a value", "not framed"]
    assert len(reasons) == len(parts) and all(part in reason for part, reason in zip(parts, reasons)), reasons
    # Away: nothing is lost, and nothing is a dead letter for it.
    number = registry.add(json.dumps({"type": "record", "name": "r", "fields": [{"name": "id", "type": "int"}]}))
    address = registry.server.server_address
    registry.stop()
    kafka.producer.produce("evolves", frame(number, b"\x10"))
    kafka.producer.flush(30)
    p.start()
    try:
        wait_for(lambda: "does not answer" in p.log(), "it is told")
        again = Registry(address[1])
        again.schemas = registry.schemas
        wait_for(lambda: (8, None) in read_delta(p, "t", "id, name"), "it recovers")
        again.stop()
    finally:
        p.stop()
    assert len(dead_letters(p, "s")) == len(parts)


def test_schemas_that_refer_to_others(broker, tmp_path):  # noqa: F811
    kafka, registry = Kafka(broker), Registry()
    kafka.create("refers")
    zip_code = {"type": "fixed", "name": "shop.Zip", "size": 5}
    address = {"type": "record", "name": "Address", "namespace": "shop", "fields": [{"name": "city", "type": "string"}, {"name": "zip", "type": "Zip"}]}
    order = {"type": "record", "name": "Order", "namespace": "shop", "fields": [
        {"name": "id", "type": "int"}, {"name": "bill_to", "type": ["null", "Address"]}, {"name": "ship_to", "type": "shop.Address"}]}
    registry.add(json.dumps(zip_code), "zip/code")
    registry.add(json.dumps(address), "address", [("shop.Zip", "zip/code")])
    number = registry.add(json.dumps(order), "order", [("shop.Address", "address")])
    lost = registry.add(json.dumps(order), "lost", [("shop.Address", "nobody")])
    named = {}
    for schema in (zip_code, address, order):
        parsed = fastavro.parse_schema(schema, named)
    out = io.BytesIO()
    home = {"city": "Ulm", "zip": b"89073"}
    fastavro.schemaless_writer(out, parsed, {"id": 1, "bill_to": home, "ship_to": {"city": "Aalen", "zip": b"73430"}})
    for schema in (number, lost):
        kafka.producer.produce("refers", frame(schema, out.getvalue()))
    kafka.producer.flush(30)
    p = Project(tmp_path, f"""CREATE SOURCE s (id INTEGER NOT NULL, bill_to VARCHAR, ship_to VARCHAR)
WITH (connector = 'kafka', topic = 'refers', 'properties.bootstrap.servers' = '{kafka.address}', format = 'avro', 'schema.registry.url' = '{registry.url}');
CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT id, bill_to->>'city' AS bill, ship_to->>'city' AS ship FROM s;
""")
    p.once()
    assert normal(read_delta(p, "t", "id, bill, ship")) == [(1, "Ulm", "Aalen")]
    assert [f"no schema {lost}" in reason for reason in dead_letters(p, "s")] == [True]
    registry.stop()
