/* The planner: queries become the operators they should, ties are completed, and what has no single answer is refused. */
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
    "CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, customer_id BIGINT, product_id INTEGER, quantity INTEGER,"
    " amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP NOT NULL,"
    " WATERMARK FOR event_time AS event_time - INTERVAL '2' MINUTE) INCLUDE offset, partition"
    " WITH (connector = 'file', path = 'orders', format = 'json');\n"
    "CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR, price DECIMAL(18,2))"
    " WITH (connector = 'file', path = 'products.csv', format = 'csv', refresh = INTERVAL '1' HOUR);\n"
    "CREATE SOURCE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL)"
    " WITH (connector = 'file', path = 'countries.parquet', format = 'parquet');\n";

struct world {
    struct leat_project *project;
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_error err;
};

static void world_open(struct world *w, const char *statements)
{
    struct leat_diagnostics diags = {0};
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    char *text = leat_asprintf("%s%s", world_sql, statements);
    memset(w, 0, sizeof *w);
    w->project = leat_project_parse("world.sql", text, strlen(text), &diags);
    if (diags.count) {
        struct leat_buffer out = {0};
        leat_diagnostics_print(&diags, &out);
        fail_msg("%s", out.data);
    }
    assert_int_equal(leat_duck_open(&options, &w->duck, &w->err), LEAT_OK);
    assert_int_equal(leat_conn_open(w->duck, &w->conn, &w->err), LEAT_OK);
    for (size_t i = 0; i < w->project->source_count; i++)
        assert_int_equal(leat_plan_declare_source(w->conn, &w->project->sources[i], &w->err), LEAT_OK);
    leat_diagnostics_deinit(&diags);
    free(text);
}

static void world_close(struct world *w)
{
    leat_project_free(w->project);
    leat_conn_close(w->conn);
    leat_duck_close(w->duck);
}

/* Compiles `query` as a table with the clauses given. */
static enum leat_status compile(struct world *w, const char *clauses, const char *query, struct leat_plan **plan)
{
    char *text = leat_asprintf("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND %s AS %s;", clauses, query);
    int offset;
    world_open(w, text);
    enum leat_status status = leat_plan_compile(w->conn, w->project, &w->project->tables[0], plan, &offset, &w->err);
    free(text);
    return status;
}

static const struct leat_op *find_op(const struct leat_plan *plan, enum leat_op_kind kind)
{
    for (size_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == kind) return &plan->ops[i];
    return NULL;
}

struct class_case {
    const char *query;
    int incremental_class;
    enum leat_op_kind kind; /* an operator that must be there */
};

static void queries_get_their_class(void **state)
{
    (void)state;
    static const struct class_case cases[] = {
        {"SELECT order_id, amount * 2 AS a FROM orders WHERE status <> 'x'", 1, LEAT_OP_MAP},
        {"SELECT DISTINCT ON (event_id) * FROM orders", 2, LEAT_OP_DISTINCT_ON},
        {"SELECT DISTINCT status FROM orders", 3, LEAT_OP_AGGREGATE},
        {"SELECT status, count(*) AS n, sum(amount) AS s FROM orders GROUP BY status", 3, LEAT_OP_AGGREGATE},
        {"SELECT leat_tumble(event_time, 60000000, 0) AS w, count(*) AS n FROM orders GROUP BY w", 4, LEAT_OP_AGGREGATE},
        {"SELECT o.order_id, p.category FROM orders o JOIN products p USING (product_id)", 5, LEAT_OP_LOOKUP},
        {"SELECT o.order_id FROM orders o JOIN orders p ON o.customer_id = p.customer_id", 5, LEAT_OP_JOIN},
        {"SELECT customer_id, median(amount) AS m FROM orders GROUP BY customer_id", 6, LEAT_OP_RECOMPUTE},
        {"SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY amount) AS n FROM orders", 6, LEAT_OP_RECOMPUTE},
        {"SELECT status FROM orders UNION ALL SELECT category FROM products", 1, LEAT_OP_UNION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct leat_plan *plan;
        if (compile(&w, "", cases[i].query, &plan)) fail_msg("%s: %s", cases[i].query, w.err.text);
        if (plan->incremental_class != cases[i].incremental_class || !find_op(plan, cases[i].kind))
            fail_msg("%s: class %d (%s)", cases[i].query, plan->incremental_class, plan->full_reason ? plan->full_reason : "no reason");
        leat_plan_free(plan);
        world_close(&w);
    }
}

static void volatile_functions_are_refused(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "SELECT random() AS r FROM orders",
        "SELECT stddev(price) AS s FROM orders",
        "SELECT uuid() AS u, order_id FROM orders",
        "SELECT status COLLATE nocase AS s FROM orders",
    };
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct world w;
        struct leat_plan *plan = NULL;
        assert_int_equal(compile(&w, "", queries[i], &plan), LEAT_UNSUPPORTED);
        assert_null(plan);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_get_their_class),
        cmocka_unit_test(volatile_functions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
