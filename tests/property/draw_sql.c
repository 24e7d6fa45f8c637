/* Draws queries from a small grammar with types, so that nearly all of them bind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "property.h"

enum kind { INT, STR, DEC, DBL, BOOL, TIME, DAY };
struct column { char name[32]; enum kind kind; };
struct relation {
    char *sql;
    struct column columns[24];
    size_t count;
    bool windowed;     /* window_start comes from TUMBLE over the source */
    bool by_window;    /* the outermost query groups by it */
    bool changing;     /* rows can go again: windows over them are never final */
};
static bool old_times; /* of the case being drawn: its event times lie around 1970 */

static void add(struct relation *rel, const char *name, enum kind kind) {
    snprintf(rel->columns[rel->count].name, sizeof rel->columns[0].name, "%s", name);
    rel->columns[rel->count++].kind = kind;
}

static bool has_column(const struct relation *rel, const char *name) {
    for (size_t i = 0; i < rel->count; i++)
        if (strcmp(rel->columns[i].name, name) == 0) return true;
    return false;
}

/* A name that neither relation has yet. */
static void fresh_name(const struct relation *rel, const struct relation *also, const char *stem, char out[32]) {
    for (unsigned n = 0;; n++) {
        snprintf(out, 32, "%.20s%u", stem, n);
        if (!has_column(rel, out) && (!also || !has_column(also, out))) return;
    }
}

static const struct column *any(struct leat_random *r, const struct relation *rel) {
    return &rel->columns[prop_below(r, rel->count)];
}

static const struct column *of_kind(struct leat_random *r, const struct relation *rel, enum kind kind) {
    for (int tries = 0; tries < 12; tries++) {
        const struct column *c = any(r, rel);
        if (c->kind == kind) return c;
    }
    return NULL;
}

static void put_predicate(struct leat_random *r, const struct relation *rel, struct leat_buffer *b) {
    const struct column *c = any(r, rel);
    switch (c->kind) {
    case INT: leat_putf(b, "%s %s %d", c->name, prop_chance(r, 50) ? ">" : "<>", (int)prop_below(r, 4)); break;
    case STR: leat_putf(b, "%s %s", c->name, prop_chance(r, 50) ? "<> 'a'" : "IS NOT NULL"); break;
    case DEC: leat_putf(b, "%s >= %d.5", c->name, (int)prop_below(r, 4) - 1); break;
    case DBL: leat_putf(b, "%s < 1e15", c->name); break;
    case BOOL: leat_putf(b, "%s", c->name); break;
    case TIME:
        leat_putf(b, "%s >= TIMESTAMP '%s:0%d:00'", c->name, old_times ? "1970-01-01 00" : "2026-03-01 00", (int)prop_below(r, 4));
        break;
    case DAY: leat_putf(b, "%s IS NOT NULL", c->name); break;
    }
}

static void put_columns(const struct relation *rel, struct leat_buffer *b) {
    for (size_t i = 0; i < rel->count; i++) leat_putf(b, "%s%s", i ? ", " : "", rel->columns[i].name);
}

static struct relation source_relation(struct leat_random *r) {
    struct relation rel = {0};
    add(&rel, "id", STR); add(&rel, "k", INT); add(&rel, "s", STR); add(&rel, "v", INT); add(&rel, "d", DEC); add(&rel, "f", DBL);
    add(&rel, "b", BOOL); add(&rel, "w", DEC); add(&rel, "ts", TIME);
    switch (prop_below(r, 5)) {
    case 0: rel.sql = leat_strdup("SELECT * FROM events"); break;
    case 1: rel.sql = leat_strdup("SELECT DISTINCT ON (id) * FROM events"); break;
    case 2: {
        struct leat_buffer b = {0};
        leat_put(&b, "SELECT DISTINCT ON (id) * FROM events WHERE ");
        put_predicate(r, &rel, &b);
        if (prop_chance(r, 40)) leat_put(&b, " ORDER BY id, ts DESC");
        rel.sql = b.data;
        break;
    }
    case 3:
        if (prop_chance(r, 40)) {
            rel.sql = leat_asprintf("SELECT * FROM SESSION(events, ts, PARTITION BY %s, INTERVAL '%d' SECOND)", prop_chance(r, 70) ? "k" : "s, b",
                                    (int)(1 + prop_below(r, 40)));
            add(&rel, "window_start", TIME);
            add(&rel, "window_end", TIME);
            rel.changing = true;
            break;
        } /* fallthrough */
    default: {
        int width = (int)(1 + prop_below(r, 5));
        if (prop_chance(r, 40))
            rel.sql = leat_asprintf("SELECT * FROM HOP(events, ts, INTERVAL '%d' SECOND, INTERVAL '%d' SECOND)", width * 20,
                                    width * 20 * (int)(1 + prop_below(r, 3)));
        else
            rel.sql = leat_asprintf("SELECT * FROM TUMBLE(events, ts, INTERVAL '%d' MINUTE)", width);
        add(&rel, "window_start", TIME);
        rel.windowed = true;
    }
    }
    return rel;
}

