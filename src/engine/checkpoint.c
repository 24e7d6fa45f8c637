/* The engine's checkpoint: all operators' state at one step, with the engine's own, then the journal starts anew. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/live/live_internal.h"
#include "engine/tell/tell.h"

static char *name_of(const struct leat_group *g, const struct leat_gnode *gnode, const char *group, int late_class) {
    char *set = leat_cut_set_name(g, gnode->cut_set);
    char *name = leat_asprintf("%s/%lld/%d/%s/%s", group, (long long)gnode->lateness_us, late_class, set, gnode->op->signature);
    free(set);
    return name;
}

/* Takes the freshness. */
static char *group_name(const char *suspended, json_t *freshness) {
    char *name = suspended ? leat_asprintf("suspended %s", suspended)
                 : json_is_string(freshness) ? leat_strdup(json_string_value(freshness))
                                             : leat_asprintf("%lld", (long long)json_integer_value(freshness));
    json_decref(freshness);
    return name;
}

static char *own_name(const struct leat_group *g, const struct leat_gnode *gnode) {
    char *group = group_name(g->suspended ? g->suspended->def->name : NULL, leat_freshness_json(&g->freshness));
    char *name = name_of(g, gnode, group, gnode->late_class);
    free(group);
    return name;
}

/* As the operator was named where its keeper stood. */
static char *former_name(const struct leat_group *g, const struct leat_gnode *gnode, const json_t *state) {
    const struct leat_gtable *keeper = gnode->keeper;
    const json_t *known = json_object_get(json_object_get(state, "tables"), keeper->def->name);
    json_int_t late_class = json_integer_value(json_object_get(known, "late_class"));
    bool suspended = json_is_true(json_object_get(known, "suspended"));
    char *group = group_name(suspended ? keeper->def->name : NULL, json_incref(json_object_get(known, "g")));
    char *name = name_of(g, gnode, group, gnode->on_source ? (int)late_class : 0);
    free(group);
    return name;
}

/* Every operator with state, named by its group, its signature, and the lateness, late class and cut set it was made for; then what waits,
 * from *operators on. */
static struct leat_checkpoint_node *collect_nodes(struct leat_engine *engine, size_t *count, size_t *operators) {
    struct leat_checkpoint_node *nodes = NULL;
    *count = 0;
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *g = engine->groups[k];
        for (int i = 0; i < g->node_count; i++) {
            struct leat_gnode *gnode = &g->nodes[i];
            if (!gnode->node || leat_node_state_parts(gnode->node) == 0) continue;
            nodes = leat_realloc(nodes, (*count + 1) * sizeof *nodes);
            nodes[*count] = leat_node_checkpoint(gnode->node, own_name(g, gnode));
            (*count)++;
        }
    }
    *operators = *count;
    return leat_waiting_nodes(engine, nodes, count);
}

static void free_nodes(struct leat_checkpoint_node *nodes, size_t count, size_t operators) {
    for (size_t i = 0; i < operators; i++) free((char *)nodes[i].signature);
    leat_waiting_nodes_free(nodes + operators, count - operators);
    free(nodes);
}

static char *checkpoint_dir(const struct leat_engine *engine) {
    return leat_asprintf("%s/checkpoint", engine->work_dir);
}

/* Rule 14: what the checkpoint and bronze are past is no longer needed in the log. (A suspended table reads on from bronze.) */
static enum leat_status trim_logs(struct leat_engine *engine, struct leat_error *err) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        struct leat_src *src = &engine->sources[s];
        if (engine->references[s]) continue;
        struct leat_log_end *floors = leat_alloc((src->ends.count + 1) * sizeof *floors);
        for (size_t i = 0; i < src->ends.count; i++) {
            uint32_t partition = src->ends.items[i].partition;
            uint64_t needed = leat_cursor_get(&src->bronzed, partition);
            for (int k = 0; k < engine->group_count; k++) {
                uint64_t next = leat_cursor_get(&engine->groups[k]->cursors[s], partition);
                if (engine->groups[k]->reads[s] && !engine->groups[k]->suspended && next < needed) needed = next;
            }
            floors[i] = (struct leat_log_end){.partition = partition, .next_offset = needed};
        }
        pthread_mutex_lock(&src->log_lock);
        enum leat_status st = leat_log_trim(src->log, floors, src->ends.count, err);
        pthread_mutex_unlock(&src->log_lock);
        free(floors);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

