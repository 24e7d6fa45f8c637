/* The nodes of a group's graph in one step: rows of sources, references and tables for the first ones, cuts, late and dead records, and what each gives. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/step.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "state/row.h"

/* ---- inputs of nodes -------------------------------------------------------------------------------- */

/* What is not in the record itself: the columns of INCLUDE, the place. */
static void fill_included(const struct leat_source *def, const struct leat_chunk *chunk, uint16_t column, const uint32_t *rows,
                          size_t first_row, size_t n, struct leat_column *to, size_t at) {
    size_t extra = column - def->schema.field_count;
    if (column == LEAT_COLUMN_PLACE) {
        for (size_t i = 0; i < n; i++) {
            leat_i128 place = (leat_i128)chunk->partition << 64 | chunk->offsets[rows ? rows[i] : first_row + i];
            memcpy((char *)to->data + (at + i) * sizeof place, &place, sizeof place);
        }
        return;
    }
    enum { PARTITION, OFFSET, TIMESTAMP } what = TIMESTAMP;
    if (def->include_partition && extra-- == 0)
        what = PARTITION;
    else if (def->include_offset && extra-- == 0)
        what = OFFSET;
    for (size_t i = 0; i < n; i++) {
        size_t row = rows ? rows[i] : first_row + i;
        if (what == PARTITION)
            ((int32_t *)to->data)[at + i] = (int32_t)chunk->partition;
        else
            ((int64_t *)to->data)[at + i] = what == OFFSET ? (int64_t)chunk->offsets[row] : leat_chunk_arrival(chunk, row);
    }
}

void leat_source_rows(const struct leat_src *src, const struct leat_op *op, const struct leat_chunk *chunk, const uint32_t *rows,
                      size_t first_row, size_t n, struct leat_changes *out, size_t at) {
    for (size_t c = 0; c < op->column_count; c++) {
        if (op->columns[c] < src->def->schema.field_count)
            leat_gather_borrowed(out, c, at, &chunk->rows, op->columns[c], rows, first_row, n);
        else
            fill_included(src->def, chunk, op->columns[c], rows, first_row, n, &out->columns[c], at);
    }
}

static void add_late(struct leat_group *g, struct leat_gnode *node, const struct leat_src *src, const struct leat_chunk_range *range,
                     size_t row, int64_t cut_us, uint64_t step) {
    int64_t time = ((const int64_t *)range->chunk->rows.columns[src->def->event_time].data)[row];
    if (cut_us == LEAT_CUT_NONE || time >= cut_us) cut_us = src->retained_us > node->owner->late_before_us ? src->retained_us : node->owner->late_before_us;
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!node->counts[t] || step <= table->late.committed_step) continue;
        struct leat_changes *late = &table->late.pending;
        leat_changes_reserve(late, late->row_count + 1);
        size_t at = late->row_count++;
        ((struct leat_string *)late->columns[0].data)[at] = leat_string_of(src->def->name, (uint32_t)strlen(src->def->name));
        ((int32_t *)late->columns[1].data)[at] = (int32_t)range->chunk->partition;
        ((int64_t *)late->columns[2].data)[at] = (int64_t)range->chunk->offsets[row];
        ((int64_t *)late->columns[3].data)[at] = time;
        ((int64_t *)late->columns[4].data)[at] = leat_chunk_arrival(range->chunk, row);
        ((int64_t *)late->columns[5].data)[at] = cut_us;
        ((int64_t *)late->columns[6].data)[at] = (int64_t)step;
    }
}

static void count_balance(struct leat_group *g, struct leat_gnode *node, const struct leat_chunk_range *range, uint64_t late) {
    uint64_t dead = 0;
    for (size_t i = 0; i < range->chunk->dead_count; i++)
        dead += range->chunk->dead[i].offset >= range->from && range->chunk->dead[i].offset < range->to;
    for (int t = 0; t < g->table_count; t++) {
        struct leat_balance *b = &g->tables[t]->balance[node->op->object];
        if (!node->counts[t] || (g->rebuild && !g->rebuild->tables[t])) continue;
        b->in += leat_src_kept(&g->engine->sources[node->op->object], range->chunk->partition, range->from, range->to);
        b->dead += dead;
        b->late += late;
        b->admitted += range->to_row - range->from_row - late;
    }
}

