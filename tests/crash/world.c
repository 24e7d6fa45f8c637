/* The project, its input, the run that is recorded, and what must hold after recovery. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash.h"

struct leat_duck *crash_step, *crash_plan, *crash_batch;

static const char project_sql[] =
    "SET compact_files = 4; SET segment_size = '16 KiB';\n"
    "CREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT NOT NULL, product_id INTEGER, amount DECIMAL(18,2),\n"
    "  status VARCHAR, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)\n"
    "WITH (connector = 'file', path = 'in/orders*.ndjson', format = 'json');\n"
    "CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR)\n"
    "WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
    "CREATE VIEW clean AS SELECT e.*, p.category FROM (SELECT DISTINCT ON (event_id) * FROM orders WHERE amount >= 0) e\n"
    "  JOIN products p USING (product_id);\n"
    /* classes 3, 5, 4 with lateness, 6 fed by a table of another freshness; a row expression that fails; a full run */
    "CREATE MATERIALIZED TABLE order_status (PRIMARY KEY (order_id)) FRESHNESS = INTERVAL '1' SECOND\n"
    "AS SELECT order_id, arg_max(status, ts) AS status, max(ts) AS updated FROM orders GROUP BY order_id;\n"
    "CREATE MATERIALIZED TABLE silver FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM clean;\n"
    "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE\n"
    "AS SELECT window_start, category, count(*) AS n, sum(amount) AS amount FROM TUMBLE(clean, ts, INTERVAL '1' MINUTE) GROUP BY ALL;\n"
    "CREATE MATERIALIZED TABLE categories FRESHNESS = INTERVAL '2' SECOND\n"
    "AS SELECT category, count(DISTINCT order_id) AS orders, median(amount) AS middle FROM silver GROUP BY ALL;\n"
    "CREATE MATERIALIZED TABLE numbers FRESHNESS = INTERVAL '1' SECOND\n"
    "AS SELECT event_id, CAST(status AS INTEGER) AS number FROM orders WHERE status LIKE '1%';\n"
    "CREATE MATERIALIZED TABLE daily SCHEDULE CRON '0 2 * * *'\n"
    "AS SELECT CAST(ts AS DATE) AS day, sum(amount) AS amount FROM clean GROUP BY ALL;\n"
    /* what they are told, taken together, is the table: on the disk that crashes, too */
    "CREATE SINK status_told FROM order_status WITH (connector = 'file', path = '${LEAT_CRASH_DIR}/order_status.told', on_retract = 'send');\n"
    "CREATE SINK silver_told FROM silver WITH (connector = 'file', path = '${LEAT_CRASH_DIR}/silver.told', on_retract = 'send');\n";
static const struct { const char *table, *in_file, *in_table; } told[] = {
    {"order_status", "[\"row\"->>'order_id', \"row\"->>'status', replace(\"row\"->>'updated', 'T', ' ')]",
     "[order_id::VARCHAR, status, updated::VARCHAR]"},
    {"silver", "[\"row\"->>'event_id', CAST(\"row\"->>'amount' AS DECIMAL(18,2))::VARCHAR, \"row\"->>'category', replace(\"row\"->>'ts', 'T', ' ')]",
     "[event_id, amount::VARCHAR, category, ts::VARCHAR]"},
};
/* What is late for `minutes` depends on where steps ended: it is compared when all of that has been admitted. */
static const char *const compared[] = {"order_status", "silver", "categories", "minutes", "numbers", "daily", "orders", "products", "orders__dead", "numbers__dead"};
enum { COMPARED = sizeof compared / sizeof *compared };
static const char *const compared_columns[COMPARED] = {"*", "*", "*", "*", "*", "*", "* ", "*", "reason, payload", "reason, _offset"};

#define START_US INT64_C(1772323200000000)
#define RECOVERY_US (START_US + INT64_C(300000000)) /* after all that is recorded */
#define CHECK_US (START_US + INT64_C(600000000))

