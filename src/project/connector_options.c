/* The options of each connector: what may stand in WITH (...). The connectors read them by leat_source_option. */
#include "project/tables.h"
#include "base/limits.h"

#include <strings.h>

#define DAY_US (INT64_C(86400) * 1000000)
#define MIB (INT64_C(1) << 20)

/* Rows that several connectors have. */
#define CONNECTOR(NAME) \
    {.name = "connector", .type = LEAT_OPTION_ENUM, .choices = (const char *const[]){NAME, NULL}, .required = true, .prose = "What brings the rows."}
#define MAX_LINE_BYTES(PROSE) \
    {.name = "max_line_bytes", .type = LEAT_OPTION_SIZE, .unit = "bytes", .min = 1024, .max = LEAT_RECORD_BYTES_MAX, .default_text = "1 MiB", .prose = PROSE}
#define RETENTION                                                                                                       \
    {.name = "retention",                                                                                               \
     .type = LEAT_OPTION_INTERVAL,                                                                                      \
     .min = 1000000,                                                                                                    \
     .max = 36525 * DAY_US,                                                                                             \
     .prose = "Of a source with WATERMARK: its archive (bronze) keeps records for this long in event time, and a "      \
              "little more. Rows that came of older ones stay as they are in all tables, for good; every table over "   \
              "the source has to fall apart in event time for that (`leat check` says which does not). Left out: for "  \
              "ever."}
#define IDLE_TIMEOUT                                                                                                                                \
    {.name = "idle_timeout", .type = LEAT_OPTION_INTERVAL, .min = 1000, .max = 3650 * DAY_US,                                                       \
     .prose = "Of a source with WATERMARK: when everything was read and nothing has come for this long, the source (or one of its partitions) is "  \
              "idle: an idle partition does not hold its source's watermark back, an idle source not that of tables over several sources. Errors " \
              "and restarts begin the time anew. Left out: never."}
#define SEQUENCE                                                                                                                               \
    {.name = "sequence", .type = LEAT_OPTION_TEXT,                                                                                             \
     .prose = "Of a change feed, or of rows that are read by a cursor and have a PRIMARY KEY: a column that orders the changes of a key, the " \
              "greatest being the newest. Left out, it is the place in the partition, which is right as long as a key stays in its partition."}
#define DELETE_WHEN                                                                                                                                \
    {.name = "delete_when", .type = LEAT_OPTION_TEXT,                                                                                            \
     .prose = "Of a change feed, or of rows that are read by a cursor and have a PRIMARY KEY: a condition over the columns, such as "            \
              "`op = 'D'` or `deleted_at IS NOT NULL`. A change for which it holds deletes the row of its key; a later one brings it back."}
#define EPOCH_UNIT                                                                                                                        \
    {.name = "epoch_unit", .type = LEAT_OPTION_ENUM, .choices = (const char *const[]){"s", "ms", "us", NULL},                             \
     .prose = "What a bare number means where a JSON value should be a TIMESTAMP or TIME; days for a DATE. Left out: such records are " \
              "dead letters."}
#define UNKNOWN_FIELDS                                                                                                                                     \
    {.name = "unknown_fields", .type = LEAT_OPTION_TEXT,                                                                                                   \
     .prose = "A declared VARCHAR column that gets the fields of a JSON record for which there is no column, as one JSON object, NULL where there are "   \
              "none. Left out: they are ignored; bronze keeps the payload."}
#define NULL_STRING \
    {.name = "null_string", .type = LEAT_OPTION_TEXT, .prose = "An unquoted field equal to this text is NULL; an empty unquoted field always is."}
/* Of a record that is one line of CSV. */
#define DELIMITER \
    {.name = "delimiter", .type = LEAT_OPTION_TEXT, .default_text = ",", \
     .prose = "Character between the fields: `,` `;` `|` or a tab (`'\\t'`). Columns are taken in the order of their declaration."}
/* Of databases that are read by SQL statements. */
#define SQL_TABLE \
    {.name = "table", .type = LEAT_OPTION_TEXT, \
     .prose = "The table or view, `name` or `schema.name`. Its columns are found by name, as `FROM 'name'` or the column's own name says."}
#define QUERY \
    {.name = "query", .type = LEAT_OPTION_TEXT, .prose = "Instead of a table: a SELECT of the database. Give one of the two."}
#define REFRESH \
    {.name = "refresh", .type = LEAT_OPTION_INTERVAL, .min = 100000, .max = 3650 * DAY_US, \
     .prose = "How often it is read whole; what differs from the last version is its change. Left out: once."}
