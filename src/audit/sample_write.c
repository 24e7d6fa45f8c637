/* The project that a sample suggests. Every guess has a comment that says on what it rests. */
#include "audit/sample.h"
#include "base/options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CATEGORIES_MAX = 40 };

static const char *const names[] = {"VARCHAR", "VARCHAR", "BOOLEAN", "INTEGER",  "BIGINT",
                                    "DECIMAL", "DOUBLE",  "DATE",    "TIMESTAMP"};

static void put_type(const struct leat_sample_column *c, struct leat_buffer *out) {
    if (c->type == LEAT_SAMPLE_DECIMAL)
        leat_putf(out, "DECIMAL(18,%d)", c->scale > 2 ? c->scale : 2);
    else
        leat_put(out, names[c->type]);
}

static const char *plural(int64_t n) {
    return n == 1 ? "" : "s";
}

/* A catalogue may have a time too, such as valid_from: many of its rows share one. */
static bool is_reference(const struct leat_sample *s) {
    if (s->key < 0 || s->columns[s->key].distinct < s->rows) return false;
    return s->time < 0 || s->columns[s->time].distinct * 10 < s->rows;
}

/* "3 s", "16 min", "2 h". */
static void put_span(int64_t us, struct leat_buffer *out) {
    int64_t s = us / 1000000;
    if (s < 100)
        leat_putf(out, "%" PRId64 " s", s);
    else if (s < 6000)
        leat_putf(out, "%" PRId64 " min", s / 60);
    else
        leat_putf(out, "%" PRId64 " h", s / 3600);
}

static void put_column_note(const struct leat_sample *s, int at, struct leat_buffer *out) {
    const struct leat_sample_column *c = &s->columns[at];
    if (at == s->key && c->distinct == c->values)
        leat_putf(out, "the key: all %" PRId64 " values differ", c->values);
    else if (at == s->key)
        leat_putf(out, "the key: %" PRId64 " different values in %" PRId64 " records, the others come again",
                  c->distinct, c->values);
    else if (at == s->time && !is_reference(s))
        leat_put(out, "the event time");
    else if (c->type == LEAT_SAMPLE_NESTED)
        leat_put(out, "nested JSON, kept as its text");
    else if (c->values == 0)
        leat_put(out, "always empty in the sample");
    else if (c->type == LEAT_SAMPLE_TEXT && c->distinct <= CATEGORIES_MAX)
        leat_putf(out, "%" PRId64 " different value%s", c->distinct, plural(c->distinct));
    if (c->unfit && c->type == LEAT_SAMPLE_TEXT)
        leat_putf(out, "; %" PRId64 " of %" PRId64 " value%s no %s: as text they are kept", c->unfit, c->values,
                  c->unfit == 1 ? " is" : "s are", names[c->near]);
    else if (c->unfit)
        leat_putf(out, "; %" PRId64 " value%s of another kind: dead letter%s", c->unfit, plural(c->unfit),
                  plural(c->unfit));
}

static void put_columns(const struct leat_sample *s, bool reference, struct leat_buffer *out) {
    for (size_t i = 0; i < s->column_count; i++) {
        const struct leat_sample_column *c = &s->columns[i];
        struct leat_buffer note = {0};
        size_t from = out->length;
        leat_put(out, "  ");
        leat_put(out, c->name);
        leat_put(out, " ");
        put_type(c, out);
        if ((int)i == s->key && reference) leat_put(out, " PRIMARY KEY");
        if (((int)i == s->key || (int)i == s->time) && !reference) leat_put(out, " NOT NULL");
        if (strcmp(c->field, c->name) != 0) {
            leat_put(out, " FROM ");
            leat_put_sql_string(out, c->field);
        }
        if (i + 1 < s->column_count || (s->time >= 0 && !reference)) leat_put(out, ",");
        put_column_note(s, (int)i, &note);
        if (note.length)
            leat_putf(out, "%*s-- %s", (int)(out->length - from < 44 ? 44 - (out->length - from) : 1), "",
                      note.data + (note.data[0] == ';' ? 2 : 0));
        leat_put(out, "\n");
        leat_buffer_deinit(&note);
    }
}

