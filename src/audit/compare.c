#include "audit/compare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct sides {
    struct leat_conn *conn;
    const struct leat_compare_options *options;
    struct leat_schema left, right;
    struct leat_compare_result *out;
    bool *is_key;      /* per column of out */
    size_t key_count;
};

static void put_query(const char *sql, struct leat_buffer *out) {
    size_t length = strlen(sql);
    while (length && strchr("; \t\r\n", sql[length - 1])) length--;
    leat_putn(out, sql, length);
}

static enum leat_status describe(struct leat_conn *conn, const char *query, struct leat_schema *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT * FROM (");
    put_query(query, &sql);
    leat_put(&sql, "\n) LIMIT 0");
    enum leat_status st = leat_conn_describe(conn, sql.data, out, err);
    leat_buffer_deinit(&sql);
    return st;
}

static char *type_text(struct leat_type type) {
    char text[32];
    leat_type_print(type, text);
    return leat_strdup(text);
}

/* Columns of both sides, those in common first. */
static void match(struct sides *s) {
    struct leat_compare_result *out = s->out;
    out->columns = leat_alloc((s->left.field_count + s->right.field_count + 1) * sizeof *out->columns);
    for (int common = 1; common >= 0; common--)
        for (size_t i = 0; i < s->left.field_count; i++) {
            const struct leat_field *field = &s->left.fields[i];
            int other = leat_schema_find(&s->right, field->name);
            if ((other >= 0) != common) continue;
            out->columns[out->column_count++] =
                (struct leat_compare_column){.name = leat_strdup(field->name), .left_type = type_text(field->type), .compared = common,
                                             .right_type = common ? type_text(s->right.fields[other].type) : NULL};
        }
    for (size_t i = 0; i < s->right.field_count; i++)
        if (leat_schema_find(&s->left, s->right.fields[i].name) < 0)
            out->columns[out->column_count++] = (struct leat_compare_column){.name = leat_strdup(s->right.fields[i].name),
                                                                             .right_type = type_text(s->right.fields[i].type)};
}

static size_t common(const struct sides *s) {
    size_t n = 0;
    while (n < s->out->column_count && s->out->columns[n].compared) n++;
    return n;
}

static bool is_nested(const char *type) {
    return strpbrk(type, "[(") && strncasecmp(type, "DECIMAL", 7) != 0;
}

/* Numbers of other types meet in a type that holds both, which DuckDB chooses. */
static bool is_number(const char *type) {
    static const char *const NUMBERS[] = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
                                          "UHUGEINT", "DECIMAL", "FLOAT", "DOUBLE"};
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
        if (strncmp(type, NUMBERS[i], strlen(NUMBERS[i])) == 0) return true;
    return false;
}

/* SELECT c0, c1, ... FROM a side. */
static void put_side(const struct sides *s, bool right, const char *more, struct leat_buffer *sql) {
    leat_putf(sql, "SELECT %s", more);
    for (size_t i = 0; i < common(s); i++) {
        const struct leat_compare_column *column = &s->out->columns[i];
        bool nested = is_nested(column->left_type) || is_nested(column->right_type) || strcmp(column->left_type, "NESTED") == 0;
        bool numbers = is_number(column->left_type) && is_number(column->right_type);
        bool cast = nested || (right && !numbers && strcmp(column->left_type, column->right_type) != 0);
        if (cast) leat_put(sql, nested ? "CAST(" : "TRY_CAST(");
        leat_put_sql_name(sql, column->name);
        if (cast) leat_putf(sql, " AS %s)", nested ? "VARCHAR" : column->left_type);
        leat_putf(sql, " AS c%zu%s", i, i + 1 < common(s) ? ", " : "");
    }
    leat_put(sql, " FROM (");
    put_query(right ? s->options->right_sql : s->options->left_sql, sql);
    leat_put(sql, "\n)");
}

