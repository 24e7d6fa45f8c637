/* Every query of a project against DuckDB's binder: columns, functions, types, keys, constraints; each finding with its place.
 * Objects are declared in order on a connection of their own; what reads an object that failed is left out, for it could only
 * repeat the failure. */
#include "project/project.h"
#include "sql/duck.h"
#include "sql/lexer.h"
#include "sql/sql_message.h"

#include "base/options.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct checker {
    const struct leat_project *project;
    struct leat_conn *conn;
    struct leat_diagnostics *diags;
    bool *good[3]; /* by enum leat_object_kind and index: declared and without errors */
};

static bool inputs_good(const struct checker *c, const struct leat_object_ref *inputs, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!c->good[inputs[i].kind][inputs[i].index])
            return false;
    return true;
}

static bool is_source_column(const struct leat_project *project, const char *word) {
    bool found = false;
    for (size_t i = 0; i < project->source_count && !found; i++) {
        struct leat_schema schema = {0};
        leat_source_row_schema(&project->sources[i], &schema);
        found = leat_schema_find(&schema, word) >= 0;
        leat_schema_deinit(&schema);
    }
    return found;
}

static bool is_reserved(struct leat_conn *conn, const char *word) {
    struct leat_buffer sql = {0};
    int64_t count = 0;
    leat_put(&sql, "SELECT count(*) FROM duckdb_keywords() WHERE keyword_category = 'reserved' AND keyword_name = lower(");
    leat_put_sql_string(&sql, word);
    leat_put(&sql, ")");
    bool found = leat_conn_int(conn, sql.data, &count, NULL) == LEAT_OK && count > 0;
    leat_buffer_deinit(&sql);
    return found;
}

/* A syntax error at or behind a reserved word that is also a source's column (`offset`): the word wants quotes. NULL: not that. */
static char *reserved_word_hint(const struct checker *c, const char *sql, const char *message) {
    int64_t offset = strstr(message, "syntax error") ? leat_sql_message_offset(sql, message) : -1;
    struct leat_tokens tokens;
    char *hint = NULL;
    if (offset < 0)
        return NULL;
    leat_lex(sql, strlen(sql), &tokens);
    for (size_t i = 0; i < tokens.count && !hint; i++) {
        bool here = tokens.items[i].offset == (size_t)offset || (i + 1 <= tokens.count && tokens.items[i + 1].offset == (size_t)offset);
        if (!here || tokens.items[i].kind != LEAT_TOKEN_WORD)
            continue;
        char *word = leat_token_value(&tokens, i);
        if (is_source_column(c->project, word) && is_reserved(c->conn, word))
            hint = leat_asprintf("if the column '%s' is meant: it is a reserved word and must stand in double quotes", word);
        free(word);
    }
    leat_tokens_deinit(&tokens);
    return hint;
}

static void report(struct checker *c, struct leat_place place, const char *what, const char *name, const char *sql, const char *message) {
    char *hint, *text = leat_sql_message_text(message, &hint);
    if (!hint)
        hint = reserved_word_hint(c, sql, message);
    leat_diagnose(c->diags, place, false, hint, "%s '%s': %s", what, name, text);
    free(text);
    free(hint);
}

/* Such as a name that is no object of the project: said already, and better than DuckDB can. */
static bool has_error_at(const struct leat_diagnostics *diags, struct leat_place place) {
    for (size_t i = 0; i < diags->count; i++) {
        const struct leat_place *other = &diags->items[i].place;
        bool same_file = other->file && place.file ? strcmp(other->file, place.file) == 0 : other->file == place.file;
        if (!diags->items[i].warning && same_file && other->line == place.line && other->column == place.column)
            return true;
    }
    return false;
}

/* Binds a query; false when that failed (reported). */
static bool bind(struct checker *c, const char *what, const char *name, const char *sql, const struct leat_place *sql_place,
                 const struct leat_sql_map *map, struct leat_schema *out) {
    struct leat_error err = {0};
    if (leat_conn_describe(c->conn, sql, out, &err) == LEAT_OK)
        return true;
    int64_t offset = leat_sql_message_offset(sql, err.text);
    struct leat_place place = offset < 0 ? *sql_place : leat_sql_place(map, sql_place, (size_t)offset);
    /* A TUMBLE that was not understood is still in the text; that has been said. */
    bool said = has_error_at(c->diags, place) ||
                (strstr(err.text, "with name tumble does not exist") && leat_diagnostics_errors(c->diags));
    if (!said)
        report(c, place, what, name, sql, err.text);
    return false;
}

