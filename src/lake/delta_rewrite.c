/* What is written when rows go: the rest of the files that lose rows, and the rows to add.
 *
 * Parquet files are rewritten whole, so an update costs what the files it touches hold. To keep that little for
 * tables that are updated again and again, large files are kept apart by ranges of one column (the key's first):
 *   - The rows to add, and the rests of small files, are loose: they may go anywhere.
 *   - Large files are taken in order of their lows. Neighbours are rewritten together as a group up to a size, each
 * group with the loose rows that fall into its range, short of the next large file's low; loose rows in no group's
 *     interval make a file of their own. So keys that only grow leave what was written alone.
 *   - Large files whose ranges overlap too much are all one group. A group that is much larger than a file should be
 *     is sorted and split.
 * Up to SINGLE_MAX in all, everything goes into one file. Wrong or missing statistics cost speed, never rows: each
 * group's interval is applied to loose rows only, and the number of rows written is checked. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* In row groups */
#define SINGLE_MAX 1
#define SPLIT_ABOVE 4
#define GROUPS_MAX 16

struct part {
    size_t candidate;
    int64_t rows;                         /* that stay */
    const struct leat_delta_bound *bound; /* NULL: loose */
};
struct group {
    size_t from, to; /* parts */
    int64_t rows;
    const struct leat_delta_bound *start; /* its low */
    const struct leat_delta_bound *last;  /* its high, the highest of the parts' */
    const struct leat_delta_bound *end;   /* its low, that of the next large file; NULL: none */
};
struct rewrite {
    struct leat_delta_plan *p;
    struct part *parts; /* large ones by their low, then loose ones */
    size_t part_count, large_count;
    int64_t rows;
    struct group groups[GROUPS_MAX];
    size_t group_count;
};

/* ---- what there is ---- */

/* Rows of a file; asks DuckDB where the log does not say. */
static enum leat_status row_count_of(struct leat_delta *d, size_t index, int64_t *out, struct leat_error *err) {
    *out = d->state.snapshot.files[index].row_count;
    if (*out >= 0) return LEAT_OK;
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT count(*) FROM ");
    leat_delta_put_scan(d->table_dir, d->state.snapshot.files, &index, 1, false, &sql);
    enum leat_status status = leat_conn_int(d->conn, sql.data, out, err);
    leat_buffer_deinit(&sql);
    return status;
}

static int compare_lows(const struct leat_delta_bound *a, const struct leat_delta_bound *b) {
    if (a->is_text) return strcmp(a->low_text, b->low_text);
    return a->low < b->low ? -1 : a->low > b->low;
}

static int compare_highs(const struct leat_delta_bound *a, const struct leat_delta_bound *b) {
    if (a->is_text) return strcmp(a->high_text, b->high_text);
    return a->high < b->high ? -1 : a->high > b->high;
}

/* Large parts by low, loose ones last. */
static int compare_parts(const void *a, const void *b) {
    const struct part *x = a, *y = b;
    if (!x->bound || !y->bound) return x->bound ? -1 : y->bound ? 1 : 0;
    int order = compare_lows(x->bound, y->bound);
    return order ? order : x->candidate < y->candidate ? -1 : 1;
}

/* The range of a large file's cluster column; NULL: unknown, or the file is small. */
static const struct leat_delta_bound *large_bound(struct leat_delta *d, size_t index, int64_t rows) {
    if (d->cluster_column < 0 || rows < d->row_group_rows / LEAT_DELTA_LARGE_PART) return NULL;
    const struct leat_delta_bound *bound = &leat_delta_bounds_of(d, index)->columns[d->cluster_column];
    return bound->has_range ? bound : NULL;
}

