/* Checkpoints on disk: what nodes saved is what fresh nodes load, full and in increments, for keys of every type; old
 * files go; a checkpoint of other operators or with damage is refused. */
#include "ops_harness.h"
#include "state/checkpoint.h"

struct world {
    struct leat_env env;
    struct leat_duck *duck;
    struct leat_conn *batch;
    char *scratch, *dir;
};

static void world_init(struct world *w) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 2};
    leat_env_real(&w->env);
    OK(leat_duck_open(&options, &w->duck, oops));
    OK(leat_conn_open(w->duck, &w->batch, oops));
    w->scratch = scratch_make();
    w->dir = scratch_dir(w->scratch, "checkpoint");
}
static void world_deinit(struct world *w) {
    leat_conn_close(w->batch);
    leat_duck_close(w->duck);
    scratch_remove(w->scratch);
    free(w->dir);
}

static void save(struct world *w, struct rig *r, uint64_t step) {
    struct leat_checkpoint_node node = leat_node_checkpoint(r->node, "the node");
    OK(leat_checkpoint_save(&w->env, w->batch, w->dir, step, "{\"clock\": 17}", &node, 1, oops));
}
static void reload(struct world *w, struct rig *r, uint64_t want_step) {
    char *engine = NULL;
    uint64_t step = 0;
    leat_node_close(r->node);
    rig_open_node(r);
    struct leat_checkpoint_node node = leat_node_checkpoint(r->node, "the node");
    OK(leat_checkpoint_load(&w->env, w->batch, w->dir, &step, &engine, &node, 1, oops));
    assert_int_equal(step, want_step);
    assert_string_equal(engine, "{\"clock\":17}");
    free(engine);
}
static size_t file_count(struct world *w) {
    char **folders, **files;
    size_t folder_count, count, total = 0;
    OK(leat_io_list_sorted(w->env.io, w->dir, &folders, &folder_count, oops));
    for (size_t i = 0; i < folder_count; i++) {
        char *path = leat_asprintf("%s/%s", w->dir, folders[i]);
        OK(leat_io_list_sorted(w->env.io, path, &files, &count, oops));
        total += count;
        leat_names_free(files, count);
        free(path);
    }
    leat_names_free(folders, folder_count);
    return total;
}

static void run(struct rig *r, struct generator *g, const char *sql, int steps, bool retract) {
    struct world w;
    size_t most = 0;
    world_init(&w);
    for (int step = 1; step <= steps; step++) {
        for (int i = 0; i < r->op->child_count; i++)
            random_step(g, &r->all[i], step == 1 ? 200 : (size_t)below(g, 12), retract, &r->step[i]);
        rig_step(r);
        rig_compare(r, sql, "with checkpoints");
        if (below(g, 2)) continue;
        save(&w, r, (uint64_t)step);
        size_t files = file_count(&w);
        if (files > most) most = files;
        if (below(g, 3)) reload(&w, r, (uint64_t)step);
    }
    assert_true(most > 3);  /* there were increments */
    assert_true(most < 60); /* and they did not pile up */
    world_deinit(&w);
}

static void aggregate_state(void **state) {
    (void)state;
    static uint16_t keys[] = {C_KEY,  C_HUGE,  C_INTERVAL, C_UUID, C_DECIMAL, C_TIME, C_BLOB,
                              C_UBIG, C_FLOAT, C_DATE,     C_FLAG, C_UHUGE,   C_TZ,   C_CLOCK,
                              C_TINY, C_UTINY, C_USMALL,   C_UINT, C_DEC4,    C_DEC9};
    static const size_t key_counts[] = {1, 2, 3, 20};
    static struct leat_agg aggs[] = {
        {.kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}},
        {.kind = LEAT_AGG_SUM, .argument = C_BIG, .by = -1, .filter = -1, .result = {.kind = LEAT_HUGEINT}},
        {.kind = LEAT_AGG_SUM,
         .argument = C_DECIMAL,
         .by = -1,
         .filter = -1,
         .result = {.kind = LEAT_DECIMAL, .width = 38, .scale = 5}},
        {.kind = LEAT_AGG_AVG, .argument = C_DOUBLE, .by = -1, .filter = C_FLAG, .result = {.kind = LEAT_DOUBLE}},
        {.kind = LEAT_AGG_COUNT_DISTINCT, .argument = C_TEXT, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}},
        {.kind = LEAT_AGG_BOOL_OR, .argument = C_FLAG, .by = -1, .filter = -1, .result = {.kind = LEAT_BOOLEAN}},
    };
    for (size_t i = 0; i < 4; i++) {
        struct leat_op op = {.kind = LEAT_OP_AGGREGATE,
                             .keys = keys,
                             .key_count = key_counts[i],
                             .aggs = aggs,
                             .agg_count = 6,
                             .close_key = -1};
        struct generator g = {.keys = 40, .variety = i == 3 ? 3 : 12, .null_percent = 8};
        struct leat_buffer sql = {0};
        struct rig r;
        leat_random_seed(&g.random, 500 + i);
        leat_put(&sql, "SELECT ");
        for (size_t k = 0; k < key_counts[i]; k++) {
            add_input_field(&op, keys[k]);
            leat_putf(&sql, "c%d, ", keys[k]);
        }
        for (size_t k = 0; k < 6; k++)
            add_field(&op, "value", aggs[k].result);
        leat_put(&sql, "count(*), sum(c2), sum(c9), leat_avg(c3) FILTER (WHERE c6), count(DISTINCT c5), bool_or(c6) "
                       "FROM leat_input('left') GROUP BY ");
        for (size_t k = 0; k < key_counts[i]; k++)
            leat_putf(&sql, "%sc%d", k ? ", " : "", keys[k]);
        rig_init(&r, &op, 1);
        run(&r, &g, sql.data, 40, true);
        rig_deinit(&r);
        leat_buffer_deinit(&sql);
    }
}

