/* A pass: the scheduled and full tables that are due together. They run one after the other at one frontier, each sees what those before it made,
 * and they share a connection and its views, so that a view that groups or removes duplicates (what no reader can narrow) is computed once for
 * all that read it whole, instead of by each of them. Its rows are kept as a temporary table, which DuckDB spills like any other, until the pass
 * ends. Whether a view's rows are those that a run wants is told by its print: of its text and of all that it reads. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "sql/lexer.h"

/* ---- what is computed once ------------------------------------------------------------------------------------------------------- */

static bool is_grouping(const char *sql) {
    static const char *const words[] = {"DISTINCT", "GROUP", "OVER"};
    struct leat_tokens tokens;
    leat_lex(sql, strlen(sql), &tokens);
    bool found = leat_tokens_have_any(&tokens, words, sizeof words / sizeof *words);
    leat_tokens_deinit(&tokens);
    return found;
}

/* A filter that compares: DuckDB may push it down to the files, and then a part of the view is cheaper than all of it. */
static bool asks_for_a_part(const char *sql) {
    static const char *const operators[] = {"=", "<", ">", "<=", ">="}, *const words[] = {"IN", "BETWEEN", "LIKE"};
    struct leat_tokens tokens;
    bool filter = false, found = false;
    leat_lex(sql, strlen(sql), &tokens);
    for (size_t i = 0; i < tokens.count && !found; i++) {
        filter |= leat_token_is(&tokens, i, "WHERE") && !(i > 1 && leat_token_is(&tokens, i - 2, "FILTER"));
        for (size_t k = 0; k < sizeof operators / sizeof *operators; k++) found |= filter && leat_token_is_operator(&tokens, i, operators[k]);
        found |= filter && leat_token_is_any(&tokens, i, words, sizeof words / sizeof *words);
    }
    leat_tokens_deinit(&tokens);
    return found;
}

static void count_reads(const struct leat_object_ref *inputs, size_t count, const char *sql, size_t times, size_t *reads) {
    if (!times || asks_for_a_part(sql)) return;
    for (size_t i = 0; i < count; i++)
        if (inputs[i].kind == LEAT_OBJECT_VIEW) reads[inputs[i].index] += times;
}

/* From what reads to what is read: a view that is computed once reads its own inputs once. */
static void choose_views(struct leat_engine *engine, struct leat_runs_pass *pass, bool all) {
    const struct leat_project *project = engine->project;
    size_t *reads = leat_alloc((project->view_count + 1) * sizeof *reads);
    pass->once = leat_alloc(project->view_count + 1);
    for (size_t i = project->view_count ? project->order_count : 0; i-- > 0;) {
        struct leat_object_ref ref = project->order[i];
        if (ref.kind == LEAT_OBJECT_TABLE) {
            struct leat_gtable *table = &engine->tables[ref.index];
            size_t times = leat_pass_is_due(engine, table, pass, all);
            count_reads(project->tables[ref.index].inputs, project->tables[ref.index].input_count, table->plan->completed_sql, times, reads);
        } else if (ref.kind == LEAT_OBJECT_VIEW) {
            const struct leat_view *view = &project->views[ref.index];
            pass->once[ref.index] = reads[ref.index] > 1 && is_grouping(engine->view_sql[ref.index]);
            count_reads(view->inputs, view->input_count, engine->view_sql[ref.index], pass->once[ref.index] ? 1 : reads[ref.index], reads);
        }
    }
    free(reads);
}

static bool reads_once(const struct leat_runs_pass *pass, const struct leat_project *project, const struct leat_object_ref *inputs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (inputs[i].kind != LEAT_OBJECT_VIEW) continue;
        const struct leat_view *view = &project->views[inputs[i].index];
        if (pass->once[inputs[i].index] || reads_once(pass, project, view->inputs, view->input_count)) return true;
    }
    return false;
}

bool leat_pass_shares(const struct leat_runs_pass *pass, const struct leat_engine *engine, const struct leat_gtable *table) {
    return reads_once(pass, engine->project, table->def->inputs, table->def->input_count);
}

/* ---- the views of a connection ------------------------------------------------------------------------------------------------------ */