static void write_text(const char *dir, const char *name, const char *text, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(3);
    }
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    const struct world *w = env->log_context;
    if (w->verbose && level >= LEAT_LOG_WARN) fprintf(stderr, "  %s\n", line);
}

void world_init(struct world *w, const char *scratch) {
    memset(w, 0, sizeof *w);
    w->scratch = leat_strdup(scratch);
    w->project = leat_asprintf("%s/project", scratch);
    w->root = leat_asprintf("%s/disk", scratch);
    w->image = leat_asprintf("%s/image", scratch);
    leat_env_real(&w->env);
    w->env.log = quiet;
    w->env.log_context = w;
    w->env.clock = &w->clock.clock;
}

static void close_all(struct world *w) {
    leat_engine_close(w->engine);
    w->engine = NULL;
    leat_sim_disk_close(w->disk);
    w->disk = NULL;
    w->env.io = leat_io_real();
}

static void remove_tree(const char *path) {
    struct leat_error err;
    if (leat_io_remove_tree(leat_io_real(), path, &err) == LEAT_OK) return;
    fprintf(stderr, "%s\n", err.text);
    exit(3);
}

void world_deinit(struct world *w) {
    close_all(w);
    remove_tree(w->scratch);
    for (int i = 0; i < COMPARED; i++) free(w->contents[i]);
    free(w->known);
    free(w->scratch);
    free(w->project);
    free(w->root);
    free(w->image);
}

void world_reset(struct world *w, bool simulated) {
    struct leat_error err;
    char in[512];
    close_all(w);
    remove_tree(w->scratch);
    snprintf(in, sizeof in, "%s/in", w->project);
    mkdir(w->scratch, 0777);
    mkdir(w->project, 0777);
    mkdir(in, 0777);
    mkdir(w->root, 0777);
    write_text(w->project, "project.sql", project_sql, "w");
    write_text(w->project, "in/orders.ndjson", "", "w");
    w->lines = 0;
    w->mark_count = 0;
    leat_sim_clock_init(&w->clock, START_US);
    leat_random_seed(&w->env.random, 7);
    if (!simulated) return;
    if (leat_sim_disk_open(w->root, &w->disk, &err) != LEAT_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(3);
    }
    w->env.io = leat_sim_disk_io(w->disk);
}

enum leat_status world_open(struct world *w, const char *dir, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    char *lake = leat_asprintf("%s/lake", dir), *work = leat_asprintf("%s/work", dir);
    struct leat_engine_options options = {.project_dir = w->project, .lake_dir = lake, .work_dir = work, .max_step_rows = w->disk && w->env.io == leat_io_real() ? 500 : 37, /* recovered: larger steps, for speed */
                                          .shared_step = crash_step, .shared_plan = crash_plan, .shared_batch = crash_batch};
    uint64_t failures = w->disk ? leat_sim_disk_failures(w->disk) : 0;
    setenv("LEAT_CRASH_DIR", dir, 1);
    leat_engine_close(w->engine);
    w->failed_at_close |= w->disk && leat_sim_disk_failures(w->disk) > failures;
    enum leat_status st = leat_engine_open(&w->env, &options, &diags, &w->engine, err);
    if (st != LEAT_OK && diags.count) {
        struct leat_buffer text = {0};
        leat_diagnostics_print(&diags, &text);
        fprintf(stderr, "%s\n", text.data);
        leat_buffer_deinit(&text);
    }
    leat_diagnostics_deinit(&diags);
    free(lake);
    free(work);
    return st;
}

/* ---- input --------------------------------------------------------------------------------------- */

#define RANDOM8 (unsigned long long)leat_random_next(&r) /* text that does not compress: the log gets several segments */

