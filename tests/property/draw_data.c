/* Draws data: NULLs, duplicates, ties, disorder, lateness, malformed records, hostile floats and decimals, reference changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "property.h"

static const char *const DOUBLES[] = {"0.1", "-0.1", "1e308", "-1e308", "5e-324", "-0.0", "0.0", "3.3333333333333335", "1e16", "-1e16", "1", "2.5", "123456789.125"};
static const char *const DECIMALS[] = {"0.01", "-0.01", "0", "99999999.99", "-99999999.99", "12.5", "7", "1.10", "3.33"};
static const char *const STRINGS[] = {"a", "b", "A", "", "longer than twelve bytes", "longer than twelve bytes!", "\\u00e4", "x y", "1", "-7", "NaN"};

static const char HUGE_DECIMAL[] = "499999999999999999999999999999999999.99"; /* three of them overflow a DECIMAL(38,2) */

#define PICK(r, list) (list)[prop_below(r, sizeof(list) / sizeof *(list))]

static void put_time(struct leat_buffer *b, bool old, int64_t second) {
    time_t at = (time_t)((old ? -120 : 1772323200) + second);
    struct tm tm;
    char text[32];
    gmtime_r(&at, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    leat_putf(b, "\"%s\"", text);
}

static char *draw_record(struct leat_random *r, const struct prop_case *c, int64_t now, unsigned disorder, unsigned keys) {
    struct leat_buffer b = {0};
    int64_t second = now - (prop_chance(r, disorder) ? (int64_t)prop_below(r, 400) : (int64_t)prop_below(r, 20));
    if (second < 0) second = 0;
    if (prop_chance(r, 2)) {
        leat_put(&b, prop_chance(r, 50) ? "{\"id\":\"broken" : "{\"id\":\"x\",\"k\":\"not a number\",\"ts\":\"2026-03-01\"}");
        return b.data;
    }
    leat_putf(&b, "{\"id\":\"e%llu\"", (unsigned long long)prop_below(r, keys * 4));
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"k\":%lld", (long long)prop_below(r, keys) - 1);
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"s\":\"%s\"", PICK(r, STRINGS));
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"v\":%lld", prop_chance(r, 3) ? 9223372036854775807LL : (long long)prop_below(r, 9) - 4);
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"d\":%s", PICK(r, DECIMALS));
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"f\":%s", PICK(r, DOUBLES));
    if (!prop_chance(r, 10)) leat_putf(&b, ",\"b\":%s", prop_chance(r, 50) ? "true" : "false");
    if (!prop_chance(r, 20)) leat_putf(&b, ",\"w\":%s", c->huge && prop_chance(r, 30) ? HUGE_DECIMAL : PICK(r, DECIMALS));
    if (!prop_chance(r, 2)) {
        leat_put(&b, ",\"ts\":");
        put_time(&b, c->old_times, second);
    }
    leat_put(&b, "}");
    return b.data;
}

static char *draw_reference(struct leat_random *r, unsigned keys) {
    struct leat_buffer b = {0};
    leat_put(&b, "k,cat,price\n");
    for (unsigned k = 0; k < keys; k++) {
        if (prop_chance(r, 20)) continue;
        leat_putf(&b, "%u,%s,%s\n", k, prop_chance(r, 10) ? "" : prop_chance(r, 50) ? "red" : "blue", PICK(r, DECIMALS));
    }
    return b.data;
}

void prop_draw_data(struct prop_case *c, struct leat_random *r) {
    unsigned keys = (unsigned)(1 + prop_below(r, 8)), disorder = (unsigned)prop_below(r, 40);
    int64_t now = 0;
    c->round_count = 1 + prop_below(r, prop_chance(r, 20) ? ROUNDS_MAX : 4);
    for (size_t i = 0; i < c->round_count; i++) {
        size_t n = prop_below(r, prop_chance(r, 10) ? 300 : 40);
        c->rounds[i].lines = leat_alloc((n + 1) * sizeof(char *));
        for (size_t k = 0; k < n; k++) {
            now += (int64_t)prop_below(r, 12);
            bool again = k && prop_chance(r, 5);
            c->rounds[i].lines[k] = again ? leat_strdup(c->rounds[i].lines[prop_below(r, k)]) : draw_record(r, c, now, disorder, keys);
        }
        c->rounds[i].count = n;
        if (i == 0 || prop_chance(r, 40)) c->references[i] = draw_reference(r, keys);
        c->step_rows[i] = prop_chance(r, 30) ? 1000000 : 1 + prop_below(r, 25);
        c->restart[i] = prop_chance(r, 30);
        c->checkpoint[i] = prop_chance(r, 25);
        c->flush[i] = prop_chance(r, 40);
        c->change[i] = i && prop_chance(r, 12) ? 1 + (uint32_t)prop_below(r, 1u << 30) : 0;
        c->kill[i] = c->change[i] && prop_chance(r, 50) ? 1 + (uint32_t)prop_below(r, prop_chance(r, 50) ? 60 : 400) : 0;
        c->lose[i] = i && prop_chance(r, 5);
        if (prop_chance(r, 20)) c->restate[i] = prop_chance(r, 60) ? 1 : (uint8_t)(2 + prop_below(r, 200));
    }
}

/* A field that is declared by some projects only. */
static void add_field(struct prop_case *c, struct leat_random *r) {
    for (size_t i = 0; i < c->round_count; i++)
        for (size_t k = 0; k < c->rounds[i].count; k++) {
            char *line = c->rounds[i].lines[k];
            if (prop_chance(r, 50)) continue;
            c->rounds[i].lines[k] = leat_asprintf("{\"x\":%d,%s", (int)prop_below(r, 9), line + 1);
            free(line);
        }
}

/* What came later has a generator of its own: a seed still draws the project and the data that it drew before. */
void prop_draw_asks(struct prop_case *c, struct leat_random *r) {
    if (prop_chance(r, 15)) c->change[0] = 1 + (uint32_t)prop_below(r, 1u << 30);
    for (size_t i = 0; i < c->round_count; i++) {
        if (prop_chance(r, 15)) c->crash[i] = 1 + (uint32_t)prop_below(r, prop_chance(r, 50) ? 40 : 300);
        if (prop_chance(r, 25)) c->ask[i] = 1 + (uint32_t)prop_below(r, 1u << 30);
    }
    if (!c->old_times && prop_chance(r, 8)) prop_draw_retained(c, r);
    if (prop_chance(r, 30)) add_field(c, r);
    bool lost = false; /* with the work folder goes what was not yet told; and JSON readers take 38 digits for a double */
    for (size_t i = 0; i < c->round_count; i++) lost |= c->lose[i];
    c->sink = !lost && !c->huge && prop_chance(r, 20) ? (int)prop_below(r, c->table_count) : -1;
    if (!c->retained && prop_chance(r, 3)) prop_draw_as_of(c, r);
    if (!c->retained && prop_chance(r, 3)) prop_draw_ending(c, r);
    if (!c->retained && prop_chance(r, 2)) prop_draw_frozen(c, r);
    if (!c->retained && prop_chance(r, 3)) prop_draw_apart(c, r);
}
