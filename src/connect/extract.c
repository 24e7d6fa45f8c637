/* The connector of sources with a cursor; see extract.h.
 *
 * <state>/taken     identities; <state>/columns: of which columns (extract.h)
 * <state>/extracted with a cron: when the last pass was done, microseconds since 1970-01-01 UTC in decimal
 * The log's position is the greatest cursor taken, its sign bit turned. Partition 0. */
#include "connect/extract.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "connect/connector.h"
#include "connect/rows.h"
#include "schedule/cron.h"

#define PAUSE_MIN_US INT64_C(1000000)
#define PAUSE_MAX_US INT64_C(60000000)
#define KEEP_CONNECTION_US INT64_C(60000000)
#define SIGN (UINT64_C(1) << 63)
enum { PIECE_BYTES = 4 << 20, LOOK_ROWS = 100000 };

struct extract_source {
    struct leat_connector base;
    struct leat_env *env;
    const struct leat_source *def;
    const struct leat_database_ops *database;
    struct leat_database *rows; /* NULL: not connected */
    bool passing;           /* its statement has rows left */
    int cursor;
    struct leat_type type, asked; /* of the cursor; what a statement asks for, a DATE where times are texts */
    int64_t overlap, interval_us;
    struct leat_cron cron;
    bool has_cron, feed;
    char *extracted_path;
    size_t max_line_bytes;

    atomic_int halted;      /* waits for the database are given up */
    atomic_int up_to_date;  /* a pass was done since the start, or none was due; looked at from the engine's thread, too */
    int64_t due_us, pause_us; /* monotonic */
    int64_t began_us;         /* the pass under way, or the last one */
    int64_t done_us;          /* with a cron: when a pass was done of which the end is not durable yet; 0: none */
    bool unsynced;            /* records were given that are not durable */
    int64_t high, durable_high; /* the greatest cursor given; INT64_MIN: none */
    uint64_t next_offset, lost;
    struct leat_taken taken;
    struct leat_shapes shapes;
    struct leat_bytes *contents; /* of the row at hand: one more than shapes.count */
    struct leat_buffer former;
    struct leat_error problem; /* behind records that were given first; text empty: none */
    struct leat_buffer lines;
    uint32_t *starts, *ends;
    uint64_t *identities;
    size_t capacity;
};

static struct extract_source *self(struct leat_connector *c) {
    return (struct extract_source *)(void *)c;
}

static int64_t monotonic(const struct extract_source *s) {
    return s->env->clock->monotonic_us(s->env->clock);
}

/* ---- When ---- */

static void hang_up(struct extract_source *s) {
    if (s->rows) s->database->close(s->rows);
    s->rows = NULL;
    s->passing = false;
}

/* From now to the next time of the schedule behind `after_us`; 0: it is past. */
static int64_t until_due(const struct extract_source *s, int64_t after_us) {
    int64_t now = s->env->clock->now_us(s->env->clock), due = s->has_cron ? leat_cron_next(&s->cron, NULL, after_us) : after_us + s->interval_us;
    return due <= now ? 0 : due - now;
}

static enum leat_status write_done(struct extract_source *s, struct leat_error *err) {
    char text[32];
    int length = snprintf(text, sizeof text, "%" PRId64, s->done_us);
    if (!s->done_us) return LEAT_OK;
    s->done_us = 0;
    return leat_io_write_durable(s->env->io, s->extracted_path, text, (size_t)length, true, err);
}

/* records: it gave some just now. A pass is done when all it gave is durable: were it said before, a crash would put the rest off to the next time of the
 * schedule. */
static enum leat_status finish_pass(struct extract_source *s, bool records, struct leat_error *err) {
    int64_t now = s->env->clock->now_us(s->env->clock);
    s->passing = false;
    s->pause_us = PAUSE_MIN_US;
    s->due_us = monotonic(s) + until_due(s, now);
    s->up_to_date = true;
    if (s->has_cron || s->interval_us > KEEP_CONNECTION_US) hang_up(s);
    s->done_us = s->has_cron ? now : 0;
    return records || s->unsynced ? LEAT_OK : write_done(s, err);
}

static enum leat_status fail_pass(struct extract_source *s, enum leat_status st, struct leat_error *err) {
    hang_up(s);
    if (st == LEAT_CANCELLED) return LEAT_OK;
    s->due_us = monotonic(s) + s->pause_us;
    s->pause_us = s->pause_us * 2 < PAUSE_MAX_US ? s->pause_us * 2 : PAUSE_MAX_US;
    if (err && !err->fatal) err->retriable = true;
    return st;
}

