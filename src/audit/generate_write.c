/* The files of the generated shop. Lines are put together by hand: printf alone would cost more than all the rest. */
#include "audit/generate_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/value.h"

enum { BUFFER_BYTES = 1 << 20, LINE_BYTES_MAX = 512 };

const char *const shop_status_names[SHOP_STATUSES] = {"placed",    "paid",      "shipped",
                                                      "delivered", "cancelled", "returned"};
const char *const shop_plant_names[PLANT_KINDS] = {"",
                                                   "late",
                                                   "duplicate",
                                                   "duplicate_conflict",
                                                   "fraud_velocity",
                                                   "fraud_amount",
                                                   "fraud_country",
                                                   "fraud_card",
                                                   "truncated",
                                                   "not_json",
                                                   "wrong_type",
                                                   "missing_key",
                                                   "null_key",
                                                   "bad_time",
                                                   "epoch_time",
                                                   "bad_number",
                                                   "out_of_range",
                                                   "invalid_utf8"};

/* ---- text ---- */

static char *put_text(char *out, const char *text, size_t n) {
    memcpy(out, text, n);
    return out + n;
}
#define PUT(out, literal) put_text(out, literal, sizeof(literal) - 1)

static char *put_word(char *out, const char *word) {
    return put_text(out, word, strlen(word));
}

static char *put_number(char *out, uint64_t v) {
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *out++ = digits[--n];
    return out;
}

/* `width` digits, with leading zeros. */
static char *put_padded(char *out, uint64_t v, int width) {
    for (int i = width - 1; i >= 0; i--, v /= 10)
        out[i] = (char)('0' + v % 10);
    return out + width;
}

static char *put_cents(char *out, int64_t cents) {
    if (cents < 0) *out++ = '-';
    uint64_t v = (uint64_t)(cents < 0 ? -cents : cents);
    out = put_number(out, v / 100);
    *out++ = '.';
    return put_padded(out, v % 100, 2);
}

/* A version 4 UUID of 122 random bits. */
static char *put_uuid(char *out, const uint64_t id[2]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t high = (id[0] & ~0xF000ull) | 0x4000, low = (id[1] & ~(3ull << 62)) | 2ull << 62;
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            *out++ = '-';
            continue;
        }
        uint64_t *part = i < 18 ? &high : &low;
        *out++ = hex[*part >> 60];
        *part <<= 4;
    }
    return out;
}

static char *put_time(struct shop_file *f, char *out, int64_t time_us) {
    int64_t day = time_us / 86400000000, us = time_us % 86400000000;
    if (us < 0) us += 86400000000, day--;
    if (day != f->date_day || !f->date[0]) {
        int64_t year;
        unsigned month, of_month;
        leat_civil_from_days(day, &year, &month, &of_month);
        char *p = put_padded(f->date, (uint64_t)year, 4);
        *p++ = '-';
        p = put_padded(p, month, 2);
        *p++ = '-';
        put_padded(p, of_month, 2);
        f->date_day = day;
    }
    uint64_t rest = (uint64_t)us;
    out = put_text(out, f->date, 10);
    *out++ = 'T';
    out = put_padded(out, rest / 3600000000u, 2);
    *out++ = ':';
    out = put_padded(out, rest / 60000000 % 60, 2);
    *out++ = ':';
    out = put_padded(out, rest / 1000000 % 60, 2);
    *out++ = '.';
    out = put_padded(out, rest % 1000000, 6);
    *out++ = 'Z';
    return out;
}

void shop_put_time(struct leat_buffer *b, int64_t time_us) {
    struct shop_file f = {0};
    char text[32];
    leat_putn(b, text, (size_t)(put_time(&f, text, time_us) - text));
}

/* ---- files ---- */

static enum leat_status flush(struct shop_writer *w, struct shop_file *f, struct leat_error *err) {
    enum leat_status status = f->used ? w->env->io->ops->write(f->file, f->buffer, f->used, err) : LEAT_OK;
    f->used = 0;
    return status;
}

