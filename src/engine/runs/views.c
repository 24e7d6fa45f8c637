/* What each name of a project stands for at one frontier, as SELECTs over the lake: views for runs, for verify (the oracle) and for `leat sql`. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

static void put_row_columns(const struct leat_source *def, struct leat_buffer *sql) {
    struct leat_schema row = {0};
    leat_source_row_schema(def, &row);
    for (size_t i = 0; i < row.field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, row.fields[i].name);
    }
    leat_schema_deinit(&row);
}

/* SELECT from the Delta table in `dir` at a version (-1: newest, which `now` is). */
static enum leat_status put_version(struct leat_engine *engine, const char *dir, const struct leat_delta *delta, int64_t version,
                                    const struct leat_schema *schema, const char *where, struct leat_buffer *sql, struct leat_error *err) {
    const struct leat_delta_snapshot *now = leat_delta_current(delta);
    if (version < 0 || version == now->version) {
        leat_delta_select(dir, now, schema, where, sql);
        return LEAT_OK;
    }
    struct leat_delta_snapshot then = {0};
    enum leat_status st = leat_delta_snapshot(engine->env, engine->batch_conn, dir, version, &then, err);
    if (st == LEAT_OK) leat_delta_select(dir, &then, schema, where, sql);
    leat_delta_snapshot_deinit(&then);
    return st;
}

enum leat_status leat_side_select(struct leat_engine *engine, const struct leat_gtable *table, const struct leat_side *side, int64_t version,
                                  const char *where, struct leat_buffer *sql, struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, side->suffix);
    enum leat_status st = put_version(engine, dir, side->delta, version, &side->schema, where, sql, err);
    free(dir);
    return st;
}

enum leat_status leat_table_select(struct leat_engine *engine, const struct leat_gtable *table, int64_t version, struct leat_buffer *sql,
                                   struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s", engine->lake_dir, table->def->name);
    enum leat_status st = put_version(engine, dir, table->delta, version, &table->plan->schema, NULL, sql, err);
    free(dir);
    return st;
}

static void put_side_select(const struct leat_engine *engine, const struct leat_gtable *table, const struct leat_side *side,
                            struct leat_buffer *sql) {
    char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, side->suffix);
    leat_delta_select(dir, leat_delta_current(side->delta), &side->schema, NULL, sql);
    free(dir);
}

/* Rule 2: what a reader's side tables hold is not among its rows. Nothing is late for a run; but content may be from before the first. */
static void put_exclusions(const struct leat_engine *engine, const struct leat_gtable *reader, const struct leat_source *source,
                           const json_t *frontier, struct leat_buffer *sql) {
    bool run = reader->batch && !json_is_true(json_object_get(frontier, "turned"));
    const struct leat_side *sides[2] = {&reader->late, &reader->dead};
    for (int i = 0; i < 2; i++) {
        if (!sides[i]->delta || (i == 0 && run) || leat_delta_current(sides[i]->delta)->file_count == 0) continue;
        leat_put(sql, " ANTI JOIN (SELECT _partition, _offset FROM (");
        put_side_select(engine, reader, sides[i], sql);
        leat_put(sql, ") WHERE _source = ");
        leat_put_sql_string(sql, source->name);
        leat_put(sql, ") USING (_partition, _offset)");
    }
}

static void put_source(const struct leat_engine *engine, size_t index, const struct leat_gtable *reader, const json_t *frontier,
                       struct leat_buffer *sql) {
    const struct leat_src *src = &engine->sources[index];
    const struct leat_cursors *upto = reader && reader->group ? &reader->group->cursors[index] : &src->bronzed;
    struct leat_cursors then = {0};
    if (frontier) {
        leat_cursors_parse(&then, json_object_get(json_object_get(frontier, "offsets"), src->def->name));
        upto = &then;
    }
    const json_t *since = json_object_get(json_object_get(frontier, "since"), src->def->name);
    struct leat_buffer from = {0};
    if (since) { /* adds.c: only what came after */
        struct leat_cursors before = {0};
        leat_cursors_parse(&before, since);
        leat_put(&from, "NOT ");
        leat_bronze_put_below(&before, &from);
        leat_cursors_free(&before);
    }
    leat_put(sql, "SELECT ");
    put_row_columns(src->def, sql);
    leat_put(sql, " FROM (");
    leat_bronze_select(src, upto, from.data, sql);
    leat_buffer_deinit(&from);
    leat_put(sql, ")");
    if (reader) put_exclusions(engine, reader, src->def, frontier, sql);
    leat_cursors_free(&then);
}

