#include "schedule/zone.h"

#include "base/options.h"
#include "schedule/civil.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FIRST_YEAR 2000
#define LAST_YEAR 2100

/* From second `from_s` on, until the next change, the zone is offset_s ahead of UTC. */
struct change {
    int64_t from_s;
    int32_t offset_s;
};
struct zone {
    struct leat_zone zone; /* first: a leat_zone is what callers see */
    struct zone *next;
    char *name;
    struct change *changes; /* ascending; [0] holds for all earlier times too */
    size_t change_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct zone *zones; /* kept for the process: a few kilobytes each, and there are few */

static int offset_at(struct leat_zone *zone, int64_t utc_s) {
    const struct zone *z = zone->context;
    size_t low = 0, high = z->change_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (z->changes[middle].from_s <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return z->changes[low].offset_s;
}

/* Text of a query for the offsets at from, from + step, ... below to: rows (second, offset), where the offset differs from the
 * row before. The first row is always there. */
static char *changes_query(const char *name, const char *instants) {
    struct leat_buffer zone = {0};
    leat_put_sql_string(&zone, name);
    char *sql = leat_asprintf("SELECT s::BIGINT, o::BIGINT FROM (SELECT s, o, lag(o) OVER (ORDER BY s) AS p FROM "
                              "(SELECT s, (epoch_us(timezone(%s, make_timestamptz(s * 1000000))) // 1000000) - s AS o FROM (%s))) "
                              "WHERE p IS NULL OR p <> o ORDER BY s",
                              zone.data, instants);
    leat_buffer_deinit(&zone);
    return sql;
}

static enum leat_status run_changes(struct leat_conn *conn, const char *name, const char *instants, struct zone *out,
                                    struct leat_error *err) {
    char *sql = changes_query(name, instants);
    struct leat_result result;
    enum leat_status status = leat_conn_query(conn, sql, &result, err);
    free(sql);
    if (status != LEAT_OK)
        return status;
    const int64_t *seconds = result.rows.columns[0].data, *offsets = result.rows.columns[1].data;
    out->change_count = result.rows.row_count;
    out->changes = leat_realloc(out->changes, (out->change_count + 1) * sizeof *out->changes);
    for (size_t i = 0; i < out->change_count; i++)
        out->changes[i] = (struct change){.from_s = seconds[i], .offset_s = (int32_t)offsets[i]};
    leat_result_deinit(&result);
    return LEAT_OK;
}

/* Instants at distance `step` that end at each change and begin `span` before it: the next finer look. */
static char *finer_instants(const struct zone *z, int64_t span, int64_t step) {
    struct leat_buffer out = {0};
    leat_putf(&out, "SELECT %" PRId64 "::BIGINT AS s", z->changes[0].from_s);
    leat_put(&out, " UNION SELECT c.s - r.i FROM (VALUES (NULL::BIGINT)");
    for (size_t i = 1; i < z->change_count; i++)
        leat_putf(&out, ", (%" PRId64 ")", z->changes[i].from_s);
    leat_putf(&out, ") c(s), range(0, %" PRId64 ", %" PRId64 ") r(i) WHERE c.s IS NOT NULL", span + 1, step);
    return out.data;
}

/* Days, then hours of the days on which something changed, then minutes, then seconds. */
static enum leat_status compute(struct leat_conn *conn, struct zone *z, struct leat_error *err) {
    static const int64_t spans[] = {86400, 3600, 60}, steps[] = {3600, 60, 1};
    char *instants = leat_asprintf("SELECT range AS s FROM range(%" PRId64 ", %" PRId64 ", 86400)",
                                   leat_civil_days(FIRST_YEAR, 1, 1) * 86400, leat_civil_days(LAST_YEAR, 1, 1) * 86400);
    enum leat_status status = run_changes(conn, z->name, instants, z, err);
    free(instants);
    for (size_t i = 0; i < 3 && status == LEAT_OK; i++) {
        instants = finer_instants(z, spans[i], steps[i]);
        status = run_changes(conn, z->name, instants, z, err);
        free(instants);
    }
    return status;
}

/* The zone's name as ICU spells it; INVALID with the nearest for one that it does not have. */
static enum leat_status check_name(struct leat_conn *conn, const char *name, char **out, struct leat_error *err) {
    struct leat_result result;
    *out = NULL;
    enum leat_status status = leat_conn_query(conn, "SELECT name FROM pg_timezone_names() ORDER BY name", &result, err);
    if (status != LEAT_OK)
        return status;
    size_t count = result.rows.row_count;
    const struct leat_string *strings = result.rows.columns[0].data;
    char **names = leat_alloc((count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        names[i] = leat_strndup(leat_string_data(&strings[i]), strings[i].length);
        if (strcasecmp(names[i], name) == 0)
            *out = leat_strdup(names[i]);
    }
    if (!*out) {
        const char *nearest = leat_nearest(name, (const char *const *)names, count);
        /* "Berlin" is not near to "Europe/Berlin" by letters */
        for (size_t i = 0; i < count && !nearest; i++) {
            const char *slash = strrchr(names[i], '/');
            if (slash && strcasecmp(slash + 1, name) == 0)
                nearest = names[i];
        }
        status = leat_fail(err, LEAT_INVALID, "there is no time zone '%.60s'; %s%s%s", name, nearest ? "did you mean '" : "",
                           nearest ? nearest : "write an IANA name such as 'Europe/Berlin'", nearest ? "'?" : "");
    }
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    leat_result_deinit(&result);
    return status;
}

enum leat_status leat_zone_load(struct leat_conn *conn, const char *name, struct leat_zone **out, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    *out = NULL;
    pthread_mutex_lock(&lock);
    struct zone *z = zones;
    while (z && strcasecmp(z->name, name) != 0)
        z = z->next;
    if (!z) {
        z = leat_alloc(sizeof *z);
        z->zone = (struct leat_zone){.offset_at = offset_at, .context = z};
        status = check_name(conn, name, &z->name, err);
        if (status == LEAT_OK)
            status = compute(conn, z, err);
        if (status == LEAT_OK) {
            z->next = zones;
            zones = z;
        } else {
            free(z->name);
            free(z->changes);
            free(z);
            z = NULL;
        }
    }
    if (z)
        *out = &z->zone;
    pthread_mutex_unlock(&lock);
    return status;
}

struct leat_zone *leat_zone_find(struct leat_conn *conn, const char *name) {
    struct leat_zone *zone;
    return leat_zone_load(conn, name, &zone, NULL) == LEAT_OK ? zone : NULL;
}
