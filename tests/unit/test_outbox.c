/* The outbox of a sink: what a crash leaves, retries, dead letters, the remote's own progress, the thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connect/outbox.h"
#include "state/row.h"
#include "scratch.h"
#include "sim/clock.h"

/* A remote that keeps what it is given, and refuses, fails or half takes as it is told. */
struct recorder {
    struct leat_sink base;
    char got[4096];              /* payloads, a space between */
    uint64_t last;               /* sequence */
    size_t calls;
    int down, refusing;          /* so many calls */
    const char *hated, *difficult; /* refused for good; refused each time */
    size_t at_most;              /* effects a call */
};

static bool is(const struct leat_effect *effect, const char *text) {
    return text && effect->payload_bytes == strlen(text) && memcmp(effect->payload, text, effect->payload_bytes) == 0;
}

static enum leat_status deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed,
                                struct leat_error *err) {
    struct recorder *r = (struct recorder *)base;
    (void)stop;
    *confirmed = 0;
    r->calls++;
    if (r->down && r->down--) return leat_fail(err, LEAT_IO, "nobody answers");
    for (size_t i = 0; i < count && i < r->at_most; i++) {
        if (is(&effects[i], r->hated)) return leat_fail(err, LEAT_INVALID, "no %s here", r->hated);
        if (is(&effects[i], r->difficult)) {
            leat_fail(err, LEAT_IO, "not now");
            err->bad_data = true;
            return LEAT_IO;
        }
        assert_true(effects[i].sequence > r->last);
        r->last = effects[i].sequence;
        if (effects[i].payload_bytes < 64) snprintf(r->got + strlen(r->got), sizeof r->got - strlen(r->got), "%.*s ", (int)effects[i].payload_bytes, (const char *)effects[i].payload);
        *confirmed = i + 1;
    }
    return LEAT_OK;
}

static enum leat_status progress(struct leat_sink *base, const atomic_int *stop, uint64_t *sequence, struct leat_error *err) {
    (void)stop, (void)err;
    *sequence = ((struct recorder *)base)->last;
    return LEAT_OK;
}

static const struct leat_sink_ops plain = {.name = "recorder", .deliver = deliver};
static const struct leat_sink_ops exact = {.name = "exact recorder", .deliver = deliver, .progress = progress, .comes_back = true};

struct world {
    struct leat_env env;
    struct leat_clock clock;
    int64_t now_us, restored_us;
    char *dir;
    struct recorder remote;
    struct leat_outbox *box;
};

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static void reopen(struct world *w) {
    const struct leat_outbox_options options = {.max_tries = 3, .retry_first_us = 1000, .retry_max_us = 16000, .begin_us = w->now_us, .restored_us = w->restored_us, .segment_bytes = 200};
    leat_outbox_close(w->box);
    OK(leat_outbox_open(&w->env, w->dir, &options, &w->remote.base, &w->box, oops));
}

static void world_init(struct world *w, const struct leat_sink_ops *ops) {
    *w = (struct world){.now_us = 1780000000000000, .remote = {.base.ops = ops, .at_most = SIZE_MAX}};
    leat_env_real(&w->env);
    leat_clock_virtual_init(&w->clock, &w->now_us);
    w->env.clock = &w->clock;
    w->env.log = quiet;
    w->dir = leat_strdup(scratch_make());
    reopen(w);
}

static void world_deinit(struct world *w) {
    leat_outbox_close(w->box);
    scratch_remove(w->dir);
    free(w->dir);
}

static void append(struct world *w, uint64_t mark, const char *text, size_t bytes) {
    const struct leat_effect effect = {.kind = LEAT_EFFECT_APPEND, .key = text, .key_bytes = 1, .payload = text, .payload_bytes = bytes};
    OK(leat_outbox_append(w->box, mark, &effect, (struct leat_hash128){1, mark}, oops));
}

static void batch(struct world *w, uint64_t mark, const char *words) {
    for (const char *at = words; *at; at++) append(w, mark, at, 1);
    OK(leat_outbox_complete(w->box, mark, w->now_us, oops));
    OK(leat_outbox_sync(w->box, oops));
}

static void deliver_all(struct world *w) {
    bool more = true;
    while (more) leat_outbox_deliver(w->box, &more);
}

