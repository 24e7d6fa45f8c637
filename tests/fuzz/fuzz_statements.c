/* Any bytes as a project's file: no crash, places inside the text, maps that lead back to it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "project/project.h"
#include "schedule/civil.h"
#include "schedule/cron.h"
#include "sql/lexer.h"

#undef NDEBUG
#include <assert.h>

static void check_tokens(const char *text, size_t length) {
    struct leat_tokens tokens;
    struct leat_statement *statements;
    size_t end = 0;
    leat_lex(text, length, &tokens);
    for (size_t i = 0; i < tokens.count; i++) {
        const struct leat_token *t = &tokens.items[i];
        assert(t->kind != LEAT_TOKEN_END && t->length > 0 && t->offset >= end && t->offset + t->length <= length);
        end = t->offset + t->length;
        free(leat_token_value(&tokens, i));
    }
    /* the places of a few tokens, counted anew (all would be quadratic) */
    for (size_t i = 0; i < tokens.count; i += 1 + tokens.count / 8) {
        int line, column;
        leat_text_place(text, length, tokens.items[i].offset, &line, &column);
        assert(line == tokens.items[i].line && column == tokens.items[i].column);
    }
    size_t count = leat_lex_statements(&tokens, &statements);
    for (size_t i = 0; i < count; i++)
        assert(statements[i].count > 0 && statements[i].first + statements[i].count <= tokens.count);
    free(statements);
    leat_tokens_deinit(&tokens);
}

static void check_query(const char *sql, const struct leat_place *place, const struct leat_sql_map *map) {
    if (!sql)
        return;
    size_t length = strlen(sql);
    for (size_t i = 0; i < map->piece_count; i++) {
        const struct leat_sql_piece *piece = &map->pieces[i];
        size_t end = i + 1 < map->piece_count ? map->pieces[i + 1].sql_offset : length;
        assert(piece->sql_offset <= end);
        assert(piece->file_offset <= map->file->length);
        struct leat_place at = leat_sql_place(map, place, piece->sql_offset);
        assert(at.line >= 1 && at.column >= 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    struct leat_diagnostics diags = {0};
    struct leat_buffer out = {0};
    struct leat_cron cron;
    int64_t us;
    check_tokens(text, size);
    struct leat_project *project = leat_project_parse("fuzz.sql", text, size, &diags);
    for (size_t i = 0; i < project->view_count; i++)
        check_query(project->views[i].sql, &project->views[i].sql_place, &project->views[i].map);
    for (size_t i = 0; i < project->table_count; i++)
        check_query(project->tables[i].sql, &project->tables[i].sql_place, &project->tables[i].map);
    assert(project->order_count <= project->source_count + project->view_count + project->table_count);
    for (size_t i = 0; i < project->order_count; i++)
        assert(leat_project_object_name(project, project->order[i]));
    leat_diagnostics_print(&diags, &out);
    leat_buffer_deinit(&out);
    leat_diagnostics_deinit(&diags);
    leat_project_free(project);
    if (size < 200) {
        char *copy = leat_strndup(text, size);
        if (leat_cron_parse(copy, &cron, NULL) == LEAT_OK)
            (void)leat_cron_next(&cron, NULL, INT64_C(1700000000) * 1000000);
        (void)leat_civil_parse(text, size, &us);
        free(copy);
    }
    return 0;
}
