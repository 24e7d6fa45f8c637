/* Partitions are read side by side, each in slices of its offsets, and merged by arrival. */
#include "audit/lateness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000)
#define S (1000 * MS)
#define M (60 * S)
#define H (60 * M)
#define D (24 * H)

const int64_t leat_lateness_delays[] = {
    0,     1 * MS, 2 * MS, 5 * MS, 10 * MS, 20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, 1 * S,  2 * S,  3 * S, 5 * S,  10 * S, 15 * S,
    20 * S, 30 * S, 45 * S, 1 * M,  2 * M,   3 * M,   5 * M,   10 * M,   15 * M,   20 * M,   30 * M, 45 * M, 1 * H, 2 * H,  3 * H,  4 * H,
    6 * H, 8 * H,  12 * H, 18 * H, 1 * D,   2 * D,   3 * D,   5 * D,    7 * D,    14 * D,   30 * D};
enum { DELAYS = sizeof leat_lateness_delays / sizeof *leat_lateness_delays, SLICES_ROWS = 200000, SLICE_ROWS_MIN = 2000 };
const size_t leat_lateness_delay_count = DELAYS;

struct lane { /* one partition */
    int64_t partition, next_offset;
    int64_t latest_us; /* event time; INT64_MIN: none */
    struct leat_result slice;
    size_t at;
    bool loaded, ended;
};
struct measure {
    struct leat_conn *conn;
    const struct leat_lateness_options *options;
    struct lane *lanes;
    size_t lane_count, slice_rows;
    int64_t watermark_us; /* without a delay */
    int64_t latest_us;
    struct leat_lateness *out;
};

static int64_t value(const struct lane *lane, size_t column) {
    return ((const int64_t *)lane->slice.rows.columns[column].data)[lane->at];
}

/* Columns of a slice: event time (NULL: none), arrival, offset. */
static enum leat_status load(struct measure *m, struct lane *lane, struct leat_error *err) {
    struct leat_buffer sql = {0};
    if (lane->loaded) leat_result_deinit(&lane->slice);
    lane->loaded = false;
    lane->at = 0;
    leat_put(&sql, "SELECT epoch_us(");
    leat_put_sql_name(&sql, m->options->event_time);
    leat_putf(&sql, "), epoch_us(_arrival), _offset FROM (%s) WHERE _partition = %lld AND _offset >= %lld ORDER BY _offset LIMIT %zu",
              m->options->select, (long long)lane->partition, (long long)lane->next_offset, m->slice_rows);
    enum leat_status st = leat_conn_query(m->conn, sql.data, &lane->slice, err);
    leat_buffer_deinit(&sql);
    if (st != LEAT_OK) return st;
    lane->loaded = true;
    lane->ended = lane->slice.rows.row_count == 0;
    if (!lane->ended) {
        const int64_t *offsets = lane->slice.rows.columns[2].data;
        lane->next_offset = offsets[lane->slice.rows.row_count - 1] + 1;
    }
    return LEAT_OK;
}

static enum leat_status open_lanes(struct measure *m, struct leat_error *err) {
    struct leat_result partitions = {0};
    char *sql = leat_asprintf("SELECT DISTINCT CAST(_partition AS BIGINT) FROM (%s) ORDER BY 1", m->options->select);
    enum leat_status st = leat_conn_query(m->conn, sql, &partitions, err);
    free(sql);
    if (st != LEAT_OK) return st;
    m->lane_count = partitions.rows.row_count;
    m->lanes = leat_alloc((m->lane_count + 1) * sizeof *m->lanes);
    m->slice_rows = SLICES_ROWS / (m->lane_count + 1);
    if (m->slice_rows < SLICE_ROWS_MIN) m->slice_rows = SLICE_ROWS_MIN;
    for (size_t i = 0; i < m->lane_count; i++)
        m->lanes[i] = (struct lane){.partition = ((const int64_t *)partitions.rows.columns[0].data)[i], .latest_us = INT64_MIN};
    leat_result_deinit(&partitions);
    for (size_t i = 0; i < m->lane_count && st == LEAT_OK; i++) st = load(m, &m->lanes[i], err);
    return st;
}

static struct leat_lateness_day *day_of(struct leat_lateness *l, int64_t event_us) {
    int64_t day = event_us >= 0 ? event_us / D : -((-event_us + D - 1) / D);
    if (l->day_count && l->days[l->day_count - 1].day >= day) return &l->days[l->day_count - 1]; /* the latest time does not go back */
    l->days = leat_realloc(l->days, (l->day_count + 1) * sizeof *l->days);
    l->days[l->day_count] = (struct leat_lateness_day){.day = day, .missed = leat_alloc(DELAYS * sizeof(uint64_t))};
    return &l->days[l->day_count++];
}

/* As in engine/step.c. Partitions that have given nothing yet hold nothing back. */
static int64_t watermark(const struct measure *m) {
    int64_t lowest = INT64_MAX;
    size_t newest = SIZE_MAX;
    for (size_t i = 0; i < m->lane_count; i++)
        if (m->lanes[i].latest_us != INT64_MIN) newest = i;
    for (size_t i = 0; i < m->lane_count; i++) {
        const struct lane *lane = &m->lanes[i];
        if (lane->latest_us == INT64_MIN || (m->options->files && lane->partition != 0 && i != newest)) continue;
        if (lane->latest_us < lowest) lowest = lane->latest_us;
    }
    return lowest == INT64_MAX || lowest < m->watermark_us ? m->watermark_us : lowest;
}