static void put_reference(const struct leat_engine *engine, size_t index, const struct leat_gtable *reader,
                          const json_t *frontier, struct leat_buffer *sql) {
    struct leat_reference *reference = engine->references[index];
    uint64_t version = reader && reader->group ? reader->group->reference_versions[index] : leat_reference_version(reference);
    const char *name = engine->project->sources[index].name;
    if (frontier) version = (uint64_t)json_integer_value(json_object_get(json_object_get(frontier, "references"), name));
    leat_reference_select(reference, version, sql);
}

void leat_put_changed_rows(const char *input, const struct leat_schema *schema, const char *which, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < schema->field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, schema->fields[i].name);
    }
    leat_put(sql, " FROM (SELECT *, unnest(range(abs(__w))) AS __copy FROM leat_input(");
    leat_put_sql_string(sql, input);
    leat_putf(sql, ") WHERE __w %s 0)", which);
}

/* A reader of another freshness is behind by the changes that wait for its group's next step: they are taken back. */
static enum leat_status put_table_before(struct leat_engine *engine, const struct leat_gtable *table, const struct leat_changes *waiting,
                                         struct leat_buffer *sql, struct leat_error *err) {
    char *input = leat_asprintf("%s@waiting", table->def->name);
    struct leat_buffer content = *sql;
    *sql = (struct leat_buffer){0};
    enum leat_status st = leat_conn_input(engine->batch_conn, input, &table->plan->schema, true, err);
    leat_conn_bind(engine->batch_conn, input, waiting);
    leat_putf(sql, "(%s UNION ALL ", content.data);
    leat_put_changed_rows(input, &table->plan->schema, "<", sql);
    leat_put(sql, ") EXCEPT ALL ");
    leat_put_changed_rows(input, &table->plan->schema, ">", sql);
    leat_buffer_deinit(&content);
    free(input);
    return st;
}

/* Content of a table: as it is, as it was when the frontier was written, or as a suspended reader has seen it. */
static enum leat_status put_table(struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, const json_t *seen,
                                  struct leat_buffer *sql, struct leat_error *err) {
    json_t *version = json_object_get(frontier ? json_object_get(frontier, "tables") : seen, table->def->name);
    if (version && frontier && !leat_reflects_id(frontier, table))
        return leat_fail(err, LEAT_NOT_FOUND, "version %lld of table \"%s\" is gone: the table was replaced", (long long)json_integer_value(version), table->def->name);
    return leat_table_select(engine, table, version ? json_integer_value(version) : -1, sql, err);
}

static enum leat_status make_view(struct leat_conn *conn, const char *name, const char *select, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "CREATE OR REPLACE TEMP VIEW ");
    leat_put_sql_name(&sql, name);
    leat_putf(&sql, " AS %s", select);
    enum leat_status st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_deinit(&sql);
    return st == LEAT_OK ? st : leat_prepend(err, "view \"%s\"", name);
}

static size_t position_of(const struct leat_project *project, struct leat_object_ref ref) {
    size_t i = 0;
    while (project->order[i].kind != ref.kind || project->order[i].index != ref.index) i++;
    return i;
}

/* Positions of what is read, by itself or by a view that is: views bind what they name when they are made. */
static void mark_needed(const struct leat_project *project, const struct leat_object_ref *inputs, size_t count, bool *needed) {
    for (size_t i = 0; i < count; i++) {
        bool *mark = &needed[position_of(project, inputs[i])];
        if (*mark) continue;
        *mark = true;
        if (inputs[i].kind != LEAT_OBJECT_VIEW) continue;
        const struct leat_view *view = &project->views[inputs[i].index];
        mark_needed(project, view->inputs, view->input_count, needed);
    }
}

/* Most of a flush's views are those of the one before. */
static enum leat_status make_view_once(struct leat_engine *engine, struct leat_conn *conn, size_t position, const char *name,
                                       const char *select, struct leat_error *err) {
    if (conn != engine->batch_conn) return make_view(conn, name, select, err);
    if (!engine->made_views) engine->made_views = leat_alloc((engine->project->order_count + 1) * sizeof(char *));
    char **made = &engine->made_views[position];
    if (*made && strcmp(*made, select) == 0) return LEAT_OK;
    free(*made);
    *made = NULL;
    enum leat_status st = make_view(conn, name, select, err);
    if (st == LEAT_OK) *made = leat_strdup(select);
    return st;
}

typedef enum leat_status visit_view(void *, size_t position, const char *name, const char *select, struct leat_error *);

