/* What the demo does around leat: a day's files that arrive bit by bit, a fraud desk that takes webhooks, HTTP requests. Used by demo.c alone. */
#ifndef LEAT_CLI_DEMO_SHOP_H
#define LEAT_CLI_DEMO_SHOP_H

#include "base/env.h"

/* The generated day, line by line in order of arrival; payments follow the order events by event time. */
struct demo_day;
/* other_orders: its order ids are made different from those of a day before. */
enum leat_status demo_day_open(struct leat_env *, const char *from_dir, const char *to_dir, bool other_orders, struct demo_day **out, struct leat_error *) LEAT_MUST;
void demo_day_close(struct demo_day *);
uint64_t demo_day_left(const struct demo_day *); /* order events that have not arrived yet */
/* The next `lines` order events, and the payments up to their time, arrive: appended to the files of to_dir. */
enum leat_status demo_day_arrive(struct demo_day *, uint64_t lines, struct leat_error *) LEAT_MUST;

/* A receiver of webhooks on a free port of this machine. Keeps how many came, how many different ids, and the first one whole. */
struct demo_desk;
enum leat_status demo_desk_open(struct demo_desk **out, struct leat_error *) LEAT_MUST;
void demo_desk_close(struct demo_desk *);
unsigned demo_desk_port(const struct demo_desk *);
uint64_t demo_desk_count(struct demo_desk *);
uint64_t demo_desk_ids(struct demo_desk *);
void demo_desk_print_first(struct demo_desk *); /* headers and body as they came */

/* GET, or POST where body is not NULL. out: the answer's body. INVALID: it is not 200, with the body as text. */
enum leat_status demo_http(const char *url, const char *body, struct leat_buffer *out, struct leat_error *) LEAT_MUST;

#endif