/* Was the record decided to be late before the group was built anew? */
static bool was_late(const struct leat_group *g, const struct leat_gnode *node, uint32_t partition, uint64_t offset) {
    int s = node->op->object;
    return g->late_loaded && offset < leat_cursor_get(&g->history[s], partition) && leat_late_has(node->owner, s, partition, offset);
}

/* By the cut; or because what came of its time stays as it is (rule 3, FROZEN WHERE), unless it was decided before. */
static bool is_late(const struct leat_group *g, const struct leat_gnode *node, const struct leat_chunk *chunk, const struct leat_column *times, size_t row,
                    int64_t cut_us) {
    const struct leat_src *src = &g->engine->sources[node->op->object];
    if (!times || leat_is_null(times, row)) return false;
    int64_t time = ((const int64_t *)times->data)[row];
    if (node->op->cut_applies && cut_us != LEAT_CUT_NONE && time < cut_us) return true;
    if (time >= src->retained_us && time >= node->owner->late_before_us) return false;
    return (g->rebuild && g->rebuild->resumes) || chunk->offsets[row] >= leat_cursor_get(&g->history[src->index], chunk->partition);
}

/* Rows of one range that are not late; NULL when all are on time. Late ones are recorded. */
static uint32_t *on_time_rows(struct leat_group *g, struct leat_gnode *node, const struct leat_chunk_range *range, int64_t cut_us,
                              uint64_t step, size_t *count) {
    const struct leat_src *src = &g->engine->sources[node->op->object];
    uint32_t *rows = NULL;
    size_t n = range->to_row - range->from_row, kept = 0;
    *count = n;
    if (!g->late_loaded && (!node->op->cut_applies || cut_us == LEAT_CUT_NONE || cut_us == INT64_MIN) && src->retained_us == INT64_MIN &&
        node->owner->late_before_us == INT64_MIN)
        return NULL;
    const struct leat_column *times = src->def->event_time >= 0 ? &range->chunk->rows.columns[src->def->event_time] : NULL;
    for (size_t i = 0; i < n; i++) {
        size_t row = range->from_row + i;
        bool known = was_late(g, node, range->chunk->partition, range->chunk->offsets[row]);
        bool late = known || is_late(g, node, range->chunk, times, row, cut_us);
        if (late && !rows) {
            rows = leat_alloc(n * sizeof *rows);
            for (size_t k = 0; k < i; k++) rows[k] = (uint32_t)(range->from_row + k);
            kept = i;
        }
        if (late && !known)
            add_late(g, node, src, range, row, cut_us, step);
        if (!late && rows) rows[kept++] = (uint32_t)row;
    }
    if (rows) *count = kept;
    return rows;
}

/* The range's columns as they stand in the chunk; what is not there is made in node->out. */
static void view_range(const struct leat_src *src, struct leat_gnode *node, const struct leat_chunk_range *range, size_t n) {
    for (size_t c = 0; c < node->op->column_count; c++) {
        uint16_t column = node->op->columns[c];
        if (column < src->def->schema.field_count) {
            node->view.columns[c] = range->chunk->rows.columns[column];
        } else {
            leat_changes_reserve(&node->out, n);
            fill_included(src->def, range->chunk, column, NULL, 0, n, &node->out.columns[c], 0);
            node->view.columns[c].data = node->out.columns[c].data;
        }
        node->view.columns[c].type = node->op->schema.fields[c].type;
    }
    node->view.row_count = n;
    node->result = &node->view;
}

