/* Data files: DuckDB copies a select into scratch, the file is adopted (fsync, link, directory fsync) under the
 * table, and its `add` waits in the commit. A crash before the commit leaves a file no version names; vacuum takes it.
 */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_TRIES 8

void leat_delta_put_storage_columns(const struct leat_schema *schema, const char *prefix, bool by_position,
                                    struct leat_buffer *out) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *f = &schema->fields[i];
        struct leat_type storage = leat_delta_storage_type(f->type);
        char type[32], name[24];
        leat_type_print(storage, type);
        snprintf(name, sizeof name, "c%zu", i);
        leat_putf(out, "%sCAST(%s.", i ? ", " : "", prefix);
        leat_put_sql_name(out, by_position ? name : f->name);
        leat_putf(out, " AS %s) AS ", type);
        leat_put_sql_name(out, f->name);
    }
}

/* The file under a name of its own: `scratch` adopted or, where that is NULL, `bytes`. Names are random; where
 * randomness is simulated one may come again and meet its own orphan. */
static enum leat_status place(struct leat_delta *d, const char *scratch, const struct leat_buffer *bytes,
                              struct leat_buffer *name, struct leat_error *err) {
    enum leat_status status = LEAT_EXISTS;
    for (int i = 0; i < NAME_TRIES && status == LEAT_EXISTS; i++) {
        char uuid[37];
        leat_random_uuid(&d->env->random, uuid);
        leat_buffer_reset(name);
        leat_putf(name, LEAT_DELTA_FILE_PREFIX "%s.parquet", uuid);
        char *to = leat_asprintf("%s/%s", d->table_dir, name->data);
        status = scratch ? d->env->io->ops->adopt(d->env->io, scratch, to, err)
                         : leat_io_write_durable(d->env->io, to, bytes->data, bytes->length, false, err);
        free(to);
    }
    return status;
}

static enum leat_status take_file(struct leat_delta *d, const struct leat_copied_file *copied, const char *scratch,
                                  const struct leat_buffer *bytes, struct leat_delta_commit *commit,
                                  struct leat_error *err) {
    struct leat_buffer stats = {0}, name = {0};
    enum leat_status status = leat_delta_stats_json(&d->schema, copied, &stats, err);
    if (status == LEAT_OK) status = place(d, scratch, bytes, &name, err);
    if (status == LEAT_OK) {
        struct leat_delta_file file = {
            .path = leat_strdup(name.data),
            .size_bytes = copied->size_bytes,
            .modified_ms = leat_delta_now_ms(d),
            .row_count = (int64_t)copied->row_count,
            .stats_json = leat_strdup(stats.data),
            .partition_json = leat_strdup("{}"),
        };
        leat_delta_commit_add(commit, &file);
    }
    leat_buffer_deinit(&stats);
    leat_buffer_deinit(&name);
    return status;
}

enum leat_status leat_delta_add_bytes(struct leat_delta *d, const struct leat_copied_file *file,
                                      const struct leat_buffer *bytes, struct leat_delta_commit *commit,
                                      struct leat_error *err) {
    return take_file(d, file, NULL, bytes, commit, err);
}

enum leat_status leat_delta_write_data(struct leat_delta *d, const char *storage_sql, bool split,
                                       struct leat_delta_commit *commit, uint64_t *out_rows, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_copied copied = {0};
    char uuid[37];
    uint64_t rows = 0;
    leat_random_uuid(&d->env->random, uuid);
    char *scratch = leat_asprintf("%s/%s%s", d->scratch_dir, uuid, split ? "" : ".parquet"); /* split: a folder */
    leat_putf(&sql, "COPY (%s) TO ", storage_sql);
    leat_put_sql_string(&sql, scratch);
    leat_put(&sql, " (");
    leat_put_parquet_options(&d->schema, commit->few_rows, &sql);
    leat_put(&sql, ", RETURN_STATS");
    if (split)
        leat_putf(&sql, ", ROW_GROUP_SIZE %" PRId64 ", ROW_GROUPS_PER_FILE %d", d->row_group_rows,
                  LEAT_DELTA_SPLIT_ROW_GROUPS);
    leat_put(&sql, ")");
    enum leat_status status = leat_conn_copy(d->conn, sql.data, &copied, err);
    for (size_t i = 0; status == LEAT_OK && i < copied.file_count; i++) {
        rows += copied.files[i].row_count;
        if (copied.files[i].row_count)
            status = take_file(d, &copied.files[i], split ? copied.files[i].path : scratch, NULL, commit, err);
    }
    if (split || status != LEAT_OK || rows == 0) {
        struct leat_error ignored; /* rubbish in scratch harms nobody */
        if (leat_io_remove_tree(d->env->io, scratch, &ignored) != LEAT_OK)
            leat_log(d->env, LEAT_LOG_WARN, "%s stays behind: %s", scratch, ignored.text);
    }
    if (out_rows) *out_rows = rows;
    leat_copied_deinit(&copied);
    leat_buffer_deinit(&sql);
    free(scratch);
    return status;
}