static void in_order_and_from_where_it_was(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, &plain);
    assert_int_equal(leat_outbox_mark(w->box), 0);
    w->remote.at_most = 2;
    batch(w, 1, "abc");
    batch(w, 2, "");
    batch(w, 5, "de");
    assert_int_equal(leat_outbox_mark(w->box), 5);
    deliver_all(w);
    assert_string_equal(w->remote.got, "a b c d e ");
    uint64_t last = w->remote.last;
    assert_true(last > 1780000000000000 && last & 1); /* rule 13 */
    reopen(w);
    assert_int_equal(leat_outbox_mark(w->box), 5);
    batch(w, 6, "f");
    deliver_all(w);
    assert_string_equal(w->remote.got, "a b c d e f ");
    assert_true(w->remote.last > last);
    world_deinit(w);
}

/* What was confirmed and not yet kept is sent again, unless the remote knows better. */
static void a_crash_before_progress_is_kept(void **state) {
    (void)state;
    for (int knows = 0; knows < 2; knows++) {
        struct world world, *w = &world;
        world_init(w, knows ? &exact : &plain);
        batch(w, 1, "abc");
        deliver_all(w);
        char *path = leat_asprintf("%s/progress.json", w->dir);
        assert_int_equal(unlink(path), 0);
        free(path);
        if (!knows) w->remote.last = 0;
        reopen(w);
        batch(w, 2, "d");
        deliver_all(w);
        assert_string_equal(w->remote.got, knows ? "a b c d " : "a b c a b c d ");
        world_deinit(w);
    }
}

/* Its server was restored, or a standby took over: what it had confirmed and lost is sent again, but for what never counted; dead letters are no progress. */
static void a_remote_that_was_put_back_gets_what_it_lost(void **state) {
    (void)state;
    for (int restarted = 0; restarted < 2; restarted++) {
        struct world world, *w = &world;
        struct leat_outbox_stats stats;
        world_init(w, &exact);
        batch(w, 1, "a");
        deliver_all(w);
        uint64_t a = w->remote.last;
        append(w, 2, "X", 1);
        OK(leat_outbox_complete(w->box, 2, w->now_us, oops));
        append(w, 3, "Y", 1);
        OK(leat_outbox_abandon(w->box, oops));
        batch(w, 3, "bc");
        w->remote.hated = "c";
        deliver_all(w);
        assert_string_equal(w->remote.got, "a X b ");
        if (restarted) reopen(w);
        batch(w, 4, "d");
        deliver_all(w); /* a dead letter is behind what the remote has: nothing is sent again for it */
        assert_string_equal(w->remote.got, "a X b d ");
        w->remote.last = a;
        w->remote.got[0] = 0;
        w->remote.hated = NULL;
        batch(w, 5, "e");
        if (restarted) {
            reopen(w);
            OK(leat_outbox_trim(w->box, 5, oops)); /* before the remote was asked */
        } else w->remote.down = 1; /* the connection breaks as it is put back */
        deliver_all(w);
        deliver_all(w);
        assert_string_equal(w->remote.got, "X b c d e ");
        OK(leat_outbox_trim(w->box, 5, oops));
        w->remote.last = a;
        w->remote.got[0] = 0;
        w->remote.down = 1;
        batch(w, 6, "f");
        deliver_all(w);
        deliver_all(w);
        assert_true(strstr(w->remote.got, "f ") != NULL);
        leat_outbox_stats(w->box, &stats);
        assert_int_equal(stats.waiting, 0);
        world_deinit(w);
    }
}

/* A batch of which only the beginning became durable never happened; its numbers are not used again. */
static void an_incomplete_batch_is_void(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *large = leat_alloc(1 << 20);
    world_init(w, &plain);
    batch(w, 1, "a");
    memset(large, 'x', 1 << 20);
    for (int i = 0; i < 40; i++) append(w, 2, large, 1 << 20); /* more than the log holds back */
    reopen(w);
    assert_int_equal(leat_outbox_mark(w->box), 1);
    reopen(w);
    batch(w, 2, "bc");
    deliver_all(w);
    assert_string_equal(w->remote.got, "a b c ");
    struct leat_outbox_stats stats;
    leat_outbox_stats(w->box, &stats);
    assert_int_equal(stats.delivered, 3);
    assert_int_equal(stats.waiting, 0);
    free(large);
    world_deinit(w);
}

