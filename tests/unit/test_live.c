/* The http connector and live tables, over an engine in this thread: answers after the records are durable, ids over restarts, rows and changes at the
 * frontier, waiting for what records cause. */
#include "engine_world.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "connect/http.h"
#include "data/value_text.h"
#include "engine/live/live.h"
#include "engine/live/wait.h"

static const char sources[] =
    "CREATE SOURCE events (id VARCHAR NOT NULL, card VARCHAR, amount BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'http', batch_ids = '3');\n";
static const char tables[] =
    "CREATE MATERIALIZED TABLE cards (PRIMARY KEY (card)) FRESHNESS = INTERVAL '1' SECOND AS\n"
    "SELECT card, count(*) AS n, sum(amount) AS total FROM events GROUP BY card;\n"
    "CREATE MATERIALIZED TABLE large FRESHNESS = INTERVAL '1' SECOND AS SELECT id, amount FROM events WHERE amount >= 100;\n"
    "CREATE MATERIALIZED TABLE rich (PRIMARY KEY (card)) FRESHNESS = INTERVAL '5' SECOND AS SELECT card, total FROM cards WHERE total >= 100;\n";

static void serve_again(struct world *w) {
    struct leat_engine_options options = {.project_dir = w->project, .serve = true};
    struct leat_diagnostics diags = {0};
    leat_engine_close(w->engine);
    OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
    leat_diagnostics_deinit(&diags);
}

struct sent {
    struct leat_http_batch batch;
    struct leat_buffer body;
    struct leat_records { uint32_t starts[16], ends[16]; } records;
    int answered;
};

static void answered(struct leat_http_batch *batch) {
    ((struct sent *)(void *)batch)->answered++;
}

static void offer(struct world *w, struct sent *s, const char *lines, const char *id) {
    memset(s, 0, sizeof *s);
    leat_put(&s->body, lines);
    for (const char *at = lines; *at;) {
        size_t n = strcspn(at, "\n");
        s->records.starts[s->batch.count] = (uint32_t)(at - lines);
        s->records.ends[s->batch.count++] = (uint32_t)(at - lines + (long)n);
        at += n + (at[n] != 0);
    }
    s->batch.byte_count = s->body.length;
    for (int i = 0; i < LEAT_PAYLOAD_SLACK; i++) leat_putn(&s->body, "", 1);
    s->batch.bytes = s->body.data;
    s->batch.starts = s->records.starts;
    s->batch.ends = s->records.ends;
    s->batch.id = id;
    s->batch.id_bytes = id ? strlen(id) : 0;
    s->batch.done = answered;
    OK(leat_http_offer(leat_engine_connector(w->engine, 0), &s->batch, oops));
}

static void finish(struct sent *s) {
    leat_http_batch_deinit(&s->batch);
    leat_buffer_deinit(&s->body);
}

static void turn(struct world *w, bool step) {
    uint64_t got;
    bool did;
    OK(leat_engine_ingest(w->engine, &got, oops));
    if (step) OK(leat_engine_step(w->engine, true, &did, oops));
    if (step) OK(leat_engine_step(w->engine, true, &did, oops));
    w->now_us += 1000000;
}

#define EVENT(id, card, amount) "{\"id\":\"" id "\",\"card\":\"" card "\",\"amount\":" amount ",\"ts\":\"2026-01-01T00:00:00\"}"

/* All rows of a table, in order of their text. */
static void expect_rows(struct world *w, const char *name, const char *expected) {
    struct leat_live *live = leat_engine_live(w->engine);
    const struct leat_live_table *table = leat_live_find(live, name);
    struct leat_live_frontier frontier;
    struct leat_buffer got = {0};
    char *lines[64];
    size_t n = 0;
    uint64_t cursor = 0;
    do {
        struct leat_changes rows;
        leat_changes_init(&rows, &table->schema);
        leat_live_scan(live, table, &cursor, 2, 100, NULL, NULL, &rows, &frontier);
        for (size_t i = 0; i < rows.row_count; i++) {
            struct leat_buffer line = {0};
            leat_put_json_row(&line, &rows, i);
            size_t at = n++;
            while (at > 0 && strcmp(lines[at - 1], line.data) > 0) lines[at] = lines[at - 1], at--;
            lines[at] = line.data;
        }
        leat_changes_deinit(&rows);
    } while (cursor);
    leat_put(&got, "");
    for (size_t i = 0; i < n; i++) {
        leat_put(&got, lines[i]);
        free(lines[i]);
    }
    assert_string_equal(got.data, expected);
    assert_int_equal(leat_live_rows(live, table), n);
    leat_buffer_deinit(&got);
}

