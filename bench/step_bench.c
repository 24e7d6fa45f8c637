/* From JSON bytes in memory through the compiled operators of one table: what a step costs without log, bronze and commits.
 * step_bench PROJECT EVENTS.ndjson PRODUCTS.csv TABLE  prints: events, CPU seconds, the table's groups, orders, revenue (in
 * cents); then the keys and bytes of DISTINCT ON's state and how many rows were read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "data/decode.h"
#include "plan/plan.h"
#include "stream/op.h"

enum { STEP_RECORDS = 50000, COLUMNS_MAX = 64 };

static void need(enum leat_status st, const struct leat_error *err) {
    if (st == LEAT_OK) return;
    fprintf(stderr, "step_bench: %s\n", err->text);
    exit(3);
}

struct bench {
    struct leat_project *project;
    struct leat_plan *plan;
    struct leat_node **nodes;
    struct leat_changes *outs, *views;
    const struct leat_changes **results; /* each out or view */
    const struct leat_source *source; /* the events, and what rows read again are decoded with */
    struct leat_decoder *again;
    const struct leat_buffer *events;
    uint64_t fetched;
    int64_t groups, orders, revenue; /* of the table, from its changes */
};
/* A decoded step: where its records begin in the file is their place. */
struct decoded {
    struct leat_changes rows;
    uint64_t base;
    const uint32_t *starts, *records;
};
struct fetch {
    struct bench *bench;
    int op;
};

static struct leat_plan *compile(struct leat_project *project, const char *table_name, struct leat_error *err) {
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_plan *plan = NULL;
    int offset;
    need(leat_duck_open(&options, &duck, err), err);
    need(leat_conn_open(duck, &conn, err), err);
    for (size_t i = 0; i < project->order_count; i++) {
        struct leat_object_ref ref = project->order[i];
        if (ref.kind == LEAT_OBJECT_SOURCE) need(leat_plan_declare_source(conn, &project->sources[ref.index], err), err);
        if (ref.kind == LEAT_OBJECT_VIEW) need(leat_plan_declare_view(conn, &project->views[ref.index], NULL, &offset, err), err);
        if (ref.kind == LEAT_OBJECT_TABLE && strcmp(project->tables[ref.index].name, table_name) == 0)
            need(leat_plan_compile(conn, project, &project->tables[ref.index], &plan, &offset, err), err);
    }
    return plan;
}

static void put_places(const struct decoded *d, leat_i128 *to) {
    for (size_t i = 0; i < d->rows.row_count; i++) to[i] = (leat_i128)(d->base + d->starts[d->records[i]]);
}

/* Columns of a decoded batch as an operator wants them, borrowed. */
static void project_columns(const struct leat_op *op, const struct decoded *from, struct leat_changes *to) {
    static leat_i128 places[STEP_RECORDS];
    for (size_t c = 0; c < op->column_count; c++) {
        if (op->columns[c] == LEAT_COLUMN_PLACE) {
            put_places(from, places);
            to->columns[c].data = places;
        } else {
            to->columns[c] = from->rows.columns[op->columns[c]];
        }
    }
    to->row_count = from->rows.row_count;
}

/* Rows of an operator's input read again from the text of the events, as the engine does it: decoded where they stand, then all at once
 * through the MAPs between. */
