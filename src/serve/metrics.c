#include "serve/metrics.h"

#include <string.h>

#include "serve/internal.h"

#define SECONDS 1e6
#define TABLE "tables", "table"
#define GROUP "groups", "table"
#define SOURCE "sources", "source"
#define SINK "sinks", "sink"
#define CHECK "checks", "check"
#define GAUGE LEAT_METRIC_GAUGE
#define COUNTER LEAT_METRIC_COUNTER

const struct leat_metric leat_metrics[] = {
    {"leat_build_info", GAUGE, "1, with the version of leat.", NULL, NULL, NULL, 0, "version", LEAT_METRIC_ONE},
    {"leat_cpu_seconds_total", COUNTER, "CPU time of the process.", NULL, NULL, "cpu_us", SECONDS, NULL, 0},
    {"leat_phase_cpu_seconds_total", COUNTER, "CPU time by what it was for.", NULL, NULL, "phase_cpu_us", SECONDS, "phase", LEAT_METRIC_OBJECT},
    {"leat_peak_memory_bytes", GAUGE, "The most memory that the process has held.", NULL, NULL, "peak_bytes", 0, NULL, 0},
    {"leat_steps_total", COUNTER, "Steps journaled, over all groups of tables and restarts.", NULL, NULL, "step", 0, NULL, 0},
    {"leat_alert_raised", GAUGE, "1 for each alert that is raised.", "alerts", "object", NULL, 0, "alert,on", LEAT_METRIC_ONE},
    {"leat_alerts_waiting", GAUGE, "Alert messages that alert_webhook has not taken yet.", NULL, NULL, "alerts_waiting", 0, NULL, 0},

    {"leat_source_records_total", COUNTER, "Records taken in, ever.", SOURCE, "records", 0, NULL, 0},
    {"leat_source_dead_letters", GAUGE, "Records that cannot be used, kept with the reason.", SOURCE, "dead", 0, NULL, 0},
    {"leat_source_bronze_waiting_records", GAUGE, "Records in the log that are not in bronze yet.", SOURCE, "bronze_waiting", 0, NULL, 0},
    {"leat_source_log_bytes", GAUGE, "Size of the log on disk.", SOURCE, "log_bytes", 0, NULL, 0},
    {"leat_source_watermark_timestamp_seconds", GAUGE, "Event time before which the source is believed complete.", SOURCE, "watermark_us", SECONDS, NULL, 0},
    {"leat_source_idle", GAUGE, "1: idle, so that it holds no watermark back.", SOURCE, "idle", 0, NULL, 0},
    {"leat_reference_rows", GAUGE, "Rows of a reference source.", "sources", "source", "rows", 0, NULL, 0},

    {"leat_table_rows", GAUGE, "Rows of the newest version in the lake.", TABLE, "rows", 0, NULL, 0},
    {"leat_table_size_bytes", GAUGE, "Size of its data files.", TABLE, "bytes", 0, NULL, 0},
    {"leat_table_files", GAUGE, "Its data files.", TABLE, "files", 0, NULL, 0},
    {"leat_table_version", GAUGE, "Its Delta version.", TABLE, "version", 0, NULL, 0},
    {"leat_table_suspended", GAUGE, "1: suspended.", TABLE, "suspended", 0, NULL, 0},
    {"leat_table_freshness_seconds", GAUGE, "How old the table may be, now.", TABLE, "freshness_us", SECONDS, NULL, 0},
    {"leat_table_age_seconds", GAUGE, "How long the oldest record that it has not taken in has waited; 0: it has all.", GROUP, "age_us", SECONDS, NULL, 0},
    {"leat_table_waiting_records", GAUGE, "Records that it has not taken in.", GROUP, "waiting", 0, NULL, 0},
    {"leat_table_steps_total", COUNTER, "Steps with records of its group, since the start.", GROUP, "steps", 0, NULL, 0},
    {"leat_table_steps_in_time_total", COUNTER, "Those of them that kept to the freshness.", GROUP, "met", 0, NULL, 0},
    {"leat_table_records", GAUGE, "Its row balance: source records by what became of them.", TABLE, "balance", 0, NULL, LEAT_METRIC_BALANCE},
    {"leat_table_changes_total", COUNTER, "Changes of rows that it has published.", TABLE, "changes", 0, NULL, 0},
    {"leat_table_withheld_keys", GAUGE, "Keys whose rows cannot be computed.", TABLE, "withheld", 0, NULL, 0},
    {"leat_table_quarantined_rows", GAUGE, "Rows in quarantine.", TABLE, "quarantined", 0, NULL, 0},
    {"leat_table_violating_rows", GAUGE, "Rows that violate a constraint.", TABLE, "violations", 0, "constraint", LEAT_METRIC_OBJECT},
    {"leat_table_restated_records_total", COUNTER, "Late records that restatements have admitted.", TABLE, "restated", 0, NULL, 0},
    {"leat_table_cpu_seconds_total", COUNTER, "CPU time since the start, by work.", TABLE, "step_cpu_us", SECONDS, "work=\"step\"", 0},
    {"leat_table_cpu_seconds_total", COUNTER, "CPU time since the start, by work.", TABLE, "commit_cpu_us", SECONDS, "work=\"commit\"", 0},
    {"leat_table_cpu_seconds_total", COUNTER, "CPU time since the start, by work.", TABLE, "batch_cpu_us", SECONDS, "work=\"run\"", 0},
    {"leat_table_runs_total", COUNTER, "Runs that succeeded.", TABLE, "runs", 0, NULL, 0},
    {"leat_table_failed_runs", GAUGE, "Runs that have failed in a row.", TABLE, "failures", 0, NULL, 0},
    {"leat_table_last_run_timestamp_seconds", GAUGE, "When its last run began.", TABLE, "last_run_us", SECONDS, NULL, 0},
    {"leat_table_next_run_timestamp_seconds", GAUGE, "When its next run is due.", TABLE, "next_run_us", SECONDS, NULL, 0},
    {"leat_table_ready_by_timestamp_seconds", GAUGE, "By when it is to be ready (READY BY).", TABLE, "ready_by_us", SECONDS, NULL, 0},
    {"leat_table_run_seconds", GAUGE, "What nineteen of its last twenty runs have kept to.", TABLE, "takes_us", SECONDS, NULL, 0},

    {"leat_sink_waiting_changes", GAUGE, "Changes that are durable here and not confirmed there.", SINK, "waiting", 0, NULL, 0},
    {"leat_sink_behind_seconds", GAUGE, "Age of the oldest of them; 0: none waits.", SINK, "behind_us", SECONDS, NULL, 0},
    {"leat_sink_delivered_changes_total", COUNTER, "Changes that the other side has confirmed, ever.", SINK, "delivered", 0, NULL, 0},
    {"leat_sink_dead_letters", GAUGE, "Changes that the other side has refused for good.", SINK, "dead", 0, NULL, 0},
    {"leat_sink_failed_tries", GAUGE, "Tries that have failed in a row.", SINK, "tries", 0, NULL, 0},
    {"leat_sink_spool_bytes", GAUGE, "Size of what waits, on disk.", SINK, "spool_bytes", 0, NULL, 0},

    {"leat_check_rows", GAUGE, "Rows of the table when it was last compared.", CHECK, "rows", 0, NULL, 0},
    {"leat_check_differing_rows", GAUGE, "Rows that differed.", CHECK, "differing", 0, NULL, 0},
    {"leat_check_drift_ratio", GAUGE, "The same as a share.", CHECK, "drift_percent", 100, NULL, 0},
    {"leat_check_last_timestamp_seconds", GAUGE, "When it was last compared.", CHECK, "checked_us", SECONDS, NULL, 0},

};
const size_t leat_metric_count = sizeof leat_metrics / sizeof *leat_metrics;

