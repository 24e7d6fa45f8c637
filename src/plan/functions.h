/* Which functions a query may call (rule 7), and what is known about them. */
#ifndef LEAT_PLAN_FUNCTIONS_H
#define LEAT_PLAN_FUNCTIONS_H

#include "base/mem.h"

enum leat_function_trait {
    LEAT_FUNCTION_ALLOWED = 1,
    LEAT_FUNCTION_SAFE = 2, /* cannot raise, whatever the row holds */
    LEAT_FUNCTION_AGGREGATE = 4,
    LEAT_FUNCTION_ORDERED = 8, /* an aggregate whose answer depends on the order of rows */
    LEAT_FUNCTION_CLOCK = 16,  /* the step's clock reading */
    LEAT_FUNCTION_LAMBDA = 32, /* takes a lambda */
};
/* Traits of a function or operator by name, any case; 0: not on the list. */
unsigned leat_function_traits(const char *name);
/* UNSUPPORTED with the reason and what to use instead for a name that is not allowed. */
enum leat_status leat_function_check(const char *name, struct leat_error *err) LEAT_MUST;
/* The same for table functions in FROM. */
enum leat_status leat_function_check_table(const char *name, struct leat_error *err) LEAT_MUST;

/* docs/reference/functions.md. */
void leat_function_reference(struct leat_buffer *out);

#endif
