/* What a reference source reads: which files there are, and the rows of them or of a database. See reference.h. */
#include "engine/reference/reference_internal.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "connect/content.h"
#include "connect/glob.h"
#include "data/decode.h"
#include "data/key.h"

enum { RECORDS_PER_BLOCK = 8 * 1024 };
/* A file written in the same tick of the file system's clock as it was read shows no new time: only older times are
 * trusted. */
static const int64_t SETTLED_US = 2000000;

/* ---- which files */

void leat_reference_files_deinit(struct leat_reference_files *f) {
    for (size_t i = 0; i < f->count; i++)
        free(f->paths[i]);
    free(f->paths);
    free(f->stats);
    *f = (struct leat_reference_files){0};
}

enum leat_status leat_reference_list(struct leat_reference *r, struct leat_reference_files *out,
                                     struct leat_error *err) {
    struct leat_glob glob = {0};
    const char *pattern = leat_source_option(r->def, "path");
    *out = (struct leat_reference_files){0};
    if (leat_reference_is_remote(r)) return LEAT_OK;
    if (!pattern) return leat_fail(err, LEAT_INVALID, "it has no path");
    enum leat_status status = leat_glob_list(r->env, r->project_dir, pattern, &glob, err);
    if (status) goto out;
    if (!glob.path_count) {
        status = leat_fail(err, LEAT_NOT_FOUND, "no file fits its path %s", pattern);
        goto out;
    }
    out->paths = leat_alloc(glob.path_count * sizeof *out->paths);
    out->stats = leat_alloc(glob.path_count * sizeof *out->stats);
    for (size_t i = 0; i < glob.path_count && !status; i++) {
        const char *path = glob.paths[i];
        out->paths[i] = *path == '/' ? leat_strdup(path) : leat_asprintf("%s/%s", r->project_dir, path);
        out->count++;
        status = r->env->io->ops->stat(r->env->io, out->paths[i], &out->stats[i], err);
        if (!status && out->stats[i].is_dir) status = leat_fail(err, LEAT_INVALID, "%s is a folder, not a file", path);
    }
out:
    leat_glob_deinit(&glob);
    if (status) leat_reference_files_deinit(out);
    return status;
}

bool leat_reference_same_files(const struct leat_reference_files *a, const struct leat_reference_files *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct leat_stat *x = &a->stats[i], *y = &b->stats[i];
        if (strcmp(a->paths[i], b->paths[i]) != 0 || x->size_bytes != y->size_bytes ||
            x->modified_us != y->modified_us || x->inode != y->inode)
            return false;
    }
    return true;
}

/* By the real clock, also under a simulated one: files carry real times. */
bool leat_reference_are_settled(const struct leat_reference_files *f) {
    struct leat_clock *clock = leat_clock_real();
    int64_t now = clock->now_us(clock);
    for (size_t i = 0; i < f->count; i++)
        if (f->stats[i].modified_us > now - SETTLED_US) return false;
    return true;
}

/* ---- CSV and JSON */

static enum leat_compression compression_of(const struct leat_source *def) {
    const char *name = leat_source_option(def, "compression");
    if (name && !strcasecmp(name, "none")) return LEAT_COMPRESSION_NONE;
    if (name && !strcasecmp(name, "gzip")) return LEAT_COMPRESSION_GZIP;
    if (name && !strcasecmp(name, "zstd")) return LEAT_COMPRESSION_ZSTD;
    return LEAT_COMPRESSION_AUTO;
}

static enum leat_status read_content(struct leat_reference *r, const char *path, uint64_t size_bytes,
                                     struct leat_buffer *out, struct leat_error *err) {
    struct leat_content *content = NULL;
    size_t want = size_bytes < LEAT_MIB ? (size_t)size_bytes + 64 * LEAT_KIB : 16 * LEAT_MIB, got = 0;
    int64_t max_ratio = leat_source_option_int(r->def, "max_decompressed_ratio", 200);
    enum leat_status status = leat_content_open(r->env->io, path, compression_of(r->def), max_ratio, &content, err);
    out->max_bytes = LEAT_REFERENCE_BYTES_MAX;
    while (!status) {
        if ((status = leat_buffer_reserve(out, want + LEAT_PAYLOAD_SLACK, err))) break;
        status = leat_content_read(content, out->data + out->length, want, &got, err);
        out->length += got;
        if (got < want) break;
    }
    if (!status && out->data) memset(out->data + out->length, 0, LEAT_PAYLOAD_SLACK);
    leat_content_close(content);
    return status;
}

