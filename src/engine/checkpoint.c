/* The engine's checkpoint: all operators' state at one step, with the engine's own, then the journal starts anew. */
#include <stdlib.h>

#include "base/usage.h"
#include "engine/internal.h"

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
            nodes[*count] = leat_node_checkpoint(gnode->node, leat_asprintf("%lld/%lld/%d/%d/%s", (long long)g->freshness_us,
                                                                            (long long)gnode->lateness_us, gnode->late_class,
                                                                            gnode->cut_set, gnode->op->signature));
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

/* Rule 14: what the checkpoint and bronze are past is no longer needed in the log. */
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
                if (engine->groups[k]->reads[s] && next < needed) needed = next;
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
    /* Changes between groups are no part of a checkpoint: with some waiting, the journal stays and the next one is taken. */
    for (int k = 0; k < engine->group_count; k++)
        for (size_t t = 0; t < engine->project->table_count; t++)
            if (engine->groups[k]->queues[t].schema && engine->groups[k]->queues[t].row_count) return LEAT_OK;
    if ((st = leat_effects_sync(engine, err)) != LEAT_OK) return st; /* steps before it are not run again */
    size_t count, operators;
    int64_t cpu = leat_usage_cpu_us();
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
    leat_waiting_settle(engine, -1);
    for (int k = 0; k < engine->group_count; k++)
        if ((st = leat_group_reset_nodes(engine->groups[k], err)) != LEAT_OK) return st;
    return LEAT_OK;
}
