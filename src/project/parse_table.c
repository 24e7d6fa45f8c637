/* CREATE VIEW and CREATE MATERIALIZED TABLE. */
#include "project/parse.h"

#include "schedule/cron.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void leat_parser_view(struct leat_parser *p) {
    struct leat_view view = {.place = leat_parser_place(p, p->at)};
    struct leat_project *project = p->project;
    view.name = leat_parser_relation_name(p, "the view's name");
    if (!view.name)
        return;
    bool fresh = leat_parser_claim_name(p, view.name, view.place);
    struct leat_object_ref object = {LEAT_OBJECT_VIEW, fresh ? project->view_count : SIZE_MAX};
    bool ok = false;
    if (leat_parser_is_operator(p, "("))
        leat_parser_error(p, p->at, "name the columns in the SELECT by AS", "a view has no column list here");
    else
        ok = leat_parser_expect(p, "AS") && leat_parser_query(p, object, &view.sql, &view.sql_place, &view.map);
    if (!fresh) {
        leat_view_deinit(&view);
        return;
    }
    if (!ok)
        leat_parser_mark_broken(p, object);
    project->views = leat_realloc(project->views, (project->view_count + 1) * sizeof *project->views);
    project->views[project->view_count++] = view;
}

/* ---- materialized tables ---- */

enum clause {
    CLAUSE_FRESHNESS = 1,
    CLAUSE_SCHEDULE = 2,
    CLAUSE_LATENESS = 4,
    CLAUSE_EMIT = 8,
    CLAUSE_MODE = 16,
    CLAUSE_FROZEN = 32,
};
struct table_draft {
    struct leat_table table;
    unsigned seen; /* clauses */
    struct leat_place schedule_place;
};

/* Moves to behind the `)` that closes the `(` before the current token. */
static bool balanced(struct leat_parser *p) {
    for (int depth = 1; p->at < p->end; p->at++) {
        depth += leat_parser_is_operator(p, "(");
        depth -= leat_parser_is_operator(p, ")");
        if (depth == 0) {
            p->at++;
            return true;
        }
    }
    return leat_parser_expected(p, "')'");
}

static bool parse_violation(struct leat_parser *p, enum leat_violation *out) {
    if (leat_parser_accept(p, "DROP")) {
        *out = LEAT_ON_DROP_ROW;
        return leat_parser_expect(p, "ROW");
    }
    if (leat_parser_accept(p, "FAIL")) {
        *out = LEAT_ON_FAIL_UPDATE;
        return leat_parser_expect(p, "UPDATE");
    }
    if (leat_parser_accept(p, "QUARANTINE")) {
        *out = LEAT_ON_QUARANTINE;
        return true;
    }
    return leat_parser_expected(p, "DROP ROW, QUARANTINE or FAIL UPDATE");
}

/* CONSTRAINT n EXPECT (e) [ON VIOLATION ...]; the word is read. */
static bool parse_constraint(struct leat_parser *p, struct leat_table *table) {
    struct leat_constraint constraint = {.place = leat_parser_place(p, p->at), .action = LEAT_ON_QUARANTINE};
    constraint.name = leat_parser_name(p, "the constraint's name");
    if (!constraint.name)
        return false;
    for (size_t i = 0; i < table->constraint_count; i++) {
        if (strcasecmp(table->constraints[i].name, constraint.name) == 0) {
            leat_parser_error(p, p->at - 1, NULL, "the constraint '%s' is declared twice", constraint.name);
            goto failed;
        }
    }
    if (!leat_parser_expect(p, "EXPECT") || !leat_parser_expect_operator(p, "("))
        goto failed;
    size_t first = p->at;
    constraint.expression_place = leat_parser_place(p, first);
    if (!balanced(p))
        goto failed;
    if (p->at - 1 == first) {
        leat_parser_error(p, first, NULL, "the constraint '%s' expects nothing", constraint.name);
        goto failed;
    }
    constraint.expression = leat_parser_text(p, first, p->at - 1);
    if (!leat_parser_is(p, "ON")) {
        leat_parser_error(p, p->at, "add ON VIOLATION DROP ROW, QUARANTINE or FAIL UPDATE",
                          "the constraint '%s' does not say what happens to a row that violates it", constraint.name);
        goto failed;
    }
    if (!leat_parser_expect(p, "ON") || !leat_parser_expect(p, "VIOLATION") || !parse_violation(p, &constraint.action))
        goto failed;
    table->constraints = leat_realloc(table->constraints, (table->constraint_count + 1) * sizeof *table->constraints);
    table->constraints[table->constraint_count++] = constraint;
    return true;
failed:
    free(constraint.name);
    free(constraint.expression);
    return false;
}

