/* MAP: filter and projection by a prepared DuckDB stage; columns that pass through, and weights, are gathered here.
 *
 * The stage runs optimistically. When a row makes it raise, a second statement over TRY finds the rows that
 * fail alone; they are listed with the message each gives alone and the stage runs again over the rest. Where TRY
 * finds nothing to blame (it may not be used, or refuses an expression) halving the batch does. Either way a row fails
 * exactly if it fails alone, so the result does not depend on where batches begin and end.
 *
 * Comparisons with constants and window starts, which most steps consist of, are done here: DuckDB's stage takes longer
 * to be asked than they take. Where one needs more than arithmetic, the stage runs. */
#include "stream/node.h"

#include <stdlib.h>
#include <string.h>

#include "sql/sql_message.h"
#include "sql/tumble.h"
#include "state/row.h"

enum { CHUNK_ROWS = 32768 };
_Static_assert(CHUNK_ROWS % 64 == 0, "views begin at whole validity words");

struct map_node {
    struct leat_node base;
    struct leat_conn *conn;
    char *input_name;
    struct leat_stage *stage;        /* made when the first rows come */
    struct leat_schema stage_schema; /* the expression columns */
    struct leat_changes values;      /* their values */
    uint16_t *value_columns;         /* output column of each expression */
    size_t value_count;
    bool direct;               /* filter and expressions are tests and window starts only */
    struct leat_rows rows;     /* input rows that passed the filter */
    struct leat_stage *finder; /* made when first needed */
    bool finder_refused;
    struct leat_column *view_columns;
    struct leat_failed_row *failed;
    size_t failed_count, failed_capacity;
};

static void put_select(struct leat_buffer *sql, const struct leat_op *op, const char *input) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < op->map_count; i++)
        if (op->map[i].from < 0) leat_putf(sql, "(%s), ", op->map[i].expression);
    leat_put(sql, "__row FROM leat_input(");
    leat_put_sql_string(sql, input);
    leat_put(sql, ")");
    if (op->filter) leat_putf(sql, " WHERE (%s)", op->filter);
}

static void put_finder(struct leat_buffer *sql, const struct leat_op *op, const char *input) {
    leat_put(sql, "SELECT __row FROM leat_input(");
    leat_put_sql_string(sql, input);
    leat_put(sql, ") WHERE ");
    leat_map_put_raises(op, sql);
}

static enum leat_status map_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct map_node *map = (struct map_node *)node;
    const struct leat_op *op = node->op;
    map->conn = conn;
    map->value_columns = leat_alloc((op->map_count + 1) * sizeof *map->value_columns);
    map->direct = !op->filter || op->test_count;
    for (size_t i = 0; i < op->map_count; i++) {
        if (op->map[i].from >= 0) {
            if ((size_t)op->map[i].from >= node->inputs[0]->field_count)
                return leat_fail(err, LEAT_INVALID, "operator %d passes column %d of an input with %zu columns",
                                 node->id, op->map[i].from, node->inputs[0]->field_count);
            continue;
        }
        map->value_columns[map->value_count++] = (uint16_t)i;
        map->direct = map->direct && op->map[i].tumbled.width_us;
        leat_schema_add(&map->stage_schema, op->schema.fields[i].name ? op->schema.fields[i].name : "",
                        op->schema.fields[i].type, false);
    }
    if (!op->filter && !map->value_count) return LEAT_OK;
    map->view_columns = leat_alloc((node->inputs[0]->field_count + 1) * sizeof *map->view_columns);
    leat_changes_init(&map->values, &map->stage_schema);
    map->input_name = leat_asprintf("n%d", node->id);
    return leat_conn_input(conn, map->input_name, node->inputs[0], false, err);
}

/* The plan's texts were described when it was made; many a node of a project sees no row before it is closed. */
static enum leat_status need_stage(struct map_node *map, struct leat_error *err) {
    struct leat_buffer sql = {0};
    if (map->stage) return LEAT_OK;
    put_select(&sql, map->base.op, map->input_name);
    enum leat_status status = leat_stage_prepare(map->conn, sql.data, &map->stage, err);
    leat_buffer_deinit(&sql);
    return status;
}

static void clear_failed(struct map_node *map) {
    for (size_t i = 0; i < map->failed_count; i++)
        free(map->failed[i].message);
    map->failed_count = 0;
}

