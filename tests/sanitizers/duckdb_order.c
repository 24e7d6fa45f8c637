/* What ThreadSanitizer is not told by DuckDB's library, which is compiled without it: the order that a query brings. What a
 * thread did before it starts a query comes before the callbacks of that query, and these come before what it does after the
 * query's end. The calls that one scan makes, one after the other but from whichever worker has the time, are ordered among
 * themselves, beginning with the one that made its state. Nothing else is said of callbacks among each other: they stay checked.
 *
 * Linked into the tsan build by --wrap (tests.cmake). Every call below that a callback makes acquires what was released by the
 * start of a query, and releases for the query's end. */
#include <duckdb.h>

void __tsan_acquire(void *);
void __tsan_release(void *);
static char started, ended;

#define WRAP_QUERY(type, name, parameters, arguments)                                                                                  \
    type __real_##name parameters;                                                                                                     \
    type __wrap_##name parameters;                                                                                                     \
    type __wrap_##name parameters {                                                                                                    \
        __tsan_release(&started);                                                                                                      \
        type result = __real_##name arguments;                                                                                         \
        __tsan_acquire(&ended);                                                                                                        \
        return result;                                                                                                                 \
    }
WRAP_QUERY(duckdb_state, duckdb_query, (duckdb_connection c, const char *sql, duckdb_result *out), (c, sql, out))
WRAP_QUERY(duckdb_state, duckdb_pending_prepared_streaming, (duckdb_prepared_statement s, duckdb_pending_result *out), (s, out))
WRAP_QUERY(duckdb_state, duckdb_execute_pending, (duckdb_pending_result p, duckdb_result *out), (p, out))
WRAP_QUERY(duckdb_data_chunk, duckdb_fetch_chunk, (duckdb_result r), (r))

#define WRAP_CALL(type, name, parameters, arguments)                                                                                   \
    type __real_##name parameters;                                                                                                     \
    type __wrap_##name parameters;                                                                                                     \
    type __wrap_##name parameters {                                                                                                    \
        __tsan_acquire(&started);                                                                                                      \
        type result = __real_##name arguments;                                                                                         \
        __tsan_release(&ended);                                                                                                        \
        return result;                                                                                                                 \
    }
WRAP_CALL(void *, duckdb_function_get_bind_data, (duckdb_function_info i), (i))
WRAP_CALL(void *, duckdb_init_get_bind_data, (duckdb_init_info i), (i))
WRAP_CALL(void *, duckdb_bind_get_extra_info, (duckdb_bind_info i), (i))
WRAP_CALL(void *, duckdb_scalar_function_bind_get_extra_info, (duckdb_bind_info i), (i))
WRAP_CALL(void *, duckdb_aggregate_function_get_extra_info, (duckdb_function_info i), (i))
WRAP_CALL(void *, duckdb_scalar_function_get_extra_info, (duckdb_function_info i), (i))
WRAP_CALL(void *, duckdb_scalar_function_get_bind_data, (duckdb_function_info i), (i))
WRAP_CALL(idx_t, duckdb_data_chunk_get_size, (duckdb_data_chunk c), (c))

#define WRAP_STEP(type, name, parameters)                                                                                              \
    type __real_##name parameters;                                                                                                     \
    type __wrap_##name parameters;                                                                                                     \
    type __wrap_##name parameters

/* The state of the scan that this thread is in. */
static _Thread_local void *scanned;

WRAP_STEP(void, duckdb_init_set_init_data, (duckdb_init_info i, void *state, duckdb_delete_callback_t destroy)) {
    __tsan_release(state);
    __real_duckdb_init_set_init_data(i, state, destroy);
}
WRAP_STEP(void *, duckdb_function_get_init_data, (duckdb_function_info i)) {
    __tsan_acquire(&started);
    scanned = __real_duckdb_function_get_init_data(i);
    if (scanned) __tsan_acquire(scanned);
    __tsan_release(&ended);
    return scanned;
}
/* The last thing a scan does. */
WRAP_STEP(void, duckdb_data_chunk_set_size, (duckdb_data_chunk c, idx_t n)) {
    __real_duckdb_data_chunk_set_size(c, n);
    if (scanned) __tsan_release(scanned);
    scanned = NULL;
    __tsan_release(&ended);
}
