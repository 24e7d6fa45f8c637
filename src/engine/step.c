/* One step of a group: choose input ranges, journal them, run the nodes, hand the changes on. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/tell/tell.h"
#include "state/row.h"

/* What a step reads; equal content whether chosen now or read back from the journal. */
struct step_input {
    uint64_t step;
    int64_t clock_us;
    struct leat_cursors *to;           /* per source: end of the range; from is the group's cursor */
    int64_t *watermarks;               /* per source */
    bool *idle;                        /* per source */
    uint64_t *references;              /* per source: version to reach */
    int64_t *closed_us;                /* per table of the group: the boundary that FROZEN WHERE has from now on; INT64_MIN: as it is */
};

#define CUT_NONE INT64_MAX

static size_t source_count(const struct leat_group *g) {
    return g->engine->project->source_count;
}

static void input_init(const struct leat_group *g, struct step_input *in) {
    size_t n = source_count(g) + 1;
    *in = (struct step_input){0};
    in->to = leat_alloc(n * sizeof *in->to);
    in->watermarks = leat_alloc(n * sizeof *in->watermarks);
    in->idle = leat_alloc(n * sizeof *in->idle);
    in->references = leat_alloc(n * sizeof *in->references);
    in->closed_us = leat_alloc((size_t)(g->table_count + 1) * sizeof *in->closed_us);
    for (int t = 0; t < g->table_count; t++) in->closed_us[t] = INT64_MIN;
    for (size_t s = 0; s < source_count(g); s++) {
        leat_cursors_copy(&in->to[s], &g->cursors[s]);
        in->watermarks[s] = g->watermarks[s];
        in->references[s] = g->reference_versions[s];
    }
}

static void input_deinit(const struct leat_group *g, struct step_input *in) {
    for (size_t s = 0; s < source_count(g); s++) leat_cursors_free(&in->to[s]);
    free(in->to);
    free(in->watermarks);
    free(in->idle);
    free(in->references);
    free(in->closed_us);
}

/* ---- watermarks -------------------------------------------------------------------------------- */

static bool all_read(const struct leat_group *g, int s) {
    const struct leat_src *src = &g->engine->sources[s];
    for (size_t i = 0; i < src->ends.count; i++)
        if (leat_cursor_get(&g->cursors[s], src->ends.items[i].partition) < src->ends.items[i].next) return false;
    return true;
}

/* Read to its end by the group, which therefore knows how far its event times have come. */
static bool partition_idle(const struct leat_group *g, int s, uint32_t partition) {
    const struct leat_src *src = &g->engine->sources[s];
    return leat_idle_partition(src, partition) &&
           leat_cursor_get(&g->cursors[s], partition) >= leat_cursor_get(&src->ends, partition);
}

static bool source_idle(const struct leat_group *g, int s) {
    return g->engine->sources[s].whole.idle && all_read(g, s);
}

/* The fed partition 0 and the newest file hold the watermark back unless they are idle; a file that is followed by a newer one
 * is complete (files are read in order of name). */
static int64_t watermark_now(const struct leat_group *g, int s) {
    const struct leat_src *src = &g->engine->sources[s];
    int64_t lowest = INT64_MAX, delay = src->def->watermark_delay_us;
    if (src->def->event_time < 0) return INT64_MIN;
    bool history = leat_group_in_history(g, s);
    if (!history && all_read(g, s) && (src->finished || g->engine->final)) return INT64_MAX;
    for (size_t i = 0; i < g->time_counts[s]; i++) {
        bool newest = i + 1 == g->time_counts[s];
        if (g->times[s][i].partition != 0 && !newest) continue;
        if (partition_idle(g, s, g->times[s][i].partition)) continue;
        if (g->times[s][i].max_event_us < lowest) lowest = g->times[s][i].max_event_us;
    }
    int64_t floor = history || g->watermarks[s] > g->floors[s] ? g->watermarks[s] : g->floors[s];
    if (lowest == INT64_MAX || lowest == INT64_MIN) return floor;
    int64_t watermark = lowest < INT64_MIN + delay ? INT64_MIN : lowest - delay;
    int64_t to_come = history ? leat_lows_to_come(g, s) : INT64_MAX; /* no record of history may find its window closed */
    if (to_come < watermark) watermark = to_come;
    return watermark > floor ? watermark : floor;
}