static void count(struct measure *m, struct lane *lane) {
    struct leat_lateness *l = m->out;
    int64_t arrival_us = value(lane, 1), event_us;
    if (leat_is_null(&lane->slice.rows.columns[0], lane->at)) return;
    event_us = value(lane, 0);
    if (!l->records || event_us < l->first_event_us) l->first_event_us = event_us;
    if (!l->records || event_us > l->last_event_us) l->last_event_us = event_us;
    if (!l->records) l->first_arrival_us = arrival_us;
    l->last_arrival_us = arrival_us;
    l->records++;
    struct leat_lateness_day *day = day_of(l, event_us > m->latest_us ? event_us : m->latest_us);
    day->records++;
    for (size_t i = 0; i < DELAYS && m->watermark_us != INT64_MIN && m->watermark_us - event_us > leat_lateness_delays[i]; i++) day->missed[i]++;
    if (event_us > m->latest_us) m->latest_us = event_us;
    if (event_us <= lane->latest_us) return;
    lane->latest_us = event_us;
    m->watermark_us = watermark(m);
}

/* Counts records of the lane with the earliest arrival, until another one's turn comes. */
static enum leat_status advance(struct measure *m, bool *more, struct leat_error *err) {
    struct lane *first = NULL;
    int64_t until_us = INT64_MAX;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < m->lane_count; i++) {
        struct lane *lane = &m->lanes[i];
        if (lane->ended) continue;
        int64_t arrival_us = value(lane, 1);
        if (!first || arrival_us < value(first, 1)) {
            if (first) until_us = value(first, 1);
            first = lane;
        } else if (arrival_us < until_us) {
            until_us = arrival_us;
        }
    }
    *more = first != NULL;
    while (first && !first->ended && value(first, 1) <= until_us) {
        count(m, first);
        if (++first->at < first->slice.rows.row_count) continue;
        if ((st = load(m, first, err)) != LEAT_OK) return st;
        if (m->options->progress && !m->options->progress(m->options->context, m->out->records))
            return leat_fail(err, LEAT_CANCELLED, "stopped");
    }
    return st;
}

enum leat_status leat_lateness_measure(struct leat_conn *conn, const struct leat_lateness_options *options, struct leat_lateness *out,
                                       struct leat_error *err) {
    struct measure m = {.conn = conn, .options = options, .watermark_us = INT64_MIN, .latest_us = INT64_MIN, .out = out};
    bool more = true;
    *out = (struct leat_lateness){0};
    enum leat_status st = open_lanes(&m, err);
    while (st == LEAT_OK && more) st = advance(&m, &more, err);
    for (size_t i = 0; i < m.lane_count; i++)
        if (m.lanes[i].loaded) leat_result_deinit(&m.lanes[i].slice);
    free(m.lanes);
    if (st != LEAT_OK) leat_lateness_deinit(out);
    return st;
}

void leat_lateness_deinit(struct leat_lateness *l) {
    for (size_t i = 0; i < l->day_count; i++) free(l->days[i].missed);
    free(l->days);
    *l = (struct leat_lateness){0};
}

uint64_t leat_lateness_missed(const struct leat_lateness *l, size_t delay) {
    uint64_t missed = 0;
    for (size_t i = 0; i < l->day_count; i++) missed += l->days[i].missed[delay];
    return missed;
}

/* The count that chance will hardly exceed where `missed` is what was seen. */
static bool within(uint64_t missed, uint64_t records, double share) {
    double seen = (double)missed;
    return seen + 3 * sqrt(seen) + 3 <= share * (double)records;
}

size_t leat_lateness_choose(const struct leat_lateness *l, double share, bool *certain) {
    enum { RECORDS_A_DAY_MIN = 1000 };
    *certain = true;
    for (size_t i = 0; i < DELAYS; i++) {
        bool enough = within(leat_lateness_missed(l, i), l->records, share);
        for (size_t d = 0; d < l->day_count && enough; d++)
            enough = l->days[d].records < RECORDS_A_DAY_MIN || (double)l->days[d].records * share < 3 ||
                     within(l->days[d].missed[i], l->days[d].records, share);
        if (enough) return i;
    }
    *certain = false;
    for (size_t i = 0; i < DELAYS; i++)
        if (leat_lateness_missed(l, i) == 0) return i;
    return DELAYS - 1;
}

enum leat_status leat_lateness_rows_within(struct leat_conn *conn, const struct leat_lateness_options *options, const struct leat_lateness *l,
                                           int64_t span_us, uint64_t *out, struct leat_error *err) {
    enum { BINS_MAX = 200000, BINS_A_SPAN = 16 };
    struct leat_buffer sql = {0};
    struct leat_result bins = {0};
    int64_t bin_us = span_us / BINS_A_SPAN, least_us = (l->last_event_us - l->first_event_us) / BINS_MAX;
    *out = 0;
    if (bin_us < least_us) bin_us = least_us;
    if (bin_us < MS) bin_us = MS;
    leat_put(&sql, "SELECT (epoch_us(");
    leat_put_sql_name(&sql, options->event_time);
    leat_putf(&sql, ") - (%lld)) // %lld, count(*) FROM (%s) WHERE ", (long long)l->first_event_us, (long long)bin_us, options->select);
    leat_put_sql_name(&sql, options->event_time);
    leat_put(&sql, " IS NOT NULL GROUP BY 1 ORDER BY 1");
    enum leat_status st = leat_conn_query(conn, sql.data, &bins, err);
    leat_buffer_deinit(&sql);
    if (st != LEAT_OK) return st;
    const int64_t *at = bins.rows.columns[0].data, *rows = bins.rows.columns[1].data;
    int64_t span = span_us / bin_us + 1, sum = 0;
    for (size_t i = 0, from = 0; i < bins.rows.row_count; i++) {
        sum += rows[i];
        while (at[i] - at[from] > span) sum -= rows[from++];
        if ((uint64_t)sum > *out) *out = (uint64_t)sum;
    }
    leat_result_deinit(&bins);
    return LEAT_OK;
}
