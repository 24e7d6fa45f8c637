/* Weighted changes onto a table.
 *
 * Removing rows takes two passes. The first joins the rows to remove with the files whose statistics admit any of them
 * (key columns only, when there is a key) and yields positions (file, row in file, row of the batch). In C each
 * removal takes as many positions as its weight says; what is left over, because the table holds more equal rows,
 * stays; a removal that finds too few is CORRUPT. The second pass (delta_rewrite.c) copies what is left of the files
 * that lose a row, together with the rows to add. Inserts alone never read the table. Where the files and the rows to
 * add are a few rows in all, they are read whole, and both passes happen in memory. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/key.h"

#define TRIES 10              /* while others commit */
#define SORTED_KEYS_MAX 65536 /* removals up to which each file is asked for its exact range */

static void plan_deinit(struct leat_delta_plan *p) {
    for (size_t i = 0; p->taken && i < p->candidate_count; i++)
        free(p->taken[i]);
    free(p->taken);
    free(p->taken_words);
    free(p->taken_count);
    free(p->candidates);
    free(p->columns);
}

/* ---- which files can hold a row to remove ---- */

/* What the removals have in one column. */
struct probe {
    bool usable, is_text, has_null, has_value;
    int64_t *values; /* sorted, when there are few */
    size_t value_count;
    int64_t low, high;
    struct leat_string low_text, high_text;
};

static bool integer_at(const struct leat_column *c, size_t row, int64_t *out) {
    switch (c->type.kind) {
    case LEAT_TINYINT:
        *out = ((const int8_t *)c->data)[row];
        return true;
    case LEAT_UTINYINT:
        *out = ((const uint8_t *)c->data)[row];
        return true;
    case LEAT_SMALLINT:
        *out = ((const int16_t *)c->data)[row];
        return true;
    case LEAT_USMALLINT:
        *out = ((const uint16_t *)c->data)[row];
        return true;
    case LEAT_DATE:
    case LEAT_INTEGER:
        *out = ((const int32_t *)c->data)[row];
        return true;
    case LEAT_UINTEGER:
        *out = ((const uint32_t *)c->data)[row];
        return true;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
    case LEAT_BIGINT:
        *out = ((const int64_t *)c->data)[row];
        return true;
    default:
        return false;
    }
}

static int compare_text(const struct leat_string *a, const char *b, size_t b_length) {
    size_t n = a->length < b_length ? a->length : b_length;
    int order = memcmp(leat_string_data(a), b, n);
    return order ? order : a->length < b_length ? -1 : a->length > b_length;
}

static int compare_integers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void probe_text(struct probe *probe, const struct leat_string *s) {
    if (!probe->has_value || compare_text(s, leat_string_data(&probe->low_text), probe->low_text.length) < 0)
        probe->low_text = *s;
    if (!probe->has_value || compare_text(s, leat_string_data(&probe->high_text), probe->high_text.length) > 0)
        probe->high_text = *s;
    probe->has_value = true;
}

static void probe_integer(struct probe *probe, int64_t value, bool keep) {
    if (!probe->has_value || value < probe->low) probe->low = value;
    if (!probe->has_value || value > probe->high) probe->high = value;
    probe->has_value = true;
    if (keep) probe->values[probe->value_count++] = value;
}

static void probe_init(struct probe *probe, const struct leat_changes *changes, size_t column, size_t removal_rows) {
    const struct leat_column *c = &changes->columns[column];
    int64_t value;
    memset(probe, 0, sizeof *probe);
    probe->is_text = c->type.kind == LEAT_VARCHAR;
    probe->usable = probe->is_text || (c->data && integer_at(c, 0, &value));
    if (!probe->usable) return;
    bool keep = !probe->is_text && removal_rows <= SORTED_KEYS_MAX;
    if (keep) probe->values = leat_alloc(removal_rows * sizeof *probe->values);
    for (size_t row = 0; row < changes->row_count; row++) {
        if (leat_weight(changes, row) >= 0) continue;
        if (leat_is_null(c, row))
            probe->has_null = true;
        else if (probe->is_text)
            probe_text(probe, &((const struct leat_string *)c->data)[row]);
        else if (integer_at(c, row, &value))
            probe_integer(probe, value, keep);
    }
    if (keep) qsort(probe->values, probe->value_count, sizeof *probe->values, compare_integers);
}

