/* The settings of a project: SET name = value. */
#include "project/tables.h"
#include "project/project.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define DAY_US (INT64_C(86400) * 1000000)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const struct leat_option_spec specs[] = {
    {.name = "time_zone",
     .type = LEAT_OPTION_TEXT,
     .default_text = "UTC",
     .prose = "Time zone (an IANA name such as `Europe/Berlin`) in which SQL reads and prints `TIMESTAMP WITH TIME ZONE` "
              "and casts it to dates. Never taken from the machine."},
    {.name = "max_future",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = (36525 * DAY_US),
     .default_text = "1 day",
     .prose = "A record whose event time lies further than this ahead of its arrival is a dead letter and never moves a "
              "watermark."},
    {.name = "commit_interval",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = DAY_US,
     .default_text = "10 seconds",
     .prose = "Continuous tables collect their changes this long before a Delta commit; a table whose freshness is as long or longer "
              "commits with each step. Live reads do not wait for it."},
    {.name = "bronze_interval",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = DAY_US,
     .default_text = "10 seconds",
     .prose = "Sources collect records this long before they are archived in the lake. Records are durable in the log "
              "before that."},
    {.name = "checkpoint_records",
     .type = LEAT_OPTION_INT,
     .unit = "records",
     .min = 1,
     .max = INT64_C(1000000000000),
     .default_text = "2000000",
     .prose = "The state of the tables is saved after at most so many source records; recovery runs at most so many "
              "again."},
    {.name = "max_step_rows",
     .type = LEAT_OPTION_INT,
     .unit = "rows",
     .min = 1,
     .max = 100000000,
     .default_text = "500000",
     .prose = "A step takes at most so many source records; a backlog is worked off in several steps."},
    {.name = "memory_limit",
     .type = LEAT_OPTION_SIZE,
     .min = 64 * MIB,
     .max = INT64_C(1) << 50,
     .default_text = "4 GB",
     .prose = "Memory that DuckDB may use for scheduled and full runs before it spills to disk."},
    {.name = "threads",
     .type = LEAT_OPTION_INT,
     .min = 0,
     .max = 1024,
     .default_text = "0",
     .prose = "Threads for scheduled and full runs. 0: one a processor core."},
    {.name = "retry_backoff",
     .type = LEAT_OPTION_INTERVAL,
     .min = 1000,
     .max = (DAY_US / 24),
     .default_text = "1 second",
     .prose = "First wait after a failed attempt that may be repeated; it doubles up to a minute or, if longer, this."},
    {.name = "restate_at",
     .type = LEAT_OPTION_TEXT,
     .default_text = "03:00",
     .prose = "Time of day, in `time_zone`, at which late records are admitted to the tables they were late for (`leat restate`); missed, at the "
              "next chance. `never`: only when asked."},
    {.name = "check_budget",
     .type = LEAT_OPTION_INT,
     .unit = "percent",
     .min = 0,
     .max = 100,
     .default_text = "1",
     .prose = "Share of the time that a check (`CREATE CHECK`) without a schedule may take: it runs after commits, and rests in between. 0: such checks "
              "run with `leat run --once` only."},
    {.name = "drift_watch",
     .type = LEAT_OPTION_INT,
     .unit = "percent",
     .min = 0,
     .max = 100,
     .default_text = "0",
     .prose = "Share of the time that `leat run` may spend on verifying its own tables: one closed period of one table after the other, against their `SELECT` run by "
              "DuckDB. What differs is warned of and counted in `leat status`. A run of it holds other work up, so it is for tables that `leat verify` is quick for."},
    {.name = "history_retention",
     .type = LEAT_OPTION_INTERVAL,
     .min = DAY_US,
     .max = (36525 * DAY_US),
     .default_text = "7 days",
     .prose = "A version of a table in the lake stays readable for at least this long after another has taken its place (`VACUUM`); pinned ones for good. So long, too, "
              "do the files of records stay that a source's `retention` has taken out of bronze."},
    {.name = "compact_files",
     .type = LEAT_OPTION_INT,
     .unit = "files",
     .min = 0,
     .max = 1000000,
     .default_text = "64",
     .prose = "A table of the lake with so many small files is compacted. 0: never."},
    {.name = "alert_webhook",
     .type = LEAT_OPTION_SECRET,
     .default_text = "",
     .prose = "Where alerts are sent (`http://` or `https://`): one POST when something goes wrong and one when it is over, also across a crash, with a stable "
              "`Idempotency-Key`. Empty: they stand in the log, in `leat status` and on the dashboard alone."},
    {.name = "alert_secret",
     .type = LEAT_OPTION_SECRET,
     .default_text = "",
     .prose = "Signs alerts as the sink `webhook` signs its requests (HMAC-SHA256, `webhook-signature`)."},
    {.name = "alert_authorization",
     .type = LEAT_OPTION_SECRET,
     .default_text = "",
     .prose = "The header `Authorization` of alerts, such as `Bearer ${TOKEN}`."},
    {.name = "alert_allow_private",
     .type = LEAT_OPTION_BOOL,
     .default_text = "false",
     .prose = "Alerts may be sent to addresses of this machine and of private networks."},
    {.name = "alert_failed_runs",
     .type = LEAT_OPTION_INT,
     .unit = "runs",
     .min = 0,
     .max = 1000,
     .default_text = "1",
     .prose = "Alert `run_failed`: so many runs of a table have failed in a row; over with a run that succeeds. A `FAIL UPDATE` that holds a table back counts as one. "
              "0: never."},
    {.name = "alert_freshness",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = 30 * DAY_US,
     .default_text = "1 minute",
     .prose = "Alert `freshness_missed`: a table has been older than it is asked to be for so long; over when it has been fresh for as long."},
    {.name = "alert_sink_behind",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = 30 * DAY_US,
     .default_text = "5 minutes",
     .prose = "Alert `sink_behind`: the oldest change that a sink has still to hand over was made so long ago; over when it is younger than half of that."},
    {.name = "alert_dead_letters",
     .type = LEAT_OPTION_INT,
     .unit = "records",
     .min = 0,
     .max = INT64_C(1000000000000),
     .default_text = "1",
     .prose = "Alert `dead_letters`: so many new ones of a source, a table or a sink since the last quiet time; over when `alert_quiet` has passed without "
              "another. 0: never."},
    {.name = "alert_quiet",
     .type = LEAT_OPTION_INTERVAL,
     .min = 0,
     .max = 30 * DAY_US,
     .default_text = "1 hour",
     .prose = "So long without a new dead letter is quiet."},
    {.name = "alert_disk_free",
     .type = LEAT_OPTION_SIZE,
     .min = 0,
     .max = INT64_C(1) << 60,
     .default_text = "1 GiB",
     .prose = "Alert `disk_low`: less than this is free where the work folder or the lake is; over when there is a quarter more. 0: never."},
    {.name = "listen",
     .type = LEAT_OPTION_TEXT,
     .default_text = "",
     .prose = "Address at which `leat run` serves HTTP, such as `127.0.0.1:8080` or `[::1]:8080`; `run --listen` overrides it. Empty: not at all. "
              "Other addresses than loopback need tokens."},
    {.name = "changes_history",
     .type = LEAT_OPTION_SIZE,
     .min = MIB,
     .max = 64 * GIB,
     .default_text = "16 MiB",
     .prose = "How much of the newest changes of all tables is kept in memory while HTTP is served: a client that follows a table can resume within it."},
    {.name = "changes_kept",
     .type = LEAT_OPTION_SIZE,
     .min = 0,
     .max = 1024 * GIB,
     .default_text = "1 GiB",
     .prose = "How much of the newest changes of each table that is followed is kept on disk (`.leat/changes/TABLE`): a client that comes back after hours, or after a "
              "restart, resumes within it. 0: nothing."},
    {.name = "segment_size",
     .type = LEAT_OPTION_SIZE,
     .min = 16 << 10,
     .max = 4 * GIB,
     .default_text = "64 MiB",
     .prose = "Size at which a source's log starts a new segment. Segments are removed whole."},
};

