/* Reading DuckDB's bound plan: types, and what an expression says about itself. The plan itself is walked
 * as JSON by compile.c; everything returned here is borrowed from the document. */
#ifndef LEAT_PLAN_BOUND_H
#define LEAT_PLAN_BOUND_H

#include "data/schema.h"
#include "plan/json.h"

/* A serialised type (NULL: BOOLEAN) as leat's; NESTED for what never enters a change batch (lists, structs, ENUM, BIT
 * ...). */
struct leat_type leat_bound_type(const json_t *type);
/* A serialised type in DuckDB's SQL spelling; false: it cannot be spelled (an unnamed struct, ANY ...). */
bool leat_bound_type_sql(const json_t *type, struct leat_buffer *out);
/* VARCHAR with a name of its own, JSON: batches carry plain VARCHAR, expressions must see it again. */
bool leat_bound_type_is_alias(const json_t *type);
/* The serialised type of an expression; NULL for comparisons and conjunctions, which are BOOLEAN. */
const json_t *leat_bound_expression_type(const json_t *expression);
bool leat_bound_is_ref(const json_t *expression, size_t *index);
/* An integer constant that is not NULL. */
bool leat_bound_int_constant(const json_t *expression, int64_t *out);
/* An interval constant that is not NULL and not beyond all measure. */
struct leat_bound_interval { int64_t months, days, micros; };
bool leat_bound_interval_constant(const json_t *expression, struct leat_bound_interval *out);
/* Does any expression below use this class, or this function? */
bool leat_bound_uses_class(const json_t *expression, const char *expression_class);

#endif
