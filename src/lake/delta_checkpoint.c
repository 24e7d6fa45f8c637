/* Checkpoints: the whole state of one version as a classic single-file Parquet checkpoint, written by DuckDB from
 * nested structs, then _last_checkpoint pointing at it. Neither is needed for the table to be right: a crash in between
 * leaves a checkpoint that a listing finds.
 * Source: Delta PROTOCOL.md, "Checkpoints", "Checkpoint Schema", "Last Checkpoint File Schema". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define RETENTION_MS ((int64_t)7 * 86400000) /* Delta's default of delta.deletedFileRetentionDuration */

enum row_kind { ROW_TXN, ROW_ADD, ROW_REMOVE, ROW_METADATA, ROW_PROTOCOL };

/* "interval 2 days" and its kin; what is not understood keeps tombstones for Delta's default. */
static int64_t retention_ms(const struct leat_delta_metadata *m) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"second", 1000}, {"minute", 60000}, {"hour", 3600000}, {"day", 86400000}, {"week", 604800000}};
    json_error_t ignored;
    json_t *root = json_loads(m->configuration_json ? m->configuration_json : "{}", 0, &ignored);
    const char *text = json_string_value(json_object_get(root, "delta.deletedFileRetentionDuration"));
    int64_t result = RETENTION_MS;
    int count;
    char unit[16];
    if (text && sscanf(text, "interval %7d %15[a-z]", &count, unit) == 2 && count >= 0)
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strncmp(unit, units[i].unit, strlen(units[i].unit)) == 0) result = count * units[i].ms;
    json_decref(root);
    return result;
}

/* ---- rows: kind, path or appId, size or version, time, stats ---- */

static void add_row(struct leat_changes *rows, enum row_kind kind, const char *text, int64_t number, int64_t time,
                    const char *stats) {
    size_t at = rows->row_count;
    if (at == rows->capacity) leat_changes_reserve(rows, at * 2 + 64);
    rows->row_count++;
    ((int32_t *)rows->columns[0].data)[at] = (int32_t)kind;
    ((struct leat_string *)rows->columns[1].data)[at] = leat_string_of(text, (uint32_t)strlen(text));
    ((int64_t *)rows->columns[2].data)[at] = number;
    ((int64_t *)rows->columns[3].data)[at] = time;
    if (stats)
        ((struct leat_string *)rows->columns[4].data)[at] = leat_string_of(stats, (uint32_t)strlen(stats));
    else
        leat_set_null(rows, 4, at);
    if (time < 0) leat_set_null(rows, 3, at);
}

/* Paths stand in the log as URIs; most need no encoding and are lent as they are. */
static const char *uri_of(struct leat_changes *rows, const char *path) {
    struct leat_buffer encoded = {0};
    leat_delta_put_path(&encoded, path);
    const char *result = path;
    if (encoded.length != strlen(path)) result = leat_arena_copy(&rows->strings, encoded.data, encoded.length);
    leat_buffer_deinit(&encoded);
    return result;
}

static void collect_rows(const struct leat_delta_state *s, struct leat_changes *rows) {
    leat_changes_reserve(rows, s->snapshot.file_count + s->snapshot.txn_count + s->tombstone_count + 2);
    add_row(rows, ROW_PROTOCOL, "", 0, 0, NULL);
    add_row(rows, ROW_METADATA, "", 0, 0, NULL);
    for (size_t i = 0; i < s->snapshot.txn_count; i++)
        add_row(rows, ROW_TXN, s->snapshot.txns[i].app_id, s->snapshot.txns[i].version, s->txn_updated_ms[i], NULL);
    for (size_t i = 0; i < s->snapshot.file_count; i++) {
        const struct leat_delta_file *f = &s->snapshot.files[i];
        add_row(rows, ROW_ADD, uri_of(rows, f->path), (int64_t)f->size_bytes, f->modified_ms, f->stats_json);
    }
    for (size_t i = 0; i < s->tombstone_count; i++) {
        const struct leat_delta_tombstone *t = &s->tombstones[i];
        add_row(rows, ROW_REMOVE, uri_of(rows, t->path), (int64_t)t->size_bytes, t->deleted_ms, NULL);
    }
}

