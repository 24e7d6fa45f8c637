/* leat's SQL functions: event-time windows, the step's clock, exact sums.
 *
 * DuckDB's C interface can add functions, not replace them. The clock's names are therefore macros in the
 * schema `main`, which the search path finds before the built-in functions of `system.main`; sum and avg
 * over floats are functions of other names, put into queries by leat_conn_exact_sums. */
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "base/exact_sum.h"
#include "sql/duck_internal.h"
#include "sql/tumble.h"

/* ---- leat_tumble(time, width_us, origin_us) */

static const int64_t US_PER_DAY = 86400000000ll;
/* Ands the validity of the inputs into the output's; false: every row is NULL-free. */
static uint64_t *merge_validity(duckdb_data_chunk input, duckdb_vector output, size_t n) {
    uint64_t *valid = NULL;
    for (idx_t i = 0; i < duckdb_data_chunk_get_column_count(input); i++) {
        const uint64_t *from = duckdb_vector_get_validity(duckdb_data_chunk_get_vector(input, i));
        if (!from) continue;
        if (!valid) {
            duckdb_vector_ensure_validity_writable(output);
            valid = duckdb_vector_get_validity(output);
        }
        for (size_t word = 0; word * 64 < n; word++)
            valid[word] &= from[word];
    }
    return valid;
}

static int64_t time_of_date(int32_t days) {
    if (days == INT32_MAX || days == -INT32_MAX) return days > 0 ? LEAT_INFINITE_TIMESTAMP : -LEAT_INFINITE_TIMESTAMP;
    int64_t time;
    return __builtin_mul_overflow((int64_t)days, US_PER_DAY, &time) ? INT64_MIN : time;
}

static void tumble_chunk(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
    bool dates = duckdb_scalar_function_get_extra_info(info) != NULL;
    size_t n = duckdb_data_chunk_get_size(input);
    const void *times = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 0));
    const int64_t *widths = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 1));
    const int64_t *origins = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 2));
    int64_t *out = duckdb_vector_get_data(output);
    const uint64_t *valid = merge_validity(input, output, n);
    int64_t width = 0;
    double reciprocal = 0;
    for (size_t i = 0; i < n; i++) {
        if (valid && !(valid[i >> 6] >> (i & 63) & 1)) continue;
        if (widths[i] != width) { /* practically always constant */
            width = widths[i];
            reciprocal = 1.0 / (double)width;
        }
        if (width <= 0) {
            duckdb_scalar_function_set_error(info, "leat_tumble: the width of a window must be positive");
            return;
        }
        int64_t t = dates ? time_of_date(((const int32_t *)times)[i]) : ((const int64_t *)times)[i];
        if (t == INT64_MIN || !leat_tumble(t, width, reciprocal, origins[i], &out[i])) {
            duckdb_scalar_function_set_error(info, "leat_tumble: the window starts before the first timestamp");
            return;
        }
    }
}

static duckdb_scalar_function tumble_overload(duckdb_type time) {
    bool dates = time == DUCKDB_TYPE_DATE;
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type argument = duckdb_create_logical_type(time);
    duckdb_logical_type result = duckdb_create_logical_type(dates ? DUCKDB_TYPE_TIMESTAMP : time);
    duckdb_logical_type integer = duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    duckdb_scalar_function_set_name(f, "leat_tumble");
    duckdb_scalar_function_add_parameter(f, argument);
    duckdb_scalar_function_add_parameter(f, integer);
    duckdb_scalar_function_add_parameter(f, integer);
    duckdb_scalar_function_set_return_type(f, result);
    duckdb_scalar_function_set_function(f, tumble_chunk);
    if (dates) duckdb_scalar_function_set_extra_info(f, (void *)&US_PER_DAY, NULL);
    duckdb_destroy_logical_type(&argument);
    duckdb_destroy_logical_type(&result);
    duckdb_destroy_logical_type(&integer);
    return f;
}

/* ---- leat_hop(time, slide_us, size_us, origin_us, n): the start of the n-th window before the last that holds the
 * time */

static void hop_chunk(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
    bool dates = duckdb_scalar_function_get_extra_info(info) != NULL;
    size_t n = duckdb_data_chunk_get_size(input);
    const void *times = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 0));
    const int64_t *slides = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 1));
    const int64_t *origins = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 3));
    const int64_t *numbers = duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 4));
    int64_t *out = duckdb_vector_get_data(output);
    const uint64_t *valid = merge_validity(input, output, n);
    for (size_t i = 0; i < n; i++) {
        if (valid && !(valid[i >> 6] >> (i & 63) & 1)) continue;
        int64_t t = dates ? time_of_date(((const int32_t *)times)[i]) : ((const int64_t *)times)[i], start;
        if (slides[i] <= 0) {
            duckdb_scalar_function_set_error(info, "leat_hop: the slide of a window must be positive");
            return;
        }
        if (t == LEAT_INFINITE_TIMESTAMP || t == -LEAT_INFINITE_TIMESTAMP) {
            out[i] = t;
            continue;
        }
        bool known = t != INT64_MIN && leat_tumble(t, slides[i], 1.0 / (double)slides[i], origins[i], &start);
        leat_i128 wide = known ? (leat_i128)start - (leat_i128)numbers[i] * slides[i] : 0;
        if (!known || wide < LEAT_FIRST_TIMESTAMP) {
            duckdb_scalar_function_set_error(info, "leat_hop: the window starts before the first timestamp");
            return;
        }
        out[i] = (int64_t)wide;
    }
}

