/* A project: every statement of a folder of .sql files, parsed and checked against each other.
 * Names are compared without case. All memory belongs to the project. */
#ifndef LEAT_PROJECT_PROJECT_H
#define LEAT_PROJECT_PROJECT_H

#include "base/env.h"
#include "data/change_event.h"
#include "data/schema.h"
#include "schedule/calendar.h"

struct leat_place { const char *file; int line, column; }; /* 1-based; file relative to the project */
/* value: normal form by the option's type: text with ${NAME} resolved, "true"/"false", integers and byte sizes as digits,
 * intervals as microseconds with "us" ("3600000000us"). secret: never print the value (it came from the environment). given:
 * by a statement; the others are defaults, which a loaded project lists too. */
struct leat_option { char *name, *value; struct leat_place place; bool secret, given; };

/* One .sql file as read; name relative to the project. Kept for the places and for showing lines. */
struct leat_text_file { char *name, *text; size_t length; };
/* The way back from a rewritten query to its file. Piece i covers the query's bytes from sql_offset up to the next piece: copied
 * text keeps its distance from file_offset, written text (TUMBLE's) stands for the one token at file_offset. */
struct leat_sql_piece { uint32_t sql_offset, file_offset; bool copied; };
struct leat_sql_map { const struct leat_text_file *file; struct leat_sql_piece *pieces; size_t piece_count; };
/* Where byte `sql_offset` of a query stands in its file (DuckDB's error positions are such offsets); sql_place without a map. */
struct leat_place leat_sql_place(const struct leat_sql_map *map, const struct leat_place *sql_place, size_t sql_offset);

enum leat_format { LEAT_FORMAT_JSON, LEAT_FORMAT_CSV, LEAT_FORMAT_PARQUET, LEAT_FORMAT_RAW, LEAT_FORMAT_AVRO, LEAT_FORMAT_COUNT };
extern const char *const leat_format_names[LEAT_FORMAT_COUNT];
/* A column that is not in a record's value but beside it (data/message.h). DELETED: of a change feed, the row is gone. */
enum leat_meta { LEAT_META_NONE, LEAT_META_KEY, LEAT_META_OFFSET, LEAT_META_PARTITION, LEAT_META_TIMESTAMP, LEAT_META_HEADER, LEAT_META_DELETED };

struct leat_recording;
struct leat_source {
    char *name;
    struct leat_place place;
    struct leat_schema schema;      /* declared columns, in order */
    char **source_names;            /* per column: the key/header in the record (default: the column's name); meta: the header's name */
    size_t value_count;             /* the first columns, which are in a record's value; those behind them are meta */
    uint8_t *meta;                  /* enum leat_meta per column; NULL: all are in the value */
    bool messages;                  /* records are messages, with what stands beside their value (data/message.h) */
    enum leat_change_feed feed;            /* this is NAME__changes; NAME is the view over it that folds them (rule 17) */
    int *primary_key; size_t primary_key_count; /* column indexes */
    int event_time;                 /* column index, -1: no watermark */
    int64_t watermark_delay_us;
    bool include_partition, include_offset, include_timestamp; /* extra columns after the declared ones: */
    char *partition_name, *offset_name, *timestamp_name;       /* INTEGER, BIGINT, TIMESTAMP (leat's arrival) */
    char *connector;                /* "file", "kafka" */
    enum leat_format format;
    bool reference;                 /* has refresh=, or format parquet, or a primary key and no watermark */
    int64_t refresh_us;             /* reference: interval; 0: read once */
    bool versions; size_t versions_of; /* this is NAME__versions: all rows that this source, a reference, ever had, and from when to when */
    struct leat_option *options; size_t option_count; /* all of WITH, checked against the connector's table */
    struct leat_recording *recording; /* under rehearsal: stands in for the outside (connect/recorded.h); borrowed; else NULL */
};
enum leat_object_kind { LEAT_OBJECT_SOURCE, LEAT_OBJECT_VIEW, LEAT_OBJECT_TABLE };
struct leat_object_ref { enum leat_object_kind kind; size_t index; };