static bool parse_key(struct leat_parser *p, struct table_draft *draft) {
    size_t at = p->at++;
    struct leat_table *table = &draft->table;
    if (!leat_parser_expect(p, "KEY"))
        return false;
    if (table->primary_key_count) {
        leat_parser_error(p, at, NULL, "this table has a primary key already");
        return false;
    }
    table->key_place = leat_parser_place(p, p->at);
    if (!leat_parser_name_list(p, &table->primary_key, &table->primary_key_count))
        return false;
    for (size_t i = 0; i < table->primary_key_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcasecmp(table->primary_key[i], table->primary_key[k]) == 0) {
                leat_parser_error(p, at, NULL, "the primary key names column '%s' twice", table->primary_key[i]);
                return false;
            }
        }
    }
    return true;
}

/* (PRIMARY KEY (...), CONSTRAINT ...) */
static bool parse_table_items(struct leat_parser *p, struct table_draft *draft) {
    bool ok = true;
    do {
        bool item;
        if (leat_parser_is(p, "PRIMARY"))
            item = parse_key(p, draft);
        else if (leat_parser_accept(p, "CONSTRAINT"))
            item = parse_constraint(p, &draft->table);
        else {
            leat_parser_expected(p, "PRIMARY KEY or CONSTRAINT (columns come from the SELECT)");
            item = false;
        }
        if (item && !leat_parser_is_operator(p, ",") && !leat_parser_is_operator(p, ")"))
            item = leat_parser_expected(p, "',' or ')'");
        if (!item) {
            ok = false;
            leat_parser_skip_item(p);
        }
    } while (leat_parser_accept_operator(p, ","));
    return leat_parser_expect_operator(p, ")") && ok;
}

/* Letters, digits and / _ - + only: the name itself is checked against the zone data when it is loaded. */
static bool plausible_zone(const char *name) {
    size_t length = strlen(name);
    return length > 0 && length < 64 && name[0] != '/' && !strstr(name, "..") &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-+") == length;
}

/* [AT TIME ZONE '...'] */
static bool parse_zone(struct leat_parser *p, struct leat_table *table) {
    if (!leat_parser_accept(p, "AT"))
        return true;
    if (!leat_parser_expect(p, "TIME") || !leat_parser_expect(p, "ZONE"))
        return false;
    size_t at = p->at;
    free(table->time_zone);
    table->time_zone_place = leat_parser_place(p, at);
    table->time_zone = leat_parser_string(p, "the time zone, such as 'Europe/Berlin'");
    if (!table->time_zone || plausible_zone(table->time_zone))
        return table->time_zone != NULL;
    leat_parser_error(p, at, "for example 'UTC' or 'Europe/Berlin'", "'%s' is not the name of a time zone", table->time_zone);
    return false;
}

/* '07:00'; '24:00' is midnight, too */
static bool parse_time_of_day(struct leat_parser *p, const char *what, int *minute) {
    size_t at = p->at;
    char *text = leat_parser_string(p, what);
    if (!text)
        return false;
    bool midnight = strcmp(text, "24:00") == 0, ok = midnight || (leat_setting_time_of_day(text, minute) && *minute >= 0);
    if (midnight)
        *minute = 0;
    if (!ok)
        leat_parser_error(p, at, "write hours and minutes, such as '07:00'", "'%s' is no time of the day", text);
    free(text);
    return ok;
}

/* BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR [AT TIME ZONE '...']; the word is read. */
static bool parse_calendar(struct leat_parser *p, struct leat_table *table) {
    struct leat_calendar *c = &table->calendar;
    size_t at = p->at;
    if (!parse_time_of_day(p, "a time of the day, such as '07:00'", &c->from_minute) || !leat_parser_expect(p, "AND") ||
        !parse_time_of_day(p, "a time of the day, such as '23:00'", &c->to_minute))
        return false;
    if (c->from_minute == c->to_minute) {
        leat_parser_error(p, at, "leave BETWEEN and ELSE out where one freshness holds all day", "FRESHNESS: the two times are the same");
        return false;
    }
    if (!leat_parser_accept(p, "ELSE")) {
        char found[64];
        leat_parser_show(p, p->at, found);
        leat_parser_error(p, p->at, "add ELSE INTERVAL '1' HOUR: how fresh outside of these hours", "expected ELSE, found %s", found);
        return false;
    }
    return leat_parser_interval(p, "FRESHNESS", true, &c->else_us) && parse_zone(p, table);
}

static bool parse_freshness(struct leat_parser *p, struct leat_table *table) {
    static const char *const words[] = {"BETWEEN", NULL};
    leat_parser_accept_operator(p, "=");
    if (leat_parser_accept(p, "DOWNSTREAM")) {
        table->downstream = true;
        return true;
    }
    if (!leat_parser_is(p, "INTERVAL"))
        return leat_parser_expected(p, "INTERVAL '...' or DOWNSTREAM");
    if (!leat_parser_interval(p, "FRESHNESS", true, &table->freshness_us))
        return false;
    if (leat_parser_accept(p, "BETWEEN"))
        return parse_calendar(p, table);
    if (!leat_parser_is(p, "FROM") && !leat_parser_is(p, "DURING") && !leat_parser_is(p, "ELSE") && !leat_parser_nearest(p, p->at, words))
        return true;
    char found[64];
    leat_parser_show(p, p->at, found);
    leat_parser_error(p, p->at, "write FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR", "expected BETWEEN, found %s", found);
    return false;
}

bool leat_parser_schedule(struct leat_parser *p, struct leat_table *table) {
    struct leat_error err = {0};
    struct leat_cron cron;
    leat_parser_accept_operator(p, "=");
    if (!leat_parser_expect(p, "CRON"))
        return false;
    size_t at = p->at;
    free(table->cron);
    table->cron = leat_parser_string(p, "the cron expression, such as '0 2 * * *'");
    if (!table->cron)
        return false;
    bool ok = leat_cron_parse(table->cron, &cron, &err) == LEAT_OK;
    if (!ok)
        leat_parser_error(p, at, NULL, "%s", err.text);
    return parse_zone(p, table) && ok;
}

/* [READY BY '07:00'] [AT TIME ZONE ...], the zone before it or behind it */
static bool parse_ready(struct leat_parser *p, struct leat_table *table) {
    if (!leat_parser_accept(p, "READY"))
        return true;
    if (!leat_parser_expect(p, "BY") || !parse_time_of_day(p, "the time by which it is ready, such as '07:00'", &table->ready_minute))
        return false;
    table->ready_given = true;
    if (table->time_zone && leat_parser_is(p, "AT")) {
        leat_parser_error(p, p->at, "CRON and READY BY are of one time zone", "the time zone is said twice");
        return false;
    }
    return parse_zone(p, table);
}