#define TIMEOUT                                                                                                      \
    {.name = "timeout", .type = LEAT_OPTION_INTERVAL, .min = 1000000, .max = DAY_US, .default_text = "1 minute",     \
     .prose = "A server that says nothing for so long is given up; what was read stays, and it is asked again later."}
#define EXTRACTION                                                                                                                                   \
    {.name = "cursor", .type = LEAT_OPTION_TEXT,                                                                                                     \
     .prose = "A column (TIMESTAMP, TIMESTAMPTZ, DATE or an integer) that every new and every changed row sets to a greater value than before, such " \
              "as `updated_at`: the source has rows by and by, each once, and a changed one again (with a PRIMARY KEY: the current row of each key). " \
              "Not seen are rows that are deleted, rows that are committed later than `overlap` is long, and rows whose cursor is NULL."},           \
    SEQUENCE, DELETE_WHEN,                                                                                                                           \
    {.name = "overlap", .type = LEAT_OPTION_INTERVAL, .min = 0, .max = 3650 * DAY_US, .default_text = "5 minutes",                                   \
     .prose = "With a cursor that is a time: each reading begins so long before the last value (or now, if that is less). Rows that were taken "     \
              "already are known by their content and left out; about 60 bytes of memory a row of the overlap."},                                   \
    {.name = "overlap_values", .type = LEAT_OPTION_INT, .unit = "values", .min = 0, .max = INT64_MAX / 2, .default_text = "1000",                    \
     .prose = "The same of a cursor that is a number."},                                                                                             \
    {.name = "poll_interval", .type = LEAT_OPTION_INTERVAL, .min = 100000, .max = 3650 * DAY_US, .default_text = "1 minute",                         \
     .prose = "With a cursor: how long after a reading the next one is."},                                                                           \
    {.name = "cron", .type = LEAT_OPTION_TEXT,                                                                                                       \
     .prose = "With a cursor, instead of `poll_interval`: when it is read, as five fields in UTC, `0 2 * * *` for every night at two. The first "    \
              "reading is at once."}

static const struct leat_option_spec file_specs[] = {
    CONNECTOR("file"),
    {.name = "path",
     .type = LEAT_OPTION_PATH,
     .required = true,
     .prose = "A file, or a pattern with `*`, `?` and `[...]` in the names of files and folders, relative to the project's "
              "folder. Every file that fits is a partition of the source."},
    {.name = "format",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"json", "csv", "parquet", "debezium-json", "canal-json", "maxwell-json", NULL},
     .prose = "How records are written: JSON objects one a line, CSV (RFC 4180), or Parquet files; `debezium-json`, `canal-json` and "
              "`maxwell-json` are change feeds, one event a line: the source needs a PRIMARY KEY and has the current row of each key. Left out, it follows "
              "from the path's ending (`.json`, `.jsonl`, `.ndjson`, `.csv`, `.tsv`, `.parquet`, also before `.gz` or "
              "`.zst`)."},
    {.name = "mode",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"tail", "once", NULL},
     .default_text = "tail",
     .prose = "`tail` follows files as they grow and new files as they come; `once` reads each file to its end, and the "
              "source is then complete (its watermark is plus infinity)."},
    {.name = "refresh",
     .type = LEAT_OPTION_INTERVAL,
     .min = 100000,
     .max = 3650 * DAY_US,
     .prose = "Makes the source a reference: it is read whole at this interval, and what differs from the last version is "
              "its change."},
    {.name = "compression",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"auto", "none", "gzip", "zstd", NULL},
     .default_text = "auto",
     .prose = "`auto` follows each file's first bytes. A compressed file is read when it is complete and does not grow."},
    {.name = "encoding",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"utf-8", "latin-1", "windows-1252", "utf-16", NULL},
     .default_text = "utf-8",
     .prose = "Character encoding of the files; `windows-1252` and `utf-16` only for references. Bytes that do not fit make a record a "
              "dead letter."},
    SEQUENCE,
    DELETE_WHEN,
    EPOCH_UNIT,
    UNKNOWN_FIELDS,
    {.name = "delimiter",
     .type = LEAT_OPTION_TEXT,
     .default_text = ",",
     .prose = "Character between the fields: `,` `;` `|` or a tab (`'\\t'`). For a path that ends in `.tsv` the default is a tab."},
    {.name = "header",
     .type = LEAT_OPTION_BOOL,
     .default_text = "true",
     .prose = "The first line of each file names its fields, and columns are found by name. `false`: columns are taken in "
              "the order of their declaration."},
    NULL_STRING,
    MAX_LINE_BYTES("A longer record is a dead letter (its beginning is kept)."),
    {.name = "max_decompressed_ratio",
     .type = LEAT_OPTION_INT,
     .min = 1,
     .max = 100000,
     .default_text = "200",
     .prose = "A compressed file that grows by more than this factor is refused as damaged or hostile."},
    RETENTION,
    IDLE_TIMEOUT,
    {.name = "poll_interval",
     .type = LEAT_OPTION_INTERVAL,
     .min = 1000,
     .max = DAY_US,
     .default_text = "1 second",
     .prose = "How often the path is looked at for new files and growth where the system does not tell (network file "
              "systems)."},
};