static void put_watermark(const struct leat_sample *s, struct leat_buffer *out) {
    const char *time = s->columns[s->time].name;
    struct leat_buffer delay = {0}, most = {0};
    leat_put_interval(&delay, s->disorder_us);
    put_span(s->disorder_max_us, &most);
    leat_putf(out,
              "  -- How long to wait for stragglers. In the sample %" PRId64 " of %" PRId64
              " records come after a later one, the worst %s behind;\n",
              s->disordered, s->rows, most.data);
    leat_putf(out,
              "  -- waiting %s covers all but %" PRId64
              ". Those would be late: listed in TABLE__late, admitted by the daily restatement. A longer\n",
              delay.data, s->beyond);
    leat_put(out, "  -- wait makes fewer late, and results final later.\n");
    leat_put(out, "  WATERMARK FOR ");
    leat_put(out, time);
    leat_put(out, " AS ");
    leat_put(out, time);
    leat_putf(out, " - INTERVAL '%s'\n", delay.data);
    leat_buffer_deinit(&delay);
    leat_buffer_deinit(&most);
}

static void put_source(const struct leat_sample *s, const char *path, bool reference, struct leat_buffer *out) {
    leat_put(out, "CREATE SOURCE ");
    leat_put(out, s->source);
    leat_put(out, " (\n");
    put_columns(s, reference, out);
    if (s->time >= 0 && !reference) put_watermark(s, out);
    leat_put(out, ")\nWITH (connector = 'file', path = ");
    leat_put_sql_string(out, path);
    leat_putf(out, ", format = '%s'", s->csv ? "csv" : "json");
    if (s->csv && s->delimiter && strcmp(s->delimiter, ",") != 0) {
        leat_put(out, ", delimiter = ");
        leat_put_sql_string(out, s->delimiter);
    }
    leat_put(out, reference ? ", refresh = INTERVAL '10' SECOND);\n\n" : ");\n\n");
}

/* Few values, each often. */
static bool is_category(const struct leat_sample *s, int at) {
    const struct leat_sample_column *c = &s->columns[at];
    return c->type == LEAT_SAMPLE_TEXT && at != s->key && c->distinct > 1 && c->distinct <= CATEGORIES_MAX &&
           c->distinct * 2 <= c->values && c->values * 2 >= s->rows;
}

/* The columns that make good first tables; -1: none. */
static int find_amount(const struct leat_sample *s) {
    for (int kind = LEAT_SAMPLE_DECIMAL; kind <= LEAT_SAMPLE_DOUBLE; kind++)
        for (size_t i = 0; i < s->column_count; i++)
            if (s->columns[i].type == (enum leat_sample_type)kind && (int)i != s->key) return (int)i;
    return -1;
}
static int find_category(const struct leat_sample *s) {
    for (size_t i = 0; i < s->column_count; i++)
        if (is_category(s, (int)i)) return (int)i;
    return -1;
}
/* What the events are about: an id with several events each, the one of most values. */
static int find_entity(const struct leat_sample *s) {
    int best = -1;
    for (size_t i = 0; i < s->column_count; i++) {
        const struct leat_sample_column *c = &s->columns[i];
        size_t n = strlen(c->name);
        bool id = n > 3 && strcmp(c->name + n - 3, "_id") == 0;
        if (!id || (int)i == s->key || c->distinct < 2 || c->distinct * 100 > c->values * 95) continue;
        if (best < 0 || c->distinct > s->columns[best].distinct) best = (int)i;
    }
    return best;
}

static void put_measures(const struct leat_sample *s, struct leat_buffer *out) {
    int amount = find_amount(s);
    leat_put(out, "count(*) AS records");
    if (amount < 0) return;
    leat_put(out, ", sum(");
    leat_put(out, s->columns[amount].name);
    leat_put(out, ") AS total");
}

static void put_group(const struct leat_sample *s, const char *before, struct leat_buffer *out) {
    int category = find_category(s);
    leat_put(out, before);
    if (category >= 0) {
        leat_put(out, s->columns[category].name);
        leat_put(out, ", ");
    }
    put_measures(s, out);
}

/* The first to come of each key, where some come again. */
static const char *put_once(const struct leat_sample *s, struct leat_buffer *out, char **view) {
    *view = NULL;
    if (s->key < 0 || s->columns[s->key].distinct == s->columns[s->key].values) return s->source;
    *view = leat_asprintf("%s_once", s->source);
    leat_putf(
        out,
        "-- %" PRId64
        " records have a key that came before. This keeps one of each; its ties are completed, see leat explain.\n",
        s->columns[s->key].values - s->columns[s->key].distinct);
    leat_put(out, "CREATE VIEW ");
    leat_put(out, *view);
    leat_put(out, " AS SELECT DISTINCT ON (");
    leat_put(out, s->columns[s->key].name);
    leat_put(out, ") * FROM ");
    leat_put(out, s->source);
    leat_put(out, ";\n\n");
    return *view;
}