static void map_close(struct leat_node *node) {
    struct map_node *map = (struct map_node *)node;
    if (map->input_name) leat_conn_bind(map->conn, map->input_name, NULL);
    leat_stage_free(map->stage);
    leat_stage_free(map->finder);
    if (map->values.schema) leat_changes_deinit(&map->values);
    leat_schema_deinit(&map->stage_schema);
    clear_failed(map);
    free(map->failed);
    free(map->rows.rows);
    free(map->view_columns);
    free(map->value_columns);
    free(map->input_name);
}

/* Appends to out: the passing columns at rows[] of `in`, the expressions from map->values. own: copy the passing
 * columns' strings, for they are not in the step's input. */
static void emit(struct map_node *map, const struct leat_changes *in, const uint32_t *rows, size_t n, bool own,
                 struct leat_changes *out) {
    const struct leat_op *op = map->base.op;
    size_t at = out->row_count;
    if (!n) return;
    leat_changes_reserve(out, at + n);
    for (size_t i = 0, value = 0; i < op->map_count; i++) {
        if (op->map[i].from >= 0)
            (own ? leat_gather : leat_gather_borrowed)(out, i, at, in, (size_t)op->map[i].from, rows, 0, n);
        else
            leat_gather(out, i, at, &map->values, value++, NULL, 0, n);
    }
    if (in->weights) leat_changes_need_weights(out);
    if (out->weights)
        for (size_t i = 0; i < n; i++)
            out->weights[at + i] = leat_weight(in, rows ? rows[i] : i);
    out->row_count = at + n;
}

static bool is_identity(const struct leat_rows *rows) {
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i] != i) return false;
    return true;
}

/* The lake keeps a HUGEINT as DECIMAL(38,0): a longer one is the row's fault, as one is that does not fit 128 bits. */
static bool fits_the_lake(const struct leat_changes *values) {
    const unsigned __int128 bound = (unsigned __int128)10000000000000000000u * 10000000000000000000u;
    for (size_t c = 0; c < values->schema->field_count; c++) {
        const struct leat_column *column = &values->columns[c];
        bool is_signed = column->type.kind == LEAT_HUGEINT;
        if (!is_signed && column->type.kind != LEAT_UHUGEINT) continue;
        for (size_t row = 0; row < values->row_count; row++) {
            unsigned __int128 value;
            memcpy(&value, (const char *)column->data + row * sizeof value, sizeof value);
            if (is_signed && (leat_i128)value < 0) value = -value;
            if (value >= bound && !leat_is_null(column, row)) return false;
        }
    }
    return true;
}

/* Runs the stage over `in` into map->values and map->rows. */
static enum leat_status run_stage(struct map_node *map, struct leat_stage *stage, const struct leat_changes *in,
                                  struct leat_changes *values, struct leat_error *err) {
    leat_changes_reset(values);
    map->rows.count = 0;
    leat_conn_bind(map->conn, map->input_name, in);
    enum leat_status status = leat_stage_run(stage, values, &map->rows, err);
    leat_conn_bind(map->conn, map->input_name, NULL);
    if (status != LEAT_OK || fits_the_lake(values)) return status;
    leat_fail(err, LEAT_SQL, "a HUGEINT of more than 38 digits, which the lake cannot hold");
    err->bad_data = true;
    return LEAT_SQL;
}

/* Keeps those of rows[0..n) (NULL: 0..n-1) whose value lies where the test says; how many. */
#define KEEP(type)                                                                                                     \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        uint32_t row = rows ? rows[i] : (uint32_t)i;                                                                   \
        int64_t value = (int64_t)((const type *)column->data)[row];                                                    \
        kept[count] = row;                                                                                             \
        count += (bool)((value >= test->low && value <= test->high) ^ test->outside) & !leat_is_null(column, row);     \
    }

static size_t keep(const struct leat_column *column, const struct leat_test *test, const uint32_t *rows, size_t n,
                   uint32_t *kept) {
    size_t count = 0;
    bool is_signed =
        column->type.kind != LEAT_UTINYINT && column->type.kind != LEAT_USMALLINT && column->type.kind != LEAT_UINTEGER;
    switch (leat_type_size(column->type) * 2 + is_signed) {
    case 2:
        KEEP(uint8_t) break;
    case 3:
        KEEP(int8_t) break;
    case 4:
        KEEP(uint16_t) break;
    case 5:
        KEEP(int16_t) break;
    case 8:
        KEEP(uint32_t) break;
    case 9:
        KEEP(int32_t) break;
    default:
        KEEP(int64_t)
    }
    return count;
}