/* Room for one line; NULL: err. */
static char *line_start(struct shop_writer *w, struct shop_file *f, struct leat_error *err) {
    if (f->used + LINE_BYTES_MAX > BUFFER_BYTES && flush(w, f, err)) return NULL;
    return f->buffer + f->used;
}

static void line_end(struct shop_file *f, char *end) {
    *end++ = '\n';
    f->used = (size_t)(end - f->buffer);
    f->lines++;
}

static enum leat_status open_file(struct shop_writer *w, struct shop_file *f, const char *name,
                                  struct leat_error *err) {
    char *path = leat_asprintf("%s/%s", w->dir, name);
    f->name = name;
    f->buffer = leat_alloc(BUFFER_BYTES);
    enum leat_status status = w->env->io->ops->open(w->env->io, path, LEAT_OPEN_TRUNCATE, &f->file, err);
    free(path);
    return status;
}

enum leat_status shop_writer_open(struct shop_writer *w, struct leat_env *env, const char *dir,
                                  struct leat_error *err) {
    *w = (struct shop_writer){.env = env, .dir = dir};
    enum leat_status status = leat_io_mkdirs(env->io, dir, err);
    if (status == LEAT_OK) status = open_file(w, &w->orders, "order_events.ndjson", err);
    if (status == LEAT_OK) status = open_file(w, &w->payments, "payments.ndjson", err);
    if (status == LEAT_OK) status = open_file(w, &w->planted, "planted.ndjson", err);
    return status;
}

enum leat_status shop_writer_finish(struct shop_writer *w, struct leat_error *err) {
    struct shop_file *files[] = {&w->orders, &w->payments, &w->planted};
    for (size_t i = 0; i < 3; i++) {
        enum leat_status status = flush(w, files[i], err);
        if (status == LEAT_OK) status = w->env->io->ops->sync(files[i]->file, err);
        if (status) return status;
    }
    return w->env->io->ops->sync_dir(w->env->io, w->dir, err);
}

void shop_writer_close(struct shop_writer *w) {
    struct shop_file *files[] = {&w->orders, &w->payments, &w->planted};
    for (size_t i = 0; w->env && i < 3; i++) {
        if (files[i]->file) w->env->io->ops->close(files[i]->file);
        free(files[i]->buffer);
    }
    *w = (struct shop_writer){0};
}

/* ---- lines ---- */

static char *put_event(struct shop_file *f, char *p, const struct shop_event *e) {
    p = PUT(p, "{\"event_id\":\"");
    p = put_uuid(p, e->id);
    p = PUT(p, "\",\"order_id\":");
    p = put_number(p, e->order_id);
    p = PUT(p, ",\"customer_id\":");
    p = put_number(p, e->customer);
    p = PUT(p, ",\"product_id\":");
    p = put_number(p, e->product);
    p = PUT(p, ",\"quantity\":");
    p = put_number(p, e->quantity);
    p = PUT(p, ",\"amount\":");
    p = put_cents(p, e->amount_cents);
    p = PUT(p, ",\"status\":\"");
    p = put_word(p, shop_status_names[e->status]);
    p = PUT(p, "\",\"event_time\":\"");
    p = put_time(f, p, e->time_us);
    return PUT(p, "\"}");
}

enum leat_status shop_write_event(struct shop_writer *w, const struct shop_event *e, struct leat_error *err) {
    char *p = line_start(w, &w->orders, err);
    if (!p) return err->status;
    line_end(&w->orders, put_event(&w->orders, p, e));
    return LEAT_OK;
}

/* Replaces the value of `key` in the line of *length bytes, which has room. Values here hold no comma. */
static void replace_value(char *line, size_t *length, const char *key, const char *value) {
    char *from = strstr(line, key) + strlen(key);
    size_t old = strcspn(from, ",}"), new = strlen(value);
    memmove(from + new, from + old, *length + 1 - (size_t)(from + old - line));
    memcpy(from, value, new);
    *length = *length + new - old;
}

