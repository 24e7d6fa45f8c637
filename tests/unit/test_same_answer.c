/* Promise 1 in small: a query compiled into operators and run step by step gives what DuckDB gives for its completed
 * SQL over all rows. Random rows with NULLs, ties and duplicates; references that change between steps; cuts. */
#include "plan_world.h"

#include "audit/verify.h"
#include "plan/complete.h"
#include "stream/op.h"

#define STEPS 5
#define NO_CUT INT64_MIN

static struct leat_duck *step_duck, *batch_duck; /* for all queries; opening one takes longer than most queries */

struct run {
    struct world world;
    struct leat_plan *plan;
    struct leat_conn *step, *batch;
    struct leat_node *nodes[128];
    struct leat_changes outputs[128];
    struct leat_changes total;
    int64_t cut_us;
    const char *query;
};

static void must(enum leat_status status, const struct leat_error *err, const char *what) {
    if (status) fail_msg("%s: %s: %s", what, leat_status_name(status), err->text);
}

static void execute(struct run *r, const char *sql) {
    struct leat_error err = {0};
    must(leat_conn_exec(r->batch, sql, &err), &err, sql);
}

static void open_run(struct run *r) {
    struct leat_error err = {0};
    struct leat_duck_options step = {.use = LEAT_DUCK_STEP}, batch = {.use = LEAT_DUCK_BATCH};
    if (!step_duck) must(leat_duck_open(&step, &step_duck, &err), &err, "step");
    if (!batch_duck) must(leat_duck_open(&batch, &batch_duck, &err), &err, "batch");
    must(leat_conn_open(step_duck, &r->step, &err), &err, "step");
    must(leat_conn_open(batch_duck, &r->batch, &err), &err, "batch");
    for (size_t i = 0; i < r->plan->op_count; i++) {
        const struct leat_op *op = &r->plan->ops[i];
        const struct leat_schema *inputs[2] = {NULL, NULL};
        leat_changes_init(&r->outputs[i], &op->schema);
        if (op->child_count == 0) continue;
        for (int k = 0; k < op->child_count; k++)
            inputs[k] = &r->plan->ops[op->children[k]].schema;
        must(leat_node_open(r->step, op, inputs, (int)i, &r->nodes[i], &err), &err, r->query);
    }
    leat_changes_init(&r->total, &r->plan->ops[r->plan->op_count - 1].schema);
    execute(
        r, "CREATE OR REPLACE TABLE orders (event_id VARCHAR, order_id BIGINT, customer_id BIGINT, product_id INTEGER, "
           "quantity INTEGER, "
           "amount DECIMAL(18,2), status VARCHAR, price DOUBLE, event_time TIMESTAMP, \"partition\" INTEGER, "
           "\"offset\" BIGINT);"
           "CREATE OR REPLACE TABLE step_orders AS FROM orders;"
           "CREATE OR REPLACE TABLE products (product_id INTEGER, category VARCHAR, price DECIMAL(18,2)); CREATE OR "
           "REPLACE TABLE "
           "old_products AS FROM products;"
           "CREATE OR REPLACE TABLE countries (code VARCHAR, name VARCHAR); CREATE OR REPLACE TABLE step_countries AS "
           "FROM countries;");
    for (size_t i = 0; i < r->world.project->view_count; i++) {
        char *planning, *sql;
        int offset;
        must(leat_complete(r->world.conn, r->world.project->views[i].sql, &planning, &sql, &offset, &err), &err,
             "view");
        char *create = leat_asprintf("CREATE OR REPLACE VIEW %s AS %s", r->world.project->views[i].name, sql);
        execute(r, create);
        free(create);
        free(planning);
        free(sql);
    }
}

static void close_run(struct run *r) {
    for (size_t i = 0; i < r->plan->op_count; i++) {
        if (r->nodes[i]) leat_node_close(r->nodes[i]);
        leat_changes_deinit(&r->outputs[i]);
    }
    leat_changes_deinit(&r->total);
    leat_conn_close(r->step);
    leat_conn_close(r->batch);
    leat_plan_free(r->plan);
    world_close(&r->world);
}