static void put_changes(struct world *w, const char *name, uint64_t after, struct leat_buffer *out) {
    struct leat_live *live = leat_engine_live(w->engine);
    const struct leat_live_table *table = leat_live_find(live, name);
    struct leat_live_changes changes;
    struct leat_error err;
    leat_put(out, "");
    enum leat_status st;
    while ((st = leat_live_next(live, table, after, &changes, &err)) == LEAT_OK) {
        for (size_t i = 0; i < changes.rows->row_count; i++) {
            leat_putf(out, "%llu%+d", (unsigned long long)changes.step, leat_weight(changes.rows, i));
            leat_put_json_row(out, changes.rows, i);
        }
        after = changes.step;
        leat_live_release(&changes);
    }
    if (st == LEAT_LIMIT) leat_put(out, "gone");
}

static void answers_come_with_the_sync(void **state) {
    (void)state;
    struct world w;
    struct sent a, b, c;
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &a, EVENT("1", "x", "10") "\nnonsense\n" EVENT("2", "y", "200"), NULL);
    offer(&w, &b, EVENT("3", "x", "5"), NULL);
    assert_int_equal(a.answered + b.answered, 0);
    turn(&w, true);
    assert_int_equal(a.answered, 1);
    assert_int_equal(b.answered, 1);
    assert_int_equal(a.batch.rejected, 1);
    assert_int_equal(a.batch.reject_count, 1);
    assert_int_equal(a.batch.rejects[0].index, 1);
    assert_int_equal(a.batch.from, 0);
    assert_int_equal(b.batch.from, 3);
    assert_int_equal(b.batch.to, 4);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":2,\"total\":15}{\"card\":\"y\",\"n\":1,\"total\":200}");
    expect_rows(&w, "rich", "{\"card\":\"y\",\"total\":200}");
    offer(&w, &c, EVENT("4", "z", "1"), NULL);
    leat_engine_close(w.engine);
    w.engine = NULL;
    assert_int_equal(c.answered, 1);
    assert_int_equal(c.batch.status, LEAT_CANCELLED);
    finish(&a), finish(&b), finish(&c);
    serve_again(&w);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":2,\"total\":15}{\"card\":\"y\",\"n\":1,\"total\":200}"); /* from the journal */
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    serve_again(&w);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":2,\"total\":15}{\"card\":\"y\",\"n\":1,\"total\":200}"); /* from the lake */
    expect_equal(&w);
    world_deinit(&w);
}

static void ids_are_taken_once(void **state) {
    (void)state;
    struct world w;
    struct sent a, again, same_round, others[4];
    static const char *const ids[] = {"b", "c", "d", "e"};
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &a, EVENT("1", "x", "10") "\nnonsense", "a");
    offer(&w, &same_round, EVENT("1", "x", "10") "\nnonsense", "a");
    turn(&w, true);
    assert_false(a.batch.duplicate);
    assert_true(same_round.batch.duplicate);
    assert_int_equal(same_round.batch.rejected, 1);
    serve_again(&w); /* the process died: the answer was lost */
    offer(&w, &again, EVENT("1", "x", "10") "\nnonsense", "a");
    turn(&w, true);
    assert_int_equal(again.answered, 1);
    assert_true(again.batch.duplicate);
    assert_int_equal(again.batch.from, 0);
    assert_int_equal(again.batch.to, 2);
    assert_int_equal(again.batch.rejected, 1);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":1,\"total\":10}");
    finish(&again);
    for (int i = 0; i < 4; i++) {
        offer(&w, &others[i], EVENT("9", "o", "1"), ids[i]);
        turn(&w, true);
        assert_false(others[i].batch.duplicate);
        finish(&others[i]);
    }
    serve_again(&w);
    offer(&w, &again, EVENT("9", "o", "1"), "e");
    turn(&w, true);
    assert_true(again.batch.duplicate);
    assert_int_equal(again.batch.from, 5);
    finish(&again);
    offer(&w, &again, EVENT("1", "x", "10"), "a"); /* three are remembered: this one no more */
    turn(&w, true);
    assert_false(again.batch.duplicate);
    finish(&again), finish(&a), finish(&same_round);
    world_deinit(&w);
}

