#include "engine/internal.h"
enum leat_status leat_engine_checkpoint(struct leat_engine *engine, struct leat_error *err) {
    (void)engine; (void)err;
    return LEAT_OK;
}
enum leat_status leat_engine_load_checkpoint(struct leat_engine *engine, json_t **state, struct leat_error *err) {
    (void)engine; (void)err;
    *state = NULL;
    return LEAT_OK;
}
