/* For tests of the planner: a small project, and queries compiled against it. */
#ifndef LEAT_TESTS_PLAN_WORLD_H
#define LEAT_TESTS_PLAN_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan/plan.h"

static const char world_sql[] =
    "CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id "
    "INTEGER, quantity INTEGER,"
    " amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,"
    " WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE) INCLUDE offset, partition"
    " WITH (connector = 'file', path = 'orders', format = 'json');\n"
    "CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))"
    " WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);\n"
    "CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)"
    " WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');\n"
    "CREATE VIEW deduped AS SELECT DISTINCT ON (event_id) * FROM orders;\n"
    "CREATE VIEW paid AS SELECT * FROM orders WHERE status = 'a';\n";

static struct leat_duck *world_duck; /* one instance for all worlds: opening takes longer than planning */

struct world {
    struct leat_project *project;
    struct leat_conn *conn;
    struct leat_error err;
};

static inline void world_open(struct world *w, const char *statements) {
    struct leat_diagnostics diags = {0};
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    char *text = leat_asprintf("%s%s", world_sql, statements);
    memset(w, 0, sizeof *w);
    w->project = leat_project_parse("world.sql", text, strlen(text), &diags);
    if (leat_diagnostics_errors(&diags)) {
        struct leat_buffer out = {0};
        leat_diagnostics_print(&diags, &out);
        fail_msg("%s", out.data);
    }
    int offset;
    if (!world_duck && leat_duck_open(&options, &world_duck, &w->err)) fail_msg("%s", w->err.text);
    if (leat_conn_open(world_duck, &w->conn, &w->err)) fail_msg("%s", w->err.text);
    for (size_t i = 0; i < w->project->source_count; i++)
        assert_int_equal(leat_plan_declare_source(w->conn, &w->project->sources[i], &w->err), LEAT_OK);
    for (size_t i = 0; i < w->project->view_count; i++)
        if (leat_plan_declare_view(w->conn, &w->project->views[i], NULL, &offset, &w->err)) fail_msg("%s", w->err.text);
    leat_diagnostics_deinit(&diags);
    free(text);
}

static inline void world_close(struct world *w) {
    leat_project_free(w->project);
    leat_conn_close(w->conn);
}

static inline void world_end(void) {
    leat_duck_close(world_duck);
    world_duck = NULL;
}

/* Compiles `query` as table t with the clauses given, in a world of its own. */
static inline enum leat_status world_compile(struct world *w, const char *clauses, const char *query,
                                             struct leat_plan **plan) {
    char *text = leat_asprintf("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND %s AS %s;", clauses, query);
    int offset;
    world_open(w, text);
    enum leat_status status = leat_plan_compile(w->conn, w->project, &w->project->tables[0], plan, &offset, &w->err);
    free(text);
    return status;
}

#endif
