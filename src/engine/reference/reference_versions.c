/* NAME__versions: a reference's history as rows that say from when to when they held, for FOR SYSTEM_TIME AS OF. Made from the history where it is asked for. */
#include "engine/reference/reference_internal.h"

#include <inttypes.h>
#include <stdlib.h>

void leat_reference_open_versions(struct leat_reference *of, const struct leat_source *def, struct leat_reference **out) {
    *out = leat_alloc(sizeof **out);
    (*out)->env = of->env;
    (*out)->batch = of->batch;
    (*out)->def = def;
    (*out)->of = of;
}

static void put_key(const struct leat_reference *of, struct leat_buffer *sql) {
    for (size_t i = 0; i < of->def->primary_key_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, of->def->schema.fields[of->def->primary_key[i]].name);
    }
}

static void put_over(const struct leat_reference *of, const char *what, const char *rest, struct leat_buffer *sql) {
    leat_putf(sql, "%s OVER (PARTITION BY ", what);
    put_key(of, sql);
    leat_putf(sql, " ORDER BY _version, _weight%s)", rest);
}

/* Only keys that changed after `since`. */
static void put_changed_keys(const struct leat_reference *of, uint64_t since, struct leat_buffer *sql) {
    leat_put(sql, " AND (");
    put_key(of, sql);
    leat_put(sql, ") IN (SELECT (");
    put_key(of, sql);
    leat_put(sql, ") FROM (");
    leat_reference_put_history(of, sql);
    leat_putf(sql, ") WHERE _version > %" PRIu64 ")", since);
}

/* A key's history goes +1, -1, +1 ...: what appears holds up to what follows. A clock that was set back does not let two rows hold at once. What the first
 * version has is all that is known of the time before. */
static void put_rows(const struct leat_reference *of, uint64_t version, uint64_t since, const char *more, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    leat_reference_put_columns(of, sql);
    leat_putf(sql, ", CASE WHEN _version > 1 THEN __from END AS valid_from, __to AS valid_to%s FROM (SELECT *, ", more);
    put_over(of, "lead(__from)", "", sql);
    leat_put(sql, " AS __to FROM (SELECT *, ");
    put_over(of, "max(_at)", " ROWS UNBOUNDED PRECEDING", sql);
    leat_put(sql, " AS __from FROM (");
    leat_reference_put_history(of, sql);
    leat_putf(sql, ") WHERE _version <= %" PRIu64, version);
    if (since) put_changed_keys(of, since, sql);
    leat_put(sql, ")) WHERE _weight > 0");
}

void leat_reference_versions_select(const struct leat_reference *r, uint64_t version, struct leat_buffer *out_sql) {
    put_rows(r->of, version, 0, "", out_sql);
}

enum leat_status leat_reference_versions_changes(struct leat_reference *r, uint64_t from, uint64_t to, struct leat_changes *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT ");
    leat_reference_put_columns(r, &sql);
    leat_put(&sql, ", CAST(sum(__one) AS INTEGER) AS __w FROM (");
    put_rows(r->of, to, from, ", 1 AS __one", &sql);
    if (from) {
        leat_put(&sql, " UNION ALL ");
        put_rows(r->of, from, from, ", -1 AS __one", &sql);
    }
    leat_put(&sql, ") GROUP BY ");
    leat_reference_put_columns(r, &sql);
    leat_put(&sql, " HAVING sum(__one) <> 0");
    enum leat_status status = leat_reference_read_changes(r, &sql, out, err);
    leat_buffer_deinit(&sql);
    return status ? leat_prepend(err, "history of source \"%s\"", r->def->name) : LEAT_OK;
}
