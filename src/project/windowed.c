/* Which relations may have columns window_start and window_end: those whose statement says one of these words, TUMBLE, HOP or SESSION, and
 * those whose statement names one of the former. Found by words alone, before statements are parsed (a relation may be used
 * before the file that makes it is read); a relation too many costs nothing. */
#include "project/parse.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct statement_words {
    char *name; /* of the relation it makes */
    char **words;
    size_t *inputs; /* statements whose relation one of the words names */
    size_t count, input_count;
    bool windowed;
};

static char *relation_name(const struct leat_tokens *tokens, const struct leat_statement *statement) {
    static const char *const kinds[] = {"SOURCE", "VIEW", "TABLE"};
    size_t end = statement->first + statement->count, at = statement->first + 1;
    if (!leat_token_is(tokens, statement->first, "CREATE"))
        return NULL;
    for (bool found = false; at < end && at < statement->first + 5 && !found; at++)
        found = leat_token_is_any(tokens, at, kinds, 3);
    if (leat_token_is(tokens, at, "IF"))
        at += 3;
    return at < end ? leat_token_value(tokens, at) : NULL;
}

static void collect_words(const struct leat_tokens *tokens, const struct leat_statement *statement, struct statement_words *out) {
    static const char *const signs[] = {"window_start", "window_end", "TUMBLE", "HOP", "SESSION"};
    out->words = leat_alloc(statement->count * sizeof *out->words);
    for (size_t i = statement->first; i < statement->first + statement->count; i++) {
        enum leat_token_kind kind = tokens->items[i].kind;
        if (kind != LEAT_TOKEN_WORD && kind != LEAT_TOKEN_QUOTED)
            continue;
        char *word = leat_token_value(tokens, i);
        for (size_t k = 0; k < sizeof signs / sizeof *signs; k++)
            out->windowed |= strcasecmp(word, signs[k]) == 0;
        out->words[out->count++] = word;
    }
}

static struct statement_words *collect_statements(const struct leat_project *project, size_t *count) {
    struct statement_words *all = NULL;
    *count = 0;
    for (size_t f = 0; f < project->file_count; f++) {
        struct leat_tokens tokens;
        struct leat_statement *statements;
        leat_lex(project->files[f]->text, project->files[f]->length, &tokens);
        size_t statement_count = leat_lex_statements(&tokens, &statements);
        for (size_t i = 0; i < statement_count; i++) {
            char *name = relation_name(&tokens, &statements[i]);
            if (!name)
                continue;
            all = leat_realloc(all, (*count + 1) * sizeof *all);
            all[*count] = (struct statement_words){.name = name};
            collect_words(&tokens, &statements[i], &all[(*count)++]);
        }
        free(statements);
        leat_tokens_deinit(&tokens);
    }
    return all;
}

static int compare_names(const void *a, const void *b) {
    return strcasecmp(((const struct statement_words *)a)->name, ((const struct statement_words *)b)->name);
}

static void find_inputs(struct statement_words *statement, const struct statement_words *all, size_t count) {
    statement->inputs = leat_alloc((statement->count + 1) * sizeof *statement->inputs);
    for (size_t i = 0; i < statement->count; i++) {
        struct statement_words wanted = {.name = statement->words[i]};
        const struct statement_words *found = bsearch(&wanted, all, count, sizeof *all, compare_names);
        if (found)
            statement->inputs[statement->input_count++] = (size_t)(found - all);
    }
}

void leat_parser_find_windowed(struct leat_parser *p) {
    size_t count;
    struct statement_words *all = collect_statements(p->project, &count);
    if (count)
        qsort(all, count, sizeof *all, compare_names);
    for (size_t i = 0; i < count; i++)
        find_inputs(&all[i], all, count);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; k < all[i].input_count && !all[i].windowed; k++)
                changed |= all[i].windowed = all[all[i].inputs[k]].windowed;
    }
    for (size_t i = 0; i < count; i++) {
        if (all[i].windowed) {
            p->windowed = leat_realloc(p->windowed, (p->windowed_count + 1) * sizeof *p->windowed);
            p->windowed[p->windowed_count++] = leat_strdup(all[i].name);
        }
        leat_names_free(all[i].words, all[i].count);
        free(all[i].inputs);
        free(all[i].name);
    }
    free(all);
}