static duckdb_scalar_function hop_overload(duckdb_type time) {
    duckdb_scalar_function f = tumble_overload(time);
    duckdb_logical_type integer = duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    duckdb_scalar_function_set_name(f, "leat_hop");
    duckdb_scalar_function_add_parameter(f, integer);
    duckdb_scalar_function_add_parameter(f, integer);
    duckdb_scalar_function_set_function(f, hop_chunk);
    duckdb_destroy_logical_type(&integer);
    return f;
}

/* ---- leat_session_end(end, time): the end; NULL where the row has no time. Tells the planner what the value is. */

static void session_end_chunk(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
    size_t n = duckdb_data_chunk_get_size(input);
    (void)info;
    memcpy(duckdb_vector_get_data(output), duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, 0)),
           n * sizeof(int64_t));
    merge_validity(input, output, n);
}

static duckdb_scalar_function session_end_overload(duckdb_type time) {
    bool dates = time == DUCKDB_TYPE_DATE;
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type argument = duckdb_create_logical_type(time);
    duckdb_logical_type result = duckdb_create_logical_type(dates ? DUCKDB_TYPE_TIMESTAMP : time);
    duckdb_scalar_function_set_name(f, "leat_session_end");
    duckdb_scalar_function_add_parameter(f, result);
    duckdb_scalar_function_add_parameter(f, argument);
    duckdb_scalar_function_set_return_type(f, result);
    duckdb_scalar_function_set_function(f, session_end_chunk);
    duckdb_destroy_logical_type(&argument);
    duckdb_destroy_logical_type(&result);
    return f;
}

static bool register_windows(duckdb_connection connection, const char *name,
                             duckdb_scalar_function (*overload)(duckdb_type)) {
    static const duckdb_type times[] = {DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_TIMESTAMP_TZ, DUCKDB_TYPE_DATE};
    duckdb_scalar_function_set set = duckdb_create_scalar_function_set(name);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        duckdb_scalar_function f = overload(times[i]);
        duckdb_add_scalar_function_to_set(set, f);
        duckdb_destroy_scalar_function(&f);
    }
    bool ok = duckdb_register_scalar_function_set(connection, set) == DuckDBSuccess;
    duckdb_destroy_scalar_function_set(&set);
    return ok;
}

/* ---- leat_now(): the connection's clock reading */

int64_t leat_duck_now(const struct leat_conn *c) {
    if (c->clock_set) return c->clock_us;
    struct leat_clock *clock = leat_clock_real();
    return clock->now_us(clock);
}

static void *same_data(void *data) {
    return data;
}

static void now_bind(duckdb_bind_info info) {
    struct leat_duck *d = duckdb_scalar_function_bind_get_extra_info(info);
    duckdb_client_context context = NULL;
    duckdb_scalar_function_get_client_context(info, &context);
    struct leat_conn *c = leat_duck_connection(d, duckdb_client_context_get_connection_id(context));
    duckdb_destroy_client_context(&context);
    if (!c) { /* the connection that sets the instance up has no clock, and views are bound there */
        duckdb_scalar_function_set_bind_data(info, NULL, NULL);
        return;
    }
    duckdb_scalar_function_set_bind_data(info, c, NULL); /* a statement never outlives its connection */
    duckdb_scalar_function_set_bind_data_copy(info, same_data);
}

static void now_chunk(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output) {
    const struct leat_conn *c = duckdb_scalar_function_get_bind_data(info);
    if (!c) {
        duckdb_scalar_function_set_error(info, "leat_now() has no connection");
        return;
    }
    int64_t *out = duckdb_vector_get_data(output), now = leat_duck_now(c);
    for (idx_t i = 0, n = duckdb_data_chunk_get_size(input); i < n; i++)
        out[i] = now;
}