/* Declared columns followed by the INCLUDE columns: what queries see. */
void leat_source_row_schema(const struct leat_source *, struct leat_schema *out);
const char *leat_source_option(const struct leat_source *, const char *name); /* NULL: not given and no default */
/* The same as a number: an integer, bytes, microseconds; booleans 0 or 1. `missing` when not given and no default. */
int64_t leat_source_option_int(const struct leat_source *, const char *name, int64_t missing);

struct leat_view {
    char *name; struct leat_place place;
    char *sql;                      /* after the rewriting of TUMBLE into leat_tumble */
    struct leat_place sql_place;    /* where the query's first character stands */
    struct leat_sql_map map;
    struct leat_object_ref *inputs; size_t input_count; /* relations named in FROM, each once */
};
enum leat_refresh_mode { LEAT_MODE_AUTO, LEAT_MODE_INCREMENTAL, LEAT_MODE_FULL };
enum leat_violation { LEAT_ON_DROP_ROW, LEAT_ON_QUARANTINE, LEAT_ON_FAIL_UPDATE };
/* place: of the name; expression_place: of the expression's first character (the expression is copied as written). */
struct leat_constraint { char *name; char *expression; enum leat_violation action; struct leat_place place, expression_place; };
/* FROZEN WHERE (column < bound), or <=; texts as written. column NULL: there is none. */
struct leat_frozen_where { char *column, *bound; bool inclusive; struct leat_place place, column_place, bound_place; };
struct leat_table {
    char *name; struct leat_place place;
    char *sql; struct leat_place sql_place; struct leat_sql_map map; /* as in leat_view */
    struct leat_object_ref *inputs; size_t input_count;
    char **primary_key; size_t primary_key_count; /* column names; may be none */
    struct leat_place key_place;
    int64_t freshness_us;           /* >0: continuous; 0: not given (schedule) */
    struct leat_calendar calendar;  /* ... BETWEEN ... ELSE ...: else_us > 0; freshness_us is that between */
    bool downstream;                /* FRESHNESS = DOWNSTREAM */
    char *cron;                     /* NULL: continuous */
    bool ready_given; int ready_minute; /* READY BY, a minute of the day */
    char *time_zone;                /* of cron, READY BY and calendar; NULL: the project's */
    struct leat_place time_zone_place;
    int64_t lateness_us; bool lateness_given;
    bool emit_on_window_close;
    enum leat_refresh_mode mode;
    struct leat_frozen_where frozen;
    struct leat_constraint *constraints; size_t constraint_count;
};
/* CREATE SINK name FROM table WITH (connector = '...', ...). The options are as written until leat_sinks_resolve has looked at them,
 * then as in leat_source. */
struct leat_sink_def {
    char *name; struct leat_place place;
    char *from; struct leat_place from_place; /* the table's name as written */
    size_t table;                   /* in the project's tables; SIZE_MAX: there is none of that name (a finding) */
    char *connector;                /* NULL: not given */
    bool snapshot;                  /* start = 'snapshot': the table's rows first; 'now': changes from now on */
    bool send_retractions;          /* on_retract = 'send' */
    bool retract_given;             /* on_retract was said */
    bool resolved;
    struct leat_option *options; size_t option_count;
};
/* CREATE CHECK name COMPARE table WITH (query) BY column, ...: the table against the system of record. */
struct leat_check_def {
    char *name, *of; struct leat_place place, of_place, key_place;
    size_t table;                   /* `of` in the project's tables; SIZE_MAX: it is no table (reported) */
    char *sql; struct leat_place sql_place; struct leat_sql_map map; /* as in leat_view */
    char **key; size_t key_count;
    char *cron, *time_zone;         /* NULL: after commits, within the budget */
};
struct leat_setting { char *name, *value; struct leat_place place; bool secret, given; }; /* as leat_option */