static bool parse_mode(struct leat_parser *p, struct leat_table *table) {
    static const char *const names[] = {"AUTO", "INCREMENTAL", "FULL", NULL};
    leat_parser_accept_operator(p, "=");
    for (int i = 0; names[i]; i++) {
        if (leat_parser_accept(p, names[i])) {
            table->mode = (enum leat_refresh_mode)i;
            return true;
        }
    }
    const char *nearest = leat_parser_nearest(p, p->at, names);
    if (!nearest)
        return leat_parser_expected(p, "AUTO, INCREMENTAL or FULL");
    char found[64];
    leat_parser_show(p, p->at, found);
    char *hint = leat_asprintf("did you mean %s?", nearest);
    leat_parser_error(p, p->at, hint, "REFRESH_MODE is AUTO, INCREMENTAL or FULL, not %s", found);
    free(hint);
    return false;
}

/* The token at which a condition of one comparison is taken apart; `end`: there is none, or there are several. */
static size_t find_comparison(const struct leat_parser *p, size_t first, size_t end) {
    struct leat_parser at = *p;
    size_t found = end, depth = 0;
    for (at.at = first; at.at < end; at.at++) {
        depth += leat_parser_is_operator(&at, "(");
        depth -= leat_parser_is_operator(&at, ")");
        bool compares = leat_parser_is_operator(&at, "<") || leat_parser_is_operator(&at, "<=") || leat_parser_is_operator(&at, ">") ||
                        leat_parser_is_operator(&at, ">=");
        if (depth || !compares) continue;
        if (found < end) return end;
        found = at.at;
    }
    return found;
}

/* One name, and not one of the clock's. */
static bool is_column(const struct leat_parser *p, size_t first, size_t end) {
    static const char *const clock[] = {"current_date", "current_timestamp", "localtimestamp"};
    struct leat_parser at = *p;
    at.at = first;
    if (end != first + 1 || (leat_parser_kind(&at) != LEAT_TOKEN_WORD && leat_parser_kind(&at) != LEAT_TOKEN_QUOTED)) return false;
    for (size_t i = 0; i < sizeof clock / sizeof *clock; i++)
        if (leat_parser_is_at(p, first, clock[i])) return false;
    return true;
}

#define FROZEN_FORM "write FROZEN WHERE (window_start < date_trunc('month', now())): a column of the table, < or <=, and a bound"

/* FROZEN WHERE (column < bound); the first word is read. */
static bool parse_frozen(struct leat_parser *p, struct leat_table *table) {
    struct leat_frozen_where *frozen = &table->frozen;
    frozen->place = leat_parser_place(p, p->at - 1);
    if (!leat_parser_expect(p, "WHERE") || !leat_parser_expect_operator(p, "(")) return false;
    size_t first = p->at;
    if (!balanced(p)) return false;
    size_t end = p->at - 1, at = find_comparison(p, first, end);
    bool left = at < end && is_column(p, first, at), right = at < end && !left && is_column(p, at + 1, end);
    if ((!left && !right) || at == first || at + 1 >= end) {
        leat_parser_error(p, first, FROZEN_FORM, "FROZEN WHERE takes one comparison of a column with a bound");
        return false;
    }
    struct leat_parser operator = *p;
    operator.at = at;
    bool less = leat_parser_is_operator(&operator, "<") || leat_parser_is_operator(&operator, "<=");
    if (less != left) {
        leat_parser_error(p, at, FROZEN_FORM, "FROZEN WHERE takes the rows that are before the bound: what is frozen stays so");
        return false;
    }
    frozen->inclusive = leat_parser_is_operator(&operator, "<=") || leat_parser_is_operator(&operator, ">=");
    frozen->column = leat_token_value(&p->tokens, left ? first : at + 1);
    frozen->column_place = leat_parser_place(p, left ? first : at + 1);
    frozen->bound = leat_parser_text(p, left ? at + 1 : first, left ? end : at);
    frozen->bound_place = leat_parser_place(p, left ? at + 1 : first);
    return true;
}

