/* The generated shop: everything planted is counted again from the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "audit/generate.h"
#include "base/limits.h"
#include "data/decode.h"

static struct leat_env env;
static char dir[256];

static int make_dir(void **state) {
    (void)state;
    leat_env_real(&env);
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/leat-generate-XXXXXX", base && *base ? base : ".");
    return mkdtemp(dir) ? 0 : -1;
}
static int remove_dir(void **state) {
    (void)state;
    struct leat_error err;
    return leat_io_remove_tree(env.io, dir, &err) == LEAT_OK ? 0 : -1;
}

static struct leat_generate_options some_options(void) {
    struct leat_option_value values[32];
    struct leat_generate_options o;
    struct leat_error err;
    assert_true(leat_generate_spec_count <= 32);
    for (size_t i = 0; i < leat_generate_spec_count; i++)
        values[i] = leat_option_default(&leat_generate_specs[i]);
    assert_int_equal(leat_generate_from_values(values, &o, &err), LEAT_OK);
    o.out_dir = dir;
    o.events = 60000;
    o.rate = 20;
    o.late_permille = 10;
    o.malformed_permille = 8;
    o.fraud_permille = 5;
    o.customers = 500;
    o.open_orders = 400;
    return o;
}

static void generate(const struct leat_generate_options *o) {
    struct leat_error err;
    if (leat_generate(&env, o, &err)) fail_msg("%s", err.text);
}

static struct leat_buffer read_file(const char *name) {
    struct leat_buffer text = {0};
    struct leat_error err;
    char *path = leat_asprintf("%s/%s", dir, name);
    if (leat_io_read_all(env.io, path, (size_t)1 << 30, &text, &err) ||
        leat_buffer_reserve(&text, LEAT_PAYLOAD_SLACK, &err))
        fail_msg("%s", err.text);
    free(path);
    return text;
}

static uint64_t hash_of_all(void) {
    static const char *const names[] = {"order_events.ndjson", "payments.ndjson", "planted.json",   "planted.ndjson",
                                        "products.csv",        "products_v1.csv", "products_v4.csv"};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct leat_buffer text = read_file(names[i]);
        hash = XXH3_64bits_withSeed(text.data, text.length, hash);
        leat_buffer_deinit(&text);
    }
    return hash;
}

static void equal_seeds_give_equal_bytes(void **state) {
    (void)state;
    struct leat_generate_options o = some_options();
    generate(&o);
    uint64_t first = hash_of_all();
    generate(&o);
    assert_true(first == hash_of_all());
    o.seed++;
    generate(&o);
    assert_true(first != hash_of_all());
}

/* ---- counting again ---- */

enum { MAX_LINES = 100000, MAX_KINDS = 32 };

/* One decoded file. */
struct table {
    struct leat_source source;
    struct leat_buffer text;
    struct leat_changes rows;
    uint32_t starts[MAX_LINES], ends[MAX_LINES], lines[MAX_LINES], line_count;
    uint8_t rejected[MAX_LINES];
    size_t reject_count;
};

static struct table *load(const char *name, const char *const columns[][2], size_t column_count) {
    struct table *t = leat_alloc(sizeof *t);
    struct leat_error err;
    struct leat_decoder *decoder;
    const struct leat_reject *rejects;
    t->source = (struct leat_source){.name = (char *)name, .format = LEAT_FORMAT_JSON};
    for (size_t i = 0; i < column_count; i++) {
        struct leat_type type;
        assert_int_equal(leat_type_parse(columns[i][1], strlen(columns[i][1]), &type, &err), LEAT_OK);
        leat_schema_add(&t->source.schema, columns[i][0], type, true);
    }
    t->text = read_file(name);
    size_t used = leat_split_records(LEAT_FORMAT_JSON, t->text.data, t->text.length, false, t->starts, t->ends,
                                     MAX_LINES, &t->line_count);
    assert_int_equal(used, t->text.length);
    struct leat_block block = {.payload = t->text.data,
                               .payload_bytes = used,
                               .starts = t->starts,
                               .ends = t->ends,
                               .record_count = t->line_count};
    leat_changes_init(&t->rows, &t->source.schema);
    assert_int_equal(leat_decoder_open(&t->source, &decoder, &err), LEAT_OK);
    assert_int_equal(
        leat_decode(decoder, &block, 0, t->line_count, &t->rows, t->lines, NULL, &rejects, &t->reject_count, &err),
        LEAT_OK);
    for (size_t i = 0; i < t->reject_count; i++)
        t->rejected[rejects[i].record] = 1;
    leat_decoder_close(decoder);
    return t;
}
static void unload(struct table *t) {
    leat_changes_deinit(&t->rows);
    leat_schema_deinit(&t->source.schema);
    leat_buffer_deinit(&t->text);
    free(t);
}
static int64_t int_at(const struct table *t, size_t column, size_t row) {
    const struct leat_column *c = &t->rows.columns[column];
    return leat_type_size(c->type) == 4 ? ((int32_t *)c->data)[row] : ((int64_t *)c->data)[row];
}
static struct leat_string *string_at(const struct table *t, size_t column, size_t row) {
    return (struct leat_string *)t->rows.columns[column].data + row;
}
static bool same_line(const struct table *t, uint32_t a, uint32_t b) {
    uint32_t n = t->ends[a] - t->starts[a];
    return n == t->ends[b] - t->starts[b] && !memcmp(t->text.data + t->starts[a], t->text.data + t->starts[b], n);
}