static bool any_within(const struct probe *probe, int64_t low, int64_t high) {
    if (!probe->values) return probe->low <= high && probe->high >= low;
    size_t from = 0, to = probe->value_count;
    while (from < to) { /* first value >= low */
        size_t middle = from + (to - from) / 2;
        if (probe->values[middle] < low)
            from = middle + 1;
        else
            to = middle;
    }
    return from < probe->value_count && probe->values[from] <= high;
}

static bool admits(const struct probe *probe, const struct leat_delta_bound *bound, int64_t row_count) {
    if (!probe->usable) return true;
    if (probe->has_null && (!bound->has_null_count || bound->null_count > 0)) return true;
    if (!probe->has_value) return false;
    if (bound->has_null_count && row_count >= 0 && bound->null_count == row_count) return false;
    if (!bound->has_range) return true;
    if (!probe->is_text) return any_within(probe, bound->low, bound->high);
    return compare_text(&probe->low_text, bound->high_text, strlen(bound->high_text)) <= 0 &&
           compare_text(&probe->high_text, bound->low_text, strlen(bound->low_text)) >= 0;
}

static void choose_candidates(struct leat_delta_plan *p) {
    struct leat_delta *d = p->d;
    size_t file_count = d->state.snapshot.file_count, removal_rows = 0;
    p->candidates = leat_alloc(file_count * sizeof *p->candidates);
    for (size_t row = 0; row < p->changes->row_count; row++)
        removal_rows += leat_weight(p->changes, row) < 0;
    struct probe *probes = leat_alloc(p->column_count * sizeof *probes);
    for (size_t i = 0; file_count > 1 && i < p->column_count; i++)
        probe_init(&probes[i], p->changes, p->columns[i], removal_rows);
    for (size_t f = 0; f < file_count; f++) {
        bool admitted = true;
        for (size_t i = 0; file_count > 1 && admitted && i < p->column_count; i++) {
            const struct leat_delta_bounds *bounds = leat_delta_bounds_of(d, f);
            admitted = admits(&probes[i], &bounds->columns[p->columns[i]], bounds->row_count);
        }
        if (admitted) p->candidates[p->candidate_count++] = f;
    }
    for (size_t i = 0; i < p->column_count; i++)
        free(probes[i].values);
    free(probes);
    p->taken = leat_alloc(p->candidate_count * sizeof *p->taken);
    p->taken_words = leat_alloc(p->candidate_count * sizeof *p->taken_words);
    p->taken_count = leat_alloc(p->candidate_count * sizeof *p->taken_count);
}

/* ---- positions to remove ---- */

/* A stored column as its logical type, in which values are compared. */
static void put_logical(const struct leat_field *f, const char *prefix, struct leat_buffer *out) {
    bool cast = !leat_type_equal(f->type, leat_delta_storage_type(f->type)) && f->type.kind != LEAT_NESTED;
    char type[32];
    leat_type_print(f->type, type);
    leat_putf(out, "%s%s.", cast ? "CAST(" : "", prefix);
    leat_put_sql_name(out, f->name);
    if (cast) leat_putf(out, " AS %s)", type);
}

static void put_locate_sql(const struct leat_delta_plan *p, struct leat_buffer *sql) {
    const struct leat_schema *schema = &p->d->schema;
    leat_put(sql,
             "SELECT CAST(t.file_index AS INTEGER) AS f, CAST(t.file_row_number AS BIGINT) AS r, d.__row AS d FROM ");
    leat_delta_put_rows(p->d, p->candidates, p->candidate_count, sql);
    leat_putf(sql, " t JOIN (SELECT * FROM leat_input('%s') WHERE __w < 0) d ON ", p->d->input_name);
    for (size_t i = 0; i < p->column_count; i++) {
        if (i) leat_put(sql, " AND ");
        put_logical(&schema->fields[p->columns[i]], "t", sql);
        leat_putf(sql, " IS NOT DISTINCT FROM d.c%u", p->columns[i]);
    }
}