/* An id belongs to its records: with others it is a mistake of the sender's, which must not look like a delivery. */
static void an_id_with_other_records_is_refused(void **state) {
    (void)state;
    struct world w;
    struct sent a, other, same_round, again;
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &a, EVENT("1", "x", "10"), "a");
    offer(&w, &same_round, EVENT("2", "y", "10"), "a");
    turn(&w, true);
    assert_int_equal(a.batch.status, LEAT_OK);
    assert_int_equal(same_round.answered, 1);
    assert_int_equal(same_round.batch.status, LEAT_CONFLICT);
    assert_int_equal(same_round.batch.to, 1); /* whose id it is */
    serve_again(&w);
    offer(&w, &other, EVENT("1", "x", "11"), "a");
    offer(&w, &again, EVENT("1", "x", "10"), "a");
    turn(&w, true);
    assert_int_equal(other.batch.status, LEAT_CONFLICT);
    assert_int_equal(again.batch.status, LEAT_OK);
    assert_true(again.batch.duplicate);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":1,\"total\":10}");
    finish(&a), finish(&other), finish(&same_round), finish(&again);
    world_deinit(&w);
}

/* What was remembered before records were looked at says nothing of them. */
static void ids_of_before_are_still_known(void **state) {
    (void)state;
    struct world w;
    struct sent a, other;
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &a, EVENT("1", "x", "10"), "a");
    turn(&w, false);
    finish(&a);
    leat_engine_close(w.engine);
    w.engine = NULL;
    XXH128_hash_t id = XXH3_128bits("a", 1);
    struct { uint64_t low, high, from, to; uint32_t rejected, partition; uint64_t check; } entry = {id.low64, id.high64, 0, 1, 0, 1, 0};
    entry.check = XXH3_64bits(&entry, sizeof entry - sizeof entry.check);
    char *path = leat_asprintf("%s/.leat/connector/events/batches", w.project);
    OK(leat_io_write_durable(w.env.io, path, (const char *)&entry, sizeof entry, true, oops));
    free(path);
    for (int i = 0; i < 2; i++) {
        serve_again(&w);
        offer(&w, &other, EVENT("2", "y", "11"), "a");
        turn(&w, true);
        assert_int_equal(other.batch.status, LEAT_OK);
        assert_true(other.batch.duplicate);
        assert_int_equal(other.batch.to, 1);
        finish(&other);
    }
    world_deinit(&w);
}

/* Ids that were written while their records were not: the records come again. */
static void ids_without_records_are_forgotten(void **state) {
    (void)state;
    struct world w;
    struct sent a, again;
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &a, EVENT("1", "x", "10"), "a");
    turn(&w, false);
    finish(&a);
    leat_engine_close(w.engine);
    w.engine = NULL;
    char *log = leat_asprintf("%s/.leat/log/events", w.project);
    OK(leat_io_remove_tree(w.env.io, log, oops)); /* as if the crash had been between the two */
    free(log);
    serve_again(&w);
    offer(&w, &again, EVENT("1", "x", "10"), "a");
    turn(&w, true);
    assert_false(again.batch.duplicate);
    expect_rows(&w, "cards", "{\"card\":\"x\",\"n\":1,\"total\":10}");
    finish(&again);
    world_deinit(&w);
}