static void keep_rows(struct map_node *map, const struct leat_changes *in) {
    const struct leat_op *op = map->base.op;
    struct leat_rows *rows = &map->rows;
    if (rows->capacity < in->row_count) {
        rows->capacity = in->row_count;
        rows->rows = leat_realloc(rows->rows, rows->capacity * sizeof *rows->rows);
    }
    rows->count = in->row_count;
    if (!op->test_count)
        for (size_t i = 0; i < in->row_count; i++)
            rows->rows[i] = (uint32_t)i;
    for (size_t i = 0; i < op->test_count; i++)
        rows->count =
            keep(&in->columns[op->tests[i].column], &op->tests[i], i ? rows->rows : NULL, rows->count, rows->rows);
}

/* Column `at` of map->values: window starts of the rows kept; false: one lies before the first timestamp. */
static bool put_window_starts(struct map_node *map, const struct leat_changes *in, size_t at,
                              struct leat_tumbled tumbled) {
    const struct leat_column *times = &in->columns[tumbled.column];
    int64_t *out = map->values.columns[at].data;
    double reciprocal = 1.0 / (double)tumbled.width_us;
    for (size_t i = 0; i < map->rows.count; i++) {
        uint32_t row = map->rows.rows[i];
        if (leat_is_null(times, row))
            leat_set_null(&map->values, at, i);
        else if (!leat_tumble(((const int64_t *)times->data)[row], tumbled.width_us, reciprocal, tumbled.origin_us,
                              &out[i]))
            return false;
    }
    return true;
}

/* As run_stage, without DuckDB; false: it takes DuckDB to say what is wrong. */
static bool run_direct(struct map_node *map, const struct leat_changes *in) {
    const struct leat_op *op = map->base.op;
    leat_changes_reset(&map->values);
    keep_rows(map, in);
    leat_changes_reserve(&map->values, map->rows.count);
    map->values.row_count = map->rows.count;
    for (size_t i = 0; i < map->value_count; i++)
        if (!put_window_starts(map, in, i, op->map[map->value_columns[i]].tumbled)) return false;
    return true;
}

/* What a user can read: DuckDB's message without the place in a statement and the column names that only leat knows. */
static char *reason_of(const char *message) {
    char *hint, *text = leat_sql_message_text(message, &hint),
                *inner = strstr(text, " when casting from source column c");
    if (inner) *inner = '\0';
    free(hint);
    return text;
}

static void add_failed(struct map_node *map, uint32_t row, const char *message) {
    if (map->failed_count == map->failed_capacity) {
        map->failed_capacity = map->failed_capacity ? map->failed_capacity * 2 : 16;
        map->failed = leat_realloc(map->failed, map->failed_capacity * sizeof *map->failed);
    }
    map->failed[map->failed_count++] = (struct leat_failed_row){.row = row, .message = reason_of(message)};
}

/* Runs in's rows picked[0..n), which are rows of the step's batch counted from first_row; what fails alone is listed.
 */
static enum leat_status run_picked(struct map_node *map, const struct leat_changes *in, const uint32_t *picked,
                                   size_t n, uint32_t first_row, struct leat_changes *out, struct leat_error *err) {
    struct leat_changes part;
    if (!n) return LEAT_OK;
    leat_changes_init(&part, in->schema);
    leat_changes_append(&part, in, picked, n, 1);
    enum leat_status status = run_stage(map, map->stage, &part, &map->values, err);
    if (status == LEAT_OK) emit(map, &part, map->rows.rows, map->rows.count, true, out);
    leat_changes_deinit(&part);
    if (status == LEAT_OK || !err->bad_data || err->fatal) return status;
    if (n == 1) {
        add_failed(map, first_row + picked[0], err->text);
        return LEAT_OK;
    }
    status = run_picked(map, in, picked, n / 2, first_row, out, err);
    return status ? status : run_picked(map, in, picked + n / 2, n - n / 2, first_row, out, err);
}

