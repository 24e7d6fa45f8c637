/* Rates of the operators, one thread, CPU time. Build against leatcore (Release); not a test.
 *   ops_bench [rows in millions] [rows a step] [only names that contain this] [keys] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "state/checkpoint.h"
#include "state/keyed.h"
#include "stream/op.h"

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
static double wall(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
static void must(enum leat_status status, const struct leat_error *err) {
    if (status == LEAT_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

enum { ID, KEY, PRODUCT, AMOUNT, PRICE, STATUS, TIME, MINUTE, COLUMNS };
static struct leat_random rng;
static struct leat_schema schema;
static size_t step_rows = 50000;
static uint64_t total_rows = 10000000, key_count = 1000000, next_id;

static void make_schema(void) {
    leat_schema_add(&schema, "id", (struct leat_type){.kind = LEAT_VARCHAR}, true);
    leat_schema_add(&schema, "key", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_schema_add(&schema, "product", (struct leat_type){.kind = LEAT_INTEGER}, true);
    leat_schema_add(&schema, "amount", (struct leat_type){.kind = LEAT_DECIMAL, .width = 18, .scale = 2}, true);
    leat_schema_add(&schema, "price", (struct leat_type){.kind = LEAT_DOUBLE}, true);
    leat_schema_add(&schema, "status", (struct leat_type){.kind = LEAT_VARCHAR}, true);
    leat_schema_add(&schema, "time", (struct leat_type){.kind = LEAT_TIMESTAMP}, true);
    leat_schema_add(&schema, "minute", (struct leat_type){.kind = LEAT_TIMESTAMP}, true);
}

static void fill(struct leat_changes *c, size_t rows) {
    static const char *const statuses[] = {"placed", "paid", "shipped", "delivered"};
    leat_changes_reset(c);
    leat_changes_reserve(c, rows);
    for (size_t i = 0; i < rows; i++) {
        uint64_t r = leat_random_next(&rng), id = next_id++;
        char *text = leat_arena_alloc(&c->strings, 24);
        snprintf(text, 24, "order-event-%010llu", (unsigned long long)id);
        ((struct leat_string *)c->columns[ID].data)[i] = leat_string_of(text, 22);
        ((int64_t *)c->columns[KEY].data)[i] = (int64_t)(r % key_count);
        ((int32_t *)c->columns[PRODUCT].data)[i] = (int32_t)((r >> 20) % 1000);
        ((int64_t *)c->columns[AMOUNT].data)[i] = (int64_t)((r >> 32) % 100000);
        ((double *)c->columns[PRICE].data)[i] = (double)((r >> 32) % 100000) / 100.0;
        ((struct leat_string *)c->columns[STATUS].data)[i] =
            leat_string_of(statuses[r & 3], (uint32_t)strlen(statuses[r & 3]));
        ((int64_t *)c->columns[TIME].data)[i] = (int64_t)id * 20;
        ((int64_t *)c->columns[MINUTE].data)[i] = (int64_t)id * 20 / 60000000 * 60000000;
    }
    c->row_count = rows;
}

static const char *only = "";
static struct leat_conn *step_conn, *batch_conn;
static struct leat_env env;

static double run(const char *name, struct leat_op *op, int children, struct leat_node **keep) {
    const struct leat_schema *inputs[2] = {&schema, children > 1 ? &schema : NULL};
    struct leat_error err = {0};
    struct leat_node *node;
    struct leat_changes in, right, out;
    struct leat_step_context context = {.cut_us = INT64_MIN};
    struct leat_node_stats stats;
    static int id;
    double spent = 0, most = 0;
    if (keep) *keep = NULL;
    if (!strstr(name, only)) return 0;
    leat_random_seed(&rng, 1);
    next_id = 0;
    op->child_count = children;
    must(leat_node_open(step_conn, op, inputs, ++id, &node, &err), &err);
    leat_changes_init(&in, &schema);
    leat_changes_init(&right, &schema);
    leat_changes_init(&out, &op->schema);
    if (children > 1) { /* a catalogue: 1000 products */
        fill(&right, 1000);
        for (int32_t i = 0; i < 1000; i++)
            ((int32_t *)right.columns[PRODUCT].data)[i] = i;
        const struct leat_changes *first[2] = {NULL, &right};
        must(leat_node_step(node, &context, first, &out, &err), &err);
    }
    for (uint64_t done = 0; done < total_rows; done += step_rows) {
        const struct leat_changes *step[2] = {&in, NULL};
        fill(&in, step_rows);
        leat_changes_reset(&out);
        double start = cpu();
        must(leat_node_step(node, &context, step, &out, &err), &err);
        double took = cpu() - start;
        spent += took;
        if (took > most) most = took;
    }
    leat_node_stats(node, &stats);
    printf("%-44s %7.2f M rows/s  %6.3f s/M  out %.2f  %9llu keys %7.1f MB  longest step %.1f ms\n", name,
           (double)total_rows / spent * 1e-6, spent / (double)total_rows * 1e6,
           (double)stats.rows_out / (double)stats.rows_in, (unsigned long long)stats.state_keys,
           (double)stats.state_bytes / 1e6, most * 1e3);
    fflush(stdout);
    leat_changes_deinit(&in);
    leat_changes_deinit(&right);
    leat_changes_deinit(&out);
    if (keep)
        *keep = node;
    else
        leat_node_close(node);
    return spent;
}