/* Marks row `r` of candidate f; false when it is taken already. */
static bool take_position(struct leat_delta_plan *p, size_t f, uint64_t r) {
    size_t word = (size_t)(r >> 6);
    if (word >= p->taken_words[f]) {
        int64_t rows = p->d->state.snapshot.files[p->candidates[f]].row_count;
        size_t words = word + 1;
        if (rows > 0 && (size_t)(rows >> 6) + 1 > words) words = (size_t)(rows >> 6) + 1;
        p->taken[f] = leat_realloc(p->taken[f], words * sizeof(uint64_t));
        memset(p->taken[f] + p->taken_words[f], 0, (words - p->taken_words[f]) * sizeof(uint64_t));
        p->taken_words[f] = words;
    }
    uint64_t bit = (uint64_t)1 << (r & 63);
    if (p->taken[f][word] & bit) return false;
    p->taken[f][word] |= bit;
    p->taken_count[f]++;
    return true;
}

static enum leat_status missing_row(const struct leat_delta_plan *p, size_t row, int32_t left, struct leat_error *err) {
    return leat_fail(err, LEAT_CORRUPT,
                     "table %s, version %" PRId64
                     ": row %zu of the changes removes %d row(s) that the table does not hold",
                     p->d->table_dir, p->d->state.snapshot.version, row, left);
}

/* ---- a few rows, all in memory ---- */

static bool is_few(const struct leat_delta_plan *p) {
    int64_t rows = p->inserts;
    if (p->inserts > LEAT_FEW_ROWS) return false;
    for (size_t c = 0; c < p->candidate_count; c++) {
        int64_t count = p->d->state.snapshot.files[p->candidates[c]].row_count;
        if (count < 0 || (rows += count) > LEAT_FEW_ROWS) return false;
    }
    for (size_t i = 0; i < p->d->schema.field_count; i++)
        if (p->d->schema.fields[i].type.kind == LEAT_NESTED) return false;
    return true;
}

/* The candidates' rows; column 0 is the candidate. */
static enum leat_status read_candidates(const struct leat_delta_plan *p, struct leat_result *out,
                                        struct leat_error *err) {
    const struct leat_schema *schema = &p->d->schema;
    struct leat_buffer sql = {0};
    int64_t rows = 0;
    for (size_t c = 0; c < p->candidate_count; c++)
        rows += p->d->state.snapshot.files[p->candidates[c]].row_count;
    leat_put(&sql, "SELECT CAST(t.file_index AS INTEGER)");
    for (size_t i = 0; i < schema->field_count; i++) {
        leat_put(&sql, ", ");
        put_logical(&schema->fields[i], "t", &sql);
    }
    leat_put(&sql, " FROM ");
    leat_delta_put_rows(p->d, p->candidates, p->candidate_count, &sql);
    leat_put(&sql, " t");
    enum leat_status status = leat_conn_query(p->d->conn, sql.data, out, err);
    if (status == LEAT_OK && (int64_t)out->rows.row_count != rows)
        status =
            leat_fail(err, LEAT_CORRUPT, "table %s: %zu rows where %" PRId64 " were due; a file's numRecords is wrong",
                      p->d->table_dir, out->rows.row_count, rows);
    leat_buffer_deinit(&sql);
    return status;
}

/* Marks as many equal rows as each removal says. */
static enum leat_status mark_gone(const struct leat_delta_plan *p, const struct leat_changes *present, bool *gone,
                                  struct leat_error *err) {
    size_t n = present->row_count, removals = p->changes->row_count;
    struct leat_hash128 *have = leat_alloc((n + 1) * sizeof *have), *go = leat_alloc((removals + 1) * sizeof *go);
    enum leat_status status = LEAT_OK;
    if (n) leat_key_hash(present, 0, n, p->columns, p->column_count, have); /* else it has no columns */
    leat_key_hash(p->changes, 0, removals, p->columns, p->column_count, go);
    for (size_t row = 0; row < removals && status == LEAT_OK; row++) {
        int32_t left = -leat_weight(p->changes, row);
        for (size_t i = 0; i < n && left > 0; i++) {
            if (gone[i] || have[i].low != go[row].low || have[i].high != go[row].high) continue;
            gone[i] = true;
            left--;
        }
        if (left > 0) status = missing_row(p, row, left, err);
    }
    free(have);
    free(go);
    return status;
}

