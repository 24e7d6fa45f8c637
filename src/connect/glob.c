/* Pattern matching and the walk over folders. */
#include "connect/glob.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

/* A [set] at pattern (behind the bracket): does it hold c? *end: behind its closing bracket; NULL: not a set. */
static bool set_holds(const char *set, unsigned char c, const char **end) {
    bool negated = *set == '!' || *set == '^', holds = false, first = true;
    if (negated) set++;
    for (; *set && (first || *set != ']'); first = false) {
        unsigned char low = (unsigned char)*set++, high = low;
        if (set[0] == '-' && set[1] && set[1] != ']') {
            high = (unsigned char)set[1];
            set += 2;
        }
        if (c >= low && c <= high) holds = true;
    }
    *end = *set == ']' ? set + 1 : NULL;
    return holds != negated;
}

bool leat_glob_match(const char *pattern, const char *name) {
    /* On a mismatch only the last star can still stretch, so this takes at most pattern x name steps. */
    const char *star = NULL, *star_name = NULL;
    if (*name == '.' && *pattern != '.') return false;
    for (;;) {
        const char *end = NULL;
        if (*pattern == '*') {
            star = ++pattern;
            star_name = name;
            continue;
        }
        if (!*name && !*pattern) return true;
        if (*name) {
            bool fits = *pattern == '?' || *pattern == *name;
            if (*pattern == '[') {
                bool in = set_holds(pattern + 1, (unsigned char)*name, &end);
                if (end) fits = in;
            }
            if (*pattern && fits) {
                pattern = end ? end : pattern + 1;
                name++;
                continue;
            }
        }
        if (!star || !*star_name) return false;
        pattern = star;
        name = ++star_name;
    }
}

bool leat_glob_has_wildcards(const char *pattern) {
    return strpbrk(pattern, "*?[") != NULL;
}

static enum leat_status add_path(char ***items, size_t *count, size_t *capacity, const char *path,
                                 struct leat_error *err) {
    if (*count >= LEAT_GLOB_PATHS_MAX)
        return leat_fail(err, LEAT_LIMIT, "more than %d files or folders fit the path; give a narrower pattern",
                         LEAT_GLOB_PATHS_MAX);
    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 16;
        *items = leat_realloc(*items, *capacity * sizeof **items);
    }
    (*items)[(*count)++] = leat_strdup(path);
    return LEAT_OK;
}

struct walk {
    struct leat_env *env;
    const char *base_dir;
    struct leat_glob *out;
    struct leat_error *err;
    int depth;
};

static char *full_path(const struct walk *w, const char *path) {
    if (*path == '/') return leat_strdup(path);
    return *path ? leat_asprintf("%s/%s", w->base_dir, path) : leat_strdup(w->base_dir);
}

