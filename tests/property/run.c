/* Runs one case: writes the project, plays the rounds, asks verify after every flush. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "engine/engine.h"
#include "property.h"
#include "sim/clock.h"
#include "sim/kill.h"
#include "sql/duck.h"

static struct leat_duck *ducks[3]; /* by enum leat_duck_use; opening three instances would cost more than the case */
static uint64_t duck_runs;

struct run {
    struct leat_env env;
    struct leat_clock clock;
    int64_t now_us;
    struct leat_engine *engine;
    const char *dir;
    struct prop_coverage *coverage;
    uint64_t steps, unsaved_steps; /* since the start; since the last checkpoint */
    const struct prop_case *played;
    int64_t frozen_us[TABLES_MAX]; /* rows before, which were frozen when verify was asked last, were these (a hash; NULL: none); INT64_MIN: it was not asked */
    char *frozen_rows[TABLES_MAX];
    bool has_checkpoint, changed, killed, replayed, loaded, changed_after_late, restated, lost, crashed, asked;
};

void prop_write_file(const char *dir, const char *name, const char *text, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(3);
    }
}

/* The dial of each table, drawn from the round's change; and one table more, with another query each time. */
static void put_table(const struct prop_case *c, size_t t, uint32_t change, struct leat_buffer *sql) {
    static const char *const DIALS[] = {"FRESHNESS = INTERVAL '1' SECOND", "FRESHNESS = INTERVAL '7' SECOND", "FRESHNESS = INTERVAL '1' DAY",
                                        "FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '19:00' ELSE INTERVAL '7' SECOND", "SCHEDULE CRON '0 2 * * *'",
                                        "SCHEDULE CRON '0 2 * * *' REFRESH_MODE = INCREMENTAL"};
    const char *dial = strstr(c->tables[t], "FRESHNESS = "), *rest = dial ? strstr(dial, " SECOND") : NULL;
    uint32_t drawn = (change >> (t * 4)) & 15;
    bool fixed = strstr(c->tables[t], "EMIT ON") || strstr(c->tables[t], "REFRESH_MODE");
    if (!change || drawn < 6 || !rest) {
        leat_put(sql, c->tables[t]);
        return;
    }
    leat_putn(sql, c->tables[t], (size_t)(dial - c->tables[t]));
    leat_put(sql, DIALS[drawn % (fixed ? 4 : 6)]);
    leat_put(sql, rest + strlen(" SECOND"));
}

/* The source has a column more, of which the records always said something. (A sink begins anew with other columns.) */
static bool has_more_columns(const struct prop_case *c, uint32_t change) {
    return c->sink < 0 && change && (change >> 21) % 3 == 0;
}

static void put_source(const struct prop_case *c, uint32_t change, struct leat_buffer *sql) {
    const char *end = strstr(c->source_sql, ",\n  WATERMARK");
    leat_putn(sql, c->source_sql, (size_t)(end - c->source_sql));
    leat_putf(sql, "%s%s", has_more_columns(c, change) ? ", x INTEGER" : "", end);
}

static void put_more(const struct prop_case *c, uint32_t change, struct leat_buffer *sql) {
    if (change % 3)
        leat_putf(sql, "CREATE MATERIALIZED TABLE more FRESHNESS = INTERVAL '1' SECOND AS SELECT window_start, count(*) AS n, sum(%s) AS k\n"
                       "FROM TUMBLE(events, ts, INTERVAL '%u' SECOND) GROUP BY window_start;\n", has_more_columns(c, change) ? "x" : "k", change % 5 * 20 + 20);
}

static uint32_t change_of(const struct prop_case *c, size_t round) {
    uint32_t change = 0;
    for (size_t i = 0; i <= round; i++)
        if (c->change[i]) change = c->change[i];
    return change;
}

void prop_write_project(const struct prop_case *c, size_t round, const char *dir) {
    struct leat_buffer sql = {0};
    char in[512];
    snprintf(in, sizeof in, "%s/in", dir);
    mkdir(dir, 0777);
    mkdir(in, 0777);
    put_source(c, change_of(c, round), &sql);
    for (size_t t = 0; t < c->table_count; t++)
        if (c->tables[t]) put_table(c, t, change_of(c, round), &sql);
    put_more(c, change_of(c, round), &sql);
    if (c->sink >= 0 && c->tables[c->sink])
        leat_putf(&sql, "CREATE SINK told FROM t%d WITH (connector = 'file', path = 'told.out', on_retract = 'send', start = 'snapshot');\n", c->sink);
    prop_write_file(dir, "project.sql", sql.data, "w");
    leat_buffer_deinit(&sql);
}

