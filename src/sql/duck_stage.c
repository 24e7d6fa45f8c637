/* Stages: statements prepared once and run for every batch. */
#include <stdlib.h>
#include <string.h>

#include "sql/duck_internal.h"

struct leat_stage {
    duckdb_prepared_statement statement;
    struct leat_schema schema; /* without __w and __row */
    int *columns;              /* per result column: column of schema, or LEAT_CHUNK_* */
    bool has_rows;
};

static enum leat_status add_result_column(struct leat_stage *s, idx_t i, bool *has_weight, struct leat_error *err) {
    const char *name = duckdb_prepared_statement_column_name(s->statement, i);
    duckdb_logical_type logical = duckdb_prepared_statement_column_logical_type(s->statement, i);
    struct leat_type type = leat_duck_type(logical);
    duckdb_destroy_logical_type(&logical);
    enum leat_status status = LEAT_OK;
    char spelling[32];
    leat_type_print(type, spelling);
    if (!strcmp(name, "__w")) {
        if (type.kind != LEAT_INTEGER || *has_weight)
            status =
                leat_fail(err, LEAT_INVALID, "a stage gives one weight column __w of type INTEGER, not %s", spelling);
        *has_weight = true;
        s->columns[i] = LEAT_CHUNK_WEIGHT;
    } else if (!strcmp(name, "__row")) {
        if (type.kind != LEAT_UINTEGER || s->has_rows)
            status =
                leat_fail(err, LEAT_INVALID, "a stage gives one row column __row of type UINTEGER, not %s", spelling);
        s->has_rows = true;
        s->columns[i] = LEAT_CHUNK_ROW;
    } else if (type.kind == LEAT_NESTED) {
        status = leat_fail(
            err, LEAT_UNSUPPORTED,
            "column \"%s\" has a type that a change batch cannot hold: cast it to VARCHAR or extract its fields", name);
    } else {
        s->columns[i] = (int)s->schema.field_count;
        leat_schema_add(&s->schema, name, type, false);
    }
    duckdb_free((void *)name);
    return status;
}

enum leat_status leat_stage_prepare(struct leat_conn *c, const char *sql, struct leat_stage **out,
                                    struct leat_error *err) {
    *out = NULL;
    struct leat_stage *s = leat_alloc(sizeof *s);
    bool has_weight = false;
    enum leat_status status = leat_duck_prepare(c, sql, &s->statement, err);
    if (status) goto out;
    if (duckdb_prepared_statement_type(s->statement) != DUCKDB_STATEMENT_TYPE_SELECT) {
        status = leat_fail(err, LEAT_INVALID, "a stage must be a SELECT");
        goto out;
    }
    idx_t column_count = duckdb_prepared_statement_column_count(s->statement);
    s->columns = leat_alloc((column_count + 1) * sizeof *s->columns);
    for (idx_t i = 0; i < column_count && !status; i++)
        status = add_result_column(s, i, &has_weight, err);
out:
    if (status)
        leat_stage_free(s);
    else
        *out = s;
    return status;
}

const struct leat_schema *leat_stage_schema(const struct leat_stage *s) {
    return &s->schema;
}

static enum leat_status check_target(const struct leat_stage *s, const struct leat_schema *target,
                                     struct leat_error *err) {
    if (s->schema.field_count != target->field_count)
        return leat_fail(err, LEAT_INVALID, "a stage gives %zu columns, its target has %zu", s->schema.field_count,
                         target->field_count);
    for (size_t i = 0; i < target->field_count; i++) {
        if (leat_type_equal(s->schema.fields[i].type, target->fields[i].type)) continue;
        char is[32], wanted[32];
        leat_type_print(s->schema.fields[i].type, is);
        leat_type_print(target->fields[i].type, wanted);
        return leat_fail(err, LEAT_INVALID, "column %zu (\"%s\") of a stage is %s, its target column \"%s\" is %s", i,
                         s->schema.fields[i].name, is, target->fields[i].name, wanted);
    }
    return LEAT_OK;
}

enum leat_status leat_stage_run(struct leat_stage *s, struct leat_changes *out, struct leat_rows *rows_out,
                                struct leat_error *err) {
    enum leat_status status = check_target(s, out->schema, err);
    if (status) return status;
    if (rows_out && !s->has_rows)
        return leat_fail(err, LEAT_INVALID, "a stage without a __row column was asked for rows");
    return leat_duck_run(s->statement, s->columns, out, rows_out, 0, err);
}

void leat_stage_free(struct leat_stage *s) {
    if (!s) return;
    duckdb_destroy_prepare(&s->statement);
    leat_schema_deinit(&s->schema);
    free(s->columns);
    free(s);
}