static void wrap(struct relation *rel, struct leat_buffer *b) {
    free(rel->sql);
    rel->sql = b->data;
    rel->by_window = false;
}

static void wrap_changing(struct relation *rel, struct leat_buffer *b) {
    wrap(rel, b);
    rel->changing = true;
}

static void draw_filter(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    leat_putf(&b, "SELECT * FROM (%s) WHERE ", rel->sql);
    put_predicate(r, rel, &b);
    if (prop_chance(r, 30)) {
        leat_put(&b, prop_chance(r, 50) ? " AND " : " OR ");
        put_predicate(r, rel, &b);
    }
    wrap(rel, &b);
}

/* Rows that the reference has, or has not. */
static void draw_membership(struct leat_random *r, struct relation *rel, const struct column *key) {
    struct leat_buffer b = {0};
    static const char *const FORMS[] = {"%s IN (SELECT k FROM things)", "EXISTS (SELECT 1 FROM things t WHERE t.k = l.%s)",
                                        "NOT EXISTS (SELECT 1 FROM things t WHERE t.k = l.%s)",
                                        "NOT EXISTS (SELECT 1 FROM things t WHERE t.k = l.%s AND t.cat = 'red')",
                                        "%s NOT IN (SELECT k FROM things)"};
    size_t form = prop_below(r, 10);
    leat_putf(&b, "SELECT * FROM (%s) l WHERE ", rel->sql);
    leat_putf(&b, FORMS[form < 4 ? form : form < 6 ? 0 : form < 9 ? 2 : 4], key->name);
    wrap_changing(rel, &b);
}

/* A comparison with one value of another relation. */
static void draw_scalar(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    static const char *const VALUES[] = {"max(k) FROM things", "count(*) FROM things WHERE cat = 'red'", "sum(price) FROM things",
                                         "min(k) FROM things WHERE price > 1"};
    const struct column *c = of_kind(r, rel, prop_chance(r, 70) ? INT : DEC);
    if (!c) return;
    leat_putf(&b, "SELECT * FROM (%s) WHERE %s %s (SELECT %s)", rel->sql, c->name, prop_chance(r, 50) ? "<=" : ">",
              VALUES[prop_below(r, 4)]);
    wrap_changing(rel, &b);
}

static void draw_union(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    leat_putf(&b, "SELECT * FROM (%s) WHERE ", rel->sql);
    put_predicate(r, rel, &b);
    leat_putf(&b, " UNION ALL SELECT * FROM (%s) WHERE ", rel->sql);
    put_predicate(r, rel, &b);
    wrap(rel, &b);
}

/* A join with what another table says of the same key. */
static void draw_table_join(struct leat_random *r, struct relation *rel, const struct relation *other, size_t table) {
    struct leat_buffer b = {0};
    const struct column *key = of_kind(r, rel, INT), *theirs = of_kind(r, other, INT);
    char name[32];
    if (!key || !theirs || rel->count > 18) return;
    fresh_name(rel, NULL, "n", name);
    leat_put(&b, "SELECT ");
    for (size_t i = 0; i < rel->count; i++) leat_putf(&b, "l.%s, ", rel->columns[i].name);
    leat_putf(&b, "o.n AS %s FROM (%s) l %s JOIN (SELECT %s AS k, count(*) AS n FROM t%zu GROUP BY %s) o ON o.k = l.%s", name, rel->sql,
              prop_chance(r, 40) ? "LEFT" : "", theirs->name, table, theirs->name, key->name);
    wrap_changing(rel, &b);
    add(rel, name, INT);
}