struct leat_project {
    char *dir;
    struct leat_source *sources; size_t source_count;
    struct leat_view *views; size_t view_count;
    struct leat_table *tables; size_t table_count;
    struct leat_sink_def *sinks; size_t sink_count;
    struct leat_check_def *checks; size_t check_count;
    struct leat_setting *settings; size_t setting_count;
    struct leat_object_ref *order; size_t order_count; /* topological: inputs first; without the members of cycles */
    struct leat_text_file **files; size_t file_count;
};
/* One finding of check; all of a project are collected in one run. The diagnostics own copies of all they show. */
struct leat_diagnostic {
    struct leat_place place;
    char *message;      /* what is wrong, names quoted */
    char *suggestion;   /* nearest valid spelling or what to do; may be NULL */
    bool warning;
};
struct leat_diagnostics { struct leat_diagnostic *items; size_t count; };
void leat_diagnose(struct leat_diagnostics *, struct leat_place, bool warning, const char *suggestion, const char *format, ...) LEAT_PRINTF(5, 6);
void leat_diagnostics_deinit(struct leat_diagnostics *);
/* By file, line and column; equal places keep the order in which they were found. */
void leat_diagnostics_sort(struct leat_diagnostics *);
/* Number of items that are not warnings. */
size_t leat_diagnostics_errors(const struct leat_diagnostics *);
/* "orders.sql:3:7: error: ...\n  hint: ...\n" for each, in their order. */
void leat_diagnostics_print(const struct leat_diagnostics *, struct leat_buffer *out);

/* Reads every *.sql under dir (sorted; not below hidden folders, such as the work folder `.leat`, nor below Delta tables), parses all
 * statements, checks options, names, references, cycles. Problems go to diags (the call is OK then, the project partial); errors: IO, LIMIT. */
enum leat_status leat_project_load(struct leat_env *, const char *dir, struct leat_project **out, struct leat_diagnostics *diags, struct leat_error *) LEAT_MUST;
/* The same of texts instead of files in `dir` (which relative paths in options are below); copies them. */
struct leat_project *leat_project_of(const char *dir, const struct leat_text_file *, size_t count, struct leat_diagnostics *diags);
struct leat_project *leat_project_same(const struct leat_project *, struct leat_diagnostics *diags); /* of its texts, again */
bool leat_project_same_text(const struct leat_project *, const struct leat_project *);
void leat_project_free(struct leat_project *);
void leat_sink_def_deinit(struct leat_sink_def *);
/* Without sinks, checks and alerts: nothing that tells others. For a rehearsal. */
void leat_project_detach(struct leat_project *);
/* Parses one text as if it were the only file of a project (tests, fuzzing, ALTER's candidates). `file` names it in places. */
struct leat_project *leat_project_parse(const char *file, const char *text, size_t length, struct leat_diagnostics *diags);
const char *leat_project_object_name(const struct leat_project *, struct leat_object_ref);
struct leat_place leat_project_object_place(const struct leat_project *, struct leat_object_ref);
/* Looks a name up; false if unknown. */
bool leat_project_find(const struct leat_project *, const char *name, struct leat_object_ref *out);
/* Value of a setting or its default from the settings table (project/settings.c), in the normal form of leat_option;
 * as a number: an integer, bytes, microseconds, booleans 0 or 1. An unknown name is a programming error: aborts. */
const char *leat_setting_text(const struct leat_project *, const char *name);
int64_t leat_setting_int(const struct leat_project *, const char *name);
bool leat_setting_time_of_day(const char *text, int *minute); /* '03:00': 180; 'never': -1; false: neither */

/* Checks every query by DuckDB's binder, in `shared`, which plans (NULL: an instance of its own): unknown columns and functions, types, doubled names, primary
 * keys, constraints, and time zones (leat_project_check_zones). For a project without errors so far. Findings, with places and
 * nearest spellings, go to diags; errors: what is not the project's fault. */
struct leat_duck;
enum leat_status leat_project_check_queries(const struct leat_project *, struct leat_duck *shared, struct leat_diagnostics *diags, struct leat_error *) LEAT_MUST;
struct leat_conn;
/* Checks what only DuckDB knows: that the time zones of schedules and of the project exist. Findings go to diags. */
enum leat_status leat_project_check_zones(const struct leat_project *, struct leat_conn *, struct leat_diagnostics *diags, struct leat_error *) LEAT_MUST;

#endif
