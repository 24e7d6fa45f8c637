/* CREATE CHECK name COMPARE table WITH (query) | relation BY column, ... [SCHEDULE CRON '...' [AT TIME ZONE '...']] */
#include "project/parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void leat_check_def_deinit(struct leat_check_def *check) {
    for (size_t i = 0; i < check->key_count; i++)
        free(check->key[i]);
    free(check->key);
    free(check->name);
    free(check->of);
    free(check->sql);
    free(check->map.pieces);
    free(check->cron);
    free(check->time_zone);
    *check = (struct leat_check_def){0};
}

static bool claim_name(struct leat_parser *p, const struct leat_check_def *check) {
    const struct leat_project *project = p->project;
    for (size_t i = 0; i < project->check_count; i++) {
        const struct leat_place *first = &project->checks[i].place;
        if (strcasecmp(project->checks[i].name, check->name) != 0)
            continue;
        leat_diagnose(p->diags, check->place, false, NULL, "'%s' is declared already in %s:%d:%d", check->name, first->file, first->line, first->column);
        return false;
    }
    return leat_parser_claim_name(p, check->name, check->place);
}

/* The token behind the parenthesis that closes the one at p->at; 0: none. */
static size_t behind_parenthesis(const struct leat_parser *p) {
    int depth = 0;
    for (size_t at = p->at; at < p->end; at++) {
        depth += leat_token_is_operator(&p->tokens, at, "(");
        depth -= leat_token_is_operator(&p->tokens, at, ")");
        if (depth == 0)
            return at + 1;
    }
    return 0;
}

static bool parse_query(struct leat_parser *p, struct leat_check_def *check) {
    const struct leat_object_ref nobody = {LEAT_OBJECT_VIEW, SIZE_MAX};
    size_t behind = behind_parenthesis(p), end = p->end;
    if (!behind) {
        leat_parser_error(p, p->at, NULL, "this parenthesis is not closed");
        return false;
    }
    p->at++;
    p->end = behind - 1;
    bool ok = p->at < p->end ? leat_parser_query(p, nobody, &check->sql, &check->sql_place, &check->map) : leat_parser_expected(p, "a query");
    p->at = behind;
    p->end = end;
    return ok;
}

/* WITH relation: all of its rows. */
static bool parse_relation(struct leat_parser *p, struct leat_check_def *check) {
    struct leat_query query = {.object = {LEAT_OBJECT_VIEW, SIZE_MAX}};
    struct leat_place place = leat_parser_place(p, p->at);
    char *name = leat_parser_name(p, "a query in parentheses, or the name of a source, view or table");
    if (!name)
        return false;
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT * FROM ");
    leat_put_sql_name(&sql, name);
    check->sql = sql.data;
    check->sql_place = place;
    query.references = leat_alloc(sizeof *query.references);
    query.references[query.reference_count++] = (struct leat_reference){.name = name, .place = place};
    p->queries = leat_realloc(p->queries, (p->query_count + 1) * sizeof *p->queries);
    p->queries[p->query_count++] = query;
    return true;
}

/* BY a, b or BY (a, b) */
static bool parse_key(struct leat_parser *p, struct leat_check_def *check) {
    if (!leat_parser_expect(p, "BY"))
        return false;
    check->key_place = leat_parser_place(p, p->at);
    if (leat_parser_is_operator(p, "("))
        return leat_parser_name_list(p, &check->key, &check->key_count);
    do {
        char *name = leat_parser_name(p, "a column that tells rows apart");
        if (!name)
            return false;
        check->key = leat_realloc(check->key, (check->key_count + 1) * sizeof *check->key);
        check->key[check->key_count++] = name;
    } while (leat_parser_accept_operator(p, ","));
    return true;
}

static bool parse_schedule(struct leat_parser *p, struct leat_check_def *check) {
    struct leat_table table = {0};
    if (!leat_parser_accept(p, "SCHEDULE"))
        return true;
    bool ok = leat_parser_schedule(p, &table);
    check->cron = table.cron;
    check->time_zone = table.time_zone;
    return ok;
}

static bool parse_parts(struct leat_parser *p, struct leat_check_def *check) {
    if (!leat_parser_expect(p, "COMPARE"))
        return false;
    check->of_place = leat_parser_place(p, p->at);
    check->of = leat_parser_relation_name(p, "the table's name");
    if (!check->of || !leat_parser_expect(p, "WITH"))
        return false;
    if (!(leat_parser_is_operator(p, "(") ? parse_query(p, check) : parse_relation(p, check)))
        return false;
    if (!parse_key(p, check) || !parse_schedule(p, check))
        return false;
    return leat_parser_at_end(p) || leat_parser_expected(p, "SCHEDULE or ';'");
}

void leat_parser_check(struct leat_parser *p) {
    struct leat_check_def check = {.place = leat_parser_place(p, p->at), .table = SIZE_MAX};
    struct leat_project *project = p->project;
    check.name = leat_parser_relation_name(p, "the check's name");
    if (!check.name)
        return;
    if (!claim_name(p, &check) || !parse_parts(p, &check)) {
        leat_check_def_deinit(&check);
        return;
    }
    project->checks = leat_realloc(project->checks, (project->check_count + 1) * sizeof *project->checks);
    project->checks[project->check_count++] = check;
}

void leat_parser_resolve_checks(struct leat_parser *p) {
    const struct leat_project *project = p->project;
    const char **names = leat_alloc((project->table_count + 1) * sizeof *names);
    for (size_t i = 0; i < project->table_count; i++)
        names[i] = project->tables[i].name;
    for (size_t i = 0; i < project->check_count; i++) {
        struct leat_check_def *check = &project->checks[i];
        struct leat_object_ref ref;
        if (leat_project_find(project, check->of, &ref) && ref.kind == LEAT_OBJECT_TABLE) {
            check->table = ref.index;
            continue;
        }
        const char *nearest = leat_nearest(check->of, names, project->table_count);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(p->diags, check->of_place, false, hint, "there is no materialized table '%s'", check->of);
        free(hint);
    }
    free(names);
}
