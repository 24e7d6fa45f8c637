#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "audit/compare.h"
#include "base/usage.h"
#include "cli/cli.h"
#include "plan/plan.h"
#include "rehearse/rehearse.h"

enum { OPTION_CURRENT, OPTION_FROM, OPTION_TO, OPTION_STEP, OPTION_SPEED, OPTION_CLOCK, OPTION_ROWS, OPTION_SCRATCH, OPTION_KEEP };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "current", .type = LEAT_OPTION_PATH, .default_text = ".", .prose = "The project whose recorded input is used, and with which is compared."},
    {.name = "from", .type = LEAT_OPTION_TEXT, .prose = "Only records that came from this time on: '2026-03-01' or '2026-03-01 12:00:00'."},
    {.name = "to", .type = LEAT_OPTION_TEXT, .prose = "Only records that came before this time."},
    {.name = "step", .type = LEAT_OPTION_INTERVAL, .min = 0, .max = INT64_C(86400) * 1000000,
     .prose = "Continuous tables step no more often than this, which decides only which records are late. 0: as often as live. Default: so that there are about "
              "500 steps."},
    {.name = "speed", .type = LEAT_OPTION_REAL, .min = 0, .max = -1, .default_text = "0", .prose = "At most so many times real time; 0: as fast as it goes."},
    {.name = "clock", .type = LEAT_OPTION_ENUM, .choices = leat_record_clock_names, .default_text = "auto",
     .prose = "When records come: as they arrived, or by event time, as if a bulk load had been live. Auto: by event time where all arrived within a tenth of "
              "the time the events span."},
    {.name = "rows", .type = LEAT_OPTION_INT, .unit = "rows", .min = 0, .max = 1000000, .default_text = "5", .prose = "Differing rows of each table to show."},
    {.name = "scratch", .type = LEAT_OPTION_PATH, .prose = "Folder for both lakes. Default: .leat-rehearsal in the current project, removed afterwards."},
    {.name = "keep", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Keep the scratch folder, to look at both lakes."},
};

struct rehearse {
    struct leat_cli *cli;
    const char *current;
    char *scratch;
    struct leat_record record;
    struct leat_rehearsal *sides[2]; /* current, changed */
    int64_t wall_us[2], cpu_us[2];
    json_t *status[2];
    int side;                         /* under way, since: */
    int64_t began_us, told_us;
    uint64_t differing;
    struct leat_buffer out, tables;   /* tables: which differ, in words */
    size_t table_count, differing_tables;
};
static const char *const SIDES[2] = {"current", "changed"};

/* ---- progress ---------------------------------------------------------------------------------------------------------- */

static void show(const char *text) {
    if (leat_cli_is_terminal(2)) fprintf(stderr, "\r%-60s\r%s", "", text);
}

static int64_t now_us(const struct rehearse *r) {
    return r->cli->env.clock->monotonic_us(r->cli->env.clock);
}

/* Of both sides, if the rest goes as what there was; the first moments, in which all is opened, say little: then as the other side went. */
static int64_t left_us(const struct rehearse *r, double share) {
    double took = (double)(now_us(r) - r->began_us), whole = share < 0.1 && r->side ? (double)r->wall_us[0] : took / share;
    return (int64_t)(whole * (1 - share) + (r->side ? 0 : whole));
}

/* On a terminal at once; elsewhere, where a log is kept, once a minute. */
static bool on_progress(void *context, int64_t at_us) {
    enum { LOG_US = 60000000 };
    struct rehearse *r = context;
    char line[128], span[LEAT_SPAN_BYTES];
    double share = (double)(at_us - r->record.first_us) / (double)(r->record.last_us - r->record.first_us + 1);
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    bool known = share > 0.02;
    snprintf(line, sizeof line, "the %s project: %.0f %%%s%s%s", SIDES[r->side], 100 * share, known ? ", about " : "",
             known ? leat_cli_span(left_us(r, share), span) : "", known ? " left" : "");
    if (leat_cli_is_terminal(2)) {
        show(line);
    } else if (now_us(r) - r->told_us >= LOG_US) {
        r->told_us = now_us(r);
        leat_cli_say(r->cli, "%s", line);
    }
    return true;
}