static void source_changes(struct leat_group *g, struct leat_gnode *node, const struct leat_step_input *in, int64_t cut_us) {
    const int s = node->op->object;
    const struct leat_src *src = &g->engine->sources[s];
    struct leat_chunk_range *ranges = NULL;
    size_t count = 0, capacity = 0;
    for (const struct leat_chunk *c = leat_group_unread(g, s); c; c = c->next) {
        struct leat_chunk_range range;
        if (!leat_chunk_range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
        if (count == capacity) ranges = leat_realloc(ranges, (capacity = capacity ? capacity * 2 : 8) * sizeof *ranges);
        ranges[count++] = range;
    }
    for (size_t r = 0; r < count; r++) {
        size_t n;
        uint32_t *rows = on_time_rows(g, node, &ranges[r], cut_us, in->step, &n);
        count_balance(g, node, &ranges[r], ranges[r].to_row - ranges[r].from_row - n);
        if (count == 1 && !rows && ranges[r].from_row == 0) {
            view_range(src, node, &ranges[r], n);
        } else if (n) {
            leat_changes_reserve(&node->out, node->out.row_count + n);
            leat_source_rows(src, node->op, ranges[r].chunk, rows, ranges[r].from_row, n, &node->out, node->out.row_count);
            node->out.row_count += n;
        }
        free(rows);
    }
    if (node->out.row_count) node->result = &node->out;
    free(ranges);
}

/* Columns `op->columns` of a batch, borrowed. */
static void project(struct leat_gnode *node, const struct leat_changes *from) {
    if (from->row_count == 0) return;
    for (size_t c = 0; c < node->op->column_count; c++) node->view.columns[c] = from->columns[node->op->columns[c]];
    node->view.row_count = from->row_count;
    node->view.weights = from->weights;
    node->result = &node->view;
}

static void clear_result(struct leat_gnode *node) {
    node->result = NULL;
    leat_changes_reset(&node->out);
    for (size_t c = 0; c < node->op->schema.field_count; c++) {
        node->view.columns[c].data = NULL;
        node->view.columns[c].valid = NULL;
    }
    node->view.row_count = 0;
    node->view.weights = NULL;
}

void leat_step_clear(struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) clear_result(&g->nodes[i]);
}

/* ---- dead letters of row expressions (rule 10) --------------------------------------------------- */

struct origin { uint32_t partition; uint64_t offset; };

/* Where rows of a SOURCE node's output that failed came from, in the order of the rows: walked again, since failures are rare. To be freed. */
static struct origin *origins_of(const struct leat_group *g, const struct leat_gnode *node, const struct leat_step_input *in, int64_t cut_us,
                                 const struct leat_failed_row *failed, size_t count) {
    const int s = node->op->object;
    const struct leat_src *src = &g->engine->sources[s];
    struct origin *out = leat_alloc((count + 1) * sizeof *out);
    uint32_t seen = 0;
    size_t found = 0;
    for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c && found < count; c = c->next) {
        struct leat_chunk_range range;
        if (!leat_chunk_range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
        for (size_t row = range.from_row; row < range.to_row && found < count; row++) {
            const struct leat_column *times = src->def->event_time >= 0 ? &c->rows.columns[src->def->event_time] : NULL;
            if (was_late(g, node, c->partition, c->offsets[row]) || is_late(g, node, c, times, row, cut_us)) continue;
            if (seen++ == failed[found].row) out[found++] = (struct origin){c->partition, c->offsets[row]};
        }
    }
    while (found < count) out[found++] = (struct origin){UINT32_MAX, UINT64_MAX};
    return out;
}

/* weight: of the row; one that is taken back is no new dead letter, and is withheld no more. A SOURCE takes none back. */
static void add_dead(struct leat_group *g, int map, const struct leat_gnode *source, struct origin from, const char *message, int32_t weight,
                     const struct leat_step_input *in) {
    const char *name = source ? g->engine->project->sources[source->op->object].name : "";
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!g->nodes[map].feeds[t] || (g->rebuild && !g->rebuild->tables[t])) continue;
        if (source) {
            table->balance[source->op->object].dead++;
            table->balance[source->op->object].admitted--;
        } else {
            table->withheld += (uint64_t)(int64_t)weight;
        }
        if (weight < 0 || (in->step <= table->dead.committed_step && !g->rebuild)) continue;
        struct leat_changes *dead = &table->dead.pending;
        leat_changes_reserve(dead, dead->row_count + 1);
        size_t at = dead->row_count++;
        const char *reason = leat_arena_copy(&dead->strings, message, strlen(message));
        ((struct leat_string *)dead->columns[0].data)[at] = leat_string_of(name, (uint32_t)strlen(name));
        ((int32_t *)dead->columns[1].data)[at] = source ? (int32_t)from.partition : -1;
        ((int64_t *)dead->columns[2].data)[at] = source ? (int64_t)from.offset : -1;
        ((struct leat_string *)dead->columns[3].data)[at] = leat_string_of(reason, (uint32_t)strlen(reason));
        ((int64_t *)dead->columns[4].data)[at] = (int64_t)in->step;
    }
}

