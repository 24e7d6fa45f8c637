/* Holds the rules of ARCHITECTURE.md that a scan of the sources can hold: dependencies point down only, DuckDB behind
 * one interface, the outside world behind base/, the process ends only in cli/. Comments and strings are blanked out
 * before the scan. */
#include "scratch.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/stat.h>

#ifndef LEAT_SOURCE_DIR
#error "LEAT_SOURCE_DIR: the folder that holds src/"
#endif

/* From the bottom up. A file includes headers of its own folder and of those before it. schedule/ (cron, zones) knows
 * nothing of projects, which check their statements with it; audit/ compares two queries, and the engine calls it. */
static const char *const folders[] = {
    "base", "data",   "sql",     "schedule", "project", "log", "lake", "state",
    "plan", "stream", "connect", "audit",    "engine",  "serve", "sim", "rehearse", "cli",
};
#define FOLDER_COUNT (sizeof folders / sizeof *folders)

/* Agreed exceptions, each with its reason. */
static const struct {
    const char *file, *header;
} exceptions[] = {
    /* Decoders are codecs (data) of a declared source's records in a block: they need those two plain structs, nothing
       that runs. */
    {"data/decode", "log/log.h"},
    {"data/decode", "project/project.h"},
};

/* Calls that reach outside the process; only base/ and sim/ may make them. */
static const char *const system_calls[] = {
    "open",       "openat",          "creat",       "fopen",     "fdopen",        "freopen",
    "opendir",    "scandir",         "glob",        "nftw",      "read",          "pread",
    "write",      "pwrite",          "fsync",       "fdatasync", "sync",          "sync_file_range",
    "rename",     "renameat",        "renameat2",   "unlink",    "unlinkat",      "remove",
    "rmdir",      "mkdir",           "mkdirat",     "link",      "linkat",        "symlink",
    "truncate",   "ftruncate",       "stat",        "lstat",     "fstat",         "fstatat",
    "statx",      "access",          "flock",       "mmap",      "mkstemp",       "mkdtemp",
    "tmpfile",    "tmpnam",          "time",        "clock",     "clock_gettime", "gettimeofday",
    "nanosleep",  "clock_nanosleep", "sleep",       "usleep",    "rand",          "rand_r",
    "srand",      "random",          "srandom",     "drand48",   "getrandom",     "getentropy",
    "arc4random", "localtime",       "localtime_r", "setlocale", "system",        "popen",
    "fork",       "vfork",           "execv",       "execve",    "execvp",
};
/* The file connector watches folders with inotify, where symbolic links matter, which struct leat_io does not know; the
 * command line waits on descriptors that are not files. */
static const struct {
    const char *folder, *call;
} allowed_calls[] = {
    {"connect", "read"},
    {"connect", "lstat"},
    {"cli", "read"},
    {"cli", "write"},
};
/* Calls that overrun, or keep hidden state. */
static const char *const unsafe_calls[] = {"strcat", "sprintf", "vsprintf", "gets", "strtok"};

struct source {
    char *path; /* "base/io.c" */
    char *text; /* as it is */
    char *code; /* same length, comments and strings blank */
};
static struct source *sources;
static size_t source_count;
static int complaints;

static void complain(const struct source *s, const char *at, const char *format, ...) {
    int line = 1;
    for (const char *c = s->code; c < at; c++)
        line += *c == '\n';
    fprintf(stderr, "src/%s:%d: ", s->path, line);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    complaints++;
}

static void blank(char *from, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (from[i] != '\n') from[i] = ' ';
}

/* Blanks comments, and the inside of strings and character constants. */
static void blank_comments_and_strings(char *code) {
    for (char *c = code; *c;) {
        char *start = c;
        if (strncmp(c, "/*", 2) == 0) {
            char *end = strstr(c + 2, "*/");
            c = end ? end + 2 : c + strlen(c);
            blank(start, (size_t)(c - start));
        } else if (strncmp(c, "//", 2) == 0) {
            c += strcspn(c, "\n");
            blank(start, (size_t)(c - start));
        } else if (*c == '"' || *c == '\'') {
            for (c++; *c && *c != *start; c++)
                if (*c == '\\' && c[1]) c++;
            if (*c) c++;
            blank(start + 1, (size_t)(c - start) - 1);
        } else {
            c++;
        }
    }
}