/* planted.ndjson, as what is said of each line: bits of the kinds in the order of `kinds`. */
static const char *const kinds[] = {"late",         "duplicate",     "duplicate_conflict", "fraud_velocity",
                                    "fraud_amount", "fraud_country", "fraud_card",         "malformed"};
enum { LATE, DUPLICATE, CONFLICT, VELOCITY, AMOUNT, COUNTRY, CARD, MALFORMED, KINDS };
struct planted {
    uint8_t orders[MAX_LINES], payments[MAX_LINES];
    uint32_t incident[MAX_LINES], card_incident[MAX_LINES];
    uint64_t counts[KINDS];
};

static struct planted *load_planted(void) {
    struct planted *p = leat_alloc(sizeof *p);
    struct leat_buffer text = read_file("planted.ndjson");
    for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        json_t *entry = json_loads(line, 0, NULL);
        assert_non_null(entry);
        const char *file = json_string_value(json_object_get(entry, "file")),
                   *kind = json_string_value(json_object_get(entry, "kind"));
        size_t number = (size_t)json_integer_value(json_object_get(entry, "line")) - 1, k = 0;
        assert_true(number < MAX_LINES);
        while (k < MALFORMED && strcmp(kinds[k], kind))
            k++;
        p->counts[k]++;
        if (!strcmp(file, "payments.ndjson"))
            p->payments[number] |= (uint8_t)(1u << k);
        else
            p->orders[number] |= (uint8_t)(1u << k);
        if (k == VELOCITY) p->incident[number] = (uint32_t)json_integer_value(json_object_get(entry, "incident"));
        if (k == CARD) p->card_incident[number] = (uint32_t)json_integer_value(json_object_get(entry, "incident"));
        json_decref(entry);
    }
    leat_buffer_deinit(&text);
    return p;
}

static uint64_t count_of(json_t *root, const char *group, const char *name) {
    json_t *v = json_object_get(group ? json_object_get(root, group) : root, name);
    assert_true(json_is_integer(v));
    return (uint64_t)json_integer_value(v);
}

static const char *const order_columns[][2] = {
    {"event_id", "VARCHAR"}, {"order_id", "BIGINT"},      {"customer_id", "BIGINT"}, {"product_id", "INTEGER"},
    {"quantity", "INTEGER"}, {"amount", "DECIMAL(18,2)"}, {"status", "VARCHAR"},     {"event_time", "TIMESTAMP"}};
static const char *const payment_columns[][2] = {
    {"payment_id", "VARCHAR"}, {"order_id", "BIGINT"}, {"customer_id", "BIGINT"},  {"amount", "DECIMAL(18,2)"},
    {"method", "VARCHAR"},     {"card", "VARCHAR"},    {"country", "VARCHAR"},     {"event_time", "TIMESTAMP"}};
enum { O_ID, O_ORDER, O_CUSTOMER, O_PRODUCT, O_QUANTITY, O_AMOUNT, O_STATUS, O_TIME };
enum { P_ID, P_ORDER, P_CUSTOMER, P_AMOUNT, P_METHOD, P_CARD, P_COUNTRY, P_TIME };