enum leat_status shop_write_malformed(struct shop_writer *w, const struct shop_event *e, enum shop_plant kind,
                                      uint64_t random, struct leat_error *err) {
    char *line = line_start(w, &w->orders, err);
    if (!line) return err->status;
    size_t n = (size_t)(put_event(&w->orders, line, e) - line);
    line[n] = 0;
    switch (kind) {
    case PLANT_TRUNCATED:
        n = 1 + random % (n - 1);
        break;
    case PLANT_NOT_JSON:
        n = (size_t)snprintf(line, LINE_BYTES_MAX, "ERROR worker-%u: connection reset by peer", (unsigned)(random % 8));
        break;
    case PLANT_WRONG_TYPE:
        replace_value(line, &n, "\"quantity\":", "\"many\"");
        break;
    case PLANT_MISSING_KEY:
        memcpy(strstr(line, "event_id"), "event_no", 8);
        break;
    case PLANT_NULL_KEY:
        replace_value(line, &n, "\"order_id\":", "null");
        break;
    case PLANT_BAD_TIME:
        replace_value(line, &n, "\"event_time\":", "\"2026-02-30T25:61:00Z\"");
        break;
    case PLANT_EPOCH_TIME:
        replace_value(line, &n, "\"event_time\":", "1767225600000");
        break;
    case PLANT_BAD_NUMBER:
        replace_value(line, &n, "\"amount\":", "\"12.50 EUR\"");
        break;
    case PLANT_OUT_OF_RANGE:
        replace_value(line, &n, "\"quantity\":", "3000000000");
        break;
    case PLANT_INVALID_UTF8:
        replace_value(line, &n, "\"status\":",
                      "\"pla\xff"
                      "ced\"");
        break;
    default:
        break;
    }
    line_end(&w->orders, line + n);
    return shop_write_planted(w, &w->orders, kind, 0, err);
}

enum leat_status shop_write_payment(struct shop_writer *w, const uint64_t id[2], const struct shop_event *e,
                                    const char *method, uint64_t card, const char *country, struct leat_error *err) {
    struct shop_file *f = &w->payments;
    char *p = line_start(w, f, err);
    if (!p) return err->status;
    p = PUT(p, "{\"payment_id\":\"");
    p = put_uuid(p, id);
    p = PUT(p, "\",\"order_id\":");
    p = put_number(p, e->order_id);
    p = PUT(p, ",\"customer_id\":");
    p = put_number(p, e->customer);
    p = PUT(p, ",\"amount\":");
    p = put_cents(p, e->amount_cents);
    p = PUT(p, ",\"method\":\"");
    p = put_word(p, method);
    p = PUT(p, "\",\"card\":\"");
    p = put_number(p, card);
    p = PUT(p, "\",\"country\":\"");
    p = put_word(p, country);
    p = PUT(p, "\",\"event_time\":\"");
    p = put_time(f, p, e->time_us);
    line_end(f, PUT(p, "\"}"));
    return LEAT_OK;
}

enum leat_status shop_write_planted(struct shop_writer *w, const struct shop_file *file, enum shop_plant kind,
                                    uint32_t incident, struct leat_error *err) {
    char *p = line_start(w, &w->planted, err);
    if (!p) return err->status;
    w->counts[kind]++;
    p = PUT(p, "{\"file\":\"");
    p = put_word(p, file->name);
    p = PUT(p, "\",\"line\":");
    p = put_number(p, file->lines);
    p = PUT(p, ",\"kind\":\"");
    p = put_word(p, shop_plant_names[kind]);
    *p++ = '"';
    if (incident) {
        p = PUT(p, ",\"incident\":");
        p = put_number(p, incident);
    }
    line_end(&w->planted, PUT(p, "}"));
    return LEAT_OK;
}
