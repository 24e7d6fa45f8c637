/* leat retry-dead, leat redecode: what was decoded, decoded again.
 *
 * retry-dead: dead letters. A record that is usable now moves from the dead letters to bronze, with its old partition,
 * offset and arrival; then whatever reads the source is built anew from bronze and published as a difference (restate.c).
 *
 * A crash must not leave a record in both places, nor tables without it. A file <work>/retry names the source before anything is changed, and
 * goes when a checkpoint has everything. Found at a start, what bronze has is first taken out of the dead letters (bronze is committed in one
 * piece, before them), and after recovery the tables are built anew.
 *
 * redecode: records of bronze that were decoded before the source got its newest columns, and whose payload was kept, take the place of what
 * they were, slice by slice; then the same. A crash leaves some done; the command again does all.
 *
 * What bronze has then may be what FAIL UPDATE does not let a table be made of, which only making it tells. Then bronze and the dead letters go
 * back to the versions that <work>/retry names beside the source, and the tables are made of that again.
 *
 * Both begin with a checkpoint: a step that recovery ran again would find other records than it did. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/change/change.h"
#include "engine/runs/runs.h"
#include "state/row.h"

#define TEXT_BYTES (4 * LEAT_MIB) /* decoded together */
#define SLICE_ROWS 100000         /* of bronze, in one commit */
#define MARKER_BYTES_MAX (LEAT_NAME_MAX + 64)

/* Before the first change. */
struct versions { int64_t bronze, dead; };
struct retry {
    struct leat_src *src;
    struct versions before;
    struct leat_result dead;       /* _partition, _offset, arrival, payload; of bronze: _identity */
    struct leat_changes bronze;    /* what goes there */
    struct leat_buffer text;
    uint32_t *starts, *ends;
};

static char *marker(const struct leat_engine *engine) {
    return leat_asprintf("%s/retry", engine->work_dir);
}

static struct versions versions_of(const struct leat_src *src) {
    return (struct versions){leat_delta_current(src->bronze)->version, leat_delta_current(src->dead)->version};
}

