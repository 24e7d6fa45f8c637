/* A project's life: files from the disk, statements to objects, look-ups, the end. */
#include "project/parse.h"

#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FOLDER_DEPTH_MAX 32

/* ---- objects ---- */

static void inputs_deinit(struct leat_object_ref **inputs, size_t *count, struct leat_sql_map *map) {
    free(*inputs);
    *inputs = NULL;
    *count = 0;
    free(map->pieces);
    *map = (struct leat_sql_map){0};
}

void leat_source_deinit(struct leat_source *source) {
    for (size_t i = 0; i < source->schema.field_count && source->source_names; i++)
        free(source->source_names[i]);
    free(source->source_names);
    leat_schema_deinit(&source->schema);
    for (size_t i = 0; i < source->option_count; i++) {
        free(source->options[i].name);
        free(source->options[i].value);
    }
    free(source->options);
    free(source->name);
    free(source->primary_key);
    free(source->meta);
    free(source->partition_name);
    free(source->offset_name);
    free(source->timestamp_name);
    free(source->connector);
    *source = (struct leat_source){.event_time = -1};
}

void leat_view_deinit(struct leat_view *view) {
    inputs_deinit(&view->inputs, &view->input_count, &view->map);
    free(view->name);
    free(view->sql);
    *view = (struct leat_view){0};
}

void leat_table_deinit(struct leat_table *table) {
    inputs_deinit(&table->inputs, &table->input_count, &table->map);
    for (size_t i = 0; i < table->constraint_count; i++) {
        free(table->constraints[i].name);
        free(table->constraints[i].expression);
    }
    free(table->constraints);
    leat_names_free(table->primary_key, table->primary_key_count);
    free(table->name);
    free(table->sql);
    free(table->cron);
    free(table->time_zone);
    free(table->frozen.column);
    free(table->frozen.bound);
    *table = (struct leat_table){0};
}

void leat_sink_def_deinit(struct leat_sink_def *sink) {
    for (size_t i = 0; i < sink->option_count; i++) {
        free(sink->options[i].name);
        free(sink->options[i].value);
    }
    free(sink->options);
    free(sink->name);
    free(sink->from);
    free(sink->connector);
    *sink = (struct leat_sink_def){0};
}

void leat_project_detach(struct leat_project *project) {
    for (size_t i = 0; i < project->sink_count; i++)
        leat_sink_def_deinit(&project->sinks[i]);
    for (size_t i = 0; i < project->check_count; i++)
        leat_check_def_deinit(&project->checks[i]);
    project->sink_count = project->check_count = 0;
    for (size_t i = 0; i < project->setting_count; i++)
        if (strcmp(project->settings[i].name, "alert_webhook") == 0 && project->settings[i].value)
            project->settings[i].value[0] = 0;
}

void leat_project_free(struct leat_project *project) {
    if (!project)
        return;
    for (size_t i = 0; i < project->source_count; i++)
        leat_source_deinit(&project->sources[i]);
    for (size_t i = 0; i < project->view_count; i++)
        leat_view_deinit(&project->views[i]);
    for (size_t i = 0; i < project->table_count; i++)
        leat_table_deinit(&project->tables[i]);
    leat_project_detach(project);
    free(project->sinks);
    free(project->checks);
    for (size_t i = 0; i < project->setting_count; i++) {
        free(project->settings[i].name);
        free(project->settings[i].value);
    }
    for (size_t i = 0; i < project->file_count; i++) {
        free(project->files[i]->name);
        free(project->files[i]->text);
        free(project->files[i]);
    }
    free(project->files);
    free(project->sources);
    free(project->views);
    free(project->tables);
    free(project->settings);
    free(project->order);
    free(project->dir);
    free(project);
}

bool leat_project_find(const struct leat_project *project, const char *name, struct leat_object_ref *out) {
    for (size_t i = 0; i < project->source_count; i++) {
        if (strcasecmp(project->sources[i].name, name) == 0) {
            *out = (struct leat_object_ref){LEAT_OBJECT_SOURCE, i};
            return true;
        }
    }
    for (size_t i = 0; i < project->view_count; i++) {
        if (strcasecmp(project->views[i].name, name) == 0) {
            *out = (struct leat_object_ref){LEAT_OBJECT_VIEW, i};
            return true;
        }
    }
    for (size_t i = 0; i < project->table_count; i++) {
        if (strcasecmp(project->tables[i].name, name) == 0) {
            *out = (struct leat_object_ref){LEAT_OBJECT_TABLE, i};
            return true;
        }
    }
    return false;
}