/* Encodings the decoder does not know: the whole content becomes UTF-8. */
static const char *foreign_encoding(const struct leat_source *def) {
    const char *name = leat_source_option(def, "encoding");
    if (name && !strcasecmp(name, "utf-16")) return "UTF-16";
    if (name && !strcasecmp(name, "windows-1252")) return "CP1252";
    return NULL;
}

static enum leat_status to_utf8(const char *encoding, struct leat_buffer *content, struct leat_error *err) {
    struct leat_buffer out = {.max_bytes = LEAT_REFERENCE_BYTES_MAX};
    enum leat_status status = LEAT_OK;
    char *from = content->data;
    size_t left = content->length;
    iconv_t converter = iconv_open("UTF-8", encoding);
    if (converter == (iconv_t)-1)
        return leat_fail(err, LEAT_UNSUPPORTED, "this system does not know the encoding %s", encoding);
    while (left && !status) {
        if ((status = leat_buffer_reserve(&out, left * 2 + 1024, err))) break;
        char *to = out.data + out.length;
        size_t room = out.capacity - out.length - 1 - LEAT_PAYLOAD_SLACK;
        size_t done = iconv(converter, &from, &left, &to, &room);
        out.length = (size_t)(to - out.data);
        if (done == (size_t)-1 && errno != E2BIG)
            status = leat_fail(err, LEAT_INVALID, "byte %zu is not valid %s", (size_t)(from - content->data), encoding);
    }
    iconv_close(converter);
    if (!status) status = leat_buffer_reserve(&out, LEAT_PAYLOAD_SLACK, err);
    if (!status && out.data) memset(out.data + out.length, 0, LEAT_PAYLOAD_SLACK);
    if (!status) {
        leat_buffer_deinit(content);
        *content = out;
    } else {
        leat_buffer_deinit(&out);
    }
    return status;
}

/* Without the encoding that to_utf8 has dealt with, and declared as what it is. */
static enum leat_status open_decoder(const struct leat_source *def, struct leat_decoder **out, struct leat_error *err) {
    struct leat_source utf8 = *def;
    utf8.option_count = 0;
    utf8.options = leat_alloc((def->option_count + 1) * sizeof *utf8.options);
    for (size_t i = 0; i < def->option_count; i++)
        if (strcasecmp(def->options[i].name, "encoding") != 0 || !foreign_encoding(def))
            utf8.options[utf8.option_count++] = def->options[i];
    enum leat_status status = leat_decoder_open(&utf8, out, err);
    free(utf8.options);
    return status;
}

struct text_reader {
    struct leat_reference *r;
    struct leat_decoder *decoder;
    struct leat_changes batch;
    uint32_t *starts, *ends, *records;
};

/* The first record of the content, as the header of all blocks; how many bytes it took. */
static size_t take_header(const struct leat_source *def, const char *bytes, size_t n, struct leat_block *block) {
    const char *has_header = leat_source_option(def, "header");
    uint32_t start, end, count = 0;
    if (def->format != LEAT_FORMAT_CSV || (has_header && !strcmp(has_header, "false"))) return 0;
    size_t used = leat_split_records(def->format, bytes, n, true, &start, &end, 1, &count);
    if (!count) return used;
    block->header = bytes + start;
    block->header_length = end - start;
    return used;
}

static enum leat_status decode_block(struct text_reader *t, const struct leat_block *block, struct leat_changes *out,
                                     struct leat_error *err) {
    const struct leat_reject *rejects = NULL;
    size_t reject_count = 0;
    size_t max_line = (size_t)leat_source_option_int(t->r->def, "max_line_bytes", (int64_t)LEAT_MIB);
    for (uint32_t i = 0; i < block->record_count; i++)
        if (block->ends[i] - block->starts[i] > max_line)
            return leat_fail(err, LEAT_LIMIT, "record %llu is longer than max_line_bytes (%zu)",
                             (unsigned long long)(block->base_offset + i + 1), max_line);
    leat_changes_reset(&t->batch);
    enum leat_status status = leat_decode(t->decoder, block, 0, block->record_count, &t->batch, t->records, NULL,
                                          &rejects, &reject_count, err);
    if (!status && reject_count)
        status = leat_fail(err, LEAT_INVALID, "record %llu: %s",
                           (unsigned long long)(block->base_offset + rejects[0].record + 1), rejects[0].reason);
    if (!status) leat_changes_append(out, &t->batch, NULL, t->batch.row_count, 1);
    return status;
}

