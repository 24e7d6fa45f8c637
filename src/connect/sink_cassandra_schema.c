/* The table in Cassandra: made, found, compared. */
#include "connect/sink_cassandra.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct remote {
    struct leat_buffer name, kind, type;
    int64_t position;
};
struct remotes {
    struct remote *items;
    size_t count;
};

static void put_text(struct leat_buffer *b, struct leat_cql_bytes text) {
    if (text.length > 0)
        leat_putn(b, (const char *)text.data, (size_t)text.length);
    else
        leat_put(b, "");
}

static bool add_remote(void *context, const struct leat_cql_result *result, const struct leat_cql_bytes *values) {
    struct remotes *r = context;
    if (result->column_count != 4) return false;
    r->items = leat_realloc(r->items, (r->count + 1) * sizeof *r->items);
    struct remote *one = &r->items[r->count++];
    memset(one, 0, sizeof *one);
    put_text(&one->name, values[0]);
    put_text(&one->kind, values[1]);
    put_text(&one->type, values[2]);
    if (!leat_cql_get_integer(values[3], &one->position)) one->position = -1;
    return true;
}

static void remotes_deinit(struct remotes *r) {
    for (size_t i = 0; i < r->count; i++) {
        leat_buffer_deinit(&r->items[i].name);
        leat_buffer_deinit(&r->items[i].kind);
        leat_buffer_deinit(&r->items[i].type);
    }
    free(r->items);
}

/* Changes of the schema take seconds on a busy cluster. */
#define SCHEMA_TIMEOUT_US 60000000

static int64_t deadline(const struct leat_cassandra_sink *s) {
    struct leat_clock *clock = s->context->env->clock;
    return clock->monotonic_us(clock) + SCHEMA_TIMEOUT_US;
}

static const char *option(const struct leat_cassandra_sink *s, const char *name) {
    return leat_sink_option(s->context->def, name);
}

static void put_table_name(const struct leat_cassandra_sink *s, struct leat_buffer *out) {
    leat_cql_put_name(out, option(s, "keyspace"));
    leat_put(out, ".");
    leat_cql_put_name(out, option(s, "table"));
}

/* ---- Making it ---- */

static enum leat_status change_schema(struct leat_cassandra_sink *s, const char *text, struct leat_error *err) {
    struct leat_cql_item item = {.statement = -1, .text = text};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = s->consistency};
    struct leat_cql_reply reply;
    enum leat_status st = leat_cql_run(s->session, &request, deadline(s), &reply, err);
    if (st == LEAT_INVALID) err->status = st = LEAT_CONFLICT; /* the statement is at fault, not the change that waits */
    if (st != LEAT_OK) leat_prepend(err, "%s", text);
    if (st == LEAT_OK && reply.result.kind == LEAT_CQL_SCHEMA_CHANGED)
        st = leat_cql_agree(s->session, deadline(s), err);
    return st;
}