char *prop_round_text(const struct prop_case *c, size_t round) {
    struct leat_buffer text = {0};
    leat_put(&text, "");
    for (size_t k = 0; k < c->rounds[round].count; k++)
        if (c->rounds[round].lines[k]) leat_putf(&text, "%s\n", c->rounds[round].lines[k]);
    return text.data;
}

static void write_round(const struct prop_case *c, size_t round, const char *dir) {
    char *text = prop_round_text(c, round), from[512], to[512];
    if (*text) prop_write_file(dir, "in/events.ndjson", text, "a");
    free(text);
    if (!c->references[round]) return;
    snprintf(from, sizeof from, "%s/in/things.new", dir);
    snprintf(to, sizeof to, "%s/in/things.csv", dir);
    prop_write_file(dir, "in/things.new", c->references[round], "w");
    if (rename(from, to) != 0) perror(to);
}

static void open_ducks(void) {
    struct leat_duck_options options = {.threads = 1, .time_zone = "UTC"};
    struct leat_error err;
    bool fresh = duck_runs++ % 500 == 0; /* their memory over a long time is not what is tested here */
    for (int i = 0; i < 3 && fresh; i++) {
        leat_duck_close(ducks[i]);
        options.use = (enum leat_duck_use)i;
        if (leat_duck_open(&options, &ducks[i], &err) == LEAT_OK) continue;
        fprintf(stderr, "%s\n", err.text);
        exit(3);
    }
}

static void tell_all(const struct leat_diagnostics *diags, struct leat_error *err) {
    struct leat_buffer text = {0};
    if (!diags->count) return;
    leat_diagnostics_print(diags, &text);
    snprintf(err->text, sizeof err->text, "%s", text.data);
    leat_buffer_deinit(&text);
}

static enum leat_status reopen(struct run *run, uint64_t step_rows, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_engine_options options = {.project_dir = run->dir,
                                          .max_step_rows = step_rows,
                                          .shared_step = ducks[LEAT_DUCK_STEP],
                                          .shared_plan = ducks[LEAT_DUCK_PLAN],
                                          .shared_batch = ducks[LEAT_DUCK_BATCH]};
    run->replayed |= run->engine && run->unsaved_steps;
    run->loaded |= run->engine && run->has_checkpoint;
    leat_engine_close(run->engine);
    enum leat_status st = leat_engine_open(&run->env, &options, &diags, &run->engine, err);
    if (st != LEAT_OK) tell_all(&diags, err);
    leat_diagnostics_deinit(&diags);
    return st;
}

static uint64_t occurrences(const char *text, const char *of) {
    uint64_t n = 0;
    for (const char *at = text; (at = strstr(at, of)); at++) n++;
    return n;
}

/* The answer, as text, of a query over the lake as it is now. */
static enum leat_status ask_lake(struct run *run, const char *sql, char **out, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    enum leat_status st = leat_conn_open(ducks[LEAT_DUCK_BATCH], &conn, err);
    if (st == LEAT_OK) st = leat_engine_sql_views(run->engine, conn, err);
    if (st == LEAT_OK) st = leat_conn_text(conn, sql, out, err);
    if (conn) leat_conn_close(conn);
    return st;
}

/* A hash of the rows before a boundary, as the lake has them; stays NULL where there are none. */
static enum leat_status hash_rows(struct run *run, size_t t, int64_t before_us, char **out, struct leat_error *err) {
    char *sql = leat_asprintf("SELECT md5(string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR)) FROM (SELECT * FROM t%zu WHERE epoch_us(%s) < %lld) r", t, run->played->frozen[t],
                              (long long)before_us);
    enum leat_status st = ask_lake(run, sql, out, err);
    free(sql);
    return st;
}

