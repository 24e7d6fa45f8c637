/* Action reconciliation: what a table is after a sequence of actions. Adding and removing a file costs the same
 * however many files are live.
 * Source: Delta PROTOCOL.md, "Action Reconciliation", "Table Features". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <xxhash.h>

/* ---- map: open addressing with backward-shift deletion ---- */

static const char *element_key(const void *base, size_t stride, uint32_t index) {
    return *(char *const *)((const char *)base + (size_t)index * stride);
}

static size_t home_slot(const struct leat_delta_map *map, const char *key) {
    return (size_t)XXH3_64bits(key, strlen(key)) & (map->capacity - 1);
}

/* Slot of the key, or SIZE_MAX. */
static size_t map_slot(const struct leat_delta_map *map, const void *base, size_t stride, const char *key) {
    if (!map->capacity) return SIZE_MAX;
    for (size_t slot = home_slot(map, key); map->slots[slot]; slot = (slot + 1) & (map->capacity - 1))
        if (strcmp(element_key(base, stride, map->slots[slot] - 1), key) == 0) return slot;
    return SIZE_MAX;
}

static void map_insert(struct leat_delta_map *map, const void *base, size_t stride, uint32_t index) {
    if ((map->count + 1) * 2 > map->capacity) {
        struct leat_delta_map old = *map;
        map->capacity = old.capacity ? old.capacity * 2 : 64;
        map->slots = leat_alloc(map->capacity * sizeof *map->slots);
        map->count = 0;
        for (size_t i = 0; i < old.capacity; i++)
            if (old.slots[i]) map_insert(map, base, stride, old.slots[i] - 1);
        free(old.slots);
    }
    size_t slot = home_slot(map, element_key(base, stride, index));
    while (map->slots[slot])
        slot = (slot + 1) & (map->capacity - 1);
    map->slots[slot] = index + 1;
    map->count++;
}

static void map_erase(struct leat_delta_map *map, const void *base, size_t stride, size_t hole) {
    size_t mask = map->capacity - 1;
    for (size_t slot = (hole + 1) & mask; map->slots[slot]; slot = (slot + 1) & mask) {
        size_t home = home_slot(map, element_key(base, stride, map->slots[slot] - 1));
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            map->slots[hole] = map->slots[slot];
            hole = slot;
        }
    }
    map->slots[hole] = 0;
    map->count--;
}

/* ---- state ---- */

void leat_delta_state_init(struct leat_delta_state *s) {
    memset(s, 0, sizeof *s);
    s->snapshot.version = -1;
    s->snapshot.commit_timestamp_ms = -1;
}

void leat_delta_snapshot_deinit(struct leat_delta_snapshot *s) {
    for (size_t i = 0; i < s->file_count; i++)
        leat_delta_file_deinit(&s->files[i]);
    for (size_t i = 0; i < s->txn_count; i++)
        free(s->txns[i].app_id);
    for (size_t i = 0; i < s->partition_column_count; i++)
        free(s->partition_columns[i]);
    free(s->files);
    free(s->txns);
    free(s->partition_columns);
    free(s->table_id);
    free(s->schema_json);
    free(s->grown_json);
    free(s->name);
    free(s->frontier_json);
    memset(s, 0, sizeof *s);
    s->version = -1;
}

int64_t leat_delta_txn_version(const struct leat_delta_snapshot *s, const char *app_id) {
    for (size_t i = 0; i < s->txn_count; i++)
        if (strcmp(s->txns[i].app_id, app_id) == 0) return s->txns[i].version;
    return -1;
}

void leat_delta_state_deinit(struct leat_delta_state *s) {
    for (size_t i = 0; i < s->snapshot.file_count && s->bounds; i++)
        leat_delta_bounds_free(s->bounds[i]);
    for (size_t i = 0; i < s->tombstone_count; i++) {
        free(s->tombstones[i].path);
        free(s->tombstones[i].partition_json);
    }
    leat_delta_snapshot_deinit(&s->snapshot);
    free(s->bounds);
    free(s->txn_updated_ms);
    free(s->file_map.slots);
    free(s->tombstones);
    free(s->tombstone_map.slots);
    leat_delta_protocol_deinit(&s->protocol);
    leat_delta_metadata_deinit(&s->metadata);
    leat_delta_state_init(s);
}