/* Two columns of one name could not be told apart by what reads the relation. */
static bool check_names(struct checker *c, const char *what, const char *name, struct leat_place place, const struct leat_schema *schema) {
    for (size_t i = 0; i < schema->field_count; i++) {
        if (leat_schema_find(schema, schema->fields[i].name) == (int)i)
            continue;
        leat_diagnose(c->diags, place, false, "give one of them another name by AS", "%s '%s' has two columns '%s'", what, name,
                      schema->fields[i].name);
        return false;
    }
    return true;
}

static bool check_key(struct checker *c, const struct leat_table *table, const struct leat_schema *schema) {
    bool ok = true;
    const char **names = leat_alloc((schema->field_count + 1) * sizeof *names);
    for (size_t i = 0; i < schema->field_count; i++)
        names[i] = schema->fields[i].name;
    for (size_t i = 0; i < table->primary_key_count; i++) {
        if (leat_schema_find(schema, table->primary_key[i]) >= 0)
            continue;
        const char *nearest = leat_nearest(table->primary_key[i], names, schema->field_count);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(c->diags, table->key_place, false, hint, "table '%s': the primary key's column '%s' is not in its result",
                      table->name, table->primary_key[i]);
        free(hint);
        ok = false;
    }
    free(names);
    return ok;
}

/* The place of a byte of a constraint's expression, which stands in the file as it is. */
static struct leat_place expression_place(const struct leat_constraint *constraint, int64_t offset) {
    struct leat_place place = constraint->expression_place;
    if (offset < 0)
        return place;
    int line, column;
    leat_text_place(constraint->expression, strlen(constraint->expression), (size_t)offset, &line, &column);
    place.column = line == 1 ? place.column + column - 1 : column;
    place.line += line - 1;
    return place;
}

static bool check_constraint(struct checker *c, const struct leat_table *table, const struct leat_constraint *constraint) {
    static const char before[] = "SELECT ";
    struct leat_schema schema = {0};
    struct leat_error err = {0};
    char *sql = leat_asprintf("%s%s\n FROM (%s\n) AS rows_of_table", before, constraint->expression, table->sql);
    bool ok = leat_conn_describe(c->conn, sql, &schema, &err) == LEAT_OK;
    if (!ok) {
        int64_t offset = leat_sql_message_offset(sql, err.text) - (int64_t)strlen(before);
        if (offset > (int64_t)strlen(constraint->expression))
            offset = -1;
        report(c, expression_place(constraint, offset), "constraint", constraint->name, sql, err.text);
    } else if (schema.field_count != 1 || schema.fields[0].type.kind != LEAT_BOOLEAN) {
        char type[32] = "several columns";
        if (schema.field_count == 1)
            leat_type_print(schema.fields[0].type, type);
        leat_diagnose(c->diags, constraint->expression_place, false, NULL, "constraint '%s' must be a condition (BOOLEAN), not %s",
                      constraint->name, type);
        ok = false;
    }
    free(sql);
    leat_schema_deinit(&schema);
    return ok;
}

/* Makes the relation known to the queries after it. */
static enum leat_status declare(struct checker *c, const char *name, const char *sql, const struct leat_schema *schema, struct leat_error *err) {
    struct leat_buffer view = {0};
    bool nested = sql && !schema;
    for (size_t i = 0; schema && i < schema->field_count; i++)
        nested |= schema->fields[i].type.kind == LEAT_NESTED;
    if (!nested)
        return leat_conn_input(c->conn, name, schema, true, err);
    leat_put(&view, "CREATE TEMP VIEW ");
    leat_put_sql_name(&view, name);
    leat_putf(&view, " AS %s", sql);
    enum leat_status status = leat_conn_exec(c->conn, view.data, err);
    leat_buffer_deinit(&view);
    return status;
}

static enum leat_status check_source(struct checker *c, size_t index, struct leat_error *err) {
    struct leat_schema schema = {0};
    leat_source_row_schema(&c->project->sources[index], &schema);
    enum leat_status status = declare(c, c->project->sources[index].name, NULL, &schema, err);
    c->good[LEAT_OBJECT_SOURCE][index] = status == LEAT_OK;
    leat_schema_deinit(&schema);
    return status;
}