/* Rows by event_id: open addressing on the hash of the text. */
static uint32_t *seen_slot(uint32_t *slots, size_t mask, const struct table *t, size_t row) {
    const struct leat_string *id = string_at(t, O_ID, row);
    size_t at = XXH3_64bits(leat_string_data(id), id->length) & mask;
    while (slots[at] && !leat_string_equal(id, string_at(t, O_ID, slots[at] - 1)))
        at = (at + 1) & mask;
    return &slots[at];
}

static void orders_hold_what_is_said(const struct leat_generate_options *o, json_t *root, const struct planted *said,
                                     uint64_t *paid) {
    enum { SLOTS = 1 << 18 };
    static const char *const statuses[] = {"placed", "paid", "shipped", "delivered", "cancelled", "returned"};
    struct table *t = load("order_events.ndjson", order_columns, 8);
    uint32_t *slots = leat_alloc(SLOTS * sizeof *slots);
    uint64_t distinct[6] = {0}, late = 0, repeated = 0, conflicts = 0;
    int64_t newest = INT64_MIN / 2, placed = 0;
    assert_int_equal(t->line_count, o->events);
    for (uint32_t i = 0; i < t->line_count; i++)
        assert_int_equal(t->rejected[i], said->orders[i] >> MALFORMED & 1);
    for (size_t row = 0; row < t->rows.row_count; row++) {
        uint32_t line = t->lines[row];
        uint8_t flags = said->orders[line];
        int64_t time = int_at(t, O_TIME, row);
        bool is_late = newest - time > o->out_of_order_us;
        assert_true(newest - time <= o->late_by_us + 120000000 || newest < 0);
        assert_int_equal(is_late, flags >> LATE & 1);
        late += is_late;
        if (time > newest) newest = time;
        uint32_t *slot = seen_slot(slots, SLOTS - 1, t, row);
        bool same = *slot && same_line(t, line, t->lines[*slot - 1]);
        assert_int_equal(*slot && same, flags >> DUPLICATE & 1);
        assert_int_equal(*slot && !same, flags >> CONFLICT & 1);
        if (*slot) {
            repeated += same;
            conflicts += !same;
            continue;
        }
        *slot = (uint32_t)row + 1;
        size_t status = 0;
        const struct leat_string *name = string_at(t, O_STATUS, row);
        while (strlen(statuses[status]) != name->length ||
               memcmp(statuses[status], leat_string_data(name), name->length))
            assert_true(++status < 6);
        distinct[status]++;
        if (status == 0) {
            placed += int_at(t, O_AMOUNT, row);
            assert_int_equal(int_at(t, O_AMOUNT, row) >= 500000, flags >> AMOUNT & 1);
        }
    }
    assert_int_equal(late, said->counts[LATE]);
    assert_int_equal(repeated, said->counts[DUPLICATE]);
    assert_int_equal(conflicts, said->counts[CONFLICT]);
    assert_int_equal(t->reject_count, said->counts[MALFORMED]);
    assert_int_equal(t->reject_count, count_of(root, NULL, "malformed"));
    assert_true(late && repeated && conflicts && t->reject_count);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(distinct[i], count_of(root, "distinct", statuses[i]));
    char text[40];
    snprintf(text, sizeof text, "%lld.%02lld", (long long)(placed / 100), (long long)(placed % 100));
    assert_string_equal(text, json_string_value(json_object_get(json_object_get(root, "distinct"), "placed_amount")));
    /* A burst: its orders are one customer's and close together. */
    for (size_t row = 0; row < t->rows.row_count; row++) {
        uint32_t incident = said->incident[t->lines[row]], size = 0;
        if (!incident) continue;
        int64_t first = INT64_MAX, last = INT64_MIN;
        for (size_t other = 0; other < t->rows.row_count; other++) {
            if (said->incident[t->lines[other]] != incident) continue;
            assert_int_equal(int_at(t, O_CUSTOMER, other), int_at(t, O_CUSTOMER, row));
            int64_t time = int_at(t, O_TIME, other);
            first = time < first ? time : first;
            last = time > last ? time : last;
            size++;
        }
        assert_true(size >= 6 || last > newest - 60000000);
        assert_true(last - first < 60000000);
    }
    *paid = distinct[1];
    free(slots);
    unload(t);
}