static const struct leat_option_table file_table = {
    .name = "file",
    .prose = "Files on this machine: followed like a stream, read once, or kept as a reference table.",
    .specs = file_specs,
    .count = sizeof file_specs / sizeof *file_specs,
};

static const struct leat_option_spec http_specs[] = {
    CONNECTOR("http"),
    {.name = "format",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"json", NULL},
     .default_text = "json",
     .prose = "How records are written: one JSON object, an array of them, or objects one a line."},
    MAX_LINE_BYTES("A longer record is a dead letter (its beginning is kept)."),
    {.name = "batch_ids",
     .type = LEAT_OPTION_INT,
     .unit = "ids",
     .min = 1,
     .max = 10000000,
     .default_text = "100000",
     .prose = "So many of the newest batch ids (header `Leat-Batch-Id`) are remembered, also over restarts: a batch sent again with one of them is "
              "answered as before and not taken again; other records with one of them are refused. About 100 bytes each in memory."},
    RETENTION,
    IDLE_TIMEOUT,
};

static const struct leat_option_table http_table = {
    .name = "http",
    .prose = "Records sent by `POST /v1/sources/SOURCE` to `leat run --listen`. An answer means that they are durable.",
    .specs = http_specs,
    .count = sizeof http_specs / sizeof *http_specs,
};

static const struct leat_option_spec kafka_specs[] = {
    CONNECTOR("kafka"),
    {.name = "topic",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "A topic, several separated by commas, or, beginning with `^`, a regular expression (POSIX extended) that topics' names "
              "match. All partitions are read; new ones, and new topics that match, are picked up from their beginning."},
    {.name = "properties.bootstrap.servers",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "Brokers to begin with, `host:port` separated by commas."},
    {.name = "properties.*",
     .type = LEAT_OPTION_TEXT,
     .prose = "Any other property of librdkafka, such as `properties.security.protocol`, `properties.sasl.username`, "
              "`properties.ssl.ca.location`, `properties.group.id` (default `leat-SOURCE`: for lag tools only, leat keeps its own "
              "offsets). Give passwords as `'${NAME}'`."},
    {.name = "format",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"json", "csv", "raw", "avro", "avro-confluent", "upsert", "upsert-json", "upsert-avro", "debezium",
                                      "debezium-json", "debezium-avro", "canal-json", "maxwell-json", NULL},
     .default_text = "json",
     .prose = "How values are written. `raw`: one VARCHAR or BLOB column takes the bytes. `avro` with `schema.registry.url`, or, without, "
              "values that are Avro container files. `upsert-...`, `debezium-...`, `canal-json`, `maxwell-json` are change feeds: the "
              "source needs a PRIMARY KEY and has the current row of each key."},
    {.name = "schema.registry.url",
     .type = LEAT_OPTION_TEXT,
     .prose = "Values (and Avro keys) are framed as Confluent's clients do it: a zero byte, the schema's number, the value. Several "
              "separated by commas are tried in turn."},
    {.name = "schema.registry.username", .type = LEAT_OPTION_TEXT, .prose = "For HTTP basic authentication at the schema registry."},
    {.name = "schema.registry.password", .type = LEAT_OPTION_SECRET, .prose = "Its password."},
    {.name = "scan.startup.mode",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"earliest", "latest", "timestamp", NULL},
     .default_text = "earliest",
     .prose = "Where the first start begins; later ones go on where leat's own log ends."},
    {.name = "scan.startup.timestamp.millis",
     .type = LEAT_OPTION_INT,
     .unit = "ms",
     .min = 0,
     .max = INT64_C(253402300799999),
     .prose = "With the mode `timestamp`: begin with the first records of this time or later, milliseconds since 1970-01-01 UTC."},
    SEQUENCE,
    DELETE_WHEN,
    EPOCH_UNIT,
    UNKNOWN_FIELDS,
    DELIMITER,
    NULL_STRING,
    MAX_LINE_BYTES("A longer value is a dead letter (its beginning is kept)."),
    {.name = "metadata_interval",
     .type = LEAT_OPTION_INTERVAL,
     .min = 1000000,
     .max = DAY_US,
     .default_text = "30 seconds",
     .prose = "How often new partitions and topics are looked for."},
    RETENTION,
    IDLE_TIMEOUT,
};

