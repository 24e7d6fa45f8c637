/* What needs all statements: names in queries, cycles, the order in which objects are made. */
#include "project/parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct resolver {
    struct leat_parser *p;
    struct leat_project *project;
    const char **names; /* of all objects, for the nearest spelling */
    size_t name_count;
    /* depth-first search over all objects, numbered sources, views, tables */
    uint8_t *colours; /* 0 new, 1 on the path, 2 done */
    size_t *path, path_length;
    bool *in_cycle;
};

static size_t number_of(const struct leat_project *project, struct leat_object_ref ref) {
    size_t base = ref.kind == LEAT_OBJECT_SOURCE ? 0 : project->source_count;
    return base + (ref.kind == LEAT_OBJECT_TABLE ? project->view_count : 0) + ref.index;
}

static struct leat_object_ref object_of(const struct leat_project *project, size_t number) {
    if (number < project->source_count)
        return (struct leat_object_ref){LEAT_OBJECT_SOURCE, number};
    number -= project->source_count;
    if (number < project->view_count)
        return (struct leat_object_ref){LEAT_OBJECT_VIEW, number};
    return (struct leat_object_ref){LEAT_OBJECT_TABLE, number - project->view_count};
}

static struct leat_object_ref *inputs_of(struct leat_project *project, struct leat_object_ref ref, size_t *count) {
    *count = 0;
    if (ref.kind == LEAT_OBJECT_VIEW) {
        *count = project->views[ref.index].input_count;
        return project->views[ref.index].inputs;
    }
    if (ref.kind == LEAT_OBJECT_TABLE) {
        *count = project->tables[ref.index].input_count;
        return project->tables[ref.index].inputs;
    }
    return NULL;
}

static void add_input(struct leat_project *project, struct leat_object_ref object, struct leat_object_ref input) {
    struct leat_object_ref **inputs = object.kind == LEAT_OBJECT_VIEW ? &project->views[object.index].inputs
                                                                      : &project->tables[object.index].inputs;
    size_t *count = object.kind == LEAT_OBJECT_VIEW ? &project->views[object.index].input_count
                                                    : &project->tables[object.index].input_count;
    for (size_t i = 0; i < *count; i++)
        if ((*inputs)[i].kind == input.kind && (*inputs)[i].index == input.index)
            return;
    *inputs = leat_realloc(*inputs, (*count + 1) * sizeof **inputs);
    (*inputs)[(*count)++] = input;
}

/* A window's time column is known here only for sources; the planner checks the rest. */
static void check_time_column(struct resolver *r, const struct leat_reference *reference, struct leat_object_ref object) {
    if (object.kind != LEAT_OBJECT_SOURCE || leat_parser_is_broken(r->p, object))
        return;
    struct leat_schema schema = {0};
    const struct leat_source *source = &r->project->sources[object.index];
    leat_source_row_schema(source, &schema);
    int column = leat_schema_find(&schema, reference->time_column);
    if (column < 0) {
        const char **names = leat_alloc(schema.field_count * sizeof *names + 1);
        for (size_t i = 0; i < schema.field_count; i++)
            names[i] = schema.fields[i].name;
        const char *nearest = leat_nearest(reference->time_column, names, schema.field_count);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(r->p->diags, reference->time_place, false, hint, "source '%s' has no column '%s'", source->name,
                      reference->time_column);
        free(hint);
        free(names);
    } else {
        uint8_t kind = schema.fields[column].type.kind;
        char type[32];
        leat_type_print(schema.fields[column].type, type);
        if (kind != LEAT_TIMESTAMP && kind != LEAT_TIMESTAMPTZ && kind != LEAT_DATE)
            leat_diagnose(r->p->diags, reference->time_place, false, NULL,
                          "a window needs a TIMESTAMP, TIMESTAMPTZ or DATE; '%s' is %s", reference->time_column, type);
    }
    leat_schema_deinit(&schema);
}

static void resolve_query(struct resolver *r, const struct leat_query *query) {
    for (size_t i = 0; i < query->reference_count; i++) {
        const struct leat_reference *reference = &query->references[i];
        struct leat_object_ref input;
        if (leat_project_find(r->project, reference->name, &input)) {
            if (reference->time_column)
                check_time_column(r, reference, input);
            if (query->object.index != SIZE_MAX)
                add_input(r->project, query->object, input);
            continue;
        }
        const char *nearest = leat_nearest(reference->name, r->names, r->name_count);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(r->p->diags, reference->place, false, hint, "there is no source, view or table '%s'", reference->name);
        free(hint);
    }
}

/* ---- versions of references ---- */

static bool has_versions(struct leat_parser *p, const struct leat_reference *reference, const struct leat_source *source) {
    static const char *const added[] = {"valid_from", "valid_to"};
    const char *why = !source                      ? "it is no source"
                      : !source->reference         ? "it is followed, not read whole"
                      : !source->primary_key_count ? "it has no PRIMARY KEY to tell its rows by"
                                                   : NULL;
    if (why) {
        leat_diagnose(p->diags, reference->place, false, "take a reference source with a PRIMARY KEY, or leave FOR SYSTEM_TIME AS OF out",
                      "'%s' has no versions: %s", reference->name, why);
        return false;
    }
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        if (leat_schema_find(&source->schema, added[i]) < 0)
            continue;
        leat_diagnose(p->diags, reference->place, false, "give the column another name, and say FROM '...' behind its type",
                      "the column '%s' of source '%s' has the name of one that its versions have", added[i], source->name);
        return false;
    }
    return true;
}