/* ---- A pass ---- */

/* What is below can be given no more: exactly what a statement asks for, and not later than the pass under way has asked for. A cursor ahead of the clock
 * must not hide the rows before it. */
static int64_t low_end(const struct extract_source *s, int64_t high) {
    if (leat_cursor_is_time(s->type) && high > s->began_us) high = s->began_us;
    int64_t low = leat_cursor_floor(s->asked, high < INT64_MIN + s->overlap ? INT64_MIN : high - s->overlap);
    return low > s->taken.floor ? low : s->taken.floor;
}

static enum leat_status begin_pass(struct extract_source *s, struct leat_error *err) {
    struct leat_buffer from = {0};
    struct leat_rows_query query = {.cursor = s->cursor};
    s->began_us = s->env->clock->now_us(s->env->clock);
    enum leat_status st = s->rows ? LEAT_OK : s->database->open(s->def, &s->halted, &s->rows, err);
    s->asked = s->type;
    if (st == LEAT_OK && s->rows->times_are_text && leat_cursor_is_time(s->type)) s->asked.kind = LEAT_DATE;
    if (s->high != INT64_MIN) {
        leat_cursor_put(&from, s->asked, low_end(s, s->high));
        query.from = from.data;
    }
    if (st == LEAT_OK) st = s->rows->ops->begin(s->rows, &query, err);
    s->passing = st == LEAT_OK;
    leat_taken_begin_pass(&s->taken);
    leat_buffer_deinit(&from);
    return st;
}

/* Appends the row's line, of these columns; a longer one becomes one that is just too long: a dead letter with its beginning. */
static void put_line(struct leat_buffer *out, const struct extract_source *s, const struct leat_row_value *values, const int *columns, size_t count) {
    size_t from = out->length;
    leat_put(out, s->feed ? "{\"op\":\"r\",\"after\":" : "");
    leat_row_put_json(out, s->def, values, columns, count);
    leat_put(out, s->feed ? "}" : "");
    if (out->length - from > s->max_line_bytes + 1) out->length = from + s->max_line_bytes + 1;
}

/* What the row's line at `from` is, and what it was of the columns the source had when it may have been taken. How many. */
static size_t put_contents(struct extract_source *s, const struct leat_row_value *values, int64_t cursor, size_t from) {
    size_t count = 1;
    leat_buffer_reset(&s->former);
    for (size_t i = 0; i < s->shapes.count; i++) {
        const struct leat_shape *shape = &s->shapes.former[i];
        size_t begin = s->former.length;
        if (cursor > shape->until) continue;
        put_line(&s->former, s, values, shape->columns, shape->count);
        s->contents[count++] = (struct leat_bytes){NULL, s->former.length - begin};
    }
    s->contents[0] = (struct leat_bytes){s->lines.data + from, s->lines.length - from};
    const char *at = s->former.data;
    for (size_t i = 1; i < count; at += s->contents[i++].length) s->contents[i].data = at; /* the buffer moves no more */
    return count;
}

static void take_row(struct extract_source *s, const struct leat_row_value *values, struct leat_block *out) {
    size_t from = s->lines.length;
    int64_t cursor;
    uint64_t identity;
    const struct leat_row_value *at = &values[s->cursor];
    put_line(&s->lines, s, values, NULL, s->def->value_count);
    if (!at->data || !leat_cursor_parse(s->type, at->data, at->length, &cursor)) cursor = s->high; /* a dead letter */
    size_t count = put_contents(s, values, cursor, from);
    if (!leat_taken_add(&s->taken, s->contents, count, cursor, s->next_offset + out->record_count, &identity)) {
        s->lines.length = from;
        return;
    }
    if (cursor > s->high) s->high = cursor;
    if (out->record_count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 1024;
        s->starts = leat_realloc(s->starts, s->capacity * sizeof *s->starts);
        s->ends = leat_realloc(s->ends, s->capacity * sizeof *s->ends);
        s->identities = leat_realloc(s->identities, s->capacity * sizeof *s->identities);
    }
    s->starts[out->record_count] = (uint32_t)from;
    s->ends[out->record_count] = (uint32_t)s->lines.length;
    s->identities[out->record_count++] = identity;
    leat_put(&s->lines, "\n");
}

