/* Live tables, the ring of recent changes, and the past behind it (engine/live/past.h).
 *
 * A step's changes are copied, consolidated and put in order before the lock is taken; under it rows are replaced and the ring moves on.
 * The ring is bounded in bytes over all tables (SET changes_history): whoever reads it at its own pace holds at most the step it is at.
 * Recovery runs steps again, so the ring begins at the last checkpoint, with the same steps in the same order. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/internal.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/runs/runs.h"
#include "engine/live/live.h"
#include "engine/live/past.h"
#include "state/heap.h"
#include "state/keyed.h"
#include "state/row.h"

#define LIVE_KEY_COLUMNS_MAX 32
#define SCAN_BYTES (4 * LEAT_MIB) /* of texts that one look copies, about: rows may be large */

struct part {
    int table;
    bool too_large; /* for the ring: not put in order */
    struct leat_changes rows;
};
struct leat_live_step {
    atomic_int references;
    uint64_t step;
    int64_t clock_us;
    struct part *parts;
    size_t part_count, bytes;
};
struct content {
    struct leat_live_table table;
    struct leat_row_codec codec;
    struct leat_keyed keys;   /* payload: uint8_t *, the encoded row */
    struct leat_heap heap;
    struct leat_row_block block;
    uint32_t epoch;
    uint64_t from_step; /* the ring has what came after this step */
    struct leat_past *past; /* NULL: not continuous */
    atomic_uint followers;
    atomic_ullong left_step; /* where the last one was when it left: it may come back */
};
struct leat_live {
    pthread_rwlock_t lock;
    struct content *contents;
    size_t count;
    struct leat_live_frontier now;
    struct leat_live_step **ring; /* by step; first .. count-1 are in use */
    size_t ring_first, ring_count, ring_capacity, ring_bytes, ring_bytes_max;
    uint64_t dropped_step;         /* the newest step that was dropped */
    struct leat_live_step *making; /* the engine's thread alone, as what follows: of the step under way */
    uint64_t kept_step;            /* what is kept of the past is durable up to here */
    bool past_known;               /* what was kept before this start has been looked at */
    void (*told)(void *);
    void *told_context;
};

/* ---- what there is ---------------------------------------------------------------------------------- */

size_t leat_live_table_count(const struct leat_live *live) {
    return live->count;
}

const struct leat_live_table *leat_live_table_at(const struct leat_live *live, size_t index) {
    return &live->contents[index].table;
}

const struct leat_live_table *leat_live_find(const struct leat_live *live, const char *name) {
    for (size_t i = 0; i < live->count; i++)
        if (strcasecmp(live->contents[i].table.name, name) == 0) return &live->contents[i].table;
    return NULL;
}

static struct content *content_of(struct leat_live *live, const struct leat_live_table *table) {
    return &live->contents[table->index];
}

static char *past_dir(const struct leat_engine *engine, const char *table) {
    return leat_asprintf("%s/changes%s%s", engine->work_dir, table ? "/" : "", table ? table : "");
}

static void content_init(struct leat_engine *engine, struct content *content, const struct leat_gtable *table) {
    struct leat_live_table *t = &content->table;
    t->name = table->def->name;
    t->index = table->index;
    leat_schema_copy(&t->schema, &table->plan->schema);
    t->key = leat_alloc((table->def->primary_key_count + 1) * sizeof *t->key);
    for (size_t i = 0; i < table->def->primary_key_count; i++) {
        int column = leat_schema_find(&t->schema, table->def->primary_key[i]);
        if (column >= 0) t->key[t->key_count++] = (uint16_t)column;
    }
    t->continuous = !table->batch;
    t->held = t->continuous && t->key_count > 0 && t->key_count <= LIVE_KEY_COLUMNS_MAX;
    leat_row_codec_init(&content->codec, &t->schema, NULL, t->schema.field_count);
    leat_keyed_init(&content->keys, sizeof(uint8_t *));
    uint64_t past_bytes = (uint64_t)leat_setting_int(engine->project, "changes_kept");
    if (!t->continuous || !past_bytes) return;
    char *dir = past_dir(engine, t->name);
    content->past = leat_past_new(engine->env, dir, &t->schema, past_bytes);
    free(dir);
}