/* {'name': from.c0, ...} as JSON text; keys: only those. */
static void put_object(const struct sides *s, const char *from, bool keys, struct leat_buffer *sql) {
    const char *between = "CAST(to_json({";
    for (size_t i = 0; i < common(s); i++) {
        if (keys && !s->is_key[i]) continue;
        leat_put(sql, between);
        leat_put_sql_string(sql, s->out->columns[i].name);
        if (keys)
            leat_putf(sql, ": coalesce(l.c%zu, r.c%zu)", i, i);
        else
            leat_putf(sql, ": %sc%zu", from, i);
        between = ", ";
    }
    leat_put(sql, "}) AS VARCHAR)");
}

static enum leat_status find_key(struct sides *s, struct leat_error *err) {
    s->is_key = leat_alloc((common(s) + 1) * sizeof *s->is_key);
    for (size_t k = 0; k < s->options->key_count; k++) {
        size_t at = 0;
        while (at < common(s) && strcasecmp(s->out->columns[at].name, s->options->key[k]) != 0) at++;
        if (at == common(s)) return leat_fail(err, LEAT_INVALID, "there is no column \"%s\" in both", s->options->key[k]);
        s->key_count += !s->is_key[at];
        s->is_key[at] = true;
    }
    return LEAT_OK;
}

static void put_keys(const struct sides *s, struct leat_buffer *sql) {
    const char *between = "";
    for (size_t i = 0; i < common(s); i++) {
        if (!s->is_key[i]) continue;
        leat_putf(sql, "%sc%zu", between, i);
        between = ", ";
    }
}

