/* What people's queries may call. A locked instance (duck.c) reads one folder and its settings cannot be changed; but
 * DuckDB has table functions that act: enable_profiling writes a file of any name into that folder, enable_logging
 * shows what others ask, query() and the like run text in which nobody has looked for these. So a query is parsed
 * first, and table functions are taken from a list. Views are ours: what they call is not looked at. */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "sql/duck_internal.h"

/* A name that ends with _ stands for all that begin so. */
static const char *const READING[] = {
    "duckdb_",
    "generate_series",
    "glob",
    "icu_calendar_names",
    "json_each",
    "json_tree",
    "parquet_",
    "pg_timezone_names",
    "pragma_",
    "range",
    "read_blob",
    "read_csv",
    "read_csv_auto",
    "read_json",
    "read_json_auto",
    "read_json_objects",
    "read_json_objects_auto",
    "read_ndjson",
    "read_ndjson_auto",
    "read_ndjson_objects",
    "read_parquet",
    "read_text",
    "repeat",
    "repeat_row",
    "sniff_csv",
    "summary",
    "test_all_types",
    "unnest",
};

static bool only_reads(const char *name) {
    for (size_t i = 0; i < sizeof READING / sizeof *READING; i++) {
        size_t length = strlen(READING[i]);
        bool family = READING[i][length - 1] == '_';
        if (family ? strncasecmp(name, READING[i], length) == 0 : strcasecmp(name, READING[i]) == 0) return true;
    }
    return false;
}

/* The first table function anywhere in it that is not on the list; NULL: none. */
static const char *find_acting(const json_t *node) {
    const char *type = json_string_value(json_object_get(node, "type")), *key, *found = NULL;
    json_t *item;
    size_t i;
    if (type && strcmp(type, "TABLE_FUNCTION") == 0) {
        const char *name = json_string_value(json_object_get(json_object_get(node, "function"), "function_name"));
        if (!name || !only_reads(name)) return name ? name : "of no name";
    }
    if (json_is_array(node)) {
        json_array_foreach(node, i, item) if ((found = find_acting(item))) return found;
    } else {
        json_object_foreach((json_t *)(uintptr_t)node, key, item) if ((found = find_acting(item))) return found;
    }
    return NULL;
}

enum leat_status leat_duck_only_queries(struct leat_error *err) {
    return leat_fail(err, LEAT_INVALID,
                     "only queries may run here (SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW)");
}

enum leat_status leat_duck_check_query(struct leat_conn *c, const char *sql, bool *syntax, struct leat_error *err) {
    char *text = NULL;
    *syntax = true;
    enum leat_status status = leat_conn_parse(c, sql, &text, err);
    if (status == LEAT_SQL && strncasecmp(err->text, "parser", 6) == 0) return *syntax = false, LEAT_OK;
    if (status == LEAT_SQL) return leat_duck_only_queries(err);
    if (status) return status;
    json_t *parsed = json_loads(text, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    const char *acting = parsed ? find_acting(parsed) : NULL;
    if (!parsed)
        status = leat_fail(err, LEAT_INVALID, "the query is nested too deeply");
    else if (acting)
        status = leat_fail(err, LEAT_INVALID, "the table function %.60s is not for queries here", acting);
    json_decref(parsed);
    free(text);
    return status;
}
