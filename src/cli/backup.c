/* leat backup, leat restore. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/cli.h"
#include "engine/care/backup.h"
#include "schedule/civil.h"

enum { BACKUP_NAME, BACKUP_KEEP, BACKUP_LIST, BACKUP_VERIFY };
static const struct leat_option_spec BACKUP_OPTIONS[] = {
    {.name = "name", .type = LEAT_OPTION_TEXT, .default_text = "", .prose = "Of this version. Default: the time, in UTC."},
    {.name = "keep", .type = LEAT_OPTION_INT, .default_text = "0", .min = 0, .max = 100000, .prose = "Afterwards remove all but the newest so many versions; 0: all stay."},
    {.name = "list", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "List the versions there instead."},
    {.name = "verify", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Read a version (--name; default the newest) and compare it with its checksums instead."},
};
enum { RESTORE_NAME };
static const struct leat_option_spec RESTORE_OPTIONS[] = {
    {.name = "name", .type = LEAT_OPTION_TEXT, .default_text = "", .prose = "The version. Default: the newest."},
};

static void on_progress(void *context, uint64_t bytes, uint64_t of_bytes) {
    int *shown = context, percent = of_bytes ? (int)(bytes * 100 / of_bytes) : 100;
    if (percent == *shown) return;
    *shown = percent;
    fprintf(stderr, "\r%3d %% of %.1f MB", percent, (double)of_bytes / 1e6);
}

static void print_time(json_int_t us) {
    int64_t minutes = us / 60000000, year;
    int month, day, minute = (int)(minutes % 1440);
    leat_civil_date(minutes / 1440, &year, &month, &day);
    printf("%04d-%02d-%02d %02d:%02d", (int)year, month, day, minute / 60, minute % 60);
}

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void print_list(const json_t *list) {
    json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry) {
        printf("%-24s ", json_string_value(json_object_get(entry, "name")));
        print_time(number(entry, "made_us"));
        printf(" UTC %8lld files %10.1f MB\n", (long long)number(entry, "files"), (double)number(entry, "bytes") / 1e6);
    }
    if (!json_array_size(list)) puts("no complete backup");
}

static void print_made(const json_t *made) {
    printf("backup %s: %lld files, %.1f MB; copied %lld files, %.1f MB, in %.1f s\n", json_string_value(json_object_get(made, "name")),
           (long long)number(made, "files"), (double)number(made, "bytes") / 1e6, (long long)number(made, "copied_files"),
           (double)number(made, "copied_bytes") / 1e6, (double)number(made, "ms") / 1000.0);
    json_t *name;
    size_t i;
    json_array_foreach(json_object_get(made, "removed"), i, name) printf("removed %s\n", json_string_value(name));
}

static void print_verified(const json_t *checked) {
    printf("backup %s: all %lld files are as they were\n", json_string_value(json_object_get(checked, "name")), (long long)number(checked, "files"));
}

static void print_restored(const json_t *restored) {
    printf("restored %s of ", json_string_value(json_object_get(restored, "name")));
    print_time(number(restored, "made_us"));
    printf(" UTC: %lld files, %.1f MB; 'leat run' goes on from there\n", (long long)number(restored, "files"), (double)number(restored, "bytes") / 1e6);
}

static int finish(struct leat_cli *cli, enum leat_status st, const struct leat_buffer *text, void (*print)(const json_t *), const struct leat_error *err) {
    if (st != LEAT_OK) return leat_cli_failed(err);
    if (cli->json) {
        puts(text->data);
        return LEAT_EXIT_OK;
    }
    json_t *json = json_loads(text->data, 0, NULL);
    print(json);
    json_decref(json);
    return LEAT_EXIT_OK;
}

static struct leat_backup_options options_of(const struct leat_cli *cli, int name, int *shown) {
    struct leat_backup_options options = {.project_dir = cli->project, .place = cli->arguments[0], .name = cli->given[name] ? cli->values[name].text : NULL};
    if (leat_cli_is_terminal(2)) options.progress = on_progress, options.context = shown;
    return options;
}

static int run_backup(struct leat_cli *cli) {
    int shown = -1;
    struct leat_backup_options options = options_of(cli, BACKUP_NAME, &shown);
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    enum leat_status st;
    void (*print)(const json_t *) = print_made;
    options.keep = (uint64_t)cli->values[BACKUP_KEEP].number;
    if (cli->values[BACKUP_LIST].number) {
        st = leat_backup_list(&cli->env, options.place, &text, &err);
        print = print_list;
    } else if (cli->values[BACKUP_VERIFY].number) {
        st = leat_backup_verify(&cli->env, &options, &text, &err);
        print = print_verified;
    } else {
        st = leat_backup(&cli->env, &options, &text, &err);
    }
    if (shown >= 0) fputc('\n', stderr);
    int code = finish(cli, st, &text, print, &err);
    leat_buffer_deinit(&text);
    return code;
}

static int run_restore(struct leat_cli *cli) {
    int shown = -1;
    struct leat_backup_options options = options_of(cli, RESTORE_NAME, &shown);
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    enum leat_status st = leat_restore(&cli->env, &options, &text, &err);
    if (shown >= 0) fputc('\n', stderr);
    int code = finish(cli, st, &text, print_restored, &err);
    leat_buffer_deinit(&text);
    return code;
}

const struct leat_command leat_command_backup = {
    .name = "backup", .arguments = "PLACE", .min_arguments = 1, .max_arguments = 1, .summary = "copy project, lake and state, while leat runs or not",
    .options = BACKUP_OPTIONS, .option_count = sizeof BACKUP_OPTIONS / sizeof *BACKUP_OPTIONS,
    .prose = "Makes PLACE/NAME: the .sql files, the lake, and the work folder (.leat) as they are at one moment, each file with a checksum. Each\n"
             "version is whole; what has not changed since the one before is a hard link, so the next backup copies only what is new. On the\n"
             "project's own file system data files are hard links too: quick, and a guard against mistakes, but not against a lost disk. Input files, and\n"
             "files that options name, are not part of it. A version whose backup.json is not there was cut short; the next backup removes it.",
    .run = run_backup,
};
const struct leat_command leat_command_restore = {
    .name = "restore", .arguments = "PLACE", .min_arguments = 1, .max_arguments = 1, .summary = "make a project of a backup, in an empty folder",
    .options = RESTORE_OPTIONS, .option_count = sizeof RESTORE_OPTIONS / sizeof *RESTORE_OPTIONS,
    .prose = "Copies a version into the folder that --project names, which must be empty or not there, and compares every file with its checksum. 'leat\n"
             "run' there goes on from the moment of the backup: what came after it is read again from its sources where they still have it.\n"
             "See docs/guarantees.md for sinks. Do not let the original and the copy run both: they would tell the same sinks.",
    .run = run_restore,
};
