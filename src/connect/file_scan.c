/* Which files there are, and which incarnation of its path each one is.
 *
 * A file keeps its partition while it only grows: it has not shrunk, its first bytes are the same, the byte before the
 * place read to is still a newline, and its inode is the same (or size and time are exactly what was seen last: a
 * copied project). A file found under another name while its old name is gone or taken was renamed (log rotation) and
 * keeps its partition too. Everything else is a new incarnation: a new partition, read from the start. A damaged
 * compressed file is only held to its first bytes, because repairing it means replacing it. */
#include "connect/file.h"

#include <stdlib.h>
#include <string.h>

static void tailed_deinit(struct leat_tailed *f) {
    free(f->path);
    free(f->full);
    free(f->header);
    *f = (struct leat_tailed){0};
}

void leat_file_list_deinit(struct leat_file_source *s) {
    for (size_t i = 0; i < s->file_count; i++)
        tailed_deinit(&s->files[i]);
    free(s->files);
    free(s->progress);
    s->files = NULL;
    s->progress = NULL;
    s->file_count = s->progress_count = 0;
}

struct leat_tailed *leat_file_of_partition(struct leat_file_source *s, uint32_t partition) {
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].partition == partition) return &s->files[i];
    return NULL;
}

/* ---- progress of partitions without a file ---- */

static struct leat_log_end *progress_find(struct leat_file_source *s, uint32_t partition) {
    for (size_t i = 0; i < s->progress_count; i++)
        if (s->progress[i].partition == partition) return &s->progress[i];
    return NULL;
}

static void detach(struct leat_file_source *s, struct leat_tailed *f) {
    if (f->partition == 0) return;
    struct leat_log_end *p = progress_find(s, f->partition);
    if (!p) {
        s->progress = leat_realloc(s->progress, (s->progress_count + 1) * sizeof *s->progress);
        p = &s->progress[s->progress_count++];
    }
    *p = (struct leat_log_end){.partition = f->partition, .next_offset = f->next_record, .position = f->skip ? 0 : f->position};
    struct leat_tailed kept = {.path = f->path, .full = f->full, .seen = f->seen, .unchecked = true};
    free(f->header);
    *f = kept;
}

static void attach(struct leat_file_source *s, struct leat_tailed *f, const struct leat_partition *entry) {
    f->fed = entry->fed;
    if (f->partition == entry->number) return;
    detach(s, f);
    f->partition = entry->number;
    f->fed = entry->fed;
    const struct leat_log_end *p = progress_find(s, entry->number);
    if (p) {
        f->position = p->position;
        f->next_record = p->next_offset;
        f->skip = p->position ? 0 : p->next_offset;
    }
}

/* ---- the list ---- */

static void tell_gone(struct leat_file_source *s, const struct leat_tailed *f) {
    if (f->partition == 0 || f->fed) return;
    leat_log(s->env, f->idle && !f->damaged && !f->failed ? LEAT_LOG_INFO : LEAT_LOG_WARN,
             "source %s: %s is gone after %llu records were read from it%s", s->name, f->path,
             (unsigned long long)f->next_record, f->idle && !f->damaged && !f->failed ? "" : "; it had more");
}

static bool same_stat(const struct leat_stat *a, const struct leat_stat *b) {
    return a->size_bytes == b->size_bytes && a->modified_us == b->modified_us && a->inode == b->inode;
}

static void note_seen(struct leat_file_source *s, struct leat_tailed *f, bool known, const struct leat_stat *st) {
    if (!known || !same_stat(st, &f->seen)) {
        f->unchecked = true;
        s->seen_differs = true;
    }
    f->seen = *st;
}

/* Looks at the files without listing folders. False: a name is another file's by now, or nobody's. */
static bool look_again(struct leat_file_source *s) {
    for (size_t i = 0; i < s->file_count; i++) {
        struct leat_tailed *f = &s->files[i];
        struct leat_stat st;
        if (s->env->io->ops->stat(s->env->io, f->full, &st, NULL) != LEAT_OK || st.is_dir || st.inode != f->seen.inode)
            return false;
        note_seen(s, f, true, &st);
    }
    return true;
}