static bool unknown_clause(struct leat_parser *p) {
    static const char *const words[] = {"FRESHNESS", "SCHEDULE",   "ALLOW", "EMIT", "REFRESH_MODE",
                                        "FROZEN", "CONSTRAINT", "PRIMARY", "AS",    NULL};
    static const struct {
        const char *word, *what, *hint;
    } later[] = {
        {"READY", "READY BY without SCHEDULE CRON", "say SCHEDULE CRON '0 2 * * *' READY BY '07:00'"},
        {"LATE", "LATE DATA TO", "leave it out: late records are kept in the table's own late-data table"},
        {"PARTITIONED", "PARTITIONED BY", "leave it out"},
        {"CLUSTER", "CLUSTER BY", "leave it out"},
        {"COMMENT", "COMMENT", "say it in an SQL comment (-- ...)"},
        {"WITH", "WITH options of a table", "leave them out"},
    };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (leat_parser_is(p, later[i].word)) {
            leat_parser_error(p, p->at, later[i].hint, "this version of leat does not run %s", later[i].what);
            return false;
        }
    }
    const char *nearest = leat_parser_nearest(p, p->at, words);
    char found[64];
    leat_parser_show(p, p->at, found);
    char *hint = nearest ? leat_asprintf("did you mean %s?", nearest) : NULL;
    leat_parser_error(p, p->at, hint, "expected FRESHNESS, SCHEDULE, another clause or AS, found %s", found);
    free(hint);
    return false;
}

static bool once(struct leat_parser *p, struct table_draft *draft, enum clause clause, const char *name) {
    if (draft->seen & clause) {
        leat_parser_error(p, p->at - 1, NULL, "%s is said twice", name);
        return false;
    }
    draft->seen |= clause;
    return true;
}

/* One clause; false when it is wrong (reported). */
static bool parse_clause(struct leat_parser *p, struct table_draft *draft) {
    struct leat_table *table = &draft->table;
    if (leat_parser_accept(p, "FRESHNESS"))
        return once(p, draft, CLAUSE_FRESHNESS, "FRESHNESS") && parse_freshness(p, table);
    if (leat_parser_accept(p, "SCHEDULE")) {
        draft->schedule_place = leat_parser_place(p, p->at - 1);
        return once(p, draft, CLAUSE_SCHEDULE, "SCHEDULE") && leat_parser_schedule(p, table) && parse_ready(p, table);
    }
    if (leat_parser_accept(p, "ALLOW")) {
        if (!once(p, draft, CLAUSE_LATENESS, "ALLOW LATENESS") || !leat_parser_expect(p, "LATENESS"))
            return false;
        leat_parser_accept_operator(p, "=");
        table->lateness_given = true;
        return leat_parser_interval(p, "ALLOW LATENESS", false, &table->lateness_us);
    }
    if (leat_parser_accept(p, "EMIT")) {
        table->emit_on_window_close = true;
        return once(p, draft, CLAUSE_EMIT, "EMIT ON WINDOW CLOSE") && leat_parser_expect(p, "ON") &&
               leat_parser_expect(p, "WINDOW") && leat_parser_expect(p, "CLOSE");
    }
    if (leat_parser_accept(p, "REFRESH_MODE"))
        return once(p, draft, CLAUSE_MODE, "REFRESH_MODE") && parse_mode(p, table);
    if (leat_parser_accept(p, "FROZEN"))
        return once(p, draft, CLAUSE_FROZEN, "FROZEN WHERE") && parse_frozen(p, table);
    if (leat_parser_accept(p, "CONSTRAINT"))
        return parse_constraint(p, table);
    if (leat_parser_is(p, "PRIMARY"))
        return parse_key(p, draft);
    return unknown_clause(p);
}

static bool starts_clause(const struct leat_parser *p) {
    return leat_parser_is(p, "FRESHNESS") || leat_parser_is(p, "SCHEDULE") || leat_parser_is(p, "ALLOW") ||
           leat_parser_is(p, "EMIT") || leat_parser_is(p, "REFRESH_MODE") || leat_parser_is(p, "CONSTRAINT") ||
           leat_parser_is(p, "PRIMARY") || leat_parser_is(p, "FROZEN");
}

