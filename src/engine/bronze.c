/* Bronze: a source's archive in the lake, and its dead letters. Both are Delta tables whose txn is
 * (work folder incarnation / partition) -> next offset (rule 14), so a flush repeated after a crash writes nothing twice. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "state/row.h"

static const struct leat_type T_INTEGER = {LEAT_INTEGER, 0, 0}, T_BIGINT = {LEAT_BIGINT, 0, 0},
                              T_TIMESTAMP = {LEAT_TIMESTAMP, 0, 0}, T_BLOB = {LEAT_BLOB, 0, 0},
                              T_VARCHAR = {LEAT_VARCHAR, 0, 0};

static void partition_app_id(const struct leat_src *src, uint32_t partition, char out[64]) {
    snprintf(out, 64, "%s/%u", src->engine->incarnation, partition);
}

/* Over all incarnations: each goes on where the one before it ended (lost.c). */
void leat_bronze_cursors(const struct leat_delta_snapshot *now, struct leat_cursors *out) {
    enum { UUID_LENGTH = 36 };
    for (size_t i = 0; i < now->txn_count; i++) {
        const char *id = now->txns[i].app_id;
        uint64_t next = (uint64_t)now->txns[i].version;
        if (strlen(id) <= UUID_LENGTH || id[UUID_LENGTH] != '/') continue;
        uint32_t partition = (uint32_t)strtoul(id + UUID_LENGTH + 1, NULL, 10);
        if (next > leat_cursor_get(out, partition)) leat_cursor_set(out, partition, next);
    }
}

/* Rule 20: a new column is NULL in the records that are in bronze, whatever their bytes say, and bronze says since when it has values. A
 * column that is declared no more stays in the archive. */
static enum leat_status take_columns(struct leat_src *src, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    const char *column;
    json_t *cursors;
    leat_bronze_cursors(leat_delta_current(src->bronze), &src->bronzed);
    if (!src->engine->read_only) {
        json_t *json = leat_cursors_json(&src->bronzed);
        char *note = json_dumps(json, JSON_COMPACT);
        st = leat_delta_grow(src->bronze, note, err);
        free(note);
        json_decref(json);
    }
    leat_schema_deinit(&src->bronze_schema);
    leat_schema_copy(&src->bronze_schema, leat_delta_schema(src->bronze));
    const char *text = leat_delta_current(src->bronze)->grown_json;
    json_t *grown = text ? json_loads(text, 0, NULL) : NULL;
    json_object_foreach(grown, column, cursors)
        leat_cursors_raise(&src->grown, cursors);
    json_decref(grown);
    return st;
}

enum leat_status leat_bronze_open(struct leat_src *src, struct leat_error *err) {
    struct leat_engine *engine = src->engine;
    enum leat_status st;
    leat_schema_copy(&src->bronze_schema, &src->def->schema);
    for (size_t i = 0; i < src->bronze_schema.field_count; i++) src->bronze_schema.fields[i].not_null = false;
    leat_schema_add(&src->bronze_schema, "_partition", T_INTEGER, false);
    leat_schema_add(&src->bronze_schema, "_offset", T_BIGINT, false);
    leat_schema_add(&src->bronze_schema, "_arrival", T_TIMESTAMP, false);
    leat_schema_add(&src->bronze_schema, "_identity", T_BIGINT, false);
    leat_schema_add(&src->bronze_schema, "_decode_version", T_INTEGER, false);
    leat_schema_add(&src->bronze_schema, "_payload", T_BLOB, false);
    leat_schema_add(&src->dead_schema, "_partition", T_INTEGER, false);
    leat_schema_add(&src->dead_schema, "_offset", T_BIGINT, false);
    leat_schema_add(&src->dead_schema, "_arrival", T_TIMESTAMP, false);
    leat_schema_add(&src->dead_schema, "reason", T_VARCHAR, false);
    leat_schema_add(&src->dead_schema, "payload", T_BLOB, false);
    char *bronze_dir = leat_asprintf("%s/bronze/%s", engine->lake_dir, src->def->name);
    char *dead_dir = leat_asprintf("%s/dead/%s", engine->lake_dir, src->def->name);
    struct leat_delta_options options = {.name = src->def->name, .schema = &src->bronze_schema, .grows = true};
    st = leat_delta_open(engine->env, engine->batch_conn, bronze_dir, engine->scratch_dir, &options, &src->bronze, err);
    if (st == LEAT_CONFLICT)
        leat_prepend(err, "a column that has records keeps its type; give the changed one another name, or take back the change");
    if (st == LEAT_OK) st = take_columns(src, err);
    if (st != LEAT_OK) goto out;
    options.schema = &src->dead_schema;
    options.grows = false;
    if ((st = leat_delta_open(engine->env, engine->batch_conn, dead_dir, engine->scratch_dir, &options, &src->dead, err)) != LEAT_OK)
        goto out;
    leat_bronze_cursors(leat_delta_current(src->dead), &src->deaded);
    st = leat_retain_load(src, err);
out:
    free(bronze_dir);
    free(dead_dir);
    return st;
}