static void draw_join(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    const struct column *key = of_kind(r, rel, INT);
    if (!key || rel->count > 18) return;
    bool left = prop_chance(r, 35);
    if (prop_chance(r, 35)) {
        draw_membership(r, rel, key);
        return;
    }
    leat_put(&b, "SELECT ");
    for (size_t i = 0; i < rel->count; i++) leat_putf(&b, "l.%s, ", rel->columns[i].name);
    char cat[32], price[32];
    fresh_name(rel, NULL, "cat", cat);
    fresh_name(rel, NULL, "price", price);
    leat_putf(&b, "t.cat AS %s, t.price AS %s FROM (%s) l %s JOIN things t ON t.k = l.%s", cat, price, rel->sql, left ? "LEFT" : "", key->name);
    wrap_changing(rel, &b);
    add(rel, cat, STR);
    add(rel, price, DEC);
}

static void draw_project(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    struct relation out = {.windowed = rel->windowed, .changing = rel->changing};
    leat_put(&b, "SELECT ");
    for (size_t i = 0; i < rel->count; i++) {
        const struct column *c = &rel->columns[i];
        if (out.count && prop_chance(r, 20) && strcmp(c->name, "window_start") != 0) continue;
        if (out.count) leat_put(&b, ", ");
        char name[32];
        fresh_name(rel, &out, "p", name);
        unsigned what = (unsigned)prop_below(r, 6);
        if (c->kind == INT && what == 0) leat_putf(&b, "%s %% 3 AS %s", c->name, name);
        else if (c->kind == STR && what == 0) leat_putf(&b, "upper(%s) AS %s", c->name, name);
        else if (c->kind == DEC && what == 0) leat_putf(&b, "CASE WHEN %s > 1 THEN %s ELSE -1 END AS %s", c->name, c->name, name);
        else if (c->kind == TIME && what == 0 && strcmp(c->name, "window_start") != 0) leat_putf(&b, "date_trunc('minute', %s) AS %s", c->name, name);
        else { leat_put(&b, c->name); snprintf(name, sizeof name, "%s", c->name); }
        add(&out, name, c->kind);
    }
    leat_putf(&b, " FROM (%s)", rel->sql);
    if (prop_chance(r, 15)) {
        const struct column *s = of_kind(r, &out, STR);
        if (s && out.count < 20) {
            struct leat_buffer c = {0}; /* a cast that some rows fail: dead letters */
            char name[32];
            fresh_name(&out, NULL, "cast", name);
            leat_put(&c, "SELECT ");
            put_columns(&out, &c);
            leat_putf(&c, ", CAST(%s AS INTEGER) AS %s FROM (%s)", s->name, name, b.data);
            leat_buffer_deinit(&b);
            b = c;
            add(&out, name, INT);
        }
    }
    free(rel->sql);
    out.sql = b.data;
    *rel = out;
}

static void put_aggregate(struct leat_random *r, const struct relation *rel, struct relation *out, struct leat_buffer *b) {
    char name[32];
    const struct column *c = any(r, rel), *by = of_kind(r, rel, TIME);
    fresh_name(out, rel, "a", name);
    enum kind kind = INT;
    bool filter = prop_chance(r, 20), filterable = true;
    leat_put(b, ", ");
    switch (prop_below(r, 9)) {
    case 0: leat_put(b, "count(*)"); break;
    case 1: leat_putf(b, "count(%s)", c->name); break;
    case 2: leat_putf(b, "count(DISTINCT %s)", c->name); break;
    case 3:
    case 4:
        if (c->kind == INT || c->kind == DEC || c->kind == DBL) {
            bool average = prop_chance(r, 30);
            leat_putf(b, "%s(%s)", average ? "avg" : "sum", c->name);
            kind = average || c->kind == DBL ? DBL : c->kind;
        } else {
            leat_putf(b, "max(%s)", c->name);
            kind = c->kind;
        }
        break;
    case 5: leat_putf(b, "min(%s)", c->name); kind = c->kind; break;
    case 6: leat_putf(b, "max(%s)", c->name); kind = c->kind; break;
    case 7:
        if (by) { leat_putf(b, "%s(%s, %s)", prop_chance(r, 50) ? "arg_max" : "arg_min", c->name, by->name); kind = c->kind; }
        else { leat_putf(b, "any_value(%s)", c->name); kind = c->kind; }
        break;
    default:
        if (c->kind == BOOL) { leat_putf(b, "bool_or(%s)", c->name); kind = BOOL; }
        else if (c->kind == STR) { leat_putf(b, "string_agg(%s, ',')", c->name); kind = STR; }
        else if (c->kind == INT) { leat_putf(b, "median(%s)", c->name); kind = DBL; }
        else leat_put(b, "count(*)");
    }
    if (filter && filterable) {
        leat_put(b, " FILTER (WHERE ");
        put_predicate(r, rel, b);
        leat_put(b, ")");
    }
    leat_putf(b, " AS %s", name);
    add(out, name, kind);
}