static void add(struct leat_op *op, const char *name, enum leat_kind kind, uint8_t width, uint8_t scale) {
    leat_schema_add(&op->schema, name, (struct leat_type){.kind = (uint8_t)kind, .width = width, .scale = scale}, false);
}

static struct leat_agg aggs4[] = {
    {.kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}},
    {.kind = LEAT_AGG_SUM,
     .argument = AMOUNT,
     .by = -1,
     .filter = -1,
     .result = {.kind = LEAT_DECIMAL, .width = 38, .scale = 2}},
    {.kind = LEAT_AGG_MIN, .argument = TIME, .by = -1, .filter = -1, .result = {.kind = LEAT_TIMESTAMP}},
    {.kind = LEAT_AGG_MAX, .argument = TIME, .by = -1, .filter = -1, .result = {.kind = LEAT_TIMESTAMP}},
};

static struct leat_op aggregate_op(uint16_t *keys, size_t key_count_, struct leat_agg *aggs, size_t count) {
    struct leat_op op = {.kind = LEAT_OP_AGGREGATE,
                         .keys = keys,
                         .key_count = key_count_,
                         .aggs = aggs,
                         .agg_count = count,
                         .close_key = -1};
    for (size_t i = 0; i < key_count_; i++)
        leat_schema_add(&op.schema, schema.fields[keys[i]].name, schema.fields[keys[i]].type, false);
    for (size_t i = 0; i < count; i++)
        leat_schema_add(&op.schema, "a", aggs[i].result, false);
    return op;
}

/* The bare table: hashed keys upserted and four values added. */
static void bench_table(void) {
    enum { CHUNK = 1024 };
    struct leat_keyed t;
    struct leat_changes in;
    static const uint16_t key = KEY;
    static struct leat_hash128 hashes[CHUNK];
    static uint32_t entries[CHUNK];
    double spent = 0, hashing = 0;
    leat_keyed_init(&t, 40);
    leat_changes_init(&in, &schema);
    for (uint64_t done = 0; done < total_rows; done += step_rows) {
        fill(&in, step_rows);
        double start = cpu();
        for (size_t from = 0; from < step_rows; from += CHUNK) {
            size_t n = step_rows - from < CHUNK ? step_rows - from : CHUNK;
            double hash_start = cpu();
            leat_key_hash(&in, from, n, &key, 1, hashes);
            hashing += cpu() - hash_start;
            leat_keyed_upsert(&t, hashes, n, entries);
            for (size_t i = 0; i < n; i++) {
                int64_t *v = leat_entry_payload(leat_keyed_at(&t, entries[i])),
                        x = ((int64_t *)in.columns[AMOUNT].data)[from + i];
                v[0]++;
                v[1] += x;
                v[2] = x < v[2] ? x : v[2];
                v[3] = x > v[3] ? x : v[3];
            }
        }
        spent += cpu() - start;
    }
    printf("%-44s %7.2f M rows/s  (hashing %.0f %%)\n", "bare table, 4 values", (double)total_rows / spent * 1e-6,
           hashing / spent * 100);
    leat_changes_deinit(&in);
    leat_keyed_deinit(&t);
}

static void bench_checkpoint(const char *name, struct leat_op *op, struct leat_node *node) {
    const struct leat_schema *inputs[2] = {&schema, NULL};
    struct leat_error err = {0};
    struct leat_checkpoint_node c = leat_node_checkpoint(node, "bench");
    uint64_t step;
    if (!node) return;
    double start = wall(), start_cpu = cpu();
    must(leat_checkpoint_save(&env, batch_conn, "ops-bench-checkpoint", 1, "{}", &c, 1, &err), &err);
    double saved = wall() - start, saved_cpu = cpu() - start_cpu;
    leat_node_close(node);
    must(leat_node_open(step_conn, op, inputs, 1000, &node, &err), &err);
    c = leat_node_checkpoint(node, "bench");
    start = wall();
    start_cpu = cpu();
    must(leat_checkpoint_load(&env, batch_conn, "ops-bench-checkpoint", &step, NULL, &c, 1, &err), &err);
    printf("%-44s save %.2f s (%.2f s of this thread), load %.2f s (%.2f s)\n", name, saved, saved_cpu, wall() - start,
           cpu() - start_cpu);
    leat_node_close(node);
    must(leat_checkpoint_forget(&env, "ops-bench-checkpoint", &err), &err);
}