void leat_group_note_time(struct leat_group *g, size_t s, uint32_t partition, int64_t event_us) {
    size_t at = 0, n = g->time_counts[s];
    while (at < n && g->times[s][at].partition < partition) at++;
    if (at == n || g->times[s][at].partition != partition) {
        g->times[s] = leat_realloc(g->times[s], (n + 1) * sizeof *g->times[s]);
        memmove(g->times[s] + at + 1, g->times[s] + at, (n - at) * sizeof *g->times[s]);
        g->times[s][at] = (struct leat_partition_time){partition, INT64_MIN};
        g->time_counts[s]++;
    }
    if (event_us > g->times[s][at].max_event_us) g->times[s][at].max_event_us = event_us;
}

/* ---- ranges of chunks ---------------------------------------------------------------------------- */

struct chunk_range { const struct leat_chunk *chunk; size_t from_row, to_row; uint64_t from, to; };

static bool range_of(const struct leat_chunk *chunk, uint64_t from, uint64_t to, struct chunk_range *out) {
    if (from < chunk->from) from = chunk->from;
    if (to > chunk->to) to = chunk->to;
    if (from >= to) return false;
    *out = (struct chunk_range){chunk, leat_chunk_row(chunk, from), leat_chunk_row(chunk, to), from, to};
    return true;
}

/* Chunks stay until bronze has them: of many small ones nearly all are read. */
const struct leat_chunk *leat_group_unread(const struct leat_group *g, int s) {
    const struct leat_chunk *passed = g->passed[s];
    if (passed && leat_cursor_get(&g->cursors[s], passed->partition) < passed->to) passed = NULL; /* the group began anew */
    const struct leat_chunk *c = passed ? passed->next : g->engine->sources[s].first;
    for (; c && leat_cursor_get(&g->cursors[s], c->partition) >= c->to; c = c->next) passed = c;
    g->passed[s] = passed;
    return c;
}

/* Extends the ranges over what is waiting, in arrival order, up to the step's row limit. */
static void choose_ranges(struct leat_group *g, struct step_input *in) {
    bool hold = !g->rebuild && leat_effects_hold(g);
    for (size_t s = 0; s < source_count(g); s++) {
        uint64_t left = g->engine->max_step_rows;
        if (!g->reads[s]) continue;
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c && left; c = c->next) {
            struct chunk_range range;
            uint64_t end = g->rebuild ? leat_cursor_get(&g->rebuild->upto[s], c->partition) : UINT64_MAX;
            if (hold) end = leat_cursor_get(&g->history[s], c->partition);
            if (!range_of(c, leat_cursor_get(&in->to[s], c->partition), end, &range)) continue;
            uint64_t records = range.to - range.from, take = records < left ? records : left;
            leat_cursor_set(&in->to[s], c->partition, range.from + take);
            left -= take;
            if (take < records) break;
        }
    }
}

static int64_t range_max_event(const struct leat_src *src, const struct chunk_range *range) {
    const struct leat_column *times = &range->chunk->rows.columns[src->def->event_time];
    int64_t latest = INT64_MIN;
    if (range->from_row == 0 && range->to_row == range->chunk->rows.row_count) return range->chunk->max_event_us;
    for (size_t i = range->from_row; i < range->to_row; i++)
        if (!leat_is_null(times, i) && ((const int64_t *)times->data)[i] > latest) latest = ((const int64_t *)times->data)[i];
    return latest;
}

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