/* ---- what is not in the status as it is wanted ------------------------------------------------------------------------- */

static void add_age(json_t *list, const char *since, const char *age, int64_t now_us) {
    json_t *item;
    size_t i;
    json_array_foreach(list, i, item) {
        json_int_t from = json_integer_value(json_object_get(item, since));
        json_object_set_new(item, age, json_integer(from && now_us > from ? now_us - from : 0));
    }
}

static void derive(json_t *status, int64_t now_us) {
    json_t *webhook = json_object_get(status, "alert_webhook");
    add_age(json_object_get(status, "groups"), "waiting_since_us", "age_us", now_us);
    add_age(json_object_get(status, "sinks"), "behind_since_us", "behind_us", now_us);
    json_object_set_new(status, "version", json_string(LEAT_VERSION));
    if (webhook) json_object_set(status, "alerts_waiting", json_object_get(webhook, "waiting"));
}

/* ---- text -------------------------------------------------------------------------------------------------------------- */

static void put_label(struct leat_buffer *out, const char *name, const char *value) {
    leat_putf(out, "%s%s=\"", out->data[out->length - 1] == '{' ? "" : ",", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\n')
            leat_put(out, "\\n");
        else if (*c == '\\' || *c == '"')
            leat_putf(out, "\\%c", *c);
        else
            leat_putn(out, c, 1);
    }
    leat_put(out, "\"");
}

/* The line up to its value; the labels stay open. */
static void begin(struct leat_buffer *out, const struct leat_metric *m, const char *item) {
    leat_putf(out, "%s{", m->name);
    if (m->label && item) put_label(out, m->label, item);
    if (m->shape == LEAT_METRIC_PLAIN && m->extra) leat_putf(out, "%s%s", out->data[out->length - 1] == '{' ? "" : ",", m->extra);
}