int main(int argc, char **argv) {
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP}, batch_options = {.use = LEAT_DUCK_BATCH, .threads = 2};
    struct leat_duck *duck, *batch;
    struct leat_error err = {0};
    struct leat_node *node;
    if (argc > 1) total_rows = strtoull(argv[1], NULL, 10) * 1000000;
    if (argc > 2) step_rows = strtoull(argv[2], NULL, 10);
    if (argc > 3) only = argv[3];
    if (argc > 4) key_count = strtoull(argv[4], NULL, 10);
    leat_env_real(&env);
    make_schema();
    must(leat_duck_open(&options, &duck, &err), &err);
    must(leat_conn_open(duck, &step_conn, &err), &err);
    must(leat_duck_open(&batch_options, &batch, &err), &err);
    must(leat_conn_open(batch, &batch_conn, &err), &err);
    printf("%llu rows, %zu a step, %llu keys\n", (unsigned long long)total_rows, step_rows,
           (unsigned long long)key_count);
    if (strstr("bare table", only)) bench_table();

    uint16_t key[] = {KEY}, id[] = {ID}, minute[] = {MINUTE, PRODUCT}, product[] = {PRODUCT};
    struct leat_op op = aggregate_op(key, 1, aggs4, 4);
    run("aggregate, 4 by key", &op, 1, &node);
    bench_checkpoint("  its checkpoint", &op, node);
    op = aggregate_op(minute, 2, aggs4, 2);
    run("aggregate, 2 by minute and product", &op, 1, NULL);
    struct leat_agg arg[] = {
        {.kind = LEAT_AGG_ARG_MAX, .argument = STATUS, .by = TIME, .filter = -1, .result = {.kind = LEAT_VARCHAR}},
        aggs4[3]};
    op = aggregate_op(key, 1, arg, 2);
    run("aggregate, latest status by key", &op, 1, NULL);
    struct leat_agg exact[] = {
        {.kind = LEAT_AGG_SUM, .argument = PRICE, .by = -1, .filter = -1, .result = {.kind = LEAT_DOUBLE}}};
    op = aggregate_op(product, 1, exact, 1);
    run("aggregate, sum of doubles by product", &op, 1, NULL);
    op = aggregate_op(key, 1, exact, 1);
    run("aggregate, sum of doubles by key", &op, 1, NULL);
    struct leat_agg distinct[] = {
        {.kind = LEAT_AGG_COUNT_DISTINCT, .argument = KEY, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}}};
    op = aggregate_op(product, 1, distinct, 1);
    run("aggregate, count distinct keys by product", &op, 1, NULL);

    struct leat_order orders[COLUMNS] = {{0}};
    for (uint16_t i = 0; i < COLUMNS; i++)
        orders[i].column = i;
    op = (struct leat_op){
        .kind = LEAT_OP_DISTINCT_ON, .keys = id, .key_count = 1, .orders = orders, .order_count = COLUMNS};
    leat_schema_copy(&op.schema, &schema);
    run("distinct on id, all new", &op, 1, &node);
    bench_checkpoint("  its checkpoint", &op, node);

    op = (struct leat_op){
        .kind = LEAT_OP_LOOKUP, .keys = product, .right_keys = product, .key_count = 1, .join = LEAT_JOIN_INNER};
    for (size_t i = 0; i < 2 * COLUMNS; i++)
        leat_schema_add(&op.schema, "c", schema.fields[i % COLUMNS].type, false);
    run("lookup of 1000 products", &op, 2, NULL);

    struct leat_map_column pass[] = {{.from = ID}, {.from = KEY}, {.from = AMOUNT}, {.from = TIME}};
    struct leat_map_column compute[] = {
        {.from = ID}, {.from = KEY}, {.from = -1, .expression = "c3 * 2"}, {.from = -1, .expression = "upper(c5)"}};
    op = (struct leat_op){.kind = LEAT_OP_MAP, .map = pass, .map_count = 4};
    add(&op, "id", LEAT_VARCHAR, 0, 0), add(&op, "key", LEAT_BIGINT, 0, 0), add(&op, "a", LEAT_DECIMAL, 18, 2),
        add(&op, "t", LEAT_TIMESTAMP, 0, 0);
    run("map, columns only", &op, 1, NULL);
    op.filter = "c3 >= 0";
    run("map, filter", &op, 1, NULL);
    op = (struct leat_op){.kind = LEAT_OP_MAP, .map = compute, .map_count = 4, .filter = "c3 >= 0"};
    add(&op, "id", LEAT_VARCHAR, 0, 0), add(&op, "key", LEAT_BIGINT, 0, 0), add(&op, "a", LEAT_DECIMAL, 18, 2),
        add(&op, "t", LEAT_VARCHAR, 0, 0);
    run("map, filter and two expressions", &op, 1, NULL);
    return 0;
}