/* Views too are declared by their columns: binding a view of views again and again grows without bound. */
static enum leat_status check_view(struct checker *c, size_t index, struct leat_error *err) {
    const struct leat_view *view = &c->project->views[index];
    struct leat_schema schema = {0};
    enum leat_status status = LEAT_OK;
    if (inputs_good(c, view->inputs, view->input_count) && view->sql &&
        bind(c, "view", view->name, view->sql, &view->sql_place, &view->map, &schema) &&
        check_names(c, "view", view->name, view->place, &schema)) {
        status = declare(c, view->name, view->sql, &schema, err);
        c->good[LEAT_OBJECT_VIEW][index] = status == LEAT_OK;
    }
    leat_schema_deinit(&schema);
    return status;
}

static enum leat_status check_table(struct checker *c, size_t index, struct leat_error *err) {
    const struct leat_table *table = &c->project->tables[index];
    struct leat_schema schema = {0};
    enum leat_status status = LEAT_OK;
    if (inputs_good(c, table->inputs, table->input_count) && table->sql &&
        bind(c, "table", table->name, table->sql, &table->sql_place, &table->map, &schema)) {
        bool ok = check_names(c, "table", table->name, table->place, &schema);
        ok &= check_key(c, table, &schema);
        for (size_t i = 0; i < table->constraint_count; i++)
            ok &= check_constraint(c, table, &table->constraints[i]);
        if (ok)
            status = declare(c, table->name, table->sql, &schema, err);
        c->good[LEAT_OBJECT_TABLE][index] = ok && status == LEAT_OK;
    }
    leat_schema_deinit(&schema);
    return status;
}

/* Both sides have the columns that tell rows apart. */
static void check_check(struct checker *c, const struct leat_check_def *check) {
    struct leat_schema other = {0}, table = {0};
    struct leat_error err = {0};
    if (check->table == SIZE_MAX || !c->good[LEAT_OBJECT_TABLE][check->table] || !check->sql)
        return;
    char *sql = leat_asprintf("SELECT * FROM \"%s\"", check->of);
    if (bind(c, "check", check->name, check->sql, &check->sql_place, &check->map, &other) && leat_conn_describe(c->conn, sql, &table, &err) == LEAT_OK) {
        for (size_t i = 0; i < check->key_count; i++) {
            bool here = leat_schema_find(&table, check->key[i]) >= 0, there = leat_schema_find(&other, check->key[i]) >= 0;
            if (!here || !there)
                leat_diagnose(c->diags, check->key_place, false, "name it alike in both by AS", "check '%s': %s has no column '%s'", check->name,
                              here ? "what it compares with" : "the table", check->key[i]);
        }
    }
    free(sql);
    leat_schema_deinit(&other);
    leat_schema_deinit(&table);
}

enum leat_status leat_project_check_queries(const struct leat_project *project, struct leat_duck *shared, struct leat_diagnostics *diags, struct leat_error *err) {
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN, .threads = 1};
    struct leat_duck *duck = shared;
    struct checker c = {.project = project, .diags = diags};
    c.good[LEAT_OBJECT_SOURCE] = leat_alloc(project->source_count + 1);
    c.good[LEAT_OBJECT_VIEW] = leat_alloc(project->view_count + 1);
    c.good[LEAT_OBJECT_TABLE] = leat_alloc(project->table_count + 1);
    enum leat_status status = shared ? LEAT_OK : leat_duck_open(&options, &duck, err);
    if (status == LEAT_OK)
        status = leat_conn_open(duck, &c.conn, err);
    if (status == LEAT_OK)
        status = leat_project_check_zones(project, c.conn, diags, err);
    for (size_t i = 0; i < project->order_count && status == LEAT_OK; i++) {
        struct leat_object_ref ref = project->order[i];
        status = ref.kind == LEAT_OBJECT_SOURCE ? check_source(&c, ref.index, err)
                 : ref.kind == LEAT_OBJECT_VIEW ? check_view(&c, ref.index, err)
                                                : check_table(&c, ref.index, err);
    }
    for (size_t i = 0; i < project->check_count && status == LEAT_OK; i++)
        check_check(&c, &project->checks[i]);
    leat_conn_close(c.conn);
    if (!shared)
        leat_duck_close(duck);
    for (size_t i = 0; i < 3; i++)
        free(c.good[i]);
    leat_diagnostics_sort(diags);
    return status;
}