static enum leat_status check_frozen_table(struct run *run, size_t t, const json_t *table, struct leat_error *err) {
    json_t *before = json_object_get(json_object_get(table, "frozen"), "before_us");
    char *rows = NULL;
    enum leat_status st = LEAT_OK;
    bool known = run->frozen_us[t] != INT64_MIN;
    if (known) st = hash_rows(run, t, run->frozen_us[t], &rows, err);
    bool same = !known || (rows && run->frozen_rows[t] ? strcmp(rows, run->frozen_rows[t]) == 0 : !rows && !run->frozen_rows[t]);
    free(rows);
    free(run->frozen_rows[t]);
    run->frozen_rows[t] = NULL;
    if (st == LEAT_OK && !same) return leat_fail(err, LEAT_CONFLICT, "frozen rows of t%zu have changed", t);
    if (json_is_integer(before) && json_integer_value(before) > run->frozen_us[t]) run->frozen_us[t] = json_integer_value(before);
    if (st == LEAT_OK && run->frozen_us[t] != INT64_MIN) st = hash_rows(run, t, run->frozen_us[t], &run->frozen_rows[t], err);
    return st;
}

/* What was frozen when this was asked before is as it was. */
static enum leat_status check_frozen(struct run *run, struct leat_error *err) {
    struct leat_buffer text = {0};
    bool any = false;
    for (size_t t = 0; t < run->played->table_count; t++) any |= run->played->frozen[t] && run->played->tables[t];
    if (!any) return LEAT_OK;
    enum leat_status st = leat_engine_status(run->engine, &text, err);
    json_t *status = st == LEAT_OK ? json_loads(text.data, 0, NULL) : NULL, *table;
    size_t i;
    json_array_foreach(json_object_get(status, "tables"), i, table) {
        const char *name = json_string_value(json_object_get(table, "name"));
        size_t t = name[0] == 't' ? strtoul(name + 1, NULL, 10) : TABLES_MAX;
        if (st == LEAT_OK && t < TABLES_MAX && run->played->frozen[t] && run->played->tables[t]) st = check_frozen_table(run, t, table, err);
    }
    json_decref(status);
    leat_buffer_deinit(&text);
    return st;
}

static void forget_frozen(struct run *run) {
    for (size_t t = 0; t < TABLES_MAX; t++) {
        free(run->frozen_rows[t]);
        run->frozen_rows[t] = NULL;
        run->frozen_us[t] = INT64_MIN;
    }
}

static enum leat_status verify(struct run *run, char **report, struct leat_error *err) {
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    enum leat_status st = leat_engine_verify(run->engine, NULL, 5, &text, &differing, err);
    if (st == LEAT_OK && run->coverage && text.data) {
        run->coverage->comparisons += occurrences(text.data, " differing rows\n");
        run->coverage->uncompared += occurrences(text.data, ": not compared");
    }
    if (st == LEAT_OK && differing) {
        *report = leat_strdup(text.data);
        st = leat_fail(err, LEAT_CONFLICT, "tables differ");
    }
    leat_buffer_deinit(&text);
    return st == LEAT_OK ? check_frozen(run, err) : st;
}

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void cover_table(struct run *run, const json_t *table, bool *late, bool *dead) {
    struct prop_coverage *v = run->coverage;
    const json_t *balance = json_object_get(json_object_get(table, "balance"), "events");
    v->tables++;
    v->classes[number(table, "class") & 7]++;
    v->empty_tables += number(table, "rows") == 0;
    v->tables_late += number(balance, "late") > 0;
    v->tables_dead += number(balance, "dead") > 0;
    v->tables_withheld += number(table, "withheld") > 0;
    v->never_run += number(table, "failures") > 0;
    *late |= number(balance, "late") > 0;
    *dead |= number(balance, "dead") > 0;
}