const char *leat_project_object_name(const struct leat_project *project, struct leat_object_ref ref) {
    switch (ref.kind) {
    case LEAT_OBJECT_SOURCE:
        return project->sources[ref.index].name;
    case LEAT_OBJECT_VIEW:
        return project->views[ref.index].name;
    case LEAT_OBJECT_TABLE:
        break;
    }
    return project->tables[ref.index].name;
}

struct leat_place leat_project_object_place(const struct leat_project *project, struct leat_object_ref ref) {
    switch (ref.kind) {
    case LEAT_OBJECT_SOURCE:
        return project->sources[ref.index].place;
    case LEAT_OBJECT_VIEW:
        return project->views[ref.index].place;
    case LEAT_OBJECT_TABLE:
        break;
    }
    return project->tables[ref.index].place;
}

void leat_source_row_schema(const struct leat_source *source, struct leat_schema *out) {
    leat_schema_copy(out, &source->schema);
    if (source->include_partition)
        leat_schema_add(out, source->partition_name, (struct leat_type){.kind = LEAT_INTEGER}, true);
    if (source->include_offset)
        leat_schema_add(out, source->offset_name, (struct leat_type){.kind = LEAT_BIGINT}, true);
    if (source->include_timestamp)
        leat_schema_add(out, source->timestamp_name, (struct leat_type){.kind = LEAT_TIMESTAMP}, true);
}

/* ---- what the parser notes ---- */

bool leat_parser_claim_name(struct leat_parser *p, const char *name, struct leat_place place) {
    struct leat_object_ref other;
    if (!leat_project_find(p->project, name, &other))
        return true;
    struct leat_place first = leat_project_object_place(p->project, other);
    leat_diagnose(p->diags, place, false, NULL, "'%s' is declared already in %s:%d:%d", name, first.file, first.line,
                  first.column);
    return false;
}

void leat_parser_mark_broken(struct leat_parser *p, struct leat_object_ref object) {
    p->broken = leat_realloc(p->broken, (p->broken_count + 1) * sizeof *p->broken);
    p->broken[p->broken_count++] = object;
}

bool leat_parser_is_broken(const struct leat_parser *p, struct leat_object_ref object) {
    for (size_t i = 0; i < p->broken_count; i++)
        if (p->broken[i].kind == object.kind && p->broken[i].index == object.index)
            return true;
    return false;
}

/* ---- loading ---- */

static void add_default_settings(struct leat_project *project) {
    const struct leat_option_table *table = &leat_settings_table;
    for (size_t i = 0; i < table->count; i++) {
        const struct leat_option_spec *spec = &table->specs[i];
        bool given = false;
        for (size_t k = 0; k < project->setting_count; k++)
            given |= strcmp(project->settings[k].name, spec->name) == 0;
        char *value = given ? NULL : leat_option_default_text(spec);
        if (!value)
            continue;
        project->settings = leat_realloc(project->settings, (project->setting_count + 1) * sizeof *project->settings);
        project->settings[project->setting_count++] =
            (struct leat_setting){.name = leat_strdup(spec->name), .value = value};
    }
}

/* Takes text over; the file's name is copied. */
static struct leat_text_file *add_file(struct leat_project *project, const char *name, char *text, size_t length) {
    struct leat_text_file *file = leat_alloc(sizeof *file);
    *file = (struct leat_text_file){.name = leat_strdup(name), .text = text, .length = length};
    project->files = leat_realloc(project->files, (project->file_count + 1) * sizeof *project->files);
    project->files[project->file_count++] = file;
    return file;
}

static void parse_all(struct leat_project *project, struct leat_diagnostics *diags) {
    struct leat_parser parser = {.project = project, .diags = diags};
    leat_parser_find_windowed(&parser);
    for (size_t i = 0; i < project->file_count; i++)
        leat_parser_file(&parser, project->files[i]);
    leat_parser_resolve(&parser);
    leat_parser_resolve_sinks(&parser);
    leat_parser_resolve_checks(&parser);
    add_default_settings(project);
    leat_parser_deinit(&parser);
    leat_diagnostics_sort(diags);
}

struct leat_project *leat_project_of(const char *dir, const struct leat_text_file *files, size_t count, struct leat_diagnostics *diags) {
    struct leat_project *project = leat_alloc(sizeof *project);
    project->dir = leat_strdup(dir);
    for (size_t i = 0; i < count; i++) {
        char *copy = leat_alloc(files[i].length + 1);
        if (files[i].length)
            memcpy(copy, files[i].text, files[i].length);
        add_file(project, files[i].name, copy, files[i].length);
    }
    parse_all(project, diags);
    return project;
}

struct leat_project *leat_project_parse(const char *file, const char *text, size_t length, struct leat_diagnostics *diags) {
    const struct leat_text_file only = {.name = (char *)file, .text = (char *)text, .length = length};
    return leat_project_of(".", &only, 1, diags);
}