static enum leat_status fetch_rows(void *context, const leat_i128 *places, size_t n, struct leat_changes *out, struct leat_error *err) {
    struct fetch *f = context;
    const struct leat_op *ops = f->bench->plan->ops;
    struct leat_node *maps[16];
    size_t map_count = 0;
    int at = ops[f->op].children[0];
    for (; ops[at].kind == LEAT_OP_MAP; at = ops[at].children[0]) maps[15 - map_count++] = f->bench->nodes[at];
    const struct leat_op *source = &ops[at];
    struct decoded again = {0};
    struct leat_column columns[COLUMNS_MAX] = {0};
    struct leat_changes view = {.schema = &source->schema, .columns = columns};
    enum leat_status status = LEAT_OK;
    f->bench->fetched += n;
    leat_changes_init(&again.rows, &f->bench->source->schema);
    leat_changes_reserve(&again.rows, n);
    for (size_t i = 0; i < n && status == LEAT_OK; i++) {
        uint32_t start, end, record, count;
        const struct leat_reject *rejects;
        size_t reject_count;
        const char *text = f->bench->events->data + (uint64_t)places[i];
        leat_split_records(f->bench->source->format, text, f->bench->events->length - (uint64_t)places[i], true, &start, &end, 1, &count);
        struct leat_block block = {.record_count = 1, .payload = text, .starts = &start, .ends = &end, .payload_bytes = end};
        status = leat_decode(f->bench->again, &block, 0, 1, &again.rows, &record, NULL, &rejects, &reject_count, err);
    }
    for (size_t c = 0; c < source->column_count; c++)
        columns[c] = source->columns[c] == LEAT_COLUMN_PLACE ? (struct leat_column){.type = source->schema.fields[c].type, .data = (void *)(uintptr_t)places}
                                                             : again.rows.columns[source->columns[c]];
    view.row_count = again.rows.row_count;
    if (status == LEAT_OK) status = leat_nodes_pass(maps + 16 - map_count, map_count, &(struct leat_step_context){0}, &view, out, err);
    leat_changes_deinit(&again.rows);
    return status;
}

static void step(struct bench *b, const struct decoded *decoded, const int *object_of, size_t count, struct leat_error *err) {
    for (size_t i = 0; i < b->plan->op_count; i++) {
        const struct leat_op *op = &b->plan->ops[i];
        struct leat_changes *out = &b->outs[i];
        const struct leat_changes *inputs[2] = {NULL, NULL};
        b->results[i] = out;
        if (op->kind == LEAT_OP_SOURCE || op->kind == LEAT_OP_REFERENCE) {
            out->row_count = 0;
            for (size_t k = 0; k < count; k++)
                if (object_of[k] == op->object) project_columns(op, &decoded[k], out);
            continue;
        }
        leat_changes_reset(out);
        for (int c = 0; c < op->child_count; c++)
            if (b->results[op->children[c]]->row_count) inputs[c] = b->results[op->children[c]];
        struct fetch fetch = {.bench = b, .op = (int)i};
        struct leat_step_context context = {.cut_us = INT64_MIN, .fetch = fetch_rows, .fetch_context = &fetch, .may_pass = true};
        need(leat_node_step(b->nodes[i], &context, inputs, out, err), err);
        if (leat_node_passed(b->nodes[i], inputs[0], &b->views[i])) b->results[i] = &b->views[i];
    }
}

/* The table's changes: one row a group. */
static void count_changes(struct bench *b) {
    const struct leat_changes *changes = b->results[b->plan->op_count - 1];
    const int64_t *orders = changes->columns[leat_schema_find(&b->plan->schema, "orders")].data;
    const leat_i128 *revenue = changes->columns[leat_schema_find(&b->plan->schema, "revenue")].data;
    for (size_t i = 0; i < changes->row_count; i++) {
        int32_t weight = leat_weight(changes, i);
        b->groups += weight;
        b->orders += weight * orders[i];
        b->revenue += weight * (int64_t)revenue[i];
    }
}

static void decode_text(const struct leat_source *source, struct leat_decoder *decoder, const char *text, size_t n, const char *header,
                        struct decoded *out, uint32_t *starts, uint32_t *ends, uint32_t *records, size_t *used, uint32_t *count,
                        struct leat_error *err) {
    const struct leat_reject *rejects;
    size_t reject_count;
    *used = leat_split_records(source->format, text, n, true, starts, ends, STEP_RECORDS, count);
    struct leat_block block = {.record_count = *count, .payload = text, .starts = starts, .ends = ends, .payload_bytes = *used,
                               .header = header, .header_length = header ? strlen(header) : 0};
    leat_changes_reset(&out->rows);
    out->starts = starts;
    out->records = records;
    need(leat_decode(decoder, &block, 0, *count, &out->rows, records, NULL, &rejects, &reject_count, err), err);
}

