/* The generated shop: what happens in it, and in which order its events arrive. See generate.h.
 *
 * True events come in order of time, `rate` a second. Each either places an order or moves one of the open orders on;
 * the pool of open orders has a fixed size, so that memory does not grow with the number of events. They are written in
 * blocks that span less than out_of_order_us, shuffled: the ordinary disorder. An event that is to be late waits in a
 * heap until an event has been written that is far enough ahead of it. */
#include "audit/generate_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/value.h"

enum {
    BLOCK_EVENTS_MAX = 32768, /* stays in the processor's cache */
    LATE_WAITING_MAX = 1 << 20,
    DUPLICATES_WAITING_MAX = 256,
    BURST_ORDERS_MIN = 6,
    BURST_ORDERS_SPREAD = 7,
    STOLEN_PAYMENTS_MIN = 8,
    STOLEN_PAYMENTS_SPREAD = 8,
    FIRST_ORDER = 100000001,
    PRICE_MAX_CENTS = 100000, /* with at most 4 pieces an order stays below what counts as fraud */
    PLANTED_JSON_BYTES = 1 << 16,
};
static const char *const countries[] = {"DE", "FR", "NL", "PL", "ES", "IT", "AT", "SE", "GB", "US"};
static const char *const methods[] = {"card", "paypal", "invoice", "transfer"};
static const char *const categories[] = {"books", "garden", "kitchen", "toys", "music", "office", "sports", "tools"};
enum {
    COUNTRIES = sizeof countries / sizeof *countries,
    METHODS = sizeof methods / sizeof *methods,
    CATEGORIES = sizeof categories / sizeof *categories
};

struct order {
    uint64_t id;
    int64_t amount_cents;
    uint32_t customer, product, quantity, incident;
    uint8_t status, fraud;
};
struct product {
    int32_t price_cents;
    uint8_t category;
};
struct late_event {
    int64_t ready_us; /* may be written once an event of this time was */
    struct shop_event event;
};

struct shop {
    const struct leat_generate_options *o;
    struct leat_random random;
    struct shop_writer writer;
    struct product *products; /* [version * o->products + product] */
    struct order *open;
    size_t open_count;
    uint64_t next_order, made, planned_lines; /* true events made; lines that they will give */
    uint32_t incidents;
    /* A fraud under way decides the next events: */
    uint32_t burst_left, burst_customer, burst_incident;
    bool abroad_next; /* pay the newest order from abroad */
    uint32_t abroad_customer;
    struct leat_random thief; /* decides what cards are stolen, so that the rest of the shop is the same without */
    uint32_t stolen_left, stolen_from, stolen_incident; /* payments still to come with a customer's card */
    struct shop_event *block;
    size_t block_count, block_capacity;
    struct late_event *late; /* binary heap, the smallest ready_us first */
    size_t late_count, late_capacity;
    struct shop_event duplicates[DUPLICATES_WAITING_MAX];
    size_t duplicate_count;
    int64_t newest_us; /* greatest event_time written */
    uint64_t distinct[SHOP_STATUSES];
    int64_t placed_cents;
};

static uint64_t below(struct shop *s, uint64_t bound) {
    return leat_random_below(&s->random, bound);
}
static bool permille(struct shop *s, uint32_t share) {
    return share && below(s, 1000) < share;
}

/* An order has 2.9 events on average, so that 341 in a thousand new ones keep the pool as it is: it fills quickly, then
 * stays somewhat below its size, which leaves room for bursts. */
static uint32_t new_order_permille(const struct shop *s) {
    size_t target = s->o->open_orders - s->o->open_orders / 8 - 1;
    return s->open_count < target / 2 ? 600 : s->open_count < target ? 400 : 250;
}

/* ---- the catalogue ---- */

static int64_t span_us(const struct leat_generate_options *o) {
    return (int64_t)((unsigned __int128)o->events * 1000000 / o->rate);
}

static int64_t version_start_us(const struct leat_generate_options *o, uint32_t version) {
    return o->start_us + span_us(o) / o->product_versions * version;
}

