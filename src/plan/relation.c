/* Relations: filters and projections are collected as texts over one operator and emitted as one MAP when an
 * operator with state needs its input. */
#include "plan/compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Beyond this the texts of stacked projections are computed in a stage of their own. */
#define MAX_FUSED_BYTES 16384

bool leat_compile_refuse(struct leat_compile *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, sizeof c->why, format, args);
    va_end(args);
    return false;
}

bool leat_compile_refuse_nested(struct leat_compile *c, const char *column) {
    return leat_compile_refuse(
        c,
        "column \"%s\" is a list, struct or another nested value: leat keeps only plain values between stages; take "
        "it apart in the same SELECT that makes it, or turn it into text",
        column);
}

void leat_rel_of_op(struct leat_compile *c, int index, struct leat_rel *out) {
    const struct leat_op *op = &c->plan->ops[index];
    *out = (struct leat_rel){.op = index, .count = op->schema.field_count};
    out->columns = leat_arena_alloc(&c->arena, (out->count + 1) * sizeof *out->columns);
    for (size_t i = 0; i < out->count; i++) {
        const struct leat_field *field = &op->schema.fields[i];
        struct leat_rel_column column = {
            .from = (int)i, .type = field->type, .not_null = field->not_null, .reference_key = -1};
        const struct leat_time_column *time = leat_op_time(op, i);
        column.name = leat_arena_copy(&c->arena, field->name, strlen(field->name));
        const struct leat_local *local = leat_op_local(op, i);
        if (time) column.has_time = true, column.span_us = time->span_us, column.time_object = time->object;
        if (local && !time) column.span_us = local->span_us, column.time_object = local->object;
        if (local && column.time_object == local->object && column.span_us == local->span_us)
            column.has_local = true, column.back_us = local->back_us, column.step_us = local->step_us, column.origin_us = local->origin_us;
        out->columns[i] = column;
    }
}

const char *leat_rel_column_text(struct leat_compile *c, const struct leat_rel *rel, size_t i) {
    const struct leat_rel_column *column = &rel->columns[i];
    return column->from >= 0 ? leat_arena_printf(&c->arena, "c%d", column->from) : column->text;
}

void leat_rel_writer(struct leat_compile *c, const struct leat_rel *rel, struct leat_expression_writer *out) {
    struct leat_expression_ref *refs = leat_arena_alloc(&c->arena, (rel->count + 1) * sizeof *refs);
    for (size_t i = 0; i < rel->count; i++) {
        refs[i].text = leat_rel_column_text(c, rel, i);
        refs[i].can_fail = rel->columns[i].can_fail;
        refs[i].unusable = rel->columns[i].unusable;
        refs[i].is_column = rel->columns[i].from >= 0;
    }
    *out = (struct leat_expression_writer){.refs = refs, .ref_count = rel->count};
}

/* Everything a stage's text must satisfy besides being writable. */
static bool write_text(struct leat_compile *c, const struct leat_rel *in, const json_t *e, struct leat_buffer *text,
                       bool *can_fail) {
    struct leat_expression_writer writer;
    leat_rel_writer(c, in, &writer);
    if (!leat_expression_write(&writer, e, text, can_fail)) return leat_compile_refuse(c, "%s", writer.why);
    if (writer.reads_clock)
        return leat_compile_refuse(
            c, "now() changes rows without any input: only a full run per schedule keeps the answer right; "
               "compare with a column of the data instead, or use SCHEDULE");
    return true;
}

static bool interval_us(const json_t *e, bool zoned, int64_t *out) {
    struct leat_bound_interval i;
    if (!leat_bound_interval_constant(e, &i) || i.months || (zoned && i.days)) return false;
    *out = i.days * 86400000000 + i.micros;
    return true;
}

/* Values become starts of windows. The start of a window of starts is known by its time alone where each of those is within one window. */
static void put_on_grid(struct leat_rel_column *out, int64_t width_us, const json_t *origin) {
    int64_t origin_us;
    bool fits = leat_bound_int_constant(origin, &origin_us) && out->step_us > 0 && width_us > 0 && width_us % out->step_us == 0;
    fits = fits && (origin_us - out->origin_us) % out->step_us == 0;
    out->step_us = fits ? width_us : 0;
    out->origin_us = fits ? origin_us : 0;
}

/* v + span > cut carries over to floor(v) with span + width - 1, and to v + shift with span - shift; of a local column v - back goes down with
 * floor(v) and moves with v + shift. */