static void draw_aggregate(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    struct relation out = {.windowed = rel->windowed, .changing = rel->changing};
    size_t keys = 1 + prop_below(r, 3);
    bool global = !rel->windowed && prop_chance(r, 10);
    leat_put(&b, "SELECT ");
    if (global) leat_put(&b, "count(*) AS rows");
    for (size_t i = 0; i < keys && !global; i++) {
        const struct column *c = any(r, rel);
        for (size_t k = 0; k < rel->count && i == 0 && rel->windowed; k++)
            if (strcmp(rel->columns[k].name, "window_start") == 0) c = &rel->columns[k];
        bool have = false;
        for (size_t k = 0; k < out.count; k++) have |= strcmp(out.columns[k].name, c->name) == 0;
        if (have || c->kind == DBL) continue;
        leat_putf(&b, "%s%s", out.count ? ", " : "", c->name);
        add(&out, c->name, c->kind);
    }
    if (global) {
        add(&out, "rows", INT);
    } else if (!out.count) {
        leat_put(&b, rel->columns[0].name);
        add(&out, rel->columns[0].name, rel->columns[0].kind);
    }
    size_t groups = out.count, aggregates = 1 + prop_below(r, 3);
    for (size_t i = 0; i < aggregates; i++) put_aggregate(r, rel, &out, &b);
    leat_putf(&b, " FROM (%s)%s", rel->sql, global ? "" : " GROUP BY ");
    for (size_t i = 0; i < groups && !global; i++) leat_putf(&b, "%s%s", i ? ", " : "", out.columns[i].name);
    bool having = prop_chance(r, 25);
    if (having) leat_put(&b, prop_chance(r, 70) ? " HAVING count(*) > 1" : " HAVING max(ts) IS NOT NULL AND count(*) <> 3");
    if (having && !has_column(rel, "ts")) {
        leat_buffer_deinit(&b);
        free(out.sql);
        return;
    }
    free(rel->sql);
    out.by_window = rel->windowed && !rel->changing && has_column(&out, "window_start");
    out.changing = true;
    out.sql = b.data;
    *rel = out;
}

static void draw_window(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    const struct column *p = any(r, rel), *o = any(r, rel);
    if (p->kind == DBL) return;
    if (prop_chance(r, 20)) {
        leat_putf(&b, "SELECT * FROM (%s) ORDER BY %s %s LIMIT %d", rel->sql, o->name, prop_chance(r, 50) ? "DESC" : "",
                  (int)(1 + prop_below(r, 9)));
    } else if (prop_chance(r, 60)) {
        leat_putf(&b, "SELECT * FROM (%s) QUALIFY row_number() OVER (PARTITION BY %s ORDER BY %s DESC) <= %d", rel->sql, p->name, o->name,
                  (int)(1 + prop_below(r, 3)));
    } else {
        const struct column *c = of_kind(r, rel, INT);
        char name[32];
        fresh_name(rel, NULL, "w", name);
        leat_put(&b, "SELECT ");
        put_columns(rel, &b);
        if (c && prop_chance(r, 50)) leat_putf(&b, ", lag(%s) OVER (PARTITION BY %s ORDER BY %s) AS %s", c->name, p->name, o->name, name);
        else { leat_putf(&b, ", count(*) OVER (PARTITION BY %s) AS %s", p->name, name); }
        leat_putf(&b, " FROM (%s)", rel->sql);
        if (rel->count > 20) { leat_buffer_deinit(&b); return; }
        add(rel, name, INT);
    }
    wrap_changing(rel, &b);
}