/* What a flush archives: per chunk a batch that borrows the chunk's columns, with the archive's own beside them. */
struct archive {
    struct leat_changes *batches;
    size_t count, rows_max;
    struct leat_changes *joined; /* batches that took the place of small ones */
    size_t joined_count;
    int32_t *versions; /* rows_max times LEAT_DECODE_VERSION */
    void *nulls;       /* rows_max zeros of the widest type: values, and validity, of columns that are all NULL */
    struct leat_arena arena;
};

/* Where `raw` holds nothing, the columns lose nothing: no payload is kept. */
static uint64_t *valid_payloads(struct leat_arena *arena, const struct leat_string *raw, size_t n) {
    size_t bytes = (n + 63) / 64 * sizeof(uint64_t);
    uint64_t *valid = leat_arena_alloc(arena, bytes);
    memset(valid, 0, bytes);
    for (size_t i = 0; i < n; i++)
        if (raw[i].length) valid[i / 64] |= (uint64_t)1 << (i % 64);
    return valid;
}

static void set_column(struct leat_changes *batch, size_t column, void *data, uint64_t *valid) {
    batch->columns[column] = (struct leat_column){batch->schema->fields[column].type, data, valid};
}

static void archive_chunk(struct leat_src *src, const struct leat_chunk *chunk, size_t from, struct archive *a) {
    struct leat_changes *batch = &a->batches[a->count++];
    size_t n = chunk->rows.row_count - from, c = 0;
    *batch = (struct leat_changes){.schema = &src->bronze_schema, .row_count = n, .capacity = n};
    batch->columns = leat_arena_alloc(&a->arena, src->bronze_schema.field_count * sizeof *batch->columns);
    for (; c < src->def->schema.field_count; c++) {
        const struct leat_column *column = &chunk->rows.columns[c];
        set_column(batch, c, (char *)column->data + from * leat_type_size(column->type), leat_valid_from(&a->arena, column, from, n));
    }
    int32_t *partitions = leat_arena_alloc(&a->arena, n * sizeof *partitions);
    int64_t *arrivals = leat_arena_alloc(&a->arena, n * sizeof *arrivals);
    for (size_t i = 0; i < n; i++) {
        partitions[i] = (int32_t)chunk->partition;
        arrivals[i] = chunk->arrival_us;
    }
    set_column(batch, c++, partitions, NULL);
    set_column(batch, c++, chunk->offsets + from, NULL);
    set_column(batch, c++, arrivals, NULL);
    set_column(batch, c++, chunk->identities ? chunk->identities + from : a->nulls, chunk->identities ? NULL : a->nulls);
    set_column(batch, c++, a->versions, NULL);
    set_column(batch, c++, chunk->raw ? chunk->raw + from : a->nulls,
               chunk->raw ? valid_payloads(&a->arena, chunk->raw + from, n) : a->nulls);
    for (; c < src->bronze_schema.field_count; c++) set_column(batch, c, a->nulls, a->nulls);
}

