/* Inputs: change batches as a table function, leat_input('name').
 *
 * Binding resolves the name on the running connection to a slot and keeps a reference in the bind data; a run
 * reads whatever batch the slot holds then, so prepared statements never bind again. Values go over by
 * memcpy per vector; string structs point into the batch, which is borrowed for the whole run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql/duck_internal.h"

void leat_slot_release(struct leat_slot *slot) {
    if (atomic_fetch_sub(&slot->references, 1) != 1) return;
    free(slot->name);
    leat_schema_deinit(&slot->schema);
    free(slot);
}

static void release_bound(void *data) {
    leat_slot_release(data);
}

static struct leat_slot *find_slot(const struct leat_conn *c, const char *name) {
    for (size_t i = 0; i < c->slot_count; i++)
        if (!strcasecmp(c->slots[i]->name, name)) return c->slots[i];
    return NULL;
}

static void add_column(duckdb_bind_info info, const char *name, struct leat_type type) {
    duckdb_logical_type logical = leat_duck_logical(type);
    duckdb_bind_add_result_column(info, name, logical);
    duckdb_destroy_logical_type(&logical);
}

static char *bound_name(duckdb_bind_info info) {
    duckdb_value value = duckdb_bind_get_parameter(info, 0);
    char *name = duckdb_get_varchar(value);
    duckdb_destroy_value(&value);
    return name;
}

static void input_bind(duckdb_bind_info info) {
    struct leat_duck *d = duckdb_bind_get_extra_info(info);
    char *name = bound_name(info);
    duckdb_client_context context = NULL;
    duckdb_table_function_get_client_context(info, &context);
    struct leat_conn *c = leat_duck_connection(d, duckdb_client_context_get_connection_id(context));
    duckdb_destroy_client_context(&context);
    struct leat_slot *slot = c ? find_slot(c, name) : NULL;
    if (!slot) {
        char message[256];
        snprintf(message, sizeof message, "there is no input \"%.128s\" on this connection", name);
        duckdb_bind_set_error(info, message);
        duckdb_free(name);
        return;
    }
    duckdb_free(name);
    for (size_t i = 0; i < slot->schema.field_count; i++) {
        char position[32];
        snprintf(position, sizeof position, "c%zu", i);
        add_column(info, slot->named ? slot->schema.fields[i].name : position, slot->schema.fields[i].type);
    }
    if (d->use != LEAT_DUCK_PLAN) {
        add_column(info, "__row", (struct leat_type){.kind = LEAT_UINTEGER});
        add_column(info, "__w", (struct leat_type){.kind = LEAT_INTEGER});
    }
    atomic_fetch_add(&slot->references, 1);
    duckdb_bind_set_bind_data(info, slot, release_bound);
}

/* One scan: the position (batch, row in it, row of all) and the wanted columns. */
struct scan {
    size_t batch, at, row, column_count;
    size_t columns[];
};

static void input_init(duckdb_init_info info) {
    size_t column_count = duckdb_init_get_column_count(info);
    struct scan *scan = leat_alloc(sizeof *scan + column_count * sizeof *scan->columns);
    scan->column_count = column_count;
    for (size_t i = 0; i < column_count; i++)
        scan->columns[i] = duckdb_init_get_column_index(info, i);
    duckdb_init_set_init_data(info, scan, free);
    duckdb_init_set_max_threads(info, 1);
}

static void give_rows(uint32_t *to, size_t at, size_t n) {
    for (size_t i = 0; i < n; i++)
        to[i] = (uint32_t)(at + i);
}

static void give_weights(int32_t *to, const struct leat_changes *batch, size_t at, size_t n) {
    if (batch->weights) {
        memcpy(to, batch->weights + at, n * sizeof *to);
        return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = 1;
}

/* `at` is a multiple of the vector size, hence of 64: validity goes over in words. */
static void give_column(duckdb_vector vector, const struct leat_column *column, size_t at, size_t n) {
    size_t size = leat_type_size(column->type);
    memcpy(duckdb_vector_get_data(vector), (const char *)column->data + at * size, n * size);
    if (!column->valid) return;
    duckdb_vector_ensure_validity_writable(vector);
    memcpy(duckdb_vector_get_validity(vector), column->valid + at / 64, (n + 63) / 64 * sizeof(uint64_t));
}

static void input_scan(duckdb_function_info info, duckdb_data_chunk output) {
    const struct leat_slot *slot = duckdb_function_get_bind_data(info);
    struct scan *scan = duckdb_function_get_init_data(info);
    if (slot->retired) {
        duckdb_function_set_error(info, "an input of this statement was declared anew: prepare the statement again");
        return;
    }
    while (scan->batch < slot->batch_count && scan->at == slot->batches[scan->batch].row_count) {
        scan->batch++;
        scan->at = 0;
    }
    const struct leat_changes *batch = scan->batch < slot->batch_count ? &slot->batches[scan->batch] : NULL;
    size_t n = batch ? batch->row_count - scan->at : 0;
    if (n > duckdb_vector_size()) n = duckdb_vector_size();
    for (size_t i = 0; n && i < scan->column_count; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(output, i);
        size_t column = scan->columns[i], field_count = slot->schema.field_count;
        if (column < field_count)
            give_column(vector, &batch->columns[column], scan->at, n);
        else if (column == field_count)
            give_rows(duckdb_vector_get_data(vector), scan->row, n);
        else if (column == field_count + 1)
            give_weights(duckdb_vector_get_data(vector), batch, scan->at, n);
    }
    scan->at += n;
    scan->row += n;
    duckdb_data_chunk_set_size(output, n);
}

/* A bare name in FROM that no table, view or CTE has. The callback is not told which connection asks; a name of another
 * one fails in input_bind. */
static void replace_name(duckdb_replacement_scan_info info, const char *name, void *data) {
    struct leat_duck *d = data;
    bool known = false;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->connection_count; i++) {
        const struct leat_slot *slot = find_slot(d->connections[i], name);
        if (slot && slot->named) known = true;
    }
    pthread_mutex_unlock(&d->lock);
    if (!known) return;
    duckdb_replacement_scan_set_function_name(info, "leat_input");
    duckdb_value value = duckdb_create_varchar(name);
    duckdb_replacement_scan_add_parameter(info, value);
    duckdb_destroy_value(&value);
}

