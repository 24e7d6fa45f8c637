/* One line of a Delta log <-> struct leat_delta_action. Lines come from disk and are not trusted: every field is
 * checked for its type, paths may not leave the table's directory.
 * Source: Delta PROTOCOL.md, "Actions". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

static void free_texts(char **texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

void leat_delta_file_deinit(struct leat_delta_file *file) {
    free(file->path);
    free(file->stats_json);
    free(file->partition_json);
    memset(file, 0, sizeof *file);
}

void leat_delta_metadata_deinit(struct leat_delta_metadata *m) {
    free(m->id);
    free(m->name);
    free(m->description);
    free(m->schema_json);
    free(m->configuration_json);
    free_texts(m->partition_columns, m->partition_column_count);
    memset(m, 0, sizeof *m);
}

void leat_delta_protocol_deinit(struct leat_delta_protocol *p) {
    free_texts(p->reader_features, p->reader_feature_count);
    free_texts(p->writer_features, p->writer_feature_count);
    memset(p, 0, sizeof *p);
}

void leat_delta_action_deinit(struct leat_delta_action *a) {
    leat_delta_file_deinit(&a->file);
    free(a->tombstone.path);
    free(a->tombstone.partition_json);
    leat_delta_metadata_deinit(&a->metadata);
    leat_delta_protocol_deinit(&a->protocol);
    free(a->txn.app_id);
    free(a->commit_id);
    free(a->frontier_json);
    memset(a, 0, sizeof *a);
}

/* ---- reading ---- */

static enum leat_status corrupt(struct leat_error *err, const char *action, const char *field, const char *what) {
    return leat_fail(err, LEAT_CORRUPT, "the log's %s action: field \"%s\" %s", action, field, what);
}

/* Text of a member. NULL out when it is absent or null and not required. */
static enum leat_status take_text(json_t *object, const char *action, const char *field, bool required, char **out,
                                  struct leat_error *err) {
    json_t *value = json_object_get(object, field);
    if (!value || json_is_null(value)) return required ? corrupt(err, action, field, "is missing") : LEAT_OK;
    if (!json_is_string(value)) return corrupt(err, action, field, "is not a string");
    *out = leat_strdup(json_string_value(value));
    return LEAT_OK;
}

static enum leat_status take_integer(json_t *object, const char *action, const char *field, bool required,
                                     int64_t missing, int64_t *out, struct leat_error *err) {
    json_t *value = json_object_get(object, field);
    *out = missing;
    if (!value || json_is_null(value)) return required ? corrupt(err, action, field, "is missing") : LEAT_OK;
    if (!json_is_integer(value)) return corrupt(err, action, field, "is not an integer");
    *out = (int64_t)json_integer_value(value);
    return LEAT_OK;
}

static enum leat_status take_texts(json_t *object, const char *action, const char *field, char ***out,
                                   size_t *out_count, struct leat_error *err) {
    json_t *value = json_object_get(object, field);
    if (!value || json_is_null(value)) return LEAT_OK;
    if (!json_is_array(value)) return corrupt(err, action, field, "is not an array");
    size_t count = json_array_size(value);
    *out = leat_alloc(count * sizeof **out);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(value, i);
        if (!json_is_string(item)) return corrupt(err, action, field, "holds something that is not a string");
        (*out)[(*out_count)++] = leat_strdup(json_string_value(item));
    }
    return LEAT_OK;
}

/* A string-to-string map as compact JSON text, "{}" when absent. Spark's older writers give other scalars in
 * configuration; they are taken as they are. */