static void archive_init(const struct leat_src *src, struct archive *a) {
    size_t chunks = 0;
    *a = (struct archive){0};
    for (const struct leat_chunk *c = src->first; c; c = c->next, chunks++)
        if (c->rows.row_count > a->rows_max) a->rows_max = c->rows.row_count;
    a->batches = leat_alloc(chunks * sizeof *a->batches);
    a->versions = leat_alloc(a->rows_max * sizeof *a->versions);
    a->nulls = leat_alloc((a->rows_max + 64) * sizeof(struct leat_string));
    for (size_t i = 0; i < a->rows_max; i++) a->versions[i] = LEAT_DECODE_VERSION;
}

static void join(struct archive *a, const struct leat_changes *small, size_t count, size_t rows, struct leat_changes *out) {
    leat_changes_init(out, small->schema);
    leat_changes_reserve(out, rows);
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < out->schema->field_count; c++)
            leat_gather_borrowed(out, c, out->row_count, &small[i], c, NULL, 0, small[i].row_count);
        out->row_count += small[i].row_count;
    }
    a->joined[a->joined_count++] = *out;
}

/* Each batch is a chunk for DuckDB, whose cost is a chunk's as much as a row's: thousands of a few rows (blocks that somebody waited for) become a few. */
static void join_small(struct archive *a) {
    enum { SMALL_ROWS = 1024, JOINED_ROWS = 16384 };
    size_t out = 0;
    a->joined = leat_alloc((a->count + 1) * sizeof *a->joined);
    for (size_t i = 0, next; i < a->count; i = next) {
        size_t rows = 0;
        for (next = i; next < a->count && a->batches[next].row_count < SMALL_ROWS && rows < JOINED_ROWS; next++) rows += a->batches[next].row_count;
        if (next > i + 1) {
            struct leat_changes joined;
            join(a, &a->batches[i], next - i, rows, &joined);
            a->batches[out++] = joined;
        } else {
            next = i + 1;
            a->batches[out++] = a->batches[i];
        }
    }
    a->count = out;
}

static void archive_deinit(struct archive *a) {
    for (size_t i = 0; i < a->joined_count; i++) leat_changes_deinit(&a->joined[i]);
    free(a->joined);
    free(a->batches);
    free(a->versions);
    free(a->nulls);
    leat_arena_deinit(&a->arena);
}

static void gather_dead(struct leat_src *src, const struct leat_chunk *chunk, struct leat_changes *batch) {
    uint64_t done = leat_cursor_get(&src->deaded, chunk->partition);
    for (size_t i = 0; i < chunk->dead_count; i++) {
        const struct leat_dead_record *dead = &chunk->dead[i];
        if (dead->offset < done) continue;
        leat_changes_reserve(batch, batch->row_count + 1);
        size_t at = batch->row_count++;
        ((int32_t *)batch->columns[0].data)[at] = (int32_t)chunk->partition;
        ((int64_t *)batch->columns[1].data)[at] = (int64_t)dead->offset;
        ((int64_t *)batch->columns[2].data)[at] = chunk->arrival_us;
        ((struct leat_string *)batch->columns[3].data)[at] = leat_string_of(dead->reason, (uint32_t)strlen(dead->reason));
        ((struct leat_string *)batch->columns[4].data)[at] = dead->payload;
    }
}

uint64_t leat_bronze_waiting(const struct leat_src *src) {
    uint64_t waiting = 0;
    for (size_t i = 0; i < src->ends.count; i++)
        waiting += src->ends.items[i].next - leat_cursor_get(&src->bronzed, src->ends.items[i].partition);
    return waiting;
}

