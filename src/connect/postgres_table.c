/* See postgres_table.h. */
#include "connect/postgres_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/rows.h"

enum leat_status leat_postgres_ask(struct leat_postgres *server, int64_t timeout_us, char **out, struct leat_error *err, const char *format, ...) {
    char sql[4096];
    PGresult *result;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    *out = NULL;
    if (length < 0 || (size_t)length >= sizeof sql) return leat_fail(err, LEAT_LIMIT, "a name is too long");
    enum leat_status st = leat_postgres_run(server, sql, timeout_us, &result, err);
    if (st == LEAT_OK && PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0)) *out = leat_strdup(PQgetvalue(result, 0, 0));
    PQclear(result);
    return st;
}

static bool lists(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *at = list; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, name, n) == 0 && (at[n] == '\n' || !at[n])) return true;
    return false;
}

/* What a change says of the old row must name it, and a change must say all of the new one. oid: of a table, or of one of its partitions. */
static enum leat_status check_identity(const struct leat_postgres_table *t, const char *oid, struct leat_error *err) {
    char *identity = NULL, *keys = NULL, *large = NULL, *table = NULL;
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, &identity, err, "SELECT relreplident FROM pg_class WHERE oid = %s", oid);
    if (st == LEAT_OK) st = leat_postgres_ask(t->server, t->timeout_us, &table, err, "SELECT %s::regclass", oid);
    if (st == LEAT_OK)
        st = leat_postgres_ask(t->server, t->timeout_us, &keys, err,
                        "SELECT string_agg(attname, E'\\n') FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid AND a.attnum = ANY (i.indkey) "
                        "WHERE a.attrelid = %s AND CASE '%s' WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END", oid, identity ? identity : "");
    if (st == LEAT_OK)
        st = leat_postgres_ask(t->server, t->timeout_us, &large, err,
                        "SELECT string_agg(attname, E'\\n') FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND attstorage IN ('x', 'e')", oid);
    bool full = identity && *identity == 'f';
    for (size_t i = 0; i < t->def->value_count && st == LEAT_OK && !full; i++) {
        const char *name = leat_source_column(t->def, i);
        bool key = leat_source_has_key(t->def, i);
        if (key && !lists(keys, name))
            st = leat_fail(err, LEAT_CONFLICT, "column '%s' of the source's key is not in the replica identity of table %s, so its changes do not name their "
                           "rows; in PostgreSQL: ALTER TABLE %s REPLICA IDENTITY FULL", name, table, table);
        if (!key && lists(large, name))
            st = leat_fail(err, LEAT_CONFLICT, "a large value of column '%s' that a change does not touch is not sent with it; in PostgreSQL: "
                           "ALTER TABLE %s REPLICA IDENTITY FULL", name, table);
    }
    free(identity);
    free(keys);
    free(large);
    free(table);
    return st;
}

/* Changes of a partitioned table are those of its partitions, and say what these say. */
static enum leat_status check_identities(const struct leat_postgres_table *t, const char *oid, struct leat_error *err) {
    char *parts = NULL, *rest, *part;
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, &parts, err,
                                     "SELECT string_agg(relid::oid::text, ' ') FROM pg_class, pg_partition_tree(oid) WHERE oid = %s AND relkind = 'p' AND isleaf", oid);
    if (st == LEAT_OK && !parts) st = check_identity(t, oid, err);
    for (rest = parts; st == LEAT_OK && (part = strsep(&rest, " "));) st = check_identity(t, part, err);
    free(parts);
    return st;
}

/* The table's number; its schema is noted, so that changes of another schema's table are not taken for its own. */
enum leat_status leat_postgres_table_find(const struct leat_postgres_table *t, char **oid, char **schema, struct leat_error *err) {
    struct leat_buffer name = {0}, quoted = {0};
    leat_rows_put_table(&name, t->name, "\"");
    leat_put_sql_string(&quoted, name.data);
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, oid, err, "SELECT %s::regclass::oid", quoted.data);
    if (st == LEAT_OK && !*schema)
        st = leat_postgres_ask(t->server, t->timeout_us, schema, err, "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s", *oid);
    leat_buffer_deinit(&name);
    leat_buffer_deinit(&quoted);
    return st;
}

/* A change must say every declared column. One that a table has no more would be told as NULL without a word. */
static enum leat_status check_columns(const struct leat_postgres_table *t, const char *oid, struct leat_error *err) {
    char *columns = NULL;
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, &columns, err,
                                     "SELECT string_agg(attname, E'\\n') FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = ''", oid);
    for (size_t i = 0; i < t->def->value_count && st == LEAT_OK; i++)
        if (!lists(columns, leat_source_column(t->def, i)))
            st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL: table %s has no column '%s', or computes it (GENERATED), which changes do not say; give it its name there "
                           "(FROM 'name'), or leave it out of the source", t->name, leat_source_column(t->def, i));
    free(columns);
    return st;
}