static void changes_are_the_same_after_a_restart(void **state) {
    (void)state;
    struct world w;
    struct sent s;
    struct leat_buffer before = {0}, after = {0};
    world_init(&w, sources, tables);
    serve_again(&w);
    static const char *const bodies[] = {EVENT("1", "x", "10") "\n" EVENT("2", "y", "20"), EVENT("3", "x", "100") "\n" EVENT("4", "z", "1"), EVENT("5", "y", "300")};
    for (int i = 0; i < 3; i++) {
        offer(&w, &s, bodies[i], NULL);
        turn(&w, true);
        finish(&s);
    }
    put_changes(&w, "cards", 0, &before);
    assert_non_null(strstr(before.data, "{\"card\":\"x\",\"n\":2,\"total\":110}"));
    serve_again(&w);
    put_changes(&w, "cards", 0, &after);
    assert_string_equal(after.data, before.data);
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    uint64_t last = leat_live_now(leat_engine_live(w.engine)).step;
    serve_again(&w);
    leat_buffer_reset(&after);
    put_changes(&w, "cards", last, &after);
    assert_string_equal(after.data, ""); /* nothing is missed */
    put_changes(&w, "cards", last - 1, &after);
    assert_string_equal(after.data, "gone"); /* before the checkpoint: said, not skipped */
    leat_buffer_deinit(&before);
    leat_buffer_deinit(&after);
    world_deinit(&w);
}

static void deleted_rows_leave(void **state) {
    (void)state;
    struct world w;
    struct sent s;
    world_init(&w, sources, tables);
    serve_again(&w);
    offer(&w, &s, EVENT("1", "x", "150") "\n" EVENT("2", "y", "120"), NULL);
    turn(&w, true);
    finish(&s);
    expect_rows(&w, "rich", "{\"card\":\"x\",\"total\":150}{\"card\":\"y\",\"total\":120}");
    offer(&w, &s, EVENT("3", "x", "-100"), NULL);
    turn(&w, true);
    finish(&s);
    expect_rows(&w, "rich", "{\"card\":\"y\",\"total\":120}");
    offer(&w, &s, EVENT("4", "x", "500"), NULL);
    turn(&w, true);
    finish(&s);
    expect_rows(&w, "rich", "{\"card\":\"x\",\"total\":550}{\"card\":\"y\",\"total\":120}");
    world_deinit(&w);
}

/* More than memory keeps of changes: the rows are there, and who follows them is told. */
static void a_step_too_large_to_follow(void **state) {
    (void)state;
    struct world w;
    struct sent s;
    struct leat_buffer lines = {0}, got = {0};
    char *settings = leat_asprintf("SET changes_history = '1 MiB';\n%s", sources), *card = leat_alloc(100001);
    world_init(&w, settings, tables);
    free(settings);
    serve_again(&w);
    memset(card, 'x', 100000);
    for (int i = 0; i < 12; i++) leat_putf(&lines, "{\"id\":\"%d\",\"card\":\"%d%s\",\"amount\":1,\"ts\":\"2026-01-01T00:00:00\"}\n", i, i, card);
    lines.data[--lines.length] = 0;
    offer(&w, &s, lines.data, NULL);
    turn(&w, true);
    finish(&s);
    struct leat_live *live = leat_engine_live(w.engine);
    assert_int_equal(leat_live_rows(live, leat_live_find(live, "cards")), 12);
    put_changes(&w, "cards", 0, &got);
    assert_string_equal(got.data, "gone");
    uint64_t step = leat_live_now(live).step;
    offer(&w, &s, EVENT("a", "small", "1"), NULL);
    turn(&w, true);
    finish(&s);
    leat_buffer_reset(&got);
    put_changes(&w, "cards", step, &got);
    assert_non_null(strstr(got.data, "small"));
    free(card);
    leat_buffer_deinit(&lines);
    leat_buffer_deinit(&got);
    world_deinit(&w);
}