/* A record is a dead letter of a table once, and the row balance counts those that there are. */
static enum leat_status check_dead(struct run *run, const json_t *table, struct leat_error *err) {
    const char *name = json_string_value(json_object_get(table, "name"));
    long long counted = number(json_object_get(json_object_get(table, "balance"), "events"), "dead"), once, rows, undecoded;
    char *dead = NULL;
    if (!counted || strcmp(json_string_value(json_object_get(table, "kept")), "incremental") != 0) return LEAT_OK;
    char *sql = leat_asprintf("SELECT count(DISTINCT (_source, _partition, _offset)) || ' ' || count(*) || ' ' || (SELECT count(*) FROM events__dead) FROM %s__dead WHERE _partition >= 0", name);
    enum leat_status st = ask_lake(run, sql, &dead, err);
    if (st == LEAT_OK && sscanf(dead, "%lld %lld %lld", &once, &rows, &undecoded) != 3) st = leat_fail(err, LEAT_CORRUPT, "%s", dead);
    if (st == LEAT_OK && rows != once) st = leat_fail(err, LEAT_CONFLICT, "%s__dead holds %lld records more than once", name, rows - once);
    if (st == LEAT_OK && rows + undecoded != counted)
        st = leat_fail(err, LEAT_CONFLICT, "%s: the balance counts %lld dead letters, there are %lld", name, counted, rows + undecoded);
    free(dead);
    free(sql);
    return st;
}

/* Every table saw every record and the row balance is exact; what the case met is counted. */
static enum leat_status check_status(const struct prop_case *c, struct run *run, uint64_t records, char **report, struct leat_error *err) {
    struct leat_buffer text = {0};
    enum leat_status st = leat_engine_status(run->engine, &text, err);
    json_t *status = st == LEAT_OK ? json_loads(text.data, 0, NULL) : NULL, *table;
    bool late = false, dead = false;
    size_t i;
    json_array_foreach(json_object_get(status, "tables"), i, table) {
        const json_t *balance = json_object_get(json_object_get(table, "balance"), "events");
        if (balance && !c->retained && !json_object_get(table, "suspended") && !number(table, "failures") && (uint64_t)number(balance, "in") != records)
            st = leat_fail(err, LEAT_CONFLICT, "a table did not see %llu records", (unsigned long long)records);
        if (balance && !json_is_true(json_object_get(balance, "exact")))
            st = leat_fail(err, LEAT_CONFLICT, "the row balance is not exact");
        if (st == LEAT_OK && balance && !c->retained && !json_object_get(table, "suspended")) st = check_dead(run, table, err);
        if (run->coverage) cover_table(run, table, &late, &dead);
    }
    if (st != LEAT_OK && text.data) *report = leat_strdup(text.data);
    if (run->coverage) {
        run->coverage->late += late;
        run->coverage->dead += dead;
        run->coverage->restarts_replaying += run->replayed;
        run->coverage->checkpoints_loaded += run->loaded;
        run->coverage->many_steps += run->steps >= 10;
        run->coverage->changed_after_late += run->changed_after_late;
        run->coverage->restated += run->restated;
        run->coverage->lost += run->lost;
        run->coverage->changes += run->changed;
        run->coverage->killed += run->killed;
        run->coverage->crashed += run->crashed;
        run->coverage->asked += run->asked;
        run->coverage->retained += c->retained;
        run->coverage->told += c->sink >= 0;
    }
    json_decref(status);
    leat_buffer_deinit(&text);
    return st;
}

/* Suspends a table, or resumes it; in place, as the files are applied. */
static enum leat_status change_in_place(const struct prop_case *c, uint32_t change, struct run *run, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_buffer plan = {0};
    char name[16];
    snprintf(name, sizeof name, "t%u", change / 7 % (uint32_t)c->table_count);
    struct leat_change what = {.suspend = change % 4 == 1 ? name : NULL, .resume = change % 4 == 2 ? name : NULL};
    if (!c->tables[change / 7 % c->table_count]) what = (struct leat_change){0};
    enum leat_status st = leat_engine_apply(run->engine, &what, &diags, &plan, err);
    if (st != LEAT_OK) tell_all(&diags, err);
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&plan);
    return st;
}

/* A change, with the process killed in its middle or not; then once more, as one would. */
static enum leat_status change(const struct prop_case *c, size_t round, struct run *run, struct leat_error *err) {
    uint32_t drawn = c->change[round];
    run->changed = true;
    leat_io_kill_after(c->kill[round] ? c->kill[round] : UINT64_MAX);
    enum leat_status st = drawn % 2 && run->engine ? change_in_place(c, drawn, run, err) : reopen(run, c->step_rows[round], err);
    if (st != LEAT_OK && leat_io_killed()) {
        leat_engine_close(run->engine);
        run->engine = NULL;
        run->killed = true;
        leat_io_kill_after(UINT64_MAX);
        st = reopen(run, c->step_rows[round], err);
    }
    leat_io_kill_after(UINT64_MAX);
    return st;
}