/* Columns are made in lower case, as whoever writes CQL without quotes would. */
static void put_lower_name(struct leat_buffer *out, const char *name) {
    char *lower = leat_strdup(name);
    for (char *c = lower; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    leat_cql_put_name(out, lower);
    free(lower);
}

static bool in_list(const char *list, const char *name) {
    for (size_t n = strlen(name); *list;) {
        while (*list == ' ' || *list == ',')
            list++;
        size_t length = strcspn(list, ", ");
        if (length == n && strncasecmp(list, name, n) == 0) return true;
        list += length;
    }
    return false;
}

/* ((partition), clustering): the partition is what partition_key says, or all of the key. */
static void put_primary_key(const struct leat_cassandra_sink *s, struct leat_buffer *out) {
    const struct leat_sink_context *c = s->context;
    const char *partition = option(s, "partition_key");
    leat_put(out, "PRIMARY KEY ((");
    for (int pass = 0; pass < 2; pass++) {
        bool any = false;
        for (size_t i = 0; i < c->key_count; i++) {
            const char *name = c->schema->fields[c->key[i]].name;
            if ((!partition || in_list(partition, name)) != (pass == 0)) continue;
            if (any || pass) leat_put(out, ", ");
            put_lower_name(out, name);
            any = true;
        }
        if (pass == 0) leat_put(out, ")");
    }
    leat_put(out, ")");
}

static enum leat_status create(struct leat_cassandra_sink *s, struct leat_error *err) {
    const struct leat_schema *schema = s->context->schema;
    struct leat_buffer sql = {0};
    leat_put(&sql, "CREATE KEYSPACE IF NOT EXISTS ");
    leat_cql_put_name(&sql, option(s, "keyspace"));
    leat_putf(&sql, " WITH replication = %s", option(s, "replication"));
    enum leat_status st = change_schema(s, sql.data, err);
    leat_buffer_reset(&sql);
    leat_put(&sql, "CREATE TABLE IF NOT EXISTS ");
    put_table_name(s, &sql);
    leat_put(&sql, " (");
    for (size_t i = 0; i < schema->field_count; i++) {
        put_lower_name(&sql, schema->fields[i].name);
        leat_putf(&sql, " %s, ", leat_cassandra_type_of(schema->fields[i].type));
    }
    put_primary_key(s, &sql);
    leat_put(&sql, ")");
    if (st == LEAT_OK) st = change_schema(s, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

/* ---- Finding it ---- */

static enum leat_status select_columns(struct leat_cassandra_sink *s, struct remotes *out, struct leat_error *err) {
    struct leat_buffer values = {0};
    leat_cql_put_bytes(&values, option(s, "keyspace"), strlen(option(s, "keyspace")));
    leat_cql_put_bytes(&values, option(s, "table"), strlen(option(s, "table")));
    struct leat_cql_item item = {.statement = -1,
                                 .text = "SELECT column_name, kind, type, position FROM system_schema.columns WHERE "
                                         "keyspace_name = ? AND table_name = ?",
                                 .values = values.data,
                                 .values_bytes = values.length,
                                 .value_count = 2};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_ONE, .page_rows = 1000};
    enum leat_status st = leat_cql_each_row(s->session, &request, deadline(s), add_remote, out, err);
    leat_buffer_deinit(&values);
    return st;
}

static const struct remote *find_remote(const struct remotes *r, const char *name) {
    const struct remote *found = NULL;
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->items[i].name.data, name) == 0) return &r->items[i];
        if (strcasecmp(r->items[i].name.data, name) == 0 && !found) found = &r->items[i];
    }
    return found;
}

static bool is_ours_key(const struct leat_sink_context *c, size_t column) {
    for (size_t i = 0; i < c->key_count; i++)
        if (c->key[i] == column) return true;
    return false;
}

/* A column of ours: there, of a type that takes its values, and in the key there where it is in ours. */
static enum leat_status take_column(struct leat_cassandra_sink *s, size_t i, const struct remotes *r,
                                    struct leat_error *err) {
    const struct leat_field *field = &s->context->schema->fields[i];
    const struct remote *remote = find_remote(r, field->name);
    const char *where = option(s, "table");
    if (!remote)
        return leat_fail(err, LEAT_CONFLICT,
                         "Cassandra's table '%s' has no column for '%s'; ALTER TABLE %s.%s ADD %s %s", where,
                         field->name, option(s, "keyspace"), where, field->name, leat_cassandra_type_of(field->type));
    int type = leat_cassandra_accepts(field->type, remote->type.data);
    if (type < 0) {
        struct leat_buffer fits = {0};
        char ours[32];
        leat_cassandra_accepted(field->type, &fits);
        leat_type_print(field->type, ours);
        leat_fail(err, LEAT_CONFLICT,
                  "column '%s' is %s in Cassandra's table '%s', which does not take %s; it takes %s", field->name,
                  remote->type.data, where, ours, fits.data);
        leat_buffer_deinit(&fits);
        return LEAT_CONFLICT;
    }
    bool key = strcmp(remote->kind.data, "partition_key") == 0 || strcmp(remote->kind.data, "clustering") == 0;
    if (key != is_ours_key(s->context, i) || strcmp(remote->kind.data, "static") == 0)
        return leat_fail(
            err, LEAT_CONFLICT,
            "column '%s' is %s in Cassandra's table '%s', but %s of the primary key here; both must have the same key",
            field->name, remote->kind.data, where, key ? "not part" : "part");
    s->columns[i] = (struct leat_cassandra_column){
        .name = leat_strdup(remote->name.data),
        .type = (uint16_t)type,
        .partition = strcmp(remote->kind.data, "partition_key") == 0 ? (int)remote->position : -1,
        .clustering = strcmp(remote->kind.data, "clustering") == 0 ? (int)remote->position : -1};
    return LEAT_OK;
}