int64_t leat_delta_state_find(const struct leat_delta_state *s, const char *path) {
    size_t slot = map_slot(&s->file_map, s->snapshot.files, sizeof *s->snapshot.files, path);
    return slot == SIZE_MAX ? -1 : (int64_t)s->file_map.slots[slot] - 1;
}

int64_t leat_delta_state_deleted_ms(const struct leat_delta_state *s, const char *path) {
    size_t slot = map_slot(&s->tombstone_map, s->tombstones, sizeof *s->tombstones, path);
    return slot == SIZE_MAX ? -1 : s->tombstones[s->tombstone_map.slots[slot] - 1].deleted_ms;
}

bool leat_delta_is_own_file(const struct leat_delta_file *file) {
    return strncmp(file->path, LEAT_DELTA_FILE_PREFIX, strlen(LEAT_DELTA_FILE_PREFIX)) == 0;
}

void leat_delta_state_forget_tombstone(struct leat_delta_state *s, const char *path) {
    size_t slot = map_slot(&s->tombstone_map, s->tombstones, sizeof *s->tombstones, path);
    if (slot == SIZE_MAX) return;
    uint32_t index = s->tombstone_map.slots[slot] - 1, last = (uint32_t)s->tombstone_count - 1;
    map_erase(&s->tombstone_map, s->tombstones, sizeof *s->tombstones, slot);
    struct leat_delta_tombstone gone = s->tombstones[index];
    if (index != last) {
        slot = map_slot(&s->tombstone_map, s->tombstones, sizeof *s->tombstones, s->tombstones[last].path);
        s->tombstone_map.slots[slot] = index + 1;
        s->tombstones[index] = s->tombstones[last];
    }
    s->tombstone_count--;
    free(gone.path);
    free(gone.partition_json);
}

void leat_delta_state_expire(struct leat_delta_state *s, int64_t before_ms) {
    for (size_t i = s->tombstone_count; i-- > 0;)
        if (s->tombstones[i].deleted_ms < before_ms) leat_delta_state_forget_tombstone(s, s->tombstones[i].path);
}

static void remove_file(struct leat_delta_state *s, const char *path) {
    struct leat_delta_snapshot *snapshot = &s->snapshot;
    size_t slot = map_slot(&s->file_map, snapshot->files, sizeof *snapshot->files, path);
    if (slot == SIZE_MAX) return;
    uint32_t index = s->file_map.slots[slot] - 1, last = (uint32_t)snapshot->file_count - 1;
    map_erase(&s->file_map, snapshot->files, sizeof *snapshot->files, slot);
    struct leat_delta_file gone = snapshot->files[index];
    leat_delta_bounds_free(s->bounds[index]);
    if (index != last) {
        slot = map_slot(&s->file_map, snapshot->files, sizeof *snapshot->files, snapshot->files[last].path);
        s->file_map.slots[slot] = index + 1;
        snapshot->files[index] = snapshot->files[last];
        s->bounds[index] = s->bounds[last];
    }
    snapshot->file_count--;
    s->live_bytes -= gone.size_bytes;
    leat_delta_file_deinit(&gone);
}

static void add_file(struct leat_delta_state *s, struct leat_delta_file *file) {
    struct leat_delta_snapshot *snapshot = &s->snapshot;
    remove_file(s, file->path); /* the newest add of a path replaces the earlier */
    leat_delta_state_forget_tombstone(s, file->path);
    if (snapshot->file_count == s->file_capacity) {
        s->file_capacity = s->file_capacity ? s->file_capacity * 2 : 32;
        snapshot->files = leat_realloc(snapshot->files, s->file_capacity * sizeof *snapshot->files);
        s->bounds = leat_realloc(s->bounds, s->file_capacity * sizeof *s->bounds);
    }
    s->live_bytes += file->size_bytes;
    s->bounds[snapshot->file_count] = NULL;
    snapshot->files[snapshot->file_count] = *file;
    memset(file, 0, sizeof *file);
    map_insert(&s->file_map, snapshot->files, sizeof *snapshot->files, (uint32_t)snapshot->file_count++);
}