static void make_products(struct shop *s) {
    uint32_t n = s->o->products;
    s->products = leat_alloc((size_t)n * s->o->product_versions * sizeof *s->products);
    for (uint32_t i = 0; i < n; i++)
        s->products[i] = (struct product){(int32_t)(99 + below(s, 49901)), (uint8_t)below(s, CATEGORIES)};
    for (uint32_t v = 1; v < s->o->product_versions; v++)
        for (uint32_t i = 0; i < n; i++) {
            struct product p = s->products[(size_t)(v - 1) * n + i];
            if (below(s, 5) == 0) p.price_cents = (int32_t)(p.price_cents * (80 + (int64_t)below(s, 41)) / 100) + 1;
            if (p.price_cents > PRICE_MAX_CENTS) p.price_cents = PRICE_MAX_CENTS;
            if (below(s, 20) == 0) p.category = (uint8_t)below(s, CATEGORIES);
            s->products[(size_t)v * n + i] = p;
        }
}

static int64_t price_at(const struct shop *s, uint32_t product, int64_t time_us) {
    int64_t width = span_us(s->o) / s->o->product_versions;
    int64_t version = width ? (time_us - s->o->start_us) / width : 0;
    if (version >= s->o->product_versions) version = s->o->product_versions - 1;
    return s->products[(size_t)version * s->o->products + product].price_cents;
}

static enum leat_status write_catalogue(struct shop *s, const char *name, uint32_t version, struct leat_error *err) {
    struct leat_buffer text = {0};
    leat_put(&text, "product_id,name,category,price,valid_from\n");
    for (uint32_t i = 0; i < s->o->products; i++) {
        const struct product *p = &s->products[(size_t)version * s->o->products + i];
        leat_putf(&text, "%u,Product %u,%s,%d.%02d,", i, i, categories[p->category], p->price_cents / 100,
                  p->price_cents % 100);
        shop_put_time(&text, version_start_us(s->o, version));
        leat_put(&text, "\n");
    }
    char *path = leat_asprintf("%s/%s", s->o->out_dir, name);
    enum leat_status status = leat_io_write_durable(s->writer.env->io, path, text.data, text.length, true, err);
    free(path);
    leat_buffer_deinit(&text);
    return status;
}

static enum leat_status write_catalogues(struct shop *s, struct leat_error *err) {
    for (uint32_t v = 0; v < s->o->product_versions; v++) {
        char *name = leat_asprintf("products_v%u.csv", v + 1);
        enum leat_status status = write_catalogue(s, name, v, err);
        free(name);
        if (status) return status;
    }
    return write_catalogue(s, "products.csv", s->o->product_versions - 1, err);
}

/* ---- what happens ---- */

static const char *home_of(uint32_t customer) {
    return countries[(customer * 2654435761u >> 8) % COUNTRIES];
}

static struct order *new_order(struct shop *s, int64_t time_us) {
    struct order *order = &s->open[s->open_count++];
    *order = (struct order){.id = s->next_order++, .status = SHOP_PLACED, .quantity = 1 + (uint32_t)below(s, 4)};
    /* Skewed: the product of two uniform numbers prefers the first ones. */
    order->product = (uint32_t)((below(s, s->o->products) * (below(s, s->o->products) + 1)) / s->o->products);
    order->customer = 1 + (uint32_t)below(s, s->o->customers);
    order->amount_cents = price_at(s, order->product, time_us) * order->quantity;
    if (s->burst_left) {
        s->burst_left--;
        order->customer = s->burst_customer;
        order->fraud = PLANT_FRAUD_VELOCITY;
        order->incident = s->burst_incident;
    } else if (s->abroad_next) {
        order->customer = s->abroad_customer;
    } else if (permille(s, s->o->fraud_permille)) {
        if (below(s, 2)) {
            order->fraud = PLANT_FRAUD_AMOUNT;
            order->amount_cents = 500000 + (int64_t)below(s, 1500001);
        } else {
            order->fraud = PLANT_FRAUD_VELOCITY;
            s->burst_left = BURST_ORDERS_MIN - 1 + (uint32_t)below(s, BURST_ORDERS_SPREAD);
            s->burst_customer = order->customer;
            s->burst_incident = s->incidents + 1;
        }
        order->incident = ++s->incidents;
    }
    return order;
}

static uint8_t next_status(struct shop *s, uint8_t status) {
    switch ((enum shop_status)status) {
    case SHOP_PLACED:
        return below(s, 100) < 92 ? SHOP_PAID : SHOP_CANCELLED;
    case SHOP_PAID:
        return below(s, 100) < 95 ? SHOP_SHIPPED : SHOP_CANCELLED;
    case SHOP_SHIPPED:
        return SHOP_DELIVERED;
    default:
        return SHOP_RETURNED;
    }
}