static void add_late(struct leat_group *g, struct leat_gnode *node, const struct leat_src *src, const struct chunk_range *range,
                     size_t row, int64_t cut_us, uint64_t step) {
    int64_t time = ((const int64_t *)range->chunk->rows.columns[src->def->event_time].data)[row];
    if (cut_us == CUT_NONE || time >= cut_us) cut_us = src->retained_us > node->owner->late_before_us ? src->retained_us : node->owner->late_before_us;
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

static void count_balance(struct leat_group *g, struct leat_gnode *node, const struct chunk_range *range, uint64_t late) {
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
    if (node->op->cut_applies && cut_us != CUT_NONE && time < cut_us) return true;
    if (time >= src->retained_us && time >= node->owner->late_before_us) return false;
    return (g->rebuild && g->rebuild->resumes) || chunk->offsets[row] >= leat_cursor_get(&g->history[src->index], chunk->partition);
}

/* Rows of one range that are not late; NULL when all are on time. Late ones are recorded. */
static uint32_t *on_time_rows(struct leat_group *g, struct leat_gnode *node, const struct chunk_range *range, int64_t cut_us,
                              uint64_t step, size_t *count) {
    const struct leat_src *src = &g->engine->sources[node->op->object];
    uint32_t *rows = NULL;
    size_t n = range->to_row - range->from_row, kept = 0;
    *count = n;
    if (!g->late_loaded && (!node->op->cut_applies || cut_us == CUT_NONE || cut_us == INT64_MIN) && src->retained_us == INT64_MIN &&
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
static void view_range(const struct leat_src *src, struct leat_gnode *node, const struct chunk_range *range, size_t n) {
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

static void source_changes(struct leat_group *g, struct leat_gnode *node, const struct step_input *in, int64_t cut_us) {
    const int s = node->op->object;
    const struct leat_src *src = &g->engine->sources[s];
    struct chunk_range *ranges = NULL;
    size_t count = 0, capacity = 0;
    for (const struct leat_chunk *c = leat_group_unread(g, s); c; c = c->next) {
        struct chunk_range range;
        if (!range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
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

static void clear_results(struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) clear_result(&g->nodes[i]);
}

/* ---- dead letters of row expressions (rule 10) --------------------------------------------------- */

struct origin { uint32_t partition; uint64_t offset; };

/* Where row `wanted` of a SOURCE node's output came from: walked again, since failures are rare. */
static struct origin origin_of(const struct leat_group *g, const struct leat_gnode *node, const struct step_input *in,
                               int64_t cut_us, uint32_t wanted) {
    const int s = node->op->object;
    const struct leat_src *src = &g->engine->sources[s];
    uint32_t seen = 0;
    for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c; c = c->next) {
        struct chunk_range range;
        if (!range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
        for (size_t row = range.from_row; row < range.to_row; row++) {
            const struct leat_column *times = src->def->event_time >= 0 ? &c->rows.columns[src->def->event_time] : NULL;
            if (was_late(g, node, c->partition, c->offsets[row]) || is_late(g, node, c, times, row, cut_us)) continue;
            if (seen++ == wanted) return (struct origin){c->partition, c->offsets[row]};
        }
    }
    return (struct origin){UINT32_MAX, UINT64_MAX};
}

/* weight: of the row; one that is taken back is no new dead letter, and is withheld no more. A SOURCE takes none back. */
static void add_dead(struct leat_group *g, int map, const struct leat_gnode *source, struct origin from, const char *message, int32_t weight,
                     const struct step_input *in) {
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

static void collect_failed(struct leat_group *g, int map, const struct step_input *in, int64_t source_cut) {
    size_t count;
    const struct leat_gnode *child = &g->nodes[g->nodes[map].children[0]];
    const struct leat_gnode *source = child->op->kind == LEAT_OP_SOURCE ? child : NULL;
    if (!child->result) return; /* it did not run, and says what failed when it last did */
    const struct leat_failed_row *failed = leat_node_failed(g->nodes[map].node, &count);
    for (size_t i = 0; i < count; i++) {
        struct origin from = {0, 0};
        if (source) from = origin_of(g, source, in, source_cut, failed[i].row);
        add_dead(g, map, source, from, failed[i].message, child->result->weights ? child->result->weights[failed[i].row] : 1, in);
    }
}

/* ---- running the graph ------------------------------------------------------------------------------- */

static int64_t source_cut(const struct leat_group *g, const struct leat_gnode *node, const int64_t *watermarks, const bool *idle) {
    int64_t watermark = leat_cut_set_watermark(g, node->cut_set, node->op->object, watermarks, idle);
    if (!node->op->cut_applies || watermark == INT64_MIN) return CUT_NONE;
    if (watermark == INT64_MAX) return INT64_MAX - 1;
    return node->lateness_us > 0 ? watermark - node->lateness_us : watermark;
}

/* Per node the lowest cut of the sources below it; CUT_NONE where none has one (yet). */
static void node_cuts(const struct leat_group *g, const int64_t *watermarks, const bool *idle, int64_t *cuts) {
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        cuts[i] = CUT_NONE;
        if (node->op->kind == LEAT_OP_SOURCE) {
            cuts[i] = source_cut(g, node, watermarks, idle);
            if (node->op->cut_applies && cuts[i] == CUT_NONE) cuts[i] = INT64_MIN; /* known to hold everything back */
            continue;
        }
        if (node->op->kind == LEAT_OP_TABLE) continue;
        for (int c = 0; c < 2; c++)
            if (node->children[c] >= 0 && cuts[node->children[c]] < cuts[i]) cuts[i] = cuts[node->children[c]];
    }
}

int64_t leat_group_cut(const struct leat_group *g, int node) {
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *none = leat_alloc((source_count(g) + 1) * sizeof *none); /* what idleness had done is in the floors */
    node_cuts(g, g->watermarks, none, cuts);
    int64_t cut = cuts[node];
    free(none);
    free(cuts);
    return cut == CUT_NONE ? INT64_MIN : cut == INT64_MAX - 1 ? INT64_MAX : cut;
}

int64_t leat_group_past(const struct leat_group *g, int table, const int64_t *watermarks, const bool *idle) {
    int64_t past = INT64_MAX;
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        if (node->op->kind != LEAT_OP_SOURCE || !node->feeds[table]) continue;
        int64_t cut = source_cut(g, node, watermarks, idle);
        if (cut == CUT_NONE) cut = leat_cut_set_watermark(g, node->cut_set, node->op->object, watermarks, idle);
        if (cut == INT64_MAX - 1) cut = INT64_MAX;
        if (cut < past) past = cut;
    }
    return past;
}

/* `changes` is of the step: several nodes may borrow it, each other columns. */
static enum leat_status reference_changes(struct leat_group *g, struct leat_gnode *node, const struct step_input *in,
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

static enum leat_status run_node(struct leat_group *g, int i, const struct step_input *in, const int64_t *cuts, struct leat_error *err) {
    struct leat_gnode *node = &g->nodes[i];
    const struct leat_changes *inputs[2] = {NULL, NULL};
    for (int c = 0; c < 2; c++)
        if (node->children[c] >= 0) inputs[c] = g->nodes[node->children[c]].result;
    int64_t cut = cuts[i] == CUT_NONE ? INT64_MIN : cuts[i];
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

struct guarded { struct leat_group *g; const struct step_input *in; const int64_t *cuts; bool *done; };

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
        for (size_t k = 0; k < count; k++) {
            if (dead[failed[k].row]) continue;
            dead[failed[k].row] = any = true;
            struct origin from = origin_of(u->g, source, u->in, u->cuts[source - u->g->nodes], failed[k].row);
            add_dead(u->g, i, source, from, failed[k].message, 1, u->in);
        }
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
    leat_changes_deinit(&node->out);
    node->out = out;
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
static enum leat_status run_all_guarded(struct leat_group *g, const struct step_input *in, const int64_t *cuts, bool *done, struct leat_error *err) {
    struct guarded u = {g, in, cuts, done};
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        bool first = g->nodes[i].op->guard && g->nodes[i].result;
        for (int k = 0; k < i && first; k++) first = !(g->nodes[k].result && same_records(&g->nodes[i], &g->nodes[k]));
        if (first) st = run_guarded(&u, &g->nodes[i], err);
    }
    return st;
}

static enum leat_status run_nodes(struct leat_group *g, const struct step_input *in, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *done = leat_alloc((size_t)(g->node_count + 1) * sizeof *done);
    struct leat_changes *references = leat_alloc((source_count(g) + 1) * sizeof *references);
    node_cuts(g, in->watermarks, in->idle, cuts);
    clear_results(g);
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
    for (size_t s = 0; s < source_count(g); s++)
        if (references[s].schema) leat_changes_deinit(&references[s]);
    free(references);
    free(done);
    free(cuts);
    return st;
}

/* FAIL UPDATE: once when it begins and once when it is over. */
static void tell_violations(struct leat_gtable *table) {
    bool held = leat_table_held(table) != NULL;
    struct leat_env *env = table->group->engine->env;
    if (held == table->held) return;
    table->held = held;
    if (held) {
        char *why = leat_table_violation_text(table, NULL);
        leat_log(env, LEAT_LOG_ERROR, "table %s: %s", table->def->name, why);
        free(why);
    } else {
        leat_log(env, LEAT_LOG_INFO, "table %s: nothing violates FAIL UPDATE any more; it goes on", table->def->name);
    }
}

static enum leat_status publish(struct leat_group *g, uint64_t step, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        const struct leat_changes *changes = leat_table_unfrozen(table, g->nodes[table->root].result);
        if (g->rebuild && !g->rebuild->tables[t]) continue;
        if (!g->rebuild) tell_violations(table);
        if (table->quarantine_root >= 0 && g->nodes[table->quarantine_root].result && (g->rebuild || step > table->quarantine.committed_step)) {
            const struct leat_changes *rows = g->nodes[table->quarantine_root].result;
            leat_changes_append(&table->quarantine.pending, rows, NULL, rows->row_count, 1);
        }
        if (!changes) continue;
        if (g->rebuild) {
            leat_changes_append(&table->pending, changes, NULL, changes->row_count, 1);
            continue;
        }
        if (step > table->committed_step) leat_changes_append(&table->pending, changes, NULL, changes->row_count, 1);
        table->changes_out += changes->row_count;
        leat_live_change(g->engine, table, changes);
        for (int k = 0; k < g->engine->group_count; k++) {
            struct leat_changes *queue = &g->engine->groups[k]->queues[table->index];
            if (queue->schema && g->engine->groups[k] != g) leat_changes_append(queue, changes, NULL, changes->row_count, 1);
        }
        st = leat_effects_step(table, changes, step, false, err);
    }
    return st;
}

/* Moves the group's frontier past the step. */
static void advance(struct leat_group *g, const struct step_input *in) {
    struct leat_engine *engine = g->engine;
    leat_cut_sets_advance(g, in->watermarks, in->idle);
    for (size_t s = 0; s < source_count(g); s++) {
        struct leat_src *src = &engine->sources[s];
        if (!g->reads[s]) {
            g->reference_versions[s] = in->references[s];
            continue;
        }
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c; c = c->next) {
            struct chunk_range range;
            if (!range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
            leat_group_note_time(g, s, c->partition, src->def->event_time >= 0 ? range_max_event(src, &range) : INT64_MIN);
            engine->records_since_checkpoint += range.to - range.from;
        }
        leat_cursors_copy(&g->cursors[s], &in->to[s]);
        g->watermarks[s] = in->watermarks[s];
        leat_src_release(src);
    }
    leat_late_settle(g);
    leat_queues_clear(g);
    g->last_clock_us = in->clock_us;
    g->started = true;
    g->steps++;
    engine->step = in->step;
}

static enum leat_status execute(struct leat_group *g, const struct step_input *in, struct leat_error *err) {
    bool moved = false;
    for (int t = 0; t < g->table_count; t++) moved |= in->closed_us[t] != INT64_MIN && leat_frozen_set(g->tables[t], in->closed_us[t]);
    if (moved) leat_retain_settle(g->engine);
    leat_conn_set_clock(g->engine->step_conn, in->clock_us);
    enum leat_status st = run_nodes(g, in, err);
    if (st == LEAT_OK) st = publish(g, in->step, err);
    if (st == LEAT_OK && !g->rebuild) leat_live_step_done(g, in->step, in->clock_us);
    if (st == LEAT_OK) advance(g, in);
    clear_results(g);
    return st;
}

/* ---- journal ------------------------------------------------------------------------------------- */

static json_t *record_of(const struct leat_group *g, const struct step_input *in) {
    json_t *record = json_pack("{s:s,s:I,s:o,s:I}", "t", "step", "n", (json_int_t)in->step, "g", leat_freshness_json(&g->freshness), "c",
                               (json_int_t)in->clock_us);
    json_t *ranges = json_object(), *watermarks = json_object(), *references = json_object(), *idle = json_array();
    for (size_t s = 0; s < source_count(g); s++) {
        const char *name = g->engine->project->sources[s].name;
        if (g->reads[s]) {
            json_object_set_new(ranges, name, leat_cursors_json(&in->to[s]));
            json_object_set_new(watermarks, name, json_integer(in->watermarks[s]));
            if (in->idle[s]) json_array_append_new(idle, json_string(name));
        } else if (in->references[s]) {
            json_object_set_new(references, name, json_integer((json_int_t)in->references[s]));
        }
    }
    json_object_set_new(record, "to", ranges);
    json_object_set_new(record, "wm", watermarks);
    json_object_set_new(record, "ref", references);
    if (json_array_size(idle)) json_object_set(record, "idle", idle);
    json_decref(idle);
    for (int t = 0; t < g->table_count; t++) {
        if (in->closed_us[t] == INT64_MIN) continue;
        if (!json_object_get(record, "frozen")) json_object_set_new(record, "frozen", json_object());
        json_object_set_new(json_object_get(record, "frozen"), g->tables[t]->def->name, json_integer(in->closed_us[t]));
    }
    return record;
}

/* Did choose_ranges find anything? With memory full of what another group still has to read, it may not. */
static bool any_range(const struct leat_group *g, const struct step_input *in) {
    for (size_t s = 0; s < source_count(g); s++)
        for (size_t i = 0; i < in->to[s].count; i++)
            if (in->to[s].items[i].next > leat_cursor_get(&g->cursors[s], in->to[s].items[i].partition)) return true;
    return false;
}

static bool queues_waiting(const struct leat_group *g) {
    for (size_t t = 0; t < g->engine->project->table_count; t++)
        if (g->queues[t].schema && g->queues[t].row_count) return true;
    return false;
}

static bool references_waiting(const struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) {
        int s = g->nodes[i].op->object;
        if (g->nodes[i].op->kind == LEAT_OP_REFERENCE && leat_reference_version(g->engine->references[s]) > g->reference_versions[s])
            return true;
    }
    return false;
}

static bool timers_due(struct leat_group *g) {
    size_t n = source_count(g) + 1;
    int64_t *watermarks = leat_alloc(n * sizeof *watermarks);
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *idle = leat_alloc(n * sizeof *idle);
    bool due = false, moved = g->cut_set_count > 0;
    for (size_t s = 0; s < source_count(g); s++) {
        watermarks[s] = g->reads[s] ? watermark_now(g, (int)s) : INT64_MIN;
        idle[s] = g->reads[s] && source_idle(g, (int)s);
        moved |= g->reads[s] && watermarks[s] != g->watermarks[s];
    }
    node_cuts(g, watermarks, idle, cuts);
    for (int i = 0; i < g->node_count && moved && !due; i++)
        due = g->nodes[i].node && leat_node_due(g->nodes[i].node, cuts[i] == CUT_NONE ? INT64_MIN : cuts[i]);
    free(watermarks);
    free(idle);
    free(cuts);
    return due;
}

/* A reference that is read once must be there before the first row: looked-up rows are not kept for it. */
bool leat_group_waits_for_reference(const struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_op *op = g->nodes[i].op;
        if (op->kind == LEAT_OP_REFERENCE && g->engine->project->sources[op->object].refresh_us == 0 &&
            leat_reference_version(g->engine->references[op->object]) == 0)
            return true;
    }
    return false;
}

bool leat_group_has_input(struct leat_group *g) {
    if (g->suspended || leat_group_waits_for_reference(g)) return false;
    if (!g->started || references_waiting(g)) return true;
    bool hold = leat_effects_hold(g);
    for (size_t s = 0; s < source_count(g); s++)
        if (g->reads[s] && (hold ? leat_group_in_history(g, (int)s) : !all_read(g, (int)s))) return true;
    return queues_waiting(g) || timers_due(g);
}

bool leat_group_settled(struct leat_group *g) {
    if (!g->started || references_waiting(g) || queues_waiting(g)) return false;
    for (size_t s = 0; s < source_count(g); s++)
        if (g->reads[s] && leat_group_in_history(g, (int)s)) return false;
    return !timers_due(g);
}

static int64_t oldest_arrival(const struct leat_group *g, const struct step_input *in) {
    int64_t oldest = INT64_MAX;
    for (size_t s = 0; s < source_count(g); s++) {
        if (!g->reads[s]) continue;
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c; c = c->next) {
            struct chunk_range range;
            if (!range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
            if (!c->arrivals && c->arrival_us < oldest) oldest = c->arrival_us; /* what is read back from bronze has been there before */
        }
    }
    return oldest;
}

enum leat_status leat_group_step(struct leat_group *g, bool *did, struct leat_error *err) {
    struct step_input in;
    enum leat_status st;
    *did = false;
    if (!leat_group_has_input(g)) return LEAT_OK;
    for (size_t s = 0; s < source_count(g); s++)
        if (g->reads[s] && (st = leat_src_refill(&g->engine->sources[s], NULL, err)) != LEAT_OK) return st;
    input_init(g, &in);
    in.step = g->engine->step + 1;
    in.clock_us = leat_engine_now(g->engine);
    for (size_t s = 0; s < source_count(g); s++) {
        if (g->reads[s]) in.watermarks[s] = watermark_now(g, (int)s);
        if (g->reads[s]) in.idle[s] = source_idle(g, (int)s);
        if (g->engine->references[s]) in.references[s] = leat_reference_version(g->engine->references[s]);
    }
    choose_ranges(g, &in);
    if (!any_range(g, &in) && g->started && !references_waiting(g) && !queues_waiting(g) && !timers_due(g)) {
        input_deinit(g, &in);
        return LEAT_OK;
    }
    int64_t oldest = oldest_arrival(g, &in), cpu = leat_usage_thread_cpu_us();
    if ((st = leat_frozen_next(g, in.watermarks, in.idle, in.closed_us, err)) == LEAT_OK && (st = leat_engine_journal(g->engine, record_of(g, &in), err)) == LEAT_OK) st = execute(g, &in, err);
    if (st == LEAT_OK) {
        *did = true;
        leat_pace_note(g, oldest, leat_usage_thread_cpu_us() - cpu);
    }
    input_deinit(g, &in);
    return st;
}

int64_t leat_group_watermark(const struct leat_group *g, size_t source) {
    return watermark_now(g, (int)source);
}

enum leat_status leat_group_align(struct leat_group *g, const int64_t *watermarks, struct leat_error *err) {
    struct step_input in;
    input_init(g, &in);
    in.step = g->engine->step + 1;
    in.clock_us = leat_engine_now(g->engine);
    for (size_t s = 0; s < source_count(g); s++) {
        if (!g->reads[s]) continue;
        if (watermarks[s] > in.watermarks[s]) in.watermarks[s] = watermarks[s];
        in.idle[s] = source_idle(g, (int)s);
    }
    enum leat_status st = leat_engine_journal(g->engine, record_of(g, &in), err);
    if (st == LEAT_OK) st = execute(g, &in, err);
    input_deinit(g, &in);
    return st;
}

static bool names_source(const json_t *names, const char *name) {
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0) return true;
    return false;
}

enum leat_status leat_group_replay(struct leat_group *g, const json_t *record, struct leat_error *err) {
    struct step_input in;
    input_init(g, &in);
    in.step = (uint64_t)json_integer_value(json_object_get(record, "n"));
    in.clock_us = json_integer_value(json_object_get(record, "c"));
    for (size_t s = 0; s < source_count(g); s++) {
        const char *name = g->engine->project->sources[s].name;
        json_t *to = json_object_get(json_object_get(record, "to"), name);
        json_t *watermark = json_object_get(json_object_get(record, "wm"), name);
        json_t *version = json_object_get(json_object_get(record, "ref"), name);
        if (to) leat_cursors_parse(&in.to[s], to);
        if (watermark) in.watermarks[s] = json_integer_value(watermark);
        in.idle[s] = names_source(json_object_get(record, "idle"), name);
        if (version) in.references[s] = (uint64_t)json_integer_value(version);
    }
    for (int t = 0; t < g->table_count; t++) {
        json_t *closed = json_object_get(json_object_get(record, "frozen"), g->tables[t]->def->name);
        if (closed) in.closed_us[t] = json_integer_value(closed);
    }
    enum leat_status st = LEAT_OK;
    for (size_t s = 0; s < source_count(g) && st == LEAT_OK; s++)
        if (g->reads[s]) st = leat_src_refill(&g->engine->sources[s], &in.to[s], err);
    if (st == LEAT_OK) st = execute(g, &in, err);
    input_deinit(g, &in);
    return st;
}

/* A table's rows, not what led to them: consolidated whenever they have doubled. */
static void keep_small(struct leat_group *g, size_t *kept) {
    for (int t = 0; t < g->table_count; t++) {
        struct leat_changes *rows = &g->tables[t]->pending;
        if (!g->rebuild->tables[t] || rows->row_count < 2 * kept[t] + 500000) continue;
        leat_changes_consolidate(rows);
        kept[t] = rows->row_count;
    }
}

enum leat_status leat_group_rebuild(struct leat_group *g, struct leat_error *err) {
    const struct leat_rebuild *r = g->rebuild;
    size_t *kept = leat_alloc((size_t)(g->table_count + 1) * sizeof *kept);
    enum leat_status st = LEAT_OK;
    for (bool more = true; more && st == LEAT_OK;) {
        struct step_input in;
        for (size_t s = 0; s < source_count(g) && st == LEAT_OK; s++)
            if (g->reads[s]) st = leat_src_refill_below(&g->engine->sources[s], &r->upto[s], err);
        if (st != LEAT_OK) break;
        input_init(g, &in);
        in.step = r->step;
        in.clock_us = r->clock_us;
        memcpy(in.references, r->references, source_count(g) * sizeof *in.references);
        choose_ranges(g, &in);
        more = any_range(g, &in);
        for (size_t s = 0; s < source_count(g) && more; s++) {
            int64_t to_come = leat_lows_to_come(g, (int)s), safe = to_come < r->watermarks[s] ? to_come : r->watermarks[s];
            if (safe > in.watermarks[s]) in.watermarks[s] = safe;
        }
        if (!more) { /* windows close */
            memcpy(in.watermarks, r->watermarks, source_count(g) * sizeof *in.watermarks);
            leat_cut_sets_load(g, r->cut_sets);
        }
        uint64_t records = 0;
        for (size_t s = 0; s < source_count(g); s++)
            for (size_t i = 0; i < in.to[s].count; i++) records += in.to[s].items[i].next - leat_cursor_get(&g->cursors[s], in.to[s].items[i].partition);
        st = execute(g, &in, err);
        if (g->engine->progress) g->engine->progress(g->engine->progress_context, records);
        keep_small(g, kept);
        input_deinit(g, &in);
    }
    free(kept);
    return st;
}