static bool register_now(struct leat_duck *d, duckdb_connection connection) {
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type result = duckdb_create_logical_type(DUCKDB_TYPE_TIMESTAMP_TZ);
    duckdb_scalar_function_set_name(f, "leat_now");
    duckdb_scalar_function_set_return_type(f, result);
    duckdb_scalar_function_set_extra_info(f, d, NULL);
    duckdb_scalar_function_set_bind(f, now_bind);
    duckdb_scalar_function_set_function(f, now_chunk);
    duckdb_scalar_function_set_volatile(f); /* else folded when a stage is prepared */
    bool ok = duckdb_register_scalar_function(connection, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&result);
    duckdb_destroy_scalar_function(&f);
    return ok;
}

static const char *const CLOCK_MACROS[] = {
    "now() AS leat_now()",
    "transaction_timestamp() AS leat_now()",
    "get_current_timestamp() AS leat_now()",
    "\"current_timestamp\"() AS leat_now()",
    "today() AS CAST(leat_now() AS DATE)",
    "\"current_date\"() AS CAST(leat_now() AS DATE)",
    "current_localtimestamp() AS CAST(leat_now() AS TIMESTAMP)",
    "\"localtimestamp\"() AS CAST(leat_now() AS TIMESTAMP)",
    "get_current_time() AS CAST(CAST(leat_now() AS TIMESTAMP) AS TIME)",
    "\"current_time\"() AS CAST(CAST(leat_now() AS TIMESTAMP) AS TIME)",
    "current_localtime() AS CAST(CAST(leat_now() AS TIMESTAMP) AS TIME)",
    "\"localtime\"() AS CAST(CAST(leat_now() AS TIMESTAMP) AS TIME)",
    ("age(then_time) AS system.main.age(CAST(CAST(leat_now() AS DATE) AS TIMESTAMP), then_time), "
     "(later_time, then_time) AS system.main.age(later_time, then_time)"),
};

static enum leat_status register_clock_macros(duckdb_connection connection, struct leat_error *err) {
    struct leat_buffer sql = {0};
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < sizeof CLOCK_MACROS / sizeof *CLOCK_MACROS && !status; i++) {
        duckdb_result result;
        leat_buffer_reset(&sql);
        leat_putf(&sql, "CREATE MACRO main.%s", CLOCK_MACROS[i]);
        if (duckdb_query(connection, sql.data, &result) == DuckDBError)
            status = leat_duck_fail(err, &result, duckdb_result_error(&result));
        duckdb_destroy_result(&result);
    }
    leat_buffer_deinit(&sql);
    return status;
}

/* ---- leat_sum(DOUBLE), leat_avg(DOUBLE): correctly rounded, whatever the order and the partition of the rows */

struct sum_state {
    struct leat_exact_sum sum;
    int64_t count;
};

static idx_t sum_size(duckdb_function_info info) {
    (void)info;
    return sizeof(struct sum_state);
}

static void sum_init(duckdb_function_info info, duckdb_aggregate_state state) {
    (void)info;
    struct sum_state *s = (struct sum_state *)state;
    leat_exact_sum_init(&s->sum);
    s->count = 0;
}

static void sum_update(duckdb_function_info info, duckdb_data_chunk input, duckdb_aggregate_state *states) {
    (void)info;
    duckdb_vector vector = duckdb_data_chunk_get_vector(input, 0);
    const double *values = duckdb_vector_get_data(vector);
    const uint64_t *valid = duckdb_vector_get_validity(vector);
    for (idx_t i = 0, n = duckdb_data_chunk_get_size(input); i < n; i++) {
        if (valid && !(valid[i >> 6] >> (i & 63) & 1)) continue;
        struct sum_state *s = (struct sum_state *)states[i];
        leat_exact_sum_add(&s->sum, values[i], 1);
        s->count++;
    }
}

static void sum_combine(duckdb_function_info info, duckdb_aggregate_state *from, duckdb_aggregate_state *into,
                        idx_t n) {
    (void)info;
    for (idx_t i = 0; i < n; i++) {
        const struct sum_state *source = (const struct sum_state *)from[i];
        struct sum_state *target = (struct sum_state *)into[i];
        if (!source->count) continue;
        leat_exact_sum_merge(&target->sum, &source->sum);
        target->count += source->count;
    }
}

static void sum_finalize(duckdb_function_info info, duckdb_aggregate_state *states, duckdb_vector output, idx_t n,
                         idx_t offset) {
    bool average = duckdb_aggregate_function_get_extra_info(info) != NULL;
    double *out = duckdb_vector_get_data(output);
    for (idx_t i = 0; i < n; i++) {
        const struct sum_state *s = (const struct sum_state *)states[i];
        if (!s->count) {
            duckdb_vector_ensure_validity_writable(output);
            duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), offset + i);
            continue;
        }
        double sum = leat_exact_sum_result(&s->sum);
        out[offset + i] = average ? sum / (double)s->count : sum;
    }
}