static struct shop_event event_of(struct shop *s, const struct order *order, int64_t time_us) {
    struct shop_event e = {.order_id = order->id,
                           .time_us = time_us,
                           .amount_cents = order->amount_cents,
                           .customer = order->customer,
                           .product = order->product,
                           .quantity = order->quantity,
                           .status = order->status};
    e.id[0] = leat_random_next(&s->random);
    e.id[1] = leat_random_next(&s->random);
    if (order->status == SHOP_PLACED) {
        e.fraud = order->fraud;
        e.incident = order->incident;
    }
    return e;
}

/* A customer who just paid at home pays again from abroad: the next two events. */
static void maybe_go_abroad(struct shop *s, const struct shop_event *e) {
    if (s->burst_left || s->open_count + 1 >= s->o->open_orders) return;
    if (!permille(s, s->o->fraud_permille)) return;
    s->abroad_next = true;
    s->abroad_customer = e->customer;
}

static uint64_t card_of(uint32_t customer) {
    return UINT64_C(4000000000000000) + (uint64_t)customer * 7919;
}

/* Whose card it is paid with: the customer's own, or, for some payments in a row, a stolen one. *incident: of that; 0: none. */
static uint32_t card_owner(struct shop *s, uint32_t customer, uint32_t *incident) {
    *incident = 0;
    if (s->stolen_left) {
        if (!s->stolen_incident) s->stolen_incident = ++s->incidents;
        *incident = s->stolen_incident;
        s->stolen_left--;
        return s->stolen_from;
    }
    if (leat_random_below(&s->thief, 4000) < s->o->fraud_permille) {
        s->stolen_left = STOLEN_PAYMENTS_MIN + (uint32_t)leat_random_below(&s->thief, STOLEN_PAYMENTS_SPREAD);
        s->stolen_from = customer;
        s->stolen_incident = 0;
    }
    return customer;
}

static enum leat_status pay(struct shop *s, const struct shop_event *e, bool abroad, struct leat_error *err) {
    uint64_t id[2] = {leat_random_next(&s->random), leat_random_next(&s->random)};
    const char *country = home_of(e->customer), *method = methods[below(s, METHODS)];
    if (abroad) {
        const char *home = country;
        do
            country = countries[below(s, COUNTRIES)];
        while (country == home);
    }
    uint32_t incident;
    uint64_t card = card_of(card_owner(s, e->customer, &incident));
    enum leat_status status = shop_write_payment(&s->writer, id, e, method, card, country, err);
    if (status == LEAT_OK && incident)
        status = shop_write_planted(&s->writer, &s->writer.payments, PLANT_FRAUD_CARD, incident, err);
    if (status == LEAT_OK && abroad)
        status = shop_write_planted(&s->writer, &s->writer.payments, PLANT_FRAUD_COUNTRY, ++s->incidents, err);
    if (!abroad) maybe_go_abroad(s, e);
    return status;
}

/* The next true event. */
static enum leat_status make_event(struct shop *s, struct shop_event *out, struct leat_error *err) {
    uint64_t slot_us = 1000000 / s->o->rate;
    int64_t time_us = s->o->start_us + (int64_t)((unsigned __int128)s->made++ * 1000000 / s->o->rate);
    if (slot_us) time_us += (int64_t)below(s, slot_us);
    bool room = s->open_count<s->o->open_orders, forced = s->burst_left> 0 || s->abroad_next, abroad = false;
    size_t at = 0;
    if (s->abroad_next && s->open_count && s->open[s->open_count - 1].customer == s->abroad_customer &&
        s->open[s->open_count - 1].status == SHOP_PLACED) {
        at = s->open_count - 1; /* its order was the last event: now pay it */
        s->open[at].status = SHOP_PAID;
        s->abroad_next = false;
        abroad = true;
    } else if (room && (forced || !s->open_count || permille(s, new_order_permille(s)))) {
        at = (size_t)(new_order(s, time_us) - s->open);
    } else {
        at = (size_t)below(s, s->open_count);
        s->open[at].status = next_status(s, s->open[at].status);
    }
    struct order *order = &s->open[at];
    *out = event_of(s, order, time_us);
    s->distinct[out->status]++;
    if (out->status == SHOP_PLACED) s->placed_cents += out->amount_cents;
    bool ends = out->status == SHOP_CANCELLED || out->status == SHOP_RETURNED ||
                (out->status == SHOP_DELIVERED && below(s, 100) < 85);
    if (ends) s->open[at] = s->open[--s->open_count];
    return out->status == SHOP_PAID ? pay(s, out, abroad, err) : LEAT_OK;
}