/* Some 45 records: duplicates, disorder, lateness, undecodable ones, a status that is no number; a reference now and then. */
static void write_input(struct world *w, int round) {
    struct leat_buffer text = {0};
    struct leat_random r;
    leat_random_seed(&r, (uint64_t)round + 1);
    int64_t start = round * 90;
    for (int i = 0; i < 45; i++, w->lines++) {
        uint64_t kind = leat_random_below(&r, 50);
        int64_t second = start + i * 2 - (kind < 6 ? (int64_t)leat_random_below(&r, 400) : 0);
        if (second < 0) second = 0;
        if (kind == 49) {
            leat_putf(&text, "{\"event_id\":\"broken %d-%d\n", round, i);
            continue;
        }
        int id = kind < 3 && i ? round * 45 + i - 1 : round * 45 + i;
        leat_putf(&text, "{\"event_id\":\"e%d\",\"order_id\":%d,\"product_id\":%d,\"amount\":%d.%02d,\"status\":\"%s\",\"unknown\":\"%016llx%016llx%016llx%016llx%016llx%016llx\",\"ts\":\"2026-02-28T%02d:%02d:%02d\"}\n",
                  id, id % 60, id * 7 % 23, id % 91 - (id % 40 == 0 ? 200 : 0), id % 100, id % 9 == 0 ? "1x" : id % 3 == 0 ? "17" : "paid", RANDOM8, RANDOM8, RANDOM8, RANDOM8, RANDOM8, RANDOM8,
                  (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
    }
    write_text(w->project, "in/orders.ndjson", text.data, "a");
    leat_buffer_reset(&text);
    if (round % 3 == 0) {
        char from[512], to[512];
        snprintf(from, sizeof from, "%s/in/products.new", w->project);
        snprintf(to, sizeof to, "%s/in/products.csv", w->project);
        leat_put(&text, "product_id,category\n");
        for (int k = 0; k < 20; k++)
            if (k % 6 != round / 3 % 6) leat_putf(&text, "%d,c%d\n", k, (k + (k % 5 == 0 ? round : 0)) % 4);
        write_text(w->project, "in/products.new", text.data, "w");
        if (rename(from, to) != 0) perror(to);
    }
    leat_buffer_deinit(&text);
}

void world_finish_input(struct world *w, int rounds) {
    for (int round = (int)(w->lines / 45); round < rounds; round++) write_input(w, round);
}

/* ---- the recorded run ---------------------------------------------------------------------------- */

static uint64_t number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* What is acknowledged now: all lines that an ingest has returned for, and the journal's last step. */
static void note(struct world *w, uint64_t records) {
    struct leat_buffer text = {0};
    struct leat_error err;
    if (!w->disk || w->mark_count == WORLD_MARKS) return;
    if (leat_engine_status(w->engine, &text, &err) == LEAT_OK)
        w->marks[w->mark_count++] = (struct mark){leat_sim_disk_op_count(w->disk), records, number_after(text.data, "\"step\": ")};
    leat_buffer_deinit(&text);
}

static enum leat_status restate(struct world *w, struct leat_error *err) {
    const struct leat_restate_options options = {.from_us = INT64_MIN, .reason = "crash"};
    return leat_engine_restate(w->engine, &options, NULL, err);
}

static enum leat_status play_round(struct world *w, int round, struct leat_error *err) {
    enum leat_status st;
    uint64_t got;
    bool did = true;
    if ((st = leat_engine_ingest(w->engine, &got, err)) != LEAT_OK) return st;
    note(w, w->lines);
    for (int k = 0; did || k < 2; k++) {
        leat_sim_clock_advance(&w->clock, 400000);
        if ((st = leat_engine_step(w->engine, false, &did, err)) != LEAT_OK) return st;
        note(w, w->lines);
        if (round % 3 && k == 1) leat_engine_deliver(w->engine);
        if (round % 4 == 1 && k == 1) break; /* a backlog stays */
    }
    if (round % 4 == 2) {
        if ((st = restate(w, err)) != LEAT_OK) return st;
        note(w, w->lines);
    }
    if (round % 4 == 3) return leat_engine_drain_and_checkpoint(w->engine, err);
    if (round % 7 == 6) return leat_engine_batch(w->engine, true, err);
    return leat_engine_flush(w->engine, false, err);
}

enum leat_status world_play(struct world *w, int rounds, struct leat_error *err) {
    enum leat_status st;
    for (int round = 0; round < rounds; round++) {
        write_input(w, round);
        leat_sim_clock_advance(&w->clock, 2000000);
        if ((round == 0 || round == 5 || round == 10) && (st = world_open(w, w->root, err)) != LEAT_OK) return st;
        if ((st = play_round(w, round, err)) != LEAT_OK) return st;
    }
    leat_sim_clock_advance(&w->clock, 2000000);
    if ((st = leat_engine_run_once(w->engine, true, true, err)) != LEAT_OK) return st;
    note(w, w->lines);
    return restate(w, err);
}

/* ---- what must hold ------------------------------------------------------------------------------ */

enum leat_status world_contents(struct world *w, char **out, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    enum leat_status st = leat_conn_open(crash_batch, &conn, err);
    if (st != LEAT_OK) return st;
    st = leat_engine_sql_views(w->engine, conn, err);
    for (int i = 0; i < COMPARED && st == LEAT_OK; i++) {
        char *sql = leat_asprintf("SELECT count(*) || ' rows, sum of hashes ' || coalesce(sum(hash(t)::HUGEINT), 0) FROM (SELECT %s FROM %s) t",
                                  compared_columns[i], compared[i]);
        st = leat_conn_text(conn, sql, &out[i], err);
        free(sql);
    }
    leat_conn_close(conn);
    return st;
}

static char *check_status(struct world *w, const struct mark *acknowledged, bool finished) {
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    char *problem = NULL;
    if (leat_engine_status(w->engine, &text, &err) != LEAT_OK) return leat_strdup(err.text);
    uint64_t records = number_after(text.data, "\"records\": "), step = number_after(text.data, "\"step\": ");
    if (acknowledged && records < acknowledged->records)
        problem = leat_asprintf("%llu of %llu acknowledged records are there", (unsigned long long)records, (unsigned long long)acknowledged->records);
    else if (acknowledged && step < acknowledged->step)
        problem = leat_asprintf("step %llu is the last, %llu was journaled", (unsigned long long)step, (unsigned long long)acknowledged->step);
    const char *at = text.data;
    while (finished && !problem && (at = strstr(at, "\"in\": "))) {
        if (strtoull(at + 6, NULL, 10) != w->lines)
            problem = leat_asprintf("a table did not see %llu records: %.20s", (unsigned long long)w->lines, at);
        at++;
    }
    if (!problem && strstr(text.data, "\"exact\": false")) problem = leat_strdup("the row balance is not exact");
    leat_buffer_deinit(&text);
    return problem;
}

static char *check_contents(struct world *w, struct leat_error *err) {
    char *now[WORLD_TABLES] = {0}, *problem = NULL;
    if (world_contents(w, now, err) != LEAT_OK) problem = leat_strdup(err->text);
    for (int i = 0; i < COMPARED && !problem; i++)
        if (strcmp(now[i], w->contents[i]) != 0)
            problem = leat_asprintf("%s has %s, undisturbed %s", compared[i], now[i], w->contents[i]);
    for (int i = 0; i < COMPARED; i++) free(now[i]);
    return problem;
}

#define TOLD "read_json('%s/%s.told', format = 'newline_delimited', columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'JSON'})"

/* Nothing lost, nothing doubled: each change once, in order, and all of them together are the table. */
static char *check_told(struct leat_conn *conn, const char *dir, size_t i, struct leat_error *err) {
    const char *table = told[i].table;
    char *text = NULL;
    char *sql = leat_asprintf("WITH f AS (SELECT %s AS r, CAST(sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) AS INTEGER) AS n FROM " TOLD
                              " GROUP BY 1 HAVING n <> 0), t AS (SELECT %s AS r, count(*)::INTEGER AS n FROM %s GROUP BY 1), "
                              "i AS (SELECT id, lag(id) OVER () AS before FROM " TOLD ") "
                              "SELECT (SELECT count(*) FROM ((FROM f EXCEPT FROM t) UNION ALL (FROM t EXCEPT FROM f))) || ' rows differ, ' || "
                              "(SELECT count(*) FROM i WHERE id <= before) || ' are told again'",
                              told[i].in_file, dir, table, told[i].in_table, table, dir, table);
    enum leat_status st = leat_conn_text(conn, sql, &text, err);
    free(sql);
    if (st != LEAT_OK) return leat_asprintf("told of %s: %s", table, err->text);
    char *problem = strcmp(text, "0 rows differ, 0 are told again") == 0 ? NULL : leat_asprintf("told of %s: %s", table, text);
    free(text);
    return problem;
}

static char *check_sinks(struct world *w, const char *dir, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    char *problem = NULL;
    leat_engine_deliver(w->engine);
    if (leat_conn_open(crash_batch, &conn, err) != LEAT_OK || leat_engine_sql_views(w->engine, conn, err) != LEAT_OK) problem = leat_strdup(err->text);
    for (size_t i = 0; i < sizeof told / sizeof *told && !problem; i++) problem = check_told(conn, dir, i, err);
    if (conn) leat_conn_close(conn);
    return problem;
}

static void begin_at(struct world *w, int64_t now_us) {
    leat_sim_clock_init(&w->clock, now_us);
    leat_random_seed(&w->env.random, (uint64_t)now_us);
}

void world_begin_recovery(struct world *w) {
    begin_at(w, RECOVERY_US);
}

static bool is_known(const struct world *w, uint64_t fingerprint) {
    for (size_t i = 0; i < w->known_count; i++)
        if (w->known[i] == fingerprint) return true;
    return false;
}

static void remember(struct world *w, uint64_t fingerprint) {
    w->known = leat_realloc(w->known, (w->known_count + 1) * sizeof *w->known);
    w->known[w->known_count++] = fingerprint;
}

/* From a recovered state to the end of the input. */
static char *finish(struct world *w, const char *dir) {
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    char *problem = NULL;
    w->finished++;
    if (leat_engine_run_once(w->engine, true, true, &err) != LEAT_OK)
        problem = leat_asprintf("run --once: %s", err.text);
    else if (restate(w, &err) != LEAT_OK)
        problem = leat_asprintf("restate: %s", err.text);
    else if (leat_engine_verify(w->engine, w->proven ? "minutes" : NULL, 5, &text, &differing, &err) != LEAT_OK)
        problem = leat_asprintf("verify: %s", err.text);
    else if (differing)
        problem = leat_asprintf("tables differ:\n%s", text.data);
    else if (leat_engine_failed_runs(w->engine))
        problem = leat_strdup("a run failed");
    else if (!(problem = check_status(w, NULL, true)) && !(problem = check_contents(w, &err)))
        problem = check_sinks(w, dir, &err);
    leat_buffer_deinit(&text);
    return problem;
}

char *world_check(struct world *w, const char *dir, const struct mark *acknowledged) {
    struct leat_error err = {0};
    char *problem = NULL;
    struct leat_io *io = w->env.io;
    w->env.io = leat_io_real();
    leat_engine_close(w->engine);
    w->engine = NULL;
    begin_at(w, CHECK_US);
    w->checks++;
    if (world_open(w, dir, &err) != LEAT_OK) {
        problem = leat_asprintf("open: %s", err.text);
    } else if (!(problem = check_status(w, acknowledged, false))) {
        uint64_t state = world_fingerprint(dir);
        bool known = is_known(w, state);
        if (!known || w->checks % WORLD_AGAIN == 0) problem = finish(w, dir);
        if (!problem && !known) remember(w, state);
    }
    leat_engine_close(w->engine);
    w->engine = NULL;
    w->env.io = io;
    return problem;
}