void leat_live_open(struct leat_engine *engine) {
    struct leat_live *live = leat_alloc(sizeof *live);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&live->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    live->count = engine->project->table_count;
    live->contents = leat_alloc((live->count + 1) * sizeof *live->contents);
    for (size_t t = 0; t < live->count; t++) content_init(engine, &live->contents[t], &engine->tables[t]);
    live->ring_bytes_max = (size_t)leat_setting_int(engine->project, "changes_history");
    engine->live = live;
}

static void step_release(struct leat_live_step *step) {
    if (!step || atomic_fetch_sub(&step->references, 1) > 1) return;
    for (size_t i = 0; i < step->part_count; i++) leat_changes_deinit(&step->parts[i].rows);
    free(step->parts);
    free(step);
}

struct leat_live *leat_engine_live(const struct leat_engine *engine) {
    return engine->live;
}

void leat_live_on_step(struct leat_live *live, void (*told)(void *), void *context) {
    live->told = told;
    live->told_context = context;
}

/* ---- the engine's side ------------------------------------------------------------------------------ */

static size_t bytes_of(const struct leat_changes *rows) {
    enum { ARENA_BYTES_LEAST = 16 << 10 };
    size_t strings = rows->strings.used_bytes, bytes = 512 + rows->capacity * sizeof(int32_t);
    if (strings && strings < ARENA_BYTES_LEAST) strings = ARENA_BYTES_LEAST;
    for (size_t c = 0; c < rows->schema->field_count; c++) bytes += rows->capacity * (leat_type_size(rows->schema->fields[c].type) + 1);
    return bytes + strings;
}

struct order {
    const struct leat_changes *rows;
    const uint16_t *columns, *all;
    size_t column_count, all_count;
};

static int compare_rows(const void *a, const void *b, void *context) {
    const struct order *order = context;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int c = leat_key_compare(order->rows, x, order->columns, order->rows, y, order->columns, order->column_count);
    if (c) return c;
    int32_t wx = leat_weight(order->rows, x), wy = leat_weight(order->rows, y);
    if (wx != wy) return wx < wy ? -1 : 1;
    return leat_key_compare(order->rows, x, order->all, order->rows, y, order->all, order->all_count);
}

static void put_in_order(const struct leat_live_table *table, struct leat_changes *rows) {
    size_t n = rows->row_count, columns = table->schema.field_count;
    uint32_t *index = leat_alloc((n + 1) * sizeof *index);
    uint16_t *all = leat_alloc((columns + 1) * sizeof *all);
    struct leat_changes sorted;
    for (size_t i = 0; i < n; i++) index[i] = (uint32_t)i;
    for (size_t c = 0; c < columns; c++) all[c] = (uint16_t)c;
    struct order order = {rows, table->key_count ? table->key : all, all, table->key_count ? table->key_count : columns, columns};
    qsort_r(index, n, sizeof *index, compare_rows, &order);
    leat_changes_init(&sorted, rows->schema);
    leat_changes_append(&sorted, rows, index, n, 1);
    leat_changes_swap(&sorted, rows);
    leat_changes_deinit(&sorted);
    free(index);
    free(all);
}

void leat_live_change(struct leat_engine *engine, const struct leat_gtable *table, const struct leat_changes *changes) {
    struct leat_live *live = engine->live;
    if (!live || !changes->row_count) return;
    const struct leat_live_table *t = &live->contents[table->index].table;
    if (!live->making) {
        live->making = leat_alloc(sizeof *live->making);
        atomic_init(&live->making->references, 1);
    }
    struct leat_live_step *step = live->making;
    step->parts = leat_realloc(step->parts, (step->part_count + 1) * sizeof *step->parts);
    struct part *part = &step->parts[step->part_count];
    part->table = table->index;
    leat_changes_init(&part->rows, &t->schema);
    leat_changes_append(&part->rows, changes, NULL, changes->row_count, 1);
    leat_changes_consolidate(&part->rows);
    if (!part->rows.row_count) {
        leat_changes_deinit(&part->rows);
        return;
    }
    size_t bytes = bytes_of(&part->rows);
    part->too_large = bytes > live->ring_bytes_max;
    step->part_count++;
    if (part->too_large) return;
    put_in_order(t, &part->rows);
    step->bytes += bytes;
}