/* One step with a card of some length and two short ones; what follows of it is appended to `told`. */
static void tell(struct world *w, int number, size_t length, struct leat_buffer *told) {
    struct leat_buffer lines = {0};
    struct sent s;
    char *card = leat_alloc(length + 1);
    uint64_t before = leat_live_now(leat_engine_live(w->engine)).step;
    memset(card, 'a' + number % 26, length);
    leat_putf(&lines, "{\"id\":\"%d\",\"card\":\"%s\",\"amount\":%d,\"ts\":\"2026-01-01T00:00:00\"}\n", number, card, number);
    leat_putf(&lines, EVENT("x%d", "k%d", "%d") "\n" EVENT("y%d", "k%d", "1"), number, number % 7, number, number, number % 3);
    offer(w, &s, lines.data, NULL);
    turn(w, true);
    finish(&s);
    put_changes(w, "cards", before, told);
    leat_buffer_deinit(&lines);
    free(card);
}

static void expect_told(struct world *w, uint64_t after, const char *told) {
    struct leat_buffer got = {0};
    put_changes(w, "cards", after, &got);
    if (strcmp(got.data, told) != 0) {
        size_t at = 0;
        while (got.data[at] && got.data[at] == told[at]) at++;
        fail_msg("after step %llu: %zu bytes, not %zu; they differ at byte %zu", (unsigned long long)after, got.length, strlen(told), at);
    }
    leat_buffer_deinit(&got);
}

static struct leat_live *live_of(struct world *w) {
    return leat_engine_live(w->engine);
}

static void follow(struct world *w) {
    leat_live_follow(live_of(w), leat_live_find(live_of(w), "cards"));
}

static void long_world(struct world *w, const char *kept) {
    char *settings = leat_asprintf("SET changes_history = '1 MiB'; SET changes_kept = '%s';\n%s", kept, sources);
    world_init(w, settings, tables);
    free(settings);
    serve_again(w);
}

/* Far more than memory keeps, then checkpoints and restarts: who follows reads every change from disk, from wherever it was. */
static void the_past_is_read_from_disk(void **state) {
    (void)state;
    struct world w;
    struct leat_buffer told = {0};
    long_world(&w, "1 GiB");
    follow(&w);
    uint64_t first = leat_live_now(live_of(&w)).step, middle = 0;
    size_t middle_at = 0;
    for (int i = 0; i < 40; i++) {
        tell(&w, i, 50000, &told);
        if (i == 15) {
            middle = leat_live_now(live_of(&w)).step;
            middle_at = told.length;
            OK(leat_engine_drain_and_checkpoint(w.engine, oops));
        }
    }
    assert_true(told.length > 2u << 20);
    expect_told(&w, first, told.data);
    expect_told(&w, middle, told.data + middle_at);
    serve_again(&w); /* runs the steps after the checkpoint again */
    expect_told(&w, first, told.data);
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    serve_again(&w); /* nothing is run again */
    expect_told(&w, first, told.data);
    expect_told(&w, middle, told.data + middle_at);
    for (int i = 40; i < 50; i++) tell(&w, i, 50000, &told); /* nobody follows now, but who did may come back */
    expect_told(&w, first, told.data);
    expect_told(&w, leat_live_now(live_of(&w)).step, "");
    expect_told(&w, leat_live_now(live_of(&w)).step + 1, "gone");
    leat_buffer_deinit(&told);
    world_deinit(&w);
}

/* The folder as a process leaves it that is killed: what was not synced may be cut off anywhere. */
static void the_past_after_a_kill(void **state) {
    (void)state;
    struct world w;
    struct leat_buffer told = {0};
    long_world(&w, "1 GiB");
    follow(&w);
    uint64_t first = leat_live_now(live_of(&w)).step;
    for (int i = 0; i < 40; i++) {
        tell(&w, i, 50000, &told);
        if (i == 20) OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    }
    for (int cut = 0; cut < 4; cut++) {
        struct world after = w;
        after.project = leat_asprintf("%s/cut%d", w.dir, cut);
        after.engine = NULL;
        char *command = leat_asprintf("cp -a %s %s && f=$(ls %s/.leat/changes/cards/*.log | tail -1) && truncate -s -%d $f", w.project, after.project,
                                      after.project, cut * 70000);
        assert_int_equal(system(command), 0);
        free(command);
        serve_again(&after);
        expect_told(&after, first, told.data);
        leat_engine_close(after.engine);
        free(after.project);
    }
    leat_buffer_deinit(&told);
    world_deinit(&w);
}