/* Makes `files` what the glob found; marks what has to be looked at. */
static void merge_list(struct leat_file_source *s, struct leat_glob *glob) {
    struct leat_tailed *merged = leat_alloc((glob->path_count + 1) * sizeof *merged);
    size_t count = 0, old = 0;
    for (size_t i = 0; i <= glob->path_count; i++) {
        const char *path = i < glob->path_count ? glob->paths[i] : NULL;
        for (; old < s->file_count && (!path || strcmp(s->files[old].path, path) < 0); old++) {
            tell_gone(s, &s->files[old]);
            detach(s, &s->files[old]);
            tailed_deinit(&s->files[old]);
        }
        if (!path) break;
        struct leat_tailed *f = &merged[count];
        bool known = old < s->file_count && strcmp(s->files[old].path, path) == 0;
        if (known)
            *f = s->files[old++];
        else {
            f->path = leat_strdup(path);
            f->full = *path == '/' ? leat_strdup(path) : leat_asprintf("%s/%s", s->project_dir, path);
            f->unchecked = true;
        }
        struct leat_stat st;
        if (s->env->io->ops->stat(s->env->io, f->full, &st, NULL) != LEAT_OK ||
            st.is_dir) { /* gone since the listing */
            tell_gone(s, f);
            detach(s, f);
            tailed_deinit(f);
            continue;
        }
        note_seen(s, f, known, &st);
        count++;
    }
    free(s->files);
    s->files = merged;
    s->file_count = count;
}

/* ---- incarnations ---- */

/* Does it begin as it did when its fingerprint was taken? */
static enum leat_status has_head(struct leat_content *content, const struct leat_partition *entry, bool *yes,
                                 struct leat_error *err) {
    char head[LEAT_FILE_HEAD_BYTES];
    size_t got = 0;
    enum leat_status status = leat_content_head(content, head, entry->head_bytes, &got, err);
    *yes = status == LEAT_OK && got && got == entry->head_bytes && leat_file_head_hash(head, got) == entry->head_hash;
    return status;
}

/* Is the file what `entry` was, and more? */
static enum leat_status is_continued(struct leat_file_source *s, const struct leat_tailed *f,
                                     const struct leat_partition *entry, bool *yes, struct leat_error *err) {
    bool live = f->partition == entry->number;
    const struct leat_log_end *p = progress_find(s, entry->number);
    uint64_t position = live ? f->position : p ? p->position : 0;
    struct leat_content *content;
    *yes = false;
    enum leat_status status = leat_content_open(s->env->io, f->full, s->compression, s->max_ratio, &content, err);
    if (status == LEAT_OK) status = has_head(content, entry, yes, err);
    if (status != LEAT_OK || !*yes || (live ? f->damaged : entry->damaged)) goto out;
    *yes = false;
    bool untouched = f->seen.size_bytes == entry->size_bytes && f->seen.modified_us == entry->modified_us;
    if (entry->inode && f->seen.inode != entry->inode && !untouched) goto out; /* 0: from before a work folder was lost */
    if (f->seen.size_bytes < entry->size_bytes || (live && f->seen.size_bytes < f->high_bytes)) goto out;
    *yes = true;
    if (position && leat_content_compression(content) == LEAT_COMPRESSION_NONE) {
        char byte = '\n';
        size_t got = 0;
        status = leat_content_seek(content, position - 1, err);
        if (status == LEAT_OK) status = leat_content_read(content, &byte, 1, &got, err);
        *yes = got == 1 && (byte == '\n' || !live || !f->ends_line);
    }
out:
    leat_content_close(content);
    return status;
}

static void take_up(struct leat_file_source *s, struct leat_tailed *f, const struct leat_partition *entry) {
    attach(s, f, entry);
    f->unchecked = f->failed = f->damaged = f->idle = false;
    if (f->seen.size_bytes > f->high_bytes) f->high_bytes = f->seen.size_bytes;
}

static void set_aside(struct leat_file_source *s, struct leat_tailed *f, const struct leat_error *err) {
    struct leat_clock *clock = s->env->clock;
    if (err->status == LEAT_NOT_FOUND) { /* gone since the listing */
        s->rescan = true;
        return;
    }
    if (!f->failed)
        leat_log(s->env, LEAT_LOG_WARN, "source %s: %s; the file is tried again every minute", s->name, err->text);
    f->failed = f->idle = true;
    f->retry_us = clock->monotonic_us(clock) + LEAT_FILE_RETRY_US;
}