static void collect_failed(struct leat_group *g, int map, const struct leat_step_input *in, int64_t source_cut) {
    size_t count;
    const struct leat_gnode *child = &g->nodes[g->nodes[map].children[0]];
    const struct leat_gnode *source = child->op->kind == LEAT_OP_SOURCE ? child : NULL;
    if (!child->result) return; /* it did not run, and says what failed when it last did */
    const struct leat_failed_row *failed = leat_node_failed(g->nodes[map].node, &count);
    struct origin *origins = source && count ? origins_of(g, source, in, source_cut, failed, count) : NULL;
    for (size_t i = 0; i < count; i++)
        add_dead(g, map, source, origins ? origins[i] : (struct origin){0, 0}, failed[i].message, child->result->weights ? child->result->weights[failed[i].row] : 1, in);
    free(origins);
}

/* ---- running the graph ------------------------------------------------------------------------------- */

static int64_t source_cut(const struct leat_group *g, const struct leat_gnode *node, const int64_t *watermarks, const bool *idle) {
    int64_t watermark = leat_cut_set_watermark(g, node->cut_set, node->op->object, watermarks, idle);
    if (!node->op->cut_applies || watermark == INT64_MIN) return LEAT_CUT_NONE;
    if (watermark == INT64_MAX) return INT64_MAX - 1;
    return node->lateness_us > 0 ? watermark - node->lateness_us : watermark;
}

/* Per node the lowest cut of the sources below it; LEAT_CUT_NONE where none has one (yet). */
void leat_step_cuts(const struct leat_group *g, const int64_t *watermarks, const bool *idle, int64_t *cuts) {
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        cuts[i] = LEAT_CUT_NONE;
        if (node->op->kind == LEAT_OP_SOURCE) {
            cuts[i] = source_cut(g, node, watermarks, idle);
            if (node->op->cut_applies && cuts[i] == LEAT_CUT_NONE) cuts[i] = INT64_MIN; /* known to hold everything back */
            continue;
        }
        if (node->op->kind == LEAT_OP_TABLE) continue;
        for (int c = 0; c < 2; c++)
            if (node->children[c] >= 0 && cuts[node->children[c]] < cuts[i]) cuts[i] = cuts[node->children[c]];
    }
}

int64_t leat_group_cut(const struct leat_group *g, int node) {
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *none = leat_alloc((leat_group_sources(g) + 1) * sizeof *none); /* what idleness had done is in the floors */
    leat_step_cuts(g, g->watermarks, none, cuts);
    int64_t cut = cuts[node];
    free(none);
    free(cuts);
    return cut == LEAT_CUT_NONE ? INT64_MIN : cut == INT64_MAX - 1 ? INT64_MAX : cut;
}

int64_t leat_group_past(const struct leat_group *g, int table, const int64_t *watermarks, const bool *idle) {
    int64_t past = INT64_MAX;
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        if (node->op->kind != LEAT_OP_SOURCE || !node->feeds[table]) continue;
        int64_t cut = source_cut(g, node, watermarks, idle);
        if (cut == LEAT_CUT_NONE) cut = leat_cut_set_watermark(g, node->cut_set, node->op->object, watermarks, idle);
        if (cut == INT64_MAX - 1) cut = INT64_MAX;
        if (cut < past) past = cut;
    }
    return past;
}

/* `changes` is of the step: several nodes may borrow it, each other columns. */
static enum leat_status reference_changes(struct leat_group *g, struct leat_gnode *node, const struct leat_step_input *in,
                                          struct leat_changes *changes, struct leat_error *err) {
    int s = node->op->object;
    enum leat_status st = LEAT_OK;
    if (in->references[s] == g->reference_versions[s]) return LEAT_OK;
    if (!changes->schema) {
        leat_changes_init(changes, &g->engine->project->sources[s].schema);
        st = leat_reference_changes(g->engine->references[s], g->reference_versions[s], in->references[s], changes, err);
    }
    if (st == LEAT_OK) project(node, changes);
    return st;
}

/* An operator of the table may run only because others have it, too. */
static bool is_queued(const struct leat_group *g, int table) {
    for (int t = 0; t < g->table_count && g->rebuild && g->rebuild->queued; t++)
        if (g->tables[t]->index == table) return !g->rebuild->tables[t];
    return false;
}