/* What is lost is said to be: not kept, beyond its size, damaged, or from before steps that ran without anybody serving. */
static void a_lost_past_is_told(void **state) {
    (void)state;
    struct world w;
    struct leat_buffer told = {0};
    long_world(&w, "0");
    follow(&w);
    for (int i = 0; i < 40; i++) tell(&w, i, 50000, &told);
    expect_told(&w, 0, "gone");
    world_deinit(&w);

    long_world(&w, "1 B");
    follow(&w);
    leat_buffer_reset(&told);
    for (int i = 0; i < 60; i++) tell(&w, i, 100000, &told);
    expect_told(&w, 0, "gone");
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    uint64_t step = leat_live_now(live_of(&w)).step;
    leat_buffer_reset(&told);
    tell(&w, 1, 10, &told);
    serve_again(&w);
    expect_told(&w, step, told.data);
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));

    char *damage = leat_asprintf("for f in %s/.leat/changes/cards/*.log; do printf damage | dd of=$f bs=1 seek=5000 conv=notrunc status=none; done", w.project);
    assert_int_equal(system(damage), 0);
    free(damage);
    serve_again(&w);
    expect_told(&w, 0, "gone");

    reopen(&w); /* without anybody served */
    struct sent s;
    offer(&w, &s, EVENT("z", "z", "1"), NULL);
    turn(&w, true);
    finish(&s);
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    serve_again(&w);
    expect_told(&w, step, "gone");
    leat_buffer_deinit(&told);
    world_deinit(&w);
}

static void a_full_queue_says_so(void **state) {
    (void)state;
    enum { BATCHES = 5 };
    struct world w;
    struct sent *s = leat_alloc(BATCHES * sizeof *s);
    struct leat_error err = {0};
    world_init(&w, sources, tables);
    serve_again(&w);
    enum leat_status st = LEAT_OK;
    int taken = 0;
    static char nothing[LEAT_BLOCK_MAX - LEAT_MIB + LEAT_PAYLOAD_SLACK]; /* zeros: no record, which is a dead letter */
    for (; taken < BATCHES && st == LEAT_OK; taken += st == LEAT_OK) {
        s[taken].batch = (struct leat_http_batch){.bytes = nothing, .byte_count = LEAT_BLOCK_MAX - LEAT_MIB, .starts = s[taken].records.starts, .ends = s[taken].records.ends, .count = 1, .done = answered};
        s[taken].records.ends[0] = 10;
        st = leat_http_offer(leat_engine_connector(w.engine, 0), &s[taken].batch, &err);
    }
    assert_int_equal(taken, 4); /* of 15 MiB; 64 MiB may wait */
    assert_int_equal(st, LEAT_BUSY);
    assert_true(err.retriable);
    for (int i = 0; i < 4; i++) turn(&w, false);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s[i].answered, 1);
        assert_int_equal(s[i].batch.rejected, 1);
        leat_http_batch_deinit(&s[i].batch);
    }
    assert_int_equal(leat_http_offer(leat_engine_connector(w.engine, 0), &(struct leat_http_batch){.byte_count = LEAT_BLOCK_MAX + 1}, &err), LEAT_LIMIT);
    free(s);
    world_deinit(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_with_the_sync),        cmocka_unit_test(ids_are_taken_once),
        cmocka_unit_test(an_id_with_other_records_is_refused), cmocka_unit_test(ids_of_before_are_still_known),
        cmocka_unit_test(ids_without_records_are_forgotten), cmocka_unit_test(changes_are_the_same_after_a_restart),
        cmocka_unit_test(deleted_rows_leave),                cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(a_step_too_large_to_follow),        cmocka_unit_test(the_past_is_read_from_disk),
        cmocka_unit_test(the_past_after_a_kill),             cmocka_unit_test(a_lost_past_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