static void add_tombstone(struct leat_delta_state *s, struct leat_delta_tombstone *tombstone) {
    remove_file(s, tombstone->path);
    leat_delta_state_forget_tombstone(s, tombstone->path);
    if (s->tombstone_count == s->tombstone_capacity) {
        s->tombstone_capacity = s->tombstone_capacity ? s->tombstone_capacity * 2 : 32;
        s->tombstones = leat_realloc(s->tombstones, s->tombstone_capacity * sizeof *s->tombstones);
    }
    s->tombstones[s->tombstone_count] = *tombstone;
    memset(tombstone, 0, sizeof *tombstone);
    map_insert(&s->tombstone_map, s->tombstones, sizeof *s->tombstones, (uint32_t)s->tombstone_count++);
}

static void set_txn(struct leat_delta_state *s, struct leat_delta_txn *txn, int64_t updated_ms) {
    struct leat_delta_snapshot *snapshot = &s->snapshot;
    for (size_t i = 0; i < snapshot->txn_count; i++) {
        if (strcmp(snapshot->txns[i].app_id, txn->app_id) != 0) continue;
        snapshot->txns[i].version = txn->version;
        s->txn_updated_ms[i] = updated_ms;
        return;
    }
    if (snapshot->txn_count == s->txn_capacity) {
        s->txn_capacity = s->txn_capacity ? s->txn_capacity * 2 : 8;
        snapshot->txns = leat_realloc(snapshot->txns, s->txn_capacity * sizeof *snapshot->txns);
        s->txn_updated_ms = leat_realloc(s->txn_updated_ms, s->txn_capacity * sizeof *s->txn_updated_ms);
    }
    s->txn_updated_ms[snapshot->txn_count] = updated_ms;
    snapshot->txns[snapshot->txn_count++] = *txn;
    memset(txn, 0, sizeof *txn);
}

void leat_delta_state_apply(struct leat_delta_state *s, struct leat_delta_action *action) {
    s->by_leat |= action->by_leat;
    s->data_change |= action->data_change;
    switch (action->kind) {
    case LEAT_DELTA_ADD:
        add_file(s, &action->file);
        break;
    case LEAT_DELTA_REMOVE:
        add_tombstone(s, &action->tombstone);
        break;
    case LEAT_DELTA_METADATA:
        leat_delta_metadata_deinit(&s->metadata);
        s->metadata = action->metadata;
        memset(&action->metadata, 0, sizeof action->metadata);
        s->has_metadata = true;
        break;
    case LEAT_DELTA_PROTOCOL:
        leat_delta_protocol_deinit(&s->protocol);
        s->protocol = action->protocol;
        memset(&action->protocol, 0, sizeof action->protocol);
        s->has_protocol = true;
        break;
    case LEAT_DELTA_TXN:
        set_txn(s, &action->txn, action->timestamp_ms);
        break;
    case LEAT_DELTA_COMMIT_INFO:
        s->snapshot.commit_timestamp_ms = action->timestamp_ms;
        if (action->frontier_json) {
            free(s->snapshot.frontier_json);
            s->snapshot.frontier_json = action->frontier_json;
            action->frontier_json = NULL;
        }
        break;
    case LEAT_DELTA_NO_ACTION:
        break;
    }
}

/* ---- what leat can read and write ---- */

static bool configuration_is(const struct leat_delta_metadata *m, const char *key, const char *value) {
    json_error_t ignored;
    json_t *root = json_loads(m->configuration_json ? m->configuration_json : "{}", 0, &ignored);
    json_t *item = json_object_get(root, key);
    bool equal = json_is_string(item) && strcmp(json_string_value(item), value) == 0;
    if (json_is_boolean(item)) equal = strcmp(json_is_true(item) ? "true" : "false", value) == 0;
    json_decref(root);
    return equal;
}

static bool column_mapping_on(const struct leat_delta_metadata *m) {
    return configuration_is(m, "delta.columnMapping.mode", "name") ||
           configuration_is(m, "delta.columnMapping.mode", "id");
}