static enum leat_status make(struct leat_conn *conn, const struct leat_run_view *view, bool once, struct leat_error *err) {
    struct leat_buffer sql = {0};
    char *rows = leat_asprintf("__leat_once_%zu", view->position);
    if (once) leat_putf(&sql, "CREATE OR REPLACE TEMP TABLE %s AS %s;\n", rows, view->select);
    leat_put(&sql, "CREATE OR REPLACE TEMP VIEW ");
    leat_put_sql_name(&sql, view->name);
    if (once)
        leat_putf(&sql, " AS FROM temp.%s", rows);
    else
        leat_putf(&sql, " AS %s;\nDROP TABLE IF EXISTS temp.%s", view->select, rows);
    enum leat_status st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_deinit(&sql);
    free(rows);
    return st == LEAT_OK ? st : leat_prepend(err, "view \"%s\"", view->name);
}

/* The entry of a place in the project's order. */
static struct leat_run_view *made_at(struct leat_run_space *space, size_t position) {
    if (position >= space->made_count) {
        space->made = leat_realloc(space->made, (position + 1) * sizeof *space->made);
        memset(space->made + space->made_count, 0, (position + 1 - space->made_count) * sizeof *space->made);
        space->made_count = position + 1;
    }
    return &space->made[position];
}

enum leat_status leat_space_make(struct leat_run_space *space, const struct leat_run_views *views, struct leat_error *err) {
    for (size_t i = 0; i < views->count; i++) {
        const struct leat_run_view *view = &views->items[i];
        struct leat_run_view *made = made_at(space, view->position);
        bool same = made->print.low == view->print.low && made->print.high == view->print.high;
        if (same && (made->once || !view->once)) continue;
        *made = (struct leat_run_view){0};
        enum leat_status st = make(space->conn, view, view->once, err);
        /* A row that fails in a column which this run does not read is none of its business; nor is a lack of memory for all of them. */
        if (st != LEAT_OK && view->once && !err->fatal) st = make(space->conn, view, false, err);
        if (st != LEAT_OK) return st;
        *made = (struct leat_run_view){.position = view->position, .print = view->print, .once = view->once};
    }
    return LEAT_OK;
}

void leat_space_close(struct leat_run_space *space) {
    if (space->conn) leat_conn_close(space->conn);
    if (space->duck) leat_duck_close(space->duck);
    free(space->made);
    *space = (struct leat_run_space){0};
}

/* ---- the pass --------------------------------------------------------------------------------------------------------------------------- */

bool leat_pass_is_due(struct leat_engine *engine, struct leat_gtable *table, const struct leat_runs_pass *pass, bool all) {
    if (!table->batch || table->suspended) return false;
    return all || leat_batch_next_due(engine, table) <= (pass ? pass->began_us : leat_engine_now(engine));
}

enum leat_status leat_pass_begin(struct leat_engine *engine, bool all, struct leat_runs_pass **out, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    enum leat_status st = leat_engine_flush(engine, false, err);
    if (st != LEAT_OK) return st;
    struct leat_buffer frontier = {0};
    struct leat_runs_pass *pass = leat_alloc(sizeof *pass);
    pass->began_us = leat_engine_now(engine);
    leat_frontier_json(engine, NULL, NULL, &frontier);
    pass->frontier = json_loads(frontier.data, 0, NULL);
    leat_buffer_deinit(&frontier);
    pass->bronze_versions = leat_alloc((project->source_count + 1) * sizeof *pass->bronze_versions);
    for (size_t s = 0; s < project->source_count; s++)
        if (!engine->references[s]) pass->bronze_versions[s] = leat_delta_current(engine->sources[s].bronze)->version;
    choose_views(engine, pass, all);
    *out = pass;
    return LEAT_OK;
}

void leat_pass_ran(struct leat_runs_pass *pass, const struct leat_gtable *table) {
    json_object_set_new(json_object_get(pass->frontier, "tables"), table->def->name, json_integer(leat_delta_current(table->delta)->version));
}

void leat_pass_end(struct leat_runs_pass *pass) {
    if (!pass) return;
    leat_space_close(&pass->here);
    json_decref(pass->frontier);
    free(pass->bronze_versions);
    free(pass->once);
    free(pass);
}
