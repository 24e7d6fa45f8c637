/* Dead letters of sinks: from the outbox, where they are durable first, to the lake (lake/dead/SINK). */
#include <stdlib.h>
#include <string.h>

#include "data/utf8.h"
#include "engine/tell/effects.h"
#include "engine/tell/tell.h"

static const struct leat_type T_BIGINT = {LEAT_BIGINT, 0, 0}, T_TIMESTAMP = {LEAT_TIMESTAMP, 0, 0}, T_VARCHAR = {LEAT_VARCHAR, 0, 0};

static void make_schema(struct leat_schema *schema) {
    leat_schema_add(schema, "at", T_TIMESTAMP, false);
    leat_schema_add(schema, "sequence", T_BIGINT, false);
    leat_schema_add(schema, "kind", T_VARCHAR, false);
    leat_schema_add(schema, "reason", T_VARCHAR, false);
    leat_schema_add(schema, "payload", T_VARCHAR, false);
}

static char *app_id(const struct leat_effects *e) {
    return leat_asprintf("%s/%s/sink", e->engine->incarnation, e->def->name);
}

static char *dead_dir(const struct leat_effects *e) {
    return leat_asprintf("%s/dead/%s", e->engine->lake_dir, e->def->name);
}

static enum leat_status open_table(struct leat_effects *e, struct leat_error *err) {
    struct leat_engine *engine = e->engine;
    char *dir = dead_dir(e), *name = leat_asprintf("%s__dead", e->def->name), *id = app_id(e);
    if (!e->dead_schema.field_count) make_schema(&e->dead_schema);
    const struct leat_delta_options options = {.name = name, .schema = &e->dead_schema};
    enum leat_status st = leat_delta_open(engine->env, engine->batch_conn, dir, engine->scratch_dir, &options, &e->dead, err);
    if (st == LEAT_OK) {
        int64_t kept = leat_delta_txn_version(leat_delta_current(e->dead), id);
        e->dead_kept = kept < 0 ? 0 : (uint64_t)kept;
    }
    free(dir);
    free(name);
    free(id);
    return st;
}

static void put_text(struct leat_changes *rows, size_t column, const char *text, size_t length) {
    ((struct leat_string *)rows->columns[column].data)[rows->row_count] =
        leat_string_of(leat_arena_copy(&rows->strings, text, length), (uint32_t)length);
}

static enum leat_status add_letter(void *context, const struct leat_dead_letter *letter, struct leat_error *err) {
    struct leat_changes *rows = context;
    const char *kind = leat_effect_kind_name(letter->kind);
    (void)err;
    leat_changes_reserve(rows, rows->row_count + 1);
    ((int64_t *)rows->columns[0].data)[rows->row_count] = letter->at_us;
    ((int64_t *)rows->columns[1].data)[rows->row_count] = (int64_t)letter->sequence;
    put_text(rows, 2, kind, strlen(kind));
    put_text(rows, 3, letter->reason, strlen(letter->reason));
    put_text(rows, 4, letter->payload, letter->payload_bytes);
    rows->row_count++;
    return LEAT_OK;
}

static enum leat_status commit(struct leat_effects *e, const struct leat_changes *rows, uint64_t next, struct leat_error *err) {
    char *id = app_id(e);
    const struct leat_delta_txn txn = {id, (int64_t)next};
    const struct leat_delta_commit_info info = {.operation = "WRITE", .txns = &txn, .txn_count = 1};
    enum leat_status st = leat_delta_append_rows(e->dead, rows, 1, &info, NULL, err);
    free(id);
    return st;
}

/* The reasons and payloads are other people's bytes. */
static void make_text(struct leat_changes *rows) {
    for (size_t c = 3; c < 5; c++)
        for (size_t i = 0; i < rows->row_count; i++) {
            struct leat_string *s = &((struct leat_string *)rows->columns[c].data)[i];
            struct leat_buffer text = {0};
            if (leat_utf8_prefix(leat_string_data(s), s->length) == s->length) continue;
            leat_put_json_string(&text, leat_string_data(s), s->length); /* what is no text becomes U+FFFD */
            *s = leat_string_of(leat_arena_copy(&rows->strings, text.data, text.length), (uint32_t)text.length);
            leat_buffer_deinit(&text);
        }
}

static enum leat_status keep(struct leat_effects *e, struct leat_error *err) {
    struct leat_outbox_stats stats;
    struct leat_changes rows;
    uint64_t next;
    enum leat_status st;
    leat_outbox_stats(e->outbox, &stats);
    if (stats.dead == 0 || (e->dead && stats.dead == e->dead_kept)) return LEAT_OK;
    if (!e->dead && (st = open_table(e, err)) != LEAT_OK) return st;
    leat_changes_init(&rows, &e->dead_schema);
    st = leat_outbox_dead(e->outbox, e->dead_kept, add_letter, &rows, &next, err);
    make_text(&rows);
    if (st == LEAT_OK && rows.row_count) st = commit(e, &rows, next, err);
    if (st == LEAT_OK) e->dead_kept = next;
    if (st == LEAT_OK) st = leat_outbox_trim_dead(e->outbox, next, err);
    leat_changes_deinit(&rows);
    return st;
}

enum leat_status leat_effects_keep_dead(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++)
        if ((st = keep(&engine->effects[i], err)) != LEAT_OK) leat_prepend(err, "dead letters of sink \"%s\"", engine->effects[i].def->name);
    return st;
}

void leat_effects_close_dead(struct leat_effects *e) {
    if (e->dead) leat_delta_close(e->dead);
    leat_schema_deinit(&e->dead_schema);
}

/* For leat sql, also of another process: what the lake has. False: nothing. */
enum leat_status leat_effects_dead_select(struct leat_engine *engine, const struct leat_sink_def *def, struct leat_buffer *sql, bool *there,
                                          struct leat_error *err) {
    char *dir = leat_asprintf("%s/dead/%s", engine->lake_dir, def->name);
    struct leat_delta_snapshot snapshot = {0};
    enum leat_status st = leat_delta_snapshot(engine->env, engine->batch_conn, dir, -1, &snapshot, err);
    *there = st == LEAT_OK && snapshot.version >= 0;
    if (*there) leat_delta_select(dir, &snapshot, NULL, NULL, sql);
    if (st == LEAT_OK) leat_delta_snapshot_deinit(&snapshot);
    free(dir);
    return st;
}
