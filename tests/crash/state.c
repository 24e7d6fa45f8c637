/* The fingerprint of a recovered state: every file's path and bytes, but for what nothing reads again: data files that no version
 * of their table names (a crash before their commit), temporary files, the lock, the status for people. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "base/mem.h"
#include "crash.h"

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static void read_file(const char *path, struct leat_buffer *out) {
    char block[65536];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(3);
    }
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) leat_putn(out, block, n);
    fclose(file);
}

/* All versions' actions of the table in dir; empty: it is no table. */
static void read_log(const char *dir, struct leat_buffer *out) {
    char *log = leat_asprintf("%s/_delta_log", dir);
    DIR *list = opendir(log);
    leat_put(out, "");
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (!ends_with(entry->d_name, ".json")) continue;
        char *path = leat_asprintf("%s/%s", log, entry->d_name);
        read_file(path, out);
        free(path);
    }
    if (list) closedir(list);
    free(log);
}

static bool is_rubbish(const char *name, const struct leat_buffer *log) {
    if (strstr(name, ".leat-tmp") || strcmp(name, "lock") == 0 || strcmp(name, "status.json") == 0) return true;
    return log->length && ends_with(name, ".parquet") && !strstr(log->data, name);
}

static uint64_t hash_file(const char *path, const char *relative) {
    struct leat_buffer bytes = {0};
    read_file(path, &bytes);
    uint64_t hash = XXH3_64bits_withSeed(bytes.data, bytes.length, XXH3_64bits(relative, strlen(relative)));
    leat_buffer_deinit(&bytes);
    return hash;
}

/* A sum: the order in which names come does not matter. */
static uint64_t hash_tree(const char *dir, size_t root_length) {
    struct leat_buffer log = {0};
    uint64_t sum = 0;
    struct stat st;
    DIR *list = opendir(dir);
    read_log(dir, &log);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_rubbish(entry->d_name, &log)) continue;
        char *path = leat_asprintf("%s/%s", dir, entry->d_name);
        if (stat(path, &st) == 0) sum += S_ISDIR(st.st_mode) ? hash_tree(path, root_length) : hash_file(path, path + root_length);
        free(path);
    }
    if (list) closedir(list);
    leat_buffer_deinit(&log);
    return sum;
}

uint64_t world_fingerprint(const char *dir) {
    return hash_tree(dir, strlen(dir));
}
