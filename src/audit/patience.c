#include "audit/patience.h"

#include <stdlib.h>

#include "audit/lateness.h"
#include "base/options.h"

#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)

const char *const leat_actor_names[] = {"program", "watcher", "reader", "report", "nobody", NULL};
const char *const leat_harm_names[] = {"nothing", "annoyance", "money", NULL};

/* Fresher than this the actor cannot make use of. */
static const struct { int64_t least_us; const char *why; } ACTORS[] = {
    [LEAT_ACTOR_PROGRAM] = {SECOND_US / 10, "a program acts on it at once"},
    [LEAT_ACTOR_WATCHER] = {SECOND_US, "a person who watches it sees no difference below a second"},
    [LEAT_ACTOR_READER] = {10 * SECOND_US, "a person who looks it up now and then sees no difference below ten seconds"},
    [LEAT_ACTOR_REPORT] = {HOUR_US, "a report that is read later gains nothing below an hour"},
    [LEAT_ACTOR_NOBODY] = {24 * HOUR_US, "nobody acts on it yet, and a nightly run costs least"},
};
/* The table may use up this part of the time that its readers have. */
static const struct { int divisor; const char *why; } HARMS[] = {
    [LEAT_HARM_NONE] = {1, "nothing happens if it is late, so it may use all of that time"},
    [LEAT_HARM_ANNOYANCE] = {2, "somebody is annoyed if it is late, so it may use half of that time"},
    [LEAT_HARM_MONEY] = {5, "money or trust is lost if it is late, so it may use a fifth of that time"},
};

void leat_put_sql_interval(struct leat_buffer *out, int64_t us) {
    static const struct { int64_t us; const char *name; } UNITS[] = {
        {24 * HOUR_US, "DAY"}, {HOUR_US, "HOUR"}, {60 * SECOND_US, "MINUTE"}, {SECOND_US, "SECOND"}, {1000, "MILLISECOND"}, {1, "MICROSECOND"}};
    size_t i = 0;
    while (us % UNITS[i].us || (us == 0 && UNITS[i].us != SECOND_US)) i++;
    leat_putf(out, "INTERVAL '%lld' %s", (long long)(us / UNITS[i].us), UNITS[i].name);
}

void leat_freshness_advise(const struct leat_patience *p, struct leat_freshness_advice *out) {
    struct leat_buffer clause = {0}, reason = {0};
    int64_t us = p->within_us / HARMS[p->harm].divisor, nice = SECOND_US / 10;
    bool floored = us < ACTORS[p->actor].least_us || p->actor == LEAT_ACTOR_NOBODY;
    if (floored) us = ACTORS[p->actor].least_us;
    for (size_t i = 0; i < leat_lateness_delay_count; i++)
        if (leat_lateness_delays[i] > nice && leat_lateness_delays[i] <= us) nice = leat_lateness_delays[i];
    *out = (struct leat_freshness_advice){.freshness_us = nice, .scheduled = nice >= 12 * HOUR_US};
    if (out->scheduled) {
        leat_put(&clause, "SCHEDULE CRON '0 2 * * *'");
    } else {
        leat_put(&clause, "FRESHNESS = ");
        leat_put_sql_interval(&clause, nice);
    }
    if (floored) {
        leat_put(&reason, ACTORS[p->actor].why);
    } else {
        leat_put(&reason, "they act within ");
        leat_put_interval(&reason, p->within_us);
        leat_putf(&reason, "; %s", HARMS[p->harm].why);
    }
    out->clause = clause.data;
    out->reason = reason.data;
}

void leat_freshness_advice_deinit(struct leat_freshness_advice *a) {
    free(a->clause);
    free(a->reason);
    *a = (struct leat_freshness_advice){0};
}