static enum leat_status check_reader(const struct leat_delta_state *s, const char *table_dir, struct leat_error *err) {
    const struct leat_delta_protocol *p = &s->protocol;
    if (p->reader > 3)
        return leat_fail(err, LEAT_UNSUPPORTED, "table %s needs Delta reader version %" PRId64 "; leat reads up to 3",
                         table_dir, p->reader);
    if (column_mapping_on(&s->metadata))
        return leat_fail(err, LEAT_UNSUPPORTED, "table %s uses columnMapping, which leat cannot read", table_dir);
    if (p->reader < 3) return LEAT_OK;
    static const char *const known[] = {"timestampNtz", "columnMapping",
                                        "vacuumProtocolCheck"}; /* mapping: mode none */
    for (size_t i = 0; i < p->reader_feature_count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || strcmp(p->reader_features[i], known[k]) == 0;
        if (!found)
            return leat_fail(err, LEAT_UNSUPPORTED, "table %s uses the reader feature %.100s, which leat does not know",
                             table_dir, p->reader_features[i]);
    }
    return LEAT_OK;
}

enum leat_status leat_delta_check_writer(const struct leat_delta_state *s, const char *table_dir,
                                         struct leat_error *err) {
    const struct leat_delta_protocol *p = &s->protocol;
    static const char *const known[] = {"timestampNtz", "appendOnly", "invariants", "vacuumProtocolCheck"};
    if (p->writer > 2 && p->writer != 7)
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "table %s needs Delta writer version %" PRId64 "; leat writes 1, 2 and 7", table_dir,
                         p->writer);
    for (size_t i = 0; i < p->writer_feature_count; i++) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found = found || strcmp(p->writer_features[i], known[k]) == 0;
        if (!found)
            return leat_fail(err, LEAT_UNSUPPORTED, "table %s uses the writer feature %.100s, which leat does not know",
                             table_dir, p->writer_features[i]);
    }
    if (s->metadata.partition_column_count)
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "table %s is partitioned; leat reads such tables but does not write them", table_dir);
    if (configuration_is(&s->metadata, "delta.appendOnly", "true"))
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "table %s has delta.appendOnly = true; set it to false, leat must be able to replace files",
                         table_dir);
    return LEAT_OK;
}

static void replace_text(char **slot, const char *text) {
    free(*slot);
    *slot = text ? leat_strdup(text) : NULL;
}

/* The notes of columns that were added, as text; NULL: none was. */
static char *grown_of(const struct leat_delta_metadata *m) {
    const char *prefix = LEAT_DELTA_SINCE, *key;
    json_error_t ignored;
    json_t *root = json_loads(m->configuration_json ? m->configuration_json : "{}", 0, &ignored), *value, *notes = json_object();
    json_object_foreach(root, key, value)
        if (strncmp(key, prefix, strlen(prefix)) == 0)
            json_object_set_new(notes, key + strlen(prefix), json_loads(json_string_value(value) ? json_string_value(value) : "", JSON_DECODE_ANY, &ignored));
    char *text = json_object_size(notes) ? json_dumps(notes, JSON_COMPACT) : NULL;
    json_decref(notes);
    json_decref(root);
    return text;
}

enum leat_status leat_delta_state_finish(struct leat_delta_state *s, const char *table_dir, struct leat_error *err) {
    struct leat_delta_snapshot *out = &s->snapshot;
    if (!s->has_protocol || !s->has_metadata)
        return leat_fail(err, LEAT_CORRUPT, "the log of table %s has no %s action up to version %" PRId64, table_dir,
                         s->has_protocol ? "metaData" : "protocol", out->version);
    enum leat_status status = check_reader(s, table_dir, err);
    if (status != LEAT_OK) return status;
    replace_text(&out->table_id, s->metadata.id);
    out->created_ms = s->metadata.created_ms;
    replace_text(&out->schema_json, s->metadata.schema_json);
    free(out->grown_json);
    out->grown_json = grown_of(&s->metadata);
    replace_text(&out->name, s->metadata.name);
    for (size_t i = 0; i < out->partition_column_count; i++)
        free(out->partition_columns[i]);
    free(out->partition_columns);
    out->partition_column_count = s->metadata.partition_column_count;
    out->partition_columns = leat_alloc(out->partition_column_count * sizeof *out->partition_columns);
    for (size_t i = 0; i < out->partition_column_count; i++)
        out->partition_columns[i] = leat_strdup(s->metadata.partition_columns[i]);
    return LEAT_OK;
}
