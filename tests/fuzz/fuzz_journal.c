/* The journal's reader over any bytes: it gives records, or CORRUPT or UNSUPPORTED; after an opening that succeeded, an
 * added record comes back behind the same records. The first byte chooses: even, the rest is the file; odd, each line
 * of the rest (its first byte the mark) gets a good hash first, behind a good first line. */
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>
#include "memory_io.h"
#include "state/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum leat_status collect(void *context, const char *json, size_t length, struct leat_error *err) {
    (void)err;
    leat_putn(context, json, length);
    leat_put(context, "\n");
    return LEAT_OK;
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static void put_line(struct leat_buffer *out, char mark, const char *json, size_t n) {
    leat_putf(out, "%016" PRIx64 "%c", (uint64_t)XXH64(json, n, 0), mark);
    leat_putn(out, json, n);
    leat_put(out, "\n");
}

static void put_forged(struct leat_buffer *file, const uint8_t *data, size_t size) {
    static const char header[] = "{\"leat_journal\":1,\"sequence\":1,\"head_bytes\":0}";
    put_line(file, ' ', header, sizeof header - 1);
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end ? (size_t)(end - data) : size;
        if (n > 1) put_line(file, (char)data[0], (const char *)data + 1, n - 1);
        data += n + (end != NULL);
        size -= n + (end != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_env env = {.io = memory_io(), .log = quiet};
    struct leat_journal *j;
    struct leat_error err;
    struct leat_buffer before = {0}, after = {0};
    if (size == 0) return 0;
    memory_clear();
    struct leat_buffer *file = &memory_make("dir/journal-0000000000000001")->bytes;
    if (data[0] % 2)
        put_forged(file, data + 1, size - 1);
    else
        leat_putn(file, (const char *)data + 1, size - 1);

    enum leat_status status = leat_journal_open(&env, "dir", collect, &before, &j, &err);
    if (status == LEAT_OK) {
        if (leat_journal_append(j, "{}", 2, &err) != LEAT_OK || leat_journal_sync(j, &err) != LEAT_OK) abort();
        leat_journal_close(j);
        leat_put(&before, "{}\n");
        if (leat_journal_open(&env, "dir", collect, &after, &j, &err) != LEAT_OK) abort();
        leat_journal_close(j);
        if (before.length != after.length || memcmp(before.data, after.data, before.length) != 0) abort();
    } else if (status != LEAT_CORRUPT && status != LEAT_UNSUPPORTED) {
        abort();
    }
    leat_buffer_deinit(&before);
    leat_buffer_deinit(&after);
    memory_clear();
    return 0;
}