static void put_latest(const struct leat_sample *s, struct leat_buffer *out) {
    int entity = find_entity(s), category = find_category(s);
    if (entity < 0 || category < 0 || s->time < 0) return;
    const char *id = s->columns[entity].name, *what = s->columns[category].name, *time = s->columns[s->time].name;
    leat_putf(out,
              "-- The latest %s of each %s, at most a second old.\nCREATE MATERIALIZED TABLE %s_by_%s\nFRESHNESS = "
              "INTERVAL '1' SECOND\nAS SELECT ",
              what, id, what, id);
    leat_put(out, id);
    leat_put(out, ", arg_max(");
    leat_put(out, what);
    leat_put(out, ", ");
    leat_put(out, time);
    leat_put(out, ") AS ");
    leat_put(out, what);
    leat_put(out, ", max(");
    leat_put(out, time);
    leat_put(out, ") AS updated_at\n   FROM ");
    leat_put(out, s->source);
    leat_put(out, " GROUP BY ");
    leat_put(out, id);
    leat_put(out, ";\n\n");
}

static void put_timed_tables(const struct leat_sample *s, struct leat_buffer *out) {
    char *view;
    const char *from = put_once(s, out, &view), *time = s->columns[s->time].name;
    put_latest(s, out);
    leat_putf(out,
              "-- By minute, at most five seconds old: a stream. What came too late for its minute is listed in "
              "%s_by_minute__late.\n",
              s->source);
    leat_putf(out, "CREATE MATERIALIZED TABLE %s_by_minute\nFRESHNESS = INTERVAL '5' SECOND\n", s->source);
    put_group(s, "AS SELECT window_start, ", out);
    leat_put(out, "\n   FROM TUMBLE(");
    leat_put(out, s->source);
    leat_put(out, ", ");
    leat_put(out, time);
    leat_put(out, ", INTERVAL '1' MINUTE) GROUP BY ALL;\n\n");
    leat_putf(out,
              "-- By day, made anew each night: a batch, which costs nothing in between. Give it FRESHNESS instead of "
              "SCHEDULE and it is a stream.\n"
              "CREATE MATERIALIZED TABLE %s_by_day\nSCHEDULE CRON '0 2 * * *'\nAS SELECT CAST(",
              s->source);
    leat_put(out, time);
    put_group(s, " AS DATE) AS day, ", out);
    leat_put(out, "\n   FROM ");
    leat_put(out, from);
    leat_put(out, " GROUP BY ALL;\n");
    free(view);
}

void leat_sample_project(const struct leat_sample *s, const char *path, const char *told, struct leat_buffer *out) {
    bool reference = is_reference(s);
    leat_putf(out,
              "-- Made by leat new from %" PRId64
              " record%s of %s. Types, key and watermark are guesses from them: change what you know better,\n"
              "-- then run `leat check`.\n\n",
              s->rows, plural(s->rows), told);
    if (reference)
        leat_put(out, "-- One column tells all records apart and none says when something happened: a reference, read "
                      "whole at an interval; what differs\n"
                      "-- from the last reading is its change. To read it once as events instead, give it a WATERMARK "
                      "and no refresh.\n");
    put_source(s, path, reference, out);
    if (s->time >= 0 && !reference) {
        put_timed_tables(s, out);
        return;
    }
    if (!reference)
        leat_put(out, "-- No column is a TIMESTAMP (such as 2026-01-31 08:15:00): no watermark, and nothing is late. A "
                      "number of seconds or milliseconds\n"
                      "-- can be made one in a view: make_timestamp(n * 1000).\n");
    leat_putf(out, "CREATE MATERIALIZED TABLE %s_summary\nFRESHNESS = INTERVAL '5' SECOND\n", s->source);
    put_group(s, "AS SELECT ", out);
    leat_put(out, "\n   FROM ");
    leat_put(out, s->source);
    leat_put(out, " GROUP BY ALL;\n");
}