enum leat_status leat_duck_register_inputs(struct leat_duck *d, duckdb_connection connection, struct leat_error *err) {
    duckdb_table_function f = duckdb_create_table_function();
    duckdb_logical_type text = duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    duckdb_table_function_set_name(f, "leat_input");
    duckdb_table_function_add_parameter(f, text);
    duckdb_table_function_set_extra_info(f, d, NULL);
    duckdb_table_function_set_bind(f, input_bind);
    duckdb_table_function_set_init(f, input_init);
    duckdb_table_function_set_function(f, input_scan);
    duckdb_table_function_supports_projection_pushdown(f, true);
    enum leat_status status = LEAT_OK;
    if (duckdb_register_table_function(connection, f) == DuckDBError)
        status = leat_fail(err, LEAT_SQL, "DuckDB refuses the table function leat_input");
    duckdb_destroy_logical_type(&text);
    duckdb_destroy_table_function(&f);
    duckdb_add_replacement_scan(d->database, replace_name, d, NULL);
    return status;
}

static enum leat_status check_schema(const char *name, const struct leat_schema *schema, struct leat_error *err) {
    if (!schema->field_count) return leat_fail(err, LEAT_INVALID, "input \"%s\" has no columns", name);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *f = &schema->fields[i];
        if (f->type.kind == LEAT_NESTED)
            return leat_fail(err, LEAT_UNSUPPORTED,
                             "column \"%s\" of input \"%s\" has a nested type: extract its fields first", f->name,
                             name);
        if (!strcasecmp(f->name, "__w") || !strcasecmp(f->name, "__row"))
            return leat_fail(err, LEAT_INVALID, "input \"%s\" has a column \"%s\": that name is leat's own, rename it",
                             name, f->name);
    }
    return LEAT_OK;
}

enum leat_status leat_conn_input(struct leat_conn *c, const char *name, const struct leat_schema *schema, bool named,
                                 struct leat_error *err) {
    enum leat_status status = check_schema(name, schema, err);
    if (status) return status;
    struct leat_slot *slot = leat_alloc(sizeof *slot);
    slot->name = leat_strdup(name);
    leat_schema_copy(&slot->schema, schema);
    slot->named = named;
    slot->note = -1;
    atomic_init(&slot->references, 1);
    slot->hash = leat_memo_input(name, schema, named);
    c->world ^= slot->hash;
    pthread_mutex_lock(&c->duck->lock);
    size_t i = 0;
    while (i < c->slot_count && strcasecmp(c->slots[i]->name, name))
        i++;
    if (i < c->slot_count) {
        c->world ^= c->slots[i]->hash;
        c->slots[i]->retired = true;
        c->slots[i]->batch_count = 0;
        leat_slot_release(c->slots[i]);
    } else {
        c->slots = leat_realloc(c->slots, (c->slot_count + 1) * sizeof(struct leat_slot *));
        c->slot_count++;
    }
    c->slots[i] = slot;
    pthread_mutex_unlock(&c->duck->lock);
    return LEAT_OK;
}

void leat_conn_bind(struct leat_conn *c, const char *name, const struct leat_changes *batch) {
    leat_conn_bind_all(c, name, batch, batch ? 1 : 0);
}

void leat_conn_bind_all(struct leat_conn *c, const char *name, const struct leat_changes *batches, size_t count) {
    struct leat_slot *slot = find_slot(c, name);
    if (!slot) return;
    slot->batches = batches;
    slot->batch_count = count;
}

void leat_conn_note(struct leat_conn *c, const char *name, int64_t note) {
    struct leat_slot *slot = find_slot(c, name);
    if (slot) slot->note = note;
}

int64_t leat_conn_noted(const struct leat_conn *c, const char *name) {
    const struct leat_slot *slot = find_slot(c, name);
    return slot ? slot->note : -1;
}
