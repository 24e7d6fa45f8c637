/* The planner: queries become the operators they should, ties are completed, and what has no single answer is refused.
 */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_get_their_class),
        cmocka_unit_test(volatile_functions_are_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_end();
    return failed;
}