/* ---- SQL ---- */

static void put_text(struct leat_buffer *b, const char *text) {
    if (text) leat_put_sql_string(b, text);
    leat_put(b, text ? "::VARCHAR" : "NULL::VARCHAR");
}

static void put_list(struct leat_buffer *b, char *const *texts, size_t count, bool is_null) {
    if (is_null) {
        leat_put(b, "NULL::VARCHAR[]");
        return;
    }
    leat_put(b, "CAST([");
    for (size_t i = 0; i < count; i++) {
        if (i) leat_put(b, ", ");
        leat_put_sql_string(b, texts[i]);
    }
    leat_put(b, "] AS VARCHAR[])");
}

static void put_map(struct leat_buffer *b, const char *json) {
    json_error_t ignored;
    json_t *root = json_loads(json ? json : "{}", 0, &ignored);
    const char *key;
    json_t *value;
    bool first = true;
    leat_put(b, "CAST(MAP {");
    json_object_foreach(root, key, value) {
        char *scalar = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
        leat_put(b, first ? "" : ", ");
        leat_put_sql_string(b, key);
        leat_put(b, ": ");
        if (json_is_null(value))
            leat_put(b, "NULL");
        else
            leat_put_sql_string(b, scalar ? scalar : json_string_value(value));
        free(scalar);
        first = false;
    }
    json_decref(root);
    leat_put(b, "} AS MAP(VARCHAR, VARCHAR))");
}

static void put_metadata_sql(struct leat_buffer *b, const struct leat_delta_metadata *m) {
    leat_putf(b, "CASE WHEN c0 = %d THEN struct_pack(\"id\" := ", ROW_METADATA);
    put_text(b, m->id);
    leat_put(b, ", \"name\" := ");
    put_text(b, m->name);
    leat_put(b, ", \"description\" := ");
    put_text(b, m->description);
    leat_put(b, ", \"format\" := struct_pack(\"provider\" := 'parquet'::VARCHAR, \"options\" := CAST(MAP {} AS "
                "MAP(VARCHAR, VARCHAR)))"
                ", \"schemaString\" := ");
    put_text(b, m->schema_json);
    leat_put(b, ", \"partitionColumns\" := ");
    put_list(b, m->partition_columns, m->partition_column_count, false);
    leat_put(b, ", \"configuration\" := ");
    put_map(b, m->configuration_json);
    if (m->created_ms >= 0)
        leat_putf(b, ", \"createdTime\" := %" PRId64 "::BIGINT", m->created_ms);
    else
        leat_put(b, ", \"createdTime\" := NULL::BIGINT");
    leat_put(b, ") END AS \"metaData\"");
}

static void put_protocol_sql(struct leat_buffer *b, const struct leat_delta_protocol *p) {
    leat_putf(b,
              "CASE WHEN c0 = %d THEN struct_pack(\"minReaderVersion\" := %" PRId64
              "::INTEGER, \"minWriterVersion\" := %" PRId64 "::INTEGER",
              ROW_PROTOCOL, p->reader, p->writer);
    leat_put(b, ", \"readerFeatures\" := ");
    put_list(b, p->reader_features, p->reader_feature_count, p->reader < 3);
    leat_put(b, ", \"writerFeatures\" := ");
    put_list(b, p->writer_features, p->writer_feature_count, p->writer < 7);
    leat_put(b, ") END AS \"protocol\"");
}

