/* Instances and connections: options, pinned settings, error classes. See duck.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/duck_internal.h"

/* Optimiser rules a PLAN instance keeps: those whose result is still the user's query, operator by
 * operator. All others that the library knows are disabled, so that a new one cannot slip in. */
static const char PLAN_RULES_KEPT[] = "'expression_rewriter', 'filter_pullup', 'filter_pushdown', 'deliminator', "
                                      "'unnest_rewriter', 'unused_columns', 'cte_inlining', "
                                      "'statistics_propagation'"; /* resolves types again, without which a set
                                                                     operation with unused columns fails to bind */

const char *leat_duck_version(void) {
    return duckdb_library_version();
}

/* DuckDB spells the class at the head of every message; a failed prepare gives nothing else. */
static duckdb_error_type type_of_text(const char *text) {
    static const struct {
        const char *head;
        duckdb_error_type type;
    } heads[] = {
        {"Conversion Error", DUCKDB_ERROR_CONVERSION},
        {"Out of Range Error", DUCKDB_ERROR_OUT_OF_RANGE},
        {"Invalid Input Error", DUCKDB_ERROR_INVALID_INPUT},
        {"Decimal Error", DUCKDB_ERROR_DECIMAL},
        {"Divide by Zero Error", DUCKDB_ERROR_DIVIDE_BY_ZERO},
        {"FATAL Error", DUCKDB_ERROR_FATAL},
        {"INTERNAL Error", DUCKDB_ERROR_INTERNAL},
        {"INTERRUPT Error", DUCKDB_ERROR_INTERRUPT},
        {"Out of Memory Error", DUCKDB_ERROR_OUT_OF_MEMORY},
        {"IO Error", DUCKDB_ERROR_IO},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (!strncmp(text, heads[i].head, strlen(heads[i].head))) return heads[i].type;
    return DUCKDB_ERROR_INVALID;
}

enum leat_status leat_duck_fail(struct leat_error *err, duckdb_result *result, const char *text) {
    const char *message = text ? text : "DuckDB gave no message";
    duckdb_error_type type = result ? duckdb_result_error_type(result) : DUCKDB_ERROR_INVALID;
    if (type == DUCKDB_ERROR_INVALID) type = type_of_text(message);
    enum leat_status status = LEAT_SQL;
    if (type == DUCKDB_ERROR_INTERRUPT) status = LEAT_CANCELLED;
    if (type == DUCKDB_ERROR_OUT_OF_MEMORY) status = LEAT_NO_MEMORY;
    status = leat_fail(err, status, "%s", message);
    if (!err) return status;
    switch (type) {
    case DUCKDB_ERROR_CONVERSION:
    case DUCKDB_ERROR_OUT_OF_RANGE:
    case DUCKDB_ERROR_INVALID_INPUT:
    case DUCKDB_ERROR_DECIMAL:
    case DUCKDB_ERROR_DIVIDE_BY_ZERO:
    case DUCKDB_ERROR_MISMATCH_TYPE:
        err->bad_data = true;
        break;
    case DUCKDB_ERROR_FATAL:
    case DUCKDB_ERROR_INTERNAL:
        err->fatal = true; /* the whole database is invalid from here on: reopen and replay */
        break;
    case DUCKDB_ERROR_OUT_OF_MEMORY:
    case DUCKDB_ERROR_IO:
        err->retriable = true;
        break;
    default:
        break;
    }
    return status;
}

static enum leat_status set_config(duckdb_config config, const char *name, const char *value, struct leat_error *err) {
    if (duckdb_set_config(config, name, value) == DuckDBError)
        return leat_fail(err, LEAT_INVALID, "DuckDB %s refuses setting %s = '%s'", duckdb_library_version(), name,
                         value);
    return LEAT_OK;
}

/* Everything that could otherwise come from the host or from a later DuckDB default. */
static enum leat_status pin_config(duckdb_config config, const struct leat_duck_options *o, struct leat_error *err) {
    char threads[16], memory[32];
    snprintf(threads, sizeof threads, "%d", o->threads > 0 ? o->threads : 1);
    snprintf(memory, sizeof memory, "%lluB",
             (unsigned long long)(o->memory_limit_bytes ? o->memory_limit_bytes : (uint64_t)4 << 30));
    const struct {
        const char *name, *value;
    } pins[] = {
        {"threads", threads},
        {"memory_limit", memory},
        {"temp_directory", o->temp_dir ? o->temp_dir : ""},
        {"preserve_insertion_order", o->use == LEAT_DUCK_BATCH ? "false" : "true"},
        {"default_null_order", "nulls_last"},
        {"default_order", "asc"},
        {"default_collation", ""},
        {"integer_division", "false"},
        {"ieee_floating_point_ops", "true"},
        {"scalar_subquery_error_on_multiple_rows", "true"},
        /* The one filters below DISTINCT ON and LIMIT, which then choose among other rows: wrong results, duckdb issues 21757 and 22924. With the
         * other, row_number() = 1 over two equal arms of a UNION ALL cannot be planned (1.5.5). */
        {"disabled_optimizers", "join_filter_pushdown,common_subplan"},
        {"old_implicit_casting", "false"},
        {"autoinstall_known_extensions", "false"}, /* json, parquet and icu are linked in; nothing is ever fetched */
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
    };
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
        enum leat_status status = set_config(config, pins[i].name, pins[i].value, err);
        if (status) return status;
    }
    return LEAT_OK;
}

static enum leat_status run(duckdb_connection connection, const char *sql, struct leat_error *err) {
    duckdb_result result;
    enum leat_status status = LEAT_OK;
    if (duckdb_query(connection, sql, &result) == DuckDBError)
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    duckdb_destroy_result(&result);
    return status;
}