static const struct leat_option_table kafka_table = {
    .name = "kafka",
     .prose = "Topics of Kafka, or of what speaks its protocol. leat assigns itself all partitions and keeps the offsets with its log: every "
              "record of the topic is taken exactly once. Aborted transactions are not seen.",
    .specs = kafka_specs,
    .count = sizeof kafka_specs / sizeof *kafka_specs,
};

static const struct leat_option_spec postgres_specs[] = {
    CONNECTOR("postgres"),
    {.name = "dsn",
     .type = LEAT_OPTION_SECRET,
     .required = true,
     .prose = "Where the database is, as libpq takes it: `postgresql://user:password@host:5432/db?sslmode=verify-full`, or `host=... dbname=...`."},
    SQL_TABLE,
    QUERY,
    REFRESH,
    EXTRACTION,
    {.name = "slot",
     .type = LEAT_OPTION_TEXT,
     .prose = "Follows the table's changes by logical replication, through the replication slot and the publication of this name, which are made: the "
              "table's rows first, then every change, none twice and none left out. The source needs a PRIMARY KEY and has the current row of each "
              "key; the server needs `wal_level = logical`."},
    RETENTION,
    IDLE_TIMEOUT,
    TIMEOUT,
    MAX_LINE_BYTES("The longest row taken, as text."),
};

static const struct leat_option_table postgres_table = {
    .name = "postgres",
    .prose = "A table or a query of a PostgreSQL database, kept as a reference table (read whole by COPY at one moment of the database); with a cursor, its new and "
             "changed rows by and by; or, with a slot, a table's changes as they happen.",
    .specs = postgres_specs,
    .count = sizeof postgres_specs / sizeof *postgres_specs,
};

static const struct leat_option_spec cassandra_specs[] = {
    CONNECTOR("cassandra"),
    {.name = "contact_points",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "Nodes to connect to, `host` or `host:port` (9042 if not said), separated by commas."},
    {.name = "keyspace", .type = LEAT_OPTION_TEXT, .required = true, .prose = "The keyspace, as Cassandra spells it."},
    {.name = "table", .type = LEAT_OPTION_TEXT, .required = true, .prose = "The table. Its columns are found by name, as `FROM 'name'` or the column's own name says."},
    REFRESH,
    {.name = "consistency",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"one", "quorum", "local_quorum", "local_one", NULL},
     .default_text = "local_quorum",
     .prose = "How many replicas must agree on what is read."},
    {.name = "user", .type = LEAT_OPTION_TEXT, .prose = "For a Cassandra that asks for a password."},
    {.name = "password", .type = LEAT_OPTION_SECRET, .prose = "The user's password."},
    LEAT_TLS_OPTIONS,
    TIMEOUT,
    MAX_LINE_BYTES("The longest row taken, as text."),
};

static const struct leat_option_table cassandra_table = {
    .name = "cassandra",
    .prose = "A table of Cassandra or ScyllaDB, kept as a reference table: read whole, page by page. Rows that are written meanwhile may be among them or not, until "
             "the next refresh. Collections, tuples and `inet` cannot be read.",
    .specs = cassandra_specs,
    .count = sizeof cassandra_specs / sizeof *cassandra_specs,
};

static const struct leat_option_spec mqtt_specs[] = {
    CONNECTOR("mqtt"),
    {.name = "host", .type = LEAT_OPTION_TEXT, .required = true, .prose = "The broker."},
    {.name = "port", .type = LEAT_OPTION_INT, .min = 1, .max = 65535, .prose = "Its port. Left out: 1883, with `tls` 8883."},
    {.name = "topic",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "A topic or several separated by commas, with MQTT's wildcards `+` (one level) and `#` (all below). `INCLUDE topic` says which one a record came by."},
    {.name = "client_id",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "A name that no other client of the broker has, and that stays: under it the broker keeps the subscription and the messages that leat has not "
              "acknowledged, also while leat is stopped (how many: the broker's `max_queued_messages`, 1000 with Mosquitto)."},
    {.name = "qos",
     .type = LEAT_OPTION_INT,
     .min = 0,
     .max = 1,
     .default_text = "1",
     .prose = "1: a message is acknowledged when it is on disk here, and comes again until it is. 0: what is sent while leat is not connected is lost."},
    {.name = "format",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"json", "csv", "raw", NULL},
     .default_text = "json",
     .prose = "How payloads are written; a message is a record. `raw`: one VARCHAR or BLOB column takes the bytes."},
    {.name = "username", .type = LEAT_OPTION_TEXT, .prose = "To log in with."},
    {.name = "password", .type = LEAT_OPTION_SECRET, .prose = "Its password, as `'${NAME}'`."},
    {.name = "tls", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Encrypted; the broker's certificate and name are checked."},
    {.name = "ca_file", .type = LEAT_OPTION_PATH, .prose = "Certificates to trust, PEM. Left out: the system's."},
    {.name = "cert_file", .type = LEAT_OPTION_PATH, .prose = "The client's own certificate, PEM."},
    {.name = "key_file", .type = LEAT_OPTION_PATH, .prose = "Its key, PEM, without a password."},
    {.name = "keepalive",
     .type = LEAT_OPTION_INTERVAL,
     .min = 5000000,
     .max = 65535 * INT64_C(1000000),
     .default_text = "1 minute",
     .prose = "After so long without a word the broker is asked for one, and given up after as long again."},
    TIMEOUT,
    EPOCH_UNIT,
    UNKNOWN_FIELDS,
    DELIMITER,
    NULL_STRING,
    MAX_LINE_BYTES("A longer payload is a dead letter (its beginning is kept)."),
    RETENTION,
    IDLE_TIMEOUT,
};

