/* The history of a reference source in the lake: loading, appending, and any version as changes or as SQL. */
#include "engine/reference/reference_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COMPACT_FILES = 64 };
static const uint64_t COMPACT_BYTES = (uint64_t)128 << 20;

static const struct leat_delta_snapshot *snapshot_of(const struct leat_reference *r) {
    return r->delta ? leat_delta_current(r->delta) : &r->opened;
}

void leat_reference_put_columns(const struct leat_reference *r, struct leat_buffer *sql) {
    for (size_t i = 0; i < r->def->schema.field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, r->def->schema.fields[i].name);
    }
}

void leat_reference_put_history(const struct leat_reference *r, struct leat_buffer *sql) {
    leat_delta_select(r->table_dir, snapshot_of(r), &r->history_schema, NULL, sql);
}

/* SELECT columns, <value> FROM history WHERE from < _version <= to, equal rows added up. */
static void put_sums(const struct leat_reference *r, uint64_t from, uint64_t to, const char *value,
                     struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    leat_reference_put_columns(r, sql);
    leat_putf(sql, ", %s FROM (", value);
    leat_reference_put_history(r, sql);
    leat_putf(sql, ") WHERE _version > %" PRIu64 " AND _version <= %" PRIu64 " GROUP BY ", from, to);
    leat_reference_put_columns(r, sql);
    leat_put(sql, " HAVING sum(_weight) <> 0");
}

enum leat_status leat_reference_read_changes(struct leat_reference *r, struct leat_buffer *sql, struct leat_changes *out, struct leat_error *err) {
    struct leat_stage *stage = NULL;
    leat_put(sql, " ORDER BY __w > 0");
    for (size_t i = 0; i < r->def->schema.field_count; i++)
        leat_putf(sql, ", %zu", i + 1);
    enum leat_status status = leat_stage_prepare(r->batch, sql->data, &stage, err);
    if (!status) status = leat_stage_run(stage, out, NULL, err);
    leat_stage_free(stage);
    return status;
}

static enum leat_status read_sums(struct leat_reference *r, uint64_t from, uint64_t to, struct leat_changes *out,
                                  struct leat_error *err) {
    struct leat_buffer sql = {0};
    put_sums(r, from, to, "CAST(sum(_weight) AS INTEGER) AS __w", &sql);
    enum leat_status status = leat_reference_read_changes(r, &sql, out, err);
    leat_buffer_deinit(&sql);
    return status;
}

static enum leat_status check_columns(struct leat_reference *r, struct leat_error *err) {
    struct leat_schema is = {0};
    enum leat_status status = leat_delta_snapshot_schema(&r->opened, &is, err);
    if (status) return status;
    bool same = is.field_count == r->history_schema.field_count;
    for (size_t i = 0; same && i < is.field_count; i++) {
        struct leat_type type = r->history_schema.fields[i].type; /* as declared, where the table's metadata keeps that */
        same = !strcmp(is.fields[i].name, r->history_schema.fields[i].name) &&
               (leat_type_equal(is.fields[i].type, type) || leat_type_equal(is.fields[i].type, leat_delta_storage_type(type)));
    }
    leat_schema_deinit(&is);
    if (same) return LEAT_OK;
    return leat_fail(
        err, LEAT_CONFLICT,
        "the columns of the source are not those of its history in %s; move that folder away to begin a new history, "
        "and rebuild the tables that join the source",
        r->table_dir);
}