/* What is to be written: rows that stay in files that lose some, then the rows to add. */
static void collect_rows(const struct leat_delta_plan *p, const struct leat_changes *present, const int32_t *candidates,
                         const bool *gone, struct leat_delta_commit *commit, struct leat_changes *out) {
    bool *loses = leat_alloc(p->candidate_count + 1);
    for (size_t i = 0; i < present->row_count; i++)
        loses[candidates[i]] |= gone[i];
    for (size_t c = 0; c < p->candidate_count; c++)
        if (loses[c]) leat_delta_commit_remove(commit, p->d->state.snapshot.files[p->candidates[c]].path);
    for (uint32_t i = 0; i < present->row_count; i++)
        if (loses[candidates[i]] && !gone[i]) leat_changes_append(out, present, &i, 1, 1);
    for (uint32_t row = 0; row < p->changes->row_count; row++)
        for (int32_t copy = 0; copy < leat_weight(p->changes, row); copy++)
            leat_changes_append(out, p->changes, &row, 1, 1);
    free(loses);
}

static enum leat_status apply_few(struct leat_delta_plan *p, struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_result found = {0};
    struct leat_changes present = {.schema = &p->d->schema}, rows;
    const int32_t *candidates = NULL;
    enum leat_status status = LEAT_OK;
    bool *gone = NULL;
    leat_changes_init(&rows, &p->d->schema);
    if (p->candidate_count) {
        if ((status = read_candidates(p, &found, err)) != LEAT_OK) goto out;
        candidates = found.rows.columns[0].data;
        present.columns = found.rows.columns + 1;
        present.row_count = present.capacity = found.rows.row_count;
    }
    gone = leat_alloc(present.row_count + 1);
    if ((status = mark_gone(p, &present, gone, err)) != LEAT_OK) goto out;
    collect_rows(p, &present, candidates, gone, commit, &rows);
    status = leat_delta_write_rows(p->d, &rows, 1, false, commit, err);
out:
    if (found.rows.schema) leat_result_deinit(&found);
    leat_changes_deinit(&rows);
    free(gone);
    return status;
}

/* ---- many ---- */

static enum leat_status take_positions(struct leat_delta_plan *p, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result found = {0};
    enum leat_status status = LEAT_OK;
    int32_t *left = leat_alloc(p->changes->row_count * sizeof *left);
    for (size_t row = 0; row < p->changes->row_count; row++)
        if (leat_weight(p->changes, row) < 0) left[row] = -leat_weight(p->changes, row);
    if (p->candidate_count) {
        put_locate_sql(p, &sql);
        status = leat_conn_query(p->d->conn, sql.data, &found, err);
        if (status != LEAT_OK) goto out;
        const int32_t *files = found.rows.columns[0].data;
        const int64_t *rows = found.rows.columns[1].data;
        const uint32_t *removals = found.rows.columns[2].data;
        /* Equality is transitive: whoever takes a position of a group of equal rows, the count comes out right. */
        for (size_t i = 0; i < found.rows.row_count; i++)
            if (left[removals[i]] > 0 && take_position(p, (size_t)files[i], (uint64_t)rows[i])) left[removals[i]]--;
    }
    for (size_t row = 0; status == LEAT_OK && row < p->changes->row_count; row++)
        if (left[row]) status = missing_row(p, row, left[row], err);
out:
    if (found.rows.schema) leat_result_deinit(&found);
    leat_buffer_deinit(&sql);
    free(left);
    return status;
}

static enum leat_status apply_many(struct leat_delta_plan *p, struct leat_delta_commit *commit,
                                   struct leat_error *err) {
    struct leat_delta *d = p->d;
    enum leat_status status = leat_delta_declare_input(d, err);
    if (status != LEAT_OK) return status;
    leat_conn_bind(d->conn, d->input_name, p->changes);
    if (p->removals) status = take_positions(p, err);
    if (status == LEAT_OK) status = leat_delta_rewrite(p, commit, err);
    leat_conn_bind(d->conn, d->input_name, NULL);
    return status;
}

