/* CREATE SINK name FROM table WITH (options). What the options mean is the connector's matter (connect/sink.h). */
#include "project/parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Sinks stand beside the tables in the lake (what they could not deliver), so their names may not be taken. */
static bool claim_name(struct leat_parser *p, const struct leat_sink_def *sink) {
    const struct leat_project *project = p->project;
    for (size_t i = 0; i < project->sink_count; i++) {
        const struct leat_place *first = &project->sinks[i].place;
        if (strcasecmp(project->sinks[i].name, sink->name) != 0)
            continue;
        leat_diagnose(p->diags, sink->place, false, NULL, "'%s' is declared already in %s:%d:%d", sink->name, first->file, first->line,
                      first->column);
        return false;
    }
    return leat_parser_claim_name(p, sink->name, sink->place);
}

/* Options become the sink's as they are written; connector is taken out. A broken one is reported already. */
static void take_options(struct leat_sink_def *sink, struct leat_given_list *given) {
    for (size_t i = 0; i < given->count; i++) {
        struct leat_given *item = &given->items[i];
        if (item->broken)
            continue;
        if (strcasecmp(item->name, "connector") == 0 && !sink->connector && !item->secret)
            sink->connector = leat_strdup(item->text);
        sink->options = leat_realloc(sink->options, (sink->option_count + 1) * sizeof *sink->options);
        sink->options[sink->option_count++] =
            (struct leat_option){.name = item->name, .value = item->text, .place = item->value_place, .secret = item->secret, .given = true};
        item->name = item->text = NULL;
    }
}

static bool parse_from(struct leat_parser *p, struct leat_sink_def *sink) {
    if (leat_parser_is(p, "AS")) {
        leat_parser_error(p, p->at, "make a table of the query and say FROM that table", "a sink reads a table, not a query");
        return false;
    }
    if (!leat_parser_expect(p, "FROM"))
        return false;
    sink->from_place = leat_parser_place(p, p->at);
    sink->from = leat_parser_relation_name(p, "the table's name");
    return sink->from != NULL;
}

void leat_parser_sink(struct leat_parser *p) {
    struct leat_sink_def sink = {.place = leat_parser_place(p, p->at), .table = SIZE_MAX};
    struct leat_given_list given = {0};
    sink.name = leat_parser_relation_name(p, "the sink's name");
    if (!sink.name)
        return;
    bool ok = claim_name(p, &sink) && parse_from(p, &sink);
    if (ok)
        ok = leat_parser_expect(p, "WITH") && leat_parser_given_list(p, &given);
    if (ok && !leat_parser_at_end(p))
        ok = leat_parser_expected(p, "';'");
    if (ok) {
        take_options(&sink, &given);
        struct leat_project *project = p->project;
        project->sinks = leat_realloc(project->sinks, (project->sink_count + 1) * sizeof *project->sinks);
        project->sinks[project->sink_count++] = sink;
    } else {
        leat_sink_def_deinit(&sink);
    }
    leat_given_list_deinit(&given);
}

static void unknown_table(struct leat_parser *p, const struct leat_sink_def *sink) {
    const struct leat_project *project = p->project;
    struct leat_object_ref other;
    if (leat_project_find(project, sink->from, &other)) {
        leat_diagnose(p->diags, sink->from_place, false, "make a table of it: CREATE MATERIALIZED TABLE ... AS SELECT * FROM ...",
                      "a sink reads a materialized table; '%s' is a %s", sink->from, other.kind == LEAT_OBJECT_VIEW ? "view" : "source");
        return;
    }
    const char **names = leat_alloc((project->table_count + 1) * sizeof *names);
    for (size_t i = 0; i < project->table_count; i++)
        names[i] = project->tables[i].name;
    const char *nearest = leat_nearest(sink->from, names, project->table_count);
    char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
    leat_diagnose(p->diags, sink->from_place, false, hint, "there is no materialized table '%s'", sink->from);
    free(hint);
    free(names);
}

void leat_parser_resolve_sinks(struct leat_parser *p) {
    for (size_t i = 0; i < p->project->sink_count; i++) {
        struct leat_sink_def *sink = &p->project->sinks[i];
        struct leat_object_ref ref;
        if (leat_project_find(p->project, sink->from, &ref) && ref.kind == LEAT_OBJECT_TABLE)
            sink->table = ref.index;
        else
            unknown_table(p, sink);
    }
}