static bool find_time(struct leat_compile *c, const struct leat_rel *in, const json_t *e, struct leat_rel_column *out) {
    size_t ref;
    int64_t shift, slide;
    if (leat_bound_is_ref(e, &ref)) {
        if (ref >= in->count || !(in->columns[ref].has_time || in->columns[ref].has_local)) return false;
        *out = in->columns[ref];
        return true;
    }
    if (!leat_json_is(e, "expression_class", "BOUND_FUNCTION")) return false;
    const json_t *left = leat_json_at(e, "children", 0), *right = leat_json_at(e, "children", 1);
    const char *name = leat_json_text(e, "name");
    bool zoned = leat_bound_type(leat_bound_expression_type(e)).kind == LEAT_TIMESTAMPTZ;
    if (strcasecmp(name, "leat_tumble") == 0) {
        if (!find_time(c, in, left, out) || !leat_bound_int_constant(right, &shift) || shift <= 0) return false;
        put_on_grid(out, shift, leat_json_at(e, "children", 2));
        out->span_us += shift - 1;
        if (out->has_time) c->tumbled[out->time_object] = true;
        return true;
    }
    if (strcasecmp(name, "leat_hop") == 0) {
        if (!find_time(c, in, left, out) || !leat_bound_int_constant(leat_json_at(e, "children", 2), &shift) ||
            shift <= 0)
            return false;
        if (leat_bound_int_constant(right, &slide)) put_on_grid(out, slide, leat_json_at(e, "children", 3));
        else out->step_us = 0;
        out->span_us += shift - 1;
        if (out->has_time) c->tumbled[out->time_object] = true;
        return true;
    }
    if (strcasecmp(name, "leat_session_end") == 0) {
        /* A change at time t touches sessions that end at t or later: the last row of a session is at most the gap
         * before it. */
        if (!leat_bound_is_ref(right, &ref) || ref >= in->count || !in->columns[ref].session_time) return false;
        *out = in->columns[ref];
        out->has_time = true;
        out->has_local = false;
        out->session_time = false;
        c->tumbled[out->time_object] = true;
        return true;
    }
    if (strcmp(name, "+") == 0 && interval_us(right, zoned, &shift) && find_time(c, in, left, out)) {
        out->span_us -= shift;
        out->back_us += shift;
        out->origin_us += shift;
        return true;
    }
    if (strcmp(name, "+") == 0 && interval_us(left, zoned, &shift) && find_time(c, in, right, out)) {
        out->span_us -= shift;
        out->back_us += shift;
        out->origin_us += shift;
        return true;
    }
    if (strcmp(name, "-") == 0 && interval_us(right, zoned, &shift) && find_time(c, in, left, out)) {
        out->span_us += shift;
        out->back_us -= shift;
        out->origin_us -= shift;
        return true;
    }
    return false;
}

/* A primary key column cast to a wider integer stays unique. */
static int find_reference_key(const struct leat_rel *in, const json_t *e) {
    size_t ref;
    const json_t *child = json_object_get(e, "child");
    if (!leat_json_is(e, "expression_class", "BOUND_CAST") || !leat_bound_is_ref(child, &ref) || ref >= in->count)
        return -1;
    uint8_t from = in->columns[ref].type.kind, to = leat_bound_type(leat_bound_expression_type(e)).kind;
    bool wider = from >= LEAT_TINYINT && to <= LEAT_HUGEINT && from <= to;
    bool wider_unsigned = from >= LEAT_UTINYINT && to <= LEAT_UHUGEINT && from <= to;
    return wider || wider_unsigned ? in->columns[ref].reference_key : -1;
}

/* Why an expression over event time does not follow it any more. */
static const char *find_lost(const struct leat_rel *in, const json_t *e) {
    size_t ref;
    if (leat_bound_is_ref(e, &ref)) return ref < in->count ? in->columns[ref].time_lost : NULL;
    for (size_t i = 0; i < leat_json_count(e, "children"); i++) {
        const char *lost = find_lost(in, leat_json_at(e, "children", i));
        if (lost) return lost;
    }
    return NULL;
}

static bool is_not_null(const struct leat_rel *in, const json_t *e) {
    size_t ref;
    if (leat_json_is(e, "expression_class", "BOUND_CONSTANT"))
        return !leat_json_true(json_object_get(e, "value"), "is_null");
    if (leat_json_is(e, "expression_class", "BOUND_CAST") && !leat_json_true(e, "try_cast"))
        e = json_object_get(e, "child");
    return leat_bound_is_ref(e, &ref) && ref < in->count && in->columns[ref].not_null;
}