/* Decides what else the event's line gives; never more lines than are wanted. */
static void plan_lines(struct shop *s, struct shop_event *e) {
    s->planned_lines++;
    if (s->planned_lines < s->o->events && permille(s, s->o->duplicate_permille)) {
        e->duplicate = below(s, 5) ? PLANT_DUPLICATE : PLANT_DUPLICATE_CONFLICT;
        s->planned_lines++;
    }
    if (s->planned_lines < s->o->events && permille(s, s->o->malformed_permille)) {
        e->malformed = (uint8_t)(PLANT_FIRST_MALFORMED + below(s, PLANT_KINDS - PLANT_FIRST_MALFORMED));
        s->planned_lines++;
    }
}

/* ---- in which order it arrives ---- */

static void late_push(struct shop *s, const struct late_event *e) {
    if (s->late_count == s->late_capacity) {
        s->late_capacity = s->late_capacity ? s->late_capacity * 2 : 1024;
        s->late = leat_realloc(s->late, s->late_capacity * sizeof *s->late);
    }
    size_t at = s->late_count++;
    for (; at && s->late[(at - 1) / 2].ready_us > e->ready_us; at = (at - 1) / 2)
        s->late[at] = s->late[(at - 1) / 2];
    s->late[at] = *e;
}

static struct shop_event late_pop(struct shop *s) {
    struct shop_event top = s->late[0].event;
    struct late_event last = s->late[--s->late_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= s->late_count) break;
        if (child + 1 < s->late_count && s->late[child + 1].ready_us < s->late[child].ready_us) child++;
        if (s->late[child].ready_us >= last.ready_us) break;
        s->late[at] = s->late[child];
        at = child;
    }
    s->late[at] = last;
    return top;
}

/* Writes one line of an event and says what is planted about it. */
static enum leat_status write_line(struct shop *s, const struct shop_event *e, enum shop_plant duplicate,
                                   struct leat_error *err) {
    bool late = s->newest_us - e->time_us > s->o->out_of_order_us;
    enum leat_status status = shop_write_event(&s->writer, e, err);
    if (status == LEAT_OK && duplicate) status = shop_write_planted(&s->writer, &s->writer.orders, duplicate, 0, err);
    if (status == LEAT_OK && late) status = shop_write_planted(&s->writer, &s->writer.orders, PLANT_LATE, 0, err);
    if (status == LEAT_OK && e->fraud && !duplicate)
        status = shop_write_planted(&s->writer, &s->writer.orders, (enum shop_plant)e->fraud, e->incident, err);
    if (e->time_us > s->newest_us) s->newest_us = e->time_us;
    return status;
}

static enum leat_status write_duplicate(struct shop *s, struct leat_error *err) {
    size_t at = (size_t)below(s, s->duplicate_count);
    struct shop_event e = s->duplicates[at];
    s->duplicates[at] = s->duplicates[--s->duplicate_count];
    if (e.duplicate == PLANT_DUPLICATE_CONFLICT) e.amount_cents += 100;
    return write_line(s, &e, (enum shop_plant)e.duplicate, err);
}

/* An event, and what was planned with it; its duplicate comes some lines later. */
static enum leat_status arrive(struct shop *s, const struct shop_event *e, struct leat_error *err) {
    enum leat_status status = write_line(s, e, PLANT_NONE, err);
    if (status == LEAT_OK && e->malformed) {
        struct shop_event other = *e;
        other.id[1] ^= 1; /* nobody's event_id */
        status =
            shop_write_malformed(&s->writer, &other, (enum shop_plant)e->malformed, leat_random_next(&s->random), err);
    }
    if (status == LEAT_OK && s->duplicate_count && (s->duplicate_count == DUPLICATES_WAITING_MAX || below(s, 32) == 0))
        status = write_duplicate(s, err);
    if (e->duplicate) s->duplicates[s->duplicate_count++] = *e;
    return status;
}

static enum leat_status arrive_late(struct shop *s, bool all, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    while (status == LEAT_OK && s->late_count && (all || s->late[0].ready_us <= s->newest_us)) {
        struct shop_event e = late_pop(s);
        status = arrive(s, &e, err);
    }
    return status;
}

