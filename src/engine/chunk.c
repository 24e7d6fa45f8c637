/* Chunks and cursors. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"

uint64_t leat_cursor_get(const struct leat_cursors *c, uint32_t partition) {
    for (size_t i = 0; i < c->count; i++)
        if (c->items[i].partition == partition) return c->items[i].next;
    return 0;
}

void leat_cursor_set(struct leat_cursors *c, uint32_t partition, uint64_t next) {
    size_t at = 0;
    while (at < c->count && c->items[at].partition < partition) at++;
    if (at < c->count && c->items[at].partition == partition) {
        c->items[at].next = next;
        return;
    }
    c->items = leat_realloc(c->items, (c->count + 1) * sizeof *c->items);
    memmove(c->items + at + 1, c->items + at, (c->count - at) * sizeof *c->items);
    c->items[at] = (struct leat_cursor){partition, next};
    c->count++;
}

void leat_cursors_copy(struct leat_cursors *to, const struct leat_cursors *from) {
    leat_cursors_free(to);
    for (size_t i = 0; i < from->count; i++) leat_cursor_set(to, from->items[i].partition, from->items[i].next);
}

void leat_cursors_free(struct leat_cursors *c) {
    free(c->items);
    *c = (struct leat_cursors){0};
}

json_t *leat_cursors_json(const struct leat_cursors *c) {
    json_t *array = json_array();
    for (size_t i = 0; i < c->count; i++)
        json_array_append_new(array, json_pack("[I,I]", (json_int_t)c->items[i].partition, (json_int_t)c->items[i].next));
    return array;
}

void leat_cursors_parse(struct leat_cursors *c, const json_t *array) {
    size_t i;
    json_t *pair;
    leat_cursors_free(c);
    json_array_foreach((json_t *)array, i, pair)
        leat_cursor_set(c, (uint32_t)json_integer_value(json_array_get(pair, 0)),
                        (uint64_t)json_integer_value(json_array_get(pair, 1)));
}

void leat_chunk_free(struct leat_chunk *chunk) {
    if (!chunk) return;
    leat_changes_deinit(&chunk->rows);
    free(chunk->payload);
    free(chunk->offsets);
    free(chunk->arrivals);
    free(chunk->identities);
    free(chunk->raw);
    free(chunk->dead);
    leat_arena_deinit(&chunk->arena);
    free(chunk);
}

int64_t leat_chunk_arrival(const struct leat_chunk *chunk, size_t row) {
    return chunk->arrivals ? chunk->arrivals[row] : chunk->arrival_us;
}

size_t leat_chunk_row(const struct leat_chunk *chunk, uint64_t offset) {
    size_t low = 0, high = chunk->rows.row_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (chunk->offsets[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct leat_string record_text(const struct leat_block *b, uint32_t record) {
    return leat_string_of(b->payload + b->starts[record], b->ends[record] - b->starts[record]);
}

static void add_dead(struct leat_chunk *chunk, const struct leat_block *b, uint32_t record, const char *reason) {
    if ((chunk->dead_count & (chunk->dead_count - 1)) == 0)
        chunk->dead = leat_realloc(chunk->dead, (chunk->dead_count ? chunk->dead_count * 2 : 1) * sizeof *chunk->dead);
    chunk->dead[chunk->dead_count++] = (struct leat_dead_record){
        b->base_offset + record, leat_arena_copy(&chunk->arena, reason, strlen(reason)), record_text(b, record)};
}

/* Rule 16: a time further ahead of arrival than max_future is dead letter and never moves a watermark. */
static void drop_future_rows(const struct leat_src *src, struct leat_chunk *chunk, const struct leat_block *b, uint32_t *records,
                             uint8_t *lossy) {
    int column = src->def->event_time;
    int64_t max_future_us = leat_setting_int(src->engine->project, "max_future");
    if (column < 0) return;
    const struct leat_column *times = &chunk->rows.columns[column];
    const int64_t *values = times->data;
    int64_t limit = b->arrival_us + max_future_us;
    size_t kept = 0, n = chunk->rows.row_count;
    uint32_t *keep = NULL;
    for (size_t row = 0; row < n; row++) {
        if (leat_is_null(times, row)) continue;
        if (values[row] <= limit) {
            if (values[row] > chunk->max_event_us) chunk->max_event_us = values[row];
            continue;
        }
        if (!keep) {
            keep = leat_alloc(n * sizeof *keep);
            for (size_t i = 0; i < n; i++) keep[i] = 0;
        }
        keep[row] = 1;
        add_dead(chunk, b, records[row],
                 leat_arena_printf(&chunk->arena, "%s is further ahead of its arrival than max_future allows",
                                   src->def->schema.fields[column].name));
    }
    if (!keep) return;
    for (size_t row = 0; row < n; row++) {
        if (keep[row]) continue;
        records[kept] = records[row];
        lossy[kept] = lossy[row];
        keep[kept++] = (uint32_t)row;
    }
    struct leat_changes rows;
    leat_changes_init(&rows, chunk->rows.schema);
    leat_changes_append(&rows, &chunk->rows, keep, kept, 1);
    leat_changes_swap(&rows, &chunk->rows);
    leat_changes_deinit(&rows);
    free(keep);
}

