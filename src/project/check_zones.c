/* Time zones of schedules and of the project against DuckDB's zone data. */
#include "project/project.h"
#include "schedule/zone.h"

#include <strings.h>

static enum leat_status check_zone(struct leat_conn *conn, const char *name, struct leat_place place, bool secret,
                                   struct leat_diagnostics *diags, struct leat_error *err) {
    struct leat_zone *zone;
    struct leat_error own = {0};
    enum leat_status status = leat_zone_load(conn, name, &zone, &own);
    if (status == LEAT_INVALID) {
        leat_diagnose(diags, place, false, NULL, "%s", secret ? "the time zone from the environment does not exist" : own.text);
        return LEAT_OK;
    }
    if (status != LEAT_OK && err)
        *err = own;
    return status;
}

enum leat_status leat_project_check_zones(const struct leat_project *project, struct leat_conn *conn,
                                          struct leat_diagnostics *diags, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < project->table_count && status == LEAT_OK; i++)
        if (project->tables[i].time_zone)
            status = check_zone(conn, project->tables[i].time_zone, project->tables[i].time_zone_place, false, diags, err);
    for (size_t i = 0; i < project->setting_count && status == LEAT_OK; i++)
        if (strcasecmp(project->settings[i].name, "time_zone") == 0 && project->settings[i].given)
            status = check_zone(conn, project->settings[i].value, project->settings[i].place, project->settings[i].secret, diags, err);
    return status;
}
