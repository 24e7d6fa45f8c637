/* inotify on the folders of a file source: the only system calls of connect/ besides io, for waking up alone. What woke
 * us is looked up again by a scan, so a lost or merged event costs nothing. */
#include "connect/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#define EVENTS                                                                                                         \
    (IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |   \
     IN_MOVE_SELF | IN_ONLYDIR)
#define WATCHES_MAX 4096

struct watched {
    char *dir;
    int wd;
    bool kept;
};
struct leat_watch {
    int fd;
    struct watched *items; /* kept ones first, then sorted by dir */
    size_t count;
};

struct leat_watch *leat_watch_open(struct leat_env *env) {
    if (env->io != leat_io_real()) return NULL;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return NULL;
    struct leat_watch *w = leat_alloc(sizeof *w);
    w->fd = fd;
    return w;
}

void leat_watch_close(struct leat_watch *w) {
    if (!w) return;
    close(w->fd);
    for (size_t i = 0; i < w->count; i++)
        free(w->items[i].dir);
    free(w->items);
    free(w);
}

int leat_watch_fd(const struct leat_watch *w) {
    return w->fd;
}

/* The kernel dropped a watch because its folder is gone: if the name comes back it is another folder. */
static void forget(struct leat_watch *w, int wd) {
    for (size_t i = 0; i < w->count; i++)
        if (w->items[i].wd == wd) w->items[i].wd = -1;
}

bool leat_watch_fired(struct leat_watch *w, bool *names) {
    _Alignas(struct inotify_event) char events[4096];
    enum { LARGEST = sizeof(struct inotify_event) + NAME_MAX + 1 };
    bool fired = false, more = true;
    while (more) {
        ssize_t n = read(w->fd, events, sizeof events);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        fired = true;
        more = (size_t)n + LARGEST > sizeof events; /* else the next one would have had room */
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(events + at);
            if (event->mask & IN_IGNORED) forget(w, event->wd);
            if (event->mask & ~(uint32_t)(IN_MODIFY | IN_CLOSE_WRITE)) *names = true;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    return fired;
}

/* File systems whose every change goes through this kernel. */
static bool is_local(const char *dir) {
    static const unsigned long local[] = {
        0xEF53 /* ext */,         0x58465342 /* xfs */,   0x9123683E /* btrfs */, 0x01021994 /* tmpfs */,
        0x794C7630 /* overlay */, 0x2FC12FC1 /* zfs */,   0xF2F52010 /* f2fs */,  0x4D44 /* fat */,
        0x3153464A /* jfs */,     0x858458F6 /* ramfs */,
    };
    struct statfs fs;
    if (statfs(dir, &fs)) return false;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if ((unsigned long)fs.f_type == local[i]) return true;
    return false;
}

static bool add(struct leat_watch *w, struct watched *to, const char *dir) {
    if (!is_local(dir)) return false;
    int wd = inotify_add_watch(w->fd, dir, EVENTS);
    if (wd < 0) return false;
    *to = (struct watched){.dir = leat_strdup(dir), .wd = wd};
    return true;
}

bool leat_watch_also(struct leat_watch *w, const char *dir) {
    struct watched made;
    if (!add(w, &made, dir)) return false;
    made.kept = true;
    w->items = leat_realloc(w->items, (w->count + 1) * sizeof *w->items);
    memmove(w->items + 1, w->items, w->count * sizeof *w->items);
    w->items[0] = made;
    w->count++;
    return true;
}

/* A link's target changes without an event in the link's folder. */
static bool has_links(const struct leat_glob *glob, const char *project_dir) {
    bool found = false;
    for (size_t i = 0; i < glob->path_count && !found; i++) {
        char target[1];
        char *full = glob->paths[i][0] == '/' ? leat_strdup(glob->paths[i])
                                              : leat_asprintf("%s/%s", project_dir, glob->paths[i]);
        found = readlink(full, target, sizeof target) > 0;
        free(full);
    }
    return found;
}

/* Stops watching an item, unless a kept one is the same folder. */
static void drop(struct leat_watch *w, struct watched *item) {
    bool kept = item->wd < 0;
    for (size_t i = 0; i < w->count && w->items[i].kept; i++)
        kept |= w->items[i].wd == item->wd;
    if (!kept) inotify_rm_watch(w->fd, item->wd);
    free(item->dir);
}

/* Is the folder of this name the one that is watched? A folder above may have been renamed, which nobody tells. */
static bool stands(const struct leat_watch *w, const struct watched *item) {
    if (item->wd < 0) return false;
    int wd = inotify_add_watch(w->fd, item->dir, EVENTS); /* the same again for the same folder */
    return wd < 0 || wd == item->wd;
}

bool leat_watch_folders(struct leat_watch *w, const struct leat_glob *glob, const char *project_dir, bool *added) {
    size_t kept = 0, old, count;
    *added = false;
    if (glob->dir_count > WATCHES_MAX || has_links(glob, project_dir)) return false;
    while (kept < w->count && w->items[kept].kept)
        kept++;
    struct watched *items = leat_alloc((kept + glob->dir_count + 1) * sizeof *items);
    if (kept) memcpy(items, w->items, kept * sizeof *items);
    bool all = true;
    for (old = count = kept; count - kept < glob->dir_count && all;) {
        const char *dir = glob->dirs[count - kept];
        int order = old < w->count ? strcmp(w->items[old].dir, dir) : 1;
        if (order < 0 || (order == 0 && !stands(w, &w->items[old])))
            drop(w, &w->items[old++]);
        else if (order == 0)
            items[count++] = w->items[old++];
        else {
            all = add(w, &items[count], dir);
            if (all) count++;
            *added = true;
        }
    }
    while (old < w->count)
        drop(w, &w->items[old++]);
    free(w->items);
    w->items = items;
    w->count = count;
    return all;
}