/* Of a table of this group, this step's; what waits is of another group, or of a table that was made anew or resumed. */
static void table_changes(struct leat_group *g, struct leat_gnode *node) {
    const struct leat_changes *own = node->children[0] >= 0 && !is_queued(g, node->op->object) ? g->nodes[node->children[0]].result : NULL;
    const struct leat_changes *waiting = &g->queues[node->op->object];
    if (!waiting->schema || !waiting->row_count) {
        if (own) project(node, own);
        return;
    }
    project(node, waiting);
    if (!own || !own->row_count) return;
    leat_changes_append(&node->out, &node->view, NULL, node->view.row_count, 1);
    project(node, own);
    leat_changes_append(&node->out, &node->view, NULL, node->view.row_count, 1);
    node->result = &node->out;
}

/* Where changes leave a table's last operator those of rows that FROZEN WHERE has frozen are taken out: who reads the table sees what it publishes. */
static void pass_over_frozen(struct leat_group *g, int node) {
    struct leat_gtable *table = NULL;
    for (int t = 0; t < g->table_count && !table; t++)
        if (g->tables[t]->root == node && g->tables[t]->closed_us != INT64_MIN) table = g->tables[t];
    if (!table || !g->nodes[node].result) return;
    const struct leat_changes *unfrozen = leat_table_unfrozen(table, g->nodes[node].result);
    if (unfrozen == g->nodes[node].result) return;
    table->passed_over = true;
    g->nodes[node].result = unfrozen->row_count ? &table->unfrozen : NULL;
}

static bool is_left_out(const struct leat_group *g, int node) {
    return g->rebuild && !g->rebuild->nodes[node];
}

static enum leat_status run_node(struct leat_group *g, int i, const struct leat_step_input *in, const int64_t *cuts, struct leat_error *err) {
    struct leat_gnode *node = &g->nodes[i];
    const struct leat_changes *inputs[2] = {NULL, NULL};
    for (int c = 0; c < 2; c++)
        if (node->children[c] >= 0) inputs[c] = g->nodes[node->children[c]].result;
    int64_t cut = cuts[i] == LEAT_CUT_NONE ? INT64_MIN : cuts[i];
    if (!inputs[0] && !inputs[1] && g->started && !leat_node_due(node->node, cut)) return LEAT_OK;
    struct leat_fetch fetch = {.group = g, .node = i};
    struct leat_step_context context = {.clock_us = in->clock_us, .cut_us = cut, .fetch = leat_fetch_rows, .fetch_context = &fetch, .may_pass = true};
    int64_t cpu = leat_usage_thread_cpu_us();
    enum leat_status st = leat_node_step(node->node, &context, inputs, &node->out, err);
    node->cpu_us += leat_usage_thread_cpu_us() - cpu;
    if (st != LEAT_OK) return st;
    if (node->out.row_count) node->result = &node->out;
    if (leat_node_passed(node->node, inputs[0], &node->view)) node->result = &node->view;
    pass_over_frozen(g, i);
    g->rows_touched += (inputs[0] ? inputs[0]->row_count : 0) + (inputs[1] ? inputs[1]->row_count : 0);
    return LEAT_OK;
}

/* ---- records that a table reads in several places ------------------------------------------------------- */

struct guarded { struct leat_group *g; const struct leat_step_input *in; const int64_t *cuts; bool *done; };

/* SOURCE nodes of one source and guard have the same records, in the same order. */
static bool same_records(const struct leat_gnode *a, const struct leat_gnode *b) {
    return b->op->kind == LEAT_OP_SOURCE && a->op->object == b->op->object && a->op->guard == b->op->guard && a->late_class == b->late_class &&
           a->lateness_us == b->lateness_us && a->cut_set == b->cut_set;
}

static bool maps_records(const struct guarded *u, const struct leat_gnode *source, int node) {
    const struct leat_gnode *map = &u->g->nodes[node];
    return map->op->kind == LEAT_OP_MAP && same_records(source, &u->g->nodes[map->children[0]]) && !is_left_out(u->g, node);
}

static enum leat_status run_maps(const struct guarded *u, const struct leat_gnode *source, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < u->g->node_count && st == LEAT_OK; i++) {
        if (!maps_records(u, source, i)) continue;
        clear_result(&u->g->nodes[i]);
        st = run_node(u->g, i, u->in, u->cuts, err);
        u->done[i] = true;
    }
    return st;
}