/* Rows of a step; small domains make ties, duplicates and NULLs common. */
static void make_rows(struct run *r, int seed, int step) {
    char *sql = leat_asprintf(
        "SET VARIABLE s = %d; DELETE FROM step_orders; DELETE FROM old_products; INSERT INTO old_products FROM "
        "products; DELETE FROM step_countries;"
        "INSERT INTO step_orders SELECT 'e' || (hash(i, getvariable('s'), 1) %% 30), (hash(i, getvariable('s'), 2) %% "
        "8)::BIGINT,"
        " CASE WHEN hash(i, getvariable('s'), 3) %% 5 > 0 THEN (hash(i, getvariable('s'), 4) %% 4)::BIGINT END,"
        " CASE WHEN hash(i, getvariable('s'), 5) %% 7 > 0 THEN (hash(i, getvariable('s'), 6) %% 6)::INTEGER END,"
        " CASE WHEN hash(i, getvariable('s'), 7) %% 7 > 0 THEN (hash(i, getvariable('s'), 8) %% 5)::INTEGER - 1 END,"
        " CASE WHEN hash(i, getvariable('s'), 9) %% 7 > 0 THEN ((hash(i, getvariable('s'), 10) %% 9)::INTEGER - "
        "2)::DECIMAL(18,2) * 1.25 END,"
        " CASE WHEN hash(i, getvariable('s'), 11) %% 6 > 0 THEN chr(97 + (hash(i, getvariable('s'), 12) %% "
        "4)::INTEGER) END,"
        " CASE WHEN hash(i, getvariable('s'), 13) %% 6 > 0 THEN ((hash(i, getvariable('s'), 14) %% 7)::INTEGER - 3) / "
        "3.0 END,"
        " TIMESTAMP '2026-01-01' + to_seconds(%d * 60 + (hash(i, getvariable('s'), 15) %% 20)::INTEGER * 20), (hash(i, "
        "getvariable('s'), 16) %% 2)::INTEGER,"
        " %d + i FROM range(%d) t(i);"
        "DELETE FROM products WHERE hash(product_id, getvariable('s'), 17) %% 4 = 0;"
        "DELETE FROM products WHERE product_id IN (SELECT (hash(i, getvariable('s'), 18) %% 6)::INTEGER FROM range(2) "
        "t(i));"
        "INSERT INTO products SELECT * FROM (SELECT DISTINCT ON (id) (hash(i, getvariable('s'), 18) %% 6)::INTEGER AS "
        "id,"
        " CASE WHEN hash(i, getvariable('s'), 19) %% 5 > 0 THEN chr(120 + (hash(i, getvariable('s'), 20) %% "
        "3)::INTEGER) END,"
        " (hash(i, getvariable('s'), 21) %% 5)::DECIMAL(18,2) FROM range(2) t(i) ORDER BY ALL) WHERE id NOT IN (SELECT "
        "product_id FROM products);"
        "%s INSERT INTO countries FROM step_countries;",
        seed * 1000 + step, step * 2, step * 1000, step == 3 ? 0 : 1 + seed * 7 % 5 + step * 9,
        step == 0 ? "INSERT INTO step_countries VALUES ('a', 'Austria'), ('b', 'Belgium'), ('z', 'Zambia');" : "");
    execute(r, sql);
    free(sql);
    if (r->plan->has_cut && r->cut_us != NO_CUT) { /* late for this table */
        char *late = leat_asprintf("DELETE FROM step_orders WHERE epoch_us(event_time) < %lld", (long long)r->cut_us);
        execute(r, late);
        free(late);
    }
    execute(r, "INSERT INTO orders FROM step_orders");
}

static void add_rows(struct run *r, size_t op_index, const char *from, int sign) {
    const struct leat_op *op = &r->plan->ops[op_index];
    const struct leat_source *source = &r->world.project->sources[op->object];
    struct leat_schema row = {0};
    struct leat_buffer sql = {0};
    struct leat_result result;
    struct leat_error err = {0};
    leat_source_row_schema(source, &row);
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < op->column_count; i++) {
        if (i) leat_put(&sql, ", ");
        leat_put_sql_name(&sql, row.fields[op->columns[i]].name);
    }
    leat_putf(&sql, " FROM (%s)", from);
    must(leat_conn_query(r->batch, sql.data, &result, &err), &err, sql.data);
    leat_changes_append(&r->outputs[op_index], &result.rows, NULL, result.rows.row_count, sign);
    leat_result_deinit(&result);
    leat_schema_deinit(&row);
    leat_buffer_deinit(&sql);
}

static void step_leaf(struct run *r, size_t i) {
    const char *name = r->world.project->sources[r->plan->ops[i].object].name;
    if (strcmp(name, "orders") == 0) add_rows(r, i, "FROM step_orders", 1);
    if (strcmp(name, "countries") == 0) add_rows(r, i, "FROM step_countries", 1);
    if (strcmp(name, "products") == 0) {
        add_rows(r, i, "FROM old_products EXCEPT ALL FROM products", -1);
        add_rows(r, i, "FROM products EXCEPT ALL FROM old_products", 1);
    }
}

