/* Alerts as they are kept and told: state.json, and the outbox of the webhook. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/utf8.h"
#include "engine/tell/alerts.h"
#include "engine/tell/tell.h"
#include "project/tables.h"

enum { WAITING_MAX = 10000, STATE_BYTES_MAX = 64 << 20 };

void leat_alert_clean(char *text) {
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    for (size_t length = strlen(text), good = 0; (good += leat_utf8_prefix(text + good, length - good)) < length;) text[good] = '?';
}

/* ---- an event ---------------------------------------------------------------------------------------------------------- */

static json_t *time_json(int64_t us) {
    time_t seconds = (time_t)(us / 1000000);
    struct tm utc;
    char text[32] = "";
    if (gmtime_r(&seconds, &utc)) strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

/* As Standard Webhooks lays a payload out; `text` is what chat services show. */
static char *body_of(const struct leat_engine *engine, const struct leat_alert *a, bool raised, const char *text) {
    char *said = leat_asprintf("leat %s: %s", engine->alerts->project, text);
    json_t *body = json_pack("{s:s,s:o,s:s%,s:{s:s,s:s,s:s,s:s,s:s%,s:o}}", "type", raised ? "alert.raised" : "alert.resolved", "timestamp",
                             time_json(engine->clock_us), "text", said, strlen(said), "data", "incident", a->incident, "alert", a->kind, "on", a->on, "object",
                             a->object, "project", engine->alerts->project, strlen(engine->alerts->project), "since", time_json(a->raised_us));
    char *out = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    free(said);
    return out;
}

void leat_alert_tell(struct leat_engine *engine, const struct leat_alert *a, bool raised, const char *text) {
    struct leat_alerts *alerts = engine->alerts;
    char *body = body_of(engine, a, raised, text), *key = leat_asprintf("%s %s %s", a->kind, a->on, a->object);
    alerts->events++;
    alerts->dirty = alerts->moved = true;
    leat_log(engine->env, LEAT_LOG_WARN, "alert %s%s: %s", a->kind, raised ? "" : " is over", text);
    if (body && alerts->def.name)
        json_array_append_new(alerts->pending, json_pack("{s:I,s:s,s:b,s:s}", "n", (json_int_t)alerts->events, "key", key, "raised", (int)raised, "body", body));
    free(body);
    free(key);
}

/* ---- state.json -------------------------------------------------------------------------------------------------------- */

static char *state_path(const struct leat_alerts *alerts) {
    return leat_asprintf("%s/state.json", alerts->dir);
}

static json_t *state_json(const struct leat_alerts *alerts) {
    json_t *all = json_array();
    for (size_t i = 0; i < alerts->count; i++) {
        const struct leat_alert *a = &alerts->items[i];
        if (!a->raised_us && !a->counts) continue;
        json_t *json = json_pack("{s:s,s:s,s:s}", "alert", a->kind, "on", a->on, "object", a->object);
        if (a->raised_us) {
            json_object_set_new(json, "raised_us", json_integer(a->raised_us));
            json_object_set_new(json, "incident", json_string(a->incident));
            json_object_set_new(json, "text", json_string(a->text));
        }
        if (a->counts) {
            json_object_set_new(json, "base", json_integer((json_int_t)a->base));
            json_object_set_new(json, "seen", json_integer((json_int_t)a->seen));
            json_object_set_new(json, "last_us", json_integer(a->last_us));
        }
        json_array_append_new(all, json);
    }
    return json_pack("{s:I,s:o,s:O,s:I}", "events", (json_int_t)alerts->events, "alerts", all, "pending", alerts->pending, "left_out",
                     (json_int_t)alerts->left_out);
}

static void load_alert(struct leat_alerts *alerts, const json_t *json) {
    struct leat_alert *a = leat_alert_of(alerts, json_string_value(json_object_get(json, "alert")), json_string_value(json_object_get(json, "on")),
                                         json_string_value(json_object_get(json, "object")));
    const char *incident = json_string_value(json_object_get(json, "incident")), *text = json_string_value(json_object_get(json, "text"));
    if (!a || a->raised_us || a->counts) return;
    a->counts = json_object_get(json, "base") != NULL;
    a->base = (uint64_t)json_integer_value(json_object_get(json, "base"));
    a->seen = (uint64_t)json_integer_value(json_object_get(json, "seen"));
    a->last_us = json_integer_value(json_object_get(json, "last_us"));
    if (!incident || !text) return;
    a->raised_us = json_integer_value(json_object_get(json, "raised_us"));
    a->incident = leat_strdup(incident);
    a->text = leat_strdup(text);
}

static enum leat_status load_state(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    struct leat_buffer text = {0};
    char *path = state_path(alerts);
    enum leat_status st = leat_io_read_all(engine->env->io, path, STATE_BYTES_MAX, &text, err);
    if (st == LEAT_OK) {
        json_t *state = json_loadb(text.data, text.length, 0, NULL), *item;
        size_t i;
        json_array_foreach(json_object_get(state, "alerts"), i, item) load_alert(alerts, item);
        alerts->events = (uint64_t)json_integer_value(json_object_get(state, "events"));
        alerts->left_out = (uint64_t)json_integer_value(json_object_get(state, "left_out"));
        if (json_is_array(json_object_get(state, "pending"))) json_array_extend(alerts->pending, json_object_get(state, "pending"));
        if (!state) leat_log(engine->env, LEAT_LOG_WARN, "%s is not JSON; what was raised is looked for anew", path);
        json_decref(state);
    } else if (st == LEAT_NOT_FOUND) {
        st = LEAT_OK;
    }
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

/* ---- the webhook ------------------------------------------------------------------------------------------------------- */

static void add_option(struct leat_sink_def *def, const char *name, const char *value) {
    if (!value || !*value) return;
    def->options = leat_realloc(def->options, (def->option_count + 1) * sizeof *def->options);
    def->options[def->option_count++] = (struct leat_option){.name = leat_strdup(name), .value = leat_strdup(value), .secret = true};
}

bool leat_alerts_sink(const struct leat_project *project, struct leat_sink_def *out) {
    *out = (struct leat_sink_def){0};
    if (!*leat_setting_text(project, "alert_webhook")) return false;
    *out = (struct leat_sink_def){.name = leat_strdup("alert_webhook"), .connector = leat_strdup("webhook"), .resolved = true};
    for (size_t i = 0; i < project->setting_count; i++)
        if (strcmp(project->settings[i].name, "alert_webhook") == 0) out->place = project->settings[i].place;
    add_option(out, "url", leat_setting_text(project, "alert_webhook"));
    add_option(out, "secret", leat_setting_text(project, "alert_secret"));
    add_option(out, "authorization", leat_setting_text(project, "alert_authorization"));
    add_option(out, "allow_private", leat_setting_text(project, "alert_allow_private"));
    return true;
}

/* What is raised already is news to a webhook that is new. */
static void tell_what_is_raised(struct leat_engine *engine) {
    struct leat_alerts *alerts = engine->alerts;
    if (json_array_size(alerts->pending)) return; /* it was being told when leat died */
    for (size_t i = 0; i < alerts->count; i++)
        if (alerts->items[i].raised_us) leat_alert_tell(engine, &alerts->items[i], true, alerts->items[i].text);
}

static enum leat_status open_outbox(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    const struct leat_outbox_options options = {.max_tries = leat_sink_option_int(&alerts->def, "max_tries", 20),
                                                .retry_first_us = leat_setting_int(engine->project, "retry_backoff"),
                                                .retry_max_us = 60000000,
                                                .begin_us = leat_engine_now(engine)};
    char *dir = leat_asprintf("%s/outbox", alerts->dir);
    enum leat_status st = leat_outbox_open(&alerts->env, dir, &options, alerts->sink, &alerts->outbox, err);
    if (st == LEAT_OK && engine->options.deliver) st = leat_outbox_start(alerts->outbox, err);
    free(dir);
    return st;
}

static enum leat_status open_webhook(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    alerts->env = *engine->env;
    leat_random_seed(&alerts->env.random, leat_random_next(&engine->env->random));
    alerts->context = (struct leat_sink_context){.env = &alerts->env, .def = &alerts->def, .project_dir = engine->project_dir, .state_dir = alerts->dir,
                                                 .identity = alerts->identity};
    enum leat_status st = leat_sink_webhook.open(&alerts->context, &alerts->sink, err);
    if (st == LEAT_OK) st = open_outbox(engine, err);
    if (st != LEAT_OK) return st;
    if (alerts->events < leat_outbox_mark(alerts->outbox)) alerts->events = leat_outbox_mark(alerts->outbox); /* state.json was lost */
    if (!leat_outbox_mark(alerts->outbox)) tell_what_is_raised(engine);
    return LEAT_OK;
}

static enum leat_status forget_webhook(struct leat_engine *engine, struct leat_error *err) {
    char *dir = leat_asprintf("%s/outbox", engine->alerts->dir);
    engine->alerts->dirty |= json_array_size(engine->alerts->pending) > 0 || engine->alerts->left_out;
    engine->alerts->left_out = 0;
    json_array_clear(engine->alerts->pending);
    enum leat_status st = leat_io_exists(engine->env->io, dir) ? leat_io_remove_tree(engine->env->io, dir, err) : LEAT_OK;
    free(dir);
    return st;
}

static char *name_of(const struct leat_engine *engine) {
    char *path = realpath(engine->project_dir, NULL);
    const char *slash = path ? strrchr(path, '/') : NULL;
    char *name = leat_strdup(slash && slash[1] ? slash + 1 : engine->project_dir);
    free(path);
    leat_alert_clean(name);
    return name;
}

enum leat_status leat_alerts_load(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    alerts->pending = json_array();
    alerts->dir = leat_asprintf("%s/alerts", engine->work_dir);
    alerts->project = name_of(engine);
    alerts->identity = leat_asprintf("alerts-%.8s", engine->incarnation);
    enum leat_status st = leat_io_mkdirs(engine->env->io, alerts->dir, err);
    if (st == LEAT_OK) st = load_state(engine, err);
    if (st != LEAT_OK) return st;
    return leat_alerts_sink(engine->project, &alerts->def) ? open_webhook(engine, err) : forget_webhook(engine, err);
}

/* Half of what waited is delivered: there is room for the news that not all was told. */
static void tell_left_out(struct leat_engine *engine) {
    struct leat_alerts *alerts = engine->alerts;
    struct leat_outbox_stats stats;
    if (!alerts->left_out || !alerts->outbox) return;
    leat_outbox_stats(alerts->outbox, &stats);
    if (stats.waiting > WAITING_MAX / 2) return;
    char *said = leat_asprintf("leat %s: %llu alerts and recoveries were not told, because %d others were waiting for this webhook; 'leat status' has what is raised",
                               alerts->project, (unsigned long long)alerts->left_out, WAITING_MAX);
    json_t *body = json_pack("{s:s,s:o,s:s%,s:{s:I,s:s%}}", "type", "alert.left_out", "timestamp", time_json(engine->clock_us), "text", said, strlen(said), "data",
                             "count", (json_int_t)alerts->left_out, "project", alerts->project, strlen(alerts->project));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text) {
        json_array_append_new(alerts->pending, json_pack("{s:I,s:s,s:b,s:s}", "n", (json_int_t)++alerts->events, "key", "left_out", "raised", 0, "body", text));
        alerts->left_out = 0;
    }
    free(text);
    free(said);
    json_decref(body);
}

/* What is pending goes to the outbox, each event once: its number is the mark. Those for which there is no room are counted. */
static enum leat_status hand_over(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    struct leat_outbox_stats stats;
    enum leat_status st = LEAT_OK;
    json_t *event;
    size_t i;
    leat_outbox_stats(alerts->outbox, &stats);
    json_array_foreach(alerts->pending, i, event) {
        uint64_t n = (uint64_t)json_integer_value(json_object_get(event, "n"));
        const char *key = json_string_value(json_object_get(event, "key")), *body = json_string_value(json_object_get(event, "body"));
        enum leat_effect_kind kind = LEAT_EFFECT_APPEND;
        if (n <= leat_outbox_mark(alerts->outbox) || !key || !body) continue;
        if (stats.waiting + i >= WAITING_MAX) {
            if (!alerts->left_out++) leat_log(engine->env, LEAT_LOG_WARN, "alerts: %d wait for the webhook; from here on they are counted, not told", WAITING_MAX);
            continue;
        }
        const struct leat_effect effect = {.sequence = leat_outbox_next_sequence(alerts->outbox, kind), .kind = kind, .key = key, .key_bytes = strlen(key),
                                           .payload = body, .payload_bytes = strlen(body)};
        if ((st = leat_outbox_append(alerts->outbox, n, &effect, (struct leat_hash128){0}, err)) != LEAT_OK) return st;
        if ((st = leat_outbox_complete(alerts->outbox, n, engine->clock_us, err)) != LEAT_OK) return st;
    }
    if ((st = leat_outbox_sync(alerts->outbox, err)) != LEAT_OK) return st;
    return leat_outbox_trim(alerts->outbox, UINT64_MAX, err);
}

enum leat_status leat_alerts_save(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    tell_left_out(engine);
    if (!alerts->dirty && !json_array_size(alerts->pending)) return LEAT_OK;
    const uint64_t left_out = alerts->left_out; /* as it is saved: what is counted below is still pending there */
    json_t *state = state_json(alerts);
    char *text = json_dumps(state, JSON_COMPACT), *path = state_path(alerts);
    enum leat_status st = leat_io_write_durable(engine->env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    json_decref(state);
    if (st == LEAT_OK && alerts->sink && !alerts->outbox) st = open_outbox(engine, err);
    if (st == LEAT_OK && alerts->sink && (st = hand_over(engine, err)) != LEAT_OK) { /* half of an event may be in it */
        leat_outbox_close(alerts->outbox);
        alerts->outbox = NULL;
        alerts->left_out = left_out; /* they are pending still */
    }
    if (st == LEAT_OK) {
        json_array_clear(alerts->pending);
        alerts->dirty = alerts->left_out != left_out;
    } else if (!err->fatal) { /* a full disk: it stays pending, and is tried again with the next look */
        leat_log(engine->env, LEAT_LOG_WARN, "alerts: %s", err->text);
        st = LEAT_OK;
    }
    return st;
}

void leat_alerts_settle(struct leat_engine *engine) {
    if (engine->alerts && engine->alerts->outbox) leat_outbox_settle(engine->alerts->outbox);
}

bool leat_alerts_moved(const struct leat_engine *engine) {
    struct leat_outbox_stats stats = {0};
    if (!engine->alerts) return false;
    if (engine->alerts->outbox) leat_outbox_stats(engine->alerts->outbox, &stats);
    return engine->alerts->moved || stats.waiting || stats.revision != engine->alerts->published_revision;
}

json_t *leat_alerts_webhook_json(struct leat_engine *engine) {
    struct leat_outbox_stats stats;
    if (!engine->alerts || !engine->alerts->outbox) return NULL;
    leat_outbox_stats(engine->alerts->outbox, &stats);
    engine->alerts->published_revision = stats.revision;
    json_t *json = json_pack("{s:I,s:I,s:I,s:i}", "waiting", (json_int_t)stats.waiting, "delivered", (json_int_t)stats.delivered, "dead",
                             (json_int_t)stats.dead, "tries", stats.tries);
    if (stats.error[0]) json_object_set_new(json, "error", json_string(stats.error));
    return json;
}

void leat_alerts_close(struct leat_engine *engine) {
    struct leat_alerts *alerts = engine->alerts;
    if (!alerts) return;
    leat_outbox_close(alerts->outbox);
    if (alerts->sink) alerts->sink->ops->close(alerts->sink);
    leat_sink_def_deinit(&alerts->def);
    for (size_t i = 0; i < alerts->count; i++) {
        free(alerts->items[i].object);
        free(alerts->items[i].incident);
        free(alerts->items[i].text);
    }
    free(alerts->items);
    json_decref(alerts->pending);
    free(alerts->dir);
    free(alerts->project);
    free(alerts->identity);
    free(alerts);
    engine->alerts = NULL;
}
