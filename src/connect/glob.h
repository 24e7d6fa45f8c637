/* Paths that fit a pattern, through struct leat_io: `*` and `?` within a name, `[abc]`, `[a-z]`, `[!...]`, and a part
 * `**` for any depth of folders. As in a shell, names that begin with a dot fit only a part that does. */
#ifndef LEAT_CONNECT_GLOB_H
#define LEAT_CONNECT_GLOB_H

#include "base/env.h"

#define LEAT_GLOB_PATHS_MAX 100000

struct leat_glob {
    char **paths;
    size_t path_count, path_capacity; /* as written in the pattern (relative stays relative), sorted by bytes */
    char **dirs;
    size_t dir_count,
        dir_capacity; /* every folder looked into or waited for (the nearest that exists), full paths, sorted */
};
/* Does a single name fit a single part of a pattern? */
bool leat_glob_match(const char *pattern, const char *name);
bool leat_glob_has_wildcards(const char *pattern);
/* Fills `out` (empty before). A folder that is missing or may not be read gives nothing (the latter is logged). LIMIT:
 * too many. */
enum leat_status leat_glob_list(struct leat_env *, const char *base_dir, const char *pattern, struct leat_glob *out,
                                struct leat_error *) LEAT_MUST;
void leat_glob_deinit(struct leat_glob *);

#endif