static void run_step(struct run *r) {
    struct leat_error err = {0};
    bool closes = r->world.project->tables[0].emit_on_window_close;
    struct leat_step_context context = {.clock_us = 1767225600000000, .cut_us = r->plan->has_cut ? r->cut_us : NO_CUT};
    for (size_t i = 0; i < r->plan->op_count; i++) {
        const struct leat_op *op = &r->plan->ops[i];
        leat_changes_reset(&r->outputs[i]);
        if (op->child_count == 0) {
            step_leaf(r, i);
        } else {
            const struct leat_changes *inputs[2] = {&r->outputs[op->children[0]],
                                                    op->child_count > 1 ? &r->outputs[op->children[1]] : NULL};
            must(leat_node_step(r->nodes[i], &context, inputs, &r->outputs[i], &err), &err, r->query);
        }
        for (size_t k = 0; op->append_only && k < r->outputs[i].row_count; k++)
            if (leat_weight(&r->outputs[i], k) < 0) fail_msg("%s: operator %zu is not append-only", r->query, i);
        for (size_t t = 0; t < op->time_count; t++)
            for (size_t k = 0; k < r->outputs[i].row_count && context.cut_us != NO_CUT && !closes; k++) {
                const struct leat_column *column = &r->outputs[i].columns[op->times[t].column];
                if (leat_is_null(column, k)) continue;
                if (((const int64_t *)column->data)[k] + op->times[t].span_us <= r->cut_us)
                    fail_msg("%s: operator %zu breaks its event time", r->query, i);
            }
    }
    const struct leat_changes *root = &r->outputs[r->plan->op_count - 1];
    leat_changes_append(&r->total, root, NULL, root->row_count, 1);
    leat_changes_consolidate(&r->total);
}

static void compare(struct run *r, int step) {
    struct leat_error err = {0};
    struct leat_verify_result result;
    struct leat_buffer sql = {0}, oracle = {0};
    const struct leat_op *root = &r->plan->ops[r->plan->op_count - 1];
    for (size_t i = 0; i < r->total.row_count; i++)
        if (leat_weight(&r->total, i) < 0) fail_msg("%s: step %d leaves a row with a negative weight", r->query, step);
    must(leat_conn_input(r->batch, "got", &root->schema, true, &err), &err, "got");
    leat_conn_bind(r->batch, "got", &r->total);
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < root->schema.field_count; i++) {
        if (i) leat_put(&sql, ", ");
        leat_put_sql_name(&sql, root->schema.fields[i].name);
    }
    leat_put(&sql, " FROM (SELECT *, unnest(range(__w)) FROM leat_input('got'))");
    leat_put(&oracle, r->plan->completed_sql);
    if (r->world.project->tables[0].emit_on_window_close) {
        leat_buffer_reset(&oracle);
        leat_putf(&oracle, "SELECT * FROM (%s) WHERE epoch_us(", r->plan->completed_sql);
        leat_put_sql_name(&oracle, root->schema.fields[root->times[0].column].name);
        leat_putf(&oracle, ") + %lld <= %lld", (long long)root->times[0].span_us,
                  r->cut_us == NO_CUT ? -1LL : (long long)r->cut_us);
    }
    must(leat_verify(r->batch, oracle.data, sql.data, 5, &result, &err), &err, r->query);
    if (result.differing) {
        struct leat_buffer text = {0};
        leat_verify_print(&result, &text);
        leat_plan_explain(r->world.project, &r->world.project->tables[0], r->plan, false, &text);
        fail_msg("%s\nstep %d\n%s", r->query, step, text.data);
    }
    leat_verify_result_deinit(&result);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&oracle);
}

static void check_query(const char *clauses, const char *query, int seed) {
    struct run *r = leat_alloc(sizeof *r);
    r->query = query;
    r->cut_us = NO_CUT;
    if (world_compile(&r->world, clauses, query, &r->plan)) fail_msg("%s: %s", query, r->world.err.text);
    if (r->plan->incremental_class == 7) fail_msg("%s: class 7: %s", query, r->plan->full_reason);
    assert_true(r->plan->op_count < 128);
    open_run(r);
    for (int step = 0; step < STEPS; step++) {
        make_rows(r, seed, step);
        /* As the engine does it: the cut of a step is the watermark when it begins. */
        run_step(r);
        if (step == 1 || step == STEPS - 1) compare(r, step);
        r->cut_us = (1767225600LL + step * 120 + 60) * 1000000;
    }
    close_run(r);
    free(r);
}

#include "same_answer_queries.h"

static void every_query_gives_the_same_answer(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        check_query(queries[i].clauses, queries[i].query, (int)i + 1);
    world_end();
    leat_duck_close(step_duck);
    leat_duck_close(batch_duck);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_query_gives_the_same_answer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
