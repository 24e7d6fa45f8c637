/* sql/lexer: token kinds and places, problems, statements, values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sql/lexer.h"

static void assert_tokens(const char *sql, const char *expected) {
    static const char letters[] = "ewqsno";
    struct leat_tokens tokens;
    struct leat_buffer text = {0};
    leat_put(&text, "");
    leat_lex(sql, strlen(sql), &tokens);
    for (size_t i = 0; i < tokens.count; i++) {
        leat_putf(&text, "%s%c:", i ? " " : "", letters[tokens.items[i].kind]);
        leat_putn(&text, sql + tokens.items[i].offset, tokens.items[i].length);
    }
    for (size_t i = 0; i < tokens.problem_count; i++)
        leat_putf(&text, " !%d:%d", tokens.problems[i].line, tokens.problems[i].column);
    assert_string_equal(text.data, expected);
    leat_buffer_deinit(&text);
    leat_tokens_deinit(&tokens);
}

static void token_kinds(void **state) {
    (void)state;
    assert_tokens("", "");
    assert_tokens("select a1, \"b \"\"c\" from t;", "w:select w:a1 o:, q:\"b \"\"c\" w:from w:t o:;");
    assert_tokens("'it''s' E'a\\'b' x'00' n'x' e1", "s:'it''s' s:E'a\\'b' s:x'00' s:n'x' w:e1");
    assert_tokens("$$a'b$$ $t$x$$y$t$ $1 a$b$c", "s:$$a'b$$ s:$t$x$$y$t$ o:$ n:1 w:a$b$c");
    assert_tokens("1 1.5 .5 1e10 1e 1_000 0xFF 1.e-3 a.1", "n:1 n:1.5 n:.5 n:1e10 n:1 w:e n:1_000 n:0xFF n:1.e-3 w:a n:.1");
    assert_tokens("a::int b:=c d->>'$.x' e=>1", "w:a o::: w:int w:b o::= w:c w:d o:->> s:'$.x' w:e o:=> n:1");
    assert_tokens("a=-1 b<=+2 c||-3 d@-4", "w:a o:= o:- n:1 w:b o:<= o:+ n:2 w:c o:||- n:3 w:d o:@- n:4");
    assert_tokens("a--b\n+c/*x/*y*/z*/*d", "w:a o:+ w:c o:* w:d");
    assert_tokens("a+/*x*/b->--c\nd", "w:a o:+ w:b o:-> w:d");
    assert_tokens("gr\xC3\xB6\xC3\x9F" "e \\ \x01", "w:gr\xC3\xB6\xC3\x9F" "e o:\\ o:\x01");
}

static void places(void **state) {
    (void)state;
    struct leat_tokens tokens;
    const char *sql = "\xEF\xBB\xBF\xC3\xA4\xC3\xB6 b\r\n\tc 'd\ne' f";
    leat_lex(sql, strlen(sql), &tokens);
    static const int expected[][2] = {{1, 1}, {1, 4}, {2, 2}, {2, 4}, {3, 4}};
    assert_int_equal(tokens.count, 5);
    for (size_t i = 0; i < 5; i++) {
        int line, column;
        assert_int_equal(tokens.items[i].line, expected[i][0]);
        assert_int_equal(tokens.items[i].column, expected[i][1]);
        leat_text_place(sql, strlen(sql), tokens.items[i].offset, &line, &column);
        assert_int_equal(line, expected[i][0]);
        assert_int_equal(column, expected[i][1]);
    }
    leat_tokens_deinit(&tokens);
}

static void problems(void **state) {
    (void)state;
    assert_tokens("a 'b", "w:a !1:3");
    assert_tokens("a;\n b \"c ; d", "w:a o:; w:b !2:4");
    assert_tokens("/* a /* b */ c", " !1:1");
    assert_tokens("$x$ a $y$", " !1:1");
    /* later statements are read again */
    assert_tokens("a 'b;\nc;\n/* d ; e", "w:a o:; w:c o:; !1:3 !3:1");
    struct leat_tokens tokens;
    const char *sql = "a = 'b\n', c = 'd";
    leat_lex(sql, strlen(sql), &tokens);
    assert_int_equal(tokens.problem_count, 1);
    assert_int_equal(tokens.problems[0].suspect_line, 1);
    leat_tokens_deinit(&tokens);
}

static void statements(void **state) {
    (void)state;
    const char *sql = ";a b;;c ';' /* ; */ $$;$$ -- ;\n; d ( e ; f";
    struct leat_tokens tokens;
    struct leat_statement *list;
    leat_lex(sql, strlen(sql), &tokens);
    size_t count = leat_lex_statements(&tokens, &list);
    static const size_t expected[][2] = {{1, 2}, {5, 3}, {9, 3}, {13, 1}};
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i].first, expected[i][0]);
        assert_int_equal(list[i].count, expected[i][1]);
        assert_false(list[i].broken);
    }
    free(list);
    leat_tokens_deinit(&tokens);
    sql = "a 'b;\n c";
    leat_lex(sql, strlen(sql), &tokens);
    count = leat_lex_statements(&tokens, &list);
    assert_int_equal(count, 2);
    assert_true(list[0].broken);
    assert_false(list[1].broken);
    free(list);
    leat_tokens_deinit(&tokens);
}

static void assert_value(const char *sql, const char *expected) {
    struct leat_tokens tokens;
    leat_lex(sql, strlen(sql), &tokens);
    assert_int_equal(tokens.count, 1);
    char *value = leat_token_value(&tokens, 0);
    assert_string_equal(value, expected);
    free(value);
    leat_tokens_deinit(&tokens);
}

static void values(void **state) {
    (void)state;
    assert_value("Abc", "Abc");
    assert_value("\"a \"\" b\"", "a \" b");
    assert_value("'it''s \\n'", "it's \\n");
    assert_value("''", "");
    assert_value("E'a\\n\\t\\'\\\\''b\\x41\\101\\u00e4\\U0001F600\\q'", "a\n\t'\\'bAA\xC3\xA4\xF0\x9F\x98\x80q");
    assert_value("$$a'b$$", "a'b");
    assert_value("$tag$$$tag$", "$");
    assert_value("n'x'", "x");
    assert_value("12.5", "12.5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_kinds), cmocka_unit_test(places), cmocka_unit_test(problems),
        cmocka_unit_test(statements),  cmocka_unit_test(values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