static const struct leat_option_table mqtt_table = {
    .name = "mqtt",
    .prose = "Messages of an MQTT broker (3.1.1). With QoS 1 every message at least once: the broker has its acknowledgement when it is on disk here. One that comes "
             "again after a broken connection or a crash is a record more: where payloads have an id, `SELECT DISTINCT ON (id)` leaves it out.",
    .specs = mqtt_specs,
    .count = sizeof mqtt_specs / sizeof *mqtt_specs,
};

static const struct leat_option_spec odbc_specs[] = {
    CONNECTOR("odbc"),
    {.name = "dsn",
     .type = LEAT_OPTION_SECRET,
     .required = true,
     .prose = "A connection string of unixODBC, `DRIVER={MariaDB Unicode};SERVER=...;DATABASE=...;UID=...;PWD=...`, or the name of a data source of `odbc.ini`."},
    SQL_TABLE,
    QUERY,
    REFRESH,
    EXTRACTION,
    RETENTION,
    IDLE_TIMEOUT,
    TIMEOUT,
    MAX_LINE_BYTES("The longest row taken, as text."),
};

static const struct leat_option_table odbc_table = {
    .name = "odbc",
    .prose = "A table or a query of any SQL database that has an ODBC driver, kept as a reference table (read whole by one statement), or, with a cursor, its new "
             "and changed rows by and by. The driver runs in a process of its own.",
    .specs = odbc_specs,
    .count = sizeof odbc_specs / sizeof *odbc_specs,
};

const struct leat_option_table *const leat_connector_tables[] = {&cassandra_table, &file_table, &http_table, &kafka_table, &mqtt_table, &odbc_table, &postgres_table};
const size_t leat_connector_table_count = sizeof leat_connector_tables / sizeof *leat_connector_tables;

const struct leat_option_table *leat_connector_table(const char *connector) {
    for (size_t i = 0; i < leat_connector_table_count; i++)
        if (strcasecmp(leat_connector_tables[i]->name, connector) == 0)
            return leat_connector_tables[i];
    return NULL;
}

#define TEXT_FORMATS (~(1u << LEAT_FORMAT_PARQUET))
#define CSV_FORMAT (1u << LEAT_FORMAT_CSV)

unsigned leat_connector_option_formats(const struct leat_option_table *table, const char *option) {
    static const struct {
        const char *name;
        unsigned formats;
    } limited[] = {
        {"mode", TEXT_FORMATS},
        {"compression", TEXT_FORMATS},
        {"encoding", TEXT_FORMATS},
        {"max_line_bytes", TEXT_FORMATS},
        {"max_decompressed_ratio", TEXT_FORMATS},
        {"idle_timeout", TEXT_FORMATS},
        {"retention", TEXT_FORMATS},
        {"poll_interval", TEXT_FORMATS},
        {"delimiter", CSV_FORMAT},
        {"header", CSV_FORMAT},
        {"null_string", CSV_FORMAT},
        {"epoch_unit", 1u << LEAT_FORMAT_JSON},
        {"unknown_fields", 1u << LEAT_FORMAT_JSON},
        {"sequence", TEXT_FORMATS},
        {"delete_when", TEXT_FORMATS},
    };
    for (size_t i = 0; (table == &file_table || table == &kafka_table || table == &mqtt_table) && i < sizeof limited / sizeof *limited; i++)
        if (strcasecmp(limited[i].name, option) == 0)
            return limited[i].formats;
    return ~0u;
}