enum leat_status leat_delta_finish_write(struct leat_delta *d, struct leat_delta_commit *commit,
                                         enum leat_status status, bool replace, bool *done, struct leat_error *err) {
    const struct leat_delta_commit_info *info = commit->info;
    for (size_t i = 0; status == LEAT_OK && replace && i < d->state.snapshot.file_count; i++)
        leat_delta_commit_remove(commit, d->state.snapshot.files[i].path);
    bool empty = commit->added_count == 0 && commit->removed_count == 0 && info->txn_count == 0 && !info->frontier_json;
    if (status != LEAT_OK)
        leat_delta_drop_added(d, commit);
    else if (!empty)
        status = leat_delta_commit(d, commit, done, err);
    leat_delta_commit_deinit(commit);
    return status;
}

static void put_storage_select(const struct leat_delta *d, const char *select_sql, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    leat_delta_put_storage_columns(&d->schema, "q", false, sql);
    leat_putf(sql, " FROM (%s\n) q", select_sql);
}

static enum leat_status write_select(struct leat_delta *d, const char *select_sql, bool replace,
                                     const struct leat_delta_commit_info *info, bool *done, struct leat_error *err) {
    struct leat_delta_commit commit = {.info = info, .data_change = true, .blind_append = !replace};
    struct leat_buffer sql = {0};
    bool past = false;
    if (done) *done = false;
    enum leat_status status = leat_delta_begin(d, info, &past, err);
    if (status != LEAT_OK || past) return status;
    put_storage_select(d, select_sql, &sql);
    status = leat_delta_write_data(d, sql.data, replace, &commit, NULL, err);
    leat_buffer_deinit(&sql);
    return leat_delta_finish_write(d, &commit, status, replace, done, err);
}

enum leat_status leat_delta_append(struct leat_delta *d, const char *select_sql,
                                   const struct leat_delta_commit_info *info, bool *done, struct leat_error *err) {
    return write_select(d, select_sql, false, info, done, err);
}

enum leat_status leat_delta_overwrite(struct leat_delta *d, const char *select_sql,
                                      const struct leat_delta_commit_info *info, bool *done, struct leat_error *err) {
    return write_select(d, select_sql, true, info, done, err);
}

/* ---- in two parts ---- */

struct leat_delta_staged {
    struct leat_env env;      /* randomness and a clock of its own: others' are not for every thread */
    struct leat_clock clock;
    int64_t now_us;           /* what it shows: when it was staged */
    struct leat_delta writer; /* what writing files takes of the table: that does not change while it is open */
    struct leat_delta_commit commit;
    struct leat_buffer sql;
};

struct leat_delta_staged *leat_delta_stage(struct leat_delta *d, const char *select_sql) {
    struct leat_delta_staged *staged = leat_alloc(sizeof *staged);
    staged->env = *d->env;
    leat_random_seed(&staged->env.random, leat_random_next(&d->env->random));
    staged->now_us = d->env->clock->now_us(d->env->clock);
    leat_clock_virtual_init(&staged->clock, &staged->now_us);
    staged->env.clock = &staged->clock;
    staged->writer = (struct leat_delta){.env = &staged->env,
                                         .table_dir = d->table_dir,
                                         .scratch_dir = d->scratch_dir,
                                         .schema = d->schema,
                                         .row_group_rows = d->row_group_rows};
    staged->commit = (struct leat_delta_commit){.data_change = true};
    put_storage_select(d, select_sql, &staged->sql);
    return staged;
}

enum leat_status leat_delta_stage_run(struct leat_delta_staged *staged, struct leat_conn *conn,
                                      struct leat_error *err) {
    staged->writer.conn = conn;
    return leat_delta_write_data(&staged->writer, staged->sql.data, true, &staged->commit, NULL, err);
}

static enum leat_status commit_staged(struct leat_delta *d, struct leat_delta_staged *staged, bool replace,
                                      const struct leat_delta_commit_info *info, bool *done, struct leat_error *err) {
    bool past = false;
    if (done) *done = false;
    enum leat_status status = leat_delta_begin(d, info, &past, err);
    if (status != LEAT_OK || past) return status;
    struct leat_delta_commit commit = staged->commit;
    commit.info = info;
    commit.blind_append = !replace;
    staged->commit = (struct leat_delta_commit){0};
    return leat_delta_finish_write(d, &commit, status, replace, done, err);
}

enum leat_status leat_delta_overwrite_staged(struct leat_delta *d, struct leat_delta_staged *staged,
                                             const struct leat_delta_commit_info *info, bool *done,
                                             struct leat_error *err) {
    return commit_staged(d, staged, true, info, done, err);
}

enum leat_status leat_delta_append_staged(struct leat_delta *d, struct leat_delta_staged *staged,
                                          const struct leat_delta_commit_info *info, bool *done,
                                          struct leat_error *err) {
    return commit_staged(d, staged, false, info, done, err);
}

void leat_delta_stage_free(struct leat_delta_staged *staged) {
    if (!staged) return;
    leat_delta_drop_added(&staged->writer, &staged->commit);
    leat_delta_commit_deinit(&staged->commit);
    leat_buffer_deinit(&staged->sql);
    free(staged);
}