static enum leat_status append_batch(struct leat_src *src, struct leat_delta *table, const struct leat_changes *batches,
                                     size_t batch_count, const struct leat_cursors *ends, struct leat_error *err) {
    struct leat_delta_txn *txns = leat_alloc((ends->count + 1) * sizeof *txns);
    struct leat_buffer frontier = {0};
    for (size_t i = 0; i < ends->count; i++) {
        txns[i].app_id = leat_alloc(64);
        partition_app_id(src, ends->items[i].partition, txns[i].app_id);
        txns[i].version = (int64_t)ends->items[i].next;
    }
    json_t *json = leat_cursors_json(ends);
    char *text = json_dumps(json, JSON_COMPACT);
    leat_putf(&frontier, "{\"offsets\":%s}", text);
    struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = frontier.data, .txns = txns, .txn_count = ends->count};
    enum leat_status st = leat_delta_append_rows(table, batches, batch_count, &info, NULL, err);
    for (size_t i = 0; i < ends->count; i++) free(txns[i].app_id);
    free(txns);
    free(text);
    json_decref(json);
    leat_buffer_deinit(&frontier);
    return st;
}

enum leat_status leat_bronze_flush(struct leat_src *src, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    struct leat_changes dead;
    struct archive archive;
    struct leat_cursors touched = {0};
    int64_t cpu = leat_usage_thread_cpu_us();
    if (leat_bronze_waiting(src) == 0) return LEAT_OK;
    if ((st = leat_src_keep(src, err)) != LEAT_OK) return st;
    archive_init(src, &archive);
    leat_changes_init(&dead, &src->dead_schema);
    for (const struct leat_chunk *c = src->first; c; c = c->next) {
        if (c->to <= leat_cursor_get(&src->bronzed, c->partition)) continue;
        archive_chunk(src, c, leat_chunk_row(c, leat_cursor_get(&src->bronzed, c->partition)), &archive);
        gather_dead(src, c, &dead);
        leat_cursor_set(&touched, c->partition, c->to);
    }
    if (dead.row_count && (st = append_batch(src, src->dead, &dead, 1, &touched, err)) != LEAT_OK) goto out;
    for (size_t i = 0; i < touched.count; i++) leat_cursor_set(&src->deaded, touched.items[i].partition, touched.items[i].next);
    join_small(&archive);
    if ((st = append_batch(src, src->bronze, archive.batches, archive.count, &touched, err)) != LEAT_OK) goto out;
    for (size_t i = 0; i < touched.count; i++) leat_cursor_set(&src->bronzed, touched.items[i].partition, touched.items[i].next);
    if (leat_setting_int(src->engine->project, "compact_files"))
        st = leat_delta_compact(src->bronze, 128u << 20, NULL, err);
out:
    leat_phase_end(src->engine, LEAT_PHASE_BRONZE, cpu);
    leat_cursors_free(&touched);
    archive_deinit(&archive);
    leat_changes_deinit(&dead);
    return st;
}

void leat_bronze_put_below(const struct leat_cursors *upto, struct leat_buffer *sql) {
    leat_put(sql, "(false");
    for (size_t i = 0; i < upto->count; i++)
        leat_putf(sql, " OR (_partition = %u AND _offset < %llu)", upto->items[i].partition, (unsigned long long)upto->items[i].next);
    leat_put(sql, ")");
}

void leat_bronze_select(const struct leat_src *src, const struct leat_cursors *upto, const char *extra_where,
                        struct leat_buffer *sql) {
    const struct leat_source *def = src->def;
    struct leat_buffer where = {0};
    char *dir = leat_asprintf("%s/bronze/%s", src->engine->lake_dir, def->name);
    if (extra_where) leat_putf(&where, "(%s)", extra_where);
    if (upto) {
        if (where.length) leat_put(&where, " AND ");
        leat_bronze_put_below(upto, &where);
    }
    if (src->begins.count) { /* files that hold older and newer records may still be there */
        leat_put(&where, where.length ? " AND NOT " : "NOT ");
        leat_bronze_put_below(&src->begins, &where);
    }
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < def->schema.field_count; i++) {
        leat_put_sql_name(sql, def->schema.fields[i].name);
        leat_put(sql, ", ");
    }
    if (def->include_partition) {
        leat_put(sql, "_partition AS ");
        leat_put_sql_name(sql, def->partition_name);
        leat_put(sql, ", ");
    }
    if (def->include_offset) {
        leat_put(sql, "_offset AS ");
        leat_put_sql_name(sql, def->offset_name);
        leat_put(sql, ", ");
    }
    if (def->include_timestamp) {
        leat_put(sql, "_arrival AS ");
        leat_put_sql_name(sql, def->timestamp_name);
        leat_put(sql, ", ");
    }
    leat_put(sql, "_partition, _offset, _arrival, _identity FROM (");
    leat_delta_select(dir, leat_delta_current(src->bronze), &src->bronze_schema, where.length ? where.data : NULL, sql);
    leat_put(sql, ")");
    leat_buffer_deinit(&where);
    free(dir);
}