/* Clauses up to AS; after a wrong one goes on with the next word that begins a clause. */
static bool parse_table_clauses(struct leat_parser *p, struct table_draft *draft) {
    bool ok = true;
    while (!leat_parser_at_end(p) && !leat_parser_is(p, "AS")) {
        size_t at = p->at;
        if (parse_clause(p, draft))
            continue;
        ok = false;
        if (p->at == at)
            p->at++;
        while (!leat_parser_at_end(p) && !leat_parser_is(p, "AS") && !starts_clause(p))
            p->at++;
    }
    return ok;
}

/* EMIT ON WINDOW CLOSE at the statement's end, behind the query. */
static void strip_trailing_emit(struct leat_parser *p, struct table_draft *draft) {
    static const char *const words[] = {"EMIT", "ON", "WINDOW", "CLOSE"};
    if (p->end < p->at + 5)
        return;
    for (size_t i = 0; i < 4; i++)
        if (!leat_parser_is_at(p, p->end - 4 + i, words[i]))
            return;
    p->end -= 4;
    draft->table.emit_on_window_close = true;
}

/* clauses_ok: without it a missing clause may only be misspelt, which is reported already. */
static bool check_freshness(struct leat_parser *p, const struct table_draft *draft, bool clauses_ok) {
    unsigned both = CLAUSE_FRESHNESS | CLAUSE_SCHEDULE;
    if ((draft->seen & both) == both) {
        leat_diagnose(p->diags, draft->schedule_place, false, "keep one of the two",
                      "table '%s' has both FRESHNESS and SCHEDULE", draft->table.name);
        return false;
    }
    if (!(draft->seen & both) && clauses_ok) {
        leat_diagnose(p->diags, draft->table.place, false,
                      "say FRESHNESS = INTERVAL '1' MINUTE or SCHEDULE CRON '0 2 * * *'",
                      "table '%s' has neither FRESHNESS nor SCHEDULE", draft->table.name);
        return false;
    }
    return true;
}

/* Folders of the lake that others have. A table with its name there would be in the midst of them, and take them along when it is replaced. */
static bool has_folder_of_its_own(struct leat_parser *p, const char *name) {
    static const char *const taken[] = {"bronze", "dead", "pins"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strcasecmp(taken[i], name) != 0)
            continue;
        leat_parser_error(p, p->at - 1, "the lake's folder of that name has what leat itself keeps there; say more, such as bronze_orders",
                          "'%s' cannot be the name of a table", name);
        return false;
    }
    return true;
}

void leat_parser_table(struct leat_parser *p) {
    struct table_draft draft = {.table = {.place = leat_parser_place(p, p->at)}};
    struct leat_table *table = &draft.table;
    struct leat_project *project = p->project;
    table->name = leat_parser_relation_name(p, "the table's name");
    if (!table->name)
        return;
    bool fresh = leat_parser_claim_name(p, table->name, table->place);
    struct leat_object_ref object = {LEAT_OBJECT_TABLE, fresh ? project->table_count : SIZE_MAX};
    bool ok = has_folder_of_its_own(p, table->name);
    if (leat_parser_accept_operator(p, "("))
        ok &= parse_table_items(p, &draft);
    ok &= parse_table_clauses(p, &draft);
    bool clauses_ok = ok;
    if (leat_parser_expect(p, "AS")) {
        strip_trailing_emit(p, &draft);
        ok &= leat_parser_query(p, object, &table->sql, &table->sql_place, &table->map);
    } else {
        ok = false;
    }
    ok &= check_freshness(p, &draft, clauses_ok);
    if (!fresh) {
        leat_table_deinit(table);
        return;
    }
    if (!ok)
        leat_parser_mark_broken(p, object);
    project->tables = leat_realloc(project->tables, (project->table_count + 1) * sizeof *project->tables);
    project->tables[project->table_count++] = *table;
}
