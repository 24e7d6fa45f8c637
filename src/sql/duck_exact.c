/* sum and avg over floats, made exact: the query's calls become leat_sum and leat_avg; sum over HUGEINT becomes leat_sum_huge,
 * which fails only where the sum does not fit, not where a part of it does not.
 *
 * DuckDB's C interface cannot replace an aggregate, and the syntax tree has no types. So each argument is tagged,
 * CASE WHEN 'leat_exact_3' <> '' THEN argument END, which changes neither its type nor the query's; the bound plan of
 * the tagged query tells each tag's type; calls over FLOAT, DOUBLE and UHUGEINT (which DuckDB sums as DOUBLE) are
 * renamed in the untagged tree. Output columns keep their names. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "sql/duck_internal.h"

/* ---- JSON whose numbers survive: jansson holds neither 64-bit unsigned nor the digits of a real, so such a
 * number travels as a string behind this mark. */
static const char NUMBER_MARK[] = "\\u0001number "; /* as JSON spells it; no SQL text has that character */

static size_t string_end(const char *json, size_t at) {
    for (at++; json[at] && json[at] != '"'; at++)
        if (json[at] == '\\' && json[at + 1]) at++;
    return json[at] ? at + 1 : at;
}

static json_t *load_exactly(const char *json, struct leat_error *err) {
    struct leat_buffer b = {0};
    for (size_t at = 0; json[at];) {
        size_t end = at + 1;
        if (json[at] == '"') {
            end = string_end(json, at);
            leat_putn(&b, json + at, end - at);
        } else if (json[at] == '-' || isdigit((unsigned char)json[at])) {
            bool plain = true;
            for (end = at; json[end] && strchr("+-.eE0123456789", json[end]); end++)
                plain = plain && (json[end] == '-' || isdigit((unsigned char)json[end]));
            plain = plain && end - at < 18;
            if (!plain) leat_putf(&b, "\"%s", NUMBER_MARK);
            leat_putn(&b, json + at, end - at);
            if (!plain) leat_put(&b, "\"");
        } else {
            leat_putn(&b, json + at, 1);
        }
        at = end;
    }
    json_error_t where;
    json_t *root = json_loads(b.data ? b.data : "", 0, &where);
    leat_buffer_deinit(&b);
    if (!root) leat_fail(err, LEAT_SQL, "DuckDB's syntax tree is not valid JSON: %s", where.text);
    return root;
}

static char *dump_exactly(const json_t *root) {
    char *json = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!json) return NULL;
    size_t mark = strlen(NUMBER_MARK), out = 0;
    for (size_t at = 0; json[at];) {
        size_t end = json[at] == '"' ? string_end(json, at) : at + 1;
        size_t skip = json[at] == '"' && !strncmp(json + at + 1, NUMBER_MARK, mark) ? mark + 1 : 0;
        size_t length = end - at - skip - (skip ? 1 : 0);
        memmove(json + out, json + at + skip, length);
        out += length;
        at = end;
    }
    json[out] = 0;
    return json;
}

/* ---- calls */

struct call {
    json_t *node; /* in the tree to rewrite; borrowed */
    char *tag;
    bool is_float, is_huge, is_other;
};
struct calls {
    struct call *items;
    size_t count;
};

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static const char *exact_name(const char *name) {
    if (!strcasecmp(name, "sum")) return "leat_sum";
    return !strcasecmp(name, "avg") || !strcasecmp(name, "mean") ? "leat_avg" : NULL;
}

static bool is_candidate(const json_t *node) {
    const char *class = text_of(node, "class");
    return (!strcmp(class, "FUNCTION") || !strcmp(class, "WINDOW")) && exact_name(text_of(node, "function_name")) &&
           json_array_size(json_object_get(node, "children")) == 1;
}

/* Calls visit on every object, children before parents. */
static void walk(json_t *node, void (*visit)(json_t *, void *), void *context) {
    size_t index;
    const char *key;
    json_t *child;
    json_array_foreach(node, index, child) walk(child, visit, context);
    json_object_foreach(node, key, child) walk(child, visit, context);
    if (json_is_object(node)) visit(node, context);
}

static void collect_call(json_t *node, void *context) {
    struct calls *calls = context;
    if (!is_candidate(node)) return;
    calls->items = leat_realloc(calls->items, (calls->count + 1) * sizeof *calls->items);
    calls->items[calls->count++] = (struct call){.node = node};
}

static void calls_deinit(struct calls *calls) {
    for (size_t i = 0; i < calls->count; i++)
        free(calls->items[i].tag);
    free(calls->items);
}

static void drop_location(json_t *node, void *context) {
    (void)context;
    json_object_del(node, "query_location");
}

/* The argument without positions, to tell whether two calls are written alike. */
static char *argument_text(const json_t *call) {
    json_t *copy = json_deep_copy(json_object_get(call, "children"));
    walk(copy, drop_location, NULL);
    char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(copy);
    return text;
}

/* One tag a call; with `alike`, calls with equal arguments share it, which SELECT DISTINCT ... ORDER BY sum(x) needs.
 */