bool leat_rel_expression(struct leat_compile *c, const struct leat_rel *in, const json_t *e,
                         struct leat_rel_column *out) {
    size_t ref;
    struct leat_rel_column time;
    struct leat_buffer text = {0};
    const char *alias = leat_json_text(e, "alias");
    if (leat_bound_is_ref(e, &ref)) {
        if (ref >= in->count) return leat_compile_refuse(c, "a column reference of DuckDB's plan is out of range");
        *out = in->columns[ref];
        if (out->unusable)
            return leat_compile_refuse(c, "a list that is unnested and used again; unnest it in a subquery");
        if (*alias) out->name = alias;
        return true;
    }
    *out = (struct leat_rel_column){.from = -1, .reference_key = -1, .name = *alias ? alias : "expression"};
    if (!write_text(c, in, e, &text, &out->can_fail)) {
        leat_buffer_deinit(&text);
        return false;
    }
    out->text = leat_arena_copy(&c->arena, text.data, text.length);
    leat_buffer_deinit(&text);
    out->type = leat_bound_type(leat_bound_expression_type(e));
    out->tumbled = leat_rel_tumbled(in, e);
    out->not_null = is_not_null(in, e);
    out->reference_key = find_reference_key(in, e);
    if (out->type.kind != LEAT_TIMESTAMP && out->type.kind != LEAT_TIMESTAMPTZ) return true;
    out->time_lost = find_lost(in, e);
    if (find_time(c, in, e, &time))
        out->has_time = time.has_time, out->has_local = time.has_local, out->span_us = time.span_us, out->back_us = time.back_us, out->step_us = time.step_us, out->origin_us = time.origin_us,
        out->time_object = time.time_object;
    return true;
}

void leat_rel_start(struct leat_compile *c, const struct leat_rel *in, size_t capacity, struct leat_rel *out) {
    *out = *in;
    out->count = 0;
    out->columns = leat_arena_alloc(&c->arena, (capacity + 1) * sizeof *out->columns);
}

bool leat_rel_project(struct leat_compile *c, struct leat_rel *in, const json_t *expressions, struct leat_rel *out) {
    size_t count = json_array_size(expressions), bytes = 0;
    leat_rel_start(c, in, count, out);
    for (size_t i = 0; i < count; i++) {
        struct leat_rel_column *column = &out->columns[out->count++];
        if (!leat_rel_expression(c, in, json_array_get(expressions, i), column)) return false;
        bytes += column->from < 0 ? strlen(column->text) : 0;
    }
    bool plain = true;
    for (size_t i = 0; i < in->count; i++)
        plain = plain && in->columns[i].from >= 0;
    if (bytes <= MAX_FUSED_BYTES || plain) return true;
    return leat_rel_flush(c, in) && leat_rel_project(c, in, expressions, out);
}

static void add_filter(struct leat_compile *c, struct leat_rel *rel, const char *text, bool can_fail) {
    rel->filter = rel->filter ? leat_arena_printf(&c->arena, "%s AND %s", rel->filter, text) : text;
    rel->filter_can_fail |= can_fail;
    rel->one_row = false;
}

void leat_rel_filter_text(struct leat_compile *c, struct leat_rel *rel, const char *text, bool can_fail) {
    add_filter(c, rel, text, can_fail);
    rel->untested = true;
}

/* x IS NOT NULL, and comparisons of x, leave only rows where x is not NULL. */
static void learn_not_null(struct leat_rel *rel, const json_t *condition) {
    size_t ref;
    const char *type = leat_json_text(condition, "type");
    if (strcmp(type, "OPERATOR_IS_NOT_NULL") == 0 && leat_bound_is_ref(leat_json_at(condition, "children", 0), &ref) &&
        ref < rel->count)
        rel->columns[ref].not_null = true;
    if (!leat_json_is(condition, "expression_class", "BOUND_COMPARISON") || strstr(type, "DISTINCT")) return;
    if (leat_bound_is_ref(json_object_get(condition, "left"), &ref) && ref < rel->count)
        rel->columns[ref].not_null = true;
    if (leat_bound_is_ref(json_object_get(condition, "right"), &ref) && ref < rel->count)
        rel->columns[ref].not_null = true;
}