/* Files that lose some rows become parts, files that lose all are only removed. */
static enum leat_status collect_parts(struct rewrite *w, struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_delta_plan *p = w->p;
    w->parts = leat_alloc(p->candidate_count * sizeof *w->parts);
    for (size_t c = 0; c < p->candidate_count; c++) {
        int64_t rows;
        if (!p->taken_count[c]) continue;
        leat_delta_commit_remove(commit, p->d->state.snapshot.files[p->candidates[c]].path);
        enum leat_status status = row_count_of(p->d, p->candidates[c], &rows, err);
        if (status != LEAT_OK) return status;
        rows -= p->taken_count[c];
        if (rows == 0) continue;
        w->rows += rows;
        w->parts[w->part_count++] = (struct part){c, rows, large_bound(p->d, p->candidates[c], rows)};
    }
    qsort(w->parts, w->part_count, sizeof *w->parts, compare_parts);
    while (w->large_count < w->part_count && w->parts[w->large_count].bound)
        w->large_count++;
    return LEAT_OK;
}

/* ---- groups ---- */

/* Do the large parts overlap so much that their ranges mean nothing? */
static bool is_overlapping(const struct rewrite *w) {
    int64_t overlapping = 0, total = 0;
    const struct leat_delta_bound *highest = NULL;
    for (size_t i = 0; i < w->large_count; i++) {
        const struct leat_delta_bound *b = w->parts[i].bound;
        total += w->parts[i].rows;
        if (highest && (b->is_text ? strcmp(b->low_text, highest->high_text) < 0 : b->low < highest->high))
            overlapping += w->parts[i].rows;
        if (!highest || compare_highs(b, highest) > 0) highest = b;
    }
    return overlapping > total / 2;
}

/* The low of the next large file above `start`, of all live files; NULL: none. */
static const struct leat_delta_bound *next_low(struct leat_delta *d, const struct leat_delta_bound *start) {
    const struct leat_delta_bound *next = NULL;
    for (size_t i = 0; i < d->state.snapshot.file_count; i++) {
        const struct leat_delta_bound *b = large_bound(d, i, d->state.snapshot.files[i].row_count);
        if (b && compare_lows(b, start) > 0 && (!next || compare_lows(b, next) < 0)) next = b;
    }
    return next;
}

static void make_groups(struct rewrite *w) {
    if (w->large_count == 0 || w->rows + w->p->inserts <= SINGLE_MAX * w->p->d->row_group_rows) {
        w->large_count = 0; /* all loose */
        return;
    }
    int64_t large_rows = 0;
    for (size_t i = 0; i < w->large_count; i++)
        large_rows += w->parts[i].rows;
    int64_t target = large_rows / GROUPS_MAX + 1;
    if (target < w->p->d->row_group_rows) target = w->p->d->row_group_rows;
    if (is_overlapping(w)) target = large_rows;
    for (size_t i = 0; i < w->large_count; i++) {
        struct group *g = w->group_count ? &w->groups[w->group_count - 1] : NULL;
        /* Equal lows stay together: their intervals would be the same. */
        bool tie = g && compare_lows(w->parts[i - 1].bound, w->parts[i].bound) == 0;
        if (!g || (g->rows >= target && w->group_count < GROUPS_MAX && !tie)) {
            g = &w->groups[w->group_count++];
            *g = (struct group){.from = i, .start = w->parts[i].bound, .last = w->parts[i].bound};
        }
        if (compare_highs(w->parts[i].bound, g->last) > 0) g->last = w->parts[i].bound;
        g->to = i + 1;
        g->rows += w->parts[i].rows;
    }
    for (size_t i = 0; i < w->group_count; i++)
        w->groups[i].end = next_low(w->p->d, w->parts[w->groups[i].to - 1].bound);
}

/* ---- SQL ---- */

static void put_names(const struct leat_schema *schema, const char *prefix, struct leat_buffer *out) {
    for (size_t i = 0; i < schema->field_count; i++) {
        leat_putf(out, "%s%s.", i ? ", " : "", prefix);
        leat_put_sql_name(out, schema->fields[i].name);
    }
}

static void put_inserts(const struct leat_delta_plan *p, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    leat_delta_put_storage_columns(&p->d->schema, "i", true, sql);
    if (p->repeats)
        leat_putf(sql, " FROM (SELECT *, unnest(range(__w)) FROM leat_input('%s') WHERE __w > 0) i", p->d->input_name);
    else
        leat_putf(sql, " FROM leat_input('%s') i WHERE i.__w > 0", p->d->input_name);
}