/* What one object is, as a SELECT, given to `visit`. */
static enum leat_status one_view(struct leat_engine *engine, const struct leat_gtable *reader, const json_t *frontier, size_t position, visit_view *visit,
                                 void *context, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    struct leat_object_ref ref = project->order[position];
    struct leat_buffer sql = {0};
    const char *name = NULL;
    enum leat_status st = LEAT_OK;
    if (ref.kind == LEAT_OBJECT_SOURCE) {
        name = project->sources[ref.index].name;
        if (engine->references[ref.index])
            put_reference(engine, ref.index, reader, frontier, &sql);
        else
            put_source(engine, ref.index, reader, frontier, &sql);
    } else if (ref.kind == LEAT_OBJECT_VIEW) {
        name = project->views[ref.index].name;
        leat_put(&sql, engine->view_sql[ref.index]);
    } else {
        const struct leat_gtable *table = &engine->tables[ref.index];
        const struct leat_changes *waiting = reader && reader->group ? &reader->group->queues[ref.index] : NULL;
        name = table->def->name;
        st = put_table(engine, table, frontier, reader && reader->group ? reader->group->versions : NULL, &sql, err);
        if (st == LEAT_OK && waiting && waiting->schema && waiting->row_count) st = put_table_before(engine, table, waiting, &sql, err);
    }
    if (st == LEAT_OK) st = visit(context, position, name, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

/* All that the reader needs; inputs come before what reads them. */
static enum leat_status each_view(struct leat_engine *engine, const struct leat_gtable *reader, const json_t *frontier, visit_view *visit, void *context,
                                  struct leat_error *err) {
    const struct leat_project *project = engine->project;
    bool *needed = leat_alloc(project->order_count + 1);
    enum leat_status st = LEAT_OK;
    if (reader) mark_needed(project, reader->def->inputs, reader->def->input_count, needed);
    for (size_t i = 0; i < project->order_count && st == LEAT_OK; i++)
        if (!reader || needed[i]) st = one_view(engine, reader, frontier, i, visit, context, err);
    free(needed);
    return st;
}

struct view_maker { struct leat_engine *engine; struct leat_conn *conn; };

static enum leat_status make_one(void *context, size_t position, const char *name, const char *select, struct leat_error *err) {
    struct view_maker *maker = context;
    return make_view_once(maker->engine, maker->conn, position, name, select, err);
}

enum leat_status leat_batch_views(struct leat_engine *engine, struct leat_conn *conn, const struct leat_gtable *reader,
                                  const json_t *frontier, struct leat_error *err) {
    struct view_maker maker = {engine, conn};
    return each_view(engine, reader, frontier, make_one, &maker, err);
}

static enum leat_status add_with(void *context, size_t position, const char *name, const char *select, struct leat_error *err) {
    struct leat_buffer *sql = context;
    (void)position, (void)err;
    leat_put(sql, sql->length ? ", " : "WITH ");
    leat_put_sql_name(sql, name);
    leat_putf(sql, " AS NOT MATERIALIZED (%s)", select);
    return LEAT_OK;
}

enum leat_status leat_batch_with(struct leat_engine *engine, const struct leat_gtable *reader, const json_t *frontier, struct leat_buffer *out,
                                 struct leat_error *err) {
    return each_view(engine, reader, frontier, add_with, out, err);
}

static enum leat_status add_text(void *context, size_t position, const char *name, const char *select, struct leat_error *err) {
    struct leat_view_texts *texts = context;
    (void)position, (void)err;
    texts->items = leat_realloc(texts->items, (texts->count + 1) * sizeof *texts->items);
    texts->items[texts->count++] = (struct leat_view_text){leat_strdup(name), leat_strdup(select)};
    return LEAT_OK;
}

struct run_view_collector { struct leat_engine *engine; const struct leat_run *run; struct leat_hash128 *prints; struct leat_run_views *out; };

/* Of the text and of all that it reads: the same print, the same rows. */
static struct leat_hash128 print_of(const struct run_view_collector *c, struct leat_object_ref ref, const char *select) {
    const struct leat_project *project = c->engine->project;
    struct leat_buffer text = {0};
    leat_put(&text, select);
    const struct leat_view *view = ref.kind == LEAT_OBJECT_VIEW ? &project->views[ref.index] : NULL;
    for (size_t i = 0; view && i < view->input_count; i++) {
        const struct leat_hash128 *print = &c->prints[position_of(project, view->inputs[i])];
        leat_putn(&text, (const char *)print, sizeof *print);
    }
    XXH128_hash_t hash = XXH3_128bits(text.data, text.length);
    leat_buffer_deinit(&text);
    return (struct leat_hash128){hash.low64, hash.high64};
}

static enum leat_status add_run_view(void *context, size_t position, const char *name, const char *select, struct leat_error *err) {
    struct run_view_collector *c = context;
    struct leat_object_ref ref = c->engine->project->order[position];
    (void)err;
    c->prints[position] = print_of(c, ref, select);
    bool once = c->run->pass && !c->run->adds && ref.kind == LEAT_OBJECT_VIEW && c->run->pass->once[ref.index];
    c->out->items = leat_realloc(c->out->items, (c->out->count + 1) * sizeof *c->out->items);
    c->out->items[c->out->count++] = (struct leat_run_view){position, leat_strdup(name), leat_strdup(select), c->prints[position], once};
    return LEAT_OK;
}

enum leat_status leat_run_views_collect(struct leat_run *run, const json_t *frontier, struct leat_error *err) {
    struct run_view_collector c = {run->engine, run, leat_alloc((run->engine->project->order_count + 1) * sizeof *c.prints), &run->views};
    enum leat_status st = each_view(run->engine, run->table, frontier, add_run_view, &c, err);
    free(c.prints);
    return st;
}

void leat_run_views_deinit(struct leat_run_views *views) {
    for (size_t i = 0; i < views->count; i++) {
        free(views->items[i].name);
        free(views->items[i].select);
    }
    free(views->items);
    *views = (struct leat_run_views){0};
}

void leat_view_texts_deinit(struct leat_view_texts *texts) {
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i].name);
        free(texts->items[i].select);
    }
    free(texts->items);
    *texts = (struct leat_view_texts){0};
}