void leat_rel_keep(struct leat_compile *c, const json_t *map, struct leat_rel *rel) {
    struct leat_rel kept;
    if (json_array_size(map) == 0) return;
    leat_rel_start(c, rel, json_array_size(map), &kept);
    for (size_t i = 0; i < json_array_size(map); i++) {
        size_t at = (size_t)json_integer_value(json_array_get(map, i));
        if (at < rel->count) kept.columns[kept.count++] = rel->columns[at];
    }
    *rel = kept;
}

static bool has_nested(const struct leat_op *op) {
    for (size_t i = 0; i < op->schema.field_count; i++)
        if (op->schema.fields[i].type.kind == LEAT_NESTED) return true;
    return false;
}

/* DuckDB asks conditions as early as it may. One that it left above a column that can fail is asked only of rows for which nothing has failed. */
static bool computes_before(struct leat_compile *c, struct leat_rel *rel) {
    bool can_fail = false, nested = has_nested(&c->plan->ops[rel->op]);
    for (size_t i = 0; i < rel->count; i++) {
        can_fail |= rel->columns[i].can_fail;
        nested |= rel->columns[i].type.kind == LEAT_NESTED;
    }
    return !can_fail || nested || leat_rel_flush(c, rel);
}

bool leat_rel_filter(struct leat_compile *c, struct leat_rel *rel, const json_t *condition) {
    struct leat_rel_column column;
    if (!computes_before(c, rel)) return false;
    if (!leat_rel_expression(c, rel, condition, &column)) return false;
    const char *text = column.from >= 0 ? leat_arena_printf(&c->arena, "c%d", column.from) : column.text;
    add_filter(c, rel, text, column.can_fail);
    rel->untested |= !leat_rel_add_tests(c, rel, condition);
    learn_not_null(rel, condition);
    return true;
}

static bool same_column(const struct leat_rel_column *a, const struct leat_rel_column *b) {
    if (a->from >= 0 || b->from >= 0) return a->from == b->from;
    return leat_type_equal(a->type, b->type) && strcmp(a->text, b->text) == 0;
}

size_t leat_rel_add(struct leat_compile *c, struct leat_rel *rel, const struct leat_rel_column *column) {
    for (size_t i = 0; i < rel->count; i++)
        if (same_column(&rel->columns[i], column)) return i;
    struct leat_rel_column *grown = leat_arena_alloc(&c->arena, (rel->count + 1) * sizeof *grown);
    if (rel->count) memcpy(grown, rel->columns, rel->count * sizeof *grown);
    grown[rel->count] = *column;
    rel->columns = grown;
    return rel->count++;
}

struct leat_rel_column leat_rel_text(struct leat_compile *c, struct leat_type type, bool can_fail, const char *format,
                                     ...) {
    va_list args;
    struct leat_rel_column column = {
        .from = -1, .can_fail = can_fail, .type = type, .name = "expression", .reference_key = -1};
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = leat_arena_alloc(&c->arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    column.text = text;
    return column;
}

static bool is_identity(struct leat_compile *c, const struct leat_rel *rel) {
    if (rel->filter || rel->count != c->plan->ops[rel->op].schema.field_count || has_nested(&c->plan->ops[rel->op]))
        return false;
    for (size_t i = 0; i < rel->count; i++)
        if (rel->columns[i].from != (int)i) return false;
    return true;
}

static void put_stage(struct leat_compile *c, const struct leat_rel *rel, const char *inner, size_t inner_count,
                      struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < rel->count; i++)
        leat_putf(sql, "%s%s", i ? ", " : "", leat_rel_column_text(c, rel, i));
    leat_putf(sql, " FROM (%s) AS recomputed(", inner);
    for (size_t i = 0; i < inner_count; i++)
        leat_putf(sql, "%sc%zu", i ? ", " : "", i);
    leat_put(sql, ")");
    if (rel->filter) leat_putf(sql, " WHERE %s", rel->filter);
}

/* What a RECOMPUTE makes nested has to become plain inside its own statement: the filter and projection over it are
 * written around its SQL, as a new operator in its place. */