static void distinct_state(void **state) {
    static uint16_t keys[] = {C_KEY};
    static struct leat_order orders[COLUMN_COUNT];
    bool by_place = *state != NULL;
    struct leat_op op = {.kind = LEAT_OP_DISTINCT_ON,
                         .by_place = by_place,
                         .keys = keys,
                         .key_count = 1,
                         .orders = orders,
                         .order_count = COLUMN_COUNT};
    struct generator g = {.keys = 60, .variety = 12, .null_percent = 8};
    struct leat_buffer sql = {0};
    struct rig r;
    leat_random_seed(&g.random, 9);
    leat_put(&sql, "SELECT DISTINCT ON (c0) COLUMNS('^c') FROM leat_input('left') ORDER BY c0");
    for (uint16_t i = 0; i < COLUMN_COUNT; i++) {
        add_input_field(&op, i);
        orders[i] = (struct leat_order){.column = i};
        leat_putf(&sql, ", c%d", i);
    }
    rig_init(&r, &op, 1);
    run(&r, &g, sql.data, 40, false);
    rig_deinit(&r);
    leat_buffer_deinit(&sql);
}

static void join_state(void **state) {
    (void)state;
    static uint16_t keys[] = {C_KEY};
    struct leat_op op = {
        .kind = LEAT_OP_JOIN, .keys = keys, .right_keys = keys, .key_count = 1, .join = LEAT_JOIN_LEFT};
    struct generator g = {.keys = 50, .variety = 12, .null_percent = 8};
    struct rig r;
    leat_random_seed(&g.random, 10);
    for (size_t i = 0; i < 2 * COLUMN_COUNT; i++)
        add_input_field(&op, i % COLUMN_COUNT);
    rig_init(&r, &op, 2);
    /* Computed columns can have one name; in the files they must not. */
    for (size_t i = 1; i < COLUMN_COUNT; i++) {
        free(r.input.fields[i].name);
        r.input.fields[i].name = leat_strdup(i % 2 ? "KEY" : "");
    }
    leat_node_close(r.node);
    rig_open_node(&r);
    run(&r, &g,
        "SELECT l.* EXCLUDE (__row, __w), r.* EXCLUDE (__row, __w) FROM leat_input('left') l LEFT JOIN "
        "leat_input('right') r ON l.c0 = r.c0",
        40, true);
    rig_deinit(&r);
}

/* A node with some state and a checkpoint of it, for the tests of what is refused. */
static uint16_t one_key[] = {C_KEY};
static struct leat_agg one_agg[] = {
    {.kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}}};

static void small_rig(struct rig *r, struct leat_op *op) {
    struct generator g = {.keys = 50, .variety = 12};
    *op = (struct leat_op){
        .kind = LEAT_OP_AGGREGATE, .keys = one_key, .key_count = 1, .aggs = one_agg, .agg_count = 1, .close_key = -1};
    leat_random_seed(&g.random, 1);
    add_input_field(op, C_KEY);
    add_field(op, "n", one_agg[0].result);
    rig_init(r, op, 1);
    random_step(&g, &r->all[0], 100, false, &r->step[0]);
    rig_step(r);
}

static enum leat_status try_load(struct world *w, struct rig *r, const char *signature, struct leat_error *error) {
    leat_node_close(r->node);
    rig_open_node(r);
    struct leat_checkpoint_node node = leat_node_checkpoint(r->node, signature);
    uint64_t step;
    return leat_checkpoint_load(&w->env, w->batch, w->dir, &step, NULL, &node, 1, error);
}

static void refusals(void **state) {
    (void)state;
    struct world w;
    struct rig r;
    struct leat_op op;
    struct leat_error error = {0};
    world_init(&w);
    small_rig(&r, &op);
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_NOT_FOUND);
    rig_deinit(&r);
    small_rig(&r, &op);
    save(&w, &r, 3);
    assert_int_equal(try_load(&w, &r, "another node", &error), LEAT_NOT_FOUND);
    assert_non_null(strstr(error.text, "another node"));
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_OK);
    /* Other columns. Not by their names: those of an operator that tables share are of the table that came first. */
    free(op.schema.fields[0].name);
    op.schema.fields[0].name = leat_strdup("renamed");
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_OK);
    save(&w, &r, 4);
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_OK);
    free(op.schema.fields[0].name);
    op.schema.fields[0].name = leat_strdup("key");
    struct leat_type type = r.input.fields[C_KEY].type;
    r.input.fields[C_KEY].type = (struct leat_type){.kind = LEAT_DATE};
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_NOT_FOUND);
    r.input.fields[C_KEY].type = type;
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_OK);
    save(&w, &r, 5);
    /* A file cut short, then missing, then a manifest that is none. */
    char *file = leat_asprintf("%s/3/0-0-0.parquet", w.dir), *manifest = leat_asprintf("%s/3/manifest.json", w.dir);
    scratch_write(file, "PAR1", 4);
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_CORRUPT);
    OK(leat_io_remove_tree(w.env.io, file, oops));
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_CORRUPT);
    assert_non_null(strstr(error.text, "missing"));
    scratch_write(manifest, "{\"format\": 1", 12);
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_CORRUPT);
    /* The next one is written whole and used. */
    save(&w, &r, 9);
    assert_int_equal(try_load(&w, &r, "the node", &error), LEAT_OK);
    free(file);
    free(manifest);
    rig_deinit(&r);
    world_deinit(&w);
}

int main(void) {
    static bool by_place = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aggregate_state),
        cmocka_unit_test(distinct_state),
        cmocka_unit_test_prestate(distinct_state, &by_place),
        cmocka_unit_test(join_state),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