/* Leaves out what the ring does not take: who follows those tables is told so (leat_live_next). */
static void drop_too_large(struct leat_live *live, struct leat_live_step *step, uint64_t number) {
    size_t kept = 0;
    for (size_t i = 0; i < step->part_count; i++) {
        if (step->parts[i].too_large) {
            live->contents[step->parts[i].table].from_step = number;
            leat_changes_deinit(&step->parts[i].rows);
        } else {
            if (kept != i) step->parts[kept] = step->parts[i];
            kept++;
        }
    }
    step->part_count = kept;
}

static void set_row(struct content *content, uint32_t index, const uint8_t *bytes, size_t size) {
    uint8_t **stored = leat_entry_payload(leat_keyed_at(&content->keys, index));
    if (*stored) leat_heap_free(&content->heap, *stored, leat_row_stored_size(&content->codec, *stored));
    *stored = NULL;
    if (!bytes) return;
    *stored = leat_heap_alloc(&content->heap, size);
    memcpy(*stored, bytes, size);
}

/* What comes is set first and marked, so that a key that also goes keeps its place. */
static void apply_rows(struct content *content, const struct leat_changes *rows) {
    enum { CHUNK = 4096 };
    struct leat_hash128 hashes[CHUNK];
    uint32_t found[CHUNK];
    content->epoch++;
    for (int going = 0; going < 2; going++)
        for (size_t from = 0; from < rows->row_count; from += CHUNK) {
            size_t n = rows->row_count - from < CHUNK ? rows->row_count - from : CHUNK;
            leat_key_hash(rows, from, n, content->table.key, content->table.key_count, hashes);
            if (!going) leat_row_encode(&content->codec, rows, NULL, from, n, &content->block);
            if (going) leat_keyed_find(&content->keys, hashes, n, found);
            for (size_t i = 0; i < n; i++) {
                bool goes = leat_weight(rows, from + i) < 0;
                if (goes != (bool)going) continue;
                if (!going) leat_keyed_upsert(&content->keys, &hashes[i], 1, &found[i]);
                if (found[i] == LEAT_NO_ENTRY) continue;
                struct leat_entry *entry = leat_keyed_at(&content->keys, found[i]);
                if (!going) {
                    entry->epoch = content->epoch;
                    entry->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
                    set_row(content, found[i], content->block.bytes + content->block.starts[i],
                            content->block.starts[i + 1] - content->block.starts[i]);
                } else if ((entry->flags & LEAT_ENTRY_LIVE) && entry->epoch != content->epoch) {
                    set_row(content, found[i], NULL, 0);
                    leat_keyed_remove(&content->keys, found[i]); /* not LIVE any more, should the key go twice */
                }
            }
        }
}

static void drop_oldest(struct leat_live *live) {
    struct leat_live_step *oldest = live->ring[live->ring_first++];
    live->ring_bytes -= oldest->bytes;
    live->dropped_step = oldest->step;
    step_release(oldest);
}

static void ring_add(struct leat_live *live, struct leat_live_step *step) {
    if (live->ring_count == live->ring_capacity) {
        size_t kept = live->ring_count - live->ring_first;
        if (live->ring_first) memmove(live->ring, live->ring + live->ring_first, kept * sizeof *live->ring);
        live->ring_first = 0;
        live->ring_count = kept;
        if (kept * 2 > live->ring_capacity || !live->ring_capacity) {
            live->ring_capacity = live->ring_capacity ? live->ring_capacity * 2 : 64;
            live->ring = leat_realloc(live->ring, live->ring_capacity * sizeof *live->ring);
        }
    }
    live->ring[live->ring_count++] = step;
    live->ring_bytes += step->bytes;
    while (live->ring_bytes > live->ring_bytes_max && live->ring_count - live->ring_first > 1) drop_oldest(live);
}