enum leat_status leat_engine_checkpoint(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    /* Changes between groups are no part of a checkpoint: with some waiting, the journal stays and the next one is taken. (What a group that waits
     * for a reference has never seen is found again by a start: recover.c. Suspended groups have no queues.) */
    for (int k = 0; k < engine->group_count; k++)
        for (size_t t = 0; t < engine->project->table_count && engine->groups[k]->started; t++)
            if (engine->groups[k]->queues[t].schema && engine->groups[k]->queues[t].row_count) return LEAT_OK;
    if ((st = leat_effects_sync(engine, err)) != LEAT_OK) return st; /* steps before it are not run again */
    leat_live_keep(engine);
    size_t count, operators;
    int64_t cpu = leat_usage_thread_cpu_us();
    struct leat_checkpoint_node *nodes = collect_nodes(engine, &count, &operators);
    char *dir = checkpoint_dir(engine);
    json_t *state = leat_engine_state(engine);
    char *text = json_dumps(state, JSON_COMPACT);
    if (engine->step != engine->checkpoint_step || engine->step == engine->reset_step)
        st = leat_checkpoint_save(engine->env, engine->batch_conn, dir, engine->step, text, nodes, count, err);
    if (st == LEAT_OK) st = leat_engine_write_head(engine, err);
    if (st == LEAT_OK) {
        engine->checkpoint_step = engine->step;
        engine->records_since_checkpoint = 0;
        engine->replayed = false;
        st = trim_logs(engine, err);
    }
    leat_phase_end(engine, LEAT_PHASE_CHECKPOINT, cpu);
    free(text);
    json_decref(state);
    free(dir);
    free_nodes(nodes, count, operators);
    return st;
}

enum leat_status leat_engine_load_checkpoint(struct leat_engine *engine, json_t **state, struct leat_error *err) {
    size_t count, operators;
    struct leat_checkpoint_node *nodes = collect_nodes(engine, &count, &operators);
    struct leat_error problem = {0};
    char *dir = checkpoint_dir(engine), *text = NULL;
    *state = NULL;
    enum leat_status st = leat_checkpoint_load(engine->env, engine->batch_conn, dir, NULL, &text, nodes, count, &problem);
    free_nodes(nodes, count, operators);
    free(dir);
    if (st == LEAT_OK) {
        *state = json_loads(text, 0, NULL);
        free(text);
        return LEAT_OK;
    }
    if (st == LEAT_NOT_FOUND) return LEAT_OK;
    if (problem.fatal) {
        *err = problem;
        return st;
    }
    leat_log(engine->env, LEAT_LOG_WARN, "the checkpoint cannot be used: %s", problem.text);
    leat_waiting_forget(engine);
    for (int k = 0; k < engine->group_count; k++)
        if ((st = leat_group_reset_nodes(engine->groups[k], err)) != LEAT_OK) return st;
    return LEAT_OK;
}

json_t *leat_engine_checkpoint_state(struct leat_engine *engine) {
    char *dir = checkpoint_dir(engine), *text = NULL;
    struct leat_error ignored;
    json_t *state = leat_checkpoint_peek(engine->env, dir, NULL, &text, &ignored) == LEAT_OK ? json_loads(text, 0, NULL) : NULL;
    free(text);
    free(dir);
    return state;
}

enum leat_status leat_engine_adopt_nodes(struct leat_engine *engine, const json_t *state, struct leat_error *err) {
    struct leat_checkpoint_node *nodes = NULL;
    size_t count = 0;
    char *dir = checkpoint_dir(engine);
    bool *renamed = NULL;
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *g = engine->groups[k];
        for (int i = 0; i < g->node_count; i++) {
            struct leat_gnode *gnode = &g->nodes[i];
            if (!gnode->keeper || !gnode->node || leat_node_state_parts(gnode->node) == 0) continue;
            nodes = leat_realloc(nodes, (count + 1) * sizeof *nodes);
            renamed = leat_realloc(renamed, (count + 1) * sizeof *renamed);
            char *now = own_name(g, gnode), *former = former_name(g, gnode, state);
            nodes[count] = leat_node_checkpoint(gnode->node, former);
            renamed[count++] = strcmp(now, former) != 0;
            free(now);
        }
    }
    enum leat_status st = leat_checkpoint_load(engine->env, engine->batch_conn, dir, NULL, NULL, nodes, count, err);
    for (size_t i = 0; i < count; i++) {
        if (renamed[i]) *nodes[i].based_on = 0; /* what the next checkpoint calls by this name may be another's files */
        free((char *)nodes[i].signature);
    }
    free(nodes);
    free(renamed);
    free(dir);
    return st;
}