/* What stays of parts [from, to); positions of what goes are in the input `input`. */
static void put_rest(const struct rewrite *w, size_t from, size_t to, const char *input, struct leat_buffer *sql) {
    struct leat_delta *d = w->p->d;
    size_t *files = leat_alloc((to - from) * sizeof *files);
    for (size_t i = from; i < to; i++)
        files[i - from] = w->p->candidates[w->parts[i].candidate];
    leat_put(sql, "SELECT ");
    put_names(&d->schema, "t", sql);
    leat_put(sql, " FROM ");
    leat_delta_put_rows(d, files, to - from, sql);
    leat_putf(sql, " t ANTI JOIN leat_input('%s') p ON t.file_row_number = p.c1%s", input,
              to - from > 1 ? " AND t.file_index = p.c0" : "");
    free(files);
}

/* " AND <cluster column> <op> <bound>" */
static void put_comparison(const struct leat_delta *d, const char *op, const char *text, int64_t value,
                           struct leat_buffer *sql) {
    const struct leat_field *f = &d->schema.fields[d->cluster_column];
    char type[32];
    leat_type_print(f->type, type);
    leat_put(sql, " AND ");
    leat_put_sql_name(sql, f->name);
    leat_putf(sql, " %s ", op);
    switch (f->type.kind) {
    case LEAT_VARCHAR:
        leat_put_sql_string(sql, text);
        break;
    case LEAT_DATE:
        leat_putf(sql, "(DATE '1970-01-01' + (%" PRId64 ")::INTEGER)", value);
        break;
    case LEAT_TIMESTAMP:
        leat_putf(sql, "make_timestamp(%" PRId64 ")", value);
        break;
    case LEAT_TIMESTAMPTZ:
        leat_putf(sql, "make_timestamptz(%" PRId64 ")", value);
        break;
    default:
        leat_putf(sql, "CAST(%" PRId64 " AS %s)", value, type);
        break;
    }
}

/* Whether a loose row falls into the group's interval. */
static void put_interval(const struct rewrite *w, size_t group, struct leat_buffer *sql) {
    const struct leat_delta *d = w->p->d;
    const struct group *g = &w->groups[group];
    leat_put(sql, "(true");
    put_comparison(d, ">=", g->start->low_text, g->start->low, sql);
    put_comparison(d, "<=", g->last->high_text, g->last->high, sql);
    if (g->end) put_comparison(d, "<", g->end->low_text, g->end->low, sql);
    leat_put(sql, ")");
}

/* ---- writing ---- */

/* (index in the list, row) of every row that goes, of parts [from, to). */
static void fill_positions(const struct rewrite *w, size_t from, size_t to, struct leat_changes *out) {
    const struct leat_delta_plan *p = w->p;
    leat_changes_reset(out);
    for (size_t i = from; i < to; i++) {
        size_t c = w->parts[i].candidate;
        leat_changes_reserve(out, out->row_count + (size_t)p->taken_count[c]);
        int32_t *files = out->columns[0].data;
        int64_t *rows = out->columns[1].data;
        for (size_t word = 0; word < p->taken_words[c]; word++)
            for (uint64_t bits = p->taken[c][word]; bits; bits &= bits - 1) {
                files[out->row_count] = (int32_t)(i - from);
                rows[out->row_count++] = (int64_t)(word * 64 + (size_t)__builtin_ctzll(bits));
            }
    }
}

/* The positions of a run of parts, readable in SQL while it lives. */
struct positions {
    struct leat_schema schema;
    struct leat_changes rows;
    char *input;
};