/* ---- the past: what those who follow a table may come back for ---------------------------------------- */

/* Of tables that have no changes to follow any more. */
static void remove_strange_past(struct leat_engine *engine) {
    char *dir = past_dir(engine, NULL), **names = NULL;
    size_t count = 0;
    struct leat_error ignored;
    if (leat_io_list_sorted(engine->env->io, dir, &names, &count, &ignored) != LEAT_OK) count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct leat_live_table *table = leat_live_find(engine->live, names[i]);
        char *path = past_dir(engine, names[i]);
        if ((!table || !content_of(engine->live, table)->past) && leat_io_remove_tree(engine->env->io, path, &ignored) != LEAT_OK)
            leat_log(engine->env, LEAT_LOG_WARN, "%s", ignored.text);
        free(path);
        free(names[i]);
    }
    free(names);
    free(dir);
}

/* What an earlier process has kept is of use if it goes up to where the steps run again, and no table was made anew in it. */
static void look_at_past(struct leat_engine *engine) {
    struct leat_live *live = engine->live;
    if (live->past_known) return;
    live->past_known = true;
    live->kept_step = engine->replay_from;
    remove_strange_past(engine);
    for (size_t t = 0; t < live->count; t++) {
        struct content *content = &live->contents[t];
        if (content->past) leat_past_resume(content->past);
        if (!content->past || !leat_past_is_kept(content->past)) continue;
        atomic_store(&content->left_step, engine->replay_from);
        if (leat_past_upto(content->past) < engine->replay_from || leat_past_from(content->past) < engine->tables[t].made_step)
            leat_past_forget(content->past);
    }
}

static void keep_changes(struct content *content, const struct leat_live_step *step) {
    for (size_t p = 0; p < step->part_count; p++)
        if (step->parts[p].table == content->table.index) leat_past_append(content->past, step->step, step->clock_us, &step->parts[p].rows);
}

/* Begins with what memory has: who follows the table since a moment ago may be there. */
static void start_past(struct leat_live *live, struct content *content) {
    leat_past_start(content->past, content->from_step > live->dropped_step ? content->from_step : live->dropped_step);
    for (size_t i = live->ring_first; i < live->ring_count; i++) keep_changes(content, live->ring[i]);
}

/* Every change up to a step has been appended. */
static void keep_upto(struct leat_live *live, uint64_t step) {
    for (size_t t = 0; t < live->count; t++) {
        struct content *content = &live->contents[t];
        if (!content->past || !leat_past_is_kept(content->past)) continue;
        leat_past_sync(content->past, step);
        bool nobody = !atomic_load(&content->followers) && atomic_load(&content->left_step) < leat_past_from(content->past);
        if (nobody) leat_past_forget(content->past); /* whoever left could not go on any more */
    }
    live->kept_step = step;
}

void leat_live_keep(struct leat_engine *engine) {
    if (!engine->live) return;
    look_at_past(engine);
    keep_upto(engine->live, engine->step);
}

void leat_live_forget_past(struct leat_engine *engine, const struct leat_gtable *table) {
    struct content *content = engine->live ? &engine->live->contents[table->index] : NULL;
    if (content && content->past) leat_past_forget(content->past);
}

void leat_live_close(struct leat_engine *engine) {
    struct leat_live *live = engine->live;
    if (!live) return;
    if (!engine->replaying && live->past_known && live->now.step >= live->kept_step) keep_upto(live, live->now.step);
    for (size_t i = live->ring_first; i < live->ring_count; i++) step_release(live->ring[i]);
    step_release(live->making);
    for (size_t t = 0; t < live->count; t++) {
        struct content *content = &live->contents[t];
        leat_row_codec_deinit(&content->codec);
        leat_keyed_deinit(&content->keys);
        leat_heap_deinit(&content->heap);
        leat_row_block_deinit(&content->block);
        leat_past_free(content->past);
        leat_schema_deinit(&content->table.schema);
        free(content->table.key);
    }
    pthread_rwlock_destroy(&live->lock);
    free(live->contents);
    free(live->ring);
    free(live);
    engine->live = NULL;
}