void leat_engine_recorded(const struct leat_engine *engine, size_t source, struct leat_buffer *out) {
    leat_bronze_select(&engine->sources[source], NULL, NULL, out);
}

void leat_engine_archive(const struct leat_engine *engine, size_t source, struct leat_buffer *out) {
    const struct leat_src *src = &engine->sources[source];
    char *dir = leat_asprintf("%s/bronze/%s", engine->lake_dir, src->def->name);
    leat_delta_select(dir, leat_delta_current(src->bronze), &src->bronze_schema, NULL, out);
    free(dir);
}

void leat_engine_dead_letters(const struct leat_engine *engine, size_t source, struct leat_buffer *out) {
    const struct leat_src *src = &engine->sources[source];
    char *dir = leat_asprintf("%s/dead/%s", engine->lake_dir, src->def->name);
    leat_delta_select(dir, leat_delta_current(src->dead), &src->dead_schema, NULL, out);
    free(dir);
}

static enum leat_status dead_of_range(struct leat_src *src, struct leat_chunk *chunk, struct leat_error *err) {
    struct leat_result result = {0};
    struct leat_buffer sql = {0};
    char *dir = leat_asprintf("%s/dead/%s", src->engine->lake_dir, src->def->name);
    uint64_t first = chunk->to - leat_src_kept(src, chunk->partition, chunk->from, chunk->to);
    char *where = leat_asprintf("_partition = %u AND _offset >= %llu AND _offset < %llu", chunk->partition, (unsigned long long)first,
                                (unsigned long long)chunk->to);
    leat_put(&sql, "SELECT _offset FROM (");
    leat_delta_select(dir, leat_delta_current(src->dead), &src->dead_schema, where, &sql);
    leat_put(&sql, ") ORDER BY _offset");
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    if (st == LEAT_OK && result.rows.row_count) {
        chunk->dead_count = result.rows.row_count;
        chunk->dead = leat_alloc(chunk->dead_count * sizeof *chunk->dead);
        for (size_t i = 0; i < chunk->dead_count; i++)
            chunk->dead[i].offset = (uint64_t)((const int64_t *)result.rows.columns[0].data)[i];
    }
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    free(dir);
    free(where);
    return st;
}

/* Rule 3: what was deleted from bronze cannot be made anew, and must not be erased from the tables by trying. */
static enum leat_status check_complete(const struct leat_src *src, const struct leat_chunk *chunk, struct leat_error *err) {
    uint64_t there = chunk->rows.row_count + chunk->dead_count, wanted = leat_src_kept(src, chunk->partition, chunk->from, chunk->to);
    if (there == wanted) return LEAT_OK;
    return leat_fail(err, LEAT_CORRUPT, LEAT_BRONZE_LACKS, src->def->name, (unsigned long long)(wanted - there), chunk->partition,
                     (unsigned long long)chunk->from, (unsigned long long)chunk->to, src->engine->lake_dir, src->def->name);
}

