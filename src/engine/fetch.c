/* Rows read again by the place of their record: from the chunks in memory, else from the log, else from bronze, and
 * through the MAPs that stand between the source and the operator that asks. The records were admitted in an earlier step;
 * whether they would be late by now is no question. */
#include <stdlib.h>

#include "engine/internal.h"
#include "state/row.h"

/* Records of the log this near to one another are read in one go; so many of bronze are named in one query. */
enum { GAP_RECORDS = 4096, PICK_MAX = 10000 };

struct wanted { uint32_t partition; uint64_t offset; uint32_t index; bool found; };
struct fetching {
    struct leat_src *src;
    const struct leat_op *source;
    struct wanted *wanted; size_t count; /* by partition, offset */
    struct leat_changes rows;            /* of the SOURCE node, in the order asked for */
};

static int by_place(const void *a, const void *b) {
    const struct wanted *x = a, *y = b;
    if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static size_t first_from(const struct fetching *f, uint32_t partition, uint64_t offset) {
    size_t low = 0, high = f->count;
    struct wanted key = {.partition = partition, .offset = offset};
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (by_place(&f->wanted[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes what is wanted of a chunk, with copies of its strings. */
static void take_from(struct fetching *f, const struct leat_chunk *chunk) {
    for (size_t i = first_from(f, chunk->partition, chunk->from); i < f->count; i++) {
        struct wanted *w = &f->wanted[i];
        if (w->partition != chunk->partition || w->offset >= chunk->to) break;
        size_t row = leat_chunk_row(chunk, w->offset);
        if (w->found || row == chunk->rows.row_count || chunk->offsets[row] != w->offset) continue;
        leat_source_rows(f->src, f->source, chunk, NULL, row, 1, &f->rows, w->index);
        for (size_t c = 0; c < f->source->column_count; c++)
            if (leat_type_is_string(f->rows.columns[c].type)) leat_own_strings(&f->rows, c, w->index, 1);
        w->found = true;
    }
}

static enum leat_status read_log(struct fetching *f, uint32_t partition, uint64_t from, uint64_t to, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    pthread_mutex_lock(&f->src->log_lock);
    enum leat_status st = leat_log_read(f->src->log, partition, from, to, &cursor, err);
    if (st != LEAT_OK) goto out;
    while ((st = leat_log_next(cursor, &block, err)) == LEAT_OK) {
        struct leat_chunk *chunk;
        if ((st = leat_chunk_decode(f->src, f->src->decoder, &block, &chunk, err)) != LEAT_OK) break;
        take_from(f, chunk);
        leat_chunk_free(chunk);
    }
    leat_log_cursor_close(cursor);
out:
    pthread_mutex_unlock(&f->src->log_lock);
    return st == LEAT_END ? LEAT_OK : st;
}

/* How many of wanted[from..], all of one partition, can be read in one go: from the log, near to one another; from bronze, where each read
 * is a query over many files, as many as one query may name. */
static size_t run_length(const struct fetching *f, size_t from, bool *log) {
    const struct wanted *first = &f->wanted[from], *last = first;
    pthread_mutex_lock(&f->src->log_lock);
    uint64_t in_log = leat_log_first_offset(f->src->log, first->partition), grown = leat_cursor_get(&f->src->grown, first->partition);
    pthread_mutex_unlock(&f->src->log_lock);
    if (in_log < grown) in_log = grown; /* the log's bytes may say more than what was decoded of them */
    *log = first->offset >= in_log;
    for (size_t k = from + 1; k < f->count && f->wanted[k].partition == first->partition && (f->wanted[k].offset >= in_log) == *log; k++) {
        if (f->wanted[k].found) continue;
        if (*log ? f->wanted[k].offset - last->offset > GAP_RECORDS : k - from == PICK_MAX) break;
        last = &f->wanted[k];
    }
    return (size_t)(last - first) + 1;
}

static enum leat_status pick_bronze(struct fetching *f, size_t from, size_t n, struct leat_error *err) {
    uint64_t *offsets = leat_alloc(n * sizeof *offsets);
    size_t count = 0;
    struct leat_chunk *chunk;
    for (size_t i = from; i < from + n; i++)
        if (!f->wanted[i].found) offsets[count++] = f->wanted[i].offset;
    enum leat_status st = leat_bronze_pick(f->src, f->wanted[from].partition, offsets, count, &chunk, err);
    free(offsets);
    if (st != LEAT_OK) return st;
    take_from(f, chunk);
    leat_chunk_free(chunk);
    return LEAT_OK;
}

static enum leat_status read_rest(struct fetching *f, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < f->count && st == LEAT_OK; i++) {
        const struct wanted *first = &f->wanted[i];
        if (first->found) continue;
        bool log;
        size_t n = run_length(f, i, &log);
        st = log ? read_log(f, first->partition, first->offset, f->wanted[i + n - 1].offset + 1, err) : pick_bronze(f, i, n, err);
        if (st == LEAT_OK && !first->found)
            st = leat_fail(err, LEAT_CORRUPT,
                           "source \"%s\": the record at offset %llu of partition %u, which the state refers to, is neither in memory nor in "
                           "the log nor in bronze",
                           f->src->def->name, (unsigned long long)first->offset, first->partition);
    }
    return st;
}

static enum leat_status read_records(struct fetching *f, const leat_i128 *places, size_t n, struct leat_error *err) {
    f->wanted = leat_alloc(n * sizeof *f->wanted);
    f->count = n;
    for (size_t i = 0; i < n; i++)
        f->wanted[i] = (struct wanted){.partition = (uint32_t)(places[i] >> 64), .offset = (uint64_t)places[i], .index = (uint32_t)i};
    qsort(f->wanted, n, sizeof *f->wanted, by_place);
    leat_changes_init(&f->rows, &f->source->schema);
    leat_changes_reserve(&f->rows, n);
    f->rows.row_count = n;
    for (const struct leat_chunk *c = f->src->first; c; c = c->next) take_from(f, c);
    return read_rest(f, err);
}

enum leat_status leat_fetch_rows(void *context, const leat_i128 *places, size_t n, struct leat_changes *out, struct leat_error *err) {
    const struct leat_fetch *fetch = context;
    struct leat_group *g = fetch->group;
    size_t room = (size_t)g->node_count, lowest = room; /* the chain is filled in from its end */
    struct leat_node **maps = leat_alloc(room * sizeof(struct leat_node *));
    int at = g->nodes[fetch->node].children[0];
    for (; g->nodes[at].op->kind == LEAT_OP_MAP; at = g->nodes[at].children[0]) maps[--lowest] = g->nodes[at].node;
    const struct leat_op *source = g->nodes[at].op;
    struct fetching f = {.src = &g->engine->sources[source->object], .source = source};
    struct leat_step_context plain = {.clock_us = 0, .cut_us = INT64_MIN};
    enum leat_status st = read_records(&f, places, n, err);
    if (st == LEAT_OK) st = leat_nodes_pass(maps + lowest, room - lowest, &plain, &f.rows, out, err);
    leat_changes_deinit(&f.rows);
    free(f.wanted);
    free(maps);
    return st == LEAT_OK ? st : leat_prepend(err, "reading %zu rows again for DISTINCT ON", n);
}