static bool register_sum(duckdb_connection connection, const char *name, bool average) {
    static char average_mark;
    duckdb_aggregate_function f = duckdb_create_aggregate_function();
    duckdb_logical_type type = duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
    duckdb_aggregate_function_set_name(f, name);
    duckdb_aggregate_function_add_parameter(f, type);
    duckdb_aggregate_function_set_return_type(f, type);
    duckdb_aggregate_function_set_functions(f, sum_size, sum_init, sum_update, sum_combine, sum_finalize);
    if (average) duckdb_aggregate_function_set_extra_info(f, &average_mark, NULL);
    bool ok = duckdb_register_aggregate_function(connection, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&type);
    duckdb_destroy_aggregate_function(&f);
    return ok;
}

/* ---- leat_sum_huge(HUGEINT): in 192 bits, so that only the whole sum has to fit */

struct huge_state {
    uint64_t limbs[3]; /* two's complement, lowest first */
    int64_t count;
};

static idx_t huge_size(duckdb_function_info info) {
    (void)info;
    return sizeof(struct huge_state);
}

static void huge_init(duckdb_function_info info, duckdb_aggregate_state state) {
    (void)info;
    *(struct huge_state *)state = (struct huge_state){0};
}

static void huge_add(struct huge_state *s, const uint64_t limbs[3]) {
    unsigned __int128 carry = 0;
    for (int i = 0; i < 3; i++) {
        carry += (unsigned __int128)s->limbs[i] + limbs[i];
        s->limbs[i] = (uint64_t)carry;
        carry >>= 64;
    }
}

static void huge_update(duckdb_function_info info, duckdb_data_chunk input, duckdb_aggregate_state *states) {
    (void)info;
    duckdb_vector vector = duckdb_data_chunk_get_vector(input, 0);
    const duckdb_hugeint *values = duckdb_vector_get_data(vector);
    const uint64_t *valid = duckdb_vector_get_validity(vector);
    for (idx_t i = 0, n = duckdb_data_chunk_get_size(input); i < n; i++) {
        if (valid && !(valid[i >> 6] >> (i & 63) & 1)) continue;
        struct huge_state *s = (struct huge_state *)states[i];
        huge_add(s, (uint64_t[3]){values[i].lower, (uint64_t)values[i].upper, values[i].upper < 0 ? UINT64_MAX : 0});
        s->count++;
    }
}

static void huge_combine(duckdb_function_info info, duckdb_aggregate_state *from, duckdb_aggregate_state *into, idx_t n) {
    (void)info;
    for (idx_t i = 0; i < n; i++) {
        huge_add((struct huge_state *)into[i], ((const struct huge_state *)from[i])->limbs);
        ((struct huge_state *)into[i])->count += ((const struct huge_state *)from[i])->count;
    }
}

static void huge_finalize(duckdb_function_info info, duckdb_aggregate_state *states, duckdb_vector output, idx_t n, idx_t offset) {
    duckdb_hugeint *out = duckdb_vector_get_data(output);
    for (idx_t i = 0; i < n; i++) {
        const struct huge_state *s = (const struct huge_state *)states[i];
        if (!s->count) {
            duckdb_vector_ensure_validity_writable(output);
            duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), offset + i);
            continue;
        }
        if (s->limbs[2] != ((int64_t)s->limbs[1] < 0 ? UINT64_MAX : 0)) {
            duckdb_aggregate_function_set_error(info, "Overflow: a sum does not fit into HUGEINT");
            return;
        }
        out[offset + i] = (duckdb_hugeint){.lower = s->limbs[0], .upper = (int64_t)s->limbs[1]};
    }
}

static bool register_huge(duckdb_connection connection) {
    duckdb_aggregate_function f = duckdb_create_aggregate_function();
    duckdb_logical_type type = duckdb_create_logical_type(DUCKDB_TYPE_HUGEINT);
    duckdb_aggregate_function_set_name(f, "leat_sum_huge");
    duckdb_aggregate_function_add_parameter(f, type);
    duckdb_aggregate_function_set_return_type(f, type);
    duckdb_aggregate_function_set_functions(f, huge_size, huge_init, huge_update, huge_combine, huge_finalize);
    bool ok = duckdb_register_aggregate_function(connection, f) == DuckDBSuccess;
    duckdb_destroy_logical_type(&type);
    duckdb_destroy_aggregate_function(&f);
    return ok;
}

enum leat_status leat_duck_register_functions(struct leat_duck *d, duckdb_connection connection,
                                              struct leat_error *err) {
    if (!register_windows(connection, "leat_tumble", tumble_overload) ||
        !register_windows(connection, "leat_hop", hop_overload) ||
        !register_windows(connection, "leat_session_end", session_end_overload) || !register_now(d, connection) ||
        !register_sum(connection, "leat_sum", false) || !register_sum(connection, "leat_avg", true) ||
        !register_huge(connection))
        return leat_fail(err, LEAT_SQL, "DuckDB refuses leat's functions");
    return register_clock_macros(connection, err);
}