/* The usual case, without touching the table: a file that grew, or that nothing is in yet. */
static bool settle_quietly(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    const struct leat_partition *entry =
        f->partition ? leat_partitions_get(&s->table, f->partition) : leat_partitions_of_path(&s->table, f->path);
    bool yes = false;
    if (entry && entry->replaced) entry = NULL;
    if (!entry && f->seen.size_bytes == 0) {
        f->unchecked = false;
        f->idle = true;
        return true;
    }
    if (!entry || f->seen.size_bytes == 0) return false;
    if (is_continued(s, f, entry, &yes, err) != LEAT_OK) {
        set_aside(s, f, err);
        return true;
    }
    if (yes) take_up(s, f, entry);
    return yes;
}

static struct leat_tailed *find_path(struct leat_file_source *s, const char *path) {
    for (size_t low = 0, high = s->file_count; low < high;) {
        size_t middle = (low + high) / 2;
        int order = strcmp(path, s->files[middle].path);
        if (order == 0) return &s->files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* Was this file known under another name, which now is gone or belongs to another file? */
static enum leat_status settle_renamed(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    for (size_t i = 0; i < s->table.count; i++) {
        struct leat_partition *entry = &s->table.items[i];
        if (entry->replaced || entry->inode != f->seen.inode || strcmp(entry->path, f->path) == 0) continue;
        struct leat_tailed *holder = find_path(s, entry->path);
        bool yes = false;
        if (holder && holder->seen.inode == entry->inode) continue; /* a hard link: two names, two files */
        enum leat_status status = is_continued(s, f, entry, &yes, err);
        if (status != LEAT_OK) return status;
        if (!yes) continue;
        struct leat_partition *old = leat_partitions_of_path(&s->table, f->path);
        if (old) old->replaced = true;
        leat_log(s->env, LEAT_LOG_INFO, "source %s: %s was renamed to %s", s->name, entry->path, f->path);
        if (holder && holder->partition == entry->number) detach(s, holder);
        free(entry->path);
        entry->path = leat_strdup(f->path);
        take_up(s, f, entry);
        return LEAT_OK;
    }
    return LEAT_OK;
}

static enum leat_status settle_new(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    struct leat_partition *old = leat_partitions_of_path(&s->table, f->path), *entry;
    uint32_t head_bytes = 0;
    uint64_t hash = 0;
    struct leat_stat st;
    enum leat_status status = leat_file_fingerprint(s->env->io, f->full, &head_bytes, &hash, err);
    if (status == LEAT_OK) status = s->env->io->ops->stat(s->env->io, f->full, &st, err);
    if (status != LEAT_OK) return status;
    if (st.inode != f->seen.inode || st.size_bytes < head_bytes) { /* replaced just now: for the next scan */
        s->rescan = true;
        return LEAT_OK;
    }
    if (old)
        leat_log(s->env, LEAT_LOG_INFO,
                 "source %s: %s was replaced or cut; it is read from its start as a new partition", s->name, f->path);
    if (head_bytes == 0) { /* emptied */
        if (old) old->replaced = true;
        detach(s, f);
        f->unchecked = false;
        f->idle = true;
        return LEAT_OK;
    }
    status = leat_partitions_add(&s->table, f->path, &entry, err);
    if (status != LEAT_OK) return status;
    entry->inode = f->seen.inode;
    entry->size_bytes = f->seen.size_bytes;
    entry->modified_us = f->seen.modified_us;
    entry->head_bytes = head_bytes;
    entry->head_hash = hash;
    take_up(s, f, entry);
    return LEAT_OK;
}

/* With the table locked: renames before new numbers, so that a rotated file is not taken for a new one. */
static enum leat_status settle_locked(struct leat_file_source *s, struct leat_error *err) {
    enum leat_status status = leat_partitions_lock(&s->table, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < s->file_count; i++) /* what another process wrote may settle it */
        if (s->files[i].unchecked && !s->files[i].failed) (void)settle_quietly(s, &s->files[i], err);
    for (int pass = 0; pass < 2 && status == LEAT_OK; pass++)
        for (size_t i = 0; i < s->file_count && status == LEAT_OK; i++) {
            struct leat_tailed *f = &s->files[i];
            if (!f->unchecked || f->failed || (pass == 0 && f->seen.size_bytes == 0)) continue;
            status = pass == 0 ? settle_renamed(s, f, err) : settle_new(s, f, err);
            if (status == LEAT_LIMIT) break;
            if (status != LEAT_OK) {
                set_aside(s, f, err);
                status = LEAT_OK;
            }
        }
    if (status == LEAT_OK) status = leat_partitions_save(&s->table, err);
    leat_partitions_unlock(&s->table);
    return status;
}

static enum leat_status settle(struct leat_file_source *s, struct leat_error *err) {
    struct leat_clock *clock = s->env->clock;
    int64_t now_us = clock->monotonic_us(clock);
    bool table_changed, open_questions = false;
    enum leat_status status = leat_partitions_refresh(&s->table, &table_changed, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < s->file_count; i++) {
        struct leat_tailed *f = &s->files[i];
        const struct leat_partition *entry = table_changed ? leat_partitions_get(&s->table, f->partition) : NULL;
        if (entry && entry->fed) f->fed = true;
        if (f->failed && (f->unchecked || now_us >= f->retry_us))
            f->unchecked = true;
        else if (f->failed)
            continue;
        if (f->unchecked && !settle_quietly(s, f, err)) open_questions = true;
    }
    return open_questions ? settle_locked(s, err) : LEAT_OK;
}

static enum leat_status watch_and_list(struct leat_file_source *s, struct leat_glob *glob, struct leat_error *err) {
    for (;;) {
        enum leat_status status = leat_glob_list(s->env, s->project_dir, s->pattern, glob, err);
        if (status != LEAT_OK || !s->watch) return status;
        bool added = false;
        if (!leat_watch_folders(s->watch, glob, s->project_dir, &added)) {
            leat_watch_close(s->watch);
            s->watch = NULL;
        }
        if (!added) return LEAT_OK; /* else something may have come between listing and watching */
        leat_glob_deinit(glob);
    }
}

static enum leat_status list_files(struct leat_file_source *s, struct leat_error *err) {
    struct leat_glob glob = {0};
    enum leat_status status = watch_and_list(s, &glob, err);
    if (status != LEAT_OK) return leat_prepend(err, "source %s: path %s", s->name, s->pattern);
    merge_list(s, &glob);
    leat_glob_deinit(&glob);
    s->listed = true;
    return LEAT_OK;
}

enum leat_status leat_file_scan(struct leat_file_source *s, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    if (!s->listed || !look_again(s)) {
        s->listed = false; /* if it fails, for the next time */
        status = list_files(s, err);
    }
    if (status != LEAT_OK) return status;
    status = settle(s, err);
    if (status != LEAT_OK) return leat_prepend(err, "source %s", s->name);
    if (s->file_count == 0 && !s->told_empty) {
        leat_log(s->env, s->once ? LEAT_LOG_WARN : LEAT_LOG_INFO, "source %s: no file fits %s%s", s->name, s->pattern,
                 s->once ? "" : " yet");
        s->told_empty = true;
    }
    s->scanned = true;
    return LEAT_OK;
}

/* Takes what was seen of f over into its entry. False: nothing new. */
static bool update_entry(struct leat_file_source *s, struct leat_tailed *f) {
    struct leat_partition *e = leat_partitions_get(&s->table, f->partition);
    if (!e || e->replaced || f->unchecked || f->failed) return false;
    uint32_t head_bytes = 0;
    uint64_t hash = 0;
    bool changed = false;
    if (e->head_bytes < LEAT_FILE_HEAD_BYTES && f->seen.size_bytes > e->head_bytes &&
        leat_file_fingerprint(s->env->io, f->full, &head_bytes, &hash, NULL) == LEAT_OK && head_bytes > e->head_bytes) {
        /* The longer fingerprint must be of the file that the shorter one is of. */
        uint32_t before = e->head_bytes;
        uint64_t before_hash = 0;
        if (leat_file_fingerprint(s->env->io, f->full, &before, &before_hash, NULL) == LEAT_OK &&
            before_hash == e->head_hash) {
            e->head_bytes = head_bytes;
            e->head_hash = hash;
            changed = true;
        }
    }
    if (e->inode == f->seen.inode && e->size_bytes == f->seen.size_bytes && e->modified_us == f->seen.modified_us &&
        e->damaged == f->damaged)
        return changed;
    e->inode = f->seen.inode;
    e->size_bytes = f->seen.size_bytes;
    e->modified_us = f->seen.modified_us;
    e->damaged = f->damaged;
    return true;
}

enum leat_status leat_file_save_seen(struct leat_file_source *s, struct leat_error *err) {
    bool changed = false;
    if (!s->seen_differs) return LEAT_OK;
    enum leat_status status = leat_partitions_lock(&s->table, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < s->file_count; i++)
        changed |= update_entry(s, &s->files[i]);
    if (changed) status = leat_partitions_save(&s->table, err);
    leat_partitions_unlock(&s->table);
    if (status == LEAT_OK) s->seen_differs = false;
    return status;
}
