#include "rehearse/cost.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/options.h"
#include "rehearse/measure.h"

#define DAY_US 86400e6

/* ---- prices ------------------------------------------------------------------------------------------------------------ */

const char leat_prices_default[] =
    "# Prices for 'leat cost'. Examples: about what a large provider asks on demand for small Arm machines and object storage.\n"
    "# Put your own here, and give the file by --prices. Machines ascend by price.\n"
    "currency,USD\n"
    "# machine,NAME,VCPUS,MEMORY GiB,PRICE an hour\n"
    "machine,nano,2,0.5,0.0042\n"
    "machine,micro,2,1,0.0084\n"
    "machine,small,2,2,0.0168\n"
    "machine,medium,2,4,0.0336\n"
    "machine,large,2,8,0.0672\n"
    "machine,xlarge,4,16,0.1344\n"
    "machine,2xlarge,8,32,0.2688\n"
    "# requests to the object store, per thousand: puts (and lists), gets; deletes are free\n"
    "puts,0.005\n"
    "gets,0.0004\n"
    "# a machine that is switched on is paid for at least so many seconds\n"
    "least_seconds,60\n"
    "# GiB of a machine's memory that its own system takes\n"
    "spare_gib,0.2\n";

static enum leat_status parse_machine(const char *line, struct leat_prices *out) {
    char name[64];
    struct leat_machine m = {0};
    if (sscanf(line, "machine,%63[^,],%lf,%lf,%lf", name, &m.vcpus, &m.memory_gib, &m.per_hour) != 4 || m.vcpus <= 0 || m.memory_gib <= 0 || m.per_hour < 0)
        return LEAT_INVALID;
    m.name = leat_strdup(name);
    out->machines = leat_realloc(out->machines, (out->machine_count + 1) * sizeof *out->machines);
    out->machines[out->machine_count++] = m;
    return LEAT_OK;
}

static enum leat_status parse_line(const char *line, struct leat_prices *out) {
    static const struct { const char *name; size_t at; } NUMBERS[] = {{"puts", offsetof(struct leat_prices, per_1000_puts)},
                                                                      {"gets", offsetof(struct leat_prices, per_1000_gets)},
                                                                      {"least_seconds", offsetof(struct leat_prices, least_seconds)},
                                                                      {"spare_gib", offsetof(struct leat_prices, spare_gib)}};
    if (strncmp(line, "machine,", 8) == 0) return parse_machine(line, out);
    if (strncmp(line, "currency,", 9) == 0) {
        free(out->currency);
        out->currency = leat_strdup(line + 9);
        return strlen(line) < 24 ? LEAT_OK : LEAT_INVALID;
    }
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        size_t n = strlen(NUMBERS[i].name);
        char *end;
        if (strncmp(line, NUMBERS[i].name, n) != 0 || line[n] != ',') continue;
        double value = strtod(line + n + 1, &end);
        if (end == line + n + 1 || *end || !(value >= 0)) return LEAT_INVALID;
        *(double *)((char *)out + NUMBERS[i].at) = value;
        return LEAT_OK;
    }
    return LEAT_INVALID;
}

enum leat_status leat_prices_parse(const char *text, struct leat_prices *out, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    *out = (struct leat_prices){.currency = leat_strdup("")};
    for (int n = 1; *text && st == LEAT_OK; n++) {
        size_t length = strcspn(text, "\n");
        char *line = leat_strndup(text, length && text[length - 1] == '\r' ? length - 1 : length);
        if (*line && *line != '#' && parse_line(line, out) != LEAT_OK)
            st = leat_fail(err, LEAT_INVALID, "line %d of the prices, '%s', is none of: currency,NAME  machine,NAME,VCPUS,GIB,PRICE  puts,PRICE  gets,PRICE  "
                                              "least_seconds,N  spare_gib,N", n, line);
        free(line);
        text += length + (text[length] == '\n');
    }
    if (st == LEAT_OK && !out->machine_count) st = leat_fail(err, LEAT_INVALID, "the prices name no machine");
    if (st != LEAT_OK) leat_prices_deinit(out);
    return st;
}