static void load(const char *path) {
    char *full = leat_asprintf("%s/src/%s", LEAT_SOURCE_DIR, path);
    struct stat st;
    if (stat(full, &st)) fail_msg("cannot read %s", full);
    if (S_ISDIR(st.st_mode)) {
        struct dirent **entries;
        int count = scandir(full, &entries, NULL, alphasort);
        for (int i = 0; i < count; i++) {
            if (entries[i]->d_name[0] != '.') {
                char *child = leat_asprintf("%s%s%s", path, *path ? "/" : "", entries[i]->d_name);
                load(child);
                free(child);
            }
            free(entries[i]);
        }
        if (count >= 0) free(entries);
    } else if (strlen(path) > 2 &&
               (strcmp(path + strlen(path) - 2, ".c") == 0 || strcmp(path + strlen(path) - 2, ".h") == 0)) {
        struct leat_buffer content = {0};
        OK(leat_io_read_all(leat_io_real(), full, 16 << 20, &content, oops));
        leat_put(&content, "");
        sources = leat_realloc(sources, (source_count + 1) * sizeof *sources);
        struct source *s = &sources[source_count++];
        *s = (struct source){
            .path = leat_strdup(path), .text = content.data, .code = leat_strndup(content.data, content.length)};
        blank_comments_and_strings(s->code);
    }
    free(full);
}

static int rank_of(const char *path) {
    size_t length = strcspn(path, "/");
    for (size_t i = 0; i < FOLDER_COUNT; i++)
        if (strlen(folders[i]) == length && strncmp(folders[i], path, length) == 0) return (int)i;
    return -1;
}