/* A card is one customer's, but where it was stolen: then several pay with it, many times within minutes. */
static void cards_are_what_is_said(const struct table *t, const struct planted *said) {
    uint64_t stolen = 0;
    for (size_t row = 0; row < t->rows.row_count; row++) {
        uint32_t incident = said->card_incident[row], size = 0, others = 0;
        for (size_t other = row; other-- > 0 && !incident;) {
            if (said->card_incident[other] || int_at(t, P_CUSTOMER, other) != int_at(t, P_CUSTOMER, row)) continue;
            assert_true(leat_string_equal(string_at(t, P_CARD, other), string_at(t, P_CARD, row)));
            break;
        }
        if (!incident) continue;
        stolen++;
        for (size_t other = 0; other < t->rows.row_count; other++) {
            if (said->card_incident[other] != incident) continue;
            assert_true(leat_string_equal(string_at(t, P_CARD, other), string_at(t, P_CARD, row)));
            assert_true(llabs((long long)(int_at(t, P_TIME, other) - int_at(t, P_TIME, row))) < 300000000);
            size++;
            others += int_at(t, P_CUSTOMER, other) != int_at(t, P_CUSTOMER, row);
        }
        assert_true((size >= 8 && others >= 2) || said->card_incident[t->rows.row_count - 1] == incident);
    }
    assert_int_equal(stolen, said->counts[CARD]);
    assert_true(stolen > 0);
}

static void payments_hold_what_is_said(const struct planted *said, uint64_t paid) {
    struct table *t = load("payments.ndjson", payment_columns, 8);
    assert_int_equal(t->reject_count, 0);
    assert_int_equal(t->line_count, paid);
    uint64_t abroad = 0;
    for (size_t row = 0; row < t->rows.row_count; row++) {
        if (row) assert_true(int_at(t, P_TIME, row) >= int_at(t, P_TIME, row - 1));
        bool is_abroad = said->payments[row] >> COUNTRY & 1, home_before = false;
        abroad += is_abroad;
        for (size_t other = row; other-- > 0 && (!home_before || !is_abroad);) {
            if (int_at(t, P_CUSTOMER, other) != int_at(t, P_CUSTOMER, row) || (said->payments[other] >> COUNTRY & 1))
                continue;
            home_before = true;
            assert_int_equal(leat_string_equal(string_at(t, P_COUNTRY, other), string_at(t, P_COUNTRY, row)),
                             !is_abroad);
            break;
        }
        if (is_abroad) assert_true(home_before);
    }
    assert_int_equal(abroad, said->counts[COUNTRY]);
    assert_true(abroad > 0);
    cards_are_what_is_said(t, said);
    unload(t);
}

static void everything_planted_is_found_again(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct leat_generate_options o = some_options();
        o.seed = seed;
        generate(&o);
        struct leat_buffer text = read_file("planted.json");
        json_t *root = json_loadb(text.data, text.length, 0, NULL);
        assert_non_null(root);
        struct planted *said = load_planted();
        for (size_t k = 0; k < MALFORMED; k++)
            assert_int_equal(said->counts[k], count_of(root, "planted", kinds[k]));
        assert_true(said->counts[VELOCITY] > 0 && said->counts[AMOUNT] > 0);
        uint64_t paid;
        orders_hold_what_is_said(&o, root, said, &paid);
        payments_hold_what_is_said(said, paid);
        free(said);
        json_decref(root);
        leat_buffer_deinit(&text);
    }
}

static void nothing_planted_gives_nothing(void **state) {
    (void)state;
    struct leat_generate_options o = some_options();
    o.late_permille = o.duplicate_permille = o.malformed_permille = o.fraud_permille = 0;
    o.events = 5000;
    generate(&o);
    struct leat_buffer text = read_file("planted.ndjson");
    assert_int_equal(text.length, 0);
    leat_buffer_deinit(&text);
    o.events = 0;
    generate(&o);
    o.late_by_us = o.out_of_order_us;
    struct leat_error err;
    assert_int_equal(leat_generate(&env, &o, &err), LEAT_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_seeds_give_equal_bytes, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(everything_planted_is_found_again, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(nothing_planted_gives_nothing, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