void leat_prices_deinit(struct leat_prices *p) {
    for (size_t i = 0; i < p->machine_count; i++) free(p->machines[i].name);
    free(p->machines);
    free(p->currency);
    *p = (struct leat_prices){0};
}

/* ---- the model --------------------------------------------------------------------------------------------------------- */

struct model {
    const json_t *measured;
    double records_day, span_us, commit_us;
    double per_record_us; /* in the largest batches */
};

static double number(const json_t *object, const char *key) {
    return (double)json_integer_value(json_object_get(object, key));
}

static double commits_us(const json_t *point) {
    const json_t *phases = json_object_get(point, "phases");
    return number(phases, "bronze") + number(phases, "commit");
}

static bool is_timer(const json_t *point) {
    return json_is_true(json_object_get(point, "timer"));
}

/* A commit follows a step. */
static double between_commits_us(const struct model *m, const json_t *point) {
    double step_us = (double)leat_measure_step_us(json_integer_value(json_object_get(point, "freshness_us")));
    return step_us > m->commit_us ? step_us : m->commit_us;
}

/* The window saw enough commits for their average, with the joining of small files that comes every 64. */
static bool has_commits(const struct model *m, const json_t *point) {
    return !is_timer(point) && number(point, "window_us") >= LEAT_MEASURE_COMMITS * between_commits_us(m, point);
}

/* The nearest longer freshness with as many commits a second as `at` has. */
static const json_t *reference_for_commits(const struct model *m, size_t at) {
    const json_t *point = json_array_get(m->measured, at);
    if (has_commits(m, point)) return NULL;
    for (size_t i = at; i-- > 0;) {
        const json_t *longer = json_array_get(m->measured, i);
        if (has_commits(m, longer) && number(longer, "freshness_us") <= m->commit_us) return longer;
    }
    return NULL;
}

/* Factor from what was measured to a day; *shift: added then, for records beyond or below the average. */
static double to_day(const struct model *m, const json_t *point, double *shift) {
    double window = number(point, "window_us") > 1 ? number(point, "window_us") : 1, factor = DAY_US / window;
    *shift = (m->records_day - number(point, "records") * factor) * m->per_record_us;
    return factor;
}

static void model_timer(const struct model *m, const json_t *point, const struct leat_prices *prices, struct leat_cost_point *out) {
    double shift, factor = to_day(m, point, &shift), runs = number(point, "runs"), runs_day = DAY_US / number(point, "freshness_us");
    double empty = number(point, "empty_cpu_us"), beyond = number(point, "cpu_us") - runs * empty;
    if (beyond < 0) beyond = 0;
    out->cpu_s = (runs_day * empty + beyond * factor) / 1e6;
    double wall = number(point, "empty_wall_us") * runs_day, wall_beyond = number(point, "wall_us") - runs * number(point, "empty_wall_us");
    double up_us = wall + (wall_beyond > 0 ? wall_beyond * factor : 0);
    if (up_us < runs_day * prices->least_seconds * 1e6) up_us = runs_day * prices->least_seconds * 1e6;
    out->hours_up = up_us > DAY_US ? 24 : up_us / 3600e6;
}

static void model_service(const struct model *m, const json_t *point, size_t at, struct leat_cost_point *out) {
    double shift, factor = to_day(m, point, &shift), cpu = number(point, "cpu_us") * factor;
    const json_t *longer = reference_for_commits(m, at);
    if (longer) cpu += commits_us(longer) * DAY_US / number(longer, "window_us") - commits_us(point) * factor;
    out->cpu_s = (cpu + shift) / 1e6;
    if (out->cpu_s < 0) out->cpu_s = cpu / 1e6;
    out->hours_up = 24;
}