static void number_calls(struct calls *calls, bool alike) {
    for (size_t i = 0; i < calls->count; i++) {
        size_t number = i;
        char *mine = alike ? argument_text(calls->items[i].node) : NULL;
        for (size_t j = 0; mine && j < i && number == i; j++) {
            char *other = argument_text(calls->items[j].node);
            if (other && !strcmp(mine, other)) number = j;
            free(other);
        }
        free(mine);
        free(calls->items[i].tag);
        calls->items[i].tag = leat_asprintf("leat_exact_%zu", number);
    }
}

static json_t *first_of(const json_t *root, const char *list, size_t *count) {
    const json_t *statement = json_array_get(json_object_get(root, "statements"), 0);
    json_t *items = json_object_get(json_object_get(statement, "node"), list);
    if (count) *count = json_array_size(items);
    return json_array_get(items, 0);
}

/* The tagging CASE around `argument` (borrowed); a new reference. */
static json_t *tag_argument(struct leat_conn *c, const char *tag, json_t *argument, struct leat_error *err) {
    char *sql = leat_asprintf("SELECT CASE WHEN '%s' <> '' THEN x END", tag), *json = NULL;
    json_t *root = NULL, *tagged = NULL;
    if (leat_conn_parse(c, sql, &json, err)) goto out;
    if (!(root = load_exactly(json, err))) goto out;
    tagged = json_incref(first_of(root, "select_list", NULL));
    json_t *check = json_array_get(json_object_get(tagged, "case_checks"), 0);
    if (json_object_set(check, "then_expr", argument)) {
        leat_fail(err, LEAT_SQL, "DuckDB's syntax tree of CASE has an unknown shape");
        json_decref(tagged);
        tagged = NULL;
    }
out:
    json_decref(root);
    free(json);
    free(sql);
    return tagged;
}

static enum leat_status unparse(struct leat_conn *c, const json_t *root, char **out, struct leat_error *err) {
    char *json = dump_exactly(root);
    enum leat_status status =
        json ? leat_conn_unparse(c, json, out, err) : leat_fail(err, LEAT_NO_MEMORY, "no memory for JSON");
    free(json);
    return status;
}

/* Tags the calls in place, writes the query, and takes the tags off again. */
static enum leat_status tagged_query(struct leat_conn *c, json_t *tree, struct calls *calls, char **out,
                                     struct leat_error *err) {
    json_t **plain = leat_alloc((calls->count + 1) * sizeof *plain);
    enum leat_status status = LEAT_OK;
    size_t tagged = 0;
    for (; tagged < calls->count; tagged++) {
        json_t *children = json_object_get(calls->items[tagged].node, "children");
        plain[tagged] = json_incref(json_array_get(children, 0));
        json_t *with_tag = tag_argument(c, calls->items[tagged].tag, plain[tagged], err);
        if (!with_tag) {
            json_decref(plain[tagged]);
            status = LEAT_SQL;
            break;
        }
        json_array_set_new(children, 0, with_tag);
    }
    if (!status) status = unparse(c, tree, out, err);
    while (tagged-- > 0)
        json_array_set_new(json_object_get(calls->items[tagged].node, "children"), 0, plain[tagged]);
    free(plain);
    return status;
}

/* A bound CASE with one of the tags: its type is the argument's. */
static void read_type(json_t *node, void *context) {
    struct calls *calls = context;
    if (strcmp(text_of(node, "expression_class"), "BOUND_CASE") != 0) return;
    json_t *check = json_array_get(json_object_get(node, "case_checks"), 0);
    json_t *left = json_object_get(json_object_get(check, "when_expr"), "left");
    while (!strcmp(text_of(left, "expression_class"), "BOUND_CAST"))
        left = json_object_get(left, "child");
    const char *tag = text_of(json_object_get(left, "value"), "value");
    const char *type = text_of(json_object_get(node, "return_type"), "id");
    bool is_float = !strcmp(type, "DOUBLE") || !strcmp(type, "FLOAT") || !strcmp(type, "UHUGEINT");
    for (size_t i = 0; i < calls->count; i++) {
        if (strcmp(calls->items[i].tag, tag) != 0) continue;
        bool is_huge = !strcmp(type, "HUGEINT") && !strcasecmp(text_of(calls->items[i].node, "function_name"), "sum");
        calls->items[i].is_float |= is_float;
        calls->items[i].is_huge |= is_huge;
        calls->items[i].is_other |= !is_float && !is_huge;
    }
}

static enum leat_status find_types(struct leat_conn *c, json_t *tree, struct calls *calls, bool alike,
                                   struct leat_error *err) {
    char *tagged = NULL, *json = NULL;
    json_t *plan = NULL;
    number_calls(calls, alike);
    enum leat_status status = tagged_query(c, tree, calls, &tagged, err);
    if (status) goto out;
    /* unoptimised: the optimiser would fold the tags away */
    if ((status = leat_duck_serialise(c, LEAT_SERIALISE_BOUND, tagged, &json, err))) {
        leat_prepend(err, "the query with its sums tagged does not bind");
        goto out;
    }
    if (!(plan = load_exactly(json, err))) {
        status = LEAT_SQL;
        goto out;
    }
    walk(plan, read_type, calls);
out:
    json_decref(plan);
    free(tagged);
    free(json);
    return status;
}