/* To be done before anything is changed. */
static enum leat_status mark(const struct retry *r, struct leat_error *err) {
    const struct leat_engine *engine = r->src->engine;
    char *path = marker(engine), *text = leat_asprintf("%s\n%lld %lld\n", r->src->def->name, (long long)r->before.bronze, (long long)r->before.dead);
    enum leat_status st = leat_io_write_durable(engine->env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    return st;
}

static enum leat_status load_dead(struct retry *r, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT CAST(_partition AS INTEGER), _offset, epoch_us(_arrival), payload FROM (");
    leat_engine_dead_letters(r->src->engine, (size_t)r->src->index, &sql);
    leat_put(&sql, ") ORDER BY 1, 2");
    enum leat_status st = leat_conn_query(r->src->engine->batch_conn, sql.data, &r->dead, err);
    leat_buffer_deinit(&sql);
    return st;
}

static const void *cell(const struct retry *r, size_t column) {
    return r->dead.rows.columns[column].data;
}

/* Dead letters [from, *to) as one block. */
static void gather(struct retry *r, size_t from, size_t *to, struct leat_block *out) {
    static const char slack[LEAT_PAYLOAD_SLACK];
    const struct leat_string *payloads = cell(r, 3);
    uint32_t count = 0;
    leat_buffer_reset(&r->text);
    leat_put(&r->text, "");
    for (*to = from; *to < r->dead.rows.row_count && (r->text.length < TEXT_BYTES || *to == from); (*to)++) {
        r->starts[count] = (uint32_t)r->text.length;
        if (!leat_is_null(&r->dead.rows.columns[3], *to)) leat_putn(&r->text, leat_string_data(&payloads[*to]), payloads[*to].length);
        r->ends[count++] = (uint32_t)r->text.length;
        leat_putn(&r->text, "\n", 1);
    }
    size_t length = r->text.length;
    leat_putn(&r->text, slack, sizeof slack);
    *out = (struct leat_block){.record_count = count, .payload = r->text.data, .payload_bytes = length, .starts = r->starts, .ends = r->ends};
}

/* Rule 16 holds for it too. */
static bool too_far_ahead(const struct retry *r, const struct leat_changes *rows, size_t row, size_t dead) {
    int column = r->src->def->event_time;
    if (column < 0 || leat_is_null(&rows->columns[column], row)) return false;
    return ((const int64_t *)rows->columns[column].data)[row] >
           ((const int64_t *)cell(r, 2))[dead] + leat_setting_int(r->src->engine->project, "max_future");
}

/* The boundary of retention, or of the tables' FROZEN WHERE: what a record of before it would change stays as it is. */
static int64_t outlived_before(const struct leat_src *src) {
    const struct leat_engine *engine = src->engine;
    int64_t before_us = src->retained_us;
    for (size_t t = 0; t < engine->project->table_count; t++)
        if (engine->tables[t].late_before_us > before_us && leat_table_reads(&engine->tables[t], (size_t)src->index)) before_us = engine->tables[t].late_before_us;
    return before_us;
}

static bool outlived(const struct retry *r, const struct leat_changes *rows, size_t row, int64_t before_us) {
    int column = r->src->def->event_time;
    return column >= 0 && !leat_is_null(&rows->columns[column], row) && ((const int64_t *)rows->columns[column].data)[row] < before_us;
}

static void add_row(struct retry *r, const struct leat_changes *rows, size_t row, size_t dead, bool lossy) {
    struct leat_changes *to = &r->bronze;
    uint32_t from = (uint32_t)row;
    size_t declared = rows->schema->field_count, at = to->row_count, c = declared;
    leat_changes_reserve(to, at + 1);
    for (size_t i = 0; i < declared; i++) leat_gather_borrowed(to, i, at, rows, i, &from, 0, 1);
    ((int32_t *)to->columns[c++].data)[at] = ((const int32_t *)cell(r, 0))[dead];
    ((int64_t *)to->columns[c++].data)[at] = ((const int64_t *)cell(r, 1))[dead];
    ((int64_t *)to->columns[c++].data)[at] = ((const int64_t *)cell(r, 2))[dead];
    to->row_count++;
    bool identity = r->dead.rows.schema->field_count > 4 && !leat_is_null(&r->dead.rows.columns[4], dead);
    if (identity)
        ((int64_t *)to->columns[c++].data)[at] = ((const int64_t *)cell(r, 4))[dead];
    else
        leat_set_null(to, c++, at); /* _identity */
    ((int32_t *)to->columns[c++].data)[at] = LEAT_DECODE_VERSION;
    if (lossy)
        ((struct leat_string *)to->columns[c++].data)[at] = ((const struct leat_string *)cell(r, 3))[dead];
    else
        leat_set_null(to, c++, at);
    for (; c < to->schema->field_count; c++) leat_set_null(to, c, at); /* declared no more */
}

/* Decodes all; the rows' strings live in `arena`, or in what was read. */
static enum leat_status decode(struct retry *r, struct leat_changes *batches, size_t *batch_count, struct leat_buffer *texts, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    int64_t before_us = outlived_before(r->src);
    for (size_t from = 0, to; from < r->dead.rows.row_count && st == LEAT_OK; from = to) {
        struct leat_block block;
        const struct leat_reject *rejects;
        size_t reject_count, n = *batch_count;
        gather(r, from, &to, &block);
        texts[n] = r->text; /* rows may point into it */
        r->text = (struct leat_buffer){0};
        uint32_t *records = leat_alloc((block.record_count + 1) * sizeof *records);
        uint8_t *lossy = leat_alloc(block.record_count + 1);
        leat_changes_init(&batches[n], &r->src->def->schema);
        (*batch_count)++;
        st = leat_decode(r->src->decoder, &block, 0, block.record_count, &batches[n], records, lossy, &rejects, &reject_count, err);
        for (size_t row = 0; row < batches[n].row_count && st == LEAT_OK; row++)
            if (!too_far_ahead(r, &batches[n], row, from + records[row]) && !outlived(r, &batches[n], row, before_us)) add_row(r, &batches[n], row, from + records[row], lossy[row]);
        free(records);
        free(lossy);
    }
    return st;
}

/* For a commit that keeps it, with which the snapshot's goes; malloc'd, NULL: there is none. */
static char *frontier_of(const struct leat_delta *delta) {
    const char *now = leat_delta_current(delta)->frontier_json;
    return now ? leat_strdup(now) : NULL;
}

/* Takes out of the dead letters what bronze has. */
static enum leat_status leave_bronzed(struct leat_src *src, struct leat_error *err) {
    struct leat_buffer sql = {0};
    char *frontier = frontier_of(src->dead);
    const struct leat_delta_commit_info kept = {.operation = "WRITE", .frontier_json = frontier};
    leat_put(&sql, "SELECT d.* FROM (");
    leat_engine_dead_letters(src->engine, (size_t)src->index, &sql);
    leat_put(&sql, ") d ANTI JOIN (SELECT _partition, _offset FROM (");
    leat_engine_archive(src->engine, (size_t)src->index, &sql);
    leat_put(&sql, ")) b USING (_partition, _offset)");
    enum leat_status st = leat_delta_overwrite(src->dead, sql.data, &kept, NULL, err);
    leat_buffer_deinit(&sql);
    free(frontier);
    return st;
}

static enum leat_status move(struct retry *r, struct leat_error *err) {
    char *kept = frontier_of(r->src->bronze);
    const struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = kept};
    enum leat_status st = mark(r, err);
    if (st == LEAT_OK) st = leat_delta_append_rows(r->src->bronze, &r->bronze, 1, &info, NULL, err);
    if (st == LEAT_OK) st = leave_bronzed(r->src, err);
    free(kept);
    return st;
}

/* Tables from bronze as it is now. */
static enum leat_status rebuild(struct leat_src *src, const char *reason, json_t *done, struct leat_error *err) {
    struct leat_engine *engine = src->engine;
    struct leat_error gone = {0};
    leat_src_rewind(src);
    enum leat_status st = leat_restate_source(engine, (size_t)src->index, reason, done, err);
    for (size_t i = 0; i < engine->project->order_count && st == LEAT_OK; i++) { /* what a table reads is made before it */
        if (engine->project->order[i].kind != LEAT_OBJECT_TABLE) continue;
        struct leat_gtable *table = &engine->tables[engine->project->order[i].index];
        if (!table->batch || !leat_delta_current(table->delta)->frontier_json || !leat_table_reads(table, (size_t)src->index)) continue; /* it has no rows yet */
        table->asked = true; /* whole: it is not only new records that it has not seen */
        if (!table->suspended) st = leat_batch_run(engine, table, NULL, err);
    }
    if (st == LEAT_OK) st = leat_engine_checkpoint(engine, err);
    char *path = marker(engine);
    if (st == LEAT_OK && engine->env->io->ops->unlink(engine->env->io, path, &gone) != LEAT_OK) st = leat_fail(err, gone.status, "%s", gone.text);
    free(path);
    return st;
}

/* Bronze, or the dead letters, of before; records that came after are kept. Some did where the log had them when it crashed. */
static enum leat_status go_back(const struct leat_src *src, struct leat_delta *delta, int64_t version, struct leat_error *err) {
    const struct leat_delta_snapshot *now = leat_delta_current(delta);
    const struct leat_schema *schema = leat_delta_schema(delta);
    char *dir = leat_asprintf("%s/%s/%s", src->engine->lake_dir, delta == src->dead ? "dead" : "bronze", src->def->name);
    char *frontier = frontier_of(delta);
    const struct leat_delta_commit_info kept = {.operation = "RESTORE", .frontier_json = frontier};
    struct leat_delta_snapshot then = {0};
    struct leat_cursors upto = {0};
    struct leat_buffer sql = {0}, after = {0}, count = {0};
    int64_t newer = 0;
    enum leat_status st = leat_delta_snapshot(src->engine->env, src->engine->batch_conn, dir, version, &then, err);
    if (st != LEAT_OK) goto out;
    leat_bronze_cursors(&then, &upto);
    leat_put(&after, "NOT ");
    leat_bronze_put_below(&upto, &after);
    leat_put(&count, "SELECT count(*) FROM (");
    leat_delta_select(dir, now, schema, after.data, &count);
    leat_put(&count, ")");
    if ((st = leat_conn_int(src->engine->batch_conn, count.data, &newer, err)) != LEAT_OK) goto out;
    leat_delta_select(dir, &then, schema, NULL, &sql);
    leat_put(&sql, " UNION ALL ");
    leat_delta_select(dir, now, schema, after.data, &sql);
    st = newer ? leat_delta_overwrite(delta, sql.data, &kept, NULL, err) : leat_delta_restore(delta, version, &kept, err);
out:
    leat_delta_snapshot_deinit(&then);
    leat_cursors_free(&upto);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&after);
    leat_buffer_deinit(&count);
    free(frontier);
    free(dir);
    return st;
}