static bool is_too_large(const struct leat_live_step *step, int table) {
    for (size_t p = 0; p < step->part_count; p++)
        if (step->parts[p].table == table && step->parts[p].too_large) return true;
    return false;
}

/* Before the ring takes a step: of what it drops for that, the past is durable. */
static void keep_step(struct leat_live *live, const struct leat_live_step *made) {
    size_t first = live->ring_first, bytes = live->ring_bytes + made->bytes;
    bool kept = false;
    for (size_t t = 0; t < live->count; t++) {
        struct content *content = &live->contents[t];
        if (!content->past || is_too_large(made, (int)t)) continue;
        if (!leat_past_is_kept(content->past) && atomic_load(&content->followers)) start_past(live, content);
        if (leat_past_is_kept(content->past)) keep_changes(content, made);
        kept |= leat_past_is_kept(content->past);
    }
    for (; first < live->ring_count && bytes > live->ring_bytes_max; first++) bytes -= live->ring[first]->bytes;
    if (kept && first > live->ring_first && live->ring[first - 1]->step > live->kept_step) keep_upto(live, made->step);
}

/* Made anew from the beginning: what comes out is no news to those who know the table. */
static bool made_anew(const struct leat_group *g) {
    for (size_t s = 0; s < g->engine->project->source_count; s++)
        if (leat_group_in_history(g, (int)s)) return true;
    return false;
}

static void take_step(struct leat_group *g, struct leat_live_step *made, struct leat_live_frontier now) {
    struct leat_engine *engine = g->engine;
    struct leat_live *live = engine->live;
    bool anew = made && made_anew(g);
    for (size_t i = 0; made && i < made->part_count; i++)
        if (anew || made->parts[i].too_large) leat_live_forget_past(engine, &engine->tables[made->parts[i].table]);
    if (made) {
        made->step = now.step;
        made->clock_us = now.clock_us;
        if (!anew) keep_step(live, made);
    }
    pthread_rwlock_wrlock(&live->lock);
    live->now = now;
    for (size_t i = 0; made && !engine->replaying && i < made->part_count; i++) {
        struct content *content = &live->contents[made->parts[i].table];
        if (content->table.held) apply_rows(content, &made->parts[i].rows);
    }
    if (anew) {
        for (size_t i = 0; i < made->part_count; i++) live->contents[made->parts[i].table].from_step = now.step;
        step_release(made);
    } else if (made) {
        drop_too_large(live, made, now.step);
        ring_add(live, made);
    }
    pthread_rwlock_unlock(&live->lock);
}

void leat_live_step_done(struct leat_group *g, uint64_t step, int64_t clock_us) {
    struct leat_engine *engine = g->engine;
    struct leat_live *live = engine->live;
    if (!live) return;
    struct leat_live_step *made = live->making;
    live->making = NULL;
    look_at_past(engine);
    take_step(g, made, (struct leat_live_frontier){step, clock_us});
    if (made && live->told && !engine->replaying) live->told(live->told_context);
}

static enum leat_status load_table(struct leat_engine *engine, struct content *content, struct leat_error *err) {
    struct leat_gtable *table = &engine->tables[content->table.index];
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    struct leat_changes pending;
    enum leat_status st = LEAT_OK;
    leat_changes_init(&pending, &content->table.schema);
    if (!table->overwrite && leat_delta_current(table->delta)->file_count) {
        if ((st = leat_table_select(engine, table, -1, &sql, err)) != LEAT_OK) goto out;
        if ((st = leat_conn_query(engine->batch_conn, sql.data, &result, err)) != LEAT_OK) goto out;
        apply_rows(content, &result.rows);
    }
    leat_changes_append(&pending, &table->pending, NULL, table->pending.row_count, 1);
    leat_changes_consolidate(&pending);
    apply_rows(content, &pending);
out:
    leat_changes_deinit(&pending);
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st == LEAT_OK ? st : leat_prepend(err, "table \"%s\"", content->table.name);
}

