/* From what was measured (measure.h) to days, machines and money.
 *
 * The model. A run by a timer costs what an empty run costs, and for each record what the measured runs took beyond that. `leat run` costs, per
 * second, what its window took; where the window is short against the time between commits, what commits and the archive take is the rate
 * of the next longer freshness whose window is not. A window with more or fewer records than the average is corrected by the cost of a
 * record in the largest batches. A table by the hour costs what each of its freshnesses does, by the hours that it holds. */
#ifndef LEAT_REHEARSE_COST_H
#define LEAT_REHEARSE_COST_H

#include "base/mem.h"
#include "schedule/calendar.h"

struct leat_machine { char *name; double vcpus, memory_gib, per_hour; };
struct leat_prices {
    char *currency;
    struct leat_machine *machines; size_t machine_count; /* ascending by price */
    double per_1000_puts, per_1000_gets; /* lists and puts; gets */
    double least_seconds;  /* a machine that is switched on is paid for at least this long */
    double spare_gib;      /* memory of a machine that is not ours to use */
};
/* What is taken without a file; also the file's own explanation. */
extern const char leat_prices_default[];
/* Errors: INVALID line and what is wrong. */
enum leat_status leat_prices_parse(const char *text, struct leat_prices *out, struct leat_error *) LEAT_MUST;
void leat_prices_deinit(struct leat_prices *);

struct leat_cost_table { char *name; double cpu_s; };
struct leat_cost_point {
    int64_t freshness_us;
    bool timer;
    double cpu_s, shared_cpu_s;      /* a day; of it what belongs to no table: reading, archive, waking up */
    double hours_up, written_bytes;  /* a day */
    double puts, gets, deletes;      /* a day; lists are puts */
    int64_t peak_bytes;
    double busy;                     /* share of one processor while it is up */
    int machine;                     /* in the prices; -1: none is large enough */
    double money_machine, money_requests; /* thirty days */
    double measured_s;               /* simulated time that was measured */
    struct leat_cost_table *tables; size_t table_count; /* a day, of tables in the order of the measurement */
};
struct leat_cost {
    struct leat_cost_point *points; size_t point_count; /* from the longest freshness to the shortest */
    double records_a_day, commit_interval_s;
};
/* measured: JSON array of rounds, each an array of what leat_measure gave at the same freshnesses; a round that other processes or a slow
 * machine disturbed should not count, so of each freshness the middle one by CPU time is taken. span_us, records: of the recording.
 * Errors: CORRUPT no JSON */
enum leat_status leat_cost_model(const char *measured, uint64_t records, int64_t span_us, int64_t commit_interval_us,
                                 const struct leat_prices *, struct leat_cost *out, struct leat_error *) LEAT_MUST;
void leat_cost_deinit(struct leat_cost *);

/* What each table's readers ask for, by the hour or (no else_us) always. */
struct leat_cost_need { const char *table; struct leat_calendar asked; };
void leat_cost_print(const struct leat_cost *, const struct leat_prices *, const struct leat_cost_need *, size_t need_count, struct leat_buffer *out);
void leat_cost_json(const struct leat_cost *, const struct leat_prices *, const struct leat_cost_need *, size_t need_count, struct leat_buffer *out);
/* The curve as an SVG document, for light and dark pages. */
void leat_cost_svg(const struct leat_cost *, const struct leat_prices *, struct leat_buffer *out);
void leat_put_freshness(struct leat_buffer *, int64_t us); /* "5 min", "100 ms" */
/* The point with the longest freshness that is no longer than asked; the shortest where none is. */
size_t leat_cost_meets(const struct leat_cost *, int64_t freshness_us);

#endif