static int by_offset(const void *a, const void *b) {
    uint64_t x = ((const struct leat_dead_record *)a)->offset, y = ((const struct leat_dead_record *)b)->offset;
    return x < y ? -1 : x > y;
}

/* The rows' strings stay in it. */
static char *take_payload(struct leat_block *block) {
    char *payload = block->owned;
    block->owned = NULL;
    if (payload) return payload;
    payload = leat_realloc(NULL, block->payload_bytes + LEAT_PAYLOAD_SLACK);
    memcpy(payload, block->payload, block->payload_bytes);
    memset(payload + block->payload_bytes, 0, LEAT_PAYLOAD_SLACK);
    return payload;
}

enum leat_status leat_chunk_decode(const struct leat_src *src, struct leat_decoder *decoder, struct leat_block *block, struct leat_chunk **out,
                                   struct leat_error *err) {
    struct leat_chunk *chunk = leat_alloc(sizeof *chunk);
    struct leat_block b = *block;
    uint32_t *records = leat_alloc((b.record_count + 1) * sizeof *records);
    uint8_t *lossy = leat_alloc(b.record_count + 1);
    const struct leat_reject *rejects = NULL;
    size_t reject_count = 0;
    *out = NULL;
    chunk->partition = b.partition;
    chunk->from = b.base_offset;
    chunk->to = b.base_offset + b.record_count;
    chunk->arrival_us = b.arrival_us;
    chunk->max_event_us = INT64_MIN;
    chunk->payload = take_payload(block);
    b.payload = chunk->payload;
    leat_changes_init(&chunk->rows, &src->def->schema);
    enum leat_status st = leat_decode(decoder, &b, 0, b.record_count, &chunk->rows, records, lossy, &rejects,
                                      &reject_count, err);
    if (st != LEAT_OK) goto out;
    for (size_t i = 0; i < reject_count; i++) add_dead(chunk, &b, rejects[i].record, rejects[i].reason);
    drop_future_rows(src, chunk, &b, records, lossy);
    if (chunk->dead_count > 1) qsort(chunk->dead, chunk->dead_count, sizeof *chunk->dead, by_offset);

    size_t n = chunk->rows.row_count;
    chunk->offsets = leat_alloc((n + 1) * sizeof *chunk->offsets);
    for (size_t i = 0; i < n; i++) {
        chunk->offsets[i] = b.base_offset + records[i];
        if (!lossy[i]) continue;
        if (!chunk->raw) chunk->raw = leat_alloc(n * sizeof *chunk->raw);
        chunk->raw[i] = record_text(&b, records[i]);
    }
    if (b.identities) {
        chunk->identities = leat_alloc((n + 1) * sizeof *chunk->identities);
        for (size_t i = 0; i < n; i++) chunk->identities[i] = b.identities[records[i]];
    }
    *out = chunk;
    chunk = NULL;
out:
    leat_chunk_free(chunk);
    free(records);
    free(lossy);
    return st;
}
