/* A work folder that was lost. The lake is enough to go on: a new work folder gets a new incarnation, its log begins where bronze
 * ends, the tables are made anew from bronze and t__late (recover.c), and their first commit writes only what differs.
 *
 * What cannot be told from bronze is which file a partition is. lake/bronze/SOURCE/_partitions.json keeps that: a copy of the
 * connector's table, written before the first commit that holds anything of a partition. Readers of Delta tables pass over it.
 *
 * The recovery point is what is in bronze. Records past it that are still in their files are read again, with the same partition and
 * offset; records that only the lost log had (of files that are gone, of a feed's spool) are lost with it. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/internal.h"
#include "engine/care/care.h"

static char *copy_path(const struct leat_src *src) {
    return leat_asprintf("%s/bronze/%s/_partitions.json", src->engine->lake_dir, src->def->name);
}

enum leat_status leat_src_keep(struct leat_src *src, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector ? src->connector->ops : NULL;
    if (!ops || !ops->describe || src->engine->read_only) return LEAT_OK;
    uint64_t revision = ops->revision(src->connector);
    if (revision == src->kept_revision) return LEAT_OK;
    struct leat_buffer text = {0};
    enum leat_status st = LEAT_OK;
    ops->describe(src->connector, &text);
    uint64_t hash = XXH3_64bits(text.data, text.length);
    if (hash != src->kept_hash) {
        char *path = copy_path(src);
        st = leat_io_write_durable(src->engine->env->io, path, text.data, text.length, true, err);
        free(path);
    }
    if (st == LEAT_OK) {
        src->kept_revision = revision;
        src->kept_hash = hash;
    }
    leat_buffer_deinit(&text);
    return st;
}

static enum leat_status restore(struct leat_src *src, const struct leat_connector_ops *ops, const char *state_dir, struct leat_error *err) {
    enum { COPY_BYTES_MAX = 1 << 30 };
    struct leat_engine *engine = src->engine;
    struct leat_buffer text = {0};
    char *path = copy_path(src);
    enum leat_status st = leat_io_read_all(engine->env->io, path, COPY_BYTES_MAX, &text, err);
    if (st == LEAT_NOT_FOUND)
        st = leat_fail(err, LEAT_CONFLICT,
                       "bronze has records of a work folder that is gone, and %s, which says from which files, is missing: restore the work "
                       "folder or that file, or move %s/bronze/%s away to read all files again",
                       path, engine->lake_dir, src->def->name);
    else if (st == LEAT_OK && ops->restore)
        st = ops->restore(engine->env, state_dir, text.data, text.length, err);
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

static enum leat_status last_arrival(struct leat_src *src, int64_t *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT coalesce(max(epoch_us(_arrival)), 0) FROM (");
    leat_bronze_select(src, NULL, NULL, &sql);
    leat_put(&sql, ")");
    enum leat_status st = leat_conn_int(src->engine->batch_conn, sql.data, out, err);
    leat_buffer_deinit(&sql);
    return st;
}

enum leat_status leat_src_follow_bronze(struct leat_src *src, const struct leat_connector_ops *ops, const char *state_dir, struct leat_error *err) {
    size_t count;
    const struct leat_log_end *ends = leat_log_ends(src->log, &count);
    enum leat_status st = LEAT_OK;
    int64_t arrival_us = 0;
    for (size_t i = 0; i < src->bronzed.count && count; i++) {
        const struct leat_cursor *bronze = &src->bronzed.items[i];
        uint64_t next = 0;
        for (size_t k = 0; k < count; k++)
            if (ends[k].partition == bronze->partition) next = ends[k].next_offset;
        if (next < bronze->next)
            return leat_fail(err, LEAT_CONFLICT,
                             "bronze has %llu records of partition %u, this work folder's log %llu: another work folder has written since. "
                             "Use that one; or remove %s, and leat goes on from what the lake holds",
                             (unsigned long long)bronze->next, bronze->partition, (unsigned long long)next, src->engine->work_dir);
    }
    if (count || !src->bronzed.count) return LEAT_OK;
    char *partitions = leat_asprintf("%s/partitions.json", state_dir);
    if (!leat_io_exists(src->engine->env->io, partitions)) { /* at the first start */
        leat_log(src->engine->env, LEAT_LOG_WARN, "source %s: this work folder is new to the lake; reading goes on where bronze ends", src->def->name);
        if (ops->describe) st = restore(src, ops, state_dir, err);
    }
    free(partitions);
    if (st == LEAT_OK) st = last_arrival(src, &arrival_us, err);
    for (size_t i = 0; i < src->bronzed.count && st == LEAT_OK; i++)
        st = leat_log_begin(src->log, src->bronzed.items[i].partition, src->bronzed.items[i].next, arrival_us, err);
    return st;
}

