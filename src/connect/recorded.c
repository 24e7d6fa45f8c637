#include "connect/recorded.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

struct head {
    int64_t time_us;
    uint32_t partition, length;
};
_Static_assert(sizeof(struct head) == 16, "as documented");

/* ---- writing ----------------------------------------------------------------------------------------------------------- */

enum { WRITE_BYTES = 1 << 20, READ_BYTES = 1 << 20, RECORDS_MAX = 1 << 17 };

struct leat_recorder {
    struct leat_env *env;
    struct leat_file *file;
    struct leat_buffer waiting;
    int64_t last_us;
};

enum leat_status leat_recorder_open(struct leat_env *env, const char *path, struct leat_recorder **out, struct leat_error *err) {
    struct leat_recorder *r = leat_alloc(sizeof *r);
    r->env = env;
    r->last_us = INT64_MIN;
    enum leat_status st = env->io->ops->open(env->io, path, LEAT_OPEN_TRUNCATE, &r->file, err);
    if (st != LEAT_OK) {
        free(r);
        r = NULL;
    }
    *out = r;
    return st;
}

enum leat_status leat_recorder_finish(struct leat_recorder *r, struct leat_error *err) {
    enum leat_status st = r->waiting.length ? r->env->io->ops->write(r->file, r->waiting.data, r->waiting.length, err) : LEAT_OK;
    if (st == LEAT_OK) leat_buffer_reset(&r->waiting);
    return st;
}

enum leat_status leat_recorder_add(struct leat_recorder *r, int64_t time_us, uint32_t partition, const char *text, size_t length,
                                   struct leat_error *err) {
    const struct head head = {time_us, partition, (uint32_t)length};
    if (time_us < r->last_us) return leat_fail(err, LEAT_INVALID, "recorded input goes back in time");
    if (length > LEAT_RECORD_BYTES_MAX) return leat_fail(err, LEAT_LIMIT, "a recorded record has %zu bytes", length);
    r->last_us = time_us;
    leat_putn(&r->waiting, (const char *)&head, sizeof head);
    leat_putn(&r->waiting, text, length);
    return r->waiting.length >= WRITE_BYTES ? leat_recorder_finish(r, err) : LEAT_OK;
}

void leat_recorder_close(struct leat_recorder *r) {
    if (!r) return;
    r->env->io->ops->close(r->file);
    leat_buffer_deinit(&r->waiting);
    free(r);
}

/* ---- the connector ----------------------------------------------------------------------------------------------------- */

struct recorded {
    struct leat_connector base;
    struct leat_env *env;
    struct leat_recording *recording;
    struct leat_file *file;
    struct leat_buffer window;  /* bytes of the file from `at` on */
    uint64_t at;                /* of the window's first byte that is not taken */
    size_t taken;               /* bytes of the window before it */
    struct head next;           /* peeked; recording->next_us says whether there is one */
    struct leat_log_end *ends;  /* per partition: next_offset */
    size_t end_count;
    struct leat_buffer payload; /* of the block given */
    uint32_t *starts, *stops;
};

static struct recorded *self(struct leat_connector *connector) {
    return (struct recorded *)connector;
}

/* At least `bytes` from the window's position on; *there: how many there are. */
static enum leat_status fill(struct recorded *r, size_t bytes, size_t *there, struct leat_error *err) {
    *there = r->window.length - r->taken;
    if (*there >= bytes) return LEAT_OK;
    if (r->taken) {
        memmove(r->window.data, r->window.data + r->taken, *there);
        r->window.length = *there;
        r->taken = 0;
    }
    size_t want = bytes > READ_BYTES ? bytes : READ_BYTES;
    enum leat_status st = leat_buffer_reserve(&r->window, want, err);
    while (st == LEAT_OK && *there < bytes) {
        size_t got = 0;
        st = r->env->io->ops->read_at(r->file, r->at + *there, r->window.data + *there, want - *there, &got, err);
        if (st != LEAT_OK || got == 0) break;
        *there += got;
        r->window.length = *there;
    }
    return st;
}

static enum leat_status peek(struct recorded *r, struct leat_error *err) {
    size_t there;
    r->recording->next_us = INT64_MAX;
    enum leat_status st = fill(r, sizeof r->next, &there, err);
    if (st != LEAT_OK || there == 0) return st;
    if (there < sizeof r->next) return leat_fail(err, LEAT_CORRUPT, "%s ends within a record", r->recording->path);
    memcpy(&r->next, r->window.data + r->taken, sizeof r->next);
    st = fill(r, sizeof r->next + r->next.length, &there, err);
    if (st != LEAT_OK) return st;
    if (there < sizeof r->next + r->next.length) return leat_fail(err, LEAT_CORRUPT, "%s ends within a record", r->recording->path);
    r->recording->next_us = r->next.time_us;
    return LEAT_OK;
}