static void what_cannot_be_reached_waits(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_outbox_stats stats;
    world_init(w, &plain);
    batch(w, 1, "ab");
    w->remote.down = 7;
    int64_t waited = 0;
    for (int i = 0; i < 7; i++) {
        bool more;
        leat_outbox_deliver(w->box, &more);
        assert_false(more);
        leat_outbox_stats(w->box, &stats);
        assert_int_equal(stats.waiting, 2);
        assert_int_equal(stats.tries, i + 1);
        assert_string_equal(stats.error, "nobody answers");
        int64_t wait = stats.retry_us - w->now_us, most = i < 4 ? 1000 << i : 16000;
        assert_true(wait >= most / 2 && wait <= most);
        waited += wait;
    }
    assert_true(waited > 0 && stats.since_us == w->now_us && stats.dead == 0);
    w->now_us += 1000000;
    reopen(w);
    leat_outbox_stats(w->box, &stats);
    assert_true(stats.since_us == w->now_us - 1000000);
    w->remote.down = 0;
    w->remote.difficult = "b";
    deliver_all(w); /* one of two: the next wait is the first again */
    leat_outbox_stats(w->box, &stats);
    assert_int_equal(stats.tries, 1);
    w->remote.difficult = NULL;
    deliver_all(w);
    leat_outbox_stats(w->box, &stats);
    assert_string_equal(stats.error, "");
    assert_string_equal(w->remote.got, "a b ");
    world_deinit(w);
}

static enum leat_status collect(void *context, const struct leat_dead_letter *letter, struct leat_error *err) {
    struct leat_buffer *text = context;
    (void)err;
    leat_putf(text, "%s %.*s: %s; ", leat_effect_kind_name(letter->kind), (int)letter->payload_bytes, letter->payload, letter->reason);
    return LEAT_OK;
}

static void what_is_refused_is_a_dead_letter(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer text = {0};
    uint64_t next;
    world_init(w, &plain);
    w->remote.hated = "b";
    w->remote.difficult = "d";
    batch(w, 1, "abcde");
    for (int i = 0; i < 3; i++) deliver_all(w); /* max_tries */
    assert_string_equal(w->remote.got, "a c e ");
    reopen(w);
    OK(leat_outbox_dead(w->box, 0, collect, &text, &next, oops));
    assert_string_equal(text.data, "append b: no b here; append d: not now; ");
    assert_int_equal(next, 2);
    leat_buffer_reset(&text);
    OK(leat_outbox_trim_dead(w->box, 2, oops));
    OK(leat_outbox_dead(w->box, 2, collect, &text, &next, oops));
    assert_int_equal(text.length, 0);
    leat_buffer_deinit(&text);
    world_deinit(w);
}

static void what_cannot_be_kept_is_a_dead_letter(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    uint64_t next;
    char *huge = leat_alloc(9 << 20);
    world_init(w, &plain);
    memset(huge, 'x', 9 << 20);
    const struct leat_effect effect = {.kind = LEAT_EFFECT_APPEND, .payload = huge, .payload_bytes = 9 << 20};
    append(w, 1, "a", 1);
    assert_int_equal(leat_outbox_append(w->box, 1, &effect, (struct leat_hash128){0}, &err), LEAT_LIMIT);
    OK(leat_outbox_reject(w->box, &effect, "too long", oops));
    batch(w, 1, "b");
    deliver_all(w);
    assert_string_equal(w->remote.got, "a b ");
    OK(leat_outbox_dead(w->box, 0, collect, &text, &next, oops));
    assert_int_equal(next, 1);
    assert_true(text.length < 70000 && strstr(text.data, "x: too long; "));
    leat_buffer_deinit(&text);
    free(huge);
    world_deinit(w);
}

static enum leat_status refuse(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed, struct leat_error *err) {
    (void)base, (void)effects, (void)count, (void)stop;
    *confirmed = 0;
    return leat_fail(err, LEAT_INVALID, "no");
}

/* As text a row may be six times as long as it is: longer than a block of the log. */
static void a_refused_row_that_is_long_as_text_is_a_dead_letter(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer text = {0};
    struct leat_schema schema = {0};
    struct leat_changes rows;
    struct leat_row_codec codec;
    struct leat_row_block block = {0};
    static const struct leat_sink_ops never = {.name = "never", .deliver = refuse};
    const size_t bytes = 5 << 20;
    uint64_t next;
    char *long_text = leat_alloc(bytes);
    memset(long_text, 1, bytes);
    leat_schema_add(&schema, "s", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    leat_changes_init(&rows, &schema);
    leat_changes_reserve(&rows, 1);
    rows.row_count = 1;
    ((struct leat_string *)rows.columns[0].data)[0] = leat_string_of(long_text, (uint32_t)bytes);
    leat_row_codec_init(&codec, &schema, NULL, 1);
    leat_row_encode(&codec, &rows, NULL, 0, 1, &block);
    world_init(w, &never);
    leat_outbox_close(w->box);
    const struct leat_outbox_options options = {.max_tries = 3, .retry_first_us = 1000, .retry_max_us = 16000, .begin_us = w->now_us, .typed = &schema};
    OK(leat_outbox_open(&w->env, w->dir, &options, &w->remote.base, &w->box, oops));
    append(w, 1, (const char *)block.bytes, block.starts[1]);
    batch(w, 1, "");
    deliver_all(w);
    OK(leat_outbox_dead(w->box, 0, collect, &text, &next, oops));
    assert_int_equal(next, 1);
    assert_non_null(strstr(text.data, "{\"s\":\"\\u0001\\u0001"));
    free(long_text);
    leat_row_block_deinit(&block);
    leat_row_codec_deinit(&codec);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&text);
    world_deinit(w);
}