enum leat_status leat_live_load(struct leat_engine *engine, struct leat_error *err) {
    struct leat_live *live = engine->live;
    enum leat_status st = LEAT_OK;
    if (!live) return LEAT_OK;
    live->now = (struct leat_live_frontier){engine->step, engine->clock_us};
    look_at_past(engine);
    if (!live->dropped_step) live->dropped_step = engine->replay_from;
    for (size_t t = 0; t < live->count && st == LEAT_OK; t++)
        if (live->contents[t].table.held) st = load_table(engine, &live->contents[t], err);
    return st;
}

void leat_live_stopped(struct leat_engine *engine) {
    if (engine->live && engine->live->told) engine->live->told(engine->live->told_context);
}

/* ---- readers ---------------------------------------------------------------------------------------- */

struct leat_live_frontier leat_live_now(struct leat_live *live) {
    pthread_rwlock_rdlock(&live->lock);
    struct leat_live_frontier now = live->now;
    pthread_rwlock_unlock(&live->lock);
    return now;
}

static void read_row(const struct content *content, const uint8_t *bytes, struct leat_changes *out) {
    leat_changes_reserve(out, out->row_count + 1);
    leat_row_read(&content->codec, &bytes, 1, out, 0, out->row_count);
    out->row_count++;
}

bool leat_live_get(struct leat_live *live, const struct leat_live_table *table, const struct leat_changes *key, struct leat_changes *out,
                   struct leat_live_frontier *frontier) {
    uint16_t columns[LIVE_KEY_COLUMNS_MAX];
    struct content *content = content_of(live, table);
    struct leat_hash128 hash;
    uint32_t found;
    for (size_t i = 0; i < table->key_count; i++) columns[i] = (uint16_t)i;
    leat_key_hash(key, 0, 1, columns, table->key_count, &hash);
    pthread_rwlock_rdlock(&live->lock);
    *frontier = live->now;
    leat_keyed_find(&content->keys, &hash, 1, &found);
    if (found != LEAT_NO_ENTRY) read_row(content, *(uint8_t **)leat_entry_payload(leat_keyed_at(&content->keys, found)), out);
    pthread_rwlock_unlock(&live->lock);
    return found != LEAT_NO_ENTRY;
}

void leat_live_scan(struct leat_live *live, const struct leat_live_table *table, uint64_t *cursor, size_t max_rows, size_t max_seen,
                    bool (*keep)(void *, const struct leat_changes *, size_t row), void *context, struct leat_changes *out,
                    struct leat_live_frontier *frontier) {
    struct content *content = content_of(live, table);
    size_t given = 0, seen = 0;
    pthread_rwlock_rdlock(&live->lock);
    *frontier = live->now;
    uint64_t at = *cursor;
    for (; at < content->keys.bound && given < max_rows && seen < max_seen && out->strings.used_bytes < SCAN_BYTES; at++) {
        struct leat_entry *entry = leat_keyed_at(&content->keys, (uint32_t)at);
        if (!(entry->flags & LEAT_ENTRY_LIVE)) continue;
        seen++;
        read_row(content, *(uint8_t **)leat_entry_payload(entry), out);
        if (keep && !keep(context, out, out->row_count - 1))
            leat_changes_truncate(out, out->row_count - 1);
        else
            given++;
    }
    while (at < content->keys.bound && !(leat_keyed_at(&content->keys, (uint32_t)at)->flags & LEAT_ENTRY_LIVE)) at++;
    *cursor = at < content->keys.bound ? at : 0;
    pthread_rwlock_unlock(&live->lock);
}