static void draw_distinct(struct leat_random *r, struct relation *rel) {
    struct leat_buffer b = {0};
    if (prop_chance(r, 40)) {
        const struct column *key = any(r, rel), *by = any(r, rel);
        leat_putf(&b, "SELECT DISTINCT ON (%s) * FROM (%s) ORDER BY %s, %s %s", key->name, rel->sql, key->name, by->name,
                  prop_chance(r, 50) ? "DESC" : "NULLS FIRST");
        wrap_changing(rel, &b);
        return;
    }
    struct relation out = {.windowed = rel->windowed, .changing = rel->changing};
    leat_put(&b, "SELECT DISTINCT ");
    for (size_t i = 0; i < rel->count; i++) {
        if (out.count && prop_chance(r, 60)) continue;
        leat_putf(&b, "%s%s", out.count ? ", " : "", rel->columns[i].name);
        add(&out, rel->columns[i].name, rel->columns[i].kind);
    }
    leat_putf(&b, " FROM (%s)", rel->sql);
    free(rel->sql);
    out.sql = b.data;
    *rel = out;
}

static void draw_layers(struct leat_random *r, struct relation *rel, const struct relation *made, size_t made_count) {
    size_t layers = prop_below(r, 4);
    for (size_t i = 0; i < layers; i++) {
        switch (prop_below(r, 18)) {
        case 0: case 1: draw_filter(r, rel); break;
        case 2: case 3: draw_project(r, rel); break;
        case 4: case 5: case 6: draw_join(r, rel); break;
        case 7: case 8: case 9: case 10: draw_aggregate(r, rel); break;
        case 11: case 12: draw_window(r, rel); break;
        case 13: case 14: draw_distinct(r, rel); break;
        case 15: draw_union(r, rel); break;
        case 16: draw_scalar(r, rel); break;
        default:
            if (made_count) {
                size_t other = prop_below(r, made_count);
                draw_table_join(r, rel, &made[other], other);
            }
        }
    }
}

static char *draw_statement(struct leat_random *r, size_t t, struct relation *rel) {
    static const char *const FRESHNESS[] = {"'1' SECOND", "'1' SECOND", "'1' SECOND", "'7' SECOND"};
    struct leat_buffer b = {0};
    leat_putf(&b, "CREATE MATERIALIZED TABLE t%zu", t);
    if (prop_chance(r, 15)) {
        static const char *const ACTIONS[] = {"DROP ROW", "QUARANTINE", "DROP ROW", "QUARANTINE", "FAIL UPDATE"};
        for (unsigned i = 0, n = prop_chance(r, 40) ? 2 : 1; i < n; i++) {
            leat_putf(&b, i ? ", CONSTRAINT fit%u EXPECT (" : " (CONSTRAINT fit%u EXPECT (", i);
            put_predicate(r, rel, &b);
            leat_putf(&b, ") ON VIOLATION %s", ACTIONS[prop_below(r, 5)]);
        }
        leat_put(&b, ")");
    }
    leat_putf(&b, "\nFRESHNESS = INTERVAL %s", FRESHNESS[prop_below(r, 4)]);
    if (rel->windowed && has_column(rel, "window_start") && prop_chance(r, 40)) leat_put(&b, " ALLOW LATENESS INTERVAL '2' MINUTE");
    if (rel->by_window && prop_chance(r, 25)) leat_put(&b, " EMIT ON WINDOW CLOSE");
    if (prop_chance(r, 4)) leat_put(&b, " REFRESH_MODE = FULL");
    leat_putf(&b, "\nAS %s;\n", rel->sql);
    return b.data;
}

void prop_draw_tables(struct prop_case *c, struct leat_random *r) {
    struct relation made[TABLES_MAX] = {0};
    old_times = c->old_times;
    c->source_sql = leat_asprintf(
        "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, s VARCHAR, v BIGINT, d DECIMAL(10,2), f DOUBLE, b BOOLEAN, w DECIMAL(38,2), ts TIMESTAMP%s,\n"
        "  WATERMARK FOR ts AS ts - INTERVAL '%d' SECOND)\nWITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n"
        "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price DECIMAL(10,2))\n"
        "WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n",
        prop_chance(r, 50) ? " NOT NULL" : "", (int)prop_below(r, 300));
    c->table_count = 1 + prop_below(r, prop_chance(r, 15) ? TABLES_MAX : 3);
    for (size_t t = 0; t < c->table_count; t++) {
        struct relation rel;
        if (t && prop_chance(r, 35)) {
            size_t from = prop_below(r, t);
            rel = made[from];
            rel.windowed = rel.by_window = false;
            rel.sql = leat_asprintf("SELECT * FROM t%zu", from);
        } else {
            rel = source_relation(r);
        }
        draw_layers(r, &rel, made, t);
        c->tables[t] = draw_statement(r, t, &rel);
        made[t] = rel;
        made[t].sql = NULL;
        free(rel.sql);
    }
}