static bool emit_merged(struct leat_compile *c, struct leat_rel *rel) {
    int old = rel->op, index = leat_emit(c, LEAT_OP_RECOMPUTE, c->plan->ops[old].children[0], -1);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *inner = &c->plan->ops[old];
    struct leat_buffer sql = {0};
    op->children[1] = inner->children[1];
    op->child_count = inner->child_count;
    op->incremental_class = inner->incremental_class;
    op->key_count = inner->key_count;
    op->keys = leat_alloc((op->key_count + 1) * sizeof *op->keys);
    memcpy(op->keys, inner->keys, op->key_count * sizeof *op->keys);
    if (inner->right_keys) {
        op->right_keys = leat_alloc((op->key_count + 1) * sizeof *op->right_keys);
        memcpy(op->right_keys, inner->right_keys, op->key_count * sizeof *op->right_keys);
    }
    put_stage(c, rel, inner->sql, inner->schema.field_count, &sql);
    op->sql = sql.data;
    op->why = leat_strdup(inner->why);
    op->state_bound = leat_strdup(inner->state_bound);
    for (size_t i = 0; i < rel->count; i++) {
        const struct leat_rel_column *column = &rel->columns[i];
        if (column->type.kind == LEAT_NESTED) return leat_compile_refuse_nested(c, column->name);
        leat_emit_column(op, column->name ? column->name : "column", column->type, column->not_null);
        leat_emit_times(op, i, column);
    }
    if (!leat_emit_done(c, &index)) return false;
    rel->op = index;
    return true;
}

static bool emit_map(struct leat_compile *c, struct leat_rel *rel) {
    struct leat_rel_column mark = leat_rel_text(c, (struct leat_type){.kind = LEAT_BOOLEAN}, false, "true");
    if (rel->count == 0) leat_rel_add(c, rel, &mark); /* count(*) needs rows, and rows need a column */
    if (has_nested(&c->plan->ops[rel->op])) return emit_merged(c, rel);
    int index = leat_emit(c, LEAT_OP_MAP, rel->op, -1);
    struct leat_op *op = &c->plan->ops[index];
    op->append_only = c->plan->ops[rel->op].append_only;
    op->incremental_class = 1;
    op->filter = rel->filter ? leat_strdup(rel->filter) : NULL;
    op->filter_can_fail = rel->filter_can_fail;
    if (!rel->untested && rel->test_count) {
        op->test_count = rel->test_count;
        op->tests = leat_alloc(op->test_count * sizeof *op->tests);
        memcpy(op->tests, rel->tests, op->test_count * sizeof *op->tests);
    }
    op->map_count = rel->count;
    op->map = leat_alloc(rel->count * sizeof *op->map);
    for (size_t i = 0; i < rel->count; i++) {
        const struct leat_rel_column *column = &rel->columns[i];
        op->map[i].from = column->from;
        op->map[i].expression = column->from < 0 ? leat_strdup(column->text) : NULL;
        op->map[i].can_fail = column->can_fail;
        if (column->from < 0) op->map[i].tumbled = column->tumbled;
        leat_emit_column(op, column->name ? column->name : "column", column->type, column->not_null);
        leat_emit_times(op, i, column);
    }
    op->why = leat_strdup("row by row");
    if (!leat_emit_done(c, &index)) return false;
    rel->op = index;
    return true;
}

bool leat_rel_flush(struct leat_compile *c, struct leat_rel *rel) {
    if (!is_identity(c, rel) && !emit_map(c, rel)) return false;
    struct leat_rel_column *columns = leat_arena_alloc(&c->arena, (rel->count + 1) * sizeof *columns);
    for (size_t i = 0; i < rel->count; i++) {
        columns[i] = rel->columns[i];
        columns[i].from = (int)i;
        columns[i].text = NULL;
        columns[i].can_fail = false;
        columns[i].tumbled = (struct leat_tumbled){0};
    }
    rel->columns = columns;
    rel->filter = NULL;
    rel->filter_can_fail = false;
    rel->tests = NULL;
    rel->test_count = 0;
    rel->untested = false;
    return true;
}

bool leat_rel_settle(struct leat_compile *c, struct leat_rel *rel, uint16_t **at) {
    bool bare = !rel->filter && !has_nested(&c->plan->ops[rel->op]);
    for (size_t i = 0; i < rel->count; i++)
        bare = bare && rel->columns[i].from >= 0;
    if (!bare && !leat_rel_flush(c, rel)) return false;
    *at = leat_arena_alloc(&c->arena, (rel->count + 1) * sizeof **at);
    for (size_t i = 0; i < rel->count; i++)
        (*at)[i] = (uint16_t)rel->columns[i].from;
    return true;
}