static enum leat_status arrive_block(struct shop *s, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < s->block_count && status == LEAT_OK; i++) {
        size_t other = i + (size_t)below(s, s->block_count - i); /* Fisher and Yates */
        struct shop_event e = s->block[other];
        s->block[other] = s->block[i];
        status = arrive(s, &e, err);
        if (status == LEAT_OK) status = arrive_late(s, false, err);
    }
    s->block_count = 0;
    return status;
}

static enum leat_status run_shop(struct shop *s, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    int64_t late_spread = s->o->late_by_us - s->o->out_of_order_us;
    while (s->planned_lines < s->o->events) {
        struct shop_event e;
        status = make_event(s, &e, err);
        if (status) return status;
        plan_lines(s, &e);
        if (s->late_count < LATE_WAITING_MAX && permille(s, s->o->late_permille)) {
            struct late_event late = {.ready_us = e.time_us + s->o->out_of_order_us + 1 +
                                                  (int64_t)below(s, (uint64_t)late_spread),
                                      .event = e};
            late_push(s, &late);
            continue;
        }
        /* A block's events are closer together than the bound, whatever their order. */
        if (s->block_count == s->block_capacity ||
            (s->block_count && e.time_us - s->block[0].time_us > s->o->out_of_order_us)) {
            status = arrive_block(s, err);
            if (status) return status;
        }
        s->block[s->block_count++] = e;
    }
    status = arrive_block(s, err);
    if (status == LEAT_OK)
        status = arrive_late(s, true, err); /* those not late enough yet are ordinary disorder at the end */
    while (status == LEAT_OK && s->duplicate_count)
        status = write_duplicate(s, err);
    return status;
}

/* ---- what was planted ---- */

static enum leat_status write_counts(struct shop *s, struct leat_error *err) {
    struct leat_buffer b = {.max_bytes = PLANTED_JSON_BYTES};
    const struct leat_generate_options *o = s->o;
    uint64_t malformed = 0, events = 0;
    for (int k = PLANT_FIRST_MALFORMED; k < PLANT_KINDS; k++)
        malformed += s->writer.counts[k];
    for (int k = 0; k < SHOP_STATUSES; k++)
        events += s->distinct[k];
    leat_putf(&b, "{\n  \"seed\": %llu,\n  \"start\": \"", (unsigned long long)o->seed);
    shop_put_time(&b, o->start_us);
    leat_putf(&b, "\",\n  \"rate\": %llu,\n  \"out_of_order_us\": %lld,\n  \"late_by_us\": %lld,\n",
              (unsigned long long)o->rate, (long long)o->out_of_order_us, (long long)o->late_by_us);
    leat_putf(&b,
              "  \"lines\": {\"order_events.ndjson\": %llu, \"payments.ndjson\": %llu, \"planted.ndjson\": %llu},\n",
              (unsigned long long)s->writer.orders.lines, (unsigned long long)s->writer.payments.lines,
              (unsigned long long)s->writer.planted.lines);
    leat_putf(&b, "  \"products\": %u,\n  \"product_versions\": %u,\n  \"malformed\": %llu,\n  \"planted\": {",
              o->products, o->product_versions, (unsigned long long)malformed);
    for (int k = PLANT_NONE + 1; k < PLANT_KINDS; k++)
        leat_putf(&b, "%s\n    \"%s\": %llu", k > 1 ? "," : "", shop_plant_names[k],
                  (unsigned long long)s->writer.counts[k]);
    leat_putf(&b, "\n  },\n  \"fraud_incidents\": %u,\n  \"distinct\": {\n    \"events\": %llu", s->incidents,
              (unsigned long long)events);
    for (int k = 0; k < SHOP_STATUSES; k++)
        leat_putf(&b, ",\n    \"%s\": %llu", shop_status_names[k], (unsigned long long)s->distinct[k]);
    leat_putf(&b, ",\n    \"placed_amount\": \"%lld.%02lld\"\n  }\n}\n", (long long)(s->placed_cents / 100),
              (long long)(s->placed_cents % 100));
    char *path = leat_asprintf("%s/planted.json", o->out_dir);
    enum leat_status status = leat_io_write_durable(s->writer.env->io, path, b.data, b.length, true, err);
    free(path);
    leat_buffer_deinit(&b);
    return status;
}