/* Tables that can outlive their records: `leat check` refuses retention for others. */
void prop_draw_retained(struct prop_case *c, struct leat_random *r) {
    static const char *const QUERIES[] = {
        "SELECT window_start, k, count(*) AS n, sum(v) AS v, max(s) AS s FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start, k",
        "SELECT window_start, count(DISTINCT id) AS n FROM HOP(events, ts, INTERVAL '20' SECOND, INTERVAL '1' MINUTE) GROUP BY window_start",
        "SELECT id, k, v, ts FROM events WHERE v IS NOT NULL",
        "SELECT DISTINCT k, s, window_start FROM TUMBLE(events, ts, INTERVAL '1' MINUTE)",
        "SELECT DISTINCT ON (k, window_start) k, v, s, window_start FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) ORDER BY k, window_start, v DESC",
        "SELECT e.id, e.k, e.ts, t.cat FROM events e LEFT JOIN things t ON e.k = t.k",
        "SELECT window_start, t.cat, sum(e.d) AS d FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '30' SECOND)) e JOIN things t ON e.k = t.k GROUP BY ALL",
        "SELECT k, window_start, median(v) AS v FROM TUMBLE(events, ts, INTERVAL '2' MINUTE) GROUP BY ALL"};
    struct leat_buffer sql = {0};
    const char *end = strstr(c->source_sql, "format = 'json')");
    if (!end) return;
    leat_putn(&sql, c->source_sql, (size_t)(end - c->source_sql));
    leat_putf(&sql, "retention = INTERVAL '%u' SECOND, %s", 30 + (unsigned)prop_below(r, 120), end);
    free(c->source_sql);
    c->source_sql = sql.data;
    c->retained = true;
    for (size_t i = 0; i < c->round_count; i++)
        if (prop_chance(r, 50)) c->ask[i] = PROP_ASK_ONCE; /* that is when they leave */
    for (size_t t = 0; t < c->table_count; t++) {
        free(c->tables[t]);
        c->tables[t] = leat_asprintf("CREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL %s SECOND\nAS %s;\n", t, prop_chance(r, 70) ? "'1'" : "'7'",
                                     QUERIES[prop_below(r, sizeof QUERIES / sizeof *QUERIES)]);
    }
}

/* Tables that freeze their rows by the clock, which is 60 days ahead of the records, or by a constant; and one over the first. */
void prop_draw_frozen(struct prop_case *c, struct leat_random *r) {
    static const struct { const char *column, *query; } QUERIES[] = {
        {"window_start", "SELECT window_start, k, count(*) AS n, sum(v) AS v, max(s) AS s FROM TUMBLE(events, ts, INTERVAL '20' SECOND) GROUP BY window_start, k"},
        {"window_end", "SELECT window_end, count(DISTINCT id) AS n FROM HOP(events, ts, INTERVAL '10' SECOND, INTERVAL '30' SECOND) GROUP BY window_end"},
        {"ts", "SELECT id, k, v, ts FROM events WHERE v IS NOT NULL AND ts IS NOT NULL"},
        {"window_start", "SELECT DISTINCT k, s, window_start FROM TUMBLE(events, ts, INTERVAL '1' MINUTE)"},
        {"window_start", "SELECT DISTINCT ON (k, window_start) k, v, s, window_start FROM TUMBLE(events, ts, INTERVAL '30' SECOND) ORDER BY k, window_start, v DESC"},
        {"ts", "SELECT e.id, e.k, e.ts, t.cat FROM events e LEFT JOIN things t ON e.k = t.k"},
        {"window_start", "SELECT window_start, t.cat, sum(e.d) AS d FROM (SELECT * FROM TUMBLE(events, ts, INTERVAL '30' SECOND)) e JOIN things t ON e.k = t.k GROUP BY ALL"},
        {"window_start", "SELECT k, window_start, median(v) AS v FROM TUMBLE(events, ts, INTERVAL '20' SECOND) GROUP BY ALL"}};
    c->table_count = 2 + prop_below(r, 3);
    for (size_t t = 0; t < c->table_count; t++) {
        size_t q = prop_below(r, sizeof QUERIES / sizeof *QUERIES);
        unsigned after = (unsigned)prop_below(r, 240);
        char *bound = prop_chance(r, 60) && !c->old_times ? leat_asprintf("now() - INTERVAL '60' DAY + INTERVAL '%u' SECOND", after)
                                                          : leat_asprintf("TIMESTAMP '%s' + INTERVAL '%u' SECOND", c->old_times ? "1969-12-31 23:59:00" : "2026-03-01", after);
        free(c->tables[t]);
        c->frozen[t] = QUERIES[q].column;
        c->tables[t] = leat_asprintf("CREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL %s SECOND\nFROZEN WHERE (%s %s %s)%s\nAS %s;\n", t, prop_chance(r, 70) ? "'1'" : "'7'",
                                     QUERIES[q].column, prop_chance(r, 70) ? "<" : "<=", bound, q < 2 && prop_chance(r, 30) ? " EMIT ON WINDOW CLOSE" : "", QUERIES[q].query);
        free(bound);
    }
    for (size_t t = c->table_count; t < TABLES_MAX; t++) {
        free(c->tables[t]);
        c->tables[t] = NULL;
    }
    c->tables[c->table_count] = leat_asprintf("CREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL %s SECOND\nAS SELECT %s AS at, count(*) AS n FROM t0 GROUP BY %s;\n",
                                              c->table_count, prop_chance(r, 70) ? "'1'" : "'7'", c->frozen[0], c->frozen[0]);
    c->table_count++;
    if (c->sink >= (int)c->table_count) c->sink = -1;
}