static enum leat_status take_map(json_t *object, const char *action, const char *field, char **out,
                                 struct leat_error *err) {
    json_t *value = json_object_get(object, field);
    if (!value || json_is_null(value)) {
        *out = leat_strdup("{}");
        return LEAT_OK;
    }
    if (!json_is_object(value)) return corrupt(err, action, field, "is not an object");
    const char *key;
    json_t *item;
    json_object_foreach(value, key, item) {
        if (json_is_object(item) || json_is_array(item))
            return corrupt(err, action, field, "holds something that is not a scalar");
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) return leat_fail(err, LEAT_NO_MEMORY, "no memory for the log's %s action", action);
    *out = leat_strdup(text);
    free(text);
    return LEAT_OK;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool has_scheme(const char *path) {
    size_t i = 0;
    if (!((path[0] | 32) >= 'a' && (path[0] | 32) <= 'z')) return false;
    while (((path[i] | 32) >= 'a' && (path[i] | 32) <= 'z') || (path[i] >= '0' && path[i] <= '9') || path[i] == '+' ||
           path[i] == '-' || path[i] == '.')
        i++;
    return path[i] == ':';
}

/* Decodes a URI path and refuses whatever could name a file outside the table. */
static enum leat_status take_path(json_t *object, const char *action, char **out, struct leat_error *err) {
    char *raw = NULL;
    enum leat_status status = take_text(object, action, "path", true, &raw, err);
    if (status != LEAT_OK) return status;
    size_t length = strlen(raw), n = 0;
    char *decoded = leat_alloc(length + 1);
    for (size_t i = 0; i < length; i++) {
        char c = raw[i];
        if (c == '%') {
            int high = i + 2 < length ? hex_value(raw[i + 1]) : -1, low = i + 2 < length ? hex_value(raw[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                status = corrupt(err, action, "path", "has a bad percent code");
                goto out;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        decoded[n++] = c;
    }
    if (n == 0 || n > LEAT_DELTA_PATH_MAX)
        status = corrupt(err, action, "path", "is empty or too long");
    else if (decoded[0] == '/' || has_scheme(raw))
        status = corrupt(err, action, "path", "is absolute; leat reads files below the table only");
    for (char *part = decoded; status == LEAT_OK && part;) {
        char *slash = strchr(part, '/');
        size_t part_length = slash ? (size_t)(slash - part) : strlen(part);
        if (part_length == 2 && memcmp(part, "..", 2) == 0)
            status = corrupt(err, action, "path", "has a \"..\" part");
        else if (part_length == 0)
            status = corrupt(err, action, "path", "has an empty part");
        part = slash ? slash + 1 : NULL;
    }
out:
    free(raw);
    if (status == LEAT_OK)
        *out = decoded;
    else
        free(decoded);
    return status;
}

static enum leat_status refuse_deletion_vector(json_t *object, struct leat_error *err) {
    json_t *vector = json_object_get(object, "deletionVector");
    if (vector && !json_is_null(vector))
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "the table uses deletionVectors, which leat cannot read; rewrite it without them (REORG TABLE "
                         "... APPLY (PURGE))");
    return LEAT_OK;
}

static enum leat_status parse_add(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    struct leat_delta_file *file = &out->file;
    int64_t size = 0;
    enum leat_status status = refuse_deletion_vector(object, err);
    if (status == LEAT_OK) status = take_path(object, "add", &file->path, err);
    if (status == LEAT_OK) status = take_integer(object, "add", "size", true, 0, &size, err);
    if (status == LEAT_OK && size < 0) status = corrupt(err, "add", "size", "is negative");
    if (status == LEAT_OK) status = take_integer(object, "add", "modificationTime", false, 0, &file->modified_ms, err);
    if (status == LEAT_OK) status = take_text(object, "add", "stats", false, &file->stats_json, err);
    if (status == LEAT_OK) status = take_map(object, "add", "partitionValues", &file->partition_json, err);
    file->size_bytes = (uint64_t)size;
    out->data_change = !json_is_false(json_object_get(object, "dataChange"));
    file->row_count = file->stats_json ? leat_delta_stats_row_count(file->stats_json) : -1;
    return status;
}

static enum leat_status parse_remove(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    struct leat_delta_tombstone *t = &out->tombstone;
    int64_t size = 0;
    enum leat_status status = refuse_deletion_vector(object, err);
    if (status == LEAT_OK) status = take_path(object, "remove", &t->path, err);
    if (status == LEAT_OK) status = take_integer(object, "remove", "size", false, 0, &size, err);
    if (status == LEAT_OK) status = take_integer(object, "remove", "deletionTimestamp", false, 0, &t->deleted_ms, err);
    if (status == LEAT_OK) status = take_map(object, "remove", "partitionValues", &t->partition_json, err);
    t->size_bytes = size > 0 ? (uint64_t)size : 0;
    out->data_change = !json_is_false(json_object_get(object, "dataChange"));
    return status;
}

static enum leat_status parse_metadata(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    struct leat_delta_metadata *m = &out->metadata;
    enum leat_status status = take_text(object, "metaData", "id", true, &m->id, err);
    if (status == LEAT_OK) status = take_text(object, "metaData", "name", false, &m->name, err);
    if (status == LEAT_OK) status = take_text(object, "metaData", "description", false, &m->description, err);
    if (status == LEAT_OK) status = take_text(object, "metaData", "schemaString", true, &m->schema_json, err);
    if (status == LEAT_OK)
        status =
            take_texts(object, "metaData", "partitionColumns", &m->partition_columns, &m->partition_column_count, err);
    if (status == LEAT_OK) status = take_map(object, "metaData", "configuration", &m->configuration_json, err);
    if (status == LEAT_OK) status = take_integer(object, "metaData", "createdTime", false, -1, &m->created_ms, err);
    if (status != LEAT_OK) return status;
    json_t *format = json_object_get(object, "format"), *provider = json_object_get(format, "provider");
    if (json_is_string(provider) && strcmp(json_string_value(provider), "parquet") != 0)
        return leat_fail(err, LEAT_UNSUPPORTED, "the table's files have the format \"%.64s\"; leat reads parquet",
                         json_string_value(provider));
    return LEAT_OK;
}

static enum leat_status parse_protocol(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    struct leat_delta_protocol *p = &out->protocol;
    enum leat_status status = take_integer(object, "protocol", "minReaderVersion", true, 0, &p->reader, err);
    if (status == LEAT_OK) status = take_integer(object, "protocol", "minWriterVersion", true, 0, &p->writer, err);
    if (status == LEAT_OK)
        status = take_texts(object, "protocol", "readerFeatures", &p->reader_features, &p->reader_feature_count, err);
    if (status == LEAT_OK)
        status = take_texts(object, "protocol", "writerFeatures", &p->writer_features, &p->writer_feature_count, err);
    return status;
}

static enum leat_status parse_txn(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    enum leat_status status = take_text(object, "txn", "appId", true, &out->txn.app_id, err);
    if (status == LEAT_OK) status = take_integer(object, "txn", "version", true, 0, &out->txn.version, err);
    if (status == LEAT_OK) status = take_integer(object, "txn", "lastUpdated", false, -1, &out->timestamp_ms, err);
    return status;
}

/* commitInfo is free-form: what is not as expected is left out, not refused. */
static enum leat_status parse_commit_info(json_t *object, struct leat_delta_action *out, struct leat_error *err) {
    (void)err;
    json_t *timestamp = json_object_get(object, "timestamp"), *id = json_object_get(object, "txnId");
    json_t *frontier = json_object_get(object, "leat.frontier");
    out->timestamp_ms = json_is_integer(timestamp) ? (int64_t)json_integer_value(timestamp) : -1;
    const char *engine = json_string_value(json_object_get(object, "engineInfo"));
    out->by_leat = engine && strncmp(engine, "leat/", 5) == 0;
    if (json_is_string(id)) out->commit_id = leat_strdup(json_string_value(id));
    if (frontier && !json_is_null(frontier)) {
        char *text = json_dumps(frontier, JSON_COMPACT | JSON_ENCODE_ANY);
        if (text) out->frontier_json = leat_strdup(text);
        free(text);
    }
    return LEAT_OK;
}

static const struct {
    const char *name;
    enum leat_delta_action_kind kind;
    enum leat_status (*parse)(json_t *, struct leat_delta_action *, struct leat_error *);
} action_table[] = {
    {"add", LEAT_DELTA_ADD, parse_add},
    {"remove", LEAT_DELTA_REMOVE, parse_remove},
    {"metaData", LEAT_DELTA_METADATA, parse_metadata},
    {"protocol", LEAT_DELTA_PROTOCOL, parse_protocol},
    {"txn", LEAT_DELTA_TXN, parse_txn},
    {"commitInfo", LEAT_DELTA_COMMIT_INFO, parse_commit_info},
};

enum leat_status leat_delta_action_parse(const char *line, size_t length, struct leat_delta_action *out,
                                         struct leat_error *err) {
    memset(out, 0, sizeof *out);
    json_error_t at;
    json_t *root = json_loadb(line, length, 0, &at);
    if (!root)
        return leat_fail(err, LEAT_CORRUPT, "the log has a line that is not JSON: %s (column %d)", at.text, at.column);
    enum leat_status status = LEAT_OK;
    if (!json_is_object(root)) status = leat_fail(err, LEAT_CORRUPT, "the log has a line that is not a JSON object");
    for (size_t i = 0; status == LEAT_OK && i < sizeof action_table / sizeof *action_table; i++) {
        json_t *value = json_object_get(root, action_table[i].name);
        if (!value || json_is_null(value)) continue;
        if (!json_is_object(value))
            status = leat_fail(err, LEAT_CORRUPT, "the log's %s action is not an object", action_table[i].name);
        else if (out->kind != LEAT_DELTA_NO_ACTION)
            status = leat_fail(err, LEAT_CORRUPT, "the log has a line with two actions");
        else {
            out->kind = action_table[i].kind;
            status = action_table[i].parse(value, out, err);
        }
    }
    json_decref(root);
    return status;
}

/* ---- writing ---- */

static void put_text(struct leat_buffer *b, const char *text) {
    if (text)
        leat_put_json_string(b, text, strlen(text));
    else
        leat_put(b, "null");
}

static void put_texts(struct leat_buffer *b, char *const *texts, size_t count) {
    leat_put(b, "[");
    for (size_t i = 0; i < count; i++) {
        if (i) leat_put(b, ",");
        put_text(b, texts[i]);
    }
    leat_put(b, "]");
}

void leat_delta_put_path(struct leat_buffer *b, const char *path) {
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~/=+@,", *p) != NULL;
        if (plain)
            leat_putn(b, (const char *)p, 1);
        else
            leat_putf(b, "%%%02X", *p);
    }
}

void leat_delta_put_add(struct leat_buffer *b, const struct leat_delta_file *file, bool data_change) {
    leat_put(b, "{\"add\":{\"path\":\"");
    leat_delta_put_path(b, file->path);
    leat_putf(b, "\",\"partitionValues\":%s,\"size\":%" PRIu64 ",\"modificationTime\":%" PRId64 ",\"dataChange\":%s",
              file->partition_json ? file->partition_json : "{}", file->size_bytes, file->modified_ms,
              data_change ? "true" : "false");
    if (file->stats_json) {
        leat_put(b, ",\"stats\":");
        put_text(b, file->stats_json);
    }
    leat_put(b, "}}\n");
}

void leat_delta_put_remove(struct leat_buffer *b, const struct leat_delta_file *file, int64_t now_ms,
                           bool data_change) {
    leat_put(b, "{\"remove\":{\"path\":\"");
    leat_delta_put_path(b, file->path);
    leat_putf(b,
              "\",\"deletionTimestamp\":%" PRId64
              ",\"dataChange\":%s,\"extendedFileMetadata\":true,\"partitionValues\":%s,\"size\":%" PRIu64 "}}\n",
              now_ms, data_change ? "true" : "false", file->partition_json ? file->partition_json : "{}",
              file->size_bytes);
}

void leat_delta_put_txn(struct leat_buffer *b, const struct leat_delta_txn *txn, int64_t now_ms) {
    leat_put(b, "{\"txn\":{\"appId\":");
    put_text(b, txn->app_id);
    leat_putf(b, ",\"version\":%" PRId64 ",\"lastUpdated\":%" PRId64 "}}\n", txn->version, now_ms);
}

void leat_delta_put_metadata(struct leat_buffer *b, const struct leat_delta_metadata *m) {
    leat_put(b, "{\"metaData\":{\"id\":");
    put_text(b, m->id);
    if (m->name) {
        leat_put(b, ",\"name\":");
        put_text(b, m->name);
    }
    if (m->description) {
        leat_put(b, ",\"description\":");
        put_text(b, m->description);
    }
    leat_put(b, ",\"format\":{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":");
    put_text(b, m->schema_json);
    leat_put(b, ",\"partitionColumns\":");
    put_texts(b, m->partition_columns, m->partition_column_count);
    leat_putf(b, ",\"configuration\":%s", m->configuration_json ? m->configuration_json : "{}");
    if (m->created_ms >= 0) leat_putf(b, ",\"createdTime\":%" PRId64, m->created_ms);
    leat_put(b, "}}\n");
}

void leat_delta_put_protocol(struct leat_buffer *b, const struct leat_delta_protocol *p) {
    leat_putf(b, "{\"protocol\":{\"minReaderVersion\":%" PRId64 ",\"minWriterVersion\":%" PRId64, p->reader, p->writer);
    if (p->reader >= 3) {
        leat_put(b, ",\"readerFeatures\":");
        put_texts(b, p->reader_features, p->reader_feature_count);
    }
    if (p->writer >= 7) {
        leat_put(b, ",\"writerFeatures\":");
        put_texts(b, p->writer_features, p->writer_feature_count);
    }
    leat_put(b, "}}\n");
}