/* Everything goes on, for the end. */
static enum leat_status resume_all(const struct prop_case *c, struct run *run, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t t = 0; t < c->table_count && run->changed && st == LEAT_OK; t++) {
        struct leat_diagnostics diags = {0};
        char name[32];
        snprintf(name, sizeof name, "t%zu", t);
        const struct leat_change what = {.resume = name};
        if (c->tables[t] && c->seed % 3) st = leat_engine_apply(run->engine, &what, &diags, NULL, err);
        leat_diagnostics_deinit(&diags);
    }
    return st;
}

static enum leat_status begin_round(const struct prop_case *c, size_t round, struct run *run, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    struct leat_buffer status = {0};
    run->now_us += 2000000;
    if (round && c->change[round]) {
        if (run->coverage && leat_engine_status(run->engine, &status, err) == LEAT_OK)
            run->changed_after_late |= occurrences(status.data, "\"late\": ") > occurrences(status.data, "\"late\": 0");
        leat_buffer_deinit(&status);
        prop_write_project(c, round, run->dir);
    }
    if (round && c->lose[round]) {
        char work[512];
        snprintf(work, sizeof work, "%s/.leat", run->dir);
        leat_engine_close(run->engine);
        run->engine = NULL;
        run->lost = true;
        forget_frozen(run); /* the lake says it up to an hour late */
        if ((st = leat_io_remove_tree(run->env.io, work, err)) != LEAT_OK) return st;
    }
    if (round && c->change[round]) {
        if ((st = change(c, round, run, err)) != LEAT_OK) return st;
    } else if (round == 0 || c->restart[round] || c->lose[round])
        if ((st = reopen(run, c->step_rows[round], err)) != LEAT_OK) return st;
    return LEAT_OK;
}

static enum leat_status step_round(const struct prop_case *c, size_t round, struct run *run, struct leat_error *err) {
    enum leat_status st;
    uint64_t got;
    if ((st = leat_engine_ingest(run->engine, &got, err)) != LEAT_OK) return st;
    /* An even number stops in the middle of the backlog. */
    uint64_t limit = c->step_rows[round] % 2 ? UINT64_MAX : c->step_rows[round];
    for (uint64_t k = 0; k < limit; k++) {
        bool did, all = k % 3 != 1;
        run->now_us += 1000000;
        if ((st = leat_engine_step(run->engine, all, &did, err)) != LEAT_OK) return st;
        run->steps += did;
        run->unsaved_steps += did;
        if (!did && all) break;
    }
    return LEAT_OK;
}

static enum leat_status restate(const struct prop_case *c, size_t round, struct run *run, struct leat_error *err) {
    struct leat_restate_options options = {.from_us = INT64_MIN, .reason = "property"};
    struct leat_buffer done = {0};
    if (c->restate[round] > 1) options.from_us = (c->old_times ? -120 : 1772323200) * INT64_C(1000000) + c->restate[round] * INT64_C(1000000);
    enum leat_status st = leat_engine_restate(run->engine, &options, &done, err);
    run->restated |= st == LEAT_OK && strcmp(done.data, "[]") != 0;
    leat_buffer_deinit(&done);
    if (st != LEAT_OK) return st;
    /* Again changes nothing. */
    st = leat_engine_restate(run->engine, &options, &done, err);
    if (st == LEAT_OK && strcmp(done.data, "[]") != 0) st = leat_fail(err, LEAT_CONFLICT, "a second restatement found something: %s", done.data);
    leat_buffer_deinit(&done);
    return st;
}

enum { ASK_PART, ASK_WHOLE, ASK_RUNS, ASK_REBUILD, ASK_REDECODE, ASK_RETRY, ASK_ONCE = PROP_ASK_ONCE, ASKS };

const char *prop_ask_name(uint32_t ask) {
    static const char *const NAMES[ASKS] = {"REFRESH PARTITION", "REFRESH", "all runs", "rebuild", "redecode", "retry-dead", "run --once"};
    return NAMES[ask % ASKS];
}

