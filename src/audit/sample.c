/* What a sample holds. DuckDB reads it as text, column by column; the types are leat's own spelling of them, so that
 * what fits here is what the decoder will take. */
#include "audit/sample.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { COLUMNS_MAX = 512, SCALE_MAX = 6 };

void leat_sample_deinit(struct leat_sample *s) {
    for (size_t i = 0; i < s->column_count; i++) {
        free(s->columns[i].field);
        free(s->columns[i].name);
    }
    free(s->columns);
    free(s->source);
    free(s->delimiter);
    *s = (struct leat_sample){.key = -1, .time = -1};
}

/* A plain name from any text: "Order Status", "orderStatus" -> order_status. */
static char *plain_name(const char *text) {
    struct leat_buffer name = {0};
    for (const char *p = text; *p; p++) {
        bool word = isalnum((unsigned char)*p) || (unsigned char)*p >= 128, upper = isupper((unsigned char)*p);
        char last = name.length ? name.data[name.length - 1] : '_', c = (char)tolower((unsigned char)*p);
        if (word && upper && p > text && islower((unsigned char)p[-1]) && last != '_')
            leat_put(&name, "_"); /* InvoiceNo */
        if (word && (unsigned char)*p < 128)
            leat_putn(&name, &c, 1);
        else if (last != '_')
            leat_put(&name, "_");
    }
    while (name.length && name.data[name.length - 1] == '_')
        name.data[--name.length] = 0;
    bool plain = name.length && !isdigit((unsigned char)name.data[0]);
    char *out = leat_asprintf("%s%s", plain ? "" : "c_", name.length ? name.data : "column");
    leat_buffer_deinit(&name);
    return out;
}

/* The same, with "_" behind a word of the language. */
static enum leat_status make_name(struct leat_conn *conn, const char *text, char **out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    int64_t reserved = 0;
    *out = plain_name(text);
    leat_put(&sql, "SELECT count(*) FROM duckdb_keywords() WHERE keyword_category <> 'unreserved' AND keyword_name = ");
    leat_put_sql_string(&sql, *out);
    enum leat_status st = leat_conn_int(conn, sql.data, &reserved, err);
    leat_buffer_deinit(&sql);
    if (!reserved) return st;
    char *name = leat_asprintf("%s_", *out);
    free(*out);
    *out = name;
    return st;
}

/* ---- reading ---- */

static bool has_ending(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcasecmp(path + n - m, ending) == 0;
}

static bool is_csv(const char *path) {
    char *bare = leat_strdup(path);
    for (size_t n = strlen(bare); has_ending(bare, ".gz") || has_ending(bare, ".zst"); n = strlen(bare))
        bare[n - (has_ending(bare, ".gz") ? 3 : 4)] = 0;
    bool csv = has_ending(bare, ".csv") || has_ending(bare, ".tsv") || has_ending(bare, ".txt");
    free(bare);
    return csv;
}