static enum leat_status decode_content(struct text_reader *t, const char *bytes, size_t n, struct leat_changes *out,
                                       struct leat_error *err) {
    struct leat_block block = {.starts = t->starts, .ends = t->ends};
    if (n >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3)) bytes += 3, n -= 3;
    size_t used = take_header(t->r->def, bytes, n, &block);
    enum leat_status status = LEAT_OK;
    while (!status && used < n) {
        block.payload = bytes + used;
        size_t step = leat_split_records(t->r->def->format, block.payload, n - used, true, t->starts, t->ends,
                                         RECORDS_PER_BLOCK, &block.record_count);
        if (!step) break;
        block.payload_bytes = block.record_count ? t->ends[block.record_count - 1] : 0;
        if (block.record_count) status = decode_block(t, &block, out, err);
        block.base_offset += block.record_count;
        used += step;
    }
    return status;
}

/* Content `i`: of the i-th file, or what the database says, if that is not in `out` already. */
static enum leat_status next_content(struct leat_reference *r, const struct leat_reference_files *files, size_t i, struct leat_changes *out,
                                     struct leat_buffer *content, struct leat_error *err) {
    if (leat_reference_is_remote(r)) {
        enum leat_status status = r->fetch ? leat_reference_fetched(r, out, content, err) : leat_reference_rows_read(r->def, r->stop, out, content, err);
        if (!status) status = leat_buffer_reserve(content, LEAT_PAYLOAD_SLACK, err);
        if (!status) memset(content->data + content->length, 0, LEAT_PAYLOAD_SLACK);
        return status;
    }
    const char *foreign = foreign_encoding(r->def);
    enum leat_status status = read_content(r, files->paths[i], files->stats[i].size_bytes, content, err);
    return !status && foreign ? to_utf8(foreign, content, err) : status;
}

static enum leat_status read_text(struct leat_reference *r, const struct leat_reference_files *files,
                                  struct leat_changes *out, struct leat_error *err) {
    struct text_reader t = {.r = r};
    size_t count = leat_reference_is_remote(r) ? 1 : files->count;
    leat_changes_init(&t.batch, &r->def->schema);
    t.starts = leat_alloc(RECORDS_PER_BLOCK * sizeof *t.starts);
    t.ends = leat_alloc(RECORDS_PER_BLOCK * sizeof *t.ends);
    t.records = leat_alloc(RECORDS_PER_BLOCK * sizeof *t.records);
    enum leat_status status = open_decoder(r->def, &t.decoder, err);
    for (size_t i = 0; i < count && !status; i++) {
        struct leat_buffer content = {0};
        status = next_content(r, files, i, out, &content, err);
        if (!status && content.length) status = decode_content(&t, content.data, content.length, out, err);
        leat_buffer_deinit(&content);
        if (status && !leat_reference_is_remote(r)) leat_prepend(err, "%s", files->paths[i]);
    }
    leat_decoder_close(t.decoder);
    leat_changes_deinit(&t.batch);
    free(t.starts);
    free(t.ends);
    free(t.records);
    return status;
}

/* ---- Parquet */

static enum leat_status read_parquet(struct leat_reference *r, const struct leat_reference_files *files,
                                     struct leat_changes *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result result;
    const struct leat_schema *schema = &r->def->schema;
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        const char *name = r->def->source_names ? r->def->source_names[i] : NULL;
        leat_type_print(schema->fields[i].type, type);
        leat_put(&sql, i ? ", CAST(" : "CAST(");
        leat_put_sql_name(&sql, name ? name : schema->fields[i].name);
        leat_putf(&sql, " AS %s)", type);
    }
    leat_put(&sql, " FROM read_parquet([");
    for (size_t i = 0; i < files->count; i++) {
        if (i) leat_put(&sql, ", ");
        leat_put_sql_string(&sql, files->paths[i]);
    }
    leat_put(&sql, "], hive_partitioning = false)");
    enum leat_status status = leat_conn_query(r->batch, sql.data, &result, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    leat_changes_append(out, &result.rows, NULL, result.rows.row_count, 1);
    leat_result_deinit(&result);
    return LEAT_OK;
}

