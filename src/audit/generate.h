/* A seeded shop, for trying leat out and for testing it: what is planted is known exactly.
 *
 * Files in the output folder (made if missing, replaced if there):
 *   products_v1.csv ...  the catalogue as it was from `valid_from` on; products.csv is the last of them
 *   order_events.ndjson  event_id, order_id, customer_id, product_id, quantity, amount, status, event_time: the
 *                        status changes of orders, with disorder, late events, duplicates and malformed lines
 *   payments.ndjson      payment_id, order_id, customer_id, amount, method, card, country, event_time: one for each
 *                        event of status paid, in order of time; a card is its customer's, but for stolen ones
 *   planted.json         counts of everything planted, and of what is left without it
 *   planted.ndjson       each planted line: file, line (from 1), kind, incident for fraud; a line may have several
 *
 * An event is late when its event_time is more than out_of_order_us behind the greatest of the lines before it. Without
 * the planted lines nothing is late. Malformed lines are additional: no event is missing because of one. An order's
 * amount is quantity times the price when it was placed, but for fraud of kind amount. Equal options give equal bytes.
 */
#ifndef LEAT_AUDIT_GENERATE_H
#define LEAT_AUDIT_GENERATE_H

#include "base/env.h"
#include "base/options.h"

struct leat_generate_options {
    const char *out_dir; /* borrowed */
    uint64_t seed;
    uint64_t events;         /* lines of order_events.ndjson, all kinds together */
    uint64_t rate;           /* events a second of event time */
    int64_t start_us;        /* event time of the first event, UTC */
    int64_t out_of_order_us; /* bound of the ordinary disorder */
    int64_t late_by_us;      /* how late a late event may be; more than out_of_order_us */
    uint32_t late_permille, duplicate_permille, malformed_permille; /* of the events */
    uint32_t fraud_permille;                                        /* incidents a thousand new orders */
    uint32_t products, product_versions, customers;
    uint32_t open_orders; /* orders under way at any time: the more, the longer an order takes */
};

/* The options for the command line, in the order of leat_generate_from_values. */
extern const struct leat_option_spec leat_generate_specs[];
extern const size_t leat_generate_spec_count;
/* values: leat_generate_spec_count of them, defaults filled in; texts are borrowed. INVALID: a start that is no time.
 */
enum leat_status leat_generate_from_values(const struct leat_option_value *values, struct leat_generate_options *out,
                                           struct leat_error *err) LEAT_MUST;
/* Writes the files, durable when it returns. INVALID: options that contradict each other; IO, NO_SPACE. */
enum leat_status leat_generate(struct leat_env *env, const struct leat_generate_options *options,
                               struct leat_error *err) LEAT_MUST;

#endif