/* New rows, up to a block of them; END: there are no more. OK without records: there was much to look at. */
static enum leat_status take_rows(struct extract_source *s, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t looked = 0; st == LEAT_OK && looked < LOOK_ROWS && s->lines.length < max_bytes; looked++) {
        const struct leat_row_value *values;
        st = s->rows->ops->next(s->rows, &values, err);
        if (st == LEAT_OK) take_row(s, values, out);
    }
    return st;
}

static void finish_block(struct extract_source *s, struct leat_block *out) {
    out->payload_bytes = s->lines.length;
    for (int i = 0; i < LEAT_PAYLOAD_SLACK; i++) leat_putn(&s->lines, "", 1);
    out->payload = s->lines.data;
    out->starts = s->starts;
    out->ends = s->ends;
    out->identities = s->identities;
    out->position = (uint64_t)s->high ^ SIGN;
    s->next_offset += out->record_count;
    s->unsynced = true;
}

static enum leat_status extract_poll(struct leat_connector *c, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct extract_source *s = self(c);
    enum leat_status st = LEAT_OK;
    *out = (struct leat_block){.base_offset = s->next_offset};
    if (s->problem.status != LEAT_OK) {
        st = s->problem.status;
        *err = s->problem;
        s->problem = (struct leat_error){0};
        return st;
    }
    if (!s->passing && monotonic(s) < s->due_us) return LEAT_END;
    leat_buffer_reset(&s->lines);
    if (!s->passing) st = begin_pass(s, err);
    if (st == LEAT_OK) st = leat_taken_forget(&s->taken, low_end(s, s->durable_high), err);
    if (st == LEAT_OK) st = leat_shapes_forget(&s->shapes, low_end(s, s->durable_high), err);
    if (st == LEAT_OK) st = take_rows(s, max_bytes < PIECE_BYTES ? max_bytes : PIECE_BYTES, out, err);
    if (st == LEAT_END) st = finish_pass(s, out->record_count > 0, err);
    if (st != LEAT_OK) st = fail_pass(s, st, err);
    if (!out->record_count) return st == LEAT_OK ? LEAT_END : st;
    if (st != LEAT_OK) s->problem = *err; /* the rows first */
    finish_block(s, out);
    return LEAT_OK;
}

static enum leat_status extract_sync(struct leat_connector *c, struct leat_error *err) {
    return leat_taken_sync(&self(c)->taken, err);
}

static void extract_synced(struct leat_connector *c) {
    struct extract_source *s = self(c);
    struct leat_error err;
    s->durable_high = s->high;
    s->unsynced = false;
    if (write_done(s, &err) != LEAT_OK) leat_log(s->env, LEAT_LOG_WARN, "source %s: %s", s->def->name, err.text);
}

/* ---- Opening ---- */

static void extract_close(struct leat_connector *c) {
    struct extract_source *s = self(c);
    hang_up(s);
    leat_taken_close(&s->taken);
    leat_shapes_close(&s->shapes);
    leat_buffer_deinit(&s->lines);
    leat_buffer_deinit(&s->former);
    free(s->contents);
    free(s->starts);
    free(s->ends);
    free(s->identities);
    free(s->extracted_path);
    free(s);
}

/* With a cron, a restart does not ask before its time. */
static enum leat_status read_extracted(struct extract_source *s, struct leat_error *err) {
    struct leat_buffer text = {0};
    int64_t last;
    enum leat_status st = leat_io_read_all(s->env->io, s->extracted_path, LEAT_KIB, &text, err);
    if (st == LEAT_OK && text.length && sscanf(text.data, "%" SCNd64, &last) == 1) {
        int64_t left = until_due(s, last);
        s->due_us = monotonic(s) + left;
        s->up_to_date = left > 0;
    }
    leat_buffer_deinit(&text);
    return st == LEAT_NOT_FOUND ? LEAT_OK : st;
}

static void resume_from(struct extract_source *s, const struct leat_log_end *end) {
    s->next_offset = end->next_offset;
    if (end->position) s->high = (int64_t)(end->position ^ SIGN);
    else s->lost = end->next_offset; /* a work folder that is new to the lake: bronze says */
}