/* ---- names of output columns */

struct naming {
    struct leat_conn *c;
    struct leat_error *err;
    enum leat_status status;
};

static void has_candidate(json_t *node, void *found) {
    if (is_candidate(node)) *(bool *)found = true;
}

/* DuckDB names a column without alias after its expression's text: make that the alias. */
static void name_column(struct naming *n, json_t *expression) {
    bool found = false;
    char *json = NULL, *sql = NULL;
    if (*text_of(expression, "alias")) return;
    walk(expression, has_candidate, &found);
    if (!found) return;
    n->status = leat_conn_parse(n->c, "SELECT x", &json, n->err);
    json_t *root = n->status ? NULL : load_exactly(json, n->err);
    const json_t *statement = json_array_get(json_object_get(root, "statements"), 0);
    json_t *list = json_object_get(json_object_get(statement, "node"), "select_list");
    if (json_array_set(list, 0, expression) == 0) n->status = unparse(n->c, root, &sql, n->err);
    if (!n->status && sql && !strncmp(sql, "SELECT ", 7))
        json_object_set_new(expression, "alias", json_string(sql + 7));
    json_decref(root);
    free(json);
    free(sql);
}

static void name_columns(json_t *node, void *context) {
    struct naming *n = context;
    if (strcmp(text_of(node, "type"), "SELECT_NODE") != 0) return;
    size_t index;
    json_t *expression;
    json_array_foreach(json_object_get(node, "select_list"), index, expression) {
        if (!n->status) name_column(n, expression);
    }
}

/* The rewriting must not change what the query is called or gives. */
static enum leat_status check_same_columns(struct leat_conn *c, const char *before, const char *after,
                                           struct leat_error *err) {
    struct leat_schema a = {0}, b = {0};
    enum leat_status status = leat_conn_describe(c, before, &a, err);
    if (!status) status = leat_conn_describe(c, after, &b, err);
    if (!status && a.field_count != b.field_count)
        status = leat_fail(err, LEAT_UNSUPPORTED, "exact sums change the columns of this query");
    for (size_t i = 0; !status && i < a.field_count; i++)
        if (strcmp(a.fields[i].name, b.fields[i].name) || !leat_type_equal(a.fields[i].type, b.fields[i].type))
            status = leat_fail(err, LEAT_UNSUPPORTED,
                               "exact sums change the column \"%s\" of this query: give it a name with AS",
                               a.fields[i].name);
    leat_schema_deinit(&a);
    leat_schema_deinit(&b);
    return status;
}

static enum leat_status rename_calls(const struct calls *calls, bool *changed, struct leat_error *err) {
    *changed = false;
    for (size_t i = 0; i < calls->count; i++) {
        const struct call *call = &calls->items[i];
        const char *name = text_of(call->node, "function_name");
        if (call->is_float + call->is_huge + call->is_other > 1)
            return leat_fail(err, LEAT_UNSUPPORTED,
                             "the same %s(...) adds floats in one place and other numbers in another: name them apart",
                             name);
        if (!call->is_float && !call->is_huge) continue;
        json_object_set_new(call->node, "function_name", json_string(call->is_huge ? "leat_sum_huge" : exact_name(name)));
        json_object_set_new(call->node, "schema", json_string(""));
        json_object_set_new(call->node, "catalog", json_string(""));
        *changed = true;
    }
    return LEAT_OK;
}

enum leat_status leat_conn_exact_sums(struct leat_conn *c, const char *sql, char **out, struct leat_error *err) {
    struct calls calls = {0};
    char *json = NULL;
    json_t *tree = NULL;
    bool changed = false;
    *out = NULL;
    enum leat_status status = leat_conn_parse(c, sql, &json, err);
    if (status) goto out;
    if (!(tree = load_exactly(json, err))) {
        status = LEAT_SQL;
        goto out;
    }
    walk(tree, collect_call, &calls);
    if (calls.count) {
        struct naming naming = {.c = c, .err = err};
        walk(tree, name_columns, &naming); /* first: tags would show in names that other parts of the query use */
        if ((status = naming.status)) goto out;
        if (find_types(c, tree, &calls, false, err)) status = find_types(c, tree, &calls, true, err);
        if (status) goto out;
    }
    if ((status = rename_calls(&calls, &changed, err))) goto out;
    if (!changed) {
        *out = leat_strdup(sql);
        goto out;
    }
    status = unparse(c, tree, out, err);
    if (!status) status = check_same_columns(c, sql, *out, err);
out:
    if (status) {
        free(*out);
        *out = NULL;
    }
    calls_deinit(&calls);
    json_decref(tree);
    free(json);
    return status;
}