/* ---- checks over all rows */

static enum leat_status check_not_null(const struct leat_reference *r, const struct leat_changes *rows,
                                       struct leat_error *err) {
    const struct leat_schema *schema = &r->def->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        bool key = leat_source_has_key(r->def, i);
        if (!schema->fields[i].not_null && !key) continue;
        for (size_t row = 0; rows->columns[i].valid && row < rows->row_count; row++)
            if (leat_is_null(&rows->columns[i], row))
                return leat_fail(err, LEAT_INVALID, "row %zu: column \"%s\" is %s, but NULL", row + 1,
                                 schema->fields[i].name, key ? "part of the primary key" : "NOT NULL");
    }
    return LEAT_OK;
}

static int by_hash(const void *a, const void *b) {
    const struct leat_hash128 *x = a, *y = b;
    if (x->high != y->high) return x->high < y->high ? -1 : 1;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* false: no key is there twice. true: one is, or two have the same hash by chance. */
static bool may_repeat(const struct leat_source *def, const struct leat_changes *rows) {
    uint16_t *key = leat_alloc((def->primary_key_count + 1) * sizeof *key);
    struct leat_hash128 *hashes = leat_alloc((rows->row_count + 1) * sizeof *hashes);
    bool found = false;
    for (size_t k = 0; k < def->primary_key_count; k++)
        key[k] = (uint16_t)def->primary_key[k];
    leat_key_hash(rows, 0, rows->row_count, key, def->primary_key_count, hashes);
    qsort(hashes, rows->row_count, sizeof *hashes, by_hash);
    for (size_t i = 1; i < rows->row_count && !found; i++)
        found = by_hash(&hashes[i - 1], &hashes[i]) == 0;
    free(hashes);
    free(key);
    return found;
}

static enum leat_status check_unique(struct leat_reference *r, const struct leat_changes *rows,
                                     struct leat_error *err) {
    struct leat_buffer sql = {0};
    char *key = NULL;
    const struct leat_source *def = r->def;
    if (!def->primary_key_count || !may_repeat(def, rows)) return LEAT_OK;
    enum leat_status status = leat_conn_input(r->batch, r->input, &def->schema, true, err);
    if (status) return status;
    leat_conn_bind(r->batch, r->input, rows);
    leat_put(&sql, "SELECT concat_ws(', '");
    for (size_t k = 0; k < def->primary_key_count; k++) {
        leat_put(&sql, ", ");
        leat_put_sql_name(&sql, def->schema.fields[def->primary_key[k]].name);
    }
    leat_put(&sql, ") FROM leat_input(");
    leat_put_sql_string(&sql, r->input);
    leat_put(&sql, ") GROUP BY ");
    for (size_t k = 0; k < def->primary_key_count; k++) {
        if (k) leat_put(&sql, ", ");
        leat_put_sql_name(&sql, def->schema.fields[def->primary_key[k]].name);
    }
    leat_put(&sql, " HAVING count(*) > 1 ORDER BY 1 LIMIT 1");
    status = leat_conn_text(r->batch, sql.data, &key, err);
    if (status == LEAT_NOT_FOUND)
        status = LEAT_OK;
    else if (!status)
        status = leat_fail(err, LEAT_INVALID, "the primary key (%s) is there more than once", key);
    free(key);
    leat_buffer_deinit(&sql);
    leat_conn_bind(r->batch, r->input, NULL);
    return status;
}

enum leat_status leat_reference_read(struct leat_reference *r, const struct leat_reference_files *files,
                                     struct leat_changes *out, struct leat_error *err) {
    enum leat_status status =
        r->def->format == LEAT_FORMAT_PARQUET ? read_parquet(r, files, out, err) : read_text(r, files, out, err);
    if (!status && out->row_count > UINT32_MAX)
        status = leat_fail(err, LEAT_LIMIT, "it has more than %u rows", UINT32_MAX);
    if (!status) status = check_not_null(r, out, err);
    if (!status) status = check_unique(r, out, err);
    return status;
}