static enum leat_status positions_init(struct positions *s, const struct rewrite *w, const char *suffix, size_t from,
                                       size_t to, struct leat_error *err) {
    struct leat_delta *d = w->p->d;
    memset(s, 0, sizeof *s);
    leat_schema_add(&s->schema, "f", (struct leat_type){.kind = LEAT_INTEGER}, true);
    leat_schema_add(&s->schema, "r", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_changes_init(&s->rows, &s->schema);
    fill_positions(w, from, to, &s->rows);
    s->input = leat_asprintf("%s_%s", d->input_name, suffix);
    enum leat_status status = leat_conn_input(d->conn, s->input, &s->schema, false, err);
    if (status == LEAT_OK) leat_conn_bind(d->conn, s->input, &s->rows);
    return status;
}

static void positions_deinit(struct positions *s, struct leat_delta *d) {
    if (s->input) leat_conn_bind(d->conn, s->input, NULL);
    free(s->input);
    if (s->rows.schema) leat_changes_deinit(&s->rows);
    leat_schema_deinit(&s->schema);
}

/* Loose rows: the rests of small files and the inserts; empty text when there are none. */
static void put_loose(const struct rewrite *w, const struct positions *small, struct leat_buffer *sql) {
    bool rests = w->part_count > w->large_count;
    if (rests) put_rest(w, w->large_count, w->part_count, small->input, sql);
    if (rests && w->p->inserts) leat_put(sql, " UNION ALL ");
    if (w->p->inserts) put_inserts(w->p, sql);
}

static enum leat_status write_group(struct rewrite *w, size_t group, const char *loose,
                                    struct leat_delta_commit *commit, uint64_t *written, struct leat_error *err) {
    struct leat_delta *d = w->p->d;
    const struct group *g = &w->groups[group];
    struct positions going = {0};
    struct leat_buffer sql = {0};
    bool split = g->rows > SPLIT_ABOVE * d->row_group_rows;
    enum leat_status status = positions_init(&going, w, "group", g->from, g->to, err);
    if (status != LEAT_OK) goto out;
    if (split) leat_put(&sql, "SELECT * FROM (");
    put_rest(w, g->from, g->to, going.input, &sql);
    if (loose) {
        leat_putf(&sql, " UNION ALL SELECT * FROM (%s) WHERE ", loose);
        put_interval(w, group, &sql);
    }
    if (split) {
        leat_put(&sql, ") ORDER BY ");
        leat_put_sql_name(&sql, d->schema.fields[d->cluster_column].name);
    }
    status = leat_delta_write_data(d, sql.data, split, commit, written, err);
out:
    positions_deinit(&going, d);
    leat_buffer_deinit(&sql);
    return status;
}

/* Loose rows of no group's interval: NULLs among them. */
static enum leat_status write_loose(struct rewrite *w, const char *loose, struct leat_delta_commit *commit,
                                    uint64_t *written, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, loose);
    if (w->group_count) {
        leat_buffer_reset(&sql);
        leat_putf(&sql, "SELECT * FROM (%s) WHERE (", loose);
        for (size_t i = 0; i < w->group_count; i++) {
            if (i) leat_put(&sql, " OR ");
            put_interval(w, i, &sql);
        }
        leat_put(&sql, ") IS NOT TRUE");
    }
    enum leat_status status = leat_delta_write_data(w->p->d, sql.data, false, commit, written, err);
    leat_buffer_deinit(&sql);
    return status;
}

enum leat_status leat_delta_rewrite(struct leat_delta_plan *p, struct leat_delta_commit *commit,
                                    struct leat_error *err) {
    struct rewrite w = {.p = p};
    struct positions small = {0};
    struct leat_buffer loose = {0};
    uint64_t written = 0, rows = 0;
    enum leat_status status = collect_parts(&w, commit, err);
    if (status != LEAT_OK) goto out;
    make_groups(&w);
    if (w.part_count > w.large_count) status = positions_init(&small, &w, "small", w.large_count, w.part_count, err);
    if (status != LEAT_OK) goto out;
    put_loose(&w, &small, &loose);
    for (size_t i = 0; status == LEAT_OK && i < w.group_count; i++) {
        status = write_group(&w, i, loose.length ? loose.data : NULL, commit, &rows, err);
        written += rows;
    }
    if (status == LEAT_OK && loose.length) {
        status = write_loose(&w, loose.data, commit, &rows, err);
        written += rows;
    }
    if (status == LEAT_OK && written != (uint64_t)(w.rows + p->inserts))
        status = leat_fail(err, LEAT_CORRUPT,
                           "table %s: applying changes wrote %" PRIu64 " rows where %" PRId64
                           " were due; a file's numRecords is wrong",
                           p->d->table_dir, written, w.rows + p->inserts);
out:
    positions_deinit(&small, p->d);
    leat_buffer_deinit(&loose);
    free(w.parts);
    return status;
}