static enum leat_status record(struct rehearse *r, int *code, struct leat_error *err) {
    struct leat_engine_options options = {.project_dir = r->current, .read_only = true};
    struct leat_record_options wanted = {.from_us = INT64_MIN, .to_us = INT64_MAX, .clock = (enum leat_record_clock)r->cli->values[OPTION_CLOCK].number};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine = NULL;
    if (!leat_cli_read_time(r->cli, "rehearse", &OPTIONS[OPTION_FROM], OPTION_FROM, &wanted.from_us) ||
        !leat_cli_read_time(r->cli, "rehearse", &OPTIONS[OPTION_TO], OPTION_TO, &wanted.to_us)) {
        *code = LEAT_EXIT_USAGE;
        return LEAT_OK;
    }
    char *dir = leat_asprintf("%s/recorded", r->scratch);
    show("reading what was recorded");
    wanted.dir = dir;
    enum leat_status st = leat_engine_open(&r->cli->env, &options, &diags, &engine, err);
    if (st == LEAT_OK) st = leat_record_make(&r->cli->env, engine, &wanted, &r->record, err);
    if (st == LEAT_OK && !r->record.records)
        st = leat_fail(err, LEAT_NOT_FOUND, r->cli->given[OPTION_FROM] || r->cli->given[OPTION_TO]
                                                ? "there is nothing to rehearse: no record came between --from and --to, which are times of arrival"
                                                : "there is nothing to rehearse: bronze holds no record; 'leat run' first");
    if (leat_cli_diagnostics(r->cli, &diags)) *code = LEAT_EXIT_NO;
    leat_diagnostics_deinit(&diags);
    leat_engine_close(engine);
    free(dir);
    return st;
}

static int64_t step_of(const struct rehearse *r) {
    enum { STEPS = 500 };
    return r->cli->given[OPTION_STEP] ? r->cli->values[OPTION_STEP].number : r->record.records ? (r->record.last_us - r->record.first_us) / STEPS : 0;
}

static enum leat_status read_status(struct leat_engine *engine, json_t **out, struct leat_error *err) {
    struct leat_buffer text = {0};
    enum leat_status st = leat_engine_status(engine, &text, err);
    if (st == LEAT_OK) *out = json_loads(text.data, 0, NULL);
    leat_buffer_deinit(&text);
    return st;
}

static enum leat_status rehearse_side(struct rehearse *r, int side, int *code, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    char *dir = leat_asprintf("%s/%s", r->scratch, SIDES[side]);
    struct leat_rehearsal_options options = {.project_dir = side ? r->cli->project : r->current, .dir = dir, .record = &r->record,
                                             .speed = r->cli->values[OPTION_SPEED].real, .step_us = step_of(r), .lean = true,
                                             .progress = on_progress, .context = r};
    int64_t cpu = leat_usage_cpu_us();
    r->side = side;
    r->began_us = now_us(r);
    enum leat_status st = leat_rehearsal_open(&r->cli->env, &options, &diags, &r->sides[side], err);
    if (leat_cli_diagnostics(r->cli, &diags)) *code = LEAT_EXIT_NO;
    leat_diagnostics_deinit(&diags);
    if (st == LEAT_OK && r->record.records) st = leat_rehearsal_run(r->sides[side], INT64_MAX, err);
    if (st == LEAT_OK) st = leat_rehearsal_finish(r->sides[side], err);
    if (st == LEAT_OK) st = read_status(leat_rehearsal_engine(r->sides[side]), &r->status[side], err);
    if (st == LEAT_OK) st = leat_rehearsal_read(r->sides[side], err);
    show("");
    r->wall_us[side] = now_us(r) - r->began_us;
    r->cpu_us[side] = leat_usage_cpu_us() - cpu;
    free(dir);
    return st == LEAT_OK ? st : leat_prepend(err, "the %s project", SIDES[side]);
}

/* Why a table could not be brought up to date: its last run failed, or FAIL UPDATE holds it. NULL: it could. */
static const char *trouble_of(const struct rehearse *r, int side, const char *table) {
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(r->status[side], "tables"), i, entry)
        if (strcmp(json_string_value(json_object_get(entry, "name")), table) == 0) return json_string_value(json_object_get(entry, "error"));
    return NULL;
}

static void put_troubles(struct rehearse *r, const char *table) {
    const char *why[2] = {trouble_of(r, 0, table), trouble_of(r, 1, table)};
    for (int side = 0; side < 2; side++) {
        if (!why[side]) continue;
        if (r->cli->json) {
            leat_putf(&r->out, ",\"%s_error\":", side ? "right" : "left");
            leat_put_json_string(&r->out, why[side], strlen(why[side]));
        } else {
            leat_putf(&r->out, "  the %s project could not bring it up to date: %s\n", SIDES[side], why[side]);
        }
    }
}

static void note_differing(struct rehearse *r, const char *table, uint64_t differing) {
    r->table_count++;
    if (!differing) return;
    r->differing += differing;
    r->differing_tables++;
    leat_putf(&r->tables, "%s%s", r->tables.length ? ", " : "", table);
}

