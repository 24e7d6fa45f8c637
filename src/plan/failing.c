/* Which rows a MAP's expressions raise for (rule 10), said once for stream and batch. */
#include "plan/plan.h"

bool leat_map_can_fail(const struct leat_op *map) {
    bool can = map->filter && map->filter_can_fail;
    for (size_t i = 0; i < map->map_count; i++)
        can |= map->map[i].from < 0 && map->map[i].can_fail;
    return can;
}

void leat_map_put_raises(const struct leat_op *map, struct leat_buffer *sql) {
    /* hash() is never NULL, so NULL comes only from TRY. */
    leat_put(sql, "TRY(");
    if (map->filter) leat_putf(sql, "CASE WHEN (%s) THEN ", map->filter);
    leat_put(sql, "hash(0");
    for (size_t i = 0; i < map->map_count; i++)
        if (map->map[i].from < 0) leat_putf(sql, ", (%s)", map->map[i].expression);
    leat_put(sql, map->filter ? ") ELSE 0 END) IS NULL" : ")) IS NULL");
}