uint64_t leat_live_rows(struct leat_live *live, const struct leat_live_table *table) {
    pthread_rwlock_rdlock(&live->lock);
    uint64_t rows = content_of(live, table)->keys.count;
    pthread_rwlock_unlock(&live->lock);
    return rows;
}

/* The first step in the ring after `after`; ring_count when there is none. */
static size_t ring_find(const struct leat_live *live, uint64_t after) {
    size_t low = live->ring_first, high = live->ring_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (live->ring[middle]->step > after)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Of what memory has. NOT_FOUND: *oldest tells what it has. */
static enum leat_status ring_next(struct leat_live *live, const struct leat_live_table *table, uint64_t after_step, uint64_t *oldest,
                                  struct leat_live_changes *out) {
    enum leat_status st = LEAT_END;
    pthread_rwlock_rdlock(&live->lock);
    *oldest = content_of(live, table)->from_step;
    if (live->dropped_step > *oldest) *oldest = live->dropped_step;
    if (after_step < *oldest || after_step > live->now.step) st = LEAT_NOT_FOUND;
    for (size_t i = ring_find(live, after_step); i < live->ring_count && st == LEAT_END; i++) {
        struct leat_live_step *step = live->ring[i];
        for (size_t p = 0; p < step->part_count; p++) {
            if (step->parts[p].table != table->index) continue;
            atomic_fetch_add(&step->references, 1);
            *out = (struct leat_live_changes){step->step, step->clock_us, &step->parts[p].rows, step};
            st = LEAT_OK;
            break;
        }
    }
    pthread_rwlock_unlock(&live->lock);
    return st;
}

/* Of what is kept on disk. END: nothing up to *upto, which memory goes on from. */
static enum leat_status past_next(struct content *content, uint64_t after_step, uint64_t *upto, struct leat_live_changes *out, struct leat_error *err) {
    struct leat_live_step *step = leat_alloc(sizeof *step);
    atomic_init(&step->references, 1);
    step->parts = leat_alloc(sizeof *step->parts);
    step->part_count = 1;
    step->parts[0].table = content->table.index;
    leat_changes_init(&step->parts[0].rows, &content->table.schema);
    enum leat_status st = leat_past_read(content->past, after_step, upto, &step->clock_us, &step->parts[0].rows, err);
    step->step = *upto;
    if (st == LEAT_OK) *out = (struct leat_live_changes){step->step, step->clock_us, &step->parts[0].rows, step};
    else step_release(step);
    return st;
}

enum leat_status leat_live_next(struct leat_live *live, const struct leat_live_table *table, uint64_t after_step,
                                struct leat_live_changes *out, struct leat_error *err) {
    struct content *content = content_of(live, table);
    uint64_t at = after_step, oldest;
    enum leat_status st;
    *out = (struct leat_live_changes){0};
    while ((st = ring_next(live, table, at, &oldest, out)) == LEAT_NOT_FOUND) {
        uint64_t upto = at;
        if (at >= oldest || !content->past) break;
        st = past_next(content, at, &upto, out, err);
        if (st != LEAT_END || upto <= at) break;
        at = upto;
    }
    if (st == LEAT_OK || (st == LEAT_END && at >= oldest)) return st;
    return leat_fail(err, LEAT_LIMIT, "changes after step %llu of table \"%s\" are not at hand: memory has those after %llu up to %llu",
                     (unsigned long long)after_step, table->name, (unsigned long long)oldest, (unsigned long long)leat_live_now(live).step);
}

void leat_live_follow(struct leat_live *live, const struct leat_live_table *table) {
    atomic_fetch_add(&content_of(live, table)->followers, 1);
}

void leat_live_leave(struct leat_live *live, const struct leat_live_table *table) {
    atomic_store(&content_of(live, table)->left_step, leat_live_now(live).step);
    atomic_fetch_sub(&content_of(live, table)->followers, 1);
}

void leat_live_release(struct leat_live_changes *changes) {
    step_release(changes->held_by);
    *changes = (struct leat_live_changes){0};
}
