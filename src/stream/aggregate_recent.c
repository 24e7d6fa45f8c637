/* The groups of rows just seen. Where a step's rows fall into few groups, most find theirs by comparing their key
 * columns, as they lie in memory, with those of a row that was in the group a moment ago: no hash, no probe. Whatever
 * is found here would be found by its key too; what is equal but lies there differently (-0.0, long strings) takes the
 * long way. Where that happens often, nothing is looked for here for a while. */
#include "stream/aggregate.h"

#include <stdlib.h>

enum { SLOT_BITS = 8, WORDS_MAX = 6, BLOCK_ROWS = 64, MISSES_MAX = LEAT_AGG_CHUNK / 4, CHUNKS_OFF = 32 };
_Static_assert(LEAT_AGG_CHUNK % BLOCK_ROWS == 0, "a chunk is whole blocks");

struct recent {
    uint64_t words[WORDS_MAX];
    char *group;
    uint32_t entry, epoch; /* of the step in which it was found */
};
struct leat_recent_groups {
    struct recent slots[1 << SLOT_BITS];
    uint64_t words[WORDS_MAX][BLOCK_ROWS]; /* the block's keys: values, then which are NULL */
    size_t word_count;
    unsigned off; /* chunks to leave alone */
};

/* Words that the key columns of a row make; 0: too many, or none. */
static size_t words_of(const struct leat_aggregate *a) {
    size_t words = 0;
    for (size_t k = 0; k < a->base.op->key_count; k++)
        words += leat_type_size(a->keys[k].type) > 8 ? 2 : 1;
    return words && words < WORDS_MAX ? words + 1 : 0;
}

#define WIDEN(ctype)                                                                                                   \
    for (size_t i = 0; i < BLOCK_ROWS; i++)                                                                            \
    to[0][i] = ((const ctype *)column->data)[from + i]

/* The values of a column; false: they are not all in place. */
static bool load_column(const struct leat_column *column, size_t from, uint64_t (*to)[BLOCK_ROWS]) {
    const uint64_t *pairs = column->data;
    bool in_place = true;
    switch (leat_type_size(column->type)) {
    case 1:
        WIDEN(uint8_t);
        break;
    case 2:
        WIDEN(uint16_t);
        break;
    case 4:
        WIDEN(uint32_t);
        break;
    case 8:
        WIDEN(uint64_t);
        break;
    default:
        for (size_t i = 0; i < BLOCK_ROWS; i++) {
            to[0][i] = pairs[2 * (from + i)];
            to[1][i] = pairs[2 * (from + i) + 1];
        }
    }
    if (leat_type_is_string(column->type))
        for (size_t i = 0; i < BLOCK_ROWS; i++)
            in_place &= ((const struct leat_string *)column->data)[from + i].length <= LEAT_STRING_INLINE;
    return in_place;
}

static bool load_block(struct leat_recent_groups *r, const struct leat_aggregate *a, const struct leat_changes *in,
                       size_t from) {
    uint64_t *nulls = r->words[r->word_count - 1];
    size_t at = 0;
    memset(nulls, 0, sizeof r->words[0]);
    for (size_t k = 0; k < a->base.op->key_count; k++) {
        const struct leat_column *column = &in->columns[a->base.op->keys[k]];
        if (!load_column(column, from, r->words + at)) return false;
        at += leat_type_size(column->type) > 8 ? 2 : 1;
        for (size_t i = 0; column->valid && i < BLOCK_ROWS; i++)
            nulls[i] |= (uint64_t)leat_is_null(column, from + i) << k;
    }
    return true;
}

static void mix_words(const struct leat_recent_groups *r, uint64_t *mixed) {
    memset(mixed, 0, BLOCK_ROWS * sizeof *mixed);
    for (size_t w = 0; w < r->word_count; w++)
        for (size_t i = 0; i < BLOCK_ROWS; i++)
            mixed[i] = ((mixed[i] << 23 | mixed[i] >> 41) ^ r->words[w][i]) * 0x9E3779B97F4A7C15ull;
}

static inline bool same_words(const struct recent *slot, const struct leat_recent_groups *r, size_t row) {
    uint64_t differ = 0;
    for (size_t w = 0; w < r->word_count; w++)
        differ |= slot->words[w] ^ r->words[w][row];
    return !differ;
}

/* The groups of rows at..at+BLOCK_ROWS of the chunk; returns for how many the long way was taken. */
static size_t find_block(struct leat_recent_groups *r, struct leat_aggregate *a, struct leat_agg_chunk *c, size_t at) {
    uint64_t mixed[BLOCK_ROWS];
    size_t misses = 0;
    if (!load_block(r, a, c->in, c->from + at)) {
        leat_agg_find(a, c, at, BLOCK_ROWS);
        return BLOCK_ROWS;
    }
    mix_words(r, mixed);
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        struct recent *slot = &r->slots[mixed[i] >> (64 - SLOT_BITS)];
        if (slot->epoch != a->epoch || !same_words(slot, r, i)) {
            misses++;
            leat_agg_find(a, c, at + i, 1);
            for (size_t w = 0; w < r->word_count; w++)
                slot->words[w] = r->words[w][i];
            slot->entry = c->entries[at + i];
            slot->group = c->groups[at + i];
            slot->epoch = a->epoch;
        }
        c->entries[at + i] = slot->entry;
        c->groups[at + i] = slot->group;
    }
    return misses;
}

bool leat_recent_find(struct leat_aggregate *a, struct leat_agg_chunk *c) {
    struct leat_recent_groups *r = a->recent;
    size_t misses = 0;
    if (c->n < LEAT_AGG_CHUNK) return false; /* few rows meet few groups twice */
    if (!r) {
        r = a->recent = leat_alloc(sizeof *r);
        r->word_count = words_of(a);
    }
    if (!r->word_count) return false;
    if (r->off) {
        r->off--;
        return false;
    }
    for (size_t at = 0; at < c->n; at += BLOCK_ROWS)
        misses += find_block(r, a, c, at);
    if (misses > MISSES_MAX) r->off = CHUNKS_OFF;
    return true;
}