/* What a change is told as is decided by the publication: under another table's name it would be passed over without a word. */
static enum leat_status check_publication(const struct leat_postgres_table *t, const char *oid, struct leat_error *err) {
    char *there = NULL, *children = NULL;
    struct leat_buffer name = {0};
    leat_put_sql_string(&name, t->slot);
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, &there, err,
                                     "SELECT 1 FROM pg_publication_tables JOIN pg_namespace n ON n.nspname = schemaname JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = tablename "
                                     "WHERE pubname = %s AND c.oid = %s", name.data, oid); /* not by regclass: schemas that are not ours may be shut to us */
    if (st == LEAT_OK)
        st = leat_postgres_ask(t->server, t->timeout_us, &children, err,
                        "SELECT string_agg(inhrelid::regclass::text, ', ') FROM pg_inherits JOIN pg_class ON oid = inhparent WHERE inhparent = %s AND relkind <> 'p'", oid);
    if (st == LEAT_OK && !there)
        st = leat_fail(err, LEAT_CONFLICT,
                       "PostgreSQL: publication \"%s\" does not tell the changes of table %s: the table was dropped and made anew, or is partitioned and the publication is "
                       "without publish_via_partition_root. To have it copied anew: DROP PUBLICATION \"%s\", SELECT pg_drop_replication_slot('%s'), and remove %s",
                       t->slot, t->name, t->slot, t->slot, t->slot_path);
    else if (st == LEAT_OK && children)
        st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL: rows of table %s are in others that inherit from it (%s), whose changes have their own names; make a source of each",
                       t->name, children);
    free(there);
    free(children);
    leat_buffer_deinit(&name);
    return st;
}

enum leat_status leat_postgres_table_check(const struct leat_postgres_table *t, char **schema, struct leat_error *err) {
    char *oid = NULL;
    enum leat_status st = leat_postgres_table_find(t, &oid, schema, err);
    if (st == LEAT_OK) st = check_columns(t, oid, err);
    if (st == LEAT_OK) st = check_publication(t, oid, err);
    free(oid);
    return st;
}

static enum leat_status make_publication(const struct leat_postgres_table *t, const char *oid, struct leat_error *err) {
    char *there, *partitioned = NULL;
    struct leat_buffer sql = {0}, name = {0};
    leat_put_sql_string(&name, t->slot);
    enum leat_status st = leat_postgres_ask(t->server, t->timeout_us, &there, err, "SELECT 1 FROM pg_publication WHERE pubname = %s", name.data);
    if (st == LEAT_OK) st = leat_postgres_ask(t->server, t->timeout_us, &partitioned, err, "SELECT 1 FROM pg_class WHERE oid = %s AND relkind = 'p'", oid);
    if (st == LEAT_OK && !there) {
        leat_put(&sql, "CREATE PUBLICATION ");
        leat_put_sql_name(&sql, t->slot);
        leat_put(&sql, " FOR TABLE ");
        leat_rows_put_table(&sql, t->name, "\"");
        if (partitioned) leat_put(&sql, " WITH (publish_via_partition_root = true)");
        st = leat_postgres_run(t->server, sql.data, t->timeout_us, NULL, err);
    }
    free(there);
    free(partitioned);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&name);
    return st;
}

enum leat_status leat_postgres_table_publish(const struct leat_postgres_table *t, char **schema, struct leat_error *err) {
    char *oid = NULL;
    enum leat_status st = leat_postgres_table_find(t, &oid, schema, err);
    if (st == LEAT_OK) st = check_columns(t, oid, err);
    if (st == LEAT_OK) st = check_identities(t, oid, err);
    if (st == LEAT_OK) st = make_publication(t, oid, err);
    if (st == LEAT_OK) st = check_publication(t, oid, err);
    free(oid);
    return st;
}

enum leat_status leat_postgres_table_had(const struct leat_postgres_table *t, const char *column, size_t columns, bool *had, struct leat_error *err) {
    struct leat_buffer name = {0};
    char *oid = NULL, *number = NULL, *schema = NULL;
    leat_put_sql_string(&name, column);
    enum leat_status st = leat_postgres_table_find(t, &oid, &schema, err);
    if (st == LEAT_OK) st = leat_postgres_ask(t->server, t->timeout_us, &number, err, "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s", oid, name.data);
    *had = st == LEAT_OK && number && strtoul(number, NULL, 10) <= columns;
    leat_buffer_deinit(&name);
    free(schema);
    free(number);
    free(oid);
    return st;
}