/* Marks the rows that fail in one of the maps, each a dead letter once, for what the first says. False: none fails. */
static bool collect_guarded(const struct guarded *u, const struct leat_gnode *source, bool *dead) {
    bool any = false;
    for (int i = 0; i < u->g->node_count; i++) {
        size_t count = 0;
        const struct leat_failed_row *failed = maps_records(u, source, i) ? leat_node_failed(u->g->nodes[i].node, &count) : NULL;
        struct origin *origins = count ? origins_of(u->g, source, u->in, u->cuts[source - u->g->nodes], failed, count) : NULL;
        for (size_t k = 0; k < count; k++) {
            if (dead[failed[k].row]) continue;
            dead[failed[k].row] = any = true;
            add_dead(u->g, i, source, origins[k], failed[k].message, 1, u->in);
        }
        free(origins);
    }
    return any;
}

static void leave_dead_out(struct leat_gnode *node, const bool *dead) {
    size_t rows = node->result->row_count, kept = 0;
    uint32_t *alive = leat_alloc(rows * sizeof *alive);
    struct leat_changes out;
    for (size_t i = 0; i < rows; i++)
        if (!dead[i]) alive[kept++] = (uint32_t)i;
    leat_changes_init(&out, &node->op->schema);
    leat_changes_append(&out, node->result, alive, kept, 1);
    clear_result(node);
    leat_changes_swap(&node->out, &out);
    leat_changes_deinit(&out);
    if (kept) node->result = &node->out;
    free(alive);
}

/* The maps over the node's records run, and once more where one fails, then over what fails in none. */
static enum leat_status run_guarded(const struct guarded *u, struct leat_gnode *source, struct leat_error *err) {
    bool *dead = leat_alloc(source->result->row_count * sizeof *dead);
    enum leat_status st = run_maps(u, source, err);
    if (st == LEAT_OK && collect_guarded(u, source, dead)) {
        for (int i = 0; i < u->g->node_count; i++)
            if (same_records(source, &u->g->nodes[i]) && u->g->nodes[i].result) leave_dead_out(&u->g->nodes[i], dead);
        st = run_maps(u, source, err);
    }
    free(dead);
    return st;
}

/* ... and what is above them later finds none of their dead. done: the nodes that have run. */
static enum leat_status run_all_guarded(struct leat_group *g, const struct leat_step_input *in, const int64_t *cuts, bool *done, struct leat_error *err) {
    struct guarded u = {g, in, cuts, done};
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        bool first = g->nodes[i].op->guard && g->nodes[i].result;
        for (int k = 0; k < i && first; k++) first = !(g->nodes[k].result && same_records(&g->nodes[i], &g->nodes[k]));
        if (first) st = run_guarded(&u, &g->nodes[i], err);
    }
    return st;
}

enum leat_status leat_step_run(struct leat_group *g, const struct leat_step_input *in, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *done = leat_alloc((size_t)(g->node_count + 1) * sizeof *done);
    struct leat_changes *references = leat_alloc((leat_group_sources(g) + 1) * sizeof *references);
    leat_step_cuts(g, in->watermarks, in->idle, cuts);
    leat_step_clear(g);
    for (int i = 0; i < g->node_count; i++)
        if (g->nodes[i].op->kind == LEAT_OP_SOURCE && !is_left_out(g, i)) source_changes(g, &g->nodes[i], in, cuts[i]);
    st = run_all_guarded(g, in, cuts, done, err);
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        struct leat_gnode *node = &g->nodes[i];
        if (done[i] || is_left_out(g, i)) continue;
        switch (node->op->kind) {
        case LEAT_OP_SOURCE: continue;
        case LEAT_OP_REFERENCE:
            st = reference_changes(g, node, in, &references[node->op->object], err);
            continue;
        case LEAT_OP_TABLE: table_changes(g, node); continue;
        default: break;
        }
        st = run_node(g, i, in, cuts, err);
        if (st == LEAT_OK && node->op->kind == LEAT_OP_MAP) collect_failed(g, i, in, cuts[node->children[0]]);
    }
    for (size_t s = 0; s < leat_group_sources(g); s++)
        if (references[s].schema) leat_changes_deinit(&references[s]);
    free(references);
    free(done);
    free(cuts);
    return st;
}