/* ---- options ---- */

static enum leat_status check_options(const struct leat_generate_options *o, struct leat_error *err) {
    if (!o->out_dir || !*o->out_dir) return leat_fail(err, LEAT_INVALID, "generate: no output folder given");
    if (!o->rate || !o->products || !o->product_versions || !o->customers || o->open_orders < 2)
        return leat_fail(
            err, LEAT_INVALID,
            "generate: rate, products, product_versions and customers must be at least 1, open_orders at least 2");
    if (o->late_permille > 1000 || o->duplicate_permille > 1000 || o->malformed_permille > 1000 ||
        o->fraud_permille > 1000)
        return leat_fail(err, LEAT_INVALID, "generate: a share is at most 1000 in a thousand");
    if (o->out_of_order_us < 0 || o->late_by_us <= o->out_of_order_us)
        return leat_fail(err, LEAT_INVALID, "generate: late_by must be longer than out_of_order, or nothing is late");
    int64_t first = leat_days_from_civil(1970, 1, 1) * 86400000000,
            last = leat_days_from_civil(9999, 1, 1) * 86400000000;
    if (o->start_us < first || o->start_us >= last ||
        (unsigned __int128)o->events * 1000000 / o->rate > (unsigned __int128)(last - o->start_us))
        return leat_fail(err, LEAT_INVALID,
                         "generate: event times must be in the years 1970 to 9998; start later or raise the rate");
    return LEAT_OK;
}

enum leat_status leat_generate(struct leat_env *env, const struct leat_generate_options *o, struct leat_error *err) {
    struct shop s = {.o = o, .next_order = FIRST_ORDER, .newest_us = INT64_MIN / 2};
    enum leat_status status = check_options(o, err);
    if (status) return status;
    leat_random_seed(&s.random, o->seed);
    leat_random_seed(&s.thief, o->seed ^ 0x7ca4d);
    s.open = leat_alloc((o->open_orders + 1) * sizeof *s.open);
    s.block_capacity = BLOCK_EVENTS_MAX;
    s.block = leat_alloc(s.block_capacity * sizeof *s.block);
    make_products(&s);
    status = shop_writer_open(&s.writer, env, o->out_dir, err);
    if (status == LEAT_OK) status = write_catalogues(&s, err);
    if (status == LEAT_OK) status = run_shop(&s, err);
    if (status == LEAT_OK) status = shop_writer_finish(&s.writer, err);
    if (status == LEAT_OK) status = write_counts(&s, err);
    shop_writer_close(&s.writer);
    free(s.products);
    free(s.open);
    free(s.block);
    free(s.late);
    return status;
}

enum {
    SPEC_OUT,
    SPEC_EVENTS,
    SPEC_SEED,
    SPEC_RATE,
    SPEC_START,
    SPEC_OUT_OF_ORDER,
    SPEC_LATE,
    SPEC_LATE_BY,
    SPEC_DUPLICATES,
    SPEC_MALFORMED,
    SPEC_FRAUD,
    SPEC_PRODUCTS,
    SPEC_VERSIONS,
    SPEC_CUSTOMERS,
    SPEC_OPEN_ORDERS,
};
#define DAY_US (INT64_C(86400) * 1000000)
#define SHARE .type = LEAT_OPTION_INT, .unit = "per thousand", .min = 0, .max = 1000