/* only: a condition that picks rows; then the dead records are left out. NULL: the whole range. */
static enum leat_status read_slice(struct leat_src *src, uint32_t partition, uint64_t from, uint64_t to, const char *only,
                                   struct leat_chunk **out, struct leat_error *err) {
    struct leat_result result = {0};
    struct leat_buffer sql = {0}, columns = {0};
    size_t declared = src->def->schema.field_count;
    char *where = leat_asprintf("_partition = %u AND _offset >= %llu AND _offset < %llu%s%s", partition, (unsigned long long)from,
                                (unsigned long long)to, only ? " AND " : "", only ? only : "");
    *out = NULL;
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < declared; i++) {
        leat_put_sql_name(&sql, src->def->schema.fields[i].name);
        leat_put(&sql, ", ");
    }
    leat_put(&sql, "_offset, _arrival FROM (");
    leat_bronze_select(src, NULL, where, &sql);
    leat_put(&sql, ") ORDER BY _offset");
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    if (st != LEAT_OK) goto out;
    struct leat_chunk *chunk = leat_alloc(sizeof *chunk);
    size_t n = result.rows.row_count;
    chunk->partition = partition;
    chunk->from = from;
    chunk->to = to;
    chunk->max_event_us = INT64_MIN;
    leat_changes_init(&chunk->rows, &src->def->schema);
    leat_changes_reserve(&chunk->rows, chunk->rows.row_count + n);
    for (size_t c = 0; c < declared; c++) leat_gather_borrowed(&chunk->rows, c, chunk->rows.row_count, &result.rows, c, NULL, 0, n);
    chunk->rows.row_count = n;
    chunk->offsets = leat_alloc((n + 1) * sizeof *chunk->offsets);
    if (n) memcpy(chunk->offsets, result.rows.columns[declared].data, n * sizeof *chunk->offsets);
    chunk->arrivals = leat_alloc((n + 1) * sizeof *chunk->arrivals);
    if (n) memcpy(chunk->arrivals, result.rows.columns[declared + 1].data, n * sizeof *chunk->arrivals);
    if (src->def->event_time >= 0) {
        const struct leat_column *times = &chunk->rows.columns[src->def->event_time];
        for (size_t i = 0; i < n; i++)
            if (!leat_is_null(times, i) && ((const int64_t *)times->data)[i] > chunk->max_event_us)
                chunk->max_event_us = ((const int64_t *)times->data)[i];
    }
    chunk->arena = result.rows.strings; /* the rows' strings move along */
    result.rows.strings = (struct leat_arena){0};
    if (!only && (st = dead_of_range(src, chunk, err)) == LEAT_OK) st = check_complete(src, chunk, err);
    if (st != LEAT_OK) {
        leat_chunk_free(chunk);
        goto out;
    }
    *out = chunk;
out:
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&columns);
    free(where);
    return st;
}

enum leat_status leat_bronze_read(struct leat_src *src, uint32_t partition, uint64_t from, uint64_t to,
                                  enum leat_status (*visit)(void *, struct leat_chunk *, struct leat_error *), void *context,
                                  struct leat_error *err) {
    enum { SLICE = 250000 };
    for (uint64_t at = from, end; at < to; at = end) {
        uint64_t gone = to - at - leat_src_kept(src, partition, at, to); /* the first slice holds what is no longer there */
        struct leat_chunk *chunk;
        end = to - at - gone < SLICE ? to : at + gone + SLICE;
        enum leat_status st = read_slice(src, partition, at, end, NULL, &chunk, err);
        if (st != LEAT_OK) return st;
        if ((st = visit(context, chunk, err)) != LEAT_OK) return st;
    }
    return LEAT_OK;
}

enum leat_status leat_bronze_pick(struct leat_src *src, uint32_t partition, const uint64_t *offsets, size_t n, struct leat_chunk **out,
                                  struct leat_error *err) {
    struct leat_buffer only = {0};
    leat_put(&only, "_offset IN (");
    for (size_t i = 0; i < n; i++) leat_putf(&only, "%s%llu", i ? "," : "", (unsigned long long)offsets[i]);
    leat_put(&only, ")");
    enum leat_status st = read_slice(src, partition, offsets[0], offsets[n - 1] + 1, only.data, out, err);
    leat_buffer_deinit(&only);
    return st;
}