static enum leat_status count_rows(struct sides *s, bool right, uint64_t *rows, uint64_t *keys, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    leat_put(&sql, "WITH side AS MATERIALIZED (");
    put_side(s, right, "", &sql);
    leat_put(&sql, ") SELECT (SELECT count(*) FROM side), ");
    if (s->key_count) {
        leat_put(&sql, "(SELECT count(*) FROM (SELECT DISTINCT ");
        put_keys(s, &sql);
        leat_put(&sql, " FROM side))");
    } else {
        leat_put(&sql, "CAST(0 AS BIGINT)");
    }
    enum leat_status st = leat_conn_query(s->conn, sql.data, &result, err);
    if (st == LEAT_OK) *rows = (uint64_t)((const int64_t *)result.rows.columns[0].data)[0];
    if (st == LEAT_OK) *keys = (uint64_t)((const int64_t *)result.rows.columns[1].data)[0];
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

static void put_by_key(const struct sides *s, struct leat_buffer *sql) {
    leat_put(sql, "SELECT CASE WHEN r.p IS NULL THEN 'left' WHEN l.p IS NULL THEN 'right' ELSE 'changed' END AS kind, CAST(1 AS BIGINT) AS copies, ");
    put_object(s, "", true, sql);
    leat_put(sql, " AS key, CASE WHEN l.p IS NOT NULL THEN ");
    put_object(s, "l.", false, sql);
    leat_put(sql, " END AS \"left\", CASE WHEN r.p IS NOT NULL THEN ");
    put_object(s, "r.", false, sql);
    leat_put(sql, " END AS \"right\", CASE WHEN l.p IS NOT NULL AND r.p IS NOT NULL THEN concat_ws(', ', ''");
    for (size_t i = 0; i < common(s); i++) {
        if (s->is_key[i]) continue;
        leat_putf(sql, ", CASE WHEN l.c%zu IS DISTINCT FROM r.c%zu THEN ", i, i);
        leat_put_sql_string(sql, s->out->columns[i].name);
        leat_put(sql, " END");
    }
    leat_put(sql, ")[3:] END AS columns");
    for (size_t i = 0; i < common(s); i++) leat_putf(sql, ", l.c%zu IS DISTINCT FROM r.c%zu AS d%zu", i, i, i);
    leat_put(sql, " FROM (");
    put_side(s, false, "1 AS p, ", sql);
    leat_put(sql, ") l FULL JOIN (");
    put_side(s, true, "1 AS p, ", sql);
    leat_put(sql, ") r ON ");
    const char *between = "";
    for (size_t i = 0; i < common(s); i++) {
        if (!s->is_key[i]) continue;
        leat_putf(sql, "%sl.c%zu IS NOT DISTINCT FROM r.c%zu", between, i, i);
        between = " AND ";
    }
    leat_put(sql, " WHERE l.p IS NULL OR r.p IS NULL");
    for (size_t i = 0; i < common(s); i++)
        if (!s->is_key[i]) leat_putf(sql, " OR l.c%zu IS DISTINCT FROM r.c%zu", i, i);
}

static void put_as_sets(const struct sides *s, struct leat_buffer *sql) {
    leat_put(sql, "SELECT CASE WHEN w > 0 THEN 'left' ELSE 'right' END AS kind, CAST(abs(w) AS BIGINT) AS copies, CAST(NULL AS VARCHAR) AS key, "
                  "CASE WHEN w > 0 THEN ");
    put_object(s, "", false, sql);
    leat_put(sql, " END AS \"left\", CASE WHEN w < 0 THEN ");
    put_object(s, "", false, sql);
    leat_put(sql, " END AS \"right\", CAST(NULL AS VARCHAR) AS columns");
    for (size_t i = 0; i < common(s); i++) leat_putf(sql, ", false AS d%zu", i);
    leat_put(sql, " FROM (SELECT sum(w) AS w");
    for (size_t i = 0; i < common(s); i++) leat_putf(sql, ", c%zu", i);
    leat_put(sql, " FROM (");
    put_side(s, false, "1 AS w, ", sql);
    leat_put(sql, " UNION ALL ");
    put_side(s, true, "-1 AS w, ", sql);
    leat_put(sql, ") GROUP BY ALL HAVING sum(w) <> 0)");
}

static enum leat_status find_differences(struct sides *s, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "CREATE OR REPLACE TEMP TABLE leat_differences AS ");
    if (s->key_count)
        put_by_key(s, &sql);
    else
        put_as_sets(s, &sql);
    enum leat_status st = leat_conn_exec(s->conn, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status read_totals(struct sides *s, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    leat_put(&sql, "SELECT CAST(coalesce(sum(copies) FILTER (kind = 'left'), 0) AS BIGINT), CAST(coalesce(sum(copies) FILTER (kind = 'right'), 0) AS BIGINT), "
                   "count(*) FILTER (kind = 'changed')");
    for (size_t i = 0; i < common(s); i++) leat_putf(&sql, ", count(*) FILTER (d%zu AND kind = 'changed')", i);
    leat_put(&sql, " FROM " LEAT_DIFFERENCES);
    enum leat_status st = leat_conn_query(s->conn, sql.data, &result, err);
    leat_buffer_deinit(&sql);
    if (st != LEAT_OK) return st;
    uint64_t *totals[] = {&s->out->only_left, &s->out->only_right, &s->out->changed};
    for (size_t i = 0; i < 3; i++) *totals[i] = (uint64_t)((const int64_t *)result.rows.columns[i].data)[0];
    for (size_t i = 0; i < common(s); i++) s->out->columns[i].changed = (uint64_t)((const int64_t *)result.rows.columns[i + 3].data)[0];
    leat_result_deinit(&result);
    return LEAT_OK;
}

static char *cell(const struct leat_result *r, size_t column, size_t row) {
    const struct leat_string *text = (const struct leat_string *)r->rows.columns[column].data + row;
    return leat_is_null(&r->rows.columns[column], row) ? NULL : leat_strndup(leat_string_data(text), text->length);
}

static enum leat_status read_examples(struct sides *s, struct leat_error *err) {
    struct leat_result result = {0};
    char *sql = leat_asprintf("SELECT copies, kind, key, \"left\", \"right\", columns FROM " LEAT_DIFFERENCES
                              " ORDER BY key, coalesce(\"left\", \"right\"), kind LIMIT %zu",
                              s->options->example_max);
    enum leat_status st = leat_conn_query(s->conn, sql, &result, err);
    free(sql);
    if (st != LEAT_OK) return st;
    s->out->examples = leat_alloc((result.rows.row_count + 1) * sizeof *s->out->examples);
    s->out->example_count = result.rows.row_count;
    for (size_t i = 0; i < result.rows.row_count; i++)
        s->out->examples[i] = (struct leat_compare_example){.copies = ((const int64_t *)result.rows.columns[0].data)[i],
                                                            .kind = cell(&result, 1, i), .key = cell(&result, 2, i), .left = cell(&result, 3, i),
                                                            .right = cell(&result, 4, i), .columns = cell(&result, 5, i)};
    leat_result_deinit(&result);
    return LEAT_OK;
}

static enum leat_status compare(struct sides *s, struct leat_error *err) {
    uint64_t left_keys, right_keys;
    enum leat_status st = find_key(s, err);
    if (st == LEAT_OK) st = count_rows(s, false, &s->out->left_rows, &left_keys, err);
    if (st == LEAT_OK) st = count_rows(s, true, &s->out->right_rows, &right_keys, err);
    if (st != LEAT_OK) return st;
    if (s->key_count && (left_keys != s->out->left_rows || right_keys != s->out->right_rows)) {
        s->out->note = leat_asprintf("the key is not unique on the %s side, so whole rows are compared", left_keys != s->out->left_rows ? "first" : "second");
        s->key_count = 0;
    }
    s->out->by_key = s->key_count > 0;
    st = find_differences(s, err);
    if (st == LEAT_OK) st = read_totals(s, err);
    if (st == LEAT_OK) st = read_examples(s, err);
    return st;
}

enum leat_status leat_compare(struct leat_conn *batch, const struct leat_compare_options *options, struct leat_compare_result *out,
                              struct leat_error *err) {
    struct sides s = {.conn = batch, .options = options, .out = out};
    *out = (struct leat_compare_result){0};
    enum leat_status st = describe(batch, options->left_sql, &s.left, err);
    if (st == LEAT_OK) st = describe(batch, options->right_sql, &s.right, err);
    if (st == LEAT_OK) match(&s);
    if (st == LEAT_OK && common(&s) == 0) st = leat_fail(err, LEAT_INVALID, "there is no column that both have");
    if (st == LEAT_OK) st = compare(&s, err);
    leat_schema_deinit(&s.left);
    leat_schema_deinit(&s.right);
    free(s.is_key);
    if (st != LEAT_OK) leat_compare_deinit(out);
    return st;
}

void leat_compare_deinit(struct leat_compare_result *r) {
    for (size_t i = 0; i < r->column_count; i++) {
        free(r->columns[i].name);
        free(r->columns[i].left_type);
        free(r->columns[i].right_type);
    }
    for (size_t i = 0; i < r->example_count; i++) {
        struct leat_compare_example *e = &r->examples[i];
        free(e->kind), free(e->key), free(e->left), free(e->right), free(e->columns);
    }
    free(r->columns);
    free(r->examples);
    free(r->note);
    *r = (struct leat_compare_result){0};
}

uint64_t leat_compare_differing(const struct leat_compare_result *r) {
    return r->only_left + r->only_right + r->changed;
}

double leat_compare_drift(const struct leat_compare_result *r) {
    uint64_t rows = r->left_rows > r->right_rows ? r->left_rows : r->right_rows;
    /* Without a key a changed row is one too many here and one there. */
    uint64_t differing = r->by_key ? leat_compare_differing(r) : r->only_left > r->only_right ? r->only_left : r->only_right;
    return rows ? 100.0 * (double)differing / (double)rows : 0;
}

/* ---- output ------------------------------------------------------------------------------------------------------------ */

static void put_columns(const struct leat_compare_result *r, const char *left, const char *right, struct leat_buffer *out) {
    for (size_t i = 0; i < r->column_count; i++) {
        const struct leat_compare_column *c = &r->columns[i];
        if (!c->left_type)
            leat_putf(out, "  column %s: in %s only, not compared\n", c->name, right);
        else if (!c->right_type)
            leat_putf(out, "  column %s: in %s only, not compared\n", c->name, left);
        else if (strcmp(c->left_type, c->right_type) != 0)
            leat_putf(out, "  column %s: %s against %s\n", c->name, c->left_type, c->right_type);
        if (c->changed) leat_putf(out, "  column %s: differs in %" PRIu64 " row%s\n", c->name, c->changed, c->changed == 1 ? "" : "s");
    }
}

static void put_example(const struct leat_compare_example *e, const char *left, const char *right, struct leat_buffer *out) {
    if (e->key) leat_putf(out, "    %s%s%s\n", e->key, e->columns ? ": " : "", e->columns ? e->columns : "");
    if (e->left) leat_putf(out, "      %-8s %s", left, e->left);
    if (e->left) leat_putf(out, e->copies > 1 ? "  (%" PRId64 " times)\n" : "\n", e->copies);
    if (e->right) leat_putf(out, "      %-8s %s", right, e->right);
    if (e->right) leat_putf(out, e->copies > 1 ? "  (%" PRId64 " times)\n" : "\n", e->copies);
}

void leat_compare_print(const struct leat_compare_result *r, const char *left, const char *right, struct leat_buffer *out) {
    if (leat_compare_differing(r) == 0)
        leat_putf(out, "equal, %" PRIu64 " row%s\n", r->left_rows, r->left_rows == 1 ? "" : "s");
    else
        leat_putf(out, "%" PRIu64 " row%s changed, %" PRIu64 " only in %s, %" PRIu64 " only in %s (%" PRIu64 " and %" PRIu64 " rows)\n", r->changed,
                  r->changed == 1 ? "" : "s", r->only_left, left, r->only_right, right, r->left_rows, r->right_rows);
    if (r->note) leat_putf(out, "  %s\n", r->note);
    put_columns(r, left, right, out);
    for (size_t i = 0; i < r->example_count; i++) put_example(&r->examples[i], left, right, out);
    if (r->example_count && r->example_count < leat_compare_differing(r)) leat_put(out, "    ...\n");
}

static void put_member(const char *name, const char *text, bool json, struct leat_buffer *out) {
    if (!text) return;
    leat_putf(out, ",\"%s\":", name);
    if (json)
        leat_put(out, text);
    else
        leat_put_json_string(out, text, strlen(text));
}

void leat_compare_json(const struct leat_compare_result *r, struct leat_buffer *out) {
    leat_putf(out, "\"left_rows\":%" PRIu64 ",\"right_rows\":%" PRIu64 ",\"only_left\":%" PRIu64 ",\"only_right\":%" PRIu64 ",\"changed\":%" PRIu64
                   ",\"by_key\":%s,\"columns\":[",
              r->left_rows, r->right_rows, r->only_left, r->only_right, r->changed, r->by_key ? "true" : "false");
    for (size_t i = 0; i < r->column_count; i++) {
        const struct leat_compare_column *c = &r->columns[i];
        leat_put(out, i ? ",{\"name\":" : "{\"name\":");
        leat_put_json_string(out, c->name, strlen(c->name));
        put_member("left_type", c->left_type, false, out);
        put_member("right_type", c->right_type, false, out);
        leat_putf(out, ",\"changed\":%" PRIu64 "}", c->changed);
    }
    leat_put(out, "],\"examples\":[");
    for (size_t i = 0; i < r->example_count; i++) {
        const struct leat_compare_example *e = &r->examples[i];
        leat_putf(out, "%s{\"kind\":\"%s\",\"copies\":%" PRId64, i ? "," : "", e->kind, e->copies);
        put_member("key", e->key, true, out);
        put_member("left", e->left, true, out);
        put_member("right", e->right, true, out);
        put_member("changed", e->columns, false, out);
        leat_put(out, "}");
    }
    leat_put(out, "]");
}