static void count(void *context, const struct leat_outbox_effect *effect) {
    uint64_t *counts = context;
    assert_int_equal(effect->key_bytes, 1);
    assert_int_equal(effect->row.high, effect->mark);
    counts[effect->mark]++;
}

/* What the remote has confirmed stays as long as somebody wants to know what it was told. */
static void batches_above_a_mark_can_be_read(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t counts[8] = {0};
    world_init(w, &plain);
    batch(w, 1, "abc");
    batch(w, 2, "de");
    batch(w, 3, "f");
    deliver_all(w);
    OK(leat_outbox_trim(w->box, 1, oops));
    OK(leat_outbox_visit(w->box, 1, count, counts, oops));
    assert_int_equal(counts[1] + 10 * counts[2] + 100 * counts[3], 120);
    world_deinit(w);
}

static void the_thread_delivers_and_sleeps(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, &plain);
    w->env.clock = leat_clock_real();
    reopen(w);
    w->remote.down = 3;
    OK(leat_outbox_start(w->box, oops));
    for (int i = 0; i < 50; i++) batch(w, (uint64_t)i + 1, "a");
    struct leat_outbox_stats stats = {.waiting = 1};
    while (stats.waiting) {
        leat_outbox_settle(w->box);
        leat_outbox_stats(w->box, &stats);
    }
    assert_int_equal(strlen(w->remote.got), 100);
    leat_outbox_close(w->box); /* keeps how far it is */
    w->box = NULL;
    reopen(w);
    deliver_all(w);
    assert_int_equal(strlen(w->remote.got), 100);
    world_deinit(w);
}

/* A folder out of a backup: the remote has had higher sequences since. What waited keeps its own, what is new goes behind all of them. */
static void sequences_go_on_behind_a_restore(void **state) {
    (void)state;
    for (int waits = 0; waits < 2; waits++)
        for (int knows = 0; knows < 2; knows++) {
            struct world world, *w = &world;
            struct leat_outbox_stats stats;
            world_init(w, knows ? &exact : &plain);
            batch(w, 1, "ab");
            if (!waits) deliver_all(w);
            w->now_us += 3600000000;
            w->restored_us = w->now_us;
            for (int i = 0; i < 3; i++) reopen(w); /* nothing is written yet */
            leat_outbox_stats(w->box, &stats);
            assert_int_equal(stats.waiting, waits ? 2 : 0);
            w->remote.last = waits && knows ? (uint64_t)w->now_us - 1000 : w->remote.last; /* what the original sent after the backup */
            batch(w, 2, "c");
            leat_outbox_stats(w->box, &stats);
            assert_int_equal(stats.waiting, waits ? 3 : 1);
            deliver_all(w);
            assert_string_equal(w->remote.got, waits && knows ? "c " : "a b c ");
            assert_true(w->remote.last > (uint64_t)w->restored_us);
            uint64_t last = w->remote.last;
            for (int i = 0; i < 3; i++) {
                reopen(w);
                batch(w, (uint64_t)i + 3, "d");
                OK(leat_outbox_trim(w->box, (uint64_t)i + 3, oops));
                deliver_all(w);
            }
            assert_true(w->remote.last > last && w->remote.last < last + 20);
            leat_outbox_stats(w->box, &stats);
            assert_int_equal(stats.waiting, 0);
            world_deinit(w);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_from_where_it_was),   cmocka_unit_test(a_crash_before_progress_is_kept),
        cmocka_unit_test(a_remote_that_was_put_back_gets_what_it_lost),
        cmocka_unit_test(an_incomplete_batch_is_void),      cmocka_unit_test(what_cannot_be_reached_waits),
        cmocka_unit_test(what_is_refused_is_a_dead_letter), cmocka_unit_test(batches_above_a_mark_can_be_read),
        cmocka_unit_test(what_cannot_be_kept_is_a_dead_letter), cmocka_unit_test(a_refused_row_that_is_long_as_text_is_a_dead_letter),
        cmocka_unit_test(the_thread_delivers_and_sleeps),   cmocka_unit_test(sequences_go_on_behind_a_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