/* The same; where FAIL UPDATE lets a table not be made, all is as before. Dead letters go back first: what is in both places leaves them at a start.
 * A checkpoint first: what other tables were made of is not there to be replayed. */
static enum leat_status rebuild_or_go_back(struct leat_src *src, const struct versions *before, const char *reason, json_t *done, struct leat_error *err) {
    struct leat_error why = {0};
    enum leat_status st = rebuild(src, reason, done, err);
    if (st != LEAT_INVALID || err->fatal || before->bronze < 0) return st;
    json_t *undone = json_array();
    st = leat_engine_checkpoint(src->engine, &why);
    if (st == LEAT_OK) st = go_back(src, src->dead, before->dead, &why);
    if (st == LEAT_OK) st = go_back(src, src->bronze, before->bronze, &why);
    if (st == LEAT_OK) st = rebuild(src, "taken back", undone, &why);
    json_decref(undone);
    if (st == LEAT_OK) return leat_prepend(err, "nothing is changed");
    *err = why;
    return st;
}

/* Decodes what was loaded; then `use` takes r->bronze, whose strings end with it. */
static enum leat_status decode_and(struct retry *r, enum leat_status (*use)(struct retry *, struct leat_error *), struct leat_error *err) {
    size_t n = r->dead.rows.row_count, batch_count = 0;
    struct leat_changes *batches = leat_alloc((n + 1) * sizeof *batches);
    struct leat_buffer *texts = leat_alloc((n + 1) * sizeof *texts);
    r->starts = leat_alloc((n + 1) * sizeof *r->starts);
    r->ends = leat_alloc((n + 1) * sizeof *r->ends);
    leat_changes_init(&r->bronze, &r->src->bronze_schema);
    enum leat_status st = decode(r, batches, &batch_count, texts, err);
    if (st == LEAT_OK && r->bronze.row_count) st = use(r, err);
    for (size_t i = 0; i < batch_count; i++) {
        leat_changes_deinit(&batches[i]);
        leat_buffer_deinit(&texts[i]);
    }
    leat_buffer_deinit(&r->text);
    free(r->starts);
    free(r->ends);
    free(batches);
    free(texts);
    return st;
}