/* A table `sample` of texts, in the file's order, with their place in _row. */
static enum leat_status read_csv(struct leat_conn *conn, const char *path, struct leat_sample *s,
                                 struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT Delimiter FROM sniff_csv(");
    leat_put_sql_string(&sql, path);
    leat_put(&sql, ")");
    enum leat_status st = leat_conn_text(conn, sql.data, &s->delimiter, err);
    leat_buffer_reset(&sql);
    leat_put(&sql, "CREATE TEMP TABLE sample AS SELECT * FROM read_csv(");
    leat_put_sql_string(&sql, path);
    leat_put(&sql, ", all_varchar = true, header = true, ignore_errors = true, null_padding = true, parallel = false, "
                   "delim = "); /* several threads know no line ends in quotes */
    leat_put_sql_string(&sql, s->delimiter ? s->delimiter : ",");
    leat_putf(&sql, ") LIMIT %d", LEAT_SAMPLE_ROWS);
    if (st == LEAT_OK) st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status read_json(struct leat_conn *conn, const char *path, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "CREATE TEMP TABLE sample AS SELECT COLUMNS(*)->>'$' FROM read_json(");
    leat_put_sql_string(&sql, path);
    leat_putf(&sql, ", format = 'newline_delimited', maximum_depth = 1, ignore_errors = true) LIMIT %d",
              LEAT_SAMPLE_ROWS);
    enum leat_status st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status read_columns(struct leat_conn *conn, struct leat_sample *s, struct leat_error *err) {
    struct leat_schema schema = {0};
    enum leat_status st = leat_conn_describe(conn, "SELECT * FROM sample", &schema, err);
    if (st == LEAT_OK && schema.field_count > COLUMNS_MAX)
        st = leat_fail(err, LEAT_INVALID, "the sample has %d columns; at most %d are looked at",
                       (int)schema.field_count, COLUMNS_MAX);
    s->columns = leat_alloc((schema.field_count + 1) * sizeof *s->columns);
    for (size_t i = 0; st == LEAT_OK && i < schema.field_count; i++) {
        char *name;
        st = make_name(conn, schema.fields[i].name, &name, err);
        for (size_t j = 0; j < i; j++)
            if (strcmp(s->columns[j].name, name) == 0) {
                char *other = leat_asprintf("%s_%zu", name, i + 1);
                free(name);
                name = other;
                j = (size_t)-1;
            }
        s->columns[s->column_count++] =
            (struct leat_sample_column){.field = leat_strdup(schema.fields[i].name), .name = name};
    }
    leat_schema_deinit(&schema);
    return st;
}

/* ---- types ---- */

static const char *const ids[] = {"id", "uuid", "key", "no", "number", NULL};

static bool named_like(const char *name, const char *const *words) {
    for (; *words; words++) {
        size_t n = strlen(name), m = strlen(*words);
        if (n >= m && strcmp(name + n - m, *words) == 0 && (n == m || name[n - m - 1] == '_')) return true;
    }
    return false;
}

/* From the narrowest to the widest: the first that enough values fit is taken. */
static const struct {
    enum leat_sample_type type;
    const char *fits; /* a condition on v */
} types[] = {
    {LEAT_SAMPLE_BOOLEAN, "v IN ('true', 'false')"},
    {LEAT_SAMPLE_INTEGER, "regexp_full_match(v, '-?(0|[1-9][0-9]{0,9})') AND TRY_CAST(v AS INTEGER) IS NOT NULL"},
    {LEAT_SAMPLE_BIGINT, "regexp_full_match(v, '-?(0|[1-9][0-9]{0,18})') AND TRY_CAST(v AS BIGINT) IS NOT NULL"},
    {LEAT_SAMPLE_DECIMAL, "regexp_full_match(v, '-?(0|[1-9][0-9]{0,11})(\\.[0-9]{1,6})?')"},
    {LEAT_SAMPLE_DOUBLE, "regexp_full_match(v, '-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?')"},
    {LEAT_SAMPLE_DATE, "regexp_full_match(v, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AND TRY_CAST(v AS DATE) IS NOT NULL"},
    {LEAT_SAMPLE_TIMESTAMP, "regexp_full_match(v, '[0-9]{4}-[0-9]{2}-[0-9]{2}[T "
                            "][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,6})?(Z|[-+][0-9]{2}:?[0-9]{2})?')"
                            " AND TRY_CAST(v AS TIMESTAMP) IS NOT NULL"},
    {LEAT_SAMPLE_NESTED, "v[1] IN ('{', '[')"},
};
enum { TYPES = sizeof types / sizeof *types };

static enum leat_status look_at(struct leat_conn *conn, struct leat_sample_column *c, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result r = {0};
    leat_put(&sql, "SELECT count(v)::BIGINT, count(DISTINCT v)::BIGINT, coalesce(quantile_disc(length(split_part(v, "
                   "'.', 2)), 0.98), 0)::BIGINT");
    for (int i = 0; i < TYPES; i++)
        leat_putf(&sql, ", count(*) FILTER (WHERE %s)::BIGINT", types[i].fits);
    leat_put(&sql, " FROM (SELECT nullif(");
    leat_put_sql_name(&sql, c->field);
    leat_put(&sql, ", '') AS v FROM sample) WHERE v IS NOT NULL");
    enum leat_status st = leat_conn_query(conn, sql.data, &r, err);
    leat_buffer_deinit(&sql);
    if (st != LEAT_OK) return st;
#define NUMBER(i) (((const int64_t *)r.rows.columns[i].data)[0])
    c->values = NUMBER(0);
    c->distinct = NUMBER(1);
    c->scale = NUMBER(2) < SCALE_MAX ? (int)NUMBER(2) : SCALE_MAX;
    c->type = LEAT_SAMPLE_TEXT;
    for (int i = 0; i < TYPES && c->values; i++) {
        int64_t unfit = c->values - NUMBER(3 + i);
        if (c->near == LEAT_SAMPLE_TEXT && unfit * 20 <= c->values) c->near = types[i].type, c->unfit = unfit;
        if (unfit * 200 > c->values) continue;
        c->type = types[i].type;
        if (c->type == LEAT_SAMPLE_INTEGER && named_like(c->name, ids)) c->type = LEAT_SAMPLE_BIGINT; /* ids grow */
        c->unfit = unfit;
        break;
    }
    if (c->type == LEAT_SAMPLE_NESTED) c->unfit = 0;
#undef NUMBER
    leat_result_deinit(&r);
    return LEAT_OK;
}

/* ---- key and time ---- */

/* At least 95 of 100 values different: the rest is taken for repetition. */
static int find_key(const struct leat_sample *s) {
    int best = -1;
    double best_score = 0;
    for (size_t i = 0; i < s->column_count; i++) {
        const struct leat_sample_column *c = &s->columns[i];
        bool fit = c->type == LEAT_SAMPLE_TEXT || c->type == LEAT_SAMPLE_INTEGER || c->type == LEAT_SAMPLE_BIGINT;
        if (!fit || c->values * 100 < s->rows * 95 || c->distinct * 100 < c->values * 95) continue;
        if (!named_like(c->name, ids) && c->distinct < c->values) continue;
        double score = (named_like(c->name, ids) ? 2 : 1) + (double)c->distinct / (double)s->rows - (double)i / 1000;
        if (score > best_score) best = (int)i, best_score = score;
    }
    return best;
}

static int find_time(const struct leat_sample *s) {
    static const char *const words[] = {"event_time", "time", "timestamp", "ts", "at", "date", "when", NULL};
    int best = -1;
    for (size_t i = 0; i < s->column_count; i++) {
        const struct leat_sample_column *c = &s->columns[i];
        if (c->type != LEAT_SAMPLE_TIMESTAMP || c->values * 100 < s->rows * 95) continue;
        if (best < 0 || (named_like(c->name, words) && !named_like(s->columns[best].name, words))) best = (int)i;
    }
    return best;
}

/* A delay people would write, at least this long. */
static int64_t round_up(int64_t us) {
    static const int nice_s[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400};
    for (size_t i = 0; i < sizeof nice_s / sizeof *nice_s; i++)
        if (us <= nice_s[i] * INT64_C(1000000)) return nice_s[i] * INT64_C(1000000);
    return (us + 86399999999) / 86400000000 * 86400000000;
}

/* How far each record is behind the latest one before it. The delay covers 98 of 100, rounded up to what people write:
 * the few that are much later are not to make everybody wait. */
static enum leat_status measure_disorder(struct leat_conn *conn, struct leat_sample *s, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result r = {0};
    leat_put(&sql, "CREATE TEMP TABLE behind AS SELECT greatest(epoch_us(max(t) OVER (ORDER BY rowid) - t), 0) AS us "
                   "FROM (SELECT rowid, TRY_CAST(");
    leat_put_sql_name(&sql, s->columns[s->time].field);
    leat_put(&sql, " AS TIMESTAMP) AS t FROM sample) WHERE t IS NOT NULL");
    enum leat_status st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_reset(&sql);
    if (st == LEAT_OK)
        st = leat_conn_query(conn,
                             "SELECT coalesce(quantile_disc(us, 0.98), 0)::BIGINT, coalesce(max(us), 0)::BIGINT, "
                             "count(*) FILTER (WHERE us > 0)::BIGINT FROM behind",
                             &r, err);
    if (st != LEAT_OK) goto out;
    s->disorder_us = round_up(((const int64_t *)r.rows.columns[0].data)[0]);
    s->disorder_max_us = ((const int64_t *)r.rows.columns[1].data)[0];
    s->disordered = ((const int64_t *)r.rows.columns[2].data)[0];
    leat_putf(&sql, "SELECT count(*) FROM behind WHERE us > %" PRId64, s->disorder_us);
    st = leat_conn_int(conn, sql.data, &s->beyond, err);
out:
    leat_result_deinit(&r);
    leat_buffer_deinit(&sql);
    return st;
}

enum leat_status leat_sample_look(struct leat_conn *conn, const char *path, const char *source, struct leat_sample *out,
                                  struct leat_error *err) {
    *out = (struct leat_sample){.csv = is_csv(path), .key = -1, .time = -1};
    enum leat_status st = make_name(conn, source, &out->source, err);
    if (st == LEAT_OK) st = out->csv ? read_csv(conn, path, out, err) : read_json(conn, path, err);
    if (st == LEAT_OK) st = read_columns(conn, out, err);
    if (st == LEAT_OK) st = leat_conn_int(conn, "SELECT count(*) FROM sample", &out->rows, err);
    for (size_t i = 0; st == LEAT_OK && i < out->column_count; i++)
        st = look_at(conn, &out->columns[i], err);
    if (st == LEAT_OK && !out->csv && out->column_count == 1 && strcmp(out->columns[0].field, "json") == 0 &&
        out->columns[0].type == LEAT_SAMPLE_NESTED)
        st = leat_fail(err, LEAT_INVALID,
                       "it holds arrays, not one object a line; jq -c '.[]' FILE.json >FILE.ndjson takes one apart");
    int64_t values = 0; /* lines that are no JSON give rows of NULL */
    for (size_t i = 0; i < out->column_count; i++)
        values += out->columns[i].values;
    if (st == LEAT_OK && values == 0) st = leat_fail(err, LEAT_INVALID, "no record can be read from it");
    if (st == LEAT_OK) {
        out->key = find_key(out);
        out->time = find_time(out);
        if (out->time >= 0) st = measure_disorder(conn, out, err);
    }
    if (st == LEAT_OK) return st;
    leat_sample_deinit(out);
    return leat_prepend(err, "sample %s (CSV, or JSON objects one a line)", path);
}
