/* Which rows a MAP's expressions raise for (rule 10), said once for stream and batch. */
#include <string.h>

#include <xxhash.h>

#include "plan/plan.h"

/* The lake keeps 38 digits of it: a row with more fails (map.c). */
static bool may_be_too_long(const struct leat_op *map, size_t i) {
    return map->schema.fields[i].type.kind == LEAT_HUGEINT || map->schema.fields[i].type.kind == LEAT_UHUGEINT;
}

bool leat_map_can_fail(const struct leat_op *map) {
    bool can = map->filter && map->filter_can_fail;
    for (size_t i = 0; i < map->map_count; i++)
        can |= map->map[i].from < 0 && (map->map[i].can_fail || may_be_too_long(map, i));
    return can;
}

/* Of an unnest its list, as which it raises: unnest itself stands in no condition. */
static void put_raising(const struct leat_op *map, size_t i, struct leat_buffer *sql) {
    const char *text = map->map[i].expression;
    bool list = strncmp(text, "unnest(", 7) == 0;
    if (list) text += strlen("unnest");
    if (may_be_too_long(map, i))
        leat_putf(sql, ", CAST((%s) AS DECIMAL(38,0)%s)", text, list ? "[]" : "");
    else
        leat_putf(sql, ", (%s)", text);
}

void leat_map_put_raises(const struct leat_op *map, struct leat_buffer *sql) {
    /* hash() is never NULL, so NULL comes only from TRY. */
    leat_put(sql, "TRY(");
    if (map->filter) leat_putf(sql, "CASE WHEN (%s) THEN ", map->filter);
    leat_put(sql, "hash(0");
    for (size_t i = 0; i < map->map_count; i++)
        if (map->map[i].from < 0) put_raising(map, i, sql);
    leat_put(sql, map->filter ? ") ELSE 0 END) IS NULL" : ")) IS NULL");
}

static bool reads_object(const struct leat_plan *plan, int op, int object) {
    return plan->ops[op].kind == LEAT_OP_SOURCE && plan->ops[op].object == object;
}

/* Of the MAPs over the source that can fail; 0: there is none, or nothing else reads the source. */
static uint64_t guard_of(const struct leat_plan *plan, int object) {
    uint64_t guard = 0;
    size_t places = 0;
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct leat_op *op = &plan->ops[i];
        for (int k = 0; k < op->child_count; k++) {
            if (!reads_object(plan, op->children[k], object)) continue;
            places++;
            if (op->kind == LEAT_OP_MAP && leat_map_can_fail(op)) guard = XXH3_64bits_withSeed(op->signature, strlen(op->signature), guard);
        }
    }
    return places > 1 ? guard : 0;
}

bool leat_plan_guard(struct leat_plan *plan) {
    bool any = false;
    for (size_t i = 0; i < plan->op_count; i++) {
        struct leat_op *op = &plan->ops[i];
        if (op->kind == LEAT_OP_SOURCE) op->guard = guard_of(plan, op->object);
        any |= op->guard != 0;
    }
    return any;
}