static bool in_folder(const struct source *s, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(s->path, folder, length) == 0 && s->path[length] == '/';
}

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_exception(const char *file, const char *header) {
    for (size_t i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (starts_with(file, exceptions[i].file) && strcmp(header, exceptions[i].header) == 0) return true;
    return false;
}

static void check_include(const struct source *s, const char *at, const char *header) {
    if (strcmp(header, "duckdb.h") == 0) {
        if (!starts_with(s->path, "sql/duck"))
            complain(s, at, "duckdb.h is included only by src/sql/duck*: use sql/duck.h");
        return;
    }
    if (!strchr(header, '/')) {
        complain(s, at, "\"%s\" is to be included with its folder", header);
        return;
    }
    int own = rank_of(s->path), other = rank_of(header);
    if (other < 0)
        complain(s, at, "\"%s\": that folder has no place in the order of layers", header);
    else if (is_exception(s->path, header))
        return;
    else if (in_folder(s, "cli"))
        return;
    else if (starts_with(header, "sim/") && !in_folder(s, "sim") && !in_folder(s, "rehearse"))
        complain(s, at, "sim/ is for tests, sim/, rehearse/ and cli/ only");
    else if (other > own)
        complain(s, at, "\"%s\" lies above %s/: dependencies point down only", header, folders[own]);
}

static void includes_point_down(void **state) {
    (void)state;
    complaints = 0;
    assert_true(source_count > 10);
    for (size_t i = 0; i < source_count; i++) {
        const struct source *s = &sources[i];
        if (rank_of(s->path) < 0)
            complain(s, s->code, "its folder has no place in the order of layers");
        else
            for (const char *at = s->code; (at = strstr(at, "#include")); at++) {
                const char *name = s->text + (at - s->code) + strlen("#include");
                while (*name == ' ' || *name == '\t')
                    name++;
                if (*name != '"' && !starts_with(name, "<duckdb")) continue;
                char *header = leat_strndup(name + 1, strcspn(name + 1, "\">\n"));
                check_include(s, at, header);
                free(header);
            }
    }
    assert_int_equal(complaints, 0);
}

/* The next call of a function of that name at or after *at; a member (x.f, x->f) or a longer name is none. */
static const char *find_call(const char *code, const char *at, const char *name) {
    size_t length = strlen(name);
    for (; (at = strstr(at, name)); at++) {
        const char *after = at + length, *before = at;
        if (before > code && (isalnum((unsigned char)before[-1]) || before[-1] == '_')) continue;
        while (*after == ' ')
            after++;
        if (*after != '(') continue;
        while (before > code && (before[-1] == ' ' || before[-1] == '\n'))
            before--;
        if (before > code && before[-1] == '.') continue;
        if (before > code + 1 && before[-1] == '>' && before[-2] == '-') continue;
        return at;
    }
    return NULL;
}

/* A static function of the file's own under such a name is not the system's. */
static bool defines(const struct source *s, const char *name) {
    for (const char *at = s->code; (at = find_call(s->code, at, name)); at++) {
        const char *line = at;
        while (line > s->code && line[-1] != '\n')
            line--;
        if (starts_with(line, "static ")) return true;
    }
    return false;
}

static void forbid(const struct source *s, const char *name, const char *why) {
    for (const char *at = s->code; (at = find_call(s->code, at, name)); at++)
        complain(s, at, "%s(): %s", name, why);
}

static void only_cli_exits(void **state) {
    (void)state;
    static const char *const exits[] = {"exit", "_exit", "_Exit", "quick_exit"};
    complaints = 0;
    for (size_t i = 0; i < source_count; i++) {
        for (size_t j = 0; j < sizeof exits / sizeof *exits && !in_folder(&sources[i], "cli"); j++)
            forbid(&sources[i], exits[j], "only cli/ ends the process: return a status");
        if (strcmp(sources[i].path, "base/mem.c") != 0) forbid(&sources[i], "abort", "use leat_panic of base/mem.h");
    }
    assert_int_equal(complaints, 0);
}

static bool is_allowed(const struct source *s, const char *call) {
    for (size_t i = 0; i < sizeof allowed_calls / sizeof *allowed_calls; i++)
        if (in_folder(s, allowed_calls[i].folder) && strcmp(call, allowed_calls[i].call) == 0) return true;
    return false;
}

static void the_outside_world_is_behind_base(void **state) {
    (void)state;
    complaints = 0;
    for (size_t i = 0; i < source_count; i++) {
        if (in_folder(&sources[i], "base") || in_folder(&sources[i], "sim")) continue;
        for (size_t j = 0; j < sizeof system_calls / sizeof *system_calls; j++)
            if (!is_allowed(&sources[i], system_calls[j]) && !defines(&sources[i], system_calls[j]))
                forbid(&sources[i], system_calls[j],
                       "reaches outside; go through struct leat_env (base/env.h, base/io.h)");
    }
    assert_int_equal(complaints, 0);
}

static void no_unsafe_calls(void **state) {
    (void)state;
    complaints = 0;
    for (size_t i = 0; i < source_count; i++)
        for (size_t j = 0; j < sizeof unsafe_calls / sizeof *unsafe_calls; j++)
            forbid(&sources[i], unsafe_calls[j], "overruns, or keeps hidden state");
    assert_int_equal(complaints, 0);
}

/* The scan itself: what it must see and what it must not. */
static void the_scan_sees_calls_only(void **state) {
    (void)state;
    char code[] = "x = open(p); /* exit(1) */ io->ops->open(io); s.open(1); reopen(2); \"abort()\"; '\"'; exit (3); // "
                  "time(0)\nint (*rename)(int);";
    char *whole = leat_strdup(code);
    blank_comments_and_strings(code);
    const char *open = find_call(code, code, "open");
    assert_ptr_equal(open, code + 4);
    assert_null(find_call(code, open + 1, "open"));
    assert_non_null(find_call(code, code, "exit"));
    assert_true(find_call(code, code, "exit") > strstr(whole, "reopen") - whole + code);
    assert_null(find_call(code, code, "abort"));
    assert_null(find_call(code, code, "time"));
    assert_null(find_call(code, code, "rename"));
    free(whole);
}

static int load_sources(void **state) {
    (void)state;
    load("");
    return 0;
}

static int free_sources(void **state) {
    (void)state;
    for (size_t i = 0; i < source_count; i++) {
        free(sources[i].path);
        free(sources[i].text);
        free(sources[i].code);
    }
    free(sources);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scan_sees_calls_only), cmocka_unit_test(includes_point_down),
        cmocka_unit_test(only_cli_exits),           cmocka_unit_test(the_outside_world_is_behind_base),
        cmocka_unit_test(no_unsafe_calls),
    };
    return cmocka_run_group_tests(tests, load_sources, free_sources);
}
