/* What one event of a change feed says (rule 17): which row, and whether it is there or gone. */
#ifndef LEAT_DATA_CHANGE_EVENT_H
#define LEAT_DATA_CHANGE_EVENT_H

#include "base/mem.h"
#include "data/message.h"

/* What a record says: the row as it is now (no value: it is gone), or one of these tools' events. */
enum leat_change_feed { LEAT_FEED_NONE, LEAT_FEED_UPSERT, LEAT_FEED_DEBEZIUM, LEAT_FEED_CANAL, LEAT_FEED_MAXWELL };

struct leat_change_event {
    bool deleted;
    bool key_only;         /* the row may have no more than its key's columns */
    struct leat_bytes row; /* JSON: an object with the columns, or (key_only) the bare value of the only key column */
};
/* Reads an event in JSON. Borrows the message, or memory of the arena. NULL: read; else why it cannot be used, in the arena. */
const char *leat_change_event_read(enum leat_change_feed, const struct leat_message *, struct leat_arena *, struct leat_change_event *out);

/* Events of Canal and Maxwell that say more than one change: several rows, or a row whose key was another before, which is then gone. Each
 * change becomes an event of its own, with what it needs of the original. columns: names of the key's columns, and of the sequence if there
 * is one, as they stand in events. Returns how many there are, in *out (of the arena); 0: the event is fine as it is, or cannot be split. */
size_t leat_change_event_split(enum leat_change_feed, struct leat_bytes value, const char *const *columns, size_t column_count, struct leat_arena *,
                               struct leat_bytes **out);

#endif