enum leat_status leat_reference_load(struct leat_reference *r, struct leat_error *err) {
    struct leat_buffer sql = {0};
    int64_t version = 0;
    enum leat_status status = leat_delta_settle(r->env, r->table_dir, err);
    if (!status) status = leat_delta_snapshot(r->env, r->batch, r->table_dir, -1, &r->opened, err);
    if (status || r->opened.version < 0) return status;
    if ((status = check_columns(r, err))) return status;
    leat_put(&sql, "SELECT coalesce(max(_version), 0) FROM (");
    leat_delta_select(r->table_dir, &r->opened, &r->history_schema, NULL, &sql);
    leat_put(&sql, ")");
    status = leat_conn_int(r->batch, sql.data, &version, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    r->version = (uint64_t)version;
    if ((status = read_sums(r, 0, r->version, &r->current, err))) return status;
    for (size_t i = 0; i < r->current.row_count; i++)
        if (leat_weight(&r->current, i) < 0)
            return leat_fail(err, LEAT_CORRUPT,
                             "%s: a row disappears more often than it appeared up to version %" PRIu64, r->table_dir,
                             r->version);
    return LEAT_OK;
}

/* A refresh an hour is a file an hour: joined now and then. The history is complete without it. */
static void compact(struct leat_reference *r) {
    struct leat_error trouble = {0};
    if (leat_delta_current(r->delta)->file_count < COMPACT_FILES) return;
    if (leat_delta_compact(r->delta, COMPACT_BYTES, NULL, &trouble))
        leat_log(r->env, LEAT_LOG_WARN, "source %s: its history could not be compacted: %s", r->def->name,
                 trouble.text);
}

/* The differences as rows of the history: `diff`'s columns, borrowed, with version, weight and time beside them. */
static void history_rows(const struct leat_reference *r, const struct leat_changes *diff, uint64_t version, int64_t now_us,
                         struct leat_arena *arena, struct leat_changes *out) {
    size_t columns = r->def->schema.field_count, n = diff->row_count;
    int64_t *versions = leat_arena_alloc(arena, n * sizeof *versions), *times = leat_arena_alloc(arena, n * sizeof *times);
    int32_t *weights = leat_arena_alloc(arena, n * sizeof *weights);
    for (size_t i = 0; i < n; i++) {
        versions[i] = (int64_t)version;
        weights[i] = leat_weight(diff, i);
        times[i] = now_us;
    }
    *out = (struct leat_changes){.schema = &r->history_schema, .row_count = n, .capacity = n};
    out->columns = leat_arena_alloc(arena, r->history_schema.field_count * sizeof *out->columns);
    for (size_t i = 0; i < columns; i++) out->columns[i] = diff->columns[i];
    void *own[] = {versions, weights, times};
    for (size_t i = 0; i < 3; i++)
        out->columns[columns + i] = (struct leat_column){.type = r->history_schema.fields[columns + i].type, .data = own[i]};
}

enum leat_status leat_reference_append(struct leat_reference *r, const struct leat_changes *diff, int64_t now_us,
                                       struct leat_error *err) {
    struct leat_arena arena = {0};
    struct leat_changes rows;
    char *name = leat_asprintf("%s__history", r->def->name);
    uint64_t next = r->version + 1;
    bool done = false;
    enum leat_status status = LEAT_OK;
    if (!r->delta) {
        const struct leat_delta_options options = {.name = name, .schema = &r->history_schema};
        status = leat_delta_open(r->env, r->batch, r->table_dir, r->scratch_dir, &options, &r->delta, err);
        if (status) goto out;
    }
    history_rows(r, diff, next, now_us, &arena, &rows);
    const struct leat_delta_txn txn = {.app_id = r->incarnation, .version = (int64_t)next};
    const struct leat_delta_commit_info info = {.operation = "WRITE", .txns = &txn, .txn_count = 1};
    status = leat_delta_append_rows(r->delta, &rows, 1, &info, &done, err);
    if (!status && done) compact(r);
    if (!status && !done)
        status = leat_fail(err, LEAT_CONFLICT,
                           "%s has version %" PRIu64 " of this work folder already: somebody else writes it",
                           r->table_dir, next);
out:
    leat_arena_deinit(&arena);
    free(name);
    return status;
}

enum leat_status leat_reference_changes(struct leat_reference *r, uint64_t from, uint64_t to, struct leat_changes *out,
                                        struct leat_error *err) {
    if (from > to)
        return leat_fail(err, LEAT_INVALID, "source \"%s\": no changes lead from version %" PRIu64 " back to %" PRIu64,
                         r->def->name, from, to);
    const struct leat_reference *kept = r->of ? r->of : r;
    if (to > kept->version)
        return leat_fail(err, LEAT_NOT_FOUND,
                         "source \"%s\": version %" PRIu64 " is asked for, but its history in %s ends at %" PRIu64,
                         r->def->name, to, kept->table_dir, kept->version);
    if (from == to) return LEAT_OK;
    if (r->of) return leat_reference_versions_changes(r, from, to, out, err);
    if (to == r->version && from == 0) {
        leat_changes_append(out, &r->current, NULL, r->current.row_count, 1);
        return LEAT_OK;
    }
    if (to == r->version && from + 1 == to && r->has_last) {
        leat_changes_append(out, &r->last, NULL, r->last.row_count, 1);
        return LEAT_OK;
    }
    enum leat_status status = read_sums(r, from, to, out, err);
    return status ? leat_prepend(err, "history of source \"%s\"", r->def->name) : LEAT_OK;
}

void leat_reference_put_empty(const struct leat_reference *r, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < r->def->schema.field_count; i++) {
        char type[32];
        leat_type_print(r->def->schema.fields[i].type, type);
        leat_putf(sql, "%sCAST(NULL AS %s) AS ", i ? ", " : "", type);
        leat_put_sql_name(sql, r->def->schema.fields[i].name);
    }
    leat_put(sql, " WHERE false");
}

void leat_reference_select(const struct leat_reference *r, uint64_t version, struct leat_buffer *out_sql) {
    if (version == 0 || snapshot_of(r->of ? r->of : r)->version < 0) {
        leat_reference_put_empty(r, out_sql);
        return;
    }
    if (r->of) {
        leat_reference_versions_select(r, version, out_sql);
        return;
    }
    bool unique = r->def->primary_key_count > 0; /* else a row may be there many times */
    leat_put(out_sql, "SELECT ");
    leat_reference_put_columns(r, out_sql);
    leat_put(out_sql, " FROM (");
    put_sums(r, 0, version, unique ? "1" : "unnest(range(CAST(sum(_weight) AS BIGINT)))", out_sql);
    leat_put(out_sql, ")");
}
