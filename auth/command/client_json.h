/* Clients and their secrets as the commands print them in JSON. */
#ifndef AUTH_COMMAND_CLIENT_JSON_H
#define AUTH_COMMAND_CLIENT_JSON_H

#include <jansson.h>
#include <libpq-fe.h>

#include "auth/store/client_store.h"

/* The whole client. */
json_t *client_json(const struct client_values *client);

/* Its audiences, and its lifetime of tokens: null for the server's default. */
json_t *client_json_audiences(const struct client_values *client);
json_t *client_json_token_ttl(const struct client_values *client);

/* All rows of client_store_secrets, as an array. */
json_t *client_json_secrets(const PGresult *secrets);

#endif
