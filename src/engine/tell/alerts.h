/* Alerts: what somebody wants to be woken for, each told once when it begins and once when it is over.
 *
 * alerts.c has the table of kinds: each looks at facts that the engine has anyway, now and then between two turns. An alert is known by its kind
 * and its object ("sink_behind", "out"). What is raised, and every word of it that has still to be told, is durable in <work>/alerts/state.json
 * before it is handed to the outbox beside it, which tells it by the webhook sink (alerts_told.c): an event has a number, which is the outbox's
 * mark, so that a crash between the two neither loses nor repeats one.
 *
 * state.json: {"events": number of the last one, "alerts": [{"alert", "on", "object", "raised_us", "incident", "text", "base", "seen", "last_us"}],
 * "pending": [{"n", "key", "raised", "body"}], "left_out": how many events were not told}; alerts that are not raised stand there for their counters.
 * Thread: the engine's; the outbox has its own. */
#ifndef LEAT_ENGINE_ALERTS_H
#define LEAT_ENGINE_ALERTS_H

#include "connect/outbox.h"
#include "engine/internal.h"

struct leat_alert {
    const char *kind, *on;      /* of the table of kinds */
    char *object;
    int64_t raised_us;          /* 0: it is not raised */
    int64_t good_us;            /* raised: since when all is well again; 0: it is not */
    char *incident, *text;      /* of a raised one */
    bool counts;                /* of a counter: */
    uint64_t base, seen;        /* what it was when all was quiet, and last */
    int64_t last_us;            /* when it last grew */
    bool looked;                /* its object is there */
};
struct leat_alerts {
    struct leat_alert *items; size_t count;
    uint64_t events;
    json_t *pending;            /* not yet known to be in the outbox */
    uint64_t left_out;          /* events that found too many waiting; told as one when there is room */
    bool dirty;                 /* state.json is behind */
    bool moved;                 /* the status is behind */
    bool skipped;               /* a look was left out, because the last one was just before */
    int64_t look_us, next_us;   /* not before; when a condition may turn by time alone */
    int64_t disk_us; uint64_t free_bytes[2]; /* last looked at, and what was found: work folder, lake */
    bool one_disk;
    char *dir, *project;
    /* where a webhook is set */
    struct leat_sink_def def;
    struct leat_sink_context context;
    struct leat_env env;
    char *identity;
    struct leat_sink *sink;
    struct leat_outbox *outbox; uint64_t published_revision;
};

/* ---- alerts_told.c ---- */
/* Event of an alert: begun, or over. It is told when leat_alerts_save has made it durable. */
void leat_alert_tell(struct leat_engine *, const struct leat_alert *, bool raised, const char *text);
void leat_alert_clean(char *text); /* one line of UTF-8, whatever it quotes and wherever it was cut */
enum leat_status leat_alerts_load(struct leat_engine *, struct leat_error *) LEAT_MUST; /* and opens the webhook */
enum leat_status leat_alerts_save(struct leat_engine *, struct leat_error *) LEAT_MUST;

/* ---- alerts.c ---- */
/* The alert, made when it is not there. kind, on: as spelled in a file; NULL: no such kind. */
struct leat_alert *leat_alert_of(struct leat_alerts *, const char *kind, const char *on, const char *object);

#endif