int main(int argc, char **argv) {
    struct leat_env env;
    struct leat_error err = {0};
    struct leat_diagnostics diags = {0};
    struct bench b = {0};
    struct leat_buffer events = {0}, products = {0};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP};
    if (argc != 5) return 2;
    leat_env_real(&env);
    need(leat_project_load(&env, argv[1], &b.project, &diags, &err), &err);
    b.plan = compile(b.project, argv[4], &err);
    if (!b.plan || b.plan->incremental_class == 7) {
        fprintf(stderr, "step_bench: %s\n", b.plan ? b.plan->full_reason : "no such table");
        return 3;
    }
    need(leat_duck_open(&options, &duck, &err), &err);
    need(leat_conn_open(duck, &conn, &err), &err);
    b.nodes = leat_alloc(b.plan->op_count * sizeof *b.nodes);
    b.outs = leat_alloc(b.plan->op_count * sizeof *b.outs);
    b.views = leat_alloc(b.plan->op_count * sizeof *b.views);
    b.results = leat_alloc(b.plan->op_count * sizeof *b.results);
    for (size_t i = 0; i < b.plan->op_count; i++) {
        const struct leat_op *op = &b.plan->ops[i];
        const struct leat_schema *schemas[2] = {NULL, NULL};
        leat_changes_init(&b.outs[i], &op->schema);
        leat_changes_init(&b.views[i], &op->schema);
        for (int c = 0; c < op->child_count; c++) schemas[c] = &b.plan->ops[op->children[c]].schema;
        if (op->kind != LEAT_OP_SOURCE && op->kind != LEAT_OP_REFERENCE)
            need(leat_node_open(conn, op, schemas, (int)i, &b.nodes[i], &err), &err);
    }
    need(leat_io_read_all(env.io, argv[2], (size_t)1 << 40, &events, &err), &err);
    need(leat_io_read_all(env.io, argv[3], (size_t)1 << 40, &products, &err), &err);
    need(leat_buffer_reserve(&events, 128, &err), &err);
    need(leat_buffer_reserve(&products, 128, &err), &err);

    int objects[2] = {-1, -1};
    for (size_t s = 0; s < b.project->source_count; s++) objects[b.project->sources[s].reference] = (int)s;
    const struct leat_source *source = &b.project->sources[objects[0]], *reference = &b.project->sources[objects[1]];
    struct leat_decoder *decoder, *reference_decoder;
    need(leat_decoder_open(source, &decoder, &err), &err);
    need(leat_decoder_open(reference, &reference_decoder, &err), &err);
    uint32_t *starts = leat_alloc(STEP_RECORDS * 4), *ends = leat_alloc(STEP_RECORDS * 4), *records = leat_alloc(STEP_RECORDS * 4);
    struct decoded batch = {0}, catalogue = {0};
    leat_changes_init(&batch.rows, &source->schema);
    leat_changes_init(&catalogue.rows, &reference->schema);
    b.source = source;
    b.events = &events;
    need(leat_decoder_open(source, &b.again, &err), &err);
    char *newline = strchr(products.data, '\n');
    *newline = 0;
    size_t used;
    uint32_t count;
    decode_text(reference, reference_decoder, newline + 1, products.length - (size_t)(newline + 1 - products.data), products.data,
                &catalogue, starts, ends, records, &used, &count, &err);
    step(&b, &catalogue, &objects[1], 1, &err);

    int64_t cpu = leat_usage_cpu_us();
    uint64_t total = 0;
    for (size_t at = 0; at < events.length;) {
        decode_text(source, decoder, events.data + at, events.length - at, NULL, &batch, starts, ends, records, &used, &count, &err);
        batch.base = at;
        at += used;
        total += count;
        step(&b, &batch, &objects[0], 1, &err);
        count_changes(&b);
    }
    printf("%llu %.6f", (unsigned long long)total, (double)(leat_usage_cpu_us() - cpu) / 1e6);
    printf(" %lld %lld %lld", (long long)b.groups, (long long)b.orders, (long long)b.revenue);
    for (size_t i = 0; i < b.plan->op_count; i++) {
        struct leat_node_stats stats = {0};
        if (b.plan->ops[i].kind != LEAT_OP_DISTINCT_ON) continue;
        leat_node_stats(b.nodes[i], &stats);
        printf(" %llu %llu %llu", (unsigned long long)stats.state_keys, (unsigned long long)stats.state_bytes, (unsigned long long)b.fetched);
    }
    puts("");
    return 0;
}
