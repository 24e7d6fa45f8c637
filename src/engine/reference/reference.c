/* One reference source: when to look, what has changed, which version it is. See reference.h. */
#include "engine/reference/reference_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RETRY_DOUBLINGS_MAX = 8 };
static const int64_t RETRY_FIRST_US = 1000000, RETRY_MAX_US = 300000000;

static const char *const OWN_COLUMNS[] = {"_version", "_weight", "_at"};

static enum leat_status make_history_schema(struct leat_reference *r, struct leat_error *err) {
    static const enum leat_kind kinds[] = {LEAT_BIGINT, LEAT_INTEGER, LEAT_TIMESTAMP};
    leat_schema_copy(&r->history_schema, &r->def->schema);
    for (size_t i = 0; i < sizeof OWN_COLUMNS / sizeof *OWN_COLUMNS; i++) {
        if (leat_schema_find(&r->def->schema, OWN_COLUMNS[i]) >= 0)
            return leat_fail(err, LEAT_INVALID,
                             "column \"%s\": a reference source's history uses that name; rename the column",
                             OWN_COLUMNS[i]);
        leat_schema_add(&r->history_schema, OWN_COLUMNS[i], (struct leat_type){.kind = (uint8_t)kinds[i]}, true);
    }
    return LEAT_OK;
}

static void count_rows(struct leat_reference *r) {
    r->row_count = 0;
    for (size_t i = 0; i < r->current.row_count; i++)
        r->row_count += (uint64_t)leat_weight(&r->current, i);
}

enum leat_status leat_reference_open(struct leat_env *env, struct leat_conn *batch, const struct leat_source *def,
                                     const char *project_dir, const char *lake_dir, const char *scratch_dir,
                                     const char *incarnation, struct leat_reference **out, struct leat_error *err) {
    *out = NULL;
    struct leat_reference *r = leat_alloc(sizeof *r);
    r->env = env;
    r->batch = batch;
    r->def = def;
    r->project_dir = leat_strdup(project_dir);
    r->table_dir = leat_asprintf("%s/%s__history", lake_dir, def->name);
    r->scratch_dir = leat_strdup(scratch_dir);
    r->incarnation = leat_strdup(incarnation);
    r->input = leat_asprintf("leat reference %s", def->name);
    leat_changes_init(&r->current, &def->schema);
    leat_changes_init(&r->last, &def->schema);
    enum leat_status status = make_history_schema(r, err);
    if (!status) status = leat_reference_load(r, err);
    if (status) {
        leat_reference_close(r);
        return status;
    }
    count_rows(r);
    *out = r;
    return LEAT_OK;
}

void leat_reference_close(struct leat_reference *r) {
    if (!r) return;
    if (r->of) {
        free(r);
        return;
    }
    leat_reference_run(r, NULL, NULL);
    leat_conn_bind(r->batch, r->input, NULL);
    if (r->delta) leat_delta_close(r->delta);
    leat_delta_snapshot_deinit(&r->opened);
    leat_changes_deinit(&r->current);
    leat_changes_deinit(&r->last);
    leat_schema_deinit(&r->history_schema);
    leat_reference_files_deinit(&r->seen);
    free(r->problem);
    free(r->project_dir);
    free(r->table_dir);
    free(r->scratch_dir);
    free(r->incarnation);
    free(r->input);
    free(r);
}

/* The source is in trouble: say it once, keep the version, come back later. */
static void fail_softly(struct leat_reference *r, int64_t now_us, const struct leat_error *err) {
    int64_t pause = RETRY_FIRST_US << (r->failures < RETRY_DOUBLINGS_MAX ? r->failures : RETRY_DOUBLINGS_MAX);
    if (pause > RETRY_MAX_US) pause = RETRY_MAX_US;
    r->due_us = now_us + pause;
    r->failures++;
    if (!r->problem || strcmp(r->problem, err->text) != 0)
        leat_log(r->env, LEAT_LOG_WARN,
                 "source %s: %s; version %" PRIu64 " (%" PRIu64 " rows) stays until it can be read", r->def->name,
                 err->text, r->version, r->row_count);
    free(r->problem);
    r->problem = leat_strdup(err->text);
}

static void succeed(struct leat_reference *r, int64_t now_us) {
    r->due_us = r->def->refresh_us > 0 ? now_us + r->def->refresh_us : INT64_MAX;
    r->failures = 0;
    if (r->problem) leat_log(r->env, LEAT_LOG_INFO, "source %s: can be read again", r->def->name);
    free(r->problem);
    r->problem = NULL;
}

/* What leads from the present version to `rows`: disappearing rows first, so that a key is free before it is taken
 * again. */
