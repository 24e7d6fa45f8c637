/* What DuckDB's parser and planner answered, remembered by an instance for planning: planning a project asks the same
 * more than once, and so does whoever opens it again over the instance. An answer depends on the statement alone or,
 * for what binds names, on the connection's declarations too (leat_conn.world). Errors are not remembered. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "sql/duck_internal.h"

enum { ENTRIES = 1024 };
static const size_t BYTES_MAX = (size_t)32 << 20;

struct leat_answer {
    XXH128_hash_t key; /* both zero: none */
    char *text;        /* of a serialiser */
    struct leat_schema schema;
};

static size_t answer_bytes(const struct leat_answer *a) {
    return (a->text ? strlen(a->text) : 0) + a->schema.field_count * 64;
}

static void forget(struct leat_memo *memo, struct leat_answer *a) {
    memo->bytes -= answer_bytes(a);
    free(a->text);
    leat_schema_deinit(&a->schema);
    memset(a, 0, sizeof *a);
}

void leat_memo_deinit(struct leat_memo *memo) {
    for (size_t i = 0; memo->answers && i < ENTRIES; i++)
        forget(memo, &memo->answers[i]);
    free(memo->answers);
    memo->answers = NULL;
}

uint64_t leat_memo_input(const char *name, const struct leat_schema *schema, bool named) {
    struct leat_buffer text = {0};
    leat_putf(&text, "%s\n%d", name, named);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *f = &schema->fields[i];
        leat_putf(&text, "\n%u %u %u %s", f->type.kind, f->type.width, f->type.scale, f->name ? f->name : "");
    }
    uint64_t hash = XXH3_64bits(text.data, text.length);
    leat_buffer_deinit(&text);
    return hash;
}

uint64_t leat_memo_statement(uint64_t before, const char *sql) {
    return XXH3_64bits_withSeed(sql, strlen(sql), before);
}

static XXH128_hash_t key_of(int kind, uint64_t world, const char *sql) {
    uint64_t seed = world * 2654435761u + (uint64_t)kind + 1;
    return XXH3_128bits_withSeed(sql, strlen(sql), seed);
}

/* One place a key: a later answer takes an earlier one's. */
static struct leat_answer *place_of(struct leat_memo *memo, XXH128_hash_t key) {
    if (!memo->answers) memo->answers = leat_alloc(ENTRIES * sizeof *memo->answers);
    return &memo->answers[key.low64 % ENTRIES];
}

bool leat_memo_find(struct leat_conn *c, int kind, uint64_t world, const char *sql, char **text,
                    struct leat_schema *schema) {
    if (c->duck->use != LEAT_DUCK_PLAN) return false;
    XXH128_hash_t key = key_of(kind, world, sql);
    pthread_mutex_lock(&c->duck->lock);
    const struct leat_answer *a = place_of(&c->duck->memo, key);
    bool found = XXH128_isEqual(a->key, key);
    if (found && text) *text = leat_strdup(a->text);
    if (found && schema) leat_schema_copy(schema, &a->schema);
    pthread_mutex_unlock(&c->duck->lock);
    return found;
}

void leat_memo_keep(struct leat_conn *c, int kind, uint64_t world, const char *sql, const char *text,
                    const struct leat_schema *schema) {
    if (c->duck->use != LEAT_DUCK_PLAN) return;
    XXH128_hash_t key = key_of(kind, world, sql);
    struct leat_memo *memo = &c->duck->memo;
    pthread_mutex_lock(&c->duck->lock);
    struct leat_answer *a = place_of(memo, key);
    forget(memo, a);
    a->key = key;
    if (text) a->text = leat_strdup(text);
    if (schema) leat_schema_copy(&a->schema, schema);
    memo->bytes += answer_bytes(a);
    if (memo->bytes > BYTES_MAX) leat_memo_deinit(memo);
    pthread_mutex_unlock(&c->duck->lock);
}