/* What can be asked of a running project; that the answer may be no is none of our concern. */
static enum leat_status ask(const struct prop_case *c, size_t round, struct run *run, struct leat_error *err) {
    static const char *const CONDITIONS[] = {"k % 2 = 0", "k < 2", "k IS NULL", "s = 'a'", "v > 0", "window_start > TIMESTAMP '2026-03-01 00:01'", "true"};
    uint32_t drawn = c->ask[round], what = drawn % ASKS, t = drawn / ASKS % (uint32_t)c->table_count, more = drawn / 64;
    enum leat_status st = LEAT_OK;
    char table[16];
    run->asked = true;
    snprintf(table, sizeof table, "t%u", t);
    switch (what) {
    case ASK_PART:
    case ASK_WHOLE: {
        struct leat_diagnostics diags = {0};
        struct leat_buffer sql = {0};
        leat_putf(&sql, "ALTER MATERIALIZED TABLE %s REFRESH", table);
        if (what == ASK_PART) leat_putf(&sql, " PARTITION (%s)", CONDITIONS[more % (sizeof CONDITIONS / sizeof *CONDITIONS)]);
        st = leat_engine_alter(run->engine, sql.data, false, &diags, NULL, err);
        leat_buffer_deinit(&sql);
        leat_diagnostics_deinit(&diags);
        break;
    }
    case ASK_RUNS: st = leat_engine_batch(run->engine, true, err); break;
    case ASK_REBUILD: st = leat_engine_rebuild(run->engine, table, "property", NULL, err); break;
    case ASK_REDECODE: st = leat_engine_redecode(run->engine, "events", "property", NULL, err); break;
    case ASK_RETRY: st = leat_engine_retry_dead(run->engine, "events", "property", NULL, err); break;
    default: st = leat_engine_run_once(run->engine, more % 2, false, err);
    }
    return st == LEAT_OK || err->fatal ? st : LEAT_OK;
}

static enum leat_status play_round(const struct prop_case *c, size_t round, struct run *run, char **report, struct leat_error *err) {
    enum leat_status st = step_round(c, round, run, err);
    if (st == LEAT_OK && c->ask[round] && (st = ask(c, round, run, err)) == LEAT_OK) st = verify(run, report, err);
    if (st == LEAT_OK && c->flush[round] && (st = leat_engine_flush(run->engine, false, err)) == LEAT_OK) st = verify(run, report, err);
    if (st == LEAT_OK && c->restate[round] && (st = restate(c, round, run, err)) == LEAT_OK) st = verify(run, report, err);
    if (st != LEAT_OK || !c->checkpoint[round]) return st;
    if ((st = leat_engine_drain_and_checkpoint(run->engine, err)) != LEAT_OK) return st;
    run->has_checkpoint = true;
    run->unsaved_steps = 0;
    return LEAT_OK;
}

/* The round, with the process killed in its middle or not; then once more. */
static enum leat_status play_killed(const struct prop_case *c, size_t round, struct run *run, char **report, struct leat_error *err) {
    leat_io_kill_after(c->crash[round] ? c->crash[round] : UINT64_MAX);
    enum leat_status st = play_round(c, round, run, report, err);
    bool killed = st != LEAT_OK && leat_io_killed();
    if (killed) {
        leat_engine_close(run->engine);
        run->engine = NULL;
    }
    leat_io_kill_after(UINT64_MAX);
    if (!killed) return st;
    run->crashed = true;
    free(*report);
    *report = NULL;
    st = reopen(run, c->step_rows[round], err);
    return st == LEAT_OK ? play_round(c, round, run, report, err) : st;
}

