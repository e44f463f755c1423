#include "common/pg/pg_parameters.h"

void pg_parameters_add(struct pg_parameters *parameters, const char *keyword, const char *value)
{
    parameters->keywords[parameters->count] = keyword;
    parameters->values[parameters->count++] = value;
    parameters->keywords[parameters->count] = NULL;
    parameters->values[parameters->count] = NULL;
}

void pg_parameters_begin(struct pg_parameters *parameters, const char *application)
{
    parameters->count = 0;
    pg_parameters_add(parameters, "keepalives_idle", "10");
    pg_parameters_add(parameters, "keepalives_interval", "5");
    pg_parameters_add(parameters, "keepalives_count", "3");
    pg_parameters_add(parameters, "tcp_user_timeout", "30000"); /* milliseconds */
    pg_parameters_add(parameters, "fallback_application_name", application);
}

void pg_parameters_add_url(struct pg_parameters *parameters, const char *url)
{
    pg_parameters_add(parameters, "dbname", url);
    pg_parameters_add(parameters, "client_encoding", "UTF8");
}