static void put_copy_sql(const struct leat_delta *d, const char *input, const char *scratch, struct leat_buffer *b) {
    static const char no_map[] = "CAST(MAP {} AS MAP(VARCHAR, VARCHAR))"; /* leat writes no partitioned tables */
    leat_putf(b,
              "COPY (SELECT CASE WHEN c0 = %d THEN struct_pack(\"appId\" := c1, \"version\" := c2, \"lastUpdated\" := "
              "c3) END AS \"txn\", ",
              ROW_TXN);
    leat_putf(b,
              "CASE WHEN c0 = %d THEN struct_pack(\"path\" := c1, \"partitionValues\" := %s, \"size\" := c2, "
              "\"modificationTime\" := c3, "
              "\"dataChange\" := false, \"stats\" := c4, \"tags\" := NULL::MAP(VARCHAR, VARCHAR)) END AS \"add\", ",
              ROW_ADD, no_map);
    leat_putf(
        b,
        "CASE WHEN c0 = %d THEN struct_pack(\"path\" := c1, \"deletionTimestamp\" := c3, \"dataChange\" := false, "
        "\"extendedFileMetadata\" := true, \"partitionValues\" := %s, \"size\" := c2) END AS \"remove\", ",
        ROW_REMOVE, no_map);
    put_metadata_sql(b, &d->state.metadata);
    leat_put(b, ", ");
    put_protocol_sql(b, &d->state.protocol);
    leat_putf(b, " FROM leat_input('%s')) TO ", input);
    leat_put_sql_string(b, scratch);
    leat_put(b, " (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, RETURN_STATS)");
}

static enum leat_status write_pointer(struct leat_delta *d, int64_t version, size_t action_count, uint64_t size_bytes,
                                      struct leat_error *err) {
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/_last_checkpoint", d->table_dir);
    leat_putf(&text, "{\"version\":%" PRId64 ",\"size\":%zu,\"sizeInBytes\":%" PRIu64 ",\"numOfAddFiles\":%zu}",
              version, action_count, size_bytes, d->state.snapshot.file_count);
    enum leat_status status = leat_io_write_durable(d->env->io, path, text.data, text.length, true, err);
    leat_buffer_deinit(&text);
    free(path);
    return status;
}

enum leat_status leat_delta_checkpoint(struct leat_delta *d, struct leat_error *err) {
    static const struct {
        const char *name;
        enum leat_kind kind;
    } fields[] = {{"kind", LEAT_INTEGER},
                  {"text", LEAT_VARCHAR},
                  {"number", LEAT_BIGINT},
                  {"time", LEAT_BIGINT},
                  {"stats", LEAT_VARCHAR}};
    struct leat_schema schema = {0};
    struct leat_changes rows;
    struct leat_copied copied = {0};
    struct leat_buffer sql = {0};
    int64_t version = d->state.snapshot.version;
    char uuid[37];
    leat_random_uuid(&d->env->random, uuid);
    char *input = leat_asprintf("%s_checkpoint", d->input_name);
    char *scratch = leat_asprintf("%s/%s.checkpoint.parquet", d->scratch_dir, uuid);
    char *to = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/%020" PRId64 ".checkpoint.parquet", d->table_dir, version);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        leat_schema_add(&schema, fields[i].name, (struct leat_type){.kind = (uint8_t)fields[i].kind}, false);
    leat_changes_init(&rows, &schema);
    leat_delta_state_expire(&d->state, leat_delta_now_ms(d) - retention_ms(&d->state.metadata));
    collect_rows(&d->state, &rows);
    put_copy_sql(d, input, scratch, &sql);
    enum leat_status status = leat_conn_input(d->conn, input, &schema, false, err);
    if (status != LEAT_OK) goto out;
    leat_conn_bind(d->conn, input, &rows);
    status = leat_conn_copy(d->conn, sql.data, &copied, err);
    leat_conn_bind(d->conn, input, NULL);
    if (status == LEAT_OK && copied.file_count != 1)
        status = leat_fail(err, LEAT_SQL, "DuckDB wrote %zu files, not one", copied.file_count);
    if (status == LEAT_OK) status = d->env->io->ops->adopt(d->env->io, scratch, to, err);
    if (status == LEAT_EXISTS) status = LEAT_OK; /* of a writer that stopped before it wrote the pointer */
    if (status == LEAT_OK) status = write_pointer(d, version, rows.row_count, copied.files[0].size_bytes, err);
    if (status == LEAT_OK) d->checkpoint_version = version;
    if (leat_io_exists(d->env->io, scratch)) d->env->io->ops->unlink(d->env->io, scratch, NULL);
out:
    leat_copied_deinit(&copied);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&sql);
    free(input);
    free(scratch);
    free(to);
    return status;
}
