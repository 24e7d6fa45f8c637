/* The planner's world: every source, view and table by name on a PLAN connection. */
#include <stdlib.h>

#include "plan/complete.h"
#include "plan/plan.h"

enum leat_status leat_plan_declare_source(struct leat_conn *plan_conn, const struct leat_source *source,
                                          struct leat_error *err) {
    struct leat_schema row = {0};
    leat_source_row_schema(source, &row);
    enum leat_status status = leat_conn_input(plan_conn, source->name, &row, true, err);
    if (!status) leat_conn_note(plan_conn, source->name, source->event_time);
    leat_schema_deinit(&row);
    return status;
}

enum leat_status leat_plan_declare_table(struct leat_conn *plan_conn, const struct leat_table *table,
                                         const struct leat_plan *plan, struct leat_error *err) {
    return leat_conn_input(plan_conn, table->name, &plan->schema, true, err);
}

enum leat_status leat_plan_declare_view(struct leat_conn *plan_conn, const struct leat_view *view, char **completed,
                                        int *error_offset, struct leat_error *err) {
    struct leat_buffer sql = {0};
    char *planning = NULL, *text = NULL;
    enum leat_status status = leat_complete(plan_conn, view->sql, &planning, &text, error_offset, err);
    if (!status) {
        leat_put(&sql, "CREATE OR REPLACE VIEW ");
        leat_put_sql_name(&sql, view->name);
        leat_putf(&sql, " AS %s", planning);
        status = leat_conn_exec(plan_conn, sql.data, err);
    }
    if (!status && completed)
        *completed = text;
    else
        free(text);
    leat_buffer_deinit(&sql);
    free(planning);
    return status;
}
