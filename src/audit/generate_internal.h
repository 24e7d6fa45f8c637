/* What generate.c (the shop) and generate_write.c (its files) share. Not for others. */
#ifndef LEAT_AUDIT_GENERATE_INTERNAL_H
#define LEAT_AUDIT_GENERATE_INTERNAL_H

#include "audit/generate.h"

enum shop_status { SHOP_PLACED, SHOP_PAID, SHOP_SHIPPED, SHOP_DELIVERED, SHOP_CANCELLED, SHOP_RETURNED, SHOP_STATUSES };

/* Kinds of planted lines; the malformed ones are last. */
enum shop_plant {
    PLANT_NONE,
    PLANT_LATE,
    PLANT_DUPLICATE,          /* the same bytes again */
    PLANT_DUPLICATE_CONFLICT, /* the same event_id with another amount */
    PLANT_FRAUD_VELOCITY,     /* many orders of one customer within seconds */
    PLANT_FRAUD_AMOUNT,       /* an order of 5,000 to 20,000 */
    PLANT_FRAUD_COUNTRY,      /* a payment from abroad right after one from home */
    PLANT_FRAUD_CARD,         /* payments of several customers with one card, which was stolen, within seconds */
    PLANT_TRUNCATED,
    PLANT_NOT_JSON,
    PLANT_WRONG_TYPE,
    PLANT_MISSING_KEY,
    PLANT_NULL_KEY,
    PLANT_BAD_TIME,
    PLANT_EPOCH_TIME,
    PLANT_BAD_NUMBER,
    PLANT_OUT_OF_RANGE,
    PLANT_INVALID_UTF8,
    PLANT_KINDS,
    PLANT_FIRST_MALFORMED = PLANT_TRUNCATED,
};
extern const char *const shop_status_names[SHOP_STATUSES], *const shop_plant_names[PLANT_KINDS];

struct shop_event {
    uint64_t id[2];
    uint64_t order_id;
    int64_t time_us, amount_cents;
    uint32_t customer, product, quantity, incident;
    uint8_t status, fraud;        /* enum shop_status; enum shop_plant */
    uint8_t duplicate, malformed; /* what to write besides: enum shop_plant or PLANT_NONE */
};

/* A file that is written in large pieces. */
struct shop_file {
    const char *name; /* static */
    struct leat_file *file;
    char *buffer;
    size_t used;
    uint64_t lines;
    char date[11]; /* of the day `date_day` */
    int64_t date_day;
};
struct shop_writer {
    struct leat_env *env;
    const char *dir;
    struct shop_file orders, payments, planted;
    uint64_t counts[PLANT_KINDS]; /* planted lines */
};

enum leat_status shop_writer_open(struct shop_writer *, struct leat_env *, const char *dir,
                                  struct leat_error *) LEAT_MUST;
/* Flushes, syncs and closes. */
enum leat_status shop_writer_finish(struct shop_writer *, struct leat_error *) LEAT_MUST;
void shop_writer_close(struct shop_writer *);
enum leat_status shop_write_event(struct shop_writer *, const struct shop_event *, struct leat_error *) LEAT_MUST;
/* A damaged copy of the event; `random` chooses where. */
enum leat_status shop_write_malformed(struct shop_writer *, const struct shop_event *, enum shop_plant, uint64_t random,
                                      struct leat_error *) LEAT_MUST;
enum leat_status shop_write_payment(struct shop_writer *, const uint64_t id[2], const struct shop_event *,
                                    const char *method, uint64_t card, const char *country,
                                    struct leat_error *) LEAT_MUST;
/* Lists the last line written to `file` as planted, and counts it. incident 0: none. */
enum leat_status shop_write_planted(struct shop_writer *, const struct shop_file *file, enum shop_plant,
                                    uint32_t incident, struct leat_error *) LEAT_MUST;
void shop_put_time(struct leat_buffer *, int64_t time_us);

#endif