static char *join(const char *dir, const char *name) {
    if (!*dir) return leat_strdup(name);
    return leat_asprintf(dir[strlen(dir) - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

static enum leat_status walk_into(struct walk *w, const char *dir, const char *pattern);

/* `path` fits the pattern so far; `rest` is what follows ("" at the end). */
static enum leat_status walk_entry(struct walk *w, const char *path, const char *rest) {
    char *full = full_path(w, path);
    struct leat_stat st;
    enum leat_status status = LEAT_OK;
    if (w->env->io->ops->stat(w->env->io, full, &st, NULL) != LEAT_OK)
        goto out; /* gone meanwhile, or a dangling link */
    if (st.is_dir) {
        if (*rest) status = walk_into(w, path, rest);
    } else if (!*rest)
        status = add_path(&w->out->paths, &w->out->path_count, &w->out->path_capacity, path, w->err);
out:
    free(full);
    return status;
}

/* The folder to watch when `dir` is missing is the nearest one that exists. */
static enum leat_status note_dir(struct walk *w, const char *dir, bool *exists) {
    char *full = full_path(w, dir);
    struct leat_stat st;
    *exists = w->env->io->ops->stat(w->env->io, full, &st, NULL) == LEAT_OK && st.is_dir;
    for (bool there = *exists; !there;) {
        char *parent = leat_io_dirname(full);
        bool top = strcmp(parent, full) == 0;
        free(full);
        full = parent;
        there = top || (w->env->io->ops->stat(w->env->io, full, &st, NULL) == LEAT_OK && st.is_dir);
    }
    enum leat_status status = add_path(&w->out->dirs, &w->out->dir_count, &w->out->dir_capacity, full, w->err);
    free(full);
    return status;
}

static enum leat_status walk_into(struct walk *w, const char *dir, const char *pattern) {
    char **names = NULL;
    size_t count = 0;
    while (*pattern == '/')
        pattern++;
    size_t length = strcspn(pattern, "/");
    char *part = leat_strndup(pattern, length);
    const char *rest = pattern + length;
    bool deep = strcmp(part, "**") == 0, exists;
    enum leat_status status = LEAT_OK;
    char *full = full_path(w, dir);
    if (++w->depth > LEAT_NESTING_MAX) {
        status = leat_fail(w->err, LEAT_LIMIT, "%s: folders nested deeper than %d", dir, LEAT_NESTING_MAX);
        goto out;
    }
    if (!leat_glob_has_wildcards(part)) { /* no need to be allowed to list */
        if (!*rest) status = note_dir(w, dir, &exists);
        char *path = join(dir, part);
        if (*rest && status == LEAT_OK) {
            char *below = full_path(w, path);
            if (!leat_io_exists(w->env->io, below)) status = note_dir(w, path, &exists);
            free(below);
        }
        if (status == LEAT_OK) status = walk_entry(w, path, rest);
        free(path);
        goto out;
    }
    status = note_dir(w, dir, &exists);
    if (status != LEAT_OK || !exists) goto out;
    struct leat_error list_err;
    if (leat_io_list_sorted(w->env->io, full, &names, &count, &list_err) != LEAT_OK) {
        leat_log(w->env, LEAT_LOG_WARN, "%s", list_err.text);
        goto out;
    }
    if (deep && *rest) status = walk_into(w, dir, rest); /* ** as no folder at all */
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        if (deep ? names[i][0] == '.' : !leat_glob_match(part, names[i])) continue;
        char *path = join(dir, names[i]);
        /* Under ** a folder is gone into with the same pattern; with nothing behind **, every file fits. */
        status = deep ? walk_entry(w, path, pattern) : walk_entry(w, path, rest);
        if (status == LEAT_OK && deep && !*rest) {
            char *below = full_path(w, path);
            struct leat_stat st;
            if (w->env->io->ops->stat(w->env->io, below, &st, NULL) == LEAT_OK && !st.is_dir)
                status = walk_entry(w, path, "");
            free(below);
        }
        free(path);
    }
out:
    w->depth--;
    leat_names_free(names, count);
    free(full);
    free(part);
    return status;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_unique(char **items, size_t *count) {
    size_t kept = 0;
    if (*count > 1) qsort(items, *count, sizeof *items, compare_paths);
    for (size_t i = 0; i < *count; i++) {
        if (kept && strcmp(items[kept - 1], items[i]) == 0)
            free(items[i]);
        else
            items[kept++] = items[i];
    }
    *count = kept;
}

enum leat_status leat_glob_list(struct leat_env *env, const char *base_dir, const char *pattern, struct leat_glob *out,
                                struct leat_error *err) {
    struct walk w = {.env = env, .base_dir = base_dir, .out = out, .err = err};
    *out = (struct leat_glob){0};
    enum leat_status status = walk_into(&w, *pattern == '/' ? "/" : "", pattern);
    if (status != LEAT_OK) {
        leat_glob_deinit(out);
        return status;
    }
    sort_unique(out->paths, &out->path_count);
    sort_unique(out->dirs, &out->dir_count);
    return LEAT_OK;
}

void leat_glob_deinit(struct leat_glob *g) {
    leat_names_free(g->paths, g->path_count);
    leat_names_free(g->dirs, g->dir_count);
    *g = (struct leat_glob){0};
}