static void model_tables(const json_t *point, struct leat_cost_point *out) {
    const char *name;
    json_t *used;
    double all = number(point, "cpu_us"), own = 0;
    const json_t *tables = json_object_get(point, "tables");
    out->tables = leat_alloc((json_object_size(tables) + 1) * sizeof *out->tables);
    json_object_foreach((json_t *)tables, name, used) {
        double share = all > 0 ? (number(used, "step") + number(used, "commit")) / all : 0;
        out->tables[out->table_count++] = (struct leat_cost_table){leat_strdup(name), share * out->cpu_s};
        own += share * out->cpu_s;
    }
    out->shared_cpu_s = out->cpu_s > own ? out->cpu_s - own : 0;
}

/* The cheapest machine with room for the peak, and at most 60 % busy on average, so that a burst is worked off. */
static int choose_machine(const struct leat_prices *p, const struct leat_cost_point *point) {
    for (size_t i = 0; i < p->machine_count; i++) {
        double room = (p->machines[i].memory_gib - p->spare_gib) * 1073741824.0;
        if (room >= (double)point->peak_bytes && point->busy <= 0.6 * p->machines[i].vcpus) return (int)i;
    }
    return -1;
}

static void model_point(const struct model *m, size_t at, const struct leat_prices *prices, struct leat_cost_point *out) {
    const json_t *point = json_array_get(m->measured, at);
    double ignored, factor = to_day(m, point, &ignored);
    *out = (struct leat_cost_point){.freshness_us = json_integer_value(json_object_get(point, "freshness_us")), .timer = is_timer(point),
                                    .peak_bytes = json_integer_value(json_object_get(point, "peak_bytes")),
                                    .measured_s = number(point, "window_us") / 1e6};
    if (out->timer)
        model_timer(m, point, prices, out);
    else
        model_service(m, point, at, out);
    model_tables(point, out);
    out->written_bytes = number(point, "written_bytes") * factor;
    out->puts = (number(point, "puts") + number(point, "lists")) * factor;
    out->gets = number(point, "gets") * factor;
    out->deletes = number(point, "deletes") * factor;
    out->busy = out->cpu_s / (out->timer ? out->cpu_s + 1 : 86400);
    out->machine = choose_machine(prices, out);
    if (out->machine >= 0) out->money_machine = 30 * out->hours_up * prices->machines[out->machine].per_hour;
    out->money_requests = 30 * (out->puts * prices->per_1000_puts + out->gets * prices->per_1000_gets) / 1000;
}

static int by_cpu(const void *a, const void *b) {
    double x = number(*(json_t *const *)a, "cpu_us"), y = number(*(json_t *const *)b, "cpu_us");
    return (x > y) - (x < y);
}

/* Of each freshness the middle one of its rounds by CPU time, the lower of two. Owned by the caller; NULL: no rounds. */
static json_t *middle_round(const json_t *rounds) {
    size_t count = json_array_size(rounds), points = json_array_size(json_array_get(rounds, 0));
    json_t **same = leat_alloc((count + 1) * sizeof *same), *out = count ? json_array() : NULL;
    for (size_t i = 0; i < points; i++) {
        for (size_t r = 0; r < count; r++) same[r] = json_array_get(json_array_get(rounds, r), i);
        qsort(same, count, sizeof *same, by_cpu);
        json_array_append(out, same[(count - 1) / 2]);
    }
    free(same);
    return out;
}

enum leat_status leat_cost_model(const char *measured, uint64_t records, int64_t span_us, int64_t commit_interval_us,
                                 const struct leat_prices *prices, struct leat_cost *out, struct leat_error *err) {
    json_error_t problem;
    json_t *rounds = json_loads(measured, 0, &problem), *json = middle_round(rounds);
    struct model m = {.measured = json, .span_us = span_us > 0 ? (double)span_us : 1, .commit_us = (double)commit_interval_us};
    *out = (struct leat_cost){0};
    json_decref(rounds);
    if (!json) return leat_fail(err, LEAT_CORRUPT, "measurements: %s", problem.text);
    m.records_day = (double)records * DAY_US / m.span_us;
    const json_t *largest = json_array_get(json, 0);
    double beyond = number(largest, "cpu_us") - number(largest, "runs") * number(largest, "empty_cpu_us");
    if (is_timer(largest) && number(largest, "records") > 0 && beyond > 0) m.per_record_us = beyond / number(largest, "records");
    *out = (struct leat_cost){.point_count = json_array_size(json), .records_a_day = m.records_day, .commit_interval_s = m.commit_us / 1e6};
    out->points = leat_alloc((out->point_count + 1) * sizeof *out->points);
    for (size_t i = 0; i < out->point_count; i++) model_point(&m, i, prices, &out->points[i]);
    json_decref(json);
    return LEAT_OK;
}