enum leat_status leat_engine_view_texts(struct leat_engine *engine, struct leat_view_texts *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    *out = (struct leat_view_texts){0};
    enum leat_status st = each_view(engine, NULL, NULL, add_text, out, err);
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = &engine->tables[t];
        const struct leat_side *sides[] = {&table->late, &table->dead, &table->quarantine, &table->audit};
        for (int i = 0; i < 4 && st == LEAT_OK; i++) {
            if (!sides[i]->delta) continue;
            char *name = leat_asprintf("%s%s", table->def->name, sides[i]->suffix);
            leat_buffer_reset(&sql);
            put_side_select(engine, table, sides[i], &sql);
            st = add_text(out, 0, name, sql.data, err);
            free(name);
        }
        if (st == LEAT_OK && leat_table_time(table) && table->late.delta) {
            char *name = leat_asprintf("%s__windows", table->def->name);
            leat_buffer_reset(&sql);
            st = leat_table_windows(engine, table, &sql, err);
            if (st == LEAT_OK) st = add_text(out, 0, name, sql.data, err);
            free(name);
        }
    }
    for (size_t c = 0; c < engine->project->check_count && engine->checks && st == LEAT_OK; c++) {
        char *name = leat_asprintf("%s__differences", engine->project->checks[c].name);
        leat_buffer_reset(&sql);
        leat_check_select(engine, c, &sql);
        st = add_text(out, 0, name, sql.data, err);
        free(name);
    }
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++) {
        const struct leat_src *src = &engine->sources[s];
        if (!src->dead) continue;
        char *name = leat_asprintf("%s__dead", src->def->name), *dir = leat_asprintf("%s/dead/%s", engine->lake_dir, src->def->name);
        leat_buffer_reset(&sql);
        /* For people: text where the bytes are text. */
        leat_put(&sql, "SELECT * REPLACE (coalesce(TRY(decode(payload)), CAST(payload AS VARCHAR)) AS payload) FROM (");
        leat_delta_select(dir, leat_delta_current(src->dead), &src->dead_schema, NULL, &sql);
        leat_put(&sql, ")");
        st = add_text(out, 0, name, sql.data, err);
        free(name);
        free(dir);
    }
    for (size_t i = 0; i < engine->project->sink_count && st == LEAT_OK; i++) {
        char *name = leat_asprintf("%s__dead", engine->project->sinks[i].name);
        bool there;
        leat_buffer_reset(&sql);
        st = leat_effects_dead_select(engine, &engine->project->sinks[i], &sql, &there, err);
        if (st == LEAT_OK && there) st = add_text(out, 0, name, sql.data, err);
        free(name);
    }
    leat_buffer_deinit(&sql);
    if (st == LEAT_OK) st = leat_pin_texts(engine, add_text, out, err);
    if (st != LEAT_OK) leat_view_texts_deinit(out);
    return st;
}

enum leat_status leat_view_make(struct leat_conn *conn, const struct leat_view_text *view, struct leat_error *err) {
    return make_view(conn, view->name, view->select, err);
}

enum leat_status leat_engine_sql_views(struct leat_engine *engine, struct leat_conn *conn, struct leat_error *err) {
    struct leat_view_texts texts;
    enum leat_status st = leat_engine_view_texts(engine, &texts, err);
    for (size_t i = 0; i < texts.count && st == LEAT_OK; i++) st = leat_view_make(conn, &texts.items[i], err);
    leat_view_texts_deinit(&texts);
    return st;
}