static enum leat_status compare_table(struct rehearse *r, struct leat_conn *conn, size_t left, size_t right, struct leat_error *err) {
    struct leat_engine *engines[2] = {leat_rehearsal_engine(r->sides[0]), leat_rehearsal_engine(r->sides[1])};
    const char *name = leat_engine_project(engines[1])->tables[right].name;
    struct leat_buffer sql[2] = {{0}, {0}};
    struct leat_compare_result result = {0};
    char **key;
    size_t key_count = leat_engine_key(engines[1], right, &key), kept = 0;
    const struct leat_schema *old = &leat_engine_plan(engines[0], left)->schema;
    for (size_t i = 0; i < key_count; i++) kept += leat_schema_find(old, key[i]) >= 0;
    enum leat_status st = leat_engine_content(engines[0], left, &sql[0], err);
    if (st == LEAT_OK) st = leat_engine_content(engines[1], right, &sql[1], err);
    struct leat_compare_options options = {.left_sql = sql[0].data, .right_sql = sql[1].data, .key = key, .key_count = kept == key_count ? key_count : 0,
                                           .example_max = (size_t)r->cli->values[OPTION_ROWS].number};
    if (st == LEAT_OK) st = leat_compare(conn, &options, &result, err);
    if (st == LEAT_OK) {
        uint64_t differing = leat_compare_differing(&result) + (!trouble_of(r, 0, name) != !trouble_of(r, 1, name));
        for (size_t i = 0; i < result.column_count; i++) differing += !result.columns[i].compared;
        note_differing(r, name, differing);
        if (r->cli->json) {
            leat_putf(&r->out, "%s{\"table\":\"%s\",", r->out.length && r->out.data[r->out.length - 1] == '}' ? "," : "", name);
            leat_compare_json(&result, &r->out);
        } else {
            leat_putf(&r->out, "table %s: ", name);
            leat_compare_print(&result, SIDES[0], SIDES[1], &r->out);
        }
        put_troubles(r, name);
        if (r->cli->json) leat_put(&r->out, "}");
    }
    leat_compare_deinit(&result);
    for (size_t i = 0; i < key_count; i++) free(key[i]);
    free(key);
    leat_buffer_deinit(&sql[0]);
    leat_buffer_deinit(&sql[1]);
    return st == LEAT_OK ? st : leat_prepend(err, "comparing table \"%s\"", name);
}

static void put_only(struct rehearse *r, const char *table, int side) {
    note_differing(r, table, 1);
    if (r->cli->json)
        leat_putf(&r->out, "%s{\"table\":\"%s\",\"only\":\"%s\"}", r->out.length && r->out.data[r->out.length - 1] == '}' ? "," : "", table, SIDES[side]);
    else
        leat_putf(&r->out, "table %s: only in the %s project\n", table, SIDES[side]);
}

static enum leat_status compare_all(struct rehearse *r, struct leat_conn *conn, struct leat_error *err) {
    const struct leat_project *old = leat_engine_project(leat_rehearsal_engine(r->sides[0])), *new = leat_engine_project(leat_rehearsal_engine(r->sides[1]));
    struct leat_object_ref ref;
    enum leat_status st = LEAT_OK;
    for (size_t t = 0; t < new->table_count && st == LEAT_OK; t++)
        if (leat_project_find(old, new->tables[t].name, &ref) && ref.kind == LEAT_OBJECT_TABLE)
            st = compare_table(r, conn, ref.index, t, err);
        else
            put_only(r, new->tables[t].name, 1);
    for (size_t t = 0; t < old->table_count && st == LEAT_OK; t++)
        if (!leat_project_find(new, old->tables[t].name, &ref) || ref.kind != LEAT_OBJECT_TABLE) put_only(r, old->tables[t].name, 0);
    return st;
}

static enum leat_status compare(struct rehearse *r, struct leat_error *err) {
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    char *spill = leat_asprintf("%s/spill", r->scratch);
    const struct leat_duck_options batch = {.use = LEAT_DUCK_BATCH, .threads = leat_usage_processors(), .temp_dir = spill};
    enum leat_status st = leat_io_mkdirs(r->cli->env.io, spill, err);
    if (st == LEAT_OK) st = leat_duck_open(&batch, &duck, err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, err);
    show("comparing");
    if (st == LEAT_OK) st = compare_all(r, conn, err);
    show("");
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    free(spill);
    return st;
}