const struct leat_option_table leat_settings_table = {
    .name = "settings",
    .prose = "Settings hold for the whole project. `SET name = value;` may stand in any of its files, once a name.",
    .specs = specs,
    .count = sizeof specs / sizeof *specs,
};

bool leat_setting_time_of_day(const char *text, int *minute) {
    int hour, min, end = 0;
    *minute = -1;
    if (strcasecmp(text, "never") == 0) return true;
    if (sscanf(text, "%2d:%2d%n", &hour, &min, &end) != 2 || text[end] || hour < 0 || hour > 23 || min < 0 || min > 59) return false;
    *minute = hour * 60 + min;
    return true;
}

const char *leat_setting_text(const struct leat_project *project, const char *name) {
    for (size_t i = 0; i < project->setting_count; i++)
        if (strcasecmp(project->settings[i].name, name) == 0)
            return project->settings[i].value;
    const struct leat_option_spec *spec = leat_option_find(specs, leat_settings_table.count, name);
    if (!spec) leat_panic("there is no setting '%s'", name);
    return spec->default_text;
}

int64_t leat_setting_int(const struct leat_project *project, const char *name) {
    const char *text = leat_setting_text(project, name);
    const struct leat_option_spec *spec = leat_option_find(specs, leat_settings_table.count, name);
    struct leat_option_value value = {0};
    if (leat_option_parse(spec, text, &value, NULL) != LEAT_OK) /* checked when it was set */
        leat_panic("setting %s: '%s'", name, text);
    return value.number;
}