static void compare(const struct leat_reference *r, const struct leat_changes *rows, struct leat_changes *diff) {
    struct leat_changes mixed;
    leat_changes_init(&mixed, &r->def->schema);
    leat_changes_append(&mixed, rows, NULL, rows->row_count, 1);
    leat_changes_append(&mixed, &r->current, NULL, r->current.row_count, -1);
    leat_changes_consolidate(&mixed);
    uint32_t *order = leat_alloc((mixed.row_count + 1) * sizeof *order);
    size_t n = 0;
    for (int positive = 0; positive < 2; positive++)
        for (size_t i = 0; i < mixed.row_count; i++)
            if ((leat_weight(&mixed, i) > 0) == positive) order[n++] = (uint32_t)i;
    leat_changes_append(diff, &mixed, order, n, 1);
    free(order);
    leat_changes_deinit(&mixed);
}

/* The files as they are now into `rows`; fails if they are touched meanwhile. */
static enum leat_status read_steadily(struct leat_reference *r, const struct leat_reference_files *files,
                                      struct leat_changes *rows, struct leat_error *err) {
    struct leat_reference_files after = {0};
    enum leat_status status = leat_reference_read(r, files, rows, err);
    if (status) return status;
    status = leat_reference_list(r, &after, err);
    if (!status && !leat_reference_same_files(files, &after))
        status = leat_fail(err, LEAT_BUSY, "its files changed while they were read");
    leat_reference_files_deinit(&after);
    return status;
}

/* Commits the differences, then takes `rows` as the present version. The first version is all of them, as they came. */
static enum leat_status take(struct leat_reference *r, struct leat_changes *rows, int64_t now_us, bool *changed,
                             struct leat_error *err) {
    struct leat_changes diff;
    leat_changes_init(&diff, &r->def->schema);
    if (r->version) compare(r, rows, &diff);
    const struct leat_changes *news = r->version ? &diff : rows;
    enum leat_status status = news->row_count ? leat_reference_append(r, news, now_us, err) : LEAT_OK;
    if (!status && news->row_count) {
        r->has_last = r->version > 0; /* version 1 is all of it: not worth holding twice */
        r->version++;
        leat_changes_swap(&r->current, rows);
        leat_changes_swap(&r->last, &diff);
        count_rows(r);
        *changed = true;
    }
    leat_changes_deinit(&diff);
    return status;
}

enum leat_status leat_reference_refresh(struct leat_reference *r, int64_t now_us, bool *changed,
                                        struct leat_error *err) {
    struct leat_reference_files files = {0};
    struct leat_changes rows;
    struct leat_error trouble = {0};
    *changed = false;
    if (r->of || (r->def->recording && r->version) || leat_reference_fetch(r)) return LEAT_OK;
    leat_changes_init(&rows, &r->def->schema);
    enum leat_status status = leat_reference_list(r, &files, &trouble);
    if (status) goto out;
    if (r->settled && !leat_reference_is_remote(r) && leat_reference_same_files(&r->seen, &files)) goto out;
    bool settled = leat_reference_are_settled(&files); /* judged before reading: what is written after that is seen */
    if ((status = read_steadily(r, &files, &rows, &trouble))) goto out;
    status = take(r, &rows, now_us, changed, &trouble);
    if (status && (trouble.fatal || !trouble.retriable)) {
        if (err) *err = trouble;
        leat_prepend(err, "history of source \"%s\"", r->def->name);
        goto failed;
    }
    if (status) goto out;
    r->settled = settled;
    leat_reference_files_deinit(&r->seen);
    r->seen = files;
    files = (struct leat_reference_files){0};
out:
    if (status && trouble.fatal) {
        if (err) *err = trouble;
        leat_prepend(err, "source \"%s\"", r->def->name);
        goto failed;
    }
    if (status == LEAT_CANCELLED)
        r->due_us = now_us;
    else if (status)
        fail_softly(r, now_us, &trouble);
    else
        succeed(r, now_us);
    status = LEAT_OK;
failed:
    leat_reference_files_deinit(&files);
    leat_changes_deinit(&rows);
    return status;
}

int64_t leat_reference_due_us(const struct leat_reference *r) {
    if (r->of) return INT64_MAX;
    if (r->def->recording && r->version) return INT64_MAX; /* a rehearsal: as it was recorded */
    if (leat_reference_fetching(r)) return INT64_MAX;
    return r->due_us;
}
const char *leat_reference_problem(const struct leat_reference *r) {
    return r->problem;
}
uint64_t leat_reference_version(const struct leat_reference *r) {
    return r->of ? r->of->version : r->version;
}
uint64_t leat_reference_rows(const struct leat_reference *r) {
    return r->row_count;
}