/* Records of a feed are known by their identity, which bronze keeps. */
enum leat_status leat_src_tell_seen(struct leat_src *src, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector->ops;
    uint64_t lost = ops->lost ? ops->lost(src->connector) : 0;
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    if (!lost) return LEAT_OK;
    char *where = leat_asprintf("_partition = 0 AND _offset < %llu AND _identity IS NOT NULL", (unsigned long long)lost);
    leat_put(&sql, "SELECT _identity FROM (");
    leat_bronze_select(src, NULL, where, &sql);
    leat_put(&sql, ")");
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    for (size_t i = 0; st == LEAT_OK && i < result.rows.row_count; i++)
        ops->seen(src->connector, (uint64_t)((const int64_t *)result.rows.columns[0].data)[i]);
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    free(where);
    return st;
}

/* A log that begins where bronze ends has no position of its own: bronze knows which record was the last. */
enum leat_status leat_src_tell_places(struct leat_src *src, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector->ops;
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    size_t count;
    bool lost = false;
    const struct leat_log_end *ends = leat_log_ends(src->log, &count);
    for (size_t i = 0; i < count; i++) lost |= ends[i].next_offset && !ends[i].position;
    if (!ops->place || !lost) return LEAT_OK;
    leat_put(&sql, "SELECT _partition, max(_offset), max(_identity) FROM (");
    leat_bronze_select(src, NULL, NULL, &sql);
    leat_put(&sql, ") GROUP BY 1");
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    for (size_t i = 0; st == LEAT_OK && i < result.rows.row_count; i++) {
        uint32_t partition = (uint32_t)((const int32_t *)result.rows.columns[0].data)[i];
        uint64_t last = (uint64_t)((const int64_t *)result.rows.columns[1].data)[i];
        for (size_t k = 0; k < count; k++)
            if (ends[k].partition == partition && !ends[k].position && ends[k].next_offset > last)
                ops->place(src->connector, partition, (uint64_t)((const int64_t *)result.rows.columns[2].data)[i], ends[k].next_offset - last - 1);
    }
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

/* Records that may come again are known by hashes, which bronze keeps; only of the newest of them. */
enum leat_status leat_src_tell_recalled(struct leat_src *src, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector->ops;
    int column;
    int64_t span;
    struct leat_buffer sql = {0}, value = {0}, high = {0};
    struct leat_result result = {0};
    if (!ops->recall || !ops->recall(src->connector, &column, &span)) return LEAT_OK;
    const struct leat_field *field = &src->def->schema.fields[column];
    bool integer = field->type.kind < LEAT_FLOAT;
    leat_put(&value, integer ? "CAST(" : "epoch_us(CAST(");
    leat_put_sql_name(&value, field->name);
    leat_putf(&value, " AS %s", integer ? "BIGINT)" : field->type.kind == LEAT_TIMESTAMPTZ ? "TIMESTAMPTZ))" : "TIMESTAMP))");
    leat_putf(&high, "max(%s) OVER ()", value.data);
    struct leat_clock *clock = src->engine->env->clock;
    if (!integer) leat_putf(&high, ", %lld", (long long)clock->now_us(clock));
    leat_putf(&sql, "SELECT _identity, value FROM (SELECT _identity, %s AS value, least(%s) AS high FROM (", value.data, high.data);
    leat_bronze_select(src, NULL, NULL, &sql);
    leat_putf(&sql, ")) WHERE value >= high - %lld AND _identity IS NOT NULL", (long long)span);
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    for (size_t i = 0; st == LEAT_OK && i < result.rows.row_count; i++)
        ops->recalled(src->connector, (uint64_t)((const int64_t *)result.rows.columns[0].data)[i], ((const int64_t *)result.rows.columns[1].data)[i]);
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&value);
    leat_buffer_deinit(&high);
    return st;
}