/* One table more: the reference as it was at times around those at which it is read. The clock of the first round is that of 2026-04-30. */
void prop_draw_as_of(struct prop_case *c, struct leat_random *r) {
    static const char *const TIMES[] = {"TIMESTAMP '2026-04-30 00:00:00' + to_seconds(epoch_us(ts) // 1000000 % 15)", "TIMESTAMP '2026-04-30 00:00:00' + to_seconds(4 * k)",
                                        "ts", "(TIMESTAMP '2026-04-30 00:00:00' + to_seconds(v % 10))::TIMESTAMPTZ"};
    static const char *const QUERIES[] = {
        "SELECT e.id, e.k, e.v, t.cat, t.price FROM (%s) e JOIN things FOR SYSTEM_TIME AS OF e.seen AS t ON e.k = t.k",
        "SELECT e.id, e.k, e.v, t.cat, t.price FROM (%s) e LEFT JOIN things FOR SYSTEM_TIME AS OF e.seen AS t ON e.k = t.k",
        "SELECT e.id, e.d, t.cat FROM (%s) e LEFT JOIN things FOR SYSTEM_TIME AS OF e.seen t ON e.k = t.k AND t.price > e.d",
        "SELECT t.cat, count(*) AS n, sum(t.price) AS price, max(e.v) AS v FROM (%s) e JOIN things FOR SYSTEM_TIME AS OF e.seen t ON e.k = t.k GROUP BY t.cat",
        "SELECT e.k, t.cat AS was, n.cat AS is_now FROM (%s) e JOIN things FOR SYSTEM_TIME AS OF e.seen t ON e.k = t.k LEFT JOIN things n ON n.k = e.k",
        "SELECT DISTINCT ON (e.k) e.k, e.s, t.price FROM (%s) e JOIN things FOR SYSTEM_TIME AS OF e.seen t ON e.k = t.k OR (e.k + 1 = t.k AND false) ORDER BY e.k, e.s"};
    if (c->table_count == TABLES_MAX) return;
    char *events = leat_asprintf("SELECT *, %s AS seen FROM events%s", TIMES[prop_below(r, 4)], prop_chance(r, 30) ? " WHERE v > 0" : "");
    struct leat_buffer sql = {0};
    leat_putf(&sql, "CREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL %s SECOND\nAS ", c->table_count, prop_chance(r, 70) ? "'1'" : "'7'");
    leat_putf(&sql, QUERIES[prop_below(r, sizeof QUERIES / sizeof *QUERIES)], events);
    leat_put(&sql, ";\n");
    c->tables[c->table_count++] = sql.data;
    free(events);
}