/* The rows of `in` that TRY blames, as a bit each; false: TRY is of no use here. */
static bool find_suspects(struct map_node *map, const struct leat_changes *in, uint8_t *suspect) {
    struct leat_error ignored = {0};
    struct leat_schema none = {0};
    struct leat_changes nothing;
    if (!map->finder && !map->finder_refused) {
        struct leat_buffer sql = {0};
        put_finder(&sql, map->base.op, map->input_name);
        map->finder_refused = leat_stage_prepare(map->conn, sql.data, &map->finder, &ignored) != LEAT_OK;
        leat_buffer_deinit(&sql);
    }
    if (map->finder_refused) return false;
    leat_changes_init(&nothing, &none);
    enum leat_status status = run_stage(map, map->finder, in, &nothing, &ignored);
    leat_changes_deinit(&nothing);
    if (status) return false;
    for (size_t i = 0; i < map->rows.count; i++)
        suspect[map->rows.rows[i]] = 1;
    return map->rows.count > 0;
}

/* The stage raised over `in`: separate the failing rows from the rest. */
static enum leat_status run_separately(struct map_node *map, const struct leat_changes *in, uint32_t first_row,
                                       struct leat_changes *out, struct leat_error *err) {
    size_t n = in->row_count, good_count = 0;
    enum leat_status status = LEAT_OK;
    uint8_t *suspect = leat_alloc(n);
    uint32_t *good = leat_alloc(n * sizeof *good);
    find_suspects(map, in, suspect);
    for (uint32_t row = 0; row < n && status == LEAT_OK; row++) {
        if (suspect[row])
            status = run_picked(map, in, &row, 1, first_row, out, err);
        else
            good[good_count++] = row;
    }
    if (status == LEAT_OK) status = run_picked(map, in, good, good_count, first_row, out, err);
    free(good);
    free(suspect);
    return status;
}

static int by_row(const void *a, const void *b) {
    uint32_t x = ((const struct leat_failed_row *)a)->row, y = ((const struct leat_failed_row *)b)->row;
    return x < y ? -1 : x > y;
}

static enum leat_status map_step(struct leat_node *node, const struct leat_step_context *context,
                                 const struct leat_changes *const inputs[2], struct leat_changes *out,
                                 struct leat_error *err) {
    struct map_node *map = (struct map_node *)node;
    const struct leat_changes *in = inputs[0];
    struct leat_error local = {0};
    bool passing = context && context->may_pass && !map->value_count; /* every row so far, and none was given yet */
    if (!err) err = &local;
    clear_failed(map);
    if (!in) return LEAT_OK;
    if (!map->input_name) { /* neither filter nor expression */
        node->passed = passing;
        if (!passing) emit(map, in, NULL, in->row_count, false, out);
        return LEAT_OK;
    }
    for (size_t from = 0; from < in->row_count; from += CHUNK_ROWS) {
        struct leat_changes view;
        size_t n = in->row_count - from < CHUNK_ROWS ? in->row_count - from : CHUNK_ROWS;
        leat_changes_view(&view, map->view_columns, in, from, n);
        enum leat_status status = LEAT_OK;
        if (!map->direct || !run_direct(map, &view)) {
            status = need_stage(map, err);
            if (status) return status;
            status = run_stage(map, map->stage, &view, &map->values, err);
        }
        bool in_order = status == LEAT_OK && is_identity(&map->rows);
        if (passing && in_order && map->rows.count == n) continue;
        if (passing) emit(map, in, NULL, from, false, out); /* what came before this chunk */
        passing = false;
        if (status == LEAT_OK)
            emit(map, &view, in_order ? NULL : map->rows.rows, map->rows.count, false, out);
        else if (err->bad_data && !err->fatal)
            status = run_separately(map, &view, (uint32_t)from, out, err);
        if (status) return status;
    }
    node->passed = passing;
    if (map->failed_count) qsort(map->failed, map->failed_count, sizeof *map->failed, by_row);
    return LEAT_OK;
}

static const struct leat_failed_row *map_failed(const struct leat_node *node, size_t *count) {
    const struct map_node *map = (const struct map_node *)node;
    *count = map->failed_count;
    return map->failed;
}

static const struct leat_node_ops map_ops = {
    .open = map_open, .close = map_close, .step = map_step, .failed = map_failed};
const struct leat_node_kind leat_node_map = {&map_ops, sizeof(struct map_node)};