static enum leat_status retry(struct leat_src *src, const struct versions *before, const char *reason, json_t *out, struct leat_error *err) {
    struct retry r = {.src = src, .before = *before};
    json_t *tables = json_array();
    enum leat_status st = load_dead(&r, err);
    if (st == LEAT_OK) st = decode_and(&r, move, err);
    json_object_set_new(out, "dead", json_integer((json_int_t)r.dead.rows.row_count));
    json_object_set_new(out, "usable", json_integer((json_int_t)r.bronze.row_count));
    if (st == LEAT_OK && r.bronze.row_count) st = rebuild_or_go_back(src, before, reason, tables, err);
    json_object_set_new(out, "tables", tables);
    if (r.bronze.schema) leat_changes_deinit(&r.bronze);
    leat_result_deinit(&r.dead);
    return st;
}

/* ---- bronze -------------------------------------------------------------------------------------------------------------- */

/* The next slice after a place, of what was decoded with fewer columns. */
static enum leat_status load_slice(struct retry *r, int32_t partition, int64_t offset, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT CAST(_partition AS INTEGER), _offset, epoch_us(_arrival), _payload, _identity FROM (");
    leat_engine_archive(r->src->engine, (size_t)r->src->index, &sql);
    leat_put(&sql, ") WHERE _payload IS NOT NULL AND ");
    leat_bronze_put_below(&r->src->grown, &sql);
    leat_putf(&sql, " AND (_partition > %d OR (_partition = %d AND _offset > %lld)) ORDER BY 1, 2 LIMIT %d", partition, partition, (long long)offset, SLICE_ROWS);
    enum leat_status st = leat_conn_query(r->src->engine->batch_conn, sql.data, &r->dead, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status replace(struct retry *r, struct leat_error *err) {
    char *kept = frontier_of(r->src->bronze);
    const struct leat_delta_commit_info info = {.operation = "MERGE", .frontier_json = kept};
    uint16_t declared = (uint16_t)r->src->def->schema.field_count, key[] = {declared, (uint16_t)(declared + 1)}; /* _partition, _offset */
    struct leat_changes both;
    leat_changes_init(&both, &r->src->bronze_schema);
    leat_changes_append(&both, &r->bronze, NULL, r->bronze.row_count, -1);
    leat_changes_append(&both, &r->bronze, NULL, r->bronze.row_count, 1);
    enum leat_status st = mark(r, err);
    if (st == LEAT_OK) st = leat_delta_apply(r->src->bronze, &both, key, 2, &info, NULL, err);
    leat_changes_deinit(&both);
    free(kept);
    return st;
}

static enum leat_status redecode(struct leat_src *src, const struct versions *before, const char *reason, json_t *out, struct leat_error *err) {
    json_t *tables = json_array();
    int32_t partition = -1;
    int64_t offset = -1;
    json_int_t read = 0, decoded = 0;
    enum leat_status st = LEAT_OK;
    for (bool more = src->grown.count > 0; more && st == LEAT_OK;) {
        struct retry r = {.src = src, .before = *before};
        st = load_slice(&r, partition, offset, err);
        size_t n = st == LEAT_OK ? r.dead.rows.row_count : 0;
        if (n) partition = ((const int32_t *)cell(&r, 0))[n - 1], offset = ((const int64_t *)cell(&r, 1))[n - 1];
        if (n) st = decode_and(&r, replace, err);
        read += (json_int_t)n;
        decoded += (json_int_t)r.bronze.row_count;
        more = n == SLICE_ROWS;
        if (r.bronze.schema) leat_changes_deinit(&r.bronze);
        leat_result_deinit(&r.dead);
    }
    if (st == LEAT_OK && decoded) st = rebuild_or_go_back(src, before, reason, tables, err);
    json_object_set_new(out, "payloads", json_integer(read));
    json_object_set_new(out, "decoded", json_integer(decoded));
    json_object_set_new(out, "tables", tables);
    return st;
}

typedef enum leat_status decode_again(struct leat_src *, const struct versions *before, const char *reason, json_t *out, struct leat_error *);

static enum leat_status with_source(struct leat_engine *engine, const char *name, decode_again *again, const char *reason, struct leat_buffer *out, struct leat_error *err) {
    struct leat_object_ref ref;
    json_t *json = json_object();
    enum leat_status st = LEAT_OK;
    if (!leat_project_find(engine->project, name, &ref) || ref.kind != LEAT_OBJECT_SOURCE || engine->references[ref.index])
        st = leat_fail(err, LEAT_NOT_FOUND, "there is no unbounded source \"%s\"", name);
    if (st == LEAT_OK) st = leat_engine_drain(engine, err);
    if (st == LEAT_OK) st = leat_engine_flush(engine, true, err); /* no step is run again over records that have changed */
    if (st == LEAT_OK) st = leat_restate_source_may(engine, ref.index, err); /* before bronze has other records than tables were made of */
    if (st == LEAT_OK) {
        const struct versions before = versions_of(&engine->sources[ref.index]);
        st = again(&engine->sources[ref.index], &before, reason, json, err);
    }
    char *text = st == LEAT_OK && out ? json_dumps(json, JSON_INDENT(1)) : NULL;
    if (text) leat_put(out, text);
    free(text);
    json_decref(json);
    return st;
}

enum leat_status leat_engine_retry_dead(struct leat_engine *engine, const char *source, const char *reason, struct leat_buffer *out, struct leat_error *err) {
    enum leat_status st = with_source(engine, source, retry, reason, out, err);
    return st == LEAT_OK ? st : leat_prepend(err, "dead letters of \"%s\"", source);
}

enum leat_status leat_engine_redecode(struct leat_engine *engine, const char *source, const char *reason, struct leat_buffer *out, struct leat_error *err) {
    struct leat_object_ref ref;
    bool known = leat_project_find(engine->project, source, &ref) && ref.kind == LEAT_OBJECT_SOURCE;
    if (known && engine->project->sources[ref.index].format == LEAT_FORMAT_CSV)
        return leat_fail(err, LEAT_UNSUPPORTED, "source \"%s\" is CSV: what bronze keeps of a record does not say which field is which column", source);
    enum leat_status st = with_source(engine, source, redecode, reason, out, err);
    return st == LEAT_OK ? st : leat_prepend(err, "decoding \"%s\" again", source);
}

/* ---- after a crash ----------------------------------------------------------------------------------------------------- */

/* The source that is half done; NULL: none. One that the project has no more is let go. */
static struct leat_src *half_done(struct leat_engine *engine, struct versions *before, struct leat_error *err, enum leat_status *st) {
    struct leat_buffer text = {0};
    struct leat_object_ref ref;
    struct leat_src *src = NULL;
    char *path = marker(engine);
    *before = (struct versions){-1, -1};
    *st = leat_io_read_all(engine->env->io, path, MARKER_BYTES_MAX, &text, err);
    char *line = *st == LEAT_OK && text.data ? strchr(text.data, '\n') : NULL; /* none: of a leat that did not go back */
    if (line) {
        *line = '\0';
        if (sscanf(line + 1, "%" SCNd64 " %" SCNd64, &before->bronze, &before->dead) != 2) *before = (struct versions){-1, -1};
    }
    if (*st == LEAT_OK && text.data && leat_project_find(engine->project, text.data, &ref) && ref.kind == LEAT_OBJECT_SOURCE && !engine->references[ref.index])
        src = &engine->sources[ref.index];
    else if (*st == LEAT_OK)
        *st = engine->env->io->ops->unlink(engine->env->io, path, err);
    else if (*st == LEAT_NOT_FOUND)
        *st = LEAT_OK;
    leat_buffer_deinit(&text);
    free(path);
    return src;
}

enum leat_status leat_retry_settle(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st;
    struct versions before;
    struct leat_src *src = half_done(engine, &before, err, &st);
    return src ? leave_bronzed(src, err) : st;
}

enum leat_status leat_retry_finish(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st;
    struct versions before;
    struct leat_src *src = half_done(engine, &before, err, &st);
    if (!src) return st;
    json_t *done = json_array();
    leat_log(engine->env, LEAT_LOG_WARN, "source %s: its records were being decoded again; its tables are made from what bronze has now", src->def->name);
    st = leat_engine_drain(engine, err);
    if (st == LEAT_OK) st = leat_engine_flush(engine, false, err);
    if (st == LEAT_OK) st = rebuild_or_go_back(src, &before, "decoded again, after a crash", done, err);
    json_decref(done);
    if (st != LEAT_INVALID || err->fatal) return st;
    leat_log(engine->env, LEAT_LOG_WARN, "source %s: its records are not decoded again; %s", src->def->name, err->text);
    *err = (struct leat_error){0};
    return LEAT_OK;
}