/* A source that leat has itself: the rows of the reference `of`, each with the time that it held. */
static void add_versions(struct leat_project *project, size_t of, char *name) {
    project->sources = leat_realloc(project->sources, (project->source_count + 1) * sizeof *project->sources);
    const struct leat_source *base = &project->sources[of];
    struct leat_source *source = &project->sources[project->source_count++];
    *source = (struct leat_source){.name = name, .place = base->place, .event_time = -1, .format = base->format, .reference = true,
                                   .refresh_us = base->refresh_us, .versions = true, .versions_of = of, .connector = leat_strdup(base->connector)};
    leat_schema_copy(&source->schema, &base->schema);
    leat_schema_add(&source->schema, "valid_from", (struct leat_type){.kind = LEAT_TIMESTAMP}, false);
    leat_schema_add(&source->schema, "valid_to", (struct leat_type){.kind = LEAT_TIMESTAMP}, false);
    source->value_count = source->schema.field_count;
    source->source_names = leat_alloc(source->value_count * sizeof *source->source_names);
    for (size_t i = 0; i < source->value_count; i++)
        source->source_names[i] = leat_strdup(source->schema.fields[i].name);
}

/* FOR SYSTEM_TIME AS OF reads NAME__versions, which is made where it is first asked for. */
static void find_versions(struct leat_parser *p, struct leat_reference *reference) {
    struct leat_object_ref base, found;
    if (!leat_project_find(p->project, reference->name, &base) || leat_parser_is_broken(p, base))
        return;
    if (!has_versions(p, reference, base.kind == LEAT_OBJECT_SOURCE ? &p->project->sources[base.index] : NULL))
        return;
    char *name = leat_asprintf("%s__versions", p->project->sources[base.index].name);
    free(reference->name);
    reference->name = leat_strdup(name);
    if (leat_project_find(p->project, name, &found))
        free(name);
    else
        add_versions(p->project, base.index, name);
}

static void report_cycle(struct resolver *r, size_t from) {
    struct leat_buffer text = {0};
    struct leat_place place = leat_project_object_place(r->project, object_of(r->project, r->path[from]));
    for (size_t i = from; i < r->path_length; i++) {
        leat_putf(&text, "%s reads ", leat_project_object_name(r->project, object_of(r->project, r->path[i])));
        r->in_cycle[r->path[i]] = true;
    }
    leat_put(&text, leat_project_object_name(r->project, object_of(r->project, r->path[from])));
    leat_diagnose(r->p->diags, place, false, "a table is computed from its inputs alone; break the circle at one of them",
                  "a circle: %s", text.data);
    leat_buffer_deinit(&text);
}

/* Depth-first with an explicit stack: the path is the stack, next[] the input each of its members looks at next. */
static void visit(struct resolver *r, size_t root, size_t *next) {
    struct leat_project *project = r->project;
    r->path_length = 0;
    r->path[r->path_length++] = root;
    r->colours[root] = 1;
    while (r->path_length) {
        size_t current = r->path[r->path_length - 1], count;
        struct leat_object_ref *inputs = inputs_of(project, object_of(project, current), &count);
        if (next[current] < count) {
            size_t input = number_of(project, inputs[next[current]++]);
            if (r->colours[input] == 0) {
                r->colours[input] = 1;
                r->path[r->path_length++] = input;
            } else if (r->colours[input] == 1) {
                size_t from = r->path_length - 1;
                while (r->path[from] != input)
                    from--;
                report_cycle(r, from);
            }
            continue;
        }
        r->colours[current] = 2;
        r->path_length--;
        if (!r->in_cycle[current])
            project->order[project->order_count++] = object_of(project, current);
    }
}

/* FRESHNESS = DOWNSTREAM follows the tables that read it; without any it would never run. */
static void check_downstream(struct resolver *r) {
    struct leat_project *project = r->project;
    for (size_t t = 0; t < project->table_count; t++) {
        if (!project->tables[t].downstream)
            continue;
        bool read = false;
        for (size_t i = 0; i < project->view_count + project->table_count; i++) {
            size_t count;
            struct leat_object_ref *inputs = inputs_of(project, object_of(project, project->source_count + i), &count);
            for (size_t k = 0; k < count; k++)
                read |= inputs[k].kind == LEAT_OBJECT_TABLE && inputs[k].index == t;
        }
        if (!read)
            leat_diagnose(r->p->diags, project->tables[t].place, false, "say FRESHNESS = INTERVAL ... or let a table read it",
                          "table '%s' has FRESHNESS = DOWNSTREAM, but nothing reads it", project->tables[t].name);
    }
}

void leat_parser_resolve(struct leat_parser *p) {
    struct leat_project *project = p->project;
    for (size_t i = 0; i < p->query_count; i++)
        for (size_t k = 0; k < p->queries[i].reference_count; k++)
            if (p->queries[i].references[k].as_of)
                find_versions(p, &p->queries[i].references[k]);
    size_t count = project->source_count + project->view_count + project->table_count;
    struct resolver r = {.p = p, .project = project, .name_count = count};
    r.names = leat_alloc((count + 1) * sizeof *r.names);
    for (size_t i = 0; i < count; i++)
        r.names[i] = leat_project_object_name(project, object_of(project, i));
    for (size_t i = 0; i < p->query_count; i++)
        resolve_query(&r, &p->queries[i]);
    r.colours = leat_alloc(count + 1);
    r.path = leat_alloc((count + 1) * sizeof *r.path);
    r.in_cycle = leat_alloc((count + 1) * sizeof *r.in_cycle);
    size_t *next = leat_alloc((count + 1) * sizeof *next);
    project->order = leat_alloc((count + 1) * sizeof *project->order);
    for (size_t i = 0; i < count; i++)
        if (r.colours[i] == 0)
            visit(&r, i, next);
    check_downstream(&r);
    free(r.names);
    free(r.colours);
    free(r.path);
    free(r.in_cycle);
    free(next);
}