static void end(struct leat_buffer *out, const struct leat_metric *m, const json_t *value) {
    double number = json_is_true(value) ? 1 : json_number_value(value);
    if (out->data[out->length - 1] == '{')
        out->data[--out->length] = 0;
    else
        leat_put(out, "}");
    if (json_is_integer(value) && !m->scale)
        leat_putf(out, " %lld\n", (long long)json_integer_value(value));
    else
        leat_putf(out, " %.16g\n", m->scale ? number / m->scale : number);
}

static void put_object(struct leat_buffer *out, const struct leat_metric *m, const char *item, json_t *values) {
    const char *name;
    json_t *value;
    json_object_foreach(values, name, value) {
        begin(out, m, item);
        put_label(out, m->extra, name);
        end(out, m, value);
    }
}

static void put_balance(struct leat_buffer *out, const struct leat_metric *m, const char *item, json_t *balance) {
    static const char *const FATES[] = {"in", "admitted", "late", "dead"};
    const char *source;
    json_t *of;
    json_object_foreach(balance, source, of)
        for (size_t f = 0; f < sizeof FATES / sizeof *FATES; f++) {
            begin(out, m, item);
            put_label(out, "source", source);
            put_label(out, "fate", FATES[f]);
            end(out, m, json_object_get(of, FATES[f]));
        }
}

static void put_one(struct leat_buffer *out, const struct leat_metric *m, const char *item, const json_t *from) {
    char name[64];
    begin(out, m, item);
    for (const char *at = m->extra; *at; at += strspn(at, ",")) {
        size_t n = strcspn(at, ",");
        memcpy(name, at, n);
        name[n] = 0;
        const char *value = json_string_value(json_object_get(from, name));
        put_label(out, name, value ? value : "");
        at += n;
    }
    end(out, m, json_true());
}

static void put_item(struct leat_buffer *out, const struct leat_metric *m, const char *item, const json_t *from) {
    json_t *value = m->key ? json_object_get(from, m->key) : NULL;
    switch (m->shape) {
    case LEAT_METRIC_PLAIN:
        if (!json_is_number(value) && !json_is_boolean(value)) return;
        begin(out, m, item);
        end(out, m, value);
        return;
    case LEAT_METRIC_OBJECT: put_object(out, m, item, value); return;
    case LEAT_METRIC_BALANCE: put_balance(out, m, item, value); return;
    case LEAT_METRIC_ONE: put_one(out, m, item, from); return;
    }
}

static void put_values(struct leat_buffer *out, const struct leat_metric *m, const json_t *status) {
    json_t *item, *table;
    size_t i, t;
    if (!m->list) {
        put_item(out, m, NULL, status);
        return;
    }
    json_array_foreach(json_object_get(status, m->list), i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (!name) name = json_string_value(json_object_get(item, "object"));
        if (name) put_item(out, m, name, item);
        json_array_foreach(json_object_get(item, "tables"), t, table) /* of a group */
            put_item(out, m, json_string_value(table), item);
    }
}

void leat_put_metrics(json_t *status, int64_t now_us, struct leat_buffer *out) {
    derive(status, now_us);
    for (size_t i = 0; i < leat_metric_count; i++) {
        const struct leat_metric *m = &leat_metrics[i];
        if (!i || strcmp(m->name, leat_metrics[i - 1].name) != 0)
            leat_putf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type == LEAT_METRIC_COUNTER ? "counter" : "gauge");
        put_values(out, m, status);
    }
}

void leat_reference_metrics(struct leat_buffer *out) {
    leat_put(out, "# Metrics\n\nWhat `GET /metrics` gives, in Prometheus's text format.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < leat_metric_count; i++) {
        const struct leat_metric *m = &leat_metrics[i];
        if (i && strcmp(m->name, leat_metrics[i - 1].name) == 0) continue;
        size_t extra = m->extra ? strcspn(m->extra, "=") : 0;
        leat_putf(out, "| `%s` | %s | %s%s%.*s%s | %s |\n", m->name, m->type == LEAT_METRIC_COUNTER ? "counter" : "gauge", m->label ? m->label : "",
                  m->label && extra ? "," : "", (int)extra, m->extra ? m->extra : "", m->shape == LEAT_METRIC_BALANCE ? ",source,fate" : "", m->help);
    }
}

/* ---- the route --------------------------------------------------------------------------------------------------------- */

static void make(struct leat_request *r, struct leat_engine *engine) {
    struct leat_buffer text = {0};
    struct leat_error err;
    json_t *status = leat_engine_status(engine, &text, &err) == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (status) {
        leat_put_metrics(status, r->serve->env->clock->now_us(r->serve->env->clock), &r->answer);
        leat_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8");
    } else {
        leat_reply_error(r, 500, "failed", "no status");
    }
    json_decref(status);
    leat_buffer_deinit(&text);
}

void leat_handle_metrics(struct leat_request *r) {
    leat_request_ask(r, make);
}