/* ---- entry ---- */

enum leat_status leat_delta_declare_input(struct leat_delta *d, struct leat_error *err) {
    if (d->input_declared) return LEAT_OK;
    enum leat_status status = leat_conn_input(d->conn, d->input_name, &d->schema, false, err);
    d->input_declared = status == LEAT_OK;
    return status;
}

enum leat_status leat_delta_check_columns(const struct leat_delta *d, const struct leat_changes *changes,
                                          struct leat_error *err) {
    if (changes->schema->field_count != d->schema.field_count)
        return leat_fail(err, LEAT_INVALID, "table %s has %zu columns, the changes have %zu", d->table_dir,
                         d->schema.field_count, changes->schema->field_count);
    for (size_t i = 0; i < d->schema.field_count; i++)
        if (!leat_type_equal(changes->columns[i].type, d->schema.fields[i].type))
            return leat_fail(err, LEAT_INVALID, "table %s: the changes have another type in column \"%.64s\"",
                             d->table_dir, d->schema.fields[i].name);
    return LEAT_OK;
}

static enum leat_status check_changes(const struct leat_delta *d, const struct leat_changes *changes,
                                      const uint16_t *key_columns, size_t key_count, struct leat_error *err) {
    enum leat_status status = leat_delta_check_columns(d, changes, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < key_count; i++)
        if (key_columns[i] >= d->schema.field_count)
            return leat_fail(err, LEAT_INVALID, "table %s has no column %u for a key", d->table_dir, key_columns[i]);
    return LEAT_OK;
}

static void plan_init(struct leat_delta_plan *p, struct leat_delta *d, const struct leat_changes *changes,
                      const uint16_t *key_columns, size_t key_count) {
    memset(p, 0, sizeof *p);
    p->d = d;
    p->changes = changes;
    p->column_count = key_count ? key_count : d->schema.field_count;
    p->columns = leat_alloc(p->column_count * sizeof *p->columns);
    for (size_t i = 0; i < p->column_count; i++)
        p->columns[i] = key_count ? key_columns[i] : (uint16_t)i;
    for (size_t row = 0; row < changes->row_count; row++) {
        int32_t weight = leat_weight(changes, row);
        if (weight > 0)
            p->inserts += weight;
        else
            p->removals -= weight;
        if (weight > 1) p->repeats = true;
    }
}

static enum leat_status apply_once(struct leat_delta *d, const struct leat_changes *changes, const uint16_t *key_columns,
                                   size_t key_count, const struct leat_delta_commit_info *info, bool *done,
                                   struct leat_error *err) {
    struct leat_delta_plan plan = {0};
    struct leat_delta_commit commit = {.info = info, .data_change = true};
    bool past = false;
    enum leat_status status = leat_delta_begin(d, info, &past, err);
    if (status != LEAT_OK || past) return status;
    plan_init(&plan, d, changes, key_columns, key_count);
    commit.blind_append = plan.removals == 0;
    if (plan.removals) {
        d->is_updated = true;
        choose_candidates(&plan);
    }
    status = is_few(&plan) ? apply_few(&plan, &commit, err) : apply_many(&plan, &commit, err);
    plan_deinit(&plan);
    return leat_delta_finish_write(d, &commit, status, false, done, err);
}

enum leat_status leat_delta_apply(struct leat_delta *d, const struct leat_changes *changes, const uint16_t *key_columns,
                                  size_t key_count, const struct leat_delta_commit_info *info, bool *done,
                                  struct leat_error *err) {
    if (done) *done = false;
    enum leat_status status = check_changes(d, changes, key_columns, key_count, err);
    if (status != LEAT_OK) return status;
    for (int i = 0; i < TRIES; i++) { /* on top of what somebody else has committed meanwhile */
        status = apply_once(d, changes, key_columns, key_count, info, done, err);
        if (status != LEAT_CONFLICT || !err->retriable) break;
    }
    return status;
}