/* One table more, whose keys end as the cut passes their time. */
void prop_draw_ending(struct prop_case *c, struct leat_random *r) {
    static const char *const QUERIES[] = {
        "SELECT DISTINCT ON (id, ts) * FROM events", "SELECT DISTINCT ON (id, ts) id, ts, k, v FROM events WHERE v IS NOT NULL ORDER BY id, ts, v DESC",
        "SELECT DISTINCT ON (k, window_start) k, v, s, window_start FROM TUMBLE(events, ts, INTERVAL '10' SECOND) ORDER BY k, window_start, v DESC NULLS LAST",
        "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(once, ts, INTERVAL '20' SECOND) GROUP BY ALL"};
    if (c->table_count == TABLES_MAX) return;
    size_t query = prop_below(r, sizeof QUERIES / sizeof *QUERIES);
    c->tables[c->table_count] =
        leat_asprintf("%sCREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '%u' SECOND\nAS %s;\n",
                      query == 3 ? "CREATE VIEW once AS SELECT DISTINCT ON (id, ts) * FROM events;\n" : "", c->table_count, (unsigned)prop_below(r, 90), QUERIES[query]);
    c->table_count++;
}

/* One table more, over a join whose rows are at most so far apart in time. */
void prop_draw_apart(struct prop_case *c, struct leat_random *r) {
    static const char *const JOINS[] = {
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a JOIN %s b ON b.k = a.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '%u' SECOND",
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a LEFT JOIN %s b ON b.k = a.k AND b.ts > a.ts AND b.ts - INTERVAL '%u' SECOND <= a.ts",
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a JOIN %s b ON b.k = a.k WHERE a.ts - b.ts BETWEEN INTERVAL '-30' SECOND AND INTERVAL '%u' SECOND",
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a FULL JOIN %s b ON b.k = a.k AND a.ts BETWEEN b.ts - INTERVAL '20' SECOND AND b.ts + INTERVAL '%u' SECOND",
        "SELECT a.id, a.ts, a.v, a.k, a.s FROM %s a WHERE EXISTS (SELECT 1 FROM %s b WHERE b.k = a.k AND b.v > 0 AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '%u' SECOND)",
        "SELECT a.id, a.ts, a.v, a.k, a.s FROM %s a WHERE NOT EXISTS (SELECT 1 FROM %s b WHERE b.k = a.k AND b.id <> a.id AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '%u' SECOND)",
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a JOIN %s b ON b.k = a.k AND b.ts = a.ts + INTERVAL '%u' SECOND",
        "SELECT a.id, a.ts, a.v, b.id AS id2, b.ts AS ts2, b.s FROM %s a LEFT JOIN %s b ON b.k = a.k AND b.ts > a.ts + INTERVAL '%u' SECOND AND b.ts < a.ts + INTERVAL '2' MINUTE",
        "SELECT a.id, a.ts, a.v, a.k, a.s FROM %s a SEMI JOIN %s b ON b.k = a.k AND b.ts BETWEEN a.ts - INTERVAL '%u' SECOND AND a.ts"};
    static const char *const SIDES[] = {"events", "events", "(SELECT * FROM events WHERE v > 0)", "(SELECT DISTINCT ON (id, ts) * FROM events ORDER BY id, ts, v DESC)",
                                        "(SELECT * EXCLUDE (ts), ts + INTERVAL '10' SECOND AS ts FROM events)"};
    size_t join = prop_below(r, sizeof JOINS / sizeof *JOINS), one = prop_below(r, 5), other = prop_below(r, 5);
    bool windows = prop_chance(r, 40), closed = windows && prop_chance(r, 40);
    if (c->table_count == TABLES_MAX) return;
    struct leat_buffer sql = {0};
    if (windows) leat_put(&sql, "CREATE VIEW near AS ");
    else leat_putf(&sql, "CREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '%u' SECOND\nAS ", c->table_count, (unsigned)prop_below(r, 90));
    char *text = leat_asprintf(JOINS[join], SIDES[one], SIDES[other], (unsigned)prop_below(r, 100));
    leat_put(&sql, text);
    free(text);
    if (windows)
        leat_putf(&sql, ";\nCREATE MATERIALIZED TABLE t%zu\nFRESHNESS = INTERVAL '1' SECOND%s\nAS SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(near, ts, "
                        "INTERVAL '20' SECOND) GROUP BY ALL", c->table_count, closed ? " EMIT ON WINDOW CLOSE" : prop_chance(r, 50) ? " ALLOW LATENESS INTERVAL '30' SECOND" : "");
    leat_put(&sql, ";\n");
    c->tables[c->table_count++] = sql.data;
}