void leat_cost_deinit(struct leat_cost *c) {
    for (size_t i = 0; i < c->point_count; i++) {
        for (size_t t = 0; t < c->points[i].table_count; t++) free(c->points[i].tables[t].name);
        free(c->points[i].tables);
    }
    free(c->points);
    *c = (struct leat_cost){0};
}

size_t leat_cost_meets(const struct leat_cost *c, int64_t freshness_us) {
    size_t i = 0;
    while (i + 1 < c->point_count && c->points[i].freshness_us > freshness_us) i++;
    return i;
}

/* ---- in words ---------------------------------------------------------------------------------------------------------- */

void leat_put_freshness(struct leat_buffer *b, int64_t us) {
    static const struct { int64_t us; const char *name; } UNITS[] = {{INT64_C(3600000000), "h"}, {60000000, "min"}, {1000000, "s"}, {1000, "ms"}, {1, "us"}};
    size_t i = 0;
    while (us % UNITS[i].us) i++;
    leat_putf(b, "%lld %s", (long long)(us / UNITS[i].us), UNITS[i].name);
}

static void put_count(struct leat_buffer *b, double n) {
    if (n >= 1e7)
        leat_putf(b, "%.0f M", n / 1e6);
    else if (n >= 1e4)
        leat_putf(b, "%.0f k", n / 1e3);
    else
        leat_putf(b, n >= 100 || n == floor(n) ? "%.0f" : "%.1f", n);
}

static void put_cell(struct leat_buffer *out, struct leat_buffer *cell, int width) {
    leat_putf(out, "%*s", width, cell->data ? cell->data : "");
    leat_buffer_reset(cell);
}

static double money(const struct leat_cost_point *p) {
    return p->money_machine + p->money_requests;
}

static void print_point(const struct leat_cost_point *p, const struct leat_prices *prices, struct leat_buffer *out) {
    struct leat_buffer cell = {0};
    leat_put_freshness(&cell, p->freshness_us);
    put_cell(out, &cell, 9);
    leat_putf(out, "  %-10s", p->timer ? "by timer" : "leat run");
    put_count(&cell, p->cpu_s);
    put_cell(out, &cell, 9);
    leat_putf(&cell, "%.0f MB", (double)p->peak_bytes / 1e6);
    put_cell(out, &cell, 10);
    leat_put_size(&cell, (int64_t)(p->written_bytes / 1048576) * 1048576);
    put_cell(out, &cell, 11);
    put_count(&cell, p->puts + p->gets);
    put_cell(out, &cell, 10);
    leat_putf(&cell, p->hours_up < 1 ? "%.2f" : "%.1f", p->hours_up);
    put_cell(out, &cell, 9);
    leat_putf(out, "  %-9s %9.2f\n", p->machine < 0 ? "none fits" : prices->machines[p->machine].name, money(p));
    leat_buffer_deinit(&cell);
}

static const struct leat_cost_table *table_at(const struct leat_cost_point *p, const char *name) {
    for (size_t i = 0; i < p->table_count; i++)
        if (strcmp(p->tables[i].name, name) == 0) return &p->tables[i];
    return NULL;
}

static void put_times(struct leat_buffer *out, const struct leat_cost_point *p, const struct leat_cost_table *t, const struct leat_cost_table *base) {
    leat_put_freshness(out, p->freshness_us);
    leat_put(out, " would take ");
    put_count(out, t->cpu_s);
    if (base->cpu_s > 0) leat_putf(out, " (%.1f times)", t->cpu_s / base->cpu_s);
}

