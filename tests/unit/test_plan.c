/* The planner: queries become the operators they should, ties are completed, and what has no single answer is refused.
 */
#include "plan/complete.h"
#include "plan_world.h"

static const struct leat_op *find_op(const struct leat_plan *plan, enum leat_op_kind kind) {
    for (size_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == kind) return &plan->ops[i];
    return NULL;
}

struct class_case {
    const char *query;
    int incremental_class;
    enum leat_op_kind kind; /* an operator that must be there */
};

static void queries_get_their_class(void **state) {
    (void)state;
    static const struct class_case cases[] = {
        {"SELECT order_id, amount * 2 AS a FROM orders WHERE status <> 'x'", 1, LEAT_OP_MAP},
        {"SELECT DISTINCT ON (event_id) * FROM orders", 2, LEAT_OP_DISTINCT_ON},
        {"SELECT DISTINCT status FROM orders", 3, LEAT_OP_AGGREGATE},
        {"SELECT status, count(*) AS n, sum(amount) AS s FROM orders GROUP BY status", 3, LEAT_OP_AGGREGATE},
        {"SELECT leat_tumble(event_time, 60000000, 0) AS w, count(*) AS n FROM orders GROUP BY w", 4,
         LEAT_OP_AGGREGATE},
        {"SELECT o.order_id, p.category FROM orders o JOIN products p USING (product_id)", 5, LEAT_OP_LOOKUP},
        {"SELECT o.order_id FROM orders o JOIN orders p ON o.customer_id = p.customer_id", 5, LEAT_OP_JOIN},
        {"SELECT customer_id, median(amount) AS m FROM orders GROUP BY customer_id", 6, LEAT_OP_RECOMPUTE},
        {"SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY amount) AS n FROM orders", 6,
         LEAT_OP_RECOMPUTE},
        {"SELECT order_id FROM orders ORDER BY amount LIMIT 3", 6, LEAT_OP_TOP_N},
        {"SELECT order_id FROM orders QUALIFY row_number() OVER (ORDER BY amount) BETWEEN 2 AND 9", 6, LEAT_OP_TOP_N},
        {"SELECT DISTINCT ON (category) * FROM products ORDER BY price", 6, LEAT_OP_TOP_N},
        {"SELECT status FROM orders UNION ALL SELECT category FROM products", 1, LEAT_OP_UNION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct leat_plan *plan;
        if (world_compile(&w, "", cases[i].query, &plan)) fail_msg("%s: %s", cases[i].query, w.err.text);
        if (plan->incremental_class != cases[i].incremental_class || !find_op(plan, cases[i].kind))
            fail_msg("%s: class %d (%s)", cases[i].query, plan->incremental_class,
                     plan->full_reason ? plan->full_reason : "no reason");
        leat_plan_free(plan);
        world_close(&w);
    }
}

/* Comparisons with constants are told to the MAP as ranges; where a filter says more, none of it is. */
static void filters_become_tests(void **state) {
    (void)state;
    static const struct {
        const char *condition;
        size_t count;
        struct leat_test tests[2]; /* columns are not compared */
    } cases[] = {
        {"amount >= 0", 1, {{.low = 0, .high = INT64_MAX}}},
        {"amount > 1.5", 1, {{.low = 151, .high = INT64_MAX}}},
        {"5 > order_id", 1, {{.low = INT64_MIN, .high = 4}}},
        {"quantity <= 7 AND customer_id <> -3", 2, {{.low = INT64_MIN, .high = 7}, {.outside = true, .low = -3, .high = -3}}},
        {"event_time >= '1970-01-01 00:00:01'", 1, {{.low = 1000000, .high = INT64_MAX}}},
        {"quantity = 7", 1, {{.low = 7, .high = 7}}},
        {"quantity = 7 OR quantity = 9", 0, {{0}}},
        {"quantity = 7 AND status = 'a'", 0, {{0}}},
        {"price > 1", 0, {{0}}},
        {"quantity > NULL", 0, {{0}}},
        {"order_id % 7 > 3", 0, {{0}}},
        {"customer_id > 9223372036854775807", 0, {{0}}},
        {"customer_id IS DISTINCT FROM 3", 0, {{0}}},
        {"order_id > customer_id", 0, {{0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct leat_plan *plan;
        char *query = leat_asprintf("SELECT order_id, leat_tumble(event_time, 60000000, 5) AS t FROM orders WHERE %s", cases[i].condition);
        if (world_compile(&w, "", query, &plan)) fail_msg("%s: %s", query, w.err.text);
        const struct leat_op *map = find_op(plan, LEAT_OP_MAP);
        if (map) {
            if (map->test_count != cases[i].count) fail_msg("%s: %zu tests", query, map->test_count);
            for (size_t k = 0; k < map->test_count; k++) {
                const struct leat_test *is = &map->tests[k], *expected = &cases[i].tests[k];
                if (is->low != expected->low || is->high != expected->high || is->outside != expected->outside)
                    fail_msg("%s: %lld to %lld", query, (long long)is->low, (long long)is->high);
            }
            for (size_t k = 0; k < map->map_count; k++)
                if (map->map[k].from < 0 && strstr(map->map[k].expression, "leat_tumble")) {
                    assert_int_equal(map->map[k].tumbled.width_us, 60000000);
                    assert_int_equal(map->map[k].tumbled.origin_us, 5);
                }
        } else {
            assert_int_equal(cases[i].count, 0); /* nothing comes through */
        }
        free(query);
        leat_plan_free(plan);
        world_close(&w);
    }
}

static void volatile_functions_are_refused(void **state) {
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
        assert_int_equal(world_compile(&w, "", queries[i], &plan), LEAT_UNSUPPORTED);
        assert_null(plan);
        world_close(&w);
    }
}

/* DISTINCT ON is completed as row_number where what the keys and the order name is one column each, and else stays. */
static void distinct_on_is_ranked_where_columns_are_known(void **state) {
    (void)state;
    static const struct { const char *sql; bool ranked; } cases[] = {
        {"SELECT DISTINCT ON (order_id) * FROM orders", true},
        {"SELECT DISTINCT ON (order_id) order_id AS status, status AS order_id FROM orders ORDER BY price DESC, 1", true},
        {"SELECT DISTINCT ON (order_id % 2) order_id, status FROM orders", true},
        {"SELECT DISTINCT ON (order_id % 2) order_id + 1 AS order_id FROM orders", false},
        {"SELECT DISTINCT ON (order_id) order_id, customer_id AS order_id FROM orders", false},
        {"SELECT DISTINCT ON (COLUMNS('order_id|customer_id')) * FROM orders", false},
        {"SELECT DISTINCT ON (COLUMNS('order_id|customer_id') + 1) * FROM orders", false},
        {"SELECT DISTINCT ON (order_id) * FROM orders ORDER BY COLUMNS('customer_id|quantity') + 1", false},
        {"SELECT DISTINCT ON (order_id) order_id, count(*) AS n FROM orders GROUP BY order_id", false},
        /* copied into an order, or for good */
        {"SELECT quantity IN (SELECT DISTINCT ON (order_id) quantity FROM orders) AS q, count(*) AS n, lag(count(*)) OVER (ORDER BY count(*)) AS l FROM orders GROUP BY 1", false},
        {"SELECT max_by(event_id, quantity IN (SELECT DISTINCT ON (order_id) quantity FROM orders)) AS m FROM orders", false},
    };
    struct world w;
    world_open(&w, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *planning = NULL, *completed = NULL;
        int offset;
        if (leat_complete(w.conn, cases[i].sql, &planning, &completed, &offset, &w.err)) fail_msg("%s: %s", cases[i].sql, w.err.text);
        if ((strstr(completed, "row_number()") != NULL) != cases[i].ranked) fail_msg("%s: %s", cases[i].sql, completed);
        free(planning);
        free(completed);
    }
    world_close(&w);
}

/* The order is completed by the same columns for runs as for planning, also over a DISTINCT ON that runs see written otherwise. */
static void distinct_on_is_completed_alike(void **state) {
    (void)state;
    static const char *const froms[] = {
        "orders", "deduped", "(SELECT DISTINCT ON (event_id) * FROM orders)",
        "(SELECT * FROM (SELECT DISTINCT ON (event_id) * FROM orders) l WHERE EXISTS (SELECT 1 FROM products p WHERE p.product_id = l.product_id))",
    };
    struct world w;
    world_open(&w, "");
    for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
        char *sql = leat_asprintf("SELECT DISTINCT ON (order_id) order_id, event_id, event_time FROM %s", froms[i]), *planning = NULL, *completed = NULL;
        int offset;
        if (leat_complete(w.conn, sql, &planning, &completed, &offset, &w.err)) fail_msg("%s: %s", sql, w.err.text);
        if (!strstr(planning, " ORDER BY 3 ASC NULLS LAST, 1 ASC NULLS LAST, 2 ASC NULLS LAST")) fail_msg("%s: %s", sql, planning);
        if (!strstr(completed, "(PARTITION BY __c1 ORDER BY __c3 ASC NULLS LAST, __c2 ASC NULLS LAST)")) fail_msg("%s: %s", sql, completed);
        free(sql);
        free(planning);
        free(completed);
    }
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_get_their_class),
        cmocka_unit_test(distinct_on_is_completed_alike),
        cmocka_unit_test(filters_become_tests),
        cmocka_unit_test(volatile_functions_are_refused),
        cmocka_unit_test(distinct_on_is_ranked_where_columns_are_known),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_end();
    return failed;
}