/* "a, b by event time, for they arrived in bulk" */
static void put_by_event(const struct leat_record *record, struct leat_buffer *b) {
    size_t count = 0;
    for (size_t s = 0; s < record->source_count; s++)
        if (record->sources[s].by_event) leat_putf(b, "%s%s", count++ ? ", " : "; ", record->sources[s].name);
    if (count) leat_putf(b, " by event time, for %s arrived in bulk", count == 1 ? "it" : "they");
}

static void print(const struct rehearse *r) {
    int64_t span = r->record.records ? r->record.last_us - r->record.first_us : 0;
    struct leat_buffer b = {0};
    char text[LEAT_SPAN_BYTES];
    if (r->cli->json) {
        printf("{\"records\":%llu,\"span_us\":%lld,\"wall_us\":[%lld,%lld],\"cpu_us\":[%lld,%lld],\"differing\":%llu,\"tables\":[%s]}\n",
               (unsigned long long)r->record.records, (long long)span, (long long)r->wall_us[0], (long long)r->wall_us[1], (long long)r->cpu_us[0],
               (long long)r->cpu_us[1], (unsigned long long)r->differing, r->out.data ? r->out.data : "");
        return;
    }
    leat_putf(&b, "%llu records over %s", (unsigned long long)r->record.records, leat_cli_span(span, text));
    put_by_event(&r->record, &b);
    leat_putf(&b, "; steps at least %s apart\n", leat_cli_span(step_of(r), text));
    for (int side = 0; side < 2; side++)
        leat_putf(&b, "%s: %.1f CPU s, %.0f times real time\n", SIDES[side], (double)r->cpu_us[side] / 1e6,
                  r->wall_us[side] ? (double)span / (double)r->wall_us[side] : 0);
    fputs(b.data, stdout);
    fputs(r->out.data ? r->out.data : "", stdout);
    if (r->differing_tables)
        printf("%zu of %zu tables differ%s: %s\n", r->differing_tables, r->table_count, r->differing_tables == 1 ? "s" : "", r->tables.data);
    else
        printf("no table differs\n");
    leat_buffer_deinit(&b);
}

static bool same_folder(const char *a, const char *b) {
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static int run(struct leat_cli *cli) {
    struct rehearse r = {.cli = cli, .current = cli->values[OPTION_CURRENT].text};
    r.told_us = now_us(&r);
    struct leat_error err = {0}, ignored;
    int code = LEAT_EXIT_OK;
    if (same_folder(r.current, cli->project)) {
        fputs("leat rehearse: say which project is the changed one: leat rehearse --project CHANGED [--current DIR]\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    r.scratch = cli->given[OPTION_SCRATCH] ? leat_strdup(cli->values[OPTION_SCRATCH].text) : leat_asprintf("%s/.leat-rehearsal", r.current);
    enum leat_status st = record(&r, &code, &err);
    for (int side = 0; side < 2 && st == LEAT_OK && code == LEAT_EXIT_OK; side++) st = rehearse_side(&r, side, &code, &err);
    if (st == LEAT_OK && code == LEAT_EXIT_OK) st = compare(&r, &err);
    if (st != LEAT_OK && code == LEAT_EXIT_OK) code = leat_cli_failed(&err);
    if (code == LEAT_EXIT_OK) {
        print(&r);
        code = r.differing ? LEAT_EXIT_NO : LEAT_EXIT_OK;
    }
    for (int side = 0; side < 2; side++) leat_rehearsal_close(r.sides[side]);
    if (!cli->values[OPTION_KEEP].number && leat_io_remove_tree(cli->env.io, r.scratch, &ignored) != LEAT_OK) fprintf(stderr, "leat: %s\n", ignored.text);
    leat_record_deinit(&r.record);
    leat_buffer_deinit(&r.out);
    leat_buffer_deinit(&r.tables);
    for (int side = 0; side < 2; side++) json_decref(r.status[side]);
    free(r.scratch);
    return code;
}

const struct leat_command leat_command_rehearse = {
    .name = "rehearse", .arguments = "", .summary = "run recorded input through a changed project, and show how its tables differ",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Takes what the sources of the current project have recorded (bronze and dead letters) and runs it twice on a simulated clock, through the\n"
             "current project and through the one in --project: with the same arrivals, steps, lateness and schedules, in lakes of their own. Both end\n"
             "when the last record has come, and then all scheduled tables are run; earlier runs and restatements that these overtake are left out.\n"
             "Then says for each table which rows and columns differ, with examples, and whether its last run failed. Exit code 1 when anything differs. Neither project's lake\n"
             "is touched; 'leat run' may go on meanwhile. References are as last recorded.",
    .run = run,
};