/* The key in Cassandra's order; every part of it there is one of ours. */
static enum leat_status take_key(struct leat_cassandra_sink *s, const struct remotes *r, struct leat_error *err) {
    size_t remote_keys = 0, columns = s->context->schema->field_count;
    for (size_t i = 0; i < r->count; i++)
        remote_keys +=
            strcmp(r->items[i].kind.data, "partition_key") == 0 || strcmp(r->items[i].kind.data, "clustering") == 0;
    s->key = leat_alloc((s->context->key_count + 1) * sizeof *s->key);
    s->partition = s->key;
    s->key_count = s->partition_count = 0;
    if (remote_keys != s->context->key_count)
        return leat_fail(
            err, LEAT_CONFLICT,
            "the primary key of Cassandra's table '%s' has %zu columns, the one here %zu; both must have the same",
            option(s, "table"), remote_keys, s->context->key_count);
    for (int position = 0; s->key_count < remote_keys && position <= (int)remote_keys; position++)
        for (size_t i = 0; i < columns; i++)
            if (s->columns[i].partition == position) s->key[s->key_count++] = (uint16_t)i;
    s->partition_count = s->key_count;
    for (int position = 0; s->key_count < remote_keys && position <= (int)remote_keys; position++)
        for (size_t i = 0; i < columns; i++)
            if (s->columns[i].clustering == position) s->key[s->key_count++] = (uint16_t)i;
    return LEAT_OK;
}

/* INSERT writes every column, NULLs too: what was there before goes. Both say their own time (rule 13). */
static enum leat_status prepare(struct leat_cassandra_sink *s, struct leat_error *err) {
    struct leat_buffer sql = {0};
    size_t columns = s->context->schema->field_count;
    uint16_t *types = leat_alloc((columns + 1) * sizeof *types);
    leat_put(&sql, "INSERT INTO ");
    put_table_name(s, &sql);
    for (size_t i = 0; i < columns; i++) {
        leat_put(&sql, i ? ", " : " (");
        leat_cql_put_name(&sql, s->columns[i].name);
    }
    leat_put(&sql, ") VALUES (");
    for (size_t i = 0; i < columns; i++)
        leat_put(&sql, i ? ", ?" : "?");
    leat_put(&sql, ") USING TIMESTAMP ?");
    for (size_t i = 0; i < columns; i++)
        types[i] = s->columns[i].type;
    types[columns] = LEAT_CQL_BIGINT;
    enum leat_status st = leat_cql_prepare(s->session, sql.data, types, columns + 1, &s->upsert, err);
    leat_buffer_reset(&sql);
    leat_put(&sql, "DELETE FROM ");
    put_table_name(s, &sql);
    leat_put(&sql, " USING TIMESTAMP ? WHERE ");
    for (size_t i = 0; i < s->key_count; i++) {
        leat_put(&sql, i ? " AND " : "");
        leat_cql_put_name(&sql, s->columns[s->key[i]].name);
        leat_put(&sql, " = ?");
    }
    types[0] = LEAT_CQL_BIGINT;
    for (size_t i = 0; i < s->key_count; i++)
        types[i + 1] = s->columns[s->key[i]].type;
    if (st == LEAT_OK) st = leat_cql_prepare(s->session, sql.data, types, s->key_count + 1, &s->remove, err);
    leat_buffer_deinit(&sql);
    free(types);
    return st;
}

void leat_cassandra_forget(struct leat_cassandra_sink *s) {
    for (size_t i = 0; s->columns && i < s->context->schema->field_count; i++)
        free(s->columns[i].name);
    free(s->columns);
    free(s->key);
    s->columns = NULL;
    s->key = s->partition = NULL;
    s->known = false;
}

enum leat_status leat_cassandra_learn(struct leat_cassandra_sink *s, struct leat_error *err) {
    struct remotes found = {0};
    leat_cassandra_forget(s);
    enum leat_status st = select_columns(s, &found, err);
    if (st == LEAT_OK && !found.count && leat_sink_option_int(s->context->def, "create", 0)) {
        st = create(s, err);
        if (st == LEAT_OK) st = select_columns(s, &found, err);
    }
    if (st == LEAT_OK && !found.count)
        st = leat_fail(err, LEAT_NOT_FOUND, "there is no table '%s.%s' in Cassandra; make it, or say create = true",
                       option(s, "keyspace"), option(s, "table"));
    s->columns = leat_alloc((s->context->schema->field_count + 1) * sizeof *s->columns);
    for (size_t i = 0; i < s->context->schema->field_count && st == LEAT_OK; i++)
        st = take_column(s, i, &found, err);
    if (st == LEAT_OK) st = take_key(s, &found, err);
    if (st == LEAT_OK) st = prepare(s, err);
    s->known = st == LEAT_OK;
    remotes_deinit(&found);
    return st;
}