/* One freshness asked for and the share of a day that it holds. */
struct asked {
    int64_t us;
    double share;
};

/* How many there are; the shorter one first. */
static size_t asked_of(const struct leat_cost_need *need, struct asked out[2]) {
    const struct leat_calendar *c = &need->asked;
    enum { DAY_MINUTES = 1440 };
    double between = (double)((c->to_minute - c->from_minute + DAY_MINUTES) % DAY_MINUTES) / DAY_MINUTES;
    out[0] = (struct asked){c->between_us, c->else_us ? between : 1};
    if (!c->else_us) return 1;
    out[1] = (struct asked){c->else_us, 1 - between};
    if (out[1].us < out[0].us) {
        const struct asked first = out[0];
        out[0] = out[1];
        out[1] = first;
    }
    return 2;
}

static void put_answer(struct leat_buffer *out, int64_t asked_us, int64_t us) {
    leat_put_freshness(out, us);
    leat_put(out, us > asked_us ? " is the shortest measured" : " does");
}

/* A table by the hour: both freshnesses, weighed by the hours, and what the shorter one alone would take. */
static void put_by_the_hour(const struct leat_cost *c, const struct leat_cost_need *need, const struct asked asked[2], struct leat_buffer *out) {
    const struct leat_cost_point *p[2];
    const struct leat_cost_table *t[2];
    struct leat_cost_table both = {0};
    for (int i = 0; i < 2; i++) {
        p[i] = &c->points[leat_cost_meets(c, asked[i].us)];
        if (!(t[i] = table_at(p[i], need->table))) return;
        both.cpu_s += asked[i].share * t[i]->cpu_s;
    }
    leat_putf(out, "%s asks for ", need->table);
    leat_put_freshness(out, asked[0].us);
    leat_putf(out, " for %.3g hours of the day, else for ", 24 * asked[0].share);
    leat_put_freshness(out, asked[1].us);
    leat_put(out, "; ");
    put_answer(out, asked[0].us, p[0]->freshness_us);
    leat_put(out, ", and ");
    put_answer(out, asked[1].us, p[1]->freshness_us);
    leat_put(out, ", together at ");
    put_count(out, both.cpu_s);
    leat_put(out, " CPU s a day of its own. All day ");
    put_times(out, p[0], t[0], &both);
    leat_put(out, ".");
}

/* For one table: the longest freshness that does, and what more and less would take. */
static void put_recommendation(const struct leat_cost *c, const struct leat_cost_need *need, struct leat_buffer *out) {
    struct asked asked[2];
    if (asked_of(need, asked) > 1) {
        put_by_the_hour(c, need, asked, out);
        return;
    }
    size_t at = leat_cost_meets(c, asked[0].us);
    const struct leat_cost_table *here = table_at(&c->points[at], need->table), *other;
    if (!here) return;
    leat_putf(out, "%s asks for ", need->table);
    leat_put_freshness(out, asked[0].us);
    leat_put(out, "; ");
    put_answer(out, asked[0].us, c->points[at].freshness_us);
    leat_put(out, ", at ");
    put_count(out, here->cpu_s);
    leat_put(out, " CPU s a day of its own");
    if (at + 1 < c->point_count && (other = table_at(&c->points[at + 1], need->table))) {
        leat_put(out, ". More: ");
        put_times(out, &c->points[at + 1], other, here);
    }
    if (at > 0 && (other = table_at(&c->points[at - 1], need->table))) {
        leat_put(out, ". Less: ");
        put_times(out, &c->points[at - 1], other, here);
    }
    leat_put(out, ".");
}

/* A machine as the shorter freshness needs it, requests by the hours. */
static double money_for(const struct leat_cost *c, const struct leat_cost_need *need) {
    struct asked asked[2];
    size_t n = asked_of(need, asked);
    double sum = c->points[leat_cost_meets(c, asked[0].us)].money_machine;
    for (size_t i = 0; i < n; i++) sum += asked[i].share * c->points[leat_cost_meets(c, asked[i].us)].money_requests;
    return sum;
}