struct leat_project *leat_project_same(const struct leat_project *as, struct leat_diagnostics *diags) {
    struct leat_text_file *files = leat_alloc((as->file_count + 1) * sizeof *files);
    for (size_t i = 0; i < as->file_count; i++)
        files[i] = *as->files[i];
    struct leat_project *project = leat_project_of(as->dir, files, as->file_count, diags);
    free(files);
    return project;
}

bool leat_project_same_text(const struct leat_project *a, const struct leat_project *b) {
    bool same = a->file_count == b->file_count;
    for (size_t i = 0; same && i < a->file_count; i++)
        same = strcmp(a->files[i]->name, b->files[i]->name) == 0 && a->files[i]->length == b->files[i]->length &&
               memcmp(a->files[i]->text, b->files[i]->text, a->files[i]->length) == 0;
    return same;
}

static bool is_sql_file(const char *name) {
    size_t length = strlen(name);
    return length > 4 && strcasecmp(name + length - 4, ".sql") == 0;
}

/* Names that are data and need no look at what they are: input folders hold very many of them. */
static bool is_data_file(const char *name) {
    static const char *const endings[] = {".parquet", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".gz", ".zst", ".crc"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (length > n && strcasecmp(name + length - n, endings[i]) == 0)
            return true;
    }
    return false;
}

/* A table of the lake, which may well lie in the project's folder. */
static bool is_delta_table(char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], "_delta_log") == 0)
            return true;
    return false;
}

/* All *.sql files of dir/relative and its folders, in order of name. */
static enum leat_status read_folder(struct leat_env *env, struct leat_project *project, const char *relative, int depth,
                                    struct leat_error *err) {
    char *path = relative[0] ? leat_asprintf("%s/%s", project->dir, relative) : leat_strdup(project->dir);
    char **names = NULL;
    size_t count = 0;
    enum leat_status status = leat_io_list_sorted(env->io, path, &names, &count, err);
    bool table = is_delta_table(names, count);
    for (size_t i = 0; i < count && status == LEAT_OK && !table; i++) {
        if (names[i][0] == '.' || is_data_file(names[i]))
            continue;
        char *below = relative[0] ? leat_asprintf("%s/%s", relative, names[i]) : leat_strdup(names[i]);
        char *full = leat_asprintf("%s/%s", project->dir, below);
        struct leat_stat stat;
        status = env->io->ops->stat(env->io, full, &stat, err);
        if (status == LEAT_OK && stat.is_dir) {
            if (depth < FOLDER_DEPTH_MAX)
                status = read_folder(env, project, below, depth + 1, err);
        } else if (status == LEAT_OK && is_sql_file(names[i])) {
            struct leat_buffer text = {0};
            status = project->file_count < LEAT_PROJECT_FILES_MAX
                         ? leat_io_read_all(env->io, full, LEAT_PROJECT_FILE_BYTES_MAX, &text, err)
                         : leat_fail(err, LEAT_LIMIT, "%s: a project has at most %d .sql files", project->dir,
                                     LEAT_PROJECT_FILES_MAX);
            if (status == LEAT_OK)
                add_file(project, below, text.data ? text.data : leat_strdup(""), text.length);
            else
                leat_buffer_deinit(&text);
        } else if (status == LEAT_NOT_FOUND) {
            status = LEAT_OK; /* a link to nowhere, or gone since it was listed */
        }
        free(full);
        free(below);
    }
    leat_names_free(names, count);
    free(path);
    return status;
}

enum leat_status leat_project_load(struct leat_env *env, const char *dir, struct leat_project **out,
                                   struct leat_diagnostics *diags, struct leat_error *err) {
    *out = NULL;
    struct leat_stat stat;
    enum leat_status status = env->io->ops->stat(env->io, dir, &stat, err);
    if (status == LEAT_NOT_FOUND)
        status = leat_fail(err, LEAT_NOT_FOUND, "there is no folder %s; a project is a folder of .sql files", dir);
    if (status == LEAT_OK && !stat.is_dir)
        status = leat_fail(err, LEAT_INVALID, "%s is not a folder; a project is a folder of .sql files", dir);
    if (status != LEAT_OK)
        return status;
    struct leat_project *project = leat_alloc(sizeof *project);
    project->dir = leat_strdup(dir);
    status = read_folder(env, project, "", 0, err);
    if (status != LEAT_OK) {
        leat_project_free(project);
        return status;
    }
    if (project->file_count == 0)
        leat_diagnose(diags, (struct leat_place){0}, false, "a project is a folder with .sql files: 'leat new FOLDER SAMPLE' makes one, --project FOLDER names one",
                      "there is no .sql file in the project's folder");
    parse_all(project, diags);
    *out = project;
    return LEAT_OK;
}
