/* A request that waits for what its records cause in a table. */
#ifndef LEAT_ENGINE_WAIT_H
#define LEAT_ENGINE_WAIT_H

#include "data/key.h"
#include "engine/engine.h"

#define LEAT_WAIT_COLUMNS_MAX 16
struct leat_wait {
    /* The caller's */
    size_t source;
    uint32_t partition;
    uint64_t from, to;   /* the records, durable already */
    int table;           /* continuous */
    int64_t deadline_us; /* monotonic */
    void (*done)(struct leat_wait *, enum leat_status); /* the engine's thread, once. OK; LIMIT: the deadline; CANCELLED: the engine stops */
    /* Set before done. changes: of the table, since the records came. Where the table's key has columns that the source has too, only changes of keys
     * that the records have; else (key_columns 0) all of these steps', also those that other records caused. */
    struct leat_changes changes;
    size_t key_columns;
    uint64_t step;
    bool partial;        /* more changes than memory keeps */
    /* The engine's */
    uint16_t columns[LEAT_WAIT_COLUMNS_MAX];
    struct leat_hash128 *keys;
    size_t key_count;
    uint64_t after_step;
    bool begun;          /* the engine has the records */
    struct leat_wait *next;
};
/* The engine's thread (a call, a connector's answer), of an engine that serves. */
void leat_engine_wait(struct leat_engine *, struct leat_wait *);
void leat_wait_deinit(struct leat_wait *);

#endif