/* The project needs what its most demanding table needs. */
static void put_overall(const struct leat_cost *c, const struct leat_prices *prices, const struct leat_cost_need *needs, size_t count, struct leat_buffer *out) {
    const struct leat_cost_need *first = NULL;
    struct asked least = {0}, asked[2];
    for (size_t i = 0; i < count; i++) {
        asked_of(&needs[i], asked);
        if (first && (asked[0].us > least.us || (asked[0].us == least.us && asked[0].share <= least.share))) continue;
        first = &needs[i];
        least = asked[0];
    }
    if (!first || !c->point_count) return;
    double needed = money_for(c, first), longest = money(&c->points[0]);
    leat_putf(out, "All tables as fresh as %s: %.2f %s a month; all of them nightly: %.2f.", first->table, needed, prices->currency, longest);
    if (needed > 2 * longest)
        leat_putf(out, " If its readers can wait, or the table can run in a project of its own, that is worth asking ('leat advise %s').", first->table);
}

void leat_cost_print(const struct leat_cost *c, const struct leat_prices *prices, const struct leat_cost_need *needs, size_t need_count,
                     struct leat_buffer *out) {
    leat_put(out, "a day of ");
    put_count(out, c->records_a_day);
    leat_putf(out, " records, every table at one freshness; money: thirty days, %s\n\n", prices->currency);
    leat_putf(out, "%9s  %-10s%9s%10s%11s%10s%9s  %-9s %9s\n", "freshness", "kept by", "CPU s", "memory", "written", "requests", "hours up", "machine", "a month");
    for (size_t i = 0; i < c->point_count; i++) print_point(&c->points[i], prices, out);
    leat_put(out, "\n");
    for (size_t i = 0; i < need_count; i++) {
        put_recommendation(c, &needs[i], out);
        leat_put(out, "\n");
    }
    put_overall(c, prices, needs, need_count, out);
    leat_put(out, "\n");
}

void leat_cost_json(const struct leat_cost *c, const struct leat_prices *prices, const struct leat_cost_need *needs, size_t need_count,
                    struct leat_buffer *out) {
    json_t *points = json_array(), *words = json_array();
    struct leat_buffer text = {0};
    for (size_t i = 0; i < c->point_count; i++) {
        const struct leat_cost_point *p = &c->points[i];
        json_t *tables = json_object();
        for (size_t t = 0; t < p->table_count; t++) json_object_set_new(tables, p->tables[t].name, json_real(p->tables[t].cpu_s));
        json_array_append_new(points, json_pack("{s:I,s:s,s:f,s:f,s:I,s:f,s:f,s:f,s:f,s:f,s:s?,s:f,s:f,s:f,s:o}", "freshness_us", (json_int_t)p->freshness_us,
                                                "kept_by", p->timer ? "timer" : "run", "cpu_s", p->cpu_s, "shared_cpu_s", p->shared_cpu_s, "peak_bytes",
                                                (json_int_t)p->peak_bytes, "written_bytes", p->written_bytes, "puts", p->puts, "gets", p->gets, "deletes",
                                                p->deletes, "hours_up", p->hours_up, "machine",
                                                p->machine < 0 ? NULL : prices->machines[p->machine].name, "money_machine", p->money_machine,
                                                "money_requests", p->money_requests, "measured_s", p->measured_s, "tables", tables));
    }
    for (size_t i = 0; i < need_count; i++) {
        leat_buffer_reset(&text);
        put_recommendation(c, &needs[i], &text);
        if (text.length) json_array_append_new(words, json_string(text.data));
    }
    leat_buffer_reset(&text);
    put_overall(c, prices, needs, need_count, &text);
    if (text.length) json_array_append_new(words, json_string(text.data));
    json_t *json = json_pack("{s:f,s:s,s:o,s:o}", "records_a_day", c->records_a_day, "currency", prices->currency, "points", points, "recommendation", words);
    char *dumped = json_dumps(json, JSON_INDENT(1));
    leat_putf(out, "%s\n", dumped);
    free(dumped);
    json_decref(json);
    leat_buffer_deinit(&text);
}