static enum leat_status open_shapes(struct extract_source *s, const char *state_dir, struct leat_error *err) {
    const char **names = leat_alloc((s->def->value_count + 1) * sizeof *names);
    char *path = leat_asprintf("%s/columns", state_dir);
    for (size_t i = 0; i < s->def->value_count; i++) names[i] = leat_source_column(s->def, i);
    enum leat_status st = leat_shapes_open(&s->shapes, s->env, path, names, s->def->value_count, s->high, err);
    s->contents = leat_alloc((s->shapes.count + 1) * sizeof *s->contents);
    free(path);
    free(names);
    return st;
}

static enum leat_status extract_open(struct leat_env *env, const struct leat_source *def, const char *project_dir, const char *state_dir,
                                     const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    struct extract_source *s = leat_alloc(sizeof *s);
    const char *cron = leat_source_option(def, "cron");
    (void)project_dir;
    s->base.ops = &leat_connector_extract;
    s->env = env;
    s->def = def;
    s->database = leat_database_find(def->connector);
    s->cursor = leat_schema_find(&def->schema, leat_source_option(def, "cursor"));
    s->type = s->asked = def->schema.fields[s->cursor].type;
    s->overlap = leat_source_option_int(def, leat_cursor_is_time(s->type) ? "overlap" : "overlap_values", 0);
    s->interval_us = leat_source_option_int(def, "poll_interval", 60000000);
    s->has_cron = cron != NULL;
    s->feed = def->feed != LEAT_FEED_NONE;
    s->max_line_bytes = (size_t)leat_source_option_int(def, "max_line_bytes", (int64_t)LEAT_MIB);
    s->pause_us = PAUSE_MIN_US;
    s->high = INT64_MIN;
    s->extracted_path = leat_asprintf("%s/extracted", state_dir);
    char *taken = leat_asprintf("%s/taken", state_dir);
    if (resume_count) resume_from(s, &resume[0]);
    s->durable_high = s->high;
    enum leat_status st = cron ? leat_cron_parse(cron, &s->cron, err) : LEAT_OK;
    if (st == LEAT_OK) st = leat_io_mkdirs(env->io, state_dir, err);
    if (st == LEAT_OK && cron) st = read_extracted(s, err);
    if (st == LEAT_OK) st = leat_taken_open(&s->taken, env, taken, s->next_offset, err);
    if (st == LEAT_OK) st = open_shapes(s, state_dir, err);
    free(taken);
    if (st != LEAT_OK) extract_close(&s->base);
    else *out = &s->base;
    return st;
}

static void extract_halt(struct leat_connector *c, bool halted) {
    atomic_store(&self(c)->halted, halted);
}

static bool extract_finished(struct leat_connector *c) {
    (void)c;
    return false;
}

static bool extract_behind(struct leat_connector *c) {
    return !self(c)->up_to_date;
}

static bool extract_caught_up(struct leat_connector *c) {
    const struct extract_source *s = self(c);
    return s->up_to_date && !s->passing && s->pause_us == PAUSE_MIN_US;
}

static int64_t extract_next_poll_us(struct leat_connector *c) {
    const struct extract_source *s = self(c);
    int64_t left = s->due_us - monotonic(s);
    return s->passing || s->problem.status != LEAT_OK || left < 0 ? 0 : left;
}

static int extract_wake_fd(struct leat_connector *c) {
    (void)c;
    return -1;
}

static bool extract_recall(struct leat_connector *c, int *column, int64_t *span) {
    const struct extract_source *s = self(c);
    *column = s->cursor;
    struct leat_type coarsest = leat_cursor_is_time(s->type) ? (struct leat_type){.kind = LEAT_DATE} : s->type;
    *span = s->overlap - leat_cursor_floor(coarsest, -1); /* a statement asks from what is rounded down */
    return s->lost > 0;
}

static void extract_recalled(struct leat_connector *c, uint64_t identity, int64_t value) {
    struct extract_source *s = self(c);
    leat_taken_recall(&s->taken, identity, value);
    if (value > s->high) s->high = s->durable_high = value;
}

const struct leat_connector_ops leat_connector_extract = {
    .name = "extract",
    .open = extract_open,
    .poll = extract_poll,
    .sync = extract_sync,
    .synced = extract_synced,
    .finished = extract_finished,
    .caught_up = extract_caught_up,
    .behind = extract_behind,
    .next_poll_us = extract_next_poll_us,
    .wake_fd = extract_wake_fd,
    .close = extract_close,
    .halt = extract_halt,
    .recall = extract_recall,
    .recalled = extract_recalled,
    .prompt = true,
};