static struct leat_log_end *end_of(struct recorded *r, uint32_t partition) {
    for (size_t i = 0; i < r->end_count; i++)
        if (r->ends[i].partition == partition) return &r->ends[i];
    r->ends = leat_realloc(r->ends, (r->end_count + 1) * sizeof *r->ends);
    r->ends[r->end_count] = (struct leat_log_end){.partition = partition};
    return &r->ends[r->end_count++];
}

static void recorded_close(struct leat_connector *connector) {
    struct recorded *r = self(connector);
    if (r->file) r->env->io->ops->close(r->file);
    leat_buffer_deinit(&r->window);
    leat_buffer_deinit(&r->payload);
    free(r->ends);
    free(r->starts);
    free(r->stops);
    free(r);
}

static enum leat_status recorded_open(struct leat_env *env, const struct leat_source *source, const char *project_dir, const char *state_dir,
                                      const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    struct recorded *r = leat_alloc(sizeof *r);
    (void)project_dir, (void)state_dir;
    *out = NULL;
    r->base.ops = &leat_connector_recorded;
    r->env = env;
    r->recording = source->recording;
    for (size_t i = 0; i < resume_count; i++) { /* the file is one sequence: the furthest end is where it was left */
        end_of(r, resume[i].partition)->next_offset = resume[i].next_offset;
        if (resume[i].position > r->at) r->at = resume[i].position;
    }
    r->starts = leat_alloc(RECORDS_MAX * sizeof *r->starts);
    r->stops = leat_alloc(RECORDS_MAX * sizeof *r->stops);
    enum leat_status st = LEAT_OK;
    if (r->recording->path) st = env->io->ops->open(env->io, r->recording->path, LEAT_OPEN_READ, &r->file, err);
    if (r->file) st = peek(r, err);
    if (st != LEAT_OK) {
        recorded_close(&r->base);
        return st;
    }
    *out = &r->base;
    return LEAT_OK;
}

static enum leat_status recorded_poll(struct leat_connector *connector, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct recorded *r = self(connector);
    int64_t now = r->env->clock->now_us(r->env->clock);
    uint32_t count = 0;
    if (r->recording->next_us == INT64_MAX || r->recording->next_us > now) {
        r->recording->awake = false;
        return LEAT_END;
    }
    r->recording->wakes += !r->recording->awake;
    r->recording->awake = true;
    struct leat_log_end *end = end_of(r, r->next.partition);
    leat_buffer_reset(&r->payload);
    while (count < RECORDS_MAX && r->recording->next_us <= now && r->next.partition == end->partition &&
           (count == 0 || r->payload.length + r->next.length < max_bytes)) {
        size_t bytes = sizeof r->next + r->next.length;
        r->starts[count] = (uint32_t)r->payload.length;
        leat_putn(&r->payload, r->window.data + r->taken + sizeof r->next, r->next.length);
        r->stops[count++] = (uint32_t)r->payload.length;
        leat_putn(&r->payload, "\n", 1);
        r->taken += bytes;
        r->at += bytes;
        enum leat_status st = peek(r, err);
        if (st != LEAT_OK) return st;
        if (r->recording->next_us == INT64_MAX) break;
    }
    size_t length = r->payload.length;
    static const char slack[LEAT_PAYLOAD_SLACK];
    leat_putn(&r->payload, slack, sizeof slack);
    *out = (struct leat_block){.partition = end->partition, .base_offset = end->next_offset, .record_count = count, .position = r->at,
                               .payload = r->payload.data, .starts = r->starts, .ends = r->stops, .payload_bytes = length};
    end->next_offset += count;
    r->recording->records += count;
    return LEAT_OK;
}

static bool recorded_finished(struct leat_connector *connector) {
    (void)connector;
    return false; /* more would have come: windows stay open */
}

static bool recorded_caught_up(struct leat_connector *connector) {
    (void)connector;
    return true;
}

static int64_t recorded_next_poll_us(struct leat_connector *connector) {
    (void)connector;
    return -1;
}

static int recorded_wake_fd(struct leat_connector *connector) {
    (void)connector;
    return LEAT_RECORDED_TOKEN;
}

const struct leat_connector_ops leat_connector_recorded = {
    .name = "recorded",
    .open = recorded_open,
    .poll = recorded_poll,
    .finished = recorded_finished,
    .caught_up = recorded_caught_up,
    .next_poll_us = recorded_next_poll_us,
    .wake_fd = recorded_wake_fd,
    .close = recorded_close,
};