/* The fold of what the sink was told is the table; each change once, in order. */
static enum leat_status check_sink(const struct prop_case *c, struct run *run, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    char *type = NULL, *sql = NULL, path[512];
    int64_t wrong = 0;
    if (c->sink < 0 || !c->tables[c->sink]) return LEAT_OK;
    leat_engine_deliver(run->engine);
    snprintf(path, sizeof path, "%s/told.out", run->dir);
    if (!leat_io_exists(leat_io_real(), path)) prop_write_file(run->dir, "told.out", "", "w");
    enum leat_status st = leat_conn_open(ducks[LEAT_DUCK_BATCH], &conn, err);
    if (st == LEAT_OK) st = leat_engine_sql_views(run->engine, conn, err);
    if (st == LEAT_OK) {
        sql = leat_asprintf("SELECT string_agg('\"' || column_name || '\" ' || column_type, ', ') FROM (DESCRIBE t%d)", c->sink);
        st = leat_conn_text(conn, sql, &type, err);
        free(sql);
        sql = NULL;
    }
    if (st == LEAT_OK) {
        sql = leat_asprintf("WITH l AS MATERIALIZED (SELECT id, kind, \"row\" AS r, lag(id) OVER () AS before FROM read_json('%s', format = 'newline_delimited', "
                            "columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'STRUCT(%s)'})), "
                            "s AS (SELECT r, CASE kind WHEN 'append' THEN 1 ELSE -1 END AS n FROM l UNION ALL SELECT t, -1 FROM t%d t) "
                            "SELECT (SELECT count(*) FROM (SELECT r FROM s GROUP BY r HAVING sum(n) <> 0)) + "
                            "(SELECT count(*) - count(DISTINCT id) + count(*) FILTER (WHERE id <= before) FROM l)", path, type, c->sink);
        st = leat_conn_int(conn, sql, &wrong, err);
    }
    if (conn) leat_conn_close(conn);
    free(type);
    free(sql);
    return st == LEAT_OK && wrong ? leat_fail(err, LEAT_CONFLICT, "what the sink was told of t%d differs from it in %lld places", c->sink, (long long)wrong) : st;
}

static enum leat_status play(const struct prop_case *c, struct run *run, char **report, struct leat_error *err) {
    uint64_t records = 0;
    enum leat_status st;
    run->changed = c->change[0];
    for (size_t round = 0; round < c->round_count; round++) {
        write_round(c, round, run->dir);
        for (size_t k = 0; k < c->rounds[round].count; k++) records += c->rounds[round].lines[k] != NULL;
        if ((st = begin_round(c, round, run, err)) != LEAT_OK) return st;
        if ((st = play_killed(c, round, run, report, err)) != LEAT_OK) return st;
    }
    if ((st = resume_all(c, run, err)) != LEAT_OK) return st;
    /* What was run before its time is not due. */
    if ((st = leat_engine_run_once(run->engine, run->changed || run->asked, c->seed % 2, err)) != LEAT_OK) return st;
    if ((st = verify(run, report, err)) != LEAT_OK) return st;
    if ((st = check_sink(c, run, err)) != LEAT_OK) return st;
    return check_status(c, run, records, report, err);
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env;
    (void)level;
    (void)line;
}

char *prop_case_run(const struct prop_case *c, const char *dir, struct prop_coverage *coverage) {
    struct run run = {.dir = dir, .played = c, .now_us = 1772323200000000 + 60 * (int64_t)86400000000, .coverage = coverage};
    struct leat_error err = {0}, ignored;
    char *report = NULL, *result = NULL;
    uint64_t changes = 0;
    forget_frozen(&run);
    leat_env_real(&run.env);
    run.env.io = leat_io_killable();
    leat_random_seed(&run.env.random, c->seed);
    leat_clock_virtual_init(&run.clock, &run.now_us);
    run.env.clock = &run.clock;
    run.env.log = quiet;
    if (leat_io_remove_tree(run.env.io, dir, &ignored) != LEAT_OK) return leat_strdup(ignored.text);
    prop_write_project(c, 0, dir);
    open_ducks();
    if (play(c, &run, &report, &err) != LEAT_OK) result = leat_asprintf("%s\n%s", err.text, report ? report : "");
    for (size_t round = 1; round < c->round_count; round++) changes += c->references[round] != NULL;
    if (coverage) coverage->reference_changes += changes > 0;
    for (size_t t = 0; t < TABLES_MAX && coverage; t++) coverage->frozen += run.frozen_rows[t] != NULL;
    forget_frozen(&run);
    leat_engine_close(run.engine);
    free(report);
    return result;
}

bool prop_refused(const char *why) {
    return strstr(why, "error:") || strstr(why, "Binder Error") || strstr(why, "cannot be kept") || strstr(why, "does not run") || strstr(why, "is impossible here") ||
           strstr(why, "EMIT ON WINDOW CLOSE needs");
}