/* Settings that extensions own, which exist only once the instance is open. */
static enum leat_status pin_session(struct leat_duck *d, duckdb_connection connection,
                                    const struct leat_duck_options *o, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SET GLOBAL TimeZone = ");
    leat_put_sql_string(&sql, o->time_zone ? o->time_zone : "UTC");
    leat_put(&sql, "; SET GLOBAL Calendar = 'gregorian'");
    enum leat_status status = run(connection, sql.data, err);
    leat_buffer_reset(&sql);
    if (!status && d->use == LEAT_DUCK_PLAN) {
        leat_putf(
            &sql,
            "SET VARIABLE leat_rules = (SELECT string_agg(name, ',') FROM duckdb_optimizers() WHERE name NOT IN (%s)); "
            "SET GLOBAL disabled_optimizers = getvariable('leat_rules')",
            PLAN_RULES_KEPT);
        status = run(connection, sql.data, err);
    }
    leat_buffer_deinit(&sql);
    return status;
}

static enum leat_status lock_down(duckdb_connection connection, const struct leat_duck_options *o,
                                  struct leat_error *err) {
    struct leat_buffer sql = {0};
    if (o->allowed_dir) {
        leat_put(&sql, "SET GLOBAL allowed_directories = [");
        leat_put_sql_string(&sql, o->allowed_dir);
        leat_put(&sql, "]; ");
    }
    leat_put(&sql, "SET GLOBAL enable_external_access = false; SET GLOBAL lock_configuration = true");
    enum leat_status status = run(connection, sql.data, err);
    leat_buffer_deinit(&sql);
    return status;
}

enum leat_status leat_duck_open(const struct leat_duck_options *o, struct leat_duck **out, struct leat_error *err) {
    *out = NULL;
    struct leat_duck *d = leat_alloc(sizeof *d);
    duckdb_config config = NULL;
    duckdb_connection connection = NULL;
    char *message = NULL;
    enum leat_status status = LEAT_OK;
    d->use = o->use;
    d->locked = o->locked;
    pthread_mutex_init(&d->lock, NULL);

    if (duckdb_create_config(&config) == DuckDBError) {
        status = leat_fail(err, LEAT_NO_MEMORY, "DuckDB could not make a configuration");
        goto out;
    }
    if ((status = pin_config(config, o, err))) goto out;
    if (duckdb_open_ext(NULL, &d->database, config, &message) == DuckDBError) {
        status = leat_duck_fail(err, NULL, message);
        goto out;
    }
    if (duckdb_connect(d->database, &connection) == DuckDBError) {
        status = leat_fail(err, LEAT_SQL, "DuckDB could not open a connection");
        goto out;
    }
    if ((status = pin_session(d, connection, o, err))) goto out;
    if ((status = leat_duck_register_functions(d, connection, err))) goto out;
    if ((status = leat_duck_register_inputs(d, connection, err))) goto out;
    if (o->locked) status = lock_down(connection, o, err);
out:
    if (message) duckdb_free(message);
    if (config) duckdb_destroy_config(&config);
    if (connection) duckdb_disconnect(&connection);
    if (status)
        leat_duck_close(d);
    else
        *out = d;
    return status ? leat_prepend(err, "opening DuckDB") : LEAT_OK;
}

void leat_duck_close(struct leat_duck *d) {
    if (!d) return;
    if (d->database) duckdb_close(&d->database);
    leat_memo_deinit(&d->memo);
    free(d->connections);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

enum leat_status leat_conn_open(struct leat_duck *d, struct leat_conn **out, struct leat_error *err) {
    *out = NULL;
    duckdb_connection handle = NULL;
    if (duckdb_connect(d->database, &handle) == DuckDBError)
        return leat_fail(err, LEAT_SQL, "DuckDB could not open a connection (the instance may have failed: reopen it)");
    struct leat_conn *c = leat_alloc(sizeof *c);
    duckdb_client_context context = NULL;
    duckdb_connection_get_client_context(handle, &context);
    c->id = duckdb_client_context_get_connection_id(context);
    duckdb_destroy_client_context(&context);
    c->duck = d;
    c->handle = handle;
    c->error_offset = -1;
    pthread_mutex_lock(&d->lock);
    d->connections = leat_realloc(d->connections, (d->connection_count + 1) * sizeof(struct leat_conn *));
    d->connections[d->connection_count++] = c;
    pthread_mutex_unlock(&d->lock);
    *out = c;
    return LEAT_OK;
}

void leat_conn_close(struct leat_conn *c) {
    if (!c) return;
    struct leat_duck *d = c->duck;
    for (size_t i = 0; i < LEAT_SERIALISER_COUNT; i++)
        leat_stage_free(c->serialisers[i]);
    duckdb_disconnect(&c->handle);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->connection_count; i++)
        if (d->connections[i] == c) d->connections[i] = d->connections[--d->connection_count];
    for (size_t i = 0; i < c->slot_count; i++)
        leat_slot_release(c->slots[i]);
    pthread_mutex_unlock(&d->lock);
    free(c->slots);
    free(c);
}

struct leat_conn *leat_duck_connection(struct leat_duck *d, idx_t id) {
    struct leat_conn *found = NULL;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->connection_count; i++)
        if (d->connections[i]->id == id) found = d->connections[i];
    pthread_mutex_unlock(&d->lock);
    return found;
}

void leat_conn_interrupt(struct leat_conn *c) {
    duckdb_interrupt(c->handle);
}

void leat_conn_set_clock(struct leat_conn *c, int64_t now_us) {
    c->clock_set = true;
    c->clock_us = now_us;
}

enum leat_status leat_conn_set_threads(struct leat_conn *c, int threads, struct leat_error *err) {
    return leat_conn_execf(c, err, "SET GLOBAL threads = %d", threads);
}