const struct leat_option_spec leat_generate_specs[] = {
    [SPEC_OUT] = {.name = "out",
                  .type = LEAT_OPTION_PATH,
                  .default_text = "shop",
                  .prose = "Folder for the files; made if missing, files of the same names are replaced."},
    [SPEC_EVENTS] = {.name = "events",
                     .type = LEAT_OPTION_INT,
                     .unit = "lines",
                     .min = 0,
                     .max = 10000000000,
                     .default_text = "100000",
                     .prose = "Lines of order_events.ndjson, with everything planted."},
    [SPEC_SEED] = {.name = "seed",
                   .type = LEAT_OPTION_INT,
                   .min = 0,
                   .max = INT64_MAX,
                   .default_text = "1",
                   .prose = "Equal options and an equal seed give equal bytes."},
    [SPEC_RATE] = {.name = "rate",
                   .type = LEAT_OPTION_INT,
                   .unit = "events a second",
                   .min = 1,
                   .max = 1000000,
                   .default_text = "50",
                   .prose = "Events a second of event time."},
    [SPEC_START] = {.name = "start",
                    .type = LEAT_OPTION_TEXT,
                    .default_text = "2026-01-01 00:00:00",
                    .prose = "Event time of the first event, UTC."},
    [SPEC_OUT_OF_ORDER] =
        {.name = "out_of_order",
         .type = LEAT_OPTION_INTERVAL,
         .min = 0,
         .max = 30 * DAY_US,
         .default_text = "30 seconds",
         .prose = "Events arrive in disorder within this bound; a watermark with this delay finds none of them late."},
    [SPEC_LATE] = {.name = "late",
                   SHARE,
                   .default_text = "5",
                   .prose = "Share of events that arrive later than out_of_order allows."},
    [SPEC_LATE_BY] = {.name = "late_by",
                      .type = LEAT_OPTION_INTERVAL,
                      .min = 1,
                      .max = 365 * DAY_US,
                      .default_text = "1 hour",
                      .prose = "How late they are at most."},
    [SPEC_DUPLICATES] = {.name = "duplicates",
                         SHARE,
                         .default_text = "20",
                         .prose = "Share of events that come twice; one in five of the repetitions has another amount "
                                  "under the same event_id."},
    [SPEC_MALFORMED] = {.name = "malformed",
                        SHARE,
                        .default_text = "2",
                        .prose = "Additional lines that no decoder can use, of ten kinds."},
    [SPEC_FRAUD] = {.name = "fraud",
                    SHARE,
                    .default_text = "1",
                    .prose =
                        "Fraud incidents a thousand orders: bursts of orders, huge amounts, payments from abroad, "
                        "stolen cards."},
    [SPEC_PRODUCTS] = {.name = "products",
                       .type = LEAT_OPTION_INT,
                       .min = 1,
                       .max = 1000000,
                       .default_text = "200",
                       .prose = "Products in the catalogue."},
    [SPEC_VERSIONS] = {.name = "product_versions",
                       .type = LEAT_OPTION_INT,
                       .min = 1,
                       .max = 1000,
                       .default_text = "4",
                       .prose = "Versions of the catalogue over the time of the events; prices and categories change "
                                "from one to the next."},
    [SPEC_CUSTOMERS] = {.name = "customers",
                        .type = LEAT_OPTION_INT,
                        .min = 1,
                        .max = 1000000000,
                        .default_text = "10000",
                        .prose = "Customers who order."},
    [SPEC_OPEN_ORDERS] =
        {.name = "open_orders",
         .type = LEAT_OPTION_INT,
         .min = 2,
         .max = 10000000,
         .default_text = "5000",
         .prose = "Orders under way at any time: the more, the longer an order takes from placed to delivered."},
};
const size_t leat_generate_spec_count = sizeof leat_generate_specs / sizeof *leat_generate_specs;

enum leat_status leat_generate_from_values(const struct leat_option_value *v, struct leat_generate_options *out,
                                           struct leat_error *err) {
    *out = (struct leat_generate_options){
        .out_dir = v[SPEC_OUT].text,
        .seed = (uint64_t)v[SPEC_SEED].number,
        .events = (uint64_t)v[SPEC_EVENTS].number,
        .rate = (uint64_t)v[SPEC_RATE].number,
        .out_of_order_us = v[SPEC_OUT_OF_ORDER].number,
        .late_by_us = v[SPEC_LATE_BY].number,
        .late_permille = (uint32_t)v[SPEC_LATE].number,
        .duplicate_permille = (uint32_t)v[SPEC_DUPLICATES].number,
        .malformed_permille = (uint32_t)v[SPEC_MALFORMED].number,
        .fraud_permille = (uint32_t)v[SPEC_FRAUD].number,
        .products = (uint32_t)v[SPEC_PRODUCTS].number,
        .product_versions = (uint32_t)v[SPEC_VERSIONS].number,
        .customers = (uint32_t)v[SPEC_CUSTOMERS].number,
        .open_orders = (uint32_t)v[SPEC_OPEN_ORDERS].number,
    };
    if (leat_value_parse_timestamp(v[SPEC_START].text, strlen(v[SPEC_START].text), &out->start_us) > LEAT_VALUE_LOSSY)
        return leat_fail(err, LEAT_INVALID, "option 'start': '%s' is not a time such as 2026-01-01 00:00:00",
                         v[SPEC_START].text);
    return LEAT_OK;
}
